//! The S3 store against a real server, see [`Moto`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::testing::moto::Moto;
use crate::store::testing::{conformance, key};
use crate::store::{BlobStore, read_through};

/// A server, or the word that there is none.
fn moto() -> Option<Moto> {
    Moto::start()
        .map_err(|why| println!("skipped: there is no S3 server: {why}"))
        .ok()
}

fn store(moto: &Moto, bucket: &str, root: &str) -> S3Store {
    let root = Prefix::new(root).unwrap();
    S3Store::new(bucket, root, moto.variables()).unwrap()
}

#[test]
fn conforms() {
    let Some(moto) = moto() else { return };
    let (bucket, variables) = (moto.bucket().unwrap(), moto.variables());
    let places = AtomicUsize::new(0);
    conformance::suite(|| {
        let n = places.fetch_add(1, Ordering::SeqCst);
        let (bucket, variables) = (bucket.clone(), variables.clone());
        Box::new(move || {
            let root = Prefix::new(format!("stores/{n}")).unwrap();
            Arc::new(S3Store::new(&bucket, root, variables.clone()).unwrap())
        })
    });
}

#[test]
fn a_missing_bucket_is_an_error_and_not_an_empty_store() {
    let Some(moto) = moto() else { return };
    let store = store(&moto, "nowhere", "a");
    for error in [
        store.read(&key("a")).map(drop).unwrap_err(),
        store.list(&Prefix::root()).map(drop).unwrap_err(),
        store.create(&key("a"), b"1").map(drop).unwrap_err(),
        store.put(&key("a"), b"1").unwrap_err(),
        store.blob(&key("a")).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NoBucket { .. }), "{error:?}");
        assert!(!error.is_unclear());
    }
}

#[test]
fn what_others_keep_in_the_bucket_is_left_alone() {
    let Some(moto) = moto() else { return };
    let bucket = moto.bucket().unwrap();
    let theirs = store(&moto, &bucket, "cluster-other");
    theirs.put(&key("a"), b"theirs").unwrap();
    let whole = S3Store::new(&bucket, Prefix::root(), moto.variables()).unwrap();
    let foreign = Path::from("cluster/.hidden");
    wait(whole.s3.put(&foreign, "foreign".into()))
        .unwrap()
        .unwrap();
    let ours = store(&moto, &bucket, "cluster");
    ours.put(&key("b"), b"ours").unwrap();
    assert_eq!(ours.list(&Prefix::root()).unwrap(), [key("b")]);
    assert_eq!(ours.read(&key("a")).unwrap(), None);
    // The root of the bucket holds them all.
    let all = [key("cluster-other/a"), key("cluster/b")];
    assert_eq!(whole.list(&Prefix::root()).unwrap(), all);
    assert_eq!(
        whole.read(&key("cluster/b")).unwrap().as_deref(),
        Some(&b"ours"[..])
    );
}

/// The client's own way to end an upload replaces; the header that the wire adds must hold without
/// the look before it.
#[test]
fn the_end_of_an_upload_is_conditional() {
    use object_store::multipart::MultipartStore as _;
    let Some(moto) = moto() else { return };
    let store = store(&moto, &moto.bucket().unwrap(), "a");
    let path = store.path("x");
    let ended = wait(async {
        let id = store.s3.create_multipart(&path).await.unwrap();
        let part = store
            .s3
            .put_part(&path, &id, 0, "late".into())
            .await
            .unwrap();
        store.s3.put(&path, "first".into()).await.unwrap();
        store.s3.complete_multipart(&path, &id, vec![part]).await
    })
    .unwrap();
    assert!(
        matches!(ended, Err(object_store::Error::Precondition { .. })),
        "{ended:?}"
    );
    assert_eq!(
        store.read(&key("x")).unwrap().as_deref(),
        Some(&b"first"[..])
    );
}

/// It would tell each of two founders that it was the first.
#[test]
fn a_server_that_overlooks_conditions_gets_no_records() {
    let Some(moto) = moto() else { return };
    let careless = store(&moto, &moto.another("careless").unwrap(), "a");
    for _ in 0..2 {
        let error = careless.create(&key("x"), b"1").map(drop).unwrap_err();
        assert!(
            matches!(error, StoreError::Unconditional { .. }),
            "{error:?}"
        );
        assert!(!error.is_unclear());
    }
    assert_eq!(careless.read(&key("x")).unwrap(), None);
    let whole = Prefix::root();
    assert!(careless.list(&whole).unwrap().is_empty());
    // What was tried has been taken away again, there and where it went well.
    let good = store(&moto, &moto.bucket().unwrap(), "a");
    assert_eq!(good.create(&key("x"), b"1").unwrap(), Created::Ours);
    for store in [careless, good] {
        let mut objects = 0;
        let mut count = |_: ObjectMeta| {
            objects += 1;
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        };
        wait(store.objects(&whole, &mut count)).unwrap().unwrap();
        assert!(objects <= 1, "{objects}");
    }
}

#[test]
fn a_server_that_is_gone_leaves_writes_open() {
    let Some(moto) = moto() else { return };
    let bucket = moto.bucket().unwrap();
    let store = store(&moto, &bucket, "a");
    let mut writer = store.begin(&key("b")).unwrap();
    writer.write(b"1").unwrap();
    drop(moto);
    let error = store.put(&key("a"), b"1").unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    let error = writer.finish().unwrap_err();
    assert!(error.is_unclear(), "{error:?}");
    let error = store.read(&key("a")).unwrap_err();
    assert!(matches!(error, StoreError::Remote { .. }), "{error:?}");
}

#[test]
fn plain_http_must_be_allowed() {
    let variables = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = S3Store::new("bucket", Prefix::root(), variables);
    let refused = store.and_then(|store| store.read(&key("a")));
    assert!(refused.is_err(), "{refused:?}");
}

/// What is read is what was written, through a store that only knows the trait.
#[test]
fn a_large_blob_comes_back() {
    let Some(moto) = moto() else { return };
    let store: Arc<dyn BlobStore> = Arc::new(store(&moto, &moto.bucket().unwrap(), "a"));
    let mut writer = store.begin(&key("big")).unwrap();
    for n in 0..40_u8 {
        writer.write(&vec![n; 1_000_000]).unwrap();
    }
    let stored = writer.finish().unwrap();
    let mut reader = store.blob(&key("big")).unwrap().unwrap();
    let read = read_through(reader.as_mut(), |_| Ok::<_, StoreError>(())).unwrap();
    assert_eq!(read, stored);
    assert_eq!(read.size, 40_000_000);
}

/// A task of the async runtime may end while it holds them.
#[tokio::test]
async fn writers_and_readers_may_be_dropped_anywhere() {
    let Some(moto) = moto() else { return };
    let store = store(&moto, &moto.bucket().unwrap(), "a");
    let (writer, reader) = std::thread::scope(|scope| {
        let make = || {
            write_all(&store, "whole", 1);
            let reader = store.blob(&key("whole")).unwrap().unwrap();
            let mut writer = store.begin(&key("half")).unwrap();
            writer.write(&vec![1; 9_000_000]).unwrap();
            (writer, reader)
        };
        scope.spawn(make).join().unwrap()
    });
    drop((writer, reader));
}

fn write_all(store: &S3Store, name: &str, size: usize) {
    let mut writer = store.begin(&key(name)).unwrap();
    writer.write(&vec![7; size]).unwrap();
    writer.finish().unwrap();
}
