//! The end of a task: hand over, keep serving for a while, then ask Qdrant to end.
//!
//! While the others take over, the rounds go on without doing anything: the hello tells that we are
//! ending, and where our Qdrant leads, the steward beside it goes on as well.

use std::time::Instant;

use jiff::Timestamp;
use planner::decision::Action;
use planner::handover::{self, Collections, Futile, Handover, Look, Short, Verdict};
use planner::observed::Observed;
use planner::view::Observation;
use tokio::time::timeout;

use super::last::Given;
use super::{Looked, Task};
use crate::config::Heal;
use crate::events;
use crate::qdrant::Qdrant;
use crate::record;
use crate::steward::{pause, survey};

/// How the hand-over ended.
struct Ended {
    /// Our Qdrant may campaign against the others: it must not go on.
    loud: bool,
    /// The others have yet to find out that our peer is no more.
    missed: bool,
    /// The others have taken over: nothing here is needed any more.
    over: bool,
    /// Why nothing came of it, when that is what ended it.
    given_up: Option<Given>,
}

impl Task {
    /// Ends in order: hand over and keep serving for `linger`, then ask Qdrant, then SIGKILL at the
    /// margin. Returns the exit code of the task: that of Qdrant; 0 when it was not running, or was
    /// killed where it stood still because the others list it no more, as it should be.
    pub async fn stop(&mut self, began: Instant) -> i32 {
        self.ending = true;
        // A stream that is open would hold up the end of Qdrant.
        self.calls.end();
        self.orders.end();
        self.board.send_modify(|board| {
            board.status.phase = "stopping".to_owned();
            board.status.reason = "a signal asked the task to stop".to_owned();
            board.status.since = Timestamp::now();
            board.status.ready = false;
            board.status.ready_reason = "stopping".to_owned();
            board.status.said.ending = true;
        });
        let budget = self.stop_budget;
        let ended = self.hand_over(began).await;
        let Ended { loud, over, .. } = ended;
        self.posts.send_replace(None);
        // What it changes now would be in the final set.
        self.restorer.abort();
        let last = match ended.given_up {
            Some(given) => self.last_set(began, given).await,
            None => None,
        };
        let over = over || last.as_ref().is_some_and(|last| last.over);
        let missed = ended.missed && !over && !last.as_ref().is_some_and(|last| last.said);
        let child = self.qdrant.running();
        if child.is_some() && !loud {
            let linger = budget.linger_left(began.elapsed());
            let _ = timeout(linger, Qdrant::ended(child)).await;
        }
        // A question of the steward's that is under way ends with Qdrant; that is no failure.
        self.steward.abort();
        let elapsed = began.elapsed();
        let stopped = self
            .qdrant
            .stop(budget.signal(elapsed), budget.grace(elapsed))
            .await
            .or(last.map(|last| last.stopped));
        if !missed {
            // Nobody need wait for our silence; when the store hangs, they will.
            let left = budget.grace(began.elapsed()).min(self.config.probe_timeout);
            if let Ok(Err(error)) = timeout(left, self.ledger.farewell()).await {
                tracing::debug!("our member record stays: {}", crate::log::chain(&error));
            }
        }
        match stopped {
            None => 0,
            Some(stopped) => {
                let code = match over && stopped.forced {
                    true => 0,
                    false => stopped.exit.exit_code(),
                };
                tracing::info!(
                    event = events::QDRANT_STOPPED,
                    exit = stopped.exit.to_string(),
                    killed = stopped.forced,
                    code
                );
                code
            }
        }
    }

    /// Waits until our peer is out of the cluster, nothing can come of waiting, or the time for it is
    /// over; says which.
    async fn hand_over(&mut self, began: Instant) -> Ended {
        let left = |began: Instant, task: &Self| task.stop_budget.hand_over_left(began.elapsed());
        let held = self.config.heal == Heal::DryRun || self.paused().await;
        let mut handover = Handover::default();
        let mut last = None;
        while !left(began, self).is_zero() {
            let looked = timeout(left(began, self), self.look_at_the_end()).await;
            let Ok(Some((looked, collections))) = looked else {
                break;
            };
            let look = Look {
                seen: &looked.seen,
                collections: &collections,
                held,
                passed: looked.passed,
            };
            let verdict = handover.verdict(&self.settings, look);
            let missed = handover::is_missed(Some(&verdict), &looked.seen);
            match verdict {
                Verdict::Done { quiet } => {
                    let took = began.elapsed().as_millis();
                    tracing::info!(event = events::HANDED_OVER, took_ms = took, "out of Raft");
                    return Ended {
                        // One that stands still answers nobody, so there is nothing to linger for.
                        loud: !quiet || self.qdrant.standstill().is_still(),
                        missed,
                        over: true,
                        given_up: None,
                    };
                }
                Verdict::GiveUp(why) => {
                    self.tell_short(Some(&why), &looked.seen, &collections);
                    return Ended {
                        loud: false,
                        missed,
                        over: false,
                        given_up: Some(Given {
                            futile: why,
                            seen: looked.seen,
                            collections,
                            held,
                        }),
                    };
                }
                // It must not serve a moment longer, for whatever reason.
                Verdict::Wait if looked.decision.action == Action::Kill => {
                    tracing::warn!(event = events::HANDOVER_SHORT, "{}", looked.decision.reason);
                    return Ended {
                        loud: true,
                        missed,
                        over: false,
                        given_up: None,
                    };
                }
                Verdict::Wait => last = Some((looked.seen, collections)),
            }
            let pause = self.config.round.max(self.config.beat / 4);
            let pause = pause.min(left(began, self));
            let _ = timeout(pause, Qdrant::ended(self.qdrant.running())).await;
        }
        match last {
            Some((seen, collections)) => self.tell_short(None, &seen, &collections),
            None => tracing::warn!(
                event = events::HANDOVER_SHORT,
                "the time was over before anything could be looked at"
            ),
        }
        Ended {
            loud: false,
            missed: true,
            over: false,
            given_up: None,
        }
    }

    /// A round in which nothing is done. `None` when our own disk cannot be read.
    pub(super) async fn look_at_the_end(&mut self) -> Option<(Looked, Collections)> {
        let disk = self.disk.look().ok()?;
        let looked = self.look(disk).await;
        let record = record::decision(&looked.seen, &looked.decision);
        let alarms = self.alarms(&looked.seen, &looked.decision);
        self.publish(&looked.seen, &looked.decision, &record, alarms);
        // Qdrant asks others for what it does not hold, and they may be gone already.
        let copies = survey::copies(self.qdrant.client());
        let collections = match timeout(self.config.probe_timeout, copies).await {
            Ok(collections) => collections,
            Err(_) => Observed::Unknown("Qdrant did not say it in time".to_owned()),
        };
        Some((looked, collections))
    }

    async fn paused(&self) -> bool {
        let asked = timeout(self.config.probe_timeout, pause::read(self.qdrant.client())).await;
        // Who cannot be asked may not be paused: waiting costs no more than time.
        matches!(asked, Ok(Ok(Some(_))))
    }

    /// Says what is short of copies when this task ends now. `why` is missing when the time was over.
    fn tell_short(&self, why: Option<&Futile>, seen: &Observation, collections: &Collections) {
        if why == Some(&Futile::NoPeer) {
            return;
        }
        let expected = why.is_some_and(Futile::is_the_end_of_all);
        let why = why.map_or_else(|| "the time for it is over".to_owned(), ToString::to_string);
        let unread = match collections {
            Observed::Unknown(why) => Some(why.as_str()),
            Observed::Known(_) => None,
        };
        let short = handover::short(&self.settings, seen, collections);
        let shards: Vec<_> = short.iter().map(Short::to_string).collect();
        let shards = shards.join(", ");
        match expected {
            true => tracing::info!(event = events::HANDOVER_SHORT, shards, unread, "{why}"),
            false => tracing::warn!(event = events::HANDOVER_SHORT, shards, unread, "{why}"),
        }
    }
}
