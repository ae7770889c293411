//! Snapshot sets in the running task: what `planner::keep` decides about is seen here, and what it
//! decided is done and said.
//!
//! It moves records and files between the async side and the store, each call within its deadline,
//! and believes nothing that `planner::keep::read` refuses. All that is remembered of sets is in the
//! store: whoever leads next goes on from there.
//!
//! | module | owns |
//! |---|---|
//! | [`shelf`] | [`Shelf`]: the sets, their records, what is in each; one thread |
//! | [`folder`] | what retention, restore and the end of a set read of one set |
//! | [`shelves`] | the same of all sets |
//! | [`file`] | [`FileWriter`], [`FileReader`]: one shard on its way into a set, or out of it; one thread |
//! | [`error`] | what can go wrong, as one line each |
//! | [`calls`] | which set this task has a part in, as the rounds hear it |
//! | [`taker`] | a task's own part: the shards that a plan names it for |
//! | [`keeper`] | beside the steward: when a set is due, and what becomes of it |
//! | [`last`] | the final set of a task with which everything ends |
//! | [`restorer`] | beside the steward: brings back everything after a total loss, and what is asked for by hand |
//! | [`restore_request`] | what people ask for about restores, in Qdrant's key map |
//! | [`asked`] | a request for a set by hand, in Qdrant's key map |
//! | `waits` | what somebody waits for, said once in a while |
//! | `sight` | the cluster as keeper and restorer see it |
//! | [`pruner`] | which sets go, and how |
//! | [`lend`] | a file of a set for this task's own Qdrant, through the control port |
//! | [`prover`] | proofs of sets, by schedule: read again, restored into a scratch Qdrant |
//! | [`sampler`] | some points of a shard, for the comparison with what is restored |
//! | [`check`] | whether the files of a set are what its manifest says |
//! | [`command`], [`take`], [`pins`] | `entrypoint snapshots` |
//! | [`restore`] | `entrypoint restore` |

pub mod asked;
pub mod calls;
pub mod check;
pub mod command;
pub mod error;
pub mod file;
pub mod folder;
pub mod keeper;
pub mod last;
pub mod lend;
mod lookout;
pub mod pins;
pub mod prover;
pub mod pruner;
pub mod restore;
pub mod restore_request;
pub mod restorer;
pub mod shelf;
pub mod shelves;
pub mod take;
pub mod taker;

mod describe;
mod record;
mod sampler;
mod sight;
#[cfg(test)]
mod tests;
mod waits;

use planner::ids::{StoreId, TaskId};
use planner::keep::ids::SetId;
use planner::keep::layout::{self, Entry};
use planner::keep::records::{FORMAT, Tombstone};
use planner::keep::retention;
use planner::keep::time::Utc;

pub use self::error::{FileError, ShelfError};
pub use self::file::{FileReader, FileWriter};
pub use self::folder::{Circumstances, Records};
pub use self::shelf::{Inside, Shelf};

use crate::config::{Config, Sets};
use crate::store::{BadKey, Key};

/// The key of a thing in a set. The only way to name something in the store from here, so that
/// nothing outside of a set can be.
fn key(set: SetId, entry: Entry) -> Result<Key, BadKey> {
    Key::new(format!("{}/{}", layout::set(set), entry.path()))
}

/// That a set is being deleted.
fn tombstone(set: SetId, cluster: &StoreId, task: &TaskId, at: Utc, why: &str) -> Tombstone {
    Tombstone {
        format: FORMAT,
        set,
        cluster: cluster.clone(),
        at,
        task: task.clone(),
        why: why.to_owned(),
    }
}

/// The wall clock; `None` while it is before 1970 or after what a set can be named after.
fn now() -> Option<Utc> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Utc::from_unix(since.ok()?.as_secs())
}

/// When sets are made and how long they are kept; `None` where none are.
pub fn retention_settings(config: &Config) -> Option<retention::Settings> {
    let Sets::Every(interval) = config.sets else {
        return None;
    };
    Some(retention::Settings {
        interval,
        all_for: config.keep_all,
        hourly: config.keep_hourly.into(),
        daily: config.keep_daily.into(),
        monthly: config.keep_monthly.into(),
        ..Default::default()
    })
}
