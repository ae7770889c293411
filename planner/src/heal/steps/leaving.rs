//! The peer that was told to leave.

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::Refusal;
use crate::heal::health::{Health, kept_copies, wanted_copies};
use crate::heal::life::Life;
use crate::heal::names::ShardRef;
use crate::heal::placement::places;
use crate::heal::round::Round;
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;
use crate::records::Leaving;

/// Moves the copies of the one that was told to leave to others, one after the other, and lets ECS
/// end it when there are none. It stays in Raft and serves what others hold: until ECS has taken it
/// from the load balancer it still gets traffic.
pub(crate) fn evacuate(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let Some(leaving) = view.service.orders.leaving.clone() else {
        return false;
    };
    let there = view.peers.get(&leaving.peer);
    if !there.is_some_and(|p| p.leaving && !p.said.ending && p.life == Life::Alive) {
        return false;
    }
    let held = round.facts.elsewhere.get(&leaving.peer).cloned();
    let held = held.unwrap_or_default();
    if held.is_empty() && !leaving.released {
        let released = Leaving {
            released: true,
            ..leaving
        };
        return round.offer(Action::LetGo(released), Purpose::Emptied);
    }
    if leaving.released && !held.is_empty() {
        // Qdrant places the shards of a new collection on whoever is in Raft.
        let again = Leaving {
            released: false,
            ..leaving
        };
        return round.offer(Action::CallBack(again), Purpose::HoldsAgain);
    }
    held.iter().any(|shard| clear(round, shard, leaving.peer))
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
    let drop = || Action::DropReplica {
        shard: name.clone(),
        peer: from,
    };
    if rest >= wanted_copies(collection.factor, seats.len()).max(1) {
        return round.offer(drop(), Purpose::Leaving);
    }
    if living.is_empty() {
        // What is left of a lost shard is not thrown away.
        round.wait(Waiting::Refused {
            action: drop(),
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
    let moves = places.into_iter().any(|place| {
        let action = Action::MoveReplica {
            shard: name.clone(),
            from,
            to: place.peer,
        };
        round.offer(action, Purpose::Leaving)
    });
    // Where nobody can take it, it is enough that as many are left as will be wanted.
    moves || (rest >= kept_copies(collection.factor, view) && round.offer(drop(), Purpose::Leaving))
}
