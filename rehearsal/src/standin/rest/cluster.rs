//! `/cluster`: status, removal of peers, metadata.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Timeout, timed};
use crate::standin::error::ApiError;
use crate::standin::model::Op;
use crate::standin::node::{Inner, Stopped};
use crate::standin::raft::message::{ConfChange, Payload};

#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    #[serde(default)]
    force: bool,
    timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Wait {
    #[serde(default)]
    wait: bool,
}

pub(super) async fn status(State(api): State<Api>) -> Response {
    timed(async { Ok(api.node.read(|inner| view(api.node.id, inner))) }).await
}

fn view(me: u64, inner: &Inner) -> Value {
    let peers: BTreeMap<String, Value> = inner
        .model
        .peers
        .iter()
        .map(|(id, uri)| (id.to_string(), json!({"uri": uri})))
        .collect();
    let thread = match &inner.stopped {
        None | Some(Stopped::Panicked) => {
            json!({"consensus_thread_status": "working", "last_update": inner.last_update})
        }
        Some(Stopped::Removed) => json!({"consensus_thread_status": "stopped"}),
        Some(Stopped::Failed(why)) => {
            json!({"consensus_thread_status": "stopped_with_err", "err": why})
        }
    };
    let role = inner.leader.map(|_| inner.raft.role);
    json!({
        "status": "enabled",
        "peer_id": me,
        "peers": peers,
        "raft_info": {
            "term": inner.raft.term,
            "commit": inner.raft.commit,
            "pending_operations": inner.raft.commit - inner.raft.applied,
            "leader": inner.leader,
            "role": role,
            "is_voter": inner.raft.is_voter(),
        },
        "consensus_thread_status": thread,
        "message_send_failures": inner.failures,
    })
}

pub(super) async fn remove_peer(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Query(Removal { force, timeout }): Query<Removal>,
) -> Response {
    timed(async {
        let timeout = Timeout { timeout }.get()?;
        if !force && api.node.read(|inner| inner.model.peer_has_shards(id)) {
            let why = format!("Cannot remove peer {id} as there are shards on it");
            return Err(ApiError::bad_request(why));
        }
        api.node
            .propose_and_wait(Payload::Conf(ConfChange::Remove { id }), timeout)
            .await?;
        Ok(true)
    })
    .await
}

pub(super) async fn keys(State(api): State<Api>) -> Response {
    timed(async {
        Ok(api
            .node
            .read(|inner| inner.model.metadata.keys().cloned().collect::<Vec<_>>()))
    })
    .await
}

pub(super) async fn key(State(api): State<Api>, Path(key): Path<String>) -> Response {
    timed(async {
        Ok(api
            .node
            .read(|inner| inner.model.metadata.get(&key).cloned()))
    })
    .await
}

pub(super) async fn set_key(
    State(api): State<Api>,
    Path(key): Path<String>,
    Query(wait): Query<Wait>,
    Json(value): Json<Value>,
) -> Response {
    write(api, key, value, wait).await
}

pub(super) async fn delete_key(
    State(api): State<Api>,
    Path(key): Path<String>,
    Query(wait): Query<Wait>,
) -> Response {
    write(api, key, Value::Null, wait).await
}

async fn write(api: Api, key: String, value: Value, Wait { wait }: Wait) -> Response {
    timed(async {
        let op = Payload::Op(Op::SetMetadata { key, value });
        if wait {
            api.node.propose_and_wait(op, None).await?;
        } else {
            api.node.propose(op)?;
        }
        Ok(true)
    })
    .await
}
