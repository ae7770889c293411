//! What the task says of itself on `/v1/status`, `/v1/hello`, `/readyz` and `/livez`: written by
//! the round, read by the control port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use planner::heal::names::CollectionName;
use planner::ids::{GenerationId, PeerId, StoreId, TaskId};
use planner::keep::ids::SetId;
use planner::keep::proving::Ages;
use planner::records::{FORMAT, Hello, Said, State};
use serde::{Deserialize, Serialize};

/// The body of `/v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of this body.
    pub format: u32,
    /// Version of the entrypoint.
    pub version: String,
    /// Our service.
    pub service: String,
    /// The cluster's id, once known.
    pub store_id: Option<StoreId>,
    /// This task.
    pub task: TaskId,
    /// Its address.
    pub address: IpAddr,
    /// Its Qdrant's URI for peers.
    pub uri: String,
    /// Its Availability Zone.
    pub zone: Option<String>,
    /// What it says of its place in the service: revision, protection, readiness.
    #[serde(default)]
    pub said: Said,
    /// Where it stands.
    pub phase: String,
    /// Why.
    pub reason: String,
    /// Since when it stands there.
    pub since: Timestamp,
    /// Its generation.
    pub generation: Option<GenerationId>,
    /// What it says of itself to others.
    pub state: State,
    /// Data of an earlier generation was set aside on this disk.
    pub aside: bool,
    /// Its peer id.
    pub peer_id: Option<PeerId>,
    /// Its role in Raft, as it believes (which proves nothing).
    pub role: Option<String>,
    /// Whether it votes.
    pub is_voter: Option<bool>,
    /// Its data was found to be the cluster's.
    #[serde(default)]
    pub verified: bool,
    /// The peers that its Qdrant lists.
    pub peers: Vec<Peer>,
    /// `/readyz` answers 200.
    pub ready: bool,
    /// Why not, or since it is.
    pub ready_reason: String,
    /// What a person must look at.
    pub alarms: Vec<String>,
    /// Log lines lost because standard output did not take them.
    #[serde(default)]
    pub lost_log_lines: usize,
    /// Our Qdrant process.
    pub child: serde_json::Value,
    /// The steward's plan, while this task's Qdrant leads.
    #[serde(default)]
    pub plan: serde_json::Value,
    /// The shards whose copies differ while nothing changes, as the steward's comparison found.
    #[serde(default)]
    pub divergence: serde_json::Value,
    /// Those of them that differ again and again, for the alarms.
    #[serde(skip)]
    pub diverged: Vec<String>,
    /// What the steward cannot mend by itself, for the alarms.
    #[serde(skip)]
    pub concerns: Vec<String>,
    /// The set of snapshots that this task's steward is making.
    #[serde(default)]
    pub set: Option<SetId>,
    /// What it waits for in this, or why it makes none.
    #[serde(default)]
    pub sets: String,
    /// How the sets stand, while this task's Qdrant leads.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// What a person must know of the clock that sets go by, for the alarms.
    #[serde(skip)]
    pub sets_wrong: Option<String>,
    /// What the restore does or waits for, while this task's Qdrant leads in a generation that began with
    /// one.
    #[serde(default)]
    pub restore: String,
    /// How old the proofs of sets are, while this task's Qdrant leads.
    #[serde(default)]
    pub proofs: Option<Ages>,
    /// What the next proof waits for, or why the last came to nothing.
    #[serde(default)]
    pub proof: String,
    /// What a person must know of them, for the alarms.
    #[serde(skip)]
    pub proofs_wrong: Option<String>,
    /// When the steward last said what it plans.
    #[serde(skip)]
    pub planned: Option<Instant>,
    /// What a person must know of the restore, for the alarms.
    #[serde(skip)]
    pub restore_wrong: Option<String>,
    /// The collection whose copies the restore is filling: the steward leaves it alone meanwhile.
    #[serde(skip)]
    pub filling: Option<CollectionName>,
    /// The steward sees every shard whole.
    #[serde(default)]
    pub whole: bool,
    /// The peers that answered this task in its last look.
    #[serde(default)]
    pub hears: BTreeSet<PeerId>,
    /// Since when no client reaches our Qdrant any more, when everything ends.
    #[serde(skip)]
    pub shut: Option<Instant>,
    /// The last decision record.
    pub decision: serde_json::Value,
}

/// How the sets in the store stand, as the steward that makes them saw them last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The newest in which every collection is whole.
    pub newest: Option<SetId>,
    /// The slots that passed without a set since this task started.
    pub missed: u64,
}

/// A peer as Qdrant lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Its URI.
    pub uri: String,
}

/// The status, and when the loop of PID 1 last turned.
#[derive(Clone, Debug)]
pub struct Board {
    /// What is said.
    pub status: Status,
    /// When a round last began or ended its look.
    pub turned: Instant,
}

impl Board {
    /// PID 1's loop is alive. A round waits for DNS, store and peers, each with its deadline, and
    /// says so at its beginning and after its look: only a loop that hangs for good is red.
    pub fn is_alive(&self, patience: Duration) -> bool {
        self.turned.elapsed() < patience
    }

    /// The body of `/v1/hello`.
    pub fn hello(&self) -> Hello {
        let status = &self.status;
        let peers = match status.state {
            State::Member => status.peers.iter().map(|peer| peer.id).collect(),
            _ => Default::default(),
        };
        Hello {
            format: FORMAT,
            service: status.service.clone(),
            store_id: status.store_id.clone(),
            task: status.task.clone(),
            state: status.state,
            generation: status.generation.clone(),
            aside: status.aside,
            uri: status.uri.clone(),
            leads: status.state == State::Member && status.role.as_deref() == Some("Leader"),
            verified: status.verified,
            peers,
            peer_id: status.peer_id,
            serves: status.is_voter.is_some(),
            zone: status.zone.clone(),
            hears: status.hears.clone(),
            whole: status.whole,
            set: status.set,
            said: Said {
                ready: status.ready,
                shut: status.shut.map(|at| {
                    let since = at.elapsed().as_millis();
                    u64::try_from(since).unwrap_or(u64::MAX)
                }),
                ..status.said.clone()
            },
        }
    }
}
