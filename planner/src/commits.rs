//! Whether consensus still commits, asked by a write where there is doubt: a role proves nothing
//! (facts: T1).

use core::time::Duration;

use crate::decision::{Alarm, Decision, Reason};
use crate::memory::Memory;
use crate::observed::Observed;
use crate::records::{Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};

/// Counts how long consensus has not committed, and says so when that lasts: a node without
/// collections is then *stuck* and gives way like an empty one, one with data calls a person.
pub(crate) fn watch(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    decision: &mut Decision,
) {
    let Child::Running(Observed::Known(qdrant)) = &seen.child else {
        return;
    };
    // Empty replacements at the addresses of the dead answer as well, and those that still join;
    // they are no voters.
    let answering = seen
        .peers
        .values()
        .filter(|probe| {
            matches!(probe, Probe::Task { hello, .. }
                if hello.service == settings.service
                    && matches!(hello.state, State::Member | State::Stuck)
                    && hello.generation.as_ref() == Some(&stamp.generation))
        })
        .count();
    let somebody_missing = qdrant.peers.len() > answering + 1;
    decision.probe_commit = somebody_missing || !qdrant.has_leader || !qdrant.is_voter;
    let fails = qdrant.commits == Some(false) || !qdrant.has_leader;
    let works = qdrant.commits == Some(true) || !decision.probe_commit;
    if fails {
        memory.no_commit = (memory.no_commit + memory.step).min(settings.loss_timeout);
    } else if works {
        memory.no_commit = Duration::ZERO;
    }
    if memory.no_commit < settings.loss_timeout {
        return;
    }
    if seen.disk.collections {
        let alarm = Alarm::QuorumLost {
            generation: stamp.generation.clone(),
            answering: answering + 1,
            voters: qdrant.peers.len(),
        };
        decision.alarms.push(alarm);
    } else {
        decision.reason = Reason::Stuck;
    }
}

/// Nothing was committed for the loss time-out and no collection is here. It stays so while
/// Qdrant is started again: only a commit ends it.
pub(crate) fn stuck(settings: &Settings, memory: &Memory, seen: &Observation) -> bool {
    !seen.disk.collections && memory.no_commit >= settings.loss_timeout
}

/// Says *stuck* where it is so, in place of *member* or *joining*.
pub(crate) fn mark_stuck(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    decision: &mut Decision,
) {
    if stuck(settings, memory, seen) && matches!(decision.state, State::Member | State::Joining) {
        decision.state = State::Stuck;
    }
}
