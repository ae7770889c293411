//! What a person hears of although the steward does what it can.

use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::concern::{Concern, Concerns, Subject};
use planner::heal::memory::Memory;
use planner::heal::names::{ShardId, ShardRef};
use planner::heal::settings::Settings;
use planner::heal::view::Pause;
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
            self.concerns
                .observe(&sim.settings, ROUND, &view, &self.memory, &[&plan]);
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
fn while_a_pause_holds_nobody_is_told_to_hurry() {
    let mut sim = three();
    sim.peers.get_mut(&PeerId(3)).unwrap().task = Task::Slow;
    (0..60).for_each(|_| drop(sim.tick()));
    sim.paused = Some(Pause {
        owner: "on call".to_owned(),
        reason: "the peer is being looked at".to_owned(),
    });
    assert_eq!(Watched::new().see(&sim, 10_000), []);
}

#[test]
fn what_waits_for_a_transfer_that_moves_is_not_stuck_and_a_transfer_of_hours_is() {
    let mut sim = three();
    sim.collection("d", 3, &[vec![PeerId(1), PeerId(2)]]);
    let shard = ShardRef {
        collection: "d".into(),
        shard: ShardId(0),
    };
    let (from, to) = (PeerId(1), PeerId(3));
    let action = Action::Replicate {
        shard: shard.clone(),
        from,
        to,
    };
    sim.request(&action).unwrap();
    let mut watched = Watched::new();
    let hour = sim.settings.lost_copy_timeout.as_secs() * 4;
    assert_eq!(watched.see(&sim, hour), []);
    let long = Concern::Stuck(Subject::Transfer { shard, from, to });
    assert_eq!(watched.see(&sim, 1), [long]);
}

#[test]
fn a_steward_that_cannot_look_is_heard_of_after_the_patience() {
    let sim = three();
    let mut watched = Watched::new();
    watched.see(&sim, 1);
    for _ in 0..sim.settings.patience.as_secs() {
        assert_eq!(watched.concerns.alarms(&sim.settings), []);
        watched.concerns.blind(ROUND);
    }
    assert_eq!(watched.concerns.alarms(&sim.settings), [Concern::Blind]);
    let long = sim.settings.sight_timeout.as_secs() + 1;
    assert_eq!(watched.see(&sim, long), []);
}

#[test]
fn what_takes_longer_to_fail_than_the_longest_pause_is_counted_all_the_same() {
    let mut sim = three();
    sim.collection("d", 3, &[vec![PeerId(1), PeerId(2)]]);
    let action = Action::Replicate {
        shard: ShardRef {
            collection: "d".into(),
            shard: ShardId(0),
        },
        from: PeerId(1),
        to: PeerId(3),
    };
    let mut memory = Memory::default();
    for failures in 1..=3 {
        memory.begin(&sim.settings, action.clone());
        sim.request(&action).unwrap();
        // Twenty minutes under way, then it is gone without a copy.
        let under_way = sim.view(PeerId(1));
        for _ in 0..1200 {
            memory.observe(&sim.settings, ROUND, &under_way);
        }
        let there = sim.collections.get_mut(&"d".into()).unwrap();
        there.transfers.clear();
        there
            .shards
            .get_mut(&ShardId(0))
            .unwrap()
            .remove(&PeerId(3));
        memory.observe(&sim.settings, ROUND, &sim.view(PeerId(1)));
        assert_eq!(memory.resting(&action).unwrap().count, failures);
    }
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
            let action = Action::Replicate {
                shard: shard(),
                from,
                to: PeerId(3),
            };
            watched.memory.fail(&sim.settings, &action);
        }
        let plan = plan(&sim.settings, &watched.memory, &view);
        let Watched { concerns, memory } = &mut watched;
        concerns.observe(&sim.settings, ROUND, &view, memory, &[&plan]);
        let heard = watched.concerns.alarms(&sim.settings);
        let fails = Concern::Fails(Subject::Shard(shard()));
        assert_eq!(
            heard.contains(&fails),
            failures >= 6,
            "{failures}: {heard:?}"
        );
    }
}
