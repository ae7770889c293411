//! What tells a collection from another one of the same name: its uuid, and what was written into its
//! own metadata when it was created. Decides nothing.
//!
//! Upstream: lib/collection/src/config.rs (`uuid`, `metadata`), lib/collection/src/telemetry.rs,
//! lib/storage/src/content_manager/collection_meta_ops.rs (`CreateCollection::metadata`,
//! `UpdateCollection::metadata`: merged, and null takes a field away).

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::Request;
use crate::shards::waiting;
use crate::{Client, Error, Recreation};

/// A collection beyond its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionIdentity {
    /// Given anew to each collection when it is created, the same on every node. `None` of one that
    /// was made before Qdrant had them (1.13).
    pub uuid: Option<String>,
    /// Its own metadata.
    pub metadata: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Telemetry {
    collections: Collections,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    uuid: Option<Value>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
}

impl Recreation {
    /// Has the collection carry `value` under `key` in its metadata from the moment of its creation, or
    /// nothing under it.
    pub fn mark(&mut self, key: &str, value: Option<&str>) {
        let Some(create) = self.create.as_object_mut() else {
            return;
        };
        if value.is_none() && !create.contains_key("metadata") {
            return;
        }
        let metadata = create.entry("metadata").or_insert_with(|| json!({}));
        if let Some(fields) = metadata.as_object_mut() {
            match value {
                Some(value) => fields.insert(key.to_owned(), value.into()),
                None => fields.remove(key),
            };
        }
    }
}

impl Client {
    /// What tells each collection from others, as the node itself has applied it; it asks nobody
    /// (`GET /telemetry?details_level=2`).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn collection_identities(
        &self,
    ) -> Result<BTreeMap<String, CollectionIdentity>, Error> {
        let request = Request::new(Method::GET, &["telemetry"]).query("details_level", 2);
        let telemetry: Telemetry = self.ask(request).await?;
        let all = telemetry.collections.collections.into_iter();
        let identity = |config: Config| CollectionIdentity {
            uuid: config
                .uuid
                .and_then(|uuid| uuid.as_str().map(str::to_owned)),
            metadata: config.metadata.unwrap_or_default(),
        };
        Ok(all
            .map(|there| (there.id, identity(there.config)))
            .collect())
    }

    /// Takes `key` out of the metadata of `collection`; one that is not there is none the less taken.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection, 500 without a quorum.
    pub async fn unmark_collection(
        &self,
        collection: &str,
        key: &str,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let request = Request::new(Method::PATCH, &["collections", collection]);
        let request = request.json(&json!({"metadata": {key: null}}));
        self.ask_done(waiting(request, timeout_secs)).await
    }
}
