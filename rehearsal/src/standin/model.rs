//! The replicated state (address book, metadata, collections) and how committed operations change
//! it. Deterministic: no I/O, no clock, no randomness. What must happen on this peer because of an
//! operation is returned as effects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::standin::error::ApiError;

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
    CreateCollection { name: String, params: Value, shards: BTreeMap<u32, Vec<u64>> },
    /// Delete a collection.
    DeleteCollection { name: String },
    /// Set the state of a replica; with `from` only if it has that state.
    SetReplica {
        collection: String,
        shard_id: u32,
        peer: u64,
        state: ReplicaState,
        from: Option<ReplicaState>,
    },
    /// Remove one replica.
    DropReplica { collection: String, shard_id: u32, peer: u64 },
    /// Start a transfer.
    StartTransfer { collection: String, transfer: Transfer },
    /// A transfer is complete.
    FinishTransfer { collection: String, transfer: Transfer },
    /// A transfer is given up.
    AbortTransfer { collection: String, shard_id: u32, from: u64, to: u64 },
    /// The whole state of a peer that was re-initialised: first entry of its new log.
    Restore(Box<Model>),
}

/// What a peer has to do itself after an operation was applied.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The fields repeat the names of the operations.
pub enum Effect {
    /// Our replica begins empty.
    ClearShard { collection: String, shard_id: u32 },
    /// Our replica is gone.
    DropShard { collection: String, shard_id: u32 },
    /// We are the source of a transfer.
    DriveTransfer { collection: String, transfer: Transfer },
    /// Open the files of all replicas we hold.
    OpenShards,
}

/// One collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// `config.params` as shown by the API.
    pub params: Value,
    /// Replicas by shard and peer.
    pub shards: BTreeMap<u32, BTreeMap<u64, ReplicaState>>,
    /// Transfers under way.
    pub transfers: Vec<Transfer>,
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
}

impl Model {
    /// A collection, or the error of the API.
    pub fn collection(&self, name: &str) -> Result<&Collection, ApiError> {
        self.collections.get(name).ok_or_else(|| no_collection(name))
    }

    fn collection_mut(&mut self, name: &str) -> Result<&mut Collection, ApiError> {
        self.collections.get_mut(name).ok_or_else(|| no_collection(name))
    }

    /// Whether a peer is listed with any replica.
    pub fn peer_has_shards(&self, peer: u64) -> bool {
        self.collections.values().any(|c| c.shards.values().any(|r| r.contains_key(&peer)))
    }

    /// Forget a peer: its replicas, its transfers, its address. If it is `me`, everybody else's
    /// address goes too.
    pub fn remove_peer(&mut self, peer: u64, me: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (name, collection) in &mut self.collections {
            let related =
                collection.transfers.iter().filter(|t| t.from == peer || t.to == peer).cloned();
            for transfer in related.collect::<Vec<_>>() {
                effects.extend(collection.abort(name, &transfer, me));
            }
            for (shard_id, replicas) in &mut collection.shards {
                if replicas.remove(&peer).is_some() && peer == me {
                    let (collection, shard_id) = (name.clone(), *shard_id);
                    effects.push(Effect::DropShard { collection, shard_id });
                }
            }
        }
        if peer == me {
            self.peers.clear();
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
            Op::CreateCollection { name, params, shards } => {
                if self.collections.contains_key(name) {
                    let why = format!("Collection `{name}` already exists!");
                    return Err(ApiError::conflict(why));
                }
                let initial = |peers: &Vec<u64>| {
                    peers.iter().map(|id| (*id, ReplicaState::Initializing)).collect()
                };
                let shards: BTreeMap<u32, BTreeMap<u64, ReplicaState>> =
                    shards.iter().map(|(id, peers)| (*id, initial(peers))).collect();
                let own = shards.iter().filter(|(_, r)| r.contains_key(&me));
                let clear = |(id, _): (&u32, _)| Effect::ClearShard {
                    collection: name.clone(),
                    shard_id: *id,
                };
                let effects = own.map(clear).collect();
                let transfers = Vec::new();
                let collection = Collection { params: params.clone(), shards, transfers };
                self.collections.insert(name.clone(), collection);
                Ok(effects)
            }
            Op::DeleteCollection { name } => {
                let gone = self.collections.remove(name).ok_or_else(|| no_collection(name))?;
                let own = gone.shards.iter().filter(|(_, r)| r.contains_key(&me));
                let drop = |(id, _): (&u32, _)| Effect::DropShard {
                    collection: name.clone(),
                    shard_id: *id,
                };
                Ok(own.map(drop).collect())
            }
            Op::SetReplica { collection, shard_id, peer, state, from } => {
                self.collection_mut(collection)?.set_replica(*shard_id, *peer, *state, *from)?;
                Ok(Vec::new())
            }
            Op::DropReplica { collection, shard_id, peer } => {
                self.collection_mut(collection)?.drop_replica(collection, *shard_id, *peer, me)
            }
            Op::StartTransfer { collection, transfer } => {
                self.collection_mut(collection)?.start(collection, transfer, me)
            }
            Op::FinishTransfer { collection, transfer } => {
                self.collection_mut(collection)?.finish(collection, transfer, me)
            }
            Op::AbortTransfer { collection, shard_id, from, to } => {
                let name = collection;
                let collection = self.collection_mut(name)?;
                let transfer = collection.transfer(*shard_id, *from, *to).cloned();
                let transfer = transfer.ok_or_else(|| no_transfer(name, *shard_id, *from, *to))?;
                Ok(collection.abort(name, &transfer, me))
            }
            Op::Restore(model) => {
                *self = (**model).clone();
                Ok(vec![Effect::OpenShards])
            }
        }
    }
}

impl Collection {
    /// A transfer by its key.
    pub fn transfer(&self, shard_id: u32, from: u64, to: u64) -> Option<&Transfer> {
        self.transfers.iter().find(|t| (t.shard_id, t.from, t.to) == (shard_id, from, to))
    }

    /// State of one replica.
    pub fn replica(&self, shard_id: u32, peer: u64) -> Option<ReplicaState> {
        self.shards.get(&shard_id)?.get(&peer).copied()
    }

    fn last_active(&self, shard_id: u32, peer: u64) -> bool {
        let Some(replicas) = self.shards.get(&shard_id) else { return false };
        let active = |id: u64| replicas.get(&id) == Some(&ReplicaState::Active);
        active(peer) && !replicas.keys().any(|id| *id != peer && active(*id))
    }

    fn set_replica(
        &mut self,
        shard_id: u32,
        peer: u64,
        state: ReplicaState,
        from: Option<ReplicaState>,
    ) -> Result<(), ApiError> {
        let present = self.replica(shard_id, peer);
        if from.is_some() && from != present {
            let why = format!("Replica {peer} of shard {shard_id} has state {present:?}");
            return Err(ApiError::bad_input(why));
        }
        if present.is_none() {
            let why = format!("Replica {peer} of shard {shard_id} does not exist");
            return Err(ApiError::bad_request(why));
        }
        if state != ReplicaState::Active && self.last_active(shard_id, peer) {
            let why = format!("Cannot deactivate the last active replica {peer} of {shard_id}");
            return Err(ApiError::bad_input(why));
        }
        self.put(shard_id, peer, state);
        Ok(())
    }

    fn put(&mut self, shard_id: u32, peer: u64, state: ReplicaState) {
        if let Some(replicas) = self.shards.get_mut(&shard_id) {
            replicas.insert(peer, state);
        }
    }

    fn drop_replica(
        &mut self,
        name: &str,
        shard_id: u32,
        peer: u64,
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        let Some(replicas) = self.shards.get(&shard_id) else {
            return Err(ApiError::bad_request(format!("Shard {shard_id} of {name} not found")));
        };
        if !replicas.contains_key(&peer) {
            let why = format!("Peer {peer} has no replica of shard {shard_id}");
            return Err(ApiError::bad_request(why));
        }
        if replicas.len() == 1 || self.last_active(shard_id, peer) {
            return Err(ApiError::bad_request(format!(
                "Shard {shard_id} must have at least one active replica after removing {peer}"
            )));
        }
        let related = |t: &&Transfer| t.shard_id == shard_id && (t.from == peer || t.to == peer);
        let mut effects = Vec::new();
        for transfer in self.transfers.iter().filter(related).cloned().collect::<Vec<_>>() {
            effects.extend(self.abort(name, &transfer, me));
        }
        effects.extend(self.forget(name, shard_id, peer, me));
        Ok(effects)
    }

    fn forget(&mut self, name: &str, shard_id: u32, peer: u64, me: u64) -> Option<Effect> {
        self.shards.get_mut(&shard_id)?.remove(&peer)?;
        (peer == me).then(|| Effect::DropShard { collection: name.into(), shard_id })
    }

    fn start(&mut self, name: &str, new: &Transfer, me: u64) -> Result<Vec<Effect>, ApiError> {
        let Transfer { shard_id, from, to, .. } = *new;
        if self.replica(shard_id, from) != Some(ReplicaState::Active) {
            let why = format!("Shard {shard_id} is not active on peer {from}");
            return Err(ApiError::bad_request(why));
        }
        let ends = [from, to];
        let busy = |t: &&Transfer| {
            t.shard_id == shard_id && (ends.contains(&t.from) || ends.contains(&t.to))
        };
        if let Some(other) = self.transfers.iter().find(busy) {
            let (a, b) = (other.from, other.to);
            let why = format!("Shard {shard_id} is already involved in transfer {a} -> {b}");
            return Err(ApiError::bad_request(why));
        }
        let streamed = new.method == "stream_records";
        let state = if streamed { ReplicaState::Partial } else { ReplicaState::Recovery };
        self.put(shard_id, to, state);
        self.transfers.push(new.clone());
        let collection = name.to_owned();
        let mut effects = Vec::new();
        if to == me {
            effects.push(Effect::ClearShard { collection: collection.clone(), shard_id });
        }
        if from == me {
            effects.push(Effect::DriveTransfer { collection, transfer: new.clone() });
        }
        Ok(effects)
    }

    fn finish(&mut self, name: &str, done: &Transfer, me: u64) -> Result<Vec<Effect>, ApiError> {
        let Transfer { shard_id, from, to, sync, .. } = *done;
        if self.transfer(shard_id, from, to).is_none() {
            return Err(no_transfer(name, shard_id, from, to));
        }
        self.transfers.retain(|t| (t.shard_id, t.from, t.to) != (shard_id, from, to));
        self.put(shard_id, to, ReplicaState::Active);
        if sync {
            return Ok(Vec::new());
        }
        Ok(self.forget(name, shard_id, from, me).into_iter().collect())
    }

    fn abort(&mut self, name: &str, transfer: &Transfer, me: u64) -> Vec<Effect> {
        let Transfer { shard_id, from, to, sync, .. } = *transfer;
        self.transfers.retain(|t| (t.shard_id, t.from, t.to) != (shard_id, from, to));
        if sync {
            if self.replica(shard_id, to).is_some() {
                self.put(shard_id, to, ReplicaState::Dead);
            }
            return Vec::new();
        }
        self.forget(name, shard_id, to, me).into_iter().collect()
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
