//! The one table of times: production defaults are minutes, a rehearsal should take seconds.
//! Owns: every duration a rehearsal gives to others or waits itself.

use std::time::Duration;

/// What every entrypoint of a rehearsal is told. Order and names are those of
/// `docs/configuration.md`; the relations between them are those of the defaults: a claim outlives
/// several beats and store time-outs, a loss outlives several claims' worth of silence
/// and an election.
pub const ENTRYPOINT: &[(&str, &str)] = &[
    ("ENTRYPOINT_ROUND", "50ms"),
    ("ENTRYPOINT_BEAT", "250ms"),
    ("ENTRYPOINT_CLAIM_TIMEOUT", "2s"),
    ("ENTRYPOINT_LOSS_TIMEOUT", "6s"),
    ("ENTRYPOINT_PROBE_TIMEOUT", "400ms"),
    ("ENTRYPOINT_STORE_TIMEOUT", "2s"),
    ("ENTRYPOINT_DNS_TIMEOUT", "300ms"),
    ("ENTRYPOINT_DNS_SETTLE", "1s"),
    ("ENTRYPOINT_STOP_TIMEOUT", "10s"),
    ("ENTRYPOINT_STOP_MARGIN", "1s"),
    ("ENTRYPOINT_STOP_LINGER", "200ms"),
    ("ENTRYPOINT_RESTART_MIN", "100ms"),
    ("ENTRYPOINT_RESTART_MAX", "1s"),
    // Tasks are launched at once here, so what ECS wants must be known at once too.
    ("ENTRYPOINT_ECS_POLL", "250ms"),
    ("ENTRYPOINT_PROTECTION_MINUTES", "1"),
    // A slot would begin in the middle of whatever is rehearsed, or not, by the time of the day.
    ("ENTRYPOINT_SETS", "off"),
];

/// What the entrypoints of healing scenarios are told besides. As with the defaults, a peer is gone
/// after many beats, a last copy is waited for much longer, and a replacement task has time to
/// start and to join.
pub const HEAL: &[(&str, &str)] = &[
    ("ENTRYPOINT_GONE_TIMEOUT", "3s"),
    ("ENTRYPOINT_LOST_COPY_TIMEOUT", "30s"),
    ("ENTRYPOINT_REPLACEMENT_WAIT", "10s"),
];

/// The defaults of `docs/configuration.md` for those that decide what a task costs at rest.
pub const PRODUCTION: &[(&str, &str)] = &[
    ("ENTRYPOINT_ROUND", "100ms"),
    ("ENTRYPOINT_BEAT", "2s"),
    ("ENTRYPOINT_CLAIM_TIMEOUT", "60s"),
    ("ENTRYPOINT_LOSS_TIMEOUT", "240s"),
    ("ENTRYPOINT_PROBE_TIMEOUT", "1s"),
];

/// `ENTRYPOINT_CLAIM_TIMEOUT` above.
pub const CLAIM: Duration = Duration::from_secs(2);
/// `ENTRYPOINT_LOSS_TIMEOUT` above.
pub const LOSS: Duration = Duration::from_secs(6);
/// `ENTRYPOINT_DNS_SETTLE` above.
pub const SETTLE: Duration = Duration::from_secs(1);
/// `ENTRYPOINT_STOP_TIMEOUT` above: from SIGTERM to the scheduler's SIGKILL.
pub const STOP: Duration = Duration::from_secs(10);
/// From the end of a task to the start of its replacement (ECS: some tens of seconds).
pub const REPLACE: Duration = Duration::from_millis(300);
/// From a task's removal from the load balancer to its SIGTERM (deregistration delay: 15 to 30 s).
pub const DRAIN: Duration = Duration::from_millis(300);
/// Between two checks of a load balancer's target and of a container (5 s at the least).
pub const CHECK: Duration = Duration::from_millis(250);
/// How long such a check may take (2 s at the least).
pub const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);
/// `healthCheckGracePeriodSeconds` unless a scenario says otherwise: an hour, as is recommended.
pub const GRACE: Duration = Duration::from_secs(3600);
/// Between two rounds of the scheduler when nothing wakes it.
pub const SCHEDULE: Duration = Duration::from_millis(100);
/// What task scale-in protection calls a minute: a true one, for tasks count their own protection by
/// their own clocks. Scenarios ask for one minute at a time.
pub const MINUTE: Duration = Duration::from_secs(60);
/// Between two looks of the observers.
pub const LOOK: Duration = Duration::from_millis(50);
/// Between two looks where a scenario must hit a moment.
pub const AIM: Duration = Duration::from_millis(2);
/// How long one question of the observers may take.
pub const ASK: Duration = Duration::from_millis(500);
/// How long a cluster may take to come to rest after the last fault.
pub const REST: Duration = Duration::from_secs(45);
/// How long rest must be seen without a change before it counts.
pub const STILL: Duration = Duration::from_millis(500);
/// How long a scenario watches that something does *not* happen.
pub const WATCH: Duration = Duration::from_secs(6);
/// After a process died: how long its own child may still be seen.
pub const ORPHAN: Duration = Duration::from_secs(2);
/// How long a task that stood still must answer before it gets traffic again.
pub const PROVEN: Duration = Duration::from_secs(3);
/// `ENTRYPOINT_GONE_TIMEOUT` above.
pub const GONE: Duration = Duration::from_secs(3);
/// How long a cluster may take to be healed after the last fault: proof of death, the replacement,
/// an election, and a transfer that waits ten seconds for a dead address (facts: T9). Shorter than
/// the minute for which the steward waits for what it has asked and does not see.
pub const HEALED: Duration = Duration::from_secs(45);
/// How long one replacement of a rollout may take: a join, the evacuation of an old task, its end.
pub const ROLL: Duration = Duration::from_secs(40);
/// Between two looks at the copies of all shards.
pub const LOOK_AT_COPIES: Duration = Duration::from_millis(100);
