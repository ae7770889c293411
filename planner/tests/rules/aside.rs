//! Data with which Qdrant cannot run: kept, and set aside only by the steward's permission.

use planner::decision::{Action, Alarm, Aside, Reason};
use planner::destruction::{may_set_aside, word_for};
use planner::ids::{PeerId, TaskId};
use planner::records::{FORMAT, Grant, GrantKind, Orders, State};
use planner::view::{Child, Probe};

use crate::scene::{Scene, acts, address, alarmed, believed, formed, task, unknown};

/// Puts the permission for task `for_whom` into the key map of member `n`.
pub fn permit(scene: &mut Scene, n: u8, for_whom: u8) {
    grant(scene, n, GrantKind::SetAside, task(for_whom));
}

fn grant(scene: &mut Scene, n: u8, kind: GrantKind, task: TaskId) {
    let there = scene.seen.peers.get_mut(&address(n)).unwrap();
    let Probe::Task { orders, .. } = there else {
        panic!("nobody is there");
    };
    *orders = Some(Orders {
        format: FORMAT,
        grant: Some(Grant { kind, task }),
        leaving: None,
    });
}

/// A member with collections whose Qdrant ends again and again, beside one that leads.
fn looping() -> Scene {
    let mut scene = Scene::member();
    scene.at(2, believed(2, formed(1, "one")));
    scene.seen.child = Child::Resting("exit 101".to_owned());
    scene.seen.crash_loop = Some("exit 101".to_owned());
    scene
}

#[test]
fn a_crash_loop_asks_keeps_its_data_and_tries_on() {
    let mut scene = looping();
    let decision = scene.round();
    acts(&decision, &Action::Wait);
    assert!(matches!(&decision.reason, Reason::NotSetAside(why, None) if why.contains("exit 101")));
    assert_eq!(decision.state, State::HoldsData);
    assert!(decision.plight.cannot_run.is_some());
    assert!(alarmed(&decision, |a| matches!(a, Alarm::CannotRun(_))));
    scene.seen.child = Child::Stopped;
    let decision = scene.round();
    acts(&decision, &Action::StartMember);
    assert!(decision.plight.cannot_run.is_some());
    scene.seen.child = Child::Running(unknown());
    acts(&scene.round(), &Action::Wait);
    // It runs after all.
    let well = Scene::member().seen.child;
    scene.seen.child = well;
    let decision = scene.round();
    assert_eq!(
        (decision.state, decision.plight.cannot_run),
        (State::Member, None)
    );
}

#[test]
fn the_data_is_set_aside_by_a_permission_for_this_task_and_no_other_word() {
    let leader = address(2);
    let ground = Aside::Permitted { leader };
    let mut scene = looping();
    permit(&mut scene, 2, 1);
    acts(&scene.round(), &Action::SetAside(ground.clone()));
    let refusals: [(&str, &dyn Fn(&mut Scene)); 9] = [
        ("for another task", &|s| permit(s, 2, 3)),
        ("for something else", &|s| {
            grant(s, 2, GrantKind::Serve, task(1))
        }),
        ("taken back", &|s| {
            s.at(2, believed(2, formed(1, "one")));
        }),
        ("it does not lead", &|s| {
            change(s, |hello| hello.leads = false);
        }),
        ("it has slept", &|s| {
            change(s, |hello| hello.verified = false)
        }),
        ("of another generation", &|s| {
            s.at(2, believed(2, formed(1, "uno")));
            permit(s, 2, 1);
        }),
        ("of another service", &|s| {
            change(s, |hello| hello.service = "others".to_owned());
        }),
        ("without proof", &|s| {
            if let Some(Probe::Task { proof, .. }) = s.seen.peers.get_mut(&address(2)) {
                *proof = None;
            }
        }),
        ("Qdrant runs", &|s| s.seen.child = Child::Running(unknown())),
    ];
    for (what, refuse) in refusals {
        let mut scene = scene.clone();
        refuse(&mut scene);
        let decision = scene.round();
        assert!(!matches!(decision.action, Action::SetAside(_)), "{what}");
        let stamp = scene.seen.disk.stamp.as_ref().unwrap();
        let word = word_for(&ground, "vectors", &task(1), &scene.seen, stamp);
        let runs = matches!(scene.seen.child, Child::Running(_));
        let may = may_set_aside(&ground, &scene.seen.disk, runs, None, word);
        assert!(may.is_err(), "{what}");
    }
    // Without a crash loop the permission is not used.
    scene.seen.crash_loop = None;
    scene.seen.child = Child::Stopped;
    acts(&scene.round(), &Action::StartMember);
}

fn change(scene: &mut Scene, how: impl FnOnce(&mut planner::records::Hello)) {
    if let Some(Probe::Task { hello, .. }) = scene.seen.peers.get_mut(&address(2)) {
        how(hello);
    }
}

#[test]
fn a_consensus_that_stops_again_asks_as_well() {
    let mut scene = Scene::member();
    scene.at(2, believed(2, formed(1, "one")));
    for _ in 0..2 {
        scene.seen.child = Scene::member().seen.child;
        scene.qdrant().consensus_stopped = true;
        acts(&scene.round(), &Action::Kill);
        scene.seen.child = Child::Stopped;
    }
    let decision = scene.round();
    acts(&decision, &Action::Wait);
    assert!(matches!(decision.reason, Reason::NotSetAside(..)));
    permit(&mut scene, 2, 1);
    let leader = address(2);
    acts(
        &scene.round(),
        &Action::SetAside(Aside::Permitted { leader }),
    );
    // Removed, in truth, and the cluster is whole without it: nobody need permit that.
    let mut whole = believed(2, formed(1, "one"));
    if let Probe::Task { hello, .. } = &mut whole {
        hello.whole = true;
        hello.peers = [PeerId(2)].into();
    }
    scene.at(2, whole);
    acts(&scene.round(), &Action::SetAside(Aside::Removed { leader }));
}

/// Whoever begins anew takes writes before it knows who holds what (decision 0021): it gets no traffic
/// for what it was let serve with before.
#[test]
fn readiness_ends_with_the_data_that_was_given_up() {
    let mut scene = looping();
    scene.seen.disk.served = true;
    permit(&mut scene, 2, 1);
    assert_eq!(scene.round().ready, Ok(()));
    scene.seen.disk = planner::view::Disk {
        aside: true,
        served: true,
        ..planner::view::Disk::EMPTY
    };
    scene.seen.child = Child::Stopped;
    assert!(scene.round().ready.is_err());
}
