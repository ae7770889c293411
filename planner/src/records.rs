//! The records of the store, of the local disk, of Qdrant's key map and of `/v1/hello`.
//!
//! All are JSON with a `format` number. A reader refuses a newer format instead of guessing.

mod end;
mod hello;
mod job;
mod orders;
mod restore;
mod stamp;

pub use end::*;
pub use hello::*;
pub use job::*;
pub use orders::*;
pub use restore::*;
pub use stamp::*;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{GenerationId, PeerId, StoreId, TaskId, Token};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The key of [`Formed`] in Qdrant's replicated key map (`/cluster/metadata/keys/…`).
pub const FORMED_KEY: &str = "entrypoint.generation";

/// The key that a member writes, waiting for the commit, to learn whether consensus still works.
pub const PROBE_KEY: &str = "entrypoint.probe";

/// The key of [`Orders`] in Qdrant's replicated key map.
pub const ORDERS_KEY: &str = "entrypoint.orders";

/// `identity.json`: whose store this is. Created once, by the first claimant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Format of this record.
    pub format: u32,
    /// Names this store, and with it the cluster.
    pub store_id: StoreId,
    /// The service that owns the store (`ENTRYPOINT_SERVICE`).
    pub service: String,
    /// The deployment stack that made it (`ENTRYPOINT_STACK`), when one was named.
    pub stack: Option<String>,
}

/// Why a generation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A new, empty cluster.
    Found,
    /// A new, empty cluster into which the newest set of snapshots is restored before it serves (rule
    /// R7).
    Restore,
    /// The survivors of a generation whose quorum is lost go on with their data (rule R8).
    Requorum,
}

/// `generations/N/claim.json`: who wants to begin generation N, and upon which one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Format of this record.
    pub format: u32,
    /// Makes this claim unlike any other.
    pub token: Token,
    /// What the claimant is about to do.
    pub mode: Mode,
    /// The claimant.
    pub task: TaskId,
    /// Where the claimant's Qdrant will listen for its peers.
    pub uri: String,
    /// The formed generation that this one follows; `None` for the first.
    pub previous: Option<GenerationId>,
    /// The claimant's deployment stack (`ENTRYPOINT_STACK`), when one is named: whose cluster this
    /// will be, also in a store that another stack made.
    #[serde(default)]
    pub stack: Option<String>,
    /// Only in mode *requorum*: the peers with data that go on, the claimant among them, and their
    /// tasks. Nobody else keeps its data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub survivors: BTreeMap<PeerId, TaskId>,
    /// Only in mode *requorum*: the peers that Raft listed and that were silent.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<PeerId>,
    /// Only in mode *requorum*: the survivors whose data has stood still since an earlier claim began
    /// Raft anew there. What others hold as well is newer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub behind: BTreeSet<PeerId>,
}

/// `generations/N/lease.json`: the claimant is still at work. Overwritten by the claimant alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Format of this record.
    pub format: u32,
    /// The claim that is renewed.
    pub token: Token,
    /// Counts up; observers watch whether it moves, by their own clocks.
    pub beat: u64,
}

/// `generations/N/outcome.json`: how the claim ended, whichever was written first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The generation exists and is the cluster until a higher one is formed.
    Formed(Formed),
    /// The claim came to nothing.
    Abandoned {
        /// Format of this record.
        format: u32,
        /// Who gave it up, for people.
        by: TaskId,
        /// Why, for people.
        why: String,
    },
}

/// The formed generation: in `outcome.json`, and in Qdrant's own key map as the proof by which a
/// peer is believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Formed {
    /// Format of this record.
    pub format: u32,
    /// The service, so that a foreign cluster on a reused address is told apart (facts: T4).
    pub service: String,
    /// The store in which the generation was formed.
    pub store_id: StoreId,
    /// The generation.
    pub generation: GenerationId,
    /// The generation it followed.
    pub previous: Option<GenerationId>,
    /// The founder's peer id.
    pub founder: PeerId,
    /// Only in the key map: the first formation reached its wanted size once.
    #[serde(default)]
    pub complete: bool,
    /// The peers of the generation before that go on in this one with their data: not empty exactly
    /// when it began by re-quorum.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub survivors: BTreeSet<PeerId>,
    /// The survivors whose data has stood still since an earlier claim, see [`Claim::behind`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub behind: BTreeSet<PeerId>,
    /// The generation began with a restore, or goes on from one that did, and whoever wrote this had not
    /// seen it finished: nobody serves before that.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub restore: bool,
}
