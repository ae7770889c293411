//! Proves that tasks may arrive over time: the first ones found, later ones join, and nobody is
//! ready before the formation is complete.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "stagger",
    about: "tasks arrive one by one; nobody is ready before all are in",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 2,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    for arrived in 1..world.size() {
        world.ecs.scale(arrived);
        let watch = Duration::from_millis(if arrived == 1 { 2500 } else { 700 });
        let early = |sample: &crate::observe::sample::Sample| {
            let ready = sample.running().find(|view| view.ready())?;
            Some(format!(
                "t{} is ready with {arrived} of {} tasks",
                ready.task,
                world.size()
            ))
        };
        world
            .never("readiness waits for the first formation", watch, early)
            .await?;
    }
    form(world).await
}
