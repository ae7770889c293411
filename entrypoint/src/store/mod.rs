//! The durable place that all tasks of one service share: small records ([`Store`]: written once,
//! one lease, one beat per member) and big files ([`BlobStore`]: the parts of snapshot sets). A
//! directory (EFS) or a prefix of an S3 bucket; [`open`] tells by the URL.
//!
//! It moves bytes under validated names and says exactly what is known about each call. It must
//! not know what a record means, decide anything, or retry: that is the planner's. Nothing here
//! may be called from the async runtime except [`StoreHandle`] (and [`crate::keep::Shelf`] for big
//! files), because a call on a hard NFS mount can hang for ever.

mod blob;
mod directory;
mod error;
mod key;
pub(crate) mod lane;
mod open;
mod s3;
#[cfg(test)]
pub(crate) mod testing;
mod worker;

pub(crate) use blob::Sum;
pub use blob::{BlobReader, BlobStore, BlobWriter, Leftover, Listed, Stored, read_through, sha256};
pub use directory::DirectoryStore;
pub use error::{Op, StoreError};
pub use key::{BadKey, Key, Prefix};
pub use lane::Stuck;
pub use open::open;
pub use s3::S3Store;
pub use worker::{PendingWrite, StoreHandle, Write};

/// Largest value in bytes, for writing and for reading. Records are small JSON; anything bigger is
/// not ours or is damaged, and must not be read into the memory of PID 1.
pub const MAX_VALUE: usize = 64 * 1024;

/// Most keys one [`Store::list`] may find. More is an error and never a shortened answer, because
/// a record that is missing from a list reads as "does not exist".
pub const MAX_LISTED: usize = 4096;

/// How an exclusive [`Store::create`] ended. Both are final: the record exists and is durable or
/// belongs to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// The stored bytes are the ones given. Also the answer when the same bytes are created again,
    /// so that a writer whose first answer was lost can simply ask again.
    Ours,
    /// Another record was there first; these are its bytes, as read after the attempt.
    Exists(Vec<u8>),
}

/// What a store can do. Every call blocks, possibly for ever; use [`StoreHandle`] from async code.
///
/// Errors of the three writing calls are of two kinds. [`StoreError::is_unclear`] says that the
/// write may have taken effect, or may still: read the key until it is decided. All other errors
/// say that nothing was written.
pub trait Store: Send + Sync {
    /// Where this store is, for messages: `file:///qdrant/snapshots/.cluster`.
    fn describe(&self) -> String;

    /// The value now stored under `key`, looked up afresh (no cached answer), or `None` when the
    /// store says that there is none.
    ///
    /// # Errors
    /// Everything that is neither a value nor a definite "no such key", among it
    /// [`StoreError::TooLarge`] for a value above [`MAX_VALUE`].
    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError>;

    /// Creates `key` with `value` if nothing is there: of any number of writers exactly one gets
    /// [`Created::Ours`], provided that each value is unique to its writer (a token inside). The
    /// answer is taken from what a read after the attempt shows, never from the return code alone.
    ///
    /// # Errors
    /// See [`Store`]; [`StoreError::Unsupported`] when the place cannot create exclusively.
    fn create(&self, key: &Key, value: &[u8]) -> Result<Created, StoreError>;

    /// Stores `value` under `key`, replacing what was there; readers see the old or the new value,
    /// never a mixture. Only for records with a single writer (the lease, a task's own beat).
    ///
    /// # Errors
    /// See [`Store`].
    fn put(&self, key: &Key, value: &[u8]) -> Result<(), StoreError>;

    /// All keys below `prefix`, at any depth, in ascending order. What cannot be a key (temporary
    /// files, names with a leading dot) is left out. A prefix that does not exist holds nothing.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] above [`MAX_LISTED`] keys; an unreadable part is an error too, for a
    /// list is either complete or not given.
    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError>;

    /// The names of the folders directly in `prefix`, in ascending order, told by one look and not
    /// by walking them. Links, and what cannot be a segment of a key, are left out. A prefix that
    /// does not exist has none.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] above [`MAX_LISTED`] of them; those of [`Store`].
    fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, StoreError>;

    /// Removes `key`. Gives `false` when it was not there. Only for the record of a task
    /// that ends or is no more.
    ///
    /// # Errors
    /// See [`Store`].
    fn remove(&self, key: &Key) -> Result<bool, StoreError>;
}
