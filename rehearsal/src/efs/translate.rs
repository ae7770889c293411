//! Between the kernel's words and the standard library's: attributes, kinds, open flags.
//! Owns: the translation. Must not: touch a file.

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

/// What kind of thing it is.
pub(super) fn kind(metadata: &Metadata) -> FileType {
    if metadata.is_dir() {
        FileType::Directory
    } else if metadata.is_symlink() {
        FileType::Symlink
    } else {
        FileType::RegularFile
    }
}

/// Its attributes as FUSE wants them; the root has a number of its own.
pub(super) fn attributes(metadata: &Metadata, root: bool) -> FileAttr {
    let time = |at: io::Result<SystemTime>| at.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: if root {
            INodeNo::ROOT
        } else {
            INodeNo(metadata.ino())
        },
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.modified()),
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(metadata),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// How to open a file for the flags of an `open(2)`.
pub(super) fn options(flags: i32) -> OpenOptions {
    let mode = flags & 0o3; // O_ACCMODE
    let mut options = OpenOptions::new();
    options.read(mode != 1).write(mode != 0);
    // O_CREAT, O_EXCL, O_TRUNC: the kernel turns append into offsets, and asks for the others
    // explicitly.
    options.custom_flags(flags & (0o200 | 0o1000));
    options
}
