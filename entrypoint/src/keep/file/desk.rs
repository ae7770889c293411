//! So many files at a time, and so at most as many threads that hang: of those that are written one,
//! for two would not be faster, share the way to the store, and hold twice the memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::progress::Progress;
use crate::keep::FileError;
use crate::store::{Key, Stuck};

/// Where files wait for their turn.
#[derive(Debug)]
pub(in crate::keep) struct Desk {
    seats: usize,
    turn: Arc<Semaphore>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

#[derive(Debug)]
struct Taken {
    path: String,
    progress: Arc<Progress>,
}

impl Desk {
    /// One for so many files at a time.
    pub(in crate::keep) fn new(seats: usize) -> Self {
        Self {
            seats,
            turn: Arc::new(Semaphore::new(seats)),
            taken: Arc::default(),
        }
    }

    /// What has not moved for `patience`.
    pub(in crate::keep) fn stuck(&self, patience: Duration) -> Vec<Stuck> {
        let taken = lock(&self.taken);
        let stuck = taken.iter().filter_map(|taken| {
            let (op, since) = taken.progress.stalled()?;
            (since >= patience).then(|| Stuck {
                op,
                path: taken.path.clone(),
                since,
            })
        });
        stuck.collect()
    }

    /// Waits for the turn, but no longer than `longest`, and not at all while all that have it are
    /// threads that hang.
    pub(in crate::keep) async fn turn(
        &self,
        key: &Key,
        patience: Duration,
        longest: Duration,
    ) -> Result<Turn, FileError> {
        let hung = self.stuck(patience);
        if hung.len() >= self.seats
            && let Some(hung) = hung.into_iter().next()
        {
            return Err(stuck(key, hung));
        }
        match timeout(longest, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn::take(permit, &self.taken, key)),
            Ok(Err(_)) | Err(_) => Err(match self.stuck(patience).into_iter().next() {
                Some(hung) => stuck(key, hung),
                None => FileError::Occupied {
                    path: key.to_string(),
                    by: self.by(),
                },
            }),
        }
    }

    fn by(&self) -> String {
        let path = lock(&self.taken).first().map(|taken| taken.path.clone());
        path.unwrap_or_else(|| "another file".to_owned())
    }
}

fn lock(taken: &Mutex<Vec<Taken>>) -> MutexGuard<'_, Vec<Taken>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stuck(key: &Key, hung: Stuck) -> FileError {
    FileError::Stuck {
        path: key.to_string(),
        hung: hung.op,
        by: hung.path,
        since: hung.since,
    }
}

/// The right to write or read a file, which its thread holds until it ends; given back when dropped.
#[derive(Debug)]
pub(in crate::keep) struct Turn {
    progress: Arc<Progress>,
    taken: Arc<Mutex<Vec<Taken>>>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    fn take(permit: OwnedSemaphorePermit, taken: &Arc<Mutex<Vec<Taken>>>, key: &Key) -> Self {
        let progress = Arc::new(Progress::default());
        lock(taken).push(Taken {
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
        // By what is its own alone: one file may be read twice at a time.
        lock(&self.taken).retain(|taken| !Arc::ptr_eq(&taken.progress, &self.progress));
    }
}
