//! How a child ended, as it is told to the rest of the program.

use super::cgroup::Oom;
use nix::sys::signal::Signal;
use std::{
    fmt,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::{Duration, SystemTime},
};

/// The end of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, when it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, when one did. Neither this nor `code`: its status was lost.
    pub signal: Option<i32>,
    /// Whether the kernel's out-of-memory killer did it.
    pub oom: Oom,
    /// We sent it SIGKILL ourselves (a stop that ran out of time).
    pub killed_by_us: bool,
    /// How long it ran, on the monotonic clock.
    pub uptime: Duration,
    /// When it ended, on the wall clock: for people, not for arithmetic.
    pub at: SystemTime,
}

/// Qdrant's exit when it was killed: 128 + SIGKILL, also what a shell between us reports.
const KILLED: i32 = 128 + Signal::SIGKILL as i32;
/// Reported when the status was lost; no code of Qdrant's own (0, 1, 2, 101).
const LOST: i32 = 255;

impl Exit {
    pub(super) fn of(
        status: Option<ExitStatus>,
        killed_by_us: bool,
        oom_kills: (Option<u64>, Option<u64>),
        uptime: Duration,
    ) -> Self {
        let mut exit = Self {
            code: status.and_then(|s| s.code()),
            signal: status.and_then(|s| s.signal()),
            oom: Oom::No,
            killed_by_us,
            uptime,
            at: SystemTime::now(),
        };
        exit.oom = if status.is_none() {
            Oom::Unknown
        } else {
            Oom::judge(exit.was_killed() && !killed_by_us, oom_kills.0, oom_kills.1)
        };
        exit
    }

    /// The code to exit with in its place: its own, or 128 + n for signal n, 255 when it was lost.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        self.code.or(self.signal.map(|n| 128 + n)).unwrap_or(LOST)
    }

    /// Ended by SIGKILL, seen directly or as a wrapper's code 137.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.exit_code() == KILLED
    }

    /// Exited by itself with code 0.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}")?,
            (None, Some(n)) => match Signal::try_from(n) {
                Ok(name) => write!(f, "ended by {name}")?,
                Err(_) => write!(f, "ended by signal {n}")?,
            },
            (None, None) => f.write_str("ended, its exit status was lost")?,
        }
        write!(f, " after {:?}", self.uptime)?;
        if self.was_killed() {
            f.write_str(match (self.killed_by_us, self.oom) {
                (true, _) => ", killed by us",
                (_, Oom::Yes) => ", out of memory",
                (_, Oom::No) => ", not for lack of memory",
                (_, Oom::Unknown) => ", whether for lack of memory is unknown",
            })?;
        }
        Ok(())
    }
}

/// The end of a child that was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended.
    pub exit: Exit,
    /// It did not end within its grace; its whole process group was sent SIGKILL.
    pub forced: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(raw: i32, by_us: bool, counters: (Option<u64>, Option<u64>)) -> Exit {
        let mut e = Exit::of(
            Some(ExitStatus::from_raw(raw)),
            by_us,
            counters,
            Duration::ZERO,
        );
        e.uptime = Duration::from_millis(1500);
        e
    }

    #[test]
    fn codes_and_signals_follow_the_shells_convention() {
        assert_eq!(exit(3 << 8, false, (None, None)).exit_code(), 3);
        assert_eq!(exit(15, false, (None, None)).exit_code(), 143);
        assert_eq!(exit(9, false, (None, None)).exit_code(), 137);
        assert_eq!(
            Exit::of(None, false, (None, None), Duration::ZERO).exit_code(),
            255
        );
    }

    #[test]
    fn memory_is_blamed_only_for_a_kill_that_was_not_ours() {
        assert_eq!(exit(9, false, (Some(1), Some(2))).oom, Oom::Yes);
        assert_eq!(exit(137 << 8, false, (Some(1), Some(2))).oom, Oom::Yes);
        assert_eq!(exit(9, false, (Some(1), Some(1))).oom, Oom::No);
        assert_eq!(exit(9, false, (None, Some(1))).oom, Oom::Unknown);
        assert_eq!(exit(9, true, (Some(1), Some(2))).oom, Oom::No);
        assert_eq!(exit(101 << 8, false, (Some(1), Some(2))).oom, Oom::No);
        assert_eq!(
            Exit::of(None, false, (Some(1), Some(1)), Duration::ZERO).oom,
            Oom::Unknown
        );
    }

    #[test]
    fn the_sentence_names_the_cause() {
        let said = |e: Exit| e.to_string();
        assert_eq!(
            said(exit(0, false, (None, None))),
            "exited with code 0 after 1.5s"
        );
        assert_eq!(
            said(exit(9, false, (Some(0), Some(1)))),
            "ended by SIGKILL after 1.5s, out of memory"
        );
        assert_eq!(
            said(exit(9, true, (None, None))),
            "ended by SIGKILL after 1.5s, killed by us"
        );
        assert_eq!(
            said(exit(9, false, (None, None))),
            "ended by SIGKILL after 1.5s, whether for lack of memory is unknown"
        );
    }
}
