//! The handle against a store that hangs, is slow, panics and recovers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::store::DirectoryStore;
use crate::store::testing::{Fault, FaultyStore, Gate, key};

const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(20);

struct Bench {
    _dir: TempDir,
    store: Arc<FaultyStore>,
    handle: StoreHandle,
}

fn bench(deadline: Duration) -> Bench {
    let dir = TempDir::new().unwrap();
    let store = FaultyStore::new(Arc::new(DirectoryStore::new(dir.path())));
    let handle = StoreHandle::start(Arc::clone(&store) as Arc<dyn Store>, deadline).unwrap();
    Bench {
        _dir: dir,
        store,
        handle,
    }
}

fn written<T: std::fmt::Debug>(result: Result<Write<T>, StoreError>) -> T {
    match result {
        Ok(Write::Written(value)) => value,
        other => panic!("not written: {other:?}"),
    }
}

fn pending<T: std::fmt::Debug>(result: Result<Write<T>, StoreError>) -> PendingWrite<T> {
    match result {
        Ok(Write::Pending(pending)) => pending,
        other => panic!("not pending: {other:?}"),
    }
}

/// Waits until neither thread is in a call past its deadline.
async fn until_free(handle: &StoreHandle) {
    let end = Instant::now() + LONG;
    while !handle.stuck().is_empty() {
        assert!(Instant::now() < end, "still stuck: {:?}", handle.stuck());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads with patience, for the deadline of a bench may be short for a busy machine.
async fn settled(handle: &StoreHandle, key: &Key) -> Option<Vec<u8>> {
    let end = Instant::now() + LONG;
    loop {
        match handle.read(key).await {
            Ok(value) => return value,
            Err(error) if error.is_no_answer() && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn passes_every_call_on() {
    let Bench { _dir, handle, .. } = bench(LONG);
    let beat = key("members/a.json");
    assert_eq!(handle.read(&beat).await.unwrap(), None);
    assert_eq!(
        written(handle.create(&beat, b"1".to_vec()).await),
        Created::Ours
    );
    let theirs = Created::Exists(b"1".to_vec());
    assert_eq!(written(handle.create(&beat, b"2".to_vec()).await), theirs);
    written(handle.put(&beat, b"3".to_vec()).await);
    assert_eq!(handle.read(&beat).await.unwrap(), Some(b"3".to_vec()));
    assert_eq!(
        handle.list(&Prefix::root()).await.unwrap(),
        std::slice::from_ref(&beat)
    );
    assert!(written(handle.remove(&beat).await));
    assert!(handle.describe().starts_with("faulty file:///"));
    assert_eq!(handle.stuck(), []);
}

#[tokio::test]
async fn calls_at_the_same_time_wait_for_each_other() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(LONG);
    store.inject(Op::Read, Fault::Delay(Duration::from_millis(30)));
    store.inject(Op::Put, Fault::Delay(Duration::from_millis(30)));
    let (a, b) = (key("a"), key("b"));
    let (first, second, one, two) = tokio::join!(
        handle.read(&a),
        handle.read(&b),
        handle.put(&a, b"1".to_vec()),
        handle.put(&b, b"2".to_vec()),
    );
    first.unwrap();
    second.unwrap();
    written(one);
    written(two);
    assert!(store.most_inside() <= 2, "{}", store.most_inside());
}

#[tokio::test]
async fn a_hung_read_is_given_up_and_later_recovers() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(SHORT);
    let gate = Gate::default();
    store.inject(Op::Read, Fault::Hang(gate.clone()));
    let error = handle.read(&key("a")).await.unwrap_err();
    let StoreError::NoAnswer {
        op: Op::Read,
        ref path,
        after,
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(path == "a" && after >= SHORT && error.is_no_answer());
    gate.wait_for_arrival();
    // Not one of many further calls starts anything.
    for _ in 0..100 {
        let error = handle.list(&Prefix::root()).await.unwrap_err();
        let StoreError::Busy {
            op: Op::List,
            hung: Op::Read,
            since,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(since >= SHORT);
    }
    assert_eq!(store.most_inside(), 1);
    assert_eq!(handle.stuck().len(), 1);
    // Writes have their own thread.
    let put = handle.put(&key("a"), b"1".to_vec()).await;
    written(match put {
        Ok(Write::Pending(slow)) => slow.wait(LONG).await,
        other => other,
    });
    gate.open();
    until_free(&handle).await;
    assert_eq!(settled(&handle, &key("a")).await, Some(b"1".to_vec()));
    assert!(store.most_inside() <= 2);
}

#[tokio::test]
async fn a_hung_write_is_pending_until_it_is_decided() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(SHORT);
    let gate = Gate::default();
    store.inject(Op::Create, Fault::Hang(gate.clone()));
    let claim = key("claim.json");
    let claimed = pending(handle.create(&claim, b"one".to_vec()).await);
    assert_eq!((claimed.op(), claimed.path()), (Op::Create, "claim.json"));
    assert!(claimed.age() >= SHORT);
    for _ in 0..100 {
        let error = handle
            .put(&key("lease.json"), b"1".to_vec())
            .await
            .unwrap_err();
        let StoreError::StillPending {
            op: Op::Put,
            hung: Op::Create,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
    }
    assert_eq!(settled(&handle, &claim).await, None);
    let claimed = pending(claimed.poll());
    let claimed = pending(claimed.wait(Duration::from_millis(1)).await);
    gate.open();
    assert_eq!(written(claimed.wait(LONG).await), Created::Ours);
    // Free at once: whoever has the outcome may go on.
    assert!(
        !handle.stuck().iter().any(|stuck| stuck.op == Op::Create),
        "{:?}",
        handle.stuck()
    );
    assert_eq!(settled(&handle, &claim).await, Some(b"one".to_vec()));
    assert!(store.most_inside() <= 2);
}

#[tokio::test]
async fn a_pending_write_tells_its_error_and_may_be_forgotten() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(SHORT);
    let gate = Gate::default();
    store.inject(Op::Put, Fault::Hang(gate.clone()));
    drop(pending(handle.put(&key("a"), b"1".to_vec()).await));
    gate.open();
    until_free(&handle).await;
    assert_eq!(settled(&handle, &key("a")).await, Some(b"1".to_vec()));

    let gate = Gate::default();
    store.inject(Op::Put, Fault::Hang(gate.clone()));
    let big = pending(
        handle
            .put(&key("a"), vec![0; crate::store::MAX_VALUE + 1])
            .await,
    );
    gate.open();
    let error = big.wait(LONG).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_write_that_waited_in_vain_for_its_turn_was_never_begun() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(SHORT);
    let gate = Gate::default();
    store.inject(Op::Create, Fault::Hang(gate.clone()));
    let (claim, lease) = (key("claim"), key("lease"));
    let (claimed, leased) = tokio::join!(
        handle.create(&claim, b"1".to_vec()),
        handle.put(&lease, b"1".to_vec()),
    );
    let claimed = pending(claimed);
    assert!(
        matches!(leased, Err(StoreError::StillPending { .. })),
        "{leased:?}"
    );
    gate.open();
    assert_eq!(written(claimed.wait(LONG).await), Created::Ours);
    assert_eq!(settled(&handle, &lease).await, None);
}

#[tokio::test]
async fn a_dropped_future_gives_up_the_answer_and_not_the_write() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(LONG);
    let gate = Gate::default();
    store.inject(Op::Put, Fault::Hang(gate.clone()));
    let key = key("a");
    let dropped = timeout(SHORT, handle.put(&key, b"1".to_vec())).await;
    assert!(dropped.is_err(), "{dropped:?}");
    gate.wait_for_arrival();
    gate.open();
    // The next one waits for it, and comes after it.
    written(handle.put(&key, b"2".to_vec()).await);
    assert_eq!(settled(&handle, &key).await, Some(b"2".to_vec()));
    assert_eq!(store.most_inside(), 1);
}

#[tokio::test]
async fn a_panic_in_the_store_is_an_unclear_error_and_the_thread_lives() {
    let Bench {
        _dir,
        store,
        handle,
    } = bench(LONG);
    store.inject(Op::Put, Fault::Panic);
    store.inject(Op::Read, Fault::Panic);
    let error = handle.put(&key("a"), b"1".to_vec()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Crashed { .. }) && error.is_unclear(),
        "{error:?}"
    );
    handle.read(&key("a")).await.unwrap_err();
    written(handle.put(&key("a"), b"2".to_vec()).await);
    assert_eq!(settled(&handle, &key("a")).await, Some(b"2".to_vec()));
}
