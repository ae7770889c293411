//! R9: a peer that was removed stays stopped, also when nobody is left to say so.

use planner::decision::{Action, Alarm, Aside, Decision, Discard, Phase, Reason};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{Formed, Stage, State};
use planner::view::Child;

use crate::scene::{
    LOSS_TIMEOUT, Scene, acts, alarmed, formed, hello, id, probe, qdrant, running, unknown,
};

/// A member of a cluster of two whose Qdrant says that its consensus has stopped.
fn stopped_in_a_pair() -> Scene {
    let mut scene = Scene::member();
    let mut other = hello(2, State::Member, Some(id(1, "one")));
    other.peers = [PeerId(2)].into();
    scene.at(2, probe(other, Some(formed(1, "one"))));
    scene.qdrant().consensus_stopped = true;
    scene
}

fn started_again(scene: &mut Scene) {
    scene.seen.child = Child::Stopped;
    acts(&scene.round(), &Action::StartMember);
    scene.seen.child = running(qdrant(Some(formed(1, "one"))));
}

#[track_caller]
fn kept_for_a_person(decision: &Decision) {
    acts(decision, &Action::Wait);
    assert_eq!(decision.phase, Phase::Fenced);
    assert!(alarmed(decision, |a| *a == Alarm::RemovedWithData));
}

#[test]
fn a_consensus_that_stops_is_started_once_more_and_the_second_time_is_final() {
    let mut scene = Scene::member();
    for again in [true, false] {
        scene.qdrant().consensus_stopped = true;
        acts(&scene.round(), &Action::Kill);
        if again {
            started_again(&mut scene);
            scene.round();
        }
    }
    scene.seen.child = Child::Stopped;
    kept_for_a_person(&scene.wait(LOSS_TIMEOUT * 2));
    scene.seen.disk.collections = false;
    acts(&scene.round(), &Action::Discard(Discard::Dataless));
}

#[test]
fn a_calm_time_between_forgives_the_first() {
    let mut scene = Scene::member();
    for _ in 0..5 {
        scene.qdrant().consensus_stopped = true;
        acts(&scene.round(), &Action::Kill);
        started_again(&mut scene);
        scene.wait(LOSS_TIMEOUT);
    }
}

#[test]
fn the_other_half_of_a_pair_is_believed_after_a_while() {
    let mut scene = stopped_in_a_pair();
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Resting("back-off".to_owned());
    kept_for_a_person(&scene.rounds(10));
    // The witness goes; what it said stays.
    scene.seen.peers.clear();
    scene.seen.child = Child::Stopped;
    kept_for_a_person(&scene.wait(LOSS_TIMEOUT * 2));
}

#[test]
fn qdrant_of_another_generation_is_not_started_again() {
    let mut scene = Scene::member();
    scene.qdrant().proof = Observed::Known(Some(formed(1, "uno")));
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let decision = scene.wait(LOSS_TIMEOUT);
    acts(&decision, &Action::Wait);
    assert_eq!(decision.reason, Reason::SeeAlarm);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::BrokenChain(_))));
}

#[test]
fn a_peer_that_is_not_in_yet_was_not_removed() {
    let mut scene = Scene::member().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.disk.joined = false;
    scene.seen.child = Child::Running(unknown());
    for n in [2, 3] {
        let mut other = hello(n, State::Member, Some(id(1, "one")));
        other.peers = [PeerId(2), PeerId(3)].into();
        scene.at(n, probe(other, Some(formed(1, "one"))));
    }
    acts(&scene.wait(LOSS_TIMEOUT), &Action::Wait);
    scene.seen.disk.joined = true;
    acts(&scene.wait(LOSS_TIMEOUT), &Action::Kill);
}

#[test]
fn a_few_who_lag_are_no_majority_of_their_own_list() {
    let mut scene = Scene::member();
    for n in [2, 3] {
        let mut lags = hello(n, State::Member, Some(id(1, "one")));
        lags.peers = (2..=6).map(PeerId).collect();
        scene.at(n, probe(lags, Some(formed(1, "one"))));
    }
    assert_eq!(scene.wait(LOSS_TIMEOUT).phase, Phase::Member);
}

#[test]
fn a_removed_peer_begins_anew_once_the_cluster_is_whole_without_it() {
    let leader = |whole: bool, lists_us: bool, proof: Option<Formed>| {
        let mut other = hello(2, State::Member, Some(id(1, "one")));
        other.peers = [PeerId(2)].into();
        if lists_us {
            other.peers.insert(PeerId(1));
        }
        (other.leads, other.whole) = (true, whole);
        probe(other, proof)
    };
    let proof = || Some(formed(1, "one"));
    let mut scene = stopped_in_a_pair();
    acts(&scene.round(), &Action::Kill);
    started_again(&mut scene);
    scene.qdrant().consensus_stopped = true;
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    for no_grant in [
        leader(false, false, proof()),
        leader(true, true, proof()),
        leader(true, false, None),
    ] {
        scene.at(2, no_grant);
        kept_for_a_person(&scene.round());
    }
    scene.at(2, leader(true, false, proof()));
    let grant = Aside::Removed {
        leader: crate::scene::address(2),
    };
    let decision = scene.round();
    acts(&decision, &Action::SetAside(grant));
    assert_eq!(decision.state, State::HoldsData);
    // The leader itself was removed after it gave the word: nobody grants any more.
    scene.seen.peers.clear();
    kept_for_a_person(&scene.round());
}
