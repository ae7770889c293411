//! A generation that has ended in order ([`End`]): who may begin the next one at once, and what becomes
//! of the disk on which it ended.
//!
//! The record says that the only voter of the generation is stopped for good and that its final set holds
//! all that was acknowledged: there is nobody whose silence would have to be waited for. Everything else
//! that hinders a claim does so as before: who answers, who is listed, who beats.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::{Action, Alarm, Decision, Phase, Reason};
use crate::fencing::{fence, our_store};
use crate::ids::GenerationId;
use crate::memory::Memory;
use crate::observed::Observed;
use crate::records::{End, Stamp, State};
use crate::regroup::abandon_expired;
use crate::settings::Settings;
use crate::view::{Child, Observation, Store};
use crate::{claims, duties, witness};

/// The last word of `lost`, when nothing in this round speaks against going by it.
pub(crate) fn in_order<'a>(
    settings: &Settings,
    seen: &Observation,
    store: &'a Store,
    lost: &GenerationId,
) -> Option<&'a End> {
    let ended = store.ended.as_ref()?;
    // Who has ended for good has taken its record away. One that is there may be of somebody whom the
    // only peer had taken out of Raft; that is what silence is for.
    let beats = store.members.values().any(|member| {
        let earlier = member
            .generation
            .as_ref()
            .is_some_and(|its| its.number < lost.number);
        !earlier && !witness::member_gives_way(member, Some(lost))
    });
    let holds = ended.end.generation == *lost
        && ended.is_newest
        && store.sets == Some(true)
        && store.own_beat_seen
        && !beats
        && witness::somebody_holds(settings, seen, Some(lost)).is_none();
    holds.then_some(&ended.end)
}

/// This disk has said the last word of its generation, and its task runs again: at any moment another one
/// may begin the next generation with the final set, so what is here never runs in the old one. It goes on
/// as the next one, when its own claim to that is first.
pub(crate) fn comes_back(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let set = stamp.ended?;
    let reason = Reason::Ended(set);
    let mut decision = if matches!(seen.child, Child::Running(_)) {
        Decision::act(Phase::Waiting, Action::Kill, reason)
    } else {
        claims(settings, memory, seen, stamp)
            .unwrap_or_else(|why| Decision::wait(Phase::Waiting, why.unwrap_or(reason)))
    };
    // While it waits nobody may take it for empty, and nobody restores beside it.
    decision
        .alarms
        .extend(duties::store_alarm(settings, seen, stamp));
    Some(decision.state(State::HoldsData))
}

/// The claim to the next generation, or why not yet; `None`: because the old one has ended.
fn claims(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Result<Decision, Option<Reason>> {
    if let Observed::Unknown(why) = &seen.store {
        return Err(Some(Reason::StoreUnknown(why.clone())));
    }
    let store = our_store(settings, seen, stamp).ok_or(None)?;
    if claims::foreign(settings, store).is_some() {
        return Err(None);
    }
    if !duties::recorded(store, stamp) {
        // A store that was emptied meanwhile: what is claimed must follow something.
        let formed = stamp.formed(&settings.service, false);
        let formed = formed.filter(|_| !duties::place_taken(store, stamp));
        let action = Action::Recreate(formed.ok_or(None)?);
        return Ok(Decision::act(
            Phase::Waiting,
            action,
            Reason::RecordsMissing,
        ));
    }
    if let Some((number, open)) = store.undecided() {
        let task = open.claim.task.clone();
        return abandon_expired(settings, memory, seen, stamp)
            .ok_or(Some(Reason::FounderAtWork(task, number)));
    }
    let Some(us) = seen.disk.peer_id else {
        let what = "the disk of an ended generation has no peer".to_owned();
        return Ok(fence(seen, Alarm::BrokenChain(what)));
    };
    let action = Action::Regroup {
        number: store.next_number(),
        previous: stamp.generation.clone(),
        survivors: BTreeMap::from([(us, settings.task.clone())]),
        missing: BTreeSet::new(),
        commit: seen.disk.commit.unwrap_or_default(),
        behind: BTreeSet::new(),
    };
    let reason = stamp.ended.map_or(Reason::MayRegroup, Reason::Ended);
    Ok(Decision::act(Phase::Regrouping, action, reason))
}
