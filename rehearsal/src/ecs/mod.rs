//! The service scheduler in a box: so many tasks wanted of a revision, in zones; dead and unhealthy
//! ones replaced, new revisions rolled out, all as ECS does it.
//! Owns: what is wanted, and the handles of scenarios. Must not: know what a cluster is.
//!
//! `deployment` decides, `scheduler` does it, `launch` begins and ends tasks, `health` checks them;
//! `metadata`, `agent` and `api` are what tasks see of it.

pub mod agent;
pub mod api;
pub mod cut;
pub mod deployment;
#[cfg(test)]
mod deployment_tests;
pub mod health;
mod launch;
pub mod metadata;
pub mod network;
pub mod process;
mod scheduler;
pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::agent::Agent;
use self::api::Api;
use self::deployment::Percent;
use self::metadata::Metadata;
use self::network::Network;
use self::process::Spawner;
use self::task::Task;
use crate::lock;
use crate::timeline::{Kind, Timeline};

/// Service discovery as the scheduler sees it: a task's address is registered before its first
/// process starts (ECS registers while ACTIVATING) and deregistered after its last one ended.
pub trait Names: Send + Sync {
    /// A task begins.
    fn register(&self, task: &str, address: Ipv4Addr);
    /// The task is over.
    fn deregister(&self, task: &str);
}

/// How the service is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bounds of a deployment.
    pub percent: Percent,
    /// `availabilityZoneRebalancing`.
    pub rebalancing: bool,
    /// `healthCheckGracePeriodSeconds`.
    pub grace: Duration,
    /// `stopTimeout` of the container.
    pub stop: Duration,
    /// How the agent endpoint behaves at first.
    pub agent: agent::Mode,
    /// How the ECS API behaves at first.
    pub api: api::Mode,
}

/// What a task is made of.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The entrypoint binary.
    pub entrypoint: PathBuf,
    /// ECS service name, and the family of its task definition.
    pub service: String,
    /// Zones, in the order in which tasks are spread.
    pub zones: Vec<String>,
    /// Folder for disks and logs.
    pub folder: PathBuf,
    /// Whether the disk of a task that is over is kept.
    pub keep: bool,
    /// Environment of every task, beside what identifies it.
    pub env: BTreeMap<String, String>,
    /// How the service is run.
    pub policy: Policy,
    /// Seed of task ids, small delays and lots.
    pub seed: u64,
}

/// How a new revision differs from the primary one.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Another program instead of the entrypoint.
    pub program: Option<PathBuf>,
    /// Environment.
    pub env: BTreeMap<String, String>,
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
    agent: Agent,
    api: Api,
    checker: reqwest::Client,
    spawner: Spawner,
    timeline: Arc<Timeline>,
    state: Mutex<State>,
    wake: Notify,
}

/// One revision of the task definition.
#[derive(Debug, Clone)]
struct Revision {
    program: PathBuf,
    env: BTreeMap<String, String>,
}

struct State {
    desired: usize,
    closed: bool,
    tasks: Vec<Arc<Task>>,
    /// Revision 1, 2, …
    revisions: Vec<Revision>,
    primary: u32,
    policy: Policy,
    /// Revisions of failed tasks of other deployments than the primary one.
    owed: Vec<u32>,
    /// Zones that take no tasks.
    shut: BTreeSet<usize>,
    overrides: BTreeMap<String, String>,
    reuse: bool,
    free: Vec<(usize, Ipv4Addr)>,
    newest: Timestamp,
    random: StdRng,
}

impl Ecs {
    /// Starts the scheduler with nothing wanted yet.
    ///
    /// # Errors
    /// When one of its servers or the spawner cannot start.
    pub async fn start(
        definition: Definition,
        network: Arc<Network>,
        names: Arc<dyn Names>,
        timeline: Arc<Timeline>,
    ) -> Result<Self> {
        let policy = definition.policy;
        let guard = std::env::current_exe().context("find this program")?;
        let first = Revision {
            program: definition.entrypoint.clone(),
            env: BTreeMap::new(),
        };
        let state = State {
            desired: 0,
            closed: false,
            tasks: Vec::new(),
            revisions: vec![first],
            primary: 1,
            policy,
            owed: Vec::new(),
            shut: BTreeSet::new(),
            overrides: BTreeMap::new(),
            reuse: false,
            free: Vec::new(),
            newest: Timestamp::UNIX_EPOCH,
            random: StdRng::seed_from_u64(definition.seed),
        };
        let shared = Arc::new(Shared {
            metadata: Metadata::start(network.metadata()).await?,
            agent: Agent::start(network.agent(), policy.agent).await?,
            api: Api::start(network.api(), policy.api)?,
            checker: health::client().context("build the health checks' client")?,
            spawner: Spawner::start(guard)?,
            definition,
            network,
            names,
            timeline,
            state: Mutex::new(state),
            wake: Notify::new(),
        });
        let weak: Weak<Shared> = Arc::downgrade(&shared);
        shared.agent.ask(weak);
        let scheduler = tokio::spawn(scheduler::schedule(shared.clone()));
        Ok(Self {
            shared,
            _scheduler: AbortOnDropHandle::new(scheduler),
        })
    }

    /// Sets the number of tasks wanted.
    pub fn scale(&self, desired: usize) {
        let text = format!("{desired} tasks wanted");
        self.shared.timeline.push(Kind::Ecs, &[], text);
        lock(&self.shared.state).desired = desired;
        self.shared.wake.notify_one();
    }

    /// Rolls out a new revision of the task definition, and returns its number.
    pub fn deploy(&self, change: Change) -> u32 {
        let revision = {
            let mut state = lock(&self.shared.state);
            let mut next = state.current();
            if let Some(program) = change.program {
                next.program = program;
            }
            next.env.extend(change.env);
            state.revisions.push(next);
            u32::try_from(state.revisions.len()).unwrap_or(u32::MAX)
        };
        self.roll_out(revision);
        revision
    }

    /// Rolls out a revision that there is, as a rollback does. Its tasks that still run stay.
    pub fn roll_out(&self, revision: u32) {
        let text = format!("revision {revision} is rolled out");
        self.shared.timeline.push(Kind::Ecs, &[], text);
        let mut state = lock(&self.shared.state);
        state.primary = revision;
        state.owed.retain(|owed| *owed != revision);
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Whether the service is in its steady state: as many tasks as desired, all of the primary
    /// revision and healthy, and none that is being stopped.
    ///
    /// # Errors
    /// What is not so yet.
    pub fn steady(&self) -> Result<(), String> {
        self.shared.steady()
    }

    /// How many tasks are wanted.
    pub fn desired(&self) -> usize {
        lock(&self.shared.state).desired
    }

    /// The primary revision.
    pub fn primary(&self) -> u32 {
        lock(&self.shared.state).primary
    }

    /// Changes how the service is run; not the agent endpoint or the API.
    pub fn run_with(&self, percent: Percent, rebalancing: bool) {
        let mut state = lock(&self.shared.state);
        state.policy.percent = percent;
        state.policy.rebalancing = rebalancing;
        drop(state);
        self.shared.wake.notify_one();
    }

    /// The agent endpoint.
    pub fn agent(&self) -> &Agent {
        &self.shared.agent
    }

    /// The ECS API.
    pub fn api(&self) -> &Api {
        &self.shared.api
    }

    /// Whether a task is protected from scale-in now.
    pub fn protects(&self, task: &Task) -> bool {
        self.shared.agent.protects(&metadata::task_arn(&task.id))
    }

    /// A zone takes no tasks any more, or takes them again. What runs there goes on.
    pub fn shut_zone(&self, letter: &str, shut: bool) {
        let Some(zone) = self.shared.zone(letter) else {
            return;
        };
        let mut state = lock(&self.shared.state);
        match shut {
            true => state.shut.insert(zone),
            false => state.shut.remove(&zone),
        };
        drop(state);
        let what = if shut {
            "takes no tasks"
        } else {
            "takes tasks again"
        };
        let text = format!("zone {letter} {what}");
        self.shared.timeline.push(Kind::Ecs, &[], text);
        self.shared.wake.notify_one();
    }

    /// Stops a task as an operator does: it is drained, gets SIGTERM, and SIGKILL when the stop
    /// time-out is over. It is replaced; no protection saves it.
    pub fn stop(&self, task: &Arc<Task>) {
        self.shared.failed(task);
        self.shared.stop(task, "it was asked for");
    }

    /// Kills every process of a task and keeps its disk and address: a container restart.
    pub fn take_down(&self, task: &Arc<Task>) {
        task.restarts();
        task.destroy();
    }

    /// SIGTERM to a task that keeps its disk and address: a container that is stopped and started again.
    pub fn put_down(&self, task: &Arc<Task>) {
        task.restarts();
        task.terminate();
    }

    /// Starts a task again on its old disk after [`Ecs::take_down`] or [`Ecs::put_down`].
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

    /// Environment of tasks launched from now on, whatever their revision: a secret that was rotated.
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

impl State {
    /// The primary revision.
    fn current(&self) -> Revision {
        self.revision(self.primary)
    }

    fn revision(&self, number: u32) -> Revision {
        let at = (number as usize).saturating_sub(1);
        let found = self.revisions.get(at).or(self.revisions.last());
        found.cloned().unwrap_or_else(|| Revision {
            program: PathBuf::new(),
            env: BTreeMap::new(),
        })
    }
}

impl Shared {
    /// Index of a zone.
    fn zone(&self, letter: &str) -> Option<usize> {
        let mut zones = self.definition.zones.iter();
        zones.position(|zone| zone == letter)
    }
}
