//! Opening, making and listing the directories of the store. Owns the walk from the root; knows
//! nothing of what the files contain.
//!
//! Every directory on the way is opened anew on each call, one segment at a time and never through
//! a link. Besides refusing links this is what makes a read current on NFS: opening a directory
//! forces its attributes to be fetched (Linux fs/nfs/dir.c, nfs_lookup_verify_inode), and only that
//! ends a cached "no such file", which a plain open by path may repeat for up to 60 s (acdirmax;
//! ECS lets nobody set mount options).

use std::fs::{DirBuilder, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open as open_path, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::store::key::{MAX_DEPTH, is_segment};
use crate::store::{Key, MAX_LISTED, Op, Prefix, StoreError};

/// For the owner everything, for the group looking.
const DIRECTORY_MODE: u32 = 0o750;

/// Most entries of one directory that are looked at, foreign names and temporary files included.
const MAX_ENTRIES: usize = 4 * MAX_LISTED;

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Opens the directory of `prefix`; `None` when it, or anything above it, does not exist.
pub(super) fn open(root: &Path, prefix: &Prefix, op: Op) -> Result<Option<File>, StoreError> {
    let Some(mut dir) = opened(open_path(root, flags(), Mode::empty()), root, op)? else {
        return Ok(None);
    };
    let mut path = root.to_path_buf();
    for segment in prefix.segments() {
        path.push(segment);
        match opened(openat(&dir, segment, flags(), Mode::empty()), &path, op)? {
            Some(next) => dir = next,
            None => return Ok(None),
        }
    }
    Ok(Some(dir))
}

/// Opens the directory of `prefix` and makes, durably, what is missing of it.
pub(super) fn make(root: &Path, prefix: &Prefix, op: Op) -> Result<File, StoreError> {
    let fail = |path: &Path, e: io::Error| StoreError::of(op, path.display().to_string(), e);
    let gone = |path: &Path| fail(path, Errno::ENOENT.into());
    let mut dir = match opened(open_path(root, flags(), Mode::empty()), root, op)? {
        Some(dir) => dir,
        None => {
            make_root(root).map_err(|e| fail(root, e))?;
            opened(open_path(root, flags(), Mode::empty()), root, op)?.ok_or_else(|| gone(root))?
        }
    };
    let mut path = root.to_path_buf();
    for segment in prefix.segments() {
        path.push(segment);
        let next = match opened(openat(&dir, segment, flags(), Mode::empty()), &path, op)? {
            Some(next) => next,
            None => {
                match mkdirat(&dir, segment, Mode::from_bits_truncate(DIRECTORY_MODE)) {
                    // Another task was quicker; its directory must be durable for us as well.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(fail(&path, errno.into())),
                }
                dir.sync_all().map_err(|e| fail(&path, e))?;
                opened(openat(&dir, segment, flags(), Mode::empty()), &path, op)?
                    .ok_or_else(|| gone(&path))?
            }
        };
        dir = next;
    }
    Ok(dir)
}

/// Makes the root and its missing parents, each durable in the one above.
fn make_root(path: &Path) -> io::Result<()> {
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    let builder = {
        let mut builder = DirBuilder::new();
        builder.mode(DIRECTORY_MODE);
        builder
    };
    let made = match builder.create(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_root(above)?;
            builder.create(path)
        }
        made => made,
    };
    match made {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => File::open(above)?.sync_all(),
    }
}

/// Removes the directory of `prefix` if it is empty, and then the one above it, but never the root.
/// One that cannot be removed stays: what lies in it is not ours to judge, and an empty one does no
/// harm. Whoever is about to make a file in it is told that it is gone, and has written nothing.
pub(super) fn prune(root: &Path, prefix: &Prefix) {
    // The root is no key.
    let mut folder = Key::new(prefix.as_str());
    while let Ok(key) = folder {
        let above = key.parent();
        let removed = match open(root, &above, Op::Remove) {
            Ok(Some(dir)) => unlinkat(&dir, key.name(), UnlinkatFlags::RemoveDir).is_ok(),
            Ok(None) | Err(_) => false,
        };
        if !removed {
            return;
        }
        folder = Key::new(above.as_str());
    }
}

/// Every key below `prefix`, complete or an error.
pub(super) fn list(root: &Path, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut ahead = vec![prefix.clone()];
    let mut directories = 0;
    while let Some(prefix) = ahead.pop() {
        // One that vanished since it was seen holds nothing.
        let Some(dir) = open(root, &prefix, Op::List)? else {
            continue;
        };
        let path = root.join(prefix.as_str());
        for (name, kind) in entries(dir, &path, Op::List)? {
            // Below the deepest level there can be no keys of ours.
            let Ok(key) = prefix.join(&name) else {
                continue;
            };
            match kind {
                Kind::File => keys.push(key),
                Kind::Directory if prefix.segments().count() + 1 >= MAX_DEPTH => {}
                Kind::Directory => {
                    directories += 1;
                    ahead.push(Prefix::new(key.as_str())?);
                }
                // Ignoring it could hide a record, so it is said instead.
                Kind::Other => {
                    return Err(StoreError::NotAFile {
                        path: shown(&path.join(name)),
                    });
                }
            }
            if keys.len() > MAX_LISTED || directories > MAX_LISTED {
                return Err(StoreError::TooMany { path: shown(root) });
            }
        }
    }
    keys.sort();
    Ok(keys)
}

/// One file that [`visit`] met.
pub(super) struct Found {
    /// The directory that it lies in.
    pub(super) parent: Prefix,
    /// Its name there.
    pub(super) name: String,
    /// What the system says about it.
    pub(super) about: FileStat,
}

impl Found {
    /// Its path below the root.
    pub(super) fn path(&self) -> String {
        match self.parent.as_str() {
            "" => self.name.clone(),
            parent => format!("{parent}/{}", self.name),
        }
    }
}

/// Shows `each` every plain file below `prefix` whose name could be a segment of a key, or is
/// `hidden`, until it breaks off. Holds one directory at a time in memory, and the names of those
/// ahead.
pub(super) fn visit(
    root: &Path,
    prefix: &Prefix,
    hidden: fn(&str) -> bool,
    each: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut ahead = vec![prefix.clone()];
    while let Some(parent) = ahead.pop() {
        let Some(dir) = open(root, &parent, Op::List)? else {
            continue;
        };
        let path = root.join(parent.as_str());
        let look_in = dir
            .try_clone()
            .map_err(|e| StoreError::of(Op::List, shown(&path), e))?;
        let wanted = |name: &str| is_segment(name) || hidden(name);
        for (name, kind) in entries_where(dir, &path, Op::List, wanted)? {
            match kind {
                Kind::Directory => match parent.join(&name) {
                    Ok(key) if parent.segments().count() + 1 < MAX_DEPTH => {
                        ahead.push(Prefix::new(key.as_str())?);
                    }
                    _ => {}
                },
                // Ignoring it could hide a file of ours, so it is said instead.
                Kind::Other => {
                    return Err(StoreError::NotAFile {
                        path: shown(&path.join(name)),
                    });
                }
                Kind::File => {
                    let place = shown(&path.join(&name));
                    // One that vanished since it was seen is none.
                    if let Some(about) = look(&look_in, &name, Op::List, &place)? {
                        let parent = parent.clone();
                        if each(Found {
                            parent,
                            name,
                            about,
                        })
                        .is_break()
                        {
                            return Ok(());
                        }
                    }
                }
            }
        }
        if ahead.len() > MAX_LISTED {
            return Err(StoreError::TooMany { path: shown(&path) });
        }
    }
    Ok(())
}

/// What the system says about a name in an open directory, links not followed; `None` when there
/// is nothing.
pub(super) fn look(
    dir: &File,
    name: &str,
    op: Op,
    place: &str,
) -> Result<Option<FileStat>, StoreError> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(about)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(StoreError::of(op, place, errno)),
    }
}

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Other,
}

/// The entries of a directory whose names could be segments of a key; all others are not ours.
pub(super) fn entries(dir: File, path: &Path, op: Op) -> Result<Vec<(String, Kind)>, StoreError> {
    entries_where(dir, path, op, is_segment)
}

fn entries_where(
    dir: File,
    path: &Path,
    op: Op,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Kind)>, StoreError> {
    let fail = |errno: Errno| StoreError::of(op, shown(path), errno);
    let look = dir
        .try_clone()
        .map_err(|e| StoreError::of(op, shown(path), e))?;
    let mut dir = Dir::from_fd(dir.into()).map_err(fail)?;
    let mut found = Vec::new();
    for (seen, entry) in dir.iter().enumerate() {
        let entry = entry.map_err(fail)?;
        if seen > MAX_ENTRIES {
            return Err(StoreError::TooMany { path: shown(path) });
        }
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if !wanted(name) {
            continue;
        }
        let kind = match entry.file_type() {
            Some(Type::File) => Kind::File,
            Some(Type::Directory) => Kind::Directory,
            Some(_) => Kind::Other,
            // NFS may leave the type out.
            None => match fstatat(&look, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(about) => kind_of(SFlag::from_bits_truncate(about.st_mode)),
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(fail(errno)),
            },
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

fn kind_of(mode: SFlag) -> Kind {
    match mode & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFDIR => Kind::Directory,
        _ => Kind::Other,
    }
}

fn opened(
    fd: nix::Result<std::os::fd::OwnedFd>,
    path: &Path,
    op: Op,
) -> Result<Option<File>, StoreError> {
    match fd {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ENOTDIR | Errno::ELOOP) => Err(StoreError::NotADirectory { path: shown(path) }),
        Err(errno) => Err(StoreError::of(op, shown(path), errno)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
