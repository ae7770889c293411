//! Proves nothing in particular, and by that what nobody thought of: a swarm of faults chosen by the
//! seed (`--seed`, `--faults`), of which each may meet the others' traces.
//!
//! What would lose data by its nature is not drawn: copies are destroyed on one task or in one zone
//! at a time, and not in another before that is healed.

use super::healing::{Points, begin, end};
use super::prelude::*;
use super::rolling::{good, setup};
use crate::dns::Mode;
use crate::efs::{Efs, Fault};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "random",
    about: "a swarm of faults chosen by --seed, as many as --faults says",
    cases: &[Case {
        name: "",
        setup: |world| {
            setup(world, 100, 117);
            world.at_least = 6;
            world.longest = Duration::from_secs(3600);
            world.policy.rebalancing = true;
            world.breakable_store = Efs::cannot_break().is_none();
            world
                .allowed
                .events
                .extend(["store.*", "dns.*", "peer.back"]);
        },
        run: |world| Box::pin(run(world)),
    }],
};

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Kill,
    KillLeader,
    Stop,
    LoseZone,
    Freeze,
    Deploy,
    RollBack,
    More,
    Usual,
    StoreHangs,
    StoreSlow,
    DnsEmpty,
    DnsStale,
    NamesAndStoreBack,
}

const ALL: [Bad; 14] = [
    Bad::Kill,
    Bad::KillLeader,
    Bad::Stop,
    Bad::LoseZone,
    Bad::Freeze,
    Bad::Deploy,
    Bad::RollBack,
    Bad::More,
    Bad::Usual,
    Bad::StoreHangs,
    Bad::StoreSlow,
    Bad::DnsEmpty,
    Bad::DnsStale,
    Bad::NamesAndStoreBack,
];

impl Bad {
    /// Whether it ends tasks with their disks.
    fn destroys(self) -> bool {
        matches!(
            self,
            Self::Kill | Self::KillLeader | Self::Stop | Self::LoseZone
        )
    }
}

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    for number in 1..=world.faults {
        let at = world.draw(ALL.len());
        let bad = ALL.get(at).copied().unwrap_or(Bad::Kill);
        world.step(format!("fault {number} of {}: {bad:?}", world.faults));
        if bad.destroys() {
            calm(world, "before a task is destroyed").await?;
        }
        happen(world, bad).await?;
        let pause = Duration::from_millis(500 * world.draw(8) as u64);
        world.never("nothing breaks", pause, |_| None).await?;
    }
    happen(world, Bad::NamesAndStoreBack).await?;
    world.ecs.scale(world.size());
    calm(world, "all of it").await?;
    finish(world, points).await
}

/// Waits until ECS has nothing to do and everything is whole.
async fn calm(world: &World, what: &str) -> Result<(), Failure> {
    let begun = world.rolls(what)?;
    let members = world.ecs.desired();
    world.rolled(begun, members).await
}

async fn finish(world: &World, points: Points) -> Result<(), Failure> {
    points.more(world, 30).await?;
    end(world, points).await
}

async fn happen(world: &World, bad: Bad) -> Result<(), Failure> {
    match bad {
        Bad::Kill => {
            world
                .kill(&world.any(&world.ecs.running())?, "a fault")
                .await?
        }
        Bad::KillLeader => world.kill(&world.leader()?, "a fault").await?,
        Bad::Stop => world.stop(&world.any(&world.ecs.running())?, "a fault"),
        Bad::LoseZone => {
            let zone = world.any(&world.ecs.running())?.zone.clone();
            let mut tasks = world.ecs.running();
            tasks.retain(|task| task.zone == zone);
            world.kill_all(&tasks, "its zone is lost").await?;
        }
        Bad::Freeze => {
            let task = world.any(&world.ecs.running())?;
            world.freeze(&task, timing::CLAIM).await;
        }
        Bad::Deploy => {
            world.ecs.deploy(good());
        }
        Bad::RollBack => world.ecs.roll_out(1),
        Bad::More => world.ecs.scale(world.size() + 2),
        Bad::Usual => world.ecs.scale(world.size()),
        Bad::StoreHangs => store(world, Fault::Hang),
        Bad::StoreSlow => store(world, Fault::Slow(timing::CHECK)),
        Bad::DnsEmpty => names(world, Mode::Empty),
        Bad::DnsStale => names(world, Mode::Stale),
        Bad::NamesAndStoreBack => {
            store(world, Fault::None);
            names(world, Mode::Normal);
        }
    }
    Ok(())
}

fn store(world: &World, fault: Fault) {
    if world.setup.breakable_store {
        world.efs.set(fault);
        world.fault(&[], format!("store: {fault:?}"));
    }
}

fn names(world: &World, mode: Mode) {
    world.dns.change(|behaviour| behaviour.mode = mode);
    world.fault(&[], format!("DNS: {mode:?}"));
}
