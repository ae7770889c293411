//! A task whose disk belongs to a claim: bring it up, form it, or give it up (rule R4).

use crate::claims::{self, Refusal};
use crate::decision::{Action, Alarm, Decision, Discard, Phase, Reason};
use crate::memory::{GaveUp, Memory, count};
use crate::newcomer;
use crate::observed::Observed;
use crate::records::{Outcome, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation};

/// Decides for a disk in stage *founding*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    let mut decision = rules(settings, memory, seen, stamp);
    // Collections here would be somebody's, whatever became of the claim.
    decision.state = match seen.disk.collections && decision.phase == Phase::Fenced {
        true => State::HoldsData,
        false => State::Claiming,
    };
    decision
}

fn rules(settings: &Settings, memory: &mut Memory, seen: &Observation, stamp: &Stamp) -> Decision {
    let store = match &seen.store {
        Observed::Known(store) => store,
        // Without the store nothing can be formed, and a claim that is not formed serves nobody.
        Observed::Unknown(why) => {
            return Decision::wait(Phase::Founding, Reason::StoreUnknown(why.clone()));
        }
    };
    let number = stamp.generation.number;
    let ours = store.generations.get(&number);
    match ours {
        Some(other) if other.claim.token != stamp.generation.token => {
            return give_up(
                seen,
                Discard::ClaimLost {
                    generation: stamp.generation.clone(),
                },
                Reason::ClaimLost,
            );
        }
        Some(ours) => match &ours.outcome {
            Some(Outcome::Formed(formed)) if formed.generation == stamp.generation => {
                let action = Action::Settle(formed.clone());
                return Decision::act(Phase::Founding, action, Reason::FormedReadBack);
            }
            // Also when a record of an earlier life of the store stands there.
            Some(_) => {
                return give_up(
                    seen,
                    Discard::ClaimAbandoned {
                        generation: stamp.generation.clone(),
                    },
                    Reason::ClaimAbandoned,
                );
            }
            None => {}
        },
        None => {}
    }
    // R3 once more, now: what allowed the claim may have changed since.
    let allowed = match store.next_number() > number.saturating_add(1) {
        true => Err(Refusal::Never("a higher number is claimed".to_owned())),
        false => claims::still_wanted(settings, store, stamp.mode()).and_then(|()| {
            claims::may_found(settings, memory, seen, store, stamp.previous.as_ref())
        }),
    };
    if let Some(why) = held_too_long(settings, memory, seen, allowed.is_ok())
        && ours.is_some()
    {
        memory.gave_up = Some(GaveUp::new(why.clone()));
        let action = Action::Abandon {
            number,
            why: why.clone(),
        };
        let reason = Reason::ClaimOvertaken(why.clone());
        return Decision::act(Phase::Founding, action, reason).alarm(Alarm::FoundingFails(why));
    }
    match allowed {
        Ok(allowed) => {
            // A store that was emptied since has lost its name, or got another one.
            let named = store
                .identity
                .as_ref()
                .is_some_and(|identity| identity.store_id == stamp.store_id);
            let mut decision = go_on(seen, ours.is_some() && named);
            decision.alarms.extend(allowed.alarm);
            decision
        }
        Err(Refusal::Never(why)) if ours.is_some() => Decision::act(
            Phase::Founding,
            Action::Abandon {
                number,
                why: why.clone(),
            },
            Reason::ClaimOvertaken(why),
        ),
        // Not in the store and no longer allowed: it may still land late, so it is put there for
        // good and then given up. A claim alone harms nobody (R1).
        Err(Refusal::Never(why)) => Decision::act(
            Phase::Founding,
            Action::RepeatClaim,
            Reason::ClaimOvertaken(why),
        ),
        Err(Refusal::NotYet(reason, alarm)) => {
            let mut decision = match (ours.is_some(), &seen.child) {
                // Bringing Qdrant up early is harmless and saves time.
                (true, Child::Stopped) => {
                    Decision::act(Phase::Founding, Action::StartFounder, reason)
                }
                _ => Decision::wait(Phase::Founding, reason),
            };
            decision.renew_lease = ours.is_some();
            decision.alarms.extend(alarm.map(|alarm| *alarm));
            decision
                .alarms
                .extend(newcomer::unreadable_for_long(settings, memory, seen));
            decision
        }
    }
}

fn go_on(seen: &Observation, claim_seen: bool) -> Decision {
    let mut decision = match (&seen.child, claim_seen) {
        (_, false) => Decision::act(Phase::Founding, Action::RepeatClaim, Reason::ClaimUnseen),
        (Child::Stopped, true) => {
            Decision::act(Phase::Founding, Action::StartFounder, Reason::QdrantStopped)
        }
        (Child::Resting(why), true) => {
            Decision::wait(Phase::Founding, Reason::Resting(why.clone()))
        }
        (Child::Running(Observed::Known(qdrant)), true) if qdrant.leads => {
            Decision::act(Phase::Founding, Action::Form, Reason::LeadsItself)
        }
        (Child::Running(_), true) => Decision::wait(Phase::Founding, Reason::QdrantStarting),
    };
    decision.renew_lease = claim_seen;
    decision
}

/// A claim is not held for ever: when it cannot be formed here, somebody else may try. Counts, and
/// says why it is enough.
fn held_too_long(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    allowed: bool,
) -> Option<String> {
    let leads = matches!(&seen.child, Child::Running(Observed::Known(qdrant)) if qdrant.leads);
    if allowed && leads {
        return None;
    }
    let (limit, what) = match allowed {
        true => (settings.loss_timeout, "Qdrant did not lead itself"),
        // The silence of a lost cluster may have to be counted once more.
        false => (settings.loss_timeout * 2, "forming was not allowed"),
    };
    memory.holding = count(memory.holding, memory.step, settings.loss_timeout * 2);
    (memory.holding >= limit).then(|| format!("{what} for {} s", limit.as_secs_f64()))
}

/// Kill first of all, then wipe: what never formed was never served. A collection there was made
/// through a port that nobody was sent to; it is kept for a person all the same.
fn give_up(seen: &Observation, why: Discard, reason: Reason) -> Decision {
    match seen.child {
        Child::Running(_) => Decision::act(Phase::Fenced, Action::Kill, reason),
        _ if seen.disk.collections => {
            Decision::wait(Phase::Fenced, reason).alarm(Alarm::RemovedWithData)
        }
        Child::Stopped | Child::Resting(_) => {
            Decision::act(Phase::Fenced, Action::Discard(why), reason)
        }
    }
}
