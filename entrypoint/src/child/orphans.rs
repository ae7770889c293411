//! Reaping of processes that were handed to us because their parent died. Owns the list of our own
//! children, whose status it must not take.

use nix::{
    errno::Errno,
    sys::{
        prctl,
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, watch},
};

/// Pids of the children that we started and have not reaped. A static, as pids are the process's.
static OURS: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());
/// `OURS` was released by its owner: what could not be seen to before may be possible now.
static CHANGED: Notify = Notify::const_new();

/// Holds the list while a child is forked, so that no child is dead before it is known as ours.
pub(super) struct Registering(Option<MutexGuard<'static, BTreeSet<Pid>>>);

impl Registering {
    pub(super) fn begin() -> Self {
        Self(Some(OURS.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(super) fn add(mut self, pid: Pid) {
        if let Some(ours) = &mut self.0 {
            ours.insert(pid);
        }
    }
}

impl Drop for Registering {
    fn drop(&mut self) {
        // Released first: a reaper woken before that would find it taken and go back to sleep.
        self.0 = None;
        CHANGED.notify_one();
    }
}

/// To be called after the child was reaped.
pub(super) fn forget(pid: Pid) {
    OURS.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&pid);
    CHANGED.notify_one();
}

/// Reaps orphans, without ever taking the status of a child started by [`super::spawn`]. No other
/// code of the process may start children while it runs.
#[derive(Debug)]
pub struct Reaper {
    sigchld: Signal,
    reaped: watch::Sender<u64>,
}

impl Reaper {
    /// A reaper if this process is PID 1. Otherwise `None`: orphans go to the PID 1 above us (ECS's
    /// `initProcessEnabled`, or the host's), which reaps them.
    ///
    /// # Errors
    /// The handler for SIGCHLD could not be installed. Needs a tokio runtime with signals.
    pub fn if_pid_one() -> io::Result<Option<Self>> {
        if std::process::id() == 1 {
            Self::install().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Makes orphans below this process come to us instead of PID 1, and reaps them.
    ///
    /// # Errors
    /// As [`Reaper::if_pid_one`], or the kernel refused.
    pub fn as_subreaper() -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        Self::install()
    }

    fn install() -> io::Result<Self> {
        Ok(Self {
            sigchld: signal(SignalKind::child())?,
            reaped: watch::Sender::new(0),
        })
    }

    /// How many orphans were reaped so far.
    #[must_use]
    pub fn reaped(&self) -> watch::Receiver<u64> {
        self.reaped.subscribe()
    }

    /// Reaps until dropped.
    pub async fn run(mut self) -> Infallible {
        loop {
            let n = reap_orphans();
            if n > 0 {
                self.reaped.send_modify(|all| *all = all.saturating_add(n));
                tracing::debug!(event = "orphans.reaped", count = n);
            }
            tokio::select! {
                // One SIGCHLD may stand for many deaths; the sweep above looks for all of them.
                more = self.sigchld.recv() => if more.is_none() { CHANGED.notified().await },
                () = CHANGED.notified() => {}
            }
        }
    }
}

/// One sweep. Ends early when a child of ours is in front of the queue: its own thread is about to
/// reap it and calls us again.
fn reap_orphans() -> u64 {
    let ours = match OURS.try_lock() {
        Ok(ours) => ours,
        Err(TryLockError::Poisoned(e)) => e.into_inner(),
        // A child is being started; we are called again when that is done.
        Err(TryLockError::WouldBlock) => return 0,
    };
    let mut reaped = 0;
    loop {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let pid = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
            Err(Errno::EINTR) => continue,
            // Somebody ended by a signal for which nix has no name (real-time): his pid is not told.
            // With no child of our own there is nobody whose status could be taken.
            Err(Errno::EINVAL) if ours.is_empty() => Pid::from_raw(-1),
            Ok(_) | Err(_) => return reaped,
        };
        if ours.contains(&pid) {
            return reaped;
        }
        // EINVAL again means the nameless signal; he is reaped all the same.
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::EINVAL) => {
                reaped += 1;
            }
            Ok(_) | Err(_) => return reaped,
        }
    }
}
