//! R7: when a generation is lost, and everything that resets the count.

use planner::decision::{Action, Alarm, Discard, Phase};
use planner::ids::PeerId;
use planner::records::{Formed, Mode, Stage, State};
use planner::view::{Child, Probe};

use crate::scene::{
    LOSS_TIMEOUT, Scene, acts, address, alarmed, believed, claims, formed, hello, id, probe,
    qdrant, record, running, task, waits,
};

/// Rounds of five seconds that complete the count, the first of which only begins it.
const COMPLETE: u64 = LOSS_TIMEOUT.as_secs() / 5 + 1;

fn second() -> Action {
    Action::Claim {
        number: 2,
        previous: Some(id(1, "one")),
        mode: Mode::Found,
    }
}

/// The store lists a member of generation 1 whose beat does not move.
fn with_a_dead_member() -> Scene {
    let mut scene = Scene::lost();
    let dead = record(2, State::Member, Some(id(1, "one")));
    scene.store().members.insert(task(2), dead);
    scene.at(2, Probe::Silent);
    scene
}

#[test]
fn a_generation_is_lost_when_all_were_silent_for_the_loss_time_out() {
    for mut scene in [Scene::lost(), with_a_dead_member()] {
        waits(
            &scene.rounds(COMPLETE - 1),
            "generation 1 (one) is the cluster",
        );
        let decision = scene.round();
        acts(&decision, &second());
        assert!(alarmed(&decision, |a| {
            let mode = Mode::Found;
            *a == Alarm::ClusterLost {
                lost: Some(id(1, "one")),
                mode,
            }
        }));
    }
}

#[test]
fn whatever_breaks_the_silence_starts_the_count_anew() {
    let member = |s: &mut Scene| {
        let alive = probe(hello(2, State::Member, Some(id(1, "one"))), None);
        s.at(2, alive);
    };
    let data = |s: &mut Scene| s.at(2, probe(hello(2, State::HoldsData, None), None));
    let aside = |s: &mut Scene| {
        let mut hello = hello(2, State::Empty, None);
        hello.aside = true;
        s.at(2, probe(hello, None));
    };
    let joins_another = |s: &mut Scene| {
        let there = probe(hello(2, State::Joining, Some(id(1, "uno"))), None);
        s.at(2, there);
    };
    let beats = |s: &mut Scene| s.store().members.get_mut(&task(2)).unwrap().beat += 1;
    let appears = |s: &mut Scene| {
        let other = record(3, State::HoldsData, None);
        s.store().members.insert(task(3), other);
    };
    let listed = |s: &mut Scene| s.listed([2]);
    let unreadable = |s: &mut Scene| s.at(3, Probe::Opaque("401".to_owned()));
    let unseen = |s: &mut Scene| s.store().own_beat_seen = false;
    let resets: [(&str, &dyn Fn(&mut Scene)); 11] = [
        ("a member answers", &member),
        ("somebody holds data", &data),
        ("somebody holds data aside", &aside),
        ("somebody joins another", &joins_another),
        ("a beat moves", &beats),
        ("a beat appears", &appears),
        ("a silent address is listed", &listed),
        ("somebody cannot be read", &unreadable),
        ("our own beat is not seen", &unseen),
        ("the store is unknown", &Scene::forget_store),
        ("DNS fails", &Scene::dns_fails),
    ];
    for (what, reset) in resets {
        let mut scene = with_a_dead_member();
        scene.rounds(COMPLETE - 1);
        let quiet = scene.seen.clone();
        reset(&mut scene);
        assert_eq!(scene.round().action, Action::Wait, "{what}");
        scene.seen = quiet;
        let again = scene.rounds(COMPLETE - 2);
        assert_eq!(again.action, Action::Wait, "{what}: {}", again.reason);
        assert!(claims(&scene.rounds(3)), "{what}");
    }
}

#[test]
fn our_own_pause_and_another_generation_start_the_count_anew() {
    let mut scene = with_a_dead_member();
    scene.rounds(COMPLETE - 1);
    // DNS starts anew as well, and is the first to say so.
    waits(&scene.after(LOSS_TIMEOUT * 5), "0 of 3 answers");
    assert_eq!(
        scene.memory.silence.hindrance(),
        Some("this task has slept")
    );
    waits(&scene.rounds(COMPLETE - 2), "nobody of it answers");
    assert!(claims(&scene.round()));
    let mut scene = with_a_dead_member();
    scene.rounds(COMPLETE - 1);
    scene.record_formed(&formed(2, "two"));
    waits(&scene.round(), "just begun");
    waits(&scene.rounds(COMPLETE - 2), "generation 2 (two)");
    assert!(claims(&scene.round()));
}

#[test]
fn what_never_ends_is_never_called_lost() {
    let mut scene = with_a_dead_member();
    for beat in 0..200 {
        scene.store().members.get_mut(&task(2)).unwrap().beat = beat;
        acts(&scene.round(), &Action::Wait);
    }
    let mut listed = with_a_dead_member();
    listed.listed([2]);
    waits(&listed.rounds(COMPLETE * 5), "does not answer");
}

#[test]
fn those_who_give_way_do_not_break_the_silence() {
    for (state, generation) in [
        (State::Empty, None),
        (State::Claiming, None),
        (State::Joining, Some(id(1, "one"))),
        (State::Stuck, Some(id(1, "one"))),
    ] {
        let mut scene = Scene::lost();
        scene.neighbour(2);
        scene.at(2, probe(hello(2, state, generation.clone()), None));
        for beat in 0..COMPLETE {
            let mut record = record(2, state, generation.clone());
            record.beat = beat;
            scene.store().members.insert(task(2), record);
            scene.round();
        }
        acts(&scene.round(), &second());
    }
}

#[test]
fn snapshot_sets_call_a_person_where_that_is_asked_for_and_nothing_is_claimed() {
    let mut scene = Scene::lost();
    scene.settings.restore = false;
    scene.store().sets = Some(true);
    let decision = scene.rounds(COMPLETE * 3);
    acts(&decision, &Action::Wait);
    assert_eq!(decision.phase, Phase::Blocked);
    assert!(matches!(
        &decision.alarms[..],
        [Alarm::RestoreNeeded { lost: Some(lost), .. }] if *lost == id(1, "one")
    ));
    // Left set after a take-over, it says nothing about a cluster of our own stack.
    scene.settings.adopt_fresh = true;
    acts(&scene.round(), &Action::Wait);
    scene.settings.stack = Some("green".to_owned());
    scene.stack_of(1, "green");
    acts(&scene.round(), &Action::Wait);
    scene.stack_of(1, "blue");
    acts(&scene.round(), &second());
    scene.settings.adopt_fresh = false;
    let decision = scene.round();
    assert!(alarmed(&decision, |a| matches!(a, Alarm::ForeignStore(_))));
}

#[test]
fn data_set_aside_here_or_there_keeps_everybody_from_founding() {
    let mut scene = Scene::lost();
    scene.seen.disk.aside = true;
    let decision = scene.rounds(COMPLETE * 3);
    acts(&decision, &Action::Wait);
    assert_eq!(decision.alarms, [Alarm::AsideKept]);
}

#[test]
fn adopting_does_not_shorten_the_silence() {
    let mut scene = with_a_dead_member();
    scene.settings.adopt_fresh = true;
    scene.settings.stack = Some("green".to_owned());
    scene.identity("store", "vectors", Some("blue"));
    scene.stack_of(1, "blue");
    waits(&scene.rounds(COMPLETE - 1), "nobody of it answers");
    acts(&scene.round(), &second());
}

/// A node of generation 1 without a collection that lost its leader.
fn leaderless() -> Scene {
    let mut scene = Scene::member();
    scene.seen.disk.collections = false;
    scene.qdrant().has_leader = false;
    scene
}

#[test]
fn a_stuck_node_without_data_gives_way_frees_its_disk_and_claims() {
    let mut scene = leaderless();
    let decision = scene.rounds(COMPLETE - 1);
    assert!(decision.probe_commit);
    assert_eq!(decision.state, State::Member);
    let decision = scene.round();
    assert_eq!(decision.state, State::Stuck);
    acts(&decision, &Action::Kill);
    scene.seen.child = Child::Stopped;
    let mut alive = scene.clone();
    alive.at(2, probe(hello(2, State::Member, Some(id(1, "one"))), None));
    // Somebody appeared: started again, and still stuck in what it says.
    let decision = alive.round();
    acts(&decision, &Action::StartMember);
    assert_eq!(decision.state, State::Stuck);
    acts(&scene.round(), &Action::Discard(Discard::Dataless));
    scene.seen.disk = planner::view::Disk::EMPTY;
    acts(&scene.round(), &second());
}

#[test]
fn a_node_with_collections_is_never_stuck_and_calls_a_person() {
    let mut scene = leaderless();
    scene.seen.disk.collections = true;
    let decision = scene.rounds(COMPLETE * 3);
    assert_eq!(decision.state, State::Member);
    acts(&decision, &Action::Wait);
    assert!(decision.probe_commit);
    assert!(alarmed(&decision, |a| matches!(
        a,
        Alarm::QuorumLost {
            answering: 1,
            voters: 1,
            ..
        }
    )));
}

#[test]
fn empty_replacements_are_no_voters() {
    let mut scene = Scene::member();
    scene.seen.disk.collections = false;
    scene.qdrant().peers = [PeerId(1), PeerId(2)].into();
    scene.at(2, probe(hello(2, State::Member, Some(id(1, "one"))), None));
    assert!(!scene.round().probe_commit);
    for state in [State::Empty, State::Joining, State::Claiming] {
        scene.at(2, probe(hello(2, state, Some(id(1, "one"))), None));
        assert!(scene.round().probe_commit, "{state:?}");
    }
    scene.at(2, probe(hello(2, State::Member, Some(id(2, "two"))), None));
    assert!(scene.round().probe_commit);
}

#[test]
fn a_commit_ends_the_doubt() {
    let mut scene = leaderless();
    scene.rounds(COMPLETE - 1);
    scene.qdrant().commits = Some(true);
    scene.round();
    scene.qdrant().commits = Some(false);
    assert_eq!(scene.rounds(COMPLETE - 2).state, State::Member);
    assert_eq!(scene.rounds(2).state, State::Stuck);
}

#[test]
fn a_stuck_node_stays_while_a_member_lives() {
    let mut scene = leaderless();
    let alive = probe(hello(2, State::Member, Some(id(1, "one"))), None);
    scene.at(2, alive);
    let decision = scene.rounds(COMPLETE * 3);
    assert_eq!(decision.state, State::Stuck);
    acts(&decision, &Action::Wait);
    assert!(scene.seen.peers.contains_key(&address(2)));
}

#[test]
fn a_learner_of_a_lost_generation_gives_way() {
    let mut scene = Scene::lost().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.child = running(qdrant(None));
    scene.qdrant().is_voter = false;
    scene.qdrant().has_leader = false;
    waits(&scene.rounds(COMPLETE - 1), "does not vote yet");
    let decision = scene.round();
    acts(&decision, &Action::Kill);
    assert_eq!(decision.state, State::Stuck);
}

#[test]
fn a_join_that_has_brought_data_is_data() {
    let mut scene = Scene::lost().disk(Stage::Joining, &formed(1, "one"));
    assert_eq!(scene.round().state, State::Joining);
    scene.seen.disk.collections = true;
    for child in [Child::Stopped, Child::Resting("it ended".to_owned())] {
        scene.seen.child = child;
        assert_eq!(scene.round().state, State::HoldsData);
    }
}

#[test]
fn a_join_that_has_brought_nothing_goes_where_the_cluster_is() {
    let other = Formed {
        store_id: "elsewhere".into(),
        ..formed(1, "uno")
    };
    let mut scene = Scene::empty().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.disk.joined = false;
    scene.at(2, believed(2, other));
    acts(&scene.round(), &Action::Discard(Discard::Dataless));
    let mut in_it = scene.clone();
    in_it.seen.disk.joined = true;
    acts(&in_it.round(), &Action::StartMember);
    scene.at(3, believed(3, formed(1, "one")));
    assert!(!matches!(scene.round().action, Action::Discard(_)));
}

#[test]
fn data_set_aside_beside_a_lost_join_is_an_alarm() {
    let mut scene = Scene::lost().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.disk.joined = false;
    scene.seen.disk.aside = true;
    let decision = scene.wait(LOSS_TIMEOUT * 2);
    waits(&decision, "nobody of it answers");
    assert!(alarmed(&decision, |a| *a == Alarm::AsideKept));
}
