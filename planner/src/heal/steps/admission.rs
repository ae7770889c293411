//! Permissions: who may join, and who may serve. One is out at a time; it is taken back when it was
//! used, is out of place, or is not used.

use std::collections::BTreeMap;

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::{asks_to_set_aside, joins, may_set_aside, settled};
use crate::heal::health::short_shard;
use crate::heal::names::Zone;
use crate::heal::round::Round;
use crate::heal::view::ClusterView;
use crate::heal::waiting::Waiting;
use crate::ids::TaskId;
use crate::records::{Grant, GrantKind};

/// Takes back the permission that is out when nobody needs it any more.
pub(crate) fn take_back(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if let Some(why) = &view.service.orders_unread {
        round.wait(Waiting::OrdersUnread(why.clone()));
        return false;
    }
    let Some(grant) = &view.service.orders.grant else {
        return false;
    };
    match over(round, grant) {
        Some(purpose) => round.offer(Action::Withdraw(grant.clone()), purpose),
        None => {
            round.wait(Waiting::Granted(grant.clone()));
            false
        }
    }
}

/// Why this permission is not needed any more.
fn over(round: &Round<'_>, grant: &Grant) -> Option<Purpose> {
    let (view, settings) = (round.view, round.settings);
    let peer = view.peer_of(&grant.task).map(|(_, peer)| peer);
    let outside = view.service.outside.get(&grant.task);
    let (used, fits) = match grant.kind {
        GrantKind::Join => (
            peer.is_some_and(|peer| peer.voter),
            outside.is_none_or(joins),
        ),
        GrantKind::Serve => (
            peer.is_some_and(|peer| peer.said.ready),
            outside.is_none() && peer.is_none_or(|peer| peer.stays()),
        ),
        // Whoever did is outside now, and the peer that it was is not coming back.
        GrantKind::SetAside => {
            let may = may_set_aside(view, &grant.task).is_ok();
            (outside.is_some(), may)
        }
    };
    let (age, unseen) = round.memory.grant();
    match (used, fits) {
        (true, _) => Some(Purpose::Used),
        (false, false) => Some(Purpose::OutOfPlace),
        _ if unseen >= settings.sight_timeout => Some(Purpose::OutOfSight(unseen)),
        _ if age >= settings.grant_timeout => Some(Purpose::Unused(age)),
        _ => None,
    }
}

/// Lets one of the waiting tasks join, into the zone with the fewest peers first. Before the first
/// formation was complete everybody joins as it comes.
pub(crate) fn join(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if !may_grant(view) {
        return false;
    }
    let mut zones: BTreeMap<Option<&Zone>, usize> = BTreeMap::new();
    for peer in view.peers.values().filter(|peer| peer.stays()) {
        *zones.entry(peer.zone.as_ref()).or_default() += 1;
    }
    let waiting = view.service.outside.iter().filter(|(_, task)| joins(task));
    let mut waiting: Vec<_> = waiting
        .map(|(id, task)| (zones.get(&task.zone.as_ref()).copied().unwrap_or(0), id))
        .collect();
    waiting.sort();
    let (settled, listed) = settled(view);
    waiting.into_iter().any(|(_, task)| {
        let purpose = Purpose::Carried { settled, listed };
        round.offer(give(GrantKind::Join, task), purpose)
    })
}

/// Lets one of those whose Qdrant cannot run set its data aside.
pub(crate) fn set_aside(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if view.service.orders_unread.is_some() || view.service.orders.grant.is_some() {
        return false;
    }
    let asking = view.peers.values().filter(|peer| asks_to_set_aside(peer));
    let asking: Vec<(TaskId, String)> = asking
        .filter_map(|peer| Some((peer.task.clone()?, peer.said.plight.cannot_run.clone()?)))
        .collect();
    asking.into_iter().any(|(task, why)| {
        let purpose = Purpose::CannotRun(why);
        round.offer(give(GrantKind::SetAside, &task), purpose)
    })
}

/// Lets one of the members be ready for the load balancer: those that hold copies first. Not while
/// copies are missing that could be there, for ECS may end another task for each that is ready. For
/// copies that nothing can be done for it is waited as long as for a lost one.
pub(crate) fn serve(round: &mut Round<'_>) -> bool {
    let view = round.view;
    if !may_grant(view) {
        return false;
    }
    let waiting = view.peers.iter();
    let waiting = waiting.filter(|(_, peer)| peer.stays() && !peer.said.ready);
    let mut waiting: Vec<(bool, &TaskId)> = waiting
        .filter_map(|(id, peer)| {
            let copies = round.facts.seats.get(id).map_or(0, |seat| seat.copies);
            Some((copies == 0, peer.task.as_ref()?))
        })
        .collect();
    if waiting.is_empty() {
        return false;
    }
    waiting.sort();
    let ready = view.ready_tasks();
    let purpose = match short_shard(view, &round.facts) {
        None => Purpose::Whole { ready },
        Some(_) if round.copies_rest => Purpose::WholeAsCanBe { ready },
        Some(what) => {
            let patience = round.settings.lost_copy_timeout;
            let left = patience.saturating_sub(round.memory.wedged());
            if !left.is_zero() {
                round.wait(Waiting::ReadyWaits { what, left });
                return false;
            }
            Purpose::WholeAsCanBe { ready }
        }
    };
    waiting
        .into_iter()
        .any(|(_, task)| round.offer(give(GrantKind::Serve, task), purpose.clone()))
}

/// The formation is complete, and no permission is out.
fn may_grant(view: &ClusterView) -> bool {
    let service = &view.service;
    service.complete && service.orders_unread.is_none() && service.orders.grant.is_none()
}

fn give(kind: GrantKind, task: &TaskId) -> Action {
    Action::Grant(Grant {
        kind,
        task: task.clone(),
    })
}
