//! Stores that were emptied, exchanged, or in which a write of an earlier life landed.

use planner::decision::{Action, Alarm, Discard, Phase};
use planner::destruction::{may_discard, may_form};
use planner::records::{Outcome, Stage, State};
use planner::view::Child;

use crate::scene::{
    LOSS_TIMEOUT, Scene, abandoned, acts, alarmed, believed, entry, formed, id, qdrant, running,
    unknown, waits,
};

fn restarting() -> Scene {
    let mut scene = Scene::member();
    scene.seen.child = Child::Stopped;
    scene
}

#[test]
fn data_does_not_start_beside_the_store_of_another_cluster() {
    let mut scene = restarting();
    scene.identity("elsewhere", "vectors", None);
    let decision = scene.wait(LOSS_TIMEOUT * 2);
    waits(&decision, "this disk is of cluster store");
    assert_eq!(decision.state, State::HoldsData);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::ForeignStore(_))));
    // Its own cluster answers: that is where it belongs.
    scene.at(2, believed(2, formed(1, "one")));
    acts(&scene.round(), &Action::StartMember);
}

#[test]
fn data_does_not_start_beside_a_generation_that_it_does_not_follow() {
    for other in [
        planner::records::Formed {
            store_id: "elsewhere".into(),
            ..formed(1, "one")
        },
        formed(1, "uno"),
    ] {
        let mut scene = Scene::empty().disk(Stage::Member, &formed(2, "two"));
        scene.seen.disk.collections = true;
        scene.forget_store();
        let mut follows = scene.clone();
        scene.at(2, believed(2, other));
        let decision = scene.round();
        acts(&decision, &Action::Wait);
        assert!(alarmed(&decision, |a| matches!(a, Alarm::Contradiction(_))));
        follows.at(2, believed(2, formed(1, "one")));
        acts(&follows.rounds(3), &Action::StartMember);
    }
}

#[test]
fn a_half_re_created_record_of_our_own_is_finished_not_abandoned() {
    let mut scene = Scene::member();
    scene.store().generations.insert(1, entry("one", None));
    acts(&scene.round(), &Action::Recreate(formed(1, "one")));
    scene.qdrant().has_leader = false;
    acts(&scene.round(), &Action::Wait);
}

#[test]
fn a_place_that_is_taken_is_told_to_a_person() {
    let mut scene = Scene::member();
    for there in [
        entry("uno", Some(abandoned())),
        entry("one", Some(abandoned())),
    ] {
        scene.store().generations.insert(1, there);
        let decision = scene.round();
        waits(&decision, "in the cluster");
        assert!(alarmed(&decision, |a| matches!(a, Alarm::Unrecorded(_))));
    }
}

#[test]
fn an_outcome_that_names_another_claim_forms_nothing() {
    let orphan = Some(Outcome::Formed(formed(1, "uno")));
    let mut scene = Scene::claimant();
    scene.store().generations.insert(1, entry("one", orphan));
    assert!(scene.store().formed().is_none());
    assert!(scene.store().undecided().is_none());
    scene.seen.child = running(qdrant(None));
    acts(&scene.round(), &Action::Kill);
    scene.seen.child = Child::Stopped;
    let ground = Discard::ClaimAbandoned {
        generation: id(1, "one"),
    };
    acts(&scene.round(), &Action::Discard(ground.clone()));
    assert_eq!(
        may_discard(&ground, &scene.seen.disk, false, &scene.seen.store),
        Ok(())
    );
    // What a client put there through the open port is kept.
    scene.seen.disk.collections = true;
    let decision = scene.round();
    acts(&decision, &Action::Wait);
    assert_eq!(decision.state, State::HoldsData);
    assert!(alarmed(&decision, |a| *a == Alarm::RemovedWithData));
    assert!(may_discard(&ground, &scene.seen.disk, false, &scene.seen.store).is_err());
}

#[test]
fn a_claim_in_a_store_without_its_name_is_repeated() {
    for identity in [None, Some("elsewhere")] {
        let mut scene = Scene::claimant();
        scene.store().identity = None;
        if let Some(other) = identity {
            scene.identity(other, "vectors", None);
        }
        acts(&scene.rounds(4), &Action::RepeatClaim);
    }
}

#[test]
fn a_claim_below_another_is_given_up() {
    let mut scene = Scene::claimant();
    scene.store().generations.insert(2, entry("two", None));
    let decision = scene.rounds(4);
    assert!(matches!(decision.action, Action::Abandon { number: 1, .. }));
}

#[test]
fn a_claimant_that_never_leads_lets_others_try() {
    let mut scene = Scene::claimant();
    scene.seen.child = Child::Running(unknown());
    let decision = scene.wait(LOSS_TIMEOUT - std::time::Duration::from_secs(5));
    acts(&decision, &Action::Wait);
    assert!(decision.renew_lease);
    let decision = scene.rounds(5);
    assert!(matches!(decision.action, Action::Abandon { number: 1, .. }));
    assert!(!decision.renew_lease);
    assert!(alarmed(&decision, |a| matches!(a, Alarm::FoundingFails(_))));
}

#[test]
fn formed_is_written_only_for_the_open_claim_of_the_same_store() {
    let scene = Scene::claimant();
    let stamp = scene.seen.disk.stamp.clone().unwrap();
    assert_eq!(may_form(&stamp, &scene.seen.store), Ok(()));
    let refusals: [(&str, &dyn Fn(&mut Scene)); 7] = [
        ("unknown", &Scene::forget_store),
        ("no name", &|s| s.store().identity = None),
        ("another's", &|s| s.identity("elsewhere", "vectors", None)),
        ("no claim", &|s| s.store().generations.clear()),
        ("decided", &|s| {
            s.store()
                .generations
                .insert(1, entry("one", Some(abandoned())));
        }),
        ("another claim", &|s| {
            s.store().generations.insert(1, entry("uno", None));
        }),
        ("formed meanwhile", &|s| s.record_formed(&formed(2, "two"))),
    ];
    for (what, change) in refusals {
        let mut scene = scene.clone();
        change(&mut scene);
        assert!(may_form(&stamp, &scene.seen.store).is_err(), "{what}");
    }
    let second = planner::records::Stamp {
        previous: Some(id(1, "one")),
        ..stamp
    };
    assert!(may_form(&second, &scene.seen.store).is_err());
}

#[test]
fn a_stuck_member_says_nothing_in_the_name_of_the_cluster() {
    let mut scene = Scene::member();
    scene.store().generations.clear();
    for silent in [true, false] {
        scene.qdrant().has_leader = !silent;
        scene.qdrant().commits = (!silent).then_some(false);
        acts(&scene.round(), &Action::Wait);
    }
}

#[test]
fn a_stuck_member_of_an_emptied_store_is_waited_for_then_freed() {
    let mut scene = Scene::member();
    scene.seen.disk.collections = false;
    scene.qdrant().has_leader = false;
    scene.store().generations.clear();
    scene.store().identity = None;
    let decision = scene.wait(LOSS_TIMEOUT * 2);
    acts(&decision, &Action::Kill);
    scene.seen.child = Child::Stopped;
    let decision = scene.round();
    assert_eq!(
        (decision.phase, decision.state),
        (Phase::Fenced, State::Stuck)
    );
    acts(&decision, &Action::Discard(Discard::Dataless));
}

#[test]
fn another_living_generation_frees_a_stuck_member_without_data() {
    let mut scene = Scene::member();
    scene.seen.disk.collections = false;
    scene.qdrant().has_leader = false;
    scene.identity("elsewhere", "vectors", None);
    scene.at(
        2,
        believed(
            2,
            planner::records::Formed {
                store_id: "elsewhere".into(),
                ..formed(1, "two")
            },
        ),
    );
    scene.memory.verified = true;
    let decision = scene.wait(LOSS_TIMEOUT + std::time::Duration::from_secs(5));
    acts(&decision, &Action::Kill);
    scene.seen.disk.collections = true;
    assert_ne!(scene.round().action, Action::Discard(Discard::Dataless));
}
