//! Qdrant's own `raft_state.json` (facts: section 2): the part of it that we read, and the one number
//! that we ever change.

use std::collections::BTreeSet;
use std::path::Path;

use planner::ids::PeerId;
use serde::Deserialize;
use serde_json::Value;

use super::{DiskError, read_if_there, replace};

const FILE: &str = "raft_state.json";
/// The largest one that is read; it holds one line per peer and the key map.
const LIMIT: u64 = 64 << 20;
/// Where the term stands.
const TERM: &str = "/state/hard_state/term";

/// What it says.
pub(super) struct Raft {
    /// 0 until it was let in.
    pub(super) term: u64,
    /// The last entry that is known to be committed.
    pub(super) commit: u64,
    /// Who votes.
    pub(super) voters: BTreeSet<PeerId>,
    /// The peer on this disk.
    pub(super) peer_id: PeerId,
}

#[derive(Deserialize)]
struct State {
    state: Inner,
    this_peer_id: u64,
}

#[derive(Deserialize)]
struct Inner {
    hard_state: HardState,
    #[serde(default)]
    conf_state: ConfState,
}

#[derive(Deserialize)]
struct HardState {
    term: u64,
    #[serde(default)]
    commit: u64,
}

#[derive(Deserialize, Default)]
struct ConfState {
    #[serde(default)]
    voters: Vec<u64>,
}

/// The Raft state below this storage directory; `None` when there is none.
pub(super) fn look(storage: &Path) -> Result<Option<Raft>, DiskError> {
    let path = storage.join(FILE);
    let Some(bytes) = read_if_there(&path, LIMIT)? else {
        return Ok(None);
    };
    let read: State = serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error))?;
    Ok(Some(Raft {
        term: read.state.hard_state.term,
        commit: read.state.hard_state.commit,
        voters: read
            .state
            .conf_state
            .voters
            .into_iter()
            .map(PeerId)
            .collect(),
        peer_id: PeerId(read.this_peer_id),
    }))
}

/// Raises the term to at least this one and leaves everything else as it is.
pub(super) fn raise_term(storage: &Path, least: u64) -> Result<(), DiskError> {
    let path = storage.join(FILE);
    let record = |why: &str| DiskError::Record {
        path: path.clone(),
        why: why.to_owned(),
    };
    let bytes = read_if_there(&path, LIMIT)?.ok_or_else(|| record("it is not there"))?;
    let mut all: Value =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error))?;
    let term = all
        .pointer_mut(TERM)
        .ok_or_else(|| record("it has no term"))?;
    if term
        .as_u64()
        .ok_or_else(|| record("its term is no number"))?
        >= least
    {
        return Ok(());
    }
    *term = least.into();
    let bytes = serde_json::to_vec(&all).map_err(|error| unreadable(&path, &error))?;
    replace(storage, FILE, &bytes)
}

fn unreadable(path: &Path, error: &serde_json::Error) -> DiskError {
    DiskError::Record {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{"state":{"hard_state":{"term":4,"vote":7,"commit":9},"conf_state":{"voters":[7,8]}},"cluster_metadata":{"k":{"n":18446744073709551615}},"this_peer_id":7}"#;

    #[test]
    fn only_the_term_is_raised_and_never_lowered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert!(raise_term(dir.path(), 5).is_err());
        std::fs::write(&path, STATE).unwrap();
        raise_term(dir.path(), 3).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STATE);
        raise_term(dir.path(), 2 << 32).unwrap();
        let mut expected: Value = serde_json::from_str(STATE).unwrap();
        *expected.pointer_mut(TERM).unwrap() = (2u64 << 32).into();
        let now: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(now, expected);
        let raft = look(dir.path()).unwrap().unwrap();
        assert_eq!(
            (raft.term, raft.commit, raft.peer_id),
            (2 << 32, 9, PeerId(7))
        );
        for broken in ["{", "{}", r#"{"state":{"hard_state":{"term":"x"}}}"#] {
            std::fs::write(&path, broken).unwrap();
            assert!(raise_term(dir.path(), 5).is_err(), "{broken}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
