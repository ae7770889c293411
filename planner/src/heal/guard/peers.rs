//! May a peer be taken out of the cluster?

use core::time::Duration;
use std::collections::BTreeSet;

use crate::heal::guard::Refusal;
use crate::heal::guard::copies::{known_shard, lives, not_gone, readable, under_way};
use crate::heal::life::Life;
use crate::heal::names::ShardRef;
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Peer};
use crate::ids::PeerId;

/// May this voter be removed, without force? It must be gone and hold nothing, and every
/// collection must have been read to know that.
pub(super) fn remove(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    if !gone(view, peer)?.voter {
        return Err(Refusal::WrongRole(peer));
    }
    holds_nothing(view, peer)?;
    enough_voters(view, peer)
}

/// May this gone learner be removed? As a voter, only that it never was one.
pub(super) fn remove_ghost(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    if gone(view, peer)?.voter {
        return Err(Refusal::WrongRole(peer));
    }
    holds_nothing(view, peer)
}

/// May this living peer be removed because it is being stopped? It must hold nothing, somebody must stay, and the voters that remain must be able to commit.
pub(super) fn release(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    let there = view.peers.get(&peer).ok_or(Refusal::NoSuchPeer(peer))?;
    if !there.said.ending {
        return Err(Refusal::NotEnding(peer));
    }
    if there.life != Life::Alive {
        return Err(not_gone(view, peer));
    }
    holds_nothing(view, peer)?;
    enough_voters(view, peer)?;
    let voters = || view.peers.iter().filter(|(id, p)| **id != peer && p.voter);
    let alive = voters().filter(|(_, p)| p.life == Life::Alive).count();
    let stays = voters().any(|(_, p)| p.stays());
    match stays && alive * 2 > voters().count() {
        true => Ok(()),
        false => Err(Refusal::Voters),
    }
}

/// May the loss of these shards be recorded? Every peer with an Active copy must have been gone
/// for so long that it does not come back.
pub(super) fn record_loss(
    settings: &Settings,
    view: &ClusterView,
    peer: PeerId,
    shards: &BTreeSet<ShardRef>,
) -> Result<(), Refusal> {
    if view.peers.contains_key(&peer) {
        gone(view, peer)?;
    }
    shards
        .iter()
        .try_for_each(|shard| lost(settings, view, shard, peer))
}

/// May this gone peer be removed with the copies that Qdrant lists on it? Each must be lost for
/// good, as things are now, and on record.
pub(super) fn remove_lost(
    settings: &Settings,
    view: &ClusterView,
    peer: PeerId,
) -> Result<(), Refusal> {
    gone(view, peer)?;
    undisturbed(view, peer)?;
    enough_voters(view, peer)?;
    for shard in holdings(view, peer) {
        lost(settings, view, &shard, peer)?;
        if !view.losses.contains(&shard) {
            return Err(Refusal::NotRecorded(shard));
        }
    }
    Ok(())
}

/// May Qdrant be made to forget the copies listed on this peer, which is not in the address book?
/// Each must live elsewhere, or be lost for good and on record, and the peer must not be one of
/// those that a re-quorum expects back.
pub(super) fn forget(settings: &Settings, view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    if view.peers.contains_key(&peer) {
        return Err(Refusal::Listed(peer));
    }
    let left = expected(settings, view, peer);
    if !left.is_zero() {
        return Err(Refusal::TooSoon { left });
    }
    undisturbed(view, peer)?;
    let mut held = holdings(view, peer).peekable();
    if held.peek().is_none() {
        return Err(Refusal::NotThere);
    }
    held.try_for_each(|shard| {
        let there = view.shard(&shard).ok_or(Refusal::NotThere)?;
        if lives(view, there) {
            return Ok(());
        }
        lost(settings, view, &shard, peer)?;
        match view.losses.contains(&shard) {
            true => Ok(()),
            false => Err(Refusal::NotRecorded(shard)),
        }
    })
}

/// For how much longer a peer that is not in the address book may be expected there: for a moment
/// anybody, and a survivor of a re-quorum as long as a lost copy.
pub(crate) fn expected(settings: &Settings, view: &ClusterView, peer: PeerId) -> Duration {
    let lasted = view.service.unlisted.get(&peer).copied();
    let patience = match view.service.survivors.contains(&peer) {
        true => settings.lost_copy_timeout,
        false => settings.unlisted_timeout,
    };
    patience.saturating_sub(lasted.unwrap_or_default())
}

/// The shard is lost for good: whoever has an Active copy has been gone for the whole time-out.
/// So has `peer`, which holds a copy of whatever state. One that is out of the address book can only
/// return as another peer, and its disk is asked for what it holds as long as that of a gone one.
pub(crate) fn lost(
    settings: &Settings,
    view: &ClusterView,
    shard: &ShardRef,
    peer: PeerId,
) -> Result<(), Refusal> {
    let there = known_shard(readable(view, &shard.collection)?, shard)?;
    if !there.copies.contains_key(&peer) {
        return Err(Refusal::NotThere);
    }
    let active = there.copies.iter().filter(|(_, copy)| copy.is_active());
    for holder in active.map(|(holder, _)| *holder).chain([peer]) {
        match view.life(holder) {
            Some(Life::Gone { lasted, .. }) => {
                let left = settings.lost_copy_timeout.saturating_sub(*lasted);
                if !left.is_zero() {
                    return Err(Refusal::TooSoon { left });
                }
            }
            None => {
                let lasted = view.service.unlisted.get(&holder).copied();
                let left = settings
                    .lost_copy_timeout
                    .saturating_sub(lasted.unwrap_or_default());
                if !left.is_zero() {
                    return Err(Refusal::TooSoon { left });
                }
            }
            Some(Life::Alive) => return Err(Refusal::Answers(holder)),
            Some(_) => return Err(Refusal::CopyMayReturn(shard.clone(), holder)),
        }
    }
    Ok(())
}

/// The peer, when it is listed and gone.
fn gone(view: &ClusterView, peer: PeerId) -> Result<&Peer, Refusal> {
    match view.peers.get(&peer) {
        Some(there) if peer != view.us && there.life.is_gone() => Ok(there),
        _ => Err(not_gone(view, peer)),
    }
}

pub(super) fn holds_nothing(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    undisturbed(view, peer)?;
    match holdings(view, peer).count() {
        0 => Ok(()),
        copies => Err(Refusal::Holds(peer, copies)),
    }
}

/// Everything was read, nothing is resharded (a removal aborts it), and no transfer has this peer
/// at one of its ends.
pub(super) fn undisturbed(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    if let Some((name, why)) = view.unknown() {
        return Err(Refusal::Unread(name.cloned(), why.to_owned()));
    }
    for (name, collection) in view.known() {
        if collection.resharding {
            return Err(Refusal::Resharding(name.clone()));
        }
        let mut transfers = collection.transfers.iter();
        if let Some(transfer) = transfers.find(|t| t.from == peer || t.to == peer) {
            return Err(under_way(name, transfer));
        }
    }
    Ok(())
}

/// The shards of which Qdrant lists a copy on this peer.
pub(crate) fn holdings(view: &ClusterView, peer: PeerId) -> impl Iterator<Item = ShardRef> {
    view.known().flat_map(move |(name, collection)| {
        let held = collection.shards.iter();
        let held = held.filter(move |(_, shard)| shard.copies.contains_key(&peer));
        held.map(|(shard, _)| ShardRef {
            collection: name.clone(),
            shard: *shard,
        })
    })
}

/// Removing the last voter breaks every node for good, and Qdrant does not refuse it (facts: T5).
fn enough_voters(view: &ClusterView, peer: PeerId) -> Result<(), Refusal> {
    let mut others = view.peers.iter().filter(|(id, _)| **id != peer);
    match others.any(|(_, p)| p.voter && p.life == Life::Alive) {
        true => Ok(()),
        false => Err(Refusal::Voters),
    }
}
