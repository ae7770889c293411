//! What survives `kill -9`: `raft_state.json` in Qdrant's form and the log beside it.
//! Nothing is synced to the platter: the stand-in must survive a killed process, not a power cut.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::Collection;
use super::raft::message::Entry;

/// `state` of `raft_state.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RaftState {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// Configuration as applied.
    pub conf_state: ConfState,
}

/// Raft's hard state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // Raft's own names.
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// Raft's configuration; the joint fields are always empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // Raft's own names.
pub struct ConfState {
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    #[serde(default)]
    pub voters_outgoing: Vec<u64>,
    #[serde(default)]
    pub learners_next: Vec<u64>,
    #[serde(default)]
    pub auto_leave: bool,
}

/// `raft_state.json` (upstream consensus/persistent.rs:30-57).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Persistent {
    /// Raft's state.
    pub state: RaftState,
    /// Always zero here: the log is kept from its first entry on.
    #[serde(default)]
    pub latest_snapshot_meta: Value,
    /// First committed entry that is not applied, and the last one.
    #[serde(default)]
    pub apply_progress_queue: Value,
    /// The first peer of the cluster.
    pub first_voter: Option<u64>,
    /// Address book.
    pub peer_address_by_id: BTreeMap<u64, String>,
    /// Unused here.
    #[serde(default)]
    pub peer_metadata_by_id: BTreeMap<u64, Value>,
    /// Cluster metadata.
    #[serde(default)]
    pub cluster_metadata: BTreeMap<String, Value>,
    /// This peer.
    pub this_peer_id: u64,
}

/// The storage directory.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    log: Option<File>,
}

impl Persistent {
    /// Index of the last entry that was applied.
    pub fn applied(&self) -> u64 {
        let first = self.apply_progress_queue.get(0).and_then(Value::as_u64);
        first.map_or(0, |first| first.saturating_sub(1))
    }
}

impl Disk {
    /// Open a storage directory, creating it and a fresh peer id when it is empty
    /// (`peer_id`, or a random one).
    pub fn open(root: &Path, peer_id: Option<u64>) -> io::Result<(Self, Persistent)> {
        fs::create_dir_all(root.join("collections_meta_wal"))?;
        let disk = Self {
            root: root.to_owned(),
            log: None,
        };
        let path = disk.state_path();
        if path.exists() {
            let state = serde_json::from_slice(&fs::read(path)?)?;
            return Ok((disk, state));
        }
        let fresh = Persistent {
            latest_snapshot_meta: json!({"term": 0, "index": 0}),
            this_peer_id: peer_id.unwrap_or_else(|| rand::random::<u64>() % (1 << 53) + 1),
            ..Persistent::default()
        };
        disk.save(&fresh)?;
        Ok((disk, fresh))
    }

    fn state_path(&self) -> PathBuf {
        self.root.join("raft_state.json")
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("collections_meta_wal").join("log.jsonl")
    }

    /// Replace `raft_state.json` as a whole.
    pub fn save(&self, state: &Persistent) -> io::Result<()> {
        replace(&self.state_path(), &serde_json::to_vec(state)?)
    }

    /// Read the log. A last line that was cut off by a kill was never acknowledged: it is dropped.
    pub fn load_log(&self) -> io::Result<Vec<Entry>> {
        let Ok(text) = fs::read_to_string(self.log_path()) else {
            return Ok(Vec::new());
        };
        let mut log = Vec::new();
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            log.push(serde_json::from_str(line)?);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            self.rewrite(&log)?;
        }
        Ok(log)
    }

    /// Write the log from index `first` on; what the file held from there on is replaced.
    pub fn save_log(&mut self, log: &[Entry], first: u64, held: u64) -> io::Result<()> {
        if first <= held {
            self.log = None;
            return self.rewrite(log);
        }
        if self.log.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.log_path())?;
            self.log = Some(file);
        }
        if let Some(file) = &mut self.log {
            file.write_all(&lines(log.iter().skip(first.saturating_sub(1) as usize))?)?;
        }
        Ok(())
    }

    fn rewrite(&self, log: &[Entry]) -> io::Result<()> {
        replace(&self.log_path(), &lines(log.iter())?)
    }

    /// What a peer that was re-initialised to join another cluster held before: Qdrant keeps that
    /// beside the points of each collection.
    pub fn load_held(&self) -> io::Result<BTreeMap<String, Collection>> {
        match fs::read(self.held_path()) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(why) => Err(why),
        }
    }

    /// Replace what `load_held` gives.
    pub fn save_held(&self, held: &BTreeMap<String, Collection>) -> io::Result<()> {
        replace(&self.held_path(), &serde_json::to_vec(held)?)
    }

    fn held_path(&self) -> PathBuf {
        self.root.join("held.json")
    }

    /// Directory of one collection.
    pub fn collection_path(root: &Path, collection: &str) -> PathBuf {
        root.join("collections").join(collection)
    }

    /// Directory of the points of one shard.
    pub fn shard_path(root: &Path, collection: &str, shard_id: u32) -> PathBuf {
        Self::collection_path(root, collection).join(shard_id.to_string())
    }
}

fn lines<'a>(entries: impl Iterator<Item = &'a Entry>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut bytes, entry)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, path)
}
