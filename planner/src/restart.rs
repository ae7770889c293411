//! How long to wait before a child that ended is started again. Owns the back-off and the verdict
//! *crash loop*; sees neither a clock nor the child, only how long each run lasted.

use std::time::Duration;

/// Exits without a calm run between them that make a crash loop.
pub const CRASH_LOOP: u32 = 5;

/// Bounds of the back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Wait after the first exit.
    pub min: Duration,
    /// The longest wait. If it is below `min`, `min` holds.
    pub max: Duration,
    /// A run longer than this ends a streak: the next wait is `min` again.
    pub calm: Duration,
}

/// The exits so far, as far as they matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restarts {
    streak: u32,
    total: u64,
}

/// What follows from an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// How long to wait before the next start: `min`, doubled with every exit of the streak, up to
    /// `max`.
    pub delay: Duration,
    /// Exits in a row without a calm run between them, this one included.
    pub streak: u32,
    /// The streak has come to [`CRASH_LOOP`].
    pub crash_loop: bool,
}

impl Restarts {
    /// Notes an exit of a child that ran for `uptime`.
    pub fn on_exit(&mut self, policy: &RestartPolicy, uptime: Duration) -> Restart {
        if uptime > policy.calm {
            self.streak = 0;
        }
        let doublings = self.streak;
        self.streak = self.streak.saturating_add(1);
        self.total = self.total.saturating_add(1);
        let factor = 2u32.saturating_pow(doublings);
        let delay = policy
            .min
            .saturating_mul(factor)
            .min(policy.max)
            .max(policy.min);
        Restart {
            delay,
            streak: self.streak,
            crash_loop: self.streak >= CRASH_LOOP,
        }
    }

    /// The last exits make a crash loop, unless what runs now does so calmly.
    #[must_use]
    pub fn is_crash_loop(&self) -> bool {
        self.streak >= CRASH_LOOP
    }

    /// All exits noted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RestartPolicy = RestartPolicy {
        min: Duration::from_millis(500),
        max: Duration::from_secs(30),
        calm: Duration::from_secs(60),
    };

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_starts_over_after_a_calm_run() {
        let mut r = Restarts::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..8)
            .map(|_| r.on_exit(&POLICY, short).delay.as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(
            r.on_exit(&POLICY, POLICY.calm).streak,
            9,
            "exactly calm is not longer"
        );
        let after = r.on_exit(&POLICY, POLICY.calm + Duration::from_nanos(1));
        assert_eq!(
            after,
            Restart {
                delay: POLICY.min,
                streak: 1,
                crash_loop: false
            },
            "a calm run ends the streak"
        );
        assert_eq!(r.total(), 10);
    }

    #[test]
    fn five_in_a_row_are_a_crash_loop() {
        let mut r = Restarts::default();
        let loops: Vec<bool> = (0..6)
            .map(|_| r.on_exit(&POLICY, Duration::ZERO).crash_loop)
            .collect();
        assert_eq!(loops, [false, false, false, false, true, true]);
    }

    proptest! {
        #[test]
        fn waits_are_bounded_and_never_shrink_within_a_streak(
            min in 0u64..5_000, above in 0u64..100_000, calm in 0u64..100_000,
            runs in prop::collection::vec(0u64..200_000, 1..80),
        ) {
            let ms = Duration::from_millis;
            let policy = RestartPolicy { min: ms(min), max: ms(min + above), calm: ms(calm) };
            let mut restarts = Restarts::default();
            let mut before: Option<Restart> = None;
            for run in runs {
                let now = restarts.on_exit(&policy, ms(run));
                prop_assert!(now.delay >= policy.min && now.delay <= policy.max);
                prop_assert_eq!(now.crash_loop, now.streak >= CRASH_LOOP);
                match before {
                    Some(b) if run <= calm => {
                        prop_assert_eq!(now.streak, b.streak + 1);
                        prop_assert!(now.delay >= b.delay);
                    }
                    _ => prop_assert_eq!((now.streak, now.delay), (1, policy.min)),
                }
                before = Some(now);
            }
        }

        #[test]
        fn no_bounds_make_it_overflow(min in any::<u64>(), max in any::<u64>(), exits in 1usize..200) {
            let s = Duration::from_secs;
            let policy = RestartPolicy { min: s(min), max: s(max), calm: Duration::MAX };
            let mut restarts = Restarts::default();
            for _ in 0..exits {
                let delay = restarts.on_exit(&policy, Duration::ZERO).delay;
                prop_assert!(delay >= s(min) && delay <= s(max.max(min)));
            }
        }
    }
}
