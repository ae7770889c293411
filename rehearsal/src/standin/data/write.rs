//! Writes of clients: to every replica that takes updates; one that fails is marked Dead by
//! consensus before a waiting client hears success (upstream shards/replica_set/update.rs:541-619).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::remote::{PointId, UpsertRequest};
use super::{set_state, store};
use crate::standin::client;
use crate::standin::error::ApiError;
use crate::standin::keys::Selector;
use crate::standin::log;
use crate::standin::model::ReplicaState;
use crate::standin::node::Node;
use crate::standin::raft::message::Payload;

const CALL: Duration = Duration::from_secs(5);
const DEACTIVATION: Duration = Duration::from_secs(30);
const ATTEMPT: Duration = Duration::from_secs(5);

/// The one of these shards that a point belongs to.
pub fn shard_of(id: &PointId, shards: &[u32]) -> u32 {
    let text = match id {
        PointId::Number(n) => n.to_string(),
        PointId::Text(t) => t.clone(),
    };
    // FNV-1a: the same on every peer and in every build.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let at = hash % shards.len().max(1) as u64;
    shards.get(at as usize).copied().unwrap_or(0)
}

/// Write points to a collection, once for each key that is named.
pub async fn upsert(
    node: &Arc<Node>,
    name: &str,
    points: Vec<Value>,
    keys: Option<&Selector>,
    wait: bool,
) -> Result<(), ApiError> {
    let rings: Vec<Vec<u32>> = node.read(|inner| {
        let collection = inner.model.collection(name)?;
        match keys {
            None => Ok(vec![collection.ring(None)?]),
            Some(keys) => {
                let rings = keys.keys().iter().map(|key| collection.ring(Some(key)));
                rings.collect()
            }
        }
    })?;
    let mut by_shard: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
    for point in points {
        let id = store::id_of(&point)?;
        for ring in &rings {
            let of = by_shard.entry(shard_of(&id, ring)).or_default();
            of.push(point.clone());
        }
    }
    let writes = by_shard
        .into_iter()
        .map(|(id, points)| write_shard(node, name, id, points, wait));
    join_all(writes).await.into_iter().collect()
}

/// Send every replica of a collection something that changes no point, as a change of its indexes
/// is sent. False when there is no shard that could take it.
pub async fn everywhere(node: &Arc<Node>, name: &str, wait: bool) -> Result<bool, ApiError> {
    let shards: Vec<u32> = node.read(|inner| {
        let collection = inner.model.collection(name)?;
        Ok(collection.shards.keys().copied().collect())
    })?;
    let writes = shards
        .iter()
        .map(|id| write_shard(node, name, *id, Vec::new(), wait));
    join_all(writes)
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    Ok(!shards.is_empty())
}

/// The first write that this process coordinates for a shard carries tick 0, which every replica
/// refuses so that the clock catches up; then it is repeated (upstream replica_set/update.rs).
/// A replica that cannot be reached shows in the first round already: if it cannot be marked Dead,
/// the second round never comes and nothing is written.
async fn write_shard(
    node: &Arc<Node>,
    name: &str,
    shard_id: u32,
    points: Vec<Value>,
    wait: bool,
) -> Result<(), ApiError> {
    let key = (name.to_owned(), shard_id);
    if !node.read(|inner| inner.clocks.contains(&key)) {
        send_to_replicas(node, name, shard_id, Vec::new(), wait).await?;
        node.change(|inner| inner.clocks.insert(key));
    }
    send_to_replicas(node, name, shard_id, points, wait).await
}

async fn send_to_replicas(
    node: &Arc<Node>,
    name: &str,
    shard_id: u32,
    points: Vec<Value>,
    wait: bool,
) -> Result<(), ApiError> {
    let (targets, least, after) = node.read(|inner| {
        let collection = inner.model.collection(name)?;
        let replicas = collection.shards.get(&shard_id);
        let takes = |(id, state): &(&u64, &ReplicaState)| {
            state.updatable()
                && !inner
                    .disabled
                    .contains_key(&(name.to_owned(), shard_id, **id))
        };
        let targets: Vec<(u64, ReplicaState, String)> = replicas
            .into_iter()
            .flatten()
            .filter(takes)
            .map(|(id, s)| {
                (
                    *id,
                    *s,
                    inner.model.peers.get(id).cloned().unwrap_or_default(),
                )
            })
            .collect();
        let least = collection.write_consistency(shard_id);
        Ok((targets, least, inner.raft.applied))
    })?;
    let collection = name.to_owned();
    let request = UpsertRequest {
        collection,
        shard_id,
        points,
        copy: false,
        after,
    };
    let request = &request;
    let sends = targets.into_iter().map(|(id, state, uri)| async move {
        let result: Result<(), ApiError> = if id == node.id {
            super::upsert_local(node, request).await
        } else {
            client::post(node, &uri, "upsert", request, CALL)
                .await
                .map_err(ApiError::service)
        };
        (id, state, result)
    });
    let results = join_all(sends).await;
    let written = |(_, state, r): &(u64, ReplicaState, Result<(), ApiError>)| {
        r.is_ok() && matches!(state, ReplicaState::Active | ReplicaState::Initializing)
    };
    if !results.iter().any(written) {
        let why = results.into_iter().find_map(|(_, _, result)| result.err());
        let none = || {
            ApiError::service(format!(
                "The replica set for shard {shard_id} on peer \
             {} has no active replica",
                node.id
            ))
        };
        return Err(why.unwrap_or_else(none));
    }
    // Replicas that failed are only taken out of service by a write that is accepted (upstream
    // replica_set/update.rs:541-659).
    let reached = results.iter().filter(|(_, _, result)| result.is_ok());
    if reached.count() < least
        && let Some(why) = results
            .iter()
            .find_map(|(_, _, result)| result.as_ref().err())
    {
        return Err(why.clone());
    }
    for (peer, state, result) in results {
        if let Err(why) = result {
            log(
                "WARN",
                &format!("Failed to update shard {name}:{shard_id} on {peer}: {why}"),
            );
            mark_dead(node, name, shard_id, peer, state, wait).await?;
        }
    }
    Ok(())
}

async fn mark_dead(
    node: &Arc<Node>,
    name: &str,
    shard_id: u32,
    peer: u64,
    state: ReplicaState,
    wait: bool,
) -> Result<(), ApiError> {
    let key = (name.to_owned(), shard_id, peer);
    node.change(|inner| inner.disabled.insert(key, Instant::now()));
    let dead = Payload::Op(set_state(
        name,
        shard_id,
        peer,
        ReplicaState::Dead,
        Some(state),
    ));
    if !wait {
        return node.propose(dead);
    }
    let until = Instant::now() + DEACTIVATION;
    while Instant::now() < until {
        // Whatever the answer: what counts is the state that follows.
        let outcome = node.propose_and_wait(dead.clone(), Some(ATTEMPT)).await;
        let now = node.read(|inner| {
            inner
                .model
                .collections
                .get(name)
                .and_then(|c| c.replica(shard_id, peer))
        });
        if now != Some(state) {
            return Ok(());
        }
        if let Err(why) = outcome {
            log(
                "WARN",
                &format!("replica {peer} of {name}:{shard_id} is not Dead yet: {why}"),
            );
        }
    }
    Err(ApiError::service(format!(
        "Failed to apply update to shard {shard_id}: replica deactivation timed out after 30s. \
         Consistency of this update is not guaranteed"
    )))
}
