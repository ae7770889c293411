//! Rollouts as scenarios wait for them, and what they cost.
//! Owns: that wait and its figures. Must not: contain a scenario.

use std::time::Duration;

use serde::Serialize;

use super::World;
use crate::report::figures::Spread;
use crate::timing;
use crate::verdict::Failure;

/// What a rollout took, in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Rollout {
    /// What was rolled out, and how.
    pub what: String,
    /// From the call to the steady state, all copies in their places.
    pub total_s: f64,
    /// From the call to the steady state that ECS sees.
    pub steady_s: f64,
    /// Between the ends of one replaced task and the next.
    pub task_s: Option<Spread>,
    /// Tasks that were launched meanwhile.
    pub launched: usize,
    /// Share of the total during which a copy was on its way.
    pub transfer_share: f64,
}

/// Where a rollout began.
#[derive(Debug, Clone)]
pub struct Begun {
    what: String,
    since: f64,
    transferring: f64,
}

impl World {
    /// Notes that a rollout begins now. From here on at most one copy of any shard may be missing.
    ///
    /// # Errors
    /// In a case that watches no copies.
    pub fn rolls(&self, what: &str) -> Result<Begun, Failure> {
        let watcher = self.watcher()?;
        let copies = self
            .healing
            .wanted()
            .into_values()
            .map(|wanted| wanted.copies);
        watcher.require(copies.min().map(|copies| copies.saturating_sub(1)));
        Ok(Begun {
            what: what.into(),
            since: self.timeline.now(),
            transferring: watcher.transferring(),
        })
    }

    /// Waits until a rollout is over: the state that ECS calls steady, and everything whole.
    ///
    /// # Errors
    /// What is still missing when the time is over.
    pub async fn rolled(&self, begun: Begun, members: usize) -> Result<(), Failure> {
        let Begun {
            what,
            since,
            transferring,
        } = begun;
        let bound = timing::ROLL * u32::try_from(members.max(1)).unwrap_or(u32::MAX);
        self.until(&format!("a steady service after {what}"), bound, |_| {
            self.ecs.steady()
        })
        .await?;
        let steady_s = self.timeline.now() - since;
        self.healed(&what, since, members).await?;
        let total_s = self.timeline.now() - since;
        let moved = self.watcher()?.transferring() - transferring;
        let tasks = self.ecs.tasks();
        let after = |at: f64| (at >= since).then_some(at);
        let mut ends: Vec<f64> = (tasks.iter())
            .filter_map(|task| after(self.timeline.seconds(task.ended()?.at)))
            .collect();
        ends.sort_by(f64::total_cmp);
        let starts = std::iter::once(since).chain(ends.iter().copied());
        let gaps = starts.zip(&ends).map(|(from, to)| to - from);
        let launched = tasks
            .iter()
            .map(|task| self.timeline.seconds(task.launched));
        let rollout = Rollout {
            total_s,
            steady_s,
            task_s: Spread::of(gaps.collect()),
            launched: launched.filter(|at| *at >= since).count(),
            transfer_share: moved / total_s.max(f64::EPSILON),
            what,
        };
        let each = rollout
            .task_s
            .map_or("no task".into(), |spread| spread.to_string());
        self.step(format!(
            "{}: {total_s:.1} s in all, steady after {steady_s:.1} s; from task to task {each}; {} \
             launched; {:.0} % of the time copies were on their way",
            rollout.what,
            rollout.launched,
            rollout.transfer_share * 100.0,
        ));
        self.healing.rollout(rollout);
        Ok(())
    }

    /// Waits until every task that runs now has ended by itself or been stopped, and returns how
    /// long that took.
    ///
    /// # Errors
    /// Who is left when the time is over.
    pub async fn all_end(&self, bound: Duration) -> Result<f64, Failure> {
        let since = self.timeline.now();
        self.until("the end of every task", bound, |_| {
            let left = self
                .ecs
                .tasks()
                .into_iter()
                .filter(|task| task.ended().is_none());
            let names: Vec<String> = left.map(|task| task.name()).collect();
            match names.is_empty() {
                true => Ok(()),
                false => Err(format!("{} run", names.join(", "))),
            }
        })
        .await?;
        Ok(self.timeline.now() - since)
    }
}
