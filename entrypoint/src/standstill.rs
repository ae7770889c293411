//! Qdrant standing still: SIGSTOP, and SIGCONT once it may go on. The thread that notices that this
//! process slept stops it at once, without a round; whether it may go on is `planner::standstill`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;
use tokio::sync::watch;

use crate::child::Child;
use crate::events;

/// Speaks of the Qdrant of this task; clones speak of the same one.
#[derive(Clone, Debug)]
pub struct Standstill {
    inner: Arc<Mutex<Inner>>,
    still: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    child: Option<Child>,
    wakes: u64,
}

/// What was known of this process's sleeps when a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakes(u64);

impl Default for Standstill {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            still: watch::Sender::new(false),
        }
    }
}

impl Standstill {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This Qdrant runs from now on, `None`: none does.
    pub fn of(&self, child: Option<Child>) {
        let mut inner = self.inner();
        inner.child = child;
        self.still.send_replace(false);
    }

    /// It stands still.
    pub fn is_still(&self) -> bool {
        *self.still.borrow()
    }

    /// Waits until it stands still.
    pub async fn begins(&self) {
        let mut still = self.still.subscribe();
        // The sender is ours, so it cannot be gone.
        let _gone = still.wait_for(|still| *still).await;
    }

    /// To be read before the sleeps that a decision is made upon.
    pub fn wakes(&self) -> Wakes {
        Wakes(self.inner().wakes)
    }

    /// This process has just woken: nothing that was decided before holds.
    pub fn woken(&self) {
        let mut inner = self.inner();
        inner.wakes += 1;
        self.stop(&inner, "this task has slept");
    }

    /// Carries out a decision that knew of these sleeps.
    pub fn decided(&self, stand_still: bool, wakes: Wakes) {
        let inner = self.inner();
        if stand_still {
            self.stop(&inner, "the others may have gone on without it");
        } else if self.is_still() && wakes == Wakes(inner.wakes) {
            self.signal(&inner, Signal::SIGCONT);
            self.still.send_replace(false);
            tracing::info!(event = events::WENT_ON, "a majority lists its peer");
        }
    }

    fn stop(&self, inner: &Inner, why: &str) {
        // Again in each round: somebody else may have let it go on.
        if self.signal(inner, Signal::SIGSTOP) && !self.still.send_replace(true) {
            tracing::info!(event = events::STANDS_STILL, "{why}");
        }
    }

    /// False when there is none to signal.
    fn signal(&self, inner: &Inner, signal: Signal) -> bool {
        let Some(child) = &inner.child else {
            return false;
        };
        match child.signal(signal) {
            Ok(sent) => sent,
            Err(error) => {
                let error = format!("Qdrant does not take {signal}: {error}");
                tracing::error!(event = events::FAILED, "{error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::{Environment, Spec, spawn};

    /// The state letter of a process: `S` sleeping, `T` stopped.
    fn state(pid: u32) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after = stat.rsplit_once(") ").unwrap().1;
        after.chars().next().unwrap()
    }

    /// A signal has been sent; until the kernel has acted on it.
    async fn becomes(pid: u32, stopped: bool) {
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while (state(pid) == 'T') != stopped {
            assert!(std::time::Instant::now() < limit, "it is {}", state(pid));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn it_goes_on_only_by_a_decision_that_knew_of_the_last_sleep() {
        let args = vec!["60".into()];
        let spec = Spec::new("sleep".into(), args, Environment::InheritedPlus(Vec::new()));
        let child = spawn(spec).await.unwrap();
        let pid = child.pid();
        let still = Standstill::default();
        still.of(Some(child.clone()));
        let before = still.wakes();
        still.woken();
        assert!(still.is_still());
        becomes(pid, true).await;
        // Decided upon what was seen before the sleep.
        still.decided(false, before);
        assert!(still.is_still());
        becomes(pid, true).await;
        still.decided(true, still.wakes());
        assert!(still.is_still());
        still.decided(false, still.wakes());
        assert!(!still.is_still());
        becomes(pid, false).await;
        child.kill();
        child.wait().await;
        still.of(None);
        still.woken();
        assert!(!still.is_still(), "nobody is there to stand still");
    }
}
