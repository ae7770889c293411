//! Keeps the write-ahead log of a shard whole while a snapshot is made that includes it.
//!
//! Owns the list of such snapshots. It is one list for the process, so that neither the shard nor its workers need to
//! know of it: a log is told from others by its address, which a guard keeps from being used again.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::wal_delta::LockedWal;

/// For each running snapshot the address of its log, and the first entry that it needs.
static KEPT: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());

/// While this lives, the log is not acknowledged from where it began when the guard was made.
pub struct Kept {
    log: LockedWal,
    from: u64,
}

/// To be called before the segments are frozen, and to be held until the log is in the archive.
///
/// What the flush worker acknowledges between the look at the log and the note of it was flushed before, so it is in
/// the segments that are frozen afterwards.
///
/// # Panics
///
/// In an asynchronous context, for it waits for the log.
#[must_use = "the log is kept as long as this is"]
pub fn keep(log: &LockedWal) -> Kept {
    let from = log.blocking_lock().first_index();
    KEPT.lock().push((address(log), from));
    log::debug!("The log is kept from {from} for a snapshot");
    Kept {
        log: Arc::clone(log),
        from,
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut kept = KEPT.lock();
        let this = (address(&self.log), self.from);
        if let Some(at) = kept.iter().position(|other| *other == this) {
            kept.swap_remove(at);
        }
    }
}

/// From where on this log must not be acknowledged: the least of what `asked` says and what its snapshots need.
pub fn keep_from(log: &LockedWal, asked: u64) -> u64 {
    KEPT.lock()
        .iter()
        .filter(|(of, _)| *of == address(log))
        .fold(asked, |least, (_, from)| least.min(*from))
}

fn address(log: &LockedWal) -> usize {
    Arc::as_ptr(log).addr()
}

#[cfg(test)]
mod tests {
    use shard::wal::SerdeWal;
    use tempfile::{TempDir, tempdir};
    use wal::WalOptions;

    use super::*;

    fn log() -> (TempDir, LockedWal) {
        let folder = tempdir().unwrap();
        let options = WalOptions {
            segment_capacity: 1024 * 1024,
            ..WalOptions::default()
        };
        let log = SerdeWal::new(folder.path(), options).unwrap();
        (folder, Arc::new(tokio::sync::Mutex::new(log)))
    }

    #[test]
    fn a_log_is_kept_while_a_snapshot_needs_it() {
        let (_folder, one) = log();
        let (_other_folder, other) = log();
        let begins = one.blocking_lock().first_index();
        assert_eq!(keep_from(&one, u64::MAX), u64::MAX);

        let first = keep(&one);
        let second = keep(&one);
        assert_eq!(keep_from(&one, u64::MAX), begins);
        assert_eq!(keep_from(&other, u64::MAX), u64::MAX);

        drop(first);
        assert_eq!(keep_from(&one, u64::MAX), begins);
        drop(second);
        assert_eq!(keep_from(&one, u64::MAX), u64::MAX);
    }

    #[test]
    fn who_asks_for_more_gets_it() {
        let (_folder, log) = log();
        let kept = keep(&log);
        assert_eq!(keep_from(&log, 0), 0);
        drop(kept);
        assert_eq!(keep_from(&log, 3), 3);
    }
}
