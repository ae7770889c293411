//! `/collections/{name}/shards`: the keys of a collection with custom sharding.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Api, Timeout, body, timed};
use crate::standin::data;
use crate::standin::error::ApiError;
use crate::standin::keys::ShardKey;
use crate::standin::model::{Collection, Model, Op, ReplicaState};
use crate::standin::node::META_OP_WAIT;
use crate::standin::raft::message::Payload;

#[derive(Debug, Deserialize)]
struct Create {
    shard_key: ShardKey,
    #[serde(alias = "shard_number")]
    shards_number: Option<NonZeroU32>,
    replication_factor: Option<NonZeroU32>,
    placement: Option<Vec<u64>>,
    initial_state: Option<ReplicaState>,
}

#[derive(Debug, Deserialize)]
struct Delete {
    shard_key: ShardKey,
}

/// Null where the collection has no custom sharding.
pub(super) async fn list(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let name = api.real(name);
    timed(async {
        api.node.read(|inner| {
            let collection = inner.model.collection(&name)?;
            let keys: BTreeSet<&ShardKey> = collection.keys.values().collect();
            let shown: Vec<Value> = keys.into_iter().map(|key| json!({"key": key})).collect();
            Ok(match collection.is_custom() {
                true => json!({"shard_keys": shown}),
                false => json!({}),
            })
        })
    })
    .await
}

/// Waits until every replica is Active. One that never is, because its peer is dead, makes this a
/// failure, although the key is there (upstream dispatcher.rs, `wait_for_shard_key_activation`).
pub(super) async fn create(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let timeout = timeout.get()?;
        let request: Create = body(request)?;
        let key = request.shard_key.clone();
        let waits = request.initial_state.is_none();
        let op = api.node.read(|inner| plan(&inner.model, &name, request))?;
        let start = Instant::now();
        api.node.propose_and_wait(Payload::Op(op), timeout).await?;
        let limit = timeout
            .unwrap_or(META_OP_WAIT)
            .saturating_sub(start.elapsed());
        let active = || {
            api.node.read(|inner| {
                let collection = inner.model.collections.get(&name);
                collection.is_none_or(|there| there.key_is_active(&key))
            })
        };
        while waits && !active() {
            if start.elapsed() >= limit {
                return Err(ApiError::timeout(format!(
                    "Timeout error: Operation 'wait for replica set state' timed out after \
                     {limit:?}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        data::sync_peers(&api.node, limit).await;
        Ok(true)
    })
    .await
}

fn plan(model: &Model, name: &str, request: Create) -> Result<Op, ApiError> {
    let collection = custom(model, name)?;
    let key = request.shard_key;
    let param = |name: &str| collection.params.get(name).and_then(Value::as_u64);
    let given = |number: Option<NonZeroU32>| number.map(|number| u64::from(number.get()));
    let shards = given(request.shards_number).or_else(|| param("shard_number"));
    // A key that begins in another state than Active is filled before it is copied.
    let factor = match request.initial_state {
        Some(_) => Some(1),
        None => param("replication_factor"),
    };
    let factor = given(request.replication_factor).or(factor).unwrap_or(1);
    if let Some(state) = request.initial_state
        && !matches!(state, ReplicaState::Active | ReplicaState::Partial)
    {
        return Err(ApiError::bad_request(format!(
            "Initial state cannot be {state:?}, only Active or Partial are allowed"
        )));
    }
    if collection.keys.values().any(|known| *known == key) {
        return Err(ApiError::bad_request(format!(
            "Sharding key {key} already exists for collection {name}"
        )));
    }
    let pool = match request.placement {
        None => model.peers.keys().copied().collect(),
        Some(placement) if placement.is_empty() => {
            return Err(ApiError::bad_request(format!(
                "Sharding key {key} placement cannot be empty. If you want to use random \
                 placement, do not specify placement"
            )));
        }
        Some(placement) => {
            if let Some(peer) = placement.iter().find(|id| !model.peers.contains_key(*id)) {
                return Err(ApiError::bad_request(format!("Peer {peer} does not exist")));
            }
            placement
        }
    };
    Ok(Op::CreateShardKey {
        collection: name.into(),
        key,
        placement: place(pool, shards.unwrap_or(1), factor),
        state: request.initial_state,
    })
}

/// Round and round the shuffled pool, one replica after the other. Neither zones nor the copies that
/// a peer has of other keys play a part, nor whether it lives (upstream common/collections.rs).
fn place(mut pool: Vec<u64>, shards: u64, factor: u64) -> Vec<Vec<u64>> {
    pool.shuffle(&mut rand::rng());
    let copies = usize::try_from(factor).unwrap_or(usize::MAX);
    let copies = copies.min(pool.len());
    let mut next = pool.iter().copied().cycle();
    (0..shards)
        .map(|_| next.by_ref().take(copies).collect())
        .collect()
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let timeout = timeout.get()?;
        let Delete { shard_key: key } = body(request)?;
        api.node.read(|inner| {
            let collection = custom(&inner.model, &name)?;
            match collection.keys.values().any(|known| *known == key) {
                true => Ok(()),
                false => Err(ApiError::bad_request(format!(
                    "Sharding key {key} does not exist for collection {name}"
                ))),
            }
        })?;
        let collection = name.clone();
        let op = Payload::Op(Op::DropShardKey { collection, key });
        api.node.propose_and_wait(op, timeout).await?;
        Ok(true)
    })
    .await
}

/// The message is the same for deleting.
fn custom<'a>(model: &'a Model, name: &str) -> Result<&'a Collection, ApiError> {
    let collection = model.collection(name)?;
    match collection.is_custom() {
        true => Ok(collection),
        false => Err(ApiError::bad_request(
            "Shard Key cannot be created with Auto sharding method",
        )),
    }
}
