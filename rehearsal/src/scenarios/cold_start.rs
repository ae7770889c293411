//! Proves that tasks which start together, when DNS knows nobody yet and remembers that it knew
//! nobody, still found exactly once.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "cold-start",
    about: "all tasks at once, DNS empty at first: one cluster",
    cases: &[Case {
        name: "",
        setup: |_| (),
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.dns.change(|behaviour| {
        behaviour.appear_after = Duration::from_millis(200);
        behaviour.negative_cache = Some(Duration::from_millis(300));
    });
    world.step("DNS shows a task 0.2 s late, and remembers for 0.3 s that there was nobody");
    form(world).await
}
