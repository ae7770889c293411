//! Shards of this peer: what committed operations make it do, and what it does by itself.

pub mod read;
pub mod remote;
pub mod snapshot;
pub mod store;
mod transfer;
pub mod write;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client;
use super::error::ApiError;
use super::log;
use super::model::{Effect, Model, Op, ReplicaState, Transfer};
use super::node::Node;
use super::raft::message::Payload;
use remote::{CommitReply, ReadReply, ReadRequest, UpsertRequest};
use store::Shards;

pub use transfer::sync_peers;

/// How long a holder may take to say that it is there, before it is asked for a copy.
const THERE: Duration = Duration::from_secs(1);
/// Pause before we ask consensus for the same thing about our own replica again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Open every replica that the replicated state gives us, and make the directory of every collection.
pub fn open_own(shards: &Shards, model: &Model, me: u64) -> io::Result<()> {
    for (name, collection) in &model.collections {
        shards.make_folder(name)?;
        for (shard_id, replicas) in &collection.shards {
            if replicas.contains_key(&me) {
                shards.open(name, *shard_id)?;
            }
        }
    }
    Ok(())
}

/// Do what a committed operation asks of this peer.
pub fn run(node: &Arc<Node>, effect: Effect) {
    let done = match effect {
        Effect::MakeFolder { collection } => node.shards.make_folder(&collection),
        Effect::RemoveFolder { collection } => node.shards.remove_folder(&collection),
        Effect::ClearShard {
            collection,
            shard_id,
        } => node.shards.clear(&collection, shard_id),
        Effect::DropShard {
            collection,
            shard_id,
        } => node.shards.remove(&collection, shard_id),
        Effect::OpenShards => {
            let model = node.read(|inner| inner.model.clone());
            open_own(&node.shards, &model, node.id)
        }
        Effect::ReportDead {
            collection,
            shard_id,
        } => {
            let key = (collection, shard_id, node.id);
            // Reported when we are idle, as every replica that missed something.
            node.change(|inner| inner.disabled.insert(key, Instant::now()));
            Ok(())
        }
        Effect::DriveTransfer {
            collection,
            transfer,
        } => {
            tokio::spawn(transfer::drive(Arc::clone(node), collection, transfer));
            Ok(())
        }
    };
    if let Err(why) = done {
        log("ERROR", &format!("shard files: {why}"));
    }
}

/// After a start: our transfers of the last run are over (upstream main.rs:631-644).
pub fn abort_own_transfers(node: &Arc<Node>) {
    let me = node.id;
    let aborts = node.read(|inner| {
        let own = |t: &&Transfer| t.from == me || t.to == me;
        let of = |(name, t): (&String, &Transfer)| Op::AbortTransfer {
            collection: name.clone(),
            shard_id: t.shard_id,
            from: t.from,
            to: t.to,
        };
        let all = inner.model.collections.iter();
        all.flat_map(|(name, c)| c.transfers.iter().filter(own).map(move |t| of((name, t))))
            .collect::<Vec<_>>()
    });
    for op in aborts {
        let node = Arc::clone(node);
        tokio::spawn(async move {
            if let Err(why) = node.propose_and_wait(Payload::Op(op), None).await {
                log("ERROR", &format!("Can't cancel related transfers: {why}"));
            }
        });
    }
}

/// What a peer does about its own replicas whenever it is idle: report new ones as Active, ask
/// for a copy for Dead ones; and repeat what it reported about replicas that missed a write.
pub fn sync_own_replicas(node: &Arc<Node>) {
    let me = node.id;
    let (ops, dead) = node.read(|inner| {
        let (mut ops, mut dead) = (Vec::new(), Vec::new());
        for (name, collection) in &inner.model.collections {
            let mut incoming = collection.transfers.iter().any(|t| t.to == me);
            for (shard_id, replicas) in &collection.shards {
                let key = (name.clone(), *shard_id);
                let asked = inner.asked.get(&key);
                if asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
                    continue;
                }
                match replicas.get(&me) {
                    Some(ReplicaState::Initializing) => ops.push((
                        key,
                        set_state(name, *shard_id, me, ReplicaState::Active, None),
                    )),
                    Some(ReplicaState::Dead) if !incoming => {
                        let active = |(id, state): (&u64, &ReplicaState)| {
                            let active = *id != me && *state == ReplicaState::Active;
                            active.then(|| (*id, inner.model.peers.get(id).cloned()))
                        };
                        let holders: Vec<_> = replicas.iter().filter_map(active).collect();
                        if !holders.is_empty() {
                            incoming = true;
                            dead.push((key, holders));
                        }
                    }
                    _ => {}
                }
            }
        }
        for ((name, shard_id, peer), at) in &inner.disabled {
            if at.elapsed() >= ASK_AGAIN {
                let key = (name.clone(), *shard_id);
                let from = Some(ReplicaState::Active);
                ops.push((
                    key,
                    set_state(name, *shard_id, *peer, ReplicaState::Dead, from),
                ));
            }
        }
        (ops, dead)
    });
    for (key, holders) in dead {
        node.change(|inner| inner.asked.insert(key.clone(), Instant::now()));
        tokio::spawn(ask_for_copy(Arc::clone(node), key, holders));
    }
    if ops.is_empty() {
        return;
    }
    node.change(|inner| {
        for (key, op) in ops {
            if let Op::SetReplica {
                peer,
                state: ReplicaState::Dead,
                ..
            } = &op
            {
                inner
                    .disabled
                    .insert((key.0.clone(), key.1, *peer), Instant::now());
            } else {
                inner.asked.insert(key, Instant::now());
            }
            inner.raft.propose(Payload::Op(op));
        }
    });
}

/// Ask for a copy from the first holder that is there (upstream collection/mod.rs:856-908).
async fn ask_for_copy(
    node: Arc<Node>,
    (name, shard_id): (String, u32),
    holders: Vec<(u64, Option<String>)>,
) {
    for (from, uri) in holders {
        let uri = uri.unwrap_or_default();
        let there: Result<CommitReply, _> =
            client::post(&node, &uri, "commit", &None::<u64>, THERE).await;
        if there.is_ok() {
            let op = recovery(&name, shard_id, from, node.id);
            node.change(|inner| inner.raft.propose(Payload::Op(op)));
            return;
        }
    }
}

fn set_state(
    name: &str,
    shard_id: u32,
    peer: u64,
    state: ReplicaState,
    from: Option<ReplicaState>,
) -> Op {
    Op::SetReplica {
        collection: name.into(),
        shard_id,
        peer,
        state,
        from,
    }
}

fn recovery(name: &str, shard_id: u32, from: u64, to: u64) -> Op {
    let method = "wal_delta".to_owned();
    let transfer = Transfer {
        shard_id,
        from,
        to,
        sync: true,
        method,
    };
    Op::StartTransfer {
        collection: name.into(),
        transfer,
    }
}

/// Write to our own replica, and pass the write on when the shard is being copied from here.
pub async fn upsert_local(node: &Arc<Node>, what: &UpsertRequest) -> Result<(), ApiError> {
    let UpsertRequest {
        collection,
        shard_id,
        points,
        copy,
        after,
    } = what;
    let mut applied = node.applied.subscribe();
    let reached = applied.wait_for(|now| now >= after);
    if tokio::time::timeout(super::node::META_OP_WAIT, reached)
        .await
        .is_err()
    {
        return Err(ApiError::service(format!(
            "entry {after} is not applied here"
        )));
    }
    let state = node.read(|inner| {
        inner
            .model
            .collection(collection)
            .map(|c| c.replica(*shard_id, node.id))
    })?;
    let filling = matches!(state, Some(ReplicaState::Recovery | ReplicaState::Partial));
    let accepted = match copy {
        true => filling,
        false => state.is_some_and(ReplicaState::updatable) || filling,
    };
    if !accepted {
        return Err(ApiError::service(format!(
            "Replica of shard {shard_id} on peer {} is {state:?} and takes no update",
            node.id
        )));
    }
    node.shards.upsert(collection, *shard_id, points, *copy)?;
    if !copy {
        transfer::pass_on(node, what).await;
    }
    Ok(())
}

/// Read from our own replica.
pub fn read_local(node: &Node, what: &ReadRequest) -> Result<ReadReply, ApiError> {
    node.shards.read(what)
}
