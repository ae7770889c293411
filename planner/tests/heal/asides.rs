//! The permission to set data aside: what grants it, and everything that refuses.

use planner::heal::action::Action;
use planner::heal::guard::Refusal;
use planner::heal::life::Life;
use planner::heal::memory::Memory;
use planner::heal::plan;
use planner::heal::settings::Settings;
use planner::heal::view::ClusterView;
use planner::ids::{PeerId, TaskId};
use planner::records::{Grant, GrantKind};

use crate::guards::{
    Change, FOUR, LONG, ONE, THREE, TWO, check, collection, dark, gone, good, hold, live, may,
    resharding, shard, transfer, under_way, unhold, unread, unsure,
};

fn task() -> TaskId {
    TaskId("two".to_owned())
}

fn grant() -> Grant {
    Grant {
        kind: GrantKind::SetAside,
        task: task(),
    }
}

/// Peer 2 hangs and cannot run with its data; both of its shards are Active on 1. 3 is well.
fn looping() -> ClusterView {
    let mut view = good();
    live(&mut view, THREE, Life::Alive);
    live(&mut view, TWO, Life::Hung { lasted: LONG });
    let two = view.peers.get_mut(&TWO).unwrap();
    two.task = Some(task());
    two.said.plight.cannot_run = Some("exit 101".to_owned());
    view
}

fn of(view: &mut ClusterView, peer: PeerId) -> &mut planner::heal::view::Peer {
    view.peers.get_mut(&peer).unwrap()
}

#[test]
fn data_is_set_aside_only_when_every_copy_lives_where_somebody_stays() {
    let waits = || Refusal::NotWaiting(task());
    let changes: Vec<Change> = vec![
        (unread, dark()),
        (resharding, Refusal::Resharding("c".into())),
        (
            |v| collection(v).transfers.push(transfer(0, ONE, TWO, LONG)),
            under_way(0, ONE, TWO),
        ),
        (|v| unhold(v, 0, ONE), Refusal::LastCopy(shard(0))),
        (|v| hold(v, 1, ONE, false), Refusal::LastCopy(shard(1))),
        (
            |v| {
                unhold(v, 0, ONE);
                hold(v, 0, FOUR, true);
                of(v, FOUR).said.ending = true;
            },
            Refusal::LastCopy(shard(0)),
        ),
        (
            |v| {
                unhold(v, 0, ONE);
                hold(v, 0, FOUR, true);
                of(v, FOUR).leaving = true;
            },
            Refusal::LastCopy(shard(0)),
        ),
        (
            |v| {
                unhold(v, 0, ONE);
                hold(v, 0, FOUR, true);
                live(v, FOUR, Life::Hung { lasted: LONG });
            },
            Refusal::LastCopy(shard(0)),
        ),
        (|v| live(v, TWO, Life::Alive), waits()),
        (|v| live(v, TWO, gone(LONG)), waits()),
        (|v| live(v, TWO, unsure()), waits()),
        (|v| of(v, TWO).said.plight.cannot_run = None, waits()),
        (|v| of(v, TWO).said.ending = true, waits()),
        (|v| of(v, TWO).task = None, waits()),
        (|v| live(v, THREE, gone(LONG)), Refusal::StillListed(THREE)),
        (|v| live(v, THREE, unsure()), Refusal::StillListed(THREE)),
        (
            |v| v.service.orders.grant = Some(grant()),
            Refusal::GrantOut(grant()),
        ),
        (
            |v| v.service.orders_unread = Some("timed out".to_owned()),
            Refusal::OrdersUnread("timed out".to_owned()),
        ),
    ];
    check(
        &looping(),
        |view| may(view, Action::Grant(grant())),
        changes,
    );
}

#[test]
fn it_is_planned_for_one_and_taken_back_when_it_is_not_asked_for_any_more() {
    let settings = Settings::default();
    let actions = |view: &ClusterView| {
        let actions = plan(&settings, &Memory::default(), view).actions;
        actions
            .into_iter()
            .map(|planned| planned.action)
            .collect::<Vec<_>>()
    };
    let mut view = looping();
    hold(&mut view, 0, FOUR, true);
    hold(&mut view, 1, FOUR, true);
    assert_eq!(actions(&view), [Action::Grant(grant())]);
    let mut out = view;
    out.service.orders.grant = Some(grant());
    assert_eq!(actions(&out), []);
    of(&mut out, TWO).said.plight.cannot_run = None;
    assert_eq!(actions(&out), [Action::Withdraw(grant())]);
}

/// What befalls all is no reason for any of them: the steward itself must run, and nobody's copy lives.
#[test]
fn a_common_cause_permits_nobody() {
    let mut view = looping();
    for (peer, there) in &mut view.peers {
        if *peer != ONE {
            there.life = Life::Hung { lasted: LONG };
            there.task = Some(TaskId(format!("t{peer}")));
            there.said.plight.cannot_run = Some("exit 101".to_owned());
        }
    }
    unhold(&mut view, 0, ONE);
    unhold(&mut view, 1, ONE);
    let plan = plan(&Settings::default(), &Memory::default(), &view);
    let given = plan.actions.iter().any(
        |p| matches!(&p.action, Action::Grant(grant) if grant.task == TaskId("t2".to_owned())),
    );
    assert!(!given, "it holds what nobody else has");
}
