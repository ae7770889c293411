//! R8: which of the survivors goes first, what holds it up and what does not, and how they come
//! through what goes wrong on the way.

use planner::decision::{Action, Alarm, Phase};
use planner::destruction::{entered, may_let_go, may_rejoin};
use planner::ids::PeerId;
use planner::records::{Formed, Hello, Outcome, Rejoin, Stage, Stamp, State, Succession};
use planner::view::{Child, Dns, Probe};

use crate::requorum::{
    COMPLETE, claimant, going_over, half_lost, held, hold, peers, regroups, rejoiner, rests,
    second, survivor, survivors,
};
use crate::scene::{
    CLAIM_TIMEOUT, LOSS_TIMEOUT, ROUND, Scene, abandoned, acts, address, alarmed, believed, formed,
    id, task, unknown, waits,
};

fn claims_within(scene: &mut Scene, rounds: u64) -> bool {
    (0..rounds).any(|_| regroups(&scene.round()))
}

/// Survivor 2 has begun anew for a claim that came to nothing, with as many entries as we have.
fn begun(hello: &mut Hello) {
    hello.state = State::HoldsData;
    hello.serves = false;
    hello.said.commit = Some(20);
    hello.said.plight.begun = true;
}

#[test]
fn whoever_ran_on_goes_before_one_that_began_anew_and_failed() {
    let mut scene = half_lost();
    scene.seen.disk.peer_id = Some(PeerId(2));
    survivor(&mut scene, 2, |hello| {
        hello.peer_id = Some(PeerId(1));
        begun(hello);
    });
    let claim = (0..COMPLETE + 4)
        .map(|_| scene.round())
        .find(regroups)
        .unwrap();
    let Action::Regroup { behind, .. } = claim.action else {
        unreachable!()
    };
    assert_eq!(behind, peers([1]), "its copies have missed what ours took");
    // With more committed entries it goes first all the same.
    survivor(&mut scene, 2, |hello| {
        hello.peer_id = Some(PeerId(1));
        begun(hello);
        hello.said.commit = Some(21);
    });
    assert!(!claims_within(&mut scene, COMPLETE));
}

#[test]
fn what_its_own_reinit_committed_does_not_put_a_claimant_first() {
    let mut scene = claimant(true);
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    scene.seen.child = Child::Stopped;
    scene.seen.disk.commit = Some(99);
    assert_eq!(scene.round().commit, Some(20));
    survivor(&mut scene, 2, |hello| hello.said.commit = Some(20));
    assert!(!claims_within(&mut scene, COMPLETE * 2), "peer 2 ran on");
}

/// Generation 2 counts on 1, 2 and 3, and 1 had stood still.
fn with_behind(founder: u64, behind: impl IntoIterator<Item = u64>) -> Formed {
    Formed {
        founder: PeerId(founder),
        behind: peers(behind),
        ..second()
    }
}

/// What this peer would drop its copies for, with the others settled members of `formed`.
fn settled(us: u64, formed: &Formed) -> std::collections::BTreeSet<PeerId> {
    let mut scene = rejoiner([1, 2, 3], true);
    scene.record_formed(formed);
    scene.seen.disk.stamp = Some(Stamp {
        rejoin: Some(Rejoin {
            left: peers(4..=6),
            commit: Some(20),
        }),
        ..Stamp::of(formed, Stage::Joining)
    });
    scene.seen.disk.peer_id = Some(PeerId(us));
    let mut qdrant = crate::scene::qdrant(Some(formed.clone()));
    qdrant.peers = peers(1..=3);
    scene.seen.child = crate::scene::running(qdrant);
    scene.seen.peers.clear();
    for (n, peer) in (2..).zip((1..=3).filter(|peer| *peer != us)) {
        let mut there = believed(n, formed.clone());
        if let Probe::Task { hello, .. } = &mut there {
            hello.peer_id = Some(PeerId(peer));
        }
        scene.at(n, there);
    }
    let rejoined = (0..9).map(|_| scene.round().action);
    rejoined
        .filter_map(|action| match action {
            Action::Rejoined { settled, .. } => Some(settled),
            _ => None,
        })
        .next()
        .unwrap()
}

#[test]
fn a_copy_is_dropped_only_for_one_that_has_missed_nothing_that_it_has() {
    // Rested in this order: 2, 1, and 3 as the claimant.
    assert_eq!(settled(2, &with_behind(3, [])), peers([1, 3]));
    assert_eq!(
        settled(1, &with_behind(3, [])),
        peers([3]),
        "2 came too early"
    );
    // 1 had stood still: it goes last, and nobody drops anything for it.
    assert_eq!(settled(2, &with_behind(3, [1])), peers([3]));
    assert_eq!(settled(1, &with_behind(3, [1])), peers([2, 3]));
    // The founder itself had.
    assert_eq!(settled(2, &with_behind(3, [3])), peers([1]));
    assert_eq!(settled(1, &with_behind(3, [1, 3])), peers([2]));
}

#[test]
fn copies_are_dropped_only_for_members_that_stay_for_two_beats() {
    let mut scene = rejoiner([1, 3], true);
    let mut inside = crate::scene::qdrant(Some(second()));
    inside.peers = peers([1, 3]);
    scene.seen.child = crate::scene::running(inside);
    let founder = scene.seen.peers.get(&address(3)).cloned().unwrap();
    for _ in 0..8 {
        scene.at(3, Probe::Silent);
        acts(&scene.round(), &Action::Wait);
        scene.at(3, founder.clone());
        acts(&scene.rounds(2), &Action::Wait);
    }
    let decision = scene.round();
    assert!(matches!(decision.action, Action::Rejoined { settled, .. } if settled == peers([3])));
}

#[test]
fn whoever_stood_still_goes_over_last() {
    let mut scene = going_over();
    let formed = with_behind(3, [1]);
    scene.record_formed(&formed);
    scene.seen.child = Child::Stopped;
    waits(&scene.round(), "survivor task-2 goes over before us");
    scene.seen.disk.peer_id = Some(PeerId(2));
    survivor(&mut scene, 2, |hello| {
        hello.peer_id = Some(PeerId(1));
        begun(hello);
    });
    assert!(matches!(scene.round().action, Action::StartRejoin { .. }));
}

/// The founder of generation 2 is gone before 1 and 2 went over.
fn founder_lost() -> Scene {
    let mut scene = going_over();
    scene.seen.child = Child::Stopped;
    scene.at(3, Probe::Silent);
    scene.listed([2]);
    survivor(&mut scene, 2, |hello| {
        hello.state = State::HoldsData;
        hello.serves = false;
        hello.said.quorum_lost = false;
        hello.said.commit = Some(18);
    });
    scene
}

#[test]
fn survivors_that_lose_their_founder_on_the_way_claim_again() {
    let mut scene = founder_lost();
    assert!(!claims_within(&mut scene, COMPLETE - 4));
    let claim = (0..8).map(|_| scene.round()).find(regroups).unwrap();
    acts(
        &claim,
        &Action::Regroup {
            number: 3,
            previous: id(2, "two"),
            survivors: [(PeerId(1), task(1)), (PeerId(2), task(2))].into(),
            missing: peers([3]),
            commit: 20,
            behind: peers([]),
        },
    );
    assert_eq!(claim.state, State::HoldsData);
}

#[test]
fn while_anybody_of_the_new_generation_may_live_they_wait_for_it() {
    let refusals: [(&str, &dyn Fn(&mut Scene)); 6] = [
        ("the founder beats", &|s| {
            s.store().members.get_mut(&task(3)).unwrap().beat += 1;
        }),
        ("DNS lists the founder", &|s| s.listed([2, 3])),
        ("the founder answers", &|s| {
            let there = Scene::clone(&going_over())
                .seen
                .peers
                .get(&address(3))
                .cloned();
            s.at(3, there.unwrap());
        }),
        ("the other is ahead", &|s| {
            survivor(s, 2, |hello| {
                hello.state = State::HoldsData;
                hello.serves = false;
                hello.said.commit = Some(21);
            });
        }),
        ("we have tried to go over", &|s| {
            s.seen.disk.stamp = Some(Stamp {
                rejoin: Some(Rejoin {
                    left: peers(4..=6),
                    commit: Some(20),
                }),
                ..Stamp::of(&second(), Stage::Joining)
            });
        }),
        ("a person is wanted", &|s| s.settings.requorum = false),
    ];
    for (what, refuse) in refusals {
        let mut scene = founder_lost();
        scene.rounds(COMPLETE - 6);
        for _ in 0..COMPLETE * 2 {
            refuse(&mut scene);
            assert!(!regroups(&scene.round()), "{what}");
        }
    }
}

#[test]
fn a_member_of_the_new_generation_takes_those_along_that_still_wait() {
    // Generation 2 of 1 and 3 has lost 3; 2 has not gone over yet.
    let mut scene = founder_lost();
    scene.seen.disk.stamp = Some(Stamp::of(&second(), Stage::Member));
    let mut qdrant = crate::scene::qdrant(Some(second()));
    qdrant.peers = peers([1, 3]);
    qdrant.commits = Some(false);
    qdrant.commit = 30;
    scene.seen.child = crate::scene::running(qdrant);
    let claim = (0..COMPLETE * 2)
        .map(|_| scene.round())
        .find(regroups)
        .unwrap();
    let Action::Regroup {
        number,
        survivors,
        missing,
        behind,
        ..
    } = claim.action
    else {
        unreachable!()
    };
    assert_eq!((number, missing), (3, peers([3])));
    assert_eq!(
        survivors.keys().copied().collect::<Vec<_>>(),
        [PeerId(1), PeerId(2)]
    );
    assert_eq!(behind, peers([2]), "it was not there for what came since");
}

/// Survivor 2 is before us, and says why it cannot claim.
fn cannot(scene: &mut Scene, why: Option<&str>) {
    survivor(scene, 2, |hello| {
        hello.said.commit = Some(21);
        hello.said.plight.cannot_claim = why.map(str::to_owned);
    });
}

#[test]
fn whoever_is_first_and_cannot_claim_is_waited_for_no_longer_than_the_loss_timeout() {
    let mut scene = half_lost();
    cannot(&mut scene, None);
    scene.rounds(COMPLETE + 2);
    // It says so now, and has to for as long as a loss takes.
    cannot(&mut scene, Some("its store hangs"));
    assert!(!claims_within(&mut scene, COMPLETE - 6));
    assert!(alarmed(&scene.round(), |a| matches!(a,
        Alarm::QuorumLost { next, .. } if next.contains("task-2") && next.contains("its store hangs"))));
    let claim = (0..8).map(|_| scene.round()).find(regroups).unwrap();
    assert!(matches!(claim.action, Action::Regroup { survivors: all, .. } if all == survivors()));
}

#[test]
fn one_round_in_which_it_does_not_say_so_starts_that_anew() {
    let interruptions: [(&str, &dyn Fn(&mut Scene)); 3] = [
        ("it can", &|s| cannot(s, None)),
        ("its answer is lost", &|s| s.at(2, Probe::Silent)),
        ("it does not say how far it is", &|s| {
            survivor(s, 2, |hello| hello.said.commit = None);
        }),
    ];
    for (what, interrupt) in interruptions {
        let mut scene = half_lost();
        cannot(&mut scene, Some("its store hangs"));
        scene.rounds(COMPLETE - 4);
        interrupt(&mut scene);
        assert!(!regroups(&scene.round()), "{what}");
        cannot(&mut scene, Some("its store hangs"));
        assert!(!claims_within(&mut scene, COMPLETE - 4), "{what}");
        assert!(claims_within(&mut scene, 6), "{what}");
    }
}

#[test]
fn a_survivor_says_what_keeps_itself_from_claiming() {
    let troubles: [(&str, &dyn Fn(&mut Scene)); 3] = [
        ("the store cannot be read", &Scene::forget_store),
        ("DNS", &|s| s.seen.dns = Dns::Failed("SERVFAIL".to_owned())),
        ("does not say whom it lists", &|s| {
            s.seen.child = Child::Running(unknown());
        }),
    ];
    for (what, trouble) in troubles {
        let mut scene = half_lost();
        scene.rounds(COMPLETE + 2);
        trouble(&mut scene);
        let decision = scene.round();
        assert!(decision.quorum_lost, "{what}");
        let said = decision.plight.cannot_claim.unwrap();
        assert!(said.contains(what), "{said}");
    }
    // That somebody lives is a trouble of everybody's.
    let mut scene = half_lost();
    scene.rounds(COMPLETE + 2);
    survivor(&mut scene, 4, |_| {});
    assert_eq!(scene.round().plight.cannot_claim, None);
}

#[test]
fn a_claim_of_ours_that_came_to_nothing_leaves_the_next_one_to_others() {
    let mut scene = claimant(true);
    survivor(&mut scene, 4, |_| {});
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let last = scene.rounds(COMPLETE * 3);
    assert!(matches!(last.action, Action::Abandon { number: 2, .. }));
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    scene.seen.child = Child::Stopped;
    scene.at(4, Probe::Silent);
    let decision = scene.round();
    assert!(
        decision
            .plight
            .cannot_claim
            .unwrap()
            .contains("came to nothing")
    );
    let others = (LOSS_TIMEOUT + CLAIM_TIMEOUT).as_secs() / ROUND.as_secs();
    assert!(!claims_within(&mut scene, others - 4));
    assert!(claims_within(&mut scene, 8));
}

#[test]
fn a_survivor_whose_qdrant_hangs_says_so_and_goes_along() {
    let mut scene = half_lost();
    scene.seen.child = Child::Running(unknown());
    let decision = scene.rounds(COMPLETE + 2);
    assert!(decision.quorum_lost);
    assert_eq!(decision.commit, Some(20), "what its disk would bring");
    // Not where those who answer could still be a majority.
    let mut scene = half_lost();
    survivor(&mut scene, 4, |_| {});
    scene.seen.child = Child::Running(unknown());
    assert!(!scene.rounds(COMPLETE * 2).quorum_lost);
    // And whoever is well does not wait for its word for ever.
    let mut scene = half_lost();
    survivor(&mut scene, 2, |hello| {
        hello.serves = false;
        hello.said.commit = Some(21);
        hello.said.plight.cannot_claim =
            Some("our own Qdrant does not say whom it lists".to_owned());
    });
    assert!(claims_within(&mut scene, COMPLETE + 6));
}

#[test]
fn a_learner_with_collections_goes_along_and_is_no_voice() {
    // Three of six voters, and a learner: with its voice they would be a majority of seven.
    let mut scene = half_lost();
    scene.qdrant().peers = peers(1..=7);
    survivor(&mut scene, 7, |hello| {
        hello.state = State::HoldsData;
        hello.said.commit = Some(10);
        hello.said.plight.cannot_claim = Some("this peer is not in the generation".to_owned());
    });
    let claim = (0..COMPLETE + 6)
        .map(|_| scene.round())
        .find(regroups)
        .unwrap();
    assert!(
        matches!(claim.action, Action::Regroup { survivors, .. } if survivors.contains_key(&PeerId(7)))
    );
    // The learner itself: it says so, rests for the claim, and goes over.
    let mut learner = held();
    learner.seen.disk.stamp.as_mut().unwrap().stage = Stage::Joining;
    learner.qdrant().is_voter = false;
    let claim = learner.store().generations.remove(&2).unwrap();
    let decision = learner.rounds(COMPLETE + 2);
    assert!(decision.quorum_lost && decision.plight.cannot_claim.is_some());
    rests(&mut learner, 2);
    learner.store().generations.insert(2, claim);
    acts(&learner.round(), &Action::HoldStill(hold()));
}

#[test]
fn whoever_cannot_read_the_store_rests_at_the_word_of_the_claimant() {
    let mut scene = held();
    rests(&mut scene, 2);
    scene.forget_store();
    assert!(!matches!(scene.round().action, Action::HoldStill(_)));
    let claims = Succession {
        claim: id(2, "two"),
        previous: id(1, "one"),
        survivors: survivors(),
    };
    survivor(&mut scene, 3, |hello| {
        hello.said.plight.claims = Some(claims.clone())
    });
    acts(&scene.round(), &Action::HoldStill(hold()));
    // Of another generation, or not for us.
    let others = Succession {
        survivors: [(PeerId(3), task(3))].into(),
        ..claims.clone()
    };
    for word in [
        others,
        Succession {
            previous: id(1, "uno"),
            ..claims
        },
    ] {
        survivor(&mut scene, 3, |hello| {
            hello.said.plight.claims = Some(word.clone())
        });
        assert!(!matches!(scene.round().action, Action::HoldStill(_)));
    }
}

#[test]
fn that_we_rest_for_a_claim_outlives_the_process() {
    let mut scene = held();
    scene.seen.disk.stamp.as_mut().unwrap().held = Some(hold());
    scene.seen.child = Child::Stopped;
    scene.forget_store();
    // A new process: DNS would be witness enough for a member that was not asked to rest.
    let decision = scene.rounds(9);
    waits(&decision, "Qdrant rests until that is decided");
    assert_eq!(decision.state, State::HoldsData);
}

#[test]
fn who_rests_is_let_go_only_when_the_claim_can_never_be_formed() {
    let stamp = |scene: &Scene| {
        let mut stamp = scene.seen.disk.stamp.clone().unwrap();
        stamp.held = Some(hold());
        stamp
    };
    let scene = held();
    assert!(
        may_let_go(&stamp(&scene), &scene.seen.store).is_err(),
        "open"
    );
    assert!(may_let_go(&stamp(&scene), &unknown()).is_err());
    let mut formed = held();
    let outcome = Some(Outcome::Formed(second()));
    formed.store().generations.get_mut(&2).unwrap().outcome = outcome;
    assert!(may_let_go(&stamp(&formed), &formed.seen.store).is_err());
    let mut emptied = held();
    emptied.store().generations.clear();
    assert!(may_let_go(&stamp(&emptied), &emptied.seen.store).is_err());
    let mut over = held();
    over.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    assert!(may_let_go(&stamp(&over), &over.seen.store).is_ok());
    let mut taken = held();
    taken.store().generations.get_mut(&2).unwrap().claim.token = "uno".into();
    assert!(may_let_go(&stamp(&taken), &taken.seen.store).is_ok());
}

/// Ours was a claim that came to nothing after Raft was begun anew.
fn failed() -> Scene {
    let mut scene = claimant(true);
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(abandoned());
    scene.seen.child = Child::Stopped;
    scene
}

#[test]
fn after_raft_began_anew_a_majority_that_returns_is_joined_anew_by_permission_only() {
    let mut scene = failed();
    scene.at(4, believed(4, formed(1, "one")));
    let decision = scene.rounds(3);
    waits(
        &decision,
        "waits for the steward's permission to set it aside",
    );
    assert_eq!(
        (decision.phase, decision.state),
        (Phase::Fenced, State::HoldsData)
    );
    assert!(decision.plight.cannot_run.is_some());
    assert!(alarmed(&decision, |a| matches!(a, Alarm::CannotRun(_))));
    crate::aside::permit(&mut scene, 4, 1);
    let leader = address(4);
    acts(
        &scene.round(),
        &Action::SetAside(planner::decision::Aside::Permitted { leader }),
    );
}

#[test]
fn after_raft_began_anew_an_emptied_store_keeps_the_data_and_says_what_is_missing() {
    let mut scene = failed();
    scene.store().generations.clear();
    scene.store().identity = None;
    for _ in 0..COMPLETE {
        let decision = scene.round();
        match &decision.action {
            // For good, and then given up: nobody can form it.
            Action::RepeatClaim => {
                scene.identity("store", "vectors", None);
                let mut claim = crate::scene::entry("two", Some(abandoned()));
                claim.claim.task = task(1);
                scene.store().generations.insert(2, claim);
            }
            Action::Wait => assert!(alarmed(&decision, |a| {
                a.to_string()
                    .contains("the store has no record of our generation")
            })),
            other => panic!("{other:?}"),
        }
        assert_eq!(decision.state, State::HoldsData);
    }
}

#[test]
fn a_stamp_that_does_not_name_its_own_peer_is_refused_once_and_for_all() {
    let mut nobody = rejoiner([], false);
    nobody.seen.disk.stamp.as_mut().unwrap().survivors.clear();
    let decision = nobody.rounds(5);
    acts(&decision, &Action::Wait);
    assert!(alarmed(
        &decision,
        |a| matches!(a, Alarm::BrokenChain(what) if what.contains("does not count on"))
    ));
    let mut mark = claimant(false);
    let stamp = mark.seen.disk.stamp.as_mut().unwrap();
    stamp.regroup.as_mut().unwrap().survivors.clear();
    acts(&mark.round(), &Action::Kill);
    mark.seen.child = Child::Stopped;
    let decision = mark.rounds(5);
    acts(&decision, &Action::Wait);
    assert!(alarmed(
        &decision,
        |a| matches!(a, Alarm::BrokenChain(what) if what.contains("does not name"))
    ));
}

#[test]
fn raft_is_not_begun_anew_where_its_terms_say_that_it_was_let_in() {
    let mut scene = rejoiner([1, 3], true);
    let stamp = scene.seen.disk.stamp.as_mut().unwrap();
    stamp.rejoin.as_mut().unwrap().left.clear();
    let mark = stamp.rejoin.clone().unwrap();
    assert!(matches!(scene.round().action, Action::StartRejoin { .. }));
    scene.seen.disk.term = id(2, "two").first_term();
    assert!(entered(&scene.seen.disk, &id(2, "two"), &mark));
    acts(&scene.round(), &Action::StartMember);
    let proven = second().generation;
    assert!(may_rejoin(&second(), &scene.seen.disk, false, Some(&proven)).is_err());
    scene.seen.disk.term -= 1;
    assert!(may_rejoin(&second(), &scene.seen.disk, false, Some(&proven)).is_ok());
}
