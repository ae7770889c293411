//! A task whose disk belongs to a join: get in through any believed peer, keep the disk between
//! tries, and let go when the generation is over.

use core::time::Duration;

use crate::claims;
use crate::commits;
use crate::decision::{Action, Alarm, Decision, Discard, Phase, Reason};
use crate::expulsion;
use crate::fencing::{self, leave};
use crate::ids::GenerationId;
use crate::memory::Memory;
use crate::newcomer::{self, Target};
use crate::observed::Observed;
use crate::records::{Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation};
use crate::{ended, regroup, rejoin, requorum, witness};

/// Decides for a disk in stage *joining*.
pub(crate) fn decide(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Decision {
    if let Some(mark) = &stamp.rejoin {
        // What was counted belongs to the generation before: there others listed us, and may not yet.
        memory.listed = false;
        memory.unlisted = Duration::ZERO;
        memory.no_commit = Duration::ZERO;
        return fencing::superseded(settings, memory, seen, stamp)
            .unwrap_or_else(|| rejoin::decide(settings, memory, seen, stamp, mark));
    }
    commits::watch(settings, memory, seen, stamp);
    let mut decision = rules(settings, memory, seen, stamp);
    // What it has may be needed; it goes along, and is not waited for.
    decision.quorum_lost = requorum::lost(settings, memory, seen);
    if decision.quorum_lost {
        decision.plight.cannot_claim = requorum::own_trouble(settings, memory, seen, stamp);
    }
    if decision.state == State::Empty {
        // What Raft has brought here already may be the last copy (decision 0004).
        decision.state = match seen.disk.collections {
            true => State::HoldsData,
            false => State::Joining,
        };
    }
    commits::report(settings, memory, seen, stamp, &mut decision);
    decision
}

fn rules(settings: &Settings, memory: &mut Memory, seen: &Observation, stamp: &Stamp) -> Decision {
    if let Some(decision) = fencing::superseded(settings, memory, seen, stamp)
        .or_else(|| expulsion::judged(settings, memory, seen, stamp))
        .or_else(|| stuck_and_lost(settings, memory, seen, stamp))
        .or_else(|| regroup::hold_still(settings, memory, seen, stamp))
        .or_else(|| regroup::still_held(seen, stamp))
    {
        return decision;
    }
    match &seen.child {
        Child::Running(Observed::Known(qdrant)) if qdrant.is_voter => {
            match stamp.formed(&settings.service, false) {
                Some(formed) => {
                    Decision::act(Phase::Joining, Action::Settle(formed), Reason::InCluster)
                }
                None => Decision::wait(Phase::Joining, Reason::Learner),
            }
        }
        Child::Running(Observed::Known(_)) => Decision::wait(Phase::Joining, Reason::Learner),
        Child::Running(Observed::Unknown(_)) => {
            Decision::wait(Phase::Joining, Reason::QdrantStarting)
        }
        Child::Resting(why) => Decision::wait(Phase::Joining, Reason::Resting(why.clone())),
        // Raft has a term: it was in, so it needs no bootstrap (facts: section 1.5).
        Child::Stopped if seen.disk.joined => {
            Decision::act(Phase::Joining, Action::StartMember, Reason::QdrantStopped)
        }
        Child::Stopped if let Some(other) = lives_elsewhere(settings, seen, stamp) => {
            leave(seen, Reason::Superseded(other))
        }
        Child::Stopped => match newcomer::target(settings, seen, Some(&stamp.generation)) {
            Target::Conflict(alarm) => {
                Decision::wait(Phase::Blocked, Reason::SeeAlarm).alarm(alarm)
            }
            Target::Join(formed) => newcomer::join(memory, settings, seen, formed),
            Target::Nobody => lost_with_nothing(settings, memory, seen, stamp)
                .unwrap_or_else(|| nobody(settings, memory, seen, stamp)),
        },
    }
}

/// This join has brought nothing yet, and the cluster that answers is another one.
fn lives_elsewhere(settings: &Settings, seen: &Observation, stamp: &Stamp) -> Option<GenerationId> {
    let believed = witness::believed(settings, seen);
    let ours = believed
        .values()
        .any(|(_, formed)| formed.generation == stamp.generation);
    if ours || seen.disk.joined || seen.disk.collections {
        return None;
    }
    let best = witness::highest(&believed).ok().flatten()?;
    Some(best.generation.clone())
}

/// Our consensus does not commit, and the cluster is elsewhere or nowhere: decided before anything
/// starts Qdrant again.
pub(crate) fn stuck_and_lost(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    if !commits::stuck(settings, memory, seen) {
        return None;
    }
    // A generation that lives elsewhere needs no further proof: there is nothing here to lose.
    let believed = witness::believed(settings, seen);
    match believed
        .values()
        .find(|(_, formed)| formed.generation != stamp.generation)
    {
        Some((_, other)) => {
            Some(leave(seen, Reason::Superseded(other.generation.clone())).state(State::Stuck))
        }
        None => lost_with_nothing(settings, memory, seen, stamp),
    }
}

/// Our generation is gone for good by the rule of silence and this disk holds no collection: the
/// disk is freed, and the next round decides as a newcomer with the same count of silence.
fn lost_with_nothing(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    if seen.disk.collections {
        return None;
    }
    let store = fencing::our_store(settings, seen, stamp)?;
    // An emptied store has no record of it, and only a living member could write that again.
    let previous = store.formed().map(|formed| &formed.generation);
    let ours = previous.is_none_or(|formed| *formed == stamp.generation);
    // Whoever was about to join the only node when that ended.
    let ended = || ended::in_order(settings, seen, store, &stamp.generation).is_some();
    if !ours || !(memory.silence.complete(settings) || ended()) {
        return None;
    }
    let next = claims::may_found(settings, memory, seen, store, previous).ok()?;
    Some(leave(seen, next.reason).state(State::Stuck))
}

/// Qdrant is stopped and no believed peer of our generation answers.
fn nobody(settings: &Settings, memory: &mut Memory, seen: &Observation, stamp: &Stamp) -> Decision {
    // A claim upon our generation may have died half way; anyone may abandon it.
    if let Observed::Known(store) = &seen.store
        && store.undecided().is_some()
    {
        return newcomer::without_peers(settings, memory, seen);
    }
    let store_lost_it = seen
        .store
        .known()
        .is_some_and(|store| store.formed().is_none());
    if store_lost_it && !seen.disk.joined && !seen.disk.collections {
        // Nobody answers, the store knows nothing of this generation, and nothing is here.
        let reason = Reason::Unverified("the store knows no formed generation".to_owned());
        return Decision::act(Phase::Fenced, Action::Discard(Discard::Dataless), reason);
    }
    let mut decision = Decision::wait(
        Phase::Waiting,
        Reason::NobodyAnswers {
            generation: stamp.generation.clone(),
            silent: memory.silence.lasted(),
            hindrance: memory.silence.hindrance().map(str::to_owned),
        },
    );
    if seen.disk.aside {
        decision.alarms.push(Alarm::AsideKept);
    }
    decision
}
