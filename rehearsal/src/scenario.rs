//! What a scenario is.
//! Owns: the types a scenario file fills in. Must not: run anything.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::ecs::deployment::Percent;
use crate::ecs::{Policy, agent, api};
use crate::timing;
use crate::verdict::{Allowed, Failure};
use crate::world::World;

/// A bad day, in one or several cases that each begin with an empty world.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it proves, in one line.
    pub about: &'static str,
    /// Its cases; most have one, without a name.
    pub cases: &'static [Case],
}

/// One case.
pub struct Case {
    /// Its name, or nothing.
    pub name: &'static str,
    /// How its world differs from the usual one.
    pub setup: fn(&mut Setup),
    /// What happens in it. It ends well when nothing was broken.
    pub run: for<'w> fn(&'w World) -> BoxFuture<'w, Result<(), Failure>>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How the world of a case is made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Cluster size that every task is told.
    pub size: usize,
    /// Fewest tasks with which the case makes sense.
    pub at_least: usize,
    /// What may happen here that must not happen elsewhere.
    pub allowed: Allowed,
    /// How many generations may be formed in all.
    pub generations: usize,
    /// Whether the store must be able to be slow, hang or refuse.
    pub breakable_store: bool,
    /// Whether the store is a bucket of an S3 server and not a directory.
    pub bucket: bool,
    /// Whether tasks must be able to vanish from the network.
    pub breakable_network: bool,
    /// Whether Qdrant must be able to fail at every start.
    pub breakable_qdrant: bool,
    /// Whether it says something about the real Qdrant alone.
    pub real: bool,
    /// Whether healing is what it is about: copies are watched, and the steward's times are short.
    pub heals: bool,
    /// How ECS runs the service.
    pub policy: Policy,
    /// No case takes longer, whatever it waits for.
    pub longest: Duration,
    /// Environment of every task beside the usual.
    pub env: Vec<(&'static str, String)>,
}

/// What ECS does unless a scenario says otherwise: its own defaults, but for the zones, which it
/// levels only where that is what a scenario is about.
const POLICY: Policy = Policy {
    percent: Percent {
        minimum: 100,
        maximum: 200,
    },
    rebalancing: false,
    grace: timing::GRACE,
    stop: timing::STOP,
    agent: agent::Mode::Ecs,
    api: api::Mode::Answers,
};

impl Setup {
    /// The usual world for so many tasks.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            at_least: 1,
            allowed: Allowed::default(),
            generations: 1,
            breakable_store: false,
            bucket: false,
            breakable_network: false,
            breakable_qdrant: false,
            real: false,
            heals: false,
            policy: POLICY,
            longest: Duration::from_secs(300),
            env: Vec::new(),
        }
    }
}
