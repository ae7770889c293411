//! `bench-keep`: what making sets costs and how long a restore takes, beside the same by hand on the same
//! bytes in the same run.
//! Owns: these figures and their order. Must not: judge what is fast enough.
//!
//! Every pair is measured in turn, so that a machine that is busy with something else hits both sides.

mod latency;
mod publish;
mod restore;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use serde::Serialize;

use self::latency::{Latency, Steady};
use self::publish::Publishing;
use self::restore::Restoring;
use super::broken;
use crate::direct::{Direct, Weight};
use crate::ecs::process;
use crate::scenario::Setup;
use crate::timing;
use crate::world::sets::{self, Set};
use crate::world::{Plan, World};

const COLLECTION: &str = "bench";
const SHARDS: usize = 2;
const COPIES: usize = 3;
/// How long one step may take: the bytes are the command's to choose.
const LIMIT: Duration = Duration::from_secs(600);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Points.
    pub points: u64,
    /// Numbers of each one's vector.
    pub dimensions: usize,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Figured {
    format: u32,
    qdrant: String,
    tasks: usize,
    runs: usize,
    points: u64,
    dimensions: usize,
    shards: usize,
    copies: usize,
    /// Of the files of one set.
    set_bytes: u64,
    publishing: Publishing,
    latency: Latency,
    /// The most that any entrypoint ever held, from its start to the end of all that.
    entrypoint_peak_kib: Option<u64>,
    restoring: Restoring,
}

/// Runs it, prints the figures and writes them to `json`.
///
/// # Errors
/// When one of the runs fails.
pub async fn main(
    plan: &Plan,
    tasks: usize,
    runs: usize,
    amount: Amount,
    json: Option<&Path>,
) -> Result<ExitCode> {
    if plan.qdrant.standin {
        println!("skipped: the stand-in's times say nothing of Qdrant's; give --qdrant PATH");
        return Ok(ExitCode::SUCCESS);
    }
    if tasks < SHARDS * COPIES {
        bail!(
            "each copy needs a task of its own: give --tasks {} or more",
            SHARDS * COPIES
        );
    }
    let quiet = Plan {
        quiet: true,
        ..plan.clone()
    };
    let mut setup = Setup::new(tasks);
    setup.env = timing::HEAL
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    setup.env.extend([
        // Sets are asked for: hardly a slot begins.
        ("ENTRYPOINT_SETS", "12h".to_owned()),
        ("ENTRYPOINT_KEEP_ALL", "12h".to_owned()),
        ("ENTRYPOINT_RESTORE", "auto".to_owned()),
    ]);
    setup.allowed.events = vec!["*"];
    let world = World::build(&quiet, setup).await?;
    world.ecs.scale(tasks);
    world.rest(tasks).await.map_err(broken)?;
    let keep = Keep::begin(world, amount).await?;
    let publishing = publish::measure(&keep, runs).await?;
    let latency = latency::measure(&keep, runs).await?;
    let peak_before = keep.peak_kib();
    let (restoring, peak_after) = restore::measure(plan, &keep, runs).await?;
    let figured = Figured {
        format: 1,
        qdrant: plan.qdrant.label.clone(),
        tasks,
        runs,
        points: amount.points,
        dimensions: amount.dimensions,
        shards: SHARDS,
        copies: COPIES,
        set_bytes: publishing.set_bytes,
        publishing,
        latency,
        entrypoint_peak_kib: peak_before.max(peak_after),
        restoring,
    };
    keep.world.end().await;
    figured.publishing.print();
    figured.latency.print();
    let peak = figured.entrypoint_peak_kib.unwrap_or_default() as f64 / 1024.0;
    println!("entrypoints: {peak:.1} MiB resident at the most");
    figured.restoring.print();
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&figured).context("write the figures")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A cluster with the collection in it.
struct Keep {
    world: World,
    direct: Direct,
    weight: Weight,
    amount: Amount,
}

impl Keep {
    /// Creates the collection, waits until its empty copies are in their zones, and fills it.
    async fn begin(world: World, amount: Amount) -> Result<Self> {
        let weight = Weight {
            dimensions: amount.dimensions,
            payload: 0,
        };
        let keep = Self {
            world,
            direct: Direct::new()?,
            weight,
            amount,
        };
        let first = keep.hosts().into_iter().next().context("a task")?;
        keep.direct
            .create(&first, COLLECTION, weight, SHARDS, COPIES)
            .await?;
        keep.settled(&keep.hosts(), true).await?;
        let begun = Instant::now();
        keep.direct
            .fill(&keep.hosts(), COLLECTION, 0..amount.points, weight)
            .await?;
        keep.settled(&keep.hosts(), false).await?;
        println!(
            "{} points of {} dimensions written in {:.0} s",
            amount.points,
            amount.dimensions,
            begun.elapsed().as_secs_f64()
        );
        Ok(keep)
    }

    fn hosts(&self) -> Vec<String> {
        let tasks = self.world.ecs.running();
        tasks.iter().map(|task| task.address.to_string()).collect()
    }

    /// Waits until all hosts see all copies Active and none on its way; `still`: for a few rounds of the
    /// steward, who may have them moved.
    async fn settled(&self, hosts: &[String], still: bool) -> Result<()> {
        let hold = if still {
            Duration::from_secs(5)
        } else {
            Duration::ZERO
        };
        let (limit, mut since) = (Instant::now() + LIMIT, None::<Instant>);
        while Instant::now() < limit {
            let mut all = true;
            for host in hosts {
                let copies = self.direct.copies(host, COLLECTION).await;
                all = all && copies.is_ok_and(|copies| copies.settled(SHARDS * COPIES));
            }
            match all {
                true if since.get_or_insert_with(Instant::now).elapsed() >= hold => return Ok(()),
                true => {}
                false => since = None,
            }
            tokio::time::sleep(timing::LOOK_AT_COPIES).await;
        }
        bail!("the copies are not settled after {LIMIT:?}");
    }

    /// Asks for a set and waits for its manifest.
    async fn set(&self) -> Result<Set> {
        let task = self.world.leader().map_err(broken)?;
        let token = sets::ask(&task, None).await?;
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            let all = sets::all(&self.world)?;
            let of = |set: &Set| {
                let asked = set.plan.as_ref().and_then(|plan| plan.asked.as_ref());
                asked.is_some_and(|asked| asked.token.0 == token)
            };
            match all.into_iter().find(of) {
                Some(set) if set.tombstone => bail!("set {} was given up", set.id),
                Some(set) if set.manifest.is_some() => {
                    set.files()?;
                    return Ok(set);
                }
                // Times are told by the files: looking more often would only cost what is measured.
                _ => tokio::time::sleep(timing::LOOK).await,
            }
        }
        bail!("no set after {LIMIT:?}");
    }

    /// Has Qdrant stream each shard once, all at once, to somebody who throws it away: what a set costs
    /// whoever takes it.
    async fn bare_streams(&self) -> Result<()> {
        let mut from = BTreeMap::new();
        for host in self.hosts() {
            let here = self.direct.local_shards(&host, COLLECTION).await?;
            for shard in here {
                from.entry(shard).or_insert_with(|| host.clone());
            }
        }
        ensure!(from.len() == SHARDS, "{} shards have a copy", from.len());
        let streams = from.into_iter().map(|(shard, host)| async move {
            let mut answer = self.direct.stream(&host, COLLECTION, shard).await?;
            while answer.chunk().await.context("read a stream")?.is_some() {}
            anyhow::Ok(())
        });
        try_join_all(streams).await.map(drop)
    }

    /// The most that any of the entrypoints that run now ever held.
    fn peak_kib(&self) -> Option<u64> {
        let tasks = self.world.ecs.running();
        let pids = tasks.iter().filter_map(|task| Some(task.process()?.pid));
        pids.filter_map(process::peak_kib).max()
    }

    /// One who writes at a steady rate through all tasks; nobody else uses the ids from here on.
    fn writer(&self) -> Steady {
        Steady::new(
            self.direct.clone(),
            self.hosts(),
            self.weight,
            self.amount.points,
        )
    }
}
