//! A disk with whose data Qdrant cannot run. The data is set aside only by the steward's permission,
//! one task at a time, so that no common cause can make all tasks throw their disks away: a poisoned
//! entry, a bad image, too little memory.

use crate::decision::{Action, Alarm, Aside, Decision, Phase, Reason};
use crate::records::{Grant, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};
use crate::witness;

/// Sets the data aside when the steward permits it; else does what would be done anyway, asks for the
/// permission, and calls for a person.
pub(crate) fn instead(
    settings: &Settings,
    seen: &Observation,
    stamp: &Stamp,
    why: String,
    otherwise: Decision,
) -> Decision {
    let permitted = witness::permitted(&settings.service, &settings.task, seen, stamp);
    if let Some(leader) = permitted
        && !matches!(seen.child, Child::Running(_))
        && seen.disk.collections
    {
        let action = Action::SetAside(Aside::Permitted { leader });
        let decision = Decision::act(Phase::Fenced, action, Reason::MaySetAside);
        return asks(decision, why);
    }
    let reason = Reason::NotSetAside(why.clone(), out(seen));
    let decision = Decision {
        reason,
        ..otherwise
    };
    asks(decision, why.clone()).alarm(Alarm::CannotRun(why))
}

/// Said until it is done: what is asked for no more is taken back.
fn asks(mut decision: Decision, why: String) -> Decision {
    decision.plight.cannot_run = Some(why);
    decision.state(State::HoldsData)
}

/// The permission that is out, as far as anybody says.
fn out(seen: &Observation) -> Option<Grant> {
    seen.peers.values().find_map(|probe| match probe {
        Probe::Task { orders, .. } => orders.as_ref()?.grant.clone(),
        _ => None,
    })
}
