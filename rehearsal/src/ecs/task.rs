//! One task: its names, its place, its life so far.
//! Owns: a task's record and signals to it. Must not: start or replace tasks.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::deployment::Health;
use super::health::{self, Checks};
use super::process::{self, Exit, Spawned};
use crate::lock;

/// What to stop when a task is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The entrypoint alone: its Qdrant goes on.
    Entrypoint,
    /// Everything, like a frozen micro virtual machine.
    Whole,
}

/// The record of one task.
#[derive(Debug)]
pub struct Task {
    /// Number in the run, from 1; `t1` in every print.
    pub number: usize,
    /// ECS task id.
    pub id: String,
    /// Revision of its task definition.
    pub revision: u32,
    /// Its zone.
    pub zone: String,
    /// Its own loopback address.
    pub address: Ipv4Addr,
    /// Its whole disk.
    pub disk: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
    /// Qdrant's API key that it was given.
    pub api_key: String,
    /// When it was launched.
    pub launched: Instant,
    /// What it runs.
    pub(super) program: PathBuf,
    /// Its environment.
    pub(super) env: Vec<(String, String)>,
    pub(super) life: Mutex<Life>,
}

/// What changes about a task.
#[derive(Debug, Default)]
pub(super) struct Life {
    process: Option<Spawned>,
    /// When it was asked to stop, by the scheduler or a scenario.
    stopping: Option<Instant>,
    checks: Checks,
    /// Taken down to be started again in place.
    restarting: bool,
    ended: Option<Exit>,
    paused: bool,
    resumed: Option<Instant>,
}

impl Task {
    /// `t1`, `t2`, …
    pub fn name(&self) -> String {
        format!("t{}", self.number)
    }

    /// The running (or last) process.
    pub fn process(&self) -> Option<Spawned> {
        lock(&self.life).process.clone()
    }

    /// Whether its process runs, paused or not.
    pub fn running(&self) -> bool {
        lock(&self.life)
            .process
            .as_ref()
            .is_some_and(|process| process.exit().is_none())
    }

    /// Whether the task is over for good, and how its process ended.
    pub fn ended(&self) -> Option<Exit> {
        lock(&self.life).ended
    }

    /// When it was asked to stop. From then on the load balancer sends it nothing.
    pub fn stopping(&self) -> Option<Instant> {
        lock(&self.life).stopping
    }

    /// Notes that it is asked to stop; false when it was asked before.
    pub(super) fn set_stopping(&self) -> bool {
        let mut life = lock(&self.life);
        let first = life.stopping.is_none();
        life.stopping.get_or_insert_with(Instant::now);
        first
    }

    /// What the checks say, with this grace period from its launch on.
    pub fn health(&self, grace: Duration) -> Health {
        let checks = lock(&self.life).checks;
        checks.health(health::in_grace(self.launched.elapsed(), grace))
    }

    pub(super) fn set_checks(&self, checks: Checks) {
        lock(&self.life).checks = checks;
    }

    /// Whether a scenario has it paused.
    pub fn paused(&self) -> bool {
        lock(&self.life).paused
    }

    /// For how long it has gone on since it was last paused, if it was.
    pub fn awake_for(&self) -> Option<Duration> {
        lock(&self.life).resumed.map(|at| at.elapsed())
    }

    pub(super) fn set_process(&self, process: Spawned) {
        let mut life = lock(&self.life);
        life.process = Some(process);
        life.restarting = false;
    }

    pub(super) fn set_ended(&self, exit: Exit) {
        lock(&self.life).ended = Some(exit);
    }

    /// Whether the end of this process ends the task: not when it was taken down to be started
    /// again, nor when it has been already.
    pub(super) fn ends_with(&self, process: &Spawned) -> bool {
        let life = lock(&self.life);
        let current = life.process.as_ref().is_some_and(|p| p.pid == process.pid);
        current && !life.restarting
    }

    /// Its next end is not the end of the task.
    pub(super) fn restarts(&self) {
        lock(&self.life).restarting = true;
    }

    /// SIGKILL to the entrypoint alone. Its Qdrant has to die with it.
    pub fn kill(&self) {
        if let Some(process) = self.process() {
            process.signal(Signal::SIGKILL);
        }
    }

    /// SIGTERM to the entrypoint, as ECS sends it.
    pub fn terminate(&self) {
        if let Some(process) = self.process() {
            process.signal(Signal::SIGTERM);
        }
    }

    /// Kills everything below and including the entrypoint.
    pub fn destroy(&self) {
        let Some(process) = self.process() else {
            return;
        };
        let below = process::descendants(process.pid);
        process.signal(Signal::SIGKILL);
        for pid in below {
            process::send(pid, Signal::SIGKILL);
        }
    }

    /// Stops the clock of the task.
    pub fn pause(&self, what: Pause) {
        let Some(process) = self.process() else {
            return;
        };
        lock(&self.life).paused = true;
        process.signal(Signal::SIGSTOP);
        if what == Pause::Whole {
            for pid in process::descendants(process.pid) {
                process::send(pid, Signal::SIGSTOP);
            }
        }
    }

    /// Lets it continue.
    pub fn resume(&self) {
        let Some(process) = self.process() else {
            return;
        };
        for pid in process::descendants(process.pid) {
            process::send(pid, Signal::SIGCONT);
        }
        process.signal(Signal::SIGCONT);
        let mut life = lock(&self.life);
        life.paused = false;
        life.resumed = Some(Instant::now());
    }

    /// Process ids of its Qdrant (whatever runs below the entrypoint).
    pub fn below(&self) -> Vec<i32> {
        self.process()
            .map(|process| process::descendants(process.pid))
            .unwrap_or_default()
    }
}
