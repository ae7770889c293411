//! Blobs against what may lie in a directory, and what becomes of writers that die.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::store::MAX_LISTED;
use crate::store::read_through;
use crate::store::testing::key;

const HOUR: Duration = Duration::from_secs(3600);

fn place() -> (TempDir, DirectoryStore) {
    let dir = TempDir::new().unwrap();
    let store = DirectoryStore::new(dir.path().join("snapshots"));
    (dir, store)
}

fn write(store: &DirectoryStore, name: &str, content: &[u8]) -> Result<Stored, StoreError> {
    let mut writer = store.begin(&key(name))?;
    writer.write(content)?;
    writer.finish()
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_readable_by_the_group_and_have_one_name() {
    use std::os::unix::fs::MetadataExt as _;
    let (_dir, store) = place();
    write(&store, "sets/1/a", b"1").unwrap();
    let about = fs::metadata(store.path().join("sets/1/a")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o640);
    assert_eq!(about.nlink(), 1);
    assert_eq!(names(&store.path().join("sets/1")), ["a"]);
}

#[test]
fn a_writer_at_work_has_a_hidden_file_beside_the_key() {
    let (_dir, store) = place();
    let mut writer = store.begin(&key("sets/1/a.snapshot")).unwrap();
    writer.write(b"12345").unwrap();
    let seen = names(&store.path().join("sets/1"));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with(".a.snapshot.") && seen[0].ends_with(".partial"));
    assert_eq!(Partial::target(&seen[0]), Some("a.snapshot"));
    let left = store.leftovers(&Prefix::root()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].key.as_str(), left[0].size),
        ("sets/1/a.snapshot", 5)
    );
    assert_eq!(left[0].name, seen[0]);
    drop(writer);
    assert_eq!(names(&store.path().join("sets/1")), [""; 0]);
}

#[test]
fn only_old_leftovers_of_our_own_naming_are_removed() {
    let (_dir, store) = place();
    write(&store, "sets/1/a", b"1").unwrap();
    let dir = store.path().join("sets/1");
    let id = |n: u8| uuid::Uuid::from_bytes([n; 16]).simple().to_string();
    let leave = |name: &str, age: Duration| {
        let file = fs::File::create(dir.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let (old, young) = (
        format!(".b.{}.partial", id(1)),
        format!(".b.{}.partial", id(2)),
    );
    leave(&old, 2 * HOUR);
    leave(&young, HOUR / 2);
    let foreign = [
        ".b.partial",
        ".b.123.partial",
        ".b.swp",
        ".nfs0001",
        &format!("..{}.partial", id(3)),
    ];
    for name in foreign {
        leave(name, 2 * HOUR);
    }
    symlink("a", dir.join(format!(".c.{}.partial", id(4)))).unwrap();
    assert!(matches!(
        store.leftovers(&Prefix::root()),
        Err(StoreError::NotAFile { .. })
    ));
    fs::remove_file(dir.join(format!(".c.{}.partial", id(4)))).unwrap();

    let mut left = store.leftovers(&Prefix::new("sets").unwrap()).unwrap();
    left.sort_by_key(|leftover| leftover.age);
    assert_eq!(
        left.iter().map(|l| l.name.clone()).collect::<Vec<_>>(),
        [young.clone(), old.clone()]
    );
    assert!(
        left[1].age >= 2 * HOUR && left[1].age < 3 * HOUR,
        "{left:?}"
    );
    assert!(!store.remove_leftover(&left[0], HOUR).unwrap());
    assert!(store.remove_leftover(&left[1], HOUR).unwrap());
    assert!(!store.remove_leftover(&left[1], HOUR).unwrap());
    // One that was written to since it was listed is alive.
    leave(&old, Duration::ZERO);
    assert!(!store.remove_leftover(&left[1], HOUR).unwrap());
    // A name that was made up does nothing.
    let made_up = Leftover {
        name: "a".into(),
        ..left[0].clone()
    };
    assert!(!store.remove_leftover(&made_up, Duration::ZERO).unwrap());
    let mut expected: Vec<_> = foreign.iter().map(|name| (*name).to_owned()).collect();
    expected.extend([old, young, "a".to_owned()]);
    expected.sort();
    assert_eq!(names(&dir), expected);
}

#[test]
fn links_are_never_followed() {
    let (outside, store) = place();
    write(&store, "sets/1/a", b"1").unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "outside").unwrap();
    symlink(&secret, store.path().join("sets/1/link")).unwrap();
    let error = store.blob(&key("sets/1/link")).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
    assert!(matches!(
        write(&store, "sets/1/link", b"x"),
        Err(StoreError::AlreadyThere { .. })
    ));
    let each = &mut |_| ControlFlow::Continue(());
    let error = store.blobs(&Prefix::root(), each).unwrap_err();
    assert!(error.to_string().contains("sets/1/link"), "{error}");
    symlink(outside.path(), store.path().join("sets/2")).unwrap();
    for error in [
        write(&store, "sets/2/a", b"x").map(drop).unwrap_err(),
        store.blob(&key("sets/2/secret")).map(drop).unwrap_err(),
        store
            .remove_blob(&key("sets/2/secret"))
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, StoreError::NotADirectory { .. }),
            "{error:?}"
        );
    }
    assert_eq!(fs::read_to_string(secret).unwrap(), "outside");
    assert_eq!(names(outside.path()), ["secret", "snapshots"]);
}

#[test]
fn folders_are_real_directories_of_names_that_could_be_ours() {
    let (outside, store) = place();
    write(&store, "sets/1/a", b"1").unwrap();
    let sets = store.path().join("sets");
    for name in [".hidden", "with space", "2"] {
        fs::create_dir(sets.join(name)).unwrap();
    }
    symlink(outside.path(), sets.join("link")).unwrap();
    fs::write(sets.join("file"), "1").unwrap();
    let prefix = Prefix::new("sets").unwrap();
    assert_eq!(store.folders(&prefix).unwrap(), ["1", "2"]);
    for n in 0..MAX_LISTED {
        fs::create_dir(sets.join(format!("more-{n}"))).unwrap();
    }
    let error = store.folders(&prefix).unwrap_err();
    assert!(matches!(error, StoreError::TooMany { .. }), "{error:?}");
    // What lies in the way of a folder is said, and not taken for none.
    let error = store.folders(&Prefix::new("sets/file").unwrap());
    assert!(matches!(error, Err(StoreError::NotADirectory { .. })));
}

#[test]
fn a_folder_with_anything_in_it_stays() {
    let (_dir, store) = place();
    write(&store, "sets/1/a", b"1").unwrap();
    let theirs = store.path().join("sets/1/.theirs");
    fs::write(&theirs, "1").unwrap();
    assert!(store.remove_blob(&key("sets/1/a")).unwrap());
    assert_eq!(names(&store.path().join("sets/1")), [".theirs"]);
    fs::remove_file(theirs).unwrap();
    // Asked again, as one does whose answer was lost.
    assert!(!store.remove_blob(&key("sets/1/a")).unwrap());
    assert_eq!(names(store.path()), [""; 0]);
}

#[test]
fn a_link_that_appears_before_the_end_is_not_written_through() {
    let (outside, store) = place();
    let mut writer = store.begin(&key("sets/1/a")).unwrap();
    writer.write(b"ours").unwrap();
    let elsewhere = outside.path().join("elsewhere");
    symlink(&elsewhere, store.path().join("sets/1/a")).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(error, StoreError::AlreadyThere { .. }),
        "{error:?}"
    );
    assert!(!elsewhere.exists());
}

#[test]
fn a_writer_whose_file_was_taken_away_says_so() {
    let (_dir, store) = place();
    let mut writer = store.begin(&key("sets/1/a")).unwrap();
    writer.write(b"ours").unwrap();
    let dir = store.path().join("sets/1");
    fs::remove_file(dir.join(&names(&dir)[0])).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    assert!(store.blob(&key("sets/1/a")).unwrap().is_none());
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_file_that_changes_size_is_not_believed() {
    let (_dir, store) = place();
    let mut writer = store.begin(&key("sets/1/a")).unwrap();
    writer.write(b"ours").unwrap();
    let dir = store.path().join("sets/1");
    fs::write(dir.join(&names(&dir)[0]), "longer than it was").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, StoreError::Incomplete { .. }), "{error:?}");
    assert_eq!(names(&dir), [""; 0]);

    write(&store, "sets/1/b", &[7; 300_000]).unwrap();
    for length in [1000, 400_000] {
        let mut reader = store.blob(&key("sets/1/b")).unwrap().unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(dir.join("b"))
            .unwrap();
        file.set_len(length).unwrap();
        let error = read_through(reader.as_mut(), |_| Ok::<_, StoreError>(())).unwrap_err();
        assert!(matches!(error, StoreError::Incomplete { .. }), "{error:?}");
        file.set_len(300_000).unwrap();
    }
}

#[test]
fn what_is_there_decides_and_not_what_was_returned() {
    let (dir, _store) = place();
    let file = |name: &str| {
        let path = dir.path().join(name);
        fs::write(&path, name).unwrap();
        fstat(fs::File::open(path).unwrap()).unwrap()
    };
    let (ours, theirs) = (file("ours"), file("theirs"));
    let failed = |errno| Err(link_error(Op::Publish, "/p", errno));
    // An error that hid a success, and a success that was somebody else's.
    for linked in [Ok(()), failed(Errno::EIO), failed(Errno::EEXIST)] {
        verdict("/p", &ours, linked, Ok(Some(ours))).unwrap();
    }
    for linked in [Ok(()), failed(Errno::EEXIST)] {
        let error = verdict("/p", &ours, linked, Ok(Some(theirs))).unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyThere { .. }),
            "{error:?}"
        );
    }
    // Nothing there: refusals are final, all else stays open.
    for linked in [Ok(()), failed(Errno::EIO), failed(Errno::EEXIST)] {
        assert!(
            verdict("/p", &ours, linked, Ok(None))
                .unwrap_err()
                .is_unclear()
        );
    }
    let error = verdict("/p", &ours, failed(Errno::EROFS), Ok(None)).unwrap_err();
    assert!(error.is_read_only() && !error.is_unclear(), "{error:?}");
    let unread = Err(StoreError::of(Op::Publish, "/p", Errno::ESTALE));
    assert!(
        verdict("/p", &ours, Ok(()), unread)
            .unwrap_err()
            .is_unclear()
    );
}
