//! One shard on its way into a set: pieces come in, and a file comes out that is durable and was
//! read back, or none. Owns what the async side does; `work` is the thread, `desk` sees to it
//! that there is only one, `progress` tells whether it moves. The way back is [`reader`]'s.
//!
//! What comes is looked at on its way ([`crate::archive`]), so that a stream that broke off never
//! becomes visible. Then all of it is read back, and must be the same bytes. A file that is not is
//! left where it is, visible: it counts for nothing without a record of the part, and goes with its
//! set.

mod desk;
mod progress;
mod reader;
mod work;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(super) use self::desk::Desk;
use self::desk::Turn;
use self::progress::Progress;
pub use self::reader::FileReader;
use self::work::Message;
use super::FileError;
use crate::store::{BlobStore, Key, Op, StoreError, Stored};

/// Largest piece that is handed over at once, and how many may wait for the thread: together what a
/// file holds in memory at most, besides what the store itself does.
const PIECE: usize = 1024 * 1024;
const PIECES: usize = 4;

/// A file that is being written. Dropped before [`FileWriter::finish`] it is abandoned, and nothing
/// of it is visible.
#[derive(Debug)]
pub struct FileWriter {
    path: String,
    patience: Duration,
    progress: Arc<Progress>,
    /// Gone when the file was given up: that is how the thread learns of it.
    pieces: Option<mpsc::Sender<Message>>,
    answer: oneshot::Receiver<Result<Stored, FileError>>,
}

impl FileWriter {
    /// Starts the thread and waits until the store has taken the name.
    pub(super) async fn begin(
        store: Arc<dyn BlobStore>,
        key: Key,
        turn: Turn,
        patience: Duration,
        niceness: i32,
    ) -> Result<Self, FileError> {
        let (pieces, inbox) = mpsc::channel(PIECES);
        let (begun, has_begun) = oneshot::channel();
        let (tell, answer) = oneshot::channel();
        let mut file = Self {
            path: key.to_string(),
            patience,
            progress: turn.progress(),
            pieces: Some(pieces),
            answer,
        };
        let order = work::Order {
            store,
            key,
            inbox,
            begun,
            tell,
            niceness,
        };
        work::start(order, turn)?;
        match file.moving(has_begun).await? {
            Ok(()) => Ok(file),
            Err(_ended) => Err(file.verdict().await),
        }
    }

    /// Where it will be, in the store.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// For how long the store has not answered; zero while the thread waits for pieces.
    #[must_use]
    pub fn stalled(&self) -> Duration {
        let stalled = self.progress.stalled();
        stalled.map_or(Duration::ZERO, |(_, since)| since)
    }

    /// Appends `bytes`; waits while the thread has enough to do.
    ///
    /// After an error, and when this was dropped in the middle (a piece may be missing then), the
    /// file is given up.
    ///
    /// # Errors
    /// [`FileError::Refused`] as soon as it is certain; [`FileError::Hangs`]; the store's;
    /// [`FileError::Over`] after any of them.
    pub async fn push(&mut self, mut bytes: Bytes) -> Result<(), FileError> {
        // Taken out, so that the file is given up if this future is.
        let pieces = self.take()?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.send(&pieces, Message::Piece(piece)).await?;
        }
        self.pieces = Some(pieces);
        Ok(())
    }

    /// Says that there are no more bytes, and waits until the file is durable, visible and was read
    /// back.
    ///
    /// # Errors
    /// As [`FileWriter::push`], and [`FileError::Differs`]. The file is visible after that one,
    /// perhaps after one that is unclear, and perhaps later after [`FileError::Hangs`].
    pub async fn finish(mut self) -> Result<Stored, FileError> {
        let pieces = self.take()?;
        self.send(&pieces, Message::Finish).await?;
        let (path, progress, patience) = (&self.path, &self.progress, self.patience);
        let answer = &mut self.answer;
        match moving(path, progress, patience, answer).await? {
            Ok(result) => result,
            Err(_) => Err(crashed(Op::Write, path)),
        }
    }

    fn take(&mut self) -> Result<mpsc::Sender<Message>, FileError> {
        self.pieces.take().ok_or_else(|| FileError::Over {
            path: self.path.clone(),
        })
    }

    async fn send(
        &mut self,
        pieces: &mpsc::Sender<Message>,
        message: Message,
    ) -> Result<(), FileError> {
        match self.moving(pieces.send(message)).await? {
            Ok(()) => Ok(()),
            Err(_ended) => Err(self.verdict().await),
        }
    }

    /// Why the thread has ended before it was told to.
    async fn verdict(&mut self) -> FileError {
        let (path, progress, patience) = (&self.path, &self.progress, self.patience);
        match moving(path, progress, patience, &mut self.answer).await {
            Ok(Ok(Err(error))) => error,
            Ok(Ok(Ok(_))) => FileError::Over { path: path.clone() },
            Ok(Err(_)) => crashed(Op::Write, path),
            Err(hangs) => hangs,
        }
    }

    async fn moving<T>(&self, wait: impl Future<Output = T>) -> Result<T, FileError> {
        moving(&self.path, &self.progress, self.patience, wait).await
    }
}

/// Waits for the thread for as long as it moves.
async fn moving<T>(
    path: &str,
    progress: &Progress,
    patience: Duration,
    wait: impl Future<Output = T>,
) -> Result<T, FileError> {
    tokio::pin!(wait);
    loop {
        let stalled = progress.stalled();
        let left = patience.saturating_sub(stalled.map_or(Duration::ZERO, |(_, since)| since));
        if let Ok(done) = timeout(left, &mut wait).await {
            return Ok(done);
        }
        match progress.stalled() {
            Some((op, since)) if since >= patience => {
                return Err(FileError::Hangs {
                    op,
                    path: path.to_owned(),
                    since,
                });
            }
            // It has moved meanwhile.
            Some(_) | None => {}
        }
    }
}

/// The thread ended without a word, which it does only when it panics.
fn crashed(op: Op, path: &str) -> FileError {
    FileError::Store(StoreError::Crashed {
        op,
        path: path.to_owned(),
    })
}
