//! What the steward sees of the model cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use planner::heal::life::Life;
use planner::heal::names::{ShardId, Zone};
use planner::heal::sight::{Answer, Listing, Sighting};
use planner::heal::view::Outsider;
use planner::heal::view::{
    ClusterView, Collection, Copy, CopyState, Peer, Service, Shard, Transfer,
};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::{Plight, Said, State};

use crate::sim::{Sabotage, Sim, SimCollection, SimPeer, Task, task_of};

fn outsider(zone: Option<Zone>, revision: &str) -> Outsider {
    Outsider {
        state: State::Empty,
        zone,
        peer_id: None,
        said: Said {
            revision: Some(revision.to_owned()),
            ..Said::default()
        },
    }
}

impl Sim {
    pub fn sightings(&self) -> BTreeMap<PeerId, Sighting> {
        let peers = self.peers.iter();
        peers
            .map(|(peer, there)| (*peer, self.sighting(*peer, there)))
            .collect()
    }

    fn sighting(&self, peer: PeerId, there: &SimPeer) -> Sighting {
        let taken = self.peers.iter().any(|(other, task)| {
            *other != peer && task.address == there.address && other.0 > peer.0
        });
        let answer = |answers: bool| match (&there.unclear, answers && !taken) {
            (Some(why), _) => Answer::Unclear(why.clone()),
            (None, true) => Answer::Answers,
            (None, false) => Answer::Silent,
        };
        let running = !matches!(there.task, Task::Dead);
        let listed = |p: &SimPeer| p.task != Task::Dead || self.now < p.silent_since + self.dns_lag;
        let answers = self.peers.values().filter(|p| listed(p)).count();
        Sighting {
            qdrant: answer(there.task == Task::Up),
            pid1: answer(matches!(there.task, Task::Up | Task::Hung)),
            beat: match self.store {
                true => Observed::Known(Some(there.beat)),
                false => Observed::Unknown("the store does not answer".to_owned()),
            },
            dns: match self.dns {
                true if listed(there) && (running || !taken) => Observed::Known(Listing::Listed),
                true => Observed::Known(Listing::Absent { whole: answers < 8 }),
                false => Observed::Unknown("DNS does not answer".to_owned()),
            },
            address_taken: Observed::Known(taken),
            heard_by: there.heard_by,
        }
    }

    /// The view of the steward beside this peer.
    pub fn view(&self, us: PeerId) -> ClusterView {
        let peers = self.peers.iter().map(|(peer, there)| {
            let seen = Peer {
                life: self.seen_life(*peer),
                zone: there.zone.clone(),
                voter: there.voter,
                uri: format!("http://10.0.0.{}:6335/", there.address),
                leaving: there.leaving,
                disk: there.disk,
                task: Some(task_of(*peer)),
                said: Said {
                    ending: there.ending,
                    ready: there.ready,
                    plight: Plight {
                        cannot_run: there.cannot_run.then(|| "exit 101".to_owned()),
                        ..Plight::default()
                    },
                    revision: Some(there.revision.clone()),
                    created: Some(peer.0),
                    protection: self.protection(*peer),
                    ..Said::default()
                },
            };
            (*peer, seen)
        });
        let omitted = self.sabotage == Sabotage::UnreadOmitted;
        let collections = self.collections.iter();
        let collections = collections.filter(|(_, there)| there.readable || !omitted);
        let collections = collections.map(|(name, there)| {
            let seen = match there.readable {
                true => Observed::Known(self.seen(there)),
                false => Observed::Unknown("timed out".to_owned()),
            };
            (name.clone(), seen)
        });
        ClusterView {
            us,
            commits: Observed::Known(self.commits()),
            paused: self.paused.clone(),
            wanted_tasks: self.wanted_tasks,
            peers: peers.collect(),
            collections: Observed::Known(collections.collect()),
            age: Duration::ZERO,
            losses: self.losses.clone(),
            service: Service {
                complete: self.complete,
                told: true,
                wanted_revision: self.wanted_revision.clone(),
                orders: self.orders.clone(),
                outside: self
                    .outside
                    .iter()
                    .map(|(id, zone)| (task_of(*id), outsider(zone.clone(), &self.revision)))
                    .collect(),
                survivors: self.survivors.clone(),
                unlisted: self
                    .unlisted
                    .iter()
                    .map(|(peer, since)| (*peer, self.now.saturating_sub(*since)))
                    .collect(),
                ..Service::default()
            },
        }
    }

    fn seen_life(&self, peer: PeerId) -> Life {
        match self.sight.life(peer) {
            Life::Gone { witnesses, .. } if self.sabotage == Sabotage::Impatient => Life::Gone {
                witnesses,
                lasted: Duration::from_secs(24 * 60 * 60),
            },
            life => life,
        }
    }

    fn seen(&self, there: &SimCollection) -> Collection {
        let shards = there.shards.iter().map(|(id, copies)| {
            let copies = copies.iter().map(|(peer, copy)| {
                let seen = Copy {
                    state: match self.sabotage {
                        Sabotage::Rosy => CopyState::Active,
                        _ => CopyState::parse(copy.state),
                    },
                    bytes: there.bytes,
                    unwell: match copy.is_active() {
                        true => Duration::ZERO,
                        false => self.now.saturating_sub(copy.since),
                    },
                };
                (*peer, seen)
            });
            let shard = Shard {
                key: None,
                copies: copies.collect(),
            };
            (ShardId(id.0), shard)
        });
        let hidden = self.sabotage == Sabotage::TransfersHidden;
        let transfers = there.transfers.iter().filter(|_| !hidden);
        let transfers = transfers.map(|transfer| Transfer {
            shard: transfer.shard,
            from: transfer.from,
            to: transfer.to,
            sync: transfer.sync,
            stalled: self.now.saturating_sub(transfer.moved),
        });
        Collection {
            factor: there.factor,
            resharding: there.resharding,
            shards: shards.collect(),
            transfers: transfers.collect(),
        }
    }
}
