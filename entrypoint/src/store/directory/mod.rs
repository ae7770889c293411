//! The store as a directory: EFS, or any local Unix file system.
//!
//! Owns the meaning of each store call in terms of files. Every call walks from the root through
//! freshly opened directories (see [`walk`]), and what a write achieved is read back, not believed
//! (open(2), link(2) and rename(2), sections BUGS and NOTES: over NFS an error may hide a success).
//! File locks are used nowhere: an NFS lease that is lost drops them silently.

mod blob;
mod temporary;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use self::temporary::Temporary;
use super::{Created, Key, MAX_LISTED, MAX_VALUE, Op, Prefix, Store, StoreError};

/// A directory that holds one file for each key. It is made, with mode 0750, by the first write;
/// records have mode 0640 (both less the umask): readable by the group, for backup and for people.
#[derive(Debug)]
pub struct DirectoryStore {
    root: PathBuf,
    /// Directories whose stale temporary files this process has already looked for.
    swept: Mutex<BTreeSet<Prefix>>,
}

impl DirectoryStore {
    /// Names the directory and touches nothing, so it may be called anywhere.
    ///
    /// Links among the parents of `root` are the operator's own word and are followed; `root`
    /// itself and all below must be real. A link lying on the shared volume would lead every task
    /// to a place of its own, and each would found a cluster there.
    #[must_use]
    pub fn new(root: impl AsRef<Path>) -> Self {
        // Without the trailing slash that would make the system follow a link.
        let root = root.as_ref().components().collect();
        Self {
            root,
            swept: Mutex::default(),
        }
    }

    /// As [`DirectoryStore::new`], and looks whether the directory can be listed. Blocks as every
    /// call does. One that is missing is fine: the first write makes it.
    ///
    /// # Errors
    /// [`StoreError::NotADirectory`], [`StoreError::Permission`] and so on.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let store = Self::new(root);
        if let Some(dir) = walk::open(&store.root, &Prefix::root(), Op::Open)? {
            walk::entries(dir, &store.root, Op::Open)?;
        }
        Ok(store)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn place(&self, key: &Key) -> String {
        self.root.join(key.as_str()).display().to_string()
    }

    fn load(&self, op: Op, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match walk::open(&self.root, &key.parent(), op)? {
            Some(dir) => load_from(&dir, key.name(), op, &self.place(key)),
            None => Ok(None),
        }
    }

    /// Opens (and makes) the directory of `key` and writes `value` to a temporary file in it.
    fn prepare(&self, op: Op, key: &Key, value: &[u8]) -> Result<(File, Temporary), StoreError> {
        let dir = walk::make(&self.root, &key.parent(), op)?;
        let handle = dir
            .try_clone()
            .map_err(|e| StoreError::of(op, self.place(key), e))?;
        let (temporary, now) =
            Temporary::write(handle, value).map_err(|e| StoreError::of(op, self.place(key), e))?;
        let first = {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            swept.insert(key.parent())
        };
        if first {
            temporary::sweep(&dir, now);
        }
        Ok((dir, temporary))
    }
}

impl Store for DirectoryStore {
    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.load(Op::Read, key)
    }

    fn create(&self, key: &Key, value: &[u8]) -> Result<Created, StoreError> {
        const OP: Op = Op::Create;
        let place = self.place(key);
        fits(&place, value)?;
        // Before anything is written, so that an existing record is found on a full or read-only
        // volume too.
        if let Some(dir) = walk::open(&self.root, &key.parent(), OP)? {
            let seen = load_from(&dir, key.name(), OP, &place)?;
            if seen.is_some() {
                return verdict(&place, value, Ok(()), || sync(&dir, OP, &place), Ok(seen));
            }
        }
        let (dir, temporary) = self.prepare(OP, key, value)?;
        let linked = linkat(&dir, temporary.name(), &dir, key.name(), AtFlags::empty())
            .map_err(|errno| link_error(OP, &place, errno));
        drop(temporary);
        verdict(
            &place,
            value,
            linked,
            || sync(&dir, OP, &place),
            self.load(OP, key),
        )
    }

    fn put(&self, key: &Key, value: &[u8]) -> Result<(), StoreError> {
        const OP: Op = Op::Put;
        let place = self.place(key);
        fits(&place, value)?;
        let (dir, temporary) = self.prepare(OP, key, value)?;
        match renameat(&dir, temporary.name(), &dir, key.name()) {
            Ok(()) => temporary.given_away(),
            Err(errno) => {
                let error = match errno {
                    Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST => StoreError::NotAFile {
                        path: place.clone(),
                    },
                    _ => StoreError::of(OP, &place, errno).after_sending(OP),
                };
                match self.load(OP, key) {
                    Ok(Some(seen)) if seen == value => {}
                    _ => return Err(error),
                }
            }
        }
        sync(&dir, OP, &place).map_err(|e| unclear(OP, &place, e))
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
        walk::list(&self.root, prefix)
    }

    fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, StoreError> {
        const OP: Op = Op::List;
        let Some(dir) = walk::open(&self.root, prefix, OP)? else {
            return Ok(Vec::new());
        };
        let path = self.root.join(prefix.as_str());
        let mut names = Vec::new();
        for (name, kind) in walk::entries(dir, &path, OP)? {
            if kind == walk::Kind::Directory {
                names.push(name);
            }
        }
        if names.len() > MAX_LISTED {
            return Err(StoreError::TooMany {
                path: path.display().to_string(),
            });
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        const OP: Op = Op::Remove;
        let place = self.place(key);
        let Some(dir) = walk::open(&self.root, &key.parent(), OP)? else {
            return Ok(false);
        };
        match unlinkat(&dir, key.name(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(false),
            Err(Errno::EISDIR) => return Err(StoreError::NotAFile { path: place }),
            Err(errno) => return Err(StoreError::of(OP, &place, errno).after_sending(OP)),
        }
        sync(&dir, OP, &place).map_err(|e| unclear(OP, &place, e))?;
        Ok(true)
    }
}

/// Reads one record of an open directory; everything but a plain file of bounded size is refused.
fn load_from(dir: &File, name: &str, op: Op, place: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((file, about)) = open_file(dir, name, op, place)? else {
        return Ok(None);
    };
    let limit = MAX_VALUE as u64;
    if about.len() > limit {
        return Err(StoreError::TooLarge {
            path: place.into(),
            size: about.len(),
            limit,
        });
    }
    let mut value = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut value)
        .map_err(|e| StoreError::of(op, place, e))?;
    fits(place, &value)?;
    Ok(Some(value))
}

/// Opens a file of an open directory for reading; everything but a plain file is refused.
fn open_file(
    dir: &File,
    name: &str,
    op: Op,
    place: &str,
) -> Result<Option<(File, Metadata)>, StoreError> {
    // NONBLOCK: a FIFO lying there must not hold us; it has no effect on plain files.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::ELOOP | Errno::ENXIO) => {
            return Err(StoreError::NotAFile { path: place.into() });
        }
        Err(errno) => return Err(StoreError::of(op, place, errno)),
    };
    let about = file.metadata().map_err(|e| StoreError::of(op, place, e))?;
    if !about.is_file() {
        return Err(StoreError::NotAFile { path: place.into() });
    }
    Ok(Some((file, about)))
}

/// What an attempt to create came to. The bytes that are there decide; the return code of the link
/// only explains why there are none.
fn verdict(
    place: &str,
    value: &[u8],
    linked: Result<(), StoreError>,
    sync: impl FnOnce() -> Result<(), StoreError>,
    seen: Result<Option<Vec<u8>>, StoreError>,
) -> Result<Created, StoreError> {
    match seen {
        // Durable before it is called ours, also when an earlier attempt of ours made it.
        Ok(Some(seen)) if seen == value => {
            sync().map_err(|e| unclear(Op::Create, place, e))?;
            Ok(Created::Ours)
        }
        Ok(Some(seen)) => Ok(Created::Exists(seen)),
        Ok(None) => {
            let error = match linked {
                Ok(()) => StoreError::Vanished { path: place.into() },
                Err(error) => error,
            };
            Err(error.after_sending(Op::Create))
        }
        Err(error) => Err(unclear(Op::Create, place, error)),
    }
}

fn link_error(op: Op, place: &str, errno: Errno) -> StoreError {
    match errno {
        // EPERM is how link(2) reports a file system without hard links. (It is also the answer
        // of fs.protected_hardlinks for files that one may not read and write, which cannot be
        // the case for a file that we have just made.)
        Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS => StoreError::Unsupported {
            what: "hard links",
            path: place.into(),
            source: errno.into(),
        },
        _ => StoreError::of(op, place, errno),
    }
}

fn unclear(op: Op, place: &str, source: StoreError) -> StoreError {
    StoreError::Unclear {
        op,
        path: place.into(),
        source: Box::new(source),
    }
}

fn sync(dir: &File, op: Op, place: &str) -> Result<(), StoreError> {
    dir.sync_all().map_err(|e| StoreError::of(op, place, e))
}

fn fits(place: &str, value: &[u8]) -> Result<(), StoreError> {
    if value.len() > MAX_VALUE {
        return Err(StoreError::TooLarge {
            path: place.into(),
            size: value.len() as u64,
            limit: MAX_VALUE as u64,
        });
    }
    Ok(())
}
