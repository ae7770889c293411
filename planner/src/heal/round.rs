//! One round in the making: what is known, what was chosen, what is waited for.

use core::time::Duration;

use crate::heal::action::{Action, Purpose};
use crate::heal::facts::Facts;
use crate::heal::guard;
use crate::heal::memory::Memory;
use crate::heal::names::ShardRef;
use crate::heal::plan::Planned;
use crate::heal::settings::Settings;
use crate::heal::view::ClusterView;
use crate::heal::waiting::Waiting;

pub(crate) struct Round<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) memory: &'a Memory,
    pub(crate) view: &'a ClusterView,
    pub(crate) facts: Facts<'a>,
    /// No copy is to be touched, so none that is missing is waited for.
    pub(crate) copies_rest: bool,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) chosen: Option<Planned>,
}

impl Round<'_> {
    /// Chooses this action when it can be done now; else says why not. True ends the round.
    pub(crate) fn offer(&mut self, action: Action, purpose: Purpose) -> bool {
        if let Some(failures) = self.memory.resting(&action) {
            self.wait(Waiting::Resting {
                action,
                failures: failures.count,
                left: failures.left,
            });
            return false;
        }
        match guard::grounds(self.settings, self.view, &action) {
            Ok(()) => {
                self.chosen = Some(Planned { action, purpose });
                true
            }
            Err(why) => {
                self.wait(Waiting::Refused { action, why });
                false
            }
        }
    }

    pub(crate) fn wait(&mut self, why: Waiting) {
        self.waiting.push(why);
    }

    /// Whether a transfer may begin in this round; if not, the one that is under way is named.
    pub(crate) fn may_transfer(&mut self) -> bool {
        let why = match (self.facts.transfer, self.memory.hidden()) {
            (Some((name, transfer)), _) => Waiting::Transfer {
                shard: ShardRef {
                    collection: name.clone(),
                    shard: transfer.shard,
                },
                from: transfer.from,
                to: transfer.to,
            },
            (None, Some((action, age))) => Waiting::Unseen {
                action: action.clone(),
                age,
            },
            (None, None) => return true,
        };
        if !self.waiting.contains(&why) {
            self.wait(why);
        }
        false
    }

    /// Whether a task is being emptied, waits for its end, or is soon to go because more are here than
    /// wanted. Nothing is moved for the sake of an even load meanwhile: with every task that goes the
    /// load changes, and a transfer that is under way when a peer ends waits for it for ten seconds
    /// and more (facts: T9).
    pub(crate) fn somebody_goes(&mut self) -> bool {
        let leaving = self.view.service.orders.leaving.as_ref();
        let leaving = leaving.map(|leaving| leaving.task.clone());
        let limit = self.view.limit().filter(|_| self.empties());
        let too_many = limit.is_some_and(|limit| self.facts.seats.len() > limit);
        if leaving.is_none() && !too_many {
            return false;
        }
        let why = Waiting::Goes(leaving);
        if !self.waiting.contains(&why) {
            self.wait(why);
        }
        true
    }

    /// Whether enough is known to empty a task that is not wanted.
    pub(crate) fn empties(&self) -> bool {
        let service = &self.view.service;
        service.complete && service.wanted_revision.is_some()
    }

    /// How much longer a replacement task is waited for; `None` when none is to come.
    pub(crate) fn replacement_due(&self) -> Option<Duration> {
        let here = self.facts.seats.len();
        if self.view.wanted_tasks.is_some_and(|wanted| here >= wanted) {
            return None;
        }
        let wait = self.settings.replacement_wait;
        let left = wait.saturating_sub(self.memory.since_loss());
        (!left.is_zero()).then_some(left)
    }
}
