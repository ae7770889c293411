//! What the steward remembers between two rounds: what it has asked for, what failed, and how long
//! a peer has been missing.
//!
//! A new steward begins with an empty one: transfers under way it sees, and a pause too short
//! after a failure costs one more try.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::heal::action::Action;
use crate::heal::facts::Facts;
use crate::heal::follow::{Progress, progress};
use crate::heal::guard::blocks;
use crate::heal::health::short_shard;
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Peer};
use crate::records::{Grant, Leaving};

/// Everything remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    current: Option<Current>,
    failures: BTreeMap<Action, Failures>,
    alive: usize,
    since_loss: Duration,
    granted: Option<Granted>,
    leaving: Option<(Leaving, Duration, Duration)>,
    wedged: Duration,
    surplus: Option<Duration>,
    blocked: Option<Duration>,
}

/// The permission that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Granted {
    grant: Grant,
    age: Duration,
    unseen: Duration,
}

/// The action that was asked for last and has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Current {
    action: Action,
    /// Since it was asked for, or its transfer was last seen.
    age: Duration,
    /// Its transfer was seen.
    seen: bool,
}

/// How often an action has failed, and how long it rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Failures without a success between.
    pub count: u32,
    /// What is left of the pause.
    pub left: Duration,
    idle: Duration,
}

impl Memory {
    /// Takes in one round, `step` after the one before it.
    pub fn observe(&mut self, settings: &Settings, step: Duration, view: &ClusterView) {
        let alive = view.peers.values().filter(|peer| peer.stays()).count();
        let mut stay = view.peers.values().filter(|peer| peer.stays());
        let blocked = alive == self.alive && stay.any(|peer| blocks(view, peer));
        self.blocked = blocked.then(|| lasted(self.blocked, step));
        self.since_loss = match alive < self.alive {
            true => Duration::ZERO,
            false => self.since_loss.saturating_add(step),
        };
        self.alive = alive;
        let more = view.limit().is_some_and(|limit| alive > limit);
        self.surplus = more.then(|| lasted(self.surplus, step));
        self.observe_orders(step, view);
        let tried = self.tried();
        for (action, failures) in &mut self.failures {
            // What is being tried is not idle, however long it takes to fail.
            if failures.left.is_zero() && !tried.contains(action) {
                failures.idle = failures.idle.saturating_add(step);
            }
            failures.left = failures.left.saturating_sub(step);
        }
        // What was not tried for so long is not needed any more, or is tried as if for the first time.
        self.failures
            .retain(|_, failures| failures.idle < settings.backoff_longest);
        if let Some(current) = self.current.take() {
            self.current = self.follow(settings, step, view, current);
        }
    }

    /// What is under way: a transfer, and a task that is being emptied or waits for its end.
    fn tried(&self) -> Vec<Action> {
        let current = self.current.as_ref().map(|current| current.action.clone());
        let leaving = self.leaving.as_ref().map(|(leaving, ..)| {
            Action::Evacuate(Leaving {
                released: false,
                ..leaving.clone()
            })
        });
        current.into_iter().chain(leaving).collect()
    }

    fn observe_orders(&mut self, step: Duration, view: &ClusterView) {
        let service = &view.service;
        self.granted = service.orders.grant.as_ref().map(|grant| {
            let before = self.granted.take().filter(|before| before.grant == *grant);
            let there =
                service.outside.contains_key(&grant.task) || view.peer_of(&grant.task).is_some();
            let lasted = |count: fn(&Granted) -> Duration| {
                let count = before.as_ref().map(count);
                count.map_or(Duration::ZERO, |count| count.saturating_add(step))
            };
            Granted {
                age: lasted(|before| before.age),
                unseen: if there {
                    Duration::ZERO
                } else {
                    lasted(|before| before.unseen)
                },
                grant: grant.clone(),
            }
        });
        self.leaving = service.orders.leaving.as_ref().map(|leaving| {
            let before = self.leaving.take().filter(|(before, ..)| before == leaving);
            let there = service.outside.contains_key(&leaving.task)
                || view.peers.contains_key(&leaving.peer);
            let (age, unseen) = before.map_or_else(Default::default, |(_, age, unseen)| {
                (age.saturating_add(step), unseen.saturating_add(step))
            });
            (
                leaving.clone(),
                age,
                if there { Duration::ZERO } else { unseen },
            )
        });
        let busy = self.current.is_some() || view.known().any(|(_, c)| !c.transfers.is_empty());
        let waits = |peer: &Peer| peer.stays() && !peer.said.ready;
        let asked = service.complete && view.peers.values().any(waits);
        self.wedged = match asked && !busy && short_shard(view, &Facts::of(view)).is_some() {
            true => self.wedged.saturating_add(step),
            false => Duration::ZERO,
        };
    }

    fn follow(
        &mut self,
        settings: &Settings,
        step: Duration,
        view: &ClusterView,
        mut current: Current,
    ) -> Option<Current> {
        current.age = current.age.saturating_add(step);
        let late = current.age >= settings.appear_timeout;
        let stalled = current.age >= settings.stall_timeout;
        match progress(view, &current.action) {
            Progress::Done => {
                self.failures.remove(&current.action);
                None
            }
            Progress::Running => {
                current.seen = true;
                current.age = Duration::ZERO;
                Some(current)
            }
            // With an end of it gone it will never be seen, and nothing need wait for it.
            Progress::Unseen if current.seen || late || end_is_gone(view, &current.action) => {
                self.fail(settings, &current.action);
                None
            }
            // Whether it failed cannot be told, so in the end it is neither counted nor waited for.
            Progress::Unknown if late && (!current.seen || stalled) => None,
            Progress::Unseen | Progress::Unknown => Some(current),
        }
    }

    /// This action was asked for, and Qdrant has not refused. A transfer of ours that is under way is
    /// followed to its end beside what is no transfer; aborting it is its failure.
    pub fn begin(&mut self, settings: &Settings, action: Action) {
        if let (Action::Withdraw(grant), Some(granted)) = (&action, &self.granted)
            && granted.age >= settings.grant_timeout
        {
            // It was not used: somebody else may have a turn first.
            self.fail(settings, &Action::Grant(grant.clone()));
        }
        if let Action::EndEvacuation(leaving) = &action {
            let again = Leaving {
                released: false,
                ..leaving.clone()
            };
            self.fail(settings, &Action::Evacuate(again));
        }
        if let Some(current) = self.current.take_if(|c| c.seen && c.action.is_transfer()) {
            match aborts(&action, &current.action) {
                true => self.fail(settings, &current.action),
                false if !action.is_transfer() => {
                    self.current = Some(current);
                    return;
                }
                false => {}
            }
        }
        self.current = Some(Current {
            action,
            age: Duration::ZERO,
            seen: false,
        });
    }

    /// This action was refused, or its end is not known: it rests, twice as long each time.
    pub fn fail(&mut self, settings: &Settings, action: &Action) {
        let failures = self.failures.entry(action.clone()).or_default();
        let doublings = failures.count.min(16);
        failures.count = failures.count.saturating_add(1);
        failures.idle = Duration::ZERO;
        failures.left = settings
            .backoff_first
            .saturating_mul(1 << doublings)
            .min(settings.backoff_longest);
    }

    /// The actions that failed so often in a row, or more often.
    pub fn failing(&self, often: u32) -> impl Iterator<Item = &Action> {
        let all = self.failures.iter();
        all.filter(move |(_, failures)| failures.count >= often)
            .map(|(action, _)| action)
    }

    /// What was asked for and cannot be seen in the view yet. Until then nothing else is begun.
    pub fn unseen(&self) -> Option<(&Action, Duration)> {
        let current = self.current.as_ref().filter(|current| !current.seen)?;
        Some((&current.action, current.age))
    }

    /// Our transfer that was under way when it was last seen, and cannot be seen in this round.
    pub fn hidden(&self) -> Option<(&Action, Duration)> {
        let current = self.current.as_ref()?;
        let hidden = current.seen && !current.age.is_zero();
        hidden.then_some((&current.action, current.age))
    }

    /// Why this action rests; `None` when it does not.
    pub fn resting(&self, action: &Action) -> Option<Failures> {
        let failures = self.failures.get(action)?;
        (!failures.left.is_zero()).then_some(*failures)
    }

    /// How long the permission that is out has been, and how long its task has not been seen.
    pub fn grant(&self) -> (Duration, Duration) {
        let granted = self.granted.as_ref();
        granted.map_or_else(Default::default, |granted| (granted.age, granted.unseen))
    }

    /// How long the order to leave has stood as it is, and how long its task has not been seen.
    pub fn leaving(&self) -> (Duration, Duration) {
        let leaving = self.leaving.as_ref();
        leaving.map_or_else(Default::default, |(_, age, unseen)| (*age, *unseen))
    }

    /// For how long copies have been missing and nothing was under way for them.
    pub fn wedged(&self) -> Duration {
        self.wedged
    }

    /// For how long more tasks have been here than wanted.
    pub fn surplus(&self) -> Duration {
        self.surplus.unwrap_or_default()
    }

    /// For how long tasks have said that they block a deployment, while no peer came or went.
    pub fn blocked(&self) -> Duration {
        self.blocked.unwrap_or_default()
    }

    /// How long ago a peer was last lost.
    pub fn since_loss(&self) -> Duration {
        self.since_loss
    }
}

/// What is so now and was so before has lasted for the step between; what is new begins to last.
fn lasted(before: Option<Duration>, step: Duration) -> Duration {
    before.map_or(Duration::ZERO, |before| before.saturating_add(step))
}

/// Whether the source or the target of this transfer is gone.
fn end_is_gone(view: &ClusterView, action: &Action) -> bool {
    match action {
        Action::Replicate { from, to, .. } | Action::MoveReplica { from, to, .. } => {
            view.gone(*from) || view.gone(*to)
        }
        _ => false,
    }
}

/// Whether the first ends the transfer that the second began.
fn aborts(action: &Action, transfer: &Action) -> bool {
    let Action::AbortTransfer { shard, from, to } = action else {
        return false;
    };
    match transfer {
        Action::Replicate {
            shard: s,
            from: f,
            to: t,
        }
        | Action::MoveReplica {
            shard: s,
            from: f,
            to: t,
        } => (s, f, t) == (shard, from, to),
        _ => false,
    }
}
