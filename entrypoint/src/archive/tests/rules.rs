//! What belongs in the snapshot of a shard.

use ::tar::{Builder, Header};

use super::{ID, OTHER, Parts, fault, json};
use crate::archive::{Fault, verify};

#[test]
fn what_a_restore_needs_must_be_there() {
    let missing = |parts: Parts| fault(&parts.bytes()).to_string();
    let segments = || Parts::new().segment(ID);
    let before = "is missing";
    for (refused, what) in [
        (missing(Parts::new()), "every segment"),
        (
            missing(Parts::new().clocks().wal().state().config()),
            "every segment",
        ),
        (
            missing(segments().wal().state().config()),
            "newest_clocks.json",
        ),
        (missing(segments().clocks().state().config()), "wal/"),
        (
            missing(segments().clocks().wal().config()),
            "replica_state.json",
        ),
        (
            missing(segments().clocks().wal().state()),
            "shard_config.json",
        ),
    ] {
        assert!(
            refused.contains(what) && refused.contains(before),
            "{refused}"
        );
    }
    let whole = |parts: Parts| parts.clocks().wal().state().config().bytes();
    let state = format!("segments/{ID}/files/segment.json");
    let half = fault(&whole(Parts::new().json(&state, "{}")));
    let what = "version.info";
    assert_eq!(
        half,
        Fault::Segment {
            segment: ID.into(),
            what
        }
    );
    let file = format!("segments/{ID}/files/a");
    let what = "segment.json";
    let early = fault(&whole(Parts::new().json(&file, "x").segment(OTHER)));
    assert_eq!(
        early,
        Fault::Segment {
            segment: ID.into(),
            what
        }
    );
}

#[test]
fn what_is_in_the_wrong_place_is_refused() {
    let rest = |parts: Parts| fault(&parts.wal().state().config().bytes());
    let state = format!("segments/{ID}/files/segment.json");
    let late = format!("segments/{ID}/files/late");
    for refused in [
        rest(Parts::new().clocks().segment(ID)),
        rest(
            Parts::new()
                .segment(ID)
                .json("oldest_clocks.json", "{}")
                .json("newest_clocks.json", "{}"),
        ),
        rest(Parts::new().segment(ID).segment(OTHER).segment(ID)),
        rest(Parts::new().segment(ID).json(&state, "{}")),
        rest(Parts::new().segment(ID).json(&late, "{}")),
        rest(Parts::new().segment("not-an-id")),
        rest(Parts::new().json("segments/file", "")),
        rest(Parts::new().json("segments", "")),
        rest(
            Parts::new()
                .segment(ID)
                .json("newest_clocks.json", "{}")
                .json("newest_clocks.json", "{}"),
        ),
    ] {
        assert!(matches!(refused, Fault::Misplaced { .. }), "{refused:?}");
    }
}

#[test]
fn small_files_must_be_json_and_the_replica_have_data() {
    let replica = |content: &str| {
        let parts = Parts::new().segment(ID).clocks().wal();
        fault(&parts.json("replica_state.json", content).config().bytes())
    };
    assert_eq!(replica(r#"{"is_local":false}"#), Fault::NotLocal);
    let large = format!(r#"{{"is_local":true,"x":"{}"}}"#, "x".repeat(300_000));
    for broken in [
        "",
        "{",
        "{}",
        r#"{"is_local":1}"#,
        r#"{"is_local":true}x"#,
        &large,
    ] {
        let refused = replica(broken);
        assert!(
            matches!(refused, Fault::Json { .. }),
            "{broken:.40}: {refused:?}"
        );
    }
    let parts = Parts::new()
        .segment(ID)
        .json("newest_clocks.json", "{\"a\":");
    let refused = fault(&parts.bytes());
    assert!(matches!(refused, Fault::Json { .. }), "{refused:?}");
}

#[test]
fn a_stored_snapshot_has_segments_of_its_own_format() {
    let inner = |end: usize| {
        let mut tar = Builder::new(Vec::new());
        json(&mut tar, "snapshot/files/segment.json", "{}");
        json(&mut tar, "snapshot/files/version.info", "0.6.0");
        let bytes = tar.into_inner().unwrap();
        bytes[..bytes.len() - end].to_vec()
    };
    let outer = |content: Vec<u8>| {
        let mut parts = Parts::new();
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        let name = format!("segments/{ID}.tar");
        parts
            .tar
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
        parts.clocks().wal().state().config().bytes()
    };
    // Qdrant writes no end blocks there; whole ones would do.
    assert_eq!(verify(outer(inner(1024)).as_slice()).unwrap().segments, 1);
    assert_eq!(verify(outer(inner(0)).as_slice()).unwrap().segments, 1);
    for end in [512, 1025, 1536 - 6, 1536] {
        assert_eq!(fault(&outer(inner(end))), Fault::Truncated, "{end}");
    }
    let refused = fault(&outer(inner(2048)));
    assert!(
        matches!(
            refused,
            Fault::Segment {
                what: "version.info",
                ..
            }
        ),
        "{refused:?}"
    );
}
