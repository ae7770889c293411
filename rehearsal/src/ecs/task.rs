//! One task: its names, its place, its life so far.
//! Owns: a task's record and signals to it. Must not: start or replace tasks.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

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
    /// Its environment.
    pub(super) env: Vec<(String, String)>,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    process: Option<Spawned>,
    /// Taken down to be started again in place.
    restarting: bool,
    ended: Option<Exit>,
    paused: bool,
    resumed: Option<Instant>,
}

impl Task {
    /// A task that has not been started.
    #[expect(clippy::too_many_arguments, reason = "one record, built at one place")]
    pub(super) fn new(
        number: usize,
        id: String,
        zone: String,
        address: Ipv4Addr,
        disk: PathBuf,
        log: PathBuf,
        api_key: String,
        env: Vec<(String, String)>,
    ) -> Self {
        let launched = Instant::now();
        let life = Mutex::default();
        Self {
            number,
            id,
            zone,
            address,
            disk,
            log,
            api_key,
            launched,
            env,
            life,
        }
    }

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
