//! Reads of clients: each shard from one readable replica, our own first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::remote::{PointId, ReadReply, ReadRequest, Select};
use super::{read_local, store, write};
use crate::standin::client;
use crate::standin::error::ApiError;
use crate::standin::keys::{Selector, ShardKey};
use crate::standin::model::{Collection, ReplicaState};
use crate::standin::node::Node;

const CALL: Duration = Duration::from_secs(3);

/// Number of points in a collection, or in the shards of these keys.
pub async fn count(
    node: &Arc<Node>,
    name: &str,
    keys: Option<&Selector>,
) -> Result<usize, ApiError> {
    let mut count = 0;
    for shard_id in look(node, name)?.read_from(keys)? {
        count += read_shard(node, name, shard_id, Select::Count).await?.count;
    }
    Ok(count)
}

/// Points in order of their ids, from `offset` on.
pub async fn scroll(
    node: &Arc<Node>,
    name: &str,
    keys: Option<&Selector>,
    offset: Option<PointId>,
    limit: usize,
) -> Result<Vec<(PointId, Value)>, ApiError> {
    let collection = look(node, name)?;
    let mut found = Vec::new();
    for shard_id in collection.read_from(keys)? {
        let select = Select::Range(offset.clone(), limit);
        for mut point in read_shard(node, name, shard_id, select).await?.points {
            mark(&mut point, collection.keys.get(&shard_id));
            found.push((store::id_of(&point)?, point));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.truncate(limit);
    Ok(found)
}

/// The points with these ids that exist.
pub async fn retrieve(
    node: &Arc<Node>,
    name: &str,
    ids: Vec<PointId>,
    keys: Option<&Selector>,
) -> Result<Vec<Value>, ApiError> {
    let collection = look(node, name)?;
    let shards = collection.read_from(keys)?;
    let mut found = Vec::new();
    if !collection.is_custom() {
        for id in ids {
            let shard_id = write::shard_of(&id, &shards);
            let select = Select::Ids(vec![id]);
            found.extend(read_shard(node, name, shard_id, select).await?.points);
        }
        return Ok(found);
    }
    // Any key may have a point with this id, and more than one: each id is answered once.
    let mut by_id: BTreeMap<PointId, Value> = BTreeMap::new();
    for shard_id in shards {
        let select = Select::Ids(ids.clone());
        for mut point in read_shard(node, name, shard_id, select).await?.points {
            mark(&mut point, collection.keys.get(&shard_id));
            by_id.insert(store::id_of(&point)?, point);
        }
    }
    found.extend(ids.iter().filter_map(|id| by_id.remove(id)));
    Ok(found)
}

/// The points with these ids that exist, each with its version in the copy that answered.
pub async fn versioned(
    node: &Arc<Node>,
    name: &str,
    ids: Vec<PointId>,
    keys: Option<&Selector>,
) -> Result<Vec<(Value, u64)>, ApiError> {
    let mut found = Vec::new();
    for shard_id in look(node, name)?.read_from(keys)? {
        let select = Select::Ids(ids.clone());
        let reply = read_shard(node, name, shard_id, select).await?;
        found.extend(reply.points.into_iter().zip(reply.versions));
    }
    Ok(found)
}

/// Says with a point which key its shard has.
pub fn mark(point: &mut Value, key: Option<&ShardKey>) {
    if let (Some(key), Some(fields)) = (key, point.as_object_mut()) {
        fields.insert("shard_key".into(), serde_json::json!(key));
    }
}

fn look(node: &Node, name: &str) -> Result<Collection, ApiError> {
    node.read(|inner| inner.model.collection(name).cloned())
}

async fn read_shard(
    node: &Arc<Node>,
    name: &str,
    shard_id: u32,
    select: Select,
) -> Result<ReadReply, ApiError> {
    let sources: Vec<(u64, String)> = node.read(|inner| {
        let replicas = inner.model.collection(name)?.shards.get(&shard_id);
        let mut sources: Vec<(u64, String)> = replicas
            .into_iter()
            .flatten()
            .filter(|(id, state)| {
                let key = (name.to_owned(), shard_id, **id);
                **state == ReplicaState::Active && !inner.disabled.contains_key(&key)
            })
            .map(|(id, _)| (*id, inner.model.peers.get(id).cloned().unwrap_or_default()))
            .collect();
        sources.sort_by_key(|(id, _)| *id != node.id);
        Ok(sources)
    })?;
    let what = ReadRequest {
        collection: name.to_owned(),
        shard_id,
        select,
    };
    let mut last = ApiError::service(format!("shard {shard_id} has no active replica"));
    for (id, uri) in sources {
        let read = if id == node.id {
            read_local(node, &what)
        } else {
            client::post(node, &uri, "read", &what, CALL)
                .await
                .map_err(ApiError::service)
        };
        match read {
            Ok(reply) => return Ok(reply),
            Err(why) => last = why,
        }
    }
    Err(last)
}
