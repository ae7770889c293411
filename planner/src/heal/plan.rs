//! What the steward does next.
//!
//! The first step that has an action which can be done *now* ends the round; one that can only
//! wait says so and lets the next one have its turn.
//!
//! 1. Somebody paused us, or consensus does not commit: nothing, but what would be done is said.
//! 2. A transfer whose source or target is gone, or in which nothing moves: abort it.
//! 3. A gone peer: drop its copies where another one lives, then remove it. Its last copies
//!    protect it until they are lost for good and on record. Gone learners come here too, not at
//!    the end: each dead address costs every transfer ten seconds (facts: T9).
//! 4. Copies listed on a peer that a re-quorum went on without: forget them, by the same rule.
//! 5. A peer whose task is being stopped: drop its copies where another one stays, then release it.
//! 6. Orders: end that of an emptied task that has gone or has no reason; take back a permission that
//!    was used or is in vain; let the next newcomer join, or set aside data with which it cannot run.
//!    The permission to be ready comes after the copies that are missing (9), and after it the choice
//!    of who is emptied next.
//! 7. A shard with one living copy that should have more: replicate, at once.
//! 8. A peer that was told to leave: move its copies away, then let ECS end its task.
//! 9. Other missing copies: replicate, into a zone without a copy first. A copy that Qdrant does
//!    not bring back by itself is made again.
//! 10. Zones: two copies of a shard in one, while another has two fewer: move one.
//! 11. Balance: copies of each collection, then of all, then bytes. Not while a replacement task
//!     is to come.
//! 12. Collections whose factor is too low: raise it.
//!
//! One change at a time: nothing is begun until the last one can be seen, and no transfer while
//! one is under way, whoever began it. Dropping the copies of a gone peer and removing it do not
//! touch a transfer between two others, so they do not wait for it.

use crate::heal::action::{Action, Purpose};
use crate::heal::facts::Facts;
use crate::heal::guard::{self, Refusal};
use crate::heal::memory::Memory;
use crate::heal::report::{Report, report};
use crate::heal::round::Round;
use crate::heal::settings::Settings;
use crate::heal::steps;
use crate::heal::view::ClusterView;
use crate::heal::waiting::Waiting;

/// What one round decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do now; at most one.
    pub actions: Vec<Planned>,
    /// What would be done, were it not forbidden to do anything.
    pub withheld: Option<(Planned, Refusal)>,
    /// Why everything else that could be wished for is not done.
    pub waiting_on: Vec<Waiting>,
    /// The state of the cluster in figures.
    pub report: Report,
}

/// An action and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub action: Action,
    /// What for.
    pub purpose: Purpose,
}

/// Decides what to do now. Equal arguments give equal plans.
pub fn plan(settings: &Settings, memory: &Memory, view: &ClusterView) -> Plan {
    planned(settings, memory, view, &steps::ALL, false)
}

/// Decides on permissions alone. They touch no copy and no peer, so they are given also where nothing
/// is to be changed: who waits at the door would wait for ever else.
pub fn orders(settings: &Settings, memory: &Memory, view: &ClusterView) -> Plan {
    planned(settings, memory, view, &steps::ORDERS, true)
}

fn planned(
    settings: &Settings,
    memory: &Memory,
    view: &ClusterView,
    all: &[steps::Step],
    copies_rest: bool,
) -> Plan {
    let mut round = Round {
        copies_rest,
        settings,
        memory,
        view,
        facts: Facts::of(view),
        waiting: Vec::new(),
        chosen: None,
    };
    steps::survey(&mut round);
    match memory.unseen() {
        Some((action, age)) => round.wait(Waiting::Unseen {
            action: action.clone(),
            age,
        }),
        None => {
            all.iter().any(|step| step(&mut round));
        }
    }
    let mut plan = Plan {
        actions: Vec::new(),
        withheld: None,
        waiting_on: round.waiting,
        report: report(settings, view, &round.facts),
    };
    match (guard::open(view), round.chosen) {
        (Ok(()), chosen) => plan.actions.extend(chosen),
        (Err(why), chosen) => {
            plan.waiting_on.insert(0, Waiting::Closed(why.clone()));
            plan.withheld = chosen.map(|planned| (planned, why));
        }
    }
    plan
}

impl core::fmt::Display for Planned {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} ({})", self.action, self.purpose)
    }
}
