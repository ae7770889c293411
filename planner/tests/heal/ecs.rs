//! ECS as far as rollouts meet it: it starts tasks of the wanted revision while there is room, protects
//! as many tasks as are wanted, and ends old ones that are not protected.

use std::time::Duration;

use planner::ids::PeerId;
use planner::records::Protection;

use crate::sim::{Sim, SimPeer, Task, task_of};

/// From SIGTERM to SIGKILL.
const STOP: Duration = Duration::from_secs(30);

impl Sim {
    /// Protection is given and given back, and who was let go is stopped.
    pub fn ecs_turns(&mut self) {
        self.protect();
        let released = self.orders.leaving.clone().filter(|there| there.released);
        if let Some(leaving) = released
            && let Some(there) = self.peers.get(&leaving.peer)
            && there.task == Task::Up
            && !there.ending
            && !self.protected.contains(&leaving.peer)
        {
            self.stop(leaving.peer);
        }
    }

    /// SIGTERM.
    pub fn stop(&mut self, peer: PeerId) {
        let stops_at = self.now + STOP;
        let there = self.peers.get_mut(&peer).unwrap();
        (there.ending, there.stops_at) = (true, stops_at);
        self.log(format!("ECS stops task {}", task_of(peer)));
    }

    fn protect(&mut self) {
        let dead = |there: &SimPeer| there.task == Task::Dead;
        self.protected
            .retain(|peer| self.peers.get(peer).is_some_and(|there| !dead(there)));
        if !self.protects {
            return;
        }
        if let Some(leaving) = self.orders.leaving.as_ref().filter(|there| there.released) {
            self.protected.remove(&leaving.peer);
        }
        let let_go = self.orders.leaving.iter().find(|there| there.released);
        let let_go = let_go.map(|there| there.peer);
        let asking: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, there)| there.task == Task::Up && Some(**id) != let_go)
            .map(|(id, _)| *id)
            .collect();
        for peer in asking {
            if !self.refuses() {
                self.protected.insert(peer);
            }
        }
    }

    /// There is something to stop, and as many tasks as are wanted are protected.
    fn refuses(&self) -> bool {
        let wanted = self.wanted_tasks.unwrap_or(usize::MAX);
        let running = self.peers.values().filter(|p| p.task != Task::Dead).count();
        let to_stop = self.old().next().is_some() || running + self.outside.len() > wanted;
        to_stop && self.protected.len() >= wanted
    }

    pub fn protection(&self, peer: PeerId) -> Option<Protection> {
        self.protects
            .then(|| match (self.protected.contains(&peer), self.refuses()) {
                (true, _) => Protection::Held,
                (false, true) => Protection::Blocked,
                (false, false) => Protection::Off,
            })
    }

    /// Peers of another revision than the wanted one whose tasks run.
    pub fn old(&self) -> impl Iterator<Item = PeerId> {
        let old = |there: &SimPeer| {
            let wanted = self.wanted_revision.as_ref();
            there.task != Task::Dead && wanted.is_some_and(|wanted| there.revision != *wanted)
        };
        self.peers
            .iter()
            .filter(move |(_, there)| old(there))
            .map(|(id, _)| *id)
    }

    /// One step of a deployment with room for `more` tasks than wanted: starts a task in this zone,
    /// or stops one of those that are not protected while more are ready than wanted.
    pub fn deploy(&mut self, zone: &str, more: usize) {
        let Some(wanted) = self.wanted_tasks else {
            return;
        };
        let running = self.peers.values().filter(|p| p.task != Task::Dead).count();
        if self.old().next().is_some() && running + self.outside.len() < wanted + more {
            self.start_task(Some(zone));
            return;
        }
        let ready = self.peers.values().filter(|p| p.ready && !p.ending).count();
        let free = self
            .old()
            .find(|peer| !self.protected.contains(peer) && !self.peers[peer].ending);
        // With fewer the rest would be no quorum, and that is not decided here.
        if let (true, Some(peer)) = (ready > wanted && wanted >= 3, free) {
            self.stop(peer);
        }
    }
}
