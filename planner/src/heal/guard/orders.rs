//! May a permission be given or taken back? None of them changes a copy or a peer, so what is refused
//! here is refused for the sake of the pace and of the quorum.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use crate::heal::guard::Refusal;
use crate::heal::guard::copies::lives_on;
use crate::heal::guard::peers::{holdings, undisturbed};
use crate::heal::life::Life;
use crate::heal::view::{ClusterView, Outsider, Peer};
use crate::ids::{PeerId, TaskId};
use crate::records::{Grant, GrantKind, State};

pub(super) fn grant(view: &ClusterView, grant: &Grant) -> Result<(), Refusal> {
    readable(view)?;
    if let Some(out) = &view.service.orders.grant {
        return Err(Refusal::GrantOut(out.clone()));
    }
    match grant.kind {
        GrantKind::Join => join(view, &grant.task),
        GrantKind::Serve => serve(view, &grant.task),
        GrantKind::SetAside => may_set_aside(view, &grant.task),
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

/// A task may set its data aside when its PID 1 answers, its Qdrant does not, it says that it cannot run
/// with what it has, and every copy that is listed there is Active on a peer that lives and stays as
/// well. Everything must have been read to know that, and whoever did it before must be out of Raft.
pub(crate) fn may_set_aside(view: &ClusterView, task: &TaskId) -> Result<(), Refusal> {
    let mut peers = view.peers.iter();
    let there = peers.find(|(_, peer)| asks_to_set_aside(peer) && peer.task.as_ref() == Some(task));
    let (peer, _) = there.ok_or_else(|| Refusal::NotWaiting(task.clone()))?;
    undisturbed(view, *peer)?;
    // One after the other: whoever did it last is out of Raft first.
    let away = |life: &Life| matches!(life, Life::Gone { .. } | Life::Unsure { .. });
    let mut others = view.peers.iter().filter(|(other, _)| *other != peer);
    if let Some((other, _)) = others.find(|(_, there)| away(&there.life)) {
        return Err(Refusal::StillListed(*other));
    }
    for shard in holdings(view, *peer) {
        let copies = view.shard(&shard).ok_or(Refusal::NotThere)?;
        if !lives_on(view, copies, Peer::stays) {
            return Err(Refusal::LastCopy(shard));
        }
    }
    Ok(())
}

/// Whether this peer's task waits for the permission to set its data aside.
pub(crate) fn asks_to_set_aside(peer: &Peer) -> bool {
    matches!(peer.life, Life::Hung { .. })
        && peer.said.plight.cannot_run.is_some()
        && !peer.said.ending
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
    if let Some((peer, copies)) = only_one_holds(view, task) {
        return Err(Refusal::Holds(peer, copies));
    }
    match view.limit() {
        Some(wanted) if ready > wanted => Err(Refusal::EnoughReady { ready, wanted }),
        Some(wanted) if ready == wanted && stopped_first(view, peer) => {
            Err(Refusal::StoppedFirst(task.clone()))
        }
        _ => Ok(()),
    }
}

/// The other task of a service that wants one, with how many copies it still has: as soon as the newcomer
/// is ready ECS stops it, and nobody else has them. Where neither is ready yet the one with the most goes
/// first, or both would wait for each other.
fn only_one_holds(view: &ClusterView, newcomer: &TaskId) -> Option<(PeerId, usize)> {
    if view.limit() != Some(1) {
        return None;
    }
    let us = view.peer_of(newcomer).map(|(id, _)| id)?;
    let ours = holdings(view, us).count();
    let mut others = view.peers.iter().filter(|(id, _)| **id != us);
    others.find_map(|(id, peer)| {
        let held = holdings(view, *id).count();
        let before_us = (held, Reverse(*id)) > (ours, Reverse(us));
        (held > 0 && (peer.said.ready || before_us)).then_some((*id, held))
    })
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
    // Where nobody is protected readiness alone paces ECS.
    let protects = view.peers.values().any(Peer::is_protected);
    let safe = peer.is_protected()
        && service
            .orders
            .leaving
            .as_ref()
            .is_some_and(|there| there.released);
    protects && !old && !safe
}
