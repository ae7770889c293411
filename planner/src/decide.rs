//! One round: remember, then ask the module of the role that this disk gives us.

use core::time::Duration;

use crate::decision::{Action, Alarm, Aside, Decision, NotReady, Phase, Reason};
use crate::memory::{Memory, Passed, count};
use crate::observed::Observed;
use crate::records::{Plight, Stage, State};
use crate::settings::Settings;
use crate::view::{Child, Observation};
use crate::{claimant, duties, joiner, member, newcomer, requorum};

/// Decides one round.
///
/// `passed` is the time since the observation of the round before. The disk says which role we
/// have: the stamp is written before Qdrant first touches a disk, so a disk without a stamp and
/// with Qdrant's data is foreign.
pub fn decide(
    settings: &Settings,
    memory: &mut Memory,
    passed: Passed,
    seen: &Observation,
) -> Decision {
    memory.observe(settings, passed, seen);
    let mut decision = by_role(settings, memory, seen);
    adrift(settings, memory, &mut decision);
    if let Action::SetAside(ground) = &decision.action {
        memory.gave_up_data = !matches!(ground, Aside::Superseded { .. });
    }
    decision.commit = requorum::commit(seen);
    let mark = seen.disk.stamp.as_ref().and_then(|s| s.regroup.as_ref());
    decision.plight.begun = mark.is_some_and(|mark| mark.begun);
    // Readiness stays through restarts and fencing, as long as data is here: ECS kills what the load
    // balancer calls unhealthy, and with it the disk.
    memory.ready |= seen.disk.served && !memory.anew;
    if memory.ready {
        decision.ready = match restoring(seen, &decision.action) {
            true => Err(NotReady::Restoring),
            false => Ok(()),
        };
    }
    decision
}

/// Our generation, or the one that we are about to join, began with a restore that we have not seen
/// finished. Whoever was ready before comes to it with data set aside, and would be sent what the restore
/// takes away again; that weighs more than that ECS may end this task.
fn restoring(seen: &Observation, action: &Action) -> bool {
    if let Action::StartJoiner { formed, .. } = action {
        return formed.restore;
    }
    let restore = seen.disk.stamp.as_ref().is_some_and(|stamp| stamp.restore);
    let finished = matches!(&seen.child, Child::Running(Observed::Known(qdrant))
        if duties::restored(qdrant));
    restore && !finished
}

/// Whatever is waited for, it is not waited for in silence.
fn adrift(settings: &Settings, memory: &mut Memory, decision: &mut Decision) {
    let limit = settings.loss_timeout * 3;
    // A Qdrant that hangs under us is a member that does not work.
    let works = decision.state == State::Member && decision.reason != Reason::QdrantStarting;
    memory.adrift = match works {
        true => Duration::ZERO,
        false => count(memory.adrift, memory.step, limit),
    };
    if memory.adrift >= limit && decision.alarms.is_empty() {
        decision.alarms.push(Alarm::Adrift {
            lasted: memory.adrift,
            reason: decision.reason.to_string(),
        });
    }
}

fn by_role(settings: &Settings, memory: &mut Memory, seen: &Observation) -> Decision {
    let Some(stamp) = &seen.disk.stamp else {
        if seen.disk.joined || seen.disk.collections {
            return Decision::wait(Phase::Blocked, Reason::SeeAlarm)
                .state(State::HoldsData)
                .alarm(Alarm::ForeignData);
        }
        return newcomer::decide(settings, memory, seen);
    };
    let mut decision = match stamp.stage {
        Stage::Founding => claimant::decide(settings, memory, seen, stamp),
        Stage::Joining => joiner::decide(settings, memory, seen, stamp),
        Stage::Member => member::decide(settings, memory, seen, stamp),
    };
    decision.generation = Some(stamp.generation.clone());
    decision
}

impl Decision {
    /// A decision to do nothing, for this reason; the starting point of all others.
    pub(crate) fn wait(phase: Phase, reason: Reason) -> Self {
        Self {
            phase,
            action: Action::Wait,
            reason,
            alarms: Vec::new(),
            state: State::Empty,
            generation: None,
            stand_still: false,
            renew_lease: false,
            probe_commit: false,
            ready: Err(NotReady::NotMember),
            quorum_lost: false,
            commit: None,
            plight: Plight::default(),
        }
    }

    /// A decision to act.
    pub(crate) fn act(phase: Phase, action: Action, reason: Reason) -> Self {
        Self {
            action,
            ..Self::wait(phase, reason)
        }
    }

    /// What we say of ourselves meanwhile.
    pub(crate) fn state(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// Adds an alarm.
    pub(crate) fn alarm(mut self, alarm: Alarm) -> Self {
        self.alarms.push(alarm);
        self
    }
}
