//! What a round decided, and why: the output of [`crate::decide`].

mod alarm;
mod reason;

pub use alarm::Alarm;
pub use reason::Reason;
use reason::others;

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GenerationId, PeerId, TaskId};
use crate::records::{Formed, Grant, Held, Mode, Plight, State};

/// One round's decision. At most one action; everything else that was not done has its reason in
/// `reason` or `alarms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where the task stands.
    pub phase: Phase,
    /// What to do now.
    pub action: Action,
    /// Why this, and not more.
    pub reason: Reason,
    /// What a person must look at.
    pub alarms: Vec<Alarm>,
    /// What we say of ourselves until the next round.
    pub state: State,
    /// Our generation, as we say it to others.
    pub generation: Option<GenerationId>,
    /// Our Qdrant must stand still: it may have been removed without knowing it.
    pub stand_still: bool,
    /// Renew the lease of our claim with the next beat.
    pub renew_lease: bool,
    /// Find out by a write whether consensus still commits.
    pub probe_commit: bool,
    /// The load balancer may send traffic here.
    pub ready: Result<(), NotReady>,
    /// We say that nothing has committed here for the loss time-out.
    pub quorum_lost: bool,
    /// We say that this is the last entry that is known here to be committed.
    pub commit: Option<u64>,
    /// What else we say when our data does not serve.
    pub plight: Plight,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Looks for others and for the right to found.
    Discovering,
    /// Waits for somebody else, or for something to become known.
    Waiting,
    /// Has claimed a generation and brings it up.
    Founding,
    /// Joins a formed generation.
    Joining,
    /// Belongs to the cluster.
    Member,
    /// Survived a lost majority and begins a new generation with the others, its data kept.
    Regrouping,
    /// Was told that the cluster is elsewhere; its Qdrant is stopped.
    Fenced,
    /// Cannot go on without a person.
    Blocked,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Waiting => "waiting",
            Self::Founding => "founding",
            Self::Joining => "joining",
            Self::Member => "member",
            Self::Regrouping => "regrouping",
            Self::Fenced => "fenced",
            Self::Blocked => "blocked",
        })
    }
}

/// What the shell does. Each is idempotent; each destructive one names what must still hold when
/// it is carried out (see [`crate::destruction`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Write the local stamp (stage founding) with a new token, then create identity and claim, for a
    /// new, empty cluster.
    Claim {
        /// The number to claim.
        number: u64,
        /// The formed generation it follows.
        previous: Option<GenerationId>,
        /// *Found*, or *restore*.
        mode: Mode,
    },
    /// Mark our disk as that of a claimant by re-quorum, with a new token, then create the claim.
    Regroup {
        /// The number to claim.
        number: u64,
        /// The formed generation whose majority is lost.
        previous: GenerationId,
        /// Who goes on with its data, ourselves included.
        survivors: BTreeMap<PeerId, TaskId>,
        /// Who is silent.
        missing: BTreeSet<PeerId>,
        /// The last entry that is known here to be committed.
        commit: u64,
        /// Whose data has stood still while others went on.
        behind: BTreeSet<PeerId>,
    },
    /// Create the identity and the claim of our stamp again: the last try has left no trace.
    RepeatClaim,
    /// Create `abandoned` for an undecided claim.
    Abandon {
        /// The claim's number.
        number: u64,
        /// Why, for people.
        why: String,
    },
    /// Create `formed` for our own claim.
    Form,
    /// Our generation is formed: mark our disk as a member's.
    Settle(Formed),
    /// Start Qdrant as the first peer of our claimed generation.
    StartFounder,
    /// Mark the disk as joining this generation and start Qdrant with this peer as bootstrap.
    StartJoiner {
        /// The generation, as proven by the peer.
        formed: Formed,
        /// The peer's address.
        via: IpAddr,
        /// The peer's URI for `--bootstrap`.
        uri: String,
    },
    /// Start Qdrant with the data of this disk.
    StartMember,
    /// Mark that this peer has left the old generation, and start Qdrant with `--reinit` as the only
    /// voter of the claimed one.
    StartReinit,
    /// Mark on our disk that Qdrant rests for the claim of another survivor, then stop it at once.
    HoldStill(Held),
    /// Our claim by re-quorum came to nothing and Raft was not begun anew: take the mark off.
    Resume,
    /// Mark the disk as going over, and start Qdrant with `--reinit` and this peer as bootstrap: the
    /// data stays, Raft begins anew.
    StartRejoin {
        /// The generation, as proven by the peer.
        formed: Formed,
        /// The peer's address.
        via: IpAddr,
        /// The peer's URI for `--bootstrap`.
        uri: String,
    },
    /// Raft has let us in with our data: drop the copies that a settled member holds as well, because
    /// ours may have missed writes, then mark our disk as a member's.
    Rejoined {
        /// The generation.
        formed: Formed,
        /// The peers that are members of it.
        settled: BTreeSet<PeerId>,
    },
    /// Write the formed record into Qdrant's key map, committed.
    Publish(Formed),
    /// The restore into our generation is finished: take that mark off our stamp.
    Restored,
    /// Write identity, claim and outcome of our generation into a store that lost them.
    Recreate(Formed),
    /// Stop Qdrant at once (SIGKILL): it must not serve a moment longer.
    Kill,
    /// Remove Qdrant's files and our stamp from the disk.
    Discard(Discard),
    /// Rename Qdrant's files aside and remove our stamp.
    SetAside(Aside),
}

/// On what ground data is renamed aside. Nothing is deleted by it, but the task begins anew, empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Aside {
    /// A higher generation is formed.
    Superseded {
        /// It.
        newer: GenerationId,
    },
    /// The cluster goes on without this peer, and every shard of it is whole there.
    Removed {
        /// The member that leads and says so.
        leader: IpAddr,
    },
    /// Our Qdrant cannot run with it, and the steward permits it.
    Permitted {
        /// The member that leads, in whose key map the permission stands.
        leader: IpAddr,
    },
}

/// On what ground a disk is wiped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// The claim was abandoned, so nothing here was ever served.
    ClaimAbandoned {
        /// The abandoned claim.
        generation: GenerationId,
    },
    /// Another task's claim has our number: ours never came to be.
    ClaimLost {
        /// Our would-be claim.
        generation: GenerationId,
    },
    /// There is no collection on this disk, and this Qdrant must not run again.
    Dataless,
}

/// Why the load balancer gets a 503.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotReady {
    /// Not a member.
    NotMember,
    /// Qdrant's own readiness has not come.
    Qdrant,
    /// A learner.
    Learner,
    /// The steward lets members be ready for the first time one after the other.
    NotAdmitted(Option<Grant>),
    /// The first formation is not complete.
    Forming {
        /// Members that answer, ourselves included.
        members: usize,
        /// Members wanted.
        wanted: usize,
    },
    /// The generation began with a restore, and nothing says yet that it is finished.
    Restoring,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMember => f.write_str("this task is not a member of the cluster"),
            Self::Qdrant => f.write_str("Qdrant on this task is not ready"),
            Self::Learner => f.write_str("Qdrant on this task does not vote yet"),
            Self::NotAdmitted(grant) => {
                f.write_str("this task waits for the steward's permission to serve")?;
                others(f, grant.as_ref())
            }
            Self::Forming { members, wanted } => {
                write!(f, "the first formation has {members} of {wanted} members")
            }
            Self::Restoring => f.write_str(
                "restoring: what was in the snapshot sets is not all back in this cluster yet",
            ),
        }
    }
}
