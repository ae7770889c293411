//! A replica as an archive, and a replica from one. The archive is a tar with the files that Qdrant's
//! own shard stream has (upstream local_shard/snapshot.rs, replica_set/snapshots.rs: segments, clocks,
//! an empty log, the replica's state, the shard's configuration), the points in one segment.

use std::io::{self, Read as _};

use serde_json::{Value, json};
use tar::{Archive, Builder, Header};

use super::store;
use crate::standin::error::ApiError;

/// Where the points are. A real segment is a folder of binary files.
const POINTS: &str = "segments/00000000-0000-4000-8000-000000000000/files/points.jsonl";
/// What every segment has beside them, its state as the last.
const FORMAT: &str = "segments/00000000-0000-4000-8000-000000000000/files/version.info";
const STATE: &str = "segments/00000000-0000-4000-8000-000000000000/files/segment.json";

/// The archive of a replica that holds these points, with its end.
///
/// # Errors
/// An error of the tar writer; none is expected when it writes to memory.
pub fn archive(points: &[Value], replica: &Value) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    for point in points {
        text.push_str(&point.to_string());
        text.push('\n');
    }
    let mut builder = Builder::new(Vec::new());
    let clocks = json!({"clocks": []}).to_string();
    for (name, bytes) in [
        (POINTS, text.as_bytes()),
        (FORMAT, b"0.6.0"),
        (STATE, br#"{"version":0}"#),
        ("newest_clocks.json", clocks.as_bytes()),
        ("oldest_clocks.json", clocks.as_bytes()),
        ("wal/open-1", &[0; 1024]),
        ("replica_state.json", replica.to_string().as_bytes()),
        (
            "shard_config.json",
            br#"{"version":"0.4.2","type":"ReplicaSet"}"#,
        ),
    ] {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes)?;
    }
    builder.into_inner()
}

/// The points of an archive.
///
/// # Errors
/// One that cannot be read as such; like Qdrant, what ends early is one as soon as a file is missing.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Value>, ApiError> {
    let mut found = None;
    let mut is_replica = false;
    let mut archive = Archive::new(bytes);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        is_replica |= path.ends_with("replica_state.json");
        if path.as_os_str() == POINTS {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(broken)?;
            let points: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
            found = Some(points.map_err(broken)?);
        }
    }
    let points = found.filter(|_| is_replica);
    let points = points.ok_or_else(|| broken("a file is missing"))?;
    points
        .iter()
        .try_for_each(|point| store::id_of(point).map(drop))?;
    Ok(points)
}

fn broken(why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_input(format!("failed to read the snapshot archive: {why}"))
}
