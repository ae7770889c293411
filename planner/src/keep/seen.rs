//! What is known of each set in the store: what retention and the choice for a restore go by.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::heal::names::CollectionName;
use crate::ids::GenerationId;
use crate::keep::clock::Taken;
use crate::keep::ids::SetId;
use crate::keep::records::{
    CollectionEntry, Level, Manifest, Origin, PlanRecord, ProofRecord, Scope,
};

/// A folder of `sets/` that is named like a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub id: SetId,
    /// How it is.
    pub state: State,
    /// It has a pin.
    pub pinned: bool,
    /// It has a tombstone of ours.
    pub tombstoned: bool,
    /// A restore is reading it.
    pub restoring: bool,
}

/// How a set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a manifest.
    Made(Contents),
    /// It has a plan of ours, or what is left of a deletion, and no manifest.
    Unfinished {
        /// It is being made.
        under_way: bool,
        /// For how long it has been seen like this, by the observer's own clock.
        age: Duration,
    },
    /// A folder in which there is nothing.
    Bare,
    /// It is not ours: of another cluster, without a plan, or its manifest is refused. For people.
    Foreign(String),
    /// It could not be read now; for people.
    Unread(String),
}

/// What a set with a manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Why it was made.
    pub origin: Origin,
    /// It is of all collections that there were.
    pub all: bool,
    /// The life of the cluster that it is of.
    pub generation: GenerationId,
    /// Every collection that it lists.
    pub collections: BTreeMap<CollectionName, Standing>,
    /// Collections of earlier sets whose end was seen, by the first set after it.
    pub deleted: BTreeMap<CollectionName, SetId>,
}

/// How a collection stands in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Every shard is there.
    pub whole: bool,
    /// Something was found to be wrong with one of its files.
    pub failed: bool,
    /// The highest level at which each of its files was found to be good, by any version of Qdrant.
    pub proven: Option<Level>,
}

impl Standing {
    /// It can be restored, as far as is known.
    pub fn is_good(&self) -> bool {
        self.whole && !self.failed
    }
}

impl Contents {
    /// What a manifest says, and what was found about its files. `running` is the version of Qdrant
    /// that a restore would use.
    ///
    /// A file that was found to be bad once stays bad, for its bytes are never written again. Only
    /// that a Qdrant could not restore it says nothing about another version.
    pub fn of(manifest: &Manifest, proofs: &[ProofRecord], running: &str) -> Self {
        let proofs: Vec<_> = proofs.iter().filter(|p| p.set == manifest.set).collect();
        let standing = |entry: &CollectionEntry| Standing {
            whole: entry.whole,
            failed: proofs.iter().any(|proof| {
                let binding = proof.level < Level::L2 || proof.qdrant == running;
                let own = proof.checked.iter().filter(|c| c.index == entry.index);
                binding && own.filter(|c| c.wrong.is_some()).count() > 0
            }),
            proven: proven(entry, &proofs),
        };
        let entries = manifest.collections.iter();
        Self {
            origin: manifest.origin,
            all: manifest.scope == Scope::All,
            generation: manifest.source.generation.clone(),
            collections: entries.map(|e| (e.name.clone(), standing(e))).collect(),
            deleted: manifest.deleted.clone(),
        }
    }

    /// Some collection of it can be restored, as far as is known.
    pub fn has_whole(&self) -> bool {
        self.collections.values().any(|there| there.whole)
    }

    /// Every collection of it can be restored, as far as is known.
    pub fn is_complete(&self) -> bool {
        self.all && self.collections.values().all(Standing::is_good)
    }

    /// The level at which all of it was found to be good.
    pub fn proven(&self) -> Option<Level> {
        let least = self.collections.values().map(|there| there.proven).min()?;
        least.filter(|_| self.is_complete())
    }

    /// It was made by the clock or by a stop, and so it is for retention to keep or delete.
    pub fn is_automatic(&self) -> bool {
        self.origin != Origin::Hand
    }
}

fn proven(entry: &CollectionEntry, proofs: &[&ProofRecord]) -> Option<Level> {
    let levels = Level::ALL.into_iter().rev();
    let mut passed = levels.filter(|level| {
        entry.files.iter().all(|file| {
            proofs.iter().filter(|p| p.level >= *level).any(|proof| {
                let mut checked = proof.checked.iter();
                checked
                    .any(|c| c.index == entry.index && c.shard == file.shard && c.wrong.is_none())
            })
        })
    });
    // Of a collection without files there is nothing that a proof could name.
    passed.next().filter(|_| entry.whole)
}

impl Seen {
    /// What it holds, when that counts: it has a manifest of ours and no tombstone.
    pub fn contents(&self) -> Option<&Contents> {
        match &self.state {
            State::Made(contents) if !self.tombstoned => Some(contents),
            _ => None,
        }
    }
}

/// The newest set with a manifest of all collections.
pub(super) fn newest_of_all(sets: &[Seen]) -> Option<(SetId, &Contents)> {
    let made = sets
        .iter()
        .filter_map(|set| Some((set.id, set.contents()?)));
    made.filter(|(_, contents)| contents.all)
        .max_by_key(|(id, _)| *id)
}

/// The plans that the clock goes by, each with whether the set has a tombstone: the newest that has
/// none, and those that have one.
pub fn taken<'a>(plans: impl IntoIterator<Item = (&'a PlanRecord, bool)>) -> Taken {
    let mut taken = Taken::default();
    for (plan, tombstoned) in plans {
        if plan.origin == Origin::Hand {
            continue;
        }
        match tombstoned {
            true => drop(taken.given_up.insert(plan.set)),
            false => taken.newest = taken.newest.max(Some(plan.set)),
        }
    }
    taken
}
