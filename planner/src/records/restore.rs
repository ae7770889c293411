//! How far the restore of a generation is, one record in Qdrant's key map.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::heal::names::CollectionName;
use crate::ids::GenerationId;
use crate::keep::ids::SetId;

/// The key of [`Restore`] in Qdrant's key map.
pub const RESTORE_KEY: &str = "entrypoint.restore";

/// How far the restore of a generation is. Written by the steward alone, before anything is created,
/// and after each collection: whoever leads next goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// Format of this record.
    pub format: u32,
    /// The generation that is restored into.
    pub generation: GenerationId,
    /// The set that is restored; `None` before one is chosen, and after one was given up.
    #[serde(default)]
    pub set: Option<SetId>,
    /// Everything that the restore has made or will make.
    #[serde(default)]
    pub collections: BTreeMap<CollectionName, Progress>,
    /// How often this set has failed.
    #[serde(default)]
    pub tries: u32,
    /// Sets from which a restore has failed too often.
    #[serde(default)]
    pub given_up: BTreeSet<SetId>,
    /// All is restored, or the loss was accepted: the cluster may serve.
    #[serde(default)]
    pub finished: bool,
    /// Who accepted that not everything is restored; for people.
    #[serde(default)]
    pub accepted: Option<String>,
}

/// How far one collection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Whatever there is of it is half, and made again from the beginning.
    Pending,
    /// Restored, and every copy was found to be the same.
    Done,
    /// Not restored from this set, for this reason: what there is of it is deleted.
    Failed(String),
}
