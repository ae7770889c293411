//! `--reinit`: what of a peer outlives its cluster. Alone it keeps the replicated state and is its
//! only voter; towards a bootstrap peer it keeps its id and its points and takes the state from
//! there (upstream consensus/persistent.rs:142-176, consensus.rs:288-330, migrations/single_to_cluster.rs).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::disk::{ConfState, Disk, HardState, Persistent};
use super::keys::ShardKey;
use super::log;
use super::model::{Collection, Effect, Model, Op, ReplicaState};
use super::node::Node;
use super::raft::message::{ConfChange, Entry, Payload};
use super::serve::Fatal;
use super::settings::Settings;

/// Bring the disk to where a start finds it re-initialised.
pub fn reinit(settings: &Settings, disk: &mut Disk, state: &mut Persistent) -> Result<(), Fatal> {
    let log = disk.load_log().map_err(Fatal::panic)?;
    let held = disk.load_held().map_err(Fatal::panic)?;
    let model = replay(&log, held, state);
    if settings.bootstrap.is_some() {
        join_anew(disk, &log, model, state)?;
    } else {
        alone(settings, disk, &log, model, state)?;
    }
    disk.save(state).map_err(Fatal::panic)
}

/// What had been applied when the process ended.
fn replay(log: &[Entry], held: BTreeMap<String, Collection>, state: &Persistent) -> Model {
    let id = state.this_peer_id;
    let mut model = Model {
        peers: state.peer_address_by_id.clone(),
        collections: held,
        ..Model::default()
    };
    for Entry { payload, .. } in log.iter().take(state.applied() as usize) {
        match payload {
            // An entry that was refused then is refused again.
            Payload::Op(op) => drop(model.apply(op, id)),
            Payload::Conf(ConfChange::Remove { id: gone }) => drop(model.remove_peer(*gone, id)),
            _ => {}
        }
    }
    model
}

/// The indices of the log go on; what was committed and not applied is cut off.
fn alone(
    settings: &Settings,
    disk: &mut Disk,
    log: &[Entry],
    mut model: Model,
    state: &mut Persistent,
) -> Result<(), Fatal> {
    let id = state.this_peer_id;
    let uri = settings.uri.as_ref();
    let uri = uri.ok_or_else(|| Fatal::panic("First peer should specify its uri."))?;
    model.peers = BTreeMap::from([(id, uri.to_string())]);
    state.peer_address_by_id.clone_from(&model.peers);
    state.first_voter = Some(id);
    state.state.conf_state = ConfState {
        voters: vec![id],
        ..ConfState::default()
    };
    let applied = state.applied();
    state.state.hard_state.vote = id;
    state.state.hard_state.commit = applied;
    state.apply_progress_queue = json!([applied + 1, applied]);
    // Qdrant compacts its log, so that whoever joins gets a snapshot; here the last entry that was
    // applied becomes one.
    let mut cut: Vec<Entry> = log.iter().take(applied as usize).cloned().collect();
    for entry in &mut cut {
        entry.payload = Payload::Empty;
    }
    if let Some(last) = cut.last_mut() {
        last.payload = Payload::Op(Op::Restore(Box::new(model)));
    }
    disk.save_log(&cut, 1, log.len().max(1) as u64)
        .map_err(Fatal::panic)
}

fn join_anew(
    disk: &mut Disk,
    log: &[Entry],
    model: Model,
    state: &mut Persistent,
) -> Result<(), Fatal> {
    disk.save_held(&model.collections).map_err(Fatal::panic)?;
    disk.save_log(&[], 1, log.len().max(1) as u64)
        .map_err(Fatal::panic)?;
    *state = Persistent {
        latest_snapshot_meta: json!({"term": 0, "index": 0}),
        this_peer_id: state.this_peer_id,
        ..Persistent::default()
    };
    state.state.hard_state = HardState::default();
    Ok(())
}

/// A peer without history proposes the collections that it holds, and calls its replicas Active
/// whatever they were before, even when they had missed writes.
pub async fn propose_held(node: Arc<Node>, held: BTreeMap<String, Collection>) {
    let me = node.id;
    for (name, collection) in held {
        let own = |(id, replicas): (&u32, &BTreeMap<u64, ReplicaState>)| {
            replicas.contains_key(&me).then_some(*id)
        };
        let own: Vec<u32> = collection.shards.iter().filter_map(own).collect();
        // The shards of a key are proposed with all the replicas they had, and get new ids.
        let mut keys: BTreeMap<&ShardKey, Vec<Vec<u64>>> = BTreeMap::new();
        for (shard_id, key) in &collection.keys {
            let replicas = collection.shards.get(shard_id).into_iter().flatten();
            let replicas = replicas.map(|(peer, _)| *peer).collect();
            keys.entry(key).or_default().push(replicas);
        }
        let keys = keys.into_iter().map(|(key, placement)| Op::CreateShardKey {
            collection: name.clone(),
            key: key.clone(),
            placement,
            state: None,
        });
        let listed = |id: &u32| !collection.keys.contains_key(id);
        let create = Op::CreateCollection {
            name: name.clone(),
            params: collection.params.clone(),
            settings: collection.settings.clone(),
            shards: own
                .iter()
                .filter(|id| listed(id))
                .map(|id| (*id, vec![me]))
                .collect(),
            uuid: collection.uuid,
        };
        let states = own.into_iter().map(|shard_id| Op::SetReplica {
            collection: name.clone(),
            shard_id,
            peer: me,
            state: ReplicaState::Active,
            from: None,
        });
        for op in [create].into_iter().chain(keys).chain(states) {
            // Refused where the cluster has the collection: Qdrant does not look at the answer.
            if let Err(why) = node.propose_and_wait(Payload::Op(op), None).await {
                log("WARN", &format!("Failed to propose what is here: {why}"));
            }
        }
    }
}

impl Model {
    /// Take over the whole state, as from a Raft snapshot: points that we hold stay where the same
    /// collection still lists our replica, all others go; a replica that we are said to hold and do
    /// not is reported (upstream toc/collection_container.rs:137-292, replica_set/mod.rs:836-933).
    pub(super) fn restore(&mut self, new: &Self, me: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let held = |c: &Collection, shard_id: u32| c.replica(shard_id, me).is_some();
        for (name, old) in &self.collections {
            let same = new.collections.get(name).filter(|c| c.uuid == old.uuid);
            for shard_id in old.shards.keys().filter(|id| held(old, **id)) {
                if !same.is_some_and(|c| held(c, *shard_id)) {
                    let (collection, shard_id) = (name.clone(), *shard_id);
                    effects.push(Effect::DropShard {
                        collection,
                        shard_id,
                    });
                }
            }
        }
        let gone = |name: &&String| !new.collections.contains_key(*name);
        for name in self.collections.keys().filter(gone) {
            let collection = name.clone();
            effects.push(Effect::RemoveFolder { collection });
        }
        for (name, collection) in &new.collections {
            let same = self.collections.get(name);
            let same = same.filter(|c| c.uuid == collection.uuid);
            for (shard_id, replicas) in &collection.shards {
                let empty = !same.is_some_and(|c| held(c, *shard_id));
                if empty && replicas.get(&me) == Some(&ReplicaState::Active) {
                    effects.push(Effect::ReportDead {
                        collection: name.clone(),
                        shard_id: *shard_id,
                    });
                }
            }
        }
        *self = new.clone();
        effects.push(Effect::OpenShards);
        effects
    }
}
