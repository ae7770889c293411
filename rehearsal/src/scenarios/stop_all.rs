//! Proves a clean stop: SIGTERM to every task under write load ends each with code 0, within the
//! stop time-out, and Qdrant itself has shut down.

use std::time::Instant;

use super::prelude::*;
use crate::world::load::Load;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "stop-all",
    about: "SIGTERM to all under write load: clean exits within the stop time-out",
    cases: &[Case {
        name: "",
        // It is about the end of a task; whether ECS may ask for it is another matter.
        setup: |all| all.env.push(("ENTRYPOINT_PROTECTION", "off".into())),
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let tasks = world.ecs.running();
    let load = Load::start(&tasks).await;
    match &load {
        Some(_) => world.step("points are written through every task"),
        None => world.step("this Qdrant takes no points: no write load"),
    }
    if let Some(load) = &load {
        let some = || (load.written() >= 50).then_some(());
        world
            .aim("50 acknowledged writes", timing::REST, some)
            .await?;
    }
    let asked = Instant::now();
    world.ecs.scale(0);
    for task in &tasks {
        let ended = || task.ended();
        let exit = world
            .aim("the end of every task", timing::STOP * 2, ended)
            .await?;
        let took = exit.at.saturating_duration_since(asked);
        if exit.code != Some(0) || took >= timing::STOP {
            let detail = format!("{}: {exit} after {:.2} s", task.name(), took.as_secs_f64());
            return Err(Failure::new("clean exits within the stop time-out", detail));
        }
        let log = std::fs::read_to_string(&task.log).unwrap_or_default();
        if !world.standin && !log.to_lowercase().contains(" shutdown") {
            let detail = format!("{}: Qdrant's own log has no shutdown line", task.name());
            return Err(Failure::new("Qdrant shuts down by itself", detail));
        }
    }
    let written = load.as_ref().map_or(0, Load::written);
    world.step(format!(
        "all ended with 0; {written} writes were acknowledged"
    ));
    Ok(())
}
