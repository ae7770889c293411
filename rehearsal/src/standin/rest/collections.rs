//! `/collections`: list, create, look at, delete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Timeout, indexes, timed};
use crate::standin::VERSION;
use crate::standin::config;
use crate::standin::data;
use crate::standin::error::ApiError;
use crate::standin::log;
use crate::standin::model::{Op, ReplicaState};
use crate::standin::node::{META_OP_WAIT, Node};
use crate::standin::raft::message::Payload;

pub(super) async fn list(State(api): State<Api>) -> Response {
    timed(async {
        let name = |name: &String| json!({"name": name});
        let names: Vec<Value> = api
            .node
            .read(|inner| inner.model.collections.keys().map(name).collect());
        Ok(json!({"collections": names}))
    })
    .await
}

pub(super) async fn info(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let name = api.real(name);
    timed(async {
        let collection = api
            .node
            .read(|inner| inner.model.collection(&name).cloned())?;
        let count = data::read::count(&api.node, &name, None).await?;
        Ok(json!({
            "status": "green",
            "optimizer_status": "ok",
            "points_count": count,
            "config": collection.config(),
            "payload_schema": indexes::shown(&api.node, &name, &collection).await?,
        }))
    })
    .await
}

/// `?details_level=`; what there is to say of collections begins at 2.
#[derive(Deserialize)]
pub(super) struct Details {
    #[serde(default)]
    details_level: u8,
}

/// What the node itself knows, without asking any holder.
pub(super) async fn telemetry(State(api): State<Api>, Query(asked): Query<Details>) -> Response {
    timed(async {
        let described = api.node.read(|inner| {
            let all = inner.model.collections.iter();
            all.map(|(name, there)| json!({"id": name, "config": there.config_with_uuid()}))
                .collect::<Vec<_>>()
        });
        let mut collections = json!({"number_of_collections": described.len()});
        if let Some(fields) = collections
            .as_object_mut()
            .filter(|_| asked.details_level >= 2)
        {
            fields.insert("collections".into(), described.into());
        }
        let app = json!({"name": "qdrant", "version": VERSION});
        Ok(json!({"id": api.node.id.to_string(), "app": app, "collections": collections}))
    })
    .await
}

pub(super) async fn create(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    timed(async {
        let timeout = timeout.get()?;
        let peers: Vec<u64> = api
            .node
            .read(|inner| inner.model.peers.keys().copied().collect());
        if api
            .node
            .read(|inner| inner.model.collections.contains_key(&name))
        {
            return Err(ApiError::conflict(format!(
                "Collection `{name}` already exists!"
            )));
        }
        let number = |key: &str, default: u64| match request.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_u64().filter(|n| *n > 0).ok_or_else(|| {
                ApiError::bad_request(format!("Format error in JSON body: {key}: {value}"))
            }),
        };
        let custom = match request.get("sharding_method").filter(|m| !m.is_null()) {
            None => false,
            Some(method) if method == "auto" => false,
            Some(method) if method == "custom" => true,
            Some(method) => {
                let why = format!("Format error in JSON body: sharding_method: {method}");
                return Err(ApiError::bad_request(why));
            }
        };
        let defaults = api.node.settings.collection;
        // What a key gets that does not say how many shards it wants.
        let usual = if custom { 1 } else { peers.len() as u64 };
        let shards = defaults.shards.unwrap_or(usual);
        let shard_number = number("shard_number", shards)?;
        let factor = number("replication_factor", defaults.factor.unwrap_or(1))?;
        let consistency = defaults.consistency.unwrap_or(1);
        let consistency = number("write_consistency_factor", consistency)?;
        let mut params = json!({
            "shard_number": shard_number,
            "replication_factor": factor,
            "write_consistency_factor": consistency,
        });
        if let Some(params) = params.as_object_mut() {
            config::as_given(&request, params)?;
        }
        let shards = match custom {
            // There are none before there is a key.
            true => BTreeMap::new(),
            false => distribute(&peers, shard_number, factor),
        };
        let op = Op::CreateCollection {
            name: name.clone(),
            params,
            settings: config::settings(&request)?,
            shards,
            uuid: rand::random(),
        };
        api.node.propose_and_wait(Payload::Op(op), timeout).await?;
        let limit = timeout.unwrap_or(META_OP_WAIT);
        if tokio::time::timeout(limit, all_active(&api.node, &name))
            .await
            .is_err()
        {
            log("WARN", "Awaiting for expected operations timed out");
        }
        data::sync_peers(&api.node, limit).await;
        Ok(true)
    })
    .await
}

/// Where the replicas go: to the peers with the fewest of this collection, by chance among equals.
/// Zones and whether a peer is alive play no part (upstream shard_distribution.rs:76-102).
fn distribute(peers: &[u64], shards: u64, factor: u64) -> BTreeMap<u32, Vec<u64>> {
    let mut load: Vec<(u64, u32, u64)> = peers.iter().map(|id| (0, rand::random(), *id)).collect();
    let mut distribution = BTreeMap::new();
    for shard_id in 0..shards as u32 {
        load.sort_unstable();
        let mut replicas = Vec::new();
        for (count, _, id) in load.iter_mut().take(factor as usize) {
            *count += 1;
            replicas.push(*id);
        }
        distribution.insert(shard_id, replicas);
    }
    distribution
}

async fn all_active(node: &Arc<Node>, name: &str) {
    let waiting = || {
        node.read(|inner| {
            let collection = inner.model.collections.get(name);
            let states = collection.into_iter().flat_map(|c| c.shards.values());
            states
                .flat_map(BTreeMap::values)
                .any(|s| *s == ReplicaState::Initializing)
        })
    };
    while waiting() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn update(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let timeout = timeout.get()?;
        api.node
            .read(|inner| inner.model.collection(&name).map(drop))?;
        let params = request.get("params").cloned().unwrap_or_default();
        let metadata = request.get("metadata").cloned().unwrap_or_default();
        let op = Payload::Op(Op::UpdateCollection {
            name,
            params,
            metadata,
        });
        api.node.propose_and_wait(op, timeout).await?;
        Ok(true)
    })
    .await
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
) -> Response {
    timed(async {
        let timeout = timeout.get()?;
        if api
            .node
            .read(|inner| !inner.model.collections.contains_key(&name))
        {
            return Ok(false);
        }
        let op = Payload::Op(Op::DeleteCollection { name });
        api.node.propose_and_wait(op, timeout).await?;
        Ok(true)
    })
    .await
}
