//! R3 and R4: who may found, and what becomes of a claim.

use std::time::Duration;

use planner::decision::{Action, Alarm, Discard, Phase, Reason};
use planner::records::{Mode, Outcome, Stage, State};
use planner::view::{Child, Disk, Dns, Probe};

use crate::scene::{
    CLAIM_TIMEOUT, LOSS_TIMEOUT, ROUND, SETTLE, Scene, abandoned, acts, address, alarmed, believed,
    claims, entry, formed, hello, id, probe, qdrant, record, running, task, unknown, waits,
};

const FIRST: Action = Action::Claim {
    number: 1,
    previous: None,
    mode: Mode::Found,
};

#[test]
fn a_whole_answer_that_lists_us_founds_with_the_third_answer() {
    let mut scene = Scene::empty();
    waits(&scene.round(), "1 of 3 answers");
    waits(&scene.round(), "2 of 3 answers");
    acts(&scene.round(), &FIRST);
}

#[test]
fn an_answer_that_may_be_cut_off_needs_time() {
    let mut scene = Scene::empty();
    for n in 2..=8 {
        scene.neighbour(n);
    }
    scene.listed(2..=8);
    waits(&scene.rounds(6), "no whole answer lists our own address");
    acts(&scene.wait(SETTLE), &FIRST);
    let mut seven = Scene::empty();
    for n in 2..=7 {
        seven.neighbour(n);
    }
    seven.listed(2..=7);
    acts(&seven.rounds(3), &FIRST);
}

#[test]
fn a_name_that_does_not_exist_yet_needs_time() {
    let mut scene = Scene::empty();
    scene.seen.dns = Dns::Arrived([].into());
    let rounds = SETTLE.as_secs() / 5;
    waits(&scene.rounds(rounds), "no whole answer");
    acts(&scene.round(), &FIRST);
}

#[test]
fn the_time_before_the_first_answer_does_not_count() {
    let mut scene = Scene::empty();
    scene.dns_fails();
    scene.round();
    scene.seen.dns = Dns::Arrived([].into());
    scene.after(SETTLE);
    scene.after(Duration::from_secs(1));
    waits(&scene.after(Duration::from_secs(1)), "no whole answer");
}

#[test]
fn a_new_address_starts_the_settling_anew() {
    let mut scene = Scene::empty();
    scene.seen.dns = Dns::Arrived([].into());
    scene.rounds(6);
    scene.neighbour(2);
    scene.seen.dns = Dns::Arrived([address(2)].into());
    waits(&scene.rounds(6), "no whole answer");
    acts(&scene.round(), &FIRST);
}

#[test]
fn no_answer_is_never_an_empty_answer() {
    let mut scene = Scene::empty();
    scene.dns_fails();
    waits(&scene.wait(LOSS_TIMEOUT * 3), "SERVFAIL");
}

#[test]
fn a_failure_in_between_starts_the_count_anew() {
    let mut scene = Scene::empty();
    scene.rounds(2);
    let dns = scene.seen.dns.clone();
    scene.dns_fails();
    waits(&scene.round(), "SERVFAIL");
    scene.seen.dns = dns;
    waits(&scene.rounds(2), "2 of 3 answers");
    acts(&scene.round(), &FIRST);
}

#[test]
fn a_single_node_without_a_name_founds_at_once() {
    let mut scene = Scene::empty();
    scene.seen.dns = Dns::NotConfigured;
    acts(&scene.round(), &FIRST);
}

#[test]
fn everyone_who_is_listed_must_say_that_he_is_empty_and_beat_in_our_store() {
    let mut scene = Scene::empty();
    scene.neighbour(2);
    acts(&scene.rounds(3), &FIRST);
    let aside = {
        let mut hello = hello(2, State::Empty, None);
        hello.aside = true;
        probe(hello, None)
    };
    let foreign = {
        let mut hello = hello(2, State::Empty, None);
        hello.service = "other".to_owned();
        probe(hello, None)
    };
    for (what, there) in [
        ("does not answer", Probe::Silent),
        (
            "Joining",
            probe(hello(2, State::Joining, Some(id(1, "x"))), None),
        ),
        (
            "Member",
            probe(hello(2, State::Member, Some(id(1, "x"))), None),
        ),
        ("HoldsData", probe(hello(2, State::HoldsData, None), None)),
        ("not empty", aside),
        ("other", foreign),
    ] {
        let mut scene = scene.clone();
        scene.at(2, there);
        waits(&scene.wait(LOSS_TIMEOUT * 2), what);
    }
    let mut unseen = scene.clone();
    unseen.store().members.clear();
    waits(&unseen.wait(LOSS_TIMEOUT * 2), "not been seen in our store");
    let mut unasked = scene.clone();
    unasked.seen.peers.clear();
    waits(&unasked.wait(LOSS_TIMEOUT * 2), "does not answer");
    let mut blind = scene.clone();
    blind.store().own_beat_seen = false;
    waits(&blind.wait(LOSS_TIMEOUT * 2), "our own beat");
}

#[test]
fn two_claimants_give_way_to_each_other_because_the_store_decides() {
    let mut scene = Scene::empty();
    scene.neighbour(2);
    scene.at(2, probe(hello(2, State::Claiming, None), None));
    acts(&scene.rounds(3), &FIRST);
}

#[test]
fn members_of_a_cluster_in_a_store_that_lost_its_records_are_waited_for() {
    let mut scene = Scene::empty();
    let member = record(2, State::Member, Some(id(1, "x")));
    scene.store().members.insert(task(2), member);
    waits(
        &scene.wait(LOSS_TIMEOUT - CLAIM_TIMEOUT),
        "lists members of a cluster",
    );
    scene.store().members.get_mut(&task(2)).unwrap().beat = 2;
    waits(
        &scene.wait(LOSS_TIMEOUT - CLAIM_TIMEOUT),
        "lists members of a cluster",
    );
    acts(&scene.wait(LOSS_TIMEOUT), &FIRST);
}

#[test]
fn a_claim_that_may_not_be_formed_is_given_up_and_others_go_first() {
    let mut scene = Scene::claimant();
    scene.dns_fails();
    scene.seen.child = Child::Resting("it ended".to_owned());
    let decision = scene.wait(LOSS_TIMEOUT);
    waits(&decision, "DNS must settle first");
    assert!(decision.renew_lease);
    let decision = scene.wait(LOSS_TIMEOUT + ROUND);
    assert!(
        matches!(decision.action, Action::Abandon { number: 1, .. }),
        "{}",
        decision.reason
    );
    assert!(alarmed(&decision, |a| matches!(a, Alarm::FoundingFails(_))));
    // The claim is abandoned and the disk is free again; DNS is back.
    scene.seen.disk = Disk::EMPTY;
    scene.seen.child = Child::Stopped;
    let there = entry("one", Some(abandoned()));
    scene.store().generations.insert(1, there);
    scene.listed([]);
    let decision = scene.rounds(5);
    waits(&decision, "others go first");
    assert!(alarmed(&decision, |a| matches!(a, Alarm::FoundingFails(_))));
    assert!(claims(&scene.wait(CLAIM_TIMEOUT)));
}

#[test]
fn a_stranger_beside_a_claim_is_an_alarm_for_all() {
    let stranger = || Probe::Opaque("it refuses our API key".to_owned());
    let is = |a: &Alarm| matches!(a, Alarm::Unreadable(_));
    let mut other = Scene::empty();
    other.store().generations.insert(1, entry("one", None));
    for mut scene in [Scene::claimant(), other] {
        scene.at(2, stranger());
        assert!(!alarmed(&scene.rounds(4), is));
        assert!(alarmed(&scene.wait(CLAIM_TIMEOUT), is));
    }
}

#[test]
fn nothing_is_waited_for_in_silence() {
    let mut scene = Scene::empty();
    scene.dns_fails();
    assert!(scene.wait(LOSS_TIMEOUT * 3 - ROUND * 2).alarms.is_empty());
    let decision = scene.rounds(3);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::Adrift { .. })));
    scene.listed([]);
    assert!(claims(&scene.rounds(3)), "the alarm hinders nothing");
}

#[test]
fn abandoned_claims_do_not_change_what_is_allowed() {
    let mut scene = Scene::empty();
    scene.identity("store", "vectors", None);
    scene
        .store()
        .generations
        .insert(1, entry("a", Some(abandoned())));
    scene
        .store()
        .generations
        .insert(2, entry("b", Some(abandoned())));
    let next = Action::Claim {
        number: 3,
        previous: None,
        mode: Mode::Found,
    };
    acts(&scene.rounds(3), &next);
}

#[test]
fn data_that_we_never_stamped_blocks_and_is_left_alone() {
    for (joined, collections) in [(true, false), (false, true), (true, true)] {
        let mut scene = Scene::empty();
        scene.seen.disk.joined = joined;
        scene.seen.disk.collections = collections;
        scene.at(2, believed(2, formed(1, "one")));
        let decision = scene.wait(LOSS_TIMEOUT * 2);
        acts(&decision, &Action::Wait);
        assert_eq!(decision.phase, Phase::Blocked);
        assert_eq!(decision.state, State::HoldsData);
        assert!(decision.ready.is_err());
        assert_eq!(decision.alarms, [Alarm::ForeignData]);
    }
}

#[test]
fn a_claim_is_started_then_led_then_formed_then_settled() {
    let mut scene = Scene::claimant();
    let decision = scene.rounds(3);
    acts(&decision, &Action::StartFounder);
    assert!(decision.renew_lease && decision.ready.is_err());
    scene.seen.child = Child::Running(unknown());
    waits(&scene.round(), "starting");
    scene.seen.child = running(qdrant(None));
    waits(&scene.round(), "starting");
    scene.qdrant().leads = true;
    acts(&scene.round(), &Action::Form);
    let outcome = Outcome::Formed(formed(1, "one"));
    scene.store().generations.get_mut(&1).unwrap().outcome = Some(outcome);
    acts(&scene.round(), &Action::Settle(formed(1, "one")));
}

/// A claimant that leads itself and would form in this round.
fn about_to_form() -> Scene {
    let mut scene = Scene::claimant();
    scene.seen.child = running(qdrant(None));
    scene.qdrant().leads = true;
    acts(&scene.clone().rounds(3), &Action::Form);
    scene.rounds(2);
    scene
}

#[test]
fn founding_is_allowed_once_more_before_it_is_formed() {
    let silent = |s: &mut Scene| {
        s.listed([2]);
        s.at(2, Probe::Silent);
    };
    let unreadable = |s: &mut Scene| s.at(2, Probe::Opaque("401".to_owned()));
    let beat = |s: &mut Scene| s.store().own_beat_seen = false;
    let foreign = |s: &mut Scene| s.identity("x", "other", None);
    let changes: [(&str, &dyn Fn(&mut Scene)); 6] = [
        ("DNS fails", &Scene::dns_fails),
        ("a silent address", &silent),
        ("somebody unreadable", &unreadable),
        ("own beat not read", &beat),
        ("the store is another's", &foreign),
        ("the store is unknown", &Scene::forget_store),
    ];
    for (what, change) in changes {
        let mut scene = about_to_form();
        change(&mut scene);
        let decision = scene.round();
        assert_eq!(decision.action, Action::Wait, "{what}");
        assert_eq!(decision.state, State::Claiming, "{what}");
        assert_eq!(scene.wait(LOSS_TIMEOUT).action, Action::Wait, "{what}");
    }
}

#[test]
fn a_claim_overtaken_by_the_living_abandons_itself() {
    let mut scene = about_to_form();
    scene.at(2, believed(2, formed(1, "theirs")));
    let decision = scene.round();
    assert!(matches!(decision.action, Action::Abandon { number: 1, .. }));
    assert!(matches!(decision.reason, Reason::ClaimOvertaken(_)));
}

#[test]
fn a_claim_that_left_no_trace_is_made_again_even_when_it_was_overtaken() {
    let mut scene = about_to_form();
    scene.store().generations.clear();
    let decision = scene.round();
    acts(&decision, &Action::RepeatClaim);
    assert_eq!(decision.reason, Reason::ClaimUnseen);
    assert!(!decision.renew_lease);
    scene.at(2, believed(2, formed(1, "theirs")));
    let decision = scene.round();
    acts(&decision, &Action::RepeatClaim);
    assert!(matches!(decision.reason, Reason::ClaimOvertaken(_)));
}

#[test]
fn a_claim_that_was_given_up_kills_first_and_frees_the_disk_then() {
    let generation = id(1, "one");
    let ours = (
        entry("one", Some(abandoned())),
        Discard::ClaimAbandoned {
            generation: generation.clone(),
        },
    );
    let theirs = (entry("theirs", None), Discard::ClaimLost { generation });
    for (there, ground) in [ours, theirs] {
        let mut scene = about_to_form();
        scene.store().generations.insert(1, there);
        acts(&scene.round(), &Action::Kill);
        scene.seen.child = Child::Running(unknown());
        acts(&scene.round(), &Action::Kill);
        let mut hidden = scene.clone();
        hidden.seen.child = Child::Stopped;
        hidden.forget_store();
        waits(&hidden.round(), "store cannot be read");
        for rest in [Child::Stopped, Child::Resting("back-off".to_owned())] {
            scene.seen.child = rest;
            acts(&scene.round(), &Action::Discard(ground.clone()));
        }
    }
}

#[test]
fn without_the_store_a_claimant_neither_starts_nor_forms() {
    let mut scene = Scene::claimant();
    scene.forget_store();
    waits(&scene.wait(LOSS_TIMEOUT), "store cannot be read");
    let mut scene = about_to_form();
    scene.forget_store();
    let decision = scene.round();
    waits(&decision, "store cannot be read");
    assert!(!decision.renew_lease);
}

#[test]
fn a_resting_qdrant_is_not_started_again() {
    let resting = Child::Resting("back-off".to_owned());
    let mut joiner = Scene::member().disk(Stage::Joining, &formed(1, "one"));
    joiner.seen.child = resting.clone();
    let mut fresh = joiner.clone();
    fresh.seen.disk.joined = false;
    fresh.at(2, believed(2, formed(1, "one")));
    for mut scene in [Scene::claimant(), Scene::member(), joiner, fresh] {
        scene.seen.child = resting.clone();
        waits(&scene.rounds(3), "back-off");
        scene.seen.child = Child::Stopped;
        assert_ne!(scene.round().action, Action::Wait);
    }
}

#[test]
fn a_lease_must_stand_still_for_the_time_out_by_our_own_rounds() {
    let mut scene = Scene::claimant();
    scene.seen.disk = planner::view::Disk::EMPTY;
    let almost = CLAIM_TIMEOUT.as_secs() / 5;
    let resets: [(&str, fn(&mut Scene)); 3] = [
        ("the lease moves", |s| {
            s.store().generations.get_mut(&1).unwrap().lease = Some(2);
            s.round();
        }),
        ("the store is unknown for a round", |s| {
            let store = s.seen.store.clone();
            s.forget_store();
            s.round();
            s.seen.store = store;
            s.round();
        }),
        ("we were paused", |s| {
            s.after(CLAIM_TIMEOUT * 2);
        }),
    ];
    for (what, reset) in resets {
        let mut scene = scene.clone();
        waits(&scene.rounds(almost), "is bringing up generation 1");
        reset(&mut scene);
        let decision = scene.rounds(almost - 1);
        assert_eq!(decision.action, Action::Wait, "{what}");
        let decision = scene.round();
        assert!(
            matches!(decision.action, Action::Abandon { number: 1, .. }),
            "{what}"
        );
    }
    waits(&scene.rounds(almost), "is bringing up generation 1");
    assert!(matches!(scene.round().reason, Reason::FounderSilent(_, 1)));
}

#[test]
fn somebody_elses_store_is_not_used() {
    for adopt in [false, true] {
        let mut scene = Scene::empty();
        scene.settings.adopt_fresh = adopt;
        scene.identity("store", "other", None);
        let decision = scene.wait(LOSS_TIMEOUT * 2);
        acts(&decision, &Action::Wait);
        assert_eq!(decision.phase, Phase::Blocked);
        assert!(alarmed(&decision, |a| matches!(a, Alarm::ForeignStore(_))));
    }
}

#[test]
fn a_store_of_another_stack_is_taken_over_only_when_told() {
    for (its, adopt, allowed) in [
        (Some("blue"), false, false),
        (Some("blue"), true, true),
        (Some("green"), false, true),
        (None, false, true),
    ] {
        let mut scene = Scene::empty();
        scene.settings.stack = Some("green".to_owned());
        scene.settings.adopt_fresh = adopt;
        scene.identity("store", "vectors", its);
        let decision = scene.rounds(3);
        assert_eq!(claims(&decision), allowed, "{its:?} {adopt}");
        assert_eq!(decision.phase == Phase::Blocked, !allowed);
    }
}
