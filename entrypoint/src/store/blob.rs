//! Big immutable files (the shards of a snapshot set) under the same keys as records: written once
//! by streaming, hashed on the way, never replaced.
//!
//! It must not hold more of a file in memory than a fixed buffer, whatever the size, and must not
//! know what is inside. ("Payload" would be the other word, but that is Qdrant's for what is stored
//! with a point.)

use std::ops::ControlFlow;
use std::time::Duration;

use planner::keep::ids::Sha256;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{Key, Prefix, Store, StoreError};

/// How much is read from a store at once. Large enough for NFS (1 MiB `rsize`), small enough to
/// keep PID 1 within its memory.
const CHUNK: usize = 256 * 1024;

/// A store that also takes big files. Every call blocks, possibly for ever: use a thread that may
/// be given up, never the async runtime.
///
/// A blob appears under its key whole or not at all. While it is written it is invisible to
/// [`BlobStore::blobs`] and [`BlobStore::blob`].
pub trait BlobStore: Store {
    /// For how long a blob that is written or read may rest and is not stuck, where that is longer than a
    /// record may take.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Begins to write `key`, which must not exist yet. To be finished with
    /// [`BlobWriter::finish`]; dropping the writer leaves nothing behind, as far as the store can
    /// be reached.
    ///
    /// # Errors
    /// [`StoreError::AlreadyThere`], so that nobody streams for an hour in vain, and those of
    /// [`Store`]; nothing was written.
    fn begin(&self, key: &Key) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Opens `key` for reading from its beginning, or gives `None` when the store says that there
    /// is none. What it gives comes from the place itself and not from what this task has just
    /// written into its cache, as far as the system lets us choose.
    ///
    /// # Errors
    /// Everything that is neither a blob nor a definite "no such key".
    fn blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError>;

    /// Shows `each` every key below `prefix` with its size, at any depth, directory by directory
    /// and in no order to rely on, until it breaks off. What cannot be a key is left out. Nothing
    /// is shown of an unreadable part: then it is an error, after what was shown already.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] when one directory holds too much; those of [`Store`].
    fn blobs(
        &self,
        prefix: &Prefix,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Makes durable what is visible under `key`, as its writer may have died between the two.
    /// Whether anything is there is not asked.
    ///
    /// # Errors
    /// See [`Store`].
    fn settle(&self, key: &Key) -> Result<(), StoreError>;

    /// Removes the folder `prefix` when nothing is in it, and those above it for which the same holds
    /// then: writers that were given up leave them. One that is not empty stays.
    fn prune(&self, prefix: &Prefix);

    /// Removes `key`, and every folder that holds nothing more then: it would be seen by
    /// [`Store::folders`] for ever. Gives `false` when the blob was not there.
    ///
    /// # Errors
    /// See [`Store`].
    fn remove_blob(&self, key: &Key) -> Result<bool, StoreError>;

    /// What writers that ended too early left below `prefix`, writers at work included: only their
    /// age tells them apart. A store that keeps such things out of sight gives nothing.
    ///
    /// # Errors
    /// See [`Store`].
    fn leftovers(&self, prefix: &Prefix) -> Result<Vec<Leftover>, StoreError>;

    /// Removes what a writer left if it is, looked at again now, still there, by its name ours,
    /// and was last written to more than `older` ago. A writer that is merely slow would find its
    /// file gone, fail, and have to begin again. Gives whether it was removed.
    ///
    /// # Errors
    /// See [`Store`].
    fn remove_leftover(&self, leftover: &Leftover, older: Duration) -> Result<bool, StoreError>;
}

/// A blob that is being written.
pub trait BlobWriter: Send {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// After any error the writer can only be dropped.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes the blob durable and then visible under its key. Never replaces another one.
    ///
    /// # Errors
    /// [`StoreError::AlreadyThere`] when somebody else was quicker. [`StoreError::is_unclear`]
    /// tells whether it may be there nevertheless: then read it and compare. Otherwise nothing of
    /// this writer is under the key.
    fn finish(self: Box<Self>) -> Result<Stored, StoreError>;
}

/// A blob that is being read, from its beginning to its end.
pub trait BlobReader: Send {
    /// Its size in bytes, as it was when opened.
    fn size(&self) -> u64;

    /// Reads the next bytes into `buffer` and gives their number, 0 at the end.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] when it ends before its size or goes on after it.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

/// What a blob consists of, for a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Size in bytes.
    pub size: u64,
    /// Checksum of all bytes.
    pub sha256: Sha256,
}

/// One blob in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
}

/// A file that a writer has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The key that it was meant for.
    pub key: Key,
    /// Its own name, in the directory of the key.
    pub name: String,
    /// What it holds so far, in bytes.
    pub size: u64,
    /// How long ago it was last written to, by the clock of the file server.
    pub age: Duration,
}

/// Sums up what passes by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    hash: sha2::Sha256,
    size: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn done(self) -> Stored {
        Stored {
            size: self.size,
            sha256: Sha256(self.hash.finalize().into()),
        }
    }
}

/// Reads `reader` to its end, shows all bytes to `each`, and gives what they came to. The error of
/// `each` ends it early.
///
/// # Errors
/// Those of the reader and of `each`.
pub fn read_through<E: From<StoreError>>(
    reader: &mut dyn BlobReader,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Stored, E> {
    let mut buffer = vec![0; CHUNK];
    let mut sum = Sum::default();
    loop {
        let length = reader.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(sum.done());
        };
        sum.add(bytes);
        each(bytes)?;
    }
}

/// The SHA-256 sum of `bytes` (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of "abc" in FIPS 180-4's example, as `sha256sum` prints it.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn checksums_are_what_sha256sum_prints() {
        let sum = sha256(b"abc");
        assert_eq!(sum.to_string(), ABC);
        assert_eq!(ABC.parse::<Sha256>().unwrap(), sum);
        let json = serde_json::to_string(&sum).unwrap();
        assert_eq!(json, format!("\"{ABC}\""));
        assert_eq!(serde_json::from_str::<Sha256>(&json).unwrap(), sum);
        for bad in [
            "",
            "ab",
            &ABC.to_uppercase(),
            &format!("{ABC}0"),
            &"ä".repeat(32),
        ] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
            assert!(serde_json::from_str::<Sha256>(&format!("\"{bad}\"")).is_err());
        }
    }

    #[test]
    fn sums_do_not_depend_on_how_the_bytes_come() {
        let mut sum = Sum::default();
        for part in ["a", "", "bc"] {
            sum.add(part.as_bytes());
        }
        assert_eq!(sum.size(), 3);
        let stored = sum.done();
        assert_eq!((stored.size, stored.sha256), (3, sha256(b"abc")));
    }
}
