//! R9: a peer that was removed stays stopped, also when nobody is left to say so.

use planner::decision::{Action, Alarm, Aside, Decision, Discard, Phase, Reason};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{Formed, Stage, State};
use planner::view::Child;

use crate::scene::{
    LOSS_TIMEOUT, ROUND, SLEEP, Scene, acts, alarmed, formed, hello, id, probe, qdrant, running,
    unknown,
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

/// A member among three; what the two others say of us.
fn among_three(listed: bool) -> Scene {
    let mut scene = Scene::member();
    say(&mut scene, listed);
    scene
}

fn say(scene: &mut Scene, listed: bool) {
    for n in [2, 3] {
        let mut other = hello(n, State::Member, Some(id(1, "one")));
        other.peers = [PeerId(2), PeerId(3)].into();
        if listed {
            other.peers.insert(PeerId(1));
        }
        scene.at(n, probe(other, Some(formed(1, "one"))));
    }
}

#[test]
fn who_slept_for_long_stands_still_until_a_majority_has_listed_it_for_a_beat() {
    let mut scene = among_three(true);
    assert!(!scene.rounds(3).stand_still);
    assert!(!scene.after(SLEEP - ROUND).stand_still, "not that long");
    assert!(scene.after(SLEEP).stand_still);
    assert!(!scene.rounds(1).stand_still, "a round is a beat here");
    // With nobody to say so it stands; in the end it goes on, for a lost majority needs its survivors.
    let mut alone = among_three(true);
    alone.rounds(3);
    alone.seen.peers.clear();
    alone.seen.disk.voters = (1..=3).map(PeerId).collect();
    assert!(alone.after(SLEEP).stand_still);
    assert!(alone.wait(LOSS_TIMEOUT - ROUND * 2).stand_still);
    assert!(!alone.wait(ROUND * 3).stand_still);
    // One voter among many is no majority, and one who denies is reason to stand for ever.
    let mut denied = among_three(true);
    denied.rounds(3);
    say(&mut denied, false);
    denied.seen.peers.remove(&crate::scene::address(3));
    assert!(denied.after(SLEEP).stand_still);
    assert!(denied.wait(LOSS_TIMEOUT * 2).stand_still);
}

#[test]
fn the_only_voter_goes_on_after_a_sleep() {
    let mut scene = Scene::member();
    scene.seen.disk.voters = [PeerId(1)].into();
    scene.rounds(2);
    assert!(scene.after(SLEEP).stand_still);
    assert!(!scene.round().stand_still);
}

#[test]
fn whom_a_majority_lists_no_more_stands_still_at_once_and_is_killed_when_it_lasts() {
    let mut scene = among_three(true);
    scene.rounds(2);
    say(&mut scene, false);
    let decision = scene.round();
    assert!(decision.stand_still);
    acts(&decision, &Action::Wait);
    say(&mut scene, true);
    assert!(!scene.rounds(2).stand_still, "it was a mistake of theirs");
    say(&mut scene, false);
    acts(&scene.rounds(3), &Action::Kill);
}
