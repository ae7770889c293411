//! A task whose disk belongs to a formed generation: run it, and stop at once when the cluster is
//! elsewhere (rules R1, R6, R9).

use crate::commits;
use crate::decision::{Action, Alarm, Decision, Phase, Reason};
use crate::duties;
use crate::expulsion;
use crate::fencing::{self, fence, our_store};
use crate::joiner::stuck_and_lost;
use crate::memory::{Memory, Verdict};
use crate::observed::Observed;
use crate::records::{Formed, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Dns, Observation, Qdrant};
use crate::witness;

/// Decides for a disk in stage *member*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    commits::watch(settings, memory, seen, stamp);
    let mut decision = fencing::superseded(settings, seen, stamp)
        .or_else(|| expulsion::judged(settings, memory, seen, stamp))
        .or_else(|| stuck_and_lost(settings, memory, seen, stamp))
        .unwrap_or_else(|| belongs(settings, memory, seen, stamp));
    if decision.state == State::Empty {
        decision.state = match decision.phase {
            Phase::Member | Phase::Joining => State::Member,
            _ => State::HoldsData,
        };
    }
    commits::report(settings, memory, seen, stamp, &mut decision);
    decision
}

fn belongs(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    if let Err((why, alarm)) = verify(settings, memory, seen, stamp) {
        let reason = Reason::Unverified(why);
        let mut decision = match seen.child {
            Child::Running(_) => Decision::act(Phase::Waiting, Action::Kill, reason),
            _ => Decision::wait(Phase::Waiting, reason),
        };
        decision.alarms.extend(alarm);
        return decision;
    }
    match &seen.child {
        Child::Stopped => Decision::act(Phase::Member, Action::StartMember, Reason::QdrantStopped),
        Child::Resting(why) => Decision::wait(Phase::Member, Reason::Resting(why.clone())),
        Child::Running(Observed::Unknown(_)) => {
            Decision::wait(Phase::Member, Reason::QdrantStarting)
        }
        Child::Running(Observed::Known(qdrant)) => serve(settings, memory, seen, stamp, qdrant),
    }
}

/// R6, once after a start or a long sleep: the data may run when the store says that it is the
/// cluster's, or when the store does not answer and nobody in sight belongs to another.
///
/// With neither store nor DNS there is no witness at all; whoever slept through its own loss
/// would then serve beside its successor, so it waits. So does a disk whose store is another
/// cluster's: that cluster may be alive.
fn verify(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Result<(), (String, Option<Alarm>)> {
    if memory.verified {
        return Ok(());
    }
    let believed = witness::believed(settings, seen);
    let same = believed
        .values()
        .any(|(_, formed)| formed.generation == stamp.generation);
    let stranger = believed
        .values()
        .map(|(_, formed)| *formed)
        .find(|formed| is_stranger(formed, stamp));
    let store_speaks = our_store(settings, seen, stamp).is_some();
    match (&seen.store, &seen.dns) {
        _ if same => {}
        _ if stranger.is_some() => {
            let what = stranger.map_or_else(String::new, |formed| {
                format!(
                    "a member of generation {} of cluster {} answers, this disk is of {} of cluster {}",
                    formed.generation, formed.store_id, stamp.generation, stamp.store_id
                )
            });
            return Err((what.clone(), Some(Alarm::Contradiction(what))));
        }
        _ if store_speaks => {}
        (Observed::Known(_), _) => {
            let what = format!("this disk is of cluster {}", stamp.store_id);
            return Err((what.clone(), Some(Alarm::ForeignStore(what))));
        }
        (Observed::Unknown(_), Dns::Arrived(_) | Dns::NotConfigured) => {}
        (Observed::Unknown(store), Dns::Failed(dns)) => {
            let what = format!("the store does not answer ({store}), nor does DNS ({dns})");
            return Err((what, None));
        }
    }
    memory.verified = true;
    Ok(())
}

/// A generation that neither is ours nor makes way for ours.
fn is_stranger(formed: &Formed, stamp: &Stamp) -> bool {
    formed.store_id != stamp.store_id
        || (formed.generation.number < stamp.generation.number
            && stamp.previous.as_ref() != Some(&formed.generation))
}

fn serve(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    qdrant: &Qdrant,
) -> Decision {
    let mut decision = Decision::wait(Phase::Member, Reason::InCluster);
    if commits::stuck(settings, memory, seen) {
        decision
            .alarms
            .extend(duties::store_alarm(settings, seen, stamp));
        return decision;
    }
    if let Observed::Known(Some(proof)) = &qdrant.proof
        && proof.generation != stamp.generation
    {
        let what = format!(
            "Qdrant says {}, this disk {}",
            proof.generation, stamp.generation
        );
        // Remembered: a stopped Qdrant does not say it again.
        memory.verdict = Some(Verdict::Broken(what.clone()));
        return fence(seen, Alarm::BrokenChain(what));
    }
    duties::fulfil(settings, seen, stamp, qdrant, &mut decision);
    memory.ready |= decision.ready.is_ok();
    decision
}
