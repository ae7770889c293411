//! Proves that the only node can be stopped each day: its final set holds all that it has ever
//! acknowledged, and the next, empty task brings it back before it serves, without waiting for silence.

use planner::keep::records::Origin;

use super::healing::{Points, Wanted, begin_with};
use super::lose_everything::nobody_served_less;
use super::prelude::*;
use super::rolling;
use crate::ecs::{agent, api};
use crate::efs::Fault;
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "daily-shutdown",
    about: "the only task is stopped and an empty one started, again and again: nothing is lost",
    cases: &[
        Case {
            name: "",
            setup,
            run: |world| Box::pin(days(world)),
        },
        Case {
            name: "killed",
            setup: |killed| {
                setup(killed);
                killed.env.push(("ENTRYPOINT_SETS", "6s".to_owned()));
                killed
                    .env
                    .push(("ENTRYPOINT_LOSS_TIMEOUT", "6s".to_owned()));
            },
            run: |world| Box::pin(killed(world)),
        },
        Case {
            name: "start-first",
            setup: |setup| overlapping(setup, agent::Mode::Ecs, api::Mode::Answers),
            run: |world| Box::pin(start_first(world)),
        },
        Case {
            name: "start-first-unprotected",
            setup: |setup| overlapping(setup, agent::Mode::Absent, api::Mode::Absent),
            run: |world| Box::pin(start_first(world)),
        },
        Case {
            name: "same-disk",
            setup: |same| {
                setup(same);
                same.allowed.events.push("requorum.*");
                // Nobody but the test waits for its end.
                same.env.push(("ENTRYPOINT_STOP_TIMEOUT", "30s".to_owned()));
            },
            run: |world| Box::pin(same_disk(world)),
        },
        Case {
            name: "store-hangs",
            setup: |hangs| {
                setup(hangs);
                hangs.breakable_store = true;
                hangs.env.push(("ENTRYPOINT_SETS", "6s".to_owned()));
                hangs.env.push(("ENTRYPOINT_LOSS_TIMEOUT", "6s".to_owned()));
                hangs.allowed.events.extend(["store.*", "set.last_failed"]);
            },
            run: |world| Box::pin(store_hangs(world)),
        },
    ],
};

/// How often it is stopped, when the command does not say it.
const DAYS: usize = 3;
/// Far longer than a start takes: whoever waits for it is found out.
const SILENCE: Duration = Duration::from_secs(40);
/// From the launch of an empty task until it serves all, the end of the one before being on record.
const BACK: Duration = Duration::from_secs(20);
/// The same after silence.
const RESTORED: Duration = Duration::from_secs(60);

/// One shard in one copy, as of a service of one task.
const ONE: Wanted = Wanted {
    shards: 1,
    copies: 1,
};

fn setup(setup: &mut Setup) {
    setup.size = 1;
    setup.heals = true;
    setup.generations = 64;
    setup.env = vec![
        // No slot begins meanwhile: what is back is of the final set.
        ("ENTRYPOINT_SETS", "24h".to_owned()),
        ("ENTRYPOINT_RESTORE", "auto".to_owned()),
        ("ENTRYPOINT_LOSS_TIMEOUT", format!("{}s", SILENCE.as_secs())),
    ];
    setup.allowed.events = vec![
        // That no task is wanted, or that all is lost, a person must know.
        "alarm",
        "peer.gone",
        // ECS takes no more protection than tasks are wanted.
        "protection.*",
        "set.missed",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        "set.given_up",
        "set.part_failed",
        "set.not_taken",
        "restore.*",
    ];
}

fn overlapping(overlapping: &mut Setup, agent: agent::Mode, api: api::Mode) {
    setup(overlapping);
    let allowed = overlapping.allowed.events.clone();
    let env = overlapping.env.clone();
    rolling::setup(overlapping, 100, 200);
    overlapping.at_least = 1;
    overlapping.env = env;
    overlapping.allowed.events.extend(allowed);
    (overlapping.policy.agent, overlapping.policy.api) = (agent, api);
}

async fn days(world: &World) -> Result<(), Failure> {
    let points = begin_with(world, ONE).await?;
    for day in 1..=world.times.unwrap_or(DAYS) {
        stop(world, &points).await?;
        let set = last(world)?;
        let took = start(world, BACK).await?;
        world.step(format!(
            "day {day}: set {} is back after {took:.1} s",
            set.id
        ));
        points.more(world, 30).await?;
    }
    nobody_served_less(world, points).await
}

async fn killed(world: &World) -> Result<(), Failure> {
    let mut points = begin_with(world, ONE).await?;
    let then = points.acknowledged();
    let begun = newest(world)?.map(|set| set.id);
    let newer = || newest(world).ok()?.filter(|set| Some(set.id) > begun);
    // One that is finished now may have been planned before.
    let first = world.aim("a finished set", timing::REST, newer).await?;
    let next = || newest(world).ok()?.filter(|set| set.id > first.id);
    world.aim("the next one", timing::REST, next).await?;
    points.more(world, 10).await?;
    points.halt().await?;
    points.fall_back(then);
    world.watcher()?.lost();
    let tasks = world.ecs.running();
    world.kill_all(&tasks, "it is killed, not asked").await?;
    let since = world.timeline.now();
    world
        .healed_within("it was killed", since, 1, RESTORED)
        .await?;
    if newest(world)?.is_some_and(|set| is_final(&set)) {
        return Err(Failure::new("a killed task makes no final set", "it did"));
    }
    points.resume();
    points.more(world, 30).await?;
    nobody_served_less(world, points).await
}

async fn start_first(world: &World) -> Result<(), Failure> {
    let points = begin_with(world, ONE).await?;
    rolling::roll_out(world, &points).await?;
    nobody_served_less(world, points).await
}

/// A container that is stopped and started again keeps its disk, whose generation has ended.
async fn same_disk(world: &World) -> Result<(), Failure> {
    let points = begin_with(world, ONE).await?;
    let task = world.leader()?;
    world.healing.harm(&task);
    world.watcher()?.lost();
    world.fault(&[&task], "SIGTERM; its disk stays");
    world.ecs.put_down(&task);
    world
        .until("the end of its process", timing::STOP * 3, |_| {
            match task.running() {
                true => Err("it runs".to_owned()),
                false => Ok(()),
            }
        })
        .await?;
    last(world)?;
    let since = world.timeline.now();
    world.ecs.bring_up(&task).await?;
    world
        .healed_within("it was started again", since, 1, BACK)
        .await?;
    points.more(world, 30).await?;
    nobody_served_less(world, points).await
}

async fn store_hangs(world: &World) -> Result<(), Failure> {
    let mut points = begin_with(world, ONE).await?;
    let then = points.acknowledged();
    let begun = newest(world)?.map(|set| set.id);
    let newer = || newest(world).ok()?.filter(|set| Some(set.id) > begun);
    let first = world.aim("a finished set", timing::REST, newer).await?;
    let next = || newest(world).ok()?.filter(|set| set.id > first.id);
    world.aim("the next one", timing::REST, next).await?;
    points.halt().await?;
    points.fall_back(then);
    world.efs.set(Fault::Hang);
    world.fault(&[], "the store hangs");
    let task = world.leader()?;
    down(world, &task).await?;
    let log = std::fs::read_to_string(&task.log).unwrap_or_default();
    if !log.contains("set.last_failed") {
        let detail = format!("{} says nothing of it", task.name());
        return Err(Failure::new("a set that does not fit is an alarm", detail));
    }
    world.efs.set(Fault::None);
    world.fault(&[], "the store answers again");
    start(world, RESTORED).await?;
    points.resume();
    points.more(world, 30).await?;
    nobody_served_less(world, points).await
}

/// Has the only task stopped while it is written to as fast as it takes it.
async fn stop(world: &World, points: &Points) -> Result<(), Failure> {
    let task = world.leader()?;
    let (taken, ended) = tokio::join!(points.to_the_end(&task), down(world, &task));
    ended?;
    world.step(format!("it acknowledged {taken} writes on its way out"));
    Ok(())
}

/// No task is wanted any more; it ends with 0 within its time.
async fn down(world: &World, task: &Arc<Task>) -> Result<(), Failure> {
    world.healing.harm(task);
    world.watcher()?.lost();
    world.ecs.scale(0);
    // Drained first; protection is given back when ECS says that nobody is wanted.
    let bound = timing::DRAIN + timing::STOP + timing::REST;
    world.all_end(bound).await?;
    let exit = task.ended();
    match exit.and_then(|exit| exit.code) {
        Some(0) => Ok(()),
        _ => {
            let how = exit.map_or("has not ended".into(), |exit| exit.to_string());
            Err(Failure::new("it ends cleanly within its time", how))
        }
    }
}

/// One empty task is wanted again: everything is there within `bound`; gives how long that took.
async fn start(world: &World, bound: Duration) -> Result<f64, Failure> {
    let since = world.timeline.now();
    world.ecs.scale(1);
    world
        .healed_within("one task was wanted again", since, 1, bound)
        .await?;
    Ok(world.timeline.now() - since)
}

/// The final set, which is the newest and whole.
fn last(world: &World) -> Result<Set, Failure> {
    let set = newest(world)?.filter(is_final);
    let set = set.ok_or_else(|| Failure::new("there is a final set", "there is none"))?;
    let points = set.prove()?;
    world.step(format!("final set {} of {points} points", set.id));
    Ok(set)
}

fn newest(world: &World) -> Result<Option<Set>, Failure> {
    let mut all = sets::all(world)?;
    all.retain(|set| set.manifest.is_some() && !set.tombstone);
    Ok(all.pop())
}

fn is_final(set: &Set) -> bool {
    let origin = set.manifest.as_ref().map(|manifest| manifest.origin);
    origin == Some(Origin::Stop)
}
