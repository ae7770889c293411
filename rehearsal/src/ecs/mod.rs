//! The scheduler in a box: so many tasks wanted, in zones, dead ones replaced after a delay.
//! Owns: starting, replacing, scaling and ending tasks. Must not: know what a cluster is.

pub mod cut;
pub mod metadata;
pub mod network;
pub mod process;
pub mod task;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::metadata::{Document, Metadata};
use self::network::Network;
use self::process::{Exit, Launch, Spawned, Spawner};
use self::task::Task;
use crate::lock;
use crate::timeline::{Kind, Timeline};
use crate::timing;

/// Service discovery as the scheduler sees it: a task's address is registered before its first
/// process starts (ECS registers while ACTIVATING) and deregistered after its last one ended.
pub trait Names: Send + Sync {
    /// A task begins.
    fn register(&self, task: &str, address: Ipv4Addr);
    /// The task is over.
    fn deregister(&self, task: &str);
}

/// What a task is made of.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The entrypoint binary.
    pub entrypoint: PathBuf,
    /// ECS service and cluster name.
    pub service: String,
    /// Zones, in the order in which tasks are spread.
    pub zones: Vec<String>,
    /// Folder for disks and logs.
    pub folder: PathBuf,
    /// Environment of every task, beside what identifies it.
    pub env: BTreeMap<String, String>,
    /// Seed of task ids and small delays.
    pub seed: u64,
}

/// The scheduler.
pub struct Ecs {
    shared: Arc<Shared>,
    _scheduler: AbortOnDropHandle<()>,
}

struct Shared {
    definition: Definition,
    network: Arc<Network>,
    names: Arc<dyn Names>,
    metadata: Metadata,
    spawner: Spawner,
    timeline: Arc<Timeline>,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    desired: usize,
    closed: bool,
    tasks: Vec<Arc<Task>>,
    overrides: BTreeMap<String, String>,
    reuse: bool,
    free: Vec<(usize, Ipv4Addr)>,
    random: StdRng,
}

impl Ecs {
    /// Starts the scheduler with nothing wanted yet.
    ///
    /// # Errors
    /// When the metadata server or the spawner cannot start.
    pub async fn start(
        definition: Definition,
        network: Arc<Network>,
        names: Arc<dyn Names>,
        timeline: Arc<Timeline>,
    ) -> Result<Self> {
        let metadata = Metadata::start(network.metadata()).await?;
        let guard = std::env::current_exe().context("find this program")?;
        let state = State {
            desired: 0,
            closed: false,
            tasks: Vec::new(),
            overrides: BTreeMap::new(),
            reuse: false,
            free: Vec::new(),
            random: StdRng::seed_from_u64(definition.seed),
        };
        let shared = Arc::new(Shared {
            definition,
            network,
            names,
            metadata,
            spawner: Spawner::start(guard)?,
            timeline,
            state: Mutex::new(state),
            wake: Notify::new(),
        });
        let scheduler = tokio::spawn(schedule(shared.clone()));
        Ok(Self {
            shared,
            _scheduler: AbortOnDropHandle::new(scheduler),
        })
    }

    /// Sets the number of tasks wanted. Fewer: the youngest are stopped.
    pub fn scale(&self, desired: usize) {
        let running: Vec<_> = self
            .tasks()
            .into_iter()
            .filter(|task| task.ended().is_none())
            .collect();
        self.shared
            .timeline
            .push(Kind::Ecs, &[], format!("{desired} tasks wanted"));
        lock(&self.shared.state).desired = desired;
        for task in running.iter().skip(desired).rev() {
            self.stop(task);
        }
        self.shared.wake.notify_one();
    }

    /// SIGTERM, and SIGKILL when the stop time-out is over.
    pub fn stop(&self, task: &Arc<Task>) {
        self.shared
            .timeline
            .push(Kind::Ecs, &[task.number], "SIGTERM");
        task.terminate();
        let (task, timeline) = (task.clone(), self.shared.timeline.clone());
        tokio::spawn(async move {
            tokio::time::sleep(timing::STOP).await;
            if task.running() {
                timeline.push(Kind::Ecs, &[task.number], "stop time-out is over: SIGKILL");
                task.destroy();
            }
        });
    }

    /// Kills every process of a task and keeps its disk and address: a container restart.
    pub fn take_down(&self, task: &Arc<Task>) {
        task.restarts();
        task.destroy();
    }

    /// Starts a task again on its old disk after [`Ecs::take_down`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub async fn bring_up(&self, task: &Arc<Task>) -> Result<()> {
        if let Some(process) = task.process() {
            process.wait().await;
        }
        self.shared
            .timeline
            .push(Kind::Ecs, &[task.number], "started again on the same disk");
        self.shared.execute(task).await
    }

    /// From now on a replacement gets the address of the task it replaces.
    pub fn reuse_addresses(&self) {
        lock(&self.shared.state).reuse = true;
    }

    /// Environment of tasks launched from now on: a new revision of the task definition.
    pub fn change(&self, name: &str, value: &str) {
        lock(&self.shared.state)
            .overrides
            .insert(name.into(), value.into());
    }

    /// Every task there ever was, oldest first.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        lock(&self.shared.state).tasks.clone()
    }

    /// The task with this ECS id or number.
    pub fn task(&self, id: &str) -> Option<Arc<Task>> {
        self.tasks()
            .into_iter()
            .find(|task| task.id == id || task.name() == id)
    }

    /// Tasks whose process runs.
    pub fn running(&self) -> Vec<Arc<Task>> {
        self.tasks()
            .into_iter()
            .filter(|task| task.running())
            .collect()
    }

    /// The thread that starts children, for measurements beside the scheduler.
    pub fn spawner(&self) -> &Spawner {
        &self.shared.spawner
    }
}

impl Ecs {
    /// Ends everything: nothing is wanted any more and every process is killed.
    pub fn close(&self) {
        {
            let mut state = lock(&self.shared.state);
            state.desired = 0;
            state.closed = true;
        }
        for task in self.tasks() {
            task.destroy();
        }
    }

    /// [`Ecs::close`], and waits until the processes are gone.
    pub async fn end(&self) {
        self.close();
        for task in self.tasks() {
            if let Some(process) = task.process() {
                process.wait().await;
            }
        }
    }
}

impl Drop for Ecs {
    fn drop(&mut self) {
        self.close();
    }
}

async fn schedule(shared: Arc<Shared>) {
    loop {
        while shared.missing() > 0 {
            if let Err(error) = shared.launch().await {
                let text = format!("cannot launch a task: {error:#}");
                shared.timeline.push(Kind::Violation, &[], text);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        shared.wake.notified().await;
    }
}

impl Shared {
    /// Places to fill now. The place of a task that has just ended is not free yet, whoever else
    /// woke the scheduler: a task that ends at once must not be launched hundreds of times.
    fn missing(&self) -> usize {
        let state = lock(&self.state);
        let free = |exit: Exit| exit.at.elapsed() >= timing::REPLACE;
        let kept = state
            .tasks
            .iter()
            .filter(|task| !task.ended().is_some_and(free))
            .count();
        state.desired.saturating_sub(kept)
    }

    async fn launch(self: &Arc<Self>) -> Result<()> {
        let task = Arc::new(self.design()?);
        std::fs::create_dir_all(task.disk.join("storage")).context("make a disk")?;
        std::fs::create_dir_all(task.disk.join("config")).context("make a disk")?;
        lock(&self.state).tasks.push(task.clone());
        self.names.register(&task.id, task.address);
        let text = format!("launched in zone {} at {}", task.zone, task.address);
        self.timeline.push(Kind::Ecs, &[task.number], text);
        self.execute(&task).await
    }

    /// Everything about a new task that is decided before it exists.
    fn design(&self) -> Result<Task> {
        let mut state = lock(&self.state);
        let zone = self.emptiest_zone(&state);
        let number = state.tasks.len() + 1;
        let id: String = (0..32)
            .map(|_| format!("{:x}", state.random.random_range(0..16u8)))
            .collect();
        let reused = state.free.iter().position(|_| state.reuse);
        let (zone, address) = match reused.map(|at| state.free.remove(at)) {
            Some(place) => place,
            None => (
                zone,
                self.network
                    .fresh(zone)
                    .context("no address left in the zone")?,
            ),
        };
        let letter = self.definition.zones.get(zone).cloned().unwrap_or_default();
        let uri = self.metadata.publish(Document {
            cluster: "rehearsal".into(),
            service: self.definition.service.clone(),
            task: id.clone(),
            family: self.definition.service.clone(),
            revision: "1".into(),
            zone: format!("eu-central-1{letter}"),
            address,
            incomplete: state.random.random_range(0..3),
        });
        let disk = self.definition.folder.join(format!("t{number}"));
        let mut env = self.definition.env.clone();
        env.extend(state.overrides.clone());
        let host = address.to_string();
        for (name, value) in [
            ("ECS_CONTAINER_METADATA_URI_V4", uri.as_str()),
            ("ENTRYPOINT_BIND", &host),
            ("QDRANT__SERVICE__HOST", &host),
            (
                "QDRANT__STORAGE__STORAGE_PATH",
                &disk.join("storage").display().to_string(),
            ),
            (
                "QDRANT__STORAGE__SNAPSHOTS_PATH",
                &disk.join("snapshots").display().to_string(),
            ),
            (
                "QDRANT_INIT_FILE_PATH",
                &disk.join(".qdrant-initialized").display().to_string(),
            ),
        ] {
            env.insert(name.into(), value.into());
        }
        let api_key = env
            .get("QDRANT__SERVICE__API_KEY")
            .cloned()
            .unwrap_or_default();
        let log = self.definition.folder.join(format!("t{number}.log"));
        Ok(Task::new(
            number,
            id,
            letter,
            address,
            disk,
            log,
            api_key,
            env.into_iter().collect(),
        ))
    }

    /// The zone with the fewest live tasks; the first of several.
    fn emptiest_zone(&self, state: &State) -> usize {
        let count = |zone: &str| {
            state
                .tasks
                .iter()
                .filter(|task| task.ended().is_none() && task.zone == zone)
                .count()
        };
        let zones = self.definition.zones.iter().enumerate();
        zones
            .min_by_key(|(_, zone)| count(zone))
            .map_or(0, |(at, _)| at)
    }

    async fn execute(self: &Arc<Self>, task: &Arc<Task>) -> Result<()> {
        let process = self
            .spawner
            .spawn(Launch {
                program: self.definition.entrypoint.clone(),
                args: Vec::new(),
                env: task.env.clone(),
                cwd: task.disk.clone(),
                log: task.log.clone(),
            })
            .await?;
        task.set_process(process.clone());
        let (shared, task) = (self.clone(), task.clone());
        tokio::spawn(async move {
            if let Some(exit) = process.wait().await {
                shared.ended(&task, &process, exit).await;
            }
        });
        Ok(())
    }

    async fn ended(&self, task: &Arc<Task>, process: &Spawned, exit: Exit) {
        if lock(&self.state).closed {
            return;
        }
        self.timeline
            .push(Kind::Ecs, &[task.number], format!("ended: {exit}"));
        if !task.ends_with(process) {
            return;
        }
        task.destroy();
        task.set_ended(exit);
        self.names.deregister(&task.id);
        let zone = self
            .definition
            .zones
            .iter()
            .position(|zone| *zone == task.zone)
            .unwrap_or(0);
        lock(&self.state).free.push((zone, task.address));
        tokio::time::sleep(timing::REPLACE).await;
        self.wake.notify_one();
    }
}
