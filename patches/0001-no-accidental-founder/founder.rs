//! A new cluster is founded on purpose only. Owns the question whether this start would found one, and the answer.

use std::io::ErrorKind;
use std::path::Path;

/// Says that this process is to found the cluster: `true` or `1`.
const VARIABLE: &str = "QDRANT_FOUNDER";

/// EX_CONFIG of sysexits.h; Qdrant itself ends with 0, 1, 2 or 101.
const EXIT_CODE: i32 = 78;

/// Ends the process when it would found a cluster without having been told to. To be called before any state is written.
pub fn refuse_accident(distributed: bool, bootstrap: bool, storage: impl AsRef<Path>) {
    let told = std::env::var(VARIABLE).is_ok_and(|value| value == "true" || value == "1");
    if would_found(distributed, bootstrap, storage.as_ref()) && !told {
        // Not through the log: its level may hide the only line that explains the exit.
        eprintln!(
            "qdrant: refusing to found a new cluster: cluster mode is on, {} has not been in a cluster, and no other \
             peer is given with --bootstrap; give one, or set {VARIABLE}=true on the one peer that is to be the first",
            storage.as_ref().display(),
        );
        std::process::exit(EXIT_CODE);
    }
}

fn would_found(distributed: bool, bootstrap: bool, storage: &Path) -> bool {
    distributed && !bootstrap && !has_been_in_a_cluster(storage)
}

/// Term 0 is what a join that failed leaves behind. What cannot be read counts as history: Qdrant will say what is wrong.
fn has_been_in_a_cluster(storage: &Path) -> bool {
    // The name of old releases, which only wrote it once they were in a cluster.
    if storage.join("raft_state").exists() {
        return true;
    }
    let text = match fs_err::read_to_string(storage.join("raft_state.json")) {
        Ok(text) => text,
        Err(error) => return error.kind() != ErrorKind::NotFound,
    };
    serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|state| state.pointer("/state/hard_state/term")?.as_u64())
        .is_none_or(|term| term > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founds(state: Option<&str>) -> bool {
        let storage = tempfile::tempdir().unwrap();
        if let Some(state) = state {
            fs_err::write(storage.path().join("raft_state.json"), state).unwrap();
        }
        would_found(true, false, storage.path())
    }

    #[test]
    fn an_empty_disk_and_one_of_a_failed_join_would_found() {
        assert!(founds(None));
        assert!(founds(Some(r#"{"state":{"hard_state":{"term":0}}}"#)));
    }

    #[test]
    fn a_disk_with_a_term_or_with_something_unreadable_would_not() {
        assert!(!founds(Some(r#"{"state":{"hard_state":{"term":1}}}"#)));
        assert!(!founds(Some("not JSON")));
        assert!(!founds(Some("{}")));
    }

    #[test]
    fn single_mode_and_a_joiner_are_not_asked() {
        let storage = tempfile::tempdir().unwrap();
        assert!(!would_found(false, false, storage.path()));
        assert!(!would_found(true, true, storage.path()));
        assert!(would_found(true, false, &storage.path().join("not there yet")));
    }
}
