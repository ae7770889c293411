//! When a set by the clock is due.
//!
//! Slots are whole multiples of the interval, by UTC. A slot belongs to the steward that sees it
//! begin; one that nobody saw begin is missed, and nothing is made up for. The rule that no slot is
//! taken at or before the newest set's makes the order of the names the order in which sets were made,
//! whatever clocks do; retention and restore rely on it.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::keep::ids::SetId;
use crate::keep::time::{DAY, Utc};
use crate::observed::Observed;

/// The longest time after its beginning in which a slot may still be taken, see
/// [`Interval::tolerance`].
const LATEST: u64 = 60;

/// From one slot to the next: whole seconds that divide a day, so that every day has the same slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u64);

/// An interval that does not divide a day into slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInterval(Duration);

impl fmt::Display for BadInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(interval) = self;
        write!(
            f,
            "{interval:?} does not divide a day into whole slots of seconds: 15 minutes do"
        )
    }
}

impl core::error::Error for BadInterval {}

impl Default for Interval {
    /// A quarter of an hour.
    fn default() -> Self {
        Self(15 * 60)
    }
}

impl Interval {
    /// The interval of this length.
    ///
    /// # Errors
    /// It does not divide a day, or is not of whole seconds.
    pub fn new(length: Duration) -> Result<Self, BadInterval> {
        let seconds = length.as_secs();
        let divides = seconds > 0 && DAY.is_multiple_of(seconds) && length.subsec_nanos() == 0;
        divides.then_some(Self(seconds)).ok_or(BadInterval(length))
    }

    /// Its length.
    pub fn length(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The slot in which this moment is: when that began.
    pub fn slot(self, at: Utc) -> Utc {
        at.minus(Duration::from_secs(at.unix() % self.0))
    }

    /// The slot after the one in which this moment is.
    pub fn next(self, at: Utc) -> Utc {
        self.slot(at).plus(self.length())
    }

    /// For so long after its beginning a slot can be taken: a minute, or a quarter of a short interval.
    ///
    /// A new leader's steward needs a gone time-out and a first survey until it may change anything,
    /// and a process on a busy machine its time to be scheduled: together less than a minute. The plan
    /// of the former steward stands in the store, so nobody takes a slot twice for that. What comes
    /// later would be an extra set after a restart, too near to the next.
    pub fn tolerance(self) -> Duration {
        Duration::from_secs(LATEST.min(self.0 / 4))
    }

    /// The name for a set by hand: this second, or the next when a slot begins in it, whose name is
    /// the clock's.
    pub fn by_hand(self, now: Utc) -> SetId {
        match self.slot(now) == now && self.0 > 1 {
            true => SetId::at(now.plus(Duration::from_secs(1))),
            false => SetId::at(now),
        }
    }
}

/// Whether the machine's clock is set right, as the task metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronised {
    /// It is.
    Yes,
    /// It is known not to be.
    No,
    /// Nobody says. Most places have no such word, so it holds up nothing.
    Unknown,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The wall clock.
    pub now: Utc,
    /// What is known of the wall clock.
    pub synchronised: Synchronised,
    /// The sets in the store.
    pub taken: Observed<Taken>,
    /// A set that is being made.
    pub under_way: Option<SetId>,
    /// Why no set is wanted at all.
    pub hold: Option<Hold>,
}

/// The sets in the store that were not made by hand, finished or only planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The newest one without a tombstone: a set whose date is wrong does not count any more when a
    /// person deletes it.
    pub newest: Option<SetId>,
    /// Those with a tombstone. Their names are taken.
    pub given_up: BTreeSet<SetId>,
}

/// Why no set is wanted. Slots that pass meanwhile are not missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// There is no collection. An empty cluster never becomes a set: it could be one that has
    /// just lost everything.
    Empty,
    /// What was lost is not all back yet.
    Restoring,
    /// Somebody asked for no changes, or a configuration for no sets.
    Off,
}

/// What one look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Whether a set is due.
    pub verdict: Verdict,
    /// Slots that have passed without a set since the last look, at most a day of them.
    pub missed: u64,
    /// A person must look at the clock.
    pub alarm: Option<Wrong>,
}

/// Whether a set is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This one, now.
    Due(SetId),
    /// None.
    NotYet {
        /// The next slot that can be due.
        until: Utc,
        /// Why none now.
        why: NotYet,
    },
}

/// Why no set is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotYet {
    /// This slot has its set, or the plan for it.
    Taken,
    /// The set of this slot was given up or deleted.
    GivenUp,
    /// This slot has none, and began too long ago.
    TooLate {
        /// When it began.
        slot: Utc,
    },
    /// The newest set is later than this slot: a clock was wrong, then or now.
    Backwards {
        /// The newest set.
        newest: SetId,
    },
    /// The clock is known to be wrong.
    Unsynchronised,
    /// Which sets there are could not be read; for people.
    Unread(String),
    /// A set is being made.
    UnderWay(SetId),
    /// None is wanted.
    Hold(Hold),
}

/// The clock and the sets do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The newest set is later than now, by more than two slots: none is made until then.
    Behind {
        /// The newest set.
        newest: SetId,
        /// The wall clock.
        now: Utc,
    },
    /// The newest set is more than a day old: nothing was running for so long, or the clock is ahead.
    Ahead {
        /// The newest set.
        newest: SetId,
        /// The wall clock.
        now: Utc,
    },
}

impl Sight {
    fn newest(&self) -> Option<SetId> {
        self.taken.known()?.newest
    }
}

/// One steward's watch over the clock: which slots it has settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    interval: Interval,
    /// The last slot that is taken, missed, or was not this steward's.
    settled: Utc,
}

impl Clock {
    /// The watch of a steward that began at this moment. Earlier slots are not its own, but for one
    /// that can still be taken.
    pub fn new(interval: Interval, began: Utc) -> Self {
        let earliest = began.minus(interval.tolerance());
        let own = match interval.slot(earliest) == earliest {
            true => earliest,
            false => interval.next(earliest),
        };
        Self {
            interval,
            settled: own.minus(interval.length()),
        }
    }

    /// Looks once.
    pub fn tick(&mut self, sight: &Sight) -> Tick {
        let newest = sight.newest();
        Tick {
            verdict: self.verdict(sight),
            missed: self.settle(sight),
            alarm: newest.and_then(|newest| self.wrong(newest, sight.now)),
        }
    }

    fn verdict(&self, sight: &Sight) -> Verdict {
        let slot = self.interval.slot(sight.now);
        let newest = sight.newest();
        let after = newest.map_or(sight.now, |newest| newest.time().max(sight.now));
        let not_yet = |why| Verdict::NotYet {
            until: self.interval.next(after),
            why,
        };
        if let Some(hold) = sight.hold {
            return not_yet(NotYet::Hold(hold));
        }
        if sight.synchronised == Synchronised::No {
            return not_yet(NotYet::Unsynchronised);
        }
        let taken = match &sight.taken {
            Observed::Known(taken) => taken,
            Observed::Unknown(why) => return not_yet(NotYet::Unread(why.clone())),
        };
        if let Some(newest) = newest {
            if newest.time() >= slot.plus(self.interval.length()) {
                return not_yet(NotYet::Backwards { newest });
            }
            if newest.time() >= slot {
                return not_yet(NotYet::Taken);
            }
        }
        if taken.given_up.contains(&SetId::at(slot)) {
            return not_yet(NotYet::GivenUp);
        }
        if self.is_over(slot, sight.now) {
            return not_yet(NotYet::TooLate { slot });
        }
        match sight.under_way {
            Some(set) => not_yet(NotYet::UnderWay(set)),
            None => Verdict::Due(SetId::at(slot)),
        }
    }

    /// Counts what was missed. While the sets cannot be read nothing is settled: another steward may
    /// have taken those slots.
    fn settle(&mut self, sight: &Sight) -> u64 {
        let Observed::Known(known) = &sight.taken else {
            return 0;
        };
        let slot = self.interval.slot(sight.now);
        let taken = known.newest.map(|newest| self.interval.slot(newest.time()));
        let last = match self.is_over(slot, sight.now) || taken.is_some_and(|t| t >= slot) {
            true => slot,
            false => slot.minus(self.interval.length()),
        };
        let before = taken.map_or(self.settled, |taken| taken.max(self.settled));
        self.settled = self.settled.max(last);
        match sight.hold {
            Some(_) => 0,
            // A jump of the clock is no miss of a year of slots.
            None => (last.since(before).as_secs() / self.interval.0).min(DAY / self.interval.0),
        }
    }

    fn is_over(&self, slot: Utc, now: Utc) -> bool {
        now.since(slot) > self.interval.tolerance()
    }

    fn wrong(&self, newest: SetId, now: Utc) -> Option<Wrong> {
        let day = Duration::from_secs(DAY);
        // A clock that is a little behind catches up before anything is missed.
        let behind = day.min(self.interval.length().saturating_mul(2));
        if newest.time().since(now) > behind {
            return Some(Wrong::Behind { newest, now });
        }
        let ahead = day.max(self.interval.length().saturating_mul(2));
        (now.since(newest.time()) > ahead).then_some(Wrong::Ahead { newest, now })
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is no collection",
            Self::Restoring => "a restore is not finished",
            Self::Off => "no sets are wanted",
        })
    }
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("this slot has its set"),
            Self::GivenUp => f.write_str("the set of this slot was given up"),
            Self::TooLate { slot } => write!(f, "nobody took the slot {slot} when it began"),
            Self::Backwards { newest } => {
                write!(f, "the newest set, {newest}, is later than this slot")
            }
            Self::Unsynchronised => f.write_str("the clock of this task is not synchronised"),
            Self::Unread(why) => write!(f, "the sets in the store cannot be read: {why}"),
            Self::UnderWay(set) => write!(f, "set {set} is being made"),
            Self::Hold(hold) => hold.fmt(f),
        }
    }
}

/// In words that do not change while it lasts: an alarm that moves on with the clock is a new one each time.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { newest, .. } => write!(
                f,
                "the newest set, {newest}, is later than this task's clock: no set is made until then; \
                 set the clock right, or, when that set has the wrong time, delete it by hand"
            ),
            Self::Ahead { newest, .. } => write!(
                f,
                "the newest set, {newest}, is more than a day older than this task's clock: \
                 look at the clock when the service was running meanwhile"
            ),
        }
    }
}
