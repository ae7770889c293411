//! One running child and the thread that is its parent. Owns the order *fork, wait, kill the rest of
//! its group, reap, tell*, and the rule that a signal is only sent to a child that is not yet reaped.

use super::{
    error::SpawnError,
    exit::{Exit, Stopped},
    fork, orphans,
    spec::{Environment, Output, Spec, Stdin},
};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use std::{
    io,
    process::{Child as StdChild, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// A child. Clones speak of the same one. Dropping them neither stops it nor waits for it.
#[derive(Debug, Clone)]
pub struct Child {
    shared: Arc<Shared>,
    exit: watch::Receiver<Option<Exit>>,
}

#[derive(Debug)]
struct Shared {
    pid: Pid,
    started: Instant,
    life: Mutex<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running { killed_by_us: bool },
    Reaped,
}

impl Shared {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a child on a thread of its own and waits until it runs (its exec succeeded). Should the
/// caller go away meanwhile, the child is killed.
///
/// # Errors
/// [`SpawnError`], one line with what to do.
pub async fn spawn(spec: Spec) -> Result<Child, SpawnError> {
    let (tx, rx) = oneshot::channel();
    let program = spec.program.clone();
    let thread = |source| SpawnError::Thread {
        program: program.clone(),
        source,
    };
    thread::Builder::new()
        .name("child-parent".into())
        .stack_size(256 << 10)
        .spawn(move || parent(spec, tx))
        .map_err(thread)?;
    let mut unclaimed = rx.await.map_err(|gone| thread(io::Error::other(gone)))??;
    unclaimed
        .0
        .take()
        .ok_or_else(|| thread(io::Error::other("the child was claimed twice")))
}

/// A child that nobody has yet: killed when it is dropped.
struct Unclaimed(Option<Child>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            child.kill();
        }
    }
}

impl Child {
    /// Its process id; also that of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shared.pid.as_raw().unsigned_abs()
    }

    /// How long ago it was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exited(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Waits for its end. Then nothing of its process group is left. May be called any number of
    /// times, and dropped.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        // An error would mean that the thread died without a word; it does not, but if so:
        let told = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|e| e.clone());
        told.unwrap_or_else(|| Exit::of(None, false, (None, None), self.uptime()))
    }

    /// Sends it a signal, not its group. False when it had ended.
    ///
    /// # Errors
    /// What the kernel said; for a child of ours only EPERM, when it changed its user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match *self.shared.life() {
            Life::Reaped => Ok(false),
            Life::Running { .. } => Ok(kill(self.shared.pid, signal).map(|()| true)?),
        }
    }

    /// Sends SIGKILL to it and to all of its process group. False when it had ended.
    pub fn kill(&self) -> bool {
        let mut life = self.shared.life();
        if *life == Life::Reaped {
            return false;
        }
        *life = Life::Running { killed_by_us: true };
        // Its own pid too, in case it moved to another group. Neither can fail in a way to act on.
        let _ = killpg(self.shared.pid, Signal::SIGKILL);
        let _ = kill(self.shared.pid, Signal::SIGKILL);
        true
    }

    /// Sends it `signal` and waits for its end; after `grace` sends SIGKILL to its whole group and
    /// waits again, which only a process stuck in the kernel can make long. May be called again, and
    /// by several at once: the shortest grace holds.
    pub async fn stop(&self, signal: Signal, grace: Duration) -> Stopped {
        // An error leaves the SIGKILL at the end of the grace.
        let _ = self.signal(signal);
        if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
            return Stopped {
                exit,
                forced: false,
            };
        }
        let forced = self.kill();
        Stopped {
            exit: self.wait().await,
            forced,
        }
    }
}

/// The whole life of the thread: exactly the child's.
fn parent(mut spec: Spec, tx: oneshot::Sender<Result<Unclaimed, SpawnError>>) {
    let oom_kills_before = spec.cgroup.oom_kills();
    let (mut process, shared) = match start(&mut spec) {
        Ok(started) => started,
        // Nobody to tell is nobody to care.
        Err(e) => return drop(tx.send(Err(e))),
    };
    let told = watch::Sender::new(None);
    let child = Child {
        shared: Arc::clone(&shared),
        exit: told.subscribe(),
    };
    // Dropped by us or in the channel, when the caller goes away before it looks.
    drop(tx.send(Ok(Unclaimed(Some(child)))));

    // Wait without reaping: until it is reaped, its pid and its group's id belong to nobody else.
    let mut waited = Err(Errno::EINTR);
    while waited == Err(Errno::EINTR) {
        waited = waitid(
            Id::Pid(shared.pid),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
        )
        .map(drop);
    }
    let uptime = shared.started.elapsed();
    let (status, killed_by_us) = {
        let mut life = shared.life();
        // EINVAL: it ended by a signal without a name (real-time).
        if matches!(waited, Ok(()) | Err(Errno::EINVAL)) {
            let _ = killpg(shared.pid, Signal::SIGKILL);
        }
        let killed_by_us = *life == Life::Running { killed_by_us: true };
        let status = process.wait();
        *life = Life::Reaped;
        (status, killed_by_us)
    };
    orphans::forget(shared.pid);
    let oom_kills = (oom_kills_before, spec.cgroup.oom_kills());
    told.send_replace(Some(Exit::of(status.ok(), killed_by_us, oom_kills, uptime)));
}

fn start(spec: &mut Spec) -> Result<(StdChild, Arc<Shared>), SpawnError> {
    SpawnError::precheck(&spec.program, spec.cwd.as_deref())?;
    let mut command = command(spec).map_err(|source| SpawnError::Thread {
        program: spec.program.clone(),
        source,
    })?;
    fork::prepare(&mut command, spec.yields);
    let registering = orphans::Registering::begin();
    let started = Instant::now();
    let process = command
        .spawn()
        .map_err(|source| SpawnError::of(&spec.program, spec.cwd.as_deref(), source))?;
    let pid = Pid::from_raw(process.id().cast_signed());
    registering.add(pid);

    let life = Mutex::new(Life::Running {
        killed_by_us: false,
    });
    Ok((process, Arc::new(Shared { pid, started, life })))
}

fn command(spec: &mut Spec) -> io::Result<Command> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args);
    match &spec.env {
        Environment::Exactly(all) => {
            command.env_clear().envs(all.iter().map(|(k, v)| (k, v)));
        }
        Environment::InheritedPlus(more) => {
            command.envs(more.iter().map(|(k, v)| (k, v)));
        }
    }
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    command.stdin(match spec.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Inherited => Stdio::inherit(),
    });
    if let Output::To(to) = std::mem::replace(&mut spec.output, Output::Inherited) {
        command.stdout(to.try_clone()?).stderr(to);
    }
    Ok(command)
}
