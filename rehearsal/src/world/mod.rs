//! Everything a scenario can touch: the scheduler, names, the store, the clock of a wait.
//! Owns: putting a world together, waiting on conditions. Must not: contain a scenario.

pub mod damage;
mod described;
pub mod heal;
mod keys;
pub mod load;
pub mod points;
pub mod qdrants;
pub mod restores;
pub mod rollout;
pub mod sets;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use self::qdrants::Breakable;
use crate::dns::{Registry, Server};
use crate::ecs::network::Network;
use crate::ecs::process;
use crate::ecs::task::Task;
use crate::ecs::{Definition, Ecs, Names};
use crate::efs::Efs;
use crate::observe::sample::Sample;
use crate::observe::{Observer, ask, story};
use crate::scenario::Setup;
use crate::timeline::{Kind, Timeline};
use crate::timing;
use crate::tools::Qdrant;
use crate::verdict::{Failure, Judge, at_rest};

/// Qdrant's API key in every rehearsal.
pub const API_KEY: &str = "rehearsal-key";
/// The service's name in DNS.
pub const DNS_NAME: &str = "qdrant.rehearsal.local";

/// What all worlds of one command share.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The entrypoint under test.
    pub entrypoint: PathBuf,
    /// The Qdrant under it.
    pub qdrant: Qdrant,
    /// How many zones.
    pub zones: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Print nothing but verdicts.
    pub quiet: bool,
    /// Keep the folders with disks and logs.
    pub keep: bool,
    /// How often scenarios that repeat something do so, when the command says it.
    pub times: Option<usize>,
    /// How many faults `random` has.
    pub faults: usize,
}

/// One world.
pub struct World {
    /// How it was made.
    pub setup: Setup,
    /// The scheduler.
    pub ecs: Arc<Ecs>,
    /// Service discovery.
    pub dns: Registry,
    /// The shared store.
    pub efs: Efs,
    /// What happened.
    pub timeline: Arc<Timeline>,
    /// What must hold.
    pub judge: Arc<Judge>,
    /// What is seen.
    pub observer: Observer,
    /// Addresses.
    pub network: Arc<Network>,
    /// Whether the stand-in is under the entrypoints.
    pub standin: bool,
    /// What is under the entrypoints.
    pub qdrant: Qdrant,
    breakable: Option<Breakable>,
    /// How often scenarios that repeat something do so, when the command says it.
    pub times: Option<usize>,
    /// How many faults `random` has.
    pub faults: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// What healing scenarios have beside all that.
    pub healing: heal::Healing,
    client: reqwest::Client,
    _server: Server,
    // Last, so that disks vanish after everything that writes to them.
    folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // Not left to the scheduler's own drop: the observers hold it for a moment longer.
        self.ecs.close();
    }
}

impl Names for Registry {
    fn register(&self, task: &str, address: Ipv4Addr) {
        // Refused only for ids that are no DNS labels, and ours are hexadecimal.
        let _ = Registry::register(self, task, address.into());
    }

    fn deregister(&self, task: &str) {
        Registry::deregister(self, task);
    }
}

impl World {
    /// Makes a world with nothing running.
    ///
    /// # Errors
    /// When an address is taken, a folder cannot be made or FUSE is wanted and missing.
    pub async fn build(plan: &Plan, setup: Setup) -> Result<Self> {
        let mut folder = tempfile::Builder::new()
            .prefix("rehearsal-")
            .tempdir()
            .context("make the folder of this rehearsal")?;
        folder.disable_cleanup(plan.keep);
        let network = Arc::new(Network::claim()?);
        let timeline = Arc::new(Timeline::new(plan.quiet));
        let judge = Arc::new(Judge::new(setup.allowed.clone()));
        let dns = Registry::new(DNS_NAME, 6335, plan.seed).context("make the DNS zone")?;
        let server = Server::bind(network.dns(), dns.clone(), "vpc")
            .await
            .context("start DNS")?;
        let efs = match (setup.bucket, setup.breakable_store) {
            (true, _) => Efs::bucket(folder.path())?,
            (false, true) => Efs::breakable(folder.path())?,
            (false, false) => Efs::plain(folder.path())?,
        };
        let breakable = match setup.breakable_qdrant {
            true => Some(Breakable::new(folder.path(), &plan.qdrant.program)?),
            false => None,
        };
        let program = breakable
            .as_ref()
            .map_or(&plan.qdrant.program, |b| &b.program);
        let mut env: BTreeMap<String, String> = timing::ENTRYPOINT
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        for (name, value) in [
            ("ENTRYPOINT_CLUSTER_SIZE", setup.size.to_string()),
            ("ENTRYPOINT_DNS_NAME", DNS_NAME.into()),
            ("ENTRYPOINT_DNS_SERVER", network.dns().to_string()),
            ("ENTRYPOINT_STORE", efs.url()),
            ("ENTRYPOINT_QDRANT_BIN", program.display().to_string()),
            ("QDRANT__SERVICE__API_KEY", API_KEY.into()),
            ("QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", "true".into()),
            ("QDRANT__LOG_LEVEL", "INFO".into()),
            ("QDRANT__TELEMETRY_DISABLED", "true".into()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ] {
            env.insert(name.into(), value);
        }
        env.extend(efs.env());
        if setup.heals {
            env.extend(
                timing::HEAL
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into())),
            );
        }
        env.extend(
            setup
                .env
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone())),
        );
        let zones = (0..plan.zones)
            .map(|zone| char::from(b'a' + zone as u8).to_string())
            .collect();
        let definition = Definition {
            entrypoint: plan.entrypoint.clone(),
            service: "qdrant".into(),
            zones,
            folder: folder.path().to_owned(),
            keep: plan.keep,
            env,
            policy: setup.policy,
            seed: plan.seed,
        };
        let names = Arc::new(dns.clone());
        let ecs = Ecs::start(definition, network.clone(), names, timeline.clone()).await?;
        let ecs = Arc::new(ecs);
        let observer = Observer::start(ecs.clone(), timeline.clone(), judge.clone())?;
        let watched = (ecs.clone(), timeline.clone(), judge.clone());
        let healing = heal::Healing::start(setup.heals.then_some(watched), plan.seed)?;
        let client = ask::client().context("build a client")?;
        let _server = server;
        Ok(Self {
            setup,
            ecs,
            dns,
            efs,
            timeline,
            judge,
            observer,
            network,
            standin: plan.qdrant.standin,
            qdrant: plan.qdrant.clone(),
            times: plan.times,
            breakable,
            faults: plan.faults,
            seed: plan.seed,
            healing,
            client,
            _server,
            folder,
        })
    }

    /// Number of tasks of this case.
    pub fn size(&self) -> usize {
        self.setup.size
    }

    /// Folder with disks and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The program in Qdrant's place.
    ///
    /// # Errors
    /// In a case that did not ask for one.
    pub fn breakable(&self) -> Result<&Breakable, Failure> {
        let breakable = self.breakable.as_ref();
        breakable.ok_or_else(|| anyhow::anyhow!("this case cannot break Qdrant").into())
    }

    /// Says what comes next.
    pub fn step(&self, text: impl Into<String>) {
        self.timeline.push(Kind::Step, &[], text);
    }

    /// Notes a fault.
    pub fn fault(&self, tasks: &[&Arc<Task>], text: impl Into<String>) {
        let numbers: Vec<usize> = tasks.iter().map(|task| task.number).collect();
        self.timeline.push(Kind::Fault, &numbers, text);
    }

    /// SIGKILL to the entrypoint alone, and a check that nothing of the task survives it.
    ///
    /// # Errors
    /// When its Qdrant still lives after a moment.
    pub async fn kill(&self, task: &Arc<Task>, why: &str) -> Result<(), Failure> {
        self.healing.harm(task);
        self.fault(&[task], format!("kill -9: {why}"));
        let below = task.below();
        task.kill();
        let limit = Instant::now() + timing::ORPHAN;
        while below.iter().any(|pid| process::alive(*pid)) {
            if Instant::now() > limit {
                let detail = format!("{} was killed and its Qdrant {below:?} lives", task.name());
                return Err(Failure::new("the child dies with its parent", detail));
            }
            tokio::time::sleep(timing::AIM).await;
        }
        Ok(())
    }

    /// Waits until a sample fulfils a condition.
    ///
    /// # Errors
    /// The name of the wait and the condition's last complaint when `bound` is over.
    pub async fn until(
        &self,
        what: &str,
        bound: Duration,
        mut condition: impl FnMut(&Sample) -> Result<(), String>,
    ) -> Result<Arc<Sample>, Failure> {
        let started = Instant::now();
        let mut samples = self.observer.samples();
        let mut last = "nothing was seen".to_owned();
        loop {
            let left = bound.saturating_sub(started.elapsed());
            if tokio::time::timeout(left, samples.changed()).await.is_err() {
                let detail = format!("{what} not within {:.0} s: {last}", bound.as_secs_f64());
                return Err(Failure::new("bounded time to rest", detail));
            }
            let sample = samples.borrow_and_update().clone();
            match condition(&sample) {
                Ok(()) => return Ok(sample),
                Err(complaint) => last = complaint,
            }
            self.check()?;
        }
    }

    /// Waits until so many members are one cluster, and stay so for a moment.
    ///
    /// # Errors
    /// What is still missing when the time is over.
    pub async fn rest(&self, members: usize) -> Result<Arc<Sample>, Failure> {
        let mut since: Option<f64> = None;
        let still = timing::STILL.as_secs_f64();
        let what = format!("{members} members at rest");
        let sample = self
            .until(&what, timing::REST, |sample| {
                match at_rest(sample, members) {
                    Ok(()) if sample.at - *since.get_or_insert(sample.at) >= still => Ok(()),
                    Ok(()) => Err("at rest, but only just".into()),
                    Err(complaint) => {
                        since = None;
                        Err(complaint)
                    }
                }
            })
            .await?;
        self.step(format!("at rest: {members} members are one cluster"));
        Ok(sample)
    }

    /// Watches for a while that a condition never holds.
    ///
    /// # Errors
    /// When it holds once.
    pub async fn never(
        &self,
        invariant: &str,
        during: Duration,
        mut condition: impl FnMut(&Sample) -> Option<String>,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let mut samples = self.observer.samples();
        while let Some(left) = during.checked_sub(started.elapsed()) {
            if tokio::time::timeout(left, samples.changed()).await.is_ok() {
                let sample = samples.borrow_and_update().clone();
                if let Some(seen) = condition(&sample) {
                    return Err(Failure::new(invariant, seen));
                }
            }
            self.check()?;
        }
        Ok(())
    }

    /// Looks as often as it can until something can be had: for moments that pass quickly.
    ///
    /// # Errors
    /// When `bound` is over.
    pub async fn aim<T>(
        &self,
        what: &str,
        bound: Duration,
        mut find: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        loop {
            if let Some(found) = find() {
                return Ok(found);
            }
            if started.elapsed() > bound {
                let state = self.observer.latest().describe();
                let detail = format!("{what} not within {:.0} s [{state}]", bound.as_secs_f64());
                return Err(Failure::new("bounded time to rest", detail));
            }
            tokio::time::sleep(timing::AIM).await;
        }
    }

    /// The first broken invariant, if any.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<(), Failure> {
        self.judge.broken().into_iter().next().map_or(Ok(()), Err)
    }

    /// The task that claimed a generation.
    pub fn claimant(&self, generation: u64) -> Option<Arc<Task>> {
        self.efs
            .claim(generation)
            .and_then(|claim| self.ecs.task(&claim.task))
    }

    /// The founder of the highest formed generation.
    ///
    /// # Errors
    /// When no formed generation's claim names one of our tasks.
    pub fn founder(&self) -> Result<Arc<Task>, Failure> {
        let newest = self.efs.all_formed().last().copied();
        newest
            .and_then(|generation| self.claimant(generation))
            .ok_or_else(|| {
                Failure::new(
                    "records are readable",
                    "no formed claim names a task of this rehearsal",
                )
            })
    }

    /// The task that leads now, else any running one.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn leader(&self) -> Result<Arc<Task>, Failure> {
        let leader = story::leader(&self.observer.latest());
        let by_number = leader.and_then(|number| self.ecs.task(&format!("t{number}")));
        by_number
            .or_else(|| self.ecs.running().into_iter().next())
            .ok_or_else(|| Failure::new("a task runs", "none does"))
    }

    /// Whether a task's Qdrant leads itself with `commit ≥ 2`: all that a founder waits for.
    pub async fn leads_itself(&self, task: &Task) -> bool {
        let raft = ask::raft(&self.client, &task.address.to_string(), &task.api_key).await;
        raft.is_some_and(|raft| raft.leader == Some(raft.peer_id) && raft.commit >= 2)
    }

    /// Kills every process and waits until they are gone.
    pub async fn end(&self) {
        self.healing.over();
        // A process whose thread hangs in the store is not gone before that answers.
        self.efs.set(crate::efs::Fault::None);
        self.ecs.end().await;
    }

    /// Checks what must hold at the end, after the scenario has run.
    pub fn finish(&self) {
        let formed = self.efs.all_formed();
        if formed.len() > self.setup.generations {
            let detail = format!("{formed:?} were formed, {} allowed", self.setup.generations);
            let failure = Failure::new("no needless generation", detail);
            self.judge.fail(failure, &[], &self.timeline);
        }
    }
}
