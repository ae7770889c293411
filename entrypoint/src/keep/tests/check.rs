//! Files that are read again: what is wrong with them, and what says nothing about them.

use planner::keep::records::Manifest;

use super::sample;
use super::{Bench, LONG, SHORT, bench};
use crate::archive::tests::small;
use crate::keep::check::{Checked, check};
use crate::store::testing::{Fault, Gate};
use crate::store::{Op, sha256};

const FILE: &str = "c000/s0-1.shard";

/// A manifest of one file with these bytes.
fn of(bytes: &[u8]) -> Manifest {
    let mut manifest = sample::manifest();
    let file = &mut manifest.collections[0].files[0];
    (file.bytes, file.sha256) = (bytes.len() as u64, sha256(bytes));
    manifest
}

#[track_caller]
fn wrong(checked: &Checked, says: &str) {
    let Checked {
        good,
        bytes,
        wrong,
        unread,
    } = checked;
    assert_eq!((*good, *bytes, unread.len()), (0, 0, 0), "{checked:?}");
    assert!(wrong.len() == 1 && wrong[0].contains(says), "{checked:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_found() {
    let bench = bench(LONG);
    let bytes = small(700_000);
    let manifest = of(&bytes);
    wrong(&check(&bench.shelf, &manifest).await, "is not there");
    bench.lay(FILE, &bytes);
    let checked = check(&bench.shelf, &manifest).await;
    assert_eq!((checked.good, checked.bytes), (1, bytes.len() as u64));
    assert!(checked.wrong.is_empty() && checked.unread.is_empty());

    let mut other = bytes.clone();
    other[100_000] ^= 1;
    for changed in [
        &bytes[..bytes.len() - 1],
        &other,
        &[&bytes, &b"x"[..]].concat(),
    ] {
        bench.lay(FILE, changed);
        wrong(&check(&bench.shelf, &manifest).await, "the manifest says");
    }
    // The very bytes of the manifest, and no archive.
    let cut = &bytes[..bytes.len() - 512];
    bench.lay(FILE, cut);
    wrong(
        &check(&bench.shelf, &of(cut)).await,
        "no whole shard snapshot",
    );
}

fn unread(checked: &Checked, says: &str) {
    assert_eq!((checked.good, checked.wrong.len()), (0, 0), "{checked:?}");
    let unread = &checked.unread;
    assert!(unread.len() == 1 && unread[0].contains(says), "{checked:?}");
}

async fn with(bench: &Bench, manifest: &Manifest, fault: Fault, first: bool) -> Checked {
    match first {
        true => bench.store.inject(Op::Read, fault),
        false => {
            bench.store.inject_piece(Fault::Pass);
            bench.store.inject_piece(fault);
        }
    }
    check(&bench.shelf, manifest).await
}

#[tokio::test]
async fn what_cannot_be_looked_at_says_nothing_and_does_not_hang() {
    let bench = bench(SHORT);
    let bytes = small(700_000);
    let manifest = of(&bytes);
    bench.lay(FILE, &bytes);
    for first in [true, false] {
        let checked = with(&bench, &manifest, Fault::ErrorBefore, first).await;
        unread(&checked, "is the volume mounted and healthy?");
        let gate = Gate::default();
        let checked = with(&bench, &manifest, Fault::Hang(gate.clone()), first).await;
        unread(&checked, "has hung for");
        gate.open();
        bench.until_free().await;
    }
    assert_eq!(check(&bench.shelf, &manifest).await.good, 1);
}
