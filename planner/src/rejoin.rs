//! A survivor whose next generation is formed: it goes over with its data (R8).

use core::time::Duration;
use std::collections::BTreeSet;

use crate::decision::{Action, Alarm, Decision, Phase, Reason};
use crate::destruction::entered;
use crate::expulsion;
use crate::fencing::fence;
use crate::ids::{PeerId, TaskId};
use crate::memory::{Memory, count};
use crate::newcomer::{self, Target};
use crate::observed::Observed;
use crate::records::{Formed, Hello, Rejoin, Stamp, State};
use crate::regroup::answering;
use crate::requorum;
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
    // What broke in the old generation is no verdict on us in the new one.
    memory.verdict = None;
    memory.consensus_stops = 0;
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
    if !survives(&formed, seen) {
        // To try again and again would end as often.
        let what = format!(
            "{} does not count on the peer on this disk",
            formed.generation
        );
        return fence(seen, Alarm::BrokenChain(what));
    }
    if let Some(decision) = expulsion::ended(settings, memory, seen, stamp) {
        return decision;
    }
    let claimed = requorum::claim_for_us(settings, seen, stamp).is_some();
    let mut decision = match &seen.child {
        // It tries to get into a generation whose survivors go on without it.
        Child::Running(Observed::Unknown(_)) if claimed => {
            Decision::act(Phase::Regrouping, Action::Kill, Reason::QdrantStarting)
        }
        // The key map comes with the Raft snapshot: whoever has it is in.
        Child::Running(Observed::Known(qdrant))
            if qdrant.is_voter
                && matches!(&qdrant.proof, Observed::Known(Some(proof))
                    if proof.generation == stamp.generation) =>
        {
            match settled(settings, memory, seen, &formed) {
                Some(settled) => {
                    let action = Action::Rejoined { formed, settled };
                    Decision::act(Phase::Regrouping, action, Reason::InCluster)
                }
                None => wait(Reason::InCluster),
            }
        }
        Child::Running(Observed::Known(_)) => wait(Reason::Learner),
        Child::Running(Observed::Unknown(_)) => wait(Reason::QdrantStarting),
        Child::Stopped if entered(&seen.disk, &formed.generation, mark) => Decision::act(
            Phase::Regrouping,
            Action::StartMember,
            Reason::QdrantStopped,
        ),
        Child::Resting(why) => wait(Reason::Resting(why.clone())),
        Child::Stopped => through(settings, memory, seen, &formed),
    };
    let why = "Raft was begun anew on this disk to go over".to_owned();
    if memory.adrift >= settings.loss_timeout
        && matches!(
            decision.reason,
            Reason::NobodyRegroups(_) | Reason::NobodyLeads
        )
    {
        let (generation, why) = (stamp.generation.clone(), why.clone());
        decision.alarms.push(Alarm::HeirsWait { generation, why });
    }
    decision.plight.cannot_claim = Some(why);
    decision.state(State::HoldsData)
}

/// The peers that are members of this generation already, and stay: what is dropped here for a copy
/// there must not be dropped there for the one here. Only those whose copies have missed nothing that
/// ours have, and only once the same ones have answered for two beats. `None` until then.
fn settled(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Option<BTreeSet<PeerId>> {
    let us = seen.disk.peer_id?;
    let now: BTreeSet<PeerId> = answering(seen)
        .filter(|hello| is_member(settings, hello, formed) && !hello.said.ending)
        .filter_map(|hello| hello.peer_id)
        .filter(|peer| newer(formed, *peer, us))
        .collect();
    let patience = settings.beat * 2;
    let lasted = match memory.settled.as_ref() {
        Some((before, lasted)) if *before == now => count(*lasted, memory.step, patience),
        _ => Duration::ZERO,
    };
    memory.settled = Some((now.clone(), lasted));
    (lasted >= patience).then_some(now)
}

fn is_member(settings: &Settings, hello: &Hello, formed: &Formed) -> bool {
    hello.service == settings.service
        && hello.state == State::Member
        && hello.generation.as_ref() == Some(&formed.generation)
}

/// What this peer brought has every write that ours has: it rested after us (decision 0013). Of two that
/// had stood still since earlier claims neither is known to.
fn newer(formed: &Formed, peer: PeerId, us: PeerId) -> bool {
    let behind = |peer| formed.behind.contains(&peer);
    match (behind(peer), behind(us)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => peer == formed.founder || peer < us || !formed.survivors.contains(&peer),
    }
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
    if let Some(decision) = held(settings, seen) {
        return decision;
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

/// Another survivor has claimed the generation after this one, and counts on us.
fn held(settings: &Settings, seen: &Observation) -> Option<Decision> {
    let stamp = seen.disk.stamp.as_ref()?;
    let (task, succession) = requorum::claim_for_us(settings, seen, stamp)?;
    let reason = Reason::HoldsStill(task, succession.claim.number);
    let mut decision = Decision::wait(Phase::Regrouping, reason);
    decision.plight.rests_for = Some(succession.claim.token);
    Some(decision)
}

/// One after the other, who is not behind and then the lowest peer first: whoever goes over drops the
/// copies that those before it hold as well, and the one that rested last has missed nothing. One that
/// cannot, or is silent, is not waited for without end.
fn queue(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    formed: &Formed,
) -> Option<TaskId> {
    let us = seen.disk.peer_id?;
    let turn = |peer: PeerId| (formed.behind.contains(&peer), peer);
    let before = answering(seen).find(|hello| {
        hello.service == settings.service
            && hello.state == State::HoldsData
            && hello.peer_id.is_some_and(|peer| {
                peer != formed.founder && formed.survivors.contains(&peer) && turn(peer) < turn(us)
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
