//! Peers that were told to leave.

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::Refusal;
use crate::heal::health::{Health, kept_copies};
use crate::heal::life::Life;
use crate::heal::names::ShardRef;
use crate::heal::placement::places;
use crate::heal::round::Round;
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;

pub(crate) fn evacuate(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let leavers = view.peers.iter();
    let leavers = leavers
        .filter(|(_, there)| there.leaving && !there.said.ending && there.life == Life::Alive);
    leavers.map(|(peer, _)| *peer).any(|peer| {
        let held = round
            .facts
            .elsewhere
            .get(&peer)
            .cloned()
            .unwrap_or_default();
        match held.is_empty() {
            true => round.offer(Action::Release { peer }, Purpose::Leaving),
            false => held.iter().any(|shard| clear(round, shard, peer)),
        }
    })
}

/// Moves the copy to another peer, or drops it when the others are all that is wanted.
fn clear(round: &mut Round<'_>, name: &ShardRef, from: PeerId) -> bool {
    let view = round.view;
    // What could not be read or is being resharded stands among the reasons already.
    let Some(collection) = view.collection(&name.collection) else {
        return false;
    };
    let Some(shard) = collection.shards.get(&name.shard) else {
        return false;
    };
    let seats = &round.facts.seats;
    let living = Health::of(view, shard).living;
    let rest = living
        .iter()
        .filter(|peer| seats.contains_key(peer))
        .count();
    if rest >= kept_copies(collection.factor, view) {
        let action = Action::DropReplica {
            shard: name.clone(),
            peer: from,
        };
        return round.offer(action, Purpose::Leaving);
    }
    if living.is_empty() {
        // What is left of a lost shard is not thrown away.
        round.wait(Waiting::Refused {
            action: Action::Release { peer: from },
            why: Refusal::LastCopy(name.clone()),
        });
    }
    if !living.contains(&from) || !round.may_transfer() {
        // Not Active here, so it does not count: another step makes another, then this one is dropped.
        return false;
    }
    let places = places(view, &round.facts, &name.collection, shard, Some(from));
    if places.is_empty() {
        round.wait(Waiting::NoPlace(name.clone()));
    }
    places.into_iter().any(|place| {
        let action = Action::MoveReplica {
            shard: name.clone(),
            from,
            to: place.peer,
        };
        round.offer(action, Purpose::Leaving)
    })
}
