//! Random schedules of deaths, returns, lies and creations, then fair weather: nothing is lost by
//! an action of ours, and rest is reached.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use planner::heal::settings::Settings;
use planner::heal::view::Pause;
use planner::ids::PeerId;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::promises;
use crate::script::resting;
use crate::show;
use crate::sim::{Sabotage, Sim, Task};

/// Rounds before the weather turns fair.
const STORM: u32 = 60;
/// Rounds after which a cluster in fair weather must be at rest.
const CALM: u32 = 600;

#[test]
fn seeded_schedules() {
    let count = match std::env::var_os("MODEL_DEEP") {
        Some(_) => 1_000_000,
        None => 100_000,
    };
    let began = std::time::Instant::now();
    let rounds = run(count, Sabotage::None).unwrap_or_else(|why| panic!("{why}"));
    println!(
        "{count} schedules, {rounds} rounds in {:.1?}",
        began.elapsed()
    );
}

/// A model that finds nothing proves nothing: a steward that sees wrong is found out.
#[test]
fn broken_eyes_are_found_out() {
    for sabotage in [
        Sabotage::TransfersHidden,
        Sabotage::UnreadOmitted,
        Sabotage::Impatient,
        Sabotage::Rosy,
    ] {
        let found = run(100_000, sabotage).expect_err(&format!("{sabotage:?} was not found"));
        println!("{sabotage:?}: {}", found.lines().next().unwrap_or_default());
    }
}

/// Runs so many schedules on all cores: the number of rounds, or the first that went wrong.
fn run(count: u64, sabotage: Sabotage) -> Result<u64, String> {
    let (next, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None::<String>);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    match schedule(seed, sabotage) {
                        Ok(took) => drop(rounds.fetch_add(took, Ordering::Relaxed)),
                        Err(why) => *failed.lock().unwrap() = Some(format!("seed {seed}: {why}")),
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap() {
        Some(why) => Err(why),
        None => Ok(rounds.into_inner()),
    }
}

/// `HEAL_SEED=n` tells one schedule.
#[test]
fn one_schedule() {
    if let Some(seed) = std::env::var("HEAL_SEED").ok().and_then(|s| s.parse().ok()) {
        schedule(seed, Sabotage::None).unwrap_or_else(|why| panic!("{why}"));
    }
}

fn settings() -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        gone_timeout: seconds(20),
        lost_copy_timeout: seconds(200),
        replacement_wait: seconds(60),
        patience: seconds(60),
        stall_timeout: seconds(100),
        resync_timeout: seconds(60),
        appear_timeout: seconds(20),
        backoff_first: seconds(10),
        backoff_longest: seconds(80),
        ..Settings::default()
    }
}

fn schedule(seed: u64, sabotage: Sabotage) -> Result<u64, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sim = Sim::new(settings());
    sim.round = Duration::from_secs(5);
    sim.sabotage = sabotage;
    sim.transfer_time = Duration::from_secs(rng.random_range(1..30));
    sim.recovers = rng.random_ratio(3, 4);
    sim.writes = rng.random_ratio(3, 4);
    let zones = rng.random_range(1..=4);
    let size = rng.random_range(1..=9);
    sim.wanted_tasks = rng.random_ratio(2, 3).then_some(size);
    sim.wanted_revision = Some(sim.revision.clone());
    let more = rng.random_range(1..=size);
    for _ in 0..size {
        join(&mut sim, &mut rng, zones);
    }
    if rng.random_ratio(2, 3) {
        sim.form();
        // Before that nobody is ever emptied, and what is one too many stays unprotected.
        sim.protects = rng.random_ratio(1, 2);
    }
    let calm = rng.random_range(2..20);
    for _ in 0..STORM {
        if rng.random_ratio(1, calm) {
            fault(&mut sim, &mut rng, zones, size);
        }
        deploy(&mut sim, &mut rng, zones, more);
        step(&mut sim)?;
    }
    clear_up(&mut sim, &mut rng, zones, size);
    for _ in 0..CALM {
        deploy(&mut sim, &mut rng, zones, more);
        step(&mut sim)?;
        // ECS goes on until nobody is of an old revision, but for those that hold what is left of a
        // lost shard: they wait for a person.
        let keeps = |peer: &PeerId| remains(&sim, *peer);
        let old = sim.old().any(|peer| !keeps(&peer)) && !sim.old().any(|peer| keeps(&peer));
        let rolling = sim.complete && sim.wanted_tasks.is_some() && old;
        if resting(&sim) && !rolling {
            promises::at_rest(&sim).map_err(|why| told(&sim, &why))?;
            return Ok(sim.now.as_secs() / 5);
        }
    }
    Err(told(&sim, "no rest"))
}

/// Whether this peer holds a copy of a shard whose loss is on record.
fn remains(sim: &Sim, peer: PeerId) -> bool {
    sim.losses.iter().any(|lost| {
        let there = sim.collections.get(&lost.collection);
        let shard = there.and_then(|there| there.shards.get(&lost.shard));
        shard.is_some_and(|holders| holders.contains_key(&peer))
    })
}

fn deploy(sim: &mut Sim, rng: &mut SmallRng, zones: u32, more: usize) {
    if sim.complete && rng.random_ratio(1, 2) {
        let zone = ["a", "b", "c", "d"][rng.random_range(0..zones) as usize];
        sim.deploy(zone, more);
    }
}

fn step(sim: &mut Sim) -> Result<(), String> {
    // A task that was asked to stop ends.
    let ended: Vec<PeerId> = sim
        .peers
        .iter()
        .filter(|(_, p)| p.ending && p.task != Task::Dead && sim.now > p.stops_at)
        .map(|(id, _)| *id)
        .collect();
    for peer in ended {
        if !may_stop(sim, peer) {
            // The loss of a quorum is not decided here: it has more time to hand over, and stays when
            // it cannot.
            let there = sim.peers.get_mut(&peer).unwrap();
            there.ending = sim.now < there.stops_at + Duration::from_secs(60);
            continue;
        }
        sim.set_task(peer, Task::Dead);
        sim.log(format!("task {peer} ends"));
    }
    // A frozen task goes on before it could be taken for lost.
    let (now, longest) = (sim.now, Duration::from_secs(150));
    let frozen = |p: &crate::sim::SimPeer| p.task == Task::Frozen && now > p.silent_since + longest;
    let back: Vec<PeerId> = sim
        .peers
        .iter()
        .filter(|(_, p)| frozen(p))
        .map(|(id, _)| *id)
        .collect();
    for peer in back {
        sim.set_task(peer, Task::Up);
    }
    sim.tick();
    promises::hold(sim).map_err(|why| told(sim, &why))
}

fn told(sim: &Sim, why: &str) -> String {
    let plan = sim.last.as_ref().map(show::plan).unwrap_or_default();
    format!(
        "{why}\n{}\n{}{plan}",
        sim.log.join("\n"),
        show::cluster(sim)
    )
}

fn join(sim: &mut Sim, rng: &mut SmallRng, zones: u32) {
    let zone = ["a", "b", "c", "d"][rng.random_range(0..zones) as usize];
    let zone = (!rng.random_ratio(1, 20)).then_some(zone);
    if sim.complete {
        sim.start_task(zone);
        return;
    }
    let dead = sim.peers.values().filter(|p| p.task == Task::Dead);
    let addresses: Vec<u64> = dead.map(|p| p.address).collect();
    let address = addresses
        .choose(rng)
        .copied()
        .filter(|_| rng.random_ratio(1, 2));
    // Two living tasks never have one address.
    sim.add_peer(
        zone,
        address.filter(|a| {
            !sim.peers
                .values()
                .any(|p| p.address == *a && p.task != Task::Dead)
        }),
    );
}

fn fault(sim: &mut Sim, rng: &mut SmallRng, zones: u32, size: usize) {
    let peers: Vec<PeerId> = sim.peers.keys().copied().collect();
    let peer = *peers.choose(rng).unwrap();
    let alive = sim.peers.values().filter(|p| p.task != Task::Dead).count() + sim.outside.len();
    match rng.random_range(0..23) {
        0..=3 if may_stop(sim, peer) && sim.peers[&peer].task != Task::Dead => {
            sim.set_task(peer, Task::Dead);
            sim.log(format!("task {peer} dies"));
        }
        4 if may_stop(sim, peer) => disturb(sim, peer, Task::Frozen),
        5 if may_stop(sim, peer) => disturb(sim, peer, Task::Hung),
        6 => disturb(sim, peer, Task::Slow),
        7 | 8 => disturb(sim, peer, Task::Up),
        9..=11 if alive < size + 2 => {
            join(sim, rng, zones);
            sim.log("a task joins");
        }
        12 | 13 if sim.collections.len() < 3 => {
            let name = format!("c{}", sim.now.as_secs());
            let (shards, copies) = (rng.random_range(1..=4), rng.random_range(1..=3));
            sim.place(&name, shards, copies, rng.random_range(0..9));
            sim.log(format!("collection {name}: {shards} shards x {copies}"));
        }
        14 => {
            let names: Vec<_> = sim.collections.keys().cloned().collect();
            if let Some(name) = names.choose(rng) {
                let there = sim.collections.get_mut(name).unwrap();
                match rng.random_range(0..4) {
                    0 => there.readable = !there.readable,
                    1 => there.resharding = !there.resharding,
                    2 => there.factor = rng.random_range(1..=4),
                    _ => drop(sim.collections.remove(name)),
                }
            }
        }
        15 => sim.store = !sim.store,
        16 => sim.dns = !sim.dns,
        17 => sim.refuse = rng.random_range(0..4),
        18 => {
            let (owner, reason) = ("somebody".to_owned(), "a test".to_owned());
            sim.paused = match sim.paused {
                None => Some(Pause { owner, reason }),
                Some(_) => None,
            };
        }
        19 => {
            let there = sim.peers.get_mut(&peer).unwrap();
            match rng.random_range(0..3) {
                0 => there.unclear = there.unclear.is_none().then(|| "garbled".to_owned()),
                1 => there.heard_by = there.heard_by.is_none().then_some(PeerId(99)),
                _ => {
                    // A new revision, or the one before it once more.
                    let next = if sim.revision == "app:1" {
                        "app:2"
                    } else {
                        "app:1"
                    };
                    sim.revision = next.to_owned();
                    sim.wanted_revision = Some(next.to_owned());
                    sim.log(format!("{next} is rolled out"));
                }
            }
        }
        20 if may_stop(sim, peer) && sim.peers[&peer].task == Task::Up => {
            let stops_at = sim.now + Duration::from_secs(rng.random_range(0..90));
            let there = sim.peers.get_mut(&peer).unwrap();
            if !there.ending {
                (there.ending, there.stops_at) = (true, stops_at);
                sim.log(format!("task {peer} is asked to stop"));
            }
        }
        22 => drop(sim.outside.pop_first()),
        21 if rng.random_ratio(1, 4) => {
            let dead = sim.peers.iter().filter(|(_, p)| p.task == Task::Dead);
            let dead: Vec<PeerId> = dead.map(|(id, _)| *id).collect();
            if sim.leader.is_some_and(|leader| !dead.contains(&leader)) {
                sim.go_on_without(&dead);
                sim.log(format!("a re-quorum goes on without {dead:?}"));
            }
        }
        _ => {}
    }
}

/// A live task becomes another kind of live task; the dead stay dead.
fn disturb(sim: &mut Sim, peer: PeerId, task: Task) {
    if sim.peers[&peer].task != Task::Dead && sim.peers[&peer].task != task {
        sim.set_task(peer, task);
        sim.log(format!("task {peer} is {task:?}"));
    }
}

/// The others would still be a quorum: what to do without one is not decided here (R8).
fn may_stop(sim: &Sim, peer: PeerId) -> bool {
    let voters: Vec<_> = sim.peers.iter().filter(|(_, p)| p.voter).collect();
    let works = |id: &PeerId| *id != peer && sim.raft_works(*id);
    let working = voters.iter().filter(|(id, _)| works(id)).count();
    let whole = sim
        .peers
        .iter()
        .all(|(_, p)| p.voter || p.task == Task::Dead);
    whole && working * 2 > voters.len()
}

/// Fair weather: everything answers, and the dead have been replaced.
fn clear_up(sim: &mut Sim, rng: &mut SmallRng, zones: u32, size: usize) {
    sim.log("fair weather");
    (sim.store, sim.dns, sim.paused, sim.refuse) = (true, true, None, 0);
    for there in sim.collections.values_mut() {
        (there.readable, there.resharding) = (true, false);
    }
    let peers: Vec<PeerId> = sim.peers.keys().copied().collect();
    for peer in peers {
        disturb(sim, peer, Task::Up);
        let there = sim.peers.get_mut(&peer).unwrap();
        (there.unclear, there.heard_by) = (None, None);
    }
    let stays = |sim: &Sim| {
        sim.peers
            .values()
            .filter(|p| p.task == Task::Up && !p.leaving && !p.ending)
            .count()
            + sim.outside.len()
    };
    while stays(sim) < size {
        join(sim, rng, zones);
    }
}
