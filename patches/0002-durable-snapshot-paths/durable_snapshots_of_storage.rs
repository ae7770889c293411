//! The storage crate's part of a snapshot directory that is shared with other nodes; see the module of that name in `collection`.

use std::path::PathBuf;

use collection::shards::shard::PeerId;

/// A time in a name, with the peer in front of it, so that two peers never mean the same file.
pub fn time_of_peer(time: &str, peer: PeerId) -> String {
    format!("{peer}-{time}")
}

/// The temporary files in the snapshot directory, if they can only be this node's own: with a temporary directory of
/// its own it puts none there, so what is there belongs to other nodes.
pub fn own_temporary_files(in_snapshots: PathBuf, has_temporary_directory: bool) -> Option<PathBuf> {
    (!has_temporary_directory).then_some(in_snapshots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_peers_never_mean_the_same_file() {
        assert_eq!(time_of_peer("2026-08-04-12-30-59", 7), "7-2026-08-04-12-30-59");
    }

    #[test]
    fn temporary_files_of_other_nodes_are_left_alone() {
        let shared = PathBuf::from("snapshots/tmp");
        assert_eq!(own_temporary_files(shared.clone(), true), None);
        assert_eq!(own_temporary_files(shared.clone(), false), Some(shared));
    }
}
