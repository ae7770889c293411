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
use crate::ids::{GenerationId, PeerId, TaskId, Token};
use crate::memory::{Memory, Subject, Watched};
use crate::observed::Observed;
use crate::records::{Hello, Mode, Stage, Stamp, State, Succession};
use crate::settings::Settings;
use crate::standing::{Standing, awaited, hellos};
use crate::view::{Child, Dns, Observation, Probe, Store};
use crate::witness;

/// There is reason to count the silence of the others: our consensus is in doubt, we have claimed, or
/// we wait to go over.
pub(crate) fn in_question(settings: &Settings, no_commit: Duration, seen: &Observation) -> bool {
    no_commit > Duration::ZERO
        || seen.disk.stamp.as_ref().is_some_and(|stamp| {
            stamp.regroup.is_some() || awaited(settings, seen, stamp).is_some()
        })
}

/// Some survivors are before us, and each of them says that it cannot claim.
pub(crate) fn all_before_us_cannot(settings: &Settings, seen: &Observation) -> bool {
    let Ok(standing) = Standing::of(settings, seen) else {
        return false;
    };
    let survivors = standing.survivors(settings, seen);
    let before = standing.before_us(&survivors);
    let cannot = |hello: &&Hello| hello.said.plight.cannot_claim.is_some();
    !before.is_empty() && before.iter().all(cannot)
}

/// What this round says about the silence of the missing.
pub(crate) fn watched(settings: &Settings, seen: &Observation) -> Result<Watched, String> {
    let standing = Standing::of(settings, seen)?;
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
    let lost = |stamp: &Stamp| match stamp.stage {
        Stage::Founding => false,
        Stage::Joining => stamp.rejoin.is_none() && memory.no_commit >= settings.loss_timeout,
        Stage::Member if awaited(settings, seen, stamp).is_some() => {
            memory.majority.complete(settings)
        }
        Stage::Member => stamp.regroup.is_some() || memory.no_commit >= settings.loss_timeout,
    };
    seen.disk.collections && seen.disk.stamp.as_ref().is_some_and(lost)
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
        // What it would come up with again.
        Child::Running(Observed::Unknown(_)) | Child::Stopped | Child::Resting(_) => {
            seen.disk.commit
        }
    }
}

/// Why we could not claim were it our turn, for a reason of our own that may last. That others show
/// life is none: they would be alive for everybody.
pub(crate) fn own_trouble(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<String> {
    if let Observed::Unknown(why) = &seen.store {
        return Some(format!("the store cannot be read: {why}"));
    }
    if let Dns::Failed(why) = &seen.dns {
        return Some(format!("DNS: {why}"));
    }
    if let Some(gave_up) = &memory.gave_up {
        return Some(format!("a claim of ours came to nothing: {}", gave_up.why));
    }
    if stamp.stage != Stage::Member {
        return Some("this peer is not in the generation".to_owned());
    }
    Standing::of(settings, seen).err()
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
    // Others have their turn first, who wait as long for us (`most_advanced`).
    if let Some(gave_up) = &memory.gave_up
        && gave_up.since < settings.loss_timeout + settings.claim_timeout
    {
        return Err(format!("a claim of ours came to nothing: {}", gave_up.why));
    }
    let standing = Standing::of(settings, seen)?;
    let survivors = standing.survivors(settings, seen);
    nobody_commits(&standing, &survivors)?;
    let (voices, voters) = (standing.voices(&survivors), standing.voters.len());
    if voices * 2 > voters {
        return Err(format!(
            "{voices} of {voters} voters are a majority and do not commit: look at their network and disks"
        ));
    }
    most_advanced(settings, memory, &standing, &survivors)?;
    silent(settings, memory)?;
    // One answer may be partial or empty (decision 0002).
    memory.dns.settled(settings, &seen.dns)?;
    let missing = standing.missing(&survivors);
    let behind = standing.behind(&survivors);
    let others = survivors
        .iter()
        .map(|(peer, hello)| (*peer, hello.task.clone()));
    Ok(Action::Regroup {
        number: store.next_number(),
        previous: standing.generation.clone(),
        survivors: others
            .chain([(standing.peer, settings.task.clone())])
            .collect(),
        missing,
        commit: standing.commit,
        behind,
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
    if stamp.ended.is_some() {
        // We were the only voter, so nobody is missing.
        return Ok(());
    }
    let standing = Standing::of(settings, seen).map_err(Hindered::NotYet)?;
    let survivors = standing.survivors(settings, seen);
    nobody_commits(&standing, &survivors).map_err(Hindered::NotYet)?;
    silent(settings, memory).map_err(Hindered::NotYet)
}

/// The named survivors that answer and do not say that their Qdrant rests for this claim.
pub(crate) fn still_running(
    settings: &Settings,
    seen: &Observation,
    claim: &GenerationId,
) -> Vec<TaskId> {
    let Ok(standing) = Standing::of(settings, seen) else {
        return Vec::new();
    };
    let survivors = standing.survivors(settings, seen);
    survivors
        .values()
        .filter(|hello| !rests_for(hello, &claim.token))
        .map(|hello| hello.task.clone())
        .collect()
}

/// Its Qdrant is stopped, and it says that it stays so.
pub(crate) fn rests(hello: &Hello) -> bool {
    hello.state == State::HoldsData && !hello.serves
}

/// The same, for this claim.
pub(crate) fn rests_for(hello: &Hello, claim: &Token) -> bool {
    rests(hello) && hello.said.plight.rests_for.as_ref() == Some(claim)
}

/// An open claim by another survivor that names us, and its claimant: as the store says, or, where it
/// says nothing, as the claimant itself does.
pub(crate) fn claim_for_us(
    settings: &Settings,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<(TaskId, Succession)> {
    let peer = seen.disk.peer_id?;
    let upon =
        awaited(settings, seen, stamp).map_or(&stamp.generation, |formed| &formed.generation);
    let ours = stamp.regroup.as_ref().map(|mark| &mark.claim.token);
    let names_us = |succession: &Succession| {
        succession.previous == *upon
            && succession.survivors.get(&peer) == Some(&settings.task)
            && Some(&succession.claim.token) != ours
    };
    if seen.store.known().is_some() {
        let (number, open) = our_store(settings, seen, stamp)?.undecided()?;
        if open.claim.mode != Mode::Requorum {
            return None;
        }
        let succession = Succession {
            claim: GenerationId {
                number,
                token: open.claim.token.clone(),
            },
            previous: open.claim.previous.clone()?,
            survivors: open.claim.survivors.clone(),
        };
        return names_us(&succession).then(|| (open.claim.task.clone(), succession));
    }
    hellos(seen)
        .filter(|(_, hello)| hello.service == settings.service)
        .find_map(|(_, hello)| {
            let succession = hello.said.plight.claims.as_ref()?;
            names_us(succession).then(|| (hello.task.clone(), succession.clone()))
        })
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
    let upon = stamp
        .regroup
        .as_ref()
        .map_or(&stamp.generation, |mark| &mark.previous);
    match store.formed().map(|formed| &formed.generation) {
        Some(formed) if formed == upon || awaited(settings, seen, stamp).is_some() => Ok(store),
        Some(formed) => Err(format!("the highest formed generation is {formed}")),
        None => Err("the store has no record of our generation".to_owned()),
    }
}

/// Everybody who answers says that nothing commits, or rests; and stays for a while. Whoever waits to go
/// over has nothing that could commit.
fn nobody_commits(
    standing: &Standing<'_>,
    survivors: &BTreeMap<PeerId, &Hello>,
) -> Result<(), String> {
    for (peer, hello) in survivors {
        let task = &hello.task;
        if hello.said.ending {
            return Err(format!("task {task} is ending"));
        }
        let waits = hello.state == State::HoldsData && !standing.is_inside(*peer, hello);
        if !hello.said.quorum_lost && !waits && !rests(hello) {
            return Err(format!("task {task} does not say that nothing commits"));
        }
    }
    Ok(())
}

/// Nobody of the survivors is before us; or all who are have said for the whole loss time-out, in every
/// round, that they cannot claim. One that falls silent starts that anew, and the silence with it.
fn most_advanced(
    settings: &Settings,
    memory: &Memory,
    standing: &Standing<'_>,
    survivors: &BTreeMap<PeerId, &Hello>,
) -> Result<(), String> {
    for (peer, hello) in survivors {
        if standing.is_inside(*peer, hello) && !hello.said.quorum_lost {
            return Err(format!("task {} rests and does not say why", hello.task));
        }
    }
    let before = standing.before_us(survivors);
    let Some(first) = before.first() else {
        return Ok(());
    };
    if memory.deferred >= settings.loss_timeout {
        return Ok(());
    }
    let task = &first.task;
    Err(match (&first.said.plight.cannot_claim, first.said.commit) {
        (Some(why), _) => format!(
            "task {task} goes first and says that it cannot ({why}); waited for {:.0} s",
            memory.deferred.as_secs_f64()
        ),
        (None, None) => format!("task {task} does not say how far it has come"),
        (None, Some(_)) => format!("task {task} is ahead of us and goes first"),
    })
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
