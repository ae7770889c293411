//! The directory store against the conformance suite and against what may lie in a directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::store::MAX_LISTED;
use crate::store::testing::{conformance, key};

fn place() -> (TempDir, DirectoryStore) {
    let dir = TempDir::new().unwrap();
    let store = DirectoryStore::new(dir.path().join("snapshots/.cluster"));
    (dir, store)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn conforms() {
    conformance::suite(|| {
        let dir = TempDir::new().unwrap();
        Box::new(move || Arc::new(DirectoryStore::new(dir.path().join("store"))))
    });
}

#[test]
fn makes_directories_and_files_readable_by_the_group_and_leaves_no_temporaries() {
    let (_dir, store) = place();
    assert_eq!(
        DirectoryStore::open(store.path())
            .unwrap()
            .list(&Prefix::root())
            .unwrap(),
        []
    );
    assert!(!store.path().exists(), "reading makes nothing");
    assert_eq!(
        store
            .create(&key("generations/000001/claim.json"), b"1")
            .unwrap(),
        Created::Ours
    );
    store.put(&key("members/a.json"), b"1").unwrap();
    let mode = |path: &str| {
        fs::metadata(store.path().join(path))
            .unwrap()
            .permissions()
            .mode()
    };
    // The umask of the test may take away more, never give.
    assert_eq!(mode("") & !0o750 & 0o777, 0);
    assert_eq!(mode("generations/000001/claim.json") & !0o640 & 0o777, 0);
    assert_eq!(mode("generations/000001/claim.json") & 0o600, 0o600);
    assert_eq!(
        names(&store.path().join("generations/000001")),
        ["claim.json"]
    );
    assert_eq!(names(&store.path().join("members")), ["a.json"]);
}

#[test]
fn a_file_in_place_of_a_directory_is_named() {
    let (dir, store) = place();
    fs::write(dir.path().join("snapshots"), "").unwrap();
    let error = DirectoryStore::open(store.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::NotADirectory { .. }),
        "{error:?}"
    );
    let (_dir, store) = place();
    assert_eq!(store.create(&key("members"), b"1").unwrap(), Created::Ours);
    for error in [
        store.read(&key("members/a")).map(drop).unwrap_err(),
        store.create(&key("members/a"), b"1").map(drop).unwrap_err(),
        store.put(&key("members/a"), b"1").unwrap_err(),
        store.remove(&key("members/a")).map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(error, StoreError::NotADirectory { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("/members is not a directory"),
            "{error}"
        );
    }
}

#[test]
fn links_are_refused_everywhere_below_and_at_the_root() {
    let (dir, store) = place();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("a.json"), "theirs").unwrap();
    assert_eq!(
        store.create(&key("identity.json"), b"1").unwrap(),
        Created::Ours
    );
    symlink(&elsewhere, store.path().join("members")).unwrap();
    symlink(elsewhere.join("a.json"), store.path().join("link.json")).unwrap();
    let error = store.read(&key("members/a.json")).unwrap_err();
    assert!(
        matches!(error, StoreError::NotADirectory { .. }),
        "{error:?}"
    );
    let error = store.put(&key("members/b.json"), b"1").unwrap_err();
    assert!(
        matches!(error, StoreError::NotADirectory { .. }),
        "{error:?}"
    );
    for error in [
        store.read(&key("link.json")).map(drop).unwrap_err(),
        store.create(&key("link.json"), b"1").map(drop).unwrap_err(),
        store.list(&Prefix::root()).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
    }
    assert_eq!(names(&elsewhere), ["a.json"]);

    let linked = dir.path().join("linked");
    symlink(store.path(), &linked).unwrap();
    for root in [linked.clone(), linked.join("")] {
        let error = DirectoryStore::open(&root).unwrap_err();
        assert!(
            matches!(error, StoreError::NotADirectory { .. }),
            "{error:?}"
        );
    }
    let dangling = dir.path().join("dangling");
    symlink(dir.path().join("nowhere"), &dangling).unwrap();
    let error = DirectoryStore::new(&dangling)
        .put(&key("a"), b"1")
        .unwrap_err();
    assert!(
        matches!(error, StoreError::NotADirectory { .. }),
        "{error:?}"
    );
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn what_is_no_record_is_refused_without_hanging() {
    let (_dir, store) = place();
    store.put(&key("members/a.json"), b"1").unwrap();
    fs::create_dir(store.path().join("claim.json")).unwrap();
    nix::unistd::mkfifo(&store.path().join("fifo.json"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(store.path().join("socket.json")).unwrap();
    for name in ["claim.json", "fifo.json", "socket.json"] {
        let error = store.read(&key(name)).unwrap_err();
        assert!(
            matches!(error, StoreError::NotAFile { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(name), "{error}");
        let error = store.create(&key(name), b"1").unwrap_err();
        assert!(
            matches!(error, StoreError::NotAFile { .. }),
            "{name}: {error:?}"
        );
    }
    let error = store.put(&key("claim.json"), b"1").unwrap_err();
    assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
    let error = store.remove(&key("claim.json")).unwrap_err();
    assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
    assert_eq!(
        names(store.path()),
        ["claim.json", "fifo.json", "members", "socket.json"]
    );
}

#[test]
fn oversized_files_are_refused_and_truncated_ones_given_as_they_are() {
    let (_dir, store) = place();
    store.put(&key("a"), b"1").unwrap();
    fs::write(store.path().join("big"), vec![0; MAX_VALUE + 1]).unwrap();
    fs::write(store.path().join("cut"), "{\"tok").unwrap();
    let error = store.read(&key("big")).unwrap_err();
    assert!(
        error.to_string().contains("/big has 65537 bytes"),
        "{error}"
    );
    assert!(matches!(
        store.create(&key("big"), b"1"),
        Err(StoreError::TooLarge { .. })
    ));
    assert_eq!(
        store.read(&key("cut")).unwrap().as_deref(),
        Some(&b"{\"tok"[..])
    );
    assert_eq!(
        store.create(&key("cut"), b"1").unwrap(),
        Created::Exists(b"{\"tok".to_vec())
    );
    assert_eq!(
        fs::metadata(store.path().join("big")).unwrap().len(),
        MAX_VALUE as u64 + 1
    );
}

#[test]
fn foreign_names_are_ignored_and_too_many_keys_are_an_error() {
    let (_dir, store) = place();
    store.put(&key("members/a"), b"1").unwrap();
    fs::write(store.path().join(".nfs0001"), "").unwrap();
    fs::write(store.path().join("read me.txt"), "").unwrap();
    fs::create_dir_all(store.path().join("lost+found")).unwrap();
    fs::create_dir_all(store.path().join("1/2/3/4/5/6/7/8/9")).unwrap();
    fs::write(store.path().join("1/2/3/4/5/6/7/8/9/x"), "").unwrap();
    assert_eq!(store.list(&Prefix::root()).unwrap(), [key("members/a")]);
    for n in 0..MAX_LISTED {
        fs::write(store.path().join(format!("members/{n}")), "").unwrap();
    }
    let error = store.list(&Prefix::root()).unwrap_err();
    assert!(matches!(error, StoreError::TooMany { .. }), "{error:?}");
    fs::remove_file(store.path().join("members/0")).unwrap();
    assert_eq!(store.list(&Prefix::root()).unwrap().len(), MAX_LISTED);
}

#[test]
fn leftovers_of_a_killed_writer_are_ignored_and_swept_when_stale() {
    let (_dir, store) = place();
    store.put(&key("members/a"), b"1").unwrap();
    let members = store.path().join("members");
    let leave = |name: &str, age: Duration| {
        let file = fs::File::create(members.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let (young, hour) = (Duration::from_secs(60), Duration::from_secs(3700));
    let id = |n: u8| uuid::Uuid::from_bytes([n; 16]).simple().to_string();
    leave(&format!(".entrypoint-{}.tmp", id(1)), young);
    leave(&format!(".entrypoint-{}.tmp", id(2)), hour);
    leave(".entrypoint-mine.tmp", hour);
    leave(".somebody.tmp", hour);
    assert_eq!(store.list(&Prefix::root()).unwrap(), [key("members/a")]);
    // This process has swept already; the next one does it with its first write.
    store.put(&key("members/a"), b"2").unwrap();
    assert_eq!(names(&members).len(), 5);
    DirectoryStore::new(store.path())
        .put(&key("members/a"), b"3")
        .unwrap();
    let young = format!(".entrypoint-{}.tmp", id(1));
    assert_eq!(
        names(&members),
        [&young, ".entrypoint-mine.tmp", ".somebody.tmp", "a"]
    );
}

#[test]
fn the_verdict_is_what_is_there_and_not_what_was_returned() {
    let failed = |errno: Errno| link_error(Op::Create, "/p", errno);
    let judge = |linked, seen: Result<Option<&[u8]>, StoreError>| {
        verdict(
            "/p",
            b"ours",
            linked,
            || Ok(()),
            seen.map(|seen| seen.map(<[u8]>::to_vec)),
        )
    };
    // An error that hid a success, and a success that was somebody else's.
    assert_eq!(
        judge(Err(failed(Errno::EIO)), Ok(Some(b"ours"))).unwrap(),
        Created::Ours
    );
    assert_eq!(
        judge(Err(failed(Errno::EEXIST)), Ok(Some(b"ours"))).unwrap(),
        Created::Ours
    );
    let theirs = Created::Exists(b"theirs".to_vec());
    assert_eq!(judge(Ok(()), Ok(Some(b"theirs"))).unwrap(), theirs);
    assert_eq!(
        judge(Err(failed(Errno::EEXIST)), Ok(Some(b"theirs"))).unwrap(),
        theirs
    );
    // Nothing there: refusals are final, all else stays open.
    assert!(judge(Ok(()), Ok(None)).unwrap_err().is_unclear());
    assert!(
        judge(Err(failed(Errno::EIO)), Ok(None))
            .unwrap_err()
            .is_unclear()
    );
    assert!(
        judge(Err(failed(Errno::EEXIST)), Ok(None))
            .unwrap_err()
            .is_unclear()
    );
    assert!(
        !judge(Err(failed(Errno::EROFS)), Ok(None))
            .unwrap_err()
            .is_unclear()
    );
    for errno in [Errno::EPERM, Errno::EOPNOTSUPP, Errno::ENOSYS] {
        let error = judge(Err(failed(errno)), Ok(None)).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("refuses hard links"), "{error}");
    }
    // Not readable, or not durable: open.
    let unread = StoreError::of(Op::Create, "/p", Errno::ESTALE);
    assert!(judge(Ok(()), Err(unread)).unwrap_err().is_unclear());
    let unsynced = || Err(StoreError::of(Op::Create, "/p", Errno::ENOSPC));
    let error = verdict("/p", b"ours", Ok(()), unsynced, Ok(Some(b"ours".to_vec()))).unwrap_err();
    assert!(error.is_unclear() && error.is_full(), "{error:?}");
}
