//! What every step needs of a view, counted once a round.

use std::collections::BTreeMap;

use crate::heal::names::{CollectionName, ShardRef, Zone};
use crate::heal::view::{ClusterView, Disk, Transfer};
use crate::ids::PeerId;

/// A peer that may be given copies, and what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) peer: PeerId,
    pub(crate) zone: Option<&'a Zone>,
    pub(crate) disk: Option<Disk>,
    /// ECS does not stop its task.
    pub(crate) protected: bool,
    /// Copies of all collections.
    pub(crate) copies: u32,
    /// Bytes of all copies whose size is known.
    pub(crate) bytes: u64,
}

/// The counts of one round.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The peers that live, vote and stay, by id.
    pub(crate) seats: BTreeMap<PeerId, Seat<'a>>,
    /// Copies of each collection on each peer.
    pub(crate) spread: BTreeMap<&'a CollectionName, BTreeMap<PeerId, u32>>,
    /// What is listed on the peers that do not stay.
    pub(crate) elsewhere: BTreeMap<PeerId, Vec<ShardRef>>,
    /// The first transfer that is under way.
    pub(crate) transfer: Option<(&'a CollectionName, &'a Transfer)>,
    /// The size of every copy is known.
    pub(crate) sized: bool,
    /// The most that any seat's disk has beyond its reserve.
    pub(crate) room: u64,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(view: &'a ClusterView) -> Self {
        let seats = view.peers.iter().filter(|(_, there)| there.stays());
        let mut facts = Self {
            seats: seats
                .map(|(peer, there)| {
                    let seat = Seat {
                        peer: *peer,
                        zone: there.zone.as_ref(),
                        disk: there.disk,
                        protected: there.is_protected(),
                        copies: 0,
                        bytes: 0,
                    };
                    (*peer, seat)
                })
                .collect(),
            spread: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            transfer: None,
            sized: true,
            room: 0,
        };
        let spare = |disk: Disk| disk.free.saturating_sub(disk.reserve);
        let rooms = facts
            .seats
            .values()
            .map(|seat| seat.disk.map_or(u64::MAX, spare));
        facts.room = rooms.max().unwrap_or(0);
        for (name, collection) in view.known() {
            let spread = facts.spread.entry(name).or_default();
            let first = collection.transfers.first();
            facts.transfer = facts.transfer.or(first.map(|transfer| (name, transfer)));
            for (id, shard) in &collection.shards {
                for (peer, copy) in &shard.copies {
                    *spread.entry(*peer).or_insert(0) += 1;
                    facts.sized &= copy.bytes.is_some();
                    match facts.seats.get_mut(peer) {
                        Some(seat) => {
                            seat.copies += 1;
                            seat.bytes = seat.bytes.saturating_add(copy.bytes.unwrap_or(0));
                        }
                        None => facts.elsewhere.entry(*peer).or_default().push(ShardRef {
                            collection: name.clone(),
                            shard: *id,
                        }),
                    }
                }
            }
        }
        facts
    }

    /// How many copies of this collection a peer has.
    pub(crate) fn of_collection(&self, name: &CollectionName, peer: PeerId) -> u32 {
        let spread = self.spread.get(name);
        spread.and_then(|s| s.get(&peer)).copied().unwrap_or(0)
    }
}
