//! How a step of a restore came to nothing.

use planner::heal::names::CollectionName;
use planner::keep::ids::SetId;

use crate::log::chain;

/// Why a step came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing can be said against the set: again, after a while. For people.
    Wait(String),
    /// Somebody else has been at it since it was begun: what we know of it holds no longer. For people.
    Overtaken(String),
    /// Its bytes were read here and are wrong: it has a number of tries. For people.
    Set(SetId, String),
}

pub(super) type Done<T> = Result<T, Failed>;

impl Failed {
    pub(super) fn words(self) -> String {
        match self {
            Self::Wait(why) | Self::Overtaken(why) | Self::Set(_, why) => why,
        }
    }
}

pub(super) fn wait(error: &(dyn std::error::Error + 'static)) -> Failed {
    Failed::Wait(chain(error))
}

/// What Qdrant refuses says nothing of the bytes: an older set would be refused the same.
pub(super) fn named(name: &CollectionName, error: &qdrant_api::Error) -> Failed {
    Failed::Wait(format!("{name}: {}", chain(error)))
}
