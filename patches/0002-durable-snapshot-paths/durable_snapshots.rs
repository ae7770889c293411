//! Snapshots in a directory that is remote and shared with other nodes.
//!
//! Owns: flushing a copy, the order in which a snapshot becomes visible, names that tell peers apart, and what is read
//! from such a directory while others write in it.

use std::io;
use std::path::Path;

use chrono::NaiveDateTime;
use fs_err as fs;
use tempfile::TempPath;

use crate::operations::snapshot_ops::{SnapshotDescription, get_snapshot_description};
use crate::operations::types::CollectionResult;
use crate::shards::shard::PeerId;

const EXTENSION: &str = ".snapshot";
const TIME_FORMAT: &str = "%Y-%m-%d-%H-%M-%S";
const TIME_LENGTH: usize = "2000-01-01-00-00-00".len();

/// Copies a file and returns once it is on stable storage.
pub async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (from.to_path_buf(), to.to_path_buf());
    tokio::task::spawn_blocking(move || copy_blocking(&from, &to))
        .await
        .map_err(io::Error::other)?
}

fn copy_blocking(from: &Path, to: &Path) -> io::Result<()> {
    let source = fs::File::open(from)?;
    let target = fs::File::create(to)?;
    // Before there is anything to read in it.
    target.set_permissions(source.metadata()?.permissions())?;
    io::copy(&mut source.file(), &mut target.file())?;
    // Through the descriptor that wrote: a network file system reports a failed write there and nowhere else.
    target.sync_all()?;
    sync_folder_of(to)
}

/// Gives an archive and its checksum their names: both flushed before, the checksum first, the directory after.
pub async fn publish(
    archive: TempPath,
    archive_name: &Path,
    checksum: TempPath,
    checksum_name: &Path,
) -> CollectionResult<()> {
    let (archive_name, checksum_name) = (archive_name.to_path_buf(), checksum_name.to_path_buf());
    tokio::task::spawn_blocking(move || {
        publish_blocking(archive, &archive_name, checksum, &checksum_name)
    })
    .await
    .map_err(io::Error::other)??;
    Ok(())
}

fn publish_blocking(
    archive: TempPath,
    archive_name: &Path,
    checksum: TempPath,
    checksum_name: &Path,
) -> io::Result<()> {
    fs::File::open(&archive)?.sync_all()?;
    fs::File::open(&checksum)?.sync_all()?;
    checksum.persist(checksum_name).map_err(|err| err.error)?;
    // Before the archive has its name, or a crash may leave that one alone.
    if let Err(err) = sync_folder_of(checksum_name) {
        withdraw(checksum_name);
        return Err(err);
    }
    if let Err(err) = archive.persist(archive_name) {
        withdraw(checksum_name);
        return Err(err.error);
    }
    if let Err(err) = sync_folder_of(archive_name) {
        withdraw(archive_name);
        withdraw(checksum_name);
        return Err(err);
    }
    Ok(())
}

fn withdraw(path: &Path) {
    if let Err(err) = fs::remove_file(path) {
        log::warn!("Failed to withdraw a snapshot that could not be made durable: {err}");
    }
}

/// A name lasts once its directory is flushed.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        _ if !cfg!(unix) => return Ok(()),
        None => return Ok(()),
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    match fs::File::open(folder)?.sync_all() {
        // File systems without such a notion say so in these two ways.
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Puts the peer in front of the time in a snapshot's name, so that two peers never mean the same file.
pub fn name_of_peer(name: &str, peer: PeerId) -> String {
    match time_at(name) {
        Some((before, time)) => format!("{before}{peer}-{time}{EXTENSION}"),
        None => format!("{peer}-{name}"),
    }
}

/// The time at the end of a snapshot's name, for file systems that keep no creation time.
pub fn time_in_name(name: &str) -> Option<NaiveDateTime> {
    let (_, time) = time_at(name)?;
    NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()
}

/// What is in front of the time in a snapshot's name, and the time.
fn time_at(name: &str) -> Option<(&str, &str)> {
    let stem = name.strip_suffix(EXTENSION)?;
    let (before, time) = stem.split_at_checked(stem.len().checked_sub(TIME_LENGTH)?)?;
    NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?;
    before.ends_with('-').then_some((before, time))
}

/// Describes a snapshot; nothing when somebody deleted it since the directory was read.
pub async fn describe_unless_gone(path: &Path) -> CollectionResult<Option<SnapshotDescription>> {
    let described = get_snapshot_description(path).await;
    match described {
        Ok(description) => Ok(Some(description)),
        Err(err) => match fs::tokio::symlink_metadata(path).await {
            Err(gone) if is_gone(gone.kind()) => Ok(None),
            _ => Err(err),
        },
    }
}

/// Deleted here, or by another client of a network file system.
fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle
    )
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    const NAME: &str = "docs-shard-0-2026-08-04-12-30-59.snapshot";

    #[test]
    fn two_peers_never_mean_the_same_file() {
        assert_eq!(
            name_of_peer(NAME, 7),
            "docs-shard-0-7-2026-08-04-12-30-59.snapshot"
        );
        assert_ne!(name_of_peer(NAME, 7), name_of_peer(NAME, 8));
        assert_eq!(name_of_peer("other.snapshot", 7), "7-other.snapshot");
    }

    #[test]
    fn the_time_is_read_from_names_old_and_new() {
        let time = time_in_name(NAME).unwrap();
        assert_eq!(time.to_string(), "2026-08-04 12:30:59");
        assert_eq!(time_in_name(&name_of_peer(NAME, 7)), Some(time));
        for none in [
            "",
            ".snapshot",
            "2026-08-04-12-30-59.snapshot",
            "docs-2026-13-04-12-30-59.snapshot",
            "docs-2026-08-04-12-30-59",
            "ü-26-08-04-12-30-59.snapshot",
        ] {
            assert_eq!(time_in_name(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_copy_is_whole_and_keeps_its_mode() {
        let folder = tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "archive").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&from, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        copy(&from, &to).await.unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "archive");
        assert_eq!(
            fs::metadata(&to).unwrap().permissions(),
            fs::metadata(&from).unwrap().permissions()
        );
    }

    #[tokio::test]
    async fn a_copy_that_cannot_be_made_is_an_error() {
        let folder = tempdir().unwrap();
        let from = folder.path().join("from");
        fs::write(&from, "archive").unwrap();
        copy(&from, &folder.path().join("missing").join("to"))
            .await
            .unwrap_err();
    }

    fn temporary(folder: &Path, name: &str) -> TempPath {
        let path = folder.join(name);
        fs::write(&path, name).unwrap();
        TempPath::try_from_path(path).unwrap()
    }

    #[tokio::test]
    async fn published_is_the_archive_with_its_checksum() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        publish(
            temporary(folder.path(), "a.tmp"),
            &at("a.snapshot"),
            temporary(folder.path(), "c.tmp"),
            &at("a.snapshot.checksum"),
        )
        .await
        .unwrap();
        assert_eq!(fs::read_to_string(at("a.snapshot")).unwrap(), "a.tmp");
        assert_eq!(
            fs::read_to_string(at("a.snapshot.checksum")).unwrap(),
            "c.tmp"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_published_leaves_nothing() {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // A directory has the name: the archive cannot take it.
        fs::create_dir_all(at("a.snapshot").join("full")).unwrap();
        publish(
            temporary(folder.path(), "a.tmp"),
            &at("a.snapshot"),
            temporary(folder.path(), "c.tmp"),
            &at("a.snapshot.checksum"),
        )
        .await
        .unwrap_err();
        assert!(!at("a.snapshot.checksum").exists());
        assert!(at("a.snapshot").is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    // Of this error upstream makes its own with a call that may block, as of a description below.
    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_flushed_is_not_published() {
        for broken in ["a.tmp", "c.tmp"] {
            let folder = tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let [archive, checksum] = ["a.tmp", "c.tmp"].map(|name| match name == broken {
                // Nothing is behind it that could be flushed, and the kernel says so.
                true => {
                    std::os::unix::fs::symlink("/dev/null", at(name)).unwrap();
                    TempPath::try_from_path(at(name)).unwrap()
                }
                false => temporary(folder.path(), name),
            });
            let (name, sum) = (at("a.snapshot"), at("a.snapshot.checksum"));
            publish(archive, &name, checksum, &sum).await.unwrap_err();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{broken}");
        }
    }

    // Upstream describes a snapshot with calls that may block, which it allows with several threads only.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_deleted_snapshot_is_left_out_of_a_list() {
        let folder = tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(describe_unless_gone(&path).await.unwrap().is_none());
        fs::write(&path, "archive").unwrap();
        let description = describe_unless_gone(&path).await.unwrap().unwrap();
        assert_eq!((description.name.as_str(), description.size), (NAME, 7));
    }
}
