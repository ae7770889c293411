//! What no observation whatever may lead to. Everything is drawn from small pools, so that things
//! meet: the same generation in store, peer and disk, the same task in DNS and store.

use std::time::Duration;

use planner::decision::{Action, Decision, Discard};
use planner::destruction::{may_discard, may_set_aside, word_for};
use planner::observed::Observed;
use planner::records::{Formed, Mode, Outcome, Stage, State};
use planner::view::{Child, Dns, Observation, Probe, Store};
use proptest::prelude::*;
use proptest::sample::select;

use crate::scene::{
    LOSS_TIMEOUT, Scene, abandoned, address, entry, formed, hello, id, probe, qdrant, record, task,
    unknown,
};

fn a_formed() -> impl Strategy<Value = Formed> {
    let tokens = select(vec!["one", "one", "uno"]);
    let stores = select(vec!["store", "store", "store", "elsewhere"]);
    (1..4_u64, tokens, stores, any::<[bool; 3]>()).prop_map(
        |(number, token, store, [chained, complete, restore])| {
            let mut formed = formed(number, token);
            formed.store_id = store.into();
            formed.complete = complete;
            formed.restore = restore;
            if !chained {
                formed.previous = None;
            }
            formed
        },
    )
}

fn a_state() -> impl Strategy<Value = State> {
    select(vec![
        State::Empty,
        State::Empty,
        State::Claiming,
        State::Joining,
        State::Member,
        State::Stuck,
        State::HoldsData,
    ])
}

fn a_probe(n: u8) -> impl Strategy<Value = Probe> {
    let spoken = (
        a_state(),
        prop::option::of(a_formed()),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(move |(state, proof, leads, lists_us, foreign, aside)| {
            let generation = proof.as_ref().map(|p| p.generation.clone());
            let mut hello = hello(n, state, generation);
            hello.leads = leads;
            hello.aside = aside;
            if foreign {
                hello.service = "other".to_owned();
            }
            hello.peers = [planner::ids::PeerId(if lists_us { 1 } else { 9 })].into();
            probe(hello, proof.filter(|_| state == State::Member))
        });
    prop_oneof![
        4 => spoken,
        1 => Just(Probe::Silent),
        1 => Just(Probe::Opaque("401".to_owned())),
    ]
}

fn a_store() -> impl Strategy<Value = Observed<Store>> {
    let outcome = prop_oneof![
        1 => Just(None),
        1 => Just(Some(abandoned())),
        2 => a_formed().prop_map(|f| Some(Outcome::Formed(f))),
    ];
    let generations =
        prop::collection::btree_map(1..4_u64, (select(vec!["one", "uno"]), outcome), 0..4);
    let members = prop::collection::btree_map(2..5_u8, (a_state(), 0..2_u64), 0..4);
    let identity = select(vec![
        None,
        Some(("store", "vectors")),
        Some(("store", "vectors")),
        Some(("elsewhere", "vectors")),
        Some(("store", "other")),
    ]);
    let sets = prop::option::weighted(0.9, prop::bool::weighted(0.3));
    let flags = (prop::bool::weighted(0.9), sets);
    (
        generations,
        members,
        identity,
        flags,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(generations, members, identity, (own_beat_seen, sets), hangs)| {
                if hangs {
                    return unknown();
                }
                let mut scene = Scene::empty();
                if let Some((store_id, service)) = identity {
                    scene.identity(store_id, service, None);
                }
                let store = scene.store();
                store.own_beat_seen = own_beat_seen;
                store.sets = sets;
                for (number, (token, outcome)) in generations {
                    let outcome = outcome.map(|outcome| match outcome {
                        Outcome::Formed(mut formed) => {
                            formed.generation = id(number, token);
                            Outcome::Formed(formed)
                        }
                        other => other,
                    });
                    store.generations.insert(number, entry(token, outcome));
                }
                for (n, (state, beat)) in members {
                    let mut member = record(n, state, Some(id(1, "one")));
                    member.beat = beat;
                    store.members.insert(task(n), member);
                }
                scene.seen.store
            },
        )
}

fn a_child() -> impl Strategy<Value = Child> {
    let answering = (
        any::<[bool; 5]>(),
        prop::bool::weighted(0.1),
        prop::option::of(a_formed()),
        select(vec![None, Some(true), Some(false)]),
        any::<bool>(),
    )
        .prop_map(
            |([leads, leader, voter, ready, restored], ended, proof, commits, mute)| {
                let mut qdrant = qdrant(proof);
                qdrant.leads = leads;
                qdrant.has_leader = leader;
                qdrant.is_voter = voter;
                qdrant.ready = ready;
                qdrant.consensus_stopped = ended;
                qdrant.commits = commits;
                qdrant.restored = Observed::Known(restored);
                if mute {
                    qdrant.proof = unknown();
                    qdrant.restored = unknown();
                }
                crate::scene::running(qdrant)
            },
        );
    prop_oneof![
        3 => answering,
        2 => Just(Child::Stopped),
        1 => Just(Child::Resting("back-off".to_owned())),
        1 => Just(Child::Running(unknown())),
    ]
}

fn an_observation() -> impl Strategy<Value = Observation> {
    let stage = select(vec![Stage::Founding, Stage::Joining, Stage::Member]);
    let disk = (
        prop::option::weighted(0.7, (stage, a_formed())),
        any::<[bool; 3]>(),
    );
    let listed = prop::collection::btree_set(1..5_u8, 0..5);
    let dns = prop_oneof![
        4 => listed.prop_map(|l| Dns::Arrived(l.into_iter().map(address).collect())),
        1 => Just(Dns::Failed("SERVFAIL".to_owned())),
        1 => Just(Dns::NotConfigured),
    ];
    let peers = (
        prop::option::of(a_probe(2)),
        prop::option::weighted(0.3, a_probe(3)),
        prop::option::weighted(0.3, a_probe(4)),
    );
    (disk, a_store(), dns, peers, a_child()).prop_map(
        |((stamp, [joined, collections, aside]), store, dns, (two, three, four), child)| {
            let mut scene = Scene::empty();
            if let Some((stage, of)) = stamp {
                scene = scene.disk(stage, &of);
                scene.seen.disk.collections = collections;
                scene.seen.disk.joined = joined;
            }
            scene.seen.disk.aside = aside;
            for (n, there) in [(2, two), (3, three), (4, four)] {
                if let Some(there) = there {
                    scene.at(n, there);
                }
            }
            Observation {
                disk: scene.seen.disk,
                store,
                dns,
                peers: scene.seen.peers,
                child,
                crash_loop: None,
            }
        },
    )
}

/// The highest formed generation that store or peers prove.
fn proven(seen: &Observation) -> Option<&Formed> {
    let peers = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { proof, .. } => proof.as_ref(),
        _ => None,
    });
    let store = seen.store.known().and_then(Store::formed);
    store
        .into_iter()
        .chain(peers)
        .max_by_key(|f| f.generation.number)
}

fn check(seen: &Observation, decision: &Decision) -> Result<(), TestCaseError> {
    let runs = matches!(seen.child, Child::Running(_));
    let founding = seen.disk.stamp.as_ref().map(|s| s.stage) == Some(Stage::Founding);
    match &decision.action {
        Action::Discard(ground) => {
            prop_assert!(!runs && (founding || !seen.disk.collections));
            prop_assert!(founding || *ground == Discard::Dataless);
            let may = may_discard(ground, &seen.disk, runs, &seen.store);
            prop_assert_eq!(may, Ok(()), "what is proposed can be done");
        }
        Action::SetAside(ground) => {
            prop_assert!(!runs && !founding);
            let by = proven(seen).map(|f| &f.generation);
            let stamp = seen.disk.stamp.as_ref();
            let us = task(1);
            let word = stamp.and_then(|stamp| word_for(ground, "vectors", &us, seen, stamp));
            let may = may_set_aside(ground, &seen.disk, runs, by, word);
            prop_assert_eq!(may, Ok(()), "what is proposed can be done");
        }
        Action::Claim { .. } | Action::Form => {
            prop_assert!(seen.store.known().is_some_and(|s| s.own_beat_seen));
            prop_assert!(!matches!(seen.dns, Dns::Failed(_)));
            prop_assert!(!seen.disk.collections || founding);
            let restore = match &decision.action {
                Action::Claim { mode, .. } => *mode == Mode::Restore,
                _ => seen.disk.stamp.as_ref().is_some_and(|s| s.restore),
            };
            let sets = seen.store.known().and_then(|s| s.sets);
            prop_assert_eq!(
                sets,
                Some(restore),
                "sets are restored, and nothing else is"
            );
            for probe in seen.peers.values() {
                match probe {
                    Probe::Opaque(_) => prop_assert!(false, "somebody is alive"),
                    Probe::Task { hello, .. } if hello.service == "vectors" => prop_assert!(
                        !hello.aside && !matches!(hello.state, State::Member | State::HoldsData)
                    ),
                    _ => {}
                }
            }
        }
        Action::StartFounder | Action::StartMember | Action::StartJoiner { .. } => {
            prop_assert!(!matches!(seen.child, Child::Resting(_)));
        }
        Action::Kill => prop_assert!(runs),
        _ => {}
    }
    let finished = matches!(&seen.child, Child::Running(Observed::Known(qdrant))
        if qdrant.restored == Observed::Known(true));
    if seen.disk.stamp.as_ref().is_some_and(|s| s.restore) && !finished {
        prop_assert!(
            decision.ready.is_err(),
            "nobody serves before the restore is finished"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A run in which anything may follow anything.
    #[test]
    fn no_observations_lead_to_harm(
        run in prop::collection::vec((an_observation(), 0..200_u64), 1..6),
    ) {
        let mut scene = Scene::empty();
        for (seen, elapsed) in run {
            scene.seen = seen;
            let decision = scene.after(Duration::from_secs(elapsed));
            check(&scene.seen, &decision)?;
        }
    }

    /// A run in which one observation stays until every count is complete.
    #[test]
    fn no_patience_leads_to_harm(seen in an_observation()) {
        let mut scene = Scene::empty();
        scene.seen = seen;
        for _ in 0..LOSS_TIMEOUT.as_secs() / 5 + 5 {
            let decision = scene.round();
            check(&scene.seen, &decision)?;
        }
    }

    /// With no witness at all nothing is destroyed, claimed or formed.
    #[test]
    fn unknown_authorises_nothing(seen in an_observation()) {
        let mut scene = Scene::empty();
        scene.seen = seen;
        scene.forget_store();
        scene.dns_fails();
        scene.seen.peers.clear();
        for _ in 0..LOSS_TIMEOUT.as_secs() / 5 + 5 {
            let action = scene.round().action;
            prop_assert!(
                matches!(action, Action::Wait | Action::Kill | Action::StartMember
                    | Action::Settle(_) | Action::Publish(_) | Action::Restored),
                "{action:?}"
            );
        }
    }
}
