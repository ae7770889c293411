//! A restore by hand into a cluster that serves, one record in Qdrant's key map.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::heal::names::CollectionName;
use crate::ids::Token;
use crate::keep::ids::SetId;
use crate::keep::time::Utc;

/// The key of [`Job`] in Qdrant's key map.
pub const JOB_KEY: &str = "entrypoint.restore_job";

/// The field in a collection's own metadata that holds the token of the job which is making it. What
/// carries it is the job's to throw away, and nothing else is. Qdrant keeps it from the creation on
/// (`metadata` of `PUT /collections/{c}`), so there is no moment in which a collection of the job is
/// without it.
pub const MARK: &str = "entrypoint.restore_job";

/// What somebody wants to have restored beside what is served, and how far it is. There is one at a
/// time; it stays when it is over, until the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Format of this record.
    pub format: u32,
    /// Unlike that of any other job.
    pub token: Token,
    /// Who asks.
    pub by: String,
    /// Since when, by the clock of the task that took it.
    pub at: Utc,
    /// From which set.
    pub set: SetId,
    /// What is made, by the name that it gets.
    pub pieces: BTreeMap<CollectionName, Piece>,
    /// How often bytes of the set were read here and found to be wrong.
    #[serde(default)]
    pub tries: u32,
    /// How far it is.
    pub state: JobState,
}

/// One collection that is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// What it is called in the set.
    pub from: CollectionName,
    /// How far it is.
    pub at: PieceState,
    /// What becomes of the collection that is called so now.
    pub then: Then,
}

/// How far one collection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceState {
    /// Nothing was made.
    Waiting,
    /// What there is of it carries the job's mark, is not whole, and is made again by whoever goes on.
    Making,
    /// Whole, on all of its holders.
    Done {
        /// Qdrant's own name of the collection that was compared, as in [`super::Progress::Done`].
        uuid: String,
    },
}

/// What becomes of the collection that has the name of the restored one when the job begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It stays as it is, or there is none: nobody is led to the restored one.
    Nothing,
    /// There is none: its name leads to the restored one in the end, and the aliases that it had.
    Name,
    /// It stays, and its aliases lead to the restored one.
    Switch,
    /// It is deleted when all is restored, and its name and aliases lead to the restored one.
    Replace {
        /// Qdrant's own name of it: another collection of the same name is not deleted.
        uuid: String,
    },
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Collections are made. Nobody was led to them.
    Running,
    /// All are made, and names are given: from here on nothing that was made is thrown away.
    Naming,
    /// It is given up for this reason, and what was made of it goes.
    Undoing(String),
    /// It is done.
    Finished,
    /// It has ended for this reason. Nothing is left of it, unless it was called off while names were
    /// given.
    Failed(String),
}

impl Job {
    /// Nothing is left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Finished | JobState::Failed(_))
    }

    /// The collections that are begun and not whole yet: no set holds them.
    pub fn unfinished(&self) -> impl Iterator<Item = &CollectionName> {
        let half = matches!(self.state, JobState::Running | JobState::Undoing(_));
        let begun = move |piece: &Piece| half && piece.at != PieceState::Waiting;
        let pieces = self.pieces.iter().filter(move |(_, piece)| begun(piece));
        pieces.map(|(name, _)| name)
    }
}
