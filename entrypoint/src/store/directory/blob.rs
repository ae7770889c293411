//! Blobs of the directory store: a hidden file in the directory of the key, linked under its name
//! when it is whole and durable.
//!
//! link(2) and not rename(2): it refuses to replace, and NFS has it. (renameat2 with
//! `RENAME_NOREPLACE` is refused by the kernel's NFS client with EINVAL; rename(2), section
//! ERRORS: "The filesystem does not support one of the flags".)

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::temporary::{FILE_MODE, Partial, Temporary};
use super::{DirectoryStore, link_error, sync, unclear, walk};
use crate::store::blob::Sum;
use crate::store::{
    BlobReader, BlobStore, BlobWriter, Key, Leftover, Listed, Op, Prefix, Store as _, StoreError,
    Stored,
};

/// After so many bytes the kernel is told to write them out and then to forget them. That keeps the
/// dirty pages of a long stream few (they count as memory of the task, Qdrant's included) and the
/// final fsync short.
const WINDOW: u64 = 8 * 1024 * 1024;

impl BlobStore for DirectoryStore {
    fn begin(&self, key: &Key) -> Result<Box<dyn BlobWriter>, StoreError> {
        const OP: Op = Op::Write;
        let place = self.place(key);
        if let Some(dir) = walk::open(&self.root, &key.parent(), OP)?
            && walk::look(&dir, key.name(), OP, &place)?.is_some()
        {
            return Err(StoreError::AlreadyThere { path: place });
        }
        let dir = walk::make(&self.root, &key.parent(), OP)?;
        let name = Partial::name_for(key.name());
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(FILE_MODE);
        let fd = openat(&dir, name.as_str(), flags, mode)
            .map_err(|errno| StoreError::of(OP, &place, errno))?;
        Ok(Box::new(Writer {
            root: self.root.clone(),
            key: key.clone(),
            place,
            dir,
            name,
            file: Some(File::from(fd)),
            sum: Sum::default(),
            told: 0,
        }))
    }

    fn blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        const OP: Op = Op::Read;
        let place = self.place(key);
        let Some(dir) = walk::open(&self.root, &key.parent(), OP)? else {
            return Ok(None);
        };
        let Some((file, about)) = super::open_file(&dir, key.name(), OP, &place)? else {
            return Ok(None);
        };
        forget(&file, 0, 0);
        Ok(Some(Box::new(Reader {
            file,
            place,
            size: about.len(),
            read: 0,
            told: 0,
        })))
    }

    fn blobs(
        &self,
        prefix: &Prefix,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        walk::visit(&self.root, prefix, |_| false, &mut |found| {
            match Key::new(found.path()) {
                Ok(key) => each(Listed {
                    key,
                    size: size_of(&found.about),
                }),
                // Below the deepest level there can be no keys of ours.
                Err(_) => ControlFlow::Continue(()),
            }
        })
    }

    fn settle(&self, key: &Key) -> Result<(), StoreError> {
        const OP: Op = Op::Publish;
        // The bytes were durable before they had this name; only the name may not be.
        match walk::open(&self.root, &key.parent(), OP)? {
            Some(dir) => sync(&dir, OP, &self.place(key)),
            None => Ok(()),
        }
    }

    fn prune(&self, prefix: &Prefix) {
        walk::prune(&self.root, prefix);
    }

    fn remove_blob(&self, key: &Key) -> Result<bool, StoreError> {
        let removed = self.remove(key)?;
        walk::prune(&self.root, &key.parent());
        Ok(removed)
    }

    fn leftovers(&self, prefix: &Prefix) -> Result<Vec<Leftover>, StoreError> {
        let mut found = Vec::new();
        walk::visit(
            &self.root,
            prefix,
            |name| Partial::target(name).is_some(),
            &mut |entry| {
                if let Some(target) = Partial::target(&entry.name)
                    && let Ok(key) = entry.parent.join(target)
                {
                    found.push((key, entry.name, entry.about));
                }
                ControlFlow::Continue(())
            },
        )?;
        let Some((key, ..)) = found.first() else {
            return Ok(Vec::new());
        };
        let now = self.server_time(&key.parent())?;
        Ok(found
            .into_iter()
            .map(|(key, name, about)| Leftover {
                key,
                name,
                size: size_of(&about),
                age: age(now, &about),
            })
            .collect())
    }

    fn remove_leftover(&self, leftover: &Leftover, older: Duration) -> Result<bool, StoreError> {
        const OP: Op = Op::Remove;
        let parent = leftover.key.parent();
        let place = self
            .root
            .join(parent.as_str())
            .join(&leftover.name)
            .display()
            .to_string();
        if Partial::target(&leftover.name) != Some(leftover.key.name()) {
            return Ok(false);
        }
        let Some(dir) = walk::open(&self.root, &parent, OP)? else {
            return Ok(false);
        };
        let now = self.server_time(&parent)?;
        let fail = |errno| StoreError::of(OP, &place, errno);
        let name = leftover.name.as_str();
        match walk::look(&dir, name, OP, &place)? {
            Some(about) if is_file(&about) && age(now, &about) > older => {}
            _ => return Ok(false),
        }
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(false),
            Err(errno) => return Err(fail(errno)),
        }
        walk::prune(&self.root, &parent);
        Ok(true)
    }
}

impl DirectoryStore {
    /// The time by the clock of the file server, in seconds since 1970, as it marks a file that is
    /// made now. Clocks of different machines are never compared.
    fn server_time(&self, parent: &Prefix) -> Result<i64, StoreError> {
        const OP: Op = Op::List;
        let path = self.root.join(parent.as_str()).display().to_string();
        let fail = |e: io::Error| StoreError::of(OP, &path, e);
        let dir = walk::open(&self.root, parent, OP)?;
        let dir = dir.ok_or_else(|| fail(Errno::ENOENT.into()))?;
        let (_probe, now) = Temporary::write(dir, b"").map_err(fail)?;
        let now = now.and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok());
        let now = now.and_then(|now| i64::try_from(now.as_secs()).ok());
        now.ok_or_else(|| fail(io::Error::other("a file made now does not say when")))
    }
}

/// A file that is being written under its hidden name.
struct Writer {
    root: PathBuf,
    key: Key,
    place: String,
    dir: File,
    name: String,
    /// Gone after an error and when finished.
    file: Option<File>,
    sum: Sum,
    /// Up to where the kernel was told to write out.
    told: u64,
}

impl Writer {
    /// The file, durable and closed; who it is.
    fn complete(&mut self) -> Result<FileStat, StoreError> {
        const OP: Op = Op::Publish;
        let fail = |e: io::Error| StoreError::of(OP, &self.place, e);
        let Some(file) = self.file.take() else {
            return Err(fail(io::Error::other("an earlier write of it failed")));
        };
        file.sync_all().map_err(fail)?;
        let about = fstat(&file).map_err(|errno| fail(errno.into()))?;
        if size_of(&about) != self.sum.size() {
            return Err(StoreError::Incomplete {
                path: self.place.clone(),
                size: self.sum.size(),
                found: size_of(&about),
            });
        }
        forget(&file, 0, 0);
        Ok(about)
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(mut file) = self.file.take() else {
            let error = io::Error::other("an earlier write of it failed");
            return Err(StoreError::of(Op::Write, &self.place, error));
        };
        file.write_all(bytes)
            .map_err(|e| StoreError::of(Op::Write, &self.place, e))?;
        self.sum.add(bytes);
        if self.sum.size() - self.told >= WINDOW {
            // The last window is on its way out and the one before it is out, or nearly: it is told
            // twice, because pages that are still dirty are not forgotten (Linux mm/fadvise.c).
            let from = self.told.saturating_sub(WINDOW);
            forget(&file, from, self.sum.size() - from);
            self.told = self.sum.size();
        }
        self.file = Some(file);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Stored, StoreError> {
        const OP: Op = Op::Publish;
        let ours = self.complete()?;
        let name = self.key.name();
        let linked = linkat(
            &self.dir,
            self.name.as_str(),
            &self.dir,
            name,
            AtFlags::empty(),
        )
        .map_err(|errno| link_error(OP, &self.place, errno));
        // What is there decides, not the return code (link(2), BUGS: over NFS an error may hide a
        // success). Our hidden name still holds the inode, so its number cannot have been reused.
        let seen = walk::open(&self.root, &self.key.parent(), OP).and_then(|dir| match dir {
            Some(dir) => walk::look(&dir, name, OP, &self.place),
            None => Ok(None),
        });
        verdict(&self.place, &ours, linked, seen)?;
        // Without this name the link count tells an operator that the file is whole.
        let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        sync(&self.dir, OP, &self.place).map_err(|e| unclear(OP, &self.place, e))?;
        Ok(std::mem::take(&mut self.sum).done())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closed first: NFS renames a file that is unlinked while open, and would leave that name.
        self.file = None;
        // What cannot be removed now is a leftover. After a success there is nothing of that name.
        let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// What an attempt to publish came to.
fn verdict(
    place: &str,
    ours: &FileStat,
    linked: Result<(), StoreError>,
    seen: Result<Option<FileStat>, StoreError>,
) -> Result<(), StoreError> {
    match seen {
        Ok(Some(seen)) if (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino) => Ok(()),
        Ok(Some(_)) => Err(StoreError::AlreadyThere { path: place.into() }),
        Ok(None) => {
            let error = match linked {
                Ok(()) => StoreError::Vanished { path: place.into() },
                Err(error) => error,
            };
            Err(error.after_sending(Op::Publish))
        }
        Err(error) => Err(unclear(Op::Publish, place, error)),
    }
}

/// A file that is being read.
struct Reader {
    file: File,
    place: String,
    size: u64,
    read: u64,
    told: u64,
}

impl BlobReader for Reader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let length = loop {
            match self.file.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|e| StoreError::of(Op::Read, &self.place, e))?,
            }
        };
        self.read += length as u64;
        let ended = length == 0 && !buffer.is_empty();
        if self.read > self.size || (ended && self.read < self.size) {
            return Err(StoreError::Incomplete {
                path: self.place.clone(),
                size: self.size,
                found: self.read,
            });
        }
        if self.read - self.told >= WINDOW {
            forget(&self.file, self.told, self.read - self.told);
            self.told = self.read;
        }
        Ok(length)
    }
}

/// Tells the kernel to write out and drop the cached pages of a range (0 long: to the end). Only
/// advice: where it is not taken, more memory is used and a read may be answered from the cache.
fn forget(file: &File, from: u64, length: u64) {
    if let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length)) {
        let _ = posix_fadvise(file, from, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

fn size_of(about: &FileStat) -> u64 {
    u64::try_from(about.st_size).unwrap_or(0)
}

fn is_file(about: &FileStat) -> bool {
    SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

fn age(now: i64, about: &FileStat) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(about.st_mtime)).unwrap_or(0))
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
