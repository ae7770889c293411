//! Whole sets: which there are, what one says of itself, what became of its parts, what lies in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use planner::heal::names::ShardId;
use planner::keep::folder::{Found, seen};
use planner::keep::ids::CollectionIndex;
use planner::keep::layout::Entry;
use planner::keep::records::{Level, Outcome};
use planner::keep::seen::State;
use planner::observed::Observed;

use super::sample::{self, PEER, SET, at, set};
use super::{Bench, LONG, SHORT, bench};
use crate::keep::{Circumstances, Inside, Records};
use crate::store::testing::{Fault, Gate};
use crate::store::{Created, Op};

const QUIET: Circumstances = Circumstances {
    under_way: false,
    restoring: false,
    age: Duration::ZERO,
};

#[tokio::test]
async fn only_folders_that_are_named_like_a_set_are_sets() {
    let bench = bench(LONG);
    assert!(bench.shelf.sets().await.unwrap().is_empty());
    bench.lay("plan.json", b"{}");
    bench.lay("deep/20260228T093000Z/plan.json", b"{}");
    let sets = bench.dir.path().join("sets");
    for name in [
        "20260228T090000Z",
        "20260231T000000Z",
        "20260228t091500z",
        "20260228T091500Z.old",
        ".20260228T094500Z",
        "backup",
    ] {
        fs::create_dir(sets.join(name)).unwrap();
    }
    fs::write(sets.join("20260301T000000Z"), "a file").unwrap();
    symlink(bench.dir.path(), sets.join("20260302T000000Z")).unwrap();
    let found = bench.shelf.sets().await.unwrap();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["20260228T090000Z", SET]);
}

async fn made(bench: &Bench) {
    for created in [
        bench.shelf.create(&sample::plan(1)).await,
        bench.shelf.create(&sample::manifest()).await,
    ] {
        assert_eq!(created.unwrap(), Created::Ours);
    }
}

async fn folder(bench: &Bench) -> Records {
    bench.shelf.folder(set(SET)).await
}

fn state(records: Records) -> State {
    seen(&records.under(QUIET), &"store".into(), "1.19.0").state
}

#[tokio::test]
async fn a_set_says_what_it_is() {
    let bench = bench(LONG);
    let nothing = folder(&bench).await;
    assert!(!nothing.pinned);
    assert_eq!(nothing.proofs, Observed::Known(Vec::new()));
    assert_eq!(state(nothing), State::Bare);
    made(&bench).await;
    let (first, second) = (at("20260301T000007Z"), at("20260302T000007Z"));
    let proofs = [
        sample::proof(Level::L0, first),
        sample::proof(Level::L1, second),
    ];
    for proof in &proofs {
        assert_eq!(bench.shelf.create(proof).await.unwrap(), Created::Ours);
    }
    // A newer version's, and what is not ours.
    bench.lay("proofs/l2-20260303T000007Z.json", b"{\"format\": 2}");
    bench.lay("proofs/notes.txt", b"theirs");
    let records = folder(&bench).await;
    assert_eq!(records.plan, Found::Good(sample::plan(1)));
    assert_eq!(records.manifest, Found::Good(sample::manifest()));
    assert_eq!(records.tombstone, Found::Absent);
    assert_eq!(records.proofs, Observed::Known(proofs.to_vec()));
    assert!(!records.pinned);
    assert!(matches!(state(records), State::Made(_)));

    assert_eq!(
        bench.shelf.create(&sample::pin("me")).await.unwrap(),
        Created::Ours
    );
    assert_eq!(
        bench.shelf.create(&sample::tombstone()).await.unwrap(),
        Created::Ours
    );
    let records = folder(&bench).await;
    assert_eq!(records.tombstone, Found::Good(sample::tombstone()));
    let circumstances = Circumstances {
        under_way: true,
        restoring: true,
        age: Duration::from_secs(7),
    };
    let folder = records.under(circumstances);
    assert!(folder.pinned && folder.under_way && folder.restoring);
    assert_eq!(folder.age, Duration::from_secs(7));
    assert!(seen(&folder, &"store".into(), "1.19.0").tombstoned);
}

#[tokio::test]
async fn what_cannot_be_read_of_a_set_keeps_it() {
    let bench = bench(LONG);
    made(&bench).await;
    // In the order in which they are read.
    for (step, op) in [Op::Read, Op::Read, Op::Read, Op::List, Op::Read]
        .into_iter()
        .enumerate()
    {
        (0..step).filter(|_| op == Op::Read).for_each(|n| {
            // The list is no read.
            if n != 3 {
                bench.store.inject(Op::Read, Fault::Pass);
            }
        });
        bench.store.inject(op, Fault::ErrorBefore);
        let records = folder(&bench).await;
        assert_eq!(records.pinned, step == 2, "{records:?}");
        let unread = matches!(state(records.clone()), State::Unread(_));
        assert_eq!(unread, step != 2, "{step}: {records:?}");
    }
    bench.lay("pin.json", b"whatever");
    assert!(folder(&bench).await.pinned);
    bench.lay("manifest.json", b"whatever");
    assert!(matches!(state(folder(&bench).await), State::Foreign(_)));
}

#[tokio::test]
async fn a_proof_that_cannot_be_read_is_not_left_out() {
    let bench = bench(LONG);
    made(&bench).await;
    let proof = sample::proof(Level::L0, sample::now());
    assert_eq!(bench.shelf.create(&proof).await.unwrap(), Created::Ours);
    (0..3).for_each(|_| bench.store.inject(Op::Read, Fault::Pass));
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    let records = folder(&bench).await;
    assert!(
        matches!(records.proofs, Observed::Unknown(_)),
        "{records:?}"
    );
}

#[tokio::test]
async fn parts_are_read_by_their_names() {
    let bench = bench(LONG);
    let plan = sample::plan(1);
    let mut parts = Vec::new();
    assert!(bench.shelf.parts(&plan, &mut parts).await.is_empty());
    assert!(parts.is_empty());
    let there = sample::part(0, 1000);
    assert_eq!(bench.shelf.create(&there).await.unwrap(), Created::Ours);
    bench.lay("parts/c000-s1-1.json", b"broken");
    // Of nobody who is in the plan.
    bench.lay("parts/c000-s0-2.json", b"broken");
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    let unread = bench.shelf.parts(&plan, &mut parts).await;
    assert_eq!(unread.len(), 1, "{unread:?}");
    assert!(bench.shelf.parts(&plan, &mut parts).await.is_empty());
    let refused = parts.iter().filter_map(|part| match &part.outcome {
        Outcome::Failed(why) => Some((part.shard, why.contains("parts/c000-s1-1.json"))),
        Outcome::Taken(_) => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(ShardId(1), true)]);
    assert!(parts.contains(&there), "{parts:?}");
    let before = parts.clone();
    assert!(bench.shelf.parts(&plan, &mut parts).await.is_empty());
    assert_eq!(parts, before, "each is read once");
}

#[tokio::test]
async fn a_store_that_hangs_is_not_asked_for_every_part() {
    let bench = bench(SHORT);
    let gate = Gate::default();
    bench.store.inject(Op::Read, Fault::Hang(gate.clone()));
    let mut parts = Vec::new();
    let unread = bench.shelf.parts(&sample::plan(1000), &mut parts).await;
    assert_eq!((parts.len(), unread.len()), (0, 2), "{unread:?}");
    gate.open();
    bench.until_free().await;
}

#[tokio::test]
async fn what_is_ours_in_a_set_can_be_removed_and_the_rest_stays() {
    let bench = bench(LONG);
    made(&bench).await;
    bench.lay("c000/s0-1.shard", b"12345");
    bench.lay("c000/s00-1.shard", b"theirs");
    bench.lay("notes.txt", b"theirs");
    let Inside { ours, foreign, .. } = bench.shelf.entries(set(SET)).await.unwrap();
    let file = Entry::Payload(CollectionIndex(0), ShardId(0), PEER);
    let entries: Vec<_> = ours.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(entries, [Entry::Plan, Entry::Manifest, file]);
    assert_eq!(ours[2].1, 5);
    assert_eq!(foreign, ["c000/s00-1.shard", "notes.txt"]);
    for entry in entries {
        assert!(bench.shelf.remove(set(SET), entry).await.unwrap());
        assert!(!bench.shelf.remove(set(SET), entry).await.unwrap());
    }
    let left = bench.shelf.entries(set(SET)).await.unwrap();
    assert_eq!((left.ours.len(), left.foreign.len()), (0, 2));
    assert!(bench.shelf.sets().await.unwrap().contains(&set(SET)));
    for theirs in ["c000/s00-1.shard", "notes.txt"] {
        fs::remove_file(bench.path(theirs)).unwrap();
    }
    // A set whose last file goes is none.
    bench.lay("pin.json", b"{}");
    fs::remove_dir(bench.path("c000")).unwrap();
    assert!(bench.shelf.remove(set(SET), Entry::Pin).await.unwrap());
    assert!(bench.shelf.sets().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_removal_that_hangs_is_unclear() {
    let bench = bench(SHORT);
    bench.lay("pin.json", b"{}");
    let gate = Gate::default();
    bench.store.inject(Op::Remove, Fault::Hang(gate.clone()));
    let error = bench.shelf.remove(set(SET), Entry::Pin).await.unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    gate.open();
    bench.until_free().await;
    assert!(!bench.shelf.remove(set(SET), Entry::Pin).await.unwrap());
}
