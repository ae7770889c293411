//! One shard on its way out of a set: the thread that reads it, and the async side that takes its
//! pieces. The thread may hang in any call of the store; then it is left behind, and ends as soon as
//! it finds that nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::desk::Turn;
use super::progress::Progress;
use super::{crashed, moving};
use crate::keep::FileError;
use crate::store::lane::STACK;
use crate::store::{BlobReader, BlobStore, Key, Op, StoreError};

/// Largest piece that is handed over at once. One is read, one waits, and the taker has one: that is
/// what a file holds in memory, besides what the store itself does.
const PIECE: usize = 256 * 1024;

/// A file that is being read, from its beginning to its end. Dropped before that, the reading ends.
#[derive(Debug)]
pub struct FileReader {
    path: String,
    size: u64,
    given: u64,
    patience: Duration,
    progress: Arc<Progress>,
    /// Gone with this: that is how the thread learns of it.
    pieces: mpsc::Receiver<Result<Bytes, StoreError>>,
}

impl FileReader {
    /// Starts the thread and waits until the store has opened the file.
    pub(in crate::keep) async fn begin(
        store: Arc<dyn BlobStore>,
        key: Key,
        turn: Turn,
        patience: Duration,
    ) -> Result<Option<Self>, FileError> {
        let (path, progress) = (key.to_string(), turn.progress());
        let (tell, opened) = oneshot::channel();
        let (give, pieces) = mpsc::channel(1);
        let order = Order {
            store,
            key,
            tell,
            give,
        };
        order.start(turn)?;
        let size = match moving(&path, &progress, patience, opened).await? {
            Ok(Ok(Some(size))) => size,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(crashed(Op::Read, &path)),
        };
        Ok(Some(Self {
            path,
            size,
            given: 0,
            patience,
            progress,
            pieces,
        }))
    }

    /// Where it is, in the store.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in bytes, as it was when opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; `None` when exactly the [`FileReader::size`] was given and the store says
    /// that this is the end. The last piece is given only then, so that who counts bytes never
    /// takes a longer file for a whole one. Nothing is lost when this is dropped in the middle.
    ///
    /// # Errors
    /// [`FileError::Hangs`]; the store's, [`StoreError::Incomplete`] for a file that has changed.
    /// After any of them it can only be dropped.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, FileError> {
        let next = self.pieces.recv();
        match moving(&self.path, &self.progress, self.patience, next).await? {
            Some(piece) => {
                let piece = piece?;
                self.given += piece.len() as u64;
                Ok(Some(piece))
            }
            None if self.given == self.size => Ok(None),
            None => Err(crashed(Op::Read, &self.path)),
        }
    }
}

/// What the thread is to read, and whom it tells.
struct Order {
    store: Arc<dyn BlobStore>,
    key: Key,
    tell: oneshot::Sender<Result<Option<u64>, StoreError>>,
    give: mpsc::Sender<Result<Bytes, StoreError>>,
}

impl Order {
    /// Starts the thread. It is detached: the end of the process does not wait for it.
    fn start(self, turn: Turn) -> Result<(), StoreError> {
        // Counted from now, so that a thread that does not come to run is one that hangs.
        let progress = turn.progress();
        progress.enter(Op::Read);
        std::thread::Builder::new()
            .name("keep-read".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                self.run(&progress);
                // Held until the file is closed, which may hang as well.
                drop(turn);
            })
            .map_err(|source| StoreError::Thread { source })?;
        Ok(())
    }

    fn run(self, progress: &Progress) {
        let reader = match self.store.blob(&self.key) {
            Ok(Some(reader)) => reader,
            absent_or_error => {
                // If nobody hears it, it was given up; so it is further below.
                let _ = self.tell.send(absent_or_error.map(|_| None));
                return;
            }
        };
        progress.rest();
        if self.tell.send(Ok(Some(reader.size()))).is_err() {
            return;
        }
        let mut source = Source {
            path: self.key.as_str(),
            left: reader.size(),
            reader,
            progress,
        };
        while let Some(piece) = source.piece().transpose() {
            progress.rest();
            let failed = piece.is_err();
            if self.give.blocking_send(piece).is_err() || failed {
                break;
            }
        }
        progress.enter(Op::Read);
    }
}

/// The file in the store.
struct Source<'a> {
    path: &'a str,
    reader: Box<dyn BlobReader>,
    /// What it has not given yet, by its size.
    left: u64,
    progress: &'a Progress,
}

impl Source<'_> {
    /// The next piece, `None` after the last.
    fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        let length = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        if length == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.read(room)? {
                0 => return Err(self.incomplete(filled as u64)),
                read => filled += read,
            }
        }
        self.left -= length as u64;
        // The store says that it goes on after its size when it is asked for more.
        if self.left == 0 && self.read(&mut [0])? > 0 {
            return Err(self.incomplete(1));
        }
        Ok(Some(bytes.into()))
    }

    fn read(&mut self, room: &mut [u8]) -> Result<usize, StoreError> {
        self.progress.enter(Op::Read);
        self.reader.read(room)
    }

    /// It should have said so itself.
    fn incomplete(&self, more: u64) -> StoreError {
        let size = self.reader.size();
        StoreError::Incomplete {
            path: self.path.to_owned(),
            size,
            found: size.saturating_sub(self.left).saturating_add(more),
        }
    }
}
