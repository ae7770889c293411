//! What can go wrong with the store, as one line each: what, where, what to do. Owns the
//! translation of operating system errors; decides nothing.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use super::{BadKey, MAX_LISTED};

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Looking whether the place itself is usable.
    Open,
    /// [`super::Store::read`]
    Read,
    /// [`super::Store::create`]
    Create,
    /// [`super::Store::put`]
    Put,
    /// [`super::Store::list`]
    List,
    /// [`super::Store::remove`]
    Remove,
    /// Beginning or going on to write a blob, see [`super::BlobWriter`].
    Write,
    /// [`super::BlobWriter::finish`]
    Publish,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Create => "create",
            Self::Put => "put",
            Self::List => "list",
            Self::Remove => "remove",
            Self::Write => "write",
            Self::Publish => "publish",
        })
    }
}

/// An error of the store. `path` is the file or directory where there is one, else the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A name that no store takes.
    #[error(transparent)]
    BadKey(#[from] BadKey),
    /// A file or a symbolic link stands where a directory is needed.
    #[error("store: {path} is not a directory but a file or a symbolic link; move it away")]
    NotADirectory {
        /// The thing in the way.
        path: String,
    },
    /// A directory, a symbolic link or a special file stands where a record is needed.
    #[error("store: {path} is not a plain file (a directory, link or special file); move it away")]
    NotAFile {
        /// The thing in the way.
        path: String,
    },
    /// The file system is mounted read-only.
    #[error("store: cannot {op} {path}: the file system is read-only; mount it for writing")]
    ReadOnly {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
    },
    /// No space or no quota left.
    #[error("store: cannot {op} {path}: no space or quota left; free some or enlarge it")]
    Full {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
    },
    /// The user of this process may not do it.
    #[error(
        "store: cannot {op} {path}: not permitted; give this task's user (or its EFS access point and task role) read and write access"
    )]
    Permission {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
        /// As the operating system put it.
        source: io::Error,
    },
    /// A value above [`super::MAX_VALUE`], or another limit.
    #[error(
        "store: {path} has {size} bytes, above the limit of {limit}; it is no record of ours: look at it and move it away"
    )]
    TooLarge {
        /// The record.
        path: String,
        /// Its size in bytes; when it grew while being read, what was read so far.
        size: u64,
        /// How many it may have.
        limit: u64,
    },
    /// More names than [`MAX_LISTED`] (or than the walk allows for foreign ones).
    #[error("store: more than {MAX_LISTED} names below {path}; move away what is not ours")]
    TooMany {
        /// The directory.
        path: String,
    },
    /// The place cannot do something that safety needs; nothing weaker is tried instead.
    #[error(
        "store: the file system at {path} refuses {what}, which exclusive records need; use EFS (NFSv4) or a local Unix file system"
    )]
    Unsupported {
        /// The operation that is missing.
        what: &'static str,
        /// Where.
        path: String,
        /// As the operating system put it.
        source: io::Error,
    },
    /// Any other error of the operating system.
    #[error("store: cannot {op} {path}; is the volume mounted and healthy?")]
    Io {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
        /// As the operating system put it.
        source: io::Error,
    },
    /// What the variables of the environment say about a remote store makes no sense.
    #[error("store: {place} cannot be set up; check the AWS_ variables of this task")]
    Settings {
        /// The store.
        place: String,
        /// As its client put it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server that is like S3 and replaces what a conditional write must leave alone.
    #[error(
        "store: the server of {path} does not heed If-None-Match, which exclusive records need; use Amazon S3, or a server that knows conditional writes"
    )]
    Unconditional {
        /// Where that was tried.
        path: String,
    },
    /// The bucket is in another region than we were told.
    #[error("store: the bucket of {path} is in another region than AWS_REGION says; correct it")]
    OtherRegion {
        /// Where something was to be done.
        path: String,
        /// As S3 put it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// ECS gives no credentials.
    #[error(
        "store: no credentials for {path}; does the task definition name a task role, and may ECS take it on?"
    )]
    NoCredentials {
        /// Where something was to be done.
        path: String,
        /// What was answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such bucket.
    #[error("store: the bucket of {path} does not exist; make it, or correct the URL")]
    NoBucket {
        /// Where something was to be done.
        path: String,
    },
    /// A remote store refused, or could not be reached.
    #[error("store: cannot {op} {path}; is it reachable from this task?")]
    Remote {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
        /// As its client put it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A blob above what the place takes.
    #[error("store: {path} has more than {limit} bytes, which this kind of store does not take")]
    BlobTooLarge {
        /// The blob.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A record that was created without an error cannot be found.
    #[error("store: {path} was created but cannot be seen; was the store emptied?")]
    Vanished {
        /// The record.
        path: String,
    },
    /// A blob was to be published under a key that somebody else has filled.
    #[error("store: {path} is there already and is never replaced; nothing was written")]
    AlreadyThere {
        /// The blob.
        path: String,
    },
    /// A blob does not have the size that it should.
    #[error("store: {path} should have {size} bytes and has {found}; did somebody change it?")]
    Incomplete {
        /// The blob.
        path: String,
        /// Its size as it was written or as it was when opened.
        size: u64,
        /// What there is; when it is longer, what was read so far.
        found: u64,
    },
    /// A write was sent and what became of it could not be established.
    #[error(
        "store: {op} of {path} may or may not have taken effect; it must be read before going on"
    )]
    Unclear {
        /// What was being done.
        op: Op,
        /// Where.
        path: String,
        /// What stood in the way.
        source: Box<StoreError>,
    },
    /// No answer within the deadline. A write that ended so never began; one that began gives
    /// [`super::Write::Pending`] or [`StoreError::Unclear`].
    #[error("store: no answer to {op} of {path} after {after:?}; is the volume reachable?")]
    NoAnswer {
        /// What was being done.
        op: Op,
        /// The key or prefix.
        path: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Not tried, since an earlier call still hangs.
    #[error(
        "store: {op} of {path} not tried: {hung} has hung for {since:?}; is the volume reachable?"
    )]
    Busy {
        /// What was to be done.
        op: Op,
        /// The key or prefix.
        path: String,
        /// The call that hangs.
        hung: Op,
        /// For how long.
        since: Duration,
    },
    /// Not tried, since an earlier write is not decided yet.
    #[error(
        "store: {op} of {path} not tried: {hung} has been pending for {since:?} and comes first"
    )]
    StillPending {
        /// What was to be done.
        op: Op,
        /// The key.
        path: String,
        /// The write that is pending.
        hung: Op,
        /// For how long.
        since: Duration,
    },
    /// The call panicked: a defect of this program. What it did is not known.
    #[error("store: {op} of {path} crashed inside this program; please report it")]
    Crashed {
        /// What was being done.
        op: Op,
        /// The key or prefix.
        path: String,
    },
    /// The threads for the store could not be started.
    #[error("store: cannot start a thread; does the task have memory and process ids left?")]
    Thread {
        /// As the operating system put it.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether a write that ended so may have taken effect, now or later. `false`: it did not.
    #[must_use]
    pub const fn is_unclear(&self) -> bool {
        matches!(self, Self::Unclear { .. } | Self::Crashed { .. })
    }

    /// Whether the store is silent (as opposed to answering with an error).
    #[must_use]
    pub const fn is_no_answer(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. } | Self::Busy { .. } | Self::StillPending { .. }
        )
    }

    /// Whether the place cannot be written because it is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.root(), Self::ReadOnly { .. })
    }

    /// Whether space or quota has run out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.root(), Self::Full { .. })
    }

    /// Whether rights are missing.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.root(), Self::Permission { .. })
    }

    /// The cause below any [`StoreError::Unclear`].
    fn root(&self) -> &Self {
        match self {
            Self::Unclear { source, .. } => source.root(),
            other => other,
        }
    }

    /// Names an operating system error of doing `op` at `path`.
    pub(super) fn of(op: Op, path: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.into(), source.into());
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EROFS) => Self::ReadOnly { op, path },
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::Full { op, path },
            Some(Errno::EACCES | Errno::EPERM) => Self::Permission { op, path, source },
            _ => Self::Io { op, path, source },
        }
    }

    /// Says of a writing step's error whether the write may have happened nevertheless: refusals
    /// with a name are final, everything else (time-outs, stale handles, I/O errors) is not.
    pub(super) fn after_sending(self, op: Op) -> Self {
        match self {
            Self::Io { ref path, .. }
            | Self::Remote { ref path, .. }
            | Self::Vanished { ref path } => Self::Unclear {
                op,
                path: path.clone(),
                source: Box::new(self),
            },
            named => named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> StoreError {
        StoreError::of(Op::Put, "members/a.json", errno)
    }

    #[test]
    fn names_what_the_system_says() {
        assert!(of(Errno::EROFS).is_read_only());
        assert!(of(Errno::ENOSPC).is_full() && of(Errno::EDQUOT).is_full());
        assert!(of(Errno::EACCES).is_permission() && of(Errno::EPERM).is_permission());
        assert!(matches!(of(Errno::EIO), StoreError::Io { .. }));
        assert!(matches!(of(Errno::ESTALE), StoreError::Io { .. }));
    }

    #[test]
    fn only_unnamed_errors_leave_a_write_open() {
        assert!(of(Errno::EIO).after_sending(Op::Put).is_unclear());
        assert!(of(Errno::ETIMEDOUT).after_sending(Op::Put).is_unclear());
        assert!(!of(Errno::EROFS).after_sending(Op::Put).is_unclear());
        assert!(!of(Errno::ENOSPC).after_sending(Op::Put).is_unclear());
    }

    #[test]
    fn a_message_says_what_where_and_what_to_do_and_leaves_the_source_to_the_chain() {
        let error = of(Errno::EACCES);
        let text = error.to_string();
        assert!(text.contains("put") && text.contains("members/a.json") && text.contains("give"));
        assert!(!text.contains("denied"), "{text}");
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .contains("denied")
        );
    }
}
