//! From what was read of a folder to what is known of the set.

use std::time::Duration;

use planner::keep::folder::{Folder, Found, seen};
use planner::keep::reasons::Delete;
use planner::keep::records::{Manifest, Tombstone};
use planner::keep::refusal::{Fault, Refusal};
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::{Seen, State};
use planner::observed::Observed;

use crate::sample::{SLOT, at, manifest, planned, set};

fn folder() -> Folder {
    Folder {
        id: set(SLOT),
        plan: Found::Good(planned()),
        manifest: Found::Good(manifest()),
        tombstone: Found::Absent,
        pinned: false,
        proofs: Observed::Known(Vec::new()),
        empty: Observed::Known(false),
        under_way: false,
        restoring: false,
        age: Duration::from_secs(7),
    }
}

fn tombstone() -> Tombstone {
    Tombstone {
        format: 1,
        set: set(SLOT),
        cluster: "store".into(),
        at: at("2026-03-01T00:00:07Z"),
        task: "task-2".into(),
        why: "newer sets have all that it has".to_owned(),
    }
}

fn of(change: impl FnOnce(&mut Folder)) -> Seen {
    let mut folder = folder();
    change(&mut folder);
    seen(&folder, &"store".into(), "1.19.0")
}

fn refused<R>() -> Found<R> {
    Found::Refused(Refusal {
        folder: SLOT.to_owned(),
        path: "manifest.json".to_owned(),
        fault: Fault::Newer(2),
    })
}

fn unread<R>() -> Found<R> {
    Found::Unread("no answer".to_owned())
}

fn verdict(seen: Seen) -> Verdict {
    retention(&Settings::default(), &[seen], false)[&set(SLOT)].clone()
}

#[test]
fn a_manifest_makes_the_set() {
    let made = of(|_| {});
    assert!(made.contents().is_some_and(|there| there.is_complete()));
    // Also where the plan is gone: the manifest says everything that the plan said.
    assert!(
        of(|folder| folder.plan = Found::Absent)
            .contents()
            .is_some()
    );
    let unfinished = of(|folder| folder.manifest = Found::Absent);
    let age = Duration::from_secs(7);
    assert_eq!(
        unfinished.state,
        State::Unfinished {
            under_way: false,
            age
        }
    );
}

/// A steward that died before its plan was there leaves a folder: nothing of it counts, and nothing can be
/// lost with it. Where anything lies in it, or that is not known, it is somebody else's.
#[test]
fn a_folder_with_nothing_in_it_is_bare() {
    let without = |empty: Observed<bool>| {
        let seen = of(|folder| {
            (folder.plan, folder.manifest) = (Found::Absent, Found::Absent);
            folder.empty = empty;
        });
        assert!(verdict(seen.clone()).keeps());
        seen.state
    };
    assert_eq!(without(Observed::Known(true)), State::Bare);
    let foreign = without(Observed::Known(false));
    assert!(matches!(foreign, State::Foreign(_)), "{foreign:?}");
    let unknown = without(Observed::Unknown("no answer".to_owned()));
    assert_eq!(unknown, State::Unread("no answer".to_owned()));
    // What has a record is never bare, whatever a list says.
    for state in [
        of(|folder| folder.empty = Observed::Known(true)).state,
        of(|folder| {
            folder.manifest = Found::Absent;
            folder.empty = Observed::Known(true);
        })
        .state,
    ] {
        assert_ne!(state, State::Bare);
    }
}

#[test]
fn what_is_not_believed_is_neither_used_nor_deleted() {
    let foreign: [&dyn Fn(&mut Folder); 7] = [
        &|folder| folder.manifest = refused(),
        &|folder| folder.plan = refused(),
        &|folder| folder.tombstone = refused(),
        &|folder| {
            folder.plan = Found::Absent;
            folder.manifest = Found::Absent;
        },
        &|folder| {
            let mut other: Manifest = manifest();
            other.source.cluster = "another".into();
            folder.manifest = Found::Good(other);
        },
        &|folder| {
            let mut other = planned();
            other.source.cluster = "another".into();
            folder.plan = Found::Good(other);
        },
        &|folder| {
            let mut other = tombstone();
            other.cluster = "another".into();
            folder.tombstone = Found::Good(other);
        },
    ];
    for (at, change) in foreign.into_iter().enumerate() {
        let seen = of(change);
        assert!(matches!(seen.state, State::Foreign(_)), "{at}: {seen:?}");
        assert!(seen.contents().is_none());
        assert!(verdict(seen).keeps());
    }
    let unread: [&dyn Fn(&mut Folder); 4] = [
        &|folder| folder.manifest = unread(),
        &|folder| folder.plan = unread(),
        &|folder| folder.tombstone = unread(),
        &|folder| folder.proofs = Observed::Unknown("no answer".to_owned()),
    ];
    for change in unread {
        let seen = of(change);
        assert_eq!(seen.state, State::Unread("no answer".to_owned()));
        assert!(verdict(seen).keeps());
    }
}

#[test]
fn a_deletion_can_be_ended_wherever_it_was_interrupted() {
    let mut interrupted = folder();
    interrupted.tombstone = Found::Good(tombstone());
    let steps: [&dyn Fn(&mut Folder); 3] = [
        &|_| {},
        &|folder| folder.manifest = Found::Absent,
        &|folder| folder.plan = Found::Absent,
    ];
    for step in steps {
        step(&mut interrupted);
        let seen = seen(&interrupted, &"store".into(), "1.19.0");
        assert!(seen.tombstoned && seen.contents().is_none());
        assert_eq!(
            verdict(seen),
            Verdict::Delete {
                why: Delete::Tombstoned,
                now: true
            }
        );
    }
}
