//! R1, R2 and R9 as a member lives them: readiness, proof, mending the store, and making way.

use std::time::Duration;

use planner::decision::{Action, Alarm, Aside, Decision, Discard, NotReady, Phase, Reason};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{FORMAT, Formed, Grant, GrantKind, Orders, State};
use planner::view::{Child, Dns, Probe, Store};

use crate::scene::{
    LOSS_TIMEOUT, Scene, abandoned, acts, alarmed, believed, entry, formed, hello, id, probe, task,
    unknown, waits,
};

fn complete() -> Formed {
    Formed {
        complete: true,
        ..formed(1, "one")
    }
}

/// Members 2 and 3 answer and list us.
fn in_company(mut scene: Scene) -> Scene {
    for n in [2, 3] {
        let mut hello = hello(n, State::Member, Some(id(1, "one")));
        hello.peers = [PeerId(1), PeerId(2), PeerId(3)].into();
        scene.at(n, probe(hello, Some(formed(1, "one"))));
    }
    scene
}

fn unlist_us(scene: &mut Scene) {
    for probe in scene.seen.peers.values_mut() {
        if let planner::view::Probe::Task { hello, .. } = probe {
            hello.peers.remove(&PeerId(1));
        }
    }
}

fn ready_member() -> Scene {
    let mut scene = in_company(Scene::member());
    scene.qdrant().proof = Observed::Known(Some(complete()));
    scene
}

fn granted(grant: &Grant) -> Observed<Orders> {
    Observed::Known(Orders {
        format: FORMAT,
        grant: Some(grant.clone()),
        leaving: None,
    })
}

#[test]
fn nobody_is_ready_before_the_first_formation_is_complete() {
    let mut scene = in_company(Scene::member());
    let forming = NotReady::Forming {
        members: 3,
        wanted: 3,
    };
    assert_eq!(scene.round().ready, Err(forming.clone()));
    scene.qdrant().proof = unknown();
    assert_eq!(scene.round().ready, Err(forming));
    scene.qdrant().proof = Observed::Known(Some(complete()));
    scene.seen.peers.clear();
    assert_eq!(
        scene.round().ready,
        Ok(()),
        "complete once is complete for ever, and we came before"
    );
}

#[test]
fn who_comes_later_serves_by_the_stewards_permission_and_then_for_life() {
    let mut scene = Scene::member();
    scene.qdrant().proof = Observed::Known(Some(complete()));
    assert_eq!(scene.round().ready, Err(NotReady::NotAdmitted(None)));
    for (kind, task) in [
        (GrantKind::Join, task(1)),
        (GrantKind::Serve, task(2)),
        (GrantKind::SetAside, task(1)),
    ] {
        let other = Grant { kind, task };
        scene.qdrant().orders = granted(&other);
        let waits = NotReady::NotAdmitted(Some(other));
        assert_eq!(scene.round().ready, Err(waits));
    }
    let (kind, task) = (GrantKind::Serve, task(1));
    scene.qdrant().orders = granted(&Grant { kind, task });
    assert_eq!(scene.round().ready, Ok(()));
    scene.qdrant().orders = unknown();
    assert_eq!(scene.round().ready, Ok(()), "for the life of the task");
    // A container that is started again in place, with its disk.
    let mut again = Scene::member();
    again.qdrant().proof = Observed::Known(Some(complete()));
    again.seen.disk.served = true;
    assert_eq!(again.round().ready, Ok(()));
}

#[test]
fn a_learner_and_a_qdrant_that_is_not_ready_get_no_traffic() {
    let mut scene = ready_member();
    scene.qdrant().is_voter = false;
    assert_eq!(scene.round().ready, Err(NotReady::Learner));
    scene.qdrant().is_voter = true;
    scene.qdrant().ready = false;
    assert_eq!(scene.round().ready, Err(NotReady::Qdrant));
    scene.qdrant().ready = true;
    assert_eq!(scene.round().ready, Ok(()));
}

#[test]
fn readiness_stays_through_restarts_and_fencing_while_data_is_here() {
    let mut scene = ready_member();
    assert_eq!(scene.round().ready, Ok(()));
    scene.seen.child = Child::Stopped;
    assert_eq!(scene.round().ready, Ok(()));
    scene.record_formed(&formed(2, "two"));
    let decision = scene.round();
    assert_eq!((decision.phase, decision.ready), (Phase::Fenced, Ok(())));
    // What was set aside may be the only copy of something, and must not end with the task.
    scene.seen.disk = planner::view::Disk {
        aside: true,
        ..planner::view::Disk::EMPTY
    };
    let decision = scene.round();
    assert_eq!((decision.state, decision.ready), (State::Empty, Ok(())));
}

#[test]
fn who_begins_anew_with_nothing_waits_to_be_let_serve_again() {
    let mut scene = ready_member();
    scene.seen.disk.served = true;
    assert_eq!(scene.round().ready, Ok(()));
    scene.record_formed(&formed(2, "two"));
    scene.round();
    // Nothing was here, so it was discarded. The mark is still there.
    scene.seen.disk = planner::view::Disk {
        served: true,
        ..planner::view::Disk::EMPTY
    };
    assert!(scene.round().ready.is_err());
    // A member again, of a generation that is complete: as any newcomer.
    let mut again = Scene::member();
    again.qdrant().proof = Observed::Known(Some(complete()));
    (scene.seen, scene.settings) = (again.seen, again.settings);
    scene.seen.disk.served = true;
    assert_eq!(scene.round().ready, Err(NotReady::NotAdmitted(None)));
    let (kind, task) = (GrantKind::Serve, task(1));
    scene.qdrant().orders = granted(&Grant { kind, task });
    assert_eq!(scene.round().ready, Ok(()));
    scene.qdrant().orders = unknown();
    assert_eq!(scene.round().ready, Ok(()));
}

#[test]
fn only_the_leader_publishes_and_complete_only_when_enough_members_answer() {
    let publish = |formed| Action::Publish(formed);
    let mut scene = Scene::member();
    scene.qdrant().proof = Observed::Known(None);
    waits(&scene.round(), "in the cluster");
    scene.qdrant().leads = true;
    acts(&scene.round(), &publish(formed(1, "one")));
    scene.qdrant().proof = unknown();
    waits(&scene.round(), "in the cluster");
    scene.qdrant().proof = Observed::Known(Some(formed(1, "one")));
    waits(&scene.round(), "in the cluster");
    let mut scene = in_company(scene);
    acts(&scene.round(), &publish(complete()));
    scene.qdrant().leads = false;
    waits(&scene.round(), "in the cluster");
    scene.qdrant().leads = true;
    scene.qdrant().proof = Observed::Known(Some(complete()));
    waits(&scene.round(), "in the cluster");
}

#[test]
fn members_create_again_what_the_store_lost() {
    let mut scene = Scene::member();
    let known = scene.seen.store.clone();
    scene.store().generations.clear();
    let expected = Action::Recreate(formed(1, "one"));
    acts(&scene.round(), &expected);
    scene.store().identity = None;
    acts(&scene.round(), &expected);
    let taken = entry("theirs", Some(abandoned()));
    scene.store().generations.insert(1, taken);
    waits(&scene.round(), "in the cluster");
    scene.seen.store = unknown();
    waits(&scene.round(), "in the cluster");
    scene.seen.store = known;
    waits(&scene.round(), "in the cluster");
}

#[test]
fn another_clusters_store_is_not_written_to() {
    for service in ["vectors", "other"] {
        let mut scene = Scene::member();
        scene.round();
        scene.store().generations.clear();
        scene.identity("elsewhere", service, None);
        let decision = scene.round();
        waits(&decision, "in the cluster");
        assert!(alarmed(&decision, |a| matches!(a, Alarm::ForeignStore(_))));
    }
}

#[test]
fn a_living_member_abandons_a_claim_and_one_in_doubt_does_not() {
    let mut scene = Scene::member();
    scene.store().generations.insert(2, entry("two", None));
    let decision = scene.round();
    assert!(matches!(decision.action, Action::Abandon { number: 2, .. }));
    assert!(matches!(decision.reason, Reason::WeLive(_, 2)));
    let mut leaderless = scene.clone();
    leaderless.qdrant().has_leader = false;
    acts(&leaderless.round(), &Action::Wait);
    let mut stuck = scene;
    stuck.qdrant().commits = Some(false);
    acts(&stuck.round(), &Action::Wait);
}

/// Kill first; then the disk is renamed aside, or wiped when nothing is on it.
#[track_caller]
fn makes_way(mut scene: Scene) {
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Running(unknown());
    acts(&scene.round(), &Action::Kill);
    for rest in [Child::Stopped, Child::Resting("back-off".to_owned())] {
        scene.seen.child = rest;
        let newer = id(2, "two");
        acts(
            &scene.round(),
            &Action::SetAside(Aside::Superseded { newer }),
        );
        let mut dataless = scene.clone();
        dataless.seen.disk.collections = false;
        acts(&dataless.round(), &Action::Discard(Discard::Dataless));
    }
}

#[test]
fn a_higher_formed_generation_in_the_store_ends_ours() {
    let mut scene = Scene::member();
    scene.record_formed(&formed(2, "two"));
    makes_way(scene);
}

#[test]
fn the_proof_of_a_peer_ends_our_generation_without_the_store() {
    let mut scene = Scene::member();
    scene.at(2, believed(2, formed(2, "two")));
    makes_way(scene.clone());
    scene.forget_store();
    makes_way(scene);
}

#[test]
fn a_claim_ends_nothing() {
    for outcome in [None, Some(abandoned())] {
        let mut scene = Scene::member();
        scene.store().generations.insert(2, entry("two", outcome));
        let decision = scene.rounds(3);
        assert_eq!(decision.phase, Phase::Member);
    }
}

#[track_caller]
fn fenced_and_kept(mut scene: Scene) {
    for collections in [true, false] {
        let mut scene = scene.clone();
        scene.seen.disk.collections = collections;
        let decision = scene.round();
        acts(&decision, &Action::Kill);
        assert!(alarmed(&decision, |a| matches!(a, Alarm::BrokenChain(_))));
        scene.seen.child = Child::Stopped;
        let decision = scene.rounds(50);
        acts(&decision, &Action::Wait);
        assert_eq!(decision.phase, Phase::Fenced);
        assert_eq!(decision.state, State::HoldsData);
    }
    scene.seen.child = Child::Stopped;
    acts(&scene.round(), &Action::Wait);
}

#[test]
fn a_chain_that_is_broken_in_the_store_fences_and_keeps_everything() {
    for other in [
        formed(1, "uno"),
        Formed {
            previous: Some(id(1, "uno")),
            ..formed(2, "two")
        },
        Formed {
            previous: None,
            ..formed(2, "two")
        },
        // Names itself.
        Formed {
            previous: Some(id(2, "two")),
            ..formed(2, "two")
        },
        // Generation 2 is not in the store.
        formed(3, "three"),
    ] {
        let mut scene = Scene::member();
        scene.record_formed(&other);
        fenced_and_kept(scene);
    }
}

#[test]
fn a_chain_that_is_broken_in_a_peers_proof_fences_and_keeps_everything() {
    for other in [
        formed(1, "uno"),
        Formed {
            previous: Some(id(1, "uno")),
            ..formed(2, "two")
        },
        Formed {
            previous: None,
            ..formed(2, "two")
        },
    ] {
        let mut scene = Scene::member();
        scene.forget_store();
        scene.at(2, believed(2, other));
        fenced_and_kept(scene);
    }
}

#[test]
fn a_chain_of_several_generations_is_followed() {
    let mut scene = Scene::member();
    scene.record_formed(&Formed {
        previous: Some(id(1, "one")),
        ..formed(3, "one")
    });
    scene.record_formed(&formed(4, "two"));
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let newer = id(4, "two");
    acts(
        &scene.round(),
        &Action::SetAside(Aside::Superseded { newer }),
    );
}

#[test]
fn the_generation_of_another_store_ends_nothing() {
    let mut scene = Scene::member();
    let elsewhere = Formed {
        store_id: "elsewhere".into(),
        ..formed(2, "two")
    };
    scene.round();
    scene.at(2, believed(2, elsewhere));
    acts(&scene.rounds(3), &Action::Wait);
    scene.seen.peers.clear();
    scene.record_formed(&formed(2, "two"));
    scene.identity("elsewhere", "vectors", None);
    assert_eq!(scene.rounds(3).phase, Phase::Member);
}

/// Killed at once; data is kept for a person, nothing at all is freed.
#[track_caller]
fn removed(scene: &mut Scene, decision: &Decision) {
    acts(decision, &Action::Kill);
    assert!(matches!(decision.reason, Reason::Removed(_)));
    scene.seen.child = Child::Stopped;
    let decision = scene.round();
    acts(&decision, &Action::Wait);
    assert!(alarmed(&decision, |a| *a == Alarm::RemovedWithData));
    scene.seen.disk.collections = false;
    acts(&scene.round(), &Action::Discard(Discard::Dataless));
}

#[test]
fn a_stopped_consensus_is_killed_at_once() {
    let mut scene = in_company(Scene::member());
    scene.rounds(3);
    scene.qdrant().consensus_stopped = true;
    acts(&scene.round(), &Action::Kill);
    // Known again once the others, a majority, have taken note.
    unlist_us(&mut scene);
    scene.seen.child = Child::Stopped;
    let decision = scene.rounds(3);
    acts(&decision, &Action::Wait);
    assert!(alarmed(&decision, |a| *a == Alarm::RemovedWithData));
}

#[test]
fn a_member_that_a_majority_does_not_list_for_two_beats_is_killed() {
    let mut scene = in_company(Scene::member());
    scene.rounds(3);
    unlist_us(&mut scene);
    assert_eq!(scene.round().phase, Phase::Member);
    let decision = scene.round();
    removed(&mut scene, &decision);
}

#[test]
fn being_listed_once_more_starts_the_count_anew() {
    let mut scene = in_company(Scene::member());
    scene.rounds(3);
    for _ in 0..5 {
        unlist_us(&mut scene);
        assert_eq!(scene.round().phase, Phase::Member);
        scene = in_company(scene);
        assert_eq!(scene.round().phase, Phase::Member);
    }
}

#[test]
fn half_is_no_majority() {
    let mut scene = in_company(Scene::member());
    unlist_us(&mut scene);
    scene.seen.peers.pop_last();
    assert_eq!(scene.wait(LOSS_TIMEOUT).phase, Phase::Member);
}

#[test]
fn others_need_two_gaps_to_look_at_a_newcomer() {
    for alone_first in [false, true] {
        let mut scene = Scene::member();
        if alone_first {
            scene.rounds(3);
        }
        scene = in_company(scene);
        unlist_us(&mut scene);
        scene.round();
        assert_eq!(scene.rounds(6).phase, Phase::Member, "{alone_first}");
        acts(&scene.rounds(2), &Action::Kill);
    }
}

#[test]
fn data_starts_with_one_witness_and_waits_without_any() {
    let mut scene = Scene::member();
    scene.seen.child = Child::Stopped;
    let mut no_dns = scene.clone();
    no_dns.dns_fails();
    acts(&no_dns.round(), &Action::StartMember);
    for emptied in [false, true] {
        let mut no_store = scene.clone();
        match emptied {
            true => no_store.seen.store = Observed::Known(Store::default()),
            false => no_store.forget_store(),
        }
        let mut no_dns_name = no_store.clone();
        no_dns_name.seen.dns = Dns::NotConfigured;
        acts(&no_dns_name.round(), &Action::StartMember);
        let mut listed = no_store.clone();
        listed.listed([2]);
        waits(&listed.rounds(5), "10.0.0.2, which does not answer");
        listed.at(2, Probe::Opaque("a stranger".to_owned()));
        waits(&listed.round(), "10.0.0.2, which does not answer");
        listed.at(2, probe(hello(2, State::Empty, None), None));
        acts(&listed.round(), &Action::StartMember);
        waits(&no_store.round(), "1 of 3 answers");
        acts(&no_store.rounds(2), &Action::StartMember);
    }
    scene.forget_store();
    scene.dns_fails();
    waits(&scene.wait(LOSS_TIMEOUT * 2), "nobody can say");
    let mut peer = scene.clone();
    peer.at(2, believed(2, formed(1, "one")));
    acts(&peer.round(), &Action::StartMember);
}

#[test]
fn a_round_that_a_slow_store_held_up_was_no_sleep() {
    let mut scene = Scene::member();
    scene.rounds(3);
    scene.forget_store();
    scene.dns_fails();
    let decision = scene.held_up(LOSS_TIMEOUT * 2);
    assert_eq!(decision.phase, Phase::Member);
    acts(&decision, &Action::Wait);
}

#[test]
fn who_slept_as_well_is_no_witness() {
    let mut scene = Scene::member();
    scene.seen.child = Child::Stopped;
    scene.forget_store();
    scene.dns_fails();
    let mut also_slept = believed(2, formed(1, "one"));
    if let Probe::Task { hello, .. } = &mut also_slept {
        hello.verified = false;
    }
    scene.at(2, also_slept);
    waits(&scene.wait(LOSS_TIMEOUT * 2), "nobody can say");
}

#[test]
fn after_a_long_sleep_a_running_qdrant_is_killed_without_a_witness() {
    let mut scene = Scene::member();
    scene.rounds(3);
    scene.forget_store();
    scene.dns_fails();
    assert_eq!(scene.rounds(50).phase, Phase::Member, "verified once");
    scene.after(LOSS_TIMEOUT / 2);
    assert_eq!(scene.round().phase, Phase::Member, "a short sleep");
    let decision = scene.after(LOSS_TIMEOUT / 2 + Duration::from_secs(1));
    acts(&decision, &Action::Kill);
    scene.seen.child = Child::Stopped;
    waits(&scene.round(), "nobody can say");
    scene.seen.store = Scene::member().seen.store;
    acts(&scene.round(), &Action::StartMember);
}

#[test]
fn a_formed_record_of_another_disk_is_not_served() {
    let mut scene = Scene::member();
    scene.qdrant().proof = Observed::Known(Some(formed(1, "uno")));
    let decision = scene.round();
    acts(&decision, &Action::Kill);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::BrokenChain(_))));
}
