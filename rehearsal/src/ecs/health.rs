//! What ECS knows of a task's health: a load balancer's target and the container health check.
//! Owns: asking both ports' questions, and the counting. Must not: stop or replace anything.
//!
//! A new target needs one success to be healthy (target-group-health-checks); a container check
//! fails after its retries. Within the grace period nothing bad counts (CreateService).

use std::sync::Arc;
use std::time::Duration;

use super::deployment::Health;
use super::task::Task;
use crate::timing;

/// The entrypoint's control port.
const CONTROL: u16 = 6336;

/// Successes after which a target that had failed is healthy again.
const HEALTHY: u32 = 2;
/// Failures after which a target is unhealthy.
const UNHEALTHY: u32 = 2;
/// Failures after which a container is unhealthy.
const RETRIES: u32 = 3;

/// One check, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    passes: bool,
    /// Results in a row that say otherwise.
    against: u32,
    ever: bool,
    failures: u32,
}

impl Check {
    /// One that has not passed yet and fails after so many failures.
    const fn new(failures: u32) -> Self {
        Self {
            passes: false,
            against: 0,
            ever: false,
            failures,
        }
    }

    /// Adds one result.
    fn add(&mut self, passed: bool) {
        if passed == self.passes {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = match (passed, self.ever) {
            (true, false) => 1,
            (true, true) => HEALTHY,
            (false, _) => self.failures,
        };
        if self.against >= enough {
            self.passes = passed;
            self.ever |= passed;
            self.against = 0;
        }
    }
}

/// Both checks of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    target: Check,
    container: Check,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            target: Check::new(UNHEALTHY),
            container: Check::new(RETRIES),
        }
    }
}

impl Checks {
    /// What they mean together; `grace`: the task is within its grace period.
    pub fn health(&self, grace: bool) -> Health {
        match (self.target.passes && self.container.passes, grace) {
            (true, _) => Health::Healthy,
            (false, true) => Health::Pending,
            (false, false) => Health::Unhealthy,
        }
    }
}

/// Asks for as long as the task is there.
pub(super) async fn watch(client: reqwest::Client, task: Arc<Task>) {
    let mut tick = tokio::time::interval(timing::CHECK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut checks = Checks::default();
    while task.ended().is_none() {
        tick.tick().await;
        let ask = async |path: &str| {
            let url = format!("http://{}:{CONTROL}{path}", task.address);
            let answer = client.get(url).send().await;
            answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK)
        };
        let (ready, alive) = tokio::join!(ask("/readyz"), ask("/livez"));
        checks.target.add(ready);
        checks.container.add(alive);
        task.set_checks(checks);
    }
}

/// The client of load balancer and container check.
///
/// # Errors
/// When it cannot be built.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(timing::CHECK_TIMEOUT)
        .no_proxy()
        .build()
}

/// Whether a task that was launched so long ago is within this grace period.
pub(super) fn in_grace(age: Duration, grace: Duration) -> bool {
    age < grace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(results: &[(bool, bool)]) -> Checks {
        let mut checks = Checks::default();
        for (ready, alive) in results {
            checks.target.add(*ready);
            checks.container.add(*alive);
        }
        checks
    }

    #[test]
    fn one_success_opens_a_new_target_and_two_failures_close_it() {
        let open = after(&[(false, false), (true, true)]);
        assert_eq!(open.health(false), Health::Healthy);
        let blinked = after(&[(true, true), (false, true), (true, true)]);
        assert_eq!(blinked.health(false), Health::Healthy);
        let closed = [(true, true), (false, true), (false, true), (true, true)];
        assert_eq!(after(&closed).health(false), Health::Unhealthy);
        assert_eq!(
            after(&[&closed[..], &[(true, true)]].concat()).health(false),
            Health::Healthy
        );
    }

    #[test]
    fn a_container_has_its_retries() {
        let two = [(true, true), (true, false), (true, false)];
        assert_eq!(after(&two).health(false), Health::Healthy);
        let three = [&two[..], &[(true, false)]].concat();
        assert_eq!(after(&three).health(false), Health::Unhealthy);
    }

    #[test]
    fn nothing_bad_counts_within_the_grace_period() {
        assert_eq!(after(&[(false, false)]).health(true), Health::Pending);
        assert_eq!(after(&[(false, false)]).health(false), Health::Unhealthy);
        assert!(in_grace(Duration::from_secs(1), Duration::from_secs(2)));
        assert!(!in_grace(Duration::from_secs(2), Duration::from_secs(2)));
    }
}
