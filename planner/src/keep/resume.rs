//! What a steward does with a set that has a plan and no manifest.
//!
//! Giving up is a tombstone: it outweighs a manifest that a former steward may still write, and a
//! part that comes late. So two stewards never disagree for long about what a set is.

use core::fmt;
use core::time::Duration;

use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::view::ClusterView;
use crate::ids::GenerationId;
use crate::keep::assemble::part;
use crate::keep::ids::SetId;
use crate::keep::plan::is_lost;
use crate::keep::records::{Outcome, PartRecord, PlanRecord, PlannedCollection};
use crate::observed::Observed;

/// A set is finished within an hour or given up: what is older is nearer to the next sets than to its
/// own time, and its files take room.
pub const FINISH_WITHIN: Duration = Duration::from_secs(60 * 60);

/// An unfinished set, as a steward finds it.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished<'a> {
    /// Its plan.
    pub plan: &'a PlanRecord,
    /// The records of its files that have come.
    pub parts: &'a [PartRecord],
    /// How old the plan is: by the wall clock, or as long as this steward has known it, whichever is
    /// longer.
    pub age: Duration,
    /// The newest plan in the store that is not of a set by hand.
    pub newest: SetId,
    /// The cluster's life now.
    pub generation: &'a GenerationId,
    /// The cluster now.
    pub view: &'a ClusterView,
    /// See [`FINISH_WITHIN`].
    pub limit: Duration,
}

/// What is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It is waited for and assembled. Tasks take what they have not taken yet by themselves.
    Finish,
    /// It gets its tombstone.
    GiveUp(Why),
}

/// Why a set is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was planned in another life of the cluster.
    OtherGeneration,
    /// It took too long.
    TooOld {
        /// How old it is.
        age: Duration,
    },
    /// A newer set was planned already.
    Overtaken {
        /// That one.
        by: SetId,
    },
    /// No collection can become whole any more.
    NothingLeft(Vec<(CollectionName, Loss)>),
}

/// Why a collection cannot become whole any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It never could.
    Planned,
    /// It has been deleted.
    Deleted,
    /// A source has failed.
    Failed(ShardRef),
    /// A source is not Active, or not there, or being stopped.
    SourceLost(ShardRef),
}

/// Whether an unfinished set can still become something.
pub fn resume(set: Unfinished<'_>) -> Resume {
    if set.plan.source.generation != *set.generation {
        return Resume::GiveUp(Why::OtherGeneration);
    }
    if set.newest > set.plan.set {
        return Resume::GiveUp(Why::Overtaken { by: set.newest });
    }
    if set.age > set.limit {
        return Resume::GiveUp(Why::TooOld { age: set.age });
    }
    let mut lost = Vec::new();
    for planned in &set.plan.collections {
        match loss(&set, planned) {
            None => return Resume::Finish,
            Some(loss) => lost.push((planned.name.clone(), loss)),
        }
    }
    Resume::GiveUp(Why::NothingLeft(lost))
}

/// What keeps a collection from becoming whole. What is not known does not: the age ends that.
fn loss(set: &Unfinished<'_>, planned: &PlannedCollection) -> Option<Loss> {
    if !planned.missing.is_empty() {
        return Some(Loss::Planned);
    }
    let all = set.view.collections.known()?;
    match all.get(&planned.name) {
        None => return Some(Loss::Deleted),
        Some(Observed::Unknown(_)) => return None,
        Some(Observed::Known(_)) => {}
    }
    planned.shards.iter().find_map(|(shard, holder)| {
        let of = ShardRef {
            collection: planned.name.clone(),
            shard: *shard,
        };
        let copy = || set.view.shard(&of)?.copies.get(&holder.peer);
        let came = part(set.parts, planned.index, *shard, holder);
        let good = match came.map(|part| &part.outcome) {
            Some(Outcome::Failed(_)) => return Some(Loss::Failed(of)),
            // Its task may end now; the copy must still be what it was.
            Some(Outcome::Taken(_)) => copy().is_some_and(|copy| copy.is_active()),
            None => !is_lost(set.view, &of, holder),
        };
        (!good).then_some(Loss::SourceLost(of))
    })
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherGeneration => f.write_str("it was planned in another life of the cluster"),
            Self::TooOld { age } => write!(f, "it is not finished after {} s", age.as_secs()),
            Self::Overtaken { by } => write!(f, "set {by} was planned meanwhile"),
            Self::NothingLeft(lost) => {
                f.write_str("no collection can become whole any more")?;
                lost.iter()
                    .try_for_each(|(name, loss)| write!(f, "; {name}: {loss}"))
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned => f.write_str("it could not be taken from the beginning"),
            Self::Deleted => f.write_str("it has been deleted"),
            Self::Failed(of) => write!(f, "the source of shard {} has failed", of.shard),
            Self::SourceLost(of) => write!(f, "the source of shard {} is lost", of.shard),
        }
    }
}
