//! What is read of one set as a whole: for retention and restore its own records, for the end of a
//! set what became of each planned file.

use std::time::Duration;

use planner::keep::folder::{Folder, Found};
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{
    FORMAT, Manifest, Outcome, PartRecord, Pin, PlanRecord, ProofRecord, Tombstone,
};
use planner::observed::Observed;

use super::Shelf;
use crate::log::chain;

/// What the records of a set say. With [`Circumstances`] it is what the planner judges.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// The name of the folder.
    pub id: SetId,
    /// The plan.
    pub plan: Found<PlanRecord>,
    /// The manifest.
    pub manifest: Found<Manifest>,
    /// The tombstone.
    pub tombstone: Found<Tombstone>,
    /// There is a pin, whatever it says, or it is not known that there is none.
    pub pinned: bool,
    /// The proofs that are believed.
    pub proofs: Observed<Vec<ProofRecord>>,
    /// It has none of its records, and nothing else either.
    pub empty: Observed<bool>,
}

/// What no record says of a set, and only the observer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// It is being made.
    pub under_way: bool,
    /// A restore is reading it.
    pub restoring: bool,
    /// For how long it has been seen like this, by the observer's own clock.
    pub age: Duration,
}

impl Records {
    /// Both together.
    #[must_use]
    pub fn under(self, circumstances: Circumstances) -> Folder {
        let Circumstances {
            under_way,
            restoring,
            age,
        } = circumstances;
        Folder {
            id: self.id,
            plan: self.plan,
            manifest: self.manifest,
            tombstone: self.tombstone,
            pinned: self.pinned,
            proofs: self.proofs,
            empty: self.empty,
            under_way,
            restoring,
            age,
        }
    }
}

impl Shelf {
    /// Reads everything that a set says of itself. What could not be read is marked so, each by
    /// itself.
    pub async fn folder(&self, set: SetId) -> Records {
        let mut records = Records {
            id: set,
            manifest: self.read(set, Entry::Manifest).await,
            plan: self.read(set, Entry::Plan).await,
            pinned: self.is_pinned(set).await,
            proofs: self.all_proofs(set).await,
            empty: Observed::Known(false),
            // Last, because it outweighs the others: one that came while they were read counts.
            tombstone: self.read(set, Entry::Tombstone).await,
        };
        let absent = (&records.manifest, &records.plan, &records.tombstone);
        if let (Found::Absent, Found::Absent, Found::Absent) = absent {
            records.empty = self.is_empty(set).await;
        }
        records
    }

    async fn is_empty(&self, set: SetId) -> Observed<bool> {
        match self.some(set, 1).await {
            Ok(there) => Observed::Known(there.ours.is_empty() && there.foreign.is_empty()),
            Err(error) => Observed::Unknown(chain(&error)),
        }
    }

    pub(super) async fn is_pinned(&self, set: SetId) -> bool {
        // That it could not be read must not cost the set.
        !matches!(self.read::<Pin>(set, Entry::Pin).await, Found::Absent)
    }

    async fn all_proofs(&self, set: SetId) -> Observed<Vec<ProofRecord>> {
        let entries = match self.proofs(set).await {
            Ok(entries) => entries,
            Err(error) => return Observed::Unknown(chain(&error)),
        };
        let mut proofs = Vec::new();
        for entry in entries {
            match self.read(set, entry).await {
                Found::Good(proof) => proofs.push(proof),
                // A proof of a newer version must not make an older version's restore impossible.
                Found::Refused(refusal) => tracing::debug!("proof left out: {refusal}"),
                // It goes with its set.
                Found::Absent => {}
                Found::Unread(why) => return Observed::Unknown(why),
            }
        }
        Observed::Known(proofs)
    }

    /// Reads what became of each planned file that is not in `parts` yet, and adds it: records never
    /// change. One that is there and is not believed is a file that failed. Gives for people what could
    /// not be read; a part that is not there yet is in neither.
    pub async fn parts(&self, plan: &PlanRecord, parts: &mut Vec<PartRecord>) -> Vec<String> {
        // Collected: an iterator that is held across an await makes a future that no task can run.
        let mut planned = Vec::new();
        for collection in &plan.collections {
            for (shard, holder) in &collection.shards {
                let is_it =
                    |part: &PartRecord| part.index == collection.index && part.shard == *shard;
                if !parts.iter().any(is_it) {
                    planned.push((collection, *shard, holder));
                }
            }
        }
        let mut unread = Vec::new();
        for (collection, shard, holder) in planned {
            let entry = Entry::Part(collection.index, shard, holder.peer);
            match self.read(plan.set, entry).await {
                Found::Good(part) => parts.push(part),
                Found::Absent => {}
                Found::Refused(refusal) => parts.push(PartRecord {
                    format: FORMAT,
                    set: plan.set,
                    generation: plan.source.generation.clone(),
                    index: collection.index,
                    collection: collection.name.clone(),
                    shard,
                    holder: holder.clone(),
                    outcome: Outcome::Failed(refusal.to_string()),
                }),
                Found::Unread(why) => unread.push(why),
            }
            if self.hangs() {
                unread.push("the store hangs, so the other parts were not asked for".to_owned());
                break;
            }
        }
        unread
    }
}
