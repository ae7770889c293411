//! `/collections/{name}/points`: write, retrieve, count, scroll.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, timed};
use crate::standin::data::remote::{PointId, ReadRequest, Select};
use crate::standin::data::store::id_of;
use crate::standin::data::{read, write};
use crate::standin::error::ApiError;
use crate::standin::keys::Selector;

#[derive(Debug, Deserialize)]
pub(super) struct Wait {
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Points {
    points: Vec<Value>,
    shard_key: Option<Selector>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ids {
    ids: Vec<PointId>,
    shard_key: Option<Selector>,
    with_payload: Option<bool>,
    #[serde(default)]
    with_vector: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Count {
    shard_key: Option<Selector>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scroll {
    shard_key: Option<Selector>,
    limit: Option<usize>,
    offset: Option<PointId>,
    with_payload: Option<bool>,
    #[serde(default)]
    with_vector: bool,
}

pub(super) async fn upsert(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Wait { wait }): Query<Wait>,
    Json(Points { points, shard_key }): Json<Points>,
) -> Response {
    let name = api.real(name);
    timed(async {
        write::upsert(&api.node, &name, points, shard_key.as_ref(), wait).await?;
        let status = if wait { "completed" } else { "acknowledged" };
        Ok(json!({"operation_id": 0, "status": status}))
    })
    .await
}

pub(super) async fn retrieve(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(Ids {
        ids,
        shard_key,
        with_payload,
        with_vector,
    }): Json<Ids>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let points = read::retrieve(&api.node, &name, ids, shard_key.as_ref()).await?;
        let show = |point| shown(point, with_payload.unwrap_or(true), with_vector);
        Ok(points.into_iter().map(show).collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn count(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Option<Json<Count>>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let Count { shard_key } = request.map(|Json(count)| count).unwrap_or_default();
        let count = read::count(&api.node, &name, shard_key.as_ref()).await?;
        Ok(json!({"count": count}))
    })
    .await
}

/// Of the copy that is here, whatever its state (upstream local_shard_api.rs:158).
pub(super) async fn count_local(
    State(api): State<Api>,
    Path((collection, shard_id)): Path<(String, u32)>,
) -> Response {
    let collection = api.real(collection);
    timed(async {
        api.node
            .read(|inner| inner.model.collection(&collection).map(drop))?;
        let request = ReadRequest {
            collection,
            shard_id,
            select: Select::Count,
        };
        Ok(json!({"count": api.node.shards.read(&request)?.count}))
    })
    .await
}

/// Of the copy that is here (upstream local_shard_api.rs:37).
pub(super) async fn retrieve_local(
    State(api): State<Api>,
    Path((collection, shard_id)): Path<(String, u32)>,
    Json(ids): Json<Ids>,
) -> Response {
    let collection = api.real(collection);
    timed(async {
        api.node
            .read(|inner| inner.model.collection(&collection).map(drop))?;
        let request = ReadRequest {
            collection,
            shard_id,
            select: Select::Ids(ids.ids),
        };
        let points = api.node.shards.read(&request)?.points;
        let show = |point| shown(point, ids.with_payload.unwrap_or(true), ids.with_vector);
        Ok(points.into_iter().map(show).collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn scroll(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(Scroll {
        shard_key,
        limit,
        offset,
        with_payload,
        with_vector,
    }): Json<Scroll>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let limit = limit.unwrap_or(10);
        let found = read::scroll(&api.node, &name, shard_key.as_ref(), offset, limit + 1).await?;
        Ok(page(found, limit, with_payload, with_vector))
    })
    .await
}

/// Of the copy that is here (upstream local_shard_api.rs:84).
pub(super) async fn scroll_local(
    State(api): State<Api>,
    Path((collection, shard_id)): Path<(String, u32)>,
    Json(scroll): Json<Scroll>,
) -> Response {
    let collection = api.real(collection);
    timed(async {
        let key = api.node.read(|inner| {
            let collection = inner.model.collection(&collection)?;
            Ok(collection.keys.get(&shard_id).cloned())
        })?;
        let limit = scroll.limit.unwrap_or(10);
        let request = ReadRequest {
            collection,
            shard_id,
            select: Select::Range(scroll.offset, limit + 1),
        };
        let mut found = api.node.shards.read(&request)?.points;
        found
            .iter_mut()
            .for_each(|point| read::mark(point, key.as_ref()));
        let found = found.into_iter().map(|point| Ok((id_of(&point)?, point)));
        let found = found.collect::<Result<Vec<_>, ApiError>>()?;
        Ok(page(found, limit, scroll.with_payload, scroll.with_vector))
    })
    .await
}

/// The first `limit` of these, and where the next page begins.
fn page(
    mut found: Vec<(PointId, Value)>,
    limit: usize,
    with_payload: Option<bool>,
    with_vector: bool,
) -> Value {
    let next = (found.len() > limit)
        .then(|| found.pop())
        .flatten()
        .map(|(id, _)| id);
    let show = |(_, point)| shown(point, with_payload.unwrap_or(true), with_vector);
    let points: Vec<Value> = found.into_iter().map(show).collect();
    json!({"points": points, "next_page_offset": next})
}

fn shown(point: Value, with_payload: bool, with_vector: bool) -> Value {
    let mut shown = json!({"id": point.get("id")});
    if let Some(fields) = shown.as_object_mut() {
        if let Some(key) = point.get("shard_key") {
            fields.insert("shard_key".into(), key.clone());
        }
        for (key, wanted) in [("payload", with_payload), ("vector", with_vector)] {
            if wanted {
                fields.insert(key.into(), point.get(key).cloned().unwrap_or_default());
            }
        }
    }
    shown
}
