//! Six tasks make collection, full and shard snapshots in one directory, each one after the other and all in the
//! same seconds, while one of them after the other is killed and replaced. Whatever was announced is looked at in
//! the end: its hash, and whether a copy that is restored from it has all points.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::super::prelude::*;
use super::{COLLECTION, PATCH, addresses, named, proven};
use crate::direct::{Direct, Weight};

const RESTORED: &str = "restored";
const SHARDS: usize = 2;
const POINTS: u64 = 2_000;
const WEIGHT: Weight = Weight {
    dimensions: 4,
    payload: 2_000,
};
/// So many tasks are replaced, one after the other.
const REPLACED: usize = 4;
/// No name tells two snapshots of one task in one second from each other, patched or not; and a full one makes
/// one of each collection under such a name, and deletes it again.
const BETWEEN: Duration = Duration::from_millis(1100);

/// What was announced.
struct Announced {
    kind: Kind,
    host: String,
    /// The shards of which that task had a whole copy all the time: one that was being filled is as it was.
    whole: BTreeSet<u64>,
    folder: PathBuf,
    name: String,
    sha256: String,
}

/// The points of each shard.
type Expected = BTreeMap<u64, u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Collection,
    Shard(u64),
    Full,
}

pub(super) async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let direct = Direct::new()?;
    let host = world.leader()?.address.to_string();
    let made = direct.create(&host, COLLECTION, WEIGHT, SHARDS, 3).await;
    made.context("create a collection")?;
    let hosts = addresses(&world.ecs.running());
    let filled = direct.fill(&hosts, COLLECTION, 0..POINTS, WEIGHT).await;
    filled.context("fill it")?;
    let shared = world.folder().join("shared-snapshots");
    let announced = Mutex::new(Vec::new());
    for _ in 0..REPLACED {
        let victim = ordinary(world)?;
        let mut at_work = world.ecs.running();
        at_work.retain(|task| task.number != victim.number);
        let replaced = CancellationToken::new();
        let makers = at_work.iter().map(|task| {
            make(
                &direct,
                task.address.to_string(),
                &shared,
                &announced,
                &replaced,
            )
        });
        let replace = async {
            let done = async {
                world
                    .kill(&victim, "one is replaced while the others are at work")
                    .await?;
                world.rest(world.size()).await.map(drop)
            };
            let done = done.await;
            replaced.cancel();
            done
        };
        let (replaced, _) = tokio::join!(replace, join_all(makers));
        replaced?;
    }
    let announced = announced
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    judge(world, &direct, &announced).await
}

/// One task makes one of each kind again and again, until it is told to end.
async fn make(
    direct: &Direct,
    host: String,
    shared: &Path,
    announced: &Mutex<Vec<Announced>>,
    end: &CancellationToken,
) {
    let mut tick = tokio::time::interval(BETWEEN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !end.is_cancelled() {
        let mut kinds = vec![Kind::Collection, Kind::Full];
        // One that does not say now makes none now.
        let shards = direct.local_shards(&host, COLLECTION).await;
        kinds.extend(shards.unwrap_or_default().into_iter().map(Kind::Shard));
        for kind in kinds {
            tick.tick().await;
            // What is refused is not announced.
            if let Ok(made) = one(direct, &host, shared, kind).await
                && let Ok(mut all) = announced.lock()
            {
                all.push(made);
            }
        }
    }
}

async fn one(direct: &Direct, host: &str, shared: &Path, kind: Kind) -> Result<Announced> {
    let (path, folder) = match kind {
        Kind::Collection => (
            format!("/collections/{COLLECTION}"),
            shared.join(COLLECTION),
        ),
        Kind::Shard(shard) => (
            format!("/collections/{COLLECTION}/shards/{shard}"),
            shared
                .join(COLLECTION)
                .join("shards")
                .join(shard.to_string()),
        ),
        Kind::Full => (String::new(), shared.to_owned()),
    };
    let before = whole(direct, host).await?;
    let made = direct
        .post(host, &format!("{path}/snapshots?wait=true"), &json!({}))
        .await?;
    let (name, sha256) = named(&made)?;
    let after = whole(direct, host).await?;
    Ok(Announced {
        kind,
        host: host.to_owned(),
        whole: before.intersection(&after).copied().collect(),
        folder,
        name,
        sha256,
    })
}

/// The shards of which this task has an Active copy.
async fn whole(direct: &Direct, host: &str) -> Result<BTreeSet<u64>> {
    let path = format!("/collections/{COLLECTION}/cluster");
    let answer = direct.get(host, &path).await?;
    let rows = answer.get("local_shards").and_then(Value::as_array);
    let active = |row: &&Value| row.get("state").and_then(Value::as_str) == Some("Active");
    let rows = rows.context("no local shards")?.iter().filter(active);
    Ok(rows
        .filter_map(|row| row.get("shard_id")?.as_u64())
        .collect())
}

/// A task that has this shard now: nobody else gives its snapshots.
async fn giver(world: &World, direct: &Direct, shard: u64) -> Result<String> {
    for host in addresses(&world.ecs.running()) {
        if whole(direct, &host).await?.contains(&shard) {
            return Ok(host);
        }
    }
    bail!("nobody has shard {shard}")
}

/// Everything is looked at, and counted by kind; a patched Qdrant must have announced nothing wrong.
async fn judge(world: &World, direct: &Direct, announced: &[Announced]) -> Result<(), Failure> {
    let host = world.leader()?.address.to_string();
    let mut expected = Expected::new();
    for there in world.ecs.running() {
        let at = there.address.to_string();
        for shard in direct.local_shards(&at, COLLECTION).await? {
            let count = direct.count_copy(&at, COLLECTION, shard).await?;
            expected.insert(shard, count);
        }
    }
    let mut counted: BTreeMap<&str, (usize, usize, Option<String>)> = BTreeMap::new();
    for one in announced {
        let kind = match one.kind {
            Kind::Collection => "collection",
            Kind::Shard(_) => "shard",
            Kind::Full => "full",
        };
        let (all, good, first) = counted.entry(kind).or_default();
        *all += 1;
        match right(world, direct, &host, one, &expected).await {
            Ok(()) => *good += 1,
            Err(why) => {
                first.get_or_insert(format!("{} of {}: {why:#}", one.name, one.host));
            }
        }
    }
    for (kind, (all, good, first)) in &counted {
        let first = first.as_deref().unwrap_or("-");
        world.step(format!(
            "{kind} snapshots: {all} were announced, {good} of them are there and restore; first that is not: {first}"
        ));
    }
    if counted.len() < 3 {
        let detail = format!("{:?}, through {host}", counted.keys());
        return Err(Failure::new("snapshots of each kind are announced", detail));
    }
    let wrong = counted.values().find_map(|(_, _, first)| first.clone());
    match wrong {
        Some(why) if world.qdrant.has_patch(PATCH) => Err(Failure::new(
            "a patched Qdrant announces what is there",
            why,
        )),
        _ => Ok(()),
    }
}

/// The file is what was announced, and can be restored.
async fn right(
    world: &World,
    direct: &Direct,
    host: &str,
    one: &Announced,
    expected: &Expected,
) -> Result<()> {
    proven(&one.folder, &one.name, &one.sha256)?;
    let held = entries(&one.folder.join(&one.name))?;
    if one.kind == Kind::Full {
        // One is restored by a start with an empty disk only; it is read to its end.
        let inner = |entry: &&String| entry.starts_with(COLLECTION) && entry.ends_with(".snapshot");
        ensure!(held.iter().filter(inner).count() == 1, "it holds {held:?}");
        return Ok(());
    }
    // Every task has every shard, so that any of them can take any file.
    direct.create(host, RESTORED, WEIGHT, SHARDS, 6).await?;
    let restored = restore(world, direct, host, one, expected).await;
    direct
        .delete(host, &format!("/collections/{RESTORED}?timeout=60"))
        .await?;
    restored
}

/// What stands in an archive, read to its end.
fn entries(file: &Path) -> Result<Vec<String>> {
    let mut archive = tar::Archive::new(std::fs::File::open(file).context("open it")?);
    let mut names = Vec::new();
    for entry in archive.entries().context("read it")? {
        let mut entry = entry.context("read it")?;
        let name = entry.path().context("read a name")?.display().to_string();
        std::io::copy(&mut entry, &mut std::io::sink()).context("read it")?;
        names.push(name.trim_start_matches("./").to_owned());
    }
    Ok(names)
}

async fn restore(
    world: &World,
    direct: &Direct,
    host: &str,
    one: &Announced,
    expected: &Expected,
) -> Result<()> {
    let name = &one.name;
    let mut held = one.whole.clone();
    match one.kind {
        Kind::Shard(shard) => {
            held.retain(|of| *of == shard);
            let giver = giver(world, direct, shard).await?;
            let at =
                format!("http://{giver}:6333/collections/{COLLECTION}/shards/{shard}/snapshots");
            let location = format!("{at}/{name}");
            let recovered = direct.recover(host, RESTORED, shard, &location, &one.sha256);
            recovered.await?;
        }
        _ => {
            let location = format!("file://{}", one.folder.join(name).display());
            let body = json!({"location": location, "priority": "no_sync"});
            let path = format!("/collections/{RESTORED}/snapshots/recover?wait=true");
            direct.put(host, &path, &body).await?;
        }
    }
    for shard in held {
        let wanted = expected.get(&shard).context("nobody counts that shard")?;
        let count = direct.count_copy(host, RESTORED, shard).await?;
        ensure!(
            count == *wanted,
            "shard {shard} has {count} of {wanted} points"
        );
    }
    Ok(())
}
