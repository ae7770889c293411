//! Reads every file of a set again: whether it is there, has the size and the hash that the manifest
//! says, and is a whole archive. Changes nothing, and blocks: not for the async side.

use planner::keep::layout::Entry;
use planner::keep::records::{CollectionEntry, FileEntry, Manifest};

use super::key;
use crate::archive::{Refusal, Verifier};
use crate::log::chain;
use crate::store::{BlobStore, StoreError, Stored, read_through};

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
enum Bad {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it is no whole shard snapshot")]
    Refused(#[from] Refusal),
}

/// Checks all files that the manifest names.
pub fn check(store: &dyn BlobStore, manifest: &Manifest) -> Checked {
    let mut checked = Checked::default();
    for there in &manifest.collections {
        for file in &there.files {
            let at = format!("{} ({} shard {})", file.path, there.name, file.shard);
            match one(store, manifest, there, file) {
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
                Err(Bad::Store(error @ StoreError::Incomplete { .. })) => {
                    checked.wrong.push(format!("{at}: {}", chain(&error)));
                }
                Err(Bad::Store(error)) => checked.unread.push(format!("{at}: {}", chain(&error))),
                Err(bad @ Bad::Refused(_)) => checked.wrong.push(format!("{at}: {}", chain(&bad))),
            }
        }
    }
    checked
}

fn one(
    store: &dyn BlobStore,
    manifest: &Manifest,
    there: &CollectionEntry,
    file: &FileEntry,
) -> Result<Option<Stored>, Bad> {
    let entry = Entry::Payload(there.index, file.shard, file.peer);
    let key = key(manifest.set, entry).map_err(StoreError::from)?;
    let Some(mut reader) = store.blob(&key)? else {
        return Ok(None);
    };
    let mut verifier = Verifier::new();
    let mut refused = None;
    let stored = read_through(reader.as_mut(), |bytes| {
        // Read to its end all the same: a wrong hash says more than where the archive is broken.
        if refused.is_none() {
            refused = verifier.push(bytes).err();
        }
        Ok::<_, StoreError>(())
    })?;
    let same = stored.size == file.bytes && stored.sha256 == file.sha256;
    match refused {
        Some(refusal) if same => Err(refusal.into()),
        None if same => verifier.finish().map(|_| Some(stored)).map_err(Bad::from),
        _ => Ok(Some(stored)),
    }
}
