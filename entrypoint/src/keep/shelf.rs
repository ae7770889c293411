//! The sets in the store for async code: which there are, their records, what lies in each. Owns
//! one thread for all of that, and the deadline of each call.
//!
//! Files of shards have a thread of their own ([`super::file`]), for a record must not wait until
//! gigabytes are written.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use planner::heal::names::ShardId;
use planner::ids::PeerId;
use planner::keep::folder::Found;
use planner::keep::ids::{CollectionIndex, SetId};
use planner::keep::layout::{self, Entry};
use planner::keep::read::{Record, read};
use planner::keep::refusal::{Fault, Refusal};
use serde::Serialize;

use super::file::{Desk, FileReader, FileWriter};
use super::{FileError, ShelfError, key, record};
use crate::log::chain;
use crate::priority;
use crate::store::lane::{Call, Lane};
use crate::store::{BlobStore, Created, Key, Op, Prefix, StoreError, Stuck};

/// Most files in one set that [`Shelf::entries`] takes into memory.
const MAX_INSIDE: usize = 64 * 1024;

/// Most files that are read at a time. Each has a thread and about 1 MiB of memory, and a node that
/// recovers more shards at once than these gets none of them sooner.
const READ: usize = 4;

/// A cheap-to-clone view of the sets in which every call ends within about its patience.
///
/// Calls are done one at a time, in the order asked; while one hangs, all others are answered at
/// once with what hangs and since when. A future that is dropped early gives up the answer, not
/// the call: a write that had begun goes on.
#[derive(Clone)]
pub struct Shelf {
    shared: Arc<Shared>,
    /// Of the threads that write files.
    niceness: i32,
}

struct Shared {
    place: String,
    patience: Duration,
    /// The same for the files of shards.
    files: Duration,
    store: Arc<dyn BlobStore>,
    lane: Lane<dyn BlobStore>,
    written: Desk,
    read: Desk,
}

/// What lies in the folder of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// What is ours, with its size in bytes, in ascending order.
    pub ours: Vec<(Entry, u64)>,
    /// The paths in the set of what is not. It is left alone, and keeps the folder.
    pub foreign: Vec<String>,
    /// That was all.
    pub whole: bool,
}

impl Shelf {
    /// Starts the thread for `store`. Every call is answered within about `patience`, and a file is
    /// given up when nothing of it has moved for so long, or for as long as the store wants for files.
    ///
    /// # Errors
    /// [`StoreError::Thread`].
    pub fn start(store: Arc<dyn BlobStore>, patience: Duration) -> Result<Self, StoreError> {
        let shared = Shared {
            place: store.describe(),
            patience,
            files: patience.max(store.patience()),
            lane: Lane::start("keep", Arc::clone(&store))?,
            store,
            written: Desk::new(1),
            read: Desk::new(READ),
        };
        Ok(Self {
            shared: Arc::new(shared),
            niceness: priority::LATER,
        })
    }

    /// The same, whose files give way to nobody: they are what a Qdrant that has stopped serving waits for.
    #[must_use]
    pub fn at_once(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            niceness: priority::ORDINARY,
        }
    }

    /// Where the sets are, for messages.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.shared.place
    }

    /// What is past its patience now: the call, and the files.
    #[must_use]
    pub fn stuck(&self) -> Vec<Stuck> {
        let call = self.shared.lane.stuck();
        let Shared {
            written,
            read,
            files,
            ..
        } = self.shared.as_ref();
        let files = [written, read].map(|desk| desk.stuck(*files));
        call.into_iter()
            .chain(files.into_iter().flatten())
            .collect()
    }

    /// Whether a call is past its patience now.
    pub(super) fn hangs(&self) -> bool {
        self.shared.lane.stuck().is_some()
    }

    /// The folders that are named like a set. Whether they are sets, their records say.
    ///
    /// # Errors
    /// Those of the store; [`StoreError::NoAnswer`], or [`StoreError::Busy`] when an earlier call
    /// hangs.
    pub async fn sets(&self) -> Result<BTreeSet<SetId>, StoreError> {
        let prefix = Prefix::new(layout::SETS)?;
        let call = self.call(Op::List, prefix.as_str());
        let names = self.shared.lane.read(call, move |s| s.folders(&prefix));
        let names = names.await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Reads one record of a set. What is not believed, what is not there and what could not be
    /// read are three different things: the last says nothing about the set.
    pub async fn read<R: Record>(&self, set: SetId, entry: Entry) -> Found<R> {
        let (folder, path) = (set.to_string(), entry.path());
        match self.load(set, entry).await {
            Ok(None) => Found::Absent,
            Ok(Some(bytes)) => match read(&folder, &path, &bytes) {
                Ok(record) => Found::Good(record),
                Err(refusal) => Found::Refused(refusal),
            },
            Err(StoreError::TooLarge { size, .. }) => Found::Refused(Refusal {
                folder,
                path,
                fault: Fault::TooLarge(size),
            }),
            Err(error) => Found::Unread(chain(&error)),
        }
    }

    /// The bytes of a record.
    async fn load(&self, set: SetId, entry: Entry) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key(set, entry)?;
        let call = self.call(Op::Read, key.as_str());
        let lane = &self.shared.lane;
        lane.read(call, move |store| record::load(store, &key))
            .await
    }

    /// Creates a record at its place, which it knows itself, if nothing is there. Of any number of
    /// writers exactly one gets [`Created::Ours`]; so does whoever gives exactly the bytes that are
    /// there, so that one whose answer was lost can ask again.
    ///
    /// # Errors
    /// [`ShelfError::is_unclear`] tells whether it may have taken effect, or may still: then ask
    /// again. Otherwise nothing was written.
    pub async fn create<R: Record + Serialize>(&self, record: &R) -> Result<Created, ShelfError> {
        let (set, path) = (record.set(), record.place());
        let key = Key::new(format!("{}/{path}", layout::set(set))).map_err(StoreError::from)?;
        let bytes = serde_json::to_vec(record).map_err(|source| ShelfError::Encode {
            path: key.to_string(),
            source,
        })?;
        // A record that nobody would believe costs a whole set, and cannot be taken back.
        read::<R>(&set.to_string(), &path, &bytes).map_err(ShelfError::Unbelievable)?;
        let call = self.call(Op::Create, key.as_str());
        let created = self
            .shared
            .lane
            .write(call, move |store| record::create(store, &key, &bytes));
        Ok(created.await?)
    }

    /// The records of the proofs of a set, as they are named.
    pub(super) async fn proofs(&self, set: SetId) -> Result<Vec<Entry>, StoreError> {
        let folder = layout::set(set);
        let prefix = Prefix::new(format!("{folder}/{}", layout::PROOFS))?;
        let call = self.call(Op::List, prefix.as_str());
        let keys = self
            .shared
            .lane
            .read(call, move |s| s.list(&prefix))
            .await?;
        let ours = keys.iter().filter_map(|key| in_set(&folder, key));
        let ours = ours.filter_map(Entry::of);
        Ok(ours.filter(|e| matches!(e, Entry::Proof(..))).collect())
    }

    /// What lies in the folder of a set, at any depth. What writers left in the middle is not
    /// shown.
    ///
    /// # Errors
    /// [`ShelfError::TooMany`]; otherwise as [`Shelf::sets`]. It is complete, or not given.
    pub async fn entries(&self, set: SetId) -> Result<Inside, ShelfError> {
        let inside = self.some(set, MAX_INSIDE).await?;
        match inside.whole {
            true => Ok(inside),
            false => Err(ShelfError::TooMany {
                path: layout::set(set),
                limit: MAX_INSIDE,
            }),
        }
    }

    /// The same, but no more than so many things: one look at a set of many thousand files may take longer
    /// than a call to the store may.
    ///
    /// # Errors
    /// As [`Shelf::sets`].
    pub async fn some(&self, set: SetId, most: usize) -> Result<Inside, StoreError> {
        let folder = layout::set(set);
        let prefix = Prefix::new(&folder)?;
        let call = self.call(Op::List, prefix.as_str());
        let inside = self.shared.lane.read(call, move |store| {
            let mut inside = Inside {
                whole: true,
                ..Inside::default()
            };
            store.blobs(&prefix, &mut |listed| {
                let Some(path) = in_set(&folder, &listed.key) else {
                    return ControlFlow::Continue(());
                };
                if inside.ours.len() + inside.foreign.len() >= most {
                    inside.whole = false;
                    return ControlFlow::Break(());
                }
                match Entry::of(path) {
                    Some(entry) => inside.ours.push((entry, listed.size)),
                    None => inside.foreign.push(path.to_owned()),
                }
                ControlFlow::Continue(())
            })?;
            Ok(inside)
        });
        let mut inside = inside.await?;
        inside.ours.sort();
        inside.foreign.sort();
        Ok(inside)
    }

    /// Removes one thing of a set, and folders of it that hold nothing more then. Gives `false`
    /// when it was not there. What may be removed, and in which order, is the planner's to say.
    ///
    /// # Errors
    /// As [`Shelf::create`].
    pub async fn remove(&self, set: SetId, entry: Entry) -> Result<bool, StoreError> {
        let key = key(set, entry)?;
        let call = self.call(Op::Remove, key.as_str());
        let lane = &self.shared.lane;
        lane.write(call, move |store| store.remove_blob(&key)).await
    }

    /// Removes from the folder of a set what writers left that ended too early, when none of it was
    /// written to for longer than `older`. Gives how many such files are still there. Of which sets that
    /// may be done is the planner's to say.
    ///
    /// # Errors
    /// As [`Shelf::create`].
    pub async fn clear(&self, set: SetId, older: Duration) -> Result<usize, StoreError> {
        let prefix = Prefix::new(layout::set(set))?;
        let call = self.call(Op::Remove, prefix.as_str());
        let cleared = self.shared.lane.write(call, move |store| {
            let mut left = 0;
            for leftover in store.leftovers(&prefix)? {
                if !store.remove_leftover(&leftover, older)? {
                    left += 1;
                }
            }
            Ok(left)
        });
        cleared.await
    }

    /// Removes the folders of a set in which nothing is. Who makes one just then has to make it again, so
    /// this is for sets that are being deleted, or never were one.
    ///
    /// # Errors
    /// As [`Shelf::create`].
    pub async fn fold(&self, set: SetId) -> Result<(), StoreError> {
        let prefix = Prefix::new(layout::set(set))?;
        let call = self.call(Op::Remove, prefix.as_str());
        let folded = self.shared.lane.write(call, move |store| {
            for folder in store.folders(&prefix)? {
                store.prune(&Prefix::new(prefix.join(&folder)?.as_str())?);
            }
            store.prune(&prefix);
            Ok(())
        });
        folded.await
    }

    /// Begins the file of one shard of one peer. One file at a time: another one is waited for, but
    /// no longer than the patience.
    ///
    /// # Errors
    /// [`FileError::AlreadyThere`], so that nobody streams for an hour in vain;
    /// [`FileError::Stuck`] at once while the thread of an earlier file hangs;
    /// [`FileError::Occupied`]; [`FileError::Hangs`]; the store's.
    pub async fn file(
        &self,
        set: SetId,
        index: CollectionIndex,
        shard: ShardId,
        peer: PeerId,
    ) -> Result<FileWriter, FileError> {
        let key = key(set, Entry::Payload(index, shard, peer)).map_err(StoreError::from)?;
        let Shared {
            store,
            written,
            files,
            ..
        } = self.shared.as_ref();
        let turn = written.turn(&key, *files, *files).await?;
        FileWriter::begin(Arc::clone(store), key, turn, *files, self.niceness).await
    }

    /// Opens the file of one shard of one peer; `None` when the store says that there is none. So many
    /// at a time: another one is waited for, but no longer than `longest`. Whether the file counts,
    /// the set's records say.
    ///
    /// # Errors
    /// [`FileError::Stuck`] at once while the threads of all others hang; [`FileError::Occupied`];
    /// [`FileError::Hangs`]; the store's.
    pub async fn open(
        &self,
        set: SetId,
        index: CollectionIndex,
        shard: ShardId,
        peer: PeerId,
        longest: Duration,
    ) -> Result<Option<FileReader>, FileError> {
        let key = key(set, Entry::Payload(index, shard, peer)).map_err(StoreError::from)?;
        let Shared {
            store, read, files, ..
        } = self.shared.as_ref();
        let turn = read.turn(&key, *files, longest).await?;
        FileReader::begin(Arc::clone(store), key, turn, *files).await
    }

    fn call(&self, op: Op, path: &str) -> Call {
        Call::new(op, path, self.shared.patience)
    }
}

/// The path of a key in the folder of a set.
fn in_set<'a>(folder: &str, key: &'a Key) -> Option<&'a str> {
    key.as_str().strip_prefix(folder)?.strip_prefix('/')
}
