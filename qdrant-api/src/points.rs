//! Points: the few calls that a writer and a reader in tests and rehearsals need.
//!
//! Upstream: src/actix/api/update_api.rs:32, retrieve_api.rs:132-194, count_api.rs,
//! src/actix/api/read_params.rs, lib/collection/src/operations/types.rs:435-486.

use std::fmt;
use std::num::NonZeroU32;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lenient;
use crate::request::Request;
use crate::{Client, Error};

/// What a point carries besides its vector.
pub type Payload = serde_json::Map<String, Value>;

/// A point to write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Its id; an existing point with the same id is replaced.
    pub id: PointId,
    /// Its one unnamed vector.
    pub vector: Vec<f32>,
    /// What else it carries.
    pub payload: Payload,
}

/// The id of a point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PointId {
    /// A number.
    Num(u64),
    /// A UUID in one of its written forms.
    Uuid(String),
}

/// A point as it was read, without its vector.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: PointId,
    /// What else it carries, when it carries anything.
    #[serde(default)]
    pub payload: Option<Payload>,
}

/// One page of points.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Page {
    /// The points in order of their ids.
    pub points: Vec<Record>,
    /// Where the next page starts; `None` after the last one.
    #[serde(default)]
    pub next_page_offset: Option<PointId>,
}

/// How a write relates to other writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOrdering {
    /// Any node orders it (Qdrant's default).
    Weak,
    /// The alive peer with the highest id orders it.
    Medium,
    /// The listed peer with the highest id orders it, even if it is dead.
    Strong,
}

/// How many of the listed replicas a read has to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadConsistency {
    /// More than half, answering with what all of those have.
    Majority,
    /// All, answering with what more than half of them have.
    Quorum,
    /// All, answering with what all of them have.
    All,
    /// This many.
    Factor(NonZeroU32),
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UpdateResult {
    /// Its number in the log of one shard, when Qdrant says.
    #[serde(default)]
    pub operation_id: Option<u64>,
    /// How far it got.
    pub status: UpdateStatus,
}

/// How far a write got.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum UpdateStatus {
    /// Logged, not applied yet: the answer without `wait`.
    Acknowledged,
    /// Applied.
    Completed,
    /// Logged, not applied in time.
    WaitTimeout,
    /// Something this client does not know.
    Unknown(String),
}

impl Client {
    /// Writes `points`. With `wait`, success and [`UpdateStatus::Completed`] mean applied on
    /// every replica that takes writes.
    ///
    /// # Errors
    /// [`Error`]; the write may have happened, on some or all replicas, after a 500 or a timeout.
    pub async fn upsert_points(
        &self,
        collection: &str,
        points: &[Point],
        wait: bool,
        ordering: Option<WriteOrdering>,
    ) -> Result<UpdateResult, Error> {
        let mut request = Request::new(Method::PUT, &["collections", collection, "points"])
            .query("wait", wait)
            .json(&Upsert { points });
        if let Some(ordering) = ordering {
            request = request.query("ordering", ordering);
        }
        self.ask(request).await
    }

    /// Counts points; without `exact` an estimate.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn count(
        &self,
        collection: &str,
        exact: bool,
        consistency: Option<ReadConsistency>,
    ) -> Result<u64, Error> {
        let request = read(&["collections", collection, "points", "count"], consistency);
        let counted: Counted = self.ask(request.json(&json!({ "exact": exact }))).await?;
        Ok(counted.count)
    }

    /// Counts the points of the copy of one shard that this node holds, each once; nobody else is
    /// asked (src/actix/api/local_shard_api.rs:158). The node collects their ids for it.
    ///
    /// # Errors
    /// [`Error`]; 500 when it holds no copy of that shard.
    pub async fn count_local(&self, collection: &str, shard: u32) -> Result<u64, Error> {
        let shard = shard.to_string();
        let path = [
            "collections",
            collection,
            "shards",
            &shard,
            "points",
            "count",
        ];
        let request = Request::new(Method::POST, &path);
        let counted: Counted = self.ask(request.json(&json!({ "exact": true }))).await?;
        Ok(counted.count)
    }

    /// Reads the points with these ids; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn retrieve(
        &self,
        collection: &str,
        ids: &[PointId],
        consistency: Option<ReadConsistency>,
    ) -> Result<Vec<Record>, Error> {
        let body = json!({ "ids": ids, "with_payload": true, "with_vector": false });
        self.ask(read(&["collections", collection, "points"], consistency).json(&body))
            .await
    }

    /// Reads up to `limit` points (at least 1) in order of their ids, from `offset` on.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn scroll(
        &self,
        collection: &str,
        offset: Option<&PointId>,
        limit: NonZeroU32,
        consistency: Option<ReadConsistency>,
    ) -> Result<Page, Error> {
        let body = json!({
            "offset": offset, "limit": limit, "with_payload": true, "with_vector": false,
        });
        let request = read(
            &["collections", collection, "points", "scroll"],
            consistency,
        );
        self.ask(request.json(&body)).await
    }
}

/// A request that reads, with the consistency it asks for.
fn read(segments: &[&str], consistency: Option<ReadConsistency>) -> Request {
    let request = Request::new(Method::POST, segments);
    match consistency {
        Some(consistency) => request.query("consistency", consistency),
        None => request,
    }
}

#[derive(Serialize)]
struct Upsert<'a> {
    points: &'a [Point],
}

#[derive(Deserialize)]
pub(crate) struct Counted {
    count: u64,
}

impl From<u64> for PointId {
    fn from(id: u64) -> Self {
        Self::Num(id)
    }
}

impl From<Value> for UpdateStatus {
    fn from(value: Value) -> Self {
        match value.as_str() {
            Some("acknowledged") => Self::Acknowledged,
            Some("completed") => Self::Completed,
            Some("wait_timeout") => Self::WaitTimeout,
            _ => Self::Unknown(lenient::unknown(&value)),
        }
    }
}

impl fmt::Display for WriteOrdering {
    /// As Qdrant's query parameter writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weak => "weak",
            Self::Medium => "medium",
            Self::Strong => "strong",
        })
    }
}

impl fmt::Display for ReadConsistency {
    /// As Qdrant's query parameter writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority => f.write_str("majority"),
            Self::Quorum => f.write_str("quorum"),
            Self::All => f.write_str("all"),
            Self::Factor(factor) => write!(f, "{factor}"),
        }
    }
}
