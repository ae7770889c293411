//! The task's own disk: what is seen, marked, freed and never freed.

use super::*;
use planner::ids::{GenerationId, PeerId, StoreId};
use planner::records::Stage;

fn stamp() -> Stamp {
    let generation = GenerationId {
        number: 3,
        token: "t".into(),
    };
    Stamp {
        founder: Some(PeerId(7)),
        stage: Stage::Member,
        ..Stamp::founding(StoreId::from("s"), generation, None, false)
    }
}

fn with_data() -> (tempfile::TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path().join("storage")).unwrap();
    disk.write_stamp(&stamp()).unwrap();
    let storage = dir.path().join("storage");
    fs::create_dir_all(storage.join("collections/c/0")).unwrap();
    fs::write(
        storage.join("raft_state.json"),
        r#"{"state":{"hard_state":{"term":4,"vote":1,"commit":9},"conf_state":{"voters":[11,12],"learners":[]}},"this_peer_id":11}"#,
    )
    .unwrap();
    (dir, disk)
}

#[test]
fn a_new_disk_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path().join("a/b")).unwrap();
    assert_eq!(disk.look().unwrap(), View::EMPTY);
}

#[test]
fn what_is_written_is_seen() {
    let (_dir, disk) = with_data();
    let seen = disk.look().unwrap();
    assert_eq!(seen.stamp, Some(stamp()));
    assert!(seen.joined && seen.collections && !seen.aside);
    assert_eq!(seen.peer_id, Some(PeerId(11)));
    assert_eq!(seen.voters, [PeerId(11), PeerId(12)].into());
    assert_eq!(seen.commit, Some(9));
}

#[test]
fn a_stamp_of_an_earlier_version_is_read() {
    let (_dir, disk) = with_data();
    let old = r#"{"format":1,"store_id":"s","generation":{"number":3,"token":"t"},"previous":null,"founder":7,"stage":"member"}"#;
    fs::write(disk.ours().join(STAMP), old).unwrap();
    assert_eq!(disk.look().unwrap().stamp, Some(stamp()));
}

#[test]
fn a_discard_leaves_nothing_but_what_was_set_aside_before() {
    let (_dir, disk) = with_data();
    disk.set_aside("000003-t").unwrap();
    assert!(disk.look().unwrap().aside);
    fs::write(
        disk.storage.join("raft_state.json"),
        r#"{"state":{"hard_state":{"term":0}},"this_peer_id":1}"#,
    )
    .unwrap();
    disk.discard().unwrap();
    let seen = disk.look().unwrap();
    assert_eq!((seen.stamp, seen.joined, seen.aside), (None, false, true));
    assert!(disk.ours().join("aside/000003-t/collections/c/0").is_dir());
}

#[test]
fn setting_aside_twice_keeps_both() {
    let (_dir, disk) = with_data();
    disk.set_aside("x").unwrap();
    fs::create_dir_all(disk.storage.join("collections/d")).unwrap();
    disk.set_aside("x").unwrap();
    assert!(disk.ours().join("aside/x/collections/c").is_dir());
    assert!(disk.ours().join("aside/x.2/collections/d").is_dir());
}

/// What a power loss leaves after each step of setting aside, in the order of the steps.
#[test]
fn an_interrupted_setting_aside_is_finished() {
    for steps in 0..=5 {
        let (_dir, disk) = with_data();
        let aside = disk.ours().join("aside/y");
        let stamp = disk.ours().join(STAMP);
        let copy = aside.join(STAMP);
        let mut todo: Vec<Box<dyn Fn()>> = Vec::new();
        todo.push(Box::new(|| fs::create_dir_all(&aside).unwrap()));
        for name in ["collections", "raft_state.json"] {
            let (from, to) = (disk.storage.join(name), aside.join(name));
            todo.push(Box::new(move || fs::rename(&from, &to).unwrap()));
        }
        todo.push(Box::new(|| assert!(fs::copy(&stamp, &copy).is_ok())));
        todo.push(Box::new(|| fs::remove_file(&stamp).unwrap()));
        disk.write(FREEING, b"y").unwrap();
        todo.iter().take(steps).for_each(|step| step());
        assert!(disk.finish().unwrap(), "after {steps} steps");
        let seen = disk.look().unwrap();
        assert_eq!(
            (seen.stamp, seen.collections, seen.joined, seen.aside),
            (None, false, false, true),
            "after {steps} steps"
        );
        for kept in ["collections/c/0", "raft_state.json", STAMP] {
            assert!(aside.join(kept).exists(), "{kept} after {steps} steps");
        }
        assert!(!disk.finish().unwrap(), "after {steps} steps");
    }
}

/// The same for a discard, of a disk without collections.
#[test]
fn an_interrupted_discard_is_finished() {
    for steps in 0..=2 {
        let (_dir, disk) = with_data();
        fs::remove_dir_all(disk.storage.join("collections")).unwrap();
        disk.write(FREEING, b"").unwrap();
        if steps > 0 {
            fs::remove_file(disk.storage.join("raft_state.json")).unwrap();
        }
        if steps > 1 {
            fs::remove_file(disk.ours().join(STAMP)).unwrap();
        }
        assert!(disk.finish().unwrap());
        assert_eq!(disk.look().unwrap(), View::EMPTY, "after {steps} steps");
    }
}

#[test]
fn an_old_mark_never_removes_collections() {
    let (_dir, disk) = with_data();
    disk.write(FREEING, b"").unwrap();
    for error in [disk.finish().map(drop), disk.discard()] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("never removed"), "{error}");
    }
    assert!(disk.storage.join("collections/c/0").is_dir());
    assert_eq!(disk.look().unwrap().stamp, Some(stamp()));
}

#[test]
fn a_failed_setting_aside_is_not_turned_into_a_discard() {
    let (_dir, disk) = with_data();
    disk.write(FREEING, b"z").unwrap();
    let aside = disk.ours().join("aside/z");
    fs::create_dir_all(&aside).unwrap();
    fs::rename(disk.storage.join("collections"), aside.join("collections")).unwrap();
    disk.discard().unwrap();
    assert!(aside.join("collections/c/0").is_dir());
    assert!(aside.join("raft_state.json").is_file());
}

#[test]
fn a_mount_among_qdrants_files_is_not_touched() {
    let (_dir, disk) = with_data();
    // What looks like it to stat(2), without mounting anything: /proc is another file system.
    let other = Disk {
        storage: PathBuf::from("/"),
    };
    let error = other.ours_alone("x").unwrap_err().to_string();
    assert!(error.contains("another file system"), "{error}");
    disk.ours_alone("x").unwrap();
}

#[test]
fn a_record_that_is_too_large_is_named() {
    let (_dir, disk) = with_data();
    let path = disk.ours().join(STAMP);
    fs::write(&path, vec![b' '; 65 << 10]).unwrap();
    let error = disk.look().unwrap_err().to_string();
    assert!(error.contains("larger than 65536 bytes"), "{error}");
}

#[test]
fn broken_records_are_named_and_nothing_is_touched() {
    let (_dir, disk) = with_data();
    fs::write(disk.ours().join(STAMP), "{\"format\":1").unwrap();
    let error = disk.look().unwrap_err().to_string();
    assert!(
        error.contains("stamp.json") && error.contains("repaired"),
        "{error}"
    );
    fs::write(
        disk.ours().join(STAMP),
        serde_json::to_vec(&Stamp {
            format: 99,
            ..stamp()
        })
        .unwrap(),
    )
    .unwrap();
    let error = disk.look().unwrap_err().to_string();
    assert!(error.contains("newer"), "{error}");
    assert!(disk.storage.join("collections/c/0").is_dir());
}
