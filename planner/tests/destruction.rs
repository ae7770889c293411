//! Every precondition of destruction, refusing and granting.

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tables of named changes, and helpers of tests that may fail loudly"
)]

use planner::decision::{Aside, Discard};
use planner::destruction::{
    may_discard, may_reinit, may_rejoin, may_resume, may_set_aside, may_shed,
};
use planner::ids::{GenerationId, PeerId};
use planner::observed::Observed;
use planner::records::{
    Claim, FORMAT, Formed, Identity, Mode, Outcome, Regroup, Rejoin, Stage, Stamp,
};
use planner::view::{Disk, Generation, Store};

fn id(number: u64, token: &str) -> GenerationId {
    GenerationId {
        number,
        token: token.into(),
    }
}

fn disk(stage: Stage, collections: bool) -> Disk {
    let stamp = Stamp {
        founder: Some(PeerId(1)),
        stage,
        ..Stamp::founding("s".into(), id(1, "ours"), None, false)
    };
    Disk {
        stamp: Some(stamp),
        joined: true,
        collections,
        aside: false,
        peer_id: Some(PeerId(1)),
        ..Disk::EMPTY
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
        behind: Default::default(),
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
        behind: Default::default(),
        restore: false,
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

/// A survivor whose claim to generation 2 is open, and the store that says so.
fn claimant() -> (Disk, Observed<Store>) {
    let mut disk = disk(Stage::Member, true);
    let stamp = disk.stamp.as_mut().unwrap();
    stamp.regroup = Some(Regroup {
        claim: id(2, "two"),
        previous: id(1, "ours"),
        survivors: [(PeerId(1), "t".into())].into(),
        missing: [PeerId(2)].into(),
        behind: Default::default(),
        commit: 9,
        begun: false,
    });
    let Observed::Known(mut there) = store("ours", formed()) else {
        panic!("it is known")
    };
    let mut open = there.generations[&1].clone();
    open.claim.token = "two".into();
    open.outcome = None;
    there.generations.insert(2, open);
    there.identity = Some(Identity {
        format: FORMAT,
        store_id: "s".into(),
        service: "vectors".to_owned(),
        stack: None,
    });
    (disk, Observed::Known(there))
}

fn change(store: &mut Observed<Store>) -> &mut Store {
    match store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => panic!("{why}"),
    }
}

#[test]
fn raft_begins_anew_only_for_our_own_open_claim_upon_the_highest_generation() {
    let (disk, store) = claimant();
    assert_eq!(may_reinit(&disk, false, &store), Ok(()));
    assert!(may_reinit(&disk, true, &store).is_err(), "it runs");
    let of_disk: [(&str, &dyn Fn(&mut Disk)); 6] = [
        ("no stamp", &|d| d.stamp = None),
        ("no claim", &|d| d.stamp.as_mut().unwrap().regroup = None),
        ("no member", &|d| {
            d.stamp.as_mut().unwrap().stage = Stage::Joining
        }),
        ("no data", &|d| d.collections = false),
        ("another peer", &|d| d.peer_id = Some(PeerId(7))),
        ("another claim", &|d| {
            let stamp = d.stamp.as_mut().unwrap();
            stamp.regroup.as_mut().unwrap().claim.token = "zwei".into();
        }),
    ];
    for (what, spoil) in of_disk {
        let mut disk = disk.clone();
        spoil(&mut disk);
        assert!(may_reinit(&disk, false, &store).is_err(), "{what}");
    }
    let of_store: [(&str, &dyn Fn(&mut Observed<Store>)); 6] = [
        ("unknown", &|s| {
            *s = Observed::Unknown("it hangs".to_owned())
        }),
        ("empty", &|s| *change(s) = Store::default()),
        ("abandoned", &|s| {
            change(s).generations.get_mut(&2).unwrap().outcome = abandoned();
        }),
        ("overtaken", &|s| {
            let open = change(s).generations[&2].clone();
            change(s).generations.insert(3, open);
        }),
        ("our generation is not formed", &|s| {
            change(s).generations.get_mut(&1).unwrap().outcome = abandoned();
        }),
        ("another store", &|s| {
            change(s).identity.as_mut().unwrap().store_id = "x".into();
        }),
    ];
    for (what, spoil) in of_store {
        let mut store = store.clone();
        spoil(&mut store);
        assert!(may_reinit(&disk, false, &store).is_err(), "{what}");
    }
}

#[test]
fn a_peer_goes_on_in_its_old_generation_only_before_raft_began_anew_and_after_the_claim() {
    let (mut disk, mut store) = claimant();
    assert!(may_resume(&disk, &store).is_err(), "it is open");
    assert!(may_resume(&disk, &Observed::Unknown("it hangs".to_owned())).is_err());
    let mut gone = store.clone();
    change(&mut gone).generations.remove(&2);
    assert!(may_resume(&disk, &gone).is_err(), "it may land late");
    let mut lost = store.clone();
    change(&mut lost)
        .generations
        .get_mut(&2)
        .unwrap()
        .claim
        .token = "zwei".into();
    assert_eq!(may_resume(&disk, &lost), Ok(()));
    change(&mut store).generations.get_mut(&2).unwrap().outcome = abandoned();
    assert_eq!(may_resume(&disk, &store), Ok(()));
    let stamp = disk.stamp.as_mut().unwrap();
    stamp.regroup.as_mut().unwrap().begun = true;
    assert!(may_resume(&disk, &store).is_err(), "Raft began anew");
    assert!(may_resume(&self::disk(Stage::Member, true), &store).is_err());
}

#[test]
fn a_survivor_goes_over_only_into_the_highest_generation_that_counts_on_it() {
    let second = Formed {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: "s".into(),
        generation: id(2, "two"),
        previous: Some(id(1, "ours")),
        founder: PeerId(3),
        complete: false,
        survivors: [PeerId(1), PeerId(3)].into(),
        behind: Default::default(),
        restore: false,
    };
    let proven = id(2, "two");
    let member = disk(Stage::Member, true);
    assert_eq!(may_rejoin(&second, &member, false, Some(&proven)), Ok(()));
    let mut again = member.clone();
    let mut stamp = Stamp::of(&second, Stage::Joining);
    assert!(
        may_rejoin(
            &second,
            &Disk {
                stamp: Some(stamp.clone()),
                ..again.clone()
            },
            false,
            Some(&proven)
        )
        .is_err()
    );
    stamp.rejoin = Some(Rejoin {
        left: [PeerId(2)].into(),
        commit: None,
    });
    again.stamp = Some(stamp);
    assert_eq!(may_rejoin(&second, &again, false, Some(&proven)), Ok(()));
    assert!(
        may_rejoin(&second, &member, true, Some(&proven)).is_err(),
        "it runs"
    );
    for proven in [None, Some(id(1, "ours")), Some(id(3, "three"))] {
        assert!(may_rejoin(&second, &member, false, proven.as_ref()).is_err());
    }
    let others = Formed {
        survivors: [PeerId(3)].into(),
        ..second.clone()
    };
    assert!(may_rejoin(&others, &member, false, Some(&proven)).is_err());
    let elsewhere = Formed {
        store_id: "x".into(),
        ..second.clone()
    };
    assert!(may_rejoin(&elsewhere, &member, false, Some(&proven)).is_err());
    let founding = disk(Stage::Founding, true);
    assert!(may_rejoin(&second, &founding, false, Some(&proven)).is_err());
    let settled = Disk {
        stamp: Some(Stamp::of(&second, Stage::Member)),
        ..member
    };
    assert!(may_rejoin(&second, &settled, false, Some(&proven)).is_err());
}

#[test]
fn a_copy_is_dropped_after_going_over_only_where_a_settled_member_has_one() {
    let settled = [PeerId(1)].into();
    assert_eq!(may_shed(&[PeerId(1), PeerId(2)].into(), &settled), Ok(()));
    assert!(may_shed(&[PeerId(2)].into(), &settled).is_err());
    assert!(may_shed(&[].into(), &settled).is_err());
    assert!(may_shed(&[PeerId(1)].into(), &[].into()).is_err());
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
