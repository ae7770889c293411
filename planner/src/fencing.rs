//! What ends a generation on this disk, and how a disk makes way (rules R1, R6 and R9).

use crate::decision::{Action, Alarm, Aside, Decision, Discard, Phase, Reason};
use crate::ids::GenerationId;
use crate::memory::Memory;
use crate::records::{Formed, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation, Store};
use crate::{rejoin, witness};

/// R1 and R9: a higher formed generation ends ours, whoever says so with proof.
pub(crate) fn superseded(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let ours = &stamp.generation;
    // Our own claim, formed: nobody else's generation has come to be.
    let is_own_claim = |formed: &Formed| {
        let mark = stamp.regroup.as_ref();
        mark.is_some_and(|mark| mark.claim == formed.generation)
    };
    // We were to go over into it, and have claimed the next one for those who were as well.
    let claims_upon = |formed: &Formed| {
        let mark = stamp.regroup.as_ref();
        mark.is_some_and(|mark| mark.previous == formed.generation)
    };
    let in_store = our_store(settings, seen, stamp)
        .and_then(|store| store.formed().map(|formed| (store, formed)));
    if let Some((store, formed)) = in_store {
        if formed.generation.number == ours.number && formed.generation != *ours {
            let what = format!("the store says {}, this disk {ours}", formed.generation);
            return Some(fence(seen, Alarm::BrokenChain(what)));
        }
        if is_own_claim(formed) || claims_upon(formed) {
            return None;
        }
        if formed.generation.number > ours.number {
            return Some(match chain(store, formed, ours) {
                Ok(()) => make_way(settings, memory, seen, formed),
                Err(what) => fence(seen, Alarm::BrokenChain(what)),
            });
        }
    }
    let believed = witness::believed(settings, seen);
    let higher = believed
        .values()
        .map(|(_, formed)| *formed)
        .filter(|formed| formed.store_id == stamp.store_id)
        .max_by_key(|formed| formed.generation.number)?;
    if is_own_claim(higher) || claims_upon(higher) {
        return None;
    }
    if higher.generation.number > ours.number {
        // The number alone proves nothing (R9). What lies between is for the store to say.
        return Some(match &higher.previous {
            Some(previous) if previous == ours || previous.number > ours.number => {
                make_way(settings, memory, seen, higher)
            }
            _ => {
                let what = format!("a peer's {} does not follow {ours}", higher.generation);
                fence(seen, Alarm::BrokenChain(what))
            }
        });
    }
    if higher.generation.number == ours.number && higher.generation != *ours {
        let what = format!("a peer says {}, this disk {ours}", higher.generation);
        return Some(fence(seen, Alarm::BrokenChain(what)));
    }
    None
}

/// The store, when it can be read and is not somebody else's.
pub(crate) fn our_store<'a>(
    settings: &Settings,
    seen: &'a Observation,
    stamp: &Stamp,
) -> Option<&'a Store> {
    let store = seen.store.known()?;
    let ours = store.identity.as_ref().is_none_or(|identity| {
        identity.store_id == stamp.store_id && identity.service == settings.service
    });
    ours.then_some(store)
}

/// Does the formed generation follow from ours, claim by claim?
fn chain(store: &Store, formed: &Formed, ours: &GenerationId) -> Result<(), String> {
    let mut at = formed.previous.as_ref();
    let mut above = formed.generation.number;
    while let Some(id) = at {
        if id == ours {
            return Ok(());
        }
        // Only ever downwards: records that name each other would be followed for ever.
        if id.number <= ours.number || id.number >= above {
            return Err(format!("{} follows {id}, not {ours}", formed.generation));
        }
        above = id.number;
        at = match store
            .generations
            .get(&id.number)
            .and_then(|generation| generation.formed(id.number))
        {
            Some(earlier) if earlier.generation == *id => earlier.previous.as_ref(),
            _ => return Err(format!("the record of generation {id} is missing")),
        };
    }
    Err(format!("{} follows nothing, not {ours}", formed.generation))
}

/// Stop, keep everything, call a person.
pub(crate) fn fence(seen: &Observation, alarm: Alarm) -> Decision {
    let decision = match seen.child {
        Child::Running(_) => Decision::act(Phase::Fenced, Action::Kill, Reason::SeeAlarm),
        _ => Decision::wait(Phase::Fenced, Reason::SeeAlarm),
    };
    decision.state(State::HoldsData).alarm(alarm)
}

/// Stop, then make way for the newer generation: go over into it with the data when it counts on
/// that; else the disk is wiped when it holds no collection, and renamed aside when it does.
fn make_way(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Decision {
    if rejoin::survives(formed, seen) {
        return rejoin::go_over(settings, memory, seen, formed);
    }
    let newer = &formed.generation;
    let reason = Reason::Superseded(newer.clone());
    let action = match seen.child {
        Child::Running(_) => Action::Kill,
        _ if seen.disk.collections => Action::SetAside(Aside::Superseded {
            newer: newer.clone(),
        }),
        _ => Action::Discard(Discard::Dataless),
    };
    Decision::act(Phase::Fenced, action, reason).state(State::HoldsData)
}

/// Stop; free the disk when nothing is on it. Data is kept until the steward's grant.
pub(crate) fn leave(seen: &Observation, reason: Reason) -> Decision {
    match seen.child {
        Child::Running(_) => {
            Decision::act(Phase::Fenced, Action::Kill, reason).state(State::HoldsData)
        }
        _ if seen.disk.collections => Decision::wait(Phase::Fenced, reason)
            .state(State::HoldsData)
            .alarm(Alarm::RemovedWithData),
        _ => Decision::act(Phase::Fenced, Action::Discard(Discard::Dataless), reason)
            .state(State::HoldsData),
    }
}
