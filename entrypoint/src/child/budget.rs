//! How the time between ECS's SIGTERM and its SIGKILL is spent. Arithmetic only, no clock.

use std::time::Duration;

use nix::sys::signal::Signal;
use thiserror::Error;

/// What Qdrant needs to end after SIGTERM while clients keep their connections busy: its HTTP
/// server serves them for up to 30 s more, then its shards are closed (measured: 30.4 s).
pub const DRAIN: Duration = Duration::from_secs(32);

/// What Qdrant gets at least to close its shards after SIGINT (0.3 s measured, on small ones).
pub const END: Duration = Duration::from_secs(10);

/// The time from SIGTERM to the orchestrator's SIGKILL, divided into three: first we keep serving
/// (*linger*, so that clients which still hold our address are answered), then Qdrant has its grace,
/// and the *margin* at the end is ours to kill what is left and to exit with its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopBudget {
    timeout: Duration,
    margin: Duration,
    linger: Duration,
}

/// Why three durations make no stop budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "stop time-out {timeout:?} leaves Qdrant no time: margin {margin:?} and linger {linger:?} take all \
     of it; raise ENTRYPOINT_STOP_TIMEOUT (and the task's stopTimeout) or lower \
     ENTRYPOINT_STOP_MARGIN or ENTRYPOINT_STOP_LINGER"
)]
pub struct BadStopBudget {
    /// Time between SIGTERM and the orchestrator's SIGKILL.
    pub timeout: Duration,
    /// What we keep for ourselves at its end.
    pub margin: Duration,
    /// How long we keep serving at its beginning.
    pub linger: Duration,
}

impl StopBudget {
    /// Checks that something is left for Qdrant between `linger` and `margin`.
    ///
    /// # Errors
    /// [`BadStopBudget`] when `margin + linger >= timeout`.
    pub fn new(
        timeout: Duration,
        margin: Duration,
        linger: Duration,
    ) -> Result<Self, BadStopBudget> {
        if margin.saturating_add(linger) >= timeout {
            return Err(BadStopBudget {
                timeout,
                margin,
                linger,
            });
        }
        Ok(Self {
            timeout,
            margin,
            linger,
        })
    }

    /// When Qdrant is killed, counted from our SIGTERM: `timeout - margin`.
    #[must_use]
    pub fn kill_after(&self) -> Duration {
        self.timeout.saturating_sub(self.margin)
    }

    /// How much longer to keep serving, `elapsed` after our SIGTERM.
    #[must_use]
    pub fn linger_left(&self, elapsed: Duration) -> Duration {
        self.linger.saturating_sub(elapsed)
    }

    /// How to ask Qdrant to end, `elapsed` after our SIGTERM: TERM when it has the time to serve its
    /// clients out, else INT, after which it drops their connections, closes its shards in order and
    /// ends within a second. What it acknowledged is on disk either way (conformance
    /// `sigint_under_load_loses_nothing`), and INT ends what KILL would cut off.
    #[must_use]
    pub fn signal(&self, elapsed: Duration) -> Signal {
        if self.grace(elapsed) >= DRAIN {
            Signal::SIGTERM
        } else {
            Signal::SIGINT
        }
    }

    /// How much longer the others may take to take over, `elapsed` after our SIGTERM, so that Qdrant
    /// still has its time to end: a third of all, at most [`END`].
    #[must_use]
    pub fn hand_over_left(&self, elapsed: Duration) -> Duration {
        let kill = self.kill_after();
        kill.saturating_sub((kill / 3).min(END))
            .saturating_sub(elapsed)
    }

    /// How long Qdrant may take to end by itself when it is asked `elapsed` after our SIGTERM: the
    /// argument for [`Child::stop`](super::Child::stop). Zero when the time is over.
    #[must_use]
    pub fn grace(&self, elapsed: Duration) -> Duration {
        self.kill_after().saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_defaults_leave_qdrant_22_seconds() {
        let b = StopBudget::new(s(30), s(3), s(5)).unwrap();
        assert_eq!(b.kill_after(), s(27));
        assert_eq!(b.linger_left(s(0)), s(5));
        assert_eq!(b.linger_left(s(2)), s(3));
        assert_eq!(b.grace(s(5)), s(22));
        assert_eq!(b.grace(s(40)), s(0));
    }

    #[test]
    fn the_others_get_what_qdrant_does_not_need() {
        let default = StopBudget::new(s(30), s(3), s(5)).unwrap();
        assert_eq!(default.hand_over_left(s(0)), s(18));
        assert_eq!(default.hand_over_left(s(20)), s(0));
        let long = StopBudget::new(s(120), s(3), s(5)).unwrap();
        assert_eq!(long.hand_over_left(s(7)), s(100));
    }

    #[test]
    fn clients_are_served_out_only_when_there_is_time_for_it() {
        let short = StopBudget::new(s(30), s(3), s(5)).unwrap();
        assert_eq!(short.signal(s(5)), Signal::SIGINT);
        let long = StopBudget::new(s(60), s(3), s(5)).unwrap();
        assert_eq!(long.signal(s(5)), Signal::SIGTERM);
        assert_eq!(long.signal(s(25)), Signal::SIGTERM);
        assert_eq!(long.signal(s(26)), Signal::SIGINT, "late, it has to hurry");
    }

    #[test]
    fn a_budget_without_time_for_qdrant_is_refused_and_says_what_to_do() {
        let e = StopBudget::new(s(5), s(3), s(2)).unwrap_err();
        assert!(e.to_string().contains("ENTRYPOINT_STOP_TIMEOUT"), "{e}");
        assert!(StopBudget::new(s(0), s(0), s(0)).is_err());
        assert!(StopBudget::new(s(1), Duration::MAX, Duration::MAX).is_err());
    }

    proptest! {
        #[test]
        fn the_kill_is_never_later_than_timeout_minus_margin(
            timeout in 0u64..200_000, margin in 0u64..200_000, linger in 0u64..200_000,
            elapsed in 0u64..400_000,
        ) {
            let ms = Duration::from_millis;
            let Ok(b) = StopBudget::new(ms(timeout), ms(margin), ms(linger)) else {
                prop_assert!(margin + linger >= timeout);
                return Ok(());
            };
            prop_assert!(b.linger_left(ms(0)) < b.kill_after());
            let kill_at = ms(elapsed) + b.grace(ms(elapsed));
            prop_assert_eq!(kill_at, ms(elapsed.max(timeout - margin)));
        }
    }
}
