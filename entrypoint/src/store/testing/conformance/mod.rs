//! The conformance suite: what every [`Store`] and [`BlobStore`] must do, whatever it stands on. A
//! new kind of store calls [`suite`] with a function that opens the same place again and again.

mod blobs;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::{Fault, FaultyStore, Gate, key};
use crate::store::{BlobStore, Created, MAX_VALUE, Op, Prefix, Store, StoreError};

/// Opens another handle to one and the same place, which was empty at first.
pub(crate) type Opener = dyn Fn() -> Arc<dyn BlobStore> + Send + Sync;

type Case = fn(&Opener);

/// Runs every case, each at a place of its own that `fresh` makes.
pub(crate) fn suite(fresh: impl Fn() -> Box<Opener>) {
    let cases: &[(&str, Case)] = &[
        ("nothing is there at first", nothing_at_first),
        ("created is read by all", created_is_read_by_all),
        ("the first creator wins for ever", first_creator_wins),
        (
            "one winner of 16 threads for each of 50 keys",
            one_winner_each,
        ),
        ("put replaces and is visible", put_replaces),
        ("readers never see half a value", never_half_a_value),
        ("list gives exactly what lies below", lists_below),
        ("values are bounded", values_are_bounded),
        ("removed is gone", removed_is_gone),
        (
            "an error that hid a success is undone by asking again",
            hidden_success,
        ),
        (
            "an error without effect leaves the place free",
            error_without_effect,
        ),
        (
            "a late write does not displace the winner",
            late_write_loses,
        ),
        (
            "a late write that finds the place free is found",
            late_write_lands,
        ),
        ("a read-only store still reads", read_only_reads),
    ];
    for (name, case) in cases.iter().chain(blobs::CASES) {
        println!("case: {name}");
        case(&*fresh());
    }
}

fn nothing_at_first(open: &Opener) {
    let store = open();
    assert_eq!(store.read(&key("identity.json")).unwrap(), None);
    assert_eq!(
        store.read(&key("generations/000001/claim.json")).unwrap(),
        None
    );
    assert_eq!(store.list(&Prefix::root()).unwrap(), []);
    assert_eq!(store.list(&Prefix::new("members").unwrap()).unwrap(), []);
    assert!(!store.remove(&key("members/a.json")).unwrap());
}

fn created_is_read_by_all(open: &Opener) {
    let (one, two) = (open(), open());
    let claim = key("generations/000001/claim.json");
    assert_eq!(two.read(&claim).unwrap(), None);
    assert_eq!(one.create(&claim, b"token 1").unwrap(), Created::Ours);
    assert_eq!(one.read(&claim).unwrap().as_deref(), Some(&b"token 1"[..]));
    assert_eq!(two.read(&claim).unwrap().as_deref(), Some(&b"token 1"[..]));
    assert_eq!(open().list(&Prefix::root()).unwrap(), [claim]);
}

fn first_creator_wins(open: &Opener) {
    let (one, two) = (open(), open());
    let claim = key("claim.json");
    assert_eq!(one.create(&claim, b"one").unwrap(), Created::Ours);
    assert_eq!(
        two.create(&claim, b"two").unwrap(),
        Created::Exists(b"one".to_vec())
    );
    // Asked again, because an answer may have been lost.
    assert_eq!(one.create(&claim, b"one").unwrap(), Created::Ours);
    assert_eq!(
        two.create(&claim, b"two").unwrap(),
        Created::Exists(b"one".to_vec())
    );
    // Also against an empty value and the beginning of one.
    assert_eq!(
        two.create(&claim, b"").unwrap(),
        Created::Exists(b"one".to_vec())
    );
    assert_eq!(
        two.create(&claim, b"on").unwrap(),
        Created::Exists(b"one".to_vec())
    );
}

fn one_winner_each(open: &Opener) {
    const THREADS: usize = 16;
    const KEYS: usize = 50;
    let barrier = Barrier::new(THREADS);
    let verdicts: Vec<Vec<Created>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (store, barrier) = (open(), &barrier);
                scope.spawn(move || {
                    let create = |n: usize| {
                        barrier.wait();
                        let claim = key(&format!("generations/{n:06}/claim.json"));
                        store
                            .create(&claim, format!("token {me}").as_bytes())
                            .unwrap()
                    };
                    (0..KEYS).map(create).collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let store = open();
    for n in 0..KEYS {
        let claim = key(&format!("generations/{n:06}/claim.json"));
        let stored = store.read(&claim).unwrap().unwrap();
        let winners: Vec<usize> = (0..THREADS)
            .filter(|&me| verdicts[me][n] == Created::Ours)
            .collect();
        assert_eq!(winners.len(), 1, "winners of {claim}: {winners:?}");
        assert_eq!(
            stored,
            format!("token {}", winners[0]).into_bytes(),
            "{claim}"
        );
        for (me, verdict) in verdicts
            .iter()
            .enumerate()
            .filter(|(me, _)| *me != winners[0])
        {
            assert_eq!(
                verdict[n],
                Created::Exists(stored.clone()),
                "{claim}, thread {me}"
            );
        }
    }
    assert_eq!(store.list(&Prefix::root()).unwrap().len(), KEYS);
}

fn put_replaces(open: &Opener) {
    let (one, two) = (open(), open());
    let beat = key("members/task-1.json");
    for n in 0..3 {
        one.put(&beat, format!("beat {n}").as_bytes()).unwrap();
        assert_eq!(
            two.read(&beat).unwrap(),
            Some(format!("beat {n}").into_bytes())
        );
    }
    assert_eq!(
        two.create(&beat, b"x").unwrap(),
        Created::Exists(b"beat 2".to_vec())
    );
    assert_eq!(one.list(&Prefix::root()).unwrap(), [beat]);
}

fn never_half_a_value(open: &Opener) {
    let (writer, reader) = (open(), open());
    let beat = key("members/task-1.json");
    // Of different lengths, so that a mixture cannot look whole.
    let values: Vec<Vec<u8>> = (1..=4_u8).map(|n| vec![n; usize::from(n) * 9000]).collect();
    writer.put(&beat, &values[0]).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let seen = reader.read(&beat).unwrap().expect("never absent");
                let first = seen.first().copied().unwrap_or_default();
                assert!(values.contains(&seen), "{} bytes of {first}", seen.len());
            }
        });
        for n in 0..60 {
            writer.put(&beat, &values[n % values.len()]).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

fn lists_below(open: &Opener) {
    let store = open();
    let names = [
        "identity.json",
        "members/a.json",
        "members/b.json",
        "members-old/c.json",
        "m/n/o/p/q/r/s/t",
    ];
    for name in names {
        assert_eq!(
            store.create(&key(name), name.as_bytes()).unwrap(),
            Created::Ours
        );
    }
    let list = |prefix: &str| -> Vec<String> {
        let prefix = Prefix::new(prefix).unwrap();
        open()
            .list(&prefix)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let all = store.list(&Prefix::root()).unwrap();
    assert!(all.is_sorted());
    let all: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(all, names.map(str::to_owned).into());
    assert_eq!(list("members"), ["members/a.json", "members/b.json"]);
    assert_eq!(list("m/n"), ["m/n/o/p/q/r/s/t"]);
    assert_eq!(list("memb"), [""; 0]);
}

fn values_are_bounded(open: &Opener) {
    let store = open();
    let (fits, big) = (vec![7; MAX_VALUE], vec![7; MAX_VALUE + 1]);
    let refused = |error: StoreError| {
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
        assert!(!error.is_unclear());
    };
    refused(store.create(&key("big"), &big).unwrap_err());
    refused(store.put(&key("big"), &big).unwrap_err());
    assert_eq!(store.list(&Prefix::root()).unwrap(), []);
    assert_eq!(store.create(&key("fits"), &fits).unwrap(), Created::Ours);
    assert_eq!(store.read(&key("fits")).unwrap(), Some(fits));
    assert_eq!(store.create(&key("empty"), b"").unwrap(), Created::Ours);
    assert_eq!(store.read(&key("empty")).unwrap(), Some(vec![]));
}

fn removed_is_gone(open: &Opener) {
    let (one, two) = (open(), open());
    let beat = key("members/a.json");
    one.put(&beat, b"1").unwrap();
    assert!(two.remove(&beat).unwrap());
    assert!(!one.remove(&beat).unwrap());
    assert_eq!(one.read(&beat).unwrap(), None);
    assert_eq!(one.list(&Prefix::root()).unwrap(), []);
    assert_eq!(two.create(&beat, b"2").unwrap(), Created::Ours);
}

fn hidden_success(open: &Opener) {
    let (one, two) = (FaultyStore::new(open()), open());
    let claim = key("claim.json");
    one.inject(Op::Create, Fault::ErrorAfter);
    assert!(one.create(&claim, b"one").unwrap_err().is_unclear());
    assert_eq!(
        two.create(&claim, b"two").unwrap(),
        Created::Exists(b"one".to_vec())
    );
    assert_eq!(one.create(&claim, b"one").unwrap(), Created::Ours);

    let lost = key("lost.json");
    one.inject(Op::Create, Fault::ErrorAfter);
    assert_eq!(two.create(&lost, b"two").unwrap(), Created::Ours);
    assert!(one.create(&lost, b"one").unwrap_err().is_unclear());
    assert_eq!(
        one.create(&lost, b"one").unwrap(),
        Created::Exists(b"two".to_vec())
    );
}

fn error_without_effect(open: &Opener) {
    let (one, two) = (FaultyStore::new(open()), open());
    let claim = key("claim.json");
    for op in [Op::Create, Op::Put, Op::Read, Op::List, Op::Remove] {
        one.inject(op, Fault::ErrorBefore);
    }
    one.create(&claim, b"one").unwrap_err();
    one.put(&claim, b"one").unwrap_err();
    one.read(&claim).unwrap_err();
    one.list(&Prefix::root()).unwrap_err();
    one.remove(&claim).unwrap_err();
    assert_eq!(two.read(&claim).unwrap(), None);
    assert_eq!(two.create(&claim, b"two").unwrap(), Created::Ours);
    assert_eq!(
        one.create(&claim, b"one").unwrap(),
        Created::Exists(b"two".to_vec())
    );
}

fn late_write_loses(open: &Opener) {
    let (one, two) = (FaultyStore::new(open()), open());
    let (claim, gate) = (key("claim.json"), Gate::default());
    one.inject(Op::Create, Fault::LandsLate(gate.clone()));
    assert!(one.create(&claim, b"one").unwrap_err().is_unclear());
    assert_eq!(two.create(&claim, b"two").unwrap(), Created::Ours);
    gate.open();
    gate.wait_for_passage();
    assert_eq!(two.read(&claim).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(
        one.create(&claim, b"one").unwrap(),
        Created::Exists(b"two".to_vec())
    );
}

fn late_write_lands(open: &Opener) {
    let (one, two) = (FaultyStore::new(open()), open());
    let (claim, gate) = (key("claim.json"), Gate::default());
    one.inject(Op::Create, Fault::LandsLate(gate.clone()));
    assert!(one.create(&claim, b"one").unwrap_err().is_unclear());
    assert_eq!(two.read(&claim).unwrap(), None);
    gate.open();
    gate.wait_for_passage();
    assert_eq!(
        two.create(&claim, b"two").unwrap(),
        Created::Exists(b"one".to_vec())
    );
    assert_eq!(one.create(&claim, b"one").unwrap(), Created::Ours);
}

fn read_only_reads(open: &Opener) {
    let store = FaultyStore::new(open());
    let claim = key("claim.json");
    assert_eq!(store.create(&claim, b"one").unwrap(), Created::Ours);
    store.set_read_only(true);
    let error = store.put(&claim, b"two").unwrap_err();
    assert!(error.is_read_only() && !error.is_unclear(), "{error:?}");
    assert_eq!(store.read(&claim).unwrap().as_deref(), Some(&b"one"[..]));
    store.set_read_only(false);
    store.put(&claim, b"two").unwrap();
    assert_eq!(store.read(&claim).unwrap().as_deref(), Some(&b"two"[..]));
}
