//! A network of Rafts in memory with lost messages and cuts.

use std::collections::BTreeMap;

use super::message::{ConfChange, Message, Payload};
use super::{Conf, Raft, Role};
use crate::standin::model::Op;

struct Net {
    peers: BTreeMap<u64, Raft>,
    cut: Vec<u64>,
}

impl Net {
    fn new(n: u64) -> Self {
        let conf = Conf {
            voters: (1..=n).collect(),
            ..Conf::default()
        };
        let peer = |id| (id, Raft::new(id, 0, 0, 0, conf.clone(), Vec::new()));
        Self {
            peers: (1..=n).map(peer).collect(),
            cut: Vec::new(),
        }
    }

    fn settle(&mut self) {
        loop {
            let mut mail: Vec<(u64, Message)> = Vec::new();
            for raft in self.peers.values_mut() {
                while let Some(entry) = raft.next_committed() {
                    let change = match &entry.payload {
                        Payload::Conf(change) => Some(change.clone()),
                        _ => None,
                    };
                    raft.applied(entry.index, change.as_ref());
                }
                mail.extend(raft.take_messages());
            }
            if mail.is_empty() {
                return;
            }
            for (to, message) in mail {
                if self.cut.contains(&to) || self.cut.contains(&message.from) {
                    continue;
                }
                if let Some(raft) = self.peers.get_mut(&to) {
                    raft.step(message);
                }
            }
        }
    }

    fn ticks(&mut self, n: usize) {
        for _ in 0..n {
            self.peers.values_mut().for_each(Raft::tick);
            self.settle();
        }
    }

    fn leaders(&self) -> Vec<u64> {
        let leads = |(id, r): (&u64, &Raft)| (r.role == Role::Leader).then_some(*id);
        self.peers.iter().filter_map(leads).collect()
    }
}

fn set(key: &str) -> Payload {
    Payload::Op(Op::SetMetadata {
        key: key.into(),
        value: serde_json::json!(1),
    })
}

#[test]
fn one_leader_is_elected_and_commits() {
    let mut net = Net::new(3);
    net.ticks(60);
    let [leader] = net.leaders()[..] else {
        panic!("leaders: {:?}", net.leaders())
    };
    let follower = *net.peers.keys().find(|id| **id != leader).unwrap();
    net.peers.get_mut(&follower).unwrap().propose(set("a"));
    net.settle();
    net.ticks(3);
    for raft in net.peers.values() {
        assert_eq!(raft.commit, 2, "{raft:?}");
        assert_eq!(raft.log()[1].payload, set("a"));
    }
}

#[test]
fn an_isolated_leader_keeps_its_role_and_loses_its_tail_on_return() {
    let mut net = Net::new(3);
    net.peers.get_mut(&1).unwrap().campaign();
    net.settle();
    net.cut = vec![1];
    net.peers.get_mut(&1).unwrap().propose(set("lost"));
    net.ticks(100);
    assert_eq!(net.leaders().len(), 2, "the old leader must not notice");
    let new = *net.leaders().iter().find(|id| **id != 1).unwrap();
    net.peers.get_mut(&new).unwrap().propose(set("kept"));
    net.settle();
    net.cut.clear();
    net.ticks(100);
    assert_eq!(net.leaders().len(), 1);
    for raft in net.peers.values() {
        let has = |p: Payload| raft.log().iter().any(|e| e.payload == p);
        assert!(has(set("kept")) && !has(set("lost")), "{raft:?}");
    }
}

#[test]
fn a_second_configuration_change_is_silently_emptied() {
    let mut net = Net::new(3);
    net.peers.get_mut(&1).unwrap().campaign();
    net.settle();
    let leader = net.peers.get_mut(&1).unwrap();
    leader.propose(Payload::Conf(ConfChange::AddLearner {
        id: 8,
        uri: "a".into(),
    }));
    leader.propose(Payload::Conf(ConfChange::AddLearner {
        id: 9,
        uri: "b".into(),
    }));
    net.settle();
    let conf = &net.peers[&2].conf;
    assert!(
        conf.learners.contains(&8) && !conf.learners.contains(&9),
        "{conf:?}"
    );
}
