//! Whether this process was awake: a beat of its own that notices when it comes late.
//!
//! Rounds cannot tell a sleep (the micro virtual machine was frozen, the process stopped) from a wait
//! for a store that hangs. While we wait, we answer others; while we sleep, they may give us up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

/// Far below half of any sensible loss time-out, and cheap.
const TICK: Duration = Duration::from_millis(250);

/// The watch over this process.
#[derive(Debug)]
pub struct Wakefulness {
    /// In milliseconds, since it was last asked for.
    longest: Arc<AtomicU64>,
    _watch: AbortOnDropHandle<()>,
}

impl Wakefulness {
    /// Begins to watch. Needs a tokio runtime.
    pub fn watch() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let watch = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(TICK).await;
                let late = began.elapsed().saturating_sub(TICK);
                let late = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                seen.fetch_max(late, Ordering::Relaxed);
            }
        });
        Self {
            longest,
            _watch: AbortOnDropHandle::new(watch),
        }
    }

    /// The longest time that this process did not run since the last call.
    pub fn longest_sleep(&self) -> Duration {
        Duration::from_millis(self.longest.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_is_no_sleep_and_a_blocked_thread_is_one() {
        let watch = Wakefulness::watch();
        tokio::time::sleep(TICK * 3).await;
        let waited = watch.longest_sleep();
        std::thread::sleep(TICK * 4);
        tokio::time::sleep(TICK * 2).await;
        let slept = watch.longest_sleep();
        assert!(slept >= TICK * 2, "{slept:?}");
        assert!(waited < slept, "{waited:?} {slept:?}");
    }
}
