//! A file of a set for this task's own Qdrant: the place that a recovery is told to fetch a shard from
//! is a path of the control port, and the file comes out of the store while it is read.
//!
//! It gives shards alone, and only what the manifest of a set that counts lists. That the bytes are the
//! right ones Qdrant finds out itself, by the hash in the order; that they are not as many as they
//! should be breaks the connection, for an end that looks clean is taken for one.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use planner::heal::names::ShardId;
use planner::ids::PeerId;
use planner::keep::folder::Found;
use planner::keep::ids::{CollectionIndex, SetId};
use planner::keep::layout::{self, Entry};
use planner::keep::records::{Manifest, Tombstone};
use planner::keep::refusal::Refusal;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::{FileError, FileReader, Shelf};
use crate::events;
use crate::log::chain;

/// What the control port hands to [`Lender::lend`]: everything below, so that whatever is no file's
/// name is answered here.
pub const ROUTE: &str = "/v1/sets/{*file}";
const ROOT: &str = "/v1/";

/// How long a file is waited for while as many as may be are being read. Qdrant waits for the
/// beginning of an answer without bound, and does not ask again after a refusal: the shard's whole
/// recovery would have failed.
const WAIT: Duration = Duration::from_secs(600);
/// How long a reader may take nothing, as long as Qdrant lets a reader of its own streams: one that is
/// frozen would hold the file, and a turn, for ever.
const IDLE: Duration = Duration::from_secs(300);
/// What who was refused for now is told to wait, in seconds.
const LATER: &str = "10";

/// Gives files out of the sets.
#[derive(Clone)]
pub struct Lender {
    shelf: Shelf,
    wait: Duration,
    idle: Duration,
}

/// The path under which the control port gives this file: for the location of a recovery.
#[must_use]
pub fn path(set: SetId, index: CollectionIndex, shard: ShardId, peer: PeerId) -> String {
    let file = layout::payload(index, shard, peer);
    format!("{ROOT}{}/{file}", layout::set(set))
}

/// Which file this path names; `None` for all that is not exactly what [`path`] makes.
fn named(text: &str) -> Option<(SetId, CollectionIndex, ShardId, PeerId)> {
    let folder = text.strip_prefix(ROOT)?.strip_prefix(layout::SETS)?;
    let (set, file) = folder.strip_prefix('/')?.split_once('/')?;
    let set = set.parse().ok()?;
    let Some(Entry::Payload(index, shard, peer)) = Entry::of(file) else {
        return None;
    };
    (path(set, index, shard, peer) == text).then_some((set, index, shard, peer))
}

/// Why a file is not given.
#[derive(Debug, thiserror::Error)]
enum NotLent {
    #[error(
        "this is not the path of a shard's file in a set, like /v1/sets/20260228T091500Z/c000/s0-8172635.shard"
    )]
    Name,
    #[error("the set {set} is being deleted, and nothing of it counts: {why}")]
    Deleted { set: SetId, why: String },
    #[error("the set {set} has no manifest in {place}: there is none, or it is not finished")]
    NoManifest { set: SetId, place: String },
    #[error("the manifest of the set {set} lists no {file}")]
    NotListed { set: SetId, file: String },
    #[error("the set is not believed")]
    NotBelieved(#[from] Refusal),
    #[error("{path} is in the manifest and not in the store; was it deleted by hand?")]
    Gone { path: String },
    #[error("{path} has {found} bytes, the manifest says {listed}; did somebody change it?")]
    OtherSize {
        path: String,
        found: u64,
        listed: u64,
    },
    #[error("the records of the set could not be read: {0}")]
    Unread(String),
    #[error(transparent)]
    File(#[from] FileError),
}

impl NotLent {
    /// What the file's absence is: for ever, a damage, or for now.
    fn code(&self) -> StatusCode {
        match self {
            Self::Name | Self::NoManifest { .. } | Self::NotListed { .. } => StatusCode::NOT_FOUND,
            Self::Deleted { .. } => StatusCode::GONE,
            Self::NotBelieved(_) | Self::Gone { .. } | Self::OtherSize { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Unread(_) | Self::File(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for NotLent {
    fn into_response(self) -> Response {
        let (code, line) = (self.code(), format!("{}\n", chain(&self)));
        match code {
            StatusCode::SERVICE_UNAVAILABLE => (code, [(RETRY_AFTER, LATER)], line).into_response(),
            _ => (code, line).into_response(),
        }
    }
}

impl Lender {
    /// One that gives out of `shelf`.
    #[must_use]
    pub fn new(shelf: Shelf) -> Self {
        Self {
            shelf,
            wait: WAIT,
            idle: IDLE,
        }
    }

    /// For tests, which cannot wait as long.
    #[cfg(test)]
    pub(super) fn with(shelf: Shelf, wait: Duration, idle: Duration) -> Self {
        Self { shelf, wait, idle }
    }

    /// The file at this path of the control port, or why it is not given.
    pub(crate) async fn lend(&self, path: &str) -> Response {
        let file = match self.open(path).await {
            Ok(file) => file,
            Err(refused) => {
                // Who asks for what was never ours need not fill the log.
                if !matches!(refused, NotLent::Name) {
                    tracing::warn!(event = events::SET_NOT_LENT, path, "{}", chain(&refused));
                }
                return refused.into_response();
            }
        };
        let head = [
            (CONTENT_TYPE, "application/x-tar".to_owned()),
            (CONTENT_LENGTH, file.size().to_string()),
        ];
        let (give, mut pieces) = mpsc::channel(1);
        tokio::spawn(pour(file, give, self.idle));
        let pieces = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
        (head, Body::from_stream(pieces)).into_response()
    }

    async fn open(&self, path: &str) -> Result<FileReader, NotLent> {
        let (set, index, shard, peer) = named(path).ok_or(NotLent::Name)?;
        self.counts(set).await?;
        let manifest: Manifest = match self.shelf.read(set, Entry::Manifest).await {
            Found::Good(manifest) => manifest,
            Found::Absent => {
                let place = self.shelf.describe().to_owned();
                return Err(NotLent::NoManifest { set, place });
            }
            Found::Refused(refusal) => return Err(refusal.into()),
            Found::Unread(why) => return Err(NotLent::Unread(why)),
        };
        let listed = size(&manifest, index, shard, peer).ok_or_else(|| NotLent::NotListed {
            set,
            file: layout::payload(index, shard, peer),
        })?;
        // It may be large, and the wait long.
        drop(manifest);
        let file = self.shelf.open(set, index, shard, peer, self.wait).await?;
        // Once more, because a set may have ended while we waited, and its files with it.
        self.counts(set).await?;
        let file = file.ok_or_else(|| NotLent::Gone {
            path: path.to_owned(),
        })?;
        match file.size() == listed {
            true => Ok(file),
            false => Err(NotLent::OtherSize {
                path: file.path().to_owned(),
                found: file.size(),
                listed,
            }),
        }
    }

    /// Whether the set has no tombstone. One that is not believed is one all the same.
    async fn counts(&self, set: SetId) -> Result<(), NotLent> {
        let why = match self.shelf.read::<Tombstone>(set, Entry::Tombstone).await {
            Found::Absent => return Ok(()),
            Found::Good(tombstone) => tombstone.why,
            Found::Refused(refusal) => refusal.to_string(),
            Found::Unread(why) => return Err(NotLent::Unread(why)),
        };
        Err(NotLent::Deleted { set, why })
    }
}

/// The size of a file by the manifest, which has each of its files at the place that follows from
/// these three, or is not believed.
fn size(manifest: &Manifest, index: CollectionIndex, shard: ShardId, peer: PeerId) -> Option<u64> {
    let there = manifest.collections.iter().find(|it| it.index == index)?;
    let mut files = there.files.iter();
    let file = files.find(|file| (file.shard, file.peer) == (shard, peer))?;
    Some(file.bytes)
}

/// Hands the file on piece by piece, as fast as they are taken. When it ends early the answer has not
/// as many bytes as it promised, and so the connection is broken off.
async fn pour(mut file: FileReader, give: mpsc::Sender<Result<Bytes, FileError>>, idle: Duration) {
    let path = file.path().to_owned();
    loop {
        let (piece, failed) = match file.piece().await {
            Ok(None) => {
                let bytes = file.size();
                return tracing::info!(event = events::SET_LENT, bytes, "{path} was given");
            }
            Ok(Some(piece)) => (Ok(piece), None),
            Err(error) => {
                let why = chain(&error);
                (Err(error), Some(why))
            }
        };
        let taken = give.send_timeout(piece, idle).await;
        let why = match (failed, taken) {
            (None, Ok(())) => continue,
            (Some(why), _) => why,
            (None, Err(SendTimeoutError::Closed(_))) => "the reader has gone away".to_owned(),
            (None, Err(SendTimeoutError::Timeout(_))) => {
                format!("the reader has taken nothing for {idle:?}")
            }
        };
        return tracing::warn!(
            event = events::SET_NOT_LENT,
            "{path} was not given to its end: {why}"
        );
    }
}
