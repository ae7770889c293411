//! Collections, their shards and replicas, typed. Decides nothing about them.
//!
//! Upstream: lib/collection/src/operations/types.rs:215-433, lib/collection/src/config.rs:93-150,
//! lib/collection/src/shards/replica_set/replica_set_state.rs:100-133.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::describe::ShardKey;
use crate::lenient;
use crate::request::Request;
use crate::{Client, Error};

/// Where the shards of a collection are, as one node has applied it so far.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CollectionCluster {
    /// The id of the node that answers.
    pub peer_id: u64,
    /// How many shards there are, those without any replica included; Qdrant lists none for these.
    pub shard_count: Option<usize>,
    /// Replicas on the node that answers. May be empty for a moment while it takes in a snapshot
    /// of consensus.
    pub local_shards: Vec<LocalShard>,
    /// Replicas on all other nodes, dead or alive.
    pub remote_shards: Vec<RemoteShard>,
    /// Transfers under way.
    #[serde(rename = "shard_transfers")]
    pub transfers: Vec<ShardTransfer>,
    /// Changes of the number of shards that are under way; Qdrant leaves the list out when it does
    /// not offer them.
    #[serde(default, rename = "resharding_operations")]
    pub reshardings: Option<Vec<Value>>,
}

/// A replica on the node that answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LocalShard {
    /// Which shard.
    pub shard_id: u32,
    /// Its key, with custom sharding.
    #[serde(default)]
    pub shard_key: Option<ShardKey>,
    /// Points in it, approximately.
    pub points_count: u64,
    /// Its state as consensus has it.
    pub state: ReplicaState,
}

/// A replica on another node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RemoteShard {
    /// Which shard.
    pub shard_id: u32,
    /// Its key, with custom sharding.
    #[serde(default)]
    pub shard_key: Option<ShardKey>,
    /// Where it is.
    pub peer_id: u64,
    /// Its state as consensus has it.
    pub state: ReplicaState,
}

/// One replica, local or remote alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica<'a> {
    /// Which shard.
    pub shard_id: u32,
    /// Where it is.
    pub peer_id: u64,
    /// Its state as consensus has it.
    pub state: &'a ReplicaState,
}

/// A transfer of one shard between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShardTransfer {
    /// Which shard.
    pub shard_id: u32,
    /// The shard it becomes, when that is another one (resharding only).
    #[serde(default)]
    pub to_shard_id: Option<u32>,
    /// The source's peer id.
    pub from: u64,
    /// The target's peer id.
    pub to: u64,
    /// True when the source keeps its replica, false when the shard moves.
    pub sync: bool,
    /// How, such as `snapshot`.
    #[serde(default)]
    pub method: Option<String>,
    /// Progress in Qdrant's words, on the two nodes concerned only.
    #[serde(default)]
    pub comment: Option<String>,
}

/// The state of a replica as consensus has it. A dead node's replicas stay `Active` until a write
/// to them fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum ReplicaState {
    /// Complete and in use.
    Active,
    /// A write to it failed.
    Dead,
    /// Being filled.
    Partial,
    /// Its collection is being created.
    Initializing,
    /// Takes writes, serves no reads.
    Listener,
    /// Used by Qdrant 1.7 and 1.8 only.
    PartialSnapshot,
    /// Being recovered from another node.
    Recovery,
    /// Being filled by resharding up.
    Resharding,
    /// Being filled by resharding down; complete itself.
    ReshardingScaleDown,
    /// Active for readers, being filled for writers.
    ActiveRead,
    /// Being recovered by hand.
    ManualRecovery,
    /// Something this client does not know; not active.
    Unknown(String),
}

/// The part of a collection's description that this project uses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawInfo")]
pub struct CollectionInfo {
    /// The colour Qdrant gives it.
    pub status: CollectionStatus,
    /// Points, approximately, when Qdrant says.
    pub points_count: Option<u64>,
    /// What it was created with.
    pub params: CollectionParams,
}

/// How many shards and replicas a collection is meant to have. It may have fewer replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct CollectionParams {
    /// Shards.
    pub shard_number: u32,
    /// Replicas of each shard.
    pub replication_factor: u32,
    /// Replicas that have to take a write for it to succeed.
    pub write_consistency_factor: u32,
}

/// The colour of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum CollectionStatus {
    /// Ready.
    Green,
    /// Ready, being optimized.
    Yellow,
    /// Ready, waiting to be optimized.
    Grey,
    /// Some operations failed.
    Red,
    /// Something this client does not know.
    Unknown(String),
}

/// What to create a collection with. `None` leaves the choice to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreateCollection {
    /// The one unnamed vector of each point.
    pub vectors: VectorParams,
    /// Shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard_number: Option<u32>,
    /// Replicas of each shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<u32>,
    /// Replicas that have to take a write for it to succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_consistency_factor: Option<u32>,
}

/// The form of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VectorParams {
    /// Dimensions.
    pub size: u64,
    /// What "near" means.
    pub distance: Distance,
}

/// What "near" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Distance {
    /// Angle.
    Cosine,
    /// Straight line.
    Euclid,
    /// Dot product.
    Dot,
    /// Sum of differences.
    Manhattan,
}

impl CollectionCluster {
    /// Whether the number of its shards is being changed.
    pub fn is_resharding(&self) -> bool {
        self.reshardings.iter().flatten().next().is_some()
            || self
                .transfers
                .iter()
                .any(|transfer| transfer.to_shard_id.is_some())
            || self.replicas().any(|replica| {
                matches!(
                    replica.state,
                    ReplicaState::Resharding | ReplicaState::ReshardingScaleDown
                )
            })
    }

    /// The key of each shard that has a replica, with custom sharding.
    #[must_use]
    pub fn shard_keys(&self) -> BTreeMap<u32, ShardKey> {
        let local = self
            .local_shards
            .iter()
            .map(|shard| (shard.shard_id, &shard.shard_key));
        let remote = self
            .remote_shards
            .iter()
            .map(|shard| (shard.shard_id, &shard.shard_key));
        let keyed = local
            .chain(remote)
            .filter_map(|(id, key)| Some((id, key.clone()?)));
        keyed.collect()
    }

    /// All replicas of all shards, those of the answering node first.
    pub fn replicas(&self) -> impl Iterator<Item = Replica<'_>> {
        let local = self.local_shards.iter().map(|shard| Replica {
            shard_id: shard.shard_id,
            peer_id: self.peer_id,
            state: &shard.state,
        });
        let remote = self.remote_shards.iter().map(|shard| Replica {
            shard_id: shard.shard_id,
            peer_id: shard.peer_id,
            state: &shard.state,
        });
        local.chain(remote)
    }
}

impl ReplicaState {
    /// True of `Active` alone: complete, and nothing special going on.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active)
    }

    /// True when Qdrant serves reads from it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(
            self,
            Self::Active | Self::ReshardingScaleDown | Self::ActiveRead
        )
    }
}

impl Client {
    /// The names of all collections, in no particular order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn collections(&self) -> Result<Vec<String>, Error> {
        let listing: Listing = self
            .ask(Request::new(Method::GET, &["collections"]))
            .await?;
        Ok(listing
            .collections
            .into_iter()
            .map(|named| named.name)
            .collect())
    }

    /// Where the shards of `collection` are.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn collection_cluster(&self, collection: &str) -> Result<CollectionCluster, Error> {
        self.ask(Request::new(
            Method::GET,
            &["collections", collection, "cluster"],
        ))
        .await
    }

    /// What `collection` is.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn collection_info(&self, collection: &str) -> Result<CollectionInfo, Error> {
        self.ask(Request::new(Method::GET, &["collections", collection]))
            .await
    }

    /// What the collections were created with, as the node itself knows it: unlike
    /// [`Client::collection_info`] it asks no holder of any shard, so dead ones cost nothing
    /// (lib/collection/src/collection/telemetry.rs: shards are looked at from level 3 on). A collection
    /// whose parameters cannot be read is left out.
    ///
    /// # Errors
    /// [`Error`]. It waits while another question of the same kind, such as for metrics, is answered.
    pub async fn collection_params(&self) -> Result<BTreeMap<String, CollectionParams>, Error> {
        let request = Request::new(Method::GET, &["telemetry"]).query("details_level", 2);
        let telemetry: Telemetry = self.ask(request).await?;
        let params = |described: Described| match RawConfig::deserialize(described.config?) {
            Ok(config) => Some((described.id, config.params)),
            Err(_) => None,
        };
        let collections = telemetry.collections.collections;
        Ok(collections.into_iter().filter_map(params).collect())
    }

    /// Creates `collection`. Qdrant waits up to 10 s for every replica to become active and then
    /// reports success all the same (lib/storage/src/dispatcher.rs:161-247).
    ///
    /// # Errors
    /// [`Error`]; 409 when it exists already; 500 without a quorum, after 10 s.
    pub async fn create_collection(
        &self,
        collection: &str,
        with: &CreateCollection,
    ) -> Result<(), Error> {
        self.ask_done(Request::new(Method::PUT, &["collections", collection]).json(with))
            .await
    }

    /// Deletes `collection` with all its data. Returns whether it existed.
    ///
    /// # Errors
    /// [`Error`]; 500 without a quorum, after 10 s.
    pub async fn delete_collection(&self, collection: &str) -> Result<bool, Error> {
        self.ask(Request::new(Method::DELETE, &["collections", collection]))
            .await
    }
}

#[derive(Deserialize)]
pub(crate) struct Listing {
    collections: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Telemetry {
    collections: Descriptions,
}

#[derive(Deserialize)]
struct Descriptions {
    collections: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    #[serde(default)]
    config: Option<Value>,
}

#[derive(Deserialize)]
struct RawInfo {
    status: CollectionStatus,
    #[serde(default)]
    points_count: Option<u64>,
    config: RawConfig,
}

#[derive(Deserialize)]
struct RawConfig {
    params: CollectionParams,
}

impl From<RawInfo> for CollectionInfo {
    fn from(raw: RawInfo) -> Self {
        Self {
            status: raw.status,
            points_count: raw.points_count,
            params: raw.config.params,
        }
    }
}

impl From<Value> for CollectionStatus {
    fn from(value: Value) -> Self {
        match value.as_str() {
            Some("green") => Self::Green,
            Some("yellow") => Self::Yellow,
            Some("grey") => Self::Grey,
            Some("red") => Self::Red,
            _ => Self::Unknown(lenient::unknown(&value)),
        }
    }
}

impl From<Value> for ReplicaState {
    fn from(value: Value) -> Self {
        match value.as_str() {
            Some("Active") => Self::Active,
            Some("Dead") => Self::Dead,
            Some("Partial") => Self::Partial,
            Some("Initializing") => Self::Initializing,
            Some("Listener") => Self::Listener,
            Some("PartialSnapshot") => Self::PartialSnapshot,
            Some("Recovery") => Self::Recovery,
            Some("Resharding") => Self::Resharding,
            Some("ReshardingScaleDown") => Self::ReshardingScaleDown,
            Some("ActiveRead") => Self::ActiveRead,
            Some("ManualRecovery") => Self::ManualRecovery,
            _ => Self::Unknown(lenient::unknown(&value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_good_state_is_active_or_readable() {
        let state = |text: &str| serde_json::from_str::<ReplicaState>(text).unwrap();
        assert!(state(r#""Active""#).is_active());
        assert!(state(r#""ActiveRead""#).is_readable() && !state(r#""ActiveRead""#).is_active());
        for other in [
            r#""Dead""#,
            r#""Partial""#,
            r#""active""#,
            r#""Sparkling""#,
            "7",
            "null",
        ] {
            assert!(
                !state(other).is_active() && !state(other).is_readable(),
                "{other}"
            );
        }
        assert_eq!(
            state(r#""Sparkling""#),
            ReplicaState::Unknown("Sparkling".into())
        );
    }

    #[test]
    fn a_missing_list_of_replicas_is_not_an_empty_one() {
        let whole = r#"{"peer_id":1,"local_shards":[],"remote_shards":[],"shard_transfers":[]}"#;
        assert!(serde_json::from_str::<CollectionCluster>(whole).is_ok());
        for list in ["local_shards", "remote_shards", "shard_transfers"] {
            let without = whole.replace(list, "something_else");
            assert!(
                serde_json::from_str::<CollectionCluster>(&without).is_err(),
                "{list}"
            );
        }
    }
}
