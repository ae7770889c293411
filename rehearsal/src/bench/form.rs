//! `bench-form`: how much longer our order takes than order by hand, in the same run, and what
//! the entrypoint itself costs.
//! Owns: these figures. Must not: judge what is fast enough.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Pair, broken, raw};
use crate::ecs::process;
use crate::report::figures::{Figures, Spread, figures};
use crate::scenario::Setup;
use crate::timing;
use crate::world::{Plan, World};

/// How long the idle entrypoint is watched.
const IDLE: Duration = Duration::from_secs(20);

/// All figures.
#[derive(Debug, Serialize)]
struct Figured {
    format: u32,
    qdrant: String,
    tasks: usize,
    runs: usize,
    all_voters_s: Pair,
    all_ready_s: Pair,
    replacement_voter_s: Pair,
    entrypoint: Cost,
}

/// What one entrypoint costs, the worst of all tasks.
#[derive(Debug, Serialize)]
struct Cost {
    binary_bytes: u64,
    resident_kib: Option<u64>,
    idle_core_percent: Option<f64>,
    idle_watched_s: f64,
    start_to_child_ms: Option<Spread>,
}

/// Runs it, prints the figures and writes them to `json`.
///
/// # Errors
/// When one of the runs fails.
pub async fn main(plan: &Plan, tasks: usize, runs: usize, json: Option<&Path>) -> Result<ExitCode> {
    let mut raws = Vec::new();
    let mut ours = Vec::new();
    let quiet = Plan {
        quiet: true,
        ..plan.clone()
    };
    for run in 1..=runs {
        let raw = raw::measure(&plan.qdrant, tasks, plan.zones).await?;
        println!(
            "run {run}: raw  voters {:.2} s, ready {:.2} s",
            raw.all_voters_s, raw.all_ready_s
        );
        raws.push(raw);
        let figures = formation(&quiet, tasks).await?;
        let show = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2} s"));
        let (voters, ready) = (show(figures.all_voters_s), show(figures.all_ready_s));
        println!("run {run}: ours voters {voters}, ready {ready}");
        ours.push(figures);
    }
    let (resident_kib, idle_core_percent) = idle(&quiet, tasks).await?;
    let pick = |of: fn(&Figures) -> Option<f64>| ours.iter().filter_map(of).collect::<Vec<_>>();
    let replaced = |figures: &Figures| figures.replacements.first().map(|each| each.voter_s);
    let raw = |of: fn(&raw::Raw) -> f64| raws.iter().map(of).collect::<Vec<_>>();
    let figured = Figured {
        format: 1,
        qdrant: plan.qdrant.label.clone(),
        tasks,
        runs,
        all_voters_s: Pair::of(pick(|f| f.all_voters_s), raw(|r| r.all_voters_s)),
        all_ready_s: Pair::of(pick(|f| f.all_ready_s), raw(|r| r.all_ready_s)),
        replacement_voter_s: Pair::of(pick(replaced), raw(|r| r.replacement_voter_s)),
        entrypoint: Cost {
            binary_bytes: std::fs::metadata(&plan.entrypoint)
                .context("see the binary")?
                .len(),
            resident_kib,
            idle_core_percent,
            idle_watched_s: IDLE.as_secs_f64(),
            start_to_child_ms: Spread::of(start_to_child(&quiet, runs).await?),
        },
    };
    figured.all_voters_s.print("first launch → all voters");
    figured.all_ready_s.print("first launch → all ready");
    figured
        .replacement_voter_s
        .print("replacement launched → voter");
    println!("entrypoint {:?}", figured.entrypoint);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&figured).context("write the figures")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

type Idle = (Option<u64>, Option<f64>);

/// One formation and one replacement with ours.
async fn formation(plan: &Plan, tasks: usize) -> Result<Figures> {
    let world = World::build(plan, Setup::new(tasks)).await?;
    world.ecs.scale(tasks);
    world.rest(tasks).await.map_err(broken)?;
    if tasks >= 3 {
        let founder = world.founder().map_err(broken)?;
        let leader = world.leader().map_err(broken)?;
        let others = world.ecs.running().into_iter().rev();
        let spared = [founder.number, leader.number];
        let mut others = others.filter(|task| !spared.contains(&task.number));
        let victim = others.next().context("no ordinary task")?;
        world
            .kill(&victim, "to be replaced")
            .await
            .map_err(broken)?;
        world.rest(tasks).await.map_err(broken)?;
    }
    let figures = figures(&world, &world.observer.story());
    world.end().await;
    Ok(figures)
}

/// What a cluster at rest costs each task, with the times of production.
async fn idle(plan: &Plan, tasks: usize) -> Result<Idle> {
    let mut setup = Setup::new(tasks);
    setup.env = timing::PRODUCTION
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let world = World::build(plan, setup).await?;
    world.ecs.scale(tasks);
    world.rest(tasks).await.map_err(broken)?;
    world.observer.stop();
    let pids: Vec<i32> = world
        .ecs
        .running()
        .iter()
        .filter_map(|task| Some(task.process()?.pid))
        .collect();
    let before: Vec<_> = pids.iter().map(|pid| process::cpu_seconds(*pid)).collect();
    tokio::time::sleep(IDLE).await;
    let used = pids.iter().zip(before).filter_map(|(pid, before)| {
        Some((process::cpu_seconds(*pid)? - before?) / IDLE.as_secs_f64() * 100.0)
    });
    let core = used.fold(None, |most: Option<f64>, each| {
        Some(most.map_or(each, |m| m.max(each)))
    });
    let resident = pids.iter().filter_map(|pid| process::resident_kib(*pid));
    let resident = resident.max();
    world.end().await;
    Ok((resident, core))
}

/// From the start of an entrypoint that has its data to the first sight of its child.
async fn start_to_child(plan: &Plan, times: usize) -> Result<Vec<f64>> {
    let world = World::build(plan, Setup::new(1)).await?;
    world.ecs.scale(1);
    world.rest(1).await.map_err(broken)?;
    let task = world
        .ecs
        .running()
        .into_iter()
        .next()
        .context("no task runs")?;
    let mut taken = Vec::new();
    for _ in 0..times {
        world.ecs.take_down(&task);
        world.ecs.bring_up(&task).await?;
        let started = task.process().context("no process")?.started;
        let child = || (!task.below().is_empty()).then(Instant::now);
        let seen = world
            .aim("the child", timing::REST, child)
            .await
            .map_err(broken)?;
        taken.push(seen.saturating_duration_since(started).as_secs_f64() * 1000.0);
        world.rest(1).await.map_err(broken)?;
    }
    world.end().await;
    Ok(taken)
}
