//! Where the copies of every shard are, as each task's own Qdrant says.
//! Owns: the questions about collections and the types of their answers. Must not: judge.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::ask;
use super::sample::Raft;
use crate::ecs::task::Task;

/// One copy of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// State as Qdrant spells it.
    pub state: String,
    /// Its number of points; only its own node says.
    pub points: Option<u64>,
}

impl Copy {
    /// Whether it is complete and readable.
    pub fn active(&self) -> bool {
        self.state == "Active"
    }
}

/// A copy on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Transfer {
    /// Shard number.
    pub shard: u32,
    /// Source peer.
    pub from: u64,
    /// Target peer.
    pub to: u64,
    /// Whether the source keeps its copy.
    pub keeps: bool,
}

/// One collection as one node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Copies by shard and peer.
    pub shards: BTreeMap<u32, BTreeMap<u64, Copy>>,
    /// The user's key of each shard, with custom sharding.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<u32, String>,
    /// Copies on their way.
    pub transfers: BTreeSet<Transfer>,
}

/// Everything one task says at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Holder {
    /// Task number.
    pub task: usize,
    /// Where it is.
    pub address: String,
    /// Zone letter.
    pub zone: String,
    /// Whether the scenario has it paused.
    pub paused: bool,
    /// Its consensus; `None` when it did not answer.
    pub raft: Option<Raft>,
    /// Its collections; `None` when one of them could not be read.
    pub collections: Option<BTreeMap<String, Collection>>,
}

impl Holder {
    /// Its peer id, when it answered.
    pub fn peer(&self) -> Option<u64> {
        self.raft.as_ref().map(|raft| raft.peer_id)
    }

    /// Whether it is a voter by its own word: then it has applied the whole log up to its join.
    pub fn votes(&self) -> bool {
        self.raft.as_ref().is_some_and(|raft| raft.is_voter)
    }
}

/// All running tasks at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Look {
    /// Seconds since the start of the run, when the questions were sent.
    pub at: f64,
    /// Running tasks, oldest first.
    pub holders: Vec<Holder>,
}

impl Look {
    /// The same look without these collections.
    #[must_use]
    pub fn without(&self, names: &BTreeSet<String>) -> Self {
        let mut look = self.clone();
        for collections in look
            .holders
            .iter_mut()
            .filter_map(|h| h.collections.as_mut())
        {
            collections.retain(|name, _| !names.contains(name));
        }
        look
    }

    /// Tasks that are not paused.
    pub fn live(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(|holder| !holder.paused)
    }

    /// The view of the voter that has seen most of the log: what is newest about the cluster.
    pub fn newest(&self) -> Option<&Holder> {
        let readable = |holder: &&Holder| holder.votes() && holder.collections.is_some();
        let readable = self.live().filter(readable);
        readable.max_by_key(|holder| holder.raft.as_ref().map(|raft| raft.commit))
    }

    /// Every copy on its way, as the newest view says, with its collection.
    pub fn transfers(&self) -> Vec<(&str, &Transfer)> {
        let collections = self.newest().and_then(|view| view.collections.as_ref());
        collections
            .into_iter()
            .flatten()
            .flat_map(|(name, there)| there.transfers.iter().map(|t| (name.as_str(), t)))
            .collect()
    }

    /// The task beside which this peer runs, among those that answered.
    pub fn task_of(&self, peer: u64) -> Option<usize> {
        let found = self
            .holders
            .iter()
            .find(|holder| holder.peer() == Some(peer));
        found.map(|holder| holder.task)
    }
}

/// Asks every running task about all of its collections.
pub async fn look(client: &reqwest::Client, at: f64, tasks: &[std::sync::Arc<Task>]) -> Look {
    let running = tasks.iter().filter(|task| task.running());
    let holders = join_all(running.map(|task| holder(client, task))).await;
    Look { at, holders }
}

async fn holder(client: &reqwest::Client, task: &Task) -> Holder {
    let host = task.address.to_string();
    let (raft, collections) = tokio::join!(
        ask::raft(client, &host, &task.api_key),
        collections(client, &host, &task.api_key)
    );
    Holder {
        task: task.number,
        zone: task.zone.clone(),
        address: host,
        paused: task.paused(),
        raft,
        collections,
    }
}

async fn collections(
    client: &reqwest::Client,
    host: &str,
    key: &str,
) -> Option<BTreeMap<String, Collection>> {
    let list = ask::qdrant(client, host, "/collections", key).await?;
    let names = list.get("collections")?.as_array()?.iter();
    let names: Vec<&str> = names
        .filter_map(|each| each.get("name")?.as_str())
        .collect();
    let paths = names
        .iter()
        .map(|name| format!("/collections/{name}/cluster"));
    let answers = join_all(paths.map(async |path| ask::qdrant(client, host, &path, key).await));
    let mut found = BTreeMap::new();
    for (name, answer) in names.iter().zip(answers.await) {
        found.insert((*name).to_owned(), collection(&answer?)?);
    }
    Some(found)
}

/// The `result` of `/collections/{name}/cluster`; `None` when a part of it is missing, for a list
/// that is absent must not read as a shard without copies.
fn collection(result: &Value) -> Option<Collection> {
    let mut collection = Collection::default();
    let me = result.get("peer_id")?.as_u64()?;
    for (list, own) in [("local_shards", true), ("remote_shards", false)] {
        for row in result.get(list)?.as_array()? {
            let peer = if own {
                me
            } else {
                row.get("peer_id")?.as_u64()?
            };
            let copy = Copy {
                state: row.get("state")?.as_str()?.to_owned(),
                points: row.get("points_count").and_then(Value::as_u64),
            };
            let shard = number(row.get("shard_id")?)?;
            let copies = collection.shards.entry(shard).or_default();
            copies.insert(peer, copy);
            if let Some(key) = row.get("shard_key").and_then(Value::as_str) {
                collection.keys.insert(shard, key.to_owned());
            }
        }
    }
    for row in result.get("shard_transfers")?.as_array()? {
        collection.transfers.insert(Transfer {
            shard: number(row.get("shard_id")?)?,
            from: row.get("from")?.as_u64()?,
            to: row.get("to")?.as_u64()?,
            keeps: row.get("sync")?.as_bool()?,
        });
    }
    Some(collection)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn copies_of_this_node_and_of_others_are_one_table() {
        let answer = json!({
            "peer_id": 7, "shard_count": 1,
            "local_shards": [{"shard_id": 0, "points_count": 5, "state": "Active"}],
            "remote_shards": [{"shard_id": 0, "peer_id": 8, "state": "Dead"}],
            "shard_transfers": [{"shard_id": 0, "from": 7, "to": 8, "sync": true}],
        });
        let read = collection(&answer).unwrap();
        let copies = &read.shards[&0];
        assert_eq!((copies[&7].active(), copies[&7].points), (true, Some(5)));
        assert_eq!((copies[&8].active(), copies[&8].points), (false, None));
        let transfer = read.transfers.first().unwrap();
        assert_eq!((transfer.from, transfer.to, transfer.keeps), (7, 8, true));
    }

    #[test]
    fn an_answer_with_a_part_missing_is_no_answer() {
        for part in [
            "peer_id",
            "local_shards",
            "remote_shards",
            "shard_transfers",
        ] {
            let mut answer = json!({
                "peer_id": 7, "local_shards": [], "remote_shards": [], "shard_transfers": [],
            });
            assert!(collection(&answer).is_some());
            answer.as_object_mut().unwrap().remove(part);
            assert_eq!(collection(&answer), None, "{part}");
        }
    }
}
