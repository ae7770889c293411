//! The file of one shard: whole and read back, or not there; and one thread that hangs at most.

use std::fs;
use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use planner::heal::names::ShardId;
use planner::keep::ids::CollectionIndex;
use planner::keep::layout::Entry;
use tokio::time::timeout;

use super::sample::{PEER, SET, set};
use super::{Bench, LONG, SHORT, bench};
use crate::archive::{Fault as Broken, tests::small};
use crate::keep::{FileError, FileWriter, Shelf};
use crate::store::testing::{Fault, Gate, key};
use crate::store::{BlobStore as _, Op, StoreError, Stored, sha256};

const INDEX: CollectionIndex = CollectionIndex(0);

pub(super) async fn begin(shelf: &Shelf, shard: u32) -> Result<FileWriter, FileError> {
    shelf.file(set(SET), INDEX, ShardId(shard), PEER).await
}

fn name(shard: u32) -> String {
    format!("sets/{SET}/c000/s{shard}-1.shard")
}

async fn push_all(file: &mut FileWriter, bytes: &[u8], length: usize) -> Result<(), FileError> {
    for piece in bytes.chunks(length) {
        file.push(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

pub(super) async fn write(shelf: &Shelf, shard: u32, bytes: &[u8]) -> Result<Stored, FileError> {
    let mut file = begin(shelf, shard).await?;
    push_all(&mut file, bytes, 4096).await?;
    file.finish().await
}

/// Begins a file, however long the thread of the one before needs to end.
async fn once_free(shelf: &Shelf, shard: u32) -> Result<FileWriter, FileError> {
    let end = Instant::now() + LONG;
    loop {
        match begin(shelf, shard).await {
            Err(FileError::Stuck { .. }) if Instant::now() < end => {
                tokio::task::yield_now().await;
            }
            begun => return begun,
        }
    }
}

/// Lets a call that a test has waited for at a gate begin while the runtime goes on.
pub(super) async fn arrival(gate: &Gate) {
    let gate = gate.clone();
    tokio::task::spawn_blocking(move || gate.wait_for_arrival())
        .await
        .unwrap();
}

#[track_caller]
fn hangs(error: &FileError, wanted: Op) {
    let FileError::Hangs { op, since, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*op, wanted);
    assert!(*since >= SHORT);
}

#[tokio::test]
async fn a_whole_archive_becomes_a_file() {
    let bench = bench(LONG);
    let bytes = small(3_000_000);
    for (shard, length) in [(0, 512), (1, 70_001), (2, bytes.len())] {
        let mut file = begin(&bench.shelf, shard).await.unwrap();
        assert_eq!(file.path(), name(shard));
        push_all(&mut file, &bytes, length).await.unwrap();
        file.push(Bytes::new()).await.unwrap();
        // Nothing is to be seen before its end.
        let inside = bench.other().entries(set(SET)).await.unwrap();
        assert_eq!(inside.ours.len(), shard as usize);
        let stored = file.finish().await.unwrap();
        let whole = Stored {
            size: bytes.len() as u64,
            sha256: sha256(&bytes),
        };
        assert_eq!(stored, whole);
        let there = fs::read(bench.dir.path().join(name(shard))).unwrap();
        assert!(there == bytes, "other bytes");
    }
    let inside = bench.shelf.entries(set(SET)).await.unwrap();
    let last = Entry::Payload(INDEX, ShardId(2), PEER);
    assert_eq!(inside.ours.last(), Some(&(last, bytes.len() as u64)));
    assert_eq!(bench.files(), [name(0), name(1), name(2)]);
}

#[tokio::test]
async fn an_archive_that_broke_off_never_becomes_visible() {
    let bench = bench(LONG);
    let bytes = small(0);
    for cut in [1, 512, 1024, 5000, bytes.len()] {
        let error = write(&bench.shelf, 0, &bytes[..bytes.len() - cut])
            .await
            .unwrap_err();
        let FileError::Refused { path, refusal } = &error else {
            panic!("{cut}: {error:?}");
        };
        assert_eq!(*path, name(0));
        assert!(refusal.at <= (bytes.len() - cut) as u64, "{refusal}");
        assert_eq!(error.to_string().lines().count(), 1);
        assert_eq!(bench.files(), [""; 0]);
    }
    // The name is free for another attempt.
    write(&bench.shelf, 0, &bytes).await.unwrap();
}

#[tokio::test]
async fn what_is_no_archive_is_refused_before_its_end() {
    let bench = bench(LONG);
    let mut file = begin(&bench.shelf, 0).await.unwrap();
    let error = loop {
        if let Err(error) = file.push(Bytes::from_static(&[b'x'; 600])).await {
            break error;
        }
    };
    let FileError::Refused { refusal, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((refusal.at, &refusal.fault), (0, &Broken::Checksum));
    let error = file.push(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, FileError::Over { .. }), "{error:?}");
    let error = file.finish().await.unwrap_err();
    assert!(matches!(error, FileError::Over { .. }), "{error:?}");
    assert_eq!(bench.files(), [""; 0]);
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_nothing() {
    let bench = bench(LONG);
    let bytes = small(0);
    for _ in 0..3 {
        let mut file = begin(&bench.shelf, 0).await.unwrap();
        push_all(&mut file, &bytes, 4096).await.unwrap();
        drop(file);
    }
    // The next one waits until the thread before it has cleared up.
    let file = begin(&bench.shelf, 1).await.unwrap();
    let files = bench.files();
    assert!(
        files.len() == 1 && files[0].contains(".s1-1.shard."),
        "{files:?}"
    );
    drop(file);
    drop(begin(&bench.shelf, 0).await.unwrap());
    write(&bench.shelf, 0, &bytes).await.unwrap();
    assert_eq!(bench.files(), [name(0)]);
}

#[tokio::test]
async fn a_file_that_is_there_is_left_alone() {
    let bench = bench(LONG);
    let bytes = small(0);
    write(&bench.shelf, 0, &bytes).await.unwrap();
    let error = begin(&bench.other(), 0).await.unwrap_err();
    let FileError::AlreadyThere { path } = &error else {
        panic!("{error:?}");
    };
    assert!(path.ends_with(&name(0)), "{path}");
    // Somebody is quicker.
    let mut late = begin(&bench.shelf, 1).await.unwrap();
    push_all(&mut late, &bytes, 4096).await.unwrap();
    let theirs = small(1);
    write(&bench.other(), 1, &theirs).await.unwrap();
    let error = late.finish().await.unwrap_err();
    assert!(matches!(error, FileError::AlreadyThere { .. }), "{error:?}");
    let there = fs::read(bench.dir.path().join(name(1))).unwrap();
    assert!(there == theirs, "other bytes");
    assert_eq!(bench.files(), [name(0), name(1)]);
}

#[tokio::test]
async fn one_file_is_written_at_a_time() {
    let bench = bench(SHORT);
    let file = begin(&bench.shelf, 0).await.unwrap();
    let error = begin(&bench.shelf, 1).await.unwrap_err();
    let FileError::Occupied { path, by } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((path, by), (&name(1), &name(0)));
    // One that waits for a slow source does not hang.
    assert_eq!(file.stalled(), std::time::Duration::ZERO);
    assert_eq!(bench.shelf.stuck(), []);
    drop(file);
    begin(&bench.shelf, 1).await.unwrap();
}

#[tokio::test]
async fn refusals_of_the_store_end_the_file() {
    let bench = bench(LONG);
    let bytes = small(0);
    bench.store.inject(Op::Write, Fault::Full);
    let error = begin(&bench.shelf, 0).await.unwrap_err();
    assert!(
        matches!(&error, FileError::Store(e) if e.is_full()),
        "{error:?}"
    );
    for _ in 0..2 {
        bench.store.inject(Op::Write, Fault::Pass);
    }
    bench.store.inject(Op::Write, Fault::Full);
    let error = write(&bench.shelf, 0, &bytes).await.unwrap_err();
    assert!(
        matches!(&error, FileError::Store(e) if e.is_full()),
        "{error:?}"
    );
    let mut file = begin(&bench.shelf, 0).await.unwrap();
    bench.store.set_read_only(true);
    let pushed = push_all(&mut file, &bytes, 4096).await;
    let error = match pushed {
        Ok(()) => file.finish().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(
        matches!(&error, FileError::Store(e) if e.is_read_only()),
        "{error:?}"
    );
    bench.store.set_read_only(false);
    assert_eq!(bench.files(), [""; 0]);
    write(&bench.shelf, 0, &bytes).await.unwrap();
}

#[tokio::test]
async fn an_unclear_end_is_an_error_though_the_file_may_be_there() {
    let bench = bench(LONG);
    bench.store.inject(Op::Publish, Fault::ErrorAfter);
    let error = write(&bench.shelf, 0, &small(0)).await.unwrap_err();
    assert!(
        matches!(&error, FileError::Store(e) if e.is_unclear()),
        "{error:?}"
    );
    assert_eq!(bench.files(), [name(0)]);
    // Read back in vain.
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    let error = write(&bench.shelf, 1, &small(0)).await.unwrap_err();
    assert!(
        matches!(error, FileError::Store(StoreError::Io { .. })),
        "{error:?}"
    );
}

/// Something happens to the file before it is read back.
async fn read_back_after(
    bench: &Bench,
    bytes: &[u8],
    change: impl FnOnce(),
) -> Result<Stored, FileError> {
    let gate = Gate::default();
    bench.store.inject(Op::Read, Fault::Hang(gate.clone()));
    let (shelf, bytes) = (bench.shelf.clone(), bytes.to_vec());
    let writing = tokio::spawn(async move { write(&shelf, 0, &bytes).await });
    arrival(&gate).await;
    change();
    gate.open();
    writing.await.unwrap()
}

#[tokio::test]
async fn a_store_that_gives_other_bytes_is_found_out() {
    let bench = bench(LONG);
    let path = bench.dir.path().join(name(0));
    let bytes = small(5000);
    // A bit of content, which no archive would miss.
    let mut other = bytes.clone();
    let blank = bytes.windows(900).position(|part| part == [b' '; 900]);
    other[blank.unwrap() + 450] ^= 1;
    let changed = read_back_after(&bench, &bytes, || fs::write(&path, &other).unwrap());
    let error = changed.await.unwrap_err();
    let FileError::Differs { written, read, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(written.sha256, sha256(&bytes));
    assert_eq!(read.sha256, sha256(&other));
    assert_eq!(bench.files(), [name(0)]);

    fs::remove_file(&path).unwrap();
    let cut = read_back_after(&bench, &bytes, || fs::write(&path, &bytes[..9000]).unwrap());
    let error = cut.await.unwrap_err();
    assert!(matches!(error, FileError::Differs { .. }), "{error:?}");
    fs::remove_file(&path).unwrap();
    let gone = read_back_after(&bench, &bytes, || fs::remove_file(&path).unwrap());
    let error = gone.await.unwrap_err();
    assert!(
        matches!(error, FileError::Store(StoreError::Vanished { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_hung_write_ends_the_file_and_holds_up_only_other_files() {
    let bench = bench(SHORT);
    let bytes = small(100_000);
    let gate = Gate::default();
    bench.store.inject(Op::Write, Fault::Pass);
    bench.store.inject(Op::Write, Fault::Hang(gate.clone()));
    let mut file = begin(&bench.shelf, 0).await.unwrap();
    let error = push_all(&mut file, &bytes, 4096).await.unwrap_err();
    hangs(&error, Op::Write);
    assert!(file.stalled() >= SHORT);
    drop(file);
    for _ in 0..50 {
        let error = begin(&bench.shelf, 1).await.unwrap_err();
        let FileError::Stuck {
            path,
            hung: Op::Write,
            by,
            since,
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((path, by), (&name(1), &name(0)));
        assert!(*since >= SHORT);
    }
    assert_eq!(bench.shelf.stuck().len(), 1);
    // Records go on; so far two threads were in the store.
    bench.shelf.sets().await.unwrap();
    assert!(bench.store.most_inside() <= 2);
    gate.open();
    let mut file = once_free(&bench.shelf, 1).await.unwrap();
    push_all(&mut file, &bytes, 70_001).await.unwrap();
    file.finish().await.unwrap();
    assert_eq!(bench.files(), [name(1)]);
}

#[tokio::test]
async fn hangs_are_bounded_at_every_step() {
    let bytes = small(0);
    // Beginning, publishing, reading back.
    for (op, visible) in [(Op::Write, false), (Op::Publish, true), (Op::Read, true)] {
        let bench = bench(SHORT);
        let gate = Gate::default();
        bench.store.inject(op, Fault::Hang(gate.clone()));
        let error = write(&bench.shelf, 0, &bytes).await.unwrap_err();
        hangs(&error, op);
        gate.open();
        // When the thread is back its file is there, or it has cleared up.
        drop(once_free(&bench.shelf, 1).await.unwrap());
        let there = bench.store.blob(&key(&name(0))).unwrap().is_some();
        assert_eq!(there, visible, "{op}");
    }
}

#[tokio::test]
async fn a_push_that_was_not_awaited_to_its_end_ends_the_file() {
    let bench = bench(LONG);
    let gate = Gate::default();
    bench.store.inject(Op::Write, Fault::Pass);
    bench.store.inject(Op::Write, Fault::Hang(gate.clone()));
    let mut file = begin(&bench.shelf, 0).await.unwrap();
    let bytes = small(100_000);
    let pushing = push_all(&mut file, &bytes, 4096);
    assert!(given_up(pushing, &gate).await);
    let error = file.push(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, FileError::Over { .. }), "{error:?}");
    gate.open();
    drop(begin(&bench.shelf, 1).await.unwrap());
    assert_eq!(bench.store.blob(&key(&name(0))).unwrap().map(|_| ()), None);
}

/// Polls until a call waits at the gate and then once more, and gives up.
async fn given_up(work: impl Future<Output = Result<(), FileError>>, gate: &Gate) -> bool {
    tokio::pin!(work);
    tokio::select! {
        biased;
        _ = &mut work => return false,
        () = arrival(gate) => {}
    }
    timeout(std::time::Duration::ZERO, work).await.is_err()
}

#[tokio::test]
async fn a_panic_in_the_store_is_an_error_and_the_next_file_goes_on() {
    let bench = bench(LONG);
    for passes in 0..3 {
        (0..passes).for_each(|_| bench.store.inject(Op::Write, Fault::Pass));
        bench.store.inject(Op::Write, Fault::Panic);
        let error = write(&bench.shelf, 0, &small(0)).await.unwrap_err();
        let FileError::Store(error) = &error else {
            panic!("{error:?}");
        };
        assert!(error.is_unclear(), "{error:?}");
    }
    write(&bench.shelf, 0, &small(0)).await.unwrap();
    assert_eq!(bench.files(), [name(0)]);
}
