//! What a person hears of although the steward does what it can.

use std::time::Duration;

use planner::heal::concern::{Concern, Concerns, Subject};
use planner::heal::memory::Memory;
use planner::heal::names::{ShardId, ShardRef};
use planner::heal::settings::Settings;
use planner::heal::{Plan, plan};
use planner::ids::PeerId;

use crate::sim::{Sim, Task};

const ROUND: Duration = Duration::from_secs(1);

/// Three peers in three zones; `c/0` on all of them.
fn three() -> Sim {
    let mut sim = Sim::new(Settings::default());
    for zone in ["a", "b", "c"] {
        sim.add_peer(Some(zone), None);
    }
    (0..3).for_each(|_| drop(sim.tick()));
    sim.collection("c", 3, &[vec![PeerId(1), PeerId(2), PeerId(3)]]);
    sim.wanted_tasks = Some(3);
    sim
}

fn shard() -> ShardRef {
    ShardRef {
        collection: "c".into(),
        shard: ShardId(0),
    }
}

struct Watched {
    concerns: Concerns,
    memory: Memory,
}

impl Watched {
    fn new() -> Self {
        Self {
            concerns: Concerns::default(),
            memory: Memory::default(),
        }
    }

    /// So many seconds with this in sight; gives what a person hears at their end.
    fn see(&mut self, sim: &Sim, seconds: u64) -> Vec<Concern> {
        let view = sim.view(PeerId(1));
        for _ in 0..seconds {
            self.memory.observe(&sim.settings, ROUND, &view);
            let plan: Plan = plan(&sim.settings, &self.memory, &view);
            self.concerns.observe(&sim.settings, ROUND, &view, &plan);
        }
        self.concerns.alarms(&sim.settings)
    }
}

#[test]
fn at_rest_nothing_concerns_anybody() {
    assert_eq!(Watched::new().see(&three(), 10_000), []);
}

#[test]
fn a_peer_that_stays_silent_without_a_witness_is_heard_of_and_forgotten_when_it_is_back() {
    let mut sim = three();
    let mut watched = Watched::new();
    sim.peers.get_mut(&PeerId(3)).unwrap().task = Task::Slow;
    (0..60).for_each(|_| drop(sim.tick()));
    let long = sim.settings.lost_copy_timeout.as_secs() * 2;
    assert_eq!(watched.see(&sim, long - 60), []);
    let stuck = Concern::Stuck(Subject::Peer(PeerId(3)));
    assert!(watched.see(&sim, 120).contains(&stuck));

    sim.peers.get_mut(&PeerId(3)).unwrap().task = Task::Up;
    (0..3).for_each(|_| drop(sim.tick()));
    assert_eq!(watched.see(&sim, 11), []);
}

#[test]
fn a_shard_that_nobody_serves_is_heard_of_after_the_patience_with_a_silent_peer() {
    let mut sim = three();
    sim.collection("lone", 1, &[vec![PeerId(3)]]);
    sim.peers.get_mut(&PeerId(3)).unwrap().task = Task::Slow;
    (0..60).for_each(|_| drop(sim.tick()));
    let mut watched = Watched::new();
    let patience = sim.settings.patience.as_secs();
    assert_eq!(watched.see(&sim, patience), []);
    let lone = ShardRef {
        collection: "lone".into(),
        shard: ShardId(0),
    };
    assert_eq!(watched.see(&sim, 1), [Concern::Dark(lone.clone())]);
    // Its loss on record is heard of at once, and is said once.
    sim.losses.insert(lone.clone());
    assert_eq!(watched.see(&sim, 1), [Concern::Lost(lone)]);
}

#[test]
fn what_fails_six_times_in_a_row_is_heard_of() {
    let mut sim = three();
    let there = sim.collections.get_mut(&shard().collection).unwrap();
    let copies = there.shards.get_mut(&shard().shard).unwrap();
    copies.remove(&PeerId(3));
    let mut watched = Watched::new();
    for failures in 1..=6 {
        watched.see(&sim, 600);
        let view = sim.view(PeerId(1));
        for from in [PeerId(1), PeerId(2)] {
            let action = planner::heal::action::Action::Replicate {
                shard: shard(),
                from,
                to: PeerId(3),
            };
            watched.memory.fail(&sim.settings, &action);
        }
        let plan = plan(&sim.settings, &watched.memory, &view);
        watched.concerns.observe(&sim.settings, ROUND, &view, &plan);
        let heard = watched.concerns.alarms(&sim.settings);
        let fails = Concern::Fails(Subject::Shard(shard()));
        assert_eq!(
            heard.contains(&fails),
            failures >= 6,
            "{failures}: {heard:?}"
        );
    }
}
