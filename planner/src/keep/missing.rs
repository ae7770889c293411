//! Why a set does not hold all of a collection.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::heal::names::ShardId;
use crate::ids::PeerId;

/// One thing that a set lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// Which shard; `None`: the whole collection.
    pub shard: Option<ShardId>,
    /// Why.
    pub why: Lack,
}

/// Why something is not in a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The collection could not be read; for people.
    Unread(String),
    /// Qdrant was changing the number of its shards.
    Resharding,
    /// The number of its shards, their keys or its parameters changed while the set was made.
    Changed,
    /// Qdrant lists fewer or other shards than the collection should have.
    Shards,
    /// Nobody who answers and stays has an Active copy.
    NoSource,
    /// Nothing has come from its source.
    NotDelivered {
        /// The source.
        peer: PeerId,
    },
    /// Its source could not take it, or its read-back failed; for people.
    Failed {
        /// The source.
        peer: PeerId,
        /// What went wrong.
        why: String,
    },
    /// The copy was not Active all the time, so it may lack writes.
    NotActive {
        /// The source.
        peer: PeerId,
        /// When it was not.
        when: When,
        /// What it was instead; nothing when it was not there any more.
        state: Option<String>,
    },
    /// The record of the file is not of this plan; for people.
    Stray {
        /// The source.
        peer: PeerId,
        /// What is wrong with it.
        why: String,
    },
}

/// When a copy was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// By its own node, just before.
    Before,
    /// By its own node, just after.
    After,
    /// By the steward, at the end.
    AtTheEnd,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Some(shard) => write!(f, "shard {shard}: {}", self.why),
            None => self.why.fmt(f),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(why) => write!(f, "it could not be read: {why}"),
            Self::Resharding => f.write_str("the number of its shards was being changed"),
            Self::Changed => f.write_str("it was changed while the set was made"),
            Self::Shards => f.write_str("Qdrant did not list the shards that it should have"),
            Self::NoSource => f.write_str("nobody who answers and stays had an Active copy"),
            Self::NotDelivered { peer } => write!(f, "peer {peer} did not deliver it"),
            Self::Failed { peer, why } => write!(f, "peer {peer} could not take it: {why}"),
            Self::NotActive { peer, when, state } => {
                let when = match when {
                    When::Before => "before",
                    When::After => "after",
                    When::AtTheEnd => "at the end",
                };
                match state {
                    Some(state) => write!(f, "the copy on peer {peer} was {state} {when}"),
                    None => write!(f, "the copy on peer {peer} was not there {when}"),
                }
            }
            Self::Stray { peer, why } => write!(f, "the record of peer {peer} is not used: {why}"),
        }
    }
}
