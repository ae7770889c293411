//! R1 and R2 as an empty task lives them: whom it joins, and whom it waits for.

use std::time::Duration;

use planner::decision::{Action, Alarm, Decision, Phase, Reason};
use planner::records::{Stage, State};
use planner::settings::ELECTION;
use planner::view::{Child, Probe};

use crate::scene::{
    CLAIM_TIMEOUT, LOSS_TIMEOUT, Scene, acts, address, alarmed, believed, formed, hello, id, joins,
    probe, waits,
};

fn via(decision: &Decision) -> u8 {
    match &decision.action {
        Action::StartJoiner { uri, via, .. } => (2..9)
            .find(|n| *via == address(*n) && uri.contains(&format!("10.0.0.{n}:")))
            .expect("address and URI are of one peer"),
        other => panic!("{other:?} because {}", decision.reason),
    }
}

#[test]
fn a_live_believed_peer_is_joined_whatever_the_store_says() {
    let gen1 = formed(1, "one");
    let changes: [(&str, fn(&mut Scene)); 6] = [
        ("empty store", |_| {}),
        ("store unknown", Scene::forget_store),
        ("DNS fails", Scene::dns_fails),
        ("an undecided claim", |s| {
            let entry = crate::scene::entry("x", None);
            s.store().generations.insert(1, entry);
        }),
        ("somebody else's store", |s| s.identity("x", "other", None)),
        ("sets", |s| s.store().sets = Some(true)),
    ];
    for (what, change) in changes {
        let mut scene = Scene::empty();
        scene.at(2, believed(2, gen1.clone()));
        change(&mut scene);
        let decision = scene.round();
        let expected = Action::StartJoiner {
            formed: gen1.clone(),
            via: address(2),
            uri: "http://10.0.0.2:6335".to_owned(),
        };
        assert_eq!(decision.action, expected, "{what}");
        assert_eq!(decision.state, State::Joining);
    }
}

#[test]
fn a_member_without_proof_is_neither_joined_nor_founded_over() {
    let other_service = {
        let mut proof = formed(1, "one");
        proof.service = "other".to_owned();
        proof
    };
    for proof in [None, Some(other_service)] {
        let mut scene = Scene::empty();
        scene.neighbour(2);
        scene.at(2, probe(hello(2, State::Member, Some(id(1, "one"))), proof));
        waits(&scene.wait(LOSS_TIMEOUT * 2), "Member");
    }
}

#[test]
fn somebody_alive_whom_we_cannot_read_is_never_founded_over() {
    for what in [
        "401",
        "Qdrant's port is open",
        "another service",
        "nonsense",
    ] {
        for listed in [true, false] {
            let mut scene = Scene::empty();
            scene.at(2, Probe::Opaque(what.to_owned()));
            if listed {
                scene.listed([2]);
            }
            let decision = scene.rounds(3);
            waits(&decision, what);
            assert_eq!(decision.phase, Phase::Waiting);
            assert!(decision.alarms.is_empty(), "it may just be starting");
            let decision = scene.wait(CLAIM_TIMEOUT);
            waits(&decision, what);
            assert!(alarmed(&decision, |a| matches!(a, Alarm::Unreadable(_))));
            acts(&scene.wait(LOSS_TIMEOUT * 2), &Action::Wait);
        }
    }
}

#[test]
fn the_alarm_counts_anew_once_everybody_could_be_read() {
    let mut scene = Scene::empty();
    scene.at(2, Probe::Opaque("401".to_owned()));
    scene.rounds(CLAIM_TIMEOUT.as_secs() / 5);
    scene.at(2, Probe::Silent);
    scene.dns_fails();
    scene.round();
    scene.at(2, Probe::Opaque("401".to_owned()));
    assert!(scene.round().alarms.is_empty());
}

#[test]
fn clusters_that_contradict_each_other_block_without_an_action() {
    let mut other_store = formed(1, "one");
    other_store.store_id = "elsewhere".into();
    for (what, one, other) in [
        ("two stores", formed(1, "one"), other_store.clone()),
        (
            "two tokens of one number",
            formed(1, "one"),
            formed(1, "uno"),
        ),
    ] {
        let mut scene = Scene::empty();
        scene.at(2, believed(2, one));
        scene.at(3, believed(3, other));
        let decision = scene.wait(LOSS_TIMEOUT * 2);
        assert_eq!(decision.action, Action::Wait, "{what}");
        assert_eq!(decision.phase, Phase::Blocked, "{what}");
        assert!(alarmed(&decision, |a| matches!(a, Alarm::Contradiction(_))));
    }
    for (what, in_store, peer) in [
        ("the store's name", formed(1, "one"), other_store),
        ("the store's token", formed(1, "one"), formed(1, "uno")),
    ] {
        let mut scene = Scene::empty();
        scene.record_formed(&in_store);
        scene.at(2, believed(2, peer));
        let decision = scene.wait(LOSS_TIMEOUT * 2);
        assert_eq!(decision.action, Action::Wait, "{what}");
        assert!(alarmed(&decision, |a| matches!(a, Alarm::Contradiction(_))));
    }
}

#[test]
fn the_higher_of_two_generations_is_joined() {
    let mut scene = Scene::empty();
    scene.at(2, believed(2, formed(1, "one")));
    scene.at(3, believed(3, formed(2, "two")));
    assert_eq!(via(&scene.round()), 3);
    // The store knows better than both: nobody here is of the cluster.
    scene.record_formed(&formed(3, "three"));
    assert!(!joins(&scene.wait(LOSS_TIMEOUT * 2)));
}

#[test]
fn a_member_that_leads_is_preferred() {
    let mut scene = Scene::empty();
    let follower = probe(
        hello(2, State::Member, Some(id(1, "one"))),
        Some(formed(1, "one")),
    );
    scene.at(2, follower);
    scene.at(3, believed(3, formed(1, "one")));
    for _ in 0..4 {
        assert_eq!(via(&scene.round()), 3);
    }
}

#[test]
fn an_election_is_waited_out_and_then_the_peers_are_tried_in_turn() {
    let mut scene = Scene::empty();
    for n in [2, 3, 4] {
        let follower = hello(n, State::Member, Some(id(1, "one")));
        scene.at(n, probe(follower, Some(formed(1, "one"))));
    }
    let second = Duration::from_secs(1);
    scene.after(Duration::ZERO);
    for _ in 1..ELECTION.as_secs() {
        let decision = scene.after(second);
        assert_eq!(decision.reason, Reason::NobodyLeads);
        assert_eq!(decision.action, Action::Wait);
    }
    let tried: Vec<u8> = (0..6).map(|_| via(&scene.after(second))).collect();
    assert_eq!(tried, [2, 3, 4, 2, 3, 4]);
    scene.at(2, believed(2, formed(1, "one")));
    assert_eq!(via(&scene.after(second)), 2);
    scene.seen.peers.remove(&address(2));
    assert_eq!(
        scene.after(second).reason,
        Reason::NobodyLeads,
        "a new election"
    );
}

#[test]
fn a_joiner_keeps_its_disk_between_tries_and_joins_only_its_own_generation() {
    let mut scene = Scene::empty().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.disk.joined = false;
    scene.record_formed(&formed(1, "one"));
    scene.at(2, believed(2, formed(1, "one")));
    assert_eq!(via(&scene.round()), 2);
    scene.seen.peers.clear();
    waits(&scene.rounds(3), "nobody of it answers");
    scene.seen.disk.joined = true;
    acts(&scene.round(), &Action::StartMember);
    scene.seen.child = crate::scene::running(crate::scene::qdrant(None));
    scene.qdrant().is_voter = false;
    waits(&scene.round(), "does not vote yet");
    scene.qdrant().is_voter = true;
    acts(&scene.round(), &Action::Settle(formed(1, "one")));
}

#[test]
fn a_joiner_whose_generation_is_over_kills_first_and_frees_its_disk_then() {
    let mut scene = Scene::empty().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.child = Child::Running(crate::scene::unknown());
    scene.at(2, believed(2, formed(2, "two")));
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let dataless = Action::Discard(planner::decision::Discard::Dataless);
    acts(&scene.round(), &dataless);
}
