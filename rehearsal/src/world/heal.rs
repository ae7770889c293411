//! What healing scenarios do: create collections, harm tasks, wait until all is whole again.
//! Owns: those steps and their figures. Must not: contain a scenario, or say what healed means.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::World;
use super::points::Tally;
use super::points::rest::{Rest, RestError};
use super::rollout::Rollout;
use crate::ecs::Ecs;
use crate::ecs::task::{Pause, Task};
use crate::lock;
use crate::observe::copies::Look;
use crate::observe::watcher::Watcher;
use crate::timeline::Timeline;
use crate::timing;
use crate::verdict::healed::{Wanted, spread, voters, whole};
use crate::verdict::{Failure, Judge, at_rest};

/// How long one fault took to heal, in seconds from the fault.
#[derive(Debug, Clone, Serialize)]
pub struct Healed {
    /// What was done.
    pub fault: String,
    /// No dead peer is listed any more.
    pub removed_s: Option<f64>,
    /// The voters are exactly the live tasks, as many as wanted.
    pub joined_s: Option<f64>,
    /// Every shard has its copies, in their zones.
    pub copies_s: Option<f64>,
    /// All of that, everybody ready, and nothing changed afterwards.
    pub rest_s: f64,
}

/// The figures of a case about healing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HealFigures {
    /// Every fault.
    pub healed: Vec<Healed>,
    /// What writers and readers saw, by collection.
    pub points: BTreeMap<String, Tally>,
    /// Every rollout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Rollout>,
    /// Copies on living tasks that Qdrant took out of service, over all views.
    pub deactivated: usize,
}

/// The part of a world that healing scenarios have besides.
pub struct Healing {
    watcher: Option<Watcher>,
    wanted: Mutex<BTreeMap<String, Wanted>>,
    random: Mutex<StdRng>,
    figures: Mutex<HealFigures>,
}

impl Healing {
    /// With a watcher where copies are what it is about.
    ///
    /// # Errors
    /// When the watcher cannot start.
    pub fn start(
        watched: Option<(Arc<Ecs>, Arc<Timeline>, Arc<Judge>)>,
        seed: u64,
    ) -> Result<Self> {
        let watcher = watched.map(|(ecs, timeline, judge)| Watcher::start(ecs, timeline, judge));
        Ok(Self {
            watcher: watcher.transpose()?,
            wanted: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            figures: Mutex::default(),
        })
    }

    /// Notes that a task is about to be harmed.
    pub fn harm(&self, task: &Task) {
        if let Some(watcher) = &self.watcher {
            watcher.harm(task.number);
        }
    }

    /// From now on copies may be missing: everything is taken down.
    pub fn over(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.require(None);
        }
    }

    /// The collections that were created, and how.
    pub fn wanted(&self) -> BTreeMap<String, Wanted> {
        lock(&self.wanted).clone()
    }

    /// From now on a collection should be so at rest.
    pub fn want(&self, name: &str, wanted: Wanted) {
        lock(&self.wanted).insert(name.into(), wanted);
    }

    /// Keeps the figures of a rollout.
    pub fn rollout(&self, rollout: Rollout) {
        lock(&self.figures).rollouts.push(rollout);
    }

    /// Keeps what the writers and the reader of a collection saw.
    pub fn tally(&self, collection: &str, tally: Tally) {
        lock(&self.figures).points.insert(collection.into(), tally);
    }

    /// The figures so far; nothing where copies are not watched.
    pub fn figures(&self) -> Option<HealFigures> {
        let watcher = self.watcher.as_ref()?;
        let mut figures = lock(&self.figures).clone();
        figures.deactivated = watcher.deactivated();
        Some(figures)
    }
}

impl World {
    /// The watcher of copies.
    ///
    /// # Errors
    /// In a case that did not ask for one.
    pub fn watcher(&self) -> Result<&Watcher, Failure> {
        let watcher = self.healing.watcher.as_ref();
        watcher.ok_or_else(|| anyhow::anyhow!("this case watches no copies").into())
    }

    /// One of these, by the seed.
    ///
    /// # Errors
    /// When there is none.
    pub fn any(&self, tasks: &[Arc<Task>]) -> Result<Arc<Task>, Failure> {
        let at = self.draw(tasks.len());
        tasks
            .get(at)
            .cloned()
            .ok_or_else(|| Failure::new("a task runs", "none that would do does"))
    }

    /// Creates a collection through a task, however often that has to be asked.
    ///
    /// # Errors
    /// The last refusal, when it cannot be had in time.
    pub async fn create(
        &self,
        through: &Arc<Task>,
        name: &str,
        wanted: Wanted,
    ) -> Result<(), Failure> {
        self.create_as(through, name, Some(wanted), wanted).await
    }

    /// The same with other numbers than the collection should have at rest, or with none.
    ///
    /// # Errors
    /// The last refusal, when it cannot be had in time.
    pub async fn create_as(
        &self,
        through: &Arc<Task>,
        name: &str,
        asked: Option<Wanted>,
        wanted: Wanted,
    ) -> Result<(), Failure> {
        let rest = Rest::new().context("build a client")?;
        let limit = Instant::now() + timing::REST;
        loop {
            match rest.create(through, name, asked).await {
                // It is there: an attempt without an answer was carried out.
                Ok(()) | Err(RestError::Refused(409, _)) => break,
                Err(error) if Instant::now() > limit => {
                    let why = anyhow::Error::from(error);
                    let detail = format!("{name} through {}: {why:#}", through.name());
                    return Err(Failure::new("a collection can be created", detail));
                }
                Err(_) => tokio::time::sleep(timing::LOOK).await,
            }
        }
        self.healing.want(name, wanted);
        let Wanted { shards, copies } = asked.unwrap_or(wanted);
        self.step(format!("{name} has {shards} shards in {copies} copies"));
        Ok(())
    }

    /// SIGKILL to several tasks at once.
    ///
    /// # Errors
    /// When the Qdrant of one outlives it.
    pub async fn kill_all(&self, tasks: &[Arc<Task>], why: &str) -> Result<(), Failure> {
        for task in tasks {
            self.healing.harm(task);
        }
        let killed = tasks.iter().map(|task| self.kill(task, why));
        futures::future::try_join_all(killed).await.map(drop)
    }

    /// Has a task stopped as an operator or a retired host does it.
    pub fn stop(&self, task: &Arc<Task>, why: &str) {
        self.healing.harm(task);
        self.fault(&[task], format!("StopTask: {why}"));
        self.ecs.stop(task);
    }

    /// A number below `bound`, by the seed.
    pub fn draw(&self, bound: usize) -> usize {
        lock(&self.healing.random).random_range(0..bound.max(1))
    }

    /// Stops the clock of a task for so long.
    pub async fn freeze(&self, task: &Arc<Task>, time: Duration) {
        self.healing.harm(task);
        self.fault(&[task], format!("it stands still for {time:?}"));
        task.pause(Pause::Whole);
        tokio::time::sleep(time).await;
        task.resume();
        self.fault(&[task], "it goes on");
    }

    /// Waits until a look at the copies fulfils a condition.
    ///
    /// # Errors
    /// The name of the wait and the condition's last complaint when `bound` is over.
    pub async fn until_copies(
        &self,
        what: &str,
        bound: Duration,
        mut condition: impl FnMut(&Look) -> Result<(), String>,
    ) -> Result<Arc<Look>, Failure> {
        let limit = Instant::now() + bound;
        let mut looks = self.watcher()?.looks();
        let mut last = "nothing was seen".to_owned();
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, looks.changed()).await.is_err() {
                let state = self.observer.latest().describe();
                let bound = bound.as_secs_f64();
                let detail = format!("{what} not within {bound:.0} s: {last} [{state}]");
                return Err(Failure::new("bounded time to rest", detail));
            }
            let look = looks.borrow_and_update().clone();
            match condition(&look) {
                Ok(()) => return Ok(look),
                Err(complaint) => last = complaint,
            }
            self.check()?;
        }
    }

    /// Waits until so many members are one cluster without a dead voter, every shard has its
    /// copies in their zones, and stays so for a moment. `since` is the time of the fault.
    ///
    /// # Errors
    /// What is still missing when the time is over.
    pub async fn healed(&self, fault: &str, since: f64, members: usize) -> Result<(), Failure> {
        self.healed_within(fault, since, members, timing::HEALED)
            .await
    }

    /// The same with another bound.
    ///
    /// # Errors
    /// What is still missing when the time is over.
    pub async fn healed_within(
        &self,
        fault: &str,
        since: f64,
        members: usize,
        bound: Duration,
    ) -> Result<(), Failure> {
        let wanted = self.healing.wanted();
        let mut healed = Healed {
            fault: fault.into(),
            removed_s: None,
            joined_s: None,
            copies_s: None,
            rest_s: 0.0,
        };
        let mut still: Option<f64> = None;
        let what = format!("{members} members healed after {fault}");
        self.until_copies(&what, bound, |look| {
            let after = look.at - since;
            if after < 0.0 {
                return Err("nobody has looked since".into());
            }
            // What does not last was not reached.
            let mark = |time: &mut Option<f64>, now: bool| {
                *time = now.then(|| time.unwrap_or(after));
            };
            let copies = whole(look, &wanted).and_then(|()| spread(look, &wanted));
            let joined = at_rest(&self.observer.latest(), members).and_then(|()| voters(look));
            mark(&mut healed.removed_s, only_living(look));
            mark(&mut healed.copies_s, copies.is_ok());
            mark(&mut healed.joined_s, joined.is_ok());
            if let Err(complaint) = joined.and(copies) {
                still = None;
                return Err(complaint);
            }
            healed.rest_s = *still.get_or_insert(after);
            match after - healed.rest_s >= timing::STILL.as_secs_f64() {
                true => Ok(()),
                false => Err("healed, but only just".into()),
            }
        })
        .await?;
        self.watcher()?.healed();
        let shown = |time: Option<f64>| time.map_or("never".into(), |time| format!("{time:.1} s"));
        self.step(format!(
            "healed {:.1} s after {fault}: the dead out after {}, all in after {}, copies after {}",
            healed.rest_s,
            shown(healed.removed_s),
            shown(healed.joined_s),
            shown(healed.copies_s),
        ));
        lock(&self.healing.figures).healed.push(healed);
        Ok(())
    }
}

/// Whether the newest view lists nobody but running tasks, also those that are still joining.
fn only_living(look: &Look) -> bool {
    let raft = look.newest().and_then(|view| view.raft.as_ref());
    let runs = |uri: &String| {
        let here = |address: &str| uri.contains(&format!("//{address}:"));
        look.holders.iter().any(|holder| here(&holder.address))
    };
    raft.is_some_and(|raft| raft.peers.values().all(runs))
}
