//! A directory seen through FUSE, so that it can be slow, hang or refuse writes like EFS does.
//! Owns: passing operations through and the fault in front of them. Must not: keep data.
//!
//! FUSE and not a trick in the entrypoint: the product has no test hooks, and only a file system
//! can make `open(2)` of an ordinary path hang the way a hard NFS mount hangs it.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::Fault;
use super::translate::{attributes, kind, options};
use crate::lock;

/// How often a hang looks whether its asker was killed.
const LOOK_FOR_KILLED: Duration = Duration::from_millis(50);
/// Nothing is cached by the kernel, so that every operation meets the fault.
const NOW: Duration = Duration::ZERO;

/// What an operation does, as far as a fault cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Nothing is changed.
    Look,
    /// No more space is needed for it.
    Change,
    /// More is stored afterwards.
    Add,
    /// … of the file of a shard.
    Shard,
}

/// What the hidden name of a shard's file holds while it is written.
const SHARD: &str = ".shard.";

/// The fault in force, shared with the scenario.
#[derive(Debug, Default)]
pub struct Gate {
    fault: Mutex<Fault>,
    changed: Condvar,
}

impl Gate {
    /// Puts another fault in force; operations that hang go on.
    pub fn set(&self, fault: Fault) {
        *lock(&self.fault) = fault;
        self.changed.notify_all();
    }

    /// Waits as the fault wants it. Like a hard NFS mount, a hang lets go of who is killed: else the
    /// kernel would keep the dead process, and nobody would notice its end.
    fn pass(&self, touch: Touch, asker: u32) -> io::Result<()> {
        let mut fault = lock(&self.fault);
        loop {
            match *fault {
                Fault::None => return Ok(()),
                Fault::Slow(delay) => {
                    drop(fault);
                    std::thread::sleep(delay);
                    return Ok(());
                }
                Fault::ReadOnly if touch != Touch::Look => {
                    return Err(io::Error::from_raw_os_error(30));
                }
                Fault::Full if matches!(touch, Touch::Add | Touch::Shard) => {
                    return Err(io::Error::from_raw_os_error(28));
                }
                Fault::Stall if touch != Touch::Shard => return Ok(()),
                Fault::ReadOnly | Fault::Full => return Ok(()),
                Fault::Hang | Fault::Stall if is_killed(asker) => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Fault::Hang | Fault::Stall => {
                    fault = self
                        .changed
                        .wait_timeout(fault, LOOK_FOR_KILLED)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }
}

/// Whether SIGKILL waits for this thread, or it is gone.
fn is_killed(thread: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else {
        return true;
    };
    const KILL: u64 = 1 << 8;
    status
        .lines()
        .filter_map(|line| {
            line.strip_prefix("SigPnd:")
                .or(line.strip_prefix("ShdPnd:"))
        })
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & KILL != 0)
}

/// The file system.
pub struct Through {
    root: PathBuf,
    gate: Arc<Gate>,
    names: Mutex<HashMap<u64, BTreeSet<PathBuf>>>,
    open: Mutex<HashMap<u64, Arc<File>>>,
    shards: Mutex<BTreeSet<u64>>,
    handles: AtomicU64,
}

impl Through {
    /// Shows `root` through `gate`.
    pub fn new(root: PathBuf, gate: Arc<Gate>) -> Self {
        let (names, open, shards) = Default::default();
        Self {
            root,
            gate,
            names,
            open,
            shards,
            handles: AtomicU64::new(1),
        }
    }

    fn path(&self, node: INodeNo) -> io::Result<PathBuf> {
        if node == INodeNo::ROOT {
            return Ok(self.root.clone());
        }
        let names = lock(&self.names);
        let known = names.get(&node.0).into_iter().flatten();
        let mut alive = known.filter(|path| {
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == node.0)
        });
        alive
            .next()
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    fn remember(&self, path: &Path) -> io::Result<FileAttr> {
        let metadata = fs::symlink_metadata(path)?;
        lock(&self.names)
            .entry(metadata.ino())
            .or_default()
            .insert(path.to_owned());
        Ok(attributes(&metadata, path == self.root))
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = self.handles.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        lock(&self.open)
            .get(&handle.0)
            .cloned()
            .ok_or_else(|| io::Error::from_raw_os_error(9))
    }

    fn attributes_of(&self, node: INodeNo, handle: Option<FileHandle>) -> io::Result<FileAttr> {
        let metadata = match handle.and_then(|handle| self.file(handle).ok()) {
            Some(file) => file.metadata()?,
            None => fs::symlink_metadata(self.path(node)?)?,
        };
        Ok(attributes(&metadata, node == INodeNo::ROOT))
    }

    fn list(&self, node: INodeNo) -> io::Result<Vec<(u64, FileType, std::ffi::OsString)>> {
        let mut all = vec![
            (node.0, FileType::Directory, ".".into()),
            (node.0, FileType::Directory, "..".into()),
        ];
        for entry in fs::read_dir(self.path(node)?)? {
            let entry = entry?;
            // A file may vanish between listing and looking: then it is not listed.
            if let Ok(metadata) = entry.path().symlink_metadata() {
                all.push((metadata.ino(), kind(&metadata), entry.file_name()));
            }
        }
        Ok(all)
    }
}

/// Runs one operation behind the gate and sends its answer.
macro_rules! answer {
    ($self:ident, $request:ident, $touch:expr, $reply:ident, $work:block, |$value:pat_param| $send:expr) => {{
        let result = $self
            .gate
            .pass($touch, $request.pid())
            .and_then(|()| -> io::Result<_> { $work });
        match result {
            Ok($value) => $send,
            Err(error) => $reply.error(Errno::from(error)),
        }
    }};
}

impl Filesystem for Through {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(
            self,
            request,
            Touch::Look,
            reply,
            { self.remember(&self.child(parent, name)?) },
            |attr| { reply.entry(&NOW, &attr, Generation(0)) }
        );
    }

    fn getattr(
        &self,
        request: &Request,
        node: INodeNo,
        handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        answer!(
            self,
            request,
            Touch::Look,
            reply,
            { self.attributes_of(node, handle) },
            |attr| { reply.attr(&NOW, &attr) }
        );
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let work = || {
            if let Some(mode) = mode {
                fs::set_permissions(self.path(node)?, Permissions::from_mode(mode))?;
            }
            if let Some(size) = size {
                OpenOptions::new()
                    .write(true)
                    .open(self.path(node)?)?
                    .set_len(size)?;
            }
            self.attributes_of(node, handle)
        };
        answer!(self, request, Touch::Change, reply, { work() }, |attr| {
            reply.attr(&NOW, &attr)
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let work = || {
            let path = self.child(parent, name)?;
            fs::DirBuilder::new().mode(mode & !umask).create(&path)?;
            self.remember(&path)
        };
        answer!(self, request, Touch::Add, reply, { work() }, |attr| reply
            .entry(&NOW, &attr, Generation(0)));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(
            self,
            request,
            Touch::Change,
            reply,
            { fs::remove_file(self.child(parent, name)?) },
            |()| reply.ok()
        );
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(
            self,
            request,
            Touch::Change,
            reply,
            { fs::remove_dir(self.child(parent, name)?) },
            |()| reply.ok()
        );
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let work = || {
            if !flags.is_empty() {
                return Err(io::ErrorKind::InvalidInput.into()); // as NFS answers RENAME_NOREPLACE
            }
            let to = self.child(to_parent, to_name)?;
            fs::rename(self.child(parent, name)?, &to)?;
            self.remember(&to).map(|_| ())
        };
        answer!(self, request, Touch::Change, reply, { work() }, |()| reply
            .ok());
    }

    fn link(
        &self,
        request: &Request,
        node: INodeNo,
        to_parent: INodeNo,
        to_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let work = || {
            let to = self.child(to_parent, to_name)?;
            fs::hard_link(self.path(node)?, &to)?;
            self.remember(&to)
        };
        answer!(self, request, Touch::Change, reply, { work() }, |attr| {
            reply.entry(&NOW, &attr, Generation(0))
        });
    }

    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let work = || Ok(self.keep(options(flags.0).open(self.path(node)?)?));
        answer!(
            self,
            request,
            match flags.0 & 0o3 {
                0 => Touch::Look,
                _ => Touch::Change,
            },
            reply,
            { work() },
            |handle| { reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO) }
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let work = || {
            let path = self.child(parent, name)?;
            let mut how = options(flags);
            how.write(true).mode(mode & !umask);
            match flags & 0o200 {
                0 => how.create(true),
                _ => how.create_new(true),
            };
            let file = self.keep(how.open(&path)?);
            if name.to_string_lossy().contains(SHARD) {
                lock(&self.shards).insert(file.0);
            }
            Ok((self.remember(&path)?, file))
        };
        answer!(self, request, Touch::Add, reply, { work() }, |(
            attr,
            handle,
        )| {
            reply.created(
                &NOW,
                &attr,
                Generation(0),
                handle,
                FopenFlags::FOPEN_DIRECT_IO,
            )
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let work = || {
            let mut buffer = vec![0; size as usize];
            let length = self.file(handle)?.read_at(&mut buffer, offset)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        answer!(self, request, Touch::Look, reply, { work() }, |buffer| {
            reply.data(&buffer)
        });
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let work = || self.file(handle)?.write_all_at(data, offset);
        let touch = match lock(&self.shards).contains(&handle.0) {
            true => Touch::Shard,
            false => Touch::Add,
        };
        answer!(self, request, touch, reply, { work() }, |()| reply
            .written(data.len() as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.open).remove(&handle.0);
        lock(&self.shards).remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, request: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(
            self,
            request,
            Touch::Change,
            reply,
            { self.file(handle)?.sync_all() },
            |()| { reply.ok() }
        );
    }

    fn fsyncdir(&self, request: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(self, request, Touch::Change, reply, { Ok(()) }, |()| reply
            .ok());
    }

    fn readdir(
        &self,
        request: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        answer!(
            self,
            request,
            Touch::Look,
            reply,
            { self.list(node) },
            |entries| {
                for (at, (inode, kind, name)) in
                    entries.into_iter().enumerate().skip(offset as usize)
                {
                    if reply.add(INodeNo(inode), at as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
        );
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // EFS reports 8 EiB.
        let blocks = 1 << 43;
        reply.statfs(blocks, blocks, blocks, 0, 0, 1 << 20, 255, 1 << 20);
    }
}
