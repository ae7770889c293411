//! What stand-ins say to each other about consensus, and what a log entry holds.
//! Data only: no rules, no I/O.

use serde::{Deserialize, Serialize};

use crate::standin::model::Op;

/// A change of the Raft configuration; only one may be unapplied at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ConfChange {
    /// A peer joins without a vote. On a voter this is a demotion, as in raft-rs.
    AddLearner {
        /// Peer id.
        id: u64,
        /// Its p2p address.
        uri: String,
    },
    /// A learner is promoted, or the origin writes itself into the log (with its address).
    AddVoter {
        /// Peer id.
        id: u64,
        /// Its p2p address when it may be unknown.
        uri: Option<String>,
    },
    /// A peer leaves.
    Remove {
        /// Peer id.
        id: u64,
    },
}

/// Content of a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// First entry of a term, or what is left of a refused configuration change.
    Empty,
    /// Membership.
    Conf(ConfChange),
    /// Everything else.
    Op(Op),
}

/// One entry of the replicated log. Indices start at 1 and have no gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// Content.
    pub payload: Payload,
}

/// A message between two peers. As in raft-rs the receiver does not check that it is meant for
/// it: whoever listens on an address swallows what was sent to its former owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Sender.
    pub from: u64,
    /// Term of the sender.
    pub term: u64,
    /// What it says.
    pub body: Body,
}

/// The kinds of message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Entries after `prev_index`, and how far the log is committed.
    Append {
        /// Index before the first entry.
        prev_index: u64,
        /// Term of that entry.
        prev_term: u64,
        /// The entries.
        entries: Vec<Entry>,
        /// Commit index of the leader.
        commit: u64,
    },
    /// Answer to `Append`: the last index now held, or the refused `prev_index`.
    AppendReply {
        /// True when `prev_index` did not match.
        reject: bool,
        /// Acknowledged or refused index.
        index: u64,
        /// Last index of the refusing log.
        hint: u64,
    },
    /// Sign of life of the leader.
    Heartbeat {
        /// What the receiver may take as committed.
        commit: u64,
    },
    /// Answer to `Heartbeat`.
    HeartbeatReply,
    /// Request for a vote.
    Vote {
        /// Last index of the candidate.
        last_index: u64,
        /// Term of that entry.
        last_term: u64,
    },
    /// Answer to `Vote`.
    VoteReply {
        /// Given or not.
        granted: bool,
    },
    /// A follower hands a proposal on to its leader.
    Propose {
        /// The proposal.
        payload: Payload,
    },
}
