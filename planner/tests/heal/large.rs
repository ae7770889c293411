//! A large cluster for the timed test and the benchmark: 1,000 nodes, 10,002 copies of shards, and
//! what can befall it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::life::{Life, Witness};
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::{ClusterView, Collection, Copy, CopyState, Disk, Peer, Shard};
use planner::ids::PeerId;
use planner::observed::Observed;

/// How many nodes there are.
pub const NODES: u64 = 1000;
/// 2,000 collections of one shard and one of 1,334: 3,334 shards with three copies each.
const SMALL: usize = 2000;
const LARGE: u32 = 1334;

/// Shard n lies on three neighbours, each in a zone of its own. The last node is empty.
pub fn large() -> ClusterView {
    let zones = ["a", "b", "c"];
    let peers = (1..=NODES).map(|id| {
        let peer = Peer {
            life: Life::Alive,
            zone: Some(zones[(id % 3) as usize].into()),
            voter: true,
            uri: format!("http://10.0.0.{id}:6335/"),
            leaving: false,
            disk: Some(Disk {
                free: 1 << 40,
                reserve: 1 << 30,
            }),
            task: None,
            said: Default::default(),
        };
        (PeerId(id), peer)
    });
    let mut next = 0;
    let mut shard = || {
        let holders = (0..3).map(|n| PeerId((next + n) % (NODES - 1) + 1));
        let copy = Copy {
            state: CopyState::Active,
            bytes: Some(1 << 20),
            unwell: Duration::ZERO,
        };
        let copies = holders.map(|peer| (peer, copy.clone())).collect();
        next += 3;
        Shard { key: None, copies }
    };
    let mut collection = |shards: u32| {
        Observed::Known(Collection {
            factor: 3,
            resharding: false,
            shards: (0..shards).map(|id| (ShardId(id), shard())).collect(),
            transfers: Vec::new(),
        })
    };
    let mut collections = BTreeMap::new();
    for number in 0..SMALL {
        let name = format!("small-{number:04}");
        collections.insert(name.as_str().into(), collection(1));
    }
    collections.insert("large".into(), collection(LARGE));
    ClusterView {
        us: PeerId(1),
        commits: Observed::Known(true),
        paused: None,
        wanted_tasks: Some(NODES as usize),
        peers: peers.collect(),
        collections: Observed::Known(collections),
        age: Duration::ZERO,
        losses: BTreeSet::new(),
        service: Default::default(),
    }
}

/// Everything is where it belongs: nothing is to be done.
pub fn at_rest() -> ClusterView {
    let mut view = large();
    view.peers.remove(&PeerId(NODES));
    view
}

/// So many nodes are gone.
pub fn kill(view: &mut ClusterView, count: u64) {
    for id in 0..count {
        if let Some(peer) = view.peers.get_mut(&PeerId(id * 7 + 2)) {
            peer.life = Life::Gone {
                witnesses: [Witness::BeatStopped].into(),
                lasted: Duration::ZERO,
            };
        }
    }
}

/// The gone are out, every shard lacks a copy, and nobody has room: all are tried everywhere.
pub fn starve(view: &mut ClusterView) {
    for peer in view.peers.values_mut() {
        peer.disk = Some(Disk {
            free: 0,
            reserve: 1,
        });
    }
    view.peers.retain(|_, peer| peer.life == Life::Alive);
    let peers = &view.peers;
    for shard in shards(&mut view.collections) {
        shard.copies.retain(|peer, _| peers.contains_key(peer));
        shard.copies.pop_first();
    }
}

/// Every copy lies on the first third of the nodes, and all in one zone: each is to be moved.
pub fn unbalance(view: &mut ClusterView) {
    let crowded = NODES / 9;
    for shard in shards(&mut view.collections) {
        let moved = std::mem::take(&mut shard.copies).into_iter();
        let moved = moved.map(|(peer, copy)| (PeerId(peer.0 % crowded * 3 + 3), copy));
        shard.copies = moved.collect();
    }
}

fn shards(
    collections: &mut Observed<BTreeMap<CollectionName, Observed<Collection>>>,
) -> impl Iterator<Item = &mut Shard> {
    let Observed::Known(all) = collections else {
        panic!("the collections are known");
    };
    all.values_mut().flat_map(|there| {
        let Observed::Known(there) = there else {
            panic!("each collection is known");
        };
        there.shards.values_mut()
    })
}
