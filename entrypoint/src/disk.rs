//! This task's own disk: our stamp beside Qdrant's files, and the two ways of freeing it.
//!
//! `<storage>/.entrypoint/` is ours: `stamp.json` says which generation the data belongs to,
//! `aside/` holds data of earlier ones. Everything else under the storage directory is Qdrant's.
//! Whether a disk may be freed is not decided here (`planner::destruction`).

mod raft;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use planner::records::{FORMAT, Stamp};
use planner::view::Disk as View;

const OURS: &str = ".entrypoint";
const STAMP: &str = "stamp.json";
/// The task that was ready with this disk.
const SERVED: &str = "served";
const ASIDE: &str = "aside";
/// While this file exists, Qdrant's files are being removed or renamed; nothing else is done with
/// the disk before that is finished ([`Disk::finish`]).
const FREEING: &str = "freeing";
/// The largest stamp that is read; one has some hundred bytes.
const STAMP_LIMIT: u64 = 64 << 10;

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
    /// Somebody's mount is among Qdrant's files: it may hold what all tasks share.
    #[error(
        "{0} is another file system below the storage directory, which would go with this disk: nothing was moved or removed; mount it elsewhere"
    )]
    Mounted(PathBuf),
    /// Collections are never removed, whatever an old mark asks for.
    #[error(
        "{0} holds collections, which are never removed: nothing was touched; move the file freeing away to keep them"
    )]
    Collections(PathBuf),
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

/// The storage directory of this task.
#[derive(Clone, Debug)]
pub struct Disk {
    storage: PathBuf,
}

impl Disk {
    /// The disk with this storage directory, which is created when it is missing.
    pub fn open(storage: PathBuf) -> Result<Self, DiskError> {
        let disk = Self { storage };
        let ours = disk.ours();
        fs::create_dir_all(&ours).at("create directory", &ours)?;
        sync_dir(&disk.storage)?;
        Ok(disk)
    }

    /// Finishes a freeing that was interrupted, by a crash or by an error; gives whether there was
    /// one. To be called before every look: a mark that is left must not meet the next data.
    pub fn finish(&self) -> Result<bool, DiskError> {
        let Some(target) = read_if_there(&self.ours().join(FREEING), 4096)? else {
            return Ok(false);
        };
        let target = String::from_utf8_lossy(&target);
        self.ours_alone(target.trim())?;
        self.free(target.trim())?;
        Ok(true)
    }

    fn ours(&self) -> PathBuf {
        self.storage.join(OURS)
    }

    /// What is on the disk now.
    pub fn look(&self) -> Result<View, DiskError> {
        let raft = raft::look(&self.storage)?;
        Ok(View {
            stamp: self.stamp()?,
            joined: raft.as_ref().is_some_and(|raft| raft.term > 0),
            collections: has_entries(&self.storage.join("collections"))?,
            aside: has_entries(&self.ours().join(ASIDE))?,
            served: self.served()?,
            peer_id: raft.as_ref().map(|raft| raft.peer_id),
            commit: raft.as_ref().map(|raft| raft.commit),
            term: raft.as_ref().map_or(0, |raft| raft.term),
            voters: raft.map(|raft| raft.voters).unwrap_or_default(),
        })
    }

    /// A mark of another task that once had this disk means nothing; to be called before the first look.
    pub fn belongs_to(&self, task: &str) -> Result<(), DiskError> {
        let path = self.ours().join(SERVED);
        match read_if_there(&path, STAMP_LIMIT)? {
            Some(mark) if mark != task.as_bytes() => self.unmark_served(),
            _ => Ok(()),
        }
    }

    /// What this task was ready with is here no more.
    pub fn unmark_served(&self) -> Result<(), DiskError> {
        let path = self.ours().join(SERVED);
        fs::remove_file(&path).at("remove", &path)?;
        sync_dir(&self.ours())
    }

    /// This task was ready: a process that starts later upon this disk is ready at once, or ECS would
    /// end the task, and with it the disk.
    pub fn mark_served(&self, task: &str) -> Result<(), DiskError> {
        self.write(SERVED, task.as_bytes())
    }

    fn served(&self) -> Result<bool, DiskError> {
        Ok(read_if_there(&self.ours().join(SERVED), STAMP_LIMIT)?.is_some())
    }

    fn stamp(&self) -> Result<Option<Stamp>, DiskError> {
        let path = self.ours().join(STAMP);
        let Some(bytes) = read_if_there(&path, STAMP_LIMIT)? else {
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
        replace(&self.ours(), name, bytes)
    }

    /// Raises the term in Qdrant's Raft state to at least this one, so that no peer of the old
    /// generation is heard any more (decision 0019). The caller has asked
    /// [`planner::destruction::may_reinit`] just now.
    pub fn raise_term(&self, least: u64) -> Result<(), DiskError> {
        raft::raise_term(&self.storage, least)
    }

    /// Deletes Qdrant's files and our stamp. The caller has asked `planner::destruction` just now.
    pub fn discard(&self) -> Result<(), DiskError> {
        self.finish()?;
        self.begin_freeing("")
    }

    /// Renames Qdrant's files to `.entrypoint/aside/<name>` and removes our stamp. The caller has
    /// asked `planner::destruction` just now.
    pub fn set_aside(&self, name: &str) -> Result<(), DiskError> {
        if self.finish()? {
            return Ok(());
        }
        let mut free = name.to_owned();
        let mut n = 1;
        while self.ours().join(ASIDE).join(&free).exists() {
            n += 1;
            free = format!("{name}.{n}");
        }
        self.begin_freeing(&free)
    }

    fn begin_freeing(&self, target: &str) -> Result<(), DiskError> {
        self.ours_alone(target)?;
        self.write(FREEING, target.as_bytes())?;
        self.free(target)
    }

    /// Moves (or, without a target, removes) every file of Qdrant's, then our stamp, then the
    /// mark that this is going on. Each step can be repeated after a crash. [`Disk::ours_alone`] was
    /// asked just before.
    fn free(&self, target: &str) -> Result<(), DiskError> {
        let aside = (!target.is_empty()).then(|| self.ours().join(ASIDE).join(target));
        if let Some(aside) = &aside {
            fs::create_dir_all(aside).at("create directory", aside)?;
        }
        for path in self.qdrants_files()? {
            match (&aside, path.file_name()) {
                (Some(aside), Some(name)) => {
                    fs::rename(&path, aside.join(name)).at("set aside", &path)?;
                }
                _ if path.is_dir() && !path.is_symlink() => {
                    fs::remove_dir_all(&path).at("remove", &path)?;
                }
                _ => fs::remove_file(&path).at("remove", &path)?,
            }
        }
        if let Some(aside) = &aside {
            if let Some(stamp) = read_if_there(&self.ours().join(STAMP), STAMP_LIMIT)? {
                let copy = aside.join(STAMP);
                let mut file = File::create(&copy).at("create", &copy)?;
                file.write_all(&stamp).at("write", &copy)?;
                file.sync_all().at("flush", &copy)?;
            }
            sync_dir(aside)?;
            sync_dir(&self.ours().join(ASIDE))?;
        }
        sync_dir(&self.storage)?;
        remove_if_there(&self.ours().join(STAMP))?;
        sync_dir(&self.ours())?;
        remove_if_there(&self.ours().join(FREEING))?;
        sync_dir(&self.ours())
    }

    /// Everything in the storage directory but what is ours or the file system's.
    fn qdrants_files(&self) -> Result<Vec<PathBuf>, DiskError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.storage).at("list", &self.storage)? {
            let entry = entry.at("list", &self.storage)?;
            if entry.file_name() != OURS && entry.file_name() != "lost+found" {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    /// Looks, before anything is touched, whether it is this disk's alone to move or remove.
    fn ours_alone(&self, target: &str) -> Result<(), DiskError> {
        let device = |path: &Path| fs::symlink_metadata(path).at("look at", path);
        let own = device(&self.storage)?.dev();
        for path in self.qdrants_files()? {
            if device(&path)?.dev() != own {
                return Err(DiskError::Mounted(path));
            }
        }
        let collections = self.storage.join("collections");
        if target.is_empty() && has_entries(&collections)? {
            return Err(DiskError::Collections(collections));
        }
        Ok(())
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
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(DiskError::Record {
            path: path.to_owned(),
            why: format!("it is larger than {limit} bytes"),
        });
    }
    Ok(Some(bytes))
}

fn remove_if_there(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).at("remove", path),
    }
}

/// Replaces a file so that a crash leaves the old one or the new one.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let path = dir.join(name);
    let partial = dir.join(format!("{name}.partial"));
    let mut file = File::create(&partial).at("create", &partial)?;
    file.write_all(bytes).at("write", &partial)?;
    file.sync_all().at("flush", &partial)?;
    fs::rename(&partial, &path).at("rename to", &path)?;
    sync_dir(dir)
}

fn sync_dir(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .at("flush directory", path)
}

#[cfg(test)]
mod tests;
