//! Proves that the store may be a bucket: a cluster forms by it, loses its founder, makes sets under
//! writes, is not disturbed while the bucket cannot be reached, and comes back from it when everything
//! is lost.

use anyhow::Context;

use super::healing::{begin, end_unnoticed, kill_and_heal, setup_of_several};
use super::lose_everything::{lose, newest, one_more, restored};
use super::prelude::*;
use super::snapshots::{made, made_within};
use crate::efs::Fault;
use crate::observe::sample::{Sample, View};
use crate::world::points::Points;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "s3",
    about: "the store is a bucket of an S3 server: founding, sets, no answer from it, total loss",
    cases: &[
        Case {
            name: "founder-dies",
            setup,
            run: |world| Box::pin(founder_dies(world)),
        },
        Case {
            name: "unreachable",
            setup,
            run: |world| Box::pin(unreachable(world)),
        },
        Case {
            name: "lose-everything",
            setup: |lost| {
                setup(lost);
                lost.generations = 2;
                let events = ["alarm", "restore.finished", "restore.waits"];
                lost.allowed.events.extend(events);
            },
            run: |world| Box::pin(lose_everything(world)),
        },
    ],
};

/// Longer than a call to the store may take, and than the silence after which a claim is abandoned.
const OUTAGE: Duration = Duration::from_secs(15);

/// The next set comes within so long of an outage. Before it every call that the outage met runs out, one
/// after the other, and the set that it met is finished or given up.
const AFTERWARDS: Duration = Duration::from_secs(120);

fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.bucket = true;
    // One server of one thread answers all of them, on a machine that is busy: they ask less often, and
    // wait for longer.
    setup.env = [
        ("ENTRYPOINT_ROUND", "1s"),
        ("ENTRYPOINT_BEAT", "1s"),
        ("ENTRYPOINT_CLAIM_TIMEOUT", "12s"),
        ("ENTRYPOINT_LOSS_TIMEOUT", "20s"),
        ("ENTRYPOINT_GONE_TIMEOUT", "4s"),
        ("ENTRYPOINT_STORE_TIMEOUT", "10s"),
        ("ENTRYPOINT_SETS", "10s"),
        ("ENTRYPOINT_KEEP_ALL", "60s"),
        ("ENTRYPOINT_KEEP_HOURLY", "1"),
        ("ENTRYPOINT_KEEP_DAILY", "1"),
        ("ENTRYPOINT_KEEP_MONTHLY", "1"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let events = [
        "store.*",
        "action.failed",
        "set.missed",
        "set.given_up",
        "set.incomplete",
        "set.part_failed",
        "set.not_taken",
        "set.kept",
    ];
    setup.allowed.events.extend(events);
}

async fn founder_dies(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = made(world, None).await?;
    first.prove().with_context(|| format!("set {}", first.id))?;
    kill_and_heal(world, &points, &world.founder()?, "the founder").await?;
    let next = made(world, Some(first)).await?;
    next.prove().with_context(|| format!("set {}", next.id))?;
    points.audit(world).await.map(drop)
}

async fn unreachable(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let mut last = made(world, None).await?;
    for (fault, what) in [
        (Fault::Hang, "the bucket does not answer"),
        (Fault::ReadOnly, "the bucket answers 503 to everything"),
    ] {
        last.prove().with_context(|| format!("set {}", last.id))?;
        out(world, &points, fault, what).await?;
        last = made_within(world, Some(last), AFTERWARDS).await?;
    }
    last.prove().with_context(|| format!("set {}", last.id))?;
    end_unnoticed(world, points).await
}

/// While the bucket is out everybody is ready and writes go on.
async fn out(world: &World, points: &Points, fault: Fault, what: &str) -> Result<(), Failure> {
    world.efs.set(fault);
    world.fault(&[], what);
    // One that was too busy to answer once says nothing.
    let disturbed = |sample: &Sample| {
        let says_no = |view: &View| view.status.is_some() && !view.ready();
        sample.running().any(says_no).then(|| sample.describe())
    };
    world
        .never("a cluster serves without its store", OUTAGE, disturbed)
        .await?;
    points.more(world, 30).await?;
    world.efs.set(Fault::None);
    world.fault(&[], "the bucket answers again");
    Ok(())
}

async fn lose_everything(world: &World) -> Result<(), Failure> {
    let (mut points, then) = one_more(world, begin(world).await?).await?;
    let since = lose(world, &mut points, then).await?;
    let from = newest(world)?.id;
    restored(world, points, since, from).await
}
