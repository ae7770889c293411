//! Proves that a majority that was given up and comes back does no harm: it stood still, out of reach
//! and out of DNS, for so long that the minority went on without it. On waking it takes no writes for
//! longer than a bound, keeps its data aside and joins anew.

use super::healing::begin;
use super::prelude::*;
use super::regrouping::{harm_all, of_zones, one_more, setup};
use crate::ecs::Names;
use crate::ecs::cut::Cut;
use crate::ecs::task::Pause;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "majority-returns",
    about: "four of six vanish until the others have gone on, and wake: fenced, and new peers",
    cases: &[Case {
        name: "",
        setup: |returns| {
            setup(returns);
            returns.breakable_network = true;
            returns.allowed.overlap = FENCED.as_secs_f64();
            let woken = ["store.*", "peer.back", "disk.set_aside"];
            returns.allowed.events.extend(woken);
        },
        run: |world| Box::pin(run(world)),
    }],
};

/// Who wakes takes writes of the generation that has ended for no longer.
const FENCED: Duration = Duration::from_secs(2);

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    harm_all(world);
    let away = of_zones(world, 2, 0);
    let since = world.timeline.now();
    let network = Cut::off(&away.iter().map(|task| task.address).collect::<Vec<_>>())?;
    for task in &away {
        task.pause(Pause::Whole);
        Names::deregister(&world.dns, &task.id);
    }
    let all: Vec<&Arc<Task>> = away.iter().collect();
    world.fault(&all, "they stand still, out of reach and out of DNS");
    let left = world.size() - away.len();
    world.healed("the majority vanished", since, left).await?;
    points.more(world, 30).await?;

    harm_all(world);
    let since = world.timeline.now();
    drop(network);
    for task in &away {
        Names::register(&world.dns, &task.id, task.address);
        task.resume();
    }
    world.fault(&all, "they are back and go on");
    points.until_deaf(world, &away, FENCED).await?;
    world
        .healed("the majority came back", since, world.size())
        .await?;
    if let Some(task) = away.iter().find(|task| !task.running()) {
        let detail = format!("{} has ended", task.name());
        return Err(Failure::new("who comes back joins anew", detail));
    }
    one_more(world, points).await
}
