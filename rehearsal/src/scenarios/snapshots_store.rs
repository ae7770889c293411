//! Proves that sets whose store misbehaves cost nothing but sets: serving goes on, what has a manifest is
//! whole, nothing stays behind for ever, and sets are made again as soon as the store lets them.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use planner::keep::layout;

use super::healing::{begin, end, end_unnoticed};
use super::prelude::*;
use super::snapshots::{PATIENCE, made, often_and_broken};
use crate::efs::Fault;
use crate::observe::sample::{Sample, View};
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "snapshots-store",
    about: "the store of the sets is full, hangs, is slow, read-only; a source dies in mid-stream",
    cases: &[
        Case {
            name: "full",
            setup,
            run: |world| Box::pin(misbehaves(world, Fault::Full, "the store is full")),
        },
        Case {
            name: "hangs",
            setup,
            run: |world| Box::pin(misbehaves(world, Fault::Hang, "the store hangs")),
        },
        Case {
            name: "slow",
            setup,
            run: |world| {
                let slow = Fault::Slow(Duration::from_millis(10));
                Box::pin(misbehaves(world, slow, "every store operation takes 10 ms"))
            },
        },
        Case {
            name: "read-only",
            setup,
            run: |world| Box::pin(misbehaves(world, Fault::ReadOnly, "the store is read-only")),
        },
        Case {
            name: "source-dies-mid-stream",
            setup,
            run: |world| Box::pin(source_dies(world)),
        },
        Case {
            name: "left-over",
            setup: often_and_broken,
            run: |world| Box::pin(left_over(world)),
        },
    ],
};

/// For several slots, and longer than any call to the store may take.
const OUTAGE: Duration = Duration::from_secs(15);
/// After four slots nobody's halves of files go, with the next set.
const TIDY: Duration = Duration::from_secs(90);

fn setup(setup: &mut Setup) {
    often_and_broken(setup);
    setup.breakable_store = true;
    let events = ["store.*", "action.failed", "set.kept", "set.incomplete"];
    setup.allowed.events.extend(events);
}

async fn misbehaves(world: &World, fault: Fault, what: &str) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = made(world, None).await?;
    first.prove().with_context(|| format!("set {}", first.id))?;
    begun(world, &first).await?;
    world.efs.set(fault);
    world.fault(&[], what);
    // One that was too busy to answer once says nothing.
    let disturbed = |sample: &Sample| {
        let says_no = |view: &View| view.status.is_some() && !view.ready();
        sample.running().any(says_no).then(|| sample.describe())
    };
    world
        .never("a cluster serves without its store", OUTAGE, disturbed)
        .await?;
    points.more(world, 30).await?;
    world.efs.set(Fault::None);
    world.fault(&[], "the store is as ever");
    resumed(world).await?;
    end_unnoticed(world, points).await
}

async fn source_dies(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = made(world, None).await?;
    world.efs.set(Fault::Stall);
    world.fault(&[], "what is written of shards hangs");
    let streaming = || {
        let halves = sets::hidden(world).ok()?;
        halves.iter().find_map(|half| writer(world, half))
    };
    let source = world.aim("a shard on its way", PATIENCE, streaming).await?;
    let open = sets::all(world)?;
    let open = open.last().map(|set| set.id).filter(|id| *id > first.id);
    let open = open.ok_or_else(|| Failure::missed("a set that is being made"))?;
    let since = world.timeline.now();
    world.kill(&source, "it streams a shard").await?;
    world.efs.set(Fault::None);
    world.fault(&[], "the store is as ever");
    let over = |_: &Sample| {
        let all = sets::all(world).map_err(|error| format!("{error:#}"))?;
        let over = |set: &Set| set.manifest.is_some() || set.tombstone;
        match all.iter().find(|set| set.id == open) {
            Some(set) if !over(set) => Err(format!("set {open} is open")),
            _ => Ok(()),
        }
    };
    world.until("the set is over", PATIENCE, over).await?;
    world.healed("a source died", since, world.size()).await?;
    resumed(world).await?;
    end(world, points).await
}

/// What processes that were killed leave is laid there by hand, as old as it takes.
async fn left_over(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = made(world, None).await?;
    let bare = world
        .efs
        .records()
        .join(layout::SETS)
        .join("20200101T000000Z");
    let half = |folder: &Path, name: &str| {
        let id = "0123456789abcdef0123456789abcdef";
        lay(&folder.join(format!(".{name}.{id}.partial")))
    };
    half(&bare, layout::PLAN).context("lay half a plan")?;
    half(&first.folder().join("c000"), "s0-7.shard").context("lay half a shard")?;
    world.fault(&[], "a folder without a plan, and half a shard in a set");
    // Pinned, so that it goes without its set.
    let pin = format!(
        r#"{{"format":1,"set":"{}","at":"2026-01-01T00:00:00Z","by":"rehearsal","why":"to stay"}}"#,
        first.id
    );
    fs::write(first.folder().join(layout::PIN), pin).context("pin a set")?;
    resumed(world).await?;
    first.prove().with_context(|| format!("set {}", first.id))?;
    end_unnoticed(world, points).await
}

fn lay(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let file = File::create(path)?;
    let hours = Duration::from_secs(2 * 3600);
    file.set_modified(
        SystemTime::now()
            .checked_sub(hours)
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}

/// Waits for a set that is being made.
async fn begun(world: &World, after: &Set) -> Result<(), Failure> {
    let begun = || {
        let all = sets::all(world).ok()?;
        let mut newer = all.into_iter().filter(|set| set.id > after.id);
        newer
            .any(|set| set.plan.is_some() && set.manifest.is_none())
            .then_some(())
    };
    world.aim("a set that has begun", PATIENCE, begun).await
}

/// The task that writes this half of a file, as its name says.
fn writer(world: &World, half: &Path) -> Option<Arc<Task>> {
    let name = half.file_name()?.to_str()?;
    let (_, rest) = name.strip_prefix(".s")?.split_once('-')?;
    let peer: u64 = rest.split_once(".shard.")?.0.parse().ok()?;
    let sample = world.observer.latest();
    let mut views = sample.running();
    let is_it = |view: &&View| view.raft.as_ref().is_some_and(|raft| raft.peer_id == peer);
    world.ecs.task(&views.find(is_it)?.id)
}

/// Two more sets are made, every one that has a manifest is whole, and nothing is left of what was broken
/// off.
async fn resumed(world: &World) -> Result<(), Failure> {
    let mut last = sets::all(world)?.pop();
    for _ in 0..2 {
        let next = made(world, last).await?;
        next.prove().with_context(|| format!("set {}", next.id))?;
        last = Some(next);
    }
    let tidy = |_: &Sample| {
        let left = sets::left_over(world).map_err(|error| format!("{error:#}"))?;
        // A set that is being made has halves of files, and is the newest.
        let newest = sets::all(world)
            .map_err(|error| format!("{error:#}"))?
            .pop();
        let newest = newest.map(|set| set.folder().to_owned());
        let mut left = left.iter().filter(|path| {
            newest
                .as_ref()
                .is_none_or(|newest| !path.starts_with(newest))
        });
        left.next()
            .map_or(Ok(()), |path| Err(format!("{} is left", path.display())))
    };
    world.until("nothing is left behind", TIDY, tidy).await?;
    for set in sets::all(world)? {
        if set.manifest.is_some() && !set.tombstone {
            prove(world, &set)?;
        }
    }
    Ok(())
}

/// Every file that the manifest names is good, unless the set has gone meanwhile.
fn prove(world: &World, set: &Set) -> Result<(), Failure> {
    let whole = |set: &Set| {
        let all = set.manifest.iter().flat_map(|there| &there.collections);
        all.clone().all(|there| there.whole)
    };
    if !whole(set) {
        return Ok(());
    }
    let Err(error) = set.prove() else {
        return Ok(());
    };
    let still = sets::all(world)?;
    match still
        .iter()
        .any(|other| other.id == set.id && !other.tombstone)
    {
        false => Ok(()),
        true => Err(error.context(format!("set {}", set.id)).into()),
    }
}
