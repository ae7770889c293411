//! A task whose disk belongs to a formed generation: run it, tell the others, and stop at once
//! when the cluster is elsewhere (rules R1, R6, R9).

use core::time::Duration;

use crate::claims;
use crate::decision::{Action, Alarm, Decision, Discard, NotReady, Phase, Reason};
use crate::ids::GenerationId;
use crate::joiner::lost_with_nothing;
use crate::memory::Memory;
use crate::observed::Observed;
use crate::records::{Formed, Outcome, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Dns, Observation, Probe, Qdrant, Store};
use crate::witness;

/// Decides for a disk in stage *member*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    let mut decision = superseded(settings, seen, stamp)
        .or_else(|| removed(settings, memory, seen, stamp))
        .unwrap_or_else(|| belongs(settings, memory, seen, stamp));
    if decision.state == State::Empty {
        decision.state = match decision.phase {
            Phase::Member | Phase::Joining => State::Member,
            _ => State::HoldsData,
        };
    }
    decision
}

/// R1 and R9: a higher formed generation ends ours, whoever says so with proof.
pub(crate) fn superseded(
    settings: &Settings,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let ours = &stamp.generation;
    let in_store = our_store(settings, seen, stamp)
        .and_then(|store| store.formed().map(|formed| (store, formed)));
    if let Some((store, formed)) = in_store {
        if formed.generation.number == ours.number && formed.generation != *ours {
            let what = format!("the store says {}, this disk {ours}", formed.generation);
            return Some(fence(seen, Alarm::BrokenChain(what)));
        }
        if formed.generation.number > ours.number {
            return Some(match chain(store, formed, ours) {
                Ok(()) => make_way(seen, &formed.generation),
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
    if higher.generation.number > ours.number {
        // The number alone proves nothing (R9). What lies between is for the store to say.
        return Some(match &higher.previous {
            Some(previous) if previous == ours || previous.number > ours.number => {
                make_way(seen, &higher.generation)
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
fn our_store<'a>(settings: &Settings, seen: &'a Observation, stamp: &Stamp) -> Option<&'a Store> {
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
            .and_then(|g| g.outcome.as_ref())
        {
            Some(Outcome::Formed(earlier)) if earlier.generation == *id => {
                earlier.previous.as_ref()
            }
            _ => return Err(format!("the record of generation {id} is missing")),
        };
    }
    Err(format!("{} follows nothing, not {ours}", formed.generation))
}

/// Stop, keep everything, call a person.
fn fence(seen: &Observation, alarm: Alarm) -> Decision {
    let decision = match seen.child {
        Child::Running(_) => Decision::act(Phase::Fenced, Action::Kill, Reason::SeeAlarm),
        _ => Decision::wait(Phase::Fenced, Reason::SeeAlarm),
    };
    decision.state(State::HoldsData).alarm(alarm)
}

/// Stop, then free the disk for the newer generation: wiped when it holds no collection, renamed
/// aside when it does.
fn make_way(seen: &Observation, newer: &GenerationId) -> Decision {
    let reason = Reason::Superseded(newer.clone());
    let action = match seen.child {
        Child::Running(_) => Action::Kill,
        _ if seen.disk.collections => Action::SetAside {
            newer: newer.clone(),
        },
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

/// R9: our consensus has ended, or a majority of those who answer does not list us.
fn removed(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    if let Child::Running(Observed::Known(qdrant)) = &seen.child
        && qdrant.consensus_stopped
    {
        return Some(leave(
            seen,
            Reason::Removed("its consensus has stopped".to_owned()),
        ));
    }
    let us = seen.disk.peer_id?;
    let (mut with, mut without) = (1_usize, 0_usize);
    for probe in seen.peers.values() {
        if let Probe::Task { hello, .. } = probe
            && hello.service == settings.service
            && hello.generation.as_ref() == Some(&stamp.generation)
            && !hello.peers.is_empty()
        {
            match hello.peers.contains(&us) {
                true => with += 1,
                false => without += 1,
            }
        }
    }
    if without <= with {
        // Silence of all others is no word of theirs.
        memory.listed |= with > 1;
        memory.unlisted = Duration::ZERO;
        return None;
    }
    // What others say may be as old as their slowest round. Who was listed before needs less
    // patience than a newcomer, whom they have not looked at yet.
    let patience = if memory.listed {
        settings.beat * 2
    } else {
        settings.gap * 2
    };
    memory.unlisted = (memory.unlisted + memory.step).min(patience);
    (memory.unlisted >= patience).then(|| {
        let what = format!("{without} members answer and do not list peer {us}");
        leave(seen, Reason::Removed(what))
    })
}

fn belongs(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    if let Err(why) = verify(settings, memory, seen, stamp) {
        let reason = Reason::Unverified(why);
        return match seen.child {
            Child::Running(_) => Decision::act(Phase::Waiting, Action::Kill, reason),
            _ => Decision::wait(Phase::Waiting, reason),
        };
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
/// cluster's, or when the store does not answer and nobody in sight belongs to a newer one.
///
/// With neither store nor DNS there is no witness at all; whoever slept through its own loss
/// would then serve beside its successor, so it waits.
fn verify(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Result<(), String> {
    if memory.verified {
        return Ok(());
    }
    let store_speaks = our_store(settings, seen, stamp).is_some();
    let same = witness::believed(settings, seen)
        .values()
        .any(|(_, formed)| formed.generation == stamp.generation);
    match (&seen.store, &seen.dns) {
        _ if store_speaks || same => {}
        (_, Dns::Arrived(_) | Dns::NotConfigured) => {}
        (Observed::Unknown(store), Dns::Failed(dns)) => {
            return Err(format!(
                "the store does not answer ({store}), nor does DNS ({dns})"
            ));
        }
        (Observed::Known(_), Dns::Failed(dns)) => {
            return Err(format!(
                "the store is somebody else's, and DNS does not answer ({dns})"
            ));
        }
    }
    memory.verified = true;
    Ok(())
}

fn serve(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    qdrant: &Qdrant,
) -> Decision {
    let mut decision = Decision::wait(Phase::Member, Reason::InCluster);
    watch_commits(settings, memory, seen, &mut decision);
    if decision.state == State::Stuck {
        return lost_with_nothing(settings, memory, seen, stamp).unwrap_or(decision);
    }
    let members = 1 + live_members(settings, seen, &stamp.generation);
    let complete = members >= settings.ready_peers;
    if let Observed::Known(Some(proof)) = &qdrant.proof
        && proof.generation != stamp.generation
    {
        let what = format!(
            "Qdrant says {}, this disk {}",
            proof.generation, stamp.generation
        );
        return fence(seen, Alarm::BrokenChain(what));
    }
    if let Some(action) = publish(settings, stamp, qdrant, complete) {
        decision.action = action;
        decision.reason = Reason::Publish;
    } else if let Some((action, reason)) = mend_store(settings, seen, stamp, qdrant) {
        decision.action = action;
        decision.reason = reason;
    }
    if let Some(store) = seen.store.known()
        && let Some(identity) = &store.identity
        && identity.store_id != stamp.store_id
    {
        let what = format!(
            "it is {}, our cluster's is {}",
            identity.store_id, stamp.store_id
        );
        decision.alarms.push(Alarm::ForeignStore(what));
    }
    decision.ready = ready(settings, qdrant, members);
    memory.ready |= decision.ready.is_ok();
    decision
}

/// Tells the peers, through consensus, which generation this is and when its first formation is
/// complete. Only the leader writes, so that one write suffices.
fn publish(settings: &Settings, stamp: &Stamp, qdrant: &Qdrant, complete: bool) -> Option<Action> {
    let Observed::Known(proof) = &qdrant.proof else {
        return None;
    };
    let wanted = match proof {
        Some(proof) => !proof.complete && complete,
        None => true,
    };
    (wanted && qdrant.leads)
        .then(|| {
            stamp
                .formed(&settings.service, complete)
                .map(Action::Publish)
        })
        .flatten()
}

/// R2: members re-create the records of their generation in a store that lost them, and do not
/// let a claim be formed while they live.
fn mend_store(
    settings: &Settings,
    seen: &Observation,
    stamp: &Stamp,
    qdrant: &Qdrant,
) -> Option<(Action, Reason)> {
    let store = our_store(settings, seen, stamp)?;
    if claims::foreign(settings, store.identity.as_ref()).is_some() {
        return None;
    }
    let alive = qdrant.has_leader && qdrant.commits != Some(false);
    if alive && let Some((number, claim)) = store.undecided() {
        let why = format!("generation {} lives", stamp.generation);
        let reason = Reason::WeLive(claim.claim.task.clone(), number);
        return Some((Action::Abandon { number, why }, reason));
    }
    let recorded = store
        .formed()
        .is_some_and(|formed| formed.generation == stamp.generation);
    let place_taken = store
        .generations
        .get(&stamp.generation.number)
        .is_some_and(|there| {
            there.claim.token != stamp.generation.token || there.outcome.is_some()
        });
    if recorded || place_taken {
        return None;
    }
    let formed = stamp.formed(&settings.service, false)?;
    Some((Action::Recreate(formed), Reason::RecordsMissing))
}

/// Counts how long consensus has not committed, and calls a node without collections *stuck* when
/// that lasts: it then gives way like an empty one.
pub(crate) fn watch_commits(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    decision: &mut Decision,
) {
    let Child::Running(Observed::Known(qdrant)) = &seen.child else {
        return;
    };
    let answering = seen
        .peers
        .values()
        .filter(|probe| matches!(probe, Probe::Task { .. }))
        .count();
    let somebody_missing = qdrant.peers.len() > answering + 1;
    // A role proves nothing (facts: T1); a write does. It is made only when there is doubt.
    decision.probe_commit =
        !seen.disk.collections && (somebody_missing || !qdrant.has_leader || !qdrant.is_voter);
    match qdrant.commits {
        Some(true) => memory.no_commit = Duration::ZERO,
        None if qdrant.has_leader && !decision.probe_commit => {
            memory.no_commit = Duration::ZERO;
        }
        Some(false) | None if qdrant.commits == Some(false) || !qdrant.has_leader => {
            memory.no_commit = (memory.no_commit + memory.step).min(settings.loss_timeout);
        }
        _ => {}
    }
    if !seen.disk.collections && memory.no_commit >= settings.loss_timeout {
        decision.state = State::Stuck;
        decision.reason = Reason::Stuck;
    }
}

fn live_members(settings: &Settings, seen: &Observation, generation: &GenerationId) -> usize {
    seen.peers
        .values()
        .filter(|probe| {
            matches!(probe, Probe::Task { hello, .. }
                if hello.service == settings.service
                    && hello.state == State::Member
                    && hello.generation.as_ref() == Some(generation))
        })
        .count()
}

fn ready(settings: &Settings, qdrant: &Qdrant, members: usize) -> Result<(), NotReady> {
    let complete = matches!(&qdrant.proof, Observed::Known(Some(proof)) if proof.complete);
    if !complete {
        return Err(NotReady::Forming {
            members,
            wanted: settings.ready_peers,
        });
    }
    if !qdrant.is_voter {
        return Err(NotReady::Learner);
    }
    if !qdrant.ready {
        return Err(NotReady::Qdrant);
    }
    Ok(())
}
