//! Custom sharding: the shards of a user's key, and what creating, deleting and naming a key refuses
//! (upstream collection/sharding_keys.rs, shards/shard_holder/mod.rs).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::model::{Collection, Effect, ReplicaState};

/// A key as the user gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShardKey {
    /// A word.
    Keyword(String),
    /// A number.
    Number(u64),
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyword(word) => write!(f, "\"{word}\""),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// `shard_key` of a request for points. Qdrant's third form, a key with another one to fall back
/// upon, is not modelled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Selector {
    /// One key.
    One(ShardKey),
    /// Each of these.
    Many(Vec<ShardKey>),
}

impl Selector {
    /// The keys that are named.
    pub fn keys(&self) -> &[ShardKey] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }
}

impl Collection {
    /// Whether its shards belong to keys.
    pub fn is_custom(&self) -> bool {
        let method = self.params.get("sharding_method");
        method.and_then(|method| method.as_str()) == Some("custom")
    }

    fn of_key(&self, key: &ShardKey) -> Vec<u32> {
        let of = |(id, its): (&u32, &ShardKey)| (its == key).then_some(*id);
        self.keys.iter().filter_map(of).collect()
    }

    /// The shards among which a write with this key is spread.
    pub fn ring(&self, key: Option<&ShardKey>) -> Result<Vec<u32>, ApiError> {
        let Some(key) = key else {
            return match self.is_custom() {
                false => Ok(self.shards.keys().copied().collect()),
                true => Err(ApiError::bad_input("Shard key not specified")),
            };
        };
        match self.of_key(key) {
            shards if shards.is_empty() => {
                Err(ApiError::bad_input(format!("Shard key {key} not found")))
            }
            shards => Ok(shards),
        }
    }

    /// The shards that a read asks. Without a key those of a custom collection that nobody can
    /// answer for are left out in silence.
    pub fn read_from(&self, keys: Option<&Selector>) -> Result<Vec<u32>, ApiError> {
        let Some(keys) = keys else {
            let is_active = |replica: (&u64, &ReplicaState)| *replica.1 == ReplicaState::Active;
            let shards = self.shards.iter();
            let readable = shards.filter(|(_, of)| !self.is_custom() || of.iter().any(is_active));
            return Ok(readable.map(|(id, _)| *id).collect());
        };
        let mut shards = Vec::new();
        for key in keys.keys() {
            match self.of_key(key) {
                none if none.is_empty() => {
                    return Err(ApiError::bad_request(format!("Shard key {key} not found")));
                }
                found => shards.extend(found),
            }
        }
        Ok(shards)
    }

    /// Whether every replica of the shards of this key is Active.
    pub fn key_is_active(&self, key: &ShardKey) -> bool {
        let shards = self.of_key(key);
        let replicas = shards.iter().filter_map(|id| self.shards.get(id)).flatten();
        let mut states = replicas.map(|(_, state)| *state);
        states.all(|state| state == ReplicaState::Active)
    }

    /// The ids go on after the highest that a key has now, so that those of a deleted one can come
    /// back with another key. The first one is 1.
    pub(super) fn create_key(
        &mut self,
        name: &str,
        (key, state): (&ShardKey, ReplicaState),
        placement: &[Vec<u64>],
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        let refused = |why: &str| Err(ApiError::bad_request(why));
        if !self.is_custom() {
            let why = format!("Shard Key {key} cannot be created with Auto sharding method");
            return refused(&why);
        }
        if !self.of_key(key).is_empty() {
            return refused(&format!("Shard key {key} already exists"));
        }
        if placement.is_empty() {
            return refused(&format!("Shard key {key} placement cannot be empty"));
        }
        let first = self.keys.keys().max().copied().unwrap_or(0) + 1;
        let mut effects = Vec::new();
        for (shard_id, peers) in (first..).zip(placement) {
            let replicas = peers.iter().map(|peer| (*peer, state)).collect();
            self.shards.insert(shard_id, replicas);
            self.keys.insert(shard_id, key.clone());
            if peers.contains(&me) {
                effects.push(Effect::ClearShard {
                    collection: name.into(),
                    shard_id,
                });
            }
        }
        Ok(effects)
    }

    /// A key that is not there is no error once the operation is committed. Transfers of its shards
    /// stay listed until their source gives up.
    pub(super) fn drop_key(
        &mut self,
        name: &str,
        key: &ShardKey,
        me: u64,
    ) -> Result<Vec<Effect>, ApiError> {
        if !self.is_custom() {
            let why = format!("shard key {key} cannot be removed with Auto sharding method");
            return Err(ApiError::bad_request(why));
        }
        let mut effects = Vec::new();
        for shard_id in self.of_key(key) {
            self.keys.remove(&shard_id);
            let replicas = self.shards.remove(&shard_id).unwrap_or_default();
            if replicas.contains_key(&me) {
                effects.push(Effect::DropShard {
                    collection: name.into(),
                    shard_id,
                });
            }
        }
        Ok(effects)
    }
}
