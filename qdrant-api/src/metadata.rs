//! The cluster's own key-value map: `/cluster/metadata/keys`. Owns the calls, not what is stored.
//!
//! Upstream: src/actix/api/cluster_api.rs:113-199, since Qdrant 1.11, not in its OpenAPI file.
//! Writes go through consensus and the last one wins: there is no compare-and-set. Reads are what
//! this node has applied so far.

use reqwest::Method;
use serde_json::Value;

use crate::request::Request;
use crate::{Client, Error};

impl Client {
    /// All keys that this node knows, in no particular order.
    ///
    /// # Errors
    /// [`Error`]; status 405 when the node runs without a cluster.
    pub async fn metadata_keys(&self) -> Result<Vec<String>, Error> {
        self.ask(Request::new(Method::GET, &["cluster", "metadata", "keys"]))
            .await
    }

    /// The value of `key` on this node, `None` when it has none (or not yet).
    ///
    /// # Errors
    /// [`Error`]; status 405 when the node runs without a cluster.
    pub async fn metadata_key(&self, key: &str) -> Result<Option<Value>, Error> {
        self.ask(Request::new(
            Method::GET,
            &["cluster", "metadata", "keys", key],
        ))
        .await
    }

    /// Sets `key`; `null` deletes it.
    ///
    /// With `wait` the answer comes after the write was applied on this node, which proves that
    /// consensus commits; Qdrant gives up after 10 s, so the client's timeout should be longer to
    /// hear about it. Without `wait` success means only that the write was proposed.
    ///
    /// # Errors
    /// [`Error`]; the write may still happen after a timeout.
    pub async fn put_metadata_key(
        &self,
        key: &str,
        value: &Value,
        wait: bool,
    ) -> Result<(), Error> {
        let request = Request::new(Method::PUT, &["cluster", "metadata", "keys", key]);
        self.ask_done(request.query("wait", wait).json(value)).await
    }

    /// Deletes `key`, whether or not it exists. `wait` as for [`Client::put_metadata_key`].
    ///
    /// # Errors
    /// [`Error`]; the deletion may still happen after a timeout.
    pub async fn delete_metadata_key(&self, key: &str, wait: bool) -> Result<(), Error> {
        let request = Request::new(Method::DELETE, &["cluster", "metadata", "keys", key]);
        self.ask_done(request.query("wait", wait)).await
    }
}
