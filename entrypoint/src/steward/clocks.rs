//! How long copies have not been well, transfers have stood still, and copies have been listed on
//! peers that are not in the address book, by this task's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use planner::heal::names::{CollectionName, ShardId};
use planner::ids::PeerId;
use qdrant_api::CollectionParams;

type CopyKey = (CollectionName, ShardId, PeerId);
type TransferKey = (CollectionName, ShardId, PeerId, PeerId);

/// The clocks as they stood after one survey; at first all at zero.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    unwell: BTreeMap<CopyKey, Duration>,
    stalled: BTreeMap<TransferKey, (String, Duration)>,
    unlisted: BTreeMap<PeerId, Duration>,
    params: BTreeMap<CollectionName, CollectionParams>,
}

/// The clocks while a survey goes on, `step` after the one before. What it does not name is
/// forgotten; a survey that fails leaves the old ones as they were.
#[derive(Debug)]
pub struct Running<'a> {
    before: &'a Clocks,
    step: Duration,
    now: Clocks,
}

impl Clocks {
    /// Lets them run for one survey.
    pub fn run(&self, step: Duration) -> Running<'_> {
        Running {
            before: self,
            step,
            now: Clocks::default(),
        }
    }
}

impl Running<'_> {
    /// For how long this copy has not been Active.
    pub fn unwell(&mut self, key: CopyKey, active: bool) -> Duration {
        if active {
            return Duration::ZERO;
        }
        let before = self.before.unwell.get(&key);
        let lasted = before.map_or(Duration::ZERO, |before| before.saturating_add(self.step));
        self.now.unwell.insert(key, lasted);
        lasted
    }

    /// For how long this transfer has made no progress. Qdrant tells it to source and target only;
    /// where it says nothing, nothing is known, and nothing counts as stalled.
    pub fn stalled(&mut self, key: TransferKey, comment: Option<&str>) -> Duration {
        let Some(done) = comment.and_then(progress) else {
            return Duration::ZERO;
        };
        let lasted = match self.before.stalled.get(&key) {
            Some((before, lasted)) if before == done => lasted.saturating_add(self.step),
            _ => Duration::ZERO,
        };
        self.now.stalled.insert(key, (done.to_owned(), lasted));
        lasted
    }

    /// For how long this peer has been named without being in the address book.
    pub fn unlisted(&mut self, peer: PeerId) -> Duration {
        let before = self.before.unlisted.get(&peer);
        let lasted = before.map_or(Duration::ZERO, |before| before.saturating_add(self.step));
        self.now.unlisted.insert(peer, lasted);
        lasted
    }

    /// The parameters of a collection, as they are now or, where Qdrant does not say, as they were
    /// when it last did. It answers one question of this kind at a time, and one for metrics can take
    /// long while segments are being optimized.
    pub fn params<E>(
        &mut self,
        name: &CollectionName,
        now: Result<CollectionParams, E>,
    ) -> Result<CollectionParams, E> {
        let params = match now {
            Ok(params) => params,
            Err(error) => *self.before.params.get(name).ok_or(error)?,
        };
        self.now.params.insert(name.clone(), params);
        Ok(params)
    }

    /// The clocks after this survey.
    pub fn end(self) -> Clocks {
        self.now
    }
}

/// The part of a comment that moves with the data: `Transferring records (120/5000), started 3s ago`
/// says `120/5000`. The times beside it always move.
fn progress(comment: &str) -> Option<&str> {
    let inside = comment.split_once('(')?.1.split_once(')')?.0;
    inside.contains('/').then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn copy() -> CopyKey {
        (CollectionName::from("c"), ShardId(0), PeerId(1))
    }

    fn transfer() -> TransferKey {
        let (name, shard, from) = copy();
        (name, shard, from, PeerId(2))
    }

    #[test]
    fn what_lasts_is_counted_and_what_changes_begins_anew() {
        let mut clocks = Clocks::default();
        for expected in 0..3 {
            let mut running = clocks.run(SECOND);
            assert_eq!(running.unwell(copy(), false), SECOND * expected);
            let says = format!("Transferring (5/9), started {expected}s ago");
            assert_eq!(running.stalled(transfer(), Some(&says)), SECOND * expected);
            clocks = running.end();
        }
        let mut running = clocks.run(SECOND);
        assert_eq!(running.unwell(copy(), true), Duration::ZERO);
        assert_eq!(
            running.stalled(transfer(), Some("Transferring (6/9), started 3s ago")),
            Duration::ZERO
        );
        clocks = running.end();
        assert_eq!(clocks.run(SECOND).unwell(copy(), false), Duration::ZERO);
    }

    #[test]
    fn parameters_are_kept_while_their_collection_is_asked_for() {
        let name = CollectionName::from("c");
        let three = CollectionParams {
            shard_number: 2,
            replication_factor: 3,
            write_consistency_factor: 2,
        };
        let mut clocks = Clocks::default();
        assert_eq!(clocks.run(SECOND).params(&name, Err("hangs")), Err("hangs"));
        for said in [Ok(three), Err("hangs"), Err("hangs")] {
            let mut running = clocks.run(SECOND);
            assert_eq!(running.params(&name, said), Ok(three));
            clocks = running.end();
        }
        // A survey in which it did not exist.
        clocks = clocks.run(SECOND).end();
        assert_eq!(clocks.run(SECOND).params(&name, Err("hangs")), Err("hangs"));
    }

    #[test]
    fn a_transfer_that_says_nothing_is_never_stalled() {
        let mut clocks = Clocks::default();
        for comment in [None, Some("Recovering"), Some("in (some) words")] {
            for _ in 0..3 {
                let mut running = clocks.run(SECOND);
                assert_eq!(running.stalled(transfer(), comment), Duration::ZERO);
                clocks = running.end();
            }
        }
    }

    #[test]
    fn a_survey_that_fails_loses_no_time() {
        let clocks = Clocks::default();
        let mut running = clocks.run(SECOND);
        running.unwell(copy(), false);
        let clocks = running.end();
        drop(clocks.run(SECOND));
        assert_eq!(clocks.run(SECOND * 2).unwell(copy(), false), SECOND * 2);
    }
}
