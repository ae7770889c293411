//! Points that are written all the time and must be there in the end: through every task that is
//! ready, at a bounded rate, whatever dies meanwhile.
//! Owns: writers, a reader, and the audit at the end. Must not: judge anything but points.

mod copies;
pub mod ledger;
pub mod rest;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::ledger::Write;
use self::rest::Target;
use self::workers::Shared;
use super::World;
use crate::ecs::task::Task;
use crate::lock;
use crate::timing;
use crate::verdict::Failure;

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Points before the writers start.
    pub first: usize,
    /// Requests in one second, of all writers together.
    pub rate: u32,
    /// Points of one request.
    pub batch: usize,
    /// Writers; each has one request under way.
    pub writers: u32,
}

/// A load that this machine hardly notices, with so many points before it starts.
pub const LIGHT: Load = Load {
    first: 500,
    rate: 60,
    batch: 1,
    writers: 4,
};

/// Five hundred points a second.
pub const HEAVY: Load = Load {
    first: 2_000,
    rate: 100,
    batch: 5,
    writers: 8,
};

/// Points of one write while a collection is filled.
const BATCH: usize = 100;
/// How long the last writes may take, and the copies to become equal.
const SETTLE: Duration = Duration::from_secs(40);

/// What writers and reader have seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Writes that failed and were repeated.
    pub repeated: u64,
    /// The longest time without any acknowledged write, in seconds.
    pub longest_silence_s: f64,
    /// Reads at consistency 1 through a task that nobody had harmed.
    pub reads: u64,
    /// … that got no answer or a refusal.
    pub failed_reads: u64,
    /// … that did not find what was acknowledged before they began.
    pub stale_reads: u64,
    /// What the first of them said.
    pub complaints: Vec<String>,
}

/// Running writers and a reader of one collection; they end when this is dropped.
pub struct Points {
    shared: Arc<Shared>,
    load: Load,
    stop: CancellationToken,
    writers: Vec<AbortOnDropHandle<()>>,
    reader: AbortOnDropHandle<()>,
}

impl Points {
    /// Fills a collection with some points and starts writers and a reader.
    ///
    /// # Errors
    /// When the first points are refused for too long.
    pub async fn start(
        world: &World,
        target: impl Into<Target>,
        load: Load,
    ) -> Result<Self, Failure> {
        let shared = Shared::new(world, target.into()).context("build a client")?;
        let shared = Arc::new(shared);
        let mut left = load.first;
        while left > 0 {
            let writes: Vec<Write> = {
                let mut ledger = lock(&shared.ledger);
                (0..left.min(BATCH)).map(|_| ledger.begin()).collect()
            };
            left -= writes.len();
            let filled = shared.write(&writes);
            if tokio::time::timeout(SETTLE, filled).await.is_err() {
                return Err(Failure::new("points can be written", shared.complaint()));
            }
        }
        let reader = tokio::spawn(workers::reader(shared.clone()));
        let reader = AbortOnDropHandle::new(reader);
        let mut points = Self {
            shared,
            load,
            stop: CancellationToken::new(),
            writers: Vec::new(),
            reader,
        };
        points.resume();
        Ok(points)
    }

    /// What is acknowledged now: each point with its version.
    pub fn acknowledged(&self) -> BTreeMap<u64, u64> {
        lock(&self.shared.ledger).acknowledged()
    }

    /// The same points in another collection, a copy that was made after `then` was acknowledged: nobody
    /// writes to it.
    ///
    /// # Errors
    /// No client can be built.
    pub fn copied(
        &self,
        world: &World,
        target: impl Into<Target>,
        then: BTreeMap<u64, u64>,
    ) -> Result<Self, Failure> {
        let shared = Shared::new(world, target.into()).context("build a client")?;
        *lock(&shared.ledger) = lock(&self.shared.ledger).copied(then);
        let shared = Arc::new(shared);
        let reader = AbortOnDropHandle::new(tokio::spawn(workers::reader(shared.clone())));
        Ok(Self {
            shared,
            load: self.load,
            stop: CancellationToken::new(),
            writers: Vec::new(),
            reader,
        })
    }

    /// Ends the writers when all of their writes are acknowledged; the reader goes on.
    ///
    /// # Errors
    /// A write that is never acknowledged.
    pub async fn halt(&mut self) -> Result<(), Failure> {
        self.stop.cancel();
        let limit = Instant::now() + SETTLE;
        for writer in self.writers.drain(..) {
            let left = limit.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, writer).await.is_err() {
                let open = lock(&self.shared.ledger).open();
                let why = self.shared.complaint();
                let detail = format!("{open} writes are not, the last because: {why}");
                return Err(Failure::new(
                    "every write is acknowledged in the end",
                    detail,
                ));
            }
        }
        Ok(())
    }

    /// Everything is lost but what was acknowledged then; for writers that were halted.
    pub fn fall_back(&self, then: BTreeMap<u64, u64>) {
        lock(&self.shared.ledger).fall_back(then);
    }

    /// Starts the writers (again).
    pub fn resume(&mut self) {
        self.stop = CancellationToken::new();
        let load = self.load;
        let writers = (0..load.writers).map(|_| {
            let (shared, stop) = (self.shared.clone(), self.stop.clone());
            AbortOnDropHandle::new(tokio::spawn(workers::writer(shared, stop, load)))
        });
        self.writers = writers.collect();
    }

    /// Ends the writers when all of their writes are acknowledged, waits until the copies of every
    /// shard are equal, and reads everything through every live task.
    ///
    /// # Errors
    /// A write that is never acknowledged, copies that stay different, a point that is missing.
    pub async fn audit(mut self, world: &World) -> Result<Tally, Failure> {
        self.halt().await?;
        drop(self.reader);
        copies::equal(world, &self.shared).await?;
        let mut first: Option<(String, BTreeMap<u64, u64>)> = None;
        for task in world.ecs.running() {
            let name = task.name();
            let found = self.shared.all(&task).await;
            let found = found.map_err(|error| {
                let detail = format!("{name}: {:#}", anyhow::Error::from(error));
                Failure::new("every task serves every point", detail)
            })?;
            let difference = lock(&self.shared.ledger).compare(&found);
            if !difference.is_none() {
                let detail = format!("{name}: {difference}");
                return Err(Failure::new("no acknowledged point is lost", detail));
            }
            match &first {
                None => first = Some((name, found)),
                Some((_, same)) if *same == found => {}
                Some((other, _)) => {
                    let detail = format!("{other} and {name} find different points");
                    return Err(Failure::new("every task serves the same points", detail));
                }
            }
        }
        let tally = self.shared.tally();
        world.step(format!(
            "{} points of {} read through every task; {} writes repeated, {:.2} s the longest silence; \
             {} reads meanwhile, {} failed, {} stale",
            lock(&self.shared.ledger).len(),
            self.shared.target,
            tally.repeated,
            tally.longest_silence_s,
            tally.reads,
            tally.failed_reads,
            tally.stale_reads,
        ));
        let name = self.shared.target.to_string();
        world.healing.tally(&name, tally.clone());
        Ok(tally)
    }

    /// Writes through each of these tasks, which have just come back from where their cluster ended,
    /// until each has refused or not answered once: none may acknowledge for longer than `bound`.
    ///
    /// # Errors
    /// The task that still takes writes.
    pub async fn until_deaf(
        &self,
        world: &World,
        tasks: &[Arc<Task>],
        bound: Duration,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let deaf = async |task: &Arc<Task>| {
            let mut last = None;
            // As it is there already, so that it makes no difference where it goes.
            let same = lock(&self.shared.ledger).reserve();
            while let Some(same) = same
                && self.shared.takes(task, same).await
            {
                last = Some(begun.elapsed());
                if last > Some(bound) {
                    break;
                }
            }
            last
        };
        let all = tasks.iter().map(deaf);
        for (task, last) in tasks.iter().zip(join_all(all).await) {
            let name = task.name();
            let time = last.unwrap_or_default();
            if time > bound {
                let detail = format!("{name} still did after {time:?}");
                return Err(Failure::new(
                    "who comes back takes no writes for the old cluster",
                    detail,
                ));
            }
            world.step(format!(
                "{name} took writes for {:.2} s",
                time.as_secs_f64()
            ));
        }
        Ok(())
    }

    /// Writes through this task, which is to end, as fast as it takes it, until it has ended; gives how
    /// many it acknowledged. Each is promised.
    pub async fn to_the_end(&self, task: &Arc<Task>) -> u64 {
        let writer = async || {
            let mut taken = 0_u64;
            while task.ended().is_none() {
                let write = lock(&self.shared.ledger).begin();
                match self.shared.takes(task, write).await {
                    true => {
                        lock(&self.shared.ledger).acknowledge(write, false);
                        taken += 1;
                    }
                    false => tokio::time::sleep(timing::AIM).await,
                }
            }
            taken
        };
        join_all((0..self.load.writers).map(|_| writer()))
            .await
            .into_iter()
            .sum()
    }

    /// Waits until so many writes more than now are acknowledged.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn more(&self, world: &World, writes: u64) -> Result<(), Failure> {
        let enough = self.shared.tally().acknowledged + writes;
        let what = format!("{writes} more acknowledged writes");
        let done = || (self.shared.tally().acknowledged >= enough).then_some(());
        world.aim(&what, timing::REST, done).await
    }
}
