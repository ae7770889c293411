//! What can go wrong with sets in the store, as one line each: what, where, what to do.

use std::time::Duration;

use planner::keep::refusal;

use crate::archive;
use crate::store::{Op, StoreError, Stored};

/// An error of [`super::Shelf`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that is no JSON: a defect of this program. Nothing was written.
    #[error("keep: the record {path} cannot be put into JSON; please report it")]
    Encode {
        /// The record.
        path: String,
        /// As the encoder put it.
        source: serde_json::Error,
    },
    /// A record that no reader would believe: a defect of this program. Nothing was written.
    #[error("keep: a record that would be refused is not written; please report it")]
    Unbelievable(#[source] refusal::Refusal),
    /// More in one set than can be.
    #[error("keep: more than {limit} files in {path}; move away what is not ours")]
    TooMany {
        /// The set.
        path: String,
        /// How many may be.
        limit: usize,
    },
}

impl ShelfError {
    /// Whether what was to be written may have been, now or later. `false`: it was not.
    #[must_use]
    pub const fn is_unclear(&self) -> bool {
        match self {
            Self::Store(error) => error.is_unclear(),
            Self::Encode { .. } | Self::Unbelievable(_) | Self::TooMany { .. } => false,
        }
    }
}

/// Why a file of a set is not there, or must not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The store's. If it is unclear ([`StoreError::is_unclear`]) the file may be visible.
    #[error(transparent)]
    Store(StoreError),
    /// A file of this name is there: this task was restarted in the middle of the set, or an
    /// earlier attempt that hung came to its end.
    #[error("keep: {path} is there already and stays as it is; it counts only with its record")]
    AlreadyThere {
        /// The file.
        path: String,
    },
    /// What came is no whole shard snapshot. Nothing of it is visible.
    #[error("keep: what came for {path} is no whole shard snapshot, and nothing of it was kept")]
    Refused {
        /// The file.
        path: String,
        /// What is wrong, and where.
        #[source]
        refusal: archive::Refusal,
    },
    /// The store gives other bytes than it was given. The file is visible.
    #[error(
        "keep: {path} was written with {} bytes ({}) and reads back with {} ({}); it is not used: look at the volume",
        written.size, written.sha256, read.size, read.sha256
    )]
    Differs {
        /// The file.
        path: String,
        /// What was written.
        written: Stored,
        /// What was read.
        read: Stored,
    },
    /// Nothing has moved for too long. A file that was being published may become visible later.
    #[error("keep: {op} of {path} has hung for {since:?}; is the volume reachable?")]
    Hangs {
        /// What hangs.
        op: Op,
        /// The file.
        path: String,
        /// For how long.
        since: Duration,
    },
    /// Not begun, since the thread of an earlier file still hangs.
    #[error(
        "keep: {path} not begun: {hung} of {by} has hung for {since:?}; is the volume reachable?"
    )]
    Stuck {
        /// The file.
        path: String,
        /// What hangs.
        hung: Op,
        /// The file whose thread hangs.
        by: String,
        /// For how long.
        since: Duration,
    },
    /// Not begun, since as many others as may be are under way.
    #[error("keep: {path} not begun: {by} is still under way, and no more are done at a time")]
    Occupied {
        /// The file.
        path: String,
        /// One of them.
        by: String,
    },
    /// An earlier error, or a push that was not awaited to its end, has ended the file.
    #[error("keep: {path} was given up before")]
    Over {
        /// The file.
        path: String,
    },
}

impl From<StoreError> for FileError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AlreadyThere { path } => Self::AlreadyThere { path },
            other => Self::Store(other),
        }
    }
}
