//! Other names of collections.
//!
//! Upstream: lib/storage/src/content_manager/collection_meta_ops.rs:40-105,
//! lib/storage/src/content_manager/toc/collection_meta_ops.rs:309-348.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::request::Request;
use crate::shards::waiting;
use crate::{Client, Error};

/// Another name of a collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// The other name.
    pub alias_name: String,
    /// The collection.
    pub collection_name: String,
}

/// One step of a change of aliases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum AliasChange {
    /// Gives a collection another name, and takes it from the collection that had it.
    #[serde(rename = "create_alias")]
    Create(Alias),
    /// Takes a name away; one that nobody has is none the less taken.
    #[serde(rename = "delete_alias")]
    Delete {
        /// The name.
        alias_name: String,
    },
}

impl Client {
    /// `GET /aliases`: the other names of all collections, as the node has applied them, in no
    /// particular order. The node asks nobody else.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn aliases(&self) -> Result<Vec<Alias>, Error> {
        let listing: Listing = self.ask(Request::new(Method::GET, &["aliases"])).await?;
        Ok(listing.aliases)
    }

    /// `POST /collections/aliases`: takes these steps one after the other as one operation of
    /// consensus, so that no request sees the state in between.
    ///
    /// One operation, but not all or nothing: when Qdrant refuses a step, the steps before it stay.
    ///
    /// # Errors
    /// [`Error`]; 404 for a collection that is not there (an alias is none), 409 for the name of a
    /// collection, 500 without a quorum.
    pub async fn set_aliases(
        &self,
        changes: &[AliasChange],
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let request = Request::new(Method::POST, &["collections", "aliases"]);
        let request = request.json(&json!({"actions": changes}));
        self.ask_done(waiting(request, timeout_secs)).await
    }
}

#[derive(Deserialize)]
struct Listing {
    aliases: Vec<Alias>,
}
