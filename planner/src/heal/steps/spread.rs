//! The copies of a shard over the zones.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use crate::heal::action::{Action, Purpose};
use crate::heal::health::{Health, crowd, wanted_copies};
use crate::heal::names::{CollectionName, ShardRef, Zone};
use crate::heal::placement::places;
use crate::heal::round::Round;
use crate::heal::view::Shard;
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;

/// Moves a copy out of a zone that has at least two more of the shard than another. Only shards
/// that are whole, and only between known zones.
pub(crate) fn over_zones(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if round.somebody_goes() {
        return false;
    }
    let mut zones: Vec<&Zone> = round.facts.seats.values().filter_map(|s| s.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    for (name, collection) in view.known().filter(|(_, c)| !c.resharding) {
        let wanted = wanted_copies(collection.factor, round.facts.seats.len());
        for (id, shard) in &collection.shards {
            let crowd = crowd(view, shard, None);
            let most = crowd.iter().filter(|(zone, _)| zone.is_some());
            let most = most.map(|(_, copies)| *copies).max().unwrap_or(0);
            let of = |zone: &Zone| crowd.get(&Some(zone)).copied().unwrap_or(0);
            if !zones.iter().any(|zone| of(zone) + 2 <= most) {
                continue;
            }
            let health = Health::of(view, shard);
            if !health.is_whole() || health.living.len() < wanted {
                continue;
            }
            if !round.may_transfer() {
                return false;
            }
            let shard_name = ShardRef {
                collection: name.clone(),
                shard: *id,
            };
            if spread(round, &shard_name, shard, &crowd) {
                return true;
            }
        }
    }
    false
}

fn spread(
    round: &mut Round<'_>,
    name: &ShardRef,
    shard: &Shard,
    crowd: &BTreeMap<Option<&Zone>, u32>,
) -> bool {
    let zone = |peer: PeerId| round.view.peers.get(&peer).and_then(|p| p.zone.as_ref());
    let of = |zone: Option<&Zone>| crowd.get(&zone).copied().unwrap_or(0);
    let places = places(round.view, &round.facts, &name.collection, shard, None);
    let mut holders: Vec<PeerId> = shard.copies.keys().copied().collect();
    holders.sort_by_key(|peer| {
        let load = load(round, &name.collection, *peer);
        (Reverse(of(zone(*peer))), Reverse(load), *peer)
    });
    let moves: Vec<_> = holders
        .iter()
        .flat_map(|from| places.iter().map(move |place| (*from, place)))
        .filter_map(|(from, place)| {
            let (out, into) = (zone(from)?, zone(place.peer)?);
            (of(Some(into)) + 2 <= of(Some(out))).then(|| {
                let purpose = Purpose::Spread {
                    from: out.clone(),
                    to: into.clone(),
                };
                (from, place.peer, purpose)
            })
        })
        .collect();
    let most = shard.copies.keys().map(|peer| of(zone(*peer))).max();
    let could_take = round.facts.seats.iter().any(|(peer, seat)| {
        let emptier = seat
            .zone
            .is_some_and(|zone| Some(of(Some(zone)) + 2) <= most);
        emptier && !shard.copies.contains_key(peer)
    });
    if moves.is_empty() && could_take {
        round.wait(Waiting::NoPlace(name.clone()));
    }
    moves.into_iter().any(|(from, to, purpose)| {
        let shard = name.clone();
        round.offer(Action::MoveReplica { shard, from, to }, purpose)
    })
}

fn load(round: &Round<'_>, collection: &CollectionName, peer: PeerId) -> (u32, u32, u64) {
    let seat = round.facts.seats.get(&peer);
    let (copies, bytes) = seat.map_or((0, 0), |seat| (seat.copies, seat.bytes));
    (round.facts.of_collection(collection, peer), copies, bytes)
}
