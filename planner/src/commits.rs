//! Whether consensus still commits, asked by a write where there is doubt: a role proves nothing
//! (facts: T1).

use core::time::Duration;

use crate::decision::{Alarm, Decision, Phase, Reason};
use crate::memory::{Memory, count};
use crate::observed::Observed;
use crate::records::{Stamp, State};
use crate::requorum;
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe, Qdrant};

/// Counts how long consensus has not committed. Before anything is decided, so that a commit in
/// this round ends the doubt in this round.
pub(crate) fn watch(settings: &Settings, memory: &mut Memory, seen: &Observation, stamp: &Stamp) {
    let Child::Running(Observed::Known(qdrant)) = &seen.child else {
        // One that says nothing commits nothing either where so few voters are left.
        let few = answering(settings, seen, stamp) * 2 <= seen.disk.voters.len();
        if seen.disk.collections && few {
            memory.no_commit = count(memory.no_commit, memory.step, settings.loss_timeout);
        }
        return;
    };
    let fails = qdrant.commits == Some(false) || !qdrant.has_leader;
    if qdrant.commits == Some(true) {
        memory.no_commit = Duration::ZERO;
    } else if fails {
        memory.no_commit = count(memory.no_commit, memory.step, settings.loss_timeout);
    } else if !doubtful(settings, seen, stamp, qdrant) {
        memory.no_commit = Duration::ZERO;
    }
}

/// A voter does not answer, or Raft itself is not at ease: only a write can tell.
fn doubtful(settings: &Settings, seen: &Observation, stamp: &Stamp, qdrant: &Qdrant) -> bool {
    let somebody_missing = qdrant.peers.len() > answering(settings, seen, stamp);
    somebody_missing || !qdrant.has_leader || !qdrant.is_voter
}

/// Members that answer, ourselves included. Empty replacements at the addresses of the dead answer
/// as well, and those that still join; they are no voters.
fn answering(settings: &Settings, seen: &Observation, stamp: &Stamp) -> usize {
    let others = seen.peers.values().filter(|probe| {
        matches!(probe, Probe::Task { hello, .. }
            if hello.service == settings.service
                && matches!(hello.state, State::Member | State::Stuck)
                && hello.generation.as_ref() == Some(&stamp.generation))
    });
    1 + others.count()
}

/// Nothing was committed for the loss time-out and no collection is here. It stays so while
/// Qdrant is started again: only a commit ends it.
pub(crate) fn stuck(settings: &Settings, memory: &Memory, seen: &Observation) -> bool {
    !seen.disk.collections && memory.no_commit >= settings.loss_timeout
}

/// Puts the doubt into the decision: the probe to make, and once it has lasted, *stuck* in place
/// of *member* for a node without collections, which then gives way like an empty one, and a call
/// for a person where data is.
pub(crate) fn report(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
    decision: &mut Decision,
) {
    if stuck(settings, memory, seen) {
        if matches!(decision.state, State::Member | State::Joining) {
            decision.state = State::Stuck;
        }
        if matches!(decision.reason, Reason::InCluster | Reason::Learner) {
            decision.reason = Reason::Stuck;
        }
        if seen.disk.aside {
            decision.alarms.push(Alarm::AsideKept);
        }
    }
    let Child::Running(Observed::Known(qdrant)) = &seen.child else {
        return;
    };
    if !matches!(decision.phase, Phase::Member | Phase::Joining) {
        return;
    }
    let claimed = seen.store.known().is_some_and(|s| s.undecided().is_some());
    decision.probe_commit = doubtful(settings, seen, stamp, qdrant) || claimed;
    if seen.disk.collections && memory.no_commit >= settings.loss_timeout {
        decision.alarms.push(Alarm::QuorumLost {
            generation: stamp.generation.clone(),
            answering: answering(settings, seen, stamp),
            voters: qdrant.peers.len(),
            next: match requorum::may_claim(settings, memory, seen, stamp) {
                Ok(_) => "its survivors go on".to_owned(),
                Err(why) => format!("its survivors cannot go on by themselves: {why}"),
            },
        });
    }
}
