//! What every member keeps watching: whether each peer lives. The counts run in all members all the
//! time, so that a new steward loses no timer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use planner::heal::life::Life;
use planner::heal::names::Zone;
use planner::heal::settings::Settings;
use planner::heal::sight::{Answer, Listing, Sight, Sighting};
use planner::heal::view::Peer;
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::observed::Observed;
use planner::records::{Hello, Said, State};
use planner::settings::DNS_LIMIT;
use planner::view::{Dns, Observation, Probe};
use qdrant_api::ClusterInfo;

use crate::observe::host_of;

/// The watch over the peers of one generation.
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    sight: Sight,
    /// What a peer said of itself while it answered.
    known: BTreeMap<PeerId, Known>,
    heard: BTreeSet<PeerId>,
    blind: bool,
}

#[derive(Clone, Debug)]
struct Known {
    task: TaskId,
    zone: Option<Zone>,
    voter: bool,
    said: Said,
}

/// One round, as far as the watch needs it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The time since the last one; `None` when this task slept between them.
    pub step: Option<Duration>,
    /// Our generation.
    pub generation: &'a GenerationId,
    /// The peers that our Qdrant lists.
    pub listed: &'a ClusterInfo,
    /// What this round saw.
    pub seen: &'a Observation,
    /// Whether the store's member records were read in this round.
    pub beats: bool,
}

impl Watch {
    /// Nobody has been seen yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            sight: Sight::default(),
            known: BTreeMap::new(),
            heard: BTreeSet::new(),
            blind: false,
        }
    }

    /// Takes in one round and gives every listed peer but ourselves.
    pub fn look(&mut self, look: Look<'_>) -> BTreeMap<PeerId, Peer> {
        let us = PeerId(look.listed.peer_id);
        let mut uris: BTreeMap<PeerId, String> = BTreeMap::new();
        for (id, uri) in &look.listed.peers {
            if PeerId(*id) != us {
                let uri = uri.address().unwrap_or_default().to_owned();
                uris.insert(PeerId(*id), uri);
            }
        }
        let sightings: BTreeMap<PeerId, Sighting> = uris
            .iter()
            .map(|(peer, uri)| (*peer, sighting(&look, *peer, host_of(uri))))
            .collect();
        for hello in hellos(look.seen) {
            if let Some(peer) = hello.peer_id
                && uris.contains_key(&peer)
            {
                let known = Known {
                    task: hello.task.clone(),
                    zone: hello.zone.clone().map(Zone),
                    // One whose Qdrant cannot run still counts for the quorum.
                    voter: hello.state == State::Member
                        || self.known.get(&peer).is_some_and(|known| known.voter),
                    said: hello.said.clone(),
                };
                self.known.insert(peer, known);
            }
        }
        self.known.retain(|peer, _| uris.contains_key(peer));
        self.heard = sightings
            .iter()
            .filter(|(_, seen)| seen.pid1 == Answer::Answers)
            .map(|(peer, _)| *peer)
            .collect();
        let step = look.step.filter(|_| !std::mem::take(&mut self.blind));
        self.sight.observe(&self.settings, step, &sightings);
        uris.into_iter()
            .map(|(peer, uri)| (peer, self.peer(peer, uri)))
            .collect()
    }

    /// A round in which nobody could be looked at: we hear nobody, and what was counted has a gap.
    pub fn blind(&mut self) {
        self.heard.clear();
        self.blind = true;
    }

    /// How long until some peer's silence can be judged.
    pub fn due(&self) -> Option<Duration> {
        self.sight.due(&self.settings)
    }

    /// The peers that answered in the last look.
    pub fn hears(&self) -> BTreeSet<PeerId> {
        self.heard.clone()
    }

    fn peer(&self, peer: PeerId, uri: String) -> Peer {
        let known = self.known.get(&peer).cloned();
        Peer {
            life: self.sight.life(peer),
            // Whom nobody has asked yet may vote: the word that forbids more.
            voter: known.as_ref().is_none_or(|known| known.voter),
            uri,
            leaving: false,
            disk: None,
            task: known.as_ref().map(|known| known.task.clone()),
            zone: known.as_ref().and_then(|known| known.zone.clone()),
            said: known.map(|known| known.said).unwrap_or_default(),
        }
    }
}

/// Ourselves, in the same form.
pub fn ourselves(task: &TaskId, zone: Option<&str>, uri: &str, said: Said) -> Peer {
    Peer {
        task: Some(task.clone()),
        said,
        life: Life::Alive,
        zone: zone.map(Zone::from),
        voter: true,
        uri: uri.to_owned(),
        leaving: false,
        disk: None,
    }
}

fn hellos(seen: &Observation) -> impl Iterator<Item = &Hello> {
    seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { hello, .. } => Some(hello.as_ref()),
        _ => None,
    })
}

fn sighting(look: &Look<'_>, peer: PeerId, address: Option<IpAddr>) -> Sighting {
    let (qdrant, pid1, address_taken) = asked(look.seen, peer, address);
    Sighting {
        qdrant,
        pid1,
        beat: match (&look.seen.store, look.beats) {
            (Observed::Known(store), true) => {
                let record = store.members.values().find(|m| m.peer_id == Some(peer));
                Observed::Known(record.map(|record| record.beat))
            }
            (Observed::Known(_), false) => Observed::Unknown("not read in this round".to_owned()),
            (Observed::Unknown(why), _) => Observed::Unknown(why.clone()),
        },
        dns: match (&look.seen.dns, address) {
            (Dns::Arrived(listed), Some(address)) => Observed::Known(match listed {
                listed if listed.contains(&address) => Listing::Listed,
                listed => Listing::Absent {
                    whole: listed.len() < DNS_LIMIT,
                },
            }),
            (Dns::Failed(why), _) => Observed::Unknown(why.clone()),
            _ => Observed::Unknown("there is nothing to look up".to_owned()),
        },
        address_taken,
        heard_by: hellos(look.seen)
            .filter(|hello| hello.state == State::Member)
            .filter(|hello| hello.generation.as_ref() == Some(look.generation))
            .filter(|hello| hello.hears.contains(&peer))
            .find_map(|hello| hello.peer_id.filter(|witness| *witness != peer)),
    }
}

/// The answers of its Qdrant and its PID 1, and whether its address is somebody else's.
fn asked(
    seen: &Observation,
    peer: PeerId,
    address: Option<IpAddr>,
) -> (Answer, Answer, Observed<bool>) {
    let as_to = |answer: fn(String) -> Answer, why: &str| {
        let answer = answer(why.to_owned());
        (answer.clone(), answer, Observed::Unknown(why.to_owned()))
    };
    let unclear = |why| as_to(Answer::Unclear, why);
    let Some(address) = address else {
        return unclear("Qdrant does not know its address yet");
    };
    match seen.peers.get(&address) {
        None => unclear("it was not asked"),
        Some(Probe::Unasked(why)) => unclear(why),
        Some(Probe::Opaque(why)) => as_to(Answer::Unreadable, why),
        Some(Probe::Silent) => (Answer::Silent, Answer::Silent, Observed::Known(false)),
        Some(Probe::Task { hello, .. }) if hello.peer_id == Some(peer) => {
            let qdrant = match hello.serves {
                true => Answer::Answers,
                false => Answer::Silent,
            };
            (qdrant, Answer::Answers, Observed::Known(false))
        }
        Some(Probe::Task { .. }) => (Answer::Silent, Answer::Silent, Observed::Known(true)),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
