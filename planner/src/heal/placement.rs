//! Where a new copy of a shard goes.
//!
//! A zone without a copy first, and in general the least crowded zone; then the peer with the
//! fewest copies of the collection, then of all; then the fewest bytes; then one that ECS protects;
//! then the lowest id. A peer
//! whose zone is unknown may be in any, so it never counts as a zone without a copy.

use core::cmp::Reverse;

use crate::heal::facts::{Facts, Seat};
use crate::heal::health::crowd;
use crate::heal::names::CollectionName;
use crate::heal::view::{ClusterView, Disk, Shard};
use crate::ids::PeerId;

/// A place for a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) peer: PeerId,
    /// Copies of the shard that are in its zone already.
    crowd: u32,
    /// Copies of the collection that the peer has already.
    here: u32,
}

impl Place {
    /// Neither its zone has a copy of the shard nor the peer one of the collection: a copy that goes
    /// there stays there.
    pub(crate) fn is_free(self) -> bool {
        self.crowd == 0 && self.here == 0
    }
}

/// All peers that can take a copy of this shard, the best first. `without` is a holder whose copy
/// will go.
pub(crate) fn places(
    view: &ClusterView,
    facts: &Facts<'_>,
    name: &CollectionName,
    shard: &Shard,
    without: Option<PeerId>,
) -> Vec<Place> {
    if facts.room < needed(shard) {
        // Looking for one seat after the other would take long where all disks are full.
        return Vec::new();
    }
    let crowd = crowd(view, shard, without);
    let crowded = |seat: &Seat<'_>| {
        let there = crowd.get(&seat.zone).copied().unwrap_or(0);
        match seat.zone {
            Some(_) => there,
            None => there.max(1),
        }
    };
    let mut places: Vec<_> = facts
        .seats
        .values()
        .filter(|seat| !shard.copies.contains_key(&seat.peer) && room(seat.disk, shard))
        .map(|seat| {
            let place = Place {
                peer: seat.peer,
                crowd: crowded(seat),
                here: facts.of_collection(name, seat.peer),
            };
            let load = (place.here, seat.copies, seat.bytes, !seat.protected);
            (place.crowd, load, seat.peer, place)
        })
        .collect();
    places.sort_unstable_by_key(|(crowd, load, peer, _)| (*crowd, *load, *peer));
    places.into_iter().map(|(_, _, _, place)| place).collect()
}

/// The peers that can give a copy to one in this zone: from within the zone first, for traffic
/// between zones costs; then the lowest id.
pub(crate) fn sources(view: &ClusterView, living: &[PeerId], to: PeerId) -> Vec<PeerId> {
    let zone = |peer: PeerId| view.peers.get(&peer).and_then(|p| p.zone.as_ref());
    let mut sources = living.to_vec();
    sources.sort_by_key(|peer| (Reverse(zone(*peer) == zone(to)), *peer));
    sources
}

/// Whether a disk keeps its reserve with a copy of this shard. What was not measured does not
/// stand in the way of a copy that is missing.
pub(crate) fn room(disk: Option<Disk>, shard: &Shard) -> bool {
    disk.is_none_or(|disk| disk.free >= disk.reserve.saturating_add(needed(shard)))
}

/// The bytes that a copy of this shard needs: unpacking takes its size once more for a while.
fn needed(shard: &Shard) -> u64 {
    let bytes = shard.copies.values().filter_map(|copy| copy.bytes).max();
    bytes.unwrap_or(0).saturating_mul(2)
}
