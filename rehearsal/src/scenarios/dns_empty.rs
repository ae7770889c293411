//! Proves that DNS is a help and no necessity: without one record tasks find each other through
//! the store, and nobody founds beside a living cluster because names are silent.

use super::prelude::*;
use crate::dns::Mode;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "dns-empty",
    about: "DNS knows nobody, or fails: at the start and under a living cluster",
    cases: &[
        Case {
            name: "from-the-start",
            setup: |_| (),
            run: |world| Box::pin(start(world)),
        },
        Case {
            name: "living",
            setup,
            run: |world| Box::pin(living(world, Mode::NxDomain)),
        },
        Case {
            name: "servfail",
            setup,
            run: |world| Box::pin(living(world, Mode::ServFail)),
        },
    ],
};

fn setup(setup: &mut Setup) {
    setup.at_least = 3;
    setup.allowed.events = vec!["dns.*"];
}

async fn start(world: &World) -> Result<(), Failure> {
    world.dns.change(|behaviour| behaviour.mode = Mode::Empty);
    world.fault(&[], "DNS answers without records, for ever");
    form(world).await
}

async fn living(world: &World, mode: Mode) -> Result<(), Failure> {
    form(world).await?;
    world.dns.change(|behaviour| behaviour.mode = mode);
    world.fault(&[], format!("DNS answers {mode:?}"));
    let dead = ordinary(world)?;
    world.kill(&dead, "its replacement finds no names").await?;
    world.rest(world.size()).await.map(|_| ())
}
