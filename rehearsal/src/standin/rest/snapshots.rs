//! Snapshots of one shard: streaming one, and recovering a replica from one that is fetched by URL.
//!
//! As upstream: the stream answers 200 before it is known whether it will be whole; a shard that is
//! not here is refused; recovery by URL on a peer that holds no replica adds one; the answer comes
//! before consensus has applied the new states (common/snapshots.rs, shard_holder/mod.rs).

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use entrypoint::store::sha256;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, body, timed};
use crate::standin::data::remote::{ReadRequest, Select};
use crate::standin::data::snapshot;
use crate::standin::error::ApiError;
use crate::standin::model::{Op, ReplicaState};
use crate::standin::raft::message::Payload;

/// How long the file may take to arrive.
const DOWNLOAD: Duration = Duration::from_secs(600);
/// Pieces of a stream; more than one, so that a stream can break off in the middle.
const PIECES: usize = 16;

/// `PUT …/snapshots/recover`.
#[derive(Debug, Deserialize)]
pub(super) struct Recover {
    location: String,
    priority: Option<Priority>,
    checksum: Option<String>,
    api_key: Option<String>,
}

/// Whose data is right when others are Active as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Priority {
    NoSync,
    #[default]
    Snapshot,
    Replica,
}

pub(super) async fn stream(
    State(api): State<Api>,
    Path((name, shard_id)): Path<(String, u32)>,
) -> Response {
    let name = api.real(name);
    let archive = match archive(&api, &name, shard_id) {
        Ok(archive) => archive,
        // Plain text, unlike every other refusal.
        Err(why) => {
            let status = StatusCode::from_u16(why.status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, why.message).into_response();
        }
    };
    let size = archive.len().div_ceil(PIECES).max(1);
    let pieces: Vec<Bytes> = archive.chunks(size).map(Bytes::copy_from_slice).collect();
    let pause = api.node.settings.transfer / u32::try_from(pieces.len().max(1)).unwrap_or(1);
    let body = stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        let piece = pieces.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::convert::Infallible>(piece), pieces))
    });
    let name = format!("attachment; filename=\"{name}-shard-{shard_id}.snapshot\"");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    (headers, Body::from_stream(body)).into_response()
}

fn archive(api: &Api, name: &str, shard_id: u32) -> Result<Vec<u8>, ApiError> {
    let me = api.node.id;
    let replicas = api.node.read(|inner| {
        let collection = inner.model.collection(name)?;
        let shard = collection.shards.get(&shard_id);
        shard.cloned().ok_or_else(|| no_shard(shard_id))
    })?;
    if !replicas.contains_key(&me) {
        return Err(ApiError::bad_input(format!(
            "Shard {shard_id} is not a local or queue proxy shard"
        )));
    }
    let what = ReadRequest {
        collection: name.to_owned(),
        shard_id,
        select: Select::Range(None, usize::MAX),
    };
    let points = api.node.shards.read(&what)?.points;
    let replica = json!({"is_local": true, "this_peer_id": me, "peers": replicas});
    snapshot::archive(&points, &replica).map_err(ApiError::service)
}

pub(super) async fn recover(
    State(api): State<Api>,
    Path((name, shard_id)): Path<(String, u32)>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let request: Recover = body(request)?;
        api.node.read(|inner| {
            let collection = inner.model.collection(&name)?;
            let exists = collection.shards.contains_key(&shard_id);
            exists.then_some(()).ok_or_else(|| no_shard(shard_id))
        })?;
        let bytes = match request.location.contains("://") {
            true => fetch(&api, &request).await?,
            false => named(&api, &name, shard_id, &request.location)?,
        };
        verify(&bytes, request.checksum.as_deref())?;
        let points = snapshot::unpack(&bytes)?;
        api.node
            .shards
            .clear(&name, shard_id)
            .map_err(ApiError::service)?;
        api.node.shards.upsert(&name, shard_id, &points, false)?;
        announce(&api, &name, shard_id, request.priority.unwrap_or_default());
        Ok(true)
    })
    .await
}

async fn fetch(api: &Api, request: &Recover) -> Result<Bytes, ApiError> {
    let Recover {
        location, api_key, ..
    } = request;
    if !location.starts_with("http://") {
        return Err(ApiError::bad_input(format!(
            "Invalid snapshot location {location}: the stand-in fetches by http alone"
        )));
    }
    let mut get = api.node.client.get(location).timeout(DOWNLOAD);
    if let Some(key) = api_key {
        get = get.header("api-key", key);
    }
    let failed = |why: reqwest::Error| {
        ApiError::bad_input(format!(
            "Failed to download snapshot from {location}: {why}"
        ))
    };
    let answer = get.send().await.map_err(failed)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(ApiError::bad_input(format!(
            "Failed to download snapshot from {location}: status - {status}"
        )));
    }
    answer.bytes().await.map_err(failed)
}

/// A file in the shard's own folder of snapshots, by its plain name (upstream shard_holder/mod.rs,
/// `shard_snapshot_path_unchecked`).
fn named(api: &Api, name: &str, shard_id: u32, file: &str) -> Result<Bytes, ApiError> {
    let none = || ApiError::not_found(format!("Snapshot {file} not found"));
    if file.is_empty() || file.contains('/') || file.starts_with("..") {
        return Err(none());
    }
    let folder = api.node.settings.snapshots.join(name);
    let path = folder.join(format!("shards/{shard_id}")).join(file);
    std::fs::read(path).map(Bytes::from).map_err(|_| none())
}

fn verify(bytes: &[u8], checksum: Option<&str>) -> Result<(), ApiError> {
    let got = sha256(bytes).to_string();
    match checksum {
        Some(wanted) if !got.eq_ignore_ascii_case(wanted) => Err(ApiError::bad_input(format!(
            "Snapshot checksum mismatch: expected {wanted}, got {got}"
        ))),
        _ => Ok(()),
    }
}

/// Proposes the states that follow, and waits for none of them.
fn announce(api: &Api, name: &str, shard_id: u32, priority: Priority) {
    let me = api.node.id;
    let set = |peer: u64, state: ReplicaState| {
        Payload::Op(Op::SetReplica {
            collection: name.to_owned(),
            shard_id,
            peer,
            state,
            from: None,
        })
    };
    api.node.change(|inner| {
        let replicas = inner.model.collections.get(name);
        let replicas = replicas.and_then(|c| c.shards.get(&shard_id));
        let others: Vec<u64> = replicas
            .into_iter()
            .flatten()
            .filter(|(peer, state)| **peer != me && **state == ReplicaState::Active)
            .map(|(peer, _)| *peer)
            .collect();
        if priority == Priority::Replica && !others.is_empty() {
            inner.raft.propose(set(me, ReplicaState::Dead));
            return;
        }
        inner.raft.propose(set(me, ReplicaState::Active));
        if priority == Priority::Snapshot {
            for peer in others {
                inner.raft.propose(set(peer, ReplicaState::Dead));
            }
        }
    });
}

fn no_shard(shard_id: u32) -> ApiError {
    ApiError::not_found(format!("Shard {shard_id} not found"))
}
