//! One record: who wins, what is believed, and what a store that fails or hangs comes to.

use std::fs;

use planner::keep::folder::Found;
use planner::keep::layout::Entry;
use planner::keep::records::{Manifest, PartRecord, Pin, PlanRecord};
use planner::keep::refusal::Fault as Wrong;

use super::sample::{self, SET, set};
use super::{Bench, LONG, SHORT, bench};
use crate::keep::record::MAX_RECORD;
use crate::keep::{Shelf, ShelfError};
use crate::store::testing::{Fault, Gate};
use crate::store::{Created, MAX_VALUE, Op, StoreError};

async fn plan_of(shelf: &Shelf) -> Found<PlanRecord> {
    shelf.read(set(SET), Entry::Plan).await
}

#[tokio::test]
async fn a_record_is_created_at_its_place_and_read_back() {
    let bench = bench(LONG);
    let plan = sample::plan(1);
    assert_eq!(plan_of(&bench.shelf).await, Found::Absent);
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);
    assert_eq!(plan_of(&bench.shelf).await, Found::Good(plan));
    assert_eq!(bench.files(), [format!("sets/{SET}/plan.json")]);
    let part = sample::part(2, 1000);
    assert_eq!(bench.shelf.create(&part).await.unwrap(), Created::Ours);
    let read = bench
        .shelf
        .read(set(SET), Entry::of("parts/c000-s2-1.json").unwrap());
    assert_eq!(read.await, Found::Good(part));
}

#[tokio::test]
async fn the_first_record_stays_and_the_same_bytes_again_are_ours() {
    let bench = bench(LONG);
    let (ours, theirs) = (sample::other_plan(1), sample::other_plan(2));
    let other = bench.other();
    assert_eq!(bench.shelf.create(&ours).await.unwrap(), Created::Ours);
    let there = serde_json::to_vec(&ours).unwrap();
    let exists = Created::Exists(there);
    assert_eq!(other.create(&theirs).await.unwrap(), exists);
    assert_eq!(bench.shelf.create(&ours).await.unwrap(), Created::Ours);
    assert_eq!(other.create(&ours).await.unwrap(), Created::Ours);
    assert_eq!(plan_of(&other).await, Found::Good(ours));
}

#[tokio::test]
async fn of_many_stewards_one_makes_the_plan() {
    let bench = bench(LONG);
    let stewards: Vec<_> = (0..8)
        .map(|n| (bench.other(), sample::other_plan(n)))
        .collect();
    let creations = stewards.iter().map(|(shelf, plan)| shelf.create(plan));
    let ended = futures::future::try_join_all(creations).await.unwrap();
    let won: Vec<_> = (0..8).filter(|n| ended[*n] == Created::Ours).collect();
    assert_eq!(won.len(), 1, "{ended:?}");
    let (_, plan) = &stewards[won[0]];
    let bytes = serde_json::to_vec(plan).unwrap();
    let exists = ended
        .iter()
        .filter(|end| **end == Created::Exists(bytes.clone()));
    assert_eq!(exists.count(), 7);
    assert_eq!(plan_of(&bench.shelf).await, Found::Good(plan.clone()));
    assert_eq!(bench.files(), [format!("sets/{SET}/plan.json")]);
}

#[tokio::test]
async fn a_plan_may_be_larger_than_a_value() {
    let bench = bench(LONG);
    let plan = sample::plan(600);
    assert!(serde_json::to_vec(&plan).unwrap().len() > 2 * MAX_VALUE);
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);
    assert_eq!(plan_of(&bench.shelf).await, Found::Good(plan));
}

#[tokio::test]
async fn refused_unread_and_absent_are_three_things() {
    let bench = bench(LONG);
    assert_eq!(plan_of(&bench.shelf).await, Found::Absent);
    bench.lay("plan.json", b"{\"format\": 1, \"set\":");
    let Found::Refused(refusal) = plan_of(&bench.shelf).await else {
        panic!("not refused");
    };
    assert_eq!(refusal.fault, Wrong::Truncated);
    // That of another place.
    bench.lay(
        "manifest.json",
        &serde_json::to_vec(&sample::pin("me")).unwrap(),
    );
    let read: Found<Manifest> = bench.shelf.read(set(SET), Entry::Manifest).await;
    assert!(matches!(read, Found::Refused(_)), "{read:?}");
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    let Found::Unread(why) = plan_of(&bench.shelf).await else {
        panic!("not unread");
    };
    assert!(
        why.contains("plan.json") && why.contains("injected"),
        "{why}"
    );
    fs::create_dir(bench.path("pin.json")).unwrap();
    let read: Found<Pin> = bench.shelf.read(set(SET), Entry::Pin).await;
    assert!(matches!(&read, Found::Unread(_)), "{read:?}");
}

#[tokio::test]
async fn what_is_larger_than_any_record_is_refused_unread() {
    let bench = bench(LONG);
    bench.lay("plan.json", b"");
    let file = fs::File::options()
        .write(true)
        .open(bench.path("plan.json"));
    file.unwrap().set_len(MAX_RECORD as u64 + 1).unwrap();
    let Found::Refused(refusal) = plan_of(&bench.shelf).await else {
        panic!("not refused");
    };
    assert_eq!(refusal.fault, Wrong::TooLarge(MAX_RECORD as u64 + 1));
    let text = refusal.to_string();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("16777217 bytes"), "{text}");
    let error = bench.shelf.create(&sample::plan(1)).await.unwrap_err();
    let ShelfError::Store(StoreError::TooLarge { limit, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(limit, MAX_RECORD as u64);
}

#[tokio::test]
async fn a_record_that_nobody_would_believe_is_not_written() {
    let bench = bench(LONG);
    let error = bench.shelf.create(&sample::part(0, 0)).await.unwrap_err();
    assert!(matches!(error, ShelfError::Unbelievable(_)), "{error:?}");
    let mut plan = sample::plan(2);
    plan.collections[1].index = plan.collections[0].index;
    let error = bench.shelf.create(&plan).await.unwrap_err();
    assert!(matches!(error, ShelfError::Unbelievable(_)), "{error:?}");
    assert!(!error.is_unclear());
    assert_eq!(bench.files(), [""; 0]);
}

#[tokio::test]
async fn refusals_of_the_store_write_nothing() {
    let bench = bench(LONG);
    let pin = sample::pin("me");
    for step in 0..3 {
        let op = if step == 2 { Op::Publish } else { Op::Write };
        (0..step % 2).for_each(|_| bench.store.inject(Op::Write, Fault::Pass));
        bench.store.inject(op, Fault::Full);
        let error = bench.shelf.create(&pin).await.unwrap_err();
        let ShelfError::Store(store) = &error else {
            panic!("{error:?}");
        };
        assert!(store.is_full() && !error.is_unclear(), "{error:?}");
        assert_eq!(bench.files(), [""; 0]);
    }
    bench.store.set_read_only(true);
    let error = bench.shelf.create(&pin).await.unwrap_err();
    assert!(
        matches!(&error, ShelfError::Store(e) if e.is_read_only()),
        "{error:?}"
    );
    bench.store.set_read_only(false);
    assert_eq!(bench.shelf.create(&pin).await.unwrap(), Created::Ours);
}

#[tokio::test]
async fn an_unclear_end_is_decided_by_what_is_there() {
    let bench = bench(LONG);
    // An error that hid a success.
    bench.store.inject(Op::Publish, Fault::ErrorAfter);
    let plan = sample::other_plan(1);
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);

    // One that came to nothing yet, and lands before it is asked for again.
    let gate = Gate::default();
    bench
        .store
        .inject(Op::Publish, Fault::LandsLate(gate.clone()));
    let pin = sample::pin("me");
    let error = bench.shelf.create(&pin).await.unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    gate.open();
    gate.wait_for_passage();
    assert_eq!(bench.shelf.create(&pin).await.unwrap(), Created::Ours);

    // One whose name may not be durable, or that cannot be read.
    for (op, fault) in [
        (Op::Publish, Fault::ErrorBefore),
        (Op::Read, Fault::ErrorBefore),
    ] {
        bench.store.inject(Op::Publish, Fault::ErrorAfter);
        bench.store.inject(op, fault);
        let part = sample::part(u32::from(op == Op::Read), 1000);
        let error = bench.shelf.create(&part).await.unwrap_err();
        assert!(error.is_unclear(), "{error:?}");
        assert_eq!(bench.shelf.create(&part).await.unwrap(), Created::Ours);
    }
}

#[tokio::test]
async fn while_one_call_hangs_all_others_are_answered_at_once() {
    let bench = bench(SHORT);
    let gate = Gate::default();
    bench.store.inject(Op::Read, Fault::Hang(gate.clone()));
    let Found::Unread(why) = plan_of(&bench.shelf).await else {
        panic!("read");
    };
    assert!(why.contains("no answer"), "{why}");
    for _ in 0..50 {
        let error = bench.shelf.sets().await.unwrap_err();
        let StoreError::Busy {
            hung: Op::Read,
            since,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(since >= SHORT);
        let error = bench.shelf.create(&sample::pin("me")).await.unwrap_err();
        assert!(!error.is_unclear(), "{error:?}");
    }
    let stuck = bench.shelf.stuck();
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].path, format!("sets/{SET}/plan.json"));
    gate.open();
    bench.until_free().await;
    assert_eq!(plan_of(&bench.shelf).await, Found::Absent);
    assert_eq!(bench.store.most_inside(), 1);
}

#[tokio::test]
async fn a_creation_that_hangs_is_unclear_and_is_asked_for_again() {
    let bench = bench(SHORT);
    let gate = Gate::default();
    bench.store.inject(Op::Publish, Fault::Hang(gate.clone()));
    let pin = sample::pin("me");
    let error = bench.shelf.create(&pin).await.unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    gate.open();
    bench.until_free().await;
    assert_eq!(bench.shelf.create(&pin).await.unwrap(), Created::Ours);
    let theirs = bench.shelf.create(&sample::pin("them")).await.unwrap();
    assert_eq!(theirs, Created::Exists(serde_json::to_vec(&pin).unwrap()));
}

#[tokio::test]
async fn a_panic_in_the_store_is_an_error_and_the_thread_lives() {
    let bench = bench(LONG);
    bench.store.inject(Op::Write, Fault::Panic);
    let part = sample::part(0, 1000);
    assert!(bench.shelf.create(&part).await.unwrap_err().is_unclear());
    assert_eq!(bench.shelf.create(&part).await.unwrap(), Created::Ours);
    bench.store.inject(Op::Read, Fault::Panic);
    let place = Entry::of("parts/c000-s0-1.json").unwrap();
    let read: Found<PartRecord> = bench.shelf.read(set(SET), place).await;
    assert!(matches!(read, Found::Unread(_)), "{read:?}");
}

/// The bench is used up by a shelf that is dropped, and its thread with it.
#[tokio::test]
async fn clones_share_the_thread() {
    let Bench { dir, store, shelf } = bench(LONG);
    let clones: Vec<Shelf> = (0..6).map(|_| shelf.clone()).collect();
    let reads = clones.iter().map(plan_of);
    let read = futures::future::join_all(reads).await;
    assert!(read.iter().all(|found| *found == Found::Absent));
    assert_eq!(store.most_inside(), 1);
    drop(dir);
}
