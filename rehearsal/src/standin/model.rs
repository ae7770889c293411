//! The replicated state (address book, metadata, collections) and how committed operations change
//! it. Deterministic: no I/O, no clock, no randomness. What must happen on this peer because of an
//! operation is returned as effects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::standin::aliases::AliasChange;
use crate::standin::error::ApiError;
use crate::standin::keys::ShardKey;

/// State of a replica, as Qdrant spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// Complete and readable.
    Active,
    /// Missed a write; not read, not written.
    Dead,
    /// Takes writes while it is being filled.
    Partial,
    /// Just created, not reported yet.
    Initializing,
    /// Is being replaced by a copy; takes no writes.
    Recovery,
}

impl ReplicaState {
    /// Whether writes are sent to it.
    pub fn updatable(self) -> bool {
        matches!(self, Self::Active | Self::Partial | Self::Initializing)
    }
}

/// A copy of a shard on its way from one peer to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Shard number.
    pub shard_id: u32,
    /// Source peer.
    pub from: u64,
    /// Target peer.
    pub to: u64,
    /// True for a copy, false for a move (the source goes at the end).
    pub sync: bool,
    /// How it is done.
    pub method: String,
}

/// A replicated operation that is no configuration change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The fields repeat the names of the REST API.
pub enum Op {
    /// Set (or with null: remove) a metadata key.
    SetMetadata { key: String, value: Value },
    /// Create a collection with a finished distribution.
    CreateCollection {
        name: String,
        params: Value,
        #[serde(default)]
        settings: Value,
        shards: BTreeMap<u32, Vec<u64>>,
        uuid: u64,
    },
    /// Change some of the parameters of a collection, and fields of its metadata.
    UpdateCollection {
        name: String,
        params: Value,
        #[serde(default)]
        metadata: Value,
    },
    /// Delete a collection.
    DeleteCollection { name: String },
    /// Change other names of collections, step by step.
    ChangeAliases { changes: Vec<AliasChange> },
    /// Make an index, or make it anew.
    CreateIndex {
        collection: String,
        field: String,
        schema: Value,
    },
    /// Delete an index.
    DropIndex { collection: String, field: String },
    /// Create the shards of a key at these peers; without a state they begin as replicas of a new
    /// collection do.
    CreateShardKey {
        collection: String,
        key: ShardKey,
        placement: Vec<Vec<u64>>,
        state: Option<ReplicaState>,
    },
    /// Delete a key with all of its shards.
    DropShardKey { collection: String, key: ShardKey },
    /// Set the state of a replica; with `from` only if it has that state.
    SetReplica {
        collection: String,
        shard_id: u32,
        peer: u64,
        state: ReplicaState,
        from: Option<ReplicaState>,
    },
    /// Remove one replica.
    DropReplica {
        collection: String,
        shard_id: u32,
        peer: u64,
    },
    /// Start a transfer.
    StartTransfer {
        collection: String,
        transfer: Transfer,
    },
    /// A transfer is complete.
    FinishTransfer {
        collection: String,
        transfer: Transfer,
    },
    /// A transfer is given up.
    AbortTransfer {
        collection: String,
        shard_id: u32,
        from: u64,
        to: u64,
    },
    /// The whole state of a peer that was re-initialised, where Qdrant sends a Raft snapshot.
    Restore(Box<Model>),
}

/// What a peer has to do itself after an operation was applied.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields repeat the names of the operations.
pub enum Effect {
    /// The collection exists: every peer has a directory for it, also one that holds no replica, and
    /// one that is removed keeps it (upstream toc/collection_meta_ops.rs, replica_set `remove_local`
    /// clears the points alone).
    MakeFolder { collection: String },
    /// The collection was deleted, and its directory with it.
    RemoveFolder { collection: String },
    /// Our replica begins empty.
    ClearShard { collection: String, shard_id: u32 },
    /// Our replica is gone.
    DropShard { collection: String, shard_id: u32 },
    /// We are the source of a transfer.
    DriveTransfer {
        collection: String,
        transfer: Transfer,
    },
    /// Open the files of all replicas we hold.
    OpenShards,
    /// Our replica cannot be what the state says that it is.
    ReportDead { collection: String, shard_id: u32 },
}

/// One collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// `config.params` as shown by the API.
    pub params: Value,
    /// The rest of `config`.
    #[serde(default)]
    pub settings: Value,
    /// Payload indexes by field.
    #[serde(default)]
    pub indexes: BTreeMap<String, Value>,
    /// Replicas by shard and peer.
    pub shards: BTreeMap<u32, BTreeMap<u64, ReplicaState>>,
    /// The key of each shard, with custom sharding.
    #[serde(default)]
    pub keys: BTreeMap<u32, ShardKey>,
    /// Transfers under way.
    pub transfers: Vec<Transfer>,
    /// Tells it from a former one of the same name.
    pub uuid: u64,
}

/// The replicated state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Address book; URIs end with a slash.
    pub peers: BTreeMap<u64, String>,
    /// Cluster metadata.
    pub metadata: BTreeMap<String, Value>,
    /// Collections by name.
    pub collections: BTreeMap<String, Collection>,
    /// Collections by their other names.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
}

impl Model {
    /// A collection, or the error of the API.
    pub fn collection(&self, name: &str) -> Result<&Collection, ApiError> {
        self.collections
            .get(name)
            .ok_or_else(|| no_collection(name))
    }

    fn collection_mut(&mut self, name: &str) -> Result<&mut Collection, ApiError> {
        self.collections
            .get_mut(name)
            .ok_or_else(|| no_collection(name))
    }

    /// What each peer has made known of itself: here as soon as it is listed.
    pub fn known_versions(&self) -> BTreeMap<u64, Value> {
        let known = self.peers.keys();
        known
            .map(|id| (*id, serde_json::json!({"version": super::VERSION})))
            .collect()
    }

    /// Whether a peer is listed with any replica.
    pub fn peer_has_shards(&self, peer: u64) -> bool {
        self.collections
            .values()
            .any(|c| c.shards.values().any(|r| r.contains_key(&peer)))
    }

    /// Forget a peer: its replicas, its transfers, its address. If it is `me`, everybody else's
    /// address goes too.
    pub fn remove_peer(&mut self, peer: u64, me: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (name, collection) in &mut self.collections {
            let related = collection
                .transfers
                .iter()
                .filter(|t| t.from == peer || t.to == peer)
                .cloned();
            for transfer in related.collect::<Vec<_>>() {
                effects.extend(collection.abort(name, &transfer, me));
            }
            for (shard_id, replicas) in &mut collection.shards {
                if replicas.remove(&peer).is_some() && peer == me {
                    let (collection, shard_id) = (name.clone(), *shard_id);
                    effects.push(Effect::DropShard {
                        collection,
                        shard_id,
                    });
                }
            }
        }
        if peer == me {
            self.peers.retain(|id, _| *id == me);
        } else {
            self.peers.remove(&peer);
        }
        effects
    }

    /// Apply a committed operation on peer `me`.
    pub fn apply(&mut self, op: &Op, me: u64) -> Result<Vec<Effect>, ApiError> {
        match op {
            Op::SetMetadata { key, value } => {
                if value.is_null() {
                    self.metadata.remove(key);
                } else {
                    self.metadata.insert(key.clone(), value.clone());
                }
                Ok(Vec::new())
            }
            Op::CreateCollection {
                name,
                params,
                settings,
                shards,
                uuid,
            } => {
                if self.collections.contains_key(name) {
                    let why = format!("Collection `{name}` already exists!");
                    return Err(ApiError::conflict(why));
                }
                if self.aliases.contains_key(name) {
                    return Err(ApiError::bad_input(format!(
                        "Can't create collection with name {name}. Alias with the same name \
                         already exists"
                    )));
                }
                let initial = |peers: &Vec<u64>| {
                    peers
                        .iter()
                        .map(|id| (*id, ReplicaState::Initializing))
                        .collect()
                };
                let shards: BTreeMap<u32, BTreeMap<u64, ReplicaState>> = shards
                    .iter()
                    .map(|(id, peers)| (*id, initial(peers)))
                    .collect();
                let own = shards.iter().filter(|(_, r)| r.contains_key(&me));
                let clear = |(id, _): (&u32, _)| Effect::ClearShard {
                    collection: name.clone(),
                    shard_id: *id,
                };
                let folder = Effect::MakeFolder {
                    collection: name.clone(),
                };
                let effects = [folder].into_iter().chain(own.map(clear)).collect();
                let transfers = Vec::new();
                let collection = Collection {
                    params: params.clone(),
                    settings: settings.clone(),
                    indexes: BTreeMap::new(),
                    shards,
                    keys: BTreeMap::new(),
                    transfers,
                    uuid: *uuid,
                };
                self.collections.insert(name.clone(), collection);
                Ok(effects)
            }
            Op::UpdateCollection {
                name,
                params,
                metadata,
            } => {
                let collection = self.collection_mut(name)?;
                collection.set_params(params);
                collection.merge_metadata(metadata);
                Ok(Vec::new())
            }
            Op::ChangeAliases { changes } => {
                self.change_aliases(changes)?;
                Ok(Vec::new())
            }
            Op::CreateIndex {
                collection,
                field,
                schema,
            } => {
                let indexes = &mut self.collection_mut(collection)?.indexes;
                indexes.insert(field.clone(), schema.clone());
                Ok(Vec::new())
            }
            Op::DropIndex { collection, field } => {
                self.collection_mut(collection)?.indexes.remove(field);
                Ok(Vec::new())
            }
            Op::DeleteCollection { name } => {
                self.aliases.retain(|_, collection| collection != name);
                let gone = self
                    .collections
                    .remove(name)
                    .ok_or_else(|| no_collection(name))?;
                let own = gone.shards.iter().filter(|(_, r)| r.contains_key(&me));
                let drop = |(id, _): (&u32, _)| Effect::DropShard {
                    collection: name.clone(),
                    shard_id: *id,
                };
                let folder = Effect::RemoveFolder {
                    collection: name.clone(),
                };
                Ok(own.map(drop).chain([folder]).collect())
            }
            Op::CreateShardKey {
                collection: name,
                key,
                placement,
                state,
            } => {
                let unknown = |id: &&u64| !self.peers.contains_key(*id);
                let unknown: Vec<u64> = placement
                    .iter()
                    .flatten()
                    .filter(unknown)
                    .copied()
                    .collect();
                let begin = (key, state.unwrap_or(ReplicaState::Initializing));
                let collection = self.collection_mut(name)?;
                if !unknown.is_empty() {
                    return Err(ApiError::bad_request(format!(
                        "Shard Key {key} placement contains unknown peers: {unknown:?}"
                    )));
                }
                collection.create_key(name, begin, placement, me)
            }
            Op::DropShardKey { collection, key } => self
                .collection_mut(collection)?
                .drop_key(collection, key, me),
            Op::SetReplica {
                collection,
                shard_id,
                peer,
                state,
                from,
            } => {
                let listed = self.peers.contains_key(peer);
                let name = collection;
                let collection = self.collection_mut(name)?;
                if collection.replica(*shard_id, *peer).is_none() && !listed {
                    return Err(ApiError::bad_input(format!(
                        "Can't set replica {peer}:{shard_id} state to {state:?}, because replica \
                         {peer}:{shard_id} does not exist and peer {peer} is not part of the cluster"
                    )));
                }
                collection.set_replica(name, *shard_id, (*peer, me), *state, *from)
            }
            Op::DropReplica {
                collection,
                shard_id,
                peer,
            } => self
                .collection_mut(collection)?
                .drop_replica(collection, *shard_id, *peer, me),
            Op::StartTransfer {
                collection,
                transfer,
            } => self
                .collection_mut(collection)?
                .start(collection, transfer, me),
            Op::FinishTransfer {
                collection,
                transfer,
            } => self
                .collection_mut(collection)?
                .finish(collection, transfer, me),
            Op::AbortTransfer {
                collection,
                shard_id,
                from,
                to,
            } => {
                let name = collection;
                let collection = self.collection_mut(name)?;
                let transfer = collection.transfer(*shard_id, *from, *to).cloned();
                let transfer = transfer.ok_or_else(|| no_transfer(name, *shard_id, *from, *to))?;
                Ok(collection.abort(name, &transfer, me))
            }
            Op::Restore(model) => Ok(self.restore(model, me)),
        }
    }
}

fn no_collection(name: &str) -> ApiError {
    ApiError::not_found(format!("Collection `{name}` doesn't exist!"))
}

/// The error for a transfer that is not there.
pub fn no_transfer(name: &str, shard_id: u32, from: u64, to: u64) -> ApiError {
    let what = format!("Shard transfer {from} -> {to} for collection {name}:{shard_id}");
    ApiError::not_found(format!("{what} does not exist"))
}
