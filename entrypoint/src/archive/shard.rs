//! What belongs in the snapshot of a shard, and in which order.
//!
//! Source: qdrant v1.19.0, local_shard/snapshot.rs `get_snapshot_creator` and
//! replica_set/snapshots.rs `create_snapshot` for what is written and its order; shard/src/files,
//! `check_data`, replica_set/snapshots.rs `restore_snapshot` and segment_ops.rs
//! `restore_snapshot_in_place` for what a restore needs. A stream has the segments as directories,
//! a stored snapshot has each as a tar of its own.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::refusal::shown;
use super::tar::{Entry, Reader, Sink};
use super::{Fault, Summary};

/// JSON files up to this size are parsed; Qdrant's have some hundred bytes.
const MAX_JSON: u64 = 256 * 1024;
/// A shard has as many segments as cores, and some more while it is optimised.
const MAX_SEGMENTS: usize = 65_536;

const STATE: &str = "segment.json";
const VERSION: &str = "version.info";

/// The steps in which a snapshot is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    #[default]
    Manifest,
    Segments,
    NewestClocks,
    OldestClocks,
    Wal,
    AppliedSeq,
    ReplicaState,
    ShardConfig,
}

/// The rules, and what was seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Shard {
    found: Summary,
    step: Step,
    seen: Vec<Step>,
    segment: Option<Segment>,
    earlier: HashSet<Uuid>,
    local: bool,
    now: Now,
}

/// A segment that is being read.
#[derive(Debug, Clone, Default)]
struct Segment {
    id: Uuid,
    state: bool,
    version: bool,
}

/// What to do with the data of the entry that is being read.
#[derive(Debug, Clone, Default)]
enum Now {
    #[default]
    Skip,
    Json {
        path: String,
        step: Option<Step>,
        bytes: Vec<u8>,
    },
    Nested {
        path: String,
        tar: Box<Reader>,
        files: Files,
    },
}

/// What was seen in a segment's own tar.
#[derive(Debug, Clone, Default)]
struct Files {
    state: bool,
    version: bool,
}

#[derive(Deserialize)]
struct ReplicaState {
    is_local: bool,
}

impl Shard {
    /// Says that the archive has ended.
    pub(super) fn finish(mut self) -> Result<Summary, Fault> {
        self.close_segment()?;
        let needed = [
            (Step::Segments, "every segment"),
            (Step::NewestClocks, "newest_clocks.json"),
            (Step::OldestClocks, "oldest_clocks.json"),
            (Step::Wal, "the write-ahead log (wal/)"),
            (Step::ReplicaState, "replica_state.json"),
            (Step::ShardConfig, "shard_config.json"),
        ];
        match needed
            .into_iter()
            .find(|(step, _)| !self.seen.contains(step))
        {
            Some((_, what)) => Err(Fault::Missing(what)),
            None if self.found.segments == 0 => Err(Fault::Missing("every segment")),
            // Otherwise a restore ignores all of the data.
            None if !self.local => Err(Fault::NotLocal),
            None => Ok(self.found),
        }
    }

    /// Goes to `step`, from which there is no way back.
    fn reach(&mut self, step: Step, entry: &Entry) -> Result<(), Fault> {
        let bad = |why| {
            Err(Fault::Misplaced {
                path: shown(&entry.path),
                why,
            })
        };
        if step < self.step {
            return bad("comes too late");
        }
        if self.seen.contains(&step) {
            return match step {
                Step::Segments | Step::Wal => Ok(()),
                _ => bad("comes twice"),
            };
        }
        self.close_segment()?;
        self.step = step;
        self.seen.push(step);
        Ok(())
    }

    fn close_segment(&mut self) -> Result<(), Fault> {
        let Some(segment) = self.segment.take() else {
            return Ok(());
        };
        complete(&segment.id.to_string(), segment.state, segment.version)
    }

    /// Goes to the segment `id`, one after the other.
    fn enter_segment(&mut self, id: &str, entry: &Entry) -> Result<&mut Segment, Fault> {
        let bad = |why| Fault::Misplaced {
            path: shown(&entry.path),
            why,
        };
        let id = Uuid::try_parse(id).map_err(|_| bad("belongs to no segment"))?;
        if self.segment.as_ref().is_none_or(|segment| segment.id != id) {
            self.close_segment()?;
            if self.earlier.len() >= MAX_SEGMENTS {
                return Err(Fault::TooMany);
            }
            if !self.earlier.insert(id) {
                return Err(bad("belongs to a segment that has ended"));
            }
            self.found.segments += 1;
        }
        Ok(self.segment.get_or_insert(Segment {
            id,
            ..Segment::default()
        }))
    }

    fn in_segments(&mut self, below: &[&str], entry: &Entry) -> Result<(), Fault> {
        let bad = |why| {
            Err(Fault::Misplaced {
                path: shown(&entry.path),
                why,
            })
        };
        match below {
            [] if entry.directory => Ok(()),
            [] => bad("is not a directory"),
            [_] | [_, _] if entry.directory => Ok(()),
            [file] => {
                let Some(id) = file.strip_suffix(".tar") else {
                    return bad("is no segment");
                };
                let segment = self.enter_segment(id, entry)?;
                if segment.state {
                    return bad("comes twice");
                }
                // Told by what is inside, below.
                (segment.state, segment.version) = (true, true);
                self.now = Now::Nested {
                    path: entry.path.clone(),
                    tar: Box::default(),
                    files: Files::default(),
                };
                Ok(())
            }
            [id, rest @ ..] => {
                let segment = self.enter_segment(id, entry)?;
                // Restored with or without this step between (segment_ops.rs, `unpack_snapshot`).
                let rest = rest.strip_prefix(&["files"]).unwrap_or(rest);
                let closing = match rest {
                    [STATE] => &mut segment.state,
                    [VERSION] => &mut segment.version,
                    // Written last; what follows was not there when the segment was archived.
                    _ if segment.state => return bad("comes after the end of its segment"),
                    _ => return Ok(()),
                };
                if entry.directory || entry.size == 0 {
                    return bad("is empty");
                }
                if std::mem::replace(closing, true) {
                    return bad("comes twice");
                }
                if rest == [STATE] {
                    self.now = json(entry, None)?;
                }
                Ok(())
            }
        }
    }
}

impl Sink for Shard {
    fn begin(&mut self, entry: &Entry) -> Result<(), Fault> {
        self.found.entries += 1;
        self.now = Now::Skip;
        let parts: Vec<&str> = entry.path.split('/').collect();
        let step = match parts.as_slice() {
            ["segments", below @ ..] => {
                self.reach(Step::Segments, entry)?;
                return self.in_segments(below, entry);
            }
            ["wal", ..] => return self.reach(Step::Wal, entry),
            ["segments_manifest.json"] => Step::Manifest,
            ["newest_clocks.json"] => Step::NewestClocks,
            ["oldest_clocks.json"] => Step::OldestClocks,
            ["applied_seq.json"] => Step::AppliedSeq,
            ["replica_state.json"] => Step::ReplicaState,
            ["shard_config.json"] => Step::ShardConfig,
            _ => {
                self.found.unknown += 1;
                return Ok(());
            }
        };
        self.reach(step, entry)?;
        self.now = json(entry, Some(step))?;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.now {
            Now::Skip => Ok(()),
            Now::Json { bytes: so_far, .. } => {
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            Now::Nested { tar, files, .. } => tar.push(bytes, files).map_err(|r| r.fault),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        match std::mem::take(&mut self.now) {
            Now::Skip => Ok(()),
            Now::Json { path, step, bytes } => {
                let bad = |_| Fault::Json { path: shown(&path) };
                if step == Some(Step::ReplicaState) {
                    let state: ReplicaState = serde_json::from_slice(&bytes).map_err(bad)?;
                    self.local = state.is_local;
                    return Ok(());
                }
                serde_json::from_slice::<IgnoredAny>(&bytes)
                    .map(drop)
                    .map_err(bad)
            }
            Now::Nested { path, tar, files } => {
                // Qdrant ends these without end blocks (segment/snapshot.rs, `take_snapshot`).
                if !tar.between() {
                    return Err(Fault::Truncated);
                }
                complete(&shown(&path), files.state, files.version)
            }
        }
    }
}

impl Sink for Files {
    fn begin(&mut self, entry: &Entry) -> Result<(), Fault> {
        match entry.path.strip_prefix("snapshot/files/") {
            Some(STATE) => self.state = entry.size > 0,
            Some(VERSION) => self.version = entry.size > 0,
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn complete(segment: &str, state: bool, version: bool) -> Result<(), Fault> {
    let what = match (state, version) {
        (true, true) => return Ok(()),
        (false, _) => STATE,
        (true, false) => VERSION,
    };
    Err(Fault::Segment {
        segment: segment.to_owned(),
        what,
    })
}

/// Collects a JSON file, unless it is too large or has holes: then it is not looked into, except
/// that the state of the replica must be known.
fn json(entry: &Entry, step: Option<Step>) -> Result<Now, Fault> {
    let path = entry.path.clone();
    if entry.size <= MAX_JSON && !entry.sparse {
        let bytes = Vec::new();
        return Ok(Now::Json { path, step, bytes });
    }
    match step {
        Some(Step::ReplicaState) => Err(Fault::Json { path: shown(&path) }),
        _ => Ok(Now::Skip),
    }
}
