//! The Raft rules, without I/O and without a clock: time is `tick()`, the network is `out`.
//!
//! It follows what Qdrant configures in raft-rs: no check-quorum and no pre-vote (so an isolated
//! leader keeps its role and an expelled peer disturbs elections), elections after a random 20 to
//! 40 ticks, a heartbeat every 2 ticks, simple configuration changes of which only one may be
//! unapplied; any further one silently becomes an empty entry. The log is never compacted.

mod leader;
pub mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use message::{Body, ConfChange, Entry, Message};
use serde::{Deserialize, Serialize};

const ELECTION_TICKS: std::ops::Range<u64> = 20..40;
const HEARTBEAT_TICKS: u64 = 2;
const MAX_ENTRIES: usize = 256;

/// Role of a peer in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Role {
    /// Follows, or waits.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Believes that it leads.
    Leader,
}

/// Who votes and who only listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conf {
    /// Peers with a vote.
    pub voters: BTreeSet<u64>,
    /// Peers without one.
    pub learners: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    matched: u64,
    next: u64,
}

/// One peer's consensus state.
#[derive(Debug)]
pub struct Raft {
    id: u64,
    /// Current term; 0 in a peer that never heard of a leader.
    pub term: u64,
    /// Who got our vote in this term, 0 for nobody.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
    /// Highest index the state machine has taken.
    pub applied: u64,
    /// Present role.
    pub role: Role,
    /// Present leader, 0 when unknown.
    pub leader: u64,
    /// Configuration as applied.
    pub conf: Conf,
    log: Vec<Entry>,
    progress: BTreeMap<u64, Progress>,
    votes: BTreeMap<u64, bool>,
    pending_conf: u64,
    elapsed: u64,
    timeout: u64,
    heartbeat_elapsed: u64,
    out: Vec<(u64, Message)>,
    unsaved: Option<u64>,
    /// Set where raft-rs ends its thread: messages that contradict what is committed here.
    pub panic: Option<String>,
}

impl Raft {
    /// A peer with what its disk held: hard state, log and the configuration it starts from
    /// (before any entry is applied).
    pub fn new(id: u64, term: u64, vote: u64, commit: u64, conf: Conf, log: Vec<Entry>) -> Self {
        let last = log.len() as u64;
        let mut raft = Self {
            id,
            term,
            vote,
            commit: commit.min(last),
            applied: 0,
            role: Role::Follower,
            leader: 0,
            conf,
            log,
            progress: BTreeMap::new(),
            votes: BTreeMap::new(),
            pending_conf: 0,
            elapsed: 0,
            timeout: 0,
            heartbeat_elapsed: 0,
            out: Vec::new(),
            unsaved: None,
            panic: None,
        };
        raft.reset_timer();
        raft
    }

    /// The whole log.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// Index of the last entry, 0 when the log is empty.
    pub fn last_index(&self) -> u64 {
        self.log.len() as u64
    }

    /// Term of an entry; 0 for index 0, `None` beyond the end.
    fn term_at(&self, index: u64) -> Option<u64> {
        match index.checked_sub(1) {
            None => Some(0),
            Some(at) => self.log.get(at as usize).map(|e| e.term),
        }
    }

    /// The next committed entry that the state machine has not taken.
    pub fn next_committed(&self) -> Option<Entry> {
        (self.applied < self.commit).then(|| self.log.get(self.applied as usize).cloned())?
    }

    /// Messages to send once `take_unsaved` was written to disk: receiver and message.
    pub fn take_messages(&mut self) -> Vec<(u64, Message)> {
        std::mem::take(&mut self.out)
    }

    /// First index whose entries differ from the disk, if any.
    pub fn take_unsaved(&mut self) -> Option<u64> {
        self.unsaved.take()
    }

    /// Whether this peer may campaign.
    pub fn is_voter(&self) -> bool {
        self.conf.voters.contains(&self.id)
    }

    /// One tick of 100 ms has passed.
    pub fn tick(&mut self) {
        if self.role == Role::Leader {
            self.heartbeat_elapsed += 1;
            if self.heartbeat_elapsed >= HEARTBEAT_TICKS {
                self.heartbeat_elapsed = 0;
                self.broadcast_heartbeat();
            }
            return;
        }
        self.elapsed += 1;
        if self.is_voter() && self.elapsed >= self.timeout {
            self.campaign();
        }
    }

    /// Ask for votes now. A lone voter leads at once.
    pub fn campaign(&mut self) {
        self.term += 1;
        self.vote = self.id;
        self.role = Role::Candidate;
        self.leader = 0;
        self.votes = BTreeMap::from([(self.id, true)]);
        self.reset_timer();
        let (last_index, last_term) = self.last();
        for to in self.conf.voters.clone() {
            if to != self.id {
                self.send(
                    to,
                    Body::Vote {
                        last_index,
                        last_term,
                    },
                );
            }
        }
        self.count_votes();
    }

    /// Take a message from another peer. Messages of an older term are ignored, as raft-rs does
    /// without check-quorum and pre-vote.
    pub fn step(&mut self, message: Message) {
        let Message { from, term, body } = message;
        if let Body::Propose { payload } = body {
            self.propose(payload);
            return;
        }
        if term < self.term {
            return;
        }
        let of_leader = matches!(body, Body::Append { .. } | Body::Heartbeat { .. });
        // Two leaders of one term are of two clusters; raft-rs has no case for it.
        if of_leader && term == self.term && self.role == Role::Leader {
            return;
        }
        if term > self.term {
            self.become_follower(term, if of_leader { from } else { 0 });
        }
        if of_leader {
            if self.role != Role::Follower {
                self.become_follower(term, from);
            }
            self.leader = from;
            self.elapsed = 0;
        }
        match body {
            Body::Append {
                prev_index,
                prev_term,
                entries,
                commit,
            } => {
                self.on_append(from, prev_index, prev_term, entries, commit);
            }
            Body::Heartbeat { commit } => {
                self.commit_to(commit);
                self.send(from, Body::HeartbeatReply);
            }
            Body::Vote {
                last_index,
                last_term,
            } => self.on_vote(from, last_index, last_term),
            Body::VoteReply { granted } => {
                if self.role == Role::Candidate {
                    self.votes.entry(from).or_insert(granted);
                    self.count_votes();
                }
            }
            Body::AppendReply {
                reject,
                index,
                hint,
            } => {
                self.on_append_reply(from, reject, index, hint);
            }
            Body::HeartbeatReply => self.on_heartbeat_reply(from),
            Body::Propose { .. } => {}
        }
    }

    /// Tell that the entry at `index` was applied; `change` is its configuration change, if any.
    pub fn applied(&mut self, index: u64, change: Option<&ConfChange>) {
        self.applied = index;
        let Some(change) = change else { return };
        match change {
            ConfChange::AddLearner { id, .. } => {
                self.conf.voters.remove(id);
                self.conf.learners.insert(*id);
            }
            ConfChange::AddVoter { id, .. } => {
                self.conf.learners.remove(id);
                self.conf.voters.insert(*id);
            }
            ConfChange::Remove { id } => {
                self.conf.voters.remove(id);
                self.conf.learners.remove(id);
            }
        }
        self.configuration_changed();
    }

    fn become_follower(&mut self, term: u64, leader: u64) {
        if term > self.term {
            self.term = term;
            self.vote = 0;
        }
        self.role = Role::Follower;
        self.leader = leader;
        self.progress.clear();
        self.reset_timer();
    }

    fn reset_timer(&mut self) {
        self.elapsed = 0;
        self.timeout = rand::random_range(ELECTION_TICKS);
    }

    fn last(&self) -> (u64, u64) {
        self.log.last().map_or((0, 0), |e| (e.index, e.term))
    }

    fn send(&mut self, to: u64, body: Body) {
        self.out.push((
            to,
            Message {
                from: self.id,
                term: self.term,
                body,
            },
        ));
    }

    fn quorum(&self) -> usize {
        self.conf.voters.len() / 2 + 1
    }

    fn count_votes(&mut self) {
        let count = |want: bool| {
            let of_voter = |(id, v): &(&u64, &bool)| **v == want && self.conf.voters.contains(id);
            self.votes.iter().filter(of_voter).count()
        };
        if count(true) >= self.quorum() {
            self.become_leader();
        } else if count(false) >= self.quorum() {
            self.become_follower(self.term, 0);
        }
    }

    fn on_vote(&mut self, from: u64, last_index: u64, last_term: u64) {
        let (own_index, own_term) = self.last();
        let current = (last_term, last_index) >= (own_term, own_index);
        let free = self.vote == from || (self.vote == 0 && self.leader == 0);
        let granted = current && free;
        if granted {
            self.vote = from;
            self.elapsed = 0;
        }
        self.send(from, Body::VoteReply { granted });
    }

    fn on_append(&mut self, from: u64, prev: u64, term: u64, entries: Vec<Entry>, commit: u64) {
        if prev < self.commit {
            let index = self.commit;
            self.send(
                from,
                Body::AppendReply {
                    reject: false,
                    index,
                    hint: index,
                },
            );
            return;
        }
        if self.term_at(prev) != Some(term) {
            let hint = self.last_index().min(prev);
            self.send(
                from,
                Body::AppendReply {
                    reject: true,
                    index: prev,
                    hint,
                },
            );
            return;
        }
        let held = entries.last().map_or(prev, |e| e.index);
        for entry in entries {
            if self.term_at(entry.index) == Some(entry.term) {
                continue;
            }
            if entry.index <= self.commit {
                let (at, commit) = (entry.index, self.commit);
                self.panic = Some(format!("entry {at} conflict with committed entry {commit}"));
                return;
            }
            self.log.truncate(entry.index.saturating_sub(1) as usize);
            self.push(entry);
        }
        self.commit_to(commit.min(held));
        self.send(
            from,
            Body::AppendReply {
                reject: false,
                index: held,
                hint: held,
            },
        );
    }

    fn push(&mut self, entry: Entry) {
        let first = self.unsaved.map_or(entry.index, |u| u.min(entry.index));
        self.unsaved = Some(first);
        self.log.push(entry);
    }

    fn commit_to(&mut self, index: u64) {
        let last = self.last_index();
        if index > last {
            let why = format!("to_commit {index} is out of range [last_index {last}]");
            self.panic = Some(why);
            return;
        }
        self.commit = self.commit.max(index);
    }
}
