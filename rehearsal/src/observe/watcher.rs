//! Watches the copies of every shard all the time, in scenarios that are about healing.
//! Owns: the loop of looks at copies. Must not: change anything, or decide what is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::ask;
use super::copies::{self, Look};
use crate::ecs::Ecs;
use crate::lock;
use crate::timeline::{Kind, Timeline};
use crate::timing;
use crate::verdict::Judge;
use crate::verdict::copies::Watch;

/// What a scenario has done to tasks, and what that did.
#[derive(Debug, Default)]
pub struct Harm {
    /// Tasks that were killed, or paused and are not healed yet.
    pub tasks: BTreeSet<usize>,
    /// Copies on living tasks that Qdrant itself took out of service, over all views.
    pub deactivated: usize,
    /// Fewest copies that every shard must have while nothing is harmed.
    pub least: Option<usize>,
    /// Seconds during which a copy was on its way.
    pub transferring: f64,
    /// Everything is lost: until that is healed collections are made, and made again.
    pub lost: bool,
    /// Collections that are being restored: what there is of them may be thrown away and made again.
    pub unpromised: BTreeSet<String>,
}

/// The watcher of one run.
pub struct Watcher {
    latest: watch::Receiver<Arc<Look>>,
    harm: Arc<Mutex<Harm>>,
    _looks: AbortOnDropHandle<()>,
}

impl Watcher {
    /// Starts looking; what must never happen goes to `judge`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn start(ecs: Arc<Ecs>, timeline: Arc<Timeline>, judge: Arc<Judge>) -> Result<Self> {
        let client = ask::client().context("build the watcher's client")?;
        let (publish, latest) = watch::channel(Arc::new(Look::default()));
        let harm = Arc::new(Mutex::new(Harm::default()));
        let shared = harm.clone();
        let looks = tokio::spawn(async move {
            let (mut watch, mut told) = (Watch::default(), Told::default());
            let mut before: Option<(f64, bool)> = None;
            let mut tick = tokio::time::interval(timing::LOOK_AT_COPIES);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let tasks = ecs.tasks();
                let look = copies::look(&client, timeline.now(), &tasks).await;
                // Harm is noted before it is done, so what it does is never seen first.
                let (harmed, least, lost, unpromised) = {
                    let harm = lock(&shared);
                    let unpromised = harm.unpromised.clone();
                    (harm.tasks.clone(), harm.least, harm.lost, unpromised)
                };
                if lost {
                    watch = Watch::default();
                    before = None;
                    told.tell(&look, &timeline);
                    if publish.send(Arc::new(look)).is_err() {
                        return;
                    }
                    continue;
                }
                let promised = look.without(&unpromised);
                let fewer = least.and_then(|least| watch.fewer(&promised, least, &harmed));
                // What ECS stops, or what is over, may lose its copies: to the others.
                let over = tasks
                    .iter()
                    .filter(|task| task.stopping().is_some() || task.ended().is_some())
                    .map(|task| task.number);
                let leaving: BTreeSet<usize> = harmed.iter().copied().chain(over).collect();
                for failure in watch.look(&promised, &leaving).into_iter().chain(fewer) {
                    judge.fail(failure, &[], &timeline);
                }
                let moving = !look.transfers().is_empty();
                let passed = before.filter(|(_, moved)| *moved || moving);
                before = Some((look.at, moving));
                {
                    let mut harm = lock(&shared);
                    harm.deactivated = watch.deactivated;
                    harm.transferring += passed.map_or(0.0, |(at, _)| look.at - at);
                }
                told.tell(&look, &timeline);
                if publish.send(Arc::new(look)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            latest,
            harm,
            _looks: AbortOnDropHandle::new(looks),
        })
    }

    /// A receiver of looks.
    pub fn looks(&self) -> watch::Receiver<Arc<Look>> {
        self.latest.clone()
    }

    /// The newest look.
    pub fn latest(&self) -> Arc<Look> {
        self.latest.borrow().clone()
    }

    /// Notes that a task is about to be harmed.
    pub fn harm(&self, task: usize) {
        lock(&self.harm).tasks.insert(task);
    }

    /// From now on every shard must have so many copies on living tasks, less those on tasks that the
    /// scenario harms.
    pub fn require(&self, least: Option<usize>) {
        lock(&self.harm).least = least;
    }

    /// Seconds so far during which a copy was on its way.
    pub fn transferring(&self) -> f64 {
        lock(&self.harm).transferring
    }

    /// Everything is about to be lost: until that is healed no copy counts.
    pub fn lost(&self) {
        lock(&self.harm).lost = true;
    }

    /// Nothing is promised of this collection: a restore makes it.
    pub fn unpromised(&self, collection: &str) {
        lock(&self.harm).unpromised.insert(collection.to_owned());
    }

    /// What was harmed is healed: from now on the copies of these tasks count again.
    pub fn healed(&self) {
        let mut harm = lock(&self.harm);
        harm.tasks.clear();
        harm.lost = false;
    }

    /// Copies on living tasks that Qdrant took out of service, over all views.
    pub fn deactivated(&self) -> usize {
        lock(&self.harm).deactivated
    }
}

/// What the timeline was told about copies.
#[derive(Debug, Default)]
struct Told {
    lines: BTreeMap<String, String>,
}

impl Told {
    /// Tells what has changed, shard by shard, in the words of the newest view.
    fn tell(&mut self, look: &Look, timeline: &Timeline) {
        let Some(collections) = look.newest().and_then(|view| view.collections.as_ref()) else {
            return;
        };
        let name = |peer: &u64| match look.task_of(*peer) {
            Some(task) => format!("t{task}"),
            None => "dead".to_owned(),
        };
        let mut lines = BTreeMap::new();
        for (collection, there) in collections {
            for (shard, copies) in &there.shards {
                let mut words: Vec<String> = copies
                    .iter()
                    .map(|(peer, copy)| match copy.active() {
                        true => name(peer),
                        false => format!("{} {}", name(peer), copy.state),
                    })
                    .collect();
                words.sort();
                for t in there.transfers.iter().filter(|t| t.shard == *shard) {
                    words.push(format!("{} → {}", name(&t.from), name(&t.to)));
                }
                lines.insert(format!("{collection}/{shard}"), words.join(", "));
            }
        }
        for (shard, line) in &lines {
            if self.lines.get(shard) != Some(line) {
                timeline.push(Kind::Cluster, &[], format!("{shard}: {line}"));
            }
        }
        self.lines = lines;
    }
}
