//! Proves that Qdrant's own snapshots may lie in one directory that all tasks share: with temporary files
//! on each task's own disk, the start of one Qdrant takes nothing from another that is at work, and
//! snapshots of a collection never have the same name. What else can collide only a change to Qdrant mends
//! (patches/0002-durable-snapshot-paths): with a plain one it is said, not judged.
//!
//! The second case does it all at once, again and again, while one task after the other is replaced.

mod at_once;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use entrypoint::archive;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::prelude::*;
use crate::direct::{Direct, Weight};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "shared-snapshots",
    about: "Qdrant's own snapshots in one directory of all tasks: no start takes from another, no names collide",
    cases: &[
        Case {
            name: "",
            setup,
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "at-once",
            setup: |all| {
                setup(all);
                all.at_least = 6;
            },
            run: |world| Box::pin(at_once::run(world)),
        },
    ],
};

const COLLECTION: &str = "shared";
const SHARDS: usize = 2;
const COPIES: usize = 3;
/// About 100 MB in each copy: more than pipes and sockets take of a stream that nobody reads.
const POINTS: u64 = 10_000;
const WEIGHT: Weight = Weight {
    dimensions: 4,
    payload: 20_000,
};
/// From a task's own directory, so that all tasks have the same.
const SHARED: &str = "../shared-snapshots";
/// So much of a stream is read before its reader waits.
const BEGINNING: u64 = 1 << 20;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn setup(setup: &mut Setup) {
    setup.real = true;
    setup.at_least = 4;
    setup.longest = Duration::from_secs(600);
    // A disk that takes gigabytes lets the store wait, and a busy machine its peers.
    setup.allowed.events = vec!["store.*", "peer.*"];
    setup.env = vec![("QDRANT__STORAGE__SNAPSHOTS_PATH", SHARED.to_owned())];
}

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let (direct, leader) = (Direct::new()?, world.leader()?);
    let host = leader.address.to_string();
    direct
        .create(&host, COLLECTION, WEIGHT, SHARDS, COPIES)
        .await
        .context("create a collection")?;
    let hosts: Vec<String> = addresses(&world.ecs.running());
    direct
        .fill(&hosts, COLLECTION, 0..POINTS, WEIGHT)
        .await
        .context("fill it")?;
    world.step(format!("{POINTS} points in {SHARDS} shards are there"));
    let shared = world.folder().join("shared-snapshots");
    let named = others_start(world, &direct, &shared).await?;
    let good = named.len();
    for host in addresses(&world.ecs.running()) {
        let listed = listed(&direct, &host).await?;
        if let Some(name) = named.keys().find(|name| !listed.contains(name)) {
            let detail = format!("{host} does not list {name}");
            return Err(Failure::new("every task lists every snapshot", detail));
        }
    }
    world.step(format!(
        "{good} collection snapshots are whole and listed everywhere"
    ));
    names(world, &direct, &shared).await
}

fn addresses(tasks: &[Arc<Task>]) -> Vec<String> {
    tasks.iter().map(|task| task.address.to_string()).collect()
}

/// All tasks but one make a snapshot of the collection and give a stream of a shard; in the middle of all
/// that this one dies and another task starts. Gives the snapshots, by name, with their hashes.
async fn others_start(
    world: &World,
    direct: &Direct,
    shared: &Path,
) -> Result<BTreeMap<String, String>, Failure> {
    let victim = ordinary(world)?;
    let mut at_work = world.ecs.running();
    at_work.retain(|task| task.number != victim.number);
    let (gate, open) = watch::channel(false);
    let mut streams = Vec::new();
    for task in &at_work {
        let host = task.address.to_string();
        let copies = direct.copies(&host, COLLECTION).await?;
        let me = direct.get(&host, "/cluster").await?;
        let me = me.get("peer_id").and_then(Value::as_u64);
        for (shard, _, _) in copies.all.iter().filter(|(_, peer, _)| Some(*peer) == me) {
            let (direct, open, shard, host) = (direct.clone(), open.clone(), *shard, host.clone());
            let read = async move { streamed(&direct, &host, shard, open).await };
            streams.push(AbortOnDropHandle::new(tokio::spawn(read)));
        }
    }
    if streams.is_empty() {
        return Err(Failure::new("somebody holds a copy", "nobody does"));
    }
    let mut made = Vec::new();
    for task in &at_work {
        let (direct, host) = (direct.clone(), task.address.to_string());
        let make = async move { collection_snapshot(&direct, &host).await };
        made.push(AbortOnDropHandle::new(tokio::spawn(make)));
    }
    let local = || {
        at_work
            .iter()
            .any(|task| is_at_work(&task.disk.join("storage/tmp")))
            .then_some(())
    };
    world
        .aim("temporary files on tasks' own disks", PATIENCE, local)
        .await?;
    world
        .kill(&victim, "another one starts while all are at work")
        .await?;
    world.rest(world.size()).await?;
    if streams.iter().any(AbortOnDropHandle::is_finished) {
        return Err(Failure::new(
            "streams are read while another starts",
            "one has ended already",
        ));
    }
    if shared.join("tmp").exists() {
        return Err(Failure::new(
            "temporary files are on tasks' own disks",
            "there is a tmp in the shared directory",
        ));
    }
    // Nobody may be left to hear it: then they have failed, which is said below.
    let _ = gate.send(true);
    let count = streams.len();
    for stream in streams {
        let bytes = stream.await.context("wait for a stream")?;
        let whole = |why: anyhow::Error| Failure::new("a stream is whole", format!("{why:#}"));
        bytes.map_err(whole)?;
    }
    world.step(format!(
        "{count} streams are whole though another task started"
    ));
    let mut named = BTreeMap::new();
    for snapshot in made {
        let made = snapshot.await.context("wait for a snapshot")?;
        let (name, sha256) =
            made.map_err(|why| Failure::new("a snapshot is made", format!("{why:#}")))?;
        proven(&shared.join(COLLECTION), &name, &sha256)
            .map_err(|why| Failure::new("a snapshot is whole", format!("{name}: {why:#}")))?;
        if named.insert(name.clone(), sha256).is_some() {
            return Err(Failure::new("no names collide", name));
        }
    }
    Ok(named)
}

/// Whether there is a file or directory in Qdrant's temporary directory there.
fn is_at_work(temporary: &Path) -> bool {
    let inside = std::fs::read_dir(temporary.join("tmp"));
    inside.is_ok_and(|entries| {
        let upload = |name: &std::ffi::OsStr| name == "upload";
        entries.flatten().any(|entry| !upload(&entry.file_name()))
    })
}

/// Reads the beginning of a stream, waits for the gate, reads the rest; it must be a whole archive.
async fn streamed(
    direct: &Direct,
    host: &str,
    shard: u64,
    mut open: watch::Receiver<bool>,
) -> Result<u64> {
    let mut answer = direct.stream(host, COLLECTION, shard).await?;
    let (mut verifier, mut read, mut waited) = (archive::Verifier::new(), 0, false);
    while let Some(piece) = answer.chunk().await.context("read a stream")? {
        verifier.push(&piece)?;
        read += piece.len() as u64;
        if read >= BEGINNING && !waited {
            open.wait_for(|open| *open).await.context("wait")?;
            waited = true;
        }
    }
    let summary = verifier.finish()?;
    ensure!(waited, "{read} bytes are too few to be at work for a while");
    Ok(summary.bytes)
}

/// Has a Qdrant make a snapshot of its part of the collection; gives its name and hash.
async fn collection_snapshot(direct: &Direct, host: &str) -> Result<(String, String)> {
    let path = format!("/collections/{COLLECTION}/snapshots?wait=true");
    let made = direct.post(host, &path, &json!({})).await?;
    named(&made).with_context(|| host.to_owned())
}

fn named(made: &Value) -> Result<(String, String)> {
    let text = |name: &str| made.get(name).and_then(Value::as_str).map(str::to_owned);
    let both = text("name").zip(text("checksum"));
    both.with_context(|| format!("no name and checksum in {made}"))
}

/// A snapshot is there, and what was promised.
fn proven(folder: &Path, name: &str, sha256: &str) -> Result<()> {
    let bytes = std::fs::read(folder.join(name)).context("read it")?;
    let found = entrypoint::store::sha256(&bytes).to_string();
    let beside = std::fs::read_to_string(folder.join(format!("{name}.checksum")));
    let beside = beside.context("read its checksum")?;
    if found != sha256 || beside.trim() != sha256 {
        bail!("it has {found}, was said to have {sha256}, and {beside} lies beside it");
    }
    Ok(())
}

async fn listed(direct: &Direct, host: &str) -> Result<Vec<String>> {
    let path = format!("/collections/{COLLECTION}/snapshots");
    let list = direct.get(host, &path).await?;
    let list = list.as_array().context("a list of snapshots")?;
    let names = list.iter().filter_map(|one| one.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// With this patch whatever is announced must be there and right.
const PATCH: &str = "durable-snapshot-paths";

/// What becomes of snapshots of one shard by all its holders, and of full ones, in the same second: with a
/// plain Qdrant their names do not say whose they are.
async fn names(world: &World, direct: &Direct, shared: &Path) -> Result<(), Failure> {
    let shard = format!("/collections/{COLLECTION}/shards/0/snapshots?wait=true");
    let folder = shared.join(COLLECTION).join("shards").join("0");
    collide(world, direct, "shard snapshots", &shard, &folder).await?;
    collide(
        world,
        direct,
        "full snapshots",
        "/snapshots?wait=true",
        shared,
    )
    .await
}

/// Asks all tasks at once.
async fn collide(
    world: &World,
    direct: &Direct,
    what: &str,
    path: &str,
    folder: &Path,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let asked = world.ecs.running().into_iter().map(|task| async move {
        let host = task.address.to_string();
        direct.post(&host, path, &json!({})).await
    });
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    let (mut good, mut whole) = (0, 0);
    for made in answers.iter().flatten() {
        let (name, sha256) = named(made)?;
        good += 1;
        whole += usize::from(proven(folder, &name, &sha256).is_ok());
    }
    let files = ending(folder, ".snapshot");
    let said = format!(
        "{what} by all at once, {:.1} s: {good} said to be made, {files} files, {whole} of those said are what was said",
        begun.elapsed().as_secs_f64()
    );
    world.step(said.clone());
    let broken = good == 0 || whole < good;
    match broken && world.qdrant.has_patch(PATCH) {
        true => Err(Failure::new(
            "a patched Qdrant announces what is there",
            said,
        )),
        false => Ok(()),
    }
}

fn ending(folder: &Path, end: &str) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(end)).count()
}
