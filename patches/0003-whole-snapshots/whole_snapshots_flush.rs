//! Lets a test make the flush worker's rounds one by one, at the moments it chooses.

use std::time::Instant;

use super::*;

/// A flush of a few points that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);

impl UpdateWorkers {
    /// Flushes in the background until everything in the log is confirmed, and makes the round in which the worker
    /// acknowledges what is. To be called while nobody writes.
    ///
    /// # Panics
    ///
    /// When a flush fails, or takes longer than [`LONGEST`].
    pub(crate) fn flush_round(
        segments: LockedSegmentHolder,
        wal: LockedWal,
        clocks: LocalShardClocks,
        shard_path: PathBuf,
    ) {
        let newest = wal.blocking_lock().last_index();
        let began = Instant::now();
        while Self::flush_segments(segments.clone()).unwrap() < newest {
            assert!(began.elapsed() < LONGEST, "the flush does not end");
            std::thread::yield_now();
        }
        let nobody_else = Arc::new(AtomicU64::new(u64::MAX));
        Self::flush_worker_internal(segments, wal, nobody_else, clocks, shard_path);
    }
}
