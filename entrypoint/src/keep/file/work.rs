//! The thread of one file: from the store's word that the name is free to the last byte that was
//! read back. It may hang in any call of the store; then it is left behind, and gives up as soon as
//! it finds that nobody waits for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::desk::Turn;
use super::progress::Progress;
use crate::archive::{Refusal, Verifier};
use crate::keep::FileError;
use crate::priority;
use crate::store::lane::STACK;
use crate::store::{BlobStore, BlobWriter, Key, Op, StoreError, Stored, read_through};

/// What the thread is told. That there will be no more without a finish, it learns from the end of
/// the channel.
#[derive(Debug)]
pub(super) enum Message {
    /// The next bytes.
    Piece(Bytes),
    /// That was all.
    Finish,
}

/// What the thread is to do, and whom it tells.
pub(super) struct Order {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) key: Key,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) begun: oneshot::Sender<()>,
    pub(super) tell: oneshot::Sender<Result<Stored, FileError>>,
    pub(super) niceness: i32,
}

/// Starts the thread. It is detached: the end of the process does not wait for it.
pub(super) fn start(order: Order, turn: Turn) -> Result<(), StoreError> {
    let Order {
        store,
        key,
        inbox,
        begun,
        tell,
        niceness,
    } = order;
    // Counted from now, so that a thread that does not come to run is one that hangs.
    let progress = turn.progress();
    progress.enter(Op::Write);
    let run = move || {
        // Hashing and copying gigabytes is not worth a slower answer of a Qdrant beside us that serves.
        priority::lower(niceness);
        let work = Work {
            store: store.as_ref(),
            key: &key,
            progress: &progress,
        };
        let is_wanted = || !tell.is_closed();
        let result = catch_unwind(AssertUnwindSafe(|| work.run(inbox, begun, &is_wanted)));
        // First the turn, so that whoever gets the answer can go on at once.
        drop(turn);
        if let Ok(result) = result {
            // Nobody waits for it any more: then it was given up. After a panic the dropped `tell`
            // says so.
            let _ = tell.send(result);
        }
    };
    std::thread::Builder::new()
        .name("keep-file".to_owned())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|source| StoreError::Thread { source })?;
    Ok(())
}

struct Work<'a> {
    store: &'a dyn BlobStore,
    key: &'a Key,
    progress: &'a Progress,
}

impl Work<'_> {
    fn run(
        &self,
        mut inbox: mpsc::Receiver<Message>,
        begun: oneshot::Sender<()>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Stored, FileError> {
        let mut writer = self.store.begin(self.key)?;
        self.progress.rest();
        // If nobody waits for it any more, the inbox is closed as well.
        let _ = begun.send(());
        let taken = self.take_in(&mut inbox, writer.as_mut());
        if let Err(error) = taken {
            self.progress.enter(Op::Remove);
            drop(writer);
            return Err(error);
        }
        self.progress.enter(Op::Publish);
        let written = writer.finish()?;
        let read = self.read_back(is_wanted)?;
        if read != written {
            return Err(FileError::Differs {
                path: self.key.to_string(),
                written,
                read,
            });
        }
        Ok(written)
    }

    /// Writes what comes, up to its end. It must be a whole archive.
    fn take_in(
        &self,
        inbox: &mut mpsc::Receiver<Message>,
        writer: &mut dyn BlobWriter,
    ) -> Result<(), FileError> {
        let mut verifier = Verifier::new();
        loop {
            match inbox.blocking_recv() {
                Some(Message::Piece(bytes)) => {
                    verifier.push(&bytes).map_err(|why| self.refused(why))?;
                    self.progress.enter(Op::Write);
                    writer.write(&bytes)?;
                    self.progress.rest();
                }
                Some(Message::Finish) => {
                    verifier.finish().map_err(|why| self.refused(why))?;
                    return Ok(());
                }
                None => return Err(self.given_up()),
            }
        }
    }

    /// What the store gives of the file. Its bytes need not be looked at again: if they are the same
    /// they are the same archive.
    fn read_back(&self, is_wanted: &dyn Fn() -> bool) -> Result<Stored, FileError> {
        self.progress.enter(Op::Read);
        let reader = self.store.blob(self.key)?;
        let mut reader = reader.ok_or_else(|| StoreError::Vanished {
            path: self.key.to_string(),
        })?;
        read_through(reader.as_mut(), |_| {
            self.progress.enter(Op::Read);
            match is_wanted() {
                true => Ok(()),
                false => Err(self.given_up()),
            }
        })
    }

    fn refused(&self, refusal: Refusal) -> FileError {
        FileError::Refused {
            path: self.key.to_string(),
            refusal,
        }
    }

    /// Nobody hears it.
    fn given_up(&self) -> FileError {
        FileError::Over {
            path: self.key.to_string(),
        }
    }
}
