//! Pins by command: a set that is pinned, one that is not ours, one that is being deleted.

use planner::keep::folder::Found;
use planner::keep::layout::Entry;
use planner::keep::records::Pin;

use super::sample::{self, SET, set};
use super::{Bench, LONG, bench};
use crate::keep::pins::{Wish, pinned, unpinned};

fn wish() -> Wish {
    Wish {
        set: set(SET),
        owner: "on call".to_owned(),
        reason: "before a migration".to_owned(),
    }
}

async fn made() -> Bench {
    let bench = bench(LONG);
    let _ = bench.shelf.create(&sample::plan(1)).await.unwrap();
    let _ = bench.shelf.create(&sample::manifest()).await.unwrap();
    bench
}

fn says(done: Result<String, String>, what: &str) {
    let why = done.unwrap_err();
    assert!(why.contains(what), "{why}");
}

#[tokio::test]
async fn a_pin_is_made_once_and_goes_once() {
    let bench = made().await;
    let (shelf, ours) = (&bench.shelf, "store".into());
    let _ = pinned(shelf, &ours, &wish()).await.unwrap();
    let Found::Good(pin) = shelf.read::<Pin>(set(SET), Entry::Pin).await else {
        panic!("there is no pin");
    };
    assert_eq!(
        (pin.by.as_str(), pin.why.as_str()),
        ("on call", "before a migration")
    );
    let other = Wish {
        owner: "other".to_owned(),
        ..wish()
    };
    says(pinned(shelf, &ours, &other).await, "by on call");
    let line = unpinned(shelf, &ours, set(SET)).await.unwrap();
    assert!(line.contains("before a migration"), "{line}");
    assert!(!bench.path("pin.json").exists());
    says(unpinned(shelf, &ours, set(SET)).await, "has no pin");
}

#[tokio::test]
async fn what_is_not_ours_not_there_or_being_deleted_is_not_pinned() {
    let bench = made().await;
    let (shelf, ours) = (&bench.shelf, "store".into());
    let nameless = Wish {
        owner: " ".to_owned(),
        ..wish()
    };
    says(pinned(shelf, &ours, &nameless).await, "owner");
    let gone = Wish {
        set: set("20260228T093000Z"),
        ..wish()
    };
    says(pinned(shelf, &ours, &gone).await, "there is no set");
    says(pinned(shelf, &"other".into(), &wish()).await, "not ours");
    let _ = shelf.create(&sample::tombstone()).await.unwrap();
    says(pinned(shelf, &ours, &wish()).await, "being deleted");
    assert!(!bench.path("pin.json").exists());
}

#[tokio::test]
async fn a_pin_of_a_newer_version_is_left_alone() {
    let bench = made().await;
    bench.lay("pin.json", br#"{"format":2}"#);
    says(
        unpinned(&bench.shelf, &"store".into(), set(SET)).await,
        "this version reads",
    );
    assert!(bench.path("pin.json").exists());
}
