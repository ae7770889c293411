//! Which sets are kept.
//!
//! Every collection keeps its own history, and a set stays while any collection needs it. A history
//! is counted in sets and never in time: "24 hourly" is the newest set of each of the last 24 hours
//! *that have one*. So nothing is lost because time passes, a service was off, or a clock was wrong;
//! a set with a date a year ahead takes one place in each tier, as any other set does, and pushes out
//! one hour, one day and one month at most. The number of sets has the same bound as with clock time.
//!
//! What this module must never do: look at a clock, count what is not known as anything, want
//! anything deleted that people made or that is not ours.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::names::CollectionName;
use crate::keep::clock::Interval;
use crate::keep::ids::SetId;
use crate::keep::reasons::{Delete, Keep, Tier};
use crate::keep::records::Level;
use crate::keep::seen::{Contents, Seen, Standing, State, newest_of_all};
use crate::keep::time::{DAY, Utc};

/// How much history is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From one set by the clock to the next.
    pub interval: Interval,
    /// Of how long every set is kept, counted in slots that have one.
    pub all_for: Duration,
    /// Of how many hours the newest set is kept.
    pub hourly: u64,
    /// Of how many days.
    pub daily: u64,
    /// Of how many months.
    pub monthly: u64,
    /// While sets fail, so many of the newest good ones of each collection are kept whatever
    /// the tiers say.
    pub floor: usize,
    /// So many sets are deleted in one round at most: a wrong setting can be noticed before it
    /// has cost everything, and a store is not kept busy.
    pub per_round: usize,
    /// A set without a manifest is deleted when it has been so for this long.
    pub unfinished_after: Duration,
}

impl Default for Settings {
    /// All sets of four hours: each one is a whole copy of the data, so every further hour costs three
    /// copies more than the hourly tier does. A mistake is mostly noticed within hours, and there the
    /// quarter hour matters; what is older is found well enough by the hour.
    fn default() -> Self {
        Self {
            interval: Interval::default(),
            all_for: Duration::from_secs(4 * 60 * 60),
            hourly: 24,
            daily: 30,
            monthly: 12,
            floor: 8,
            per_round: 4,
            unfinished_after: Duration::from_secs(6 * 60 * 60),
        }
    }
}

/// What is done with one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons.
    Keep(BTreeSet<Keep>),
    /// It goes.
    Delete {
        /// Why.
        why: Delete,
        /// In this round. Otherwise in a later one, for there are too many.
        now: bool,
    },
}

impl Verdict {
    /// It stays.
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

/// What is done with every set of the store. `failing`: the last slot brought no complete set, or the
/// last proof found something wrong.
///
/// `sets` is a whole listing: a caller that could not list everything does not ask.
pub fn retention(settings: &Settings, sets: &[Seen], failing: bool) -> BTreeMap<SetId, Verdict> {
    let mut kept: BTreeMap<SetId, BTreeSet<Keep>> = BTreeMap::new();
    for set in sets {
        kept.entry(set.id)
            .or_default()
            .extend(by_itself(settings, set));
    }
    let mut keep = |set: SetId, why: Keep| {
        kept.entry(set).or_default().insert(why);
    };
    let mut history: Vec<(SetId, &Contents)> = sets
        .iter()
        .filter_map(|set| Some((set.id, set.contents()?)))
        .filter(|(_, contents)| contents.is_automatic())
        .collect();
    history.sort_unstable_by_key(|(id, _)| core::cmp::Reverse(*id));

    if let Some((newest, _)) = newest_of_all(sets).filter(|(_, there)| !there.deleted.is_empty()) {
        keep(newest, Keep::Ends);
    }
    let ended = ended(sets);
    let names: BTreeSet<_> = history
        .iter()
        .flat_map(|(_, c)| c.collections.keys())
        .collect();
    for name in names {
        let ended = ended.get(name).copied();
        of_collection(settings, &history, name, ended, failing, &mut keep);
    }
    for level in Level::ALL {
        let proven = |(_, contents): &&(SetId, &Contents)| contents.proven() >= Some(level);
        if let Some((set, _)) = history.iter().find(proven) {
            keep(*set, Keep::Proven(level));
        }
    }
    within_budget(settings, sets, kept)
}

/// Why a set is kept whatever other sets there are.
fn by_itself(settings: &Settings, set: &Seen) -> Vec<Keep> {
    let mut reasons = Vec::new();
    if set.pinned {
        reasons.push(Keep::Pinned);
    }
    if set.restoring {
        reasons.push(Keep::Restoring);
    }
    match &set.state {
        State::Bare => reasons.push(Keep::Bare),
        State::Foreign(why) => reasons.push(Keep::Foreign(why.clone())),
        State::Unread(why) => reasons.push(Keep::Unread(why.clone())),
        // Whoever wrote the tombstone wants all of the rest gone.
        _ if set.tombstoned => {}
        State::Unfinished {
            under_way: true, ..
        } => reasons.push(Keep::UnderWay),
        State::Unfinished { age, .. } => {
            let left = settings.unfinished_after.saturating_sub(*age);
            if !left.is_zero() {
                reasons.push(Keep::Unfinished { left });
            }
        }
        State::Made(contents) if !contents.is_automatic() => reasons.push(Keep::ByHand),
        State::Made(_) => {}
    }
    reasons
}

/// The collections whose end is on record, by the first set after it.
fn ended(sets: &[Seen]) -> BTreeMap<CollectionName, SetId> {
    let newest = newest_of_all(sets).map(|(_, contents)| contents);
    let deleted = newest.into_iter().flat_map(|there| &there.deleted);
    deleted.map(|(name, set)| (name.clone(), *set)).collect()
}

/// What one collection needs. `history` is of all sets that count, the newest first.
fn of_collection(
    settings: &Settings,
    history: &[(SetId, &Contents)],
    name: &CollectionName,
    ended: Option<SetId>,
    failing: bool,
    keep: &mut impl FnMut(SetId, Keep),
) {
    let standings: Vec<(SetId, Option<Standing>)> = history
        .iter()
        .filter_map(|(set, contents)| {
            let there = contents.collections.get(name).filter(|there| there.whole);
            // After its end the sets of the others go on counting, or what it left would stay for ever.
            let passes = ended.is_some_and(|ended| *set >= ended) && contents.has_whole();
            (there.is_some() || passes).then_some((*set, there.copied()))
        })
        .collect();
    let good = |there: Option<Standing>| there.is_some_and(|there| there.is_good());

    for tier in Tier::ALL {
        let count = tier.count(settings);
        // What was found to be bad takes no place from what is good, …
        let trusted = standings.iter().filter(|(_, s)| s.is_none() || good(*s));
        newest_of_each(settings, tier, count, trusted.copied(), |set, begin, _| {
            keep(set, Keep::Tier(name.clone(), tier, begin));
        });
        // … and is kept for as long as if it were good: a proof that errs destroys nothing.
        let all = standings.iter().copied();
        newest_of_each(settings, tier, count, all, |set, begin, standing| {
            if standing.failed {
                keep(set, Keep::Suspect(name.clone(), tier, begin));
            }
        });
    }

    let mut newest = standings.iter().filter(|(_, s)| good(*s));
    let floor = if failing { settings.floor } else { 0 };
    for (set, _) in newest.clone().take(floor) {
        keep(*set, Keep::Failing(name.clone()));
    }
    if ended.is_some() {
        return;
    }
    if let Some((set, _)) = newest.next() {
        keep(*set, Keep::LastWhole(name.clone()));
    }
    for level in Level::ALL {
        let proven =
            |s: Option<Standing>| s.is_some_and(|s| s.is_good() && s.proven >= Some(level));
        if let Some((set, _)) = standings.iter().find(|(_, s)| proven(*s)) {
            keep(*set, Keep::ProvenCollection(name.clone(), level));
        }
    }
}

/// Calls back for the newest set of each of the last `count` buckets that have a set. A set without a
/// standing opens its bucket and is not itself wanted.
fn newest_of_each(
    settings: &Settings,
    tier: Tier,
    count: u64,
    newest_first: impl Iterator<Item = (SetId, Option<Standing>)>,
    mut found: impl FnMut(SetId, Utc, Standing),
) {
    let (mut open, mut served, mut rank) = (None, None, 0);
    for (set, standing) in newest_first {
        let begin = tier.begin(settings.interval, set.time());
        if open != Some(begin) {
            open = Some(begin);
            rank += 1;
        }
        if rank > count {
            return;
        }
        if let Some(standing) = standing
            && served != Some(begin)
        {
            served = Some(begin);
            found(set, begin, standing);
        }
    }
}

fn within_budget(
    settings: &Settings,
    sets: &[Seen],
    kept: BTreeMap<SetId, BTreeSet<Keep>>,
) -> BTreeMap<SetId, Verdict> {
    let why = |set: &Seen| match &set.state {
        _ if set.tombstoned => Delete::Tombstoned,
        State::Unfinished { age, .. } => Delete::Unfinished { age: *age },
        State::Made(contents) if !contents.has_whole() => Delete::Hollow,
        _ => Delete::Outlived,
    };
    let doomed = sets
        .iter()
        .filter(|set| kept.get(&set.id).is_some_and(BTreeSet::is_empty));
    // What was begun is ended, then what can serve nobody, then the oldest.
    let mut order: Vec<_> = doomed.map(|set| (why(set), set.id)).collect();
    order.sort_by_key(|(why, id)| (why.rank(), *id));
    order.dedup_by_key(|(_, id)| *id);
    let keeps = kept.into_iter().filter(|(_, reasons)| !reasons.is_empty());
    let mut verdicts: BTreeMap<_, _> = keeps.map(|(id, r)| (id, Verdict::Keep(r))).collect();
    let mut begun = 0;
    for (why, id) in order {
        // What has its tombstone is half gone already, and takes no place from what has not.
        let now = why == Delete::Tombstoned || begun < settings.per_round;
        begun += usize::from(why != Delete::Tombstoned);
        verdicts.insert(id, Verdict::Delete { why, now });
    }
    verdicts
}

impl Tier {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Slot, Self::Hour, Self::Day, Self::Month];

    /// How many buckets of this tier are kept.
    pub fn count(self, settings: &Settings) -> u64 {
        match self {
            Self::Slot => {
                let slot = settings.interval.length().as_secs().max(1);
                settings.all_for.as_secs().div_ceil(slot)
            }
            Self::Hour => settings.hourly,
            Self::Day => settings.daily,
            Self::Month => settings.monthly,
        }
    }

    /// When the bucket began in which this moment is.
    pub fn begin(self, interval: Interval, at: Utc) -> Utc {
        let of = |seconds| at.minus(Duration::from_secs(at.unix() % seconds));
        match self {
            Self::Slot => interval.slot(at),
            Self::Hour => of(3600),
            Self::Day => of(DAY),
            Self::Month => {
                let into = at.civil().day.saturating_sub(1).saturating_mul(DAY);
                of(DAY).minus(Duration::from_secs(into))
            }
        }
    }
}
