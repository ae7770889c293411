//! Qdrant as far as healing meets it (facts: sections 3 and 5): what it refuses, what it does by
//! itself, and what it never does.

use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::ids::PeerId;

use crate::sim::{Sim, SimCopy, SimTransfer, Task};

impl Sim {
    /// Raft and transfers work on this peer.
    pub fn raft_works(&self, peer: PeerId) -> bool {
        let there = self.peers.get(&peer);
        there.is_some_and(|there| matches!(there.task, Task::Up | Task::Slow))
    }

    /// A majority of the voters works, and one leads.
    pub fn commits(&self) -> bool {
        let voters: Vec<_> = self.peers.iter().filter(|(_, p)| p.voter).collect();
        let working = voters
            .iter()
            .filter(|(id, _)| self.raft_works(**id))
            .count();
        self.leader.is_some() && working * 2 > voters.len()
    }

    /// Everything that happens without the steward.
    pub fn world_turns(&mut self) {
        self.elect();
        let now = self.now;
        let commits = self.commits();
        for peer in self.peers.values_mut() {
            if matches!(peer.task, Task::Up | Task::Slow | Task::Hung) {
                peer.beat += 1;
                peer.silent_since = now;
            }
            // A joiner that does not answer stays a learner for ever.
            peer.voter |= commits && matches!(peer.task, Task::Up | Task::Slow);
        }
        let names: Vec<CollectionName> = self.collections.keys().cloned().collect();
        for name in names {
            self.transfers_go_on(&name, commits);
            if commits {
                self.writes_find_dead(&name);
                self.dead_copies_recover(&name);
            }
        }
    }

    fn elect(&mut self) {
        if self
            .leader
            .is_some_and(|leader| !self.raft_works(leader) || !self.peers[&leader].voter)
        {
            self.leader = None;
            self.electing = Duration::from_secs(3);
        }
        if self.leader.is_some() {
            return;
        }
        self.electing = self.electing.saturating_sub(self.round);
        let voters: Vec<_> = self.peers.iter().filter(|(_, p)| p.voter).collect();
        let able = voters
            .iter()
            .map(|(id, _)| **id)
            .filter(|id| self.raft_works(*id));
        let able: Vec<PeerId> = able.collect();
        if self.electing.is_zero() && able.len() * 2 > voters.len() {
            // Only a leader whose own Qdrant answers has a steward.
            let up = |peer: &&PeerId| self.peers[*peer].task == Task::Up;
            self.leader = able.iter().find(up).or(able.first()).copied();
            // A new steward has seen the peers all the time, and begun nothing.
            self.memory = Default::default();
            if let Some(leader) = self.leader {
                self.log(format!("peer {leader} leads"));
            }
        }
    }

    fn transfers_go_on(&mut self, name: &CollectionName, commits: bool) {
        let (now, round) = (self.now, self.round);
        let transfers = std::mem::take(&mut self.collections.get_mut(name).unwrap().transfers);
        let mut kept = Vec::new();
        for mut transfer in transfers {
            let (from, to) = (transfer.from, transfer.to);
            match (self.raft_works(from), self.raft_works(to)) {
                (true, true) => {
                    transfer.left = transfer.left.saturating_sub(round);
                    transfer.moved = now;
                    if transfer.left.is_zero() && commits {
                        self.finish(name, &transfer);
                    } else {
                        kept.push(transfer);
                    }
                }
                // The driver runs on the source: it tries three times, then gives up.
                (true, false) if commits && now >= transfer.moved + Duration::from_secs(6) => {
                    self.log(format!(
                        "Qdrant gives up the transfer of {name}/{} to {to}",
                        transfer.shard.0
                    ));
                    self.abort(name, &transfer);
                }
                _ => kept.push(transfer),
            }
        }
        let there = self.collections.get_mut(name).unwrap();
        there.transfers.append(&mut kept);
    }

    fn finish(&mut self, name: &CollectionName, transfer: &SimTransfer) {
        let SimTransfer {
            shard,
            from,
            to,
            sync,
            ..
        } = *transfer;
        self.set_copy(name, shard, to, Some("Active"));
        if !sync {
            self.set_copy(name, shard, from, None);
        }
        self.log(format!("{name}/{} is Active on peer {to}", shard.0));
    }

    /// The target of a sync transfer becomes Dead, that of a move goes (facts: section 5.4).
    fn abort(&mut self, name: &CollectionName, transfer: &SimTransfer) {
        let state = transfer.sync.then_some("Dead");
        self.set_copy(name, transfer.shard, transfer.to, state);
    }

    fn set_copy(
        &mut self,
        name: &CollectionName,
        shard: ShardId,
        peer: PeerId,
        state: Option<&'static str>,
    ) {
        let now = self.now;
        let Some(copies) = self
            .collections
            .get_mut(name)
            .unwrap()
            .shards
            .get_mut(&shard)
        else {
            return;
        };
        match state {
            Some(state) => copies.insert(peer, SimCopy::new(state, now)),
            None => copies.remove(&peer),
        };
    }

    /// A write that fails on a copy marks it Dead, unless it is the last (facts: section 5.4).
    fn writes_find_dead(&mut self, name: &CollectionName) {
        if !self.writes {
            return;
        }
        let mut found = Vec::new();
        for (shard, copies) in &self.collections[name].shards {
            let works = |peer: &PeerId| self.raft_works(*peer);
            let active = || copies.iter().filter(|(_, copy)| copy.is_active());
            if active().any(|(peer, _)| works(peer)) {
                found.extend(
                    active()
                        .filter(|(p, _)| !works(p))
                        .map(|(p, _)| (*shard, *p)),
                );
            }
        }
        for (shard, peer) in found {
            self.set_copy(name, shard, peer, Some("Dead"));
        }
    }

    /// A peer asks for its own Dead copies again (facts: section 5.5).
    fn dead_copies_recover(&mut self, name: &CollectionName) {
        if !self.recovers {
            return;
        }
        let mut begun = Vec::new();
        for (shard, copies) in &self.collections[name].shards {
            let busy = self.collections[name]
                .transfers
                .iter()
                .any(|t| t.shard == *shard);
            let source = copies
                .iter()
                .find(|(p, c)| c.is_active() && self.raft_works(**p));
            let target = copies
                .iter()
                .find(|(p, c)| c.state == "Dead" && self.raft_works(**p));
            if let (false, Some((from, _)), Some((to, _))) = (busy, source, target) {
                begun.push((*shard, *from, *to));
            }
        }
        for (shard, from, to) in begun {
            self.start(name, shard, from, to, true, false);
            self.log(format!(
                "Qdrant synchronises {name}/{} on peer {to}",
                shard.0
            ));
        }
    }

    pub fn start(
        &mut self,
        name: &CollectionName,
        shard: ShardId,
        from: PeerId,
        to: PeerId,
        sync: bool,
        ours: bool,
    ) {
        let (left, moved) = (self.transfer_time, self.now);
        self.set_copy(name, shard, to, Some("Recovery"));
        self.collections
            .get_mut(name)
            .unwrap()
            .transfers
            .push(SimTransfer {
                shard,
                from,
                to,
                sync,
                ours,
                left,
                moved,
            });
    }

    /// A request to Qdrant, with its own conditions and no others (facts: sections 3 and 5.2).
    pub fn request(&mut self, action: &Action) -> Result<(), String> {
        if !self.commits() {
            return Err("Waiting for consensus operation commit failed".to_owned());
        }
        match action {
            Action::RecordLoss { shards, .. } => {
                self.losses.extend(shards.iter().cloned());
                Ok(())
            }
            Action::Grant(grant) => {
                self.orders.grant = Some(grant.clone());
                Ok(())
            }
            Action::Evacuate(leaving) | Action::LetGo(leaving) | Action::CallBack(leaving) => {
                self.orders.leaving = Some(leaving.clone());
                if let Some(there) = self.peers.get_mut(&leaving.peer) {
                    there.leaving = true;
                }
                Ok(())
            }
            Action::EndEvacuation(leaving) => {
                self.orders.leaving = None;
                if let Some(there) = self.peers.get_mut(&leaving.peer) {
                    there.leaving = false;
                }
                Ok(())
            }
            Action::Withdraw(_) => {
                self.orders.grant = None;
                Ok(())
            }
            Action::RaiseFactor { collection, factor } => {
                self.collections.get_mut(collection).unwrap().factor = *factor;
                Ok(())
            }
            Action::AbortTransfer { shard, from, to } => {
                let there = self.collections.get_mut(&shard.collection).unwrap();
                let mut transfers = there.transfers.iter();
                let is = |t: &SimTransfer| t.shard == shard.shard && t.from == *from && t.to == *to;
                let index = transfers.position(is).ok_or("404: no such transfer")?;
                let transfer = there.transfers.remove(index);
                self.abort(&shard.collection, &transfer);
                Ok(())
            }
            Action::DropReplica { shard, peer } => self.drop_replica(shard, *peer),
            Action::Replicate { shard, from, to } => self.transfer(shard, *from, *to, true),
            Action::MoveReplica { shard, from, to } => self.transfer(shard, *from, *to, false),
            Action::RemovePeer { peer }
            | Action::RemoveGhost { peer }
            | Action::Release { peer } => self.remove(*peer, false),
            Action::RemoveLostPeer { peer } | Action::ForgetUnlisted { peer } => {
                self.remove(*peer, true)
            }
        }
    }

    fn drop_replica(&mut self, shard: &ShardRef, peer: PeerId) -> Result<(), String> {
        let copies = &self.collections[&shard.collection].shards[&shard.shard];
        if !copies.contains_key(&peer) {
            return Err("400: no replica there".to_owned());
        }
        if !copies
            .iter()
            .any(|(p, copy)| *p != peer && copy.is_active())
        {
            return Err("400: must have at least one active replica after removing".to_owned());
        }
        self.set_copy(&shard.collection, shard.shard, peer, None);
        Ok(())
    }

    fn transfer(
        &mut self,
        shard: &ShardRef,
        from: PeerId,
        to: PeerId,
        sync: bool,
    ) -> Result<(), String> {
        let there = &self.collections[&shard.collection];
        let source = there.shards[&shard.shard].get(&from);
        if !source.is_some_and(SimCopy::is_active) {
            return Err(format!("400: shard is not active on peer {from}"));
        }
        if !self.peers.contains_key(&to) {
            return Err(format!("400: peer {to} does not exist"));
        }
        let ends = [from, to];
        let mut same = there.transfers.iter().filter(|t| t.shard == shard.shard);
        if same.any(|t| ends.contains(&t.from) || ends.contains(&t.to)) {
            return Err("400: the shard is already involved in a transfer".to_owned());
        }
        self.start(&shard.collection, shard.shard, from, to, sync, true);
        Ok(())
    }

    fn remove(&mut self, peer: PeerId, force: bool) -> Result<(), String> {
        let all = || self.collections.values().flat_map(|c| c.shards.values());
        if !force && all().any(|copies| copies.contains_key(&peer)) {
            return Err("400: cannot remove peer as there are shards on it".to_owned());
        }
        let others = self.peers.iter().filter(|(id, p)| **id != peer && p.voter);
        if others.count() == 0 {
            return Err(
                "400: the last voter, without which every node is broken for good".to_owned(),
            );
        }
        for collection in self.collections.values_mut() {
            for copies in collection.shards.values_mut() {
                copies.remove(&peer);
            }
            let (ended, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut collection.transfers)
                .into_iter()
                .partition(|t| t.from == peer || t.to == peer);
            collection.transfers = kept;
            for transfer in ended.into_iter().filter(|t| t.to != peer) {
                let copies = collection.shards.get_mut(&transfer.shard).unwrap();
                match transfer.sync {
                    true => copies.insert(transfer.to, SimCopy::new("Dead", self.now)),
                    false => copies.remove(&transfer.to),
                };
            }
        }
        self.peers.remove(&peer);
        Ok(())
    }
}
