//! What the steward can do, and what for.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::heal::names::{CollectionName, ShardRef, Zone};
use crate::ids::PeerId;
use crate::records::{Grant, Leaving, LeavingReason};

/// One change. Each has a precondition in [`crate::heal::guard`] that is asked again when it is
/// carried out, and each may be repeated: what is done already, Qdrant refuses without harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `abort_transfer`.
    AbortTransfer {
        /// The shard.
        shard: ShardRef,
        /// Where the data came from.
        from: PeerId,
        /// Where it went.
        to: PeerId,
    },
    /// `drop_replica`: Qdrant forgets the copy on this peer. Qdrant itself refuses the last one.
    DropReplica {
        /// The shard.
        shard: ShardRef,
        /// The holder.
        peer: PeerId,
    },
    /// Write down that these shards are lost. Nothing in the cluster changes.
    RecordLoss {
        /// The gone peer that holds them.
        peer: PeerId,
        /// The shards.
        shards: BTreeSet<ShardRef>,
    },
    /// Take a gone peer that holds nothing out of Raft. Never by force.
    RemovePeer {
        /// The peer.
        peer: PeerId,
    },
    /// Take a gone peer out of Raft although Qdrant lists copies on it: each of them is lost and
    /// on record. The one removal that needs force, for Qdrant has no other way.
    RemoveLostPeer {
        /// The peer.
        peer: PeerId,
    },
    /// Make Qdrant forget the copies that it lists on a peer which is not in its address book: what a
    /// re-quorum leaves of the voters that it went on without. Each of them lives elsewhere, or is
    /// lost and on record. Qdrant has no way for it but a removal by force.
    ForgetUnlisted {
        /// The peer.
        peer: PeerId,
    },
    /// Take a learner that is gone out of the address book. It never voted.
    RemoveGhost {
        /// The peer.
        peer: PeerId,
    },
    /// Take a living peer that is being stopped and holds nothing any more out of Raft.
    Release {
        /// The peer.
        peer: PeerId,
    },
    /// `replicate_shard`: make a copy on another peer.
    Replicate {
        /// The shard.
        shard: ShardRef,
        /// Where an Active copy is.
        from: PeerId,
        /// Where the new one goes.
        to: PeerId,
    },
    /// `move_shard`: make a copy on another peer, then drop the one here.
    MoveReplica {
        /// The shard.
        shard: ShardRef,
        /// Where the copy is.
        from: PeerId,
        /// Where it goes.
        to: PeerId,
    },
    /// Order in the key map: this task has this permission.
    Grant(Grant),
    /// Order in the key map: nobody has this permission any more.
    Withdraw(Grant),
    /// Order in the key map: the copies on this task are moved to others.
    Evacuate(Leaving),
    /// Order in the key map: this task holds nothing any more, and ECS may end it.
    LetGo(Leaving),
    /// Order in the key map: this task was let go and holds copies again, so it is protected again.
    CallBack(Leaving),
    /// Order in the key map: nobody is emptied any more.
    EndEvacuation(Leaving),
    /// Set a collection's replication factor. Qdrant changes the number and nothing else.
    RaiseFactor {
        /// The collection.
        collection: CollectionName,
        /// The new factor.
        factor: u32,
    },
}

/// What an action is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The source of a transfer is gone.
    SourceGone,
    /// The target of a transfer is gone.
    TargetGone,
    /// The target of a transfer is being stopped.
    TargetEnds,
    /// Nothing has moved in a transfer for so long.
    Stalled(Duration),
    /// The peer is gone and the shard lives elsewhere.
    HolderGone,
    /// The peer is gone and nothing depends on it.
    PeerGone,
    /// The cluster goes on without the peer, and without the copies listed on it.
    NotListed,
    /// The last copies have been gone for so long that they do not come back.
    LossIsFinal,
    /// Only one copy lives.
    OneLivingCopy,
    /// Fewer copies than wanted.
    TooFew {
        /// Copies that live, come, or may return.
        present: usize,
        /// Copies that there should be.
        wanted: usize,
    },
    /// Qdrant has not made this copy Active for so long.
    NotRecovering(Duration),
    /// The peer was told to leave.
    Leaving,
    /// The peer's task is being stopped.
    Ending,
    /// Two copies in one zone, fewer in the other.
    Spread {
        /// The crowded zone.
        from: Zone,
        /// The other.
        to: Zone,
    },
    /// Copies of one collection are uneven between two peers.
    EvenCollection(u32, u32),
    /// All copies are uneven between two peers.
    EvenCount(u32, u32),
    /// Bytes are uneven between two peers.
    EvenBytes(u64, u64),
    /// The collection asks for fewer copies than this service wants.
    FactorTooLow(u32),
    /// So many of the peers hold data or serve, and carry one more.
    Carried {
        /// Peers that hold data or serve.
        settled: usize,
        /// All that are listed.
        listed: usize,
    },
    /// So many tasks serve, and no copy is missing that could be there.
    Whole {
        /// Tasks that are ready.
        ready: usize,
    },
    /// So many tasks serve; nothing more can be done for the copies that are missing.
    WholeAsCanBe {
        /// Tasks that are ready.
        ready: usize,
    },
    /// Its Qdrant cannot run with its data, for this reason, and every copy there lives elsewhere too.
    CannotRun(String),
    /// A task is to go, for this reason.
    ToGo(LeavingReason),
    /// The reason for emptying it is gone.
    ReasonGone,
    /// It does not answer, so it cannot be emptied.
    PeerSilent,
    /// It holds no copy any more.
    Emptied,
    /// It holds copies again.
    HoldsAgain,
    /// It has waited for its end for so long.
    NotEnded(Duration),
    /// The permission was used.
    Used,
    /// The permission is not what the task needs any more.
    OutOfPlace,
    /// The task has not been seen for so long.
    OutOfSight(Duration),
    /// The permission has not been used for so long; others may have their turn.
    Unused(Duration),
}

impl Action {
    /// Whether it begins a transfer, of which there is one at a time.
    pub fn is_transfer(&self) -> bool {
        matches!(self, Self::Replicate { .. } | Self::MoveReplica { .. })
    }

    /// Whether it takes a copy or a peer away, which nothing brings back as it was.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::DropReplica { .. }
                | Self::RemovePeer { .. }
                | Self::RemoveLostPeer { .. }
                | Self::ForgetUnlisted { .. }
                | Self::RemoveGhost { .. }
                | Self::Release { .. }
        )
    }

    /// Whether it is an order in the key map, which changes no copy and no peer by itself.
    pub fn is_order(&self) -> bool {
        matches!(
            self,
            Self::Grant(_)
                | Self::Withdraw(_)
                | Self::Evacuate(_)
                | Self::LetGo(_)
                | Self::CallBack(_)
                | Self::EndEvacuation(_)
        )
    }

    /// Whether it takes something away that only a copy elsewhere can bring back.
    pub fn is_destructive(&self) -> bool {
        matches!(
            self,
            Self::DropReplica { .. }
                | Self::RemovePeer { .. }
                | Self::RemoveLostPeer { .. }
                | Self::RemoveGhost { .. }
                | Self::ForgetUnlisted { .. }
                | Self::Release { .. }
                | Self::MoveReplica { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AbortTransfer { shard, from, to } => {
                write!(f, "abort the transfer of {shard} from peer {from} to {to}")
            }
            Self::DropReplica { shard, peer } => {
                write!(f, "drop the copy of {shard} on peer {peer}")
            }
            Self::RecordLoss { peer, shards } => {
                write!(f, "record that peer {peer} took the last copy with it:")?;
                shards.iter().try_for_each(|shard| write!(f, " {shard}"))
            }
            Self::RemovePeer { peer } => write!(f, "remove peer {peer}"),
            Self::RemoveLostPeer { peer } => {
                write!(f, "remove peer {peer} and the lost copies listed on it")
            }
            Self::ForgetUnlisted { peer } => {
                write!(
                    f,
                    "forget the copies listed on peer {peer}, which is not in the address book"
                )
            }
            Self::RemoveGhost { peer } => write!(f, "remove learner {peer}, which never voted"),
            Self::Release { peer } => write!(f, "release peer {peer}"),
            Self::Replicate { shard, from, to } => {
                write!(f, "replicate {shard} from peer {from} to {to}")
            }
            Self::MoveReplica { shard, from, to } => {
                write!(f, "move {shard} from peer {from} to {to}")
            }
            Self::Grant(grant) => write!(f, "let task {} {}", grant.task.0, grant.kind),
            Self::Withdraw(grant) => {
                write!(f, "take back that task {} may {}", grant.task.0, grant.kind)
            }
            Self::Evacuate(leaving) => {
                write!(f, "empty task {}, peer {}", leaving.task.0, leaving.peer)
            }
            Self::LetGo(leaving) => {
                write!(f, "let ECS end task {}", leaving.task.0)
            }
            Self::CallBack(leaving) => {
                write!(f, "have task {} protected again", leaving.task.0)
            }
            Self::EndEvacuation(leaving) => {
                write!(f, "take back that task {} leaves", leaving.task.0)
            }
            Self::RaiseFactor { collection, factor } => {
                write!(f, "raise the factor of {collection} to {factor}")
            }
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceGone => f.write_str("its source is gone"),
            Self::TargetGone => f.write_str("its target is gone"),
            Self::TargetEnds => f.write_str("its target is being stopped"),
            Self::Stalled(lasted) => write!(f, "nothing has moved for {} s", lasted.as_secs()),
            Self::HolderGone => f.write_str("the peer is gone and the shard lives elsewhere"),
            Self::PeerGone => f.write_str("it is gone and holds nothing"),
            Self::NotListed => f.write_str("the cluster goes on without it"),
            Self::LossIsFinal => f.write_str("it does not come back"),
            Self::OneLivingCopy => f.write_str("only one copy lives"),
            Self::TooFew { present, wanted } => write!(f, "{present} of {wanted} copies"),
            Self::NotRecovering(lasted) => {
                write!(
                    f,
                    "the copy there has not become Active for {} s",
                    lasted.as_secs()
                )
            }
            Self::Leaving => f.write_str("the peer was told to leave"),
            Self::Ending => f.write_str("its task is being stopped"),
            Self::Spread { from, to } => {
                write!(f, "zone {from} has more copies of it than zone {to}")
            }
            Self::EvenCollection(from, to) => {
                write!(f, "{from} copies of the collection there, {to} here")
            }
            Self::EvenCount(from, to) => write!(f, "{from} copies there, {to} here"),
            Self::EvenBytes(from, to) => write!(f, "{from} bytes there, {to} here"),
            Self::FactorTooLow(factor) => write!(f, "it is {factor}"),
            Self::Carried { settled, listed } => {
                write!(f, "{settled} of {listed} peers hold data or serve")
            }
            Self::Whole { ready } => write!(f, "{ready} tasks serve and no copy is missing"),
            Self::WholeAsCanBe { ready } => write!(
                f,
                "{ready} tasks serve and nothing can be done for the copies that are missing"
            ),
            Self::CannotRun(why) => write!(
                f,
                "its Qdrant cannot run with it ({why}), and every copy there lives elsewhere too"
            ),
            Self::ToGo(why) => write!(f, "{why}"),
            Self::ReasonGone => f.write_str("there is no reason for it any more"),
            Self::PeerSilent => f.write_str("it does not answer and cannot be emptied now"),
            Self::HoldsAgain => f.write_str("it holds copies again"),
            Self::Emptied => f.write_str("it holds no copy any more"),
            Self::NotEnded(lasted) => {
                write!(f, "it has waited for its end for {} s", lasted.as_secs())
            }
            Self::Used => f.write_str("it was used"),
            Self::OutOfPlace => f.write_str("it is not what the task needs any more"),
            Self::OutOfSight(lasted) => {
                write!(f, "the task has not been seen for {} s", lasted.as_secs())
            }
            Self::Unused(lasted) => {
                write!(f, "it has not been used for {} s", lasted.as_secs())
            }
        }
    }
}
