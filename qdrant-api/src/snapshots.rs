//! Snapshots of single shards: one as a stream, and a replica recovered from such a file.
//!
//! Upstream: src/actix/api/snapshot_api.rs (`stream_shard_snapshot`, `recover_shard_snapshot`),
//! src/common/snapshots.rs.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;

use crate::client::{Asked, Client};
use crate::error::{Error, ErrorKind};
use crate::request::Request;

/// A shard on its way: a tar archive of what it held when the stream began, without its log.
///
/// Qdrant answers 200 before it knows whether the archive will be whole, and ends the body early
/// without a sign when it is not: what came counts only when it has been read back. Dropping this
/// ends the stream; while nobody reads it, Qdrant holds the segments of the shard, for five minutes
/// at most (shards/shard_holder/mod.rs, `SNAPSHOT_STREAM_WRITE_IDLE_TIMEOUT`).
#[derive(Debug)]
pub struct ShardStream {
    asked: Asked,
    response: reqwest::Response,
}

/// From where a replica is to be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// An `http://` address that gives the archive.
    pub location: String,
    /// The SHA-256 of the whole file, in hex; another one is refused before anything is changed.
    pub sha256: String,
    /// Sent with the request for the file.
    pub api_key: Option<String>,
}

impl ShardStream {
    /// The next piece; `None` when the body has ended, whole or not. Waits without bound.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] when the connection broke off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let code = self.response.status().as_u16();
        self.response.chunk().await.map_err(|source| {
            self.asked.clone().failed(ErrorKind::Interrupted {
                code,
                source: source.without_url(),
            })
        })
    }
}

impl Client {
    /// `GET /collections/{c}/shards/{s}/snapshot`: begins to stream the replica of the node that
    /// answers. The client's timeout holds for the beginning of the answer alone.
    ///
    /// # Errors
    /// [`Error`]; 404 for no such collection or shard, 400 when the node holds no replica of it. A
    /// replica that is not Active is streamed all the same: look before and after.
    pub async fn stream_shard(
        &self,
        collection: &str,
        shard_id: u32,
    ) -> Result<ShardStream, Error> {
        let shard = shard_id.to_string();
        let segments = ["collections", collection, "shards", &shard, "snapshot"];
        let (asked, response) = self.begin(Request::new(Method::GET, &segments)).await?;
        Ok(ShardStream { asked, response })
    }

    /// `PUT /collections/{c}/shards/{s}/snapshots/recover` with priority `no_sync`: the node replaces
    /// what its replica holds by the file and becomes Active, without regard to other replicas. The
    /// answer comes when the data is in place and before consensus has its state. May take as long as
    /// `longest` beyond the client's timeout.
    ///
    /// On a node without a replica of the shard this adds one: ask holders alone.
    ///
    /// # Errors
    /// [`Error`]; 400 for a file that cannot be fetched, has another hash or is no archive.
    pub async fn recover_shard(
        &self,
        collection: &str,
        shard_id: u32,
        from: &Recovery,
        longest: Duration,
    ) -> Result<(), Error> {
        let shard = shard_id.to_string();
        let segments = [
            "collections",
            collection,
            "shards",
            &shard,
            "snapshots",
            "recover",
        ];
        let body = json!({
            "location": from.location,
            "checksum": from.sha256,
            "priority": "no_sync",
            "api_key": from.api_key,
        });
        let request = Request::new(Method::PUT, &segments)
            .query("wait", true)
            .json(&body)
            .extra_time(longest);
        self.ask_done(request).await
    }
}
