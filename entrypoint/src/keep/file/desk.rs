//! One file at a time, and so at most one thread that hangs. Two would not be faster, for they share
//! the way to the store, and would hold twice the memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::progress::Progress;
use crate::keep::FileError;
use crate::store::{Key, Stuck};

/// Where files are written one after the other.
#[derive(Debug)]
pub(in crate::keep) struct Desk {
    turn: Arc<Semaphore>,
    taken: Arc<Mutex<Option<Taken>>>,
}

#[derive(Debug)]
struct Taken {
    path: String,
    progress: Arc<Progress>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            taken: Arc::default(),
        }
    }
}

impl Desk {
    /// What has not moved for `patience`.
    pub(in crate::keep) fn stuck(&self, patience: Duration) -> Option<Stuck> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.as_ref()?;
        let (op, since) = taken.progress.stalled()?;
        (since >= patience).then(|| Stuck {
            op,
            path: taken.path.clone(),
            since,
        })
    }

    /// Waits for the turn, but no longer than `patience`, and not at all for a thread that hangs.
    pub(in crate::keep) async fn turn(
        &self,
        key: &Key,
        patience: Duration,
    ) -> Result<Turn, FileError> {
        if let Some(hung) = self.stuck(patience) {
            return Err(stuck(key, hung));
        }
        match timeout(patience, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn::take(permit, &self.taken, key)),
            Ok(Err(_)) | Err(_) => Err(match self.stuck(patience) {
                Some(hung) => stuck(key, hung),
                None => FileError::Occupied {
                    path: key.to_string(),
                    by: self.by(),
                },
            }),
        }
    }

    fn by(&self) -> String {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let path = taken.as_ref().map(|taken| taken.path.clone());
        path.unwrap_or_else(|| "another file".to_owned())
    }
}

fn stuck(key: &Key, hung: Stuck) -> FileError {
    FileError::Stuck {
        path: key.to_string(),
        hung: hung.op,
        by: hung.path,
        since: hung.since,
    }
}

/// The right to write a file, which its thread holds until it ends; given back when dropped.
#[derive(Debug)]
pub(in crate::keep) struct Turn {
    progress: Arc<Progress>,
    taken: Arc<Mutex<Option<Taken>>>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    fn take(permit: OwnedSemaphorePermit, taken: &Arc<Mutex<Option<Taken>>>, key: &Key) -> Self {
        let progress = Arc::new(Progress::default());
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken {
            path: key.to_string(),
            progress: Arc::clone(&progress),
        });
        Self {
            progress,
            taken: Arc::clone(taken),
            _permit: permit,
        }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
