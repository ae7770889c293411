//! An empty task: join what is there, else wait for who is at work, else found.

use core::net::IpAddr;
use core::time::Duration;

use crate::claims::{self, Refusal};
use crate::decision::{Action, Alarm, Decision, Phase, Reason};
use crate::ids::{GenerationId, TaskId};
use crate::memory::{GaveUp, Memory, count};
use crate::observed::Observed;
use crate::records::{Formed, Grant, GrantKind, State};
use crate::settings::{ELECTION, Settings};
use crate::view::{Child, Observation, Probe};
use crate::witness;

/// Decides for a disk without a stamp.
pub(crate) fn decide(settings: &Settings, memory: &mut Memory, seen: &Observation) -> Decision {
    match target(settings, seen, None) {
        Target::Conflict(alarm) => Decision::wait(Phase::Blocked, Reason::SeeAlarm).alarm(alarm),
        Target::Join(formed) => join(memory, settings, seen, formed),
        Target::Nobody => without_peers(settings, memory, seen),
    }
}

/// Whom to join.
pub(crate) enum Target<'a> {
    /// A believed generation that nothing contradicts.
    Join(&'a Formed),
    /// No believed peer of the generation that is the cluster.
    Nobody,
    /// Believed peers contradict each other or the store.
    Conflict(Alarm),
}

/// Which generation the believed peers offer, held against the store. `only` restricts it.
pub(crate) fn target<'a>(
    settings: &Settings,
    seen: &'a Observation,
    only: Option<&GenerationId>,
) -> Target<'a> {
    let believed = witness::believed(settings, seen);
    let best = match witness::highest(&believed) {
        Ok(Some(best)) => best,
        Ok(None) => return Target::Nobody,
        Err(what) => return Target::Conflict(Alarm::Contradiction(what)),
    };
    if let Observed::Known(store) = &seen.store
        && claims::foreign(settings, store).is_none()
    {
        // An emptied store names nobody, and the living outrank it (R2).
        if let Some(identity) = &store.identity
            && identity.store_id != best.store_id
        {
            return Target::Conflict(Alarm::Contradiction(format!(
                "the store is of cluster {} and a peer of cluster {} answers",
                identity.store_id, best.store_id
            )));
        }
        if let Some(formed) = store.formed() {
            if formed.generation.number > best.generation.number {
                return Target::Nobody;
            }
            if formed.generation.number == best.generation.number
                && formed.generation != best.generation
            {
                return Target::Conflict(Alarm::Contradiction(format!(
                    "the store says generation {} and a peer says {}",
                    formed.generation, best.generation
                )));
            }
        }
    }
    if only.is_some_and(|only| *only != best.generation) {
        return Target::Nobody;
    }
    Target::Join(best)
}

/// Starts Qdrant with one of the believed peers of this generation as bootstrap, another at each
/// try.
pub(crate) fn join(
    memory: &mut Memory,
    settings: &Settings,
    seen: &Observation,
    formed: &Formed,
) -> Decision {
    if let Child::Resting(why) = &seen.child {
        return Decision::wait(Phase::Joining, Reason::Resting(why.clone())).state(State::Joining);
    }
    if let Err(why) = admitted(settings, seen, formed) {
        return Decision::wait(Phase::Joining, why);
    }
    let Some((via, uri, formed)) = door(memory, settings, seen, formed) else {
        return Decision::wait(Phase::Joining, Reason::NobodyLeads).state(State::Joining);
    };
    let action = Action::StartJoiner { formed, via, uri };
    Decision::act(Phase::Joining, action, Reason::JoinThrough(via)).state(State::Joining)
}

/// The believed peer of this generation to join through, another at each try: its address, its URI
/// and its proof. `None` while an election is waited for.
pub(crate) fn door(
    memory: &mut Memory,
    settings: &Settings,
    seen: &Observation,
    formed: &Formed,
) -> Option<(IpAddr, String, Formed)> {
    let believed = witness::believed(settings, seen);
    let (leaders, others): (Vec<_>, Vec<_>) = believed
        .iter()
        .filter(|(_, (_, other))| other.generation == formed.generation)
        .partition(|(_, (hello, _))| hello.leads);
    // A join that no leader takes hangs for ten seconds, so an election is waited for.
    memory.leaderless = match leaders.is_empty() {
        true => count(memory.leaderless, memory.step, ELECTION),
        false => Duration::ZERO,
    };
    let peers = match leaders.is_empty() && memory.leaderless >= ELECTION {
        true => others,
        false => leaders,
    };
    let turn = usize::from(memory.joins) % peers.len().max(1);
    let (via, (hello, formed)) = peers.get(turn)?;
    memory.joins = (memory.joins + 1) % 64;
    Some((**via, hello.uri.clone(), (*formed).clone()))
}

/// Whether the steward lets us in, as the members say: those that lead, else any. Before the first
/// formation is complete everybody comes as it likes.
fn admitted(settings: &Settings, seen: &Observation, formed: &Formed) -> Result<(), Reason> {
    let believed = witness::believed(settings, seen);
    let mut members: Vec<_> = believed
        .iter()
        .filter(|(_, (_, other))| other.generation == formed.generation)
        .collect();
    if !members.iter().any(|(_, (_, formed))| formed.complete) {
        return Ok(());
    }
    if members.iter().any(|(_, (hello, _))| hello.leads) {
        members.retain(|(_, (hello, _))| hello.leads);
    }
    let orders = members
        .iter()
        .filter_map(|(address, _)| match seen.peers.get(*address) {
            Some(Probe::Task { orders, .. }) => orders.as_ref(),
            _ => None,
        });
    let grants: Vec<Option<&Grant>> = orders.map(|orders| orders.grant.as_ref()).collect();
    let ours = |grant: &Grant| grant.kind == GrantKind::Join && grant.task == settings.task;
    match grants.first() {
        None => Err(Reason::OrdersUnknown),
        Some(_) if grants.iter().flatten().any(|grant| ours(grant)) => Ok(()),
        Some(other) => Err(Reason::NotAdmitted(other.cloned())),
    }
}

/// Nobody to join: the store decides.
pub(crate) fn without_peers(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
) -> Decision {
    let store = match &seen.store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => {
            return Decision::wait(Phase::Waiting, Reason::StoreUnknown(why.clone()));
        }
    };
    if let Some(alarm) = claims::foreign(settings, store) {
        return Decision::wait(Phase::Blocked, Reason::SeeAlarm).alarm(alarm);
    }
    let alarm = unreadable_for_long(settings, memory, seen);
    if let Some((number, claim)) = store.undecided() {
        let mut decision = watch_claim(settings, memory, number, &claim.claim.task);
        decision.alarms.extend(alarm);
        return decision;
    }
    if let Some((address, what)) = witness::unreadable(seen) {
        let reason = Reason::CannotRead(address, what.to_owned());
        let mut decision = Decision::wait(Phase::Waiting, reason);
        decision.alarms.extend(alarm);
        return decision;
    }
    let previous = store.formed().map(|formed| formed.generation.clone());
    match claims::may_found(settings, memory, seen, store, previous.as_ref()) {
        Ok(_) if let Some(gave_up) = others_first(settings, memory) => {
            let reason = Reason::OthersFirst(gave_up.why.clone());
            Decision::wait(Phase::Waiting, reason).alarm(Alarm::FoundingFails(gave_up.why.clone()))
        }
        Ok(allowed) => {
            let action = Action::Claim {
                number: store.next_number(),
                previous,
                mode: allowed.mode,
            };
            let mut decision =
                Decision::act(Phase::Founding, action, allowed.reason).state(State::Claiming);
            decision.alarms.extend(allowed.alarm);
            decision
        }
        Err(Refusal::Never(why)) => Decision::wait(Phase::Waiting, Reason::ClaimOvertaken(why)),
        Err(Refusal::NotYet(reason, alarm)) => {
            let phase = match (&reason, &alarm) {
                (_, Some(_)) => Phase::Blocked,
                (Reason::DnsNotSettled(_), _) => Phase::Discovering,
                _ => Phase::Waiting,
            };
            let mut decision = Decision::wait(phase, reason);
            decision.alarms.extend(alarm.map(|alarm| *alarm));
            decision
        }
    }
}

/// The alarm about somebody who is alive and cannot be read; for a moment this is a task that starts
/// or ends.
pub(crate) fn unreadable_for_long(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
) -> Option<Alarm> {
    let (address, what) = witness::unreadable(seen)?;
    (memory.unreadable >= settings.claim_timeout)
        .then(|| Alarm::Unreadable(format!("{address}: {what}")))
}

/// Whoever could not form its claim leaves the next one to others for a while.
fn others_first<'a>(settings: &Settings, memory: &'a Memory) -> Option<&'a GaveUp> {
    let gave_up = memory.gave_up.as_ref()?;
    (gave_up.since < settings.claim_timeout).then_some(gave_up)
}

/// R5: wait for a founder at work, abandon one that has stopped.
fn watch_claim(settings: &Settings, memory: &Memory, number: u64, task: &TaskId) -> Decision {
    // Whatever it stands upon: a claim that is not formed harms nobody.
    if memory.claim.expired(settings) {
        let why = format!(
            "its lease has not moved for {} s",
            settings.claim_timeout.as_secs_f64()
        );
        return Decision::act(
            Phase::Waiting,
            Action::Abandon { number, why },
            Reason::FounderSilent(task.clone(), number),
        );
    }
    Decision::wait(Phase::Waiting, Reason::FounderAtWork(task.clone(), number))
}
