//! Proves that sets of snapshots are made by the clock under writes, that each is whole, that old ones
//! go, that a set survives the steward that began it, and that who asks for one gets one, and not two.

use anyhow::Context;

use super::healing::{USUAL, begin, end, followers, setup_of_several};
use super::prelude::*;
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "snapshots",
    about: "sets are made by the clock under writes, are whole, and go again; the steward dies in one",
    cases: &[
        Case {
            name: "by-the-clock",
            setup: often,
            run: |world| Box::pin(by_the_clock(world)),
        },
        Case {
            name: "steward-dies",
            setup: often_and_broken,
            run: |world| Box::pin(steward_dies(world)),
        },
        Case {
            name: "by-hand",
            setup: seldom_and_broken,
            run: |world| Box::pin(by_hand(world)),
        },
    ],
};

/// From one set to the next.
const EVERY: Duration = Duration::from_secs(6);
/// So many slots are kept; the tiers need the newest alone.
const KEPT: usize = 3;
/// A set comes within so many slots: one may be missed when its steward has just changed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

fn often(setup: &mut Setup) {
    setup_of_several(setup);
    let kept = EVERY * KEPT as u32;
    setup.env = vec![
        ("ENTRYPOINT_SETS", format!("{}s", EVERY.as_secs())),
        ("ENTRYPOINT_KEEP_ALL", format!("{}s", kept.as_secs())),
        ("ENTRYPOINT_KEEP_HOURLY", "1".to_owned()),
        ("ENTRYPOINT_KEEP_DAILY", "1".to_owned()),
        ("ENTRYPOINT_KEEP_MONTHLY", "1".to_owned()),
    ];
    let events = [
        // A machine that is busy sees slots begin too late, and says so.
        "set.missed",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        // A slot may begin while the copies of the new collection are still brought into their zones:
        // a source that is moved away then is lost to the set. That sets are made is asked for below.
        "set.given_up",
        "set.part_failed",
        // So is one whose store does not answer in time.
        "set.not_taken",
    ];
    setup.allowed.events.extend(events);
}

/// The same where a task dies that may be a source.
pub(super) fn often_and_broken(setup: &mut Setup) {
    often(setup);
    setup.allowed.events.push("set.not_taken");
}

/// Hardly a slot begins, and a task dies that may be a source.
fn seldom_and_broken(setup: &mut Setup) {
    often_and_broken(setup);
    for (name, value) in &mut setup.env {
        if let "ENTRYPOINT_SETS" | "ENTRYPOINT_KEEP_ALL" = *name {
            *value = "1h".to_owned();
        }
    }
}

/// Beside the usual collection.
const SECOND: &str = "second";

async fn by_the_clock(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let mut last = None;
    let mut before = 0;
    for _ in 0..2 * KEPT {
        let set = made(world, last).await?;
        let held = set.prove().with_context(|| format!("set {}", set.id))?;
        if held < before {
            let detail = format!("{} points after {before} in set {}", held, set.id);
            return Err(Failure::new("a later set holds no less", detail));
        }
        let summary = format!("set {} is whole and holds {held} points or more", set.id);
        world.step(summary);
        (last, before) = (Some(set), held);
        points.more(world, 10).await?;
    }
    if before == 0 {
        return Err(Failure::new("sets hold points", "none does"));
    }
    // The newest are there and whole, and beside them one that is being made and a few that wait.
    let mut there = sets::all(world)?;
    there.retain(|set| set.plan.is_some() && !set.tombstone);
    if there.len() > KEPT + 3 {
        let detail = format!("{} are there, {KEPT} are kept", there.len());
        return Err(Failure::new("old sets go", detail));
    }
    there.retain(|set| set.manifest.is_some());
    if there.len() < KEPT {
        let detail = format!("{} are there, {KEPT} are kept", there.len());
        return Err(Failure::new("new sets stay", detail));
    }
    for set in &there {
        set.prove().with_context(|| format!("set {}", set.id))?;
    }
    end(world, points).await
}

async fn steward_dies(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = made(world, None).await?;
    let since = first.id;
    let begun = || {
        let all = sets::all(world).ok()?;
        // A folder alone is nothing yet: a steward that dies before its plan is there leaves no set.
        let newer = all
            .into_iter()
            .find(|set| set.id > since && set.plan.is_some())?;
        newer.manifest.is_none().then_some(newer)
    };
    let open = world.aim("a set that has begun", PATIENCE, begun).await?;
    let since = world.timeline.now();
    let leader = world.leader()?;
    world.kill(&leader, "its steward is making a set").await?;
    // Neither half of a set nor a second plan: it is finished or given up, and the next one is whole.
    let next = made(world, Some(first)).await?;
    next.prove().with_context(|| format!("set {}", next.id))?;
    world
        .healed("the steward died", since, world.size())
        .await?;
    let last = made(world, Some(next)).await?;
    last.prove().with_context(|| format!("set {}", last.id))?;
    let open = open.id;
    world
        .until("the set of the dead steward is over", PATIENCE, |_| {
            let all = sets::all(world).map_err(|error| format!("{error:#}"))?;
            match all.iter().find(|set| set.id == open) {
                Some(set) if set.manifest.is_none() && !set.tombstone => {
                    Err(format!("set {open} is open"))
                }
                _ => Ok(()),
            }
        })
        .await?;
    end(world, points).await
}

async fn by_hand(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let since = world.timeline.now();
    world.create(&world.leader()?, SECOND, USUAL).await?;
    let made = "the second collection was created";
    world.healed(made, since, world.size()).await?;
    // One collection, through a task that does not lead.
    let through = follower(world)?;
    let token = sets::ask(&through, Some(SECOND)).await?;
    let one = asked(world, &token).await?;
    let names: Vec<_> = one.manifest.iter().flat_map(|m| &m.collections).collect();
    if names.len() != 1 || names.iter().any(|there| there.name.0 != SECOND) {
        let names = names.iter().map(|there| there.name.0.as_str());
        let detail = format!("{} holds {:?}", one.id, names.collect::<Vec<_>>());
        return Err(Failure::new(
            "a set of one collection holds that one",
            detail,
        ));
    }
    one.prove().with_context(|| format!("set {}", one.id))?;
    points.more(world, 10).await?;
    // All of them, and who should make the set dies before it can have.
    let leader = world.leader()?;
    let through = follower(world)?;
    let token = sets::ask(&through, None).await?;
    let since = world.timeline.now();
    world
        .kill(&leader, "its steward is asked for a set")
        .await?;
    let all = asked(world, &token).await?;
    let held = all.prove().with_context(|| format!("set {}", all.id))?;
    let there = all.manifest.iter().flat_map(|m| &m.collections).count();
    if held == 0 || there != 2 || all.id <= one.id {
        let detail = format!(
            "{} of {there} collections and {held} points after {}",
            all.id, one.id
        );
        return Err(Failure::new("a set by hand is of everything", detail));
    }
    world
        .healed("the steward died", since, world.size())
        .await?;
    // Whoever has led meanwhile saw that the request has its set.
    let _ = asked(world, &token).await?;
    end(world, points).await
}

/// A task that does not lead.
fn follower(world: &World) -> Result<Arc<Task>, Failure> {
    world.any(&followers(world, &[])?)
}

/// Waits for the finished set of this request, which is the only one.
async fn asked(world: &World, token: &str) -> Result<Set, Failure> {
    let of = |set: &Set| {
        let asked = set.plan.as_ref().and_then(|plan| plan.asked.as_ref());
        asked.is_some_and(|asked| asked.token.0 == token)
    };
    let finished = || {
        let all = sets::all(world).ok()?;
        let there: Vec<_> = all.into_iter().filter(of).collect();
        let over = |set: &Set| set.manifest.is_some() || set.tombstone;
        (!there.is_empty() && there.iter().all(over)).then_some(there)
    };
    let mut there = world.aim("a set by hand", 2 * PATIENCE, finished).await?;
    match (there.pop(), there.len()) {
        (Some(set), 0) if !set.tombstone => Ok(set),
        (last, more) => {
            let detail = format!("{last:?} and {more} more for request {token}");
            Err(Failure::new("a request becomes one set", detail))
        }
    }
}

/// Waits for a finished set that is newer than this one.
pub(super) async fn made(world: &World, last: Option<Set>) -> Result<Set, Failure> {
    made_within(world, last, PATIENCE).await
}

/// The same with another patience.
pub(super) async fn made_within(
    world: &World,
    last: Option<Set>,
    patience: Duration,
) -> Result<Set, Failure> {
    let last = last.map(|set| set.id);
    let newer = || {
        let all = sets::all(world).ok()?;
        all.into_iter()
            .rfind(|set| set.manifest.is_some() && !set.tombstone && Some(set.id) > last)
    };
    world.aim("a finished set", patience, newer).await
}
