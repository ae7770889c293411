//! The sets of snapshots in the store of a world, read as anybody would who has only the directory.
//! Owns: reading and proving them, and asking for one. Must not: decide which there should be.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use entrypoint::archive;
use planner::keep::ids::SetId;
use planner::keep::layout;
use planner::keep::read::{Record, read};
use planner::keep::records::{Manifest, PlanRecord, ProofRecord};
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
    let root = world.efs.path().join("cluster").join(layout::SETS);
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

impl Set {
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
