//! Snapshot sets in the store, for async code: what `planner::keep` decides about is read here, and
//! what it decided is written here.
//!
//! It moves records and files between the async side and the store, each call within its deadline,
//! and believes nothing that `planner::keep::read` refuses. It decides nothing about sets, and
//! keeps no memory of them.
//!
//! | module | owns |
//! |---|---|
//! | [`shelf`] | [`Shelf`]: the sets, their records, what is in each; one thread |
//! | [`folder`] | what retention, restore and the end of a set read of one set |
//! | [`mod@file`] | [`FileWriter`]: one shard on its way into a set; one thread |
//! | [`error`] | what can go wrong, as one line each |

pub mod error;
pub mod file;
pub mod folder;
pub mod shelf;

mod record;
#[cfg(test)]
mod tests;

use planner::keep::ids::SetId;
use planner::keep::layout::{self, Entry};

pub use self::error::{FileError, ShelfError};
pub use self::file::FileWriter;
pub use self::folder::{Circumstances, Records};
pub use self::shelf::{Inside, Shelf};

use crate::store::{BadKey, Key};

/// The key of a thing in a set. The only way to name something in the store from here, so that
/// nothing outside of a set can be.
fn key(set: SetId, entry: Entry) -> Result<Key, BadKey> {
    Key::new(format!("{}/{}", layout::set(set), entry.path()))
}
