//! Proves that a collection comes back out of a set beside what is served, under another name, while writers
//! go on; that the steward or a holder may die meanwhile; and that what is called off leaves nothing behind.

use std::collections::BTreeMap;

use anyhow::Context;
use entrypoint::keep::restore_request::Ask;
use planner::records::{Job, JobState, MARK};

use super::healing::{COLLECTION, Points, begin, followers, setup_of_several};
use super::prelude::*;
use crate::observe::ask;
use crate::world::restores;
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "restore-beside",
    about: "a collection comes back out of a set beside what is served, under writes",
    cases: &[
        Case {
            name: "",
            setup,
            run: |world| Box::pin(beside(world)),
        },
        Case {
            name: "steward-dies",
            setup,
            run: |world| Box::pin(steward_dies(world)),
        },
        Case {
            name: "holder-dies",
            setup,
            run: |world| Box::pin(holder_dies(world)),
        },
        Case {
            name: "called-off",
            setup,
            run: |world| Box::pin(called_off(world)),
        },
    ],
};

/// Another name for what is restored.
pub(super) const BESIDE: &str = "points-again";
/// From one set to the next.
const EVERY: Duration = Duration::from_secs(6);
/// A set comes within so many slots: one may be missed when its steward has just changed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Copies are placed first, which the steward does one after the other.
const RESTORED: Duration = Duration::from_secs(90);

pub(super) fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.env = vec![
        ("ENTRYPOINT_SETS", format!("{}s", EVERY.as_secs())),
        ("ENTRYPOINT_KEEP_ALL", "120s".to_owned()),
    ];
    let events = [
        // A machine that is busy sees slots begin too late, and says so.
        "set.missed",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        "set.given_up",
        "set.part_failed",
        "set.not_taken",
        "set.not_lent",
        // The usual end of a restore is told to people.
        "restore.*",
    ];
    setup.allowed.events.extend(events);
}

/// A cluster under writes, with a set that holds what was acknowledged before it.
pub(super) struct Begun {
    pub(super) points: Points,
    pub(super) then: BTreeMap<u64, u64>,
    pub(super) set: Set,
}

pub(super) async fn with_a_set(world: &World) -> Result<Begun, Failure> {
    let points = begin(world).await?;
    let then = points.acknowledged();
    let begun = sets::all(world)?.last().map(|set| set.id);
    let newer = || {
        let all = sets::all(world).ok()?;
        let mut newer = all.into_iter().filter(|set| Some(set.id) > begun);
        newer.find(|set| set.manifest.is_some() && !set.tombstone)
    };
    let set = world.aim("a finished set", PATIENCE, newer).await?;
    set.prove().with_context(|| format!("set {}", set.id))?;
    points.more(world, 10).await?;
    Ok(Begun { points, then, set })
}

/// Asks for the collection out of this set, through a task that does not lead.
pub(super) async fn asked(world: &World, set: &Set, more: Ask) -> Result<Job, Failure> {
    let through = follower(world)?;
    let name = more.new_name.clone().map(|name| name.0);
    let name = name.unwrap_or_else(|| format!("{COLLECTION}-{}", set.id));
    world.watcher()?.unpromised(&name);
    let job = restores::ask(&through, &of(set, more)).await?;
    world.step(format!("set {} is restored by {}", set.id, through.name()));
    Ok(job)
}

fn of(set: &Set, more: Ask) -> Ask {
    Ask {
        owner: "rehearsal".to_owned(),
        set: Some(set.id),
        collection: Some(COLLECTION.into()),
        ..more
    }
}

pub(super) fn under(name: &str) -> Ask {
    Ask {
        new_name: Some(name.into()),
        ..Ask::default()
    }
}

fn follower(world: &World) -> Result<Arc<Task>, Failure> {
    world.any(&followers(world, &[])?)
}

/// The job as the leader's Qdrant has it.
async fn now(world: &World, job: &Job) -> Option<Job> {
    let leader = world.leader().ok()?;
    let there = restores::job(&leader).await.ok()??;
    (there.token == job.token).then_some(there)
}

/// Waits until this task's own Qdrant says that the job has ended.
async fn read_by(world: &World, task: &Arc<Task>, job: &Job) -> Result<(), Failure> {
    let limit = std::time::Instant::now() + RESTORED;
    loop {
        let there = restores::job(task).await;
        let over = |there: Job| there.token == job.token && there.is_over();
        if matches!(&there, Ok(Some(there)) if over(there.clone())) {
            return Ok(());
        }
        if std::time::Instant::now() > limit {
            let detail = format!("{}: {there:?}", task.name());
            return Err(Failure::new("everybody reads the end of a job", detail));
        }
        world.check()?;
        tokio::time::sleep(timing::LOOK).await;
    }
}

/// Waits until the job has ended.
async fn ended(world: &World, job: &Job) -> Result<Job, Failure> {
    let limit = std::time::Instant::now() + RESTORED;
    loop {
        let there = now(world, job).await;
        if let Some(over) = there.as_ref().filter(|there| there.is_over()) {
            return Ok(over.clone());
        }
        if std::time::Instant::now() > limit {
            let detail = format!("{there:?}");
            return Err(Failure::new("a restore by hand comes to its end", detail));
        }
        world.check()?;
        tokio::time::sleep(timing::LOOK).await;
    }
}

pub(super) async fn finished(world: &World, job: &Job) -> Result<(), Failure> {
    let since = world.timeline.now();
    let over = ended(world, job).await?;
    match over.state {
        JobState::Finished => {
            let took = world.timeline.now() - since;
            world.step(format!("restored {took:.1} s after it was asked for"));
            Ok(())
        }
        other => Err(Failure::new(
            "a restore by hand succeeds",
            format!("{other:?}"),
        )),
    }
}

async fn beside(world: &World) -> Result<(), Failure> {
    let Begun { points, then, set } = with_a_set(world).await?;
    refused(world, &set).await?;
    let job = asked(world, &set, under(BESIDE)).await?;
    points.more(world, 10).await?;
    finished(world, &job).await?;
    restored(world, &points, BESIDE, then).await?;
    // Sets go on, and hold both.
    let later = newer(world, &set).await?;
    let names = later.manifest.iter().flat_map(|there| &there.collections);
    let names: Vec<_> = names.map(|there| there.name.0.as_str()).collect();
    if names != [COLLECTION, BESIDE] {
        return Err(Failure::new("a later set holds both", format!("{names:?}")));
    }
    untouched(world, points).await
}

async fn steward_dies(world: &World) -> Result<(), Failure> {
    let Begun { points, then, set } = with_a_set(world).await?;
    let job = asked(world, &set, under(BESIDE)).await?;
    let steward = at_work(
        world,
        &["is made", "are placed", "is filled", "are compared"],
    )
    .await?;
    let since = world.timeline.now();
    world.kill(&steward, "its steward restores").await?;
    finished(world, &job).await?;
    world
        .healed("the steward died", since, world.size())
        .await?;
    restored(world, &points, BESIDE, then).await?;
    points.audit(world).await.map(drop)
}

async fn holder_dies(world: &World) -> Result<(), Failure> {
    let Begun { points, then, set } = with_a_set(world).await?;
    let job = asked(world, &set, under(BESIDE)).await?;
    at_work(world, &["are placed", "is filled", "are compared"]).await?;
    let holder = follower(world)?;
    let since = world.timeline.now();
    world.kill(&holder, "it holds what is restored").await?;
    finished(world, &job).await?;
    world.healed("a holder died", since, world.size()).await?;
    restored(world, &points, BESIDE, then).await?;
    points.audit(world).await.map(drop)
}

async fn called_off(world: &World) -> Result<(), Failure> {
    let Begun { points, set, .. } = with_a_set(world).await?;
    let job = asked(world, &set, under(BESIDE)).await?;
    at_work(
        world,
        &["is made", "are placed", "is filled", "are compared"],
    )
    .await?;
    let through = follower(world)?;
    restores::call_off(&through, "rehearsal").await?;
    match ended(world, &job).await?.state {
        JobState::Failed(why) if why.contains("called off by rehearsal") => {}
        other => return Err(Failure::new("it is called off", format!("{other:?}"))),
    }
    let there = get(world, "/collections").await?.to_string();
    if there.contains(BESIDE) {
        return Err(Failure::new("nothing is left of it", there));
    }
    // The next one is taken, by whomever, once everybody has read that this one is over.
    for task in world.ecs.running() {
        read_by(world, &task, &job).await?;
    }
    let job = asked(world, &set, under(BESIDE)).await?;
    finished(world, &job).await?;
    untouched(world, points).await
}

/// What would be in the way is refused, and nothing is written.
async fn refused(world: &World, set: &Set) -> Result<(), Failure> {
    for (more, says) in [
        (Ask::default(), "already"),
        (
            Ask {
                switch: true,
                ..Ask::default()
            },
            "--as",
        ),
        (under(COLLECTION), "already"),
    ] {
        let through = follower(world)?;
        let done = restores::ask(&through, &of(set, more)).await;
        let words = match done {
            Ok(job) => return Err(Failure::new("it is refused", format!("{job:?}"))),
            Err(why) => format!("{why:#}"),
        };
        if !words.contains(says) {
            return Err(Failure::new("a refusal says what is in the way", words));
        }
    }
    let leader = world.leader()?;
    match restores::job(&leader).await? {
        None => Ok(()),
        Some(job) => Err(Failure::new("nothing is on record", format!("{job:?}"))),
    }
}

/// The task whose steward is at one of these steps.
pub(super) async fn at_work(world: &World, steps: &[&str]) -> Result<Arc<Task>, Failure> {
    let at_work = || {
        let sample = world.observer.latest();
        let mut views = sample.running();
        let view = views.find(|view| {
            let status = view.status.as_ref();
            status.is_some_and(|status| steps.iter().any(|at| status.restore.contains(at)))
        })?;
        world.ecs.task(&view.id)
    };
    world
        .aim("a restore that is under way", RESTORED, at_work)
        .await
}

/// The restored collection has what was acknowledged before its set was planned, the same on every copy,
/// and is a collection like any other.
pub(super) async fn restored(
    world: &World,
    points: &Points,
    name: &str,
    then: BTreeMap<u64, u64>,
) -> Result<(), Failure> {
    let copied = points.copied(world, name, then)?;
    copied.audit(world).await?;
    let there = get(world, &format!("/collections/{name}")).await?;
    match there.to_string().contains(MARK) {
        true => Err(Failure::new("the mark is taken off", there.to_string())),
        false => Ok(()),
    }
}

/// The collection beside it has lost nothing, and nobody was refused.
pub(super) async fn untouched(world: &World, points: Points) -> Result<(), Failure> {
    super::healing::end_unnoticed(world, points).await
}

async fn newer(world: &World, set: &Set) -> Result<Set, Failure> {
    let done = world.timeline.now();
    let begun = sets::all(world)?.last().map_or(set.id, |last| last.id);
    let newer = || {
        let all = sets::all(world).ok()?;
        let mut all = all.into_iter();
        all.rfind(|other| other.manifest.is_some() && !other.tombstone && other.id > begun)
    };
    let later = world.aim("a later set", PATIENCE, newer).await?;
    later.prove().with_context(|| format!("set {}", later.id))?;
    world.step(format!("set {} after {done:.1} s", later.id));
    Ok(later)
}

pub(super) async fn get(world: &World, path: &str) -> Result<serde_json::Value, Failure> {
    let (client, leader) = (ask::client().context("build a client")?, world.leader()?);
    let host = leader.address.to_string();
    let there = ask::qdrant(&client, &host, path, &leader.api_key).await;
    there.ok_or_else(|| Failure::new("Qdrant answers", format!("not {path}")))
}
