//! Faults of the Qdrants themselves, while the entrypoints above them live on.
//! Owns: the program that can be made to fail at start, signals to Qdrants, and what must stay as it
//! was meanwhile. Must not: contain a scenario.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::World;
use crate::ecs::process;
use crate::ecs::task::Task;
use crate::observe::ask;
use crate::observe::sample::{Generation, Sample};
use crate::timing;
use crate::verdict::Failure;

/// Among Qdrant's own files, so that it goes wherever they go.
const POISON: &str = "poisoned";

/// A program in Qdrant's place that becomes Qdrant, or ends with its exit code for a panic.
#[derive(Debug)]
pub struct Breakable {
    /// What entrypoints are told to start.
    pub program: PathBuf,
    flag: PathBuf,
}

impl Breakable {
    /// Puts it into `folder`; it works until it is broken.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(folder: &Path, qdrant: &Path) -> Result<Self> {
        let (program, flag) = (folder.join("qdrant-or-not"), folder.join("qdrant-broken"));
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && exec '{}' --version\n[ -e '{}' ] && exit 101\n[ -e \"$QDRANT__STORAGE__STORAGE_PATH/{POISON}\" ] && exit 101\nexec '{}' \"$@\"\n",
            qdrant.display(),
            flag.display(),
            qdrant.display()
        );
        std::fs::write(&program, text).context("write the program in Qdrant's place")?;
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, all).context("make it executable")?;
        Ok(Self { program, flag })
    }

    /// From now on every start of Qdrant upon what this task's disk holds now ends with 101.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn poison(&self, task: &Task) -> Result<()> {
        let poison = task.disk.join("storage").join(POISON);
        std::fs::write(poison, "").context("poison a disk")
    }

    /// From now on every start of Qdrant ends with 101, or goes well again.
    ///
    /// # Errors
    /// When the flag cannot be set or taken away.
    pub fn set(&self, broken: bool) -> Result<()> {
        match broken {
            true => std::fs::write(&self.flag, "").context("break Qdrant"),
            false => std::fs::remove_file(&self.flag).context("mend Qdrant"),
        }
    }
}

/// Which Qdrant each task runs: its number, peer id and generation.
pub type Who = Vec<(usize, Option<u64>, Option<Generation>)>;

/// Which Qdrant each running task runs.
pub fn who(sample: &Sample) -> Who {
    let of = |view: &crate::observe::sample::View| {
        let peer = view.raft.as_ref().map(|raft| raft.peer_id);
        (view.task, peer, view.formed.clone())
    };
    sample.running().map(of).collect()
}

impl World {
    /// Sends a signal to the Qdrants of these tasks and to nothing else.
    pub fn signal_qdrants(&self, tasks: &[Arc<Task>], signal: Signal, why: &str) {
        for task in tasks {
            self.healing.harm(task);
        }
        self.fault(&tasks.iter().collect::<Vec<_>>(), why);
        for pid in tasks.iter().flat_map(|task| task.below()) {
            process::send(pid, signal);
        }
    }

    /// Watches for a while that no container health check fails and no task ends, whatever its
    /// Qdrant does: ECS would kill it, and its disk with it.
    ///
    /// # Errors
    /// The first task that is not healthy.
    pub async fn nobody_is_replaced(&self, during: Duration) -> Result<(), Failure> {
        let before: Vec<usize> = self.ecs.running().iter().map(|task| task.number).collect();
        let end = Instant::now() + during;
        while Instant::now() < end {
            let tasks = self.ecs.running();
            let now: Vec<usize> = tasks.iter().map(|task| task.number).collect();
            if now != before {
                let detail = format!("{before:?} ran, {now:?} run");
                return Err(Failure::new("no task is replaced", detail));
            }
            for task in &tasks {
                if !ask::healthy(&self.client, task).await {
                    let detail = format!("{} is not", task.name());
                    return Err(Failure::new("every task is healthy", detail));
                }
            }
            self.check()?;
            tokio::time::sleep(timing::LOOK_AT_COPIES).await;
        }
        Ok(())
    }

    /// Whether every task runs the Qdrant that it ran before, with its disk.
    ///
    /// # Errors
    /// The difference.
    pub fn same_as(&self, before: &Who) -> Result<(), Failure> {
        let after = who(&self.observer.latest());
        if after == *before {
            return Ok(());
        }
        let detail = format!("before {before:?}, after {after:?}");
        Err(Failure::new(
            "the same cluster comes back on its disks",
            detail,
        ))
    }
}
