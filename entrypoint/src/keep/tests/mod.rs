//! The shelf on a real directory, through a store that misbehaves on demand: records in
//! [`records`], whole sets in [`sets`], their pins in [`pinning`], their end in [`pruning`], files of shards in [`files`], how they
//! are lent in [`lend`] and read again in [`check`] and [`proving`], what a look that missed something is worth in
//! [`looking`], and all of it on S3 in [`s3`].

mod check;
mod files;
mod lend;
mod looking;
mod pinning;
mod proving;
mod pruning;
mod records;
mod s3;
pub(crate) mod sample;
mod sets;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Shelf;
use crate::store::testing::FaultyStore;
use crate::store::{BlobStore, DirectoryStore};

/// For calls that hang; long enough for every other one, also where the disk is busy.
const SHORT: Duration = Duration::from_secs(1);
/// For calls that do not.
const LONG: Duration = Duration::from_secs(20);

struct Bench {
    dir: TempDir,
    store: Arc<FaultyStore>,
    shelf: Shelf,
}

fn bench(patience: Duration) -> Bench {
    let dir = TempDir::new().unwrap();
    let store = FaultyStore::new(Arc::new(DirectoryStore::new(dir.path())));
    let shelf = Shelf::start(Arc::clone(&store) as Arc<dyn BlobStore>, patience).unwrap();
    Bench { dir, store, shelf }
}

impl Bench {
    /// Another task's.
    fn other(&self) -> Shelf {
        Shelf::start(Arc::new(DirectoryStore::new(self.dir.path())), LONG).unwrap()
    }

    /// A path in the sample's set.
    fn path(&self, of: &str) -> PathBuf {
        let set = self.dir.path().join("sets").join(sample::SET);
        set.join(of)
    }

    /// Lays something into the sample's set.
    fn lay(&self, at: &str, content: &[u8]) {
        let path = self.path(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Every file below, hidden ones included.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut ahead = vec![self.dir.path().to_path_buf()];
        while let Some(dir) = ahead.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    ahead.push(path);
                } else {
                    let below = path.strip_prefix(self.dir.path()).unwrap();
                    found.push(below.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Waits until nothing is past its patience any more.
    async fn until_free(&self) {
        let end = Instant::now() + LONG;
        while !self.shelf.stuck().is_empty() {
            assert!(Instant::now() < end, "stuck: {:?}", self.shelf.stuck());
            tokio::task::yield_now().await;
        }
    }
}
