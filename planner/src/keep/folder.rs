//! From what was read of a folder of `sets/` to what is known of the set.
//!
//! A record that is refused makes the set not ours, and one that could not be read makes it unread:
//! in both cases it is neither used nor deleted.

use core::time::Duration;

use crate::ids::StoreId;
use crate::keep::ids::SetId;
use crate::keep::records::{Manifest, PlanRecord, ProofRecord, Tombstone};
use crate::keep::refusal::Refusal;
use crate::keep::seen::{Contents, Seen, State};
use crate::observed::Observed;

/// How the reading of one record ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<R> {
    /// There is none.
    Absent,
    /// This one.
    Good(R),
    /// It is there and not believed.
    Refused(Refusal),
    /// It could not be read; for people.
    Unread(String),
}

/// What was read of a folder that is named like a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    /// Its name.
    pub id: SetId,
    /// The plan.
    pub plan: Found<PlanRecord>,
    /// The manifest.
    pub manifest: Found<Manifest>,
    /// The tombstone.
    pub tombstone: Found<Tombstone>,
    /// There is a pin, whatever it says.
    pub pinned: bool,
    /// The proofs. One that is refused is left out: a newer version's proof must not make an older
    /// version's restore impossible.
    pub proofs: Observed<Vec<ProofRecord>>,
    /// There is nothing in it at all. Looked at where it has none of its records; else it is false.
    pub empty: Observed<bool>,
    /// It is being made.
    pub under_way: bool,
    /// A restore is reading it.
    pub restoring: bool,
    /// For how long it has been seen like this, by the observer's own clock.
    pub age: Duration,
}

/// What is known of the set. `ours` is the store's own name, `running` the version of Qdrant that a
/// restore would use.
pub fn seen(folder: &Folder, ours: &StoreId, running: &str) -> Seen {
    Seen {
        id: folder.id,
        state: state(folder, ours, running).unwrap_or_else(|other| other),
        pinned: folder.pinned,
        tombstoned: matches!(folder.tombstone, Found::Good(_)),
        restoring: folder.restoring,
    }
}

fn state(folder: &Folder, ours: &StoreId, running: &str) -> Result<State, State> {
    let tombstone = given(&folder.tombstone)?;
    let manifest = given(&folder.manifest)?;
    let plan = given(&folder.plan)?;
    let clusters = [
        tombstone.map(|there| &there.cluster),
        manifest.map(|there| &there.source.cluster),
        plan.map(|there| &there.source.cluster),
    ];
    if let Some(other) = clusters.into_iter().flatten().find(|there| *there != ours) {
        return Err(State::Foreign(format!("it is of the cluster {other}")));
    }
    match (manifest, &folder.proofs) {
        (Some(_), Observed::Unknown(why)) => Err(State::Unread(why.clone())),
        (Some(manifest), Observed::Known(proofs)) => {
            Ok(State::Made(Contents::of(manifest, proofs, running)))
        }
        // The plan goes last but for the tombstone: what has neither was never ours, or is the folder
        // of a steward that died before its plan was there.
        (None, _) if plan.is_none() && tombstone.is_none() => Err(match &folder.empty {
            Observed::Known(true) => State::Bare,
            Observed::Known(false) => State::Foreign("it has no plan".to_owned()),
            Observed::Unknown(why) => State::Unread(why.clone()),
        }),
        (None, _) => Ok(State::Unfinished {
            under_way: folder.under_way,
            age: folder.age,
        }),
    }
}

fn given<R>(found: &Found<R>) -> Result<Option<&R>, State> {
    match found {
        Found::Absent => Ok(None),
        Found::Good(record) => Ok(Some(record)),
        Found::Refused(why) => Err(State::Foreign(why.to_string())),
        Found::Unread(why) => Err(State::Unread(why.clone())),
    }
}
