//! The leader's half of the Raft rules: proposals, replication, commitment, promotion.

use super::message::{Body, ConfChange, Entry, Payload};
use super::{MAX_ENTRIES, Progress, Raft, Role};

impl Raft {
    /// Propose, or hand on to the leader. Without a leader the proposal is lost, and a
    /// configuration change while another one is unapplied becomes an empty entry: in both cases
    /// the proposer hears nothing (raft-rs raft.rs:2103-2130).
    pub fn propose(&mut self, payload: Payload) {
        if self.role != Role::Leader {
            if self.leader != 0 {
                self.send(self.leader, Body::Propose { payload });
            }
            return;
        }
        if !self.progress.contains_key(&self.id) {
            return;
        }
        let payload = match payload {
            Payload::Conf(_) if self.pending_conf > self.applied => Payload::Empty,
            payload => payload,
        };
        if matches!(payload, Payload::Conf(_)) {
            self.pending_conf = self.last_index() + 1;
        }
        self.append_own(payload);
        self.broadcast_append();
    }

    /// A learner that has everything, when nothing else is under way: the next to be promoted.
    pub fn promotable_learner(&self) -> Option<u64> {
        let idle = self.role == Role::Leader
            && self.commit == self.last_index()
            && self.applied == self.commit
            && self.pending_conf <= self.applied;
        let caught_up = |id: &&u64| {
            self.progress
                .get(id)
                .is_some_and(|p| p.matched == self.commit)
        };
        idle.then(|| self.conf.learners.iter().find(caught_up).copied())?
    }

    /// Whether the log already holds this peer as a voter (the origin writes itself once).
    pub fn has_origin(&self) -> bool {
        let own = |e: &Entry| matches!(&e.payload, Payload::Conf(ConfChange::AddVoter { id, .. }) if *id == self.id);
        self.log.iter().any(own)
    }

    pub(super) fn become_leader(&mut self) {
        self.role = Role::Leader;
        self.leader = self.id;
        self.heartbeat_elapsed = 0;
        let last = self.last_index();
        // Whatever is uncommitted may hold a configuration change (raft-rs raft.rs:1258-1263).
        self.pending_conf = last;
        self.progress.clear();
        for id in self.conf.voters.iter().chain(&self.conf.learners) {
            self.progress.insert(
                *id,
                Progress {
                    matched: 0,
                    next: last + 1,
                },
            );
        }
        self.append_own(Payload::Empty);
        self.broadcast_append();
    }

    fn append_own(&mut self, payload: Payload) {
        let index = self.last_index() + 1;
        self.push(Entry {
            index,
            term: self.term,
            payload,
        });
        if let Some(own) = self.progress.get_mut(&self.id) {
            *own = Progress {
                matched: index,
                next: index + 1,
            };
        }
        self.maybe_commit();
    }

    fn maybe_commit(&mut self) -> bool {
        let matched = |id: &u64| self.progress.get(id).map_or(0, |p| p.matched);
        let mut held: Vec<u64> = self.conf.voters.iter().map(matched).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&index) = held.get(self.quorum() - 1) else {
            return false;
        };
        if index <= self.commit || self.term_at(index) != Some(self.term) {
            return false;
        }
        self.commit = index;
        true
    }

    pub(super) fn configuration_changed(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let last = self.last_index();
        let members: Vec<u64> = self
            .conf
            .voters
            .iter()
            .chain(&self.conf.learners)
            .copied()
            .collect();
        self.progress.retain(|id, _| members.contains(id));
        // A member that is listed again keeps its progress: an id that comes back with an empty
        // disk never catches up (raft-rs tracker/progress.rs:166-176).
        for id in &members {
            self.progress.entry(*id).or_insert(Progress {
                matched: 0,
                next: last + 1,
            });
        }
        if self.is_voter() {
            self.maybe_commit();
            self.broadcast_append();
        }
    }

    pub(super) fn on_append_reply(&mut self, from: u64, reject: bool, index: u64, hint: u64) {
        let last = self.last_index();
        let Some(progress) = self
            .progress
            .get_mut(&from)
            .filter(|_| self.role == Role::Leader)
        else {
            return;
        };
        if reject {
            if index > progress.matched {
                progress.next = index.min(hint + 1).max(progress.matched + 1);
                self.send_append(from);
            }
            return;
        }
        progress.matched = progress.matched.max(index);
        progress.next = progress.next.max(index + 1);
        let behind = progress.next <= last;
        if self.maybe_commit() {
            self.broadcast_append();
        } else if behind {
            self.send_append(from);
        }
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: u64) {
        let last = self.last_index();
        let Some(progress) = self
            .progress
            .get_mut(&from)
            .filter(|_| self.role == Role::Leader)
        else {
            return;
        };
        if progress.matched < last {
            progress.next = progress.next.min(last).max(progress.matched + 1);
            if progress.matched > 0 {
                progress.next = progress.matched + 1;
            }
            self.send_append(from);
        }
    }

    pub(super) fn broadcast_heartbeat(&mut self) {
        for (id, matched) in self.others() {
            self.send(
                id,
                Body::Heartbeat {
                    commit: matched.min(self.commit),
                },
            );
        }
    }

    fn broadcast_append(&mut self) {
        for (id, _) in self.others() {
            self.send_append(id);
        }
    }

    fn others(&self) -> Vec<(u64, u64)> {
        let others = self.progress.iter().filter(|(id, _)| **id != self.id);
        others.map(|(id, p)| (*id, p.matched)).collect()
    }

    fn send_append(&mut self, to: u64) {
        let last = self.last_index();
        let Some(progress) = self.progress.get_mut(&to) else {
            return;
        };
        let prev_index = progress.next.saturating_sub(1).min(last);
        let entries: Vec<Entry> = self
            .log
            .iter()
            .skip(prev_index as usize)
            .take(MAX_ENTRIES)
            .cloned()
            .collect();
        // Sent is taken as arrived; a heartbeat reply repairs what was lost.
        progress.next = prev_index + 1 + entries.len() as u64;
        let prev_term = self.term_at(prev_index).unwrap_or(0);
        let commit = self.commit;
        self.send(
            to,
            Body::Append {
                prev_index,
                prev_term,
                entries,
                commit,
            },
        );
    }
}
