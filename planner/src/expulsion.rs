//! R9: the cluster goes on without this peer.
//!
//! A verdict is remembered, because the evidence ends with the kill: a stopped Qdrant says
//! nothing, and a cluster of two has one voice left.

use core::time::Duration;

use crate::decision::{Action, Alarm, Aside, Decision, Phase, Reason};
use crate::fencing::{fence, leave};
use crate::ids::PeerId;
use crate::memory::{Memory, Verdict, count};
use crate::observed::Observed;
use crate::records::{Hello, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};
use crate::{aside, witness};

/// A consensus thread that ends so often without a calm time between was not stopped by chance.
const STOPS: u8 = 2;

/// Why this disk must not run again, when something says so.
pub(crate) fn judged(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    if memory.verdict.is_none() {
        memory.verdict = unlisted(settings, memory, seen, stamp);
    }
    let stopped = consensus_stopped(settings, memory, seen);
    match &memory.verdict {
        Some(Verdict::Removed(why)) => Some(part(settings, seen, stamp, why)),
        Some(Verdict::Stopped(why)) => Some(broke(settings, seen, stamp, why)),
        Some(Verdict::Broken(what)) => Some(fence(seen, Alarm::BrokenChain(what.clone()))),
        None => stopped,
    }
}

/// The same for a disk that is going over, which others need not list yet.
pub(crate) fn ended(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Decision> {
    let stopped = consensus_stopped(settings, memory, seen);
    match &memory.verdict {
        Some(Verdict::Removed(why) | Verdict::Stopped(why)) => {
            Some(broke(settings, seen, stamp, why))
        }
        _ => stopped,
    }
}

/// The cluster goes on without us: stop, and begin anew once it needs nothing of what is here.
fn part(settings: &Settings, seen: &Observation, stamp: &Stamp, why: &str) -> Decision {
    let reason = Reason::Removed(why.to_owned());
    let stopped = !matches!(seen.child, Child::Running(_));
    match witness::whole_without(&settings.service, seen, stamp) {
        Some(leader) if stopped && seen.disk.collections => {
            let action = Action::SetAside(Aside::Removed { leader });
            Decision::act(Phase::Fenced, action, reason).state(State::HoldsData)
        }
        _ => leave(seen, reason),
    }
}

/// The same, where it may be listed still, because consensus broke and was not ended: only the steward
/// can tell what else there is of the data here.
fn broke(settings: &Settings, seen: &Observation, stamp: &Stamp, why: &str) -> Decision {
    let decision = part(settings, seen, stamp, why);
    match decision.action {
        Action::SetAside(_) => decision,
        _ if !seen.disk.collections => decision,
        _ => aside::instead(settings, seen, stamp, why.to_owned(), decision),
    }
}

/// Consensus has ended in our Qdrant: because we were removed, or because it failed, which a start
/// may cure. The second time in a row counts as removed.
fn consensus_stopped(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
) -> Option<Decision> {
    let Child::Running(Observed::Known(qdrant)) = &seen.child else {
        return None;
    };
    if !qdrant.consensus_stopped {
        memory.calm = match qdrant.has_leader && qdrant.is_voter {
            true => count(memory.calm, memory.step, settings.loss_timeout),
            false => Duration::ZERO,
        };
        if memory.calm >= settings.loss_timeout {
            memory.consensus_stops = 0;
        }
        return None;
    }
    memory.calm = Duration::ZERO;
    memory.consensus_stops = memory.consensus_stops.saturating_add(1).min(STOPS);
    let why = "its consensus has stopped".to_owned();
    if memory.consensus_stops >= STOPS && memory.verdict.is_none() {
        memory.verdict = Some(Verdict::Stopped(why.clone()));
    }
    Some(leave(seen, Reason::Removed(why)))
}

/// The members that answer do not list us, and are a majority of those whom they list.
fn unlisted(
    settings: &Settings,
    memory: &mut Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<Verdict> {
    // A peer has its id before the others have let it in; joining may hang for ten seconds.
    let us = seen.disk.peer_id.filter(|_| seen.disk.joined)?;
    let voices = voices(settings, seen, stamp, us);
    if !voices.go_on_without_us() {
        // Silence of all others is no word of theirs.
        memory.listed |= !voices.with.is_empty();
        memory.unlisted = Duration::ZERO;
        return None;
    }
    // What others say may be as old as their slowest round. Who was listed before needs less
    // patience than a newcomer, whom they have not looked at yet.
    let patience = if memory.was_listed(seen) {
        settings.beat * 2
    } else {
        settings.gap * 2
    };
    memory.unlisted = count(memory.unlisted, memory.step, patience);
    (memory.unlisted >= patience).then(|| {
        let others = voices.without.len();
        Verdict::Removed(format!("{others} members answer and do not list peer {us}"))
    })
}

/// The members of our generation that answer and say whom their Qdrant lists.
pub(crate) struct Voices<'a> {
    /// Those who list us.
    pub(crate) with: Vec<&'a Hello>,
    /// Those who do not.
    pub(crate) without: Vec<&'a Hello>,
}

impl Voices<'_> {
    /// Those who do not list us are a majority of those whom they list.
    pub(crate) fn go_on_without_us(&self) -> bool {
        let voters = self.without.iter().map(|hello| hello.peers.len()).max();
        let majority = voters.is_some_and(|voters| self.without.len() * 2 > voters);
        majority && self.without.len() > self.with.len()
    }
}

/// What is said of our peer.
pub(crate) fn voices<'a>(
    settings: &Settings,
    seen: &'a Observation,
    stamp: &Stamp,
    us: PeerId,
) -> Voices<'a> {
    let hellos = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { hello, .. } => Some(hello.as_ref()),
        _ => None,
    });
    let (with, without) = hellos
        .filter(|hello| {
            hello.service == settings.service
                && hello.generation.as_ref() == Some(&stamp.generation)
                && !hello.peers.is_empty()
        })
        .partition(|hello| hello.peers.contains(&us));
    Voices { with, without }
}
