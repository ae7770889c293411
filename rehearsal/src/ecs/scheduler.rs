//! The rounds of the scheduler: looks at the service, does the next step, tells the API.
//! Owns: the loop, stopping tasks, what is said of the service. Must not: decide a step.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::agent::Blocks;
use super::api::{Deployment, Description};
use super::deployment::{self, Health, Seen, Service, Snapshot, Step, Why};
use super::task::Task;
use super::{Shared, State, metadata};
use crate::lock;
use crate::timeline::Kind;
use crate::timing;

/// For ever.
pub(super) async fn schedule(shared: Arc<Shared>) {
    let mut blocked = false;
    let mut deploying = false;
    loop {
        while let Some(step) = shared.next() {
            if let Err(error) = shared.take(step).await {
                let text = format!("cannot launch a task: {error:#}");
                shared.timeline.push(Kind::Violation, &[], text);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        let (service, snapshot) = shared.look();
        shared.api.describe(shared.description(&service, &snapshot));
        let now = deployment::blocked(&service, &snapshot);
        if now != blocked {
            blocked = now;
            let text = match blocked {
                true => "protected tasks are in the way",
                false => "protected tasks are not in the way any more",
            };
            shared.timeline.push(Kind::Ecs, &[], text);
        }
        let old = snapshot
            .tasks
            .iter()
            .any(|seen| seen.revision != service.primary);
        if deploying && !old && shared.steady().is_ok() {
            deploying = false;
            let text = format!("revision {} is deployed", service.primary);
            shared.timeline.push(Kind::Ecs, &[], text);
        }
        deploying |= old;
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(timing::SCHEDULE) => {}
        }
    }
}

impl Shared {
    fn next(&self) -> Option<Step> {
        if lock(&self.state).closed {
            return None;
        }
        let (service, snapshot) = self.look();
        deployment::next(&service, &snapshot)
    }

    async fn take(self: &Arc<Self>, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Launch { revision, zone } => self.launch(revision, zone).await,
            Step::Stop { candidates, why } => {
                let drawn = {
                    let mut state = lock(&self.state);
                    let lot = state.random.random_range(0..candidates.len().max(1));
                    let number = candidates.get(lot);
                    let mut tasks = state.tasks.iter();
                    tasks.find(|task| Some(&task.number) == number).cloned()
                };
                if let Some(task) = drawn {
                    if why == Why::Unhealthy {
                        self.failed(&task);
                    }
                    self.stop(&task, &why.to_string());
                }
                Ok(())
            }
        }
    }

    /// What is wanted, and what there is.
    fn look(&self) -> (Service, Snapshot) {
        let mut state = lock(&self.state);
        let service = state.service();
        let grace = state.policy.grace;
        let mut snapshot = Snapshot {
            zones: (0..self.definition.zones.len())
                .filter(|zone| !state.shut.contains(zone))
                .collect(),
            ..Snapshot::default()
        };
        for task in &state.tasks {
            let left = match (task.stopping(), task.ended()) {
                (Some(asked), _) => Some(asked),
                (None, ended) => ended.map(|exit| exit.at),
            };
            match left {
                None => snapshot.tasks.push(Seen {
                    task: task.number,
                    revision: task.revision,
                    zone: self.zone(&task.zone).unwrap_or(0),
                    health: task.health(grace),
                    protected: self.agent.protects(&metadata::task_arn(&task.id)),
                }),
                Some(left) if left.elapsed() < timing::REPLACE => {
                    snapshot.leaving.push(task.revision);
                }
                Some(_) => {}
            }
        }
        let done = snapshot
            .tasks
            .iter()
            .filter(|seen| seen.revision == service.primary && seen.health == Health::Healthy);
        if done.count() >= service.desired {
            state.owed.clear();
        }
        snapshot.owed.clone_from(&state.owed);
        (service, snapshot)
    }

    /// See [`super::Ecs::steady`].
    pub(super) fn steady(&self) -> Result<(), String> {
        let (service, snapshot) = self.look();
        let (there, desired) = (snapshot.tasks.len(), service.desired);
        if there != desired {
            return Err(format!("{there} tasks, {desired} desired"));
        }
        for seen in &snapshot.tasks {
            if seen.revision != service.primary {
                return Err(format!("t{} is of revision {}", seen.task, seen.revision));
            }
            if seen.health != Health::Healthy {
                return Err(format!("t{} is {:?}", seen.task, seen.health));
            }
        }
        let state = lock(&self.state);
        let mut ending = state.tasks.iter();
        match ending.find(|task| task.stopping().is_some() && task.ended().is_none()) {
            Some(task) => Err(format!("t{} is being stopped", task.number)),
            None => Ok(()),
        }
    }

    fn description(&self, service: &Service, snapshot: &Snapshot) -> Description {
        let mut revisions: Vec<u32> = snapshot.tasks.iter().map(|seen| seen.revision).collect();
        revisions.sort_unstable_by(|a, b| b.cmp(a));
        revisions.dedup();
        revisions.retain(|revision| *revision != service.primary);
        revisions.insert(0, service.primary);
        let deployment = |revision: u32| {
            let tasks = snapshot.tasks.iter();
            let running = tasks.filter(|seen| seen.revision == revision).count();
            let pending = 0;
            Deployment {
                revision,
                desired: match revision == service.primary {
                    true => service.desired,
                    false => running + pending,
                },
                running,
                pending,
            }
        };
        Description {
            service: self.definition.service.clone(),
            desired: service.desired,
            percent: service.percent,
            deployments: revisions.into_iter().map(deployment).collect(),
        }
    }

    /// A task of an older deployment failed: one of its own revision is to replace it.
    pub(super) fn failed(&self, task: &Task) {
        let mut state = lock(&self.state);
        if task.revision != state.primary && task.stopping().is_none() {
            state.owed.push(task.revision);
        }
    }

    /// Takes a task from the load balancer, then SIGTERM, and SIGKILL when the stop time-out is over.
    pub(super) fn stop(self: &Arc<Self>, task: &Arc<Task>, why: &str) {
        if !task.set_stopping() {
            return;
        }
        let text = format!("is stopped: {why}");
        self.timeline.push(Kind::Ecs, &[task.number], text);
        let (task, timeline) = (task.clone(), self.timeline.clone());
        let limit = self.definition.policy.stop;
        tokio::spawn(async move {
            tokio::time::sleep(timing::DRAIN).await;
            while task.process().is_none() && task.ended().is_none() {
                // It is being started at this moment.
                tokio::time::sleep(timing::AIM).await;
            }
            timeline.push(Kind::Ecs, &[task.number], "SIGTERM");
            task.terminate();
            let Some(process) = task.process() else {
                return;
            };
            if tokio::time::timeout(limit, process.wait()).await.is_err() {
                let text = "stop time-out is over: SIGKILL";
                timeline.push(Kind::Ecs, &[task.number], text);
                task.destroy();
            }
        });
    }
}

impl State {
    fn service(&self) -> Service {
        Service {
            desired: self.desired,
            primary: self.primary,
            percent: self.policy.percent,
            rebalancing: self.policy.rebalancing,
        }
    }
}

impl Blocks for Shared {
    fn refuses(&self, arn: &str) -> bool {
        let number = {
            let state = lock(&self.state);
            let mut tasks = state.tasks.iter();
            let found = tasks.find(|task| metadata::task_arn(&task.id) == arn);
            found.map(|task| task.number)
        };
        let (service, snapshot) = self.look();
        number.is_some_and(|number| deployment::refuses(&service, &snapshot, number))
    }
}
