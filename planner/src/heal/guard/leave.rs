//! May a task be emptied, so that ECS can end it? Only from a cluster at rest, only for a reason that
//! is known, and only onto tasks that are as safe as it is.

use crate::heal::action::Purpose;
use crate::heal::guard::Refusal;
use crate::heal::guard::copies::under_way;
use crate::heal::guard::orders::readable;
use crate::heal::guard::peers::{holdings, holds_nothing};
use crate::heal::health::{Health, kept_copies, wanted_copies};
use crate::heal::life::Life;
use crate::heal::names::ShardRef;
use crate::heal::placement::room;
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Peer, Shard};
use crate::ids::PeerId;
use crate::records::{Leaving, LeavingReason, Protection};

pub(super) fn evacuate(view: &ClusterView, leaving: &Leaving) -> Result<(), Refusal> {
    readable(view)?;
    if let Some(other) = &view.service.orders.leaving {
        return Err(Refusal::OtherLeaves(other.task.clone()));
    }
    let peer = leaving.peer;
    let there = view.peers.get(&peer).ok_or(Refusal::NoSuchPeer(peer))?;
    if !there.stays() || there.task.as_ref() != Some(&leaving.task) {
        return Err(Refusal::Target(peer));
    }
    reason(view, leaving, there)?;
    let all = view.peers.iter().filter(|(id, p)| **id != peer && p.voter);
    let alive = all.clone().filter(|(_, p)| p.life == Life::Alive).count();
    if alive == 0 || alive * 2 <= all.count() {
        return Err(Refusal::Voters);
    }
    if let Some((name, why)) = view.unknown() {
        return Err(Refusal::Unread(name.cloned(), why.to_owned()));
    }
    let seats = view.peers.values().filter(|p| p.stays()).count();
    for (name, collection) in view.known() {
        if collection.resharding {
            return Err(Refusal::Resharding(name.clone()));
        }
        if let Some(transfer) = collection.transfers.first() {
            return Err(under_way(name, transfer));
        }
        for (id, shard) in &collection.shards {
            let short = ShardRef {
                collection: name.clone(),
                shard: *id,
            };
            if view.losses.contains(&short) && !shard.copies.contains_key(&peer) {
                continue;
            }
            // Copies on peers that do not answer are made again by another step; a peer that hangs for
            // ever must not keep everybody else from going.
            let health = Health::of(view, shard);
            let staying = |peer: &&PeerId| view.peers.get(peer).is_some_and(Peer::stays);
            let living = health.living.iter().filter(staying).count();
            if living < wanted_copies(collection.factor, seats) {
                return Err(Refusal::NotWhole(short));
            }
            let kept = kept_copies(collection.factor, view).min(seats.saturating_sub(1));
            if shard.copies.contains_key(&peer) && living <= kept {
                target(view, peer, shard)?;
            }
        }
    }
    Ok(())
}

/// Somebody can take this copy: with room for it, and protected from ECS when the one that gives it is.
fn target(view: &ClusterView, from: PeerId, shard: &Shard) -> Result<(), Refusal> {
    let mut roomy = view
        .peers
        .iter()
        .filter(|(id, p)| {
            **id != from && p.stays() && !shard.copies.contains_key(id) && room(p.disk, shard)
        })
        .peekable();
    let safe = |to: PeerId| safe(view, from, to, shard);
    match (roomy.peek().is_some(), roomy.any(|(id, _)| safe(*id))) {
        (_, true) => Ok(()),
        (true, false) => Err(Refusal::Unprotected),
        (false, false) => Err(Refusal::NoRoom(from)),
    }
}

/// ECS may end the one that takes a copy no sooner than the one that gives it. Or, since ECS protects
/// no more tasks than are wanted and a newcomer comes on top of them: there are other copies of the
/// shard, and all that count are on protected tasks. A service of one task has nobody else.
pub(super) fn safe(view: &ClusterView, from: PeerId, to: PeerId, shard: &Shard) -> bool {
    let held = |peer: &PeerId| view.peers.get(peer).is_some_and(Peer::is_protected);
    let active = shard.copies.iter().filter(|(_, copy)| copy.is_active());
    let stays = |peer: &&PeerId| view.peers.get(peer).is_some_and(Peer::stays);
    let others = active.map(|(peer, _)| peer).filter(stays);
    let mut others = others.filter(|peer| **peer != from).peekable();
    let alone = view.limit() == Some(1);
    !held(&from) || held(&to) || alone || (others.peek().is_some() && others.all(held))
}

/// Why this task goes, as things are now. On a revision that nobody knows nobody goes.
fn reason(view: &ClusterView, leaving: &Leaving, there: &Peer) -> Result<(), Refusal> {
    let wanted = view.service.wanted_revision.as_ref();
    let (Some(wanted), Some(own)) = (wanted, there.said.revision.as_ref()) else {
        return Err(Refusal::NoReason);
    };
    let holds = match leaving.why {
        LeavingReason::Revision => own != wanted,
        LeavingReason::Surplus => own == wanted,
        LeavingReason::Blocked => blocks(view, there),
    };
    match holds && enough_stay(view, leaving) {
        true => Ok(()),
        false => Err(Refusal::NoReason),
    }
}

/// ECS can start no task of the wanted revision before this one ends: it has no room for one, or
/// says again and again that protected tasks are in the way. Where ECS itself told which revision is
/// wanted, no task of that one can be in the way.
pub(crate) fn blocks(view: &ClusterView, peer: &Peer) -> bool {
    let service = &view.service;
    let old = peer.said.revision != service.wanted_revision;
    let refused = peer.said.protection == Some(Protection::Blocked);
    (service.full && old) || (refused && (old || !service.told))
}

/// So many tasks stay without it as are wanted. Where one has to go before another can come, it is
/// enough that one copy of a shard is missing meanwhile, and never that a single one is left.
fn enough_stay(view: &ClusterView, leaving: &Leaving) -> bool {
    let others = others(view, leaving.peer);
    match leaving.why {
        LeavingReason::Surplus | LeavingReason::Revision => {
            view.limit().is_some_and(|wanted| others >= wanted)
        }
        LeavingReason::Blocked => {
            // Where only the tasks' refusals say it, fewer may be wanted than anybody knows: no copy is
            // given up for that.
            let fewer = usize::from(view.service.full);
            let copies = largest_factor(view).saturating_sub(fewer);
            others >= copies.max(FEWEST)
        }
    }
}

/// So many tasks stay when one goes before its successor is there.
const FEWEST: usize = 2;

/// The voters besides this one that are not gone and do not leave.
fn others(view: &ClusterView, but: PeerId) -> usize {
    let stay = |p: &Peer| p.voter && !p.leaving && !p.said.ending && !p.life.is_gone();
    let others = view.peers.iter().filter(|(id, p)| **id != but && stay(p));
    others.count()
}

/// The most copies that any collection wants.
fn largest_factor(view: &ClusterView) -> usize {
    let factors = view.known().map(|(_, there)| there.factor);
    factors
        .max()
        .map_or(0, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Why the order that is out has no ground any more, as things are now.
pub(crate) fn baseless(
    settings: &Settings,
    view: &ClusterView,
    leaving: &Leaving,
) -> Option<Purpose> {
    let there = view.peers.get(&leaving.peer)?;
    match there.life {
        Life::Gone { .. } => return Some(Purpose::PeerGone),
        // It cannot be emptied now, and whoever else is to go waits for it.
        Life::Hung { lasted } | Life::Unsure { lasted, .. } if lasted >= settings.patience => {
            return Some(Purpose::PeerSilent);
        }
        _ => {}
    }
    let (own, wanted) = (&there.said.revision, &view.service.wanted_revision);
    let known = own.is_some() && wanted.is_some();
    let reverted = known && leaving.why == LeavingReason::Revision && own == wanted;
    // Unknown ends nothing that was begun upon knowledge, unless too few would be left.
    let unknown = view.limit().is_none() && leaving.why != LeavingReason::Blocked;
    let stands = !reverted && (unknown || enough_stay(view, leaving));
    (!stands).then_some(Purpose::ReasonGone)
}

/// May ECS end it? It must hold nothing, as far as everything was read.
pub(super) fn let_go(view: &ClusterView, leaving: &Leaving) -> Result<(), Refusal> {
    end(view, leaving)?;
    holds_nothing(view, leaving.peer)
}

/// Must it be protected again? It was let go and holds something.
pub(super) fn call_back(view: &ClusterView, leaving: &Leaving) -> Result<(), Refusal> {
    end(view, leaving)?;
    let let_go = view.service.orders.leaving.as_ref();
    match let_go.is_some_and(|there| there.released)
        && holdings(view, leaving.peer).next().is_some()
    {
        true => Ok(()),
        false => Err(Refusal::NotThere),
    }
}

/// Taking the order back harms nobody.
pub(super) fn end(view: &ClusterView, leaving: &Leaving) -> Result<(), Refusal> {
    readable(view)?;
    match &view.service.orders.leaving {
        Some(there) if there.task == leaving.task => Ok(()),
        _ => Err(Refusal::NotLeaving(leaving.peer)),
    }
}
