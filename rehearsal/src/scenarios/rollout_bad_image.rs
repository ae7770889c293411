//! Proves that a bad revision costs nothing but its own tasks: they end at once, or never become
//! ready, and are taken back; the old ones have lost nothing.

use super::prelude::*;
use super::rolling::{Points, begin, end, of_revision, setup};
use crate::ecs::Change;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "rollout-bad-image",
    about: "a revision that cannot run: the old tasks lose nothing, and it is rolled back",
    cases: &[
        Case {
            name: "ends-at-once",
            setup: |world| setup(world, 100, 117),
            run: |world| Box::pin(ends_at_once(world)),
        },
        Case {
            name: "never-ready",
            setup: |world| unready(world, 100, 117),
            run: |world| Box::pin(never_ready(world)),
        },
    ],
};

/// From the launch of a task to the scheduler's verdict that it is unhealthy. Longer than an
/// ordinary start, far shorter than what is advised.
const GRACE: Duration = Duration::from_secs(20);

fn unready(world: &mut Setup, minimum: usize, maximum: usize) {
    setup(world, minimum, maximum);
    world.policy.grace = GRACE;
    // What is started in Qdrant's place does not say which Qdrant it is.
    world.allowed.events.push("qdrant.build");
}

async fn ends_at_once(world: &World) -> Result<(), Failure> {
    let bad = Change {
        program: Some("/bin/false".into()),
        ..Change::default()
    };
    run(world, bad, 5).await
}

async fn never_ready(world: &World) -> Result<(), Failure> {
    let no_qdrant = [("ENTRYPOINT_QDRANT_BIN".into(), "/bin/false".into())];
    let bad = Change {
        env: no_qdrant.into(),
        ..Change::default()
    };
    run(world, bad, 2).await
}

/// Rolls it out, waits for so many launches of it, and goes back.
async fn run(world: &World, bad: Change, launches: usize) -> Result<(), Failure> {
    let points = begin(world).await?;
    let begun = world.rolls("a bad revision was rolled out and taken back")?;
    let revision = world.ecs.deploy(bad);
    let bound = (GRACE + timing::ROLL) * 2;
    let of = |wanted: u32| {
        let tasks = world.ecs.tasks();
        tasks
            .into_iter()
            .filter(move |task| task.revision == wanted)
    };
    let launched = || match of(revision).count() {
        count if count >= launches => Ok(()),
        count => Err(format!("{count} launches")),
    };
    world
        .until("launches of the bad revision", bound, |_| launched())
        .await?;
    points.more(world, 100).await?;
    kept(world, &points).await?;
    world.ecs.roll_out(1);
    world.rolled(begun, world.size()).await?;
    of_revision(world, 1)?;
    end(world, points).await
}

/// No old task had to go, except the one whose place a stop-first deployment gives away.
async fn kept(world: &World, points: &Points) -> Result<(), Failure> {
    let tasks = world.ecs.tasks();
    let old = tasks.iter().take(world.size());
    let gone: Vec<String> = old
        .filter(|task| task.ended().is_some() || task.stopping().is_some())
        .map(|task| task.name())
        .collect();
    let given = world.size() - world.setup.policy.percent.minimum * world.size() / 100;
    if gone.len() > given {
        let detail = format!("{} were stopped for nothing", gone.join(", "));
        return Err(Failure::new("a bad revision costs no good task", detail));
    }
    points.more(world, 1).await
}
