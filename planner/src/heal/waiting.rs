//! Why something that could be wished for was not done.

use core::fmt;
use core::time::Duration;

use crate::heal::action::Action;
use crate::heal::guard::Refusal;
use crate::heal::life::Life;
use crate::heal::names::{CollectionName, ShardRef};
use crate::ids::{PeerId, TaskId};
use crate::records::Grant;

/// What is missing of the copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Short {
    /// A shard has fewer living copies than it should have.
    Shard(ShardRef),
    /// A collection could not be read; `None`: not even their list.
    Unread(Option<CollectionName>),
}

/// One reason for doing nothing, or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing at all may be changed.
    Closed(Refusal),
    /// What was asked for last cannot be seen yet.
    Unseen {
        /// What.
        action: Action,
        /// Since when.
        age: Duration,
    },
    /// An action was refused by its own precondition.
    Refused {
        /// What.
        action: Action,
        /// Why.
        why: Refusal,
    },
    /// An action has failed and rests.
    Resting {
        /// What.
        action: Action,
        /// How often it has failed.
        failures: u32,
        /// What is left of the pause.
        left: Duration,
    },
    /// A transfer is under way, and there is one at a time.
    Transfer {
        /// Of this shard.
        shard: ShardRef,
        /// From this peer.
        from: PeerId,
        /// To this peer.
        to: PeerId,
    },
    /// A collection could not be read; `None`: not even their list.
    Unread(Option<CollectionName>, String),
    /// A collection is being resharded and is left alone.
    Resharding(CollectionName),
    /// A peer does not answer.
    Peer {
        /// Which.
        peer: PeerId,
        /// What is known of it.
        life: Life,
        /// Copies that may return with it.
        copies: usize,
    },
    /// A peer's zone is not known, so nothing is spread onto it.
    ZoneUnknown(PeerId),
    /// Copies are listed on a peer that is not in the address book: a majority was lost there.
    Unlisted {
        /// The peer.
        peer: PeerId,
        /// How many copies.
        copies: usize,
    },
    /// A gone peer is kept for the copies that nobody else has.
    LastCopies {
        /// The peer.
        peer: PeerId,
        /// The shards.
        shards: Vec<ShardRef>,
        /// Until they are given up.
        left: Duration,
    },
    /// Nobody who answers has an Active copy.
    NoSource(ShardRef),
    /// No peer can take a copy.
    NoPlace(ShardRef),
    /// The replacement task is waited for rather than making a copy that is moved again.
    Replacement {
        /// The shard.
        shard: ShardRef,
        /// For so long at most.
        left: Duration,
    },
    /// The load is uneven, and a replacement task is to come that takes its share.
    BalanceLater {
        /// For so long at most.
        left: Duration,
    },
    /// The orders in the key map cannot be read, so none is given.
    OrdersUnread(String),
    /// A permission is out, and there is one at a time.
    Granted(Grant),
    /// Nobody becomes ready for the first time while this is so.
    ReadyWaits {
        /// What is missing.
        what: Short,
        /// For so long at most, while nothing can be done for it.
        left: Duration,
    },
    /// The load is evened out when this task, which is being emptied, has gone; or, while none is, when
    /// no more tasks are here than wanted.
    Goes(Option<TaskId>),
    /// There are more tasks than wanted; that has to last before one of them goes.
    Surplus {
        /// So long.
        left: Duration,
    },
    /// A task blocks a deployment, and a task is missing, on its way in, or not ready yet.
    Successor,
    /// Tasks say that they block a deployment; that has to last before one of them goes.
    Blocked {
        /// So long.
        left: Duration,
    },
    /// A copy is not Active on a peer that answers: a transfer brings it, or Qdrant will begin one.
    Recovering {
        /// The shard.
        shard: ShardRef,
        /// Where.
        peer: PeerId,
        /// For so long it has.
        unwell: Duration,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(why) => write!(f, "no changes: {why}"),
            Self::Unseen { action, age } => {
                write!(f, "asked {} s ago, not seen yet: {action}", age.as_secs())
            }
            Self::Refused { action, why } => write!(f, "cannot {action}: {why}"),
            Self::Resting {
                action,
                failures,
                left,
            } => write!(
                f,
                "failed {failures} times, tried again in {} s: {action}",
                left.as_secs()
            ),
            Self::Transfer { shard, from, to } => write!(
                f,
                "one transfer at a time: {shard} is on its way from peer {from} to {to}"
            ),
            Self::Unread(Some(name), why) => {
                write!(f, "collection {name} could not be read: {why}")
            }
            Self::Unread(None, why) => write!(f, "the collections could not be listed: {why}"),
            Self::Resharding(name) => {
                write!(f, "collection {name} is being resharded and is left alone")
            }
            Self::Peer { peer, life, copies } => {
                write!(f, "peer {peer} is {life}")?;
                match copies {
                    0 => Ok(()),
                    1 => f.write_str("; one copy may return with it"),
                    copies => write!(f, "; {copies} copies may return with it"),
                }
            }
            Self::ZoneUnknown(peer) => {
                write!(
                    f,
                    "the zone of peer {peer} is unknown: nothing is spread onto it"
                )
            }
            Self::Unlisted { peer, copies } => write!(
                f,
                "{copies} copies are listed on peer {peer}, which is not in the address book"
            ),
            Self::LastCopies { peer, shards, left } => {
                write!(f, "peer {peer} is gone with the last copies of")?;
                shards.iter().try_for_each(|shard| write!(f, " {shard}"))?;
                write!(f, "; given up in {} s", left.as_secs())
            }
            Self::NoSource(shard) => {
                write!(f, "no peer that answers has an Active copy of {shard}")
            }
            Self::NoPlace(shard) => write!(f, "no peer can take another copy of {shard}"),
            Self::Replacement { shard, left } => write!(
                f,
                "{shard} waits for the replacement task, {} s at most",
                left.as_secs()
            ),
            Self::BalanceLater { left } => write!(
                f,
                "the load is evened out when the replacement task is here, in {} s at most",
                left.as_secs()
            ),
            Self::OrdersUnread(why) => write!(f, "no permission is given: {why}"),
            Self::Granted(grant) => {
                write!(f, "task {} may {}, one at a time", grant.task.0, grant.kind)
            }
            Self::ReadyWaits { what, left } => {
                f.write_str("nobody becomes ready for the first time: ")?;
                match what {
                    Short::Shard(shard) => write!(f, "copies of {shard} are missing")?,
                    Short::Unread(Some(name)) => write!(f, "{name} could not be read")?,
                    Short::Unread(None) => f.write_str("the collections could not be listed")?,
                }
                write!(
                    f,
                    "; {} s at most if nothing can be done for it",
                    left.as_secs()
                )
            }
            Self::Goes(Some(task)) => {
                write!(f, "the load is evened out when task {} has gone", task.0)
            }
            Self::Goes(None) => {
                f.write_str("the load is evened out when no more tasks are here than wanted")
            }
            Self::Surplus { left } => write!(
                f,
                "more tasks are here than wanted; one of them goes if that lasts another {} s",
                left.as_secs()
            ),
            Self::Successor => f.write_str(
                "a task blocks a deployment and goes when nobody is missing and all are ready",
            ),
            Self::Blocked { left } => write!(
                f,
                "protected tasks block a deployment; one of them goes if that lasts another {} s",
                left.as_secs()
            ),
            Self::Recovering {
                shard,
                peer,
                unwell,
            } => write!(
                f,
                "{shard} on peer {peer} is being made Active, for {} s so far",
                unwell.as_secs()
            ),
        }
    }
}
