//! Proves that DNS is never trusted: it lists the dead, it lists addresses nobody ever had, and it
//! does not list the living.

use super::prelude::*;
use crate::dns::Mode;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "dns-stale",
    about: "DNS lists the dead and misses the living",
    cases: &[
        Case {
            name: "frozen",
            setup: |setup| setup.at_least = 3,
            run: |world| Box::pin(frozen(world)),
        },
        Case {
            name: "leftover",
            setup: |_| (),
            run: |world| Box::pin(leftover(world)),
        },
    ],
};

async fn frozen(world: &World) -> Result<(), Failure> {
    form(world).await?;
    world.dns.change(|behaviour| behaviour.mode = Mode::Stale);
    world.fault(&[], "DNS answers are frozen");
    for _ in 0..2 {
        let dead = ordinary(world)?;
        world.kill(&dead, "DNS will list it for ever").await?;
        world.rest(world.size()).await?;
    }
    Ok(())
}

async fn leftover(world: &World) -> Result<(), Failure> {
    let stranger = world.network.stranger();
    world
        .dns
        .change(|behaviour| behaviour.foreign = vec![stranger.into()]);
    world.fault(&[], format!("DNS lists {stranger}, where nobody is"));
    world.ecs.scale(world.size());
    // Whether anybody may found meanwhile is not this scenario's question; that only one does, is.
    world
        .never("one generation serves", timing::LOSS, |_| None)
        .await?;
    world.dns.change(|behaviour| behaviour.foreign.clear());
    world.fault(&[], "DNS forgets the leftover");
    world.rest(world.size()).await.map(|_| ())
}
