//! What the steward remembers of its own requests.

use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::memory::Memory;
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::heal::settings::Settings;
use planner::heal::waiting::Waiting;
use planner::heal::{Plan, plan};
use planner::ids::PeerId;

use crate::sim::{Sim, Task};

const ROUND: Duration = Duration::from_secs(1);

/// Three peers, and a shard that has two of its three copies; a steward that only remembers.
fn short() -> Sim {
    let mut sim = Sim::new(Settings::default());
    for zone in ["a", "b", "c"] {
        sim.add_peer(Some(zone), None);
    }
    (0..3).for_each(|_| drop(sim.tick()));
    let holders = vec![PeerId(1), PeerId(2)];
    sim.collection("c", 2, &[holders]);
    sim.collections
        .get_mut(&CollectionName::from("c"))
        .unwrap()
        .factor = 3;
    sim.wanted_tasks = Some(3);
    sim
}

fn replicate() -> Action {
    let shard = ShardRef {
        collection: "c".into(),
        shard: ShardId(0),
    };
    let (from, to) = (PeerId(1), PeerId(3));
    Action::Replicate { shard, from, to }
}

fn observe(sim: &Sim, memory: &mut Memory, rounds: u64) -> Plan {
    let view = sim.view(PeerId(1));
    for _ in 0..rounds {
        memory.observe(&sim.settings, ROUND, &view);
    }
    plan(&sim.settings, memory, &view)
}

fn asked(plan: &Plan) -> Vec<Action> {
    plan.actions
        .iter()
        .map(|planned| planned.action.clone())
        .collect()
}

#[test]
fn a_request_that_shows_nothing_is_waited_for_then_tried_elsewhere() {
    let sim = short();
    let mut memory = Memory::default();
    assert_eq!(asked(&observe(&sim, &mut memory, 1)), [replicate()]);

    memory.begin(&Settings::default(), replicate());
    let waiting = observe(&sim, &mut memory, 59);
    assert_eq!(asked(&waiting), []);
    assert!(matches!(waiting.waiting_on[..], [Waiting::Unseen { .. }]));

    // Lost: it rests, and the other source is tried.
    let next = observe(&sim, &mut memory, 1);
    assert!(matches!(
        next.waiting_on[..],
        [Waiting::Resting { failures: 1, .. }]
    ));
    assert!(matches!(
        asked(&next)[..],
        [Action::Replicate {
            from: PeerId(2),
            ..
        }]
    ));
}

#[test]
fn each_failure_doubles_the_pause_and_a_success_ends_it() {
    let settings = Settings::default();
    let mut sim = short();
    let mut memory = Memory::default();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        memory.fail(&settings, &replicate());
        pauses.push(memory.resting(&replicate()).unwrap().left.as_secs());
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
    observe(&sim, &mut memory, 600);
    assert_eq!(memory.resting(&replicate()), None);

    memory.begin(&Settings::default(), replicate());
    sim.request(&replicate()).unwrap();
    observe(&sim, &mut memory, 1);
    (0..10).for_each(|_| sim.world_turns());
    observe(&sim, &mut memory, 1);
    memory.fail(&settings, &replicate());
    assert_eq!(memory.resting(&replicate()).unwrap().count, 1);
}

#[test]
fn a_transfer_that_ends_without_a_copy_has_failed() {
    let mut sim = short();
    let mut memory = Memory::default();
    memory.begin(&Settings::default(), replicate());
    sim.request(&replicate()).unwrap();
    let running = observe(&sim, &mut memory, 1);
    assert_eq!(memory.unseen(), None);
    assert_eq!(asked(&running), []);
    let name = CollectionName::from("c");
    sim.collections.get_mut(&name).unwrap().transfers.clear();
    observe(&sim, &mut memory, 1);
    assert_eq!(memory.resting(&replicate()).unwrap().count, 1);
}

#[test]
fn a_transfer_out_of_sight_is_still_one() {
    let mut sim = short();
    sim.collection("d", 2, &[vec![PeerId(1)]]);
    let mut memory = Memory::default();
    memory.begin(&Settings::default(), replicate());
    sim.request(&replicate()).unwrap();
    observe(&sim, &mut memory, 1);
    sim.collections
        .get_mut(&CollectionName::from("c"))
        .unwrap()
        .readable = false;
    let hidden = observe(&sim, &mut memory, 1);
    assert_eq!(asked(&hidden), []);
    assert!(
        hidden
            .waiting_on
            .iter()
            .any(|w| matches!(w, Waiting::Unseen { .. }))
    );
    // Not for ever.
    let later = observe(&sim, &mut memory, 600);
    assert!(matches!(asked(&later)[..], [Action::Replicate { .. }]));
}

#[test]
fn a_loss_begins_the_wait_for_the_replacement_anew() {
    let mut sim = short();
    let mut memory = Memory::default();
    observe(&sim, &mut memory, 100);
    assert_eq!(memory.since_loss(), Duration::from_secs(100));
    sim.set_task(PeerId(3), Task::Dead);
    (0..30).for_each(|_| drop(sim.tick()));
    observe(&sim, &mut memory, 1);
    assert_eq!(memory.since_loss(), Duration::ZERO);
}

#[test]
fn a_running_transfer_is_followed_beside_other_changes_and_its_abort_is_its_failure() {
    let settings = Settings::default();
    let mut sim = short();
    let mut memory = Memory::default();
    memory.begin(&settings, replicate());
    sim.request(&replicate()).unwrap();
    observe(&sim, &mut memory, 1);
    memory.begin(&settings, Action::RemovePeer { peer: PeerId(9) });
    assert_eq!(
        memory.unseen(),
        None,
        "the transfer is still what is followed"
    );
    let Action::Replicate { shard, from, to } = replicate() else {
        panic!("it replicates");
    };
    memory.begin(&settings, Action::AbortTransfer { shard, from, to });
    assert_eq!(memory.resting(&replicate()).unwrap().count, 1);
}
