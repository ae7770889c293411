//! Reading `/cluster` and `/collections/{c}/cluster`, and waiting for what they should say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::subject::{Node, s, until};

/// `/cluster` of one node.
#[derive(Clone, Debug)]
pub struct View {
    pub id: u64,
    pub peers: BTreeMap<u64, String>,
    pub leader: Option<u64>,
    pub role: Option<String>,
    pub term: u64,
    pub commit: u64,
    pub is_voter: bool,
    pub thread: String,
    pub failures: Value,
}

impl Node {
    /// `/cluster`, or why it cannot be read.
    pub async fn cluster(&self) -> Result<View, String> {
        let answer = self.call("GET", "/cluster", None).await?;
        if answer.status != 200 {
            return Err(format!("{answer:?}"));
        }
        let result = &answer.body["result"];
        let raft = &result["raft_info"];
        let number = |v: &Value| v.as_u64().ok_or_else(|| format!("no number: {result}"));
        let peers = result["peers"]
            .as_object()
            .ok_or_else(|| format!("no peers: {result}"))?;
        let uri = |v: &Value| v["uri"].as_str().unwrap_or_default().to_owned();
        Ok(View {
            id: number(&result["peer_id"])?,
            peers: peers
                .iter()
                .map(|(id, v)| (id.parse().unwrap(), uri(v)))
                .collect(),
            leader: raft["leader"].as_u64(),
            role: raft["role"].as_str().map(Into::into),
            term: number(&raft["term"])?,
            commit: number(&raft["commit"])?,
            is_voter: raft["is_voter"] == json!(true),
            thread: result["consensus_thread_status"]["consensus_thread_status"].to_string(),
            failures: result["message_send_failures"].clone(),
        })
    }

    /// `/cluster` of a node that must answer.
    pub async fn view(&self) -> View {
        self.cluster()
            .await
            .unwrap_or_else(|why| panic!("{why}; {}", self.tail()))
    }

    /// Wait until `/cluster` is as wanted.
    pub async fn until_view(
        &self,
        what: &str,
        seconds: u64,
        wanted: impl Fn(&View) -> bool,
    ) -> View {
        until(what, s(seconds), async || {
            let view = self.cluster().await?;
            if wanted(&view) {
                Ok(view)
            } else {
                Err(format!("{view:?}"))
            }
        })
        .await
    }

    /// Wait until this node is a voter in a cluster of so many, with a leader.
    pub async fn is_voter_among(&self, n: usize) -> View {
        let wanted = |v: &View| {
            v.is_voter && v.peers.len() == n && v.leader.is_some_and(|l| v.peers.contains_key(&l))
        };
        self.until_view("voter", 30, wanted).await
    }

    /// Wait until this node has founded.
    pub async fn leads_itself(&self) -> View {
        let wanted = |v: &View| {
            v.leader == Some(v.id) && v.commit >= 2 && v.peers.contains_key(&v.id) && v.is_voter
        };
        self.until_view("leads itself", 20, wanted).await
    }

    /// A collection `c` with one-dimensional vectors.
    pub async fn create(&self, shards: u64, factor: u64, timeout: u64) {
        let body = json!({
            "vectors": {"size": 1, "distance": "Dot"},
            "shard_number": shards,
            "replication_factor": factor,
        });
        let answer = self
            .put(&format!("/collections/c?timeout={timeout}"), body)
            .await;
        assert_eq!(answer.result(), json!(true));
    }

    /// Remove a peer by force.
    pub async fn force_out(&self, peer: u64) {
        let answer = self
            .delete(&format!("/cluster/peer/{peer}?force=true"))
            .await;
        assert_eq!(answer.result(), json!(true));
    }

    /// Write the points with these ids and wait.
    pub async fn write(&self, ids: std::ops::Range<u64>) {
        let answer = self
            .put("/collections/c/points?wait=true", points(ids))
            .await;
        assert_eq!(answer.result()["status"], "completed");
    }

    /// Whether a write was acknowledged.
    pub async fn try_write(&self, ids: std::ops::Range<u64>) -> bool {
        self.call("PUT", "/collections/c/points?wait=true", Some(points(ids)))
            .await
            .is_ok_and(|answer| answer.body["result"]["status"] == "completed")
    }

    /// Exact count as this node sees it.
    pub async fn count(&self) -> Result<u64, String> {
        let body = Some(json!({"exact": true}));
        let answer = self
            .call("POST", "/collections/c/points/count", body)
            .await?;
        answer.body["result"]["count"]
            .as_u64()
            .ok_or_else(|| format!("{answer:?}"))
    }

    /// States of the replicas of `c` by shard and peer, as this node sees them.
    pub async fn replicas(&self) -> Result<BTreeMap<(u64, u64), String>, String> {
        let answer = self.call("GET", "/collections/c/cluster", None).await?;
        let result = &answer.body["result"];
        let me = result["peer_id"]
            .as_u64()
            .ok_or_else(|| format!("{answer:?}"))?;
        let both = ["local_shards", "remote_shards"];
        let rows = both
            .iter()
            .flat_map(|k| result[*k].as_array().into_iter().flatten());
        let row = |r: &Value| {
            let peer = r["peer_id"].as_u64().unwrap_or(me);
            (
                (r["shard_id"].as_u64().unwrap(), peer),
                r["state"].as_str().unwrap().to_owned(),
            )
        };
        Ok(rows.map(row).collect())
    }

    /// Points in this node's own replicas.
    pub async fn local_points(&self) -> Result<u64, String> {
        let answer = self.call("GET", "/collections/c/cluster", None).await?;
        let local = answer.body["result"]["local_shards"].as_array();
        let local = local.ok_or_else(|| format!("{answer:?}"))?;
        Ok(local
            .iter()
            .filter_map(|r| r["points_count"].as_u64())
            .sum())
    }

    /// Wait until a replica has this state, as this node sees it.
    pub async fn until_replica(&self, shard: u64, peer: u64, state: &str, seconds: u64) {
        until(&format!("replica {state}"), s(seconds), async || {
            let replicas = self.replicas().await?;
            let now = replicas.get(&(shard, peer));
            if now.is_some_and(|now| now == state) {
                Ok(())
            } else {
                Err(format!("{replicas:?}"))
            }
        })
        .await;
    }
}

/// A write request for these ids.
pub fn points(ids: std::ops::Range<u64>) -> Value {
    let point = |id: u64| json!({"id": id, "vector": [1.0], "payload": {"n": id}});
    json!({"points": ids.map(point).collect::<Vec<_>>()})
}
