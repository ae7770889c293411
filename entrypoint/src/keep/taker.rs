//! A task's own part in a set: the shards that the plan names it for, one after the other, straight from
//! its own Qdrant into the store.
//!
//! What it makes of a shard is on record in any case, unless the store takes no record: a file that was
//! read back to its end, or why there is none. It decides nothing: what counts is the steward's to say
//! (`planner::keep::assemble`), who reads the states and counts that are noted here.

use std::time::Duration;

use planner::heal::names::ShardId;
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::read::Record;
use planner::keep::records::{
    Count, FORMAT, Holder, Outcome, PartRecord, PlanRecord, PlannedCollection, Taken, Tombstone,
};
use qdrant_api::{Client, ReplicaState};
use tokio::sync::watch as channel;

use super::sampler::Sampler;
use super::{FileError, Shelf, now};
use crate::events;
use crate::log::chain;

/// Qdrant collects the ids of all points to count them exactly: of larger copies its estimate is noted.
const EXACT_LIMIT: u64 = 1_000_000;
/// For how long a stream may give nothing: Qdrant reads a segment from its disk meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to read what the store did not give.
const AGAIN: Duration = Duration::from_secs(5);

/// A set that is being made, and who we are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The set, as the leader names it.
    pub set: SetId,
    /// Our generation.
    pub generation: GenerationId,
    /// Our peer.
    pub peer: PeerId,
}

/// Takes the shards of one task.
pub struct Taker {
    shelf: Shelf,
    client: Client,
    task: TaskId,
    /// The last set that was seen to its end.
    done: Option<SetId>,
}

/// Why one shard was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("our Qdrant holds no copy of it")]
    NotHere,
    #[error("our copy is {0}, not Active")]
    NotActive(String),
    #[error("our Qdrant does not give it")]
    Qdrant(#[from] qdrant_api::Error),
    #[error("our Qdrant gave nothing for {0:?}")]
    Stalled(Duration),
    #[error("it could not be written")]
    File(#[from] FileError),
    #[error("the wall clock says nothing that can be written down")]
    Clock,
}

/// The store did not say; for people.
struct Unread(String);

/// How our copy is: its state, and its points.
struct Look {
    state: String,
    count: Count,
}

impl Taker {
    /// One that has taken nothing yet. `client` asks our own Qdrant.
    pub fn new(shelf: Shelf, client: Client, task: TaskId) -> Self {
        Self {
            shelf,
            client,
            task,
            done: None,
        }
    }

    /// Does its part of every set that is called for, until the rounds end. A call that is over, or is
    /// for another set, ends what is under way: nothing of an unfinished file stays.
    pub async fn run(mut self, mut calls: channel::Receiver<Option<Call>>) {
        loop {
            let call = calls.borrow_and_update().clone();
            let over = async {
                let same = |now: &Option<Call>| *now == call;
                calls.wait_for(|now| !same(now)).await.map(drop)
            };
            let ended = match call.clone().filter(|call| self.done != Some(call.set)) {
                None => over.await,
                Some(call) => tokio::select! {
                    ended = over => ended,
                    () = self.take_all(&call) => {
                        self.done = Some(call.set);
                        continue;
                    }
                },
            };
            if ended.is_err() {
                return;
            }
        }
    }

    /// Takes what this set wants of us; while the store cannot be read, again and again.
    pub(super) async fn take_all(&self, call: &Call) {
        while let Err(Unread(why)) = self.take(call).await {
            refuse(call.set, &why);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn take(&self, call: &Call) -> Result<(), Unread> {
        let plan: PlanRecord = match self.read(call.set, Entry::Plan).await? {
            Some(plan) => plan,
            None => return Ok(()),
        };
        if plan.source.generation != call.generation {
            refuse(call.set, "it was planned in another life of the cluster");
            return Ok(());
        }
        let own = Holder {
            peer: call.peer,
            task: self.task.clone(),
        };
        for collection in &plan.collections {
            let shards = collection.shards.iter();
            for (shard, _) in shards.filter(|(_, holder)| **holder == own) {
                if self.is_over(call.set).await? {
                    refuse(call.set, "it was given up");
                    return Ok(());
                }
                self.part(&plan, collection, *shard, &own).await?;
            }
        }
        Ok(())
    }

    /// Whether the set is being deleted, or is gone.
    async fn is_over(&self, set: SetId) -> Result<bool, Unread> {
        match self.shelf.read::<Tombstone>(set, Entry::Tombstone).await {
            Found::Unread(why) => return Err(Unread(why)),
            // What is there and cannot be believed is a later version's, and means the same.
            Found::Good(_) | Found::Refused(_) => return Ok(true),
            Found::Absent => {}
        }
        match self.shelf.read::<PlanRecord>(set, Entry::Plan).await {
            Found::Unread(why) => Err(Unread(why)),
            Found::Absent => Ok(true),
            Found::Good(_) | Found::Refused(_) => Ok(false),
        }
    }

    /// A record of the set; `None`, with a word, when there is none that could be believed.
    async fn read<R: Record>(&self, set: SetId, entry: Entry) -> Result<Option<R>, Unread> {
        match self.shelf.read(set, entry).await {
            Found::Good(record) => return Ok(Some(record)),
            // A steward names a set when its plan is there: it is on its way, or the set is over.
            Found::Absent => return Err(Unread(format!("it has no {}", entry.path()))),
            Found::Refused(why) => refuse(set, &why.to_string()),
            Found::Unread(why) => return Err(Unread(why)),
        }
        Ok(None)
    }

    /// Takes one shard, unless it is on record already, and puts on record what came of it.
    async fn part(
        &self,
        plan: &PlanRecord,
        collection: &PlannedCollection,
        shard: ShardId,
        own: &Holder,
    ) -> Result<(), Unread> {
        let place = Entry::Part(collection.index, shard, own.peer);
        let what = format!("shard {shard} of {}", collection.name);
        match self.shelf.read::<PartRecord>(plan.set, place).await {
            Found::Absent => {}
            Found::Good(_) => return Ok(()),
            Found::Refused(why) => {
                refuse(plan.set, &why.to_string());
                return Ok(());
            }
            Found::Unread(why) => return Err(Unread(why)),
        }
        let outcome = match self.file(plan, collection, shard, own.peer).await {
            Ok(taken) => {
                let bytes = taken.bytes;
                tracing::info!(event = events::SET_PART, bytes, "set {}: {what}", plan.set);
                Outcome::Taken(taken)
            }
            // The thread of an earlier file: it ends, or hangs with the store.
            Err(NotTaken::File(error @ (FileError::Occupied { .. } | FileError::Stuck { .. }))) => {
                return Err(Unread(chain(&error)));
            }
            Err(error) => {
                let why = chain(&error);
                let set = plan.set;
                tracing::warn!(event = events::SET_PART_FAILED, "set {set}: {what}: {why}");
                Outcome::Failed(why)
            }
        };
        let record = PartRecord {
            format: FORMAT,
            set: plan.set,
            generation: plan.source.generation.clone(),
            index: collection.index,
            collection: collection.name.clone(),
            shard,
            holder: own.clone(),
            outcome,
        };
        // Without it the steward waits in vain. Asking again for the same record is asking once.
        while let Err(error) = self.shelf.create(&record).await {
            refuse(plan.set, &chain(&error));
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn file(
        &self,
        plan: &PlanRecord,
        collection: &PlannedCollection,
        shard: ShardId,
        peer: PeerId,
    ) -> Result<Taken, NotTaken> {
        let name = collection.name.0.as_str();
        let before = self.look(name, shard).await?;
        let sampler = Sampler::new(self.client.clone(), name, shard);
        let sampler = sampler.keyed(collection.description.as_ref());
        let sampled = sampler.before(before.count.points).await;
        let started = now().ok_or(NotTaken::Clock)?;
        // Its place in the store first: while a stream is open, Qdrant holds the segments.
        let file = self.shelf.file(plan.set, collection.index, shard, peer);
        let mut file = file.await?;
        let mut stream = self.client.stream_shard(name, shard.0).await?;
        loop {
            let piece = tokio::time::timeout(PATIENCE, stream.piece()).await;
            match piece.map_err(|_| NotTaken::Stalled(PATIENCE))?? {
                Some(piece) => file.push(piece).await?,
                None => break,
            }
        }
        let stored = file.finish().await?;
        let ended = now().ok_or(NotTaken::Clock)?;
        let after = self.look(name, shard).await?;
        let samples = sampler.after(sampled).await;
        Ok(Taken {
            bytes: stored.size,
            sha256: stored.sha256,
            state_before: before.state,
            state_after: after.state,
            started,
            ended,
            before: before.count,
            after: after.count,
            samples,
        })
    }

    /// How our copy is now.
    async fn look(&self, collection: &str, shard: ShardId) -> Result<Look, NotTaken> {
        let placed = self.client.collection_cluster(collection).await?;
        let own = placed
            .local_shards
            .iter()
            .find(|own| own.shard_id == shard.0);
        let own = own.ok_or(NotTaken::NotHere)?;
        let state = match &own.state {
            ReplicaState::Active => "Active".to_owned(),
            other => return Err(NotTaken::NotActive(format!("{other:?}"))),
        };
        let exact = own.points_count <= EXACT_LIMIT;
        let points = match exact {
            true => self.client.count_local(collection, shard.0).await?,
            false => own.points_count,
        };
        Ok(Look {
            state,
            count: Count { points, exact },
        })
    }
}

fn refuse(set: SetId, why: &str) {
    tracing::warn!(
        event = events::SET_NOT_TAKEN,
        "set {set}: nothing is taken for it: {why}"
    );
}
