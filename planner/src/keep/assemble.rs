//! From a plan and what came of it to a manifest.
//!
//! A shard counts only with a file whose read-back passed and whose copy was Active all the time: as
//! its own node knew just before and after, and as the steward sees at the end. A copy that has moved
//! away meanwhile does not count, although its file may be good: nobody can say any more what
//! it was. What is wrong with one shard concerns its own collection and no other.

use core::fmt;

use crate::heal::names::{CollectionName, ShardId, ShardRef};
use crate::heal::view::{ClusterView, CopyState};
use crate::keep::ids::CollectionIndex;
use crate::keep::layout;
use crate::keep::missing::{Lack, Missing, When};
use crate::keep::plan::{Described, is_lost};
use crate::keep::records::{
    CollectionEntry, Description, FORMAT, FileEntry, Holder, Manifest, Outcome, PartRecord,
    PlanRecord, PlannedCollection, Source, Taken,
};
use crate::keep::time::Utc;
use crate::observed::Observed;

const ACTIVE: &str = "Active";

/// What the steward sees when it finishes a set.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The cluster.
    pub view: &'a ClusterView,
    /// What the collections are now.
    pub described: &'a Described,
    /// Who finishes it, and in which life of the cluster.
    pub source: &'a Source,
    /// The wall clock.
    pub now: Utc,
}

/// Why no manifest is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoManifest {
    /// The plan is of another life of the cluster: copies of two lives are not one set.
    OtherGeneration,
    /// Which collections there are could not be read; for people.
    Unread(String),
    /// Every collection of the plan has been deleted.
    Empty,
    /// No collection is whole: there is nothing that could be restored from it.
    NothingWhole(Vec<(CollectionName, Missing)>),
}

impl fmt::Display for NoManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherGeneration => f.write_str("it was planned in another life of the cluster"),
            Self::Unread(why) => write!(f, "the collections cannot be read: {why}"),
            Self::Empty => f.write_str("all its collections have been deleted"),
            Self::NothingWhole(all) => {
                f.write_str("no collection is whole")?;
                all.iter()
                    .try_for_each(|(name, missing)| write!(f, "; {name}: {missing}"))
            }
        }
    }
}

/// What has not come yet: it is waited for while its source may still deliver it.
pub fn outstanding<'a>(
    plan: &'a PlanRecord,
    parts: &[PartRecord],
) -> Vec<(CollectionIndex, ShardId, &'a Holder)> {
    let planned = plan.collections.iter().flat_map(|collection| {
        let shards = collection.shards.iter();
        shards.map(|(shard, holder)| (collection.index, *shard, holder))
    });
    planned
        .filter(|(index, shard, holder)| part(parts, *index, *shard, holder).is_none())
        .collect()
}

/// What is outstanding and may still come: its source is not lost for certain. The rest is not waited for,
/// so that one source that is lost holds up nobody else's.
pub fn awaited<'a>(
    plan: &'a PlanRecord,
    parts: &[PartRecord],
    view: &ClusterView,
) -> Vec<(CollectionIndex, ShardId, &'a Holder)> {
    let name = |index| plan.collections.iter().find(|there| there.index == index);
    let may_come = |(index, shard, holder): &(CollectionIndex, ShardId, &Holder)| {
        name(*index).is_some_and(|there| {
            let of = ShardRef {
                collection: there.name.clone(),
                shard: *shard,
            };
            !is_lost(view, &of, holder)
        })
    };
    outstanding(plan, parts)
        .into_iter()
        .filter(may_come)
        .collect()
}

/// The manifest of a set whose parts have come, or will not come any more.
///
/// # Errors
/// There is nothing that could be restored from it, or that is not known.
pub fn assemble(
    plan: &PlanRecord,
    parts: &[PartRecord],
    end: End<'_>,
) -> Result<Manifest, NoManifest> {
    if plan.source.generation != end.source.generation {
        return Err(NoManifest::OtherGeneration);
    }
    let now = match &end.view.collections {
        Observed::Known(now) => now,
        Observed::Unknown(why) => return Err(NoManifest::Unread(why.clone())),
    };
    let mut deleted = plan.deleted.clone();
    let mut collections = Vec::new();
    for planned in &plan.collections {
        if now.contains_key(&planned.name) {
            collections.push(entry(plan, planned, parts, end));
        } else {
            // Its end was seen in the life of the cluster in which it was planned.
            deleted.insert(planned.name.clone(), plan.set);
        }
    }
    if collections.is_empty() {
        return Err(NoManifest::Empty);
    }
    if collections.iter().all(|entry| !entry.whole) {
        let first = |entry: CollectionEntry| Some((entry.name, entry.missing.into_iter().next()?));
        return Err(NoManifest::NothingWhole(
            collections.into_iter().filter_map(first).collect(),
        ));
    }
    Ok(Manifest {
        format: FORMAT,
        set: plan.set,
        origin: plan.origin,
        asked: plan.asked.clone(),
        scope: plan.scope.clone(),
        source: end.source.clone(),
        started: plan.planned,
        ended: end.now,
        collections,
        deleted,
    })
}

fn entry(
    plan: &PlanRecord,
    planned: &PlannedCollection,
    parts: &[PartRecord],
    end: End<'_>,
) -> CollectionEntry {
    let mut missing = planned.missing.clone();
    let mut files = Vec::new();
    if let Err(why) = unchanged(planned, end) {
        missing.push(Missing { shard: None, why });
    }
    // Files of a collection that as a whole is not what was planned are of no use.
    if missing.iter().all(|there| there.shard.is_some()) {
        for (shard, holder) in &planned.shards {
            match file(plan, planned, *shard, holder, parts, end.view) {
                Ok(file) => files.push(file),
                Err(why) => missing.push(Missing {
                    shard: Some(*shard),
                    why,
                }),
            }
        }
    }
    missing.sort();
    CollectionEntry {
        index: planned.index,
        name: planned.name.clone(),
        whole: missing.is_empty(),
        missing,
        description: planned.description.clone(),
        files,
    }
}

/// The collection is at the end what it was when the set was planned, as far as its files depend on
/// it. Aliases, indexes and what optimizers do may have changed: the plan's stand.
fn unchanged(planned: &PlannedCollection, end: End<'_>) -> Result<(), Lack> {
    let Some(before) = &planned.description else {
        return Ok(()); // The plan says why.
    };
    let after = match end.described.get(&planned.name) {
        Some(Observed::Known(after)) => after,
        Some(Observed::Unknown(why)) => return Err(Lack::Unread(why.clone())),
        None => return Err(Lack::Unread("it was not asked".to_owned())),
    };
    if let Some(there) = end.view.collection(&planned.name)
        && there.resharding
    {
        return Err(Lack::Resharding);
    }
    let essence = |d: &Description| (d.sharding, d.shards, d.keys.clone());
    let same = essence(before) == essence(after) && params(before) == params(after);
    same.then_some(()).ok_or(Lack::Changed)
}

/// The parameters that a collection is created with, its vectors among them.
fn params(description: &Description) -> Option<&serde_json::Value> {
    description.config.get("params")
}

fn file(
    plan: &PlanRecord,
    planned: &PlannedCollection,
    shard: ShardId,
    holder: &Holder,
    parts: &[PartRecord],
    view: &ClusterView,
) -> Result<FileEntry, Lack> {
    let peer = holder.peer;
    let part = part(parts, planned.index, shard, holder).ok_or(Lack::NotDelivered { peer })?;
    let stray = |why: &str| Lack::Stray {
        peer,
        why: why.to_owned(),
    };
    if part.set != plan.set {
        return Err(stray("it is of another set"));
    }
    if part.generation != plan.source.generation {
        return Err(stray("it was taken in another life of the cluster"));
    }
    if part.collection != planned.name {
        return Err(stray("it is of another collection"));
    }
    let taken = match &part.outcome {
        Outcome::Taken(taken) => taken,
        Outcome::Failed(why) => {
            let why = why.clone();
            return Err(Lack::Failed { peer, why });
        }
    };
    let of = ShardRef {
        collection: planned.name.clone(),
        shard,
    };
    active_throughout(taken, view, &of, holder)?;
    Ok(FileEntry {
        path: layout::payload(planned.index, shard, peer),
        bytes: taken.bytes,
        sha256: taken.sha256,
        shard,
        peer,
        task: holder.task.clone(),
        started: taken.started,
        ended: taken.ended,
        before: taken.before,
        after: taken.after,
    })
}

fn active_throughout(
    taken: &Taken,
    view: &ClusterView,
    of: &ShardRef,
    holder: &Holder,
) -> Result<(), Lack> {
    let peer = holder.peer;
    let own = [
        (When::Before, &taken.state_before),
        (When::After, &taken.state_after),
    ];
    let not_active = |when, state| Lack::NotActive { peer, when, state };
    for (when, state) in own {
        if state != ACTIVE {
            return Err(not_active(when, Some(state.clone())));
        }
    }
    let copy = view.shard(of).and_then(|there| there.copies.get(&peer));
    match copy.map(|copy| &copy.state) {
        Some(CopyState::Active) => Ok(()),
        Some(CopyState::Other(state)) => Err(not_active(When::AtTheEnd, Some(state.clone()))),
        None => Err(not_active(When::AtTheEnd, None)),
    }
}

/// The record of one file of the plan.
pub(super) fn part<'a>(
    parts: &'a [PartRecord],
    index: CollectionIndex,
    shard: ShardId,
    holder: &Holder,
) -> Option<&'a PartRecord> {
    let mut parts = parts.iter();
    parts.find(|part| part.index == index && part.shard == shard && part.holder == *holder)
}
