//! The part of the suite about blobs.

use std::ops::ControlFlow;
use std::sync::Barrier;
use std::thread;

use super::{Case, Opener};
use crate::store::testing::key;
use crate::store::{
    BlobStore, Created, Listed, MAX_VALUE, Prefix, StoreError, Stored, read_through, sha256,
};

pub(super) const CASES: &[(&str, Case)] = &[
    ("no blob is there at first", nothing_at_first),
    ("what was written is read by all", written_is_read_by_all),
    (
        "a blob is invisible until it is whole",
        invisible_until_whole,
    ),
    ("a dropped writer leaves nothing", dropped_leaves_nothing),
    ("a blob is never replaced", never_replaced),
    ("one winner of 6 writers of one blob", one_winner),
    ("blobs are listed with their sizes", listed_with_sizes),
    ("folders are told by one look", folders_of_one_level),
    ("a removed blob is gone", removed_is_gone),
    ("a folder that holds nothing is none", emptied_is_none),
    ("what is there can be settled", settled),
    ("records and blobs share their names", one_space_of_names),
];

/// Bytes that differ everywhere, so that none can be swapped or missing unnoticed.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

fn write(store: &dyn BlobStore, name: &str, content: &[u8]) -> Result<Stored, StoreError> {
    let mut writer = store.begin(&key(name))?;
    // Of an odd length, so that no boundary of the store falls on one of ours.
    for part in content.chunks(70_001) {
        writer.write(part)?;
    }
    writer.finish()
}

fn read(store: &dyn BlobStore, name: &str) -> Option<(Stored, Vec<u8>)> {
    let mut reader = store.blob(&key(name)).unwrap()?;
    let size = reader.size();
    let mut content = Vec::new();
    let stored = read_through(reader.as_mut(), |part| {
        content.extend_from_slice(part);
        Ok::<_, StoreError>(())
    })
    .unwrap();
    assert_eq!(stored.size, size, "{name}");
    Some((stored, content))
}

fn list(store: &dyn BlobStore, prefix: &Prefix) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let each = &mut |Listed { key, size }: Listed| {
        found.push((key.to_string(), size));
        ControlFlow::Continue(())
    };
    store.blobs(prefix, each).unwrap();
    found.sort();
    found
}

fn is_taken(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyThere { .. }) && !error.is_unclear()
}

fn nothing_at_first(open: &Opener) {
    let store = open();
    assert!(store.blob(&key("sets/1/a")).unwrap().is_none());
    assert_eq!(list(store.as_ref(), &Prefix::root()), []);
    assert_eq!(list(store.as_ref(), &Prefix::new("sets").unwrap()), []);
    assert!(!store.remove_blob(&key("sets/1/a")).unwrap());
    assert_eq!(store.leftovers(&Prefix::root()).unwrap(), []);
}

fn written_is_read_by_all(open: &Opener) {
    const MIB: usize = 1024 * 1024;
    let (one, two) = (open(), open());
    // Around the sizes at which stores begin a new part or window.
    let sizes = [0, 1, 70_001, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB];
    let content = bytes(17 * MIB);
    for (n, &size) in sizes.iter().enumerate() {
        let content = &content[..size];
        let name = format!("sets/1/{n}.snapshot");
        let stored = write(one.as_ref(), &name, content).unwrap();
        assert_eq!(stored.size, size as u64);
        assert_eq!(stored.sha256, sha256(content));
        for store in [&one, &two] {
            let (again, read) = read(store.as_ref(), &name).unwrap();
            assert_eq!(again, stored, "{name}");
            assert!(read == content, "{name}: other bytes");
        }
    }
    assert_eq!(one.leftovers(&Prefix::root()).unwrap(), []);
}

fn invisible_until_whole(open: &Opener) {
    let (one, two) = (open(), open());
    let mut writer = one.begin(&key("sets/1/a")).unwrap();
    writer.write(&bytes(9_000_000)).unwrap();
    assert!(two.blob(&key("sets/1/a")).unwrap().is_none());
    assert_eq!(list(two.as_ref(), &Prefix::root()), []);
    assert_eq!(two.list(&Prefix::root()).unwrap(), []);
    writer.write(b"end").unwrap();
    writer.finish().unwrap();
    let whole = [("sets/1/a".to_owned(), 9_000_003)];
    assert_eq!(list(two.as_ref(), &Prefix::root()), whole);
    assert_eq!(two.list(&Prefix::root()).unwrap(), [key("sets/1/a")]);
}

fn dropped_leaves_nothing(open: &Opener) {
    let store = open();
    for length in [0, 10, 9_000_000] {
        let mut writer = store.begin(&key("sets/1/a")).unwrap();
        writer.write(&bytes(length)).unwrap();
        drop(writer);
        assert!(store.blob(&key("sets/1/a")).unwrap().is_none());
        assert_eq!(list(store.as_ref(), &Prefix::root()), []);
        assert_eq!(store.leftovers(&Prefix::root()).unwrap(), []);
    }
    write(store.as_ref(), "sets/1/a", b"1").unwrap();
}

fn never_replaced(open: &Opener) {
    let (one, two) = (open(), open());
    for (name, length) in [("small", 10), ("large", 9_000_000)] {
        let (first, second) = (bytes(length), bytes(length + 1));
        let mut early = one.begin(&key(name)).unwrap();
        let mut late = two.begin(&key(name)).unwrap();
        early.write(&first).unwrap();
        late.write(&second).unwrap();
        early.finish().unwrap();
        let error = late.finish().unwrap_err();
        assert!(is_taken(&error), "{name}: {error:?}");
        let error = two.begin(&key(name)).map(drop).unwrap_err();
        assert!(is_taken(&error), "{name}: {error:?}");
        assert_eq!(read(two.as_ref(), name).unwrap().0.sha256, sha256(&first));
    }
    assert_eq!(one.leftovers(&Prefix::root()).unwrap(), []);
}

fn one_winner(open: &Opener) {
    const WRITERS: usize = 6;
    let start = Barrier::new(WRITERS);
    let all: Vec<Result<Stored, StoreError>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|me| {
                let (start, store) = (&start, open());
                scope.spawn(move || {
                    let mut writer = store.begin(&key("sets/1/a")).unwrap();
                    writer.write(format!("writer {me}").as_bytes()).unwrap();
                    start.wait();
                    writer.finish()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{lost:?}");
    assert!(
        lost.iter().all(|lost| lost.as_ref().is_err_and(is_taken)),
        "{lost:?}"
    );
    let winner = won.into_iter().next().unwrap().unwrap();
    assert_eq!(read(open().as_ref(), "sets/1/a").unwrap().0, winner);
}

fn listed_with_sizes(open: &Opener) {
    let store = open();
    let names = [
        ("sets/1/a", 3),
        ("sets/1/b", 0),
        ("sets/2/a", 70_002),
        ("sets-old/a", 1),
        ("top", 2),
    ];
    for (name, size) in names {
        write(store.as_ref(), name, &bytes(size)).unwrap();
    }
    let all = names.map(|(name, size)| (name.to_owned(), size as u64));
    let mut sorted = all.to_vec();
    sorted.sort();
    assert_eq!(list(store.as_ref(), &Prefix::root()), sorted);
    assert_eq!(
        list(store.as_ref(), &Prefix::new("sets/1").unwrap()),
        all[..2]
    );
    assert_eq!(list(store.as_ref(), &Prefix::new("set").unwrap()), []);
    let mut seen = 0;
    let each = &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    store.blobs(&Prefix::root(), each).unwrap();
    assert_eq!(seen, 1);
}

fn folders(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    let prefix = match prefix {
        "" => Prefix::root(),
        prefix => Prefix::new(prefix).unwrap(),
    };
    store.folders(&prefix).unwrap()
}

fn folders_of_one_level(open: &Opener) {
    let store = open();
    assert_eq!(folders(store.as_ref(), ""), [""; 0]);
    assert_eq!(folders(store.as_ref(), "sets"), [""; 0]);
    for name in [
        "sets/b/x/y",
        "sets/a/x",
        "sets/a/z/x",
        "sets/file",
        "sets-old/c/x",
        "top",
    ] {
        write(store.as_ref(), name, b"1").unwrap();
    }
    assert_eq!(folders(store.as_ref(), ""), ["sets", "sets-old"]);
    assert_eq!(folders(store.as_ref(), "sets"), ["a", "b"]);
    assert_eq!(folders(store.as_ref(), "sets/a"), ["z"]);
    assert_eq!(folders(store.as_ref(), "sets/a/z"), [""; 0]);
    assert_eq!(folders(store.as_ref(), "set"), [""; 0]);
}

fn emptied_is_none(open: &Opener) {
    let store = open();
    for name in ["sets/1/a", "sets/1/deep/b", "sets/2/a"] {
        write(store.as_ref(), name, b"1").unwrap();
    }
    let remove = |name| assert!(store.remove_blob(&key(name)).unwrap(), "{name}");
    remove("sets/1/a");
    assert_eq!(folders(store.as_ref(), "sets"), ["1", "2"]);
    remove("sets/1/deep/b");
    assert_eq!(folders(store.as_ref(), "sets"), ["2"]);
    remove("sets/2/a");
    assert_eq!(folders(store.as_ref(), ""), [""; 0]);
    write(store.as_ref(), "sets/1/a", b"2").unwrap();
    assert_eq!(folders(store.as_ref(), "sets"), ["1"]);
}

fn settled(open: &Opener) {
    let store = open();
    store.settle(&key("sets/1/a")).unwrap();
    write(store.as_ref(), "sets/1/a", b"1").unwrap();
    store.settle(&key("sets/1/a")).unwrap();
    assert_eq!(read(store.as_ref(), "sets/1/a").unwrap().1, b"1");
}

fn removed_is_gone(open: &Opener) {
    let (one, two) = (open(), open());
    write(one.as_ref(), "sets/1/a", b"1").unwrap();
    assert!(two.remove_blob(&key("sets/1/a")).unwrap());
    assert!(!one.remove_blob(&key("sets/1/a")).unwrap());
    assert!(one.blob(&key("sets/1/a")).unwrap().is_none());
    write(two.as_ref(), "sets/1/a", b"2").unwrap();
    assert_eq!(read(one.as_ref(), "sets/1/a").unwrap().1, b"2");
}

fn one_space_of_names(open: &Opener) {
    let store = open();
    assert_eq!(store.create(&key("a"), b"record").unwrap(), Created::Ours);
    let error = store.begin(&key("a")).map(drop).unwrap_err();
    assert!(is_taken(&error), "{error:?}");
    assert_eq!(read(store.as_ref(), "a").unwrap().1, b"record");
    write(store.as_ref(), "b", b"blob").unwrap();
    assert_eq!(
        store.create(&key("b"), b"record").unwrap(),
        Created::Exists(b"blob".to_vec())
    );
    write(store.as_ref(), "c", &bytes(MAX_VALUE + 1)).unwrap();
    let error = store.read(&key("c")).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
}
