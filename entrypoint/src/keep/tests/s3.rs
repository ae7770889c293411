//! The shelf on a real S3 server. Skipped, with a word why, where there is none.

use std::sync::Arc;

use planner::keep::folder::Found;
use planner::keep::layout::Entry;

use super::LONG;
use super::files::{begin, write};
use super::sample::{self, SET, set};
use crate::archive::tests::small;
use crate::keep::{FileError, Shelf};
use crate::store::testing::moto::Moto;
use crate::store::{Created, Prefix, S3Store, sha256};

#[tokio::test]
async fn a_set_in_a_bucket() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(why) => return println!("skipped: there is no S3 server: {why}"),
    };
    let shelf = {
        let root = Prefix::new("cluster").unwrap();
        let store = S3Store::new(&moto.bucket().unwrap(), root, moto.variables()).unwrap();
        Shelf::start(Arc::new(store), LONG).unwrap()
    };
    assert!(shelf.sets().await.unwrap().is_empty());
    let plan = sample::plan(600);
    assert_eq!(shelf.create(&plan).await.unwrap(), Created::Ours);
    assert_eq!(shelf.create(&plan).await.unwrap(), Created::Ours);
    let theirs = shelf.create(&sample::other_plan(1)).await.unwrap();
    assert_eq!(theirs, Created::Exists(serde_json::to_vec(&plan).unwrap()));
    assert_eq!(shelf.read(set(SET), Entry::Plan).await, Found::Good(plan));
    assert_eq!(
        shelf.sets().await.unwrap().into_iter().collect::<Vec<_>>(),
        [set(SET)]
    );

    // Of several parts, on the small stack of its thread.
    let bytes = small(17 << 20);
    let stored = write(&shelf, 0, &bytes).await.unwrap();
    assert_eq!(
        (stored.size, stored.sha256),
        (bytes.len() as u64, sha256(&bytes))
    );
    let error = begin(&shelf, 0).await.unwrap_err();
    assert!(matches!(error, FileError::AlreadyThere { .. }), "{error:?}");
    let error = write(&shelf, 1, &bytes[..bytes.len() - 512])
        .await
        .unwrap_err();
    assert!(matches!(error, FileError::Refused { .. }), "{error:?}");
    let inside = shelf.entries(set(SET)).await.unwrap();
    assert_eq!((inside.ours.len(), inside.foreign.len()), (2, 0));
    for (entry, _) in inside.ours {
        assert!(shelf.remove(set(SET), entry).await.unwrap());
    }
    assert!(shelf.sets().await.unwrap().is_empty());
}
