//! R7 where snapshot sets exist: what may be claimed, and that nobody serves before the restore is
//! finished.

use planner::decision::{Action, Alarm, NotReady, Phase, Reason};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{
    FORMAT, Formed, Grant, GrantKind, Mode, Orders, Outcome, Regroup, Stage, Stamp, State,
};
use planner::view::{Child, Disk, Probe};

use crate::scene::{
    CLAIM_TIMEOUT, LOSS_TIMEOUT, SERVICE, Scene, abandoned, acts, address, alarmed, believed,
    claims, entry, formed, id, joins, qdrant, record, running, task, unknown, waits,
};

/// Rounds of five seconds that complete the count, the first of which only begins it.
const COMPLETE: u64 = LOSS_TIMEOUT.as_secs() / 5 + 1;

/// Generation 2, which began with a restore.
fn second() -> Formed {
    Formed {
        restore: true,
        ..formed(2, "two")
    }
}

/// An empty task that sees the silent remains of generation 1, and its sets.
fn lost() -> Scene {
    let mut scene = Scene::lost();
    scene.store().sets = Some(true);
    scene
}

/// Ours is the undecided claim to generation 2, to restore; Qdrant leads itself.
fn claimant() -> Scene {
    let mut scene = lost().disk(Stage::Founding, &second());
    let mut claim = entry("two", None);
    claim.claim.mode = Mode::Restore;
    scene.store().generations.insert(2, claim);
    scene.seen.child = running(qdrant(None));
    scene.qdrant().leads = true;
    scene
}

/// A member of generation 2 that could serve, but for the restore.
fn member() -> Scene {
    let proof = Formed {
        complete: true,
        ..second()
    };
    let mut scene = Scene::empty().disk(Stage::Member, &proof);
    scene.seen.disk.collections = true;
    scene.record_formed(&formed(1, "one"));
    scene.record_formed(&proof);
    scene.seen.child = running(qdrant(Some(proof)));
    scene.qdrant().orders = Observed::Known(Orders {
        format: FORMAT,
        grant: Some(Grant {
            kind: GrantKind::Serve,
            task: task(1),
        }),
        leaving: None,
    });
    scene
}

fn abandons(decision: &planner::decision::Decision, claim: u64) -> bool {
    matches!(&decision.action, Action::Abandon { number, .. } if *number == claim)
        && matches!(decision.reason, Reason::ClaimOvertaken(_))
}

#[test]
fn a_lost_generation_with_sets_is_followed_by_one_that_restores_them() {
    let mut scene = lost();
    waits(&scene.rounds(COMPLETE - 1), "nobody of it answers");
    let decision = scene.round();
    let claim = Action::Claim {
        number: 2,
        previous: Some(id(1, "one")),
        mode: Mode::Restore,
    };
    acts(&decision, &claim);
    assert_eq!(decision.reason, Reason::MayRestore(Some(id(1, "one"))));
    let lost = Some(id(1, "one"));
    let mode = Mode::Restore;
    assert_eq!(decision.alarms, [Alarm::ClusterLost { lost, mode }]);
}

#[test]
fn whether_there_are_sets_must_be_known() {
    for mut scene in [Scene::lost(), Scene::empty()] {
        scene.store().sets = None;
        let decision = scene.rounds(COMPLETE * 2);
        waits(&decision, "whether it holds snapshot sets was not read");
    }
    let mut scene = claimant();
    scene.rounds(COMPLETE);
    scene.store().sets = None;
    waits(&scene.rounds(3), "whether it holds snapshot sets");
}

/// Nobody can say that whoever made them is no more, but for silence; nor, without the store's name, that
/// they are ours.
#[test]
fn sets_without_a_record_are_restored_only_when_the_store_has_its_name_and_all_were_silent() {
    let first = Action::Claim {
        number: 1,
        previous: None,
        mode: Mode::Restore,
    };
    let mut scene = Scene::empty();
    scene.store().sets = Some(true);
    let nameless = scene.clone().rounds(COMPLETE * 2);
    waits(&nameless, "see the alarm");
    assert!(alarmed(&nameless, |a| a
        .to_string()
        .contains("identity.json")));
    scene.identity("store", SERVICE, None);

    let mut asked = scene.clone();
    asked.settings.restore = false;
    let decision = asked.rounds(COMPLETE * 2);
    waits(&decision, "see the alarm");
    assert_eq!(decision.phase, Phase::Blocked);
    assert!(alarmed(&decision, |a| a.to_string().contains("=wait")));

    waits(&scene.rounds(COMPLETE - 1), "whoever made them is silent");
    let mut beats = scene.clone();
    let decision = scene.round();
    acts(&decision, &first);
    let mode = Mode::Restore;
    assert_eq!(decision.alarms, [Alarm::ClusterLost { lost: None, mode }]);

    let alive = record(2, State::Member, Some(id(1, "one")));
    beats.store().members.insert(task(2), alive);
    beats.at(2, Probe::Silent);
    waits(&beats.rounds(COMPLETE - 1), "lists members of a cluster");
    beats.at(3, Probe::Opaque("401".to_owned()));
    assert!(!claims(&beats.rounds(COMPLETE * 2)));
}

#[test]
fn a_claim_whose_mode_is_no_longer_the_allowed_one_is_abandoned_and_made_anew() {
    let mut restores = claimant();
    acts(&restores.rounds(COMPLETE), &Action::Form);
    let mut gone = restores.clone();
    gone.store().sets = Some(false);
    assert!(abandons(&gone.round(), 2));

    // Whatever else is in the way: such a claim will never be formed.
    let mut founds = Scene::claimant();
    founds.store().sets = Some(true);
    founds.dns_fails();
    assert!(abandons(&founds.round(), 1));

    gone.seen.disk = Disk::EMPTY;
    gone.seen.child = Child::Stopped;
    let there = gone.store().generations.get_mut(&2).unwrap();
    there.outcome = Some(abandoned());
    let claim = Action::Claim {
        number: 3,
        previous: Some(id(1, "one")),
        mode: Mode::Found,
    };
    acts(&gone.wait(CLAIM_TIMEOUT), &claim);
}

#[test]
fn a_claim_to_restore_is_not_formed_where_a_person_is_to_be_asked() {
    let mut scene = claimant();
    scene.settings.restore = false;
    let decision = scene.rounds(COMPLETE);
    waits(&decision, "see the alarm");
    assert!(alarmed(&decision, |a| matches!(
        a,
        Alarm::RestoreNeeded { .. }
    )));
}

#[test]
fn nobody_serves_before_the_record_says_that_all_is_restored() {
    for restored in [unknown(), Observed::Known(false)] {
        let mut scene = member();
        scene.qdrant().restored = restored;
        let decision = scene.rounds(3);
        assert_eq!(decision.ready, Err(NotReady::Restoring));
        acts(&decision, &Action::Wait);
    }
    let mut scene = member();
    scene.qdrant().restored = Observed::Known(true);
    let decision = scene.round();
    assert_eq!(decision.ready, Ok(()));
    acts(&decision, &Action::Restored);
    let why = NotReady::Restoring.to_string();
    assert!(why.starts_with("restoring"), "{why}");
}

#[test]
fn a_generation_that_was_founded_is_not_asked() {
    let mut scene = member();
    scene.seen.disk.stamp.as_mut().unwrap().restore = false;
    assert_eq!(scene.round().ready, Ok(()));
}

#[test]
fn newcomers_need_not_ask_either_once_the_leader_has_told() {
    let mut scene = member();
    scene.seen.disk.stamp.as_mut().unwrap().restore = false;
    acts(&scene.round(), &Action::Wait);
    scene.qdrant().leads = true;
    // Alone, but the first formation was complete once.
    let told = Formed {
        complete: true,
        restore: false,
        ..second()
    };
    acts(&scene.round(), &Action::Publish(told.clone()));
    scene.qdrant().proof = Observed::Known(Some(told));
    acts(&scene.round(), &Action::Wait);
}

/// The mark is off the stamp: no missed read and no new process asks again.
#[test]
fn what_was_seen_finished_stays_so() {
    let mut scene = member();
    scene.qdrant().restored = Observed::Known(true);
    acts(&scene.round(), &Action::Restored);
    scene.seen.disk.stamp.as_mut().unwrap().restore = false;
    scene.seen.disk.served = true;
    scene.qdrant().restored = unknown();
    assert_eq!(scene.round().ready, Ok(()));
    scene.memory = Default::default();
    scene.seen.child = Child::Stopped;
    assert_eq!(scene.round().ready, Ok(()));
}

/// Whoever keeps data aside stays ready for the sake of that data, but not where it would be sent what the
/// restore takes away.
#[test]
fn readiness_of_an_earlier_generation_does_not_serve_one_that_is_restoring() {
    let children = [
        Child::Stopped,
        Child::Running(unknown()),
        running(qdrant(None)),
    ];
    for child in children {
        let mut scene = member();
        scene.memory.ready = true;
        scene.seen.disk.served = true;
        scene.seen.child = child;
        assert_eq!(scene.round().ready, Err(NotReady::Restoring));
        scene.seen.disk.stamp = Some(Stamp::of(&second(), Stage::Joining));
        assert_eq!(scene.round().ready, Err(NotReady::Restoring));
    }
    let mut scene = Scene::empty();
    scene.memory.ready = true;
    scene.seen.disk.aside = true;
    assert_eq!(scene.round().ready, Ok(()));
    scene.at(2, believed(2, second()));
    let decision = scene.round();
    assert!(joins(&decision));
    assert_eq!(decision.ready, Err(NotReady::Restoring));
}

#[test]
fn whoever_joins_learns_that_there_is_a_restore_and_carries_the_mark() {
    let mut scene = Scene::empty();
    scene.at(2, believed(2, second()));
    let join = Action::StartJoiner {
        formed: second(),
        via: address(2),
        uri: "http://10.0.0.2:6335".to_owned(),
    };
    acts(&scene.round(), &join);
    let mut scene = scene.disk(Stage::Joining, &second());
    scene.seen.child = running(qdrant(None));
    acts(&scene.round(), &Action::Settle(second()));
}

#[test]
fn a_restore_that_was_formed_is_settled_and_told_with_its_mark() {
    let mut scene = claimant();
    scene.rounds(COMPLETE);
    let outcome = Outcome::Formed(second());
    scene.store().generations.get_mut(&2).unwrap().outcome = Some(outcome);
    acts(&scene.round(), &Action::Settle(second()));
    let mut scene = scene.disk(Stage::Member, &second());
    scene.memory.verified = true;
    acts(&scene.round(), &Action::Publish(second()));
}

#[test]
fn survivors_take_an_unfinished_restore_along_and_a_finished_one_not() {
    for restore in [true, false] {
        let stamp = Stamp {
            restore,
            regroup: Some(Regroup {
                claim: id(3, "three"),
                previous: id(2, "two"),
                survivors: [(PeerId(1), task(1))].into(),
                missing: Default::default(),
                commit: 9,
                begun: true,
                behind: Default::default(),
            }),
            ..Stamp::of(&second(), Stage::Member)
        };
        assert_eq!(stamp.mode(), Mode::Requorum);
        let third = stamp.claimed(SERVICE, PeerId(1)).unwrap();
        assert_eq!(third.restore, restore);
        let next = Stamp::of(&third, Stage::Joining);
        assert_eq!((next.restore, next.mode()), (restore, Mode::Requorum));
    }
}
