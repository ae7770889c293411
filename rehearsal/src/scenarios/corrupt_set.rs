//! Proves that files of sets which are not what they should be are found by the proofs, each at the level
//! that can find it, that nothing of a proof is left behind, and that such sets are passed over when
//! everything is lost.

use anyhow::Context;
use planner::keep::records::Level;

use super::healing::{begin, setup_of_several};
use super::lose_everything::{lose, restored};
use super::prelude::*;
use crate::world::damage::Damage;
use crate::world::points::Points;
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "corrupt-set",
    about: "sets are damaged in the store: proofs find it, and a restore takes the one that is good",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(corrupted(world)),
    }],
};

/// A set by hand, and what is found of it.
const PATIENCE: Duration = Duration::from_secs(90);
/// A set may be proven before it could be damaged: then another one is.
const TRIES: usize = 5;

fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.generations = 2;
    setup.longest = Duration::from_secs(600);
    setup.env = vec![
        // Sets by hand alone, so that each can be damaged before anybody reads it.
        ("ENTRYPOINT_SETS", "24h".to_owned()),
        ("ENTRYPOINT_KEEP_ALL", "24h".to_owned()),
        ("ENTRYPOINT_RESTORE", "auto".to_owned()),
        ("ENTRYPOINT_PROOF", "1s".to_owned()),
    ];
    let events = [
        "set.missed",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        "set.part_failed",
        "set.given_up",
        "set.incomplete",
        "set.not_taken",
        // Nor may a file be read in time while it is.
        "set.not_lent",
        "proof.failed",
        // That a set is bad, and that the cluster is lost, a person must know.
        "alarm",
        "restore.*",
    ];
    setup.allowed.events.extend(events);
}

async fn corrupted(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let (points, then, good) = good(world, points).await?;
    let all = [
        (Damage::Flip, Level::L0),
        (Damage::Truncate, Level::L0),
        (Damage::Remove, Level::L0),
        (Damage::Exchange, Level::L2),
    ];
    for (damage, level) in all {
        points.more(world, 10).await?;
        let bad = damaged(world, damage).await?;
        let found = found(world, &bad, |wrong, at| wrong && at == level).await?;
        world.step(format!("set {}, {damage:?}: {found}", bad.id));
        nothing_is_left(world)?;
    }
    let mut points = points;
    let since = lose(world, &mut points, then).await?;
    restored(world, points, since, good.id).await
}

/// A set that is found to be good at every level; with what was acknowledged before it.
async fn good(
    world: &World,
    points: Points,
) -> Result<(Points, std::collections::BTreeMap<u64, u64>, Set), Failure> {
    let then = points.acknowledged();
    let set = made(world).await?;
    set.prove().with_context(|| format!("set {}", set.id))?;
    let since = world.timeline.now();
    found(world, &set, |wrong, at| !wrong && at == Level::L2).await?;
    let files = set.manifest.iter().flat_map(|m| &m.collections);
    let files = files.flat_map(|there| &there.files).count();
    let all = || {
        let set = again(world, &set)?;
        let proofs = set.proofs().ok()?;
        let wrong = proofs.iter().flat_map(|proof| &proof.checked);
        let wrong = wrong.filter(|checked| checked.wrong.is_some()).count();
        let restored = proofs.iter().filter(|proof| proof.level == Level::L2);
        (restored.count() >= files && wrong == 0).then_some(())
    };
    world
        .aim("every shard of a set restored", PATIENCE, all)
        .await?;
    let took = world.timeline.now() - since;
    world.step(format!(
        "set {} is good at every level after {took:.1} s",
        set.id
    ));
    Ok((points, then, set))
}

/// A set that was damaged before anybody had read it.
async fn damaged(world: &World, damage: Damage) -> Result<Set, Failure> {
    for _ in 0..TRIES {
        let set = made(world).await?;
        set.damage(damage).context("damage a set")?;
        if set.proofs()?.is_empty() {
            world.fault(&[], format!("set {}: {damage:?}", set.id));
            return Ok(set);
        }
    }
    let detail = format!("{TRIES} were proven at once");
    Err(Failure::new("a set can be damaged", detail))
}

/// Waits for a finding of a set; gives it in words.
async fn found(
    world: &World,
    set: &Set,
    is: impl Fn(bool, Level) -> bool,
) -> Result<String, Failure> {
    let look = || {
        let proofs = again(world, set)?.proofs().ok()?;
        proofs.iter().find_map(|proof| {
            let mut all = proof.checked.iter();
            let found = all.find(|checked| is(checked.wrong.is_some(), proof.level))?;
            let wrong = found.wrong.as_deref().unwrap_or("good");
            Some(format!("{}, shard {}: {wrong}", proof.level, found.shard))
        })
    };
    world.aim("what a proof found", PATIENCE, look).await
}

fn again(world: &World, set: &Set) -> Option<Set> {
    let all = sets::all(world).ok()?;
    all.into_iter().find(|now| now.id == set.id)
}

/// A whole set, made now. One for which the disk was too slow is made again.
async fn made(world: &World) -> Result<Set, Failure> {
    for _ in 0..TRIES {
        let set = asked(world).await?;
        let mut all = set.manifest.iter().flat_map(|made| &made.collections);
        if set.manifest.is_some() && all.all(|there| there.whole) {
            return Ok(set);
        }
    }
    let detail = format!("of {TRIES} none was");
    Err(Failure::new("a set by hand is whole", detail))
}

async fn asked(world: &World) -> Result<Set, Failure> {
    let leader = world.leader()?;
    let token = sets::ask(&leader, None).await?;
    let finished = || {
        let all = sets::all(world).ok()?;
        all.into_iter().find(|set| {
            let asked = set.plan.as_ref().and_then(|plan| plan.asked.as_ref());
            (set.manifest.is_some() || set.tombstone)
                && asked.is_some_and(|asked| asked.token.0 == token)
        })
    };
    world.aim("a set by hand", PATIENCE, finished).await
}

/// At most the task that restores just now has a folder for it.
fn nothing_is_left(world: &World) -> Result<(), Failure> {
    let left = world.ecs.running();
    let left = left
        .iter()
        .filter(|task| task.disk.join("storage.proof/scratch").exists());
    match left.count() {
        0 | 1 => Ok(()),
        more => {
            let detail = format!("{more} tasks have one");
            Err(Failure::new("one scratch Qdrant at a time", detail))
        }
    }
}
