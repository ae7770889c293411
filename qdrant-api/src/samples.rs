//! Reading single points whole, with payload and vectors, from the copy that a node holds, and an exact
//! search among some of them: what a restored shard is compared by.
//!
//! Upstream: src/actix/api/local_shard_api.rs (retrieve, scroll), src/actix/api/query_api.rs,
//! lib/api/src/rest/schema.rs (`ScoredPoint`, which alone of all answers has a point's version).

use std::num::NonZeroU32;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::points::Page;
use crate::request::Request;
use crate::{Client, Error, PointId, ShardKey};

/// A point with all that it holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WholePoint {
    /// Its id.
    pub id: PointId,
    /// Its payload as Qdrant prints it; null when it has none.
    #[serde(default)]
    pub payload: Value,
    /// Its vectors as Qdrant prints them: a list for the one without a name, else an object by names.
    #[serde(default)]
    pub vector: Value,
}

/// A point that a search has found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Scored {
    /// Its id.
    pub id: PointId,
    /// How near it is, by the distance of the vector.
    pub score: f64,
    /// The number of the last operation that changed it, in the copy that answered.
    pub version: u64,
}

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest<'a> {
    /// The vector that is searched with.
    pub vector: &'a Value,
    /// The name of the vector that is searched; `None` for the one without a name.
    pub using: Option<&'a str>,
    /// Only these are found.
    pub among: &'a [PointId],
    /// Only in the shards of this key, with custom sharding.
    pub key: Option<&'a ShardKey>,
}

impl Client {
    /// Reads points of the copy of one shard that this node holds; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection, 500 when the node holds no copy of that shard.
    pub async fn retrieve_local(
        &self,
        collection: &str,
        shard: u32,
        ids: &[PointId],
    ) -> Result<Vec<WholePoint>, Error> {
        let shard = shard.to_string();
        let segments = ["collections", collection, "shards", &shard, "points"];
        let body = json!({"ids": ids, "with_payload": true, "with_vector": true});
        self.ask(Request::new(Method::POST, &segments).json(&body))
            .await
    }

    /// The ids of up to `limit` points of the copy of one shard that this node holds, in order, from
    /// `offset` on.
    ///
    /// # Errors
    /// As [`Client::retrieve_local`].
    pub async fn ids_local(
        &self,
        collection: &str,
        shard: u32,
        offset: Option<&PointId>,
        limit: NonZeroU32,
    ) -> Result<Vec<PointId>, Error> {
        let shard = shard.to_string();
        let segments = [
            "collections",
            collection,
            "shards",
            &shard,
            "points",
            "scroll",
        ];
        let body = json!({
            "offset": offset, "limit": limit, "with_payload": false, "with_vector": false,
        });
        let page: Page = self
            .ask(Request::new(Method::POST, &segments).json(&body))
            .await?;
        Ok(page.points.into_iter().map(|point| point.id).collect())
    }

    /// Searches exactly, without any index, among some points. A node asks its own copy first.
    ///
    /// # Errors
    /// [`Error`]; 400 for a vector that the collection does not have, or where strict mode forbids it.
    pub async fn nearest(
        &self,
        collection: &str,
        what: &Nearest<'_>,
    ) -> Result<Vec<Scored>, Error> {
        let Nearest {
            vector,
            using,
            among,
            key,
        } = what;
        let mut body = json!({
            "query": vector,
            "filter": {"must": [{"has_id": among}]},
            "params": {"exact": true},
            "limit": among.len().max(1),
            "with_payload": false,
            "with_vector": false,
        });
        if let Some(fields) = body.as_object_mut() {
            if let Some(using) = using {
                fields.insert("using".into(), json!(using));
            }
            if let Some(key) = key {
                fields.insert("shard_key".into(), json!(key));
            }
        }
        let segments = ["collections", collection, "points", "query"];
        let found: Queried = self
            .ask(Request::new(Method::POST, &segments).json(&body))
            .await?;
        Ok(found.points)
    }
}

#[derive(Deserialize)]
struct Queried {
    points: Vec<Scored>,
}
