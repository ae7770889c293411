//! R8: what lets the survivors of a lost majority go on, and everything that does not.

use planner::decision::{Action, Alarm, Aside, Decision, Phase, Reason};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{Formed, Held, Mode, Outcome, Regroup, Rejoin, Stage, State};
use planner::view::{Child, Probe};

use crate::scene::{
    CLAIM_TIMEOUT, LOSS_TIMEOUT, Scene, abandoned, acts, address, alarmed, believed, entry, formed,
    hello, id, probe, record, task, unknown, waits,
};

/// Rounds of five seconds after which both our own doubt and the silence of the others are complete.
pub const COMPLETE: u64 = LOSS_TIMEOUT.as_secs() / 5 + 3;

pub fn peers(ids: impl IntoIterator<Item = u64>) -> std::collections::BTreeSet<PeerId> {
    ids.into_iter().map(PeerId).collect()
}

/// Six peers; 2 and 3 answer like us and know less, 4 to 6 are silent.
pub fn half_lost() -> Scene {
    let mut scene = Scene::member();
    scene.seen.disk.voters = peers(1..=6);
    scene.seen.disk.commit = Some(20);
    let qdrant = scene.qdrant();
    qdrant.peers = peers(1..=6);
    qdrant.commits = Some(false);
    qdrant.commit = 20;
    for n in [2, 3] {
        survivor(&mut scene, n, |_| {});
    }
    for n in 2..=6 {
        let mut member = record(n, State::Member, Some(id(1, "one")));
        member.peer_id = Some(PeerId(n.into()));
        scene.store().members.insert(task(n), member);
    }
    for n in 4..=6 {
        scene.at(n, Probe::Silent);
    }
    scene.listed([2, 3]);
    scene
}

pub fn survivor(scene: &mut Scene, n: u8, change: impl FnOnce(&mut planner::records::Hello)) {
    let mut hello = hello(n, State::Member, Some(id(1, "one")));
    hello.peer_id = Some(PeerId(n.into()));
    hello.peers = peers(1..=6);
    hello.serves = true;
    hello.said.quorum_lost = true;
    hello.said.commit = Some(20 - u64::from(n));
    change(&mut hello);
    scene.at(n, probe(hello, Some(formed(1, "one"))));
}

/// The survivor says that its Qdrant rests for a claim.
pub fn rests(scene: &mut Scene, n: u8) {
    survivor(scene, n, |hello| {
        hello.state = State::HoldsData;
        hello.serves = false;
        hello.said.plight.rests_for = Some("two".into());
    });
}

pub fn regroups(decision: &Decision) -> bool {
    matches!(decision.action, Action::Regroup { .. })
}

pub fn survivors() -> std::collections::BTreeMap<PeerId, planner::ids::TaskId> {
    (1..=3).map(|n| (PeerId(n.into()), task(n))).collect()
}

/// Ours is the claim to generation 2, read back.
pub fn claimant(begun: bool) -> Scene {
    let mut scene = half_lost();
    let stamp = scene.seen.disk.stamp.as_mut().unwrap();
    stamp.regroup = Some(Regroup {
        claim: id(2, "two"),
        previous: id(1, "one"),
        survivors: survivors(),
        missing: peers(4..=6),
        behind: Default::default(),
        commit: 20,
        begun,
    });
    let mut claim = entry("two", None);
    claim.claim.mode = Mode::Requorum;
    claim.claim.task = task(1);
    claim.claim.survivors = survivors();
    claim.claim.previous = Some(id(1, "one"));
    scene.store().generations.insert(2, claim);
    scene
}

/// The claim of survivor 3 names us.
pub fn held() -> Scene {
    let mut scene = claimant(false);
    scene.seen.disk.stamp.as_mut().unwrap().regroup = None;
    let claim = &mut scene.store().generations.get_mut(&2).unwrap().claim;
    claim.task = task(3);
    scene
}

/// The mark of who rests for the claim of survivor 3.
pub fn hold() -> Held {
    Held {
        task: task(3),
        claim: id(2, "two"),
    }
}

/// Generation 2 is formed by survivor 3 with our data and that of 2.
pub fn second() -> Formed {
    Formed {
        founder: PeerId(3),
        survivors: peers(1..=3),
        behind: Default::default(),
        ..formed(2, "two")
    }
}

#[test]
fn the_most_advanced_survivor_claims_once_all_others_were_silent() {
    let mut scene = half_lost();
    let early = scene.rounds(COMPLETE - 3);
    acts(&early, &Action::Wait);
    let mut claim = scene.round();
    for _ in 0..4 {
        if !regroups(&claim) {
            claim = scene.round();
        }
    }
    acts(
        &claim,
        &Action::Regroup {
            number: 2,
            previous: id(1, "one"),
            survivors: survivors(),
            missing: peers(4..=6),
            behind: Default::default(),
            commit: 20,
        },
    );
    assert_eq!(
        (claim.phase, claim.state),
        (Phase::Regrouping, State::HoldsData)
    );
    assert!(claim.quorum_lost);
}

#[test]
fn one_voter_left_of_two_goes_on_and_a_single_node_never_does() {
    let mut scene = half_lost();
    for n in 2..=6 {
        scene.seen.peers.remove(&address(n));
    }
    scene.listed([]);
    scene.qdrant().peers = peers([1, 2]);
    assert!(regroups(&scene.rounds(COMPLETE)));
    scene.qdrant().peers = peers([1]);
    let mut alone = half_lost();
    alone.qdrant().peers = peers([1]);
    alone.seen.peers.clear();
    alone.listed([]);
    assert!(!regroups(&alone.rounds(COMPLETE * 2)));
}

/// Each of these forbids the claim for as long as it lasts.
#[test]
fn whatever_speaks_against_it_forbids_the_claim() {
    let refusals: [(&str, &dyn Fn(&mut Scene)); 22] = [
        ("a person is wanted", &|s| s.settings.requorum = false),
        ("our writes commit", &|s| s.qdrant().commits = Some(true)),
        ("nothing is stored here", &|s| {
            s.seen.disk.collections = false
        }),
        ("a survivor does not say so", &|s| {
            survivor(s, 2, |h| h.said.quorum_lost = false)
        }),
        ("a survivor is ending", &|s| {
            survivor(s, 2, |h| h.said.ending = true)
        }),
        ("a survivor knows more", &|s| {
            survivor(s, 2, |h| h.said.commit = Some(21))
        }),
        ("a survivor does not say what it knows", &|s| {
            survivor(s, 2, |h| h.said.commit = None)
        }),
        ("a survivor rests and does not say why", &|s| {
            rests(s, 2);
            survivor(s, 2, |h| {
                h.state = State::HoldsData;
                h.serves = false;
                h.said.quorum_lost = false;
            });
        }),
        ("four of six are a majority", &|s| {
            survivor(s, 4, |_| {});
        }),
        ("a member whom we do not list", &|s| {
            survivor(s, 9, |_| {});
        }),
        ("somebody listed does not answer", &|s| s.listed([2, 3, 4])),
        ("somebody cannot be read", &|s| {
            s.at(7, Probe::Opaque("401".to_owned()))
        }),
        ("somebody joins another generation", &|s| {
            s.at(
                7,
                probe(hello(7, State::Joining, Some(id(9, "nine"))), None),
            );
        }),
        ("somebody holds data of another", &|s| {
            s.at(7, probe(hello(7, State::HoldsData, None), None));
        }),
        ("DNS fails", &Scene::dns_fails),
        ("our own beat is not seen", &|s| {
            s.store().own_beat_seen = false
        }),
        ("the store is unknown", &Scene::forget_store),
        ("the store is empty", &|s| {
            s.store().generations.clear();
            s.store().identity = None;
        }),
        ("the store is another's", &|s| {
            s.identity("elsewhere", "vectors", None)
        }),
        ("a claim is open", &|s| {
            s.store().generations.insert(2, entry("uno", None));
            s.settings.claim_timeout = LOSS_TIMEOUT * 9;
        }),
        ("our Qdrant says nothing", &|s| {
            s.seen.child = Child::Running(unknown())
        }),
        ("our Qdrant is stopped", &|s| s.seen.child = Child::Stopped),
    ];
    for (what, refuse) in refusals {
        let mut scene = half_lost();
        scene.rounds(COMPLETE - 4);
        refuse(&mut scene);
        for _ in 0..COMPLETE * 2 {
            let decision = scene.round();
            assert!(!regroups(&decision), "{what}");
        }
    }
}

#[test]
fn a_beat_that_moves_forbids_the_claim() {
    let mut scene = half_lost();
    for beat in 0..COMPLETE * 2 {
        scene.store().members.get_mut(&task(5)).unwrap().beat = beat;
        assert!(!regroups(&scene.round()));
    }
    assert!(regroups(&scene.rounds(COMPLETE)));
}

#[test]
fn survivors_and_who_gives_way_may_beat() {
    let mut scene = half_lost();
    let empty = record(7, State::Empty, None);
    scene.store().members.insert(task(7), empty);
    let mut there = hello(7, State::Empty, None);
    there.aside = true;
    scene.at(7, probe(there, None));
    scene.listed([2, 3, 7]);
    let claims = (0..COMPLETE + 2).any(|beat| {
        for n in [2, 7] {
            scene.store().members.get_mut(&task(n)).unwrap().beat = beat;
        }
        regroups(&scene.round())
    });
    assert!(claims);
}

#[test]
fn a_pause_of_our_own_and_a_survivor_that_falls_silent_start_the_count_anew() {
    let mut scene = half_lost();
    scene.rounds(COMPLETE - 4);
    scene.after(LOSS_TIMEOUT);
    assert!(!(0..COMPLETE - 4).any(|_| regroups(&scene.round())));
    assert!((0..6).any(|_| regroups(&scene.round())));
    let mut scene = half_lost();
    scene.rounds(COMPLETE - 4);
    scene.at(3, Probe::Silent);
    scene.listed([2]);
    assert!(!(0..COMPLETE - 4).any(|_| regroups(&scene.round())));
    assert!((0..6).any(|_| regroups(&scene.round())));
}

#[test]
fn the_alarm_says_what_is_in_the_way() {
    let mut scene = half_lost();
    scene.settings.requorum = false;
    let decision = scene.rounds(COMPLETE);
    acts(&decision, &Action::Wait);
    assert!(decision.alarms.iter().any(|alarm| matches!(alarm,
        Alarm::QuorumLost { answering: 3, voters: 6, next, .. } if next.contains("wait"))));
}

#[test]
fn the_claimant_waits_until_the_others_rest_then_stops_its_own_and_begins_anew() {
    let mut scene = claimant(false);
    scene.rounds(COMPLETE);
    let decision = scene.round();
    waits(
        &decision,
        "must rest on the other survivors first: task-2 task-3",
    );
    assert!(decision.renew_lease);
    assert!(alarmed(&decision, |a| matches!(
        a,
        Alarm::Regrouping { missing: 3, .. }
    )));
    rests(&mut scene, 3);
    waits(&scene.round(), "first: task-2");
    // One that has died meanwhile is not waited for, listed or not.
    scene.at(2, Probe::Silent);
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    acts(&scene.round(), &Action::StartReinit);
}

#[test]
fn the_claimant_forms_when_it_leads_itself_and_nobody_has_come_back() {
    let mut scene = claimant(true);
    rests(&mut scene, 2);
    rests(&mut scene, 3);
    scene.rounds(COMPLETE);
    acts(&scene.round(), &Action::Wait);
    scene.qdrant().leads = true;
    acts(&scene.round(), &Action::Form);
    for back in [State::Member, State::HoldsData] {
        let mut scene = scene.clone();
        survivor(&mut scene, 4, |hello| hello.state = back);
        hindered(&scene.round(), "has come back");
    }
    let mut beats = scene.clone();
    beats.store().members.get_mut(&task(4)).unwrap().beat += 1;
    hindered(&beats.round(), "beats in the store");
    let mut commits = scene.clone();
    survivor(&mut commits, 2, |hello| hello.said.quorum_lost = false);
    hindered(&commits.round(), "does not say that nothing commits");
    scene.seen.store = unknown();
    waits(&scene.round(), "store");
}

/// What was begun anew is stopped until nothing is in the way again.
#[track_caller]
fn hindered(decision: &Decision, why: &str) {
    acts(decision, &Action::Kill);
    assert!(
        decision.reason.to_string().contains(why),
        "{}",
        decision.reason
    );
}

#[test]
fn what_was_formed_is_settled_and_published_over_the_old_proof() {
    let mut scene = claimant(true);
    let formed = Formed {
        founder: PeerId(1),
        ..second()
    };
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(Outcome::Formed(formed.clone()));
    acts(&scene.round(), &Action::Settle(formed.clone()));
    let generations = scene.store().generations.clone();
    let mut scene = Scene::member().disk(Stage::Member, &formed);
    scene.seen.disk.collections = true;
    scene.store().generations = generations;
    let qdrant = scene.qdrant();
    qdrant.leads = true;
    let complete = Formed {
        complete: true,
        ..formed
    };
    acts(&scene.round(), &Action::Publish(complete.clone()));
    scene.qdrant().proof = Observed::Known(Some(complete));
    acts(&scene.round(), &Action::Wait);
}

#[test]
fn a_claim_that_came_to_nothing_leaves_no_trace_before_raft_began_anew() {
    for outcome in [Some(abandoned()), None] {
        let mut scene = claimant(false);
        let there = scene.store().generations.get_mut(&2).unwrap();
        match outcome {
            Some(outcome) => there.outcome = Some(outcome),
            None => there.claim.token = "uno".into(),
        }
        acts(&scene.round(), &Action::Resume);
    }
}

#[test]
fn after_raft_began_anew_the_peer_rests_and_the_survivors_try_again_with_it() {
    let mut scene = claimant(true);
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let decision = scene.round();
    acts(&decision, &Action::Wait);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::RegroupFails(_))));
    assert_eq!(
        (decision.state, decision.quorum_lost, decision.commit),
        (State::HoldsData, true, Some(20))
    );
    let again = (0..COMPLETE + 4)
        .map(|_| scene.round())
        .find(regroups)
        .unwrap();
    assert!(matches!(again.action, Action::Regroup { number: 3, .. }));
    // Four of six answer, but one of them has no vote any more.
    survivor(&mut scene, 4, |_| {});
    assert!((0..COMPLETE + 4).any(|_| regroups(&scene.round())));
    survivor(&mut scene, 5, |_| {});
    assert!(!(0..COMPLETE * 2).any(|_| regroups(&scene.round())));
}

#[test]
fn a_claim_that_may_not_go_on_is_given_up() {
    let mut scene = claimant(true);
    survivor(&mut scene, 4, |_| {});
    // Its own Qdrant is none of the generation that may live on: it ends first.
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let last = scene.rounds(COMPLETE * 3);
    assert!(
        matches!(last.action, Action::Abandon { number: 2, .. }),
        "{}",
        last.reason
    );
    let mut overtaken = claimant(false);
    overtaken
        .store()
        .generations
        .insert(3, entry("three", None));
    let decision = overtaken.round();
    assert!(matches!(decision.action, Action::Abandon { number: 2, .. }));
}

#[test]
fn survivors_rest_in_turn_for_the_claim_of_another() {
    // Peer 2 is after us, and not the claimant.
    let mut scene = held();
    let running = scene.rounds(3);
    assert_eq!(
        (running.phase, running.action),
        (Phase::Member, Action::Wait)
    );
    rests(&mut scene, 2);
    acts(&scene.round(), &Action::HoldStill(hold()));
    scene.seen.child = Child::Stopped;
    scene.seen.disk.stamp.as_mut().unwrap().held = Some(hold());
    let decision = scene.round();
    waits(&decision, "Qdrant rests until that is decided");
    assert_eq!(decision.state, State::HoldsData);
    assert_eq!(decision.plight.rests_for, Some("two".into()));
    // While the store cannot be read the claim may be formed: nothing is started.
    let store = std::mem::replace(&mut scene.seen.store, unknown());
    waits(&scene.rounds(3), "Qdrant rests until that is decided");
    scene.seen.store = store;
    // Given up: everything goes on as before.
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    acts(&scene.round(), &Action::StartMember);
}

#[test]
fn a_survivor_whose_writes_commit_gives_the_claim_up() {
    let mut scene = held();
    rests(&mut scene, 2);
    scene.qdrant().commits = Some(true);
    let decision = scene.round();
    assert!(matches!(decision.action, Action::Abandon { number: 2, .. }));
    assert!(matches!(decision.reason, Reason::WeLive(..)));
    // An isolated leader that has not tried says nothing.
    scene.qdrant().commits = None;
    scene.qdrant().leads = true;
    acts(&scene.round(), &Action::HoldStill(hold()));
}

#[test]
fn a_claimant_that_dies_is_not_waited_for() {
    let mut scene = held();
    rests(&mut scene, 2);
    scene.at(3, Probe::Silent);
    scene.seen.child = Child::Stopped;
    let decision = scene.wait(CLAIM_TIMEOUT);
    assert!(matches!(decision.action, Action::Abandon { number: 2, .. }));
}

/// Survivor 3 has formed the second generation, and 2 is after us.
pub fn going_over() -> Scene {
    let mut scene = half_lost();
    scene.record_formed(&second());
    rests(&mut scene, 2);
    let mut there = believed(3, second());
    if let Probe::Task { hello, .. } = &mut there {
        hello.peer_id = Some(PeerId(3));
    }
    scene.at(3, there);
    scene
}

#[test]
fn a_listed_survivor_goes_over_with_its_data() {
    let mut scene = going_over();
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let expected = Action::StartRejoin {
        formed: second(),
        via: address(3),
        uri: "http://10.0.0.3:6335".to_owned(),
    };
    let decision = scene.round();
    acts(&decision, &expected);
    assert_eq!(decision.state, State::HoldsData);
    // By the store alone it knows, and waits for somebody to go over through.
    scene.at(3, Probe::Silent);
    waits(&scene.round(), "nobody of it answers");
    // By a peer alone as well.
    let mut by_peer = going_over();
    by_peer.forget_store();
    by_peer.seen.child = Child::Stopped;
    acts(&by_peer.round(), &expected);
}

#[test]
fn whoever_is_not_listed_or_has_nothing_makes_way_as_before() {
    let mut scene = going_over();
    scene.seen.child = Child::Stopped;
    scene.seen.disk.peer_id = Some(PeerId(4));
    let newer = id(2, "two");
    acts(
        &scene.round(),
        &Action::SetAside(Aside::Superseded { newer }),
    );
    scene.seen.disk.peer_id = Some(PeerId(1));
    scene.seen.disk.collections = false;
    assert!(matches!(scene.round().action, Action::Discard(_)));
}

/// The disk is going over; Raft on it has these voters and has been in or not.
pub fn rejoiner(voters: impl IntoIterator<Item = u64>, joined: bool) -> Scene {
    let mut scene = going_over();
    scene.seen.child = Child::Stopped;
    let mut stamp = planner::records::Stamp::of(&second(), Stage::Joining);
    stamp.rejoin = Some(Rejoin {
        left: peers(4..=6),
        commit: Some(20),
    });
    scene.seen.disk.stamp = Some(stamp);
    scene.seen.disk.voters = peers(voters);
    scene.seen.disk.joined = joined;
    scene
}

#[test]
fn raft_begins_anew_at_every_try_until_it_was_let_in_and_never_after() {
    for (voters, joined) in [
        (peers(1..=6), true),
        (peers([]), false),
        (peers([3]), false),
    ] {
        let mut scene = rejoiner([], joined);
        scene.seen.disk.voters = voters;
        assert!(matches!(scene.round().action, Action::StartRejoin { .. }));
        scene.seen.child = Child::Resting("exit 101".to_owned());
        acts(&scene.round(), &Action::Wait);
    }
    let mut inside = rejoiner([1, 3], true);
    acts(&inside.round(), &Action::StartMember);
    // Where the old state cannot be told from the new one.
    let stamp = inside.seen.disk.stamp.as_mut().unwrap();
    stamp.rejoin.as_mut().unwrap().left.clear();
    assert!(matches!(inside.round().action, Action::StartRejoin { .. }));
}

#[test]
fn it_belongs_once_it_votes_and_the_key_map_names_the_generation() {
    let mut scene = rejoiner([1, 3], true);
    let mut inside = crate::scene::qdrant(Some(formed(1, "one")));
    inside.peers = peers([1, 3]);
    scene.seen.child = crate::scene::running(inside);
    waits(&scene.round(), "does not vote yet");
    scene.qdrant().proof = Observed::Known(Some(second()));
    scene.qdrant().is_voter = false;
    waits(&scene.round(), "does not vote yet");
    scene.qdrant().is_voter = true;
    // Who may stand in for our copies has to be there for two beats.
    acts(&scene.rounds(2), &Action::Wait);
    acts(
        &scene.round(),
        &Action::Rejoined {
            formed: second(),
            settled: peers([3]),
        },
    );
}

#[test]
fn survivors_go_over_one_after_the_other_and_not_for_ever() {
    let mut scene = going_over();
    scene.seen.child = Child::Stopped;
    scene.seen.disk.peer_id = Some(PeerId(2));
    survivor(&mut scene, 2, |hello| {
        hello.peer_id = Some(PeerId(1));
        hello.state = State::HoldsData;
    });
    waits(&scene.round(), "task-2 goes over before us");
    let mut inside = believed(2, second());
    if let Probe::Task { hello, .. } = &mut inside {
        hello.peer_id = Some(PeerId(1));
        hello.leads = false;
    }
    let mut settled = scene.clone();
    settled.at(2, inside);
    assert!(matches!(settled.round().action, Action::StartRejoin { .. }));
    let patience = scene.wait(LOSS_TIMEOUT);
    assert!(matches!(patience.action, Action::StartRejoin { .. }));
}
