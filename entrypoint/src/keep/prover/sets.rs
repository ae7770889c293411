//! What the examiner knows of the sets in the store. Manifests never change, so each is read once; what was
//! found of a set is read again when somebody has proven it, and before anybody does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::ids::StoreId;
use planner::keep::folder::{Found, seen};
use planner::keep::ids::SetId;
use planner::keep::proving::Provable;
use planner::keep::seen::State;
use planner::observed::Observed;

use crate::keep::Shelf;
use crate::keep::shelves::at_rest;

/// The sets that may be proven, as far as they were read.
#[derive(Debug, Default)]
pub struct Sets {
    /// `None`: never one that may be.
    known: BTreeMap<SetId, Option<Provable>>,
}

/// Whose sets these are, and what runs.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The store's own name.
    pub store: StoreId,
    /// The version of Qdrant.
    pub running: String,
}

impl Sets {
    /// Reads what is new of these, which are all that there are.
    pub async fn look(&mut self, shelf: &Shelf, whose: &Whose, there: BTreeSet<SetId>) {
        self.known.retain(|set, _| there.contains(set));
        let new: BTreeSet<_> = there
            .into_iter()
            .filter(|set| !self.known.contains_key(set))
            .collect();
        for set in new {
            self.refresh(shelf, whose, set).await;
        }
    }

    /// Reads one set again; says whether it may be proven.
    pub async fn refresh(&mut self, shelf: &Shelf, whose: &Whose, set: SetId) -> bool {
        let folder = shelf.folder(set).await.under(at_rest(Duration::ZERO));
        let seen = seen(&folder, &whose.store, &whose.running);
        let counts = seen.contents().is_some();
        let known = match (folder.manifest, folder.proofs) {
            (Found::Good(manifest), Observed::Known(proofs)) if counts => {
                Some(Provable::of(&manifest, proofs))
            }
            _ => None,
        };
        let provable = known.is_some();
        match seen.state {
            // It may be made, or read, later.
            State::Unfinished { .. } | State::Unread(_) if !seen.tombstoned => {
                self.known.remove(&set);
            }
            _ => drop(self.known.insert(set, known)),
        }
        provable
    }

    /// Those that may be proven.
    pub fn provable(&self) -> Vec<Provable> {
        self.known.values().flatten().cloned().collect()
    }
}
