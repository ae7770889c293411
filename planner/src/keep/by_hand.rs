//! What becomes of a request for a set by hand.
//!
//! A request becomes one set, however many stewards see it: the token stands in the plan, and the name
//! follows from the request and the sets that there are, so that two who plan at the same moment plan
//! the same set. The clock goes first: a set by hand waits for the slot that is due, and its name is
//! later than every other's, since the order of the names is the order in which sets were made.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::ids::Token;
use crate::keep::clock::{self, Hold, Interval};
use crate::keep::ids::SetId;
use crate::keep::records::{Asked, Scope};
use crate::keep::time::Utc;
use crate::observed::Observed;

/// A request that is older is dropped: whoever asked has gone, or has done something else instead.
pub const WAITS: Duration = Duration::from_secs(60 * 60);
/// While a request is younger, no other one takes its place: there is one at a time.
pub const HOLDS: Duration = Duration::from_secs(15 * 60);

/// Somebody has asked for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who, and the word that makes it unlike any other request.
    pub asked: Asked,
    /// Of what.
    pub scope: Scope,
    /// When, by the clock of the task that took it.
    pub at: Utc,
}

/// What a steward knows when it looks at a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The wall clock.
    pub now: Utc,
    /// From one slot to the next.
    pub interval: Interval,
    /// The sets in the store.
    pub sets: Observed<Sets>,
    /// The set that is being made, and for which request.
    pub under_way: Option<(SetId, Option<Token>)>,
    /// What the clock says; `None`: it was not asked.
    pub clock: Option<clock::Verdict>,
    /// Why no set is wanted at all.
    pub hold: Option<Hold>,
}

/// The sets in the store, whatever became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// The latest name that is taken, by whomever.
    pub latest: Option<SetId>,
    /// The requests that have their set.
    pub asked: BTreeMap<Token, SetId>,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This set is planned now.
    Due(SetId),
    /// It stays.
    Waits(Waits),
    /// It has its set, finished or not: it goes.
    Taken(SetId),
    /// It goes, and nothing comes of it.
    Dropped(Dropped),
}

/// Why a request waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// A set is being made.
    UnderWay(SetId),
    /// The clock's set is due, or it is not known.
    Clock,
    /// Which sets there are could not be read; for people.
    Unread(String),
    /// No set is wanted now.
    Hold(Hold),
    /// Its name would be in the future: the clock of another task is ahead, or was.
    Early(SetId),
}

/// Why nothing comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It has waited for too long.
    TooOld {
        /// For so long.
        age: Duration,
    },
    /// It is from so far in the future that one of the two clocks is wrong.
    Ahead {
        /// By so much.
        by: Duration,
    },
}

/// For how long a request has waited; also of one from the future, for which a clock is wrong, so that
/// it does not stand in the way for ever.
pub fn age(at: Utc, now: Utc) -> Duration {
    now.since(at).max(at.since(now))
}

/// What is done with a request.
pub fn by_hand(request: &Request, sight: &Sight) -> Verdict {
    let token = &request.asked.token;
    if let Some((set, Some(made_for))) = &sight.under_way
        && made_for == token
    {
        return Verdict::Taken(*set);
    }
    let sets = sight.sets.known();
    if let Some(set) = sets.and_then(|sets| sets.asked.get(token)) {
        return Verdict::Taken(*set);
    }
    let age = sight.now.since(request.at);
    if age > WAITS {
        return Verdict::Dropped(Dropped::TooOld { age });
    }
    let by = request.at.since(sight.now);
    if by > WAITS {
        return Verdict::Dropped(Dropped::Ahead { by });
    }
    if let Some((set, _)) = sight.under_way {
        return Verdict::Waits(Waits::UnderWay(set));
    }
    if let Some(hold) = sight.hold {
        return Verdict::Waits(Waits::Hold(hold));
    }
    let sets = match &sight.sets {
        Observed::Known(sets) => sets,
        Observed::Unknown(why) => return Verdict::Waits(Waits::Unread(why.clone())),
    };
    // Its slot's name is earlier than any that a set by hand could have now.
    if matches!(sight.clock, None | Some(clock::Verdict::Due(_))) {
        return Verdict::Waits(Waits::Clock);
    }
    let set = name(request.at, sets.latest, sight.interval);
    match set.time() > sight.now {
        true => Verdict::Waits(Waits::Early(set)),
        false => Verdict::Due(set),
    }
}

/// The second in which a set that is not the clock's was wanted, or the first one after all names that are
/// taken; never a slot's.
pub fn name(at: Utc, latest: Option<SetId>, interval: Interval) -> SetId {
    let after = |latest: SetId| latest.time().plus(Duration::from_secs(1));
    let free = latest.map_or(at, after);
    interval.by_hand(at.max(free))
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnderWay(set) => write!(f, "set {set} is being made"),
            Self::Clock => f.write_str("the clock's set comes first"),
            Self::Unread(why) => write!(f, "the sets in the store cannot be read: {why}"),
            Self::Hold(hold) => hold.fmt(f),
            Self::Early(set) => write!(f, "its name, {set}, is later than this task's clock"),
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld { age } => write!(f, "it has waited for {} s", age.as_secs()),
            Self::Ahead { by } => write!(
                f,
                "it is {} s ahead of this task's clock: one of the two clocks is wrong",
                by.as_secs()
            ),
        }
    }
}
