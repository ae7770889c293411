//! An even load, as far as the zones allow.
//!
//! Three rules, each only where the ones before it have nothing to do: copies of one collection
//! (its queries go to all of its holders), copies of all collections, bytes. Every move lowers
//! the sum of squares of its own rule and raises none of those before it, so it comes to an end.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use crate::heal::action::{Action, Purpose};
use crate::heal::facts::{Facts, Seat};
use crate::heal::health::{Health, crowd, wanted_copies};
use crate::heal::names::{CollectionName, ShardId, ShardRef, Zone};
use crate::heal::placement::room;
use crate::heal::round::Round;
use crate::heal::view::{Collection, Copy, Shard};
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;

/// Not while anything about the collections is unknown: the counts would be wrong.
pub(crate) fn even_out(round: &mut Round<'_>) -> bool {
    if round.view.unknown().is_some() || round.somebody_goes() {
        return false;
    }
    let rules = [Rule::Collection, Rule::Count, Rule::Bytes];
    rules.into_iter().any(|rule| even_by(round, rule))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Collection,
    Count,
    Bytes,
}

/// One move and how much it evens out.
struct Offer<'a> {
    gain: u64,
    collection: &'a CollectionName,
    shard: ShardId,
    from: PeerId,
    to: PeerId,
    purpose: Purpose,
}

/// The seats of each zone, the least loaded first.
type Order<'a> = BTreeMap<Option<&'a Zone>, Vec<Seat<'a>>>;

fn even_by(round: &mut Round<'_>, rule: Rule) -> bool {
    if rule == Rule::Bytes && !round.facts.sized {
        return false;
    }
    let mut offers = Vec::new();
    let overall = order(&round.facts, rule, None);
    for (name, collection) in round.view.known().filter(|(_, c)| !c.resharding) {
        if rule != Rule::Collection {
            offers_of(round, rule, name, collection, &overall, &mut offers);
            continue;
        }
        let spread = round.facts.spread.get(name);
        if spread.and_then(|spread| spread.values().max()) > Some(&1) {
            let order = order(&round.facts, rule, Some(name));
            offers_of(round, rule, name, collection, &order, &mut offers);
        }
        // Each collection is even by itself, so the first uneven one will do.
        if !offers.is_empty() {
            break;
        }
    }
    if offers.is_empty() || !round.may_transfer() {
        return false;
    }
    if let Some(left) = round.replacement_due() {
        // It would take its share by a second move of the same copies.
        round.wait(Waiting::BalanceLater { left });
        return false;
    }
    // The greatest gain first; the sort is stable, so among equals names and ids decide.
    offers.sort_by_key(|offer| Reverse(offer.gain));
    offers.into_iter().any(|offer| {
        let action = Action::MoveReplica {
            shard: ShardRef {
                collection: offer.collection.clone(),
                shard: offer.shard,
            },
            from: offer.from,
            to: offer.to,
        };
        round.offer(action, offer.purpose)
    })
}

fn order<'a>(facts: &Facts<'a>, rule: Rule, name: Option<&CollectionName>) -> Order<'a> {
    let mut order = Order::new();
    for seat in facts.seats.values() {
        order.entry(seat.zone).or_default().push(*seat);
    }
    for seats in order.values_mut() {
        seats.sort_by_cached_key(|seat| {
            let here = name.map_or(0, |name| facts.of_collection(name, seat.peer));
            let (copies, bytes) = (u64::from(seat.copies), seat.bytes);
            let load = match rule {
                Rule::Collection | Rule::Count => (copies, bytes),
                Rule::Bytes => (bytes, copies),
            };
            (here, load, seat.peer)
        });
    }
    order
}

/// The best move of every copy of this collection into every zone where it may go.
fn offers_of<'a>(
    round: &Round<'a>,
    rule: Rule,
    name: &'a CollectionName,
    collection: &'a Collection,
    order: &Order<'_>,
    offers: &mut Vec<Offer<'a>>,
) {
    let wanted = wanted_copies(collection.factor, round.facts.seats.len());
    for (id, shard) in &collection.shards {
        let health = Health::of(round.view, shard);
        if !health.is_whole() || health.living.len() < wanted {
            continue;
        }
        let crowd = crowd(round.view, shard, None);
        let of = |zone: &Option<&Zone>| crowd.get(zone).copied().unwrap_or(0);
        for (peer, copy) in &shard.copies {
            let Some(from) = round.facts.seats.get(peer) else {
                continue;
            };
            for (zone, seats) in order {
                let known = zone.is_some() && from.zone.is_some();
                if *zone != from.zone && !(known && of(&from.zone) > of(zone)) {
                    continue;
                }
                if let Some((to, gain, purpose)) =
                    target(round, rule, name, shard, copy, from, seats)
                {
                    offers.push(Offer {
                        gain,
                        collection: name,
                        shard: *id,
                        from: from.peer,
                        to,
                        purpose,
                    });
                }
            }
        }
    }
}

/// The least loaded seat that this copy may move to, when that evens anything out.
fn target(
    round: &Round<'_>,
    rule: Rule,
    name: &CollectionName,
    shard: &Shard,
    copy: &Copy,
    from: &Seat<'_>,
    seats: &[Seat<'_>],
) -> Option<(PeerId, u64, Purpose)> {
    let facts = &round.facts;
    let here = facts.of_collection(name, from.peer);
    for to in seats {
        let there = facts.of_collection(name, to.peer);
        // The seats are in order: where one is too loaded, so are all that follow.
        let enough = match rule {
            Rule::Collection => there + 2 <= here,
            Rule::Count => to.copies + 2 <= from.copies,
            Rule::Bytes => bytes_apart(round, from, to),
        };
        if !enough {
            return None;
        }
        if shard.copies.contains_key(&to.peer) || !room(to.disk, shard) {
            continue;
        }
        let bytes = copy.bytes.unwrap_or(0);
        let keeps_collection = there < here;
        let (gain, purpose) = match rule {
            Rule::Collection => (
                u64::from(here - there),
                Purpose::EvenCollection(here, there),
            ),
            Rule::Count if keeps_collection => (
                u64::from(from.copies - to.copies),
                Purpose::EvenCount(from.copies, to.copies),
            ),
            Rule::Bytes
                if keeps_collection
                    && to.copies < from.copies
                    && bytes > 0
                    && bytes < from.bytes - to.bytes =>
            {
                (
                    bytes.min(from.bytes - to.bytes - bytes),
                    Purpose::EvenBytes(from.bytes, to.bytes),
                )
            }
            Rule::Count | Rule::Bytes => continue,
        };
        return Some((to.peer, gain, purpose));
    }
    None
}

/// Beyond the threshold: as a share and in bytes.
fn bytes_apart(round: &Round<'_>, from: &Seat<'_>, to: &Seat<'_>) -> bool {
    let share = to.bytes.saturating_mul(round.settings.balance_percent) / 100;
    from.bytes >= share
        && from.bytes.saturating_sub(to.bytes) >= round.settings.balance_bytes.max(1)
}
