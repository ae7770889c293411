//! May a permission be given or taken back? None of them changes a copy or a peer, so what is refused
//! here is refused for the sake of the pace and of the quorum.

use std::collections::BTreeSet;

use crate::heal::guard::Refusal;
use crate::heal::view::{ClusterView, Outsider, Peer};
use crate::ids::{PeerId, TaskId};
use crate::records::{Grant, GrantKind, Protection, State};

pub(super) fn grant(view: &ClusterView, grant: &Grant) -> Result<(), Refusal> {
    readable(view)?;
    if let Some(out) = &view.service.orders.grant {
        return Err(Refusal::GrantOut(out.clone()));
    }
    match grant.kind {
        GrantKind::Join => join(view, &grant.task),
        GrantKind::Serve => serve(view, &grant.task),
        GrantKind::SetAside => Err(Refusal::NotWaiting(grant.task.clone())),
    }
}

/// Taking back harms nobody: the task waits a little longer.
pub(super) fn withdraw(view: &ClusterView, grant: &Grant) -> Result<(), Refusal> {
    readable(view)?;
    match view.service.orders.grant.as_ref() == Some(grant) {
        true => Ok(()),
        false => Err(Refusal::NotGranted),
    }
}

pub(super) fn readable(view: &ClusterView) -> Result<(), Refusal> {
    match &view.service.orders_unread {
        Some(why) => Err(Refusal::OrdersUnread(why.clone())),
        None => Ok(()),
    }
}

/// A newcomer may join when those who hold data or serve would still be a majority were every other
/// peer to vanish, the newcomer among them. The second of all peers is let in by the first alone.
fn join(view: &ClusterView, task: &TaskId) -> Result<(), Refusal> {
    let leaves = view.service.orders.leaving.as_ref();
    let waits = view.service.outside.get(task).is_some_and(joins);
    if !waits || leaves.is_some_and(|leaving| leaving.task == *task) {
        return Err(Refusal::NotWaiting(task.clone()));
    }
    let (settled, listed) = settled(view);
    match listed <= 1 || 2 * settled > listed + 1 {
        true => Ok(()),
        false => Err(Refusal::Dataless { settled, listed }),
    }
}

/// Whether this task waits to be let in.
pub(crate) fn joins(task: &Outsider) -> bool {
    matches!(task.state, State::Empty | State::Joining) && !task.said.ending
}

/// How many peers hold data or serve, and how many are listed.
pub(crate) fn settled(view: &ClusterView) -> (usize, usize) {
    let shards = view.known().flat_map(|(_, there)| there.shards.values());
    let active = shards.flat_map(|shard| shard.copies.iter().filter(|(_, copy)| copy.is_active()));
    let holders: BTreeSet<PeerId> = active.map(|(peer, _)| *peer).collect();
    let peers = view.peers.iter();
    let settled = peers.filter(|(id, peer)| peer.is_settled(holders.contains(id)));
    (settled.count(), view.peers.len())
}

/// A task may be ready while no more tasks are ready than are wanted, so that one more is at most. That
/// one is what makes ECS stop another, and it must not be this one.
fn serve(view: &ClusterView, task: &TaskId) -> Result<(), Refusal> {
    let waits = |peer: &Peer| peer.stays() && !peer.said.ready;
    let found = view.peer_of(task).map(|(_, peer)| peer);
    let Some(peer) = found.filter(|peer| waits(peer)) else {
        return Err(Refusal::NotWaiting(task.clone()));
    };
    let ready = view.ready_tasks();
    match view.limit() {
        Some(wanted) if ready > wanted => Err(Refusal::EnoughReady { ready, wanted }),
        Some(wanted) if ready == wanted && stopped_first(view, peer) => {
            Err(Refusal::StoppedFirst(task.clone()))
        }
        _ => Ok(()),
    }
}

/// Whether ECS might stop this task, once it is healthy, rather than one that it can spare: all are of
/// the wanted revision, so it takes any that is not protected, and while as many as are wanted are
/// protected that is the newcomer. It would be started and stopped for ever.
fn stopped_first(view: &ClusterView, peer: &Peer) -> bool {
    let service = &view.service;
    let Some(wanted) = &service.wanted_revision else {
        return false;
    };
    let mut revisions = view.peers.values().map(|peer| &peer.said.revision);
    let old = revisions.any(|revision| revision.as_ref().is_some_and(|own| own != wanted));
    let protects = peer.said.protection.is_some();
    let safe = peer.said.protection == Some(Protection::Held)
        && service
            .orders
            .leaving
            .as_ref()
            .is_some_and(|there| there.released);
    protects && !old && !safe
}
