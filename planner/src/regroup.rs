//! A survivor that has claimed the next generation by re-quorum (R4), and one that holds still for
//! the claim of another.
//!
//! Before Raft is begun anew every survivor's Qdrant rests, the claimant's last of all: a copy that
//! still took writes would have points that the others miss (decision 0013).

use core::time::Duration;

use crate::decision::{Action, Alarm, Decision, Phase, Reason};
use crate::fencing::fence;
use crate::ids::{PeerId, TaskId};
use crate::memory::{GaveUp, Memory, count};
use crate::observed::Observed;
use crate::records::{Held, Hello, Outcome, Regroup, Stamp, State, Succession};
use crate::requorum::{self, Hindered};
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};
use crate::{aside, destruction, duties, ended, rejoin, witness};

/// Decides for a member whose disk says that ours is the claim.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    mark: &Regroup,
) -> Decision {
    if seen
        .disk
        .peer_id
        .is_none_or(|us| !mark.survivors.contains_key(&us))
    {
        let what = format!(
            "our claim to {} does not name the peer on this disk",
            mark.claim
        );
        return fence(seen, Alarm::BrokenChain(what));
    }
    let decision = rules(settings, memory, seen, stamp, mark);
    let mut decision = decision.state(State::HoldsData);
    // Where the generation has ended in order nothing was lost.
    if stamp.ended.is_none() {
        let missing = mark.missing.len();
        let alarm = requorum::alarm(&mark.previous, mark.survivors.values(), missing);
        decision = decision.alarm(alarm);
    }
    // A store that was emptied and taken by another cluster never takes our claim.
    decision
        .alarms
        .extend(duties::store_alarm(settings, seen, stamp));
    decision
}

fn rules(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    mark: &Regroup,
) -> Decision {
    let store = match &seen.store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => {
            return Decision::wait(Phase::Regrouping, Reason::StoreUnknown(why.clone()));
        }
    };
    let ours = store.generations.get(&mark.claim.number);
    match ours {
        Some(other) if other.claim.token != mark.claim.token => {
            return came_to_nothing(settings, memory, seen, stamp, mark, Reason::ClaimLost);
        }
        Some(ours) => match &ours.outcome {
            Some(Outcome::Formed(formed)) if formed.generation == mark.claim => {
                let action = Action::Settle(formed.clone());
                return Decision::act(Phase::Regrouping, action, Reason::FormedReadBack);
            }
            Some(_) => {
                let reason = Reason::ClaimAbandoned;
                return came_to_nothing(settings, memory, seen, stamp, mark, reason);
            }
            None => {}
        },
        None => {}
    }
    let allowed = requorum::still_allowed(settings, memory, seen, stamp);
    if let Some(why) = held_too_long(settings, memory, seen, mark, allowed.is_ok())
        && ours.is_some()
    {
        return give_up(memory, seen, mark, why);
    }
    let mut decision = match allowed {
        _ if ours.is_none() => {
            Decision::act(Phase::Regrouping, Action::RepeatClaim, Reason::ClaimUnseen)
        }
        Ok(()) => go_on(settings, seen, mark),
        Err(Hindered::Never(why)) => return give_up(memory, seen, mark, why),
        // Somebody may be back: what is begun anew here must not take writes beside a majority.
        Err(Hindered::NotYet(why)) => {
            let reason = Reason::ClaimOvertaken(why);
            match mark.begun && matches!(seen.child, Child::Running(_)) {
                true => Decision::act(Phase::Regrouping, Action::Kill, reason),
                false => Decision::wait(Phase::Regrouping, reason),
            }
        }
    };
    decision.renew_lease = ours.is_some();
    // Whoever cannot read the store learns from us that it must rest.
    decision.plight.claims = ours.is_some().then(|| Succession {
        claim: mark.claim.clone(),
        previous: mark.previous.clone(),
        survivors: mark.survivors.clone(),
    });
    decision
}

fn go_on(settings: &Settings, seen: &Observation, mark: &Regroup) -> Decision {
    let act = |action, reason| Decision::act(Phase::Regrouping, action, reason);
    let wait = |reason| Decision::wait(Phase::Regrouping, reason);
    let running = requorum::still_running(settings, seen, &mark.claim);
    match &seen.child {
        // Whoever began anew has waited for them.
        _ if !mark.begun && !running.is_empty() => wait(Reason::SurvivorsRun(running)),
        Child::Running(_) if !mark.begun => act(Action::Kill, Reason::MayRegroup),
        Child::Stopped => act(Action::StartReinit, Reason::MayRegroup),
        Child::Resting(why) if mark.begun => wait(Reason::Resting(why.clone())),
        Child::Resting(_) => act(Action::StartReinit, Reason::MayRegroup),
        Child::Running(Observed::Known(qdrant)) if qdrant.leads => {
            act(Action::Form, Reason::LeadsItself)
        }
        Child::Running(_) => wait(Reason::QdrantStarting),
    }
}

/// A claim is not held for ever, see `claimant`. Whoever has begun anew cannot go back to its
/// generation, so it is given as long as the silence must be counted once more.
fn held_too_long(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    mark: &Regroup,
    allowed: bool,
) -> Option<String> {
    let leads = matches!(&seen.child, Child::Running(Observed::Known(qdrant)) if qdrant.leads);
    if allowed && mark.begun && leads {
        return None;
    }
    let limit = settings.loss_timeout * 2;
    memory.holding = count(memory.holding, memory.step, limit);
    (memory.holding >= limit).then(|| {
        let what = match allowed {
            true => "Qdrant did not lead itself",
            false => "forming was not allowed",
        };
        format!("{what} for {} s", limit.as_secs_f64())
    })
}

/// Stopped first of all: once the claim is abandoned the others may run in their generation again, and
/// what is begun anew here would take writes beside them.
fn give_up(memory: &mut Memory, seen: &Observation, mark: &Regroup, why: String) -> Decision {
    memory.gave_up = Some(GaveUp::new(why.clone()));
    if mark.begun && matches!(seen.child, Child::Running(_)) {
        return Decision::act(Phase::Regrouping, Action::Kill, Reason::ClaimOvertaken(why));
    }
    let action = Action::Abandon {
        number: mark.claim.number,
        why: why.clone(),
    };
    Decision::act(Phase::Regrouping, action, Reason::ClaimOvertaken(why))
}

/// Nobody will ever form our claim. Before Raft was begun anew nothing has happened here; after that
/// this peer is none of its generation any more, and its data waits for the survivors to try again,
/// with this task among them. Where the generation lives on after all, it waits for the permission to
/// begin there anew.
fn came_to_nothing(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    mark: &Regroup,
    reason: Reason,
) -> Decision {
    // The next claim is held as long as this one was.
    memory.holding = Duration::ZERO;
    if !mark.begun {
        return Decision::act(Phase::Regrouping, Action::Resume, reason);
    }
    if matches!(seen.child, Child::Running(_)) {
        return Decision::act(Phase::Fenced, Action::Kill, reason);
    }
    if requorum::claim_for_us(settings, seen, stamp).is_some() {
        return hold_still(settings, memory, seen, stamp)
            .unwrap_or_else(|| Decision::wait(Phase::Fenced, reason));
    }
    if let Some(formed) = witness::lives(settings, seen, &mark.previous) {
        if formed.generation != stamp.generation && rejoin::survives(formed, seen) {
            return rejoin::go_over(settings, memory, seen, formed);
        }
        let why = format!("it has left generation {}, which lives on", mark.previous);
        return aside::instead(
            settings,
            seen,
            stamp,
            why,
            Decision::wait(Phase::Fenced, reason),
        );
    }
    if let Some(decision) = ended::comes_back(settings, memory, seen, stamp) {
        return decision;
    }
    match requorum::may_claim(settings, memory, seen, stamp) {
        Ok(action) => Decision::act(Phase::Regrouping, action, Reason::MayRegroup),
        Err(why) => {
            let alarm = Alarm::RegroupFails(why);
            abandon_expired(settings, memory, seen, stamp)
                .unwrap_or_else(|| Decision::wait(Phase::Fenced, reason))
                .alarm(alarm)
        }
    }
}

/// R5, for those who cannot found: a claim whose lease stands still is given up.
pub(crate) fn abandon_expired(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let store = crate::fencing::our_store(settings, seen, stamp)?;
    let (number, open) = store.undecided()?;
    if !memory.claim.expired(settings) {
        return None;
    }
    let why = format!(
        "its lease has not moved for {} s",
        settings.claim_timeout.as_secs_f64()
    );
    let reason = Reason::FounderSilent(open.claim.task.clone(), number);
    let action = Action::Abandon { number, why };
    Some(Decision::act(Phase::Member, action, reason))
}

/// Another survivor's claim names us. Qdrant is stopped in turn, the highest peer first, and begins again only when the claim has come to nothing. `None` while it is not our
/// turn.
pub(crate) fn hold_still(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let (task, succession) = requorum::claim_for_us(settings, seen, stamp)?;
    if let Some(decision) = abandon_expired(settings, memory, seen, stamp) {
        let state = match seen.child {
            Child::Running(_) => State::Member,
            Child::Stopped | Child::Resting(_) => State::HoldsData,
        };
        return Some(decision.state(state));
    }
    let commits = matches!(&seen.child, Child::Running(Observed::Known(qdrant)) if qdrant.commits == Some(true));
    let us = seen.disk.peer_id?;
    let later = |peer: &PeerId| succession.survivors.get(peer).is_some_and(|t| *t != task);
    let still_runs = answering(seen).any(|hello| {
        hello.generation.as_ref() == Some(&stamp.generation)
            && !requorum::rests(hello)
            && hello.peer_id.is_some_and(|peer| peer > us && later(&peer))
    });
    if commits || (still_runs && matches!(seen.child, Child::Running(_))) {
        return None;
    }
    let survivors = || succession.survivors.values();
    let alarm = requorum::alarm(&succession.previous, survivors(), 0);
    Some(rest(seen, stamp, &task, &succession).alarm(alarm))
}

/// Stopped, and marked so, for this claim.
fn rest(seen: &Observation, stamp: &Stamp, task: &TaskId, succession: &Succession) -> Decision {
    let held = Held {
        task: task.clone(),
        claim: succession.claim.clone(),
    };
    let reason = Reason::HoldsStill(task.clone(), held.claim.number);
    let runs = matches!(seen.child, Child::Running(_));
    let marked = stamp.held.as_ref() == Some(&held);
    let mut decision = match runs || !marked {
        true => Decision::act(Phase::Regrouping, Action::HoldStill(held), reason),
        false => Decision::wait(Phase::Regrouping, reason),
    };
    decision.plight.rests_for = (!runs && marked).then(|| succession.claim.token.clone());
    decision.state(State::HoldsData)
}

/// Our Qdrant rests for a claim, and it is not known that this came to nothing: it may be formed, and
/// what were written here now would be missing there.
pub(crate) fn still_held(seen: &Observation, stamp: &Stamp) -> Option<Decision> {
    let held = stamp.held.as_ref()?;
    if matches!(seen.child, Child::Running(_)) {
        return None;
    }
    let why = destruction::may_let_go(stamp, &seen.store)
        .err()?
        .to_string();
    let reason = Reason::HoldsStill(held.task.clone(), held.claim.number);
    let mut decision = Decision::wait(Phase::Regrouping, reason).state(State::HoldsData);
    decision.plight.rests_for = Some(held.claim.token.clone());
    Some(decision.alarm(Alarm::RestsFor {
        task: held.task.clone(),
        number: held.claim.number,
        why,
    }))
}

/// What the tasks that answer say of themselves.
pub(crate) fn answering(seen: &Observation) -> impl Iterator<Item = &Hello> {
    seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { hello, .. } => Some(hello.as_ref()),
        _ => None,
    })
}
