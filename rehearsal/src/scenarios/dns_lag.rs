//! Proves that late DNS is only late: registrations appear and vanish seconds after the fact.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "dns-lag",
    about: "DNS shows everything two seconds late: start and replacement",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 3,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world
        .dns
        .change(|behaviour| behaviour.set_lag(Duration::from_secs(2)));
    world.step("DNS shows everything 2 s late");
    form(world).await?;
    let founder = world.founder()?;
    world
        .kill(&founder, "the founder, still listed for 2 s")
        .await?;
    world.rest(world.size()).await.map(|_| ())
}
