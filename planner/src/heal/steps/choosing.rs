//! Whom ECS may end next: the order to empty a task, and its end. The copies are moved by
//! [`super::leaving`].

use core::cmp::Reverse;
use std::collections::BTreeMap;

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::{baseless, blocks};
use crate::heal::names::Zone;
use crate::heal::round::Round;
use crate::heal::view::{ClusterView, Peer};
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;
use crate::records::{Leaving, LeavingReason};

/// Looks after the order that is out.
pub(crate) fn follow(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if view.service.orders_unread.is_some() {
        return false;
    }
    let Some(leaving) = view.service.orders.leaving.clone() else {
        return false;
    };
    let there = view.peers.contains_key(&leaving.peer);
    let seen = there || view.service.outside.contains_key(&leaving.task);
    let (age, unseen) = round.memory.leaving();
    let baseless = baseless(round.settings, view, &leaving);
    let end = baseless.or(match leaving.released {
        _ if !seen && unseen >= round.settings.sight_timeout => Some(Purpose::OutOfSight(unseen)),
        true if age >= round.settings.release_timeout => Some(Purpose::NotEnded(age)),
        _ => None,
    });
    end.is_some_and(|purpose| round.offer(Action::EndEvacuation(leaving), purpose))
}

/// Empties one task: of another revision than the wanted one, or the youngest of too many, from the
/// fullest zone; or one of those that block a deployment. The steward's own comes last.
pub(crate) fn choose(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let service = &view.service;
    let Some(wanted) = service.wanted_revision.as_ref() else {
        return false;
    };
    if !service.complete || service.orders.leaving.is_some() || service.orders_unread.is_some() {
        return false;
    }
    let staying: Vec<(PeerId, &Peer)> = view
        .peers
        .iter()
        .filter(|(_, p)| p.stays() && p.task.is_some() && p.said.revision.is_some())
        .map(|(id, p)| (*id, p))
        .collect();
    let live = view.peers.values().filter(|p| p.stays()).count();
    let old = |p: &Peer| p.said.revision.as_ref() != Some(wanted);
    let too_many = view.limit().is_some_and(|limit| live > limit);
    let any_old = staying.iter().any(|(_, p)| old(p));
    let (why, candidates): (_, Vec<_>) = if too_many && any_old {
        let old = staying.into_iter().filter(|(_, p)| old(p));
        (LeavingReason::Revision, old.collect())
    } else if too_many {
        // What is wanted is asked of ECS every few seconds: for a moment a task that was just wanted
        // besides looks like one too many.
        let left = (round.settings.surplus_delay).saturating_sub(round.memory.surplus());
        if !left.is_zero() {
            round.wait(Waiting::Surplus { left });
            return false;
        }
        (LeavingReason::Surplus, staying)
    } else if successor_comes(view, wanted) {
        if staying.iter().any(|(_, p)| blocks(view, p)) {
            round.wait(Waiting::Successor);
        }
        return false;
    } else {
        let blocked: Vec<_> = staying
            .into_iter()
            .filter(|(_, p)| blocks(view, p) && (old(p) || !any_old))
            .collect();
        // What a task says of its protection is as old as its last question.
        let left = (round.settings.surplus_delay).saturating_sub(round.memory.blocked());
        if !service.full && !left.is_zero() {
            if !blocked.is_empty() {
                round.wait(Waiting::Blocked { left });
            }
            return false;
        }
        (LeavingReason::Blocked, blocked)
    };
    let mut zones: BTreeMap<Option<&Zone>, usize> = BTreeMap::new();
    for peer in view.peers.values().filter(|peer| peer.stays()) {
        *zones.entry(peer.zone.as_ref()).or_default() += 1;
    }
    let mut candidates: Vec<_> = candidates
        .into_iter()
        .map(|(id, p)| {
            let zone = zones.get(&p.zone.as_ref()).copied().unwrap_or(0);
            let key = (
                id == view.us,
                // ECS stops what is healthy.
                !p.said.ready,
                Reverse(zone),
                Reverse(p.said.created),
                p.task.clone(),
            );
            (key, id)
        })
        .collect();
    candidates.sort();
    candidates.into_iter().any(|((_, _, _, _, task), peer)| {
        let Some(task) = task else {
            return false;
        };
        let leaving = Leaving {
            task,
            peer,
            why,
            released: false,
        };
        round.offer(Action::Evacuate(leaving), Purpose::ToGo(why))
    })
}

/// A task of the wanted revision is on its way in, or the place of one that went is still open: who
/// blocks a deployment goes one at a time.
fn successor_comes(view: &ClusterView, wanted: &str) -> bool {
    let mut outside = view.service.outside.values();
    let newer = outside.any(|task| task.said.revision.as_deref() == Some(wanted));
    let peers = || view.peers.values().filter(|peer| peer.stays());
    let missing = view.limit().is_some_and(|limit| peers().count() < limit);
    newer || missing || peers().any(|peer| !peer.said.ready)
}
