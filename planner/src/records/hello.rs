//! What a task says of itself: its hello to others, its beat in the store.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{GenerationId, PeerId, StoreId, TaskId, Token};
use crate::keep::ids::SetId;
use crate::keep::proving::Proving;

/// What ECS wants of the service, as its API says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WantedService {
    /// `family:revision` of the primary deployment. Compared by equality, never by number.
    pub revision: String,
    /// The desired count.
    pub tasks: u32,
    /// A task of the wanted revision is missing, ECS is starting none, and its `maximumPercent` leaves
    /// no room for one beside the tasks that run: one of them has to end first.
    #[serde(default)]
    pub full: bool,
}

/// How task scale-in protection stands for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// ECS has confirmed it and it has not expired.
    Held,
    /// Not asked for, or given back.
    Off,
    /// Asked for, and refused or not answered.
    Refused,
    /// Refused again and again because protected tasks block a deployment.
    Blocked,
}

/// What a task says of itself and of its place in the service, in its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Said {
    /// `family:revision` of its task definition.
    #[serde(default)]
    pub revision: Option<String>,
    /// When ECS created it, in milliseconds since 1970 by the clock of ECS, not of the task.
    #[serde(default)]
    pub created: Option<u64>,
    /// How many tasks its configuration wants.
    #[serde(default)]
    pub size: Option<u32>,
    /// What the ECS API told it lately.
    #[serde(default)]
    pub wanted: Option<WantedService>,
    /// The load balancer may send it traffic.
    #[serde(default)]
    pub ready: bool,
    /// How its task protection stands; `None` where there is none.
    #[serde(default)]
    pub protection: Option<Protection>,
    /// A signal has asked it to stop.
    #[serde(default)]
    pub ending: bool,
    /// For so many milliseconds no client has reached its Qdrant, and none will: what it acknowledged is all
    /// that it ever does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shut: Option<u64>,
    /// The last Raft entry that its Qdrant knows to be committed.
    #[serde(default)]
    pub commit: Option<u64>,
    /// Nothing that it wrote has committed for the loss time-out.
    #[serde(default)]
    pub quorum_lost: bool,
    /// Why its data does not serve, and what it waits for.
    #[serde(default)]
    pub plight: Plight,
    /// What it does for the proof of sets.
    #[serde(default)]
    pub proof: Proving,
}

/// What a task with data says that cannot go on by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plight {
    /// Its Qdrant cannot run with what is on its disk, for this reason: it asks for the permission to
    /// set it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_run: Option<String>,
    /// Were it its turn to claim the next generation for the survivors, it could not, for this reason
    /// of its own: others may go before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_claim: Option<String>,
    /// Raft was begun anew here for a claim that came to nothing: it has no vote in its generation
    /// any more, and its data has stood still since.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub begun: bool,
    /// It has claimed this generation for these survivors, as it has read in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Succession>,
    /// Its Qdrant is stopped for this claim and stays so until it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_for: Option<Token>,
}

/// A claim by re-quorum, in the word of its claimant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Succession {
    /// The generation that is claimed.
    pub claim: GenerationId,
    /// The formed one that it follows.
    pub previous: GenerationId,
    /// Who goes on.
    pub survivors: BTreeMap<PeerId, TaskId>,
}

/// What a task says of itself, in `members/<task>.json` and in `/v1/hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No Qdrant data of any generation here.
    Empty,
    /// Holds a claim that is not formed.
    Claiming,
    /// Is trying to join a formed generation and has not been in it yet.
    Joining,
    /// Belongs to a formed generation.
    Member,
    /// Belonged to a generation that cannot commit any more, and holds no collection.
    Stuck,
    /// Holds data and does not run it (fenced, blocked, waiting).
    HoldsData,
}

/// `members/<task>.json`, overwritten by its own task at every beat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Format of this record.
    pub format: u32,
    /// Counts up with every write.
    pub beat: u64,
    /// What the task is.
    pub state: State,
    /// The task's address: where `/v1/hello` and Qdrant are asked.
    pub address: IpAddr,
    /// The generation that the task belongs to or joins.
    pub generation: Option<GenerationId>,
    /// Data was set aside on this disk, so the task is not empty for the rule of total loss.
    pub aside: bool,
    /// The peer id of its Qdrant, when it has one.
    pub peer_id: Option<PeerId>,
    /// The Availability Zone.
    pub zone: Option<String>,
    /// `family:revision` of the task definition.
    pub revision: Option<String>,
}

/// The answer of `GET /v1/hello`: who lives at an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// Format of this record.
    pub format: u32,
    /// The service that the task belongs to.
    pub service: String,
    /// The store that the task sees, when it can be read and has been used.
    pub store_id: Option<StoreId>,
    /// The task.
    pub task: TaskId,
    /// What it is.
    pub state: State,
    /// Its generation.
    pub generation: Option<GenerationId>,
    /// Data was set aside on its disk.
    #[serde(default)]
    pub aside: bool,
    /// Where its Qdrant listens for peers.
    pub uri: String,
    /// Its Qdrant believes that it leads. Proves nothing (facts: T1), but a join through a leader
    /// that lives is answered, and one without a leader costs ten seconds.
    #[serde(default)]
    pub leads: bool,
    /// It has found its data to be the cluster's. Whoever slept as well is no witness.
    #[serde(default)]
    pub verified: bool,
    /// The peers that its Qdrant lists; empty unless a member.
    #[serde(default)]
    pub peers: BTreeSet<PeerId>,
    /// The peer on its disk.
    #[serde(default)]
    pub peer_id: Option<PeerId>,
    /// Its Qdrant answered it in its last look.
    #[serde(default)]
    pub serves: bool,
    /// Its Availability Zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// The peers that answered it in its last look.
    #[serde(default)]
    pub hears: BTreeSet<PeerId>,
    /// It leads, and every shard of every collection has all wanted copies on peers that answer.
    #[serde(default)]
    pub whole: bool,
    /// It leads, and its steward is making this set of snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetId>,
    /// What it says of its place in the service.
    #[serde(flatten)]
    pub said: Said,
}
