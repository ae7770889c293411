//! Reads every file of a set again: whether it is there, has the size and the hash that the manifest
//! says, and is a whole archive. Changes nothing. A store that hangs is something that could not be
//! looked at, and not for ever.

use std::time::Duration;

use planner::keep::records::{CollectionEntry, FileEntry, Manifest};

use super::prover::gate::Gate;
use super::{FileError, Shelf};
use crate::archive::{Refusal, Verifier};
use crate::log::chain;
use crate::store::{StoreError, Stored, Sum};

/// How long a file is waited for while others are being read.
const WAIT: Duration = Duration::from_secs(600);

/// What one check of a set came to.
#[derive(Debug, Default)]
pub struct Checked {
    /// Files that are good.
    pub good: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, one line each.
    pub wrong: Vec<String>,
    /// What could not be looked at, one line each: it says nothing about the set.
    pub unread: Vec<String>,
}

/// How a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    /// It could not be read, or not to its end.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its bytes are those of the manifest.
    #[error("it is no whole shard snapshot")]
    Refused(#[from] Refusal),
}

/// Checks all files that the manifest names.
pub async fn check(shelf: &Shelf, manifest: &Manifest) -> Checked {
    let mut checked = Checked::default();
    for there in &manifest.collections {
        for file in &there.files {
            let at = format!("{} ({} shard {})", file.path, there.name, file.shard);
            match one(shelf, manifest, there, file, &mut Gate::open()).await {
                Ok(Some(stored)) if stored.size != file.bytes || stored.sha256 != file.sha256 => {
                    let Stored { size, sha256 } = stored;
                    checked.wrong.push(format!(
                        "{at} has {size} bytes ({sha256}), the manifest says {} ({})",
                        file.bytes, file.sha256
                    ));
                }
                Ok(Some(stored)) => {
                    checked.good += 1;
                    checked.bytes = checked.bytes.saturating_add(stored.size);
                }
                Ok(None) => checked.wrong.push(format!("{at} is not there")),
                Err(
                    bad @ (Bad::Refused(_)
                    | Bad::File(FileError::Store(StoreError::Incomplete { .. }))),
                ) => checked.wrong.push(format!("{at}: {}", chain(&bad))),
                Err(Bad::File(error)) => checked.unread.push(format!("{at}: {}", chain(&error))),
            }
        }
    }
    checked
}

/// Reads one file, as fast as `gate` lets it. Gives its size and hash; `None` when it is not there.
pub(super) async fn one(
    shelf: &Shelf,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
    gate: &mut Gate,
) -> Result<Option<Stored>, Bad> {
    let opened = shelf.open(manifest.set, there.index, file.shard, file.peer, WAIT);
    let Some(mut reader) = opened.await? else {
        return Ok(None);
    };
    let (mut verifier, mut sum) = (Verifier::new(), Sum::default());
    let mut refused = None;
    while let Some(bytes) = reader.piece().await? {
        gate.pass(bytes.len()).await;
        sum.add(&bytes);
        // Read to its end all the same: a wrong hash says more than where the archive is broken.
        if refused.is_none() {
            refused = verifier.push(&bytes).err();
        }
    }
    let stored = sum.done();
    let same = stored.size == file.bytes && stored.sha256 == file.sha256;
    match refused {
        Some(refusal) if same => Err(refusal.into()),
        None if same => verifier.finish().map(|_| Some(stored)).map_err(Bad::from),
        _ => Ok(Some(stored)),
    }
}
