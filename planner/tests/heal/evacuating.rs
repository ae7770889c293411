//! Whom ECS may end: the precondition of emptying a task, and what its copies may move onto.

use planner::heal::action::Action;
use planner::heal::guard::Refusal;
use planner::heal::memory::Memory;
use planner::heal::plan;
use planner::heal::settings::Settings;
use planner::heal::view::ClusterView;
use planner::ids::{PeerId, TaskId};
use planner::records::{Grant, GrantKind, Leaving, LeavingReason, Protection};

use crate::guards::{
    Change, FOUR, LONG, ONE, THREE, TWO, check, collection, dark, full, hold, live, may,
    resharding, shard, transfer, under_way, unhold, unread, unsure,
};

const FIVE: PeerId = PeerId(5);

fn task(peer: PeerId) -> TaskId {
    TaskId(format!("t{peer}"))
}

/// Five peers that serve, three of them wanted beside the one that goes; `c/0` and `c/1` on 1 and 2.
/// Peer 2 is of an old revision.
fn good() -> ClusterView {
    let mut view = crate::guards::good();
    hold(&mut view, 1, TWO, true);
    let like = view.peers[&FOUR].clone();
    view.peers.insert(THREE, like.clone());
    view.peers.insert(FIVE, like);
    view.service.wanted_revision = Some("app:2".to_owned());
    view.service.told = true;
    view.wanted_tasks = Some(4);
    for (id, peer) in &mut view.peers {
        peer.task = Some(task(*id));
        peer.said.revision = Some("app:2".to_owned());
        peer.said.ready = true;
    }
    said(&mut view, TWO).revision = Some("app:1".to_owned());
    view
}

fn said(view: &mut ClusterView, peer: PeerId) -> &mut planner::records::Said {
    &mut view.peers.get_mut(&peer).unwrap().said
}

fn leaving(peer: PeerId, why: LeavingReason) -> Leaving {
    Leaving {
        task: task(peer),
        peer,
        why,
        released: false,
    }
}

fn evacuate(view: &ClusterView) -> Result<(), Refusal> {
    may(
        view,
        Action::Evacuate(leaving(TWO, LeavingReason::Revision)),
    )
}

#[test]
fn a_task_of_an_old_revision_goes_from_a_cluster_at_rest() {
    let changes: Vec<Change> = vec![
        (unread, dark()),
        (resharding, Refusal::Resharding("c".into())),
        (
            |v| {
                let way = transfer(0, ONE, FOUR, LONG);
                collection(v).transfers.push(way);
            },
            under_way(0, ONE, FOUR),
        ),
        (|v| unhold(v, 1, ONE), Refusal::NotWhole(shard(1))),
        (|v| hold(v, 1, ONE, false), Refusal::NotWhole(shard(1))),
        // A copy on a task that is being stopped is as good as gone.
        (|v| said(v, ONE).ending = true, Refusal::NoReason),
        (
            |v| {
                said(v, ONE).ending = true;
                v.wanted_tasks = Some(3);
            },
            Refusal::NotWhole(shard(0)),
        ),
        (full_disks, Refusal::NoRoom(TWO)),
        (
            |v| v.service.orders_unread = Some("timed out".to_owned()),
            Refusal::OrdersUnread("timed out".to_owned()),
        ),
        (
            |v| v.service.orders.leaving = Some(leaving(FOUR, LeavingReason::Surplus)),
            Refusal::OtherLeaves(task(FOUR)),
        ),
        // What is wanted is not known, or it is what this one is.
        (|v| v.service.wanted_revision = None, Refusal::NoReason),
        (|v| said(v, TWO).revision = None, Refusal::NoReason),
        (
            |v| said(v, TWO).revision = Some("app:2".to_owned()),
            Refusal::NoReason,
        ),
        (|v| v.wanted_tasks = None, Refusal::NoReason),
        (|v| v.wanted_tasks = Some(5), Refusal::NoReason),
        // Another task has its address, or it does not live.
        (
            |v| v.peers.get_mut(&TWO).unwrap().task = Some(task(FOUR)),
            Refusal::Target(TWO),
        ),
        (|v| live(v, TWO, unsure()), Refusal::Target(TWO)),
        (|v| drop(v.peers.remove(&TWO)), Refusal::NoSuchPeer(TWO)),
        (
            |v| {
                v.wanted_tasks = Some(2);
                live(v, THREE, unsure());
                live(v, FOUR, unsure());
            },
            Refusal::Voters,
        ),
    ];
    check(&good(), evacuate, changes);
}

fn full_disks(view: &mut ClusterView) {
    full(view);
    for peer in [THREE, FIVE] {
        view.peers.get_mut(&peer).unwrap().disk = view.peers[&FOUR].disk;
    }
}

/// A peer that hangs for ever keeps nobody else from going once its copies were made again.
#[test]
fn a_copy_on_a_hung_peer_holds_nobody_up_when_there_are_enough_without_it() {
    let mut view = good();
    hold(&mut view, 0, FIVE, true);
    live(&mut view, FIVE, unsure());
    view.wanted_tasks = Some(4);
    assert_eq!(evacuate(&view), Ok(()));
    unhold(&mut view, 0, ONE);
    assert_eq!(evacuate(&view), Err(Refusal::NotWhole(shard(0))));
}

/// Where ECS has no room for a newcomer, one goes before its successor is there; never so that a
/// single copy or a single task would be left.
#[test]
fn one_of_three_with_three_copies_goes_first_where_ecs_has_no_room() {
    let blocked = |view: &ClusterView| {
        let leaving = leaving(TWO, LeavingReason::Blocked);
        may(view, Action::Evacuate(leaving))
    };
    let mut view = good();
    for peer in [FOUR, FIVE] {
        view.peers.remove(&peer);
    }
    for id in [0, 1] {
        hold(&mut view, id, THREE, true);
    }
    collection(&mut view).factor = 3;
    view.wanted_tasks = Some(3);
    view.service.full = true;
    check(
        &view,
        blocked,
        vec![
            (|v| v.service.full = false, Refusal::NoReason),
            (
                |v| said(v, TWO).revision = Some("app:2".to_owned()),
                Refusal::NoReason,
            ),
            // Two of four copies would be left.
            (|v| collection(v).factor = 4, Refusal::NoReason),
            (|v| unhold(v, 0, ONE), Refusal::NotWhole(shard(0))),
        ],
    );
    // A refusal to protect it says the same, but not that its successor comes: three stay then.
    view.service.full = false;
    said(&mut view, TWO).protection = Some(Protection::Blocked);
    assert_eq!(blocked(&view), Err(Refusal::NoReason));
    collection(&mut view).factor = 2;
    assert_eq!(blocked(&view), Ok(()));
    // Two tasks with two copies: one copy would be left.
    view.peers.remove(&THREE);
    for id in [0, 1] {
        unhold(&mut view, id, THREE);
    }
    collection(&mut view).factor = 2;
    assert_eq!(blocked(&view), Err(Refusal::NoReason));
}

/// Peer 2 is protected and goes; 4 and 5 could take its copies.
fn protected() -> ClusterView {
    let mut view = good();
    for peer in [ONE, TWO, FOUR, FIVE] {
        said(&mut view, peer).protection = Some(Protection::Held);
    }
    view.peers.remove(&THREE);
    view.wanted_tasks = Some(3);
    view
}

#[test]
fn the_copies_of_a_protected_task_go_onto_one_that_ecs_protects_too() {
    let both = |view: &mut ClusterView, protection| {
        said(view, FOUR).protection = protection;
        said(view, FIVE).protection = protection;
    };
    let mut view = protected();
    assert_eq!(evacuate(&view), Ok(()));
    // While six are protected ECS refuses the seventh: then it may have one copy of a shard, and all
    // others of it are on protected tasks.
    for protection in [None, Some(Protection::Off), Some(Protection::Blocked)] {
        both(&mut view, protection);
        assert_eq!(evacuate(&view), Ok(()));
    }
    said(&mut view, ONE).protection = Some(Protection::Blocked);
    assert_eq!(evacuate(&view), Err(Refusal::Unprotected));
    // One that is as little protected gives to anybody.
    said(&mut view, TWO).protection = Some(Protection::Refused);
    assert_eq!(evacuate(&view), Ok(()));
}

#[test]
fn a_copy_moves_from_a_protected_task_as_its_task_may_go() {
    let mut view = protected();
    view.peers.get_mut(&TWO).unwrap().leaving = true;
    let shift = |view: &ClusterView| {
        may(
            view,
            Action::MoveReplica {
                shard: shard(0),
                from: TWO,
                to: FOUR,
            },
        )
    };
    check(
        &view,
        shift,
        vec![(
            |v| {
                said(v, FOUR).protection = Some(Protection::Blocked);
                said(v, ONE).protection = Some(Protection::Refused);
            },
            Refusal::Unprotected,
        )],
    );
    said(&mut view, FOUR).protection = Some(Protection::Blocked);
    assert_eq!(shift(&view), Ok(()));
}

#[test]
fn a_task_is_let_go_when_it_holds_nothing() {
    let order = leaving(FOUR, LeavingReason::Surplus);
    let mut view = good();
    view.service.orders.leaving = Some(order.clone());
    view.peers.get_mut(&FOUR).unwrap().leaving = true;
    check(
        &view,
        |view| {
            let released = true;
            may(
                view,
                Action::LetGo(Leaving {
                    released,
                    ..order.clone()
                }),
            )
        },
        vec![
            (unread, dark()),
            (resharding, Refusal::Resharding("c".into())),
            (|v| hold(v, 0, FOUR, false), Refusal::Holds(FOUR, 1)),
            (
                |v| {
                    let way = transfer(0, ONE, FOUR, LONG);
                    collection(v).transfers.push(way);
                },
                under_way(0, ONE, FOUR),
            ),
            (
                |v| v.service.orders_unread = Some("timed out".to_owned()),
                Refusal::OrdersUnread("timed out".to_owned()),
            ),
            (
                |v| v.service.orders.leaving = None,
                Refusal::NotLeaving(FOUR),
            ),
            (
                |v| v.service.orders.leaving = Some(leaving(FIVE, LeavingReason::Surplus)),
                Refusal::NotLeaving(FOUR),
            ),
        ],
    );
}

/// A count that ECS told may be some seconds old.
#[test]
fn a_surplus_has_to_last_before_anybody_goes() {
    let mut view = good();
    said(&mut view, TWO).revision = Some("app:2".to_owned());
    view.service.complete = true;
    let settings = Settings::default();
    let mut memory = Memory::default();
    let go = |memory: &Memory, view: &ClusterView| {
        let plan = plan(&settings, memory, view);
        let mut actions = plan.actions.into_iter();
        actions.any(|planned| matches!(planned.action, Action::Evacuate(_)))
    };
    let half = settings.surplus_delay / 2;
    for (wanted, expected) in [
        (4, false),
        (4, false),
        (5, false),
        (4, false),
        (4, false),
        (4, true),
    ] {
        view.wanted_tasks = Some(wanted);
        memory.observe(&settings, half, &view);
        assert_eq!(go(&memory, &view), expected, "{memory:?}");
    }
}

/// While all are of one revision ECS stops any that is not protected, as soon as one more than wanted
/// is healthy.
#[test]
fn the_one_more_is_ready_only_when_another_can_be_spared() {
    let mut view = protected();
    said(&mut view, TWO).revision = Some("app:2".to_owned());
    said(&mut view, FIVE).ready = false;
    let serve = |view: &ClusterView| {
        let (kind, task) = (GrantKind::Serve, task(FIVE));
        may(view, Action::Grant(Grant { kind, task }))
    };
    let mut spared = leaving(FOUR, LeavingReason::Surplus);
    spared.released = true;
    view.service.orders.leaving = Some(spared);
    check(
        &view,
        serve,
        vec![
            (
                |v| v.service.orders.leaving = None,
                Refusal::StoppedFirst(task(FIVE)),
            ),
            (
                |v| v.service.orders.leaving = Some(leaving(FOUR, LeavingReason::Surplus)),
                Refusal::StoppedFirst(task(FIVE)),
            ),
            (
                |v| said(v, FIVE).protection = Some(Protection::Blocked),
                Refusal::StoppedFirst(task(FIVE)),
            ),
            (
                |v| v.wanted_tasks = Some(2),
                Refusal::EnoughReady {
                    ready: 3,
                    wanted: 2,
                },
            ),
        ],
    );
    // In a deployment ECS stops an old one, and where nobody is protected it is paced by readiness.
    view.service.orders.leaving = None;
    said(&mut view, TWO).revision = Some("app:1".to_owned());
    assert_eq!(serve(&view), Ok(()));
    said(&mut view, TWO).revision = Some("app:2".to_owned());
    for peer in [ONE, TWO, FOUR, FIVE] {
        said(&mut view, peer).protection = Some(Protection::Refused);
    }
    assert_eq!(serve(&view), Ok(()));
}

/// The only copy, or the last that counts, goes onto a protected task; where the service is one task
/// there is none.
#[test]
fn a_last_copy_goes_onto_a_protected_task_only() {
    let mut view = protected();
    for peer in [FOUR, FIVE] {
        said(&mut view, peer).protection = Some(Protection::Blocked);
    }
    assert_eq!(evacuate(&view), Ok(()));
    for id in [0, 1] {
        unhold(&mut view, id, ONE);
    }
    collection(&mut view).factor = 1;
    // Peer 1 is protected and empty, and could take it: 2 may go, though not onto 4.
    assert_eq!(evacuate(&view), Ok(()));
    view.peers.get_mut(&TWO).unwrap().leaving = true;
    let shift = |view: &ClusterView, to: PeerId| {
        let (shard, from) = (shard(0), TWO);
        may(view, Action::MoveReplica { shard, from, to })
    };
    assert_eq!(shift(&view, FOUR), Err(Refusal::Unprotected));
    assert_eq!(shift(&view, ONE), Ok(()));
    // A copy that is not Active, or on a peer that does not answer, is none.
    hold(&mut view, 0, ONE, false);
    assert_eq!(shift(&view, FOUR), Err(Refusal::Unprotected));
    hold(&mut view, 0, ONE, true);
    assert_eq!(shift(&view, FOUR), Ok(()));
    live(&mut view, ONE, unsure());
    assert_eq!(shift(&view, FOUR), Err(Refusal::Unprotected));
    view.wanted_tasks = Some(1);
    assert_eq!(shift(&view, FOUR), Ok(()));
}

#[test]
fn a_task_that_was_let_go_and_holds_copies_again_is_protected_again() {
    let mut let_go = leaving(FOUR, LeavingReason::Surplus);
    let_go.released = true;
    let mut view = good();
    view.service.orders.leaving = Some(let_go);
    view.service.complete = true;
    view.peers.get_mut(&FOUR).unwrap().leaving = true;
    hold(&mut view, 0, FOUR, true);
    said(&mut view, TWO).revision = Some("app:2".to_owned());
    let again = || Action::CallBack(leaving(FOUR, LeavingReason::Surplus));
    let planned = plan(&Settings::default(), &Memory::default(), &view);
    assert_eq!(
        planned.actions.first().map(|p| p.action.clone()),
        Some(again())
    );
    check(
        &view,
        |view| may(view, again()),
        vec![
            (|v| unhold(v, 0, FOUR), Refusal::NotThere),
            (
                |v| v.service.orders.leaving = None,
                Refusal::NotLeaving(FOUR),
            ),
            (
                |v| v.service.orders.leaving = Some(leaving(FOUR, LeavingReason::Surplus)),
                Refusal::NotThere,
            ),
        ],
    );
}

/// ECS stops a task that is being emptied before it is empty: one copy elsewhere is enough then.
#[test]
fn a_task_that_is_stopped_before_it_is_empty_hands_over() {
    let mut view = good();
    view.peers.get_mut(&TWO).unwrap().leaving = true;
    let drop = Action::DropReplica {
        shard: shard(0),
        peer: TWO,
    };
    assert_eq!(
        may(&view, drop.clone()),
        Err(Refusal::StillWanted(shard(0)))
    );
    said(&mut view, TWO).ending = true;
    assert_eq!(may(&view, drop), Ok(()));
}

/// Of a service of one, ECS stops the other as soon as the newcomer is ready: with the only copies.
#[test]
fn the_second_of_one_is_ready_only_when_the_first_holds_nothing() {
    let mut view = good();
    view.wanted_tasks = Some(1);
    view.peers.retain(|peer, _| [TWO, FIVE].contains(peer));
    for id in [0, 1] {
        unhold(&mut view, id, ONE);
    }
    said(&mut view, FIVE).ready = false;
    let serve = |view: &ClusterView| {
        let (kind, task) = (GrantKind::Serve, task(FIVE));
        may(view, Action::Grant(Grant { kind, task }))
    };
    assert_eq!(serve(&view), Err(Refusal::Holds(TWO, 2)));
    for id in [0, 1] {
        unhold(&mut view, id, TWO);
        hold(&mut view, id, FIVE, true);
    }
    assert_eq!(serve(&view), Ok(()));
}
