//! The requests of a client with points: as any application would send them.
//! Owns: the HTTP of it. Must not: remember or judge anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::Write;
use crate::ecs::task::Task;
use crate::verdict::healed::Wanted;

/// Longer than an election; a write that takes longer is repeated elsewhere.
const LIMIT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: Qdrant closes one after five seconds
/// (`service.http_keep_alive_timeout_sec`), also while a request is on its way to it.
const KEEP_IDLE: Duration = Duration::from_secs(3);
/// Points of one page when everything is read.
const PAGE: usize = 1000;
/// Seconds that Qdrant may wait for all peers when it creates a collection.
const CREATE_SECS: u64 = 5;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// No answer, or half of one: what was asked may have happened.
    #[error("no answer")]
    Silent(#[from] reqwest::Error),
    /// An answer that says no.
    #[error("{0}: {1}")]
    Refused(u16, String),
    /// An answer without what was asked for.
    #[error("an answer that cannot be read: {0}")]
    Strange(String),
}

/// Where points are written and read: a collection, or one key of its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The collection.
    pub collection: String,
    /// The shard key, with custom sharding.
    pub key: Option<String>,
}

impl From<&str> for Target {
    fn from(collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            key: None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            None => f.write_str(&self.collection),
            Some(key) => write!(f, "{}[{key}]", self.collection),
        }
    }
}

impl Target {
    /// A request about these points.
    fn body(&self, mut body: Value) -> Value {
        if let (Some(key), Some(fields)) = (&self.key, body.as_object_mut()) {
            fields.insert("shard_key".into(), json!(key));
        }
        body
    }
}

/// A client.
#[derive(Debug, Clone)]
pub struct Rest {
    client: reqwest::Client,
}

impl Rest {
    /// Makes one.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().timeout(LIMIT).no_proxy();
        let client = client.pool_idle_timeout(KEEP_IDLE).build()?;
        Ok(Self { client })
    }

    /// Creates a collection in which a write needs two copies, or one that says nothing of copies.
    ///
    /// # Errors
    /// [`RestError`]; 409 when there is one already.
    pub async fn create(
        &self,
        task: &Task,
        name: &str,
        asked: Option<Wanted>,
    ) -> Result<(), RestError> {
        let vectors = json!({"size": 4, "distance": "Dot"});
        let body = match asked {
            None => json!({"vectors": vectors}),
            Some(asked) => json!({
                "vectors": vectors,
                "shard_number": asked.shards,
                "replication_factor": asked.copies,
                "write_consistency_factor": asked.copies.min(2),
            }),
        };
        let path = format!("/collections/{name}?timeout={CREATE_SECS}");
        let request = self.client.put(url(task, &path)).json(&body);
        self.send(task, request).await.map(drop)
    }

    /// Creates a collection with custom sharding, which has no shards yet.
    ///
    /// # Errors
    /// [`RestError`]; 409 when there is one already.
    pub async fn create_custom(
        &self,
        task: &Task,
        name: &str,
        copies: usize,
    ) -> Result<(), RestError> {
        let body = json!({
            "vectors": {"size": 4, "distance": "Dot"},
            "sharding_method": "custom",
            "replication_factor": copies,
            "write_consistency_factor": copies.min(2),
        });
        let path = format!("/collections/{name}?timeout={CREATE_SECS}");
        let request = self.client.put(url(task, &path)).json(&body);
        self.send(task, request).await.map(drop)
    }

    /// Creates a shard key; without a number of copies it gets what its collection wants.
    ///
    /// # Errors
    /// [`RestError`]; 408 when a copy of it is not Active in time, 400 when there is one already.
    pub async fn create_key(
        &self,
        task: &Task,
        target: &Target,
        shards: usize,
        copies: Option<usize>,
    ) -> Result<(), RestError> {
        let mut body = json!({"shard_key": target.key, "shards_number": shards});
        if let (Some(copies), Some(fields)) = (copies, body.as_object_mut()) {
            fields.insert("replication_factor".into(), json!(copies));
        }
        let name = &target.collection;
        let path = format!("/collections/{name}/shards?timeout={CREATE_SECS}");
        let request = self.client.put(url(task, &path)).json(&body);
        self.send(task, request).await.map(drop)
    }

    /// Writes points and waits until they are applied.
    ///
    /// # Errors
    /// [`RestError`]; the points may be there all the same.
    pub async fn upsert(
        &self,
        task: &Task,
        target: &Target,
        points: &[Write],
    ) -> Result<(), RestError> {
        let point = |write: &Write| {
            let part = (write.id % 97) as f32 / 97.0;
            json!({
                "id": write.id,
                "vector": [part, 0.5, 0.25, 1.0],
                "payload": {"version": write.version},
            })
        };
        let points: Vec<Value> = points.iter().map(point).collect();
        let path = format!("/collections/{}/points?wait=true", target.collection);
        let request = self.client.put(url(task, &path));
        let body = target.body(json!({"points": points}));
        let result = self.send(task, request.json(&body)).await?;
        // With `wait` anything else means: not applied, or not everywhere.
        match result.get("status").and_then(Value::as_str) {
            Some("completed") => Ok(()),
            _ => Err(RestError::Strange(result.to_string())),
        }
    }

    /// The version of one point at consistency 1, or nothing when it is not there.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn version(
        &self,
        task: &Task,
        target: &Target,
        id: u64,
    ) -> Result<Option<u64>, RestError> {
        let path = format!("/collections/{}/points?consistency=1", target.collection);
        let body = json!({"ids": [id], "with_payload": true, "with_vector": false});
        let body = target.body(body);
        let result = self
            .send(task, self.client.post(url(task, &path)).json(&body))
            .await?;
        let found = result.as_array();
        let found = found.ok_or_else(|| RestError::Strange(result.to_string()))?;
        found
            .first()
            .map(|point| id_and_version(point).map(|(_, v)| v))
            .transpose()
    }

    /// Every point with its version, page by page.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn all(&self, task: &Task, target: &Target) -> Result<BTreeMap<u64, u64>, RestError> {
        let path = format!("/collections/{}/points/scroll", target.collection);
        self.pages(task, &path, target).await
    }

    /// Every point of the copy of one shard that this task itself holds.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn copy(
        &self,
        task: &Task,
        name: &str,
        shard: u32,
    ) -> Result<BTreeMap<u64, u64>, RestError> {
        let path = format!("/collections/{name}/shards/{shard}/points/scroll");
        self.pages(task, &path, &name.into()).await
    }

    async fn pages(
        &self,
        task: &Task,
        path: &str,
        target: &Target,
    ) -> Result<BTreeMap<u64, u64>, RestError> {
        let mut found = BTreeMap::new();
        let mut offset = Value::Null;
        loop {
            let body = json!({
                "limit": PAGE, "offset": offset, "with_payload": true, "with_vector": false,
            });
            let request = self.client.post(url(task, path)).json(&target.body(body));
            let result = self.send(task, request).await?;
            let points = result.get("points").and_then(Value::as_array);
            for point in points.ok_or_else(|| RestError::Strange(result.to_string()))? {
                let (id, version) = id_and_version(point)?;
                found.insert(id, version);
            }
            offset = result.get("next_page_offset").cloned().unwrap_or_default();
            if offset.is_null() {
                return Ok(found);
            }
        }
    }

    /// Drops one copy of a shard, as a person would.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn drop_replica(
        &self,
        task: &Task,
        name: &str,
        shard: u32,
        peer: u64,
    ) -> Result<(), RestError> {
        let path = format!("/collections/{name}/cluster?timeout={CREATE_SECS}");
        let body = json!({"drop_replica": {"shard_id": shard, "peer_id": peer}});
        let request = self.client.post(url(task, &path)).json(&body);
        self.send(task, request).await.map(drop)
    }

    async fn send(
        &self,
        task: &Task,
        request: reqwest::RequestBuilder,
    ) -> Result<Value, RestError> {
        let answer = request.header("api-key", &task.api_key).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            let start: String = text.chars().take(200).collect();
            return Err(RestError::Refused(status.as_u16(), start));
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let result = body.get("result").cloned();
        result.ok_or(RestError::Strange(text))
    }
}

fn url(task: &Task, path: &str) -> String {
    format!("http://{}:6333{path}", task.address)
}

fn id_and_version(point: &Value) -> Result<(u64, u64), RestError> {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let version = point
        .get("payload")
        .and_then(|payload| payload.get("version"));
    number(point.get("id"))
        .zip(number(version))
        .ok_or_else(|| RestError::Strange(point.to_string()))
}
