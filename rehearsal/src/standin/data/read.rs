//! Reads of clients: each shard from one readable replica, our own first.

use std::sync::Arc;
use std::time::Duration;

use super::remote::{PointId, ReadReply, ReadRequest, Select};
use super::{read_local, store, write};
use crate::standin::client;
use crate::standin::error::ApiError;
use crate::standin::model::ReplicaState;
use crate::standin::node::Node;

const CALL: Duration = Duration::from_secs(3);

/// Number of points in a collection.
pub async fn count(node: &Arc<Node>, name: &str) -> Result<usize, ApiError> {
    let mut count = 0;
    for shard_id in shards(node, name)? {
        count += read_shard(node, name, shard_id, Select::Count).await?.count;
    }
    Ok(count)
}

/// Points in order of their ids, from `offset` on.
pub async fn scroll(
    node: &Arc<Node>,
    name: &str,
    offset: Option<PointId>,
    limit: usize,
) -> Result<Vec<(PointId, serde_json::Value)>, ApiError> {
    let mut found = Vec::new();
    for shard_id in shards(node, name)? {
        let select = Select::Range(offset.clone(), limit);
        for point in read_shard(node, name, shard_id, select).await?.points {
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
) -> Result<Vec<serde_json::Value>, ApiError> {
    let collection = node.read(|inner| inner.model.collection(name).cloned())?;
    let mut found = Vec::new();
    for id in ids {
        let shard_id = write::shard_of(&id, &collection);
        let select = Select::Ids(vec![id]);
        found.extend(read_shard(node, name, shard_id, select).await?.points);
    }
    Ok(found)
}

fn shards(node: &Node, name: &str) -> Result<Vec<u32>, ApiError> {
    node.read(|inner| {
        Ok(inner
            .model
            .collection(name)?
            .shards
            .keys()
            .copied()
            .collect())
    })
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
