//! Proves that replacement goes on for ever: one task after the other is stopped or killed
//! (`--times`), every copy comes back each time, and nothing grows with their number: not the store,
//! not the list of peers, not the memory of a task that lived through all of them.

use super::healing::{Points, begin, end, setup};
use super::prelude::*;
use crate::ecs::process;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "thousand",
    about: "one replacement after the other (--times): nothing is lost and nothing grows",
    cases: &[Case {
        name: "",
        setup: |world| {
            setup(world);
            // Hundreds of stops on a machine that does other things as well: one may not fit into its
            // ten seconds. What it left short of copies is healed, or this scenario fails.
            let events = ["heal.failed", "handover.short"];
            world.allowed.events.extend(events);
            world.longest = Duration::from_secs(6 * 3600);
            // The proof of death is what the others are about.
            world.env.push(("ENTRYPOINT_GONE_TIMEOUT", "1s".into()));
        },
        run: |world| Box::pin(run(world)),
    }],
};

/// Replacements unless the command says otherwise: what four minutes hold.
const TIMES: usize = 30;
/// One in so many is a sudden death; the others are stopped as ECS does it.
const SUDDEN: usize = 3;
/// A record of a killed task is swept after four loss time-outs in steps of half of one.
const SWEPT: Duration = timing::LOSS.saturating_mul(7);
/// What the memory of a task may grow by, in KiB, over any number of replacements.
const GROWTH: u64 = 24 * 1024;

async fn run(world: &World) -> Result<(), Failure> {
    let times = world.times.unwrap_or(TIMES);
    let points = begin(world).await?;
    let witness = ordinary(world)?;
    let memory = || {
        witness
            .process()
            .and_then(|own| process::resident_kib(own.pid))
    };
    let files = world.efs.files();
    // What fills up in the first few replacements is no growth.
    let mut first = None;
    for time in 1..=times {
        let mut others = world.ecs.running();
        others.retain(|task| task.number != witness.number);
        let victim = world.any(&others)?;
        replace(world, &points, &victim, time, times).await?;
        if time == times.div_ceil(4) {
            first = memory();
        }
    }
    // Only what is swept after a while may be left of the dead, and after that while nothing.
    let few = || (world.efs.files() <= files).then_some(());
    world
        .aim("a store that has not grown", SWEPT * 2, few)
        .await?;
    if let Some((before, after)) = first.zip(memory()) {
        world.step(format!(
            "t{}: {before} KiB, later {after} KiB",
            witness.number
        ));
        if after > before + GROWTH {
            let detail = format!("t{}: from {before} to {after} KiB", witness.number);
            return Err(Failure::new("memory does not grow", detail));
        }
    }
    end(world, points).await
}

async fn replace(
    world: &World,
    points: &Points,
    victim: &Arc<Task>,
    time: usize,
    times: usize,
) -> Result<(), Failure> {
    let why = format!("replacement {time} of {times}");
    let since = world.timeline.now();
    match time.is_multiple_of(SUDDEN) {
        true => world.kill(victim, &why).await?,
        false => {
            world.stop(victim, &why);
            let over = || victim.ended().map(drop);
            world.aim("its end", timing::STOP * 2, over).await?;
        }
    }
    world.healed(&why, since, world.size()).await?;
    points.more(world, 10).await
}
