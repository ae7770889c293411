//! `POST /collections/{c}/cluster`: changes of where the copies of a shard are; and the one number
//! of a collection that says how many there should be.
//!
//! Each goes through consensus. Success means that it was proposed and applied on the answering
//! node; a transfer has only begun then. `timeout_secs` is how long Qdrant waits for that.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::describe::ShardKey;
use crate::error::Error;
use crate::request::Request;

/// The way of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The shard.
    pub shard_id: u32,
    /// The peer that has the data.
    pub from: u64,
    /// The peer that gets it.
    pub to: u64,
}

impl Route {
    fn json(self) -> Value {
        json!({"shard_id": self.shard_id, "from_peer_id": self.from, "to_peer_id": self.to})
    }
}

impl Client {
    /// Begins to make a copy of a shard on another peer; the source keeps its own.
    ///
    /// # Errors
    /// [`Error`]; 400 for a peer that is not there, 422 for a shard that does not exist or a route to
    /// itself, 500 without a quorum. A peer that holds the shard already is no error: its copy is made
    /// anew.
    pub async fn replicate_shard(
        &self,
        collection: &str,
        route: Route,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({"replicate_shard": route.json()});
        self.change_shards(collection, &body, timeout_secs).await
    }

    /// Begins to move a copy of a shard to another peer. For a moment both are Active; then the
    /// source's is dropped.
    ///
    /// # Errors
    /// As [`Client::replicate_shard`].
    pub async fn move_shard(
        &self,
        collection: &str,
        route: Route,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({"move_shard": route.json()});
        self.change_shards(collection, &body, timeout_secs).await
    }

    /// Ends a transfer that is under way. The half copy at the target of a move is dropped; that of a
    /// replication stays listed as Dead.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such transfer.
    pub async fn abort_transfer(
        &self,
        collection: &str,
        route: Route,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({"abort_transfer": route.json()});
        self.change_shards(collection, &body, timeout_secs).await
    }

    /// Forgets the copy of a shard on a peer, and deletes it when that peer lives. Qdrant itself
    /// refuses the last Active one.
    ///
    /// # Errors
    /// [`Error`]; 400 for the last Active copy, or a peer that is not there or holds none.
    pub async fn drop_replica(
        &self,
        collection: &str,
        shard_id: u32,
        peer_id: u64,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({"drop_replica": {"shard_id": shard_id, "peer_id": peer_id}});
        self.change_shards(collection, &body, timeout_secs).await
    }

    /// Sets how many copies a collection is meant to have. Qdrant changes the number and nothing
    /// else.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_replication_factor(
        &self,
        collection: &str,
        factor: u32,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({"params": {"replication_factor": factor}});
        let request = Request::new(Method::PATCH, &["collections", collection]).json(&body);
        self.ask_done(waiting(request, timeout_secs)).await
    }

    /// `PUT /collections/{c}/shards`: gives a collection with custom sharding a key and so many new
    /// shards for it, numbered on from its highest one (lib/collection/src/collection/sharding_keys.rs).
    /// Everything else is as the collection has it.
    ///
    /// # Errors
    /// [`Error`]; 400 for a key that is there already or a collection that is sharded by itself.
    pub async fn create_shard_key(
        &self,
        collection: &str,
        key: &ShardKey,
        shards: u32,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let body = json!({ "shard_key": key, "shards_number": shards });
        let request = Request::new(Method::PUT, &["collections", collection, "shards"]).json(&body);
        self.ask_done(waiting(request, timeout_secs)).await
    }

    /// `POST /collections/{c}/shards/delete`: takes a key away with all its shards and their data.
    ///
    /// # Errors
    /// [`Error`]; 400 for a key that is not there.
    pub async fn delete_shard_key(
        &self,
        collection: &str,
        key: &ShardKey,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let segments = ["collections", collection, "shards", "delete"];
        let request = Request::new(Method::POST, &segments).json(&json!({ "shard_key": key }));
        self.ask_done(waiting(request, timeout_secs)).await
    }

    async fn change_shards(
        &self,
        collection: &str,
        body: &Value,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let request = Request::new(Method::POST, &["collections", collection, "cluster"]);
        self.ask_done(waiting(request.json(body), timeout_secs))
            .await
    }
}

/// Has Qdrant wait so long, and us with it.
pub(crate) fn waiting(request: Request, timeout_secs: u64) -> Request {
    let timeout_secs = timeout_secs.max(1);
    request
        .query("timeout", timeout_secs)
        .extra_time(Duration::from_secs(timeout_secs))
}
