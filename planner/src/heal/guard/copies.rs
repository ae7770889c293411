//! May a copy be made, moved or dropped; may a transfer be ended?

use crate::heal::guard::Refusal;
use crate::heal::guard::leave::safe;
use crate::heal::guard::peers::expected;
use crate::heal::health::{Health, crowd, kept_copies};
use crate::heal::life::Life;
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::placement::room;
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Collection, Peer, Shard, Transfer};
use crate::ids::PeerId;

/// May this transfer be ended? Only when one of its ends is gone, or nothing moves in it.
pub(super) fn abort(
    settings: &Settings,
    view: &ClusterView,
    shard: &ShardRef,
    from: PeerId,
    to: PeerId,
) -> Result<(), Refusal> {
    let collection = readable(view, &shard.collection)?;
    let transfer = collection
        .transfers
        .iter()
        .find(|t| t.shard == shard.shard && t.from == from && t.to == to)
        .ok_or(Refusal::NotThere)?;
    match doomed(settings, view, &shard.collection, transfer) {
        true => Ok(()),
        false => Err(Refusal::Healthy),
    }
}

/// One end is gone, the target is being stopped, or nothing moves.
pub(crate) fn doomed(
    settings: &Settings,
    view: &ClusterView,
    name: &CollectionName,
    transfer: &Transfer,
) -> bool {
    let shard = ShardRef {
        collection: name.clone(),
        shard: transfer.shard,
    };
    in_vain(view, &shard, transfer)
        || away(settings, view, transfer.from)
        || away(settings, view, transfer.to)
        || transfer.stalled >= settings.stall_timeout
}

/// The target is being stopped, and the shard lives where nobody is: what arrives there is dropped.
fn in_vain(view: &ClusterView, shard: &ShardRef, transfer: &Transfer) -> bool {
    let ends = view.peers.get(&transfer.to).is_some_and(Peer::ends);
    ends && view
        .shard(shard)
        .is_some_and(|there| lives_on(view, there, Peer::stays))
}

/// Gone, or out of the address book and not expected back.
pub(crate) fn away(settings: &Settings, view: &ClusterView, peer: PeerId) -> bool {
    view.gone(peer) || (view.life(peer).is_none() && expected(settings, view, peer).is_zero())
}

/// Whether a copy is Active where it may be counted on: on a peer that answers, is not being stopped,
/// and was not let go for ECS to end.
pub(crate) fn lives(view: &ClusterView, shard: &Shard) -> bool {
    let leaving = view.service.orders.leaving.as_ref();
    let released = leaving
        .filter(|there| there.released)
        .map(|there| there.peer);
    let active = shard.copies.iter().filter(|(_, copy)| copy.is_active());
    active
        .filter(|(peer, _)| Some(**peer) != released)
        .filter_map(|(peer, _)| view.peers.get(peer))
        .any(|there| there.life == Life::Alive && !there.said.ending)
}

/// Whether a copy is Active on a peer that answers and of which this holds.
pub(crate) fn lives_on(view: &ClusterView, shard: &Shard, holds: impl Fn(&Peer) -> bool) -> bool {
    let active = shard.copies.iter().filter(|(_, copy)| copy.is_active());
    let mut holders = active.filter_map(|(peer, _)| view.peers.get(peer));
    holders.any(|there| there.life == Life::Alive && holds(there))
}

/// May the copy on this peer be dropped? The peer must be gone and the shard live on one that stays
/// for a while; or its task must be ending and another copy live on one that stays; or it must be
/// leaving and all wanted copies be on others.
pub(super) fn drop(view: &ClusterView, shard: &ShardRef, peer: PeerId) -> Result<(), Refusal> {
    let collection = readable(view, &shard.collection)?;
    let there = known_shard(collection, shard)?;
    if !there.copies.contains_key(&peer) {
        return Err(Refusal::NotThere);
    }
    no_transfer(collection, shard)?;
    let listed = view.peers.get(&peer).ok_or(Refusal::NoSuchPeer(peer))?;
    match &listed.life {
        Life::Gone { .. } if !lives(view, there) => Err(Refusal::LastCopy(shard.clone())),
        Life::Gone { .. } => Ok(()),
        Life::Alive if listed.said.ending => match lives_on(view, there, Peer::stays) {
            true => Ok(()),
            false => Err(Refusal::LastCopy(shard.clone())),
        },
        Life::Alive if listed.leaving => {
            let living = Health::of(view, there).living;
            let rest = living.iter().filter(|p| stays(view, **p)).count();
            match rest >= kept_copies(collection.factor, view) {
                true => Ok(()),
                false => Err(Refusal::StillWanted(shard.clone())),
            }
        }
        _ => Err(not_gone(view, peer)),
    }
}

/// May a copy be made on `to` from the one on `from`? A copy that is there already and is not
/// Active may be made again when Qdrant has given it up.
pub(super) fn replicate(
    settings: &Settings,
    view: &ClusterView,
    shard: &ShardRef,
    from: PeerId,
    to: PeerId,
) -> Result<(), Refusal> {
    let there = transferable(view, shard, from, to)?;
    if let Some(copy) = there.copies.get(&to) {
        // Making it again destroys what is there.
        if copy.is_active() {
            return Err(Refusal::Target(to));
        }
        let left = settings.resync_timeout.saturating_sub(copy.unwell);
        if !left.is_zero() {
            return Err(Refusal::TooSoon { left });
        }
    }
    Ok(())
}

/// May the copy on `from` move to `to`? Off a peer that leaves always; else only while the shard
/// is whole and the zones are not more crowded for it.
pub(super) fn shift(
    view: &ClusterView,
    shard: &ShardRef,
    from: PeerId,
    to: PeerId,
) -> Result<(), Refusal> {
    // It can wait until every collection was read, and with it every transfer under way.
    if let Some((name, why)) = view.unknown() {
        return Err(Refusal::Unread(name.cloned(), why.to_owned()));
    }
    let there = transferable(view, shard, from, to)?;
    if there.copies.contains_key(&to) {
        return Err(Refusal::Target(to));
    }
    if !safe(view, from, to, there) {
        return Err(Refusal::Unprotected);
    }
    if view.peers.get(&from).is_some_and(|peer| peer.leaving) {
        return Ok(());
    }
    if !Health::of(view, there).is_whole() {
        return Err(Refusal::NotWhole(shard.clone()));
    }
    let zone = |peer| view.peers.get(&peer).and_then(|p| p.zone.as_ref());
    if zone(from) == zone(to) {
        return Ok(());
    }
    if zone(from).is_none() || zone(to).is_none() {
        return Err(Refusal::Crowds(None));
    }
    let crowd = crowd(view, there, None);
    let of = |peer| crowd.get(&zone(peer)).copied().unwrap_or(0);
    match of(from) > of(to) {
        true => Ok(()),
        false => Err(Refusal::Crowds(zone(to).cloned())),
    }
}

/// May the collection's factor be raised to this?
pub(super) fn raise_factor(
    view: &ClusterView,
    name: &CollectionName,
    factor: u32,
) -> Result<(), Refusal> {
    match readable(view, name)?.factor < factor {
        true => Ok(()),
        false => Err(Refusal::FactorReached),
    }
}

/// What every transfer needs: a source that has it, a target that can take it, and no other
/// transfer anywhere.
fn transferable<'a>(
    view: &'a ClusterView,
    shard: &ShardRef,
    from: PeerId,
    to: PeerId,
) -> Result<&'a Shard, Refusal> {
    let collection = readable(view, &shard.collection)?;
    let there = known_shard(collection, shard)?;
    for (name, other) in view.known() {
        if let Some(transfer) = other.transfers.first() {
            return Err(under_way(name, transfer));
        }
    }
    let source = there.copies.get(&from);
    if !view.alive(from) || !source.is_some_and(|copy| copy.is_active()) {
        return Err(Refusal::Source(from));
    }
    if !stays(view, to) || from == to {
        return Err(Refusal::Target(to));
    }
    let disk = view.peers.get(&to).and_then(|peer| peer.disk);
    match room(disk, there) {
        true => Ok(there),
        false => Err(Refusal::NoRoom(to)),
    }
}

/// A collection that could be read and that nobody is resharding.
pub(super) fn readable<'a>(
    view: &'a ClusterView,
    name: &CollectionName,
) -> Result<&'a Collection, Refusal> {
    match view.collection(name) {
        Some(collection) if collection.resharding => Err(Refusal::Resharding(name.clone())),
        Some(collection) => Ok(collection),
        None => Err(match view.unknown() {
            Some((None, why)) => Refusal::Unread(None, why.to_owned()),
            _ => Refusal::Unread(Some(name.clone()), "it was not read".to_owned()),
        }),
    }
}

pub(super) fn known_shard<'a>(
    collection: &'a Collection,
    shard: &ShardRef,
) -> Result<&'a Shard, Refusal> {
    collection.shards.get(&shard.shard).ok_or(Refusal::NotThere)
}

fn no_transfer(collection: &Collection, shard: &ShardRef) -> Result<(), Refusal> {
    let transfer = collection.transfers.iter().find(|t| t.shard == shard.shard);
    transfer.map_or(Ok(()), |t| Err(under_way(&shard.collection, t)))
}

pub(super) fn under_way(name: &CollectionName, transfer: &Transfer) -> Refusal {
    Refusal::Transfer {
        shard: ShardRef {
            collection: name.clone(),
            shard: transfer.shard,
        },
        from: transfer.from,
        to: transfer.to,
    }
}

fn stays(view: &ClusterView, peer: PeerId) -> bool {
    view.peers.get(&peer).is_some_and(|peer| peer.stays())
}

/// Why a peer that is not gone is not treated as such.
pub(super) fn not_gone(view: &ClusterView, peer: PeerId) -> Refusal {
    match view.life(peer) {
        None => Refusal::NoSuchPeer(peer),
        Some(Life::Hung { .. }) => Refusal::Hung(peer),
        Some(Life::Unsure { why, .. }) => Refusal::Unsure(peer, why.clone()),
        Some(Life::Alive | Life::Gone { .. }) => Refusal::Answers(peer),
    }
}
