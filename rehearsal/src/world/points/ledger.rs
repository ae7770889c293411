//! What was written, and what of it was promised to be there.
//! Owns: the list of points and the comparison with what a reader finds. Must not: send anything.

use std::collections::{BTreeMap, VecDeque};

/// One write in every so many goes to a point that exists, with its next version.
const OVERWRITE: u64 = 8;

/// One write: a point in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Id of the point.
    pub id: u64,
    /// Its version, from 1.
    pub version: u64,
}

/// The list of one collection.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The newest version of each point that was ever sent.
    sent: BTreeMap<u64, u64>,
    /// The newest version of each point that was acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    /// Points that can be overwritten: no older write of them can still arrive.
    settled: VecDeque<u64>,
    begun: u64,
}

impl Ledger {
    /// The next write: mostly a new point, with the next id.
    pub fn begin(&mut self) -> Write {
        self.begun += 1;
        let again = match self.begun.is_multiple_of(OVERWRITE) {
            true => self.settled.pop_front(),
            false => None,
        };
        let id = again.unwrap_or_else(|| self.sent.last_key_value().map_or(1, |(id, _)| id + 1));
        let version = self.sent.get(&id).map_or(1, |version| version + 1);
        self.sent.insert(id, version);
        Write { id, version }
    }

    /// A write was acknowledged. `at_once`: by the first task that was asked. Otherwise an attempt
    /// that got no answer may still arrive some time later, so that the point must stay as it is.
    pub fn acknowledge(&mut self, write: Write, at_once: bool) {
        self.acknowledged.insert(write.id, write.version);
        if at_once {
            self.settled.push_back(write.id);
        }
    }

    /// A point that is there and that nobody overwrites from now on.
    pub fn reserve(&mut self) -> Option<Write> {
        let id = self.settled.pop_back()?;
        let version = *self.acknowledged.get(&id)?;
        Some(Write { id, version })
    }

    /// How many points were acknowledged.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// What is acknowledged now: each point with its version.
    pub fn acknowledged(&self) -> BTreeMap<u64, u64> {
        self.acknowledged.clone()
    }

    /// Everything was lost but what was acknowledged then: of what came after, each write may be there or
    /// not, and none is overwritten.
    pub fn fall_back(&mut self, then: BTreeMap<u64, u64>) {
        self.acknowledged = then;
        self.settled.clear();
    }

    /// The list of a copy that was made when this was acknowledged: of what came after, each write may be
    /// there or not.
    pub fn copied(&self, then: BTreeMap<u64, u64>) -> Self {
        Self {
            sent: self.sent.clone(),
            acknowledged: then,
            ..Self::default()
        }
    }

    /// Writes that are not acknowledged yet.
    pub fn open(&self) -> usize {
        let open = |(id, sent): &(&u64, &u64)| self.acknowledged.get(id) != Some(sent);
        self.sent.iter().filter(open).count()
    }

    /// The acknowledged point that comes at or after this place in the list, around its end, with
    /// its version.
    pub fn pick(&self, place: u64) -> Option<Write> {
        let last = *self.acknowledged.last_key_value()?.0;
        let from = place % (last + 1);
        let (id, version) = self.acknowledged.range(from..).next()?;
        let (id, version) = (*id, *version);
        Some(Write { id, version })
    }

    /// Whether a point in this version may be what a read finds.
    pub fn permits(&self, id: u64, version: u64) -> bool {
        let newest = self.sent.get(&id).copied().unwrap_or(0);
        let least = self.acknowledged.get(&id).copied().unwrap_or(1);
        (least..=newest).contains(&version)
    }

    /// What is wrong with the points (id and version) that were found.
    pub fn compare(&self, found: &BTreeMap<u64, u64>) -> Difference {
        let missing = |id: &&u64| !found.contains_key(id);
        let wrong = |(id, version): &(&u64, &u64)| !self.permits(**id, **version);
        Difference {
            missing: self.acknowledged.keys().filter(missing).copied().collect(),
            wrong: found
                .iter()
                .filter(wrong)
                .map(|(id, version)| (*id, *version))
                .collect(),
            of: self.acknowledged.len(),
        }
    }
}

/// What a reader did not find as it was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Acknowledged points that are not there.
    pub missing: Vec<u64>,
    /// Points that are there in a version that was overwritten, or was never sent.
    pub wrong: Vec<(u64, u64)>,
    /// How many were acknowledged.
    pub of: usize,
}

impl Difference {
    /// Whether all is as promised.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { missing, wrong, of } = self;
        let (gone, bad) = (missing.len(), wrong.len());
        write!(f, "of {of} acknowledged points {gone} are missing")?;
        for id in missing.iter().take(5) {
            write!(f, " {id}")?;
        }
        write!(f, ", {bad} are wrong")?;
        for (id, version) in wrong.iter().take(5) {
            write!(f, " {id} (version {version})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with so many acknowledged points.
    fn ledger(writes: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for _ in 0..writes {
            let write = ledger.begin();
            ledger.acknowledge(write, true);
        }
        ledger
    }

    #[test]
    fn a_lost_point_and_an_old_version_are_named() {
        let ledger = ledger(8);
        // The eighth write was the second version of the first point.
        let mut found: BTreeMap<u64, u64> = (1..=7).map(|id| (id, 1)).collect();
        found.insert(1, 2);
        assert!(ledger.compare(&found).is_none());
        found.insert(1, 1);
        found.remove(&3);
        let text = ledger.compare(&found).to_string();
        let expected = "of 7 acknowledged points 1 are missing 3, 1 are wrong 1 (version 1)";
        assert_eq!(text, expected);
        found.insert(99, 1);
        assert_eq!(ledger.compare(&found).wrong, [(1, 1), (99, 1)]);
    }

    #[test]
    fn what_came_after_a_loss_may_be_there_or_not() {
        let mut ledger = ledger(7);
        let then = ledger.acknowledged();
        for _ in 0..2 {
            let write = ledger.begin();
            ledger.acknowledge(write, true);
        }
        ledger.fall_back(then);
        let mut found: BTreeMap<u64, u64> = (1..=7).map(|id| (id, 1)).collect();
        assert!(ledger.compare(&found).is_none());
        // The eighth write was the second version of the first point.
        found.insert(1, 2);
        found.insert(8, 1);
        assert!(ledger.compare(&found).is_none());
        found.remove(&2);
        assert_eq!(ledger.compare(&found).missing, [2]);
        // Nothing is overwritten that may be there in another version.
        let ids: Vec<u64> = (0..16).map(|_| ledger.begin().id).collect();
        assert!(ids.iter().all(|id| *id > 8), "{ids:?}");
    }

    #[test]
    fn a_write_that_was_never_acknowledged_may_be_there_or_not() {
        let mut ledger = ledger(2);
        let open = ledger.begin();
        assert_eq!((open.id, ledger.open()), (3, 1));
        let without: BTreeMap<u64, u64> = [(1, 1), (2, 1)].into();
        let mut with = without.clone();
        with.insert(3, 1);
        assert!(ledger.compare(&without).is_none());
        assert!(ledger.compare(&with).is_none());
    }

    #[test]
    fn a_point_whose_write_was_repeated_is_never_overwritten() {
        let mut ledger = Ledger::default();
        for _ in 0..20 {
            let write = ledger.begin();
            assert_eq!(write.version, 1);
            ledger.acknowledge(write, false);
        }
        assert_eq!(ledger.len(), 20);
    }

    #[test]
    fn every_acknowledged_point_can_be_picked() {
        let ledger = ledger(5);
        let picked: Vec<u64> = (0..12).filter_map(|at| Some(ledger.pick(at)?.id)).collect();
        assert_eq!(picked, [1, 1, 2, 3, 4, 5, 1, 1, 2, 3, 4, 5]);
        assert_eq!(Ledger::default().pick(3), None);
    }
}
