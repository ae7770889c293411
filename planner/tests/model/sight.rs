//! What one task sees of the world in one round: the model's `observe`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use planner::observed::Observed;
use planner::records::{FORMAT, Grant, GrantKind, Hello, Orders, Outcome, Said, Stamp, State};
use planner::view::{Child, Disk, Dns, Ended, Generation, Observation, Probe, Qdrant, Store};

use crate::world::{DnsMode, Group, Restore, SERVICE, Sabotage, Shared, Task, World, host, ip};

impl Shared {
    /// The last word of the highest formed generation, as the ledger reads it.
    pub fn ended(&self) -> Option<Ended> {
        let mut claims = self.claims.iter().rev();
        let number = claims.find_map(|(number, claim)| match self.outcomes.get(number) {
            Some(Outcome::Formed(formed)) if formed.generation.token == claim.token => Some(number),
            _ => None,
        })?;
        Some(Ended {
            end: self.ends.get(number)?.clone(),
            is_newest: self.sets,
        })
    }
}

impl World {
    pub fn observe(&self, i: usize) -> Observation {
        let task = &self.tasks[i];
        let dns = self.dns(task);
        let store = self.store_view(task);
        let mut addresses: BTreeSet<u8> = BTreeSet::new();
        if let Dns::Arrived(listed) = &dns {
            addresses.extend(listed.iter().map(|address| host(*address)));
        }
        if let Observed::Known(store) = &store {
            addresses.extend(store.members.values().map(|m| host(m.address)));
            addresses.extend(self.store.claims.values().map(|claim| uri_host(&claim.uri)));
        }
        if let (true, Some(group)) = (task.up, task.group) {
            addresses.extend(self.groups[group].voters.values());
        }
        addresses.remove(&task.address);
        let peers: BTreeMap<IpAddr, Probe> = addresses
            .into_iter()
            .map(|address| (ip(address), self.probe(task, address)))
            .collect();
        let voters = task.group.map(|group| &self.groups[group].voters);
        Observation {
            disk: Disk {
                voters: voters.into_iter().flat_map(|v| v.keys().copied()).collect(),
                commit: task.group.map(|_| task.commit),
                ..task.disk.clone()
            },
            store,
            dns,
            peers,
            child: self.child(i),
            crash_loop: None,
        }
    }

    fn dns(&self, task: &Task) -> Dns {
        let listed = match &task.dns {
            DnsMode::Fresh => self.registry(),
            DnsMode::Frozen(listed) => listed.clone(),
            DnsMode::Fails => return Dns::Failed("SERVFAIL".to_owned()),
        };
        Dns::Arrived(listed.into_iter().map(ip).collect())
    }

    /// The store as this task reads it.
    pub fn store_view(&self, task: &Task) -> Observed<Store> {
        if !task.store {
            return Observed::Unknown("it hangs".to_owned());
        }
        let files = &self.store;
        let generations = files
            .claims
            .iter()
            .map(|(number, claim)| {
                let generation = Generation {
                    claim: claim.clone(),
                    lease: files.leases.get(number).copied(),
                    outcome: files.outcomes.get(number).cloned(),
                };
                (*number, generation)
            })
            .collect();
        let mut members = files.members.clone();
        let own = members.remove(&task.id());
        if self.sabotage == Sabotage::NoBeats {
            members.values_mut().for_each(|member| member.beat = 0);
        }
        Observed::Known(Store {
            identity: files.identity.clone(),
            generations,
            members,
            own_beat_seen: own.is_some_and(|own| own.beat == task.beat),
            sets: Some(files.sets && self.sabotage != Sabotage::Blind),
            ended: files.ended(),
        })
    }

    fn probe(&self, from: &Task, address: u8) -> Probe {
        let Some(i) = self.tasks.iter().position(|t| t.address == address) else {
            return Probe::Silent;
        };
        let task = &self.tasks[i];
        if !task.awake() || task.cut || from.cut {
            return Probe::Silent;
        }
        let group = task.group.filter(|_| task.up);
        let is_member = task.state == State::Member;
        let hello = Hello {
            format: FORMAT,
            service: SERVICE.to_owned(),
            store_id: None,
            task: task.id(),
            state: task.state,
            generation: task.generation.clone(),
            aside: task.disk.aside,
            uri: task.uri(),
            leads: task.leads,
            verified: task.memory.verified,
            peers: match group {
                Some(group) if is_member => self.groups[group].voters.keys().copied().collect(),
                _ => BTreeSet::new(),
            },
            peer_id: task.disk.peer_id,
            serves: task.up,
            zone: None,
            hears: BTreeSet::new(),
            whole: task.leads && self.commits(i),
            set: None,
            said: Said {
                commit: match self.sabotage {
                    Sabotage::NoRank => Some(0),
                    _ => task.said_commit,
                },
                quorum_lost: task.quorum_lost,
                plight: task.plight.clone(),
                ..Said::default()
            },
        };
        Probe::Task {
            hello: Box::new(hello),
            proof: group
                .filter(|_| is_member)
                .and_then(|group| self.groups[group].proof.clone()),
            // A steward that lets in whoever asks.
            orders: group.map(|_| allowed(from, GrantKind::Join)),
        }
    }

    fn child(&self, i: usize) -> Child {
        let task = &self.tasks[i];
        let (true, Some(group), Some(peer_id)) = (task.up, task.group, task.disk.peer_id) else {
            return Child::Stopped;
        };
        let group = &self.groups[group];
        let commits = self.commits(i);
        let is_voter = group.voters.contains_key(&peer_id);
        let stamp = task.disk.stamp.as_ref().filter(|stamp| stamp.restore);
        let restored = match stamp {
            Some(stamp) => Observed::Known(self.restored(group, stamp)),
            None => Observed::Unknown("not asked for".to_owned()),
        };
        Child::Running(Observed::Known(Qdrant {
            peer_id,
            leads: task.leads && is_voter,
            has_leader: task.leads || commits,
            is_voter,
            peers: group.voters.keys().copied().collect(),
            consensus_stopped: !is_voter,
            ready: true,
            proof: Observed::Known(group.proof.clone()),
            commits: task.probe_commit.then_some(commits),
            commit: task.commit,
            orders: Observed::Known(allowed(task, GrantKind::Serve)),
            restored,
        }))
    }
}

impl World {
    fn restored(&self, group: &Group, stamp: &Stamp) -> bool {
        let (generation, finished) = match &group.restore {
            Restore::Nothing | Restore::Due(_) => return false,
            Restore::Begun(id) => (id, self.sabotage == Sabotage::Hasty),
            Restore::Finished(id) => (id, true),
        };
        let record = planner::records::Restore {
            format: FORMAT,
            generation: generation.clone(),
            set: None,
            collections: BTreeMap::new(),
            tries: 0,
            given_up: BTreeSet::new(),
            finished,
            accepted: None,
        };
        record.is_finished_for(stamp)
    }
}

fn allowed(task: &Task, kind: GrantKind) -> Orders {
    Orders {
        format: FORMAT,
        grant: Some(Grant {
            kind,
            task: task.id(),
        }),
        leaving: None,
    }
}

pub fn uri_host(uri: &str) -> u8 {
    let address = uri.trim_start_matches("http://").trim_end_matches(":6335");
    host(address.parse().expect("the model wrote it"))
}
