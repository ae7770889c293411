//! What the service scheduler of ECS does next, as a function of what it sees.
//! Owns: that decision. Must not: start, stop or ask anything, or draw lots.
//!
//! After the Developer Guide: deployment-type-ecs (the percentages and their rounding, unhealthy
//! tasks keep their revision), ecs_services (unhealthy tasks, surplus tasks at random),
//! service-rebalancing, task-scale-in-protection.

use std::collections::BTreeMap;

/// How far a deployment may go below and above the desired count, in percent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent {
    /// `minimumHealthyPercent`.
    pub minimum: usize,
    /// `maximumPercent`.
    pub maximum: usize,
}

/// What is wanted of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// `desiredCount`.
    pub desired: usize,
    /// Revision of the primary deployment.
    pub primary: u32,
    /// Bounds of a deployment.
    pub percent: Percent,
    /// `availabilityZoneRebalancing`.
    pub rebalancing: bool,
}

impl Service {
    /// So many healthy tasks are left alone: rounded up.
    pub fn floor(&self) -> usize {
        (self.desired * self.percent.minimum).div_ceil(100)
    }

    /// So many tasks may exist: rounded down.
    pub fn ceiling(&self) -> usize {
        self.desired * self.percent.maximum / 100
    }
}

/// What load balancer and container health check say of a task together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not healthy yet, or within its grace period.
    Pending,
    /// Counts for the deployment.
    Healthy,
    /// To be replaced.
    Unhealthy,
}

/// A task that is neither over nor asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Task number.
    pub task: usize,
    /// Revision of its task definition.
    pub revision: u32,
    /// Index of its zone.
    pub zone: usize,
    /// How it is.
    pub health: Health,
    /// Scale-in protection holds.
    pub protected: bool,
}

/// The service at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its tasks.
    pub tasks: Vec<Seen>,
    /// Revisions of tasks that were asked to stop or have ended so lately that their places are
    /// not free yet.
    pub leaving: Vec<u32>,
    /// Revisions, other than the primary one, of tasks that have failed and were not replaced yet.
    pub owed: Vec<u32>,
    /// Zones that take tasks now.
    pub zones: Vec<usize>,
}

/// Why the scheduler stops a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A check failed for longer than the grace period.
    Unhealthy,
    /// A newer deployment takes its place.
    Deployment,
    /// There are more tasks than desired.
    Surplus,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "it is unhealthy",
            Self::Deployment => "the deployment goes on",
            Self::Surplus => "more tasks run than desired",
        })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Start a task of this revision in this zone.
    Launch {
        /// Its revision.
        revision: u32,
        /// Its zone.
        zone: usize,
    },
    /// Stop one of these tasks, whichever the lot falls on.
    Stop {
        /// Task numbers, never empty.
        candidates: Vec<usize>,
        /// What for.
        why: Why,
    },
}

/// The next step; nothing when the service has to be left alone for now.
pub fn next(service: &Service, snapshot: &Snapshot) -> Option<Step> {
    let round = Round { service, snapshot };
    round
        .unhealthy()
        .or_else(|| round.above_ceiling())
        .or_else(|| match round.old().next() {
            Some(_) => round.launch_owed(),
            None => None,
        })
        .or_else(|| round.launch())
        .or_else(|| match round.old().next() {
            Some(_) => round.retire(),
            None => round.surplus().or_else(|| round.rebalance()),
        })
}

/// Whether only scale-in protection keeps the scheduler from stopping a task.
pub fn blocked(service: &Service, snapshot: &Snapshot) -> bool {
    if matches!(next(service, snapshot), Some(Step::Stop { .. })) {
        return false;
    }
    let mut bare = snapshot.clone();
    for seen in &mut bare.tasks {
        seen.protected = false;
    }
    matches!(next(service, &bare), Some(Step::Stop { .. }))
}

/// Whether ECS answers `DEPLOYMENT_BLOCKED` when this task asks for protection or renews it: there
/// is something to stop, and more tasks than desired would be protected.
pub fn refuses(service: &Service, snapshot: &Snapshot, task: usize) -> bool {
    let to_stop = snapshot.tasks.len() > service.desired
        || snapshot
            .tasks
            .iter()
            .any(|seen| seen.revision != service.primary);
    let others = snapshot.tasks.iter();
    let others = others.filter(|seen| seen.protected && seen.task != task);
    to_stop && others.count() + 1 > service.desired
}

struct Round<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
}

impl<'a> Round<'a> {
    fn tasks(&self) -> impl Iterator<Item = &'a Seen> + use<'a> {
        self.snapshot.tasks.iter()
    }

    fn old(&self) -> impl Iterator<Item = &'a Seen> + use<'a> {
        let primary = self.service.primary;
        self.tasks().filter(move |seen| seen.revision != primary)
    }

    fn count(&self, health: Health) -> usize {
        self.tasks().filter(|seen| seen.health == health).count()
    }

    /// Whether a task can be started.
    fn room(&self) -> bool {
        let there = self.snapshot.tasks.len() + self.snapshot.leaving.len();
        there < self.service.ceiling()
    }

    /// Unhealthy tasks go when their replacements are there, or when there is no room for one; then
    /// one at a time. No scale-in protection is known to save them.
    fn unhealthy(&self) -> Option<Step> {
        let unhealthy = self.count(Health::Unhealthy);
        let replaced = self.count(Health::Healthy) + unhealthy > self.service.desired;
        let in_the_way =
            !self.room() && self.count(Health::Pending) == 0 && self.snapshot.leaving.is_empty();
        let candidates = self
            .tasks()
            .filter(|seen| seen.health == Health::Unhealthy)
            .map(|seen| seen.task);
        match replaced || in_the_way {
            true => stop(candidates.collect(), Why::Unhealthy),
            false => None,
        }
    }

    /// The desired count was lowered so far that no deployment could have so many tasks.
    fn above_ceiling(&self) -> Option<Step> {
        if self.snapshot.tasks.len() <= self.service.ceiling() {
            return None;
        }
        let pending = |seen: &&Seen| seen.health == Health::Pending;
        self.crowded(self.tasks().filter(pending), Why::Surplus)
            .or_else(|| self.crowded(self.old(), Why::Surplus))
            .or_else(|| self.crowded(self.tasks(), Why::Surplus))
    }

    /// A task that failed during a deployment is replaced by one of its own revision.
    fn launch_owed(&self) -> Option<Step> {
        let revision = *self.snapshot.owed.first()?;
        let primary = self.service.primary;
        let done = self
            .tasks()
            .filter(|seen| seen.revision == primary && seen.health == Health::Healthy);
        match self.room() && done.count() < self.service.desired {
            true => self.launch_in_poorest(revision),
            false => None,
        }
    }

    fn launch(&self) -> Option<Step> {
        let primary = self.service.primary;
        let counts = |seen: &&Seen| seen.revision == primary && seen.health != Health::Unhealthy;
        let there = self.tasks().filter(counts).count();
        let leaving = self.snapshot.leaving.iter();
        let leaving = leaving.filter(|revision| **revision == primary).count();
        match there + leaving < self.service.desired && self.room() {
            true => self.launch_in_poorest(primary),
            false => None,
        }
    }

    /// An old task goes when enough healthy ones remain.
    fn retire(&self) -> Option<Step> {
        let primary = self.service.primary;
        let done = self
            .tasks()
            .filter(|seen| seen.revision == primary && seen.health == Health::Healthy);
        if done.count() >= self.service.desired {
            return self.crowded(self.old(), Why::Deployment);
        }
        let healthy = |seen: &&Seen| seen.health == Health::Healthy;
        if self.count(Health::Healthy) > self.service.floor() {
            return self.crowded(self.old().filter(healthy), Why::Deployment);
        }
        // One that serves nobody is none the fewer, when its place is all that is missing.
        let arriving = self
            .tasks()
            .any(|seen| seen.revision == primary && seen.health == Health::Pending);
        match arriving || self.room() {
            true => None,
            false => self.crowded(self.old().filter(|seen| !healthy(seen)), Why::Deployment),
        }
    }

    /// More tasks than desired: healthy ones are stopped at random. While zones are to be balanced
    /// only a task of a rich zone will do.
    fn surplus(&self) -> Option<Step> {
        let healthy = |seen: &&Seen| seen.health == Health::Healthy;
        if self.count(Health::Healthy) <= self.service.desired {
            return None;
        }
        let zones = self.zones();
        let (poor, rich) = (zones.values().min(), zones.values().max());
        let rebalances =
            self.rebalances() && poor.zip(rich).is_some_and(|(poor, rich)| poor + 2 <= *rich);
        let would_do = |seen: &&Seen| !rebalances || zones.get(&seen.zone) == rich;
        self.crowded(self.tasks().filter(healthy).filter(would_do), Why::Surplus)
    }

    fn rebalances(&self) -> bool {
        self.service.rebalancing && self.service.percent.maximum > 100
    }

    /// In the steady state: one task more in the poorest zone.
    fn rebalance(&self) -> Option<Step> {
        let steady = self.snapshot.tasks.len() == self.service.desired
            && self.count(Health::Healthy) == self.service.desired
            && self.snapshot.leaving.is_empty();
        let zones = self.zones();
        let poor = zones.values().min()?;
        let uneven = zones.values().max().is_some_and(|rich| poor + 2 <= *rich);
        match self.rebalances() && steady && uneven && self.room() {
            true => self.launch_in_poorest(self.service.primary),
            false => None,
        }
    }

    /// How many tasks each zone has, of those that take tasks or hold one.
    fn zones(&self) -> BTreeMap<usize, usize> {
        let open = self.snapshot.zones.iter().map(|zone| (*zone, 0));
        let mut zones: BTreeMap<usize, usize> = open.collect();
        for seen in self.tasks() {
            *zones.entry(seen.zone).or_default() += 1;
        }
        zones
    }

    fn launch_in_poorest(&self, revision: u32) -> Option<Step> {
        let zones = self.zones();
        let open = self.snapshot.zones.iter();
        let zone = *open.min_by_key(|zone| zones.get(zone).copied().unwrap_or(0))?;
        Some(Step::Launch { revision, zone })
    }

    /// Stops one of these that is not protected, in the zone that has most tasks.
    fn crowded(&self, tasks: impl Iterator<Item = &'a Seen>, why: Why) -> Option<Step> {
        let zones = self.zones();
        let free: Vec<&Seen> = tasks.filter(|seen| !seen.protected).collect();
        let crowd = |seen: &&&Seen| zones.get(&seen.zone).copied().unwrap_or(0);
        let most = free.iter().map(|seen| crowd(&seen)).max()?;
        let there = free.iter().filter(|seen| crowd(seen) == most);
        stop(there.map(|seen| seen.task).collect(), why)
    }
}

fn stop(candidates: Vec<usize>, why: Why) -> Option<Step> {
    (!candidates.is_empty()).then_some(Step::Stop { candidates, why })
}
