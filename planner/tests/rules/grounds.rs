//! The refusals of destruction that `tests/destruction.rs` does not name: a disk without a stamp,
//! a wrong stage, a wrong ground, a proof that is no higher.

use planner::decision::{Aside, Discard};
use planner::destruction::{may_discard, may_set_aside};
use planner::observed::Observed;
use planner::records::{Outcome, Stage};
use planner::view::{Disk, Store};

use crate::scene::{Scene, abandoned, entry, formed, id, unknown};

fn grounds() -> [Discard; 3] {
    let generation = id(1, "one");
    [
        Discard::Dataless,
        Discard::ClaimAbandoned {
            generation: generation.clone(),
        },
        Discard::ClaimLost { generation },
    ]
}

fn stores() -> Vec<Observed<Store>> {
    let mut all = vec![unknown(), Observed::Known(Store::default())];
    for token in ["one", "uno"] {
        let formed = Outcome::Formed(formed(1, token));
        for outcome in [None, Some(abandoned()), Some(formed)] {
            let mut store = Store::default();
            store.generations.insert(1, entry(token, outcome));
            all.push(Observed::Known(store));
        }
    }
    all
}

fn disks() -> Vec<Disk> {
    let mut all = Vec::new();
    for stage in [Stage::Founding, Stage::Joining, Stage::Member] {
        for collections in [false, true] {
            let mut disk = Scene::empty().disk(stage, &formed(1, "one")).seen.disk;
            disk.collections = collections;
            all.push(disk);
        }
    }
    all
}

fn over(newer: &planner::ids::GenerationId) -> Aside {
    Aside::Superseded {
        newer: newer.clone(),
    }
}

#[test]
fn nothing_is_touched_while_qdrant_runs_or_without_our_stamp() {
    let unstamped = Disk {
        joined: true,
        collections: true,
        ..Disk::EMPTY
    };
    for store in stores() {
        for ground in grounds() {
            for disk in disks() {
                assert!(may_discard(&ground, &disk, true, &store).is_err());
                let newer = id(2, "two");
                assert!(may_set_aside(&over(&newer), &disk, true, Some(&newer), None).is_err());
            }
            for disk in [&unstamped, &Disk::EMPTY] {
                assert!(may_discard(&ground, disk, false, &store).is_err());
            }
        }
    }
    let newer = id(2, "two");
    assert!(may_set_aside(&over(&newer), &unstamped, false, Some(&newer), None).is_err());
}

#[test]
fn exactly_these_combinations_are_allowed() {
    let mut allowed = Vec::new();
    for disk in disks() {
        let stage = disk.stamp.as_ref().unwrap().stage;
        for ground in grounds() {
            for (at, store) in stores().iter().enumerate() {
                if may_discard(&ground, &disk, false, store).is_ok() {
                    allowed.push((ground.clone(), stage, disk.collections, at));
                }
            }
        }
    }
    let [dataless, by_abandoning, by_losing] = grounds();
    let mut expected = Vec::new();
    // 3: our claim is abandoned. 5, 6, 7: the number is another's. Never a disk with collections.
    expected.push((by_abandoning.clone(), Stage::Founding, false, 3));
    for at in 5..=7 {
        expected.push((by_losing.clone(), Stage::Founding, false, at));
    }
    for stage in [Stage::Joining, Stage::Member] {
        for at in 0..8 {
            expected.push((dataless.clone(), stage, false, at));
        }
    }
    assert_eq!(allowed, expected);
}

#[test]
fn a_ground_is_of_one_claim_only() {
    let disk = Scene::claimant().seen.disk;
    let mut store = Store::default();
    let gone = entry("one", Some(abandoned()));
    store.generations.insert(1, gone.clone());
    store.generations.insert(2, gone);
    let store = Observed::Known(store);
    for generation in [id(2, "one"), id(1, "uno")] {
        let abandoned = Discard::ClaimAbandoned {
            generation: generation.clone(),
        };
        assert!(may_discard(&abandoned, &disk, false, &store).is_err());
        let lost = Discard::ClaimLost { generation };
        assert!(may_discard(&lost, &disk, false, &store).is_err());
    }
}

#[test]
fn data_is_renamed_only_for_a_proof_that_is_higher_than_its_own_generation() {
    let disk = Scene::member().seen.disk;
    let newer = id(2, "two");
    for (proven, allowed) in [
        (None, false),
        (Some(id(1, "one")), false),
        (Some(id(1, "uno")), false),
        (Some(id(2, "two")), true),
        (Some(id(3, "three")), true),
    ] {
        let may = may_set_aside(&over(&newer), &disk, false, proven.as_ref(), None);
        assert_eq!(may.is_ok(), allowed, "{proven:?}");
    }
    // Our own generation, called newer, is not newer.
    let same = id(1, "one");
    assert!(may_set_aside(&over(&same), &disk, false, Some(&same), None).is_err());
    assert!(may_set_aside(&over(&id(3, "x")), &disk, false, Some(&newer), None).is_err());
    let founding = Scene::claimant().seen.disk;
    assert!(may_set_aside(&over(&newer), &founding, false, Some(&newer), None).is_err());
}
