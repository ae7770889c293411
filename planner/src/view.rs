//! What one round observed: the input of [`crate::decide`].

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{PeerId, TaskId};
use crate::observed::Observed;
use crate::records::{Claim, End, Formed, Hello, Identity, Member, Orders, Outcome, Stamp};

/// Everything that one round saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// This task's own disk.
    pub disk: Disk,
    /// The store.
    pub store: Observed<Store>,
    /// One DNS answer.
    pub dns: Dns,
    /// Who lives at each address that DNS or the store named. Without our own address.
    pub peers: BTreeMap<IpAddr, Probe>,
    /// Our own Qdrant.
    pub child: Child,
    /// It ends again and again on this disk without a calm run between; the last end, for people.
    pub crash_loop: Option<String>,
}

/// This task's own disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Our stamp; `None` when no generation ever touched this disk.
    pub stamp: Option<Stamp>,
    /// Raft state with a term above 0: Qdrant has been a member (facts: section 1.5).
    pub joined: bool,
    /// At least one collection directory exists. Every peer has one for every collection, so this
    /// is also how a node without shards knows that data exists somewhere.
    pub collections: bool,
    /// Data of an earlier generation was set aside here.
    pub aside: bool,
    /// The peer id in the Raft state, when there is one.
    pub peer_id: Option<PeerId>,
    /// This task was ready before, in an earlier process upon this disk.
    pub served: bool,
    /// The voters in the Raft state.
    pub voters: BTreeSet<PeerId>,
    /// The last committed entry in the Raft state.
    pub commit: Option<u64>,
    /// The term in the Raft state; 0 without one.
    pub term: u64,
}

impl Disk {
    /// A new disk.
    pub const EMPTY: Self = Self {
        stamp: None,
        joined: false,
        collections: false,
        aside: false,
        peer_id: None,
        served: false,
        voters: BTreeSet::new(),
        commit: None,
        term: 0,
    };
}

/// The store as read in one round. A record that is truncated, or of a newer format, makes the
/// whole store `Unknown`: half a chain is no chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// Whose store it is; absent in an unused store.
    pub identity: Option<Identity>,
    /// All generations that have a claim.
    pub generations: BTreeMap<u64, Generation>,
    /// The tasks that beat, ourselves not among them.
    pub members: BTreeMap<TaskId, Member>,
    /// Our own newest beat was read back in this round.
    pub own_beat_seen: bool,
    /// At least one snapshot set exists, so a lost cluster is restored, not founded anew; `None` where
    /// this was not looked for, which is neither.
    pub sets: Option<bool>,
    /// How the highest formed generation has ended, when it did so in order; `None` also where that was
    /// not looked for.
    pub ended: Option<Ended>,
}

/// The last word of a generation, and what is left of its final set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// What it says.
    pub end: End,
    /// Its set has a manifest and no tombstone, and no later one has a manifest.
    pub is_newest: bool,
}

/// One generation in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The claim.
    pub claim: Claim,
    /// The last beat of the claimant's lease; `None` before the first.
    pub lease: Option<u64>,
    /// How it ended; `None` while undecided.
    pub outcome: Option<Outcome>,
}

impl Generation {
    /// How this claim was formed. An outcome that names another claim landed late, in a store that
    /// was emptied in between: then this one can never be formed, and nothing else was.
    pub fn formed(&self, number: u64) -> Option<&Formed> {
        match &self.outcome {
            Some(Outcome::Formed(formed))
                if formed.generation.number == number
                    && formed.generation.token == self.claim.token =>
            {
                Some(formed)
            }
            _ => None,
        }
    }
}

impl Store {
    /// The highest formed generation: rule R1.
    pub fn formed(&self) -> Option<&Formed> {
        self.highest_formed().map(|(_, formed)| formed)
    }

    fn highest_formed(&self) -> Option<(&Generation, &Formed)> {
        self.generations
            .iter()
            .rev()
            .find_map(|(number, generation)| Some((generation, generation.formed(*number)?)))
    }

    /// The stack that the cluster in this store belongs to: that of the highest formed generation,
    /// else the one that made the store.
    pub fn stack(&self) -> Option<&str> {
        match self.highest_formed() {
            Some((generation, _)) => generation.claim.stack.as_deref(),
            None => self.identity.as_ref()?.stack.as_deref(),
        }
    }

    /// The highest claim, when it is still undecided.
    pub fn undecided(&self) -> Option<(u64, &Generation)> {
        let (number, generation) = self.generations.last_key_value()?;
        generation
            .outcome
            .is_none()
            .then_some((*number, generation))
    }

    /// The number that the next claim takes.
    pub fn next_number(&self) -> u64 {
        self.generations
            .last_key_value()
            .map_or(1, |(number, _)| number.saturating_add(1))
    }
}

/// One DNS answer for the service's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dns {
    /// No name is configured (single node).
    NotConfigured,
    /// An answer arrived; it may be empty or say that the name does not exist.
    Arrived(BTreeSet<IpAddr>),
    /// No answer: time-out, SERVFAIL, refused. For people.
    Failed(String),
}

/// Who lives at an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them live for one round"
)]
pub enum Probe {
    /// A task of ours answered, and, when it says that it is a member, what its Qdrant's key map
    /// says. Only the key map makes it believed.
    Task {
        /// What the task says of itself.
        hello: Box<Hello>,
        /// What its Qdrant's replicated key map says.
        proof: Option<Formed>,
        /// What the steward has ordered, as its Qdrant's key map says; `None` where that was not
        /// asked for or could not be read.
        orders: Option<Orders>,
    },
    /// Somebody is alive there whom we cannot read: 401, 403, an open Qdrant port, another
    /// service, nonsense. For people.
    Opaque(String),
    /// We could not ask there, for a reason of our own: this says nothing of the other side, not even
    /// that it is silent. For people.
    Unasked(String),
    /// Nothing answered on any port.
    Silent,
}

/// Our own Qdrant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "a few of them live for one round"
)]
pub enum Child {
    /// Not running, and may be started.
    Stopped,
    /// Not running, and the back-off after its last end is not over. For people.
    Resting(String),
    /// Running; what its REST interface says, unknown while it loads or joins.
    Running(Observed<Qdrant>),
}

/// What our own Qdrant says of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Qdrant {
    /// Its peer id.
    pub peer_id: PeerId,
    /// It leads, and has committed its own first entries: `leader == peer_id`,
    /// `commit >= 2`, and it lists itself (facts: section 1.6).
    pub leads: bool,
    /// Some leader is known.
    pub has_leader: bool,
    /// It votes.
    pub is_voter: bool,
    /// The peers that it lists.
    pub peers: BTreeSet<PeerId>,
    /// Its consensus thread has ended: it was removed from the cluster, or broke.
    pub consensus_stopped: bool,
    /// Its `/readyz` says 200. Sticky (facts: T11).
    pub ready: bool,
    /// What its own key map holds under [`crate::records::FORMED_KEY`].
    pub proof: Observed<Option<Formed>>,
    /// The last probe write: committed or not; `None` when none was asked for.
    pub commits: Option<bool>,
    /// The last entry that it knows to be committed.
    pub commit: u64,
    /// What the steward has ordered, as its own key map says.
    pub orders: Observed<Orders>,
    /// The restore into its generation is finished, as its own key map says: known to be so only when the
    /// record was read and says it. Asked only while the stamp says that there is one.
    pub restored: Observed<bool>,
}
