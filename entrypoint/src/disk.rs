//! This task's own disk: our stamp beside Qdrant's files, and the two ways of freeing it.
//!
//! `<storage>/.entrypoint/` is ours: `stamp.json` says which generation the data belongs to,
//! `aside/` holds data of earlier ones. Everything else under the storage directory is Qdrant's.
//! Whether a disk may be freed is not decided here (`planner::destruction`).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use planner::ids::PeerId;
use planner::records::{FORMAT, Stamp};
use planner::view::Disk as View;
use serde::Deserialize;

const OURS: &str = ".entrypoint";
const STAMP: &str = "stamp.json";
const ASIDE: &str = "aside";
/// While this file exists, Qdrant's files are being removed or renamed; it is finished at start.
const FREEING: &str = "freeing";
/// The largest Raft state that is read; it holds one line per peer and the key map.
const RAFT_STATE_LIMIT: u64 = 64 << 20;

/// What went wrong with the local disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A system call failed.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A record cannot be understood; nothing is changed.
    #[error(
        "{path} cannot be read ({why}): the task does nothing with this disk until it is repaired or empty"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

/// The part of Qdrant's `raft_state.json` that we read (facts: section 2).
#[derive(Deserialize)]
struct RaftState {
    state: RaftStateInner,
    this_peer_id: u64,
}

#[derive(Deserialize)]
struct RaftStateInner {
    hard_state: HardState,
}

#[derive(Deserialize)]
struct HardState {
    term: u64,
}

/// The storage directory of this task.
#[derive(Clone, Debug)]
pub struct Disk {
    storage: PathBuf,
}

impl Disk {
    /// The disk with this storage directory, which is created when it is missing. A freeing that
    /// was interrupted is finished.
    pub fn open(storage: PathBuf) -> Result<Self, DiskError> {
        let disk = Self { storage };
        let ours = disk.ours();
        fs::create_dir_all(&ours).at("create directory", &ours)?;
        let freeing = ours.join(FREEING);
        match fs::read_to_string(&freeing) {
            Ok(target) => disk.free(target.trim())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", &freeing),
        }
        Ok(disk)
    }

    fn ours(&self) -> PathBuf {
        self.storage.join(OURS)
    }

    /// What is on the disk now.
    pub fn look(&self) -> Result<View, DiskError> {
        let raft = self.raft_state()?;
        Ok(View {
            stamp: self.stamp()?,
            joined: raft
                .as_ref()
                .is_some_and(|raft| raft.state.hard_state.term > 0),
            collections: has_entries(&self.storage.join("collections"))?,
            aside: has_entries(&self.ours().join(ASIDE))?,
            peer_id: raft.map(|raft| PeerId(raft.this_peer_id)),
        })
    }

    fn stamp(&self) -> Result<Option<Stamp>, DiskError> {
        let path = self.ours().join(STAMP);
        let Some(bytes) = read_if_there(&path, 64 << 10)? else {
            return Ok(None);
        };
        let record = |why: String| DiskError::Record {
            path: path.clone(),
            why,
        };
        let stamp: Stamp =
            serde_json::from_slice(&bytes).map_err(|error| record(error.to_string()))?;
        if stamp.format > FORMAT {
            return Err(record(format!(
                "format {} is newer than {FORMAT}, the newest this version reads",
                stamp.format
            )));
        }
        Ok(Some(stamp))
    }

    fn raft_state(&self) -> Result<Option<RaftState>, DiskError> {
        let path = self.storage.join("raft_state.json");
        let Some(bytes) = read_if_there(&path, RAFT_STATE_LIMIT)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| DiskError::Record {
                path,
                why: error.to_string(),
            })
    }

    /// Writes our stamp so that it survives a crash: temporary file, fsync, rename, fsync of the
    /// directory.
    pub fn write_stamp(&self, stamp: &Stamp) -> Result<(), DiskError> {
        let path = self.ours().join(STAMP);
        let bytes = serde_json::to_vec(stamp).map_err(|error| DiskError::Record {
            path: path.clone(),
            why: error.to_string(),
        })?;
        self.write(STAMP, &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.ours().join(name);
        let partial = self.ours().join(format!("{name}.partial"));
        let mut file = File::create(&partial).at("create", &partial)?;
        file.write_all(bytes).at("write", &partial)?;
        file.sync_all().at("flush", &partial)?;
        fs::rename(&partial, &path).at("rename to", &path)?;
        sync_dir(&self.ours())
    }

    /// Deletes Qdrant's files and our stamp. The caller has asked `planner::destruction` just now.
    pub fn discard(&self) -> Result<(), DiskError> {
        self.begin_freeing("")
    }

    /// Renames Qdrant's files to `.entrypoint/aside/<name>` and removes our stamp. The caller has
    /// asked `planner::destruction` just now.
    pub fn set_aside(&self, name: &str) -> Result<(), DiskError> {
        let mut free = name.to_owned();
        let mut n = 1;
        while self.ours().join(ASIDE).join(&free).exists() {
            n += 1;
            free = format!("{name}.{n}");
        }
        self.begin_freeing(&free)
    }

    fn begin_freeing(&self, target: &str) -> Result<(), DiskError> {
        self.write(FREEING, target.as_bytes())?;
        self.free(target)
    }

    /// Moves (or, without a target, removes) every file of Qdrant's, then our stamp, then the
    /// mark that this is going on. Each step can be repeated after a crash.
    fn free(&self, target: &str) -> Result<(), DiskError> {
        let aside = (!target.is_empty()).then(|| self.ours().join(ASIDE).join(target));
        if let Some(aside) = &aside {
            fs::create_dir_all(aside).at("create directory", aside)?;
        }
        for entry in fs::read_dir(&self.storage).at("list", &self.storage)? {
            let entry = entry.at("list", &self.storage)?;
            let (name, path) = (entry.file_name(), entry.path());
            if name == OURS || name == "lost+found" {
                continue;
            }
            match &aside {
                Some(aside) => fs::rename(&path, aside.join(&name)).at("set aside", &path)?,
                None if entry.file_type().at("look at", &path)?.is_dir() => {
                    fs::remove_dir_all(&path).at("remove", &path)?;
                }
                None => fs::remove_file(&path).at("remove", &path)?,
            }
        }
        if let Some(aside) = &aside {
            let stamp = self.ours().join(STAMP);
            match fs::copy(&stamp, aside.join(STAMP)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("copy", &stamp),
            }
            sync_dir(aside)?;
        }
        sync_dir(&self.storage)?;
        remove_if_there(&self.ours().join(STAMP))?;
        sync_dir(&self.ours())?;
        remove_if_there(&self.ours().join(FREEING))?;
        sync_dir(&self.ours())
    }
}

fn has_entries(path: &Path) -> Result<bool, DiskError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().transpose().at("list", path)?.is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("list", path),
    }
}

fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", path),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).at("read", path)?;
    Ok(Some(bytes))
}

fn remove_if_there(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).at("remove", path),
    }
}

fn sync_dir(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .at("flush directory", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::ids::{GenerationId, StoreId};
    use planner::records::Stage;

    fn stamp() -> Stamp {
        Stamp {
            format: FORMAT,
            store_id: StoreId::from("s"),
            generation: GenerationId {
                number: 3,
                token: "t".into(),
            },
            previous: None,
            founder: Some(PeerId(7)),
            stage: Stage::Member,
        }
    }

    fn with_data() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().join("storage")).unwrap();
        disk.write_stamp(&stamp()).unwrap();
        let storage = dir.path().join("storage");
        fs::create_dir_all(storage.join("collections/c/0")).unwrap();
        fs::write(
            storage.join("raft_state.json"),
            r#"{"state":{"hard_state":{"term":4,"vote":1,"commit":9}},"this_peer_id":11}"#,
        )
        .unwrap();
        (dir, disk)
    }

    #[test]
    fn a_new_disk_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path().join("a/b")).unwrap();
        assert_eq!(disk.look().unwrap(), View::EMPTY);
    }

    #[test]
    fn what_is_written_is_seen() {
        let (_dir, disk) = with_data();
        let seen = disk.look().unwrap();
        assert_eq!(seen.stamp, Some(stamp()));
        assert!(seen.joined && seen.collections && !seen.aside);
        assert_eq!(seen.peer_id, Some(PeerId(11)));
    }

    #[test]
    fn a_discard_leaves_nothing_but_what_was_set_aside_before() {
        let (_dir, disk) = with_data();
        disk.set_aside("000003-t").unwrap();
        assert!(disk.look().unwrap().aside);
        fs::write(
            disk.storage.join("raft_state.json"),
            r#"{"state":{"hard_state":{"term":0}},"this_peer_id":1}"#,
        )
        .unwrap();
        disk.discard().unwrap();
        let seen = disk.look().unwrap();
        assert_eq!((seen.stamp, seen.joined, seen.aside), (None, false, true));
        assert!(disk.ours().join("aside/000003-t/collections/c/0").is_dir());
    }

    #[test]
    fn setting_aside_twice_keeps_both() {
        let (_dir, disk) = with_data();
        disk.set_aside("x").unwrap();
        fs::create_dir_all(disk.storage.join("collections/d")).unwrap();
        disk.set_aside("x").unwrap();
        assert!(disk.ours().join("aside/x/collections/c").is_dir());
        assert!(disk.ours().join("aside/x.2/collections/d").is_dir());
    }

    #[test]
    fn an_interrupted_setting_aside_is_finished_at_start() {
        let (dir, disk) = with_data();
        disk.write(FREEING, b"y").unwrap();
        fs::create_dir_all(disk.ours().join("aside/y")).unwrap();
        fs::rename(
            disk.storage.join("collections"),
            disk.ours().join("aside/y/collections"),
        )
        .unwrap();
        let again = Disk::open(dir.path().join("storage")).unwrap();
        let seen = again.look().unwrap();
        assert_eq!(
            (seen.stamp, seen.collections, seen.joined, seen.aside),
            (None, false, false, true)
        );
        assert!(again.ours().join("aside/y/raft_state.json").is_file());
        assert!(!again.ours().join(FREEING).exists());
    }

    #[test]
    fn broken_records_are_named_and_nothing_is_touched() {
        let (_dir, disk) = with_data();
        fs::write(disk.ours().join(STAMP), "{\"format\":1").unwrap();
        let error = disk.look().unwrap_err().to_string();
        assert!(
            error.contains("stamp.json") && error.contains("repaired"),
            "{error}"
        );
        fs::write(
            disk.ours().join(STAMP),
            serde_json::to_vec(&Stamp {
                format: 99,
                ..stamp()
            })
            .unwrap(),
        )
        .unwrap();
        let error = disk.look().unwrap_err().to_string();
        assert!(error.contains("newer"), "{error}");
        assert!(disk.storage.join("collections/c/0").is_dir());
    }
}
