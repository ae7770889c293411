//! The records of the store, of the local disk, of Qdrant's key map and of `/v1/hello`.
//!
//! All are JSON with a `format` number. A reader refuses a newer format instead of guessing.

use core::fmt;
use core::net::IpAddr;
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

/// Why a generation begins. Restore will be a further mode of the same protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A new, empty cluster.
    Found,
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
}

/// What the steward has ordered, in Qdrant's key map, where a steward that cannot commit cannot
/// write it. Read by the tasks that it names, who act on it only while they read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Orders {
    /// Format of this record.
    pub format: u32,
    /// The one permission that is out.
    #[serde(default)]
    pub grant: Option<Grant>,
    /// The one task that is being emptied.
    #[serde(default)]
    pub leaving: Option<Leaving>,
}

/// A permission for one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// To do what.
    pub kind: GrantKind,
    /// Who.
    pub task: TaskId,
}

/// What a task may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Join Raft.
    Join,
    /// Be ready for the load balancer.
    Serve,
    /// Rename its data aside and begin anew, because its Qdrant cannot run with it.
    SetAside,
}

/// A task that is being emptied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leaving {
    /// The task.
    pub task: TaskId,
    /// Its peer.
    pub peer: PeerId,
    /// Why it, and not another.
    pub why: LeavingReason,
    /// It holds no copy any more: it serves what others hold until ECS ends it, unprotected.
    #[serde(default)]
    pub released: bool,
}

/// Why a task is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingReason {
    /// There are more tasks than wanted.
    Surplus,
    /// It is of another revision than the wanted one, and there is one more task than wanted.
    Revision,
    /// ECS says that protected tasks block its deployment, and nothing newer is here.
    Blocked,
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Serve => "serve",
            Self::SetAside => "set its data aside",
        })
    }
}

impl fmt::Display for LeavingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Surplus => "there are more tasks than wanted",
            Self::Revision => "it is not of the wanted revision",
            Self::Blocked => "protected tasks block the deployment",
        })
    }
}

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
    /// Its Qdrant ends again and again on this data.
    #[serde(default)]
    pub crash_looping: bool,
    /// The last Raft entry that its Qdrant knows to be committed.
    #[serde(default)]
    pub commit: Option<u64>,
    /// Nothing that it wrote has committed for the loss time-out.
    #[serde(default)]
    pub quorum_lost: bool,
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
    /// What it says of its place in the service.
    #[serde(flatten)]
    pub said: Said,
}

/// How far the Qdrant on this disk has come in its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Claimed, not formed. Whatever is on the disk was never served.
    Founding,
    /// Joining a formed generation; a member as soon as Raft has a term.
    Joining,
    /// A member.
    Member,
}

/// `.entrypoint/stamp.json` on the task's own disk: which generation the data belongs to. Written
/// before Qdrant first starts there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Format of this record.
    pub format: u32,
    /// The store; unknown only to a joiner that joined without one.
    pub store_id: StoreId,
    /// The generation.
    pub generation: GenerationId,
    /// The generation it followed.
    pub previous: Option<GenerationId>,
    /// The founder's peer id, once formed; with it a member can re-create lost records.
    pub founder: Option<PeerId>,
    /// How far this disk has come.
    pub stage: Stage,
    /// The peers that came into this generation with their data: not empty exactly when it began by
    /// re-quorum.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub survivors: BTreeSet<PeerId>,
    /// Ours is the claim that follows `generation` by re-quorum. The data still belongs to
    /// `generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regroup: Option<Regroup>,
    /// The data is of the generation before, which goes on in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<Rejoin>,
}

/// The mark of a claimant by re-quorum on its disk, written before the claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Regroup {
    /// The generation that is claimed.
    pub claim: GenerationId,
    /// The formed generation that it follows.
    pub previous: GenerationId,
    /// Who goes on, ourselves included.
    pub survivors: BTreeMap<PeerId, TaskId>,
    /// Whom our Qdrant listed and who was silent.
    pub missing: BTreeSet<PeerId>,
    /// The last Raft entry that was known here to be committed, before Raft was begun anew.
    pub commit: u64,
    /// Qdrant may have been started with `--reinit`: this peer never runs in the old generation
    /// again, whatever becomes of the claim.
    #[serde(default)]
    pub begun: bool,
}

/// The mark of a survivor that goes over into the new generation, written before Qdrant is started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejoin {
    /// Voters of the old generation that are not in the new one. While one of them stands in the
    /// Raft state, that state is the old one, and joining begins anew.
    pub left: BTreeSet<PeerId>,
    /// The last Raft entry that was known here to be committed in the old generation.
    pub commit: Option<u64>,
}

impl Stamp {
    /// The stamp of a disk that belongs to this generation.
    pub fn of(formed: &Formed, stage: Stage) -> Self {
        Self {
            format: FORMAT,
            store_id: formed.store_id.clone(),
            generation: formed.generation.clone(),
            previous: formed.previous.clone(),
            founder: Some(formed.founder),
            stage,
            survivors: formed.survivors.clone(),
            regroup: None,
            rejoin: None,
        }
    }

    /// The stamp of a claimant that begins with an empty disk.
    pub fn founding(
        store_id: StoreId,
        generation: GenerationId,
        previous: Option<GenerationId>,
    ) -> Self {
        Self {
            format: FORMAT,
            store_id,
            generation,
            previous,
            founder: None,
            stage: Stage::Founding,
            survivors: BTreeSet::new(),
            regroup: None,
            rejoin: None,
        }
    }

    /// The generation that this disk claims, and the formed one that it follows; `None` when it
    /// claims nothing.
    pub fn claims(&self) -> Option<(&GenerationId, Option<&GenerationId>)> {
        match (&self.regroup, self.stage) {
            (Some(mark), _) => Some((&mark.claim, Some(&mark.previous))),
            (None, Stage::Founding) => Some((&self.generation, self.previous.as_ref())),
            (None, _) => None,
        }
    }

    /// The record that ends our claim, with this peer as its founder.
    pub fn claimed(&self, service: &str, founder: PeerId) -> Option<Formed> {
        let (claim, previous) = self.claims()?;
        let survivors = self.regroup.iter().flat_map(|mark| mark.survivors.keys());
        Some(Formed {
            format: FORMAT,
            service: service.to_owned(),
            store_id: self.store_id.clone(),
            generation: claim.clone(),
            previous: previous.cloned(),
            founder,
            complete: false,
            survivors: survivors.copied().collect(),
        })
    }

    /// The formed record that belongs to this stamp: what a member re-creates in a store that was
    /// emptied, and publishes in the key map. `None` while the founder's peer id is not known.
    pub fn formed(&self, service: &str, complete: bool) -> Option<Formed> {
        Some(Formed {
            format: FORMAT,
            service: service.to_owned(),
            store_id: self.store_id.clone(),
            generation: self.generation.clone(),
            previous: self.previous.clone(),
            founder: self.founder?,
            complete,
            survivors: self.survivors.clone(),
        })
    }
}
