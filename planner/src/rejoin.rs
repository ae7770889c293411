//! A survivor whose next generation is formed: it goes over with its data (R8).

use core::time::Duration;
use std::collections::BTreeSet;

use crate::decision::{Action, Decision, Phase, Reason};
use crate::fencing::leave;
use crate::ids::{GenerationId, PeerId, TaskId};
use crate::memory::{Memory, count};
use crate::newcomer::{self, Target};
use crate::observed::Observed;
use crate::records::{Formed, Rejoin, Stamp, State};
use crate::regroup::answering;
use crate::settings::Settings;
use crate::view::{Child, Observation};

/// The newer generation counts on the data of this disk. Whoever is named was seen as a member with
/// data by the claimant, and peer ids are never used again (facts: T12).
pub(crate) fn survives(formed: &Formed, seen: &Observation) -> bool {
    let named = |peer| formed.survivors.contains(&peer);
    seen.disk.collections && seen.disk.peer_id.is_some_and(named)
}

/// Decides for a member of the generation before: stop, then go over when it is our turn.
pub(crate) fn go_over(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Decision {
    let decision = match &seen.child {
        Child::Running(_) => Decision::act(
            Phase::Regrouping,
            Action::Kill,
            Reason::Superseded(formed.generation.clone()),
        ),
        Child::Stopped | Child::Resting(_) => through(settings, memory, seen, formed),
    };
    decision.state(State::HoldsData)
}

/// Decides for a disk that is going over.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
    mark: &Rejoin,
) -> Decision {
    let wait = |reason| Decision::wait(Phase::Regrouping, reason);
    let Some(formed) = stamp.formed(&settings.service, false) else {
        return wait(Reason::NobodyRegroups(stamp.generation.clone())).state(State::HoldsData);
    };
    let decision = match &seen.child {
        Child::Running(Observed::Known(qdrant)) if qdrant.consensus_stopped => leave(
            seen,
            Reason::Removed("its consensus has stopped".to_owned()),
        ),
        // The key map comes with the Raft snapshot: whoever has it is in.
        Child::Running(Observed::Known(qdrant))
            if qdrant.is_voter
                && matches!(&qdrant.proof, Observed::Known(Some(proof))
                    if proof.generation == stamp.generation) =>
        {
            let settled = settled(settings, seen, &stamp.generation);
            let action = Action::Rejoined { formed, settled };
            Decision::act(Phase::Regrouping, action, Reason::InCluster)
        }
        Child::Running(Observed::Known(_)) => wait(Reason::Learner),
        Child::Running(Observed::Unknown(_)) => wait(Reason::QdrantStarting),
        Child::Stopped if is_in(seen, mark) => Decision::act(
            Phase::Regrouping,
            Action::StartMember,
            Reason::QdrantStopped,
        ),
        Child::Resting(why) => wait(Reason::Resting(why.clone())),
        Child::Stopped => through(settings, memory, seen, &formed),
    };
    decision.state(State::HoldsData)
}

/// Raft on this disk is that of the new generation, and has a term: it was let in. Where the old
/// state cannot be told from the new one, joining begins anew.
fn is_in(seen: &Observation, mark: &Rejoin) -> bool {
    seen.disk.joined && !mark.left.is_empty() && seen.disk.voters.is_disjoint(&mark.left)
}

/// The peers that are members of this generation already, and stay: what is dropped here for a copy
/// there must not be dropped there for the one here.
fn settled(settings: &Settings, seen: &Observation, generation: &GenerationId) -> BTreeSet<PeerId> {
    answering(seen)
        .filter(|hello| {
            hello.service == settings.service
                && hello.state == State::Member
                && !hello.said.ending
                && hello.generation.as_ref() == Some(generation)
        })
        .filter_map(|hello| hello.peer_id)
        .collect()
}

fn through(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Decision {
    if let Child::Resting(why) = &seen.child
        && seen.disk.stamp.as_ref().is_some_and(|s| s.rejoin.is_some())
    {
        return Decision::wait(Phase::Regrouping, Reason::Resting(why.clone()));
    }
    if let Some(task) = queue(settings, memory, seen, formed) {
        return Decision::wait(Phase::Regrouping, Reason::SurvivorsFirst(task));
    }
    match newcomer::target(settings, seen, Some(&formed.generation)) {
        Target::Conflict(alarm) => Decision::wait(Phase::Blocked, Reason::SeeAlarm).alarm(alarm),
        Target::Nobody => Decision::wait(
            Phase::Regrouping,
            Reason::NobodyRegroups(formed.generation.clone()),
        ),
        Target::Join(believed) => match newcomer::door(memory, settings, seen, believed) {
            None => Decision::wait(Phase::Regrouping, Reason::NobodyLeads),
            Some((via, uri, formed)) => {
                let action = Action::StartRejoin { formed, via, uri };
                Decision::act(Phase::Regrouping, action, Reason::JoinThrough(via))
            }
        },
    }
}

/// One after the other, the lowest peer first: whoever goes over drops the copies that those before
/// it hold as well, and the one that rested last has missed nothing. One that cannot is not waited
/// for without end.
fn queue(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Option<TaskId> {
    let us = seen.disk.peer_id?;
    let before = answering(seen).find(|hello| {
        let of_it = hello.generation.as_ref() == Some(&formed.generation);
        let of_the_old = hello.generation == formed.previous;
        hello.service == settings.service
            && (of_the_old || (of_it && hello.state == State::HoldsData))
            && hello.peer_id.is_some_and(|peer| {
                peer < us && peer != formed.founder && formed.survivors.contains(&peer)
            })
    });
    memory.queued = match before {
        Some(_) => count(memory.queued, memory.step, settings.loss_timeout),
        None => Duration::ZERO,
    };
    before
        .filter(|_| memory.queued < settings.loss_timeout)
        .map(|hello| hello.task.clone())
}
