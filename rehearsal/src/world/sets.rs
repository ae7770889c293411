//! The sets of snapshots in the store of a world, read as anybody would who has only the directory.
//! Owns: reading and proving them, and asking for one. Must not: decide which there should be.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use entrypoint::archive;
use planner::keep::ids::SetId;
use planner::keep::layout;
use planner::keep::read::{Record, read};
use planner::keep::records::{FileEntry, Manifest, PlanRecord, ProofRecord};
use serde_json::json;

use super::World;
use crate::ecs::task::Task;
use crate::timing;

/// What is there of one set.
#[derive(Debug)]
pub struct Set {
    /// Its name.
    pub id: SetId,
    /// Its plan.
    pub plan: Option<PlanRecord>,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// It is given up, or being deleted.
    pub tombstone: bool,
    pub(super) folder: PathBuf,
}

/// Every set of this world, the oldest first.
///
/// # Errors
/// When the store cannot be read, or a record in it is refused.
pub fn all(world: &World) -> Result<Vec<Set>> {
    let root = world.efs.records().join(layout::SETS);
    let entries = match fs::read_dir(&root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("list the sets")?,
    };
    let mut sets = Vec::new();
    for entry in entries {
        let entry = entry.context("list the sets")?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            bail!("{name:?} is no set");
        };
        let folder = entry.path();
        sets.push(Set {
            id,
            plan: record(&folder, id, layout::PLAN)?,
            manifest: record(&folder, id, layout::MANIFEST)?,
            tombstone: folder.join(layout::TOMBSTONE).exists(),
            folder,
        });
    }
    sets.sort_by_key(|set| set.id);
    Ok(sets)
}

/// Asks a task for a set of one collection, or of all; gives the token of the request.
///
/// # Errors
/// When it is refused.
pub async fn ask(task: &Task, collection: Option<&str>) -> Result<String> {
    let client = reqwest::Client::builder()
        .timeout(timing::REST)
        .no_proxy()
        .build()
        .context("build a client")?;
    let answer = client
        .post(format!("http://{}:6336/v1/sets", task.address))
        .header("api-key", &task.api_key)
        .json(&json!({"owner": "rehearsal", "collection": collection}))
        .send()
        .await
        .context("ask for a set")?;
    let (code, text) = (answer.status(), answer.text().await?);
    if !code.is_success() {
        bail!("{} answers {code}: {text}", task.name());
    }
    let record: serde_json::Value = serde_json::from_str(&text).context("read the request")?;
    let token = record.get("token").and_then(serde_json::Value::as_str);
    Ok(token.context("a request has a token")?.to_owned())
}

fn record<R: Record>(folder: &Path, set: SetId, path: &str) -> Result<Option<R>> {
    match fs::read(folder.join(path)) {
        Ok(bytes) => Ok(Some(read(&set.to_string(), path, &bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read a record"),
    }
}

/// What broken-off writes have left among the sets: hidden files of any set, and folders without a plan.
///
/// # Errors
/// When the store cannot be read.
pub fn left_over(world: &World) -> Result<Vec<PathBuf>> {
    let mut left = hidden(world)?;
    let bare = all(world)?.into_iter().filter(|set| set.is_bare());
    left.extend(bare.map(|set| set.folder));
    Ok(left)
}

/// The hidden files among the sets: halves of files, until they have their name.
///
/// # Errors
/// When the store cannot be read.
pub fn hidden(world: &World) -> Result<Vec<PathBuf>> {
    let mut ahead = vec![world.efs.records().join(layout::SETS)];
    let mut hidden = Vec::new();
    while let Some(folder) = ahead.pop() {
        let entries = match fs::read_dir(&folder) {
            // It has just been deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.context("list a folder")?,
        };
        for entry in entries {
            let path = entry.context("list a folder")?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if path.is_dir() {
                ahead.push(path);
            } else if name.is_some_and(|name| name.starts_with('.')) {
                hidden.push(path);
            }
        }
    }
    Ok(hidden)
}

impl Set {
    /// The path and hash of each file, as the manifest says.
    ///
    /// # Errors
    /// When there is none, or a collection is not whole.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        let manifest = self.manifest.as_ref().context("it has no manifest")?;
        if let Some(there) = manifest.collections.iter().find(|there| !there.whole) {
            bail!("{} is not whole: {:?}", there.name, there.missing);
        }
        let files = manifest.collections.iter().flat_map(|there| &there.files);
        let file = |file: &FileEntry| (file.path.clone(), file.sha256.to_string());
        Ok(files.map(file).collect())
    }

    /// How long it was made, by the file system's clock: from its plan to its manifest.
    ///
    /// # Errors
    /// When it has not both.
    pub fn lasted(&self) -> Result<Duration> {
        let at = |name: &str| fs::metadata(self.folder.join(name)).and_then(|it| it.modified());
        let from = at(layout::PLAN).context("look at the plan")?;
        let to = at(layout::MANIFEST).context("look at the manifest")?;
        to.duration_since(from)
            .context("the plan is younger than the manifest")
    }

    /// It has none of its records.
    pub fn is_bare(&self) -> bool {
        self.plan.is_none() && self.manifest.is_none() && !self.tombstone
    }

    /// Where it lies, seen from behind the faults.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How long its files were on their way, by the file system's clock: from the first that was begun
    /// to the last record of one that is durable and was read back. `None` where that clock does not
    /// say when a file was begun.
    ///
    /// # Errors
    /// When it is not finished.
    pub fn taking(&self) -> Result<Option<Duration>> {
        let manifest = self.manifest.as_ref().context("it has no manifest")?;
        let (mut from, mut to) = (None::<SystemTime>, None::<SystemTime>);
        for there in &manifest.collections {
            for file in &there.files {
                let part = layout::part(there.index, file.shard, file.peer);
                let begun = fs::metadata(self.folder.join(&file.path)).and_then(|it| it.created());
                let ended = fs::metadata(self.folder.join(part)).and_then(|it| it.modified());
                let (Ok(begun), Ok(ended)) = (begun, ended) else {
                    return Ok(None);
                };
                from = Some(from.map_or(begun, |from| from.min(begun)));
                to = Some(to.map_or(ended, |to| to.max(ended)));
            }
        }
        let both = from.zip(to);
        Ok(both.and_then(|(from, to)| to.duration_since(from).ok()))
    }

    /// What proofs found of it so far.
    ///
    /// # Errors
    /// When a record cannot be read, or is refused.
    pub fn proofs(&self) -> Result<Vec<ProofRecord>> {
        let entries = match fs::read_dir(self.folder.join(layout::PROOFS)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("list the proofs")?,
        };
        let mut proofs = Vec::new();
        for entry in entries {
            let name = entry.context("list the proofs")?.file_name();
            let name = name.to_string_lossy();
            // Half a file has a name that begins with a dot.
            if !name.starts_with('.') {
                let path = format!("{}/{name}", layout::PROOFS);
                proofs.extend(record(&self.folder, self.id, &path)?);
            }
        }
        Ok(proofs)
    }

    /// Changes the first byte of its first file, as a disk does that lies.
    ///
    /// # Errors
    /// When it has none, or it cannot be written.
    pub fn spoil(&self) -> Result<()> {
        let manifest = self.manifest.as_ref().context("it has no manifest")?;
        let mut files = manifest.collections.iter().flat_map(|there| &there.files);
        let path = self
            .folder
            .join(&files.next().context("it has no file")?.path);
        let mut bytes = fs::read(&path).context("read a file")?;
        // In the name of the first entry: what cannot be unpacked Qdrant answers with 500.
        *bytes.first_mut().context("it is empty")? ^= 0xff;
        fs::write(&path, bytes).context("write a file")
    }

    /// Gives its manifest a format that nobody reads yet.
    ///
    /// # Errors
    /// When it has none, or it cannot be written.
    pub fn hide_manifest(&self) -> Result<()> {
        let path = self.folder.join(layout::MANIFEST);
        fs::write(path, r#"{"format": 1000}"#).context("write a manifest")
    }

    /// Every file that the manifest names is there, of its size and hash, and a whole archive; gives
    /// how many points all of them hold at least.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prove(&self) -> Result<u64> {
        let manifest = self.manifest.as_ref().context("it has no manifest")?;
        let mut points = 0_u64;
        for there in &manifest.collections {
            if !there.whole {
                bail!("{} is not whole: {:?}", there.name, there.missing);
            }
            for file in &there.files {
                let bytes = fs::read(self.folder.join(&file.path)).context("read a file")?;
                let sum = entrypoint::store::sha256(&bytes);
                if bytes.len() as u64 != file.bytes || sum != file.sha256 {
                    bail!("{} has {} bytes and {sum}", file.path, bytes.len());
                }
                archive::verify(bytes.as_slice()).with_context(|| file.path.clone())?;
                if file.before.points > file.after.points {
                    bail!(
                        "{} had {:?} and then {:?}",
                        file.path,
                        file.before,
                        file.after
                    );
                }
                points += file.before.points;
            }
        }
        Ok(points)
    }
}
