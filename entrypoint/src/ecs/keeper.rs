//! Keeps task protection as the rounds wish it: asks, renews at a third of its time, gives it back.
//!
//! Runs beside the rounds, because the endpoint may take seconds to answer. Whether protection
//! holds is counted by our own monotonic clock from before the request that was confirmed, so it
//! ends for us before it ends for ECS.

use std::time::Duration;

use planner::protection::Wish;
use planner::records::Protection;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::protection::{Asks, ProtectionError};
use crate::events;

/// The first pause after a refusal; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause after refusals.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same after a refusal because others are protected: the next task that goes makes room for us,
/// and our copies are unprotected until we have asked again.
const LONGEST_BLOCKED: Duration = Duration::from_secs(5);
/// So many refusals in a row are no accident.
const IN_A_ROW: u32 = 3;
/// We stop counting on a protection so long before its end: the one wish that was answered in time
/// may still be under way when its answer counts.
const MARGIN: Duration = Duration::from_secs(10);

/// The handle of the rounds.
#[derive(Debug)]
pub struct Keeper {
    wishes: watch::Sender<Option<Wish>>,
    standing: watch::Receiver<Standing>,
    _work: AbortOnDropHandle<()>,
}

/// How protection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Confirmed, and until when it surely holds.
    until: Option<Instant>,
    /// Refusals in a row of the present wish to be protected.
    refusals: u32,
    /// Those of them, up to the last one, that said that a deployment is blocked.
    blocked: u32,
    /// What the last one said.
    why: String,
}

impl Standing {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn protection(&self, now: Instant) -> Protection {
        if self.blocked >= IN_A_ROW {
            Protection::Blocked
        } else if self.holds(now) {
            Protection::Held
        } else if self.refusals > 0 {
            Protection::Refused
        } else {
            Protection::Off
        }
    }

    fn confirmed(&mut self, until: Option<Instant>) {
        *self = Self {
            until,
            ..Self::default()
        };
    }

    fn refused(&mut self, error: &ProtectionError) {
        self.refusals = self.refusals.saturating_add(1);
        self.blocked = match error.is_blocked() {
            true => self.blocked.saturating_add(1),
            false => 0,
        };
        self.why = error.to_string();
    }
}

impl Keeper {
    /// Begins to keep protection for `minutes` at a time. Needs a tokio runtime.
    pub fn start(endpoint: impl Asks, minutes: u32) -> Self {
        let (wishes, wished) = watch::channel(None);
        let (stands, standing) = watch::channel(Standing::default());
        let work = Work {
            endpoint,
            minutes,
            length: Duration::from_secs(60) * minutes,
            asked: None,
            wished,
            stands,
        };
        Self {
            wishes,
            standing,
            _work: AbortOnDropHandle::new(tokio::spawn(work.run())),
        }
    }

    /// What a round wishes.
    pub fn wish(&self, wish: Wish) {
        self.wishes.send_if_modified(|old| {
            let new = Some(wish);
            std::mem::replace(old, new) != new
        });
    }

    /// How protection stands now.
    pub fn protection(&self) -> Protection {
        self.standing.borrow().protection(Instant::now())
    }

    /// What a person must know: this task is not protected though it should be. That a deployment is
    /// in the way is no fault: every newcomer waits until an old task gives its protection back.
    pub fn alarm(&self) -> Option<String> {
        let standing = self.standing.borrow();
        let unprotected = standing.protection(Instant::now()) == Protection::Refused;
        (unprotected && standing.refusals >= IN_A_ROW).then(|| {
            format!(
                "this task holds data and is not protected from being stopped by ECS ({}): a deployment is paced by readiness alone; does its task role allow ecs:UpdateTaskProtection, and does it reach the API of ECS?",
                standing.why
            )
        })
    }
}

struct Work<E> {
    endpoint: E,
    minutes: u32,
    /// The same as a duration.
    length: Duration,
    /// The last wish to be protected that ECS may have fulfilled, also one without an answer.
    asked: Option<Instant>,
    wished: watch::Receiver<Option<Wish>>,
    stands: watch::Sender<Standing>,
}

impl<E: Asks> Work<E> {
    async fn run(mut self) {
        loop {
            let wish = *self.wished.borrow_and_update();
            let pause = self.fulfil(wish).await;
            if !self.wait(pause).await {
                return;
            }
        }
    }

    /// Does what is due now; gives when to look again, if the wish stays.
    async fn fulfil(&mut self, wish: Option<Wish>) -> Option<Duration> {
        let wish = wish?;
        let done = match wish {
            Wish::Protect(_) => self.protect(wish).await,
            // Nothing was ever given, or it has ended by itself: there is nothing to give back.
            Wish::Free(_) if !self.may_be_on() => {
                self.stands.send_replace(Standing::default());
                Ok(())
            }
            Wish::Free(_) => self.release(wish).await,
        };
        match (done, wish) {
            (Ok(()), Wish::Protect(_)) => Some(self.length / 3),
            (Ok(()), Wish::Free(_)) => None,
            (Err(error), _) => {
                tracing::warn!(event = events::PROTECTION_REFUSED, "{error}");
                self.stands.send_modify(|standing| standing.refused(&error));
                Some(self.pause())
            }
        }
    }

    /// Waits for another wish or for so long, and says in time that a protection has run out.
    /// Gives whether the rounds go on.
    async fn wait(&mut self, pause: Option<Duration>) -> bool {
        let end = pause.map(|pause| Instant::now() + pause);
        loop {
            let until = self.stands.borrow().until;
            if until.is_some_and(|until| until <= Instant::now()) {
                let why = self.stands.borrow().why.clone();
                tracing::warn!(event = events::PROTECTION_LOST, "it has run out: {why}");
                self.stands.send_modify(|standing| standing.until = None);
                continue;
            }
            let Some(next) = until.into_iter().chain(end).min() else {
                return self.wished.changed().await.is_ok();
            };
            if let Ok(changed) = timeout_at(next, self.wished.changed()).await {
                return changed.is_ok();
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return true;
            }
        }
    }

    async fn protect(&mut self, wish: Wish) -> Result<(), ProtectionError> {
        let asked = Instant::now();
        let answer = self.endpoint.protect(self.minutes).await;
        if !matches!(answer, Err(ProtectionError::Refused { .. })) {
            self.asked = Some(asked);
        }
        answer?;
        let was = self.stands.borrow().holds(asked);
        let until = asked + self.length.saturating_sub(MARGIN);
        self.stands
            .send_modify(|standing| standing.confirmed(Some(until)));
        if !was {
            let minutes = self.minutes;
            tracing::info!(event = events::PROTECTION_HELD, minutes, "{wish}");
        }
        Ok(())
    }

    async fn release(&mut self, wish: Wish) -> Result<(), ProtectionError> {
        self.endpoint.release().await?;
        self.asked = None;
        self.stands.send_modify(|standing| standing.confirmed(None));
        tracing::info!(event = events::PROTECTION_OFF, "{wish}");
        Ok(())
    }

    /// ECS may believe that this task is protected.
    fn may_be_on(&self) -> bool {
        self.asked
            .is_some_and(|asked| Instant::now() < asked + self.length)
    }

    fn pause(&self) -> Duration {
        let (refusals, blocked) = {
            let standing = self.stands.borrow();
            (standing.refusals, standing.blocked > 0)
        };
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow(refusals.saturating_sub(1).min(8));
        doubled.min(match blocked {
            true => LONGEST_BLOCKED,
            false => LONGEST_PAUSE,
        })
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
