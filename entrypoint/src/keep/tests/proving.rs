//! Reading a set for a proof: what is found, at which level, and what is no finding.

use planner::keep::records::{Level, Manifest};
use serde_json::json;

use super::sample;
use super::{Bench, LONG, bench};
use crate::archive::tests::small;
use crate::keep::prover::gate::Gate;
use crate::keep::prover::reading::{Reading, read, records};
use crate::store::sha256;

const FILE: &str = "c000/s0-1.shard";

/// A set of one file with these bytes, whose collection can be made again.
fn of(bytes: &[u8]) -> Manifest {
    let mut manifest = sample::manifest();
    let there = &mut manifest.collections[0];
    there.description.as_mut().unwrap().config = json!({"params": {
        "vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2, "replication_factor": 1,
        "write_consistency_factor": 1,
    }});
    let file = &mut there.files[0];
    (file.bytes, file.sha256) = (bytes.len() as u64, sha256(bytes));
    manifest
}

fn lay(bench: &Bench, manifest: &Manifest) {
    bench.lay("manifest.json", &serde_json::to_vec(manifest).unwrap());
}

async fn reading(bench: &Bench, manifest: &Manifest) -> Reading {
    read(&bench.shelf, manifest, &mut Gate::open()).await
}

/// The one finding: its level, and what is wrong.
async fn found(bench: &Bench, manifest: &Manifest) -> (Level, Option<String>) {
    let mut reading = reading(bench, manifest).await;
    assert!(reading.unread.is_empty(), "{reading:?}");
    let (level, checked) = reading.checked.pop().unwrap();
    assert!(reading.checked.is_empty());
    (level, checked.wrong)
}

/// Nothing was found, for this reason.
#[track_caller]
fn unread(reading: &Reading, says: &str) {
    assert!(reading.checked.is_empty(), "{reading:?}");
    assert!(reading.unread[0].contains(says), "{reading:?}");
}

#[tokio::test]
async fn each_level_finds_what_it_can() {
    let bench = bench(LONG);
    let bytes = small(300_000);
    let manifest = of(&bytes);
    lay(&bench, &manifest);
    bench.lay(FILE, &bytes);
    assert_eq!(found(&bench, &manifest).await, (Level::L1, None));
    let mut flipped = bytes.clone();
    flipped[100_000] ^= 1;
    for (bytes, says) in [
        (&flipped[..], "it hashes to"),
        (&bytes[..1000], "1000 bytes"),
    ] {
        bench.lay(FILE, bytes);
        let (level, wrong) = found(&bench, &manifest).await;
        assert!(level == Level::L0 && wrong.unwrap().contains(says));
    }
    std::fs::remove_file(bench.path(FILE)).unwrap();
    let (level, wrong) = found(&bench, &manifest).await;
    assert!(level == Level::L0 && wrong.unwrap().contains("not there"));
    // The very bytes of the manifest, and no archive.
    let cut = &bytes[..bytes.len() - 512];
    let manifest = of(cut);
    lay(&bench, &manifest);
    bench.lay(FILE, cut);
    let (level, wrong) = found(&bench, &manifest).await;
    assert!(level == Level::L1 && wrong.unwrap().contains("no whole shard snapshot"));
}

#[tokio::test]
async fn a_set_that_is_being_deleted_or_not_there_is_not_found_to_be_bad() {
    let bench = bench(LONG);
    let manifest = of(&small(300_000));
    unread(&reading(&bench, &manifest).await, "has no manifest now");
    lay(&bench, &manifest);
    let tombstone = serde_json::to_vec(&sample::tombstone()).unwrap();
    bench.lay("tombstone.json", &tombstone);
    unread(&reading(&bench, &manifest).await, "being deleted");
}

#[tokio::test]
async fn a_description_that_is_not_understood_speaks_against_no_file() {
    let bench = bench(LONG);
    let bytes = small(300_000);
    let mut manifest = of(&bytes);
    let description = manifest.collections[0].description.as_mut().unwrap();
    description.config["params"]["sparkle"] = json!(3);
    lay(&bench, &manifest);
    bench.lay(FILE, &bytes);
    let reading = reading(&bench, &manifest).await;
    assert!(reading.unread[0].contains("sparkle"), "{reading:?}");
    let [(Level::L0, checked)] = &reading.checked[..] else {
        panic!("{reading:?}");
    };
    assert_eq!(checked.wrong, None);
    let of = |level, checked| planner::keep::records::ProofRecord {
        checked,
        ..sample::proof(level, sample::now())
    };
    let records = records(reading.checked, of);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].level, Level::L0);
}
