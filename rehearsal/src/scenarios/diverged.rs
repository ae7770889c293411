//! Proves that copies which are all Active and differ are found and said, that nobody repairs them,
//! and that the alarm ends when a person has dropped the wrong one and the steward has made it anew.
//!
//! The wrong one is a disk on which a shard is as it was a while ago: Qdrant starts with it and calls
//! it Active (conformance: `an_older_copy_stays_active`).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;

use super::healing;
use super::prelude::*;
use crate::observe::sample::Sample;
use crate::verdict::healed::Wanted;
use crate::world::points::ledger::Write;
use crate::world::points::rest::Rest;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "diverged",
    about: "a copy is older than the others: it is found, said, not repaired, and made anew by hand",
    cases: &[Case {
        name: "",
        setup: |setup| {
            healing::setup(setup);
            setup.env = vec![("ENTRYPOINT_DIVERGENCE_INTERVAL", "500ms".to_owned())];
            setup.allowed.events.extend(["divergence.*", "peer.back"]);
        },
        run: |world| Box::pin(run(world)),
    }],
};

const ONE_SHARD: Wanted = Wanted {
    shards: 1,
    copies: 3,
};
/// Found after four looks at rest, each half a second after the one before and as long itself.
const FOUND: Duration = Duration::from_secs(20);

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let (leader, since) = (world.leader()?, world.timeline.now());
    world
        .create(&leader, healing::COLLECTION, ONE_SHARD)
        .await?;
    world
        .healed("the collection was created", since, world.size())
        .await?;
    let rest = Rest::new().context("build a client")?;
    write(&rest, &leader, 0..100).await?;
    let holder = holder(world)?;
    let copy = copy_of(&holder);
    let older = holder.disk.join("older");
    take_down(world, &holder, "its copy of the shard is put by").await;
    copy_all(&copy, &older)?;
    back(world, &holder).await?;
    let leader = world.leader()?;
    write(&rest, &leader, 100..150).await?;
    nothing_differs(world).await?;
    take_down(
        world,
        &holder,
        "its copy is as it was before the last writes",
    )
    .await;
    std::fs::remove_dir_all(&copy).context("remove the copy")?;
    std::fs::rename(&older, &copy).context("put the older copy in place")?;
    back(world, &holder).await?;
    let found = world
        .until(
            "the divergence to be found",
            FOUND,
            |sample| match divergence(sample) {
                Some(alarm) if alarm.contains("100 on peer") => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await?;
    // Nobody touches it.
    world
        .never("nothing is repaired", timing::WATCH / 2, |sample| {
            divergence(sample)
                .is_none()
                .then(|| "the alarm is over".to_owned())
        })
        .await?;
    let peer = found.views.iter().find(|view| view.task == holder.number);
    let peer = peer
        .and_then(|view| view.raft.as_ref())
        .map(|raft| raft.peer_id);
    let peer = peer.ok_or_else(|| Failure::new("Qdrant answers", "the holder's does not"))?;
    let since = world.timeline.now();
    // So that its loss of a copy is not held against the steward.
    world.healing.harm(&holder);
    world.fault(&[&holder], "a person drops the older copy");
    let leader = world.leader()?;
    rest.drop_replica(&leader, healing::COLLECTION, 0, peer)
        .await
        .context("drop the older copy")?;
    world
        .healed("the older copy was dropped", since, world.size())
        .await?;
    nothing_differs(world).await
}

/// The alarm about it, whoever has it.
fn divergence(sample: &Sample) -> Option<String> {
    let views = sample.running().filter_map(|view| view.status.as_ref());
    let mut alarms = views.flat_map(|status| &status.alarms);
    alarms
        .find(|alarm| alarm.contains("have diverged"))
        .cloned()
}

/// A follower that holds a copy. Its folder proves nothing: Qdrant has one for every shard everywhere.
fn holder(world: &World) -> Result<Arc<Task>, Failure> {
    let looks = world.watcher()?.looks();
    let look = looks.borrow().clone();
    let collections = look.newest().and_then(|holder| holder.collections.as_ref());
    let collection = collections.and_then(|all| all.get(healing::COLLECTION));
    let copies = collection.and_then(|collection| collection.shards.get(&0));
    let peers: BTreeSet<u64> = copies
        .into_iter()
        .flat_map(|all| all.keys().copied())
        .collect();
    let holds = |task: &Arc<Task>| {
        let mut holders = look.holders.iter();
        let raft = holders.find(|holder| holder.task == task.number);
        let raft = raft.and_then(|holder| holder.raft.as_ref());
        raft.is_some_and(|raft| peers.contains(&raft.peer_id))
    };
    let holder = healing::followers(world, &[])?.into_iter().find(holds);
    holder.ok_or_else(|| Failure::new("a follower holds a copy", "none does"))
}

fn copy_of(task: &Task) -> std::path::PathBuf {
    let collection = Path::new("storage/collections").join(healing::COLLECTION);
    task.disk.join(collection).join("0")
}

async fn write(rest: &Rest, through: &Arc<Task>, ids: std::ops::Range<u64>) -> Result<(), Failure> {
    let points: Vec<Write> = ids.map(|id| Write { id, version: 1 }).collect();
    rest.upsert(through, &healing::COLLECTION.into(), &points)
        .await
        .context("write points")?;
    Ok(())
}

async fn take_down(world: &World, task: &Arc<Task>, why: &str) {
    world.healing.harm(task);
    world.fault(&[task], why);
    world.ecs.take_down(task);
    if let Some(process) = task.process() {
        process.wait().await;
    }
}

async fn back(world: &World, task: &Arc<Task>) -> Result<(), Failure> {
    let since = world.timeline.now();
    world.ecs.bring_up(task).await?;
    world
        .healed("the task came back", since, world.size())
        .await
}

/// Until no task has such an alarm any more, and for a while longer.
async fn nothing_differs(world: &World) -> Result<(), Failure> {
    world
        .until("no divergence", FOUND, |sample| match divergence(sample) {
            None => Ok(()),
            Some(alarm) => Err(alarm),
        })
        .await?;
    world
        .never(
            "equal copies are not suspected",
            timing::WATCH / 2,
            divergence,
        )
        .await
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).context("make a folder")?;
    for entry in std::fs::read_dir(from).context("list a folder")? {
        let entry = entry.context("list a folder")?;
        let target = to.join(entry.file_name());
        match entry.file_type().context("see a file")?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target).context("copy a file")?),
        }
    }
    Ok(())
}
