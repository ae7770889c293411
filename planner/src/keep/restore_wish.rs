//! What a person decides while a generation waits for its restore: another set, or that what is missing
//! stays lost.
//!
//! It has a key of its own in Qdrant's key map, so that nobody who asks writes over the record of the
//! restore, which is the steward's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::heal::names::CollectionName;
use crate::ids::GenerationId;
use crate::keep::ids::SetId;
use crate::keep::time::Utc;
use crate::records::{Progress, Restore};

/// The key of [`Wish`] in Qdrant's key map.
pub const WISH_KEY: &str = "entrypoint.restore_wish";

/// What somebody has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Format of this record.
    pub format: u32,
    /// For the restore into this generation, and no other.
    pub generation: GenerationId,
    /// Who.
    pub by: String,
    /// When, by the clock of the task that took it.
    pub at: Utc,
    /// What.
    pub what: What,
    /// The collections that stay lost by it, as who decided was told.
    #[serde(default)]
    pub lost: BTreeSet<CollectionName>,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// This set is restored, whatever speaks for another one.
    Use(SetId),
    /// What is not restored stays lost, and the cluster serves what it has.
    AcceptLoss,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is done, or meant another restore.
    Nothing,
    /// This set takes the place of the one that is being restored.
    Use(SetId),
    /// What is not restored goes, and then the restore is finished.
    Accept,
    /// It cannot be done; for people.
    Refused(&'static str),
}

/// What is done about a wish.
pub fn verdict(record: &Restore, wish: &Wish) -> Verdict {
    if wish.generation != record.generation || record.finished {
        return Verdict::Nothing;
    }
    match wish.what {
        What::AcceptLoss if record.accepted.is_some() => Verdict::Nothing,
        What::AcceptLoss => Verdict::Accept,
        What::Use(set) if record.set == Some(set) => Verdict::Nothing,
        What::Use(set) if record.given_up.contains(&set) => Verdict::Refused(
            "the bytes of that set were read and are wrong: name another one, or accept the loss",
        ),
        What::Use(set) => Verdict::Use(set),
    }
}

/// The record once the loss of what is not restored is accepted: what there is of it goes.
pub fn accept(record: &Restore, by: &str) -> Restore {
    let mut record = record.clone();
    for at in record.collections.values_mut() {
        if !matches!(at, Progress::Done { .. }) {
            *at = Progress::Failed(format!("given up by {by}"));
        }
    }
    record.accepted = Some(by.to_owned());
    record
}

/// The record from which another set is begun.
pub fn instead(record: &Restore) -> Restore {
    Restore {
        set: None,
        accepted: None,
        ..record.clone()
    }
}
