//! Every precondition of destruction, refusing and granting.

use planner::decision::{Aside, Discard};
use planner::destruction::{may_discard, may_set_aside};
use planner::ids::{GenerationId, PeerId};
use planner::observed::Observed;
use planner::records::{Claim, FORMAT, Formed, Mode, Outcome, Stage, Stamp};
use planner::view::{Disk, Generation, Store};

fn id(number: u64, token: &str) -> GenerationId {
    GenerationId {
        number,
        token: token.into(),
    }
}

fn disk(stage: Stage, collections: bool) -> Disk {
    let stamp = Stamp {
        format: FORMAT,
        store_id: "s".into(),
        generation: id(1, "ours"),
        previous: None,
        founder: Some(PeerId(1)),
        stage,
    };
    Disk {
        stamp: Some(stamp),
        joined: true,
        collections,
        aside: false,
        peer_id: Some(PeerId(1)),
        served: false,
    }
}

fn store(token: &str, outcome: Option<Outcome>) -> Observed<Store> {
    let claim = Claim {
        format: FORMAT,
        token: token.into(),
        mode: Mode::Found,
        task: "t".into(),
        uri: "http://10.0.0.1:6335".to_owned(),
        previous: None,
        stack: None,
        survivors: Default::default(),
        missing: Default::default(),
    };
    let generations = [(
        1,
        Generation {
            claim,
            lease: None,
            outcome,
        },
    )]
    .into();
    Observed::Known(Store {
        generations,
        ..Store::default()
    })
}

fn abandoned() -> Option<Outcome> {
    Some(Outcome::Abandoned {
        format: FORMAT,
        by: "x".into(),
        why: "slow".to_owned(),
    })
}

fn formed() -> Option<Outcome> {
    Some(Outcome::Formed(Formed {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: "s".into(),
        generation: id(1, "ours"),
        previous: None,
        founder: PeerId(1),
        complete: false,
        survivors: Default::default(),
    }))
}

fn claim_abandoned() -> Discard {
    Discard::ClaimAbandoned {
        generation: id(1, "ours"),
    }
}

fn claim_lost() -> Discard {
    Discard::ClaimLost {
        generation: id(1, "ours"),
    }
}

#[test]
fn an_abandoned_claim_frees_its_disk_and_nothing_less_does() {
    let founding = disk(Stage::Founding, false);
    let there = store("ours", abandoned());
    assert!(may_discard(&claim_abandoned(), &founding, false, &there).is_ok());
    assert!(may_discard(&claim_abandoned(), &founding, true, &there).is_err());
    for (what, there) in [
        ("unknown store", Observed::Unknown("it hangs".to_owned())),
        ("undecided", store("ours", None)),
        ("formed", store("ours", formed())),
        ("another claim was abandoned", store("theirs", abandoned())),
        ("no claim", Observed::Known(Store::default())),
    ] {
        assert!(
            may_discard(&claim_abandoned(), &founding, false, &there).is_err(),
            "{what}"
        );
    }
}

#[test]
fn a_claim_is_lost_only_when_another_has_its_number() {
    let founding = disk(Stage::Founding, false);
    assert!(may_discard(&claim_lost(), &founding, false, &store("theirs", None)).is_ok());
    for there in [
        store("ours", None),
        store("ours", abandoned()),
        Observed::Known(Store::default()),
    ] {
        assert!(may_discard(&claim_lost(), &founding, false, &there).is_err());
    }
}

#[test]
fn a_member_is_never_wiped_on_the_ground_of_a_claim() {
    for stage in [Stage::Member, Stage::Joining] {
        for ground in [claim_abandoned(), claim_lost()] {
            for there in [store("ours", abandoned()), store("theirs", None)] {
                assert!(may_discard(&ground, &disk(stage, true), false, &there).is_err());
            }
        }
    }
}

#[test]
fn a_collection_protects_a_disk() {
    let there = store("ours", formed());
    let dataless = &Discard::Dataless;
    assert!(may_discard(dataless, &disk(Stage::Member, false), false, &there).is_ok());
    assert!(may_discard(dataless, &disk(Stage::Member, true), false, &there).is_err());
    assert!(may_discard(dataless, &disk(Stage::Member, false), true, &there).is_err());
    assert!(may_discard(dataless, &disk(Stage::Founding, false), false, &there).is_err());
    assert!(may_discard(dataless, &Disk::EMPTY, false, &there).is_err());
}

#[test]
fn data_is_set_aside_only_for_a_proven_higher_generation() {
    let member = disk(Stage::Member, true);
    let newer = Aside::Superseded {
        newer: id(2, "newer"),
    };
    let proof = id(2, "newer");
    assert!(may_set_aside(&newer, &member, false, Some(&proof), None).is_ok());
    assert!(may_set_aside(&newer, &member, false, Some(&id(3, "later")), None).is_ok());
    assert!(may_set_aside(&newer, &member, true, Some(&proof), None).is_err());
    assert!(may_set_aside(&newer, &member, false, None, None).is_err());
    assert!(may_set_aside(&newer, &member, false, Some(&id(1, "ours")), None).is_err());
    assert!(
        may_set_aside(
            &newer,
            &disk(Stage::Founding, true),
            false,
            Some(&proof),
            None
        )
        .is_err()
    );
    assert!(may_set_aside(&newer, &Disk::EMPTY, false, Some(&proof), None).is_err());
}

#[test]
fn a_removed_peer_sets_its_data_aside_only_when_the_cluster_is_whole_without_it() {
    let leader = "10.0.0.2".parse().unwrap();
    let ground = Aside::Removed { leader };
    let member = disk(Stage::Member, true);
    assert!(may_set_aside(&ground, &member, false, None, Some(leader)).is_ok());
    for (disk, runs, whole) in [
        (&member, false, None),
        (&member, true, Some(leader)),
        (&disk(Stage::Founding, true), false, Some(leader)),
        (&Disk::EMPTY, false, Some(leader)),
    ] {
        let newer = id(2, "newer");
        assert!(may_set_aside(&ground, disk, runs, Some(&newer), whole).is_err());
    }
}
