//! A task whose disk belongs to a claim: bring it up, form it, or give it up (rule R4).

use crate::claims::{self, Refusal};
use crate::decision::{Action, Decision, Discard, Phase, Reason};
use crate::memory::Memory;
use crate::observed::Observed;
use crate::records::{Outcome, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation};

/// Decides for a disk in stage *founding*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    let mut decision = rules(settings, memory, seen, stamp);
    decision.state = State::Claiming;
    decision
}

fn rules(settings: &Settings, memory: &Memory, seen: &Observation, stamp: &Stamp) -> Decision {
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
            Some(Outcome::Formed(formed)) => {
                let action = Action::Settle(formed.clone());
                return Decision::act(Phase::Founding, action, Reason::FormedReadBack);
            }
            Some(Outcome::Abandoned { .. }) => {
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
    match claims::may_found(settings, memory, seen, store, stamp.previous.as_ref()) {
        Ok((_, alarm)) => {
            let mut decision = go_on(seen, ours.is_some());
            decision.alarms.extend(alarm);
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
            decision.alarms.extend(alarm);
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

/// Kill first of all, then wipe: what never formed was never served.
fn give_up(seen: &Observation, why: Discard, reason: Reason) -> Decision {
    match seen.child {
        Child::Running(_) => Decision::act(Phase::Fenced, Action::Kill, reason),
        Child::Stopped | Child::Resting(_) => {
            Decision::act(Phase::Fenced, Action::Discard(why), reason)
        }
    }
}
