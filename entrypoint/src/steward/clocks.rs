//! How long copies have not been well and transfers have stood still, by this task's own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use planner::heal::names::{CollectionName, ShardId};
use planner::ids::PeerId;

type CopyKey = (CollectionName, ShardId, PeerId);
type TransferKey = (CollectionName, ShardId, PeerId, PeerId);

/// The clocks of one steward; a new one begins at zero.
#[derive(Debug, Default)]
pub struct Clocks {
    step: Duration,
    unwell: BTreeMap<CopyKey, Duration>,
    before: BTreeMap<CopyKey, Duration>,
    stalled: BTreeMap<TransferKey, (String, Duration)>,
    stalled_before: BTreeMap<TransferKey, (String, Duration)>,
}

impl Clocks {
    /// A new survey begins, `step` after the last one. What it does not name is forgotten.
    pub fn begin(&mut self, step: Duration) {
        self.step = step;
        self.before = std::mem::take(&mut self.unwell);
        self.stalled_before = std::mem::take(&mut self.stalled);
    }

    /// For how long this copy has not been Active.
    pub fn unwell(&mut self, key: CopyKey, active: bool) -> Duration {
        if active {
            return Duration::ZERO;
        }
        let lasted = self
            .before
            .get(&key)
            .map_or(Duration::ZERO, |before| before.saturating_add(self.step));
        self.unwell.insert(key, lasted);
        lasted
    }

    /// For how long Qdrant has said the same of this transfer.
    pub fn stalled(&mut self, key: TransferKey, says: String) -> Duration {
        let lasted = match self.stalled_before.get(&key) {
            Some((before, lasted)) if *before == says => lasted.saturating_add(self.step),
            _ => Duration::ZERO,
        };
        self.stalled.insert(key, (says, lasted));
        lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_lasts_is_counted_and_what_changes_begins_anew() {
        let mut clocks = Clocks::default();
        let copy = || (CollectionName::from("c"), ShardId(0), PeerId(1));
        let transfer = || {
            let (name, shard, from) = copy();
            (name, shard, from, PeerId(2))
        };
        for expected in 0..3 {
            clocks.begin(SECOND);
            assert_eq!(clocks.unwell(copy(), false), SECOND * expected);
            assert_eq!(
                clocks.stalled(transfer(), "half".to_owned()),
                SECOND * expected
            );
        }
        clocks.begin(SECOND);
        assert_eq!(clocks.unwell(copy(), true), Duration::ZERO);
        assert_eq!(
            clocks.stalled(transfer(), "more".to_owned()),
            Duration::ZERO
        );
        clocks.begin(SECOND);
        assert_eq!(clocks.unwell(copy(), false), Duration::ZERO);
    }
}
