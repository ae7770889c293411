//! A snapshot that lasts several rounds of the flush worker, with inserts meanwhile. What happens when is up to nobody's clock: the archive
//! stops the snapshot once the segments are frozen, and goes on when the inserts were made and flushed.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use common::budget::ResourceBudget;
use common::counter::hardware_accumulator::HwMeasurementAcc;
use common::save_on_disk::SaveOnDisk;
use common::tar_ext;
use fs_err::File;
use segment::data_types::vectors::VectorStructInternal;
use segment::types::SnapshotFormat;
use shard::locked_segment::LockedSegment;
use tempfile::tempdir;
use tokio::runtime::Handle;
use tokio::sync::RwLock;

use super::{LocalShard, LocalShardClocks};
use crate::common::adaptive_handle::AdaptiveSearchHandle;
use crate::config::CollectionConfigInternal;
use crate::operations::CollectionUpdateOperations;
use crate::operations::point_ops::{
    PointInsertOperationsInternal, PointOperations, PointStructPersisted,
};
use crate::shards::shard_trait::{ShardOperation, WaitUntil};
use crate::tests::fixtures::create_collection_config;
use crate::update_workers::UpdateWorkers;

const BEFORE: u64 = 20;
const MEANWHILE: u64 = 50;
/// A snapshot of so little that writes nothing for longer has failed.
const LONGEST: Duration = Duration::from_secs(60);

/// An archive that asks before each write until it is told to go on for good.
struct Asking {
    file: File,
    asks: Option<(mpsc::Sender<()>, mpsc::Receiver<bool>)>,
}

impl Write for Asking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((ask, answer)) = &self.asks {
            ask.send(()).map_err(io::Error::other)?;
            let go_on_for_good = answer.recv().map_err(io::Error::other)?;
            if go_on_for_good {
                self.asks = None;
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Asking {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whole_snapshots_hold_every_acknowledged_insert() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut config = create_collection_config();
    // The worker's rounds are made by hand.
    config.optimizer_config.flush_interval_sec = 24 * 60 * 60;
    let schema = Arc::new(SaveOnDisk::load_or_init_default(at("schema.json")).unwrap());

    fs_err::create_dir(at("shard")).unwrap();
    let shard = LocalShard::build(
        0,
        "test".to_string(),
        &at("shard"),
        Arc::new(RwLock::new(config.clone())),
        Arc::new(Default::default()),
        schema.clone(),
        Handle::current(),
        AdaptiveSearchHandle::current_for_tests(),
        ResourceBudget::default(),
        config.optimizer_config.clone(),
    )
    .await
    .unwrap();
    insert(&shard, 0..BEFORE).await;
    flush(&shard).await;

    let (ask, asked) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let tar = tar_ext::BuilderExt::new_seekable_owned(Asking {
        file: File::create(at("archive")).unwrap(),
        asks: Some((ask, answers)),
    });
    fs_err::create_dir(at("temp")).unwrap();
    let creator = shard
        .get_snapshot_creator(&at("temp"), &tar, SnapshotFormat::Regular, None, true)
        .await
        .unwrap();
    let snapshot = tokio::spawn(creator);

    loop {
        tokio::task::block_in_place(|| asked.recv_timeout(LONGEST))
            .expect("the snapshot writes nothing, and has not frozen the segments");
        if is_frozen(&shard) {
            break;
        }
        answer.send(false).unwrap();
    }
    insert(&shard, BEFORE..BEFORE + MEANWHILE).await;
    flush(&shard).await;
    answer.send(true).unwrap();

    snapshot.await.unwrap().unwrap();
    tar.finish().await.unwrap();
    shard.stop_gracefully().await;

    let restored = restored(&at("archive"), &at("restored"), &config, schema).await;
    assert_eq!(
        restored.info().await.unwrap().points_count,
        Some((BEFORE + MEANWHILE) as usize),
        "acknowledged points are missing from the restored snapshot",
    );
    restored.stop_gracefully().await;
}

async fn insert(shard: &LocalShard, ids: std::ops::Range<u64>) {
    for id in ids {
        let point = PointStructPersisted {
            id: id.into(),
            vector: VectorStructInternal::from(vec![id as f32, 1.0, 2.0, 3.0]).into(),
            payload: None,
        };
        let operation = CollectionUpdateOperations::PointOperation(PointOperations::UpsertPoints(
            PointInsertOperationsInternal::from(vec![point]),
        ));
        shard
            .update(
                operation.into(),
                WaitUntil::Visible,
                None,
                HwMeasurementAcc::new(),
            )
            .await
            .unwrap();
    }
}

async fn flush(shard: &LocalShard) {
    let (segments, wal) = (shard.segments.clone(), shard.wal.wal.clone());
    let path = shard.path.clone();
    tokio::task::spawn_blocking(move || {
        UpdateWorkers::flush_round(segments, wal, LocalShardClocks::default(), path);
    })
    .await
    .unwrap();
}

fn is_frozen(shard: &LocalShard) -> bool {
    shard
        .segments
        .read()
        .iter()
        .any(|(_, segment)| matches!(segment, LockedSegment::Proxy(_)))
}

async fn restored(
    archive: &Path,
    folder: &Path,
    config: &CollectionConfigInternal,
    schema: Arc<SaveOnDisk<shard::payload_index_schema::PayloadIndexSchema>>,
) -> LocalShard {
    common::tar_unpack::tar_unpack_file(archive, folder).unwrap();
    LocalShard::restore_snapshot(folder).unwrap();
    LocalShard::load(
        0,
        "test".to_string(),
        folder,
        Arc::new(RwLock::new(config.clone())),
        config.optimizer_config.clone(),
        Arc::new(Default::default()),
        schema,
        true,
        Handle::current(),
        AdaptiveSearchHandle::current_for_tests(),
        ResourceBudget::default(),
    )
    .await
    .unwrap()
}
