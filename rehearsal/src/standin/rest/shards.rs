//! `/collections/{name}/cluster`: where the replicas are, and moving them about.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Timeout, body, timed};
use crate::standin::error::ApiError;
use crate::standin::model::{Model, Op, Transfer, no_transfer};
use crate::standin::raft::message::Payload;

/// The request: exactly one of these keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    MoveShard(Route),
    ReplicateShard(Route),
    AbortTransfer(Route),
    DropReplica { shard_id: u32, peer_id: u64 },
}

#[derive(Debug, Deserialize)]
pub(super) struct Route {
    shard_id: u32,
    from_peer_id: u64,
    to_peer_id: u64,
    method: Option<String>,
}

pub(super) async fn info(State(api): State<Api>, Path(name): Path<String>) -> Response {
    let name = api.real(name);
    timed(async {
        let me = api.node.id;
        let collection = api
            .node
            .read(|inner| inner.model.collection(&name).cloned())?;
        let mut local = Vec::new();
        let mut remote = Vec::new();
        for (shard_id, replicas) in &collection.shards {
            for (peer, state) in replicas {
                let mut row = serde_json::Map::new();
                row.insert("shard_id".into(), json!(shard_id));
                row.insert("state".into(), json!(state));
                if let Some(key) = collection.keys.get(shard_id) {
                    row.insert("shard_key".into(), json!(key));
                }
                if *peer == me {
                    let count = api.node.shards.count(&name, *shard_id);
                    row.insert("points_count".into(), json!(count));
                    local.push(row);
                } else {
                    row.insert("peer_id".into(), json!(peer));
                    remote.push(row);
                }
            }
        }
        Ok(json!({
            "peer_id": me,
            "shard_count": collection.shards.len(),
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": collection.transfers,
        }))
    })
    .await
}

pub(super) async fn change(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let timeout = timeout.get()?;
        let change: Change = body(request)?;
        let op = api.node.read(|inner| plan(&inner.model, name, change))?;
        api.node.propose_and_wait(Payload::Op(op), timeout).await?;
        Ok(true)
    })
    .await
}

fn plan(model: &Model, name: String, change: Change) -> Result<Op, ApiError> {
    let collection = model.collection(&name)?;
    let peer_exists = |id: u64| match model.peers.contains_key(&id) {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!("Peer {id} does not exist"))),
    };
    let shard_exists = |id: u32| match collection.shards.contains_key(&id) {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!(
            "Shard {id} of {name} does not exist"
        ))),
    };
    let start = |route: Route, sync: bool| {
        let Route {
            shard_id,
            from_peer_id: from,
            to_peer_id: to,
            method,
        } = route;
        // The body is checked before anything it names.
        if from == to {
            let message = format!("Validation error in JSON body: cannot transfer to itself: {to}");
            return Err(ApiError {
                status: 422,
                message,
            });
        }
        shard_exists(shard_id)?;
        peer_exists(to)?;
        peer_exists(from)?;
        let method = method.unwrap_or_else(|| "snapshot".into());
        let transfer = Transfer {
            shard_id,
            from,
            to,
            sync,
            method,
        };
        Ok(Op::StartTransfer {
            collection: name.clone(),
            transfer,
        })
    };
    match change {
        Change::MoveShard(route) => start(route, false),
        Change::ReplicateShard(route) => start(route, true),
        Change::AbortTransfer(Route {
            shard_id,
            from_peer_id: from,
            to_peer_id: to,
            ..
        }) => {
            if collection.transfer(shard_id, from, to).is_none() {
                return Err(no_transfer(&name, shard_id, from, to));
            }
            Ok(Op::AbortTransfer {
                collection: name.clone(),
                shard_id,
                from,
                to,
            })
        }
        Change::DropReplica {
            shard_id,
            peer_id: peer,
        } => {
            shard_exists(shard_id)?;
            peer_exists(peer)?;
            Ok(Op::DropReplica {
                collection: name.clone(),
                shard_id,
                peer,
            })
        }
    }
}
