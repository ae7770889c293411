//! Lets a test make the flush worker's rounds one by one, at the moments it chooses.

use super::*;

impl UpdateWorkers {
    /// One round, as the worker makes it after each interval.
    pub(crate) fn flush_round(
        segments: LockedSegmentHolder,
        wal: LockedWal,
        clocks: LocalShardClocks,
        shard_path: PathBuf,
    ) {
        let nobody_else = Arc::new(AtomicU64::new(u64::MAX));
        Self::flush_worker_internal(segments, wal, nobody_else, clocks, shard_path);
    }
}
