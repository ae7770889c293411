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
use crate::view::{Child, Observation, Probe, Qdrant};
use crate::{aside, ended, regroup, requorum, standing, standstill, witness};

/// Decides for a disk in stage *member*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    commits::watch(settings, memory, seen, stamp);
    let stand_still = standstill::wanted(settings, memory, seen, stamp);
    let mut decision = fencing::superseded(settings, memory, seen, stamp)
        // Whoever cannot run may be a survivor all the same: its word that it rests is waited for.
        .or_else(|| {
            let broke = matches!(memory.verdict, Some(Verdict::Stopped(_)));
            let rests =
                broke && stamp.regroup.is_none() && !matches!(seen.child, Child::Running(_));
            rests
                .then(|| regroup::hold_still(settings, memory, seen, stamp))
                .flatten()
        })
        .or_else(|| expulsion::judged(settings, memory, seen, stamp))
        .or_else(|| stuck_and_lost(settings, memory, seen, stamp))
        .or_else(|| match stamp.regroup {
            None => ended::comes_back(settings, memory, seen, stamp),
            Some(_) => None,
        })
        .unwrap_or_else(|| match &stamp.regroup {
            Some(mark) => regroup::decide(settings, memory, seen, stamp, mark),
            None => regroup::hold_still(settings, memory, seen, stamp)
                .or_else(|| regroup::still_held(seen, stamp))
                .unwrap_or_else(|| belongs(settings, memory, seen, stamp)),
        });
    if stamp.regroup.is_none() && stamp.ended.is_none() {
        go_on(settings, memory, seen, stamp, &mut decision);
    }
    decision.stand_still = stand_still;
    decision.quorum_lost = requorum::lost(settings, memory, seen);
    if decision.quorum_lost {
        decision.plight.cannot_claim = requorum::own_trouble(settings, memory, seen, stamp);
    }
    if decision.state == State::Empty {
        decision.state = match decision.phase {
            Phase::Member | Phase::Joining => State::Member,
            _ => State::HoldsData,
        };
    }
    commits::report(settings, memory, seen, stamp, &mut decision);
    decision
}

/// R8: where nothing else is to be done and our quorum is lost, the survivors go on.
fn go_on(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
    decision: &mut Decision,
) {
    let waits = matches!(
        decision.reason,
        Reason::NobodyRegroups(_) | Reason::NobodyLeads | Reason::SurvivorsFirst(_)
    );
    let idle = decision.action == Action::Wait && (decision.phase == Phase::Member || waits);
    if !idle || !requorum::lost(settings, memory, seen) {
        return;
    }
    if let Some(abandon) = regroup::abandon_expired(settings, memory, seen, stamp) {
        decision.action = abandon.action;
        decision.reason = abandon.reason;
        return;
    }
    match requorum::may_claim(settings, memory, seen, stamp) {
        Ok(claim) => {
            let action = Decision::act(Phase::Regrouping, claim, Reason::MayRegroup);
            *decision = action.state(State::HoldsData);
        }
        Err(why) if waits => {
            let generation = standing::awaited(settings, seen, stamp)
                .map_or(&stamp.generation, |formed| &formed.generation)
                .clone();
            decision.alarms.push(Alarm::HeirsWait { generation, why });
        }
        // Said by `commits::report`.
        Err(_) => {}
    }
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
    let decision = match &seen.child {
        Child::Running(Observed::Known(qdrant)) => {
            return serve(settings, memory, seen, stamp, qdrant);
        }
        Child::Stopped => Decision::act(Phase::Member, Action::StartMember, Reason::QdrantStopped),
        Child::Resting(why) => Decision::wait(Phase::Member, Reason::Resting(why.clone())),
        Child::Running(Observed::Unknown(_)) => {
            Decision::wait(Phase::Member, Reason::QdrantStarting)
        }
    };
    match &seen.crash_loop {
        // It is tried on, ever more slowly.
        Some(why) if seen.disk.collections => {
            let why = format!("it ends again and again: {why}");
            aside::instead(settings, seen, stamp, why, decision)
        }
        _ => decision,
    }
}

/// R6, once after a start or a long sleep: the data may run when the store says that it is the
/// cluster's, or a member says so that has been awake; or when the store says nothing and DNS does:
/// everybody whom it lists answers, and nobody belongs to another generation.
///
/// With neither store nor DNS there is no witness at all (decision 0003); whoever slept through its
/// own loss would then serve beside its successor, so it waits. So does a disk whose store is
/// another cluster's: that cluster may be alive.
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
        .any(|(hello, formed)| hello.verified && formed.generation == stamp.generation);
    let stranger = believed
        .values()
        .map(|(_, formed)| *formed)
        .find(|formed| is_stranger(formed, stamp));
    if same {
        memory.verified = true;
        return Ok(());
    }
    if let Some(formed) = stranger {
        let what = format!(
            "a member of generation {} of cluster {} answers, this disk is of {} of cluster {}",
            formed.generation, formed.store_id, stamp.generation, stamp.store_id
        );
        return Err((what.clone(), Some(Alarm::Contradiction(what))));
    }
    let store = match (&seen.store, our_store(settings, seen, stamp)) {
        (_, Some(store)) if store.identity.is_some() => Ok(()),
        (Observed::Known(_), Some(_)) => Err("the store is empty".to_owned()),
        (Observed::Known(_), None) => {
            let what = format!("this disk is of cluster {}", stamp.store_id);
            return Err((what.clone(), Some(Alarm::ForeignStore(what))));
        }
        (Observed::Unknown(why), _) => Err(format!("the store does not answer ({why})")),
    };
    if let Err(store) = store {
        dns_is_witness(settings, memory, seen).map_err(|dns| (format!("{store}, {dns}"), None))?;
    }
    memory.verified = true;
    Ok(())
}

/// Everybody whom DNS lists answers for itself: there is no room for a cluster that we do not see.
fn dns_is_witness(settings: &Settings, memory: &Memory, seen: &Observation) -> Result<(), String> {
    let listed = memory.dns.settled(settings, &seen.dns)?;
    let unheard = listed
        .iter()
        .filter(|address| **address != settings.address)
        .find(|address| !matches!(seen.peers.get(*address), Some(Probe::Task { .. })));
    match unheard {
        Some(address) => Err(format!("and DNS lists {address}, which does not answer")),
        None => Ok(()),
    }
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
        && !duties::is_before_requorum(stamp, proof)
    {
        let what = format!(
            "Qdrant says {}, this disk {}",
            proof.generation, stamp.generation
        );
        // Remembered: a stopped Qdrant does not say it again.
        memory.verdict = Some(Verdict::Broken(what.clone()));
        return fence(seen, Alarm::BrokenChain(what));
    }
    duties::fulfil(settings, memory.early, seen, stamp, qdrant, &mut decision);
    if decision.ready.is_ok() {
        (memory.ready, memory.anew) = (true, false);
    }
    decision
}
