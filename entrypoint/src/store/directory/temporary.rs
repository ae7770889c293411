//! Temporary files of the directory store. Owns their names, their removal, and the sweep of those
//! that a killed writer left behind; touches no other file.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use uuid::Uuid;

use crate::store::key::is_segment;

/// The leading dot keeps them out of the space of keys.
const BEFORE: &str = ".entrypoint-";
const AFTER: &str = ".tmp";
/// For the owner writing, for the group reading.
pub(super) const FILE_MODE: u32 = 0o640;
/// One that has lain this long has no writer any more; a writer that slept longer finds its file
/// gone, gets an error and begins again.
const STALE: Duration = Duration::from_secs(60 * 60);
/// Most entries looked at and most files removed by one sweep, so that it stays short on EFS.
const SWEEP_LOOKS: usize = 1024;
const SWEEP_REMOVALS: usize = 32;

/// Names of blobs that are being written: `.NAME.ID.partial` beside `NAME`.
pub(super) struct Partial;

impl Partial {
    const AFTER: &str = ".partial";

    /// A new one, hidden from the space of keys by its leading dot.
    pub(super) fn name_for(target: &str) -> String {
        format!(".{target}.{}{}", Uuid::new_v4().simple(), Self::AFTER)
    }

    /// The name that such a file is meant for; `None` when it is not one of ours.
    pub(super) fn target(name: &str) -> Option<&str> {
        let (target, id) = name
            .strip_prefix('.')?
            .strip_suffix(Self::AFTER)?
            .rsplit_once('.')?;
        (is_segment(target) && id.len() == 32 && Uuid::try_parse(id).is_ok()).then_some(target)
    }
}

/// A written and synced temporary file, removed when dropped.
pub(super) struct Temporary {
    dir: File,
    name: String,
    there: bool,
}

impl Temporary {
    /// Writes `value` to a new file in `dir`, down to the disk. Gives with it the time of that
    /// write by the clock of the file server.
    pub(super) fn write(dir: File, value: &[u8]) -> io::Result<(Self, Option<SystemTime>)> {
        let name = format!("{BEFORE}{}{AFTER}", Uuid::new_v4().simple());
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(
            &dir,
            name.as_str(),
            flags,
            Mode::from_bits_truncate(FILE_MODE),
        )?;
        let temporary = Self {
            dir,
            name,
            there: true,
        };
        let mut file = File::from(fd);
        file.write_all(value)?;
        file.sync_all()?;
        let now = file.metadata().and_then(|about| about.modified()).ok();
        Ok((temporary, now))
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Says that the name was given away by a rename.
    pub(super) fn given_away(mut self) {
        self.there = false;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.there {
            // What cannot be removed now is swept later.
            let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Removes temporary files of this store in `dir` that are stale at `now`. Both times come from
/// the file server, so clocks of different machines are never compared. Errors are of no
/// consequence: the next process tries again.
pub(super) fn sweep(dir: &File, now: Option<SystemTime>) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Some(now) = now else { return };
    let Ok(mut entries) = Dir::openat(dir, ".", flags, Mode::empty()) else {
        return;
    };
    let stale = entries
        .iter()
        .take(SWEEP_LOOKS)
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned))
        .filter(|name| is_ours(name) && is_stale(dir, name, now))
        .take(SWEEP_REMOVALS);
    for name in stale {
        let _ = unlinkat(dir, name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(BEFORE)
        .and_then(|rest| rest.strip_suffix(AFTER))
        .is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn is_stale(dir: &File, name: &str, now: SystemTime) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let age = || -> io::Result<Option<Duration>> {
        let about = File::from(openat(dir, name, flags, Mode::empty())?).metadata()?;
        Ok(now
            .duration_since(about.modified()?)
            .ok()
            .filter(|_| about.is_file()))
    };
    age().is_ok_and(|age| age.is_some_and(|age| age > STALE))
}
