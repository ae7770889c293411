//! R8: when the survivors of a lost majority may go on as the next generation, and which of them
//! claims it. Asked before a claim, before Raft is begun anew, and before *formed*.
//!
//! Roles and leaders prove nothing here: an isolated leader keeps both for ever (facts: T1). What
//! counts is a write that does not commit, on every peer that answers, and the silence of all others.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::claims;
use crate::decision::{Action, Alarm};
use crate::fencing::our_store;
use crate::ids::{GenerationId, PeerId, TaskId};
use crate::memory::{Memory, Subject, Watched};
use crate::observed::Observed;
use crate::records::{Hello, Mode, Stage, Stamp, State};
use crate::settings::Settings;
use crate::view::{Child, Dns, Generation, Observation, Probe, Store};
use crate::witness;

/// Where we stand in our generation: from our own Qdrant, or, once we have claimed, from the mark on
/// our disk, because a Raft that was begun anew lists nobody else.
struct Standing<'a> {
    generation: &'a GenerationId,
    peer: PeerId,
    /// All peers of the generation, ourselves included.
    listed: BTreeSet<PeerId>,
    commit: u64,
    /// Whom our open claim names. They were found to have no quorum, and need not answer any more.
    named: Option<&'a BTreeMap<PeerId, TaskId>>,
    /// Our own Raft could still vote in the old generation.
    votes: bool,
}

impl<'a> Standing<'a> {
    fn of(seen: &'a Observation) -> Result<Self, String> {
        let member = |stamp: &&Stamp| stamp.stage == Stage::Member;
        let (Some(stamp), Some(peer)) =
            (seen.disk.stamp.as_ref().filter(member), seen.disk.peer_id)
        else {
            return Err("this task is no member".to_owned());
        };
        if let Some(mark) = &stamp.regroup {
            let open = seen.store.known().is_none_or(|store| {
                let there = store.generations.get(&mark.claim.number);
                there.is_none_or(|there| {
                    there.claim.token == mark.claim.token && there.outcome.is_none()
                })
            });
            let survivors = mark.survivors.keys().copied();
            return Ok(Self {
                generation: &stamp.generation,
                peer,
                listed: survivors.chain(mark.missing.iter().copied()).collect(),
                commit: mark.commit,
                named: open.then_some(&mark.survivors),
                votes: !mark.begun,
            });
        }
        match &seen.child {
            Child::Running(Observed::Known(qdrant)) if qdrant.peers.contains(&peer) => Ok(Self {
                generation: &stamp.generation,
                peer,
                listed: qdrant.peers.clone(),
                commit: qdrant.commit,
                named: None,
                votes: true,
            }),
            _ => Err("our own Qdrant does not say whom it lists".to_owned()),
        }
    }

    /// A task that holds data of our generation: one of those who would go on.
    fn is_survivor(&self, settings: &Settings, hello: &Hello) -> bool {
        let listed = hello
            .peer_id
            .is_some_and(|peer| peer != self.peer && self.listed.contains(&peer));
        listed
            && hello.service == settings.service
            && hello.generation.as_ref() == Some(self.generation)
            && matches!(hello.state, State::Member | State::HoldsData)
    }

    fn survivors<'s>(
        &self,
        settings: &Settings,
        seen: &'s Observation,
    ) -> BTreeMap<PeerId, &'s Hello> {
        hellos(seen)
            .filter(|(_, hello)| self.is_survivor(settings, hello))
            .filter_map(|(_, hello)| Some((hello.peer_id?, hello)))
            .collect()
    }

    fn missing(&self, survivors: &BTreeMap<PeerId, &Hello>) -> BTreeSet<PeerId> {
        let gone = |peer: &&PeerId| match self.named {
            Some(named) => !named.contains_key(*peer),
            None => **peer != self.peer && !survivors.contains_key(*peer),
        };
        self.listed.iter().filter(gone).copied().collect()
    }
}

fn hellos(seen: &Observation) -> impl Iterator<Item = (&IpAddr, &Hello)> {
    seen.peers
        .iter()
        .filter_map(|(address, probe)| match probe {
            Probe::Task { hello, .. } => Some((address, hello.as_ref())),
            _ => None,
        })
}

/// There is reason to count the silence of the others: our consensus is in doubt, or we have claimed.
pub(crate) fn in_question(no_commit: Duration, seen: &Observation) -> bool {
    no_commit > Duration::ZERO
        || seen
            .disk
            .stamp
            .as_ref()
            .is_some_and(|s| s.regroup.is_some())
}

/// What this round says about the silence of the missing.
pub(crate) fn watched(settings: &Settings, seen: &Observation) -> Result<Watched, String> {
    let standing = Standing::of(seen)?;
    let Observed::Known(store) = &seen.store else {
        return Err("the store cannot be read".to_owned());
    };
    let survivors = standing.survivors(settings, seen);
    let alive: BTreeSet<&TaskId> = survivors
        .values()
        .map(|hello| &hello.task)
        .chain(standing.named.into_iter().flat_map(BTreeMap::values))
        .collect();
    let beats = store
        .members
        .iter()
        .filter(|(task, _)| !alive.contains(task))
        .filter(|(_, member)| !makes_way(member.state, member.generation.as_ref(), &standing))
        .map(|(task, member)| (task.clone(), member.beat))
        .collect();
    Ok(Watched {
        subject: Subject {
            generation: Some(standing.generation.clone()),
            missing: standing.missing(&survivors),
        },
        beats,
        own_beat_seen: store.own_beat_seen,
        somebody: somebody(settings, seen, store, &standing),
    })
}

/// Nothing that it has could be needed: data set aside earlier neither.
fn makes_way(state: State, its: Option<&GenerationId>, standing: &Standing<'_>) -> bool {
    witness::gives_way(state, false, its, Some(standing.generation))
}

/// Who shows life in this round and neither survives with us nor gives way.
fn somebody(
    settings: &Settings,
    seen: &Observation,
    store: &Store,
    standing: &Standing<'_>,
) -> Option<String> {
    let listed = match &seen.dns {
        Dns::NotConfigured => None,
        Dns::Failed(why) => return Some(format!("DNS: {why}")),
        Dns::Arrived(addresses) => Some(addresses),
    };
    let named: BTreeSet<IpAddr> = standing
        .named
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter_map(|task| Some(store.members.get(task)?.address))
        .collect();
    let hinders = |address: &IpAddr| {
        let in_dns = listed.is_some_and(|listed| listed.contains(address));
        match seen.peers.get(address) {
            // DNS may list a dead survivor for a while; nobody waits for it any more.
            None | Some(Probe::Silent) => (in_dns && !named.contains(address))
                .then(|| format!("{address} is listed in DNS and does not answer")),
            Some(Probe::Opaque(what) | Probe::Unasked(what)) => Some(format!("{address}: {what}")),
            Some(Probe::Task { hello, .. }) if hello.service != settings.service => {
                in_dns.then(|| format!("{address} belongs to service {:?}", hello.service))
            }
            Some(Probe::Task { hello, .. }) if standing.is_survivor(settings, hello) => {
                let named = |named: &BTreeMap<PeerId, TaskId>| {
                    hello.peer_id.is_some_and(|peer| named.contains_key(&peer))
                };
                let back = standing.named.is_some_and(|n| !named(n));
                back.then(|| format!("{address}: task {} has come back", hello.task))
            }
            Some(Probe::Task { hello, .. }) => {
                (!makes_way(hello.state, hello.generation.as_ref(), standing))
                    .then(|| format!("{address}: task {} is {:?}", hello.task, hello.state))
            }
        }
    };
    listed
        .into_iter()
        .flatten()
        .chain(seen.peers.keys())
        .filter(|address| **address != settings.address)
        .find_map(hinders)
}

/// Our generation has lost its quorum, as far as it can be told from here.
pub(crate) fn lost(settings: &Settings, memory: &Memory, seen: &Observation) -> bool {
    let member = |stamp: &Stamp| {
        stamp.stage == Stage::Member
            && (stamp.regroup.is_some() || memory.no_commit >= settings.loss_timeout)
    };
    seen.disk.collections && seen.disk.stamp.as_ref().is_some_and(member)
}

/// The last entry that is known here to be committed in the generation that our data is of.
pub(crate) fn commit(seen: &Observation) -> Option<u64> {
    let stamp = seen.disk.stamp.as_ref();
    if let Some(mark) = stamp.and_then(|stamp| stamp.regroup.as_ref()) {
        return Some(mark.commit);
    }
    if let Some(mark) = stamp.and_then(|stamp| stamp.rejoin.as_ref()) {
        return mark.commit;
    }
    match &seen.child {
        Child::Running(Observed::Known(qdrant)) => Some(qdrant.commit),
        Child::Running(Observed::Unknown(_)) => None,
        Child::Stopped | Child::Resting(_) => seen.disk.commit,
    }
}

/// May we claim the next generation for the survivors? The claim, or what is in the way.
pub(crate) fn may_claim(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Result<Action, String> {
    if !settings.requorum {
        let what = "ENTRYPOINT_REQUORUM=wait leaves it to a person: bring the missing tasks back, set it to auto, or restore";
        return Err(what.to_owned());
    }
    if !lost(settings, memory, seen) {
        return Err("it has not been in doubt for long enough".to_owned());
    }
    let store = decided_store(settings, seen, stamp)?;
    if let Some((number, open)) = store.undecided() {
        let task = &open.claim.task;
        return Err(format!("task {task} has claimed generation {number}"));
    }
    if let Some(gave_up) = &memory.gave_up
        && gave_up.since < settings.claim_timeout
    {
        return Err(format!("a claim of ours came to nothing: {}", gave_up.why));
    }
    let standing = Standing::of(seen)?;
    let survivors = standing.survivors(settings, seen);
    nobody_commits(&survivors)?;
    let voices = usize::from(standing.votes)
        + survivors
            .values()
            .filter(|hello| hello.state == State::Member)
            .count();
    if voices * 2 > standing.listed.len() {
        return Err(format!(
            "{voices} of {} voters are a majority and do not commit: look at their network and disks",
            standing.listed.len()
        ));
    }
    most_advanced(&standing, &survivors)?;
    silent(settings, memory)?;
    // One answer may be partial or empty (decision 0002).
    memory.dns.settled(settings, &seen.dns)?;
    let missing = standing.missing(&survivors);
    let others = survivors
        .iter()
        .map(|(peer, hello)| (*peer, hello.task.clone()));
    Ok(Action::Regroup {
        number: store.next_number(),
        previous: stamp.generation.clone(),
        survivors: others
            .chain([(standing.peer, settings.task.clone())])
            .collect(),
        missing,
        commit: standing.commit,
    })
}

/// Why our own claim may not go on.
pub(crate) enum Hindered {
    /// Not in this round.
    NotYet(String),
    /// It must be given up.
    Never(String),
}

/// R8 once more, for our own open claim: nothing that was silent has shown life since, and nobody of
/// the others commits.
pub(crate) fn still_allowed(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Result<(), Hindered> {
    let store = decided_store(settings, seen, stamp).map_err(Hindered::Never)?;
    if let Some((claim, _)) = stamp.claims()
        && store.next_number() > claim.number.saturating_add(1)
    {
        return Err(Hindered::Never("a higher number is claimed".to_owned()));
    }
    let standing = Standing::of(seen).map_err(Hindered::NotYet)?;
    let survivors = standing.survivors(settings, seen);
    nobody_commits(&survivors).map_err(Hindered::NotYet)?;
    silent(settings, memory).map_err(Hindered::NotYet)
}

/// The named survivors that answer and whose Qdrant may still run.
pub(crate) fn still_running(settings: &Settings, seen: &Observation) -> Vec<TaskId> {
    let Ok(standing) = Standing::of(seen) else {
        return Vec::new();
    };
    let survivors = standing.survivors(settings, seen);
    survivors
        .values()
        .filter(|hello| !rests(hello))
        .map(|hello| hello.task.clone())
        .collect()
}

/// Its Qdrant is stopped, and it says that it stays so.
pub(crate) fn rests(hello: &Hello) -> bool {
    hello.state == State::HoldsData && !hello.serves
}

/// An open claim by another survivor that names us: its number and record.
pub(crate) fn claim_for_us<'a>(
    settings: &Settings,
    seen: &'a Observation,
    stamp: &Stamp,
) -> Option<(u64, &'a Generation)> {
    let store = our_store(settings, seen, stamp)?;
    let (number, open) = store.undecided()?;
    let us = open.claim.survivors.get(&seen.disk.peer_id?)?;
    let ours = stamp
        .regroup
        .as_ref()
        .is_some_and(|mark| mark.claim.token == open.claim.token);
    let names_us = open.claim.mode == Mode::Requorum
        && open.claim.previous.as_ref() == Some(&stamp.generation)
        && *us == settings.task;
    (names_us && !ours).then_some((number, open))
}

/// The alarm of everybody who takes part.
pub(crate) fn alarm<'a>(
    lost: &GenerationId,
    survivors: impl IntoIterator<Item = &'a TaskId>,
    missing: usize,
) -> Alarm {
    Alarm::Regrouping {
        lost: lost.clone(),
        survivors: survivors.into_iter().cloned().collect(),
        missing,
    }
}

/// The store, when it says that our generation is the highest formed one.
fn decided_store<'a>(
    settings: &Settings,
    seen: &'a Observation,
    stamp: &Stamp,
) -> Result<&'a Store, String> {
    let store = match &seen.store {
        Observed::Known(store) => store,
        Observed::Unknown(why) => return Err(format!("the store cannot be read: {why}")),
    };
    let named = store
        .identity
        .as_ref()
        .is_some_and(|identity| identity.store_id == stamp.store_id);
    if !named || claims::foreign(settings, store).is_some() {
        return Err("the store is not that of our generation".to_owned());
    }
    match store.formed().map(|formed| &formed.generation) {
        Some(formed) if *formed == stamp.generation => Ok(store),
        Some(formed) => Err(format!("the highest formed generation is {formed}")),
        None => Err("the store has no record of our generation".to_owned()),
    }
}

/// Everybody who answers says that nothing commits, or rests; and stays for a while.
fn nobody_commits(survivors: &BTreeMap<PeerId, &Hello>) -> Result<(), String> {
    for hello in survivors.values() {
        if hello.said.ending {
            return Err(format!("task {} is ending", hello.task));
        }
        if !hello.said.quorum_lost && !rests(hello) {
            return Err(format!(
                "task {} does not say that nothing commits",
                hello.task
            ));
        }
    }
    Ok(())
}

/// Nobody of the survivors knows more committed entries than we do; among equals the lowest peer.
fn most_advanced(
    standing: &Standing<'_>,
    survivors: &BTreeMap<PeerId, &Hello>,
) -> Result<(), String> {
    for (peer, hello) in survivors {
        let task = &hello.task;
        if !hello.said.quorum_lost {
            return Err(format!("task {task} rests and does not say why"));
        }
        let Some(commit) = hello.said.commit else {
            return Err(format!("task {task} does not say how far it has come"));
        };
        let ahead = (commit, std::cmp::Reverse(*peer));
        if ahead > (standing.commit, std::cmp::Reverse(standing.peer)) {
            return Err(format!("task {task} is ahead of us and goes first"));
        }
    }
    Ok(())
}

fn silent(settings: &Settings, memory: &Memory) -> Result<(), String> {
    if memory.majority.complete(settings) {
        return Ok(());
    }
    let lasted = memory.majority.lasted().as_secs_f64();
    Err(match memory.majority.hindrance() {
        Some(what) => format!("the missing are not silent: {what}"),
        None => format!("the missing have been silent for {lasted:.0} s"),
    })
}
