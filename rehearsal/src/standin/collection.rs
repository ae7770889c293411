//! How operations change the replicas and transfers of one collection, and what they refuse.

use serde_json::Value;

use super::error::ApiError;
use super::model::{Collection, Effect, ReplicaState, Transfer, no_transfer};

impl Collection {
    /// A transfer by its key.
    pub fn transfer(&self, shard_id: u32, from: u64, to: u64) -> Option<&Transfer> {
        self.transfers
            .iter()
            .find(|t| (t.shard_id, t.from, t.to) == (shard_id, from, to))
    }

    /// Take over the given parameters; the others stay.
    pub(super) fn set_params(&mut self, new: &Value) {
        if let (Some(params), Some(new)) = (self.params.as_object_mut(), new.as_object()) {
            params.extend(new.clone());
        }
    }

    /// How many replicas of a shard a write must reach when some of them fail.
    pub fn write_consistency(&self, shard_id: u32) -> usize {
        let factor = self.params.get("write_consistency_factor");
        let factor = factor.and_then(Value::as_u64).unwrap_or(1) as usize;
        factor.min(
            self.shards
                .get(&shard_id)
                .map_or(0, |replicas| replicas.len()),
        )
    }

    /// State of one replica.
    pub fn replica(&self, shard_id: u32, peer: u64) -> Option<ReplicaState> {
        self.shards.get(&shard_id)?.get(&peer).copied()
    }

    fn last_active(&self, shard_id: u32, peer: u64) -> bool {
        let Some(replicas) = self.shards.get(&shard_id) else {
            return false;
        };
        let active = |id: u64| replicas.get(&id) == Some(&ReplicaState::Active);
        active(peer) && !replicas.keys().any(|id| *id != peer && active(*id))
    }

    /// A replica that is not listed is added (upstream collection/mod.rs:426-463).
    pub(super) fn set_replica(
        &mut self,
        name: &str,
        shard_id: u32,
        (peer, me): (u64, u64),
        state: ReplicaState,
        from: Option<ReplicaState>,
    ) -> Result<Vec<Effect>, ApiError> {
        let present = self.replica(shard_id, peer);
        if from.is_some() && from != present {
            let why = format!("Replica {peer} of shard {shard_id} has state {present:?}");
            return Err(ApiError::bad_input(why));
        }
        if !self.shards.contains_key(&shard_id) {
            return Err(ApiError::not_found(format!("Shard {shard_id} not found")));
        }
        if state != ReplicaState::Active && self.last_active(shard_id, peer) {
            let why = format!("Cannot deactivate the last active replica {peer} of {shard_id}");
            return Err(ApiError::bad_input(why));
        }
        let mut effects = Vec::new();
        if state == ReplicaState::Dead {
            effects = self.abort_related(name, shard_id, peer, me);
        }
        self.put(shard_id, peer, state);
        if present.is_none() && peer == me {
            effects.push(Effect::OpenShards);
        }
        Ok(effects)
    }

    fn abort_related(&mut self, name: &str, shard_id: u32, peer: u64, me: u64) -> Vec<Effect> {
        let related = |t: &&Transfer| t.shard_id == shard_id && (t.from == peer || t.to == peer);
        let related: Vec<Transfer> = self.transfers.iter().filter(related).cloned().collect();
        let aborts = related.iter().flat_map(|t| self.abort(name, t, me));
        aborts.collect()
    }

    fn put(&mut self, shard_id: u32, peer: u64, state: ReplicaState) {
        if let Some(replicas) = self.shards.get_mut(&shard_id) {
            replicas.insert(peer, state);
        }
    }

    pub(super) fn drop_replica(
        &mut self,
        name: &str,
        shard_id: u32,
        peer: u64,
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        let Some(replicas) = self.shards.get(&shard_id) else {
            return Err(ApiError::bad_request(format!(
                "Shard {shard_id} of {name} not found"
            )));
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
        let mut effects = self.abort_related(name, shard_id, peer, me);
        effects.extend(self.forget(name, shard_id, peer, me));
        Ok(effects)
    }

    fn forget(&mut self, name: &str, shard_id: u32, peer: u64, me: u64) -> Option<Effect> {
        self.shards.get_mut(&shard_id)?.remove(&peer)?;
        (peer == me).then(|| Effect::DropShard {
            collection: name.into(),
            shard_id,
        })
    }

    pub(super) fn start(
        &mut self,
        name: &str,
        new: &Transfer,
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        let Transfer {
            shard_id, from, to, ..
        } = *new;
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
        let state = if streamed {
            ReplicaState::Partial
        } else {
            ReplicaState::Recovery
        };
        self.put(shard_id, to, state);
        self.transfers.push(new.clone());
        let collection = name.to_owned();
        let mut effects = Vec::new();
        if to == me {
            effects.push(Effect::ClearShard {
                collection: collection.clone(),
                shard_id,
            });
        }
        if from == me {
            effects.push(Effect::DriveTransfer {
                collection,
                transfer: new.clone(),
            });
        }
        Ok(effects)
    }

    pub(super) fn finish(
        &mut self,
        name: &str,
        done: &Transfer,
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        let Transfer {
            shard_id,
            from,
            to,
            sync,
            ..
        } = *done;
        if self.transfer(shard_id, from, to).is_none() {
            return Err(no_transfer(name, shard_id, from, to));
        }
        self.transfers
            .retain(|t| (t.shard_id, t.from, t.to) != (shard_id, from, to));
        self.put(shard_id, to, ReplicaState::Active);
        if sync {
            return Ok(Vec::new());
        }
        Ok(self.forget(name, shard_id, from, me).into_iter().collect())
    }

    pub(super) fn abort(&mut self, name: &str, transfer: &Transfer, me: u64) -> Vec<Effect> {
        let Transfer {
            shard_id,
            from,
            to,
            sync,
            ..
        } = *transfer;
        self.transfers
            .retain(|t| (t.shard_id, t.from, t.to) != (shard_id, from, to));
        if sync {
            if self.replica(shard_id, to).is_some() {
                self.put(shard_id, to, ReplicaState::Dead);
            }
            return Vec::new();
        }
        self.forget(name, shard_id, to, me).into_iter().collect()
    }
}
