//! Who speaks for a cluster: the reading of probes and member records.
//!
//! Two questions with opposite burdens of proof. *Believed*: only Qdrant's own key map makes a
//! peer believed. *Gives way*: only a task that itself says that it holds nothing lets a founder
//! pass; everything else is somebody.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GenerationId, TaskId};
use crate::records::{Formed, GrantKind, Hello, Member, Stamp, State};
use crate::settings::Settings;
use crate::view::{Dns, Observation, Probe, Store};

/// A task in this state does not stand in the way of a claim that follows `formed`.
pub(crate) fn gives_way(
    state: State,
    aside: bool,
    its: Option<&GenerationId>,
    formed: Option<&GenerationId>,
) -> bool {
    !aside
        && match state {
            State::Empty | State::Claiming => true,
            State::Joining => formed.is_some() && its == formed,
            // In an emptied store its generation has no record any more.
            State::Stuck => formed.is_none() || its == formed,
            State::Member | State::HoldsData => false,
        }
}

/// [`gives_way`] of a record in the store.
pub(crate) fn member_gives_way(member: &Member, formed: Option<&GenerationId>) -> bool {
    gives_way(
        member.state,
        member.aside,
        member.generation.as_ref(),
        formed,
    )
}

fn hello_gives_way(hello: &Hello, formed: Option<&GenerationId>) -> bool {
    gives_way(hello.state, hello.aside, hello.generation.as_ref(), formed)
}

/// Why one address stands in the way of a claim; `None` when it does not.
fn holds(
    settings: &Settings,
    seen: &Observation,
    address: IpAddr,
    listed: bool,
    formed: Option<&GenerationId>,
) -> Option<String> {
    match seen.peers.get(&address) {
        // Presence in DNS without an answer may be a task that is starting, or a frozen member.
        None | Some(Probe::Silent) => {
            listed.then(|| format!("{address} is listed in DNS and does not answer"))
        }
        Some(Probe::Opaque(what) | Probe::Unasked(what)) => Some(format!("{address}: {what}")),
        Some(Probe::Task { hello, .. }) if hello.service != settings.service => {
            listed.then(|| format!("{address} belongs to service {:?}", hello.service))
        }
        Some(Probe::Task { hello, .. }) => (!hello_gives_way(hello, formed))
            .then(|| format!("{address}: task {} is {:?}", hello.task, hello.state)),
    }
}

/// Somebody who is alive and whom we cannot read: never silence, never empty.
pub(crate) fn unreadable(seen: &Observation) -> Option<(IpAddr, &str)> {
    seen.peers.iter().find_map(|(address, probe)| match probe {
        Probe::Opaque(what) | Probe::Unasked(what) => Some((*address, what.as_str())),
        _ => None,
    })
}

/// A member that says that its generation cannot commit any more.
pub(crate) fn stuck(seen: &Observation) -> Option<IpAddr> {
    seen.peers.iter().find_map(|(address, probe)| match probe {
        Probe::Task { hello, .. } if hello.state == State::Stuck => Some(*address),
        _ => None,
    })
}

/// Who, in DNS or at an address from the store, could still hold the cluster in this round.
pub(crate) fn somebody_holds(
    settings: &Settings,
    seen: &Observation,
    formed: Option<&GenerationId>,
) -> Option<String> {
    let listed = match &seen.dns {
        Dns::NotConfigured => None,
        Dns::Failed(why) => return Some(format!("DNS: {why}")),
        Dns::Arrived(addresses) => Some(addresses),
    };
    listed
        .into_iter()
        .flatten()
        .chain(seen.peers.keys())
        .filter(|address| **address != settings.address)
        .find_map(|address| {
            let listed = listed.is_some_and(|l| l.contains(address));
            holds(settings, seen, *address, listed, formed)
        })
}

/// Every one of the addresses that DNS listed is ourselves or a task that gives way and sees the
/// same store, and so does everybody who answers elsewhere. An address that only the store names
/// and that is silent is judged by its beat, not here.
///
/// *Same store* is seen from the other's beat in ours, because a store that nobody has used has
/// no name yet. A task that cannot beat (its store is broken) is therefore waited for.
pub(crate) fn all_give_way(
    settings: &Settings,
    seen: &Observation,
    store: &Store,
    listed: &BTreeSet<IpAddr>,
    formed: Option<&GenerationId>,
) -> Result<(), (IpAddr, String)> {
    for address in listed.iter().chain(seen.peers.keys()) {
        if *address == settings.address {
            continue;
        }
        let in_dns = listed.contains(address);
        if let Some(why) = holds(settings, seen, *address, in_dns, formed) {
            return Err((*address, why));
        }
        if let Some(Probe::Task { hello, .. }) = seen.peers.get(address)
            && in_dns
            && !store.members.contains_key(&hello.task)
        {
            let why = format!("task {} has not been seen in our store yet", hello.task);
            return Err((*address, why));
        }
    }
    Ok(())
}

/// The peers whose key map names a formed generation of our service, by address.
pub(crate) fn believed<'a>(
    settings: &Settings,
    seen: &'a Observation,
) -> BTreeMap<IpAddr, (&'a Hello, &'a Formed)> {
    seen.peers
        .iter()
        .filter_map(|(address, probe)| match probe {
            Probe::Task {
                hello,
                proof: Some(formed),
                ..
            } if formed.service == settings.service && hello.service == settings.service => {
                Some((*address, (hello.as_ref(), formed)))
            }
            _ => None,
        })
        .collect()
}

/// A believed member of our generation that leads, does not list our peer, and says that every
/// shard has all its copies without us.
pub fn whole_without(service: &str, seen: &Observation, stamp: &Stamp) -> Option<IpAddr> {
    let us = seen.disk.peer_id?;
    seen.peers.iter().find_map(|(address, probe)| match probe {
        Probe::Task {
            hello,
            proof: Some(proof),
            ..
        } if hello.service == service
            && proof.service == service
            && proof.generation == stamp.generation
            && hello.generation.as_ref() == Some(&stamp.generation)
            && hello.leads
            && hello.verified
            && hello.whole
            && !hello.peers.is_empty()
            && !hello.peers.contains(&us) =>
        {
            Some(*address)
        }
        _ => None,
    })
}

/// A believed member of this generation leads and has found its data to be the cluster's.
pub(crate) fn lives<'a>(
    settings: &Settings,
    seen: &'a Observation,
    generation: &GenerationId,
) -> Option<&'a Formed> {
    let mut all = believed(settings, seen).into_values();
    let found = all.find(|(hello, proof)| {
        hello.state == State::Member
            && hello.leads
            && hello.verified
            && !hello.said.quorum_lost
            && proof.generation == *generation
            && hello.generation.as_ref() == Some(generation)
    });
    found.map(|(_, proof)| proof)
}

/// A believed member of our generation that leads, and in whose key map the steward permits `task` to
/// set its data aside.
pub fn permitted(
    service: &str,
    task: &TaskId,
    seen: &Observation,
    stamp: &Stamp,
) -> Option<IpAddr> {
    let generation = &stamp.generation;
    seen.peers.iter().find_map(|(address, probe)| match probe {
        Probe::Task {
            hello,
            proof: Some(proof),
            orders: Some(orders),
        } if hello.service == service
            && proof.service == service
            && proof.generation == *generation
            && hello.generation.as_ref() == Some(generation)
            && hello.leads
            && hello.verified
            && orders
                .grant
                .as_ref()
                .is_some_and(|grant| grant.kind == GrantKind::SetAside && grant.task == *task) =>
        {
            Some(*address)
        }
        _ => None,
    })
}

/// The highest generation among believed peers, or the contradiction between them.
pub(crate) fn highest<'a>(
    believed: &BTreeMap<IpAddr, (&'a Hello, &'a Formed)>,
) -> Result<Option<&'a Formed>, String> {
    let mut best: Option<&Formed> = None;
    for (_, formed) in believed.values() {
        match best {
            Some(b) if b.store_id != formed.store_id => {
                return Err(format!(
                    "members of cluster {} and of cluster {} answer",
                    b.store_id, formed.store_id
                ));
            }
            Some(b)
                if b.generation.number == formed.generation.number
                    && b.generation != formed.generation =>
            {
                return Err(format!(
                    "members of generation {} and of generation {} answer",
                    b.generation, formed.generation
                ));
            }
            Some(b) if b.generation.number >= formed.generation.number => {}
            _ => best = Some(formed),
        }
    }
    Ok(best)
}
