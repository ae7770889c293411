//! Proves that the newest set comes back by itself when every task and every disk is gone: exactly
//! once, before anybody is served, and with all that was acknowledged before it was planned.

use std::collections::BTreeMap;

use anyhow::Context;
use entrypoint::keep::restore_request::Ask;
use planner::keep::ids::SetId;
use planner::records::RESTORE_KEY;

use super::healing::{COLLECTION, begin, setup_of_several};
use super::prelude::*;
use crate::observe::ask;
use crate::world::points::Points;
use crate::world::points::rest::Target;
use crate::world::restores;
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "lose-everything",
    about: "all tasks die at once: the newest set comes back by itself before anybody is served",
    cases: &[
        Case {
            name: "",
            setup,
            run: |world| Box::pin(all_die(world)),
        },
        Case {
            name: "described",
            setup: |keys| {
                setup(keys);
                // Copies of a new key move to their zones while sets are made.
                keys.allowed.events.push("set.incomplete");
                // With fewer, a key has no three zones.
                keys.at_least = 6;
            },
            run: |world| Box::pin(described(world)),
        },
        Case {
            name: "newest-is-bad",
            setup: |bad| {
                setup(bad);
                bad.allowed.events.push("restore.*");
            },
            run: |world| Box::pin(newest_is_bad(world)),
        },
        Case {
            name: "a-person-chooses",
            setup: |choice| {
                setup(choice);
                choice.allowed.events.push("restore.*");
            },
            run: |world| Box::pin(a_person_chooses(world)),
        },
    ],
};

/// Beside the usual collection.
const TENANTS: &str = "tenants";
/// From one set to the next.
const EVERY: Duration = Duration::from_secs(6);
/// A set comes within so many slots: one may be missed when its steward has just changed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Silence is counted first, then a cluster is formed, and only then is anything restored.
pub(super) const RESTORED: Duration = Duration::from_secs(90);

pub(super) fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.generations = 2;
    setup.env = vec![
        ("ENTRYPOINT_SETS", format!("{}s", EVERY.as_secs())),
        ("ENTRYPOINT_KEEP_ALL", "60s".to_owned()),
        ("ENTRYPOINT_RESTORE", "auto".to_owned()),
    ];
    let events = [
        // A machine that is busy sees slots begin too late, and says so.
        "set.missed",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        "set.given_up",
        "set.part_failed",
        "set.not_taken",
        // The cluster is lost, which a person must know.
        "alarm",
        "restore.finished",
        "restore.waits",
    ];
    setup.allowed.events.extend(events);
}

async fn all_die(world: &World) -> Result<(), Failure> {
    let (mut points, then) = one_more(world, begin(world).await?).await?;
    let since = lose(world, &mut points, then).await?;
    let from = newest(world)?.id;
    restored(world, points, since, from).await
}

/// Beside points: a second collection with a user's own shard key, payload indexes, and aliases.
async fn described(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let (since, through) = (world.timeline.now(), world.leader()?);
    world.create_custom(&through, TENANTS, 3).await?;
    let key = Target {
        collection: TENANTS.into(),
        key: Some("first".into()),
    };
    world.create_key(&through, &key, 2, None).await?;
    let (what, tasks) = ("a key was created", world.size());
    world.healed(what, since, tasks).await?;
    for (collection, field, alias) in [
        (TENANTS, "city", "people"),
        (COLLECTION, "colour", "things"),
    ] {
        world.index(collection, field).await?;
        world.alias(collection, alias).await?;
    }
    let before = world.described().await?;
    // The set that is under way may have been planned before.
    let (points, _) = one_more(world, points).await?;
    let (mut points, then) = one_more(world, points).await?;
    let since = lose(world, &mut points, then).await?;
    let from = newest(world)?.id;
    restored(world, points, since, from).await?;
    let after = world.described().await?;
    match after == before {
        true => Ok(()),
        false => {
            let detail = format!("before: {before}; after: {after}");
            Err(Failure::new("collections are what they were", detail))
        }
    }
}

async fn newest_is_bad(world: &World) -> Result<(), Failure> {
    let (points, then) = one_more(world, begin(world).await?).await?;
    // Of what the newest holds more than the one before it nothing is promised.
    let (mut points, _) = one_more(world, points).await?;
    let since = lose(world, &mut points, then).await?;
    let bad = newest(world)?;
    bad.spoil().context("spoil a set")?;
    world.fault(&[], format!("a byte of set {} is another one", bad.id));
    let mut older = whole(world)?;
    older.retain(|set| set.id < bad.id);
    let from = older.pop().map(|set| set.id);
    let from = from.ok_or_else(|| Failure::new("there is an older set", "there is none"))?;
    restored(world, points, since, from).await
}

/// Nobody takes it by itself that the newest set lacks what an earlier one has; a person does.
async fn a_person_chooses(world: &World) -> Result<(), Failure> {
    let (points, then) = one_more(world, begin(world).await?).await?;
    let older = newest(world)?.id;
    let (mut points, _) = one_more(world, points).await?;
    let since = lose(world, &mut points, then).await?;
    let newest = newest(world)?;
    newest.hide_manifest().context("spoil a manifest")?;
    world.fault(
        &[],
        format!("the manifest of set {} is from the future", newest.id),
    );
    let waits = || {
        let sample = world.observer.latest();
        let mut views = sample.running();
        let view = views.find(|view| {
            let status = view.status.as_ref();
            status.is_some_and(|status| status.restore.contains(&newest.id.to_string()))
        })?;
        world.ecs.task(&view.id)
    };
    let through = world.aim("a restore that waits", RESTORED, waits).await?;
    let ask = Ask {
        owner: "rehearsal".to_owned(),
        set: Some(older),
        ..Ask::default()
    };
    restores::decide(&through, &ask).await?;
    world.step(format!("a person chooses set {older}"));
    restored(world, points, since, older).await
}

/// Writes on until a set is finished that was planned after now; gives what was acknowledged now.
pub(super) async fn one_more(
    world: &World,
    points: Points,
) -> Result<(Points, BTreeMap<u64, u64>), Failure> {
    let then = points.acknowledged();
    let begun = sets::all(world)?.last().map(|set| set.id);
    let newer = || {
        let all = sets::all(world).ok()?;
        let mut newer = all.into_iter().filter(|set| Some(set.id) > begun);
        newer.find(|set| set.manifest.is_some() && !set.tombstone)
    };
    let set = world.aim("a finished set", PATIENCE, newer).await?;
    set.prove().with_context(|| format!("set {}", set.id))?;
    let held = then.len();
    world.step(format!(
        "set {} is whole; {held} points were there before",
        set.id
    ));
    points.more(world, 10).await?;
    Ok((points, then))
}

/// Every task dies with its disk; gives when.
pub(super) async fn lose(
    world: &World,
    points: &mut Points,
    then: BTreeMap<u64, u64>,
) -> Result<f64, Failure> {
    points.halt().await?;
    points.fall_back(then);
    let since = world.timeline.now();
    let tasks = world.ecs.running();
    world.watcher()?.lost();
    world.kill_all(&tasks, "everything is lost").await?;
    Ok(since)
}

/// The finished sets, the oldest first.
fn whole(world: &World) -> Result<Vec<Set>, Failure> {
    let mut all = sets::all(world)?;
    all.retain(|set| set.manifest.is_some() && !set.tombstone);
    Ok(all)
}

pub(super) fn newest(world: &World) -> Result<Set, Failure> {
    let newest = whole(world)?.pop();
    newest.ok_or_else(|| Failure::new("there is a set", "there is none"))
}

/// Waits until the cluster is whole again after everything was lost at `since`, and reads what must be
/// there: the set `from`, and no less than what `points` were promised.
pub(super) async fn restored(
    world: &World,
    points: Points,
    since: f64,
    from: SetId,
) -> Result<(), Failure> {
    restored_within(world, points, since, from, world.size(), RESTORED).await
}

/// The same with so many tasks, and so much time.
pub(super) async fn restored_within(
    world: &World,
    mut points: Points,
    since: f64,
    from: SetId,
    tasks: usize,
    bound: Duration,
) -> Result<(), Failure> {
    let from = from.to_string();
    let what = "the generation that is restored into";
    let formed = || world.efs.formed(2).then_some(());
    world.aim(what, RESTORED, formed).await?;
    world
        .healed_within("everything was lost", since, tasks, bound)
        .await?;
    let took = world.timeline.now() - since;
    world.step(format!("restored {took:.1} s after everything was lost"));
    points.resume();
    points.more(world, 30).await?;
    let formed = world.efs.all_formed();
    if formed.len() > world.setup.generations {
        let detail = format!("{formed:?} are formed");
        return Err(Failure::new("it is restored once", detail));
    }
    let taken = taken(world).await?;
    if taken != from {
        let detail = format!("set {taken:?} was restored, not {from}");
        return Err(Failure::new("the right set is restored", detail));
    }
    nobody_served_less(world, points).await
}

/// Nothing that was promised is missing, and through every task that called itself ready, all the time, nobody has
/// read less, or found no collection at all.
pub(super) async fn nobody_served_less(world: &World, points: Points) -> Result<(), Failure> {
    let tally = points.audit(world).await?;
    let absent = |complaint: &&String| complaint.contains("404");
    let absent = tally.complaints.iter().filter(absent).count();
    match (tally.stale_reads, absent) {
        (0, 0) => Ok(()),
        (stale, absent) => {
            let detail = format!(
                "{stale} reads found less, {absent} nothing: {:?}",
                tally.complaints
            );
            Err(Failure::new("nobody serves before it is restored", detail))
        }
    }
}

/// The set that was restored, as the cluster's own record says.
async fn taken(world: &World) -> Result<String, Failure> {
    let (client, leader) = (ask::client().context("build a client")?, world.leader()?);
    let path = format!("/cluster/metadata/keys/{RESTORE_KEY}");
    let host = leader.address.to_string();
    let record = ask::qdrant(&client, &host, &path, &leader.api_key).await;
    let set = record
        .as_ref()
        .and_then(|record| record.get("set")?.as_str());
    let none = || Failure::new("the restore is on record", format!("{record:?}"));
    set.map(str::to_owned).ok_or_else(none)
}
