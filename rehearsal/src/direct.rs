//! Requests straight to a Qdrant by its address, whoever started it: big collections, snapshots of
//! Qdrant's own, recoveries by hand.
//! Owns: the HTTP of it, and bytes to fill a collection with. Must not: remember or judge anything.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::world::API_KEY;

/// Longer than anything here should take.
const LIMIT: Duration = Duration::from_secs(600);
/// Qdrant closes an unused connection after five seconds, also while a request is on its way to it.
const KEEP_IDLE: Duration = Duration::from_secs(3);
/// About so many bytes of JSON in one request that fills.
const REQUEST: usize = 1 << 20;
/// So many such requests at a time.
const AT_ONCE: usize = 4;
/// Ids of one page.
const PAGE: usize = 20_000;

/// What each point of a big collection holds.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    /// Numbers of its vector.
    pub dimensions: usize,
    /// Characters of its payload; 0: it has none.
    pub payload: usize,
}

/// A client.
#[derive(Debug, Clone)]
pub struct Direct {
    client: reqwest::Client,
}

impl Direct {
    /// Makes one.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder().timeout(LIMIT).no_proxy();
        let client = client.pool_idle_timeout(KEEP_IDLE).build();
        Ok(Self {
            client: client.context("build a client")?,
        })
    }

    /// The `result` of an answer.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer = request.header("api-key", API_KEY).send().await;
        let answer = answer.context("ask")?;
        let (status, text) = (answer.status(), answer.text().await.context("ask")?);
        if !status.is_success() {
            let start: String = text.chars().take(300).collect();
            bail!("{status}: {start}");
        }
        let mut answer: Value = serde_json::from_str(&text).context("read an answer")?;
        let result = answer.get_mut("result").map(Value::take);
        result.with_context(|| format!("an answer without a result: {text}"))
    }

    /// What a GET at `host` gives.
    ///
    /// # Errors
    /// When that is not a result.
    pub async fn get(&self, host: &str, path: &str) -> Result<Value> {
        self.ask(self.client.get(url(host, path))).await
    }

    /// What a POST at `host` gives.
    ///
    /// # Errors
    /// When that is not a result.
    pub async fn post(&self, host: &str, path: &str, body: &Value) -> Result<Value> {
        self.ask(self.client.post(url(host, path)).json(body)).await
    }

    /// What a PUT at `host` gives.
    ///
    /// # Errors
    /// When that is not a result.
    pub async fn put(&self, host: &str, path: &str, body: &Value) -> Result<Value> {
        self.ask(self.client.put(url(host, path)).json(body)).await
    }

    /// What a DELETE at `host` gives.
    ///
    /// # Errors
    /// When that is not a result.
    pub async fn delete(&self, host: &str, path: &str) -> Result<Value> {
        self.ask(self.client.delete(url(host, path))).await
    }

    /// Creates a collection. Its vectors are not indexed, which would take the machine for as long as
    /// it is looked at.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create(
        &self,
        host: &str,
        name: &str,
        weight: Weight,
        shards: usize,
        copies: usize,
    ) -> Result<()> {
        let body = json!({
            "vectors": {"size": weight.dimensions, "distance": "Dot"},
            "shard_number": shards,
            "replication_factor": copies,
            "write_consistency_factor": copies.min(2),
            "optimizers_config": {"indexing_threshold": 0},
        });
        let path = format!("/collections/{name}?timeout=60");
        self.put(host, &path, &body).await.map(drop)
    }

    /// Writes all of these points, through the hosts in turn.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn fill(
        &self,
        hosts: &[String],
        name: &str,
        ids: Range<u64>,
        weight: Weight,
    ) -> Result<()> {
        let each = weight.dimensions * 6 + weight.payload + 64;
        let batch = (REQUEST / each).max(1) as u64;
        let begins: Vec<u64> = (ids.start..ids.end)
            .step_by(usize::try_from(batch)?)
            .collect();
        let path = format!("/collections/{name}/points?wait=true");
        let sent = begins.into_iter().enumerate().map(|(at, from)| {
            let to = ids.end.min(from + batch);
            let host = hosts.get(at % hosts.len().max(1)).cloned();
            let (this, path) = (self.clone(), path.clone());
            async move {
                let host = host.context("nobody to write through")?;
                let request = this.client.put(url(&host, &path));
                let request = request.header("content-type", "application/json");
                let body = points(from..to, weight);
                this.ask(request.body(body)).await.map(drop)
            }
        });
        futures::stream::iter(sent.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Writes one point and waits until it is applied.
    ///
    /// # Errors
    /// When that is not what the answer says.
    pub async fn write(&self, host: &str, name: &str, id: u64, weight: Weight) -> Result<()> {
        let path = format!("/collections/{name}/points?wait=true");
        let request = self.client.put(url(host, &path));
        let request = request.header("content-type", "application/json");
        let result = self.ask(request.body(points(id..id + 1, weight))).await?;
        match result.get("status").and_then(Value::as_str) {
            Some("completed") => Ok(()),
            _ => bail!("a write is not applied: {result}"),
        }
    }

    /// The ids of all points, as this host gives them.
    ///
    /// # Errors
    /// When a page is refused.
    pub async fn ids(&self, host: &str, name: &str) -> Result<BTreeSet<u64>> {
        let path = format!("/collections/{name}/points/scroll");
        let (mut found, mut offset) = (BTreeSet::new(), Value::Null);
        loop {
            let body = json!({
                "limit": PAGE, "offset": offset, "with_payload": false, "with_vector": false,
            });
            let page = self.post(host, &path, &body).await?;
            let points = page.get("points").and_then(Value::as_array);
            let points = points.with_context(|| format!("a page without points: {page}"))?;
            found.extend(points.iter().filter_map(|point| point.get("id")?.as_u64()));
            offset = page.get("next_page_offset").cloned().unwrap_or_default();
            if offset.is_null() {
                return Ok(found);
            }
        }
    }

    /// How many points this host's own copy of a shard holds, exactly.
    ///
    /// # Errors
    /// When it is not said.
    pub async fn count_copy(&self, host: &str, name: &str, shard: u64) -> Result<u64> {
        let path = format!("/collections/{name}/shards/{shard}/points/count");
        let count = self.post(host, &path, &json!({"exact": true})).await?;
        let number = count.get("count").and_then(Value::as_u64);
        number.with_context(|| format!("a count without a number: {count}"))
    }

    /// Where the copies of a collection are, as this host knows.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn copies(&self, host: &str, name: &str) -> Result<Copies> {
        let path = format!("/collections/{name}/cluster");
        let answer = self.get(host, &path).await?;
        Copies::read(&answer).with_context(|| format!("no copies in {answer}"))
    }

    /// The shards of which this host has a copy.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn local_shards(&self, host: &str, name: &str) -> Result<Vec<u64>> {
        let path = format!("/collections/{name}/cluster");
        let answer = self.get(host, &path).await?;
        let rows = answer.get("local_shards").and_then(Value::as_array);
        let rows = rows.with_context(|| format!("no local shards in {answer}"))?;
        let shard = |row: &Value| row.get("shard_id").and_then(Value::as_u64);
        rows.iter()
            .map(shard)
            .collect::<Option<_>>()
            .with_context(|| format!("{answer}"))
    }

    /// Has a Qdrant recover its copy of a shard from what is at `location`.
    ///
    /// # Errors
    /// When it could not.
    pub async fn recover(
        &self,
        host: &str,
        name: &str,
        shard: u64,
        location: &str,
        sha256: &str,
    ) -> Result<()> {
        let path = format!("/collections/{name}/shards/{shard}/snapshots/recover?wait=true");
        let body = json!({
            "location": location, "priority": "no_sync", "checksum": sha256, "api_key": API_KEY,
        });
        self.put(host, &path, &body).await.map(drop)
    }

    /// The stream of a shard's snapshot, not read yet.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn stream(&self, host: &str, name: &str, shard: u64) -> Result<reqwest::Response> {
        let path = format!("/collections/{name}/shards/{shard}/snapshot");
        let request = self.client.get(url(host, &path)).header("api-key", API_KEY);
        let answer = request.send().await.context("ask for a stream")?;
        answer.error_for_status().context("ask for a stream")
    }
}

/// The copies of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Shard, peer, and whether the copy is Active; sorted.
    pub all: Vec<(u64, u64, bool)>,
    /// Whether any copy is on its way.
    pub moving: bool,
}

impl Copies {
    fn read(answer: &Value) -> Option<Self> {
        let me = answer.get("peer_id")?.as_u64()?;
        let mut all = Vec::new();
        for rows in ["local_shards", "remote_shards"] {
            for row in answer.get(rows)?.as_array()? {
                let peer = row.get("peer_id").and_then(Value::as_u64).unwrap_or(me);
                let active = row.get("state")?.as_str()? == "Active";
                all.push((row.get("shard_id")?.as_u64()?, peer, active));
            }
        }
        all.sort_unstable();
        let moving = !answer.get("shard_transfers")?.as_array()?.is_empty();
        Some(Self { all, moving })
    }

    /// Whether so many of them are there, all Active, and none moves.
    #[must_use]
    pub fn settled(&self, wanted: usize) -> bool {
        let active = self.all.iter().all(|(.., active)| *active);
        self.all.len() == wanted && active && !self.moving
    }
}

fn url(host: &str, path: &str) -> String {
    format!("http://{host}:6333{path}")
}

/// The body of a request that writes these points. No two hold the same: what a disk or a file system
/// could make small would be no measure.
fn points(ids: Range<u64>, weight: Weight) -> String {
    let mut text = String::with_capacity(REQUEST + REQUEST / 2);
    text.push_str("{\"points\":[");
    for id in ids.clone() {
        if id > ids.start {
            text.push(',');
        }
        let mut random = Random(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        text.push_str(&format!("{{\"id\":{id},\"vector\":["));
        for at in 0..weight.dimensions {
            text.push_str(if at == 0 { "0." } else { ",0." });
            random.digits(&mut text, 3);
        }
        text.push(']');
        if weight.payload > 0 {
            text.push_str(",\"payload\":{\"text\":\"");
            random.digits(&mut text, weight.payload);
            text.push_str("\"}");
        }
        text.push('}');
    }
    text.push_str("]}");
    text
}

struct Random(u64);

impl Random {
    /// Adds so many digits.
    fn digits(&mut self, text: &mut String, mut left: usize) {
        while left > 0 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let mut word = self.0 >> 8;
            for _ in 0..left.min(16) {
                text.push(char::from(b'0' + (word % 10) as u8));
                word /= 10;
            }
            left -= left.min(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_json_and_differ() {
        let weight = Weight {
            dimensions: 5,
            payload: 40,
        };
        let body: Value = serde_json::from_str(&points(7..10, weight)).unwrap();
        let points = body["points"].as_array().unwrap();
        assert_eq!(points.len(), 3);
        assert_eq!(points[0]["id"], 7);
        assert_eq!(points[0]["vector"].as_array().unwrap().len(), 5);
        assert_eq!(points[0]["payload"]["text"].as_str().unwrap().len(), 40);
        assert_ne!(points[0]["payload"], points[1]["payload"]);
    }

    #[test]
    fn copies_are_settled_when_all_are_there_and_active() {
        let answer = json!({
            "peer_id": 4,
            "local_shards": [{"shard_id": 0, "state": "Active"}],
            "remote_shards": [{"shard_id": 0, "peer_id": 2, "state": "Dead"}],
            "shard_transfers": [],
        });
        let copies = Copies::read(&answer).unwrap();
        assert_eq!(copies.all, [(0, 2, false), (0, 4, true)]);
        assert!(!copies.settled(2) && !copies.settled(1));
        assert_eq!(Copies::read(&json!({"peer_id": 4})), None);
    }
}
