//! What the steward sees: its own Qdrant's word on peers, collections, copies and transfers. One
//! question for the peers, one for the list, two for each collection; none grows with the number
//! of nodes.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use planner::heal::life::{Doubt, Life};
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::heal::view::{ClusterView, Collection, Copy, CopyState, Peer, Shard, Transfer};
use planner::ids::PeerId;
use planner::observed::Observed;
use qdrant_api::{Client, Cluster, CollectionCluster, CollectionParams, ReplicaState};
use serde::{Deserialize, Serialize};

use super::Post;
use super::clocks::Clocks;
use super::pause;

/// Where the losses are on record, in Qdrant's key map.
pub const LOSSES_KEY: &str = "entrypoint.losses";
/// So many collections are asked for at a time.
const AT_ONCE: usize = 8;

/// One lost shard, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss {
    /// Its collection.
    pub collection: String,
    /// Which of its shards.
    pub shard: u32,
}

impl Loss {
    /// On record.
    pub fn of(shard: &ShardRef) -> Self {
        Self {
            collection: shard.collection.0.clone(),
            shard: shard.shard.0,
        }
    }
}

/// Why there is nothing to plan upon.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Our Qdrant did not answer.
    #[error("our Qdrant does not say what it sees")]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// The record of losses is not ours to read; nothing is done beside it.
    #[error("the key {LOSSES_KEY} in Qdrant's key map cannot be read")]
    Losses(#[from] serde_json::Error),
    /// Somebody else leads, or nobody.
    #[error("our Qdrant does not lead")]
    NotLeader,
}

/// Looks at everything once. Whether consensus commits is left open.
pub async fn survey(
    client: &Client,
    post: &Post,
    clocks: &mut Clocks,
) -> Result<ClusterView, SurveyError> {
    let info = match client.cluster().await.map_err(Box::new)? {
        Cluster::Enabled(info) if info.leads_itself() => info,
        _ => return Err(SurveyError::NotLeader),
    };
    let us = PeerId(info.peer_id);
    let mut peers: BTreeMap<PeerId, Peer> = BTreeMap::new();
    for (id, uri) in &info.peers {
        let peer = post.peers.get(&PeerId(*id)).cloned();
        let unseen = || unseen(uri.address().unwrap_or_default());
        peers.insert(PeerId(*id), peer.unwrap_or_else(unseen));
    }
    peers.insert(us, post.ourselves.clone());
    let collections = match client.collections().await {
        Ok(names) => Observed::Known(collections(client, names, clocks).await),
        Err(error) => Observed::Unknown(crate::log::chain(&error)),
    };
    Ok(ClusterView {
        us,
        commits: Observed::Unknown("not asked yet".to_owned()),
        paused: pause::read(client).await?,
        wanted_tasks: Some(post.wanted_tasks),
        peers,
        collections,
        losses: losses(client).await?,
    })
}

/// A peer that Qdrant lists since our last round.
fn unseen(uri: &str) -> Peer {
    Peer {
        life: Life::Unsure {
            why: Doubt::TooSoon,
            lasted: std::time::Duration::ZERO,
        },
        zone: None,
        voter: true,
        uri: uri.to_owned(),
        leaving: false,
        disk: None,
    }
}

/// What is on record as lost.
pub async fn losses(client: &Client) -> Result<BTreeSet<ShardRef>, SurveyError> {
    let value = client.metadata_key(LOSSES_KEY).await.map_err(Box::new)?;
    let recorded: Vec<Loss> = match value {
        None | Some(serde_json::Value::Null) => Vec::new(),
        Some(value) => serde_json::from_value(value)?,
    };
    Ok(recorded
        .into_iter()
        .map(|loss| ShardRef {
            collection: CollectionName(loss.collection),
            shard: ShardId(loss.shard),
        })
        .collect())
}

async fn collections(
    client: &Client,
    names: Vec<String>,
    clocks: &mut Clocks,
) -> BTreeMap<CollectionName, Observed<Collection>> {
    let answers: Vec<_> = futures::stream::iter(names)
        .map(|name| async move {
            let asked = tokio::join!(
                client.collection_cluster(&name),
                client.collection_info(&name)
            );
            (name, asked)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut all = BTreeMap::new();
    for (name, (cluster, info)) in answers {
        let name = CollectionName(name);
        let collection = match (cluster, info) {
            (Ok(cluster), Ok(info)) => {
                Observed::Known(collection(&name, &cluster, &info.params, clocks))
            }
            (Err(error), _) | (_, Err(error)) => {
                // Deleted between the two questions: it is no more.
                if error.is_not_found() {
                    continue;
                }
                Observed::Unknown(crate::log::chain(&error))
            }
        };
        all.insert(name, collection);
    }
    all
}

fn collection(
    name: &CollectionName,
    cluster: &CollectionCluster,
    params: &CollectionParams,
    clocks: &mut Clocks,
) -> Collection {
    let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
    for replica in cluster.replicas() {
        let (shard, peer) = (ShardId(replica.shard_id), PeerId(replica.peer_id));
        let active = replica.state.is_active();
        let copy = Copy {
            state: match replica.state {
                ReplicaState::Active => CopyState::Active,
                other => CopyState::Other(format!("{other:?}")),
            },
            bytes: None,
            unwell: clocks.unwell((name.clone(), shard, peer), active),
        };
        shards.entry(shard).or_default().copies.insert(peer, copy);
    }
    let transfers = cluster.transfers.iter().map(|transfer| {
        let shard = ShardId(transfer.shard_id);
        let (from, to) = (PeerId(transfer.from), PeerId(transfer.to));
        let says = transfer.comment.clone().unwrap_or_default();
        Transfer {
            shard,
            from,
            to,
            sync: transfer.sync,
            stalled: clocks.stalled((name.clone(), shard, from, to), says),
        }
    });
    Collection {
        factor: params.replication_factor,
        resharding: cluster.is_resharding(),
        transfers: transfers.collect(),
        shards,
    }
}
