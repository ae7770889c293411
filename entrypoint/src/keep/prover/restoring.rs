//! Level 2: one file is restored into a scratch Qdrant, alone in a collection of one shard that is
//! configured as the manifest says, and compared with what was counted and noted when it was made.
//!
//! In a collection of one shard every call reads that shard, whatever number and key it had. Optimizers
//! stand still there: what is compared is what was in the file.

use std::path::Path;
use std::time::{Duration, Instant};

use planner::keep::folder::Found;
use planner::keep::layout::Entry;
use planner::keep::records::{CollectionEntry, FileEntry, Manifest, Outcome, PartRecord};
use planner::keep::samples::{Judgement, Samples, judge};
use qdrant_api::{PayloadIndex, Recovery, Recreation};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::gate::Gate;
use super::reading::describes;
use super::scratch::Scratch;
use crate::keep::Shelf;
use crate::keep::sampler::{Sampler, is_intact};
use crate::log::chain;
use crate::store::Sum;

/// The collection and the file in the scratch Qdrant.
const COLLECTION: &str = "proof";
const FILE: &str = "shard.snapshot";
/// How long the file is waited for while others are being read.
const TURN: Duration = Duration::from_secs(60);
/// How long a change may take until it is applied.
const APPLY_SECS: u64 = 60;
/// How long a restored shard may take to be Active.
const SETTLE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
/// A restore may take a minute, and a second more for so many bytes.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a count may take: Qdrant collects all ids.
const COUNT: Duration = Duration::from_secs(300);

/// What came of it.
#[derive(Debug)]
pub enum Restored {
    /// It was compared.
    Judged(Judgement),
    /// The bytes that were read are not those of the manifest: to be read again.
    OtherBytes,
}

/// Restores one file and compares it. `running` is the version of the scratch Qdrant.
///
/// # Errors
/// It could not be looked at, which is no finding; for people.
pub async fn restore(
    shelf: &Shelf,
    scratch: &Scratch,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
    gate: &mut Gate,
) -> Result<Restored, String> {
    let client = scratch.client();
    let running = client.version().await.map_err(|error| chain(&error))?;
    let noted = noted(shelf, manifest, there, file).await?;
    make(scratch, there).await?;
    let folder = scratch.snapshots_of(COLLECTION, 0);
    match copy(shelf, manifest, there, file, &folder, gate).await? {
        true => {}
        false => return Ok(Restored::OtherBytes),
    }
    if let Some(refused) = fill(scratch, file).await? {
        return Ok(Restored::Judged(Judgement::Bad(format!(
            "a Qdrant {running} does not restore it: {refused}"
        ))));
    }
    active(scratch).await?;
    let points = client.with_timeout(COUNT).count_local(COLLECTION, 0).await;
    let points = points.map_err(|error| chain(&error))?;
    let look = match &noted {
        Some(noted) => {
            let sampler =
                Sampler::new(client.clone(), COLLECTION, planner::heal::names::ShardId(0));
            let look = sampler.again(noted).await;
            Some(look.map_err(|error| chain(&error))?)
        }
        None => None,
    };
    let same = manifest.source.qdrant == running;
    let compared = noted.as_ref().zip(look.as_ref());
    Ok(Restored::Judged(judge(file, points, compared, same)))
}

/// What was noted when the file was made; `None`: nothing was.
///
/// # Errors
/// It cannot be read or believed; for people. That is the record's fault, and not the file's.
async fn noted(
    shelf: &Shelf,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
) -> Result<Option<Samples>, String> {
    let entry = Entry::Part(there.index, file.shard, file.peer);
    let part = match shelf.read::<PartRecord>(manifest.set, entry).await {
        Found::Good(part) => part,
        Found::Absent => return Ok(None),
        Found::Refused(why) => return Err(why.to_string()),
        Found::Unread(why) => return Err(why),
    };
    match part.outcome {
        Outcome::Taken(taken) if taken.sha256 == file.sha256 => match taken.samples {
            Some(samples) if !is_intact(&samples) => {
                Err(format!("what {} notes has changed since", entry.path()))
            }
            samples => Ok(samples),
        },
        Outcome::Taken(_) | Outcome::Failed(_) => {
            Err(format!("{} is of another file", entry.path()))
        }
    }
}

/// Creates the empty collection with its indexes.
async fn make(scratch: &Scratch, there: &CollectionEntry) -> Result<(), String> {
    let client = scratch.client();
    let with = of_one_shard(describes(there)?);
    let made = client.create_collection_from(COLLECTION, &with, APPLY_SECS);
    made.await.map_err(|error| chain(&error))?;
    let description = there.description.as_ref();
    // Collected: an iterator that is held across an await makes a future that no task can run.
    let indexes: Vec<_> = description
        .into_iter()
        .flat_map(|what| &what.indexes)
        .collect();
    for (field, index) in indexes {
        let index: PayloadIndex =
            serde_json::from_value(index.clone()).map_err(|why| format!("index {field}: {why}"))?;
        let schema = index.schema();
        let made = client.create_index(COLLECTION, field, &schema, true, APPLY_SECS);
        made.await.map_err(|error| chain(&error))?;
    }
    Ok(())
}

/// The same collection with one shard in one copy, without limits on requests, and at rest.
fn of_one_shard(mut with: Recreation) -> Recreation {
    with.change = None;
    if let Some(fields) = with.create.as_object_mut() {
        for name in ["sharding_method", "strict_mode_config"] {
            fields.remove(name);
        }
        for name in [
            "shard_number",
            "replication_factor",
            "write_consistency_factor",
        ] {
            fields.insert(name.to_owned(), json!(1));
        }
        let optimizers = fields
            .entry("optimizers_config")
            .or_insert_with(|| json!({}));
        if let Some(optimizers) = optimizers.as_object_mut() {
            optimizers.insert("max_optimization_threads".to_owned(), json!(0));
            optimizers.insert("prevent_unoptimized".to_owned(), Value::Null);
        }
    }
    with
}

/// Brings the file out of the store to where the scratch Qdrant takes it from; says whether it is the one of
/// the manifest.
async fn copy(
    shelf: &Shelf,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
    folder: &Path,
    gate: &mut Gate,
) -> Result<bool, String> {
    let local = |error: std::io::Error| format!("write {}: {}", folder.display(), chain(&error));
    tokio::fs::create_dir_all(folder).await.map_err(local)?;
    let mut into = tokio::fs::File::create_new(folder.join(FILE))
        .await
        .map_err(local)?;
    let opened = shelf.open(manifest.set, there.index, file.shard, file.peer, TURN);
    let Some(mut reader) = opened.await.map_err(|error| chain(&error))? else {
        return Ok(false);
    };
    let mut sum = Sum::default();
    while let Some(bytes) = reader.piece().await.map_err(|error| chain(&error))? {
        gate.pass(bytes.len()).await;
        sum.add(&bytes);
        if sum.size() > file.bytes {
            return Ok(false);
        }
        into.write_all(&bytes).await.map_err(local)?;
    }
    into.flush().await.map_err(local)?;
    let stored = sum.done();
    Ok(stored.size == file.bytes && stored.sha256 == file.sha256)
}

/// Has the scratch Qdrant restore the file. Gives what it says when it refuses twice, and had all that it
/// needs: its life and room on its disk.
///
/// # Errors
/// Anything else; for people.
async fn fill(scratch: &Scratch, file: &FileEntry) -> Result<Option<String>, String> {
    let from = Recovery {
        location: FILE.to_owned(),
        sha256: file.sha256.to_string(),
        api_key: None,
    };
    let longest = Duration::from_secs(60 + file.bytes / BYTES_PER_SECOND);
    let mut refused = None;
    for _ in 0..2 {
        let client = scratch.client();
        let Err(error) = client.recover_shard(COLLECTION, 0, &from, longest).await else {
            return Ok(None);
        };
        let why = chain(&error);
        let free = scratch.free().map_err(|error| chain(&error))?;
        let answered = matches!(error.code(), Some(400 | 500));
        if !answered || !scratch.is_alive() || free < file.bytes {
            let said = scratch.last_words();
            return Err(format!(
                "the scratch Qdrant could not restore it: {why}{said}"
            ));
        }
        refused = Some(why);
    }
    Ok(refused)
}

/// Waits until the restored shard may be read.
async fn active(scratch: &Scratch) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let placed = scratch.client().collection_cluster(COLLECTION).await;
        let why = match placed {
            Ok(placed) => {
                let states = placed.local_shards.iter().map(|own| &own.state);
                let states: Vec<_> = states.map(|state| format!("{state:?}")).collect();
                if states == ["Active"] {
                    return Ok(());
                }
                format!("its shard is {states:?}")
            }
            Err(error) => chain(&error),
        };
        if began.elapsed() > SETTLE || !scratch.is_alive() {
            return Err(format!(
                "the scratch Qdrant does not serve what was restored: {why}"
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_of_one_shard_at_rest() {
        let with = Recreation {
            create: json!({
                "vectors": {"size": 4, "distance": "Dot"}, "shard_number": 6,
                "replication_factor": 3, "write_consistency_factor": 2,
                "sharding_method": "custom", "strict_mode_config": {"enabled": true},
                "hnsw_config": {"m": 8},
                "optimizers_config": {"max_optimization_threads": "auto"},
            }),
            change: Some(json!({"params": {"read_fan_out_factor": 2}})),
        };
        let made = of_one_shard(with);
        let wanted = json!({
            "vectors": {"size": 4, "distance": "Dot"}, "shard_number": 1,
            "replication_factor": 1, "write_consistency_factor": 1,
            "hnsw_config": {"m": 8},
            "optimizers_config": {"max_optimization_threads": 0, "prevent_unoptimized": null},
        });
        assert_eq!((made.create, made.change), (wanted, None));
    }
}
