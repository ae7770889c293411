//! Whether this process was awake: a beat of its own that notices when it comes late.
//!
//! Rounds cannot tell a sleep (the micro virtual machine was frozen, the process stopped) from a wait
//! for a store that hangs. While we wait, we answer others; while we sleep, they may give us up.
//!
//! A long sleep is noticed on a thread of its own as well, whose first act is to stop Qdrant: it woke at
//! the same moment as we did. A machine whose clock stood still as well is not noticed here; then the
//! others say that they do not list us.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

/// Far below half of any sensible loss time-out, and cheap.
const TICK: Duration = Duration::from_millis(250);
/// Of the thread: how late it may be on a machine that was awake is far below any long sleep.
const QUICK: Duration = Duration::from_millis(20);

/// The watch over this process.
#[derive(Debug)]
pub struct Wakefulness {
    /// In milliseconds, since it was last asked for.
    longest: Arc<AtomicU64>,
    _watch: AbortOnDropHandle<()>,
}

impl Wakefulness {
    /// Begins to watch; calls `woken` at once after a sleep of at least `long`. Needs a tokio runtime.
    pub fn watch(long: Duration, woken: impl Fn() + Send + 'static) -> io::Result<Self> {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let quick = Arc::downgrade(&longest);
        std::thread::Builder::new()
            .name("wakefulness".into())
            .stack_size(128 << 10)
            .spawn(move || {
                while let Some(seen) = quick.upgrade() {
                    let late = late(QUICK);
                    if late >= long {
                        note(&seen, late);
                        woken();
                    }
                }
            })?;
        let watch = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(TICK).await;
                note(&seen, began.elapsed().saturating_sub(TICK));
            }
        });
        Ok(Self {
            longest,
            _watch: AbortOnDropHandle::new(watch),
        })
    }

    /// The longest time that this process did not run since the last call.
    pub fn longest_sleep(&self) -> Duration {
        Duration::from_millis(self.longest.swap(0, Ordering::Relaxed))
    }
}

/// By how much this thread comes back too late.
fn late(pause: Duration) -> Duration {
    let began = Instant::now();
    std::thread::sleep(pause);
    began.elapsed().saturating_sub(pause)
}

fn note(longest: &AtomicU64, late: Duration) {
    let late = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
    longest.fetch_max(late, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_is_no_sleep_and_a_blocked_thread_is_one() {
        let watch = Wakefulness::watch(Duration::MAX, || {}).unwrap();
        tokio::time::sleep(TICK * 3).await;
        let waited = watch.longest_sleep();
        std::thread::sleep(TICK * 4);
        tokio::time::sleep(TICK * 2).await;
        let slept = watch.longest_sleep();
        assert!(slept >= TICK * 2, "{slept:?}");
        assert!(waited < slept, "{waited:?} {slept:?}");
    }
}
