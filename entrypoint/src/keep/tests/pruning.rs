//! What goes, what stays although it was to go, and what is left of a set in between.

use std::time::{Duration, Instant};

use planner::keep::clock::Interval;
use planner::keep::ids::SetId;
use planner::keep::records::{Manifest, PlanRecord};
use planner::keep::retention::Settings;

use super::sample::{self, now, set};
use super::{Bench, LONG, bench};
use crate::keep::pruner::Pruner;
use crate::keep::shelves::{Kind, Known, Shelves, look};
use crate::store::testing::Fault;
use crate::store::{Created, Op};

const OLD: &str = "20260228T090000Z";
const NEW: &str = "20260228T091500Z";

/// The newest alone is kept, and nothing waits.
fn settings() -> Settings {
    Settings {
        interval: Interval::default(),
        all_for: Duration::ZERO,
        hourly: 1,
        daily: 1,
        monthly: 1,
        floor: 1,
        per_round: 4,
        unfinished_after: Duration::ZERO,
    }
}

async fn planned(bench: &Bench, id: &str) {
    let plan = PlanRecord {
        set: set(id),
        ..sample::plan(1)
    };
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);
}

async fn finished(bench: &Bench, id: &str) {
    let mut manifest = Manifest {
        set: set(id),
        ..sample::manifest()
    };
    for there in &mut manifest.collections {
        there.whole = true;
        there.missing.clear();
        there.description.as_mut().unwrap().shards = 1;
    }
    assert_eq!(bench.shelf.create(&manifest).await.unwrap(), Created::Ours);
}

async fn made(bench: &Bench, id: &str) {
    planned(bench, id).await;
    finished(bench, id).await;
}

async fn looked(bench: &Bench, known: &mut Known) -> Shelves {
    let ours = "store".into();
    look(&bench.shelf, &ours, "1.19.0", known).await.unwrap()
}

async fn prune(bench: &Bench, there: &Shelves, known: &Known) -> Vec<String> {
    let mut pruner = Pruner::new(bench.shelf.clone(), "task-1".into(), settings());
    let ours = "store".into();
    pruner.prune(there, known, &ours, "1.19.0", now()).await
}

/// The names of the files of a set.
fn of(bench: &Bench, id: &str) -> Vec<String> {
    let at = format!("sets/{id}/");
    let files = bench.files();
    let inside = files.iter().filter_map(|file| file.strip_prefix(&at));
    inside.map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_outlived_goes_but_for_its_tombstone_and_that_later() {
    let bench = bench(LONG);
    made(&bench, OLD).await;
    made(&bench, NEW).await;
    let before = of(&bench, NEW);
    let mut known = Known::new();
    let there = looked(&bench, &mut known).await;
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert_eq!(of(&bench, OLD), ["tombstone.json"]);
    assert_eq!(of(&bench, NEW), before);

    let there = looked(&bench, &mut known).await;
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert_eq!(
        of(&bench, OLD),
        ["tombstone.json"],
        "it has not stood for long"
    );

    let long_ago = Instant::now()
        .checked_sub(Duration::from_secs(3600))
        .unwrap();
    known.insert(set(OLD), (Kind::Tombstoned, long_ago));
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert!(of(&bench, OLD).is_empty());
    let left: Vec<SetId> = bench.shelf.sets().await.unwrap().into_iter().collect();
    assert_eq!(left, [set(NEW)]);
    assert_eq!(of(&bench, NEW), before);
}

#[tokio::test]
async fn a_slot_that_was_given_up_stays_taken() {
    let bench = bench(LONG);
    made(&bench, OLD).await;
    planned(&bench, NEW).await;
    let tombstone = crate::keep::tombstone(
        set(NEW),
        &"store".into(),
        &"task-1".into(),
        now(),
        "for a test",
    );
    assert_eq!(bench.shelf.create(&tombstone).await.unwrap(), Created::Ours);
    let mut known = Known::new();
    looked(&bench, &mut known).await;
    let long_ago = Instant::now()
        .checked_sub(Duration::from_secs(7200))
        .unwrap();
    known.insert(set(NEW), (Kind::Tombstoned, long_ago));
    let there = looked(&bench, &mut known).await;
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert_eq!(of(&bench, NEW), ["tombstone.json"]);
    let taken = looked(&bench, &mut known).await.taken();
    assert!(taken.known().unwrap().given_up.contains(&set(NEW)));
    assert!(!of(&bench, OLD).is_empty());
}

#[tokio::test]
async fn what_has_changed_since_it_was_judged_stays() {
    for change in ["pin", "manifest", "proof", "unread"] {
        let bench = bench(LONG);
        made(&bench, NEW).await;
        match change {
            "manifest" => planned(&bench, OLD).await,
            _ => made(&bench, OLD).await,
        }
        let mut known = Known::new();
        let there = looked(&bench, &mut known).await;
        match change {
            "pin" => {
                let pin = bench.dir.path().join("sets").join(OLD).join("pin.json");
                std::fs::write(pin, b"anything").unwrap();
            }
            "manifest" => finished(&bench, OLD).await,
            "proof" => {
                let proof = sample::proof(planner::keep::records::Level::L0, now());
                let proof = planner::keep::records::ProofRecord {
                    set: set(OLD),
                    ..proof
                };
                assert_eq!(bench.shelf.create(&proof).await.unwrap(), Created::Ours);
            }
            _ => bench.store.inject(Op::Read, Fault::ErrorBefore),
        }
        let before = of(&bench, OLD);
        let troubles = prune(&bench, &there, &known).await;
        assert_eq!(troubles.len(), 1, "{change}: {troubles:?}");
        assert_eq!(of(&bench, OLD), before, "{change}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_deleted_holds_up_no_other() {
    let bench = bench(LONG);
    for id in ["20260228T083000Z", OLD, NEW] {
        made(&bench, id).await;
    }
    let mut known = Known::new();
    let there = looked(&bench, &mut known).await;
    bench.store.inject(Op::Remove, Fault::ErrorBefore);
    let troubles = prune(&bench, &there, &known).await;
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert!(of(&bench, "20260228T083000Z").contains(&"tombstone.json".to_owned()));
    assert_eq!(of(&bench, OLD), ["tombstone.json"]);
}

/// Gives a file the age of an hour and more.
fn age(path: &std::path::Path) {
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(long_ago).unwrap();
}

const PARTIAL: &str = ".s0-8172635.shard.0123456789abcdef0123456789abcdef.partial";

/// A folder of a set with what a killed writer left in it.
fn leave(bench: &Bench, id: &str, within: &str) -> std::path::PathBuf {
    let folder = bench.dir.path().join("sets").join(id).join(within);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(PARTIAL);
    std::fs::write(&path, b"half").unwrap();
    path
}

fn long_known(known: &mut Known) {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(3600));
    for (_, since) in known.values_mut() {
        *since = long_ago.unwrap();
    }
}

#[tokio::test]
async fn what_the_killed_left_in_a_set_that_stays_goes_in_the_end() {
    let bench = bench(LONG);
    for id in [OLD, NEW] {
        made(&bench, id).await;
    }
    let pin = crate::keep::pins::Wish {
        set: set(OLD),
        owner: "somebody".to_owned(),
        reason: "a test".to_owned(),
    };
    crate::keep::pins::pinned(&bench.shelf, &"store".into(), &pin)
        .await
        .unwrap();
    let before = bench.files();
    let left = leave(&bench, OLD, "c000");
    let newest = leave(&bench, NEW, "c000");
    let mut known = Known::new();
    let there = looked(&bench, &mut known).await;
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert!(left.exists(), "the set is not known for long");
    long_known(&mut known);
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert!(left.exists(), "it was written to just now");
    age(&left);
    age(&newest);
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert!(!left.exists());
    assert!(newest.exists(), "the newest may still be written to");
    std::fs::remove_file(newest).unwrap();
    assert_eq!(bench.files(), before);
}

/// A steward that dies before its plan is there.
#[tokio::test]
async fn a_folder_in_which_nothing_is_goes_and_one_with_anything_stays() {
    let bench = bench(LONG);
    for id in [OLD, NEW] {
        made(&bench, id).await;
    }
    let (bare, other) = ("20260228T084500Z", "20260228T083000Z");
    let left = leave(&bench, bare, "");
    let theirs = bench
        .dir
        .path()
        .join("sets")
        .join(other)
        .join("c000/s0-7.shard");
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, b"anything").unwrap();
    let also = leave(&bench, other, "c000");
    for path in [&left, &also] {
        age(path);
    }
    let mut known = Known::new();
    let there = looked(&bench, &mut known).await;
    assert!(prune(&bench, &there, &known).await.is_empty());
    assert!(left.exists());
    let there = looked(&bench, &mut known).await;
    long_known(&mut known);
    assert!(prune(&bench, &there, &known).await.is_empty());
    let there = bench.shelf.sets().await.unwrap();
    assert!(!there.contains(&set(bare)), "{there:?}");
    assert!(theirs.exists() && also.exists());
}

/// As when a set is larger than a round of deletions may be long.
#[tokio::test]
async fn the_plan_of_a_large_set_goes_after_its_files() {
    let bench = bench(LONG);
    planned(&bench, OLD).await;
    made(&bench, NEW).await;
    let folder = bench.dir.path().join("sets").join(OLD).join("c000");
    std::fs::create_dir_all(&folder).unwrap();
    for shard in 0..520 {
        std::fs::write(folder.join(format!("s{shard}-7.shard")), b"x").unwrap();
    }
    let mut known = Known::new();
    let there = looked(&bench, &mut known).await;
    bench.store.inject(Op::Remove, Fault::ErrorBefore);
    assert_eq!(prune(&bench, &there, &known).await.len(), 1);
    let left = of(&bench, OLD);
    assert!(
        left.contains(&"plan.json".to_owned()) && left.len() > 520,
        "{}",
        left.len()
    );
    assert!(
        prune(&bench, &looked(&bench, &mut known).await, &known)
            .await
            .is_empty()
    );
    assert_eq!(of(&bench, OLD), ["tombstone.json"]);
}
