//! The writers and the reader.
//! Owns: their loops, and the choice of the task that is asked. Must not: judge what they see.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Write};
use super::rest::{Rest, RestError, Target};
use super::{Load, Tally};
use crate::ecs::Ecs;
use crate::ecs::task::Task;
use crate::lock;
use crate::observe::sample::Sample;
use crate::timing;
use crate::world::World;

/// Pause after a failed write, and while no task is ready.
const AGAIN: Duration = Duration::from_millis(50);
/// Pause between two reads.
const READ: Duration = Duration::from_millis(50);
/// So many complaints are kept.
const KEPT: usize = 20;

/// What writers and reader share.
pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) rest: Rest,
    ecs: Arc<Ecs>,
    samples: watch::Receiver<Arc<Sample>>,
    tally: Mutex<(Tally, Instant)>,
    last_complaint: Mutex<String>,
    turn: AtomicUsize,
}

impl Shared {
    pub(super) fn new(world: &World, target: Target) -> reqwest::Result<Self> {
        Ok(Self {
            target,
            ledger: Mutex::default(),
            rest: Rest::new()?,
            ecs: world.ecs.clone(),
            samples: world.observer.samples(),
            tally: Mutex::new((Tally::default(), Instant::now())),
            last_complaint: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) fn tally(&self) -> Tally {
        lock(&self.tally).0.clone()
    }

    pub(super) fn complaint(&self) -> String {
        lock(&self.last_complaint).clone()
    }

    /// Every point, through this task.
    pub(super) async fn all(
        &self,
        task: &Task,
    ) -> Result<std::collections::BTreeMap<u64, u64>, RestError> {
        self.rest.all(task, &self.target).await
    }

    /// The tasks in turn, as a load balancer would choose: those that call themselves ready and are
    /// not being stopped.
    fn next(&self) -> Option<Arc<Task>> {
        let sample = self.samples.borrow().clone();
        let ready = sample.running().filter(|view| view.ready() && !view.paused);
        let ready: Vec<Arc<Task>> = ready
            .filter_map(|view| self.ecs.task(&view.id))
            .filter(|task| usable(task) && task.stopping().is_none())
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = turn.checked_rem(ready.len())?;
        ready.get(at).cloned()
    }

    /// Writes until it is acknowledged, through one task after the other.
    pub(super) async fn write(&self, writes: &[Write]) {
        let mut at_once = true;
        loop {
            let done = match self.next() {
                Some(task) => {
                    let done = self.rest.upsert(&task, &self.target, writes).await;
                    done.map_err(|error| (task.name(), error))
                }
                None => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            match done {
                Ok(()) => break,
                Err((task, error)) => {
                    at_once = false;
                    *lock(&self.last_complaint) = format!("{task}: {:#}", chain(error));
                    lock(&self.tally).0.repeated += 1;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        {
            let mut ledger = lock(&self.ledger);
            for write in writes {
                ledger.acknowledge(*write, at_once);
            }
        }
        let mut tally = lock(&self.tally);
        let silence = tally.1.elapsed().as_secs_f64();
        tally.1 = Instant::now();
        tally.0.acknowledged += 1;
        tally.0.longest_silence_s = tally.0.longest_silence_s.max(silence);
    }

    /// Whether a write through this task was acknowledged.
    pub(super) async fn takes(&self, task: &Task, write: Write) -> bool {
        let writes = [write];
        let wrote = self.rest.upsert(task, &self.target, &writes);
        wrote.await.is_ok()
    }

    /// Reads one acknowledged point through the next task.
    async fn read(&self) {
        let place = rand::rng().random_range(0..u64::MAX);
        let Some((task, wanted)) = self.next().zip(lock(&self.ledger).pick(place)) else {
            return;
        };
        let found = self.rest.version(&task, &self.target, wanted.id).await;
        if !usable(&task) {
            // It was killed or stopped meanwhile: that says nothing.
            return;
        }
        let said = match found {
            // What came to be acknowledged while we read may be there.
            Ok(Some(version)) if version >= wanted.version => None,
            Ok(found) => {
                lock(&self.tally).0.stale_reads += 1;
                let Write { id, version } = wanted;
                Some(format!("point {id} in version {found:?}, not {version}"))
            }
            Err(error) => {
                lock(&self.tally).0.failed_reads += 1;
                Some(format!("{:#}", chain(error)))
            }
        };
        let mut tally = lock(&self.tally);
        tally.0.reads += 1;
        if let Some(said) = said
            && tally.0.complaints.len() < KEPT
        {
            tally.0.complaints.push(format!("{}: {said}", task.name()));
        }
    }
}

fn chain(error: RestError) -> anyhow::Error {
    error.into()
}

/// A load balancer takes a target back only when it has answered for a while.
fn usable(task: &Task) -> bool {
    let awake = task.awake_for().is_none_or(|time| time >= timing::PROVEN);
    task.running() && !task.paused() && awake
}

/// Writes until it is told to stop, and then ends what it has begun.
pub(super) async fn writer(shared: Arc<Shared>, stop: CancellationToken, load: Load) {
    // Each writer takes its share of the rate.
    let mut tick = tokio::time::interval(Duration::from_secs(1) / load.rate * load.writers);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tick.tick().await;
        let writes: Vec<Write> = {
            let mut ledger = lock(&shared.ledger);
            (0..load.batch).map(|_| ledger.begin()).collect()
        };
        shared.write(&writes).await;
    }
}

/// Reads for ever.
pub(super) async fn reader(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(READ);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        shared.read().await;
    }
}
