//! Why an action may not be done now.

use core::fmt;
use core::time::Duration;

use crate::heal::life::Doubt;
use crate::heal::names::{CollectionName, ShardRef, Zone};
use crate::ids::{PeerId, TaskId};
use crate::records::Grant;

/// Why an action may not be done now. Not an error: the next round decides anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has asked for no changes.
    Paused {
        /// Who.
        owner: String,
        /// What for.
        reason: String,
    },
    /// Consensus does not commit.
    NotCommitting,
    /// Whether consensus commits is not known.
    CommitUnknown(String),
    /// What is known of the peers is too old for what cannot be undone.
    Stale(Duration),
    /// A collection could not be read; `None`: not even their list.
    Unread(Option<CollectionName>, String),
    /// Qdrant is changing the number of a collection's shards.
    Resharding(CollectionName),
    /// A transfer is under way that this would disturb.
    Transfer {
        /// Of this shard.
        shard: ShardRef,
        /// From this peer.
        from: PeerId,
        /// To this peer.
        to: PeerId,
    },
    /// The address book does not list this peer.
    NoSuchPeer(PeerId),
    /// The address book lists this peer.
    Listed(PeerId),
    /// There is no such shard, copy or transfer any more.
    NotThere,
    /// The peer answers.
    Answers(PeerId),
    /// The peer's PID 1 answers.
    Hung(PeerId),
    /// The peer does not answer, and that it is gone is not proven.
    Unsure(PeerId, Doubt),
    /// No Active copy on a living peer would be left.
    LastCopy(ShardRef),
    /// Another copy is Active on a peer that may return.
    CopyMayReturn(ShardRef, PeerId),
    /// Fewer copies than wanted would be left.
    StillWanted(ShardRef),
    /// Qdrant lists copies on the peer.
    Holds(PeerId, usize),
    /// Not for long enough yet.
    TooSoon {
        /// What is left.
        left: Duration,
    },
    /// A copy that the peer took with it is not on record as lost.
    NotRecorded(ShardRef),
    /// Too few voters that live would be left.
    Voters,
    /// The peer votes, or does not, contrary to what this action is for.
    WrongRole(PeerId),
    /// The peer was not told to leave.
    NotLeaving(PeerId),
    /// The peer is not being stopped.
    NotEnding(PeerId),
    /// The source has no Active copy, or does not live.
    Source(PeerId),
    /// The target does not live, does not vote, leaves, or holds the shard already.
    Target(PeerId),
    /// The target's disk would go below its reserve.
    NoRoom(PeerId),
    /// The shard is not whole; it is not moved about before it is.
    NotWhole(ShardRef),
    /// The copies would be spread worse than now.
    Crowds(Option<Zone>),
    /// Both ends of the transfer live and it moves.
    Healthy,
    /// The factor is not below that.
    FactorReached,
    /// The orders in the key map cannot be read.
    OrdersUnread(String),
    /// A permission is out already, and there is one at a time.
    GrantOut(Grant),
    /// Another task is being emptied.
    OtherLeaves(TaskId),
    /// Nothing says that this task should go.
    NoReason,
    /// Nobody who could take a copy is as protected from ECS as the one that holds it.
    Unprotected,
    /// That permission is not out.
    NotGranted,
    /// No such task waits for that.
    NotWaiting(TaskId),
    /// This peer does not live and is listed still; whoever set its data aside before us may be it.
    StillListed(PeerId),
    /// Too few of the peers hold data or serve to carry another that does not.
    Dataless {
        /// Peers that hold data or serve.
        settled: usize,
        /// All that are listed.
        listed: usize,
    },
    /// ECS would stop this task first, were it healthy: nobody else is unprotected.
    StoppedFirst(TaskId),
    /// More tasks than wanted serve already.
    EnoughReady {
        /// Tasks that are ready.
        ready: usize,
        /// Tasks that are wanted.
        wanted: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { owner, reason } => write!(f, "paused by {owner}: {reason}"),
            Self::NotCommitting => f.write_str("consensus does not commit"),
            Self::CommitUnknown(why) => write!(f, "whether consensus commits is unknown: {why}"),
            Self::Stale(age) => {
                write!(
                    f,
                    "what is known of the peers is {} ms old",
                    age.as_millis()
                )
            }
            Self::Unread(Some(name), why) => {
                write!(f, "collection {name} could not be read: {why}")
            }
            Self::Unread(None, why) => write!(f, "the collections could not be listed: {why}"),
            Self::Resharding(name) => write!(f, "collection {name} is being resharded"),
            Self::Transfer { shard, from, to } => {
                write!(
                    f,
                    "a transfer of {shard} from peer {from} to {to} is under way"
                )
            }
            Self::NoSuchPeer(peer) => write!(f, "peer {peer} is not in the address book"),
            Self::Listed(peer) => write!(f, "peer {peer} is in the address book"),
            Self::NotThere => f.write_str("it is not there any more"),
            Self::Answers(peer) => write!(f, "peer {peer} answers"),
            Self::Hung(peer) => write!(f, "PID 1 of peer {peer} answers"),
            Self::Unsure(peer, why) => write!(f, "peer {peer} may be alive: {why}"),
            Self::LastCopy(shard) => {
                write!(
                    f,
                    "no other copy of {shard} is Active on a peer that answers"
                )
            }
            Self::CopyMayReturn(shard, peer) => {
                write!(f, "the copy of {shard} on peer {peer} may return")
            }
            Self::StillWanted(shard) => write!(f, "{shard} has no copies to spare"),
            Self::Holds(peer, copies) => write!(f, "{copies} copies are listed on peer {peer}"),
            Self::TooSoon { left } => write!(f, "{} s too soon", left.as_secs()),
            Self::NotRecorded(shard) => write!(f, "the loss of {shard} is not on record"),
            Self::Voters => f.write_str("too few voters that live would be left"),
            Self::WrongRole(peer) => write!(f, "peer {peer} has another role in Raft"),
            Self::NotLeaving(peer) => write!(f, "peer {peer} was not told to leave"),
            Self::NotEnding(peer) => write!(f, "peer {peer} is not being stopped"),
            Self::Source(peer) => write!(f, "peer {peer} has no Active copy to give"),
            Self::Target(peer) => write!(f, "peer {peer} cannot take a copy"),
            Self::NoRoom(peer) => write!(f, "the disk of peer {peer} has no room"),
            Self::NotWhole(shard) => write!(f, "{shard} is not whole"),
            Self::Crowds(Some(zone)) => write!(f, "zone {zone} has enough copies"),
            Self::Crowds(None) => f.write_str("a zone is unknown"),
            Self::Healthy => f.write_str("both of its ends live and it moves"),
            Self::OrdersUnread(why) => write!(f, "the orders cannot be read: {why}"),
            Self::GrantOut(grant) => {
                write!(f, "task {} may {}, one at a time", grant.task.0, grant.kind)
            }
            Self::OtherLeaves(task) => write!(f, "task {} is being emptied", task.0),
            Self::NoReason => f.write_str("nothing says that it should go"),
            Self::Unprotected => f.write_str("nobody who could take a copy is protected from ECS"),
            Self::NotGranted => f.write_str("nobody has that permission"),
            Self::NotWaiting(task) => write!(f, "task {} does not wait for it", task.0),
            Self::StillListed(peer) => {
                write!(f, "peer {peer} does not live and is not out of Raft yet")
            }
            Self::Dataless { settled, listed } => write!(
                f,
                "only {settled} of {listed} peers hold data or serve: too few to carry another"
            ),
            Self::StoppedFirst(task) => write!(
                f,
                "ECS would stop task {} first: as many as are wanted serve, and no other is to be spared yet",
                task.0
            ),
            Self::EnoughReady { ready, wanted } => {
                write!(f, "{ready} tasks serve, and {wanted} are wanted")
            }
            Self::FactorReached => f.write_str("the factor is not below that"),
        }
    }
}
