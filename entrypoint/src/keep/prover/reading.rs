//! Levels 0 and 1: every file of a set is read once. Its hash proves level 0, its archive and what is
//! described of its collection level 1.
//!
//! What looks wrong is read a second time before it is called so, and only while the set is still there: a
//! store that is being mounted looks empty for a moment, and a set that is being deleted loses its files.

use planner::keep::folder::Found;
use planner::keep::layout::Entry;
use planner::keep::records::{
    Checked, CollectionEntry, FileEntry, Level, Manifest, ProofRecord, Tombstone,
};
use qdrant_api::{PayloadIndex, Recreation};

use super::gate::Gate;
use crate::archive::Refusal;
use crate::keep::check::{Bad, one};
use crate::keep::{FileError, Shelf};
use crate::log::chain;
use crate::store::StoreError;

/// What one reading of a set came to.
#[derive(Debug, Default)]
pub struct Reading {
    /// What was looked at, by the level that was reached.
    pub checked: Vec<(Level, Checked)>,
    /// What could not be looked at, for people.
    pub unread: Vec<String>,
}

/// What is wrong with a file, or nothing; and at which level.
type Verdict = (Level, Option<String>);

/// Reads all files of a set.
pub async fn read(shelf: &Shelf, manifest: &Manifest, gate: &mut Gate) -> Reading {
    let mut reading = Reading::default();
    for there in &manifest.collections {
        let config = describes(there);
        for file in &there.files {
            let at = format!("{} ({} shard {})", file.path, there.name, file.shard);
            match judged(shelf, manifest, there, file, gate).await {
                Err(why) => reading.unread.push(format!("{at}: {why}")),
                Ok((level, wrong)) => {
                    // What this version does not understand speaks against no file.
                    let level = match (&config, &wrong) {
                        (Err(_), None) => Level::L0,
                        _ => level,
                    };
                    let checked = Checked {
                        index: there.index,
                        shard: file.shard,
                        wrong,
                    };
                    reading.checked.push((level, checked));
                }
            }
        }
        if let Err(why) = config {
            reading.unread.push(format!("{}: {why}", there.name));
        }
    }
    reading
}

/// Reads one file, and again when it looks wrong.
///
/// # Errors
/// It could not be looked at; for people.
pub async fn judged(
    shelf: &Shelf,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
    gate: &mut Gate,
) -> Result<Verdict, String> {
    let first = look(shelf, manifest, there, file, gate).await?;
    if first.1.is_none() {
        return Ok(first);
    }
    let second = look(shelf, manifest, there, file, gate).await?;
    if second != first {
        return Err("two readings of it do not agree".to_owned());
    }
    is_there(shelf, manifest).await?;
    Ok(second)
}

async fn look(
    shelf: &Shelf,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
    gate: &mut Gate,
) -> Result<Verdict, String> {
    match one(shelf, manifest, there, file, gate).await {
        Ok(None) => Ok((Level::L0, Some("it is not there".to_owned()))),
        Ok(Some(is)) if is.size != file.bytes => {
            let why = format!("it has {} bytes instead of {}", is.size, file.bytes);
            Ok((Level::L0, Some(why)))
        }
        Ok(Some(is)) if is.sha256 != file.sha256 => {
            Ok((Level::L0, Some(format!("it hashes to {}", is.sha256))))
        }
        Ok(Some(_)) => Ok((Level::L1, None)),
        Err(Bad::Refused(refusal)) => Ok((Level::L1, Some(no_archive(&refusal)))),
        // It ends before the size that the store tells.
        Err(Bad::File(error @ FileError::Store(StoreError::Incomplete { .. }))) => {
            Ok((Level::L0, Some(chain(&error))))
        }
        Err(Bad::File(error)) => Err(chain(&error)),
    }
}

fn no_archive(refusal: &Refusal) -> String {
    format!("it is no whole shard snapshot: {}", chain(refusal))
}

/// The set still counts: what is missing from it is missing from a set.
async fn is_there(shelf: &Shelf, manifest: &Manifest) -> Result<(), String> {
    let set = manifest.set;
    match shelf.read::<Manifest>(set, Entry::Manifest).await {
        Found::Good(_) => {}
        Found::Absent => return Err("the set has no manifest now".to_owned()),
        Found::Refused(why) => return Err(why.to_string()),
        Found::Unread(why) => return Err(why),
    }
    match shelf.read::<Tombstone>(set, Entry::Tombstone).await {
        Found::Absent => Ok(()),
        Found::Good(_) | Found::Refused(_) => Err("the set is being deleted".to_owned()),
        Found::Unread(why) => Err(why),
    }
}

/// The collection could be made again from what is described of it.
///
/// # Errors
/// What this version does not understand; for people.
pub fn describes(there: &CollectionEntry) -> Result<Recreation, String> {
    let description = there.description.as_ref();
    let description = description.ok_or("it is not described")?;
    for (field, index) in &description.indexes {
        let index: Result<PayloadIndex, _> = serde_json::from_value(index.clone());
        index.map_err(|why| format!("index {field}: {why}"))?;
    }
    Recreation::of(&description.config).map_err(|why| chain(&why))
}

/// The records of what was found, one for each level that has anything. `of` gives an empty one.
pub fn records(
    checked: Vec<(Level, Checked)>,
    of: impl Fn(Level, Vec<Checked>) -> ProofRecord,
) -> Vec<ProofRecord> {
    let mut records = Vec::new();
    for level in Level::ALL {
        let own = checked.iter().filter(|(at, _)| *at == level);
        let own: Vec<_> = own.map(|(_, checked)| checked.clone()).collect();
        if !own.is_empty() {
            records.push(of(level, own));
        }
    }
    records
}
