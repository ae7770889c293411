//! The source's side of a transfer: copy, let everybody know, finish. Writes that arrive meanwhile
//! are passed on to the target before they are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::remote::{CommitReply, PointId, ReadRequest, Select, UpsertRequest};
use super::{set_state, store};
use crate::standin::client;
use crate::standin::error::ApiError;
use crate::standin::log;
use crate::standin::model::{Op, ReplicaState, Transfer};
use crate::standin::node::{META_OP_WAIT, Node};
use crate::standin::raft::message::Payload;

const TRIES: u64 = 3;
const BATCH: usize = 1000;
const CALL: Duration = Duration::from_secs(15);

/// Whether the transfer is still listed.
fn is_running(node: &Node, collection: &str, transfer: &Transfer) -> bool {
    let Transfer {
        shard_id, from, to, ..
    } = *transfer;
    node.read(|inner| {
        let collection = inner.model.collections.get(collection);
        collection.is_some_and(|c| c.transfer(shard_id, from, to).is_some())
    })
}

/// Carry out a transfer of which we are the source: three attempts, then give up
/// (upstream shards/transfer/driver.rs:23-24).
pub async fn drive(node: Arc<Node>, collection: String, transfer: Transfer) {
    for attempt in 1..=TRIES {
        if !is_running(&node, &collection, &transfer) {
            return;
        }
        match copy(&node, &collection, &transfer).await {
            Ok(()) => return,
            Err(why) => log("WARN", &format!("transfer attempt {attempt} failed: {why}")),
        }
        tokio::time::sleep(Duration::from_secs(attempt)).await;
    }
    let Transfer {
        shard_id, from, to, ..
    } = transfer;
    let op = Op::AbortTransfer {
        collection,
        shard_id,
        from,
        to,
    };
    if let Err(why) = node.propose_and_wait(Payload::Op(op), None).await {
        log("ERROR", &format!("could not abort a transfer: {why}"));
    }
}

async fn copy(node: &Arc<Node>, name: &str, transfer: &Transfer) -> Result<(), ApiError> {
    let Transfer { shard_id, to, .. } = *transfer;
    tokio::time::sleep(node.settings.transfer).await;
    let mut from: Option<PointId> = None;
    loop {
        let select = Select::Range(from.clone(), BATCH + 1);
        let what = ReadRequest {
            collection: name.to_owned(),
            shard_id,
            select,
        };
        let mut points = node.shards.read(&what)?.points;
        // One more than a batch is read: it is where the next one begins.
        let next = (points.len() > BATCH).then(|| points.pop()).flatten();
        from = next.as_ref().map(store::id_of).transpose()?;
        send(node, to, &upsert(node, name, shard_id, points, true)).await?;
        if from.is_none() {
            break;
        }
    }
    if transfer.method != "stream_records" {
        let partial = set_state(name, shard_id, to, ReplicaState::Partial, None);
        node.propose_and_wait(Payload::Op(partial), None).await?;
    }
    // From now on every peer writes to the target itself; one that cannot be asked costs the
    // whole wait (upstream shards/mod.rs:100-122).
    sync_peers(node, META_OP_WAIT).await;
    let done = Op::FinishTransfer {
        collection: name.to_owned(),
        transfer: transfer.clone(),
    };
    if is_running(node, name, transfer) {
        node.propose_and_wait(Payload::Op(done), None).await?;
    }
    Ok(())
}

/// Wait until every listed peer has applied what we have, or the time is up.
pub async fn sync_peers(node: &Arc<Node>, limit: Duration) {
    let until = Instant::now() + limit;
    let (at, peers) = node.read(|inner| (inner.raft.applied, inner.model.peers.clone()));
    let ask = |uri: String| async move {
        loop {
            let answer: Result<CommitReply, _> =
                client::post(node, &uri, "commit", &Some(at), limit).await;
            if answer.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let others = peers.into_iter().filter(|(id, _)| *id != node.id);
    let all = futures::future::join_all(others.map(|(_, uri)| ask(uri)));
    if timeout_at(until, all).await.is_err() {
        log(
            "WARN",
            "not all peers have reached our consensus state in time",
        );
    }
}

/// Pass a write on to every peer that is copying this shard from us.
pub async fn pass_on(node: &Arc<Node>, what: &UpsertRequest) {
    let targets: Vec<Transfer> = node.read(|inner| {
        let of = |t: &&Transfer| t.shard_id == what.shard_id && t.from == node.id;
        let collection = inner.model.collections.get(&what.collection);
        collection
            .map(|c| c.transfers.iter().filter(of).cloned().collect())
            .unwrap_or_default()
    });
    for Transfer {
        shard_id, from, to, ..
    } in targets
    {
        let request = upsert(node, &what.collection, shard_id, what.points.clone(), false);
        if let Err(why) = send(node, to, &request).await {
            log(
                "WARN",
                &format!("a write did not reach the target of a transfer: {why}"),
            );
            let collection = what.collection.clone();
            let op = Op::AbortTransfer {
                collection,
                shard_id,
                from,
                to,
            };
            if let Err(why) = node.propose_and_wait(Payload::Op(op), None).await {
                log("WARN", &format!("could not abort the transfer: {why}"));
            }
        }
    }
}

fn upsert(
    node: &Node,
    collection: &str,
    shard_id: u32,
    points: Vec<serde_json::Value>,
    copy: bool,
) -> UpsertRequest {
    let after = node.read(|inner| inner.raft.applied);
    UpsertRequest {
        collection: collection.to_owned(),
        shard_id,
        points,
        copy,
        after,
    }
}

async fn send(node: &Node, to: u64, request: &UpsertRequest) -> Result<(), ApiError> {
    let uri = node.read(|inner| inner.model.peers.get(&to).cloned());
    let uri = uri.ok_or_else(|| ApiError::bad_request(format!("Peer {to} does not exist")))?;
    client::post(node, &uri, "upsert", request, CALL)
        .await
        .map_err(ApiError::service)
}
