//! What holds for every cluster, however strange: planning is deterministic and comes to an end,
//! each action lowers the measure, and zones are spread at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::guard;
use planner::heal::life::{Doubt, Life, Witness};
use planner::heal::measure::measure;
use planner::heal::memory::Memory;
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::plan;
use planner::heal::settings::Settings;
use planner::heal::view::Outsider;
use planner::heal::view::{
    ClusterView, Collection, Copy, CopyState, Disk, Peer, Service, Shard, Transfer,
};
use planner::ids::{PeerId, TaskId};
use planner::observed::Observed;
use planner::records::{GrantKind, Said, State};
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(24 * 60 * 60);

fn settings() -> Settings {
    Settings {
        wanted_factor: Some(2),
        balance_bytes: 10,
        ..Settings::default()
    }
}

/// The view once this action has come to its good end and nothing else has happened.
fn complete(view: &mut ClusterView, action: &Action) {
    match action {
        Action::AbortTransfer { shard, from, to } => {
            let there = collection(view, &shard.collection);
            let mut transfers = there.transfers.iter();
            let is = |t: &Transfer| t.shard == shard.shard && t.from == *from && t.to == *to;
            let index = transfers.position(is).unwrap();
            let transfer = there.transfers.remove(index);
            let copies = &mut there.shards.get_mut(&shard.shard).unwrap().copies;
            match transfer.sync {
                true => drop(copies.insert(*to, copy(false, Some(1), Duration::ZERO))),
                false => drop(copies.remove(to)),
            }
        }
        Action::DropReplica { shard, peer } => {
            let there = collection(view, &shard.collection);
            let shard = there.shards.get_mut(&shard.shard).unwrap();
            shard.copies.remove(peer).expect("a copy to drop");
        }
        Action::Grant(grant) => {
            // It is used at once.
            view.service.orders.grant = Some(grant.clone());
            match grant.kind {
                GrantKind::Join => {
                    let task = view.service.outside.remove(&grant.task).unwrap();
                    let id = view.peers.keys().map(|id| id.0).max().unwrap().max(20);
                    let newcomer = Peer {
                        life: Life::Alive,
                        zone: task.zone,
                        voter: true,
                        uri: String::new(),
                        leaving: false,
                        disk: None,
                        task: Some(grant.task.clone()),
                        said: Said::default(),
                    };
                    view.peers.insert(PeerId(id + 1), newcomer);
                }
                GrantKind::Serve => {
                    let mut peers = view.peers.values_mut();
                    let peer = peers.find(|peer| peer.task.as_ref() == Some(&grant.task));
                    peer.unwrap().said.ready = true;
                }
                GrantKind::SetAside => {}
            }
        }
        Action::Evacuate(leaving) => {
            view.service.orders.leaving = Some(leaving.clone());
            view.peers.get_mut(&leaving.peer).unwrap().leaving = true;
        }
        Action::LetGo(leaving) | Action::CallBack(leaving) => {
            view.service.orders.leaving = Some(leaving.clone())
        }
        Action::EndEvacuation(_) => view.service.orders.leaving = None,
        Action::Withdraw(grant) => {
            assert_eq!(view.service.orders.grant.take().as_ref(), Some(grant));
        }
        Action::RecordLoss { shards, .. } => view.losses.extend(shards.iter().cloned()),
        Action::RemovePeer { peer }
        | Action::RemoveGhost { peer }
        | Action::Release { peer }
        | Action::RemoveLostPeer { peer } => {
            view.peers.remove(peer).expect("a peer to remove");
            let Observed::Known(all) = &mut view.collections else {
                panic!("known");
            };
            for there in all.values_mut() {
                let Observed::Known(there) = there else {
                    panic!("known");
                };
                for shard in there.shards.values_mut() {
                    let held = shard.copies.remove(peer);
                    let force = matches!(action, Action::RemoveLostPeer { .. });
                    assert!(held.is_none() || force, "Qdrant would refuse");
                }
            }
        }
        Action::ForgetUnlisted { peer } => {
            assert!(!view.peers.contains_key(peer));
            let Observed::Known(all) = &mut view.collections else {
                panic!("known");
            };
            for there in all.values_mut() {
                let Observed::Known(there) = there else {
                    panic!("known");
                };
                for shard in there.shards.values_mut() {
                    shard.copies.remove(peer);
                }
            }
        }
        Action::Replicate { shard, from, to } | Action::MoveReplica { shard, from, to } => {
            let there = collection(view, &shard.collection);
            let shard = there.shards.get_mut(&shard.shard).unwrap();
            // A copy is as large as the one it was made from.
            let bytes = shard.copies[from].bytes;
            shard.copies.insert(*to, copy(true, bytes, Duration::ZERO));
            if matches!(action, Action::MoveReplica { .. }) {
                shard.copies.remove(from);
            }
        }
        Action::RaiseFactor {
            collection: name,
            factor,
        } => {
            collection(view, name).factor = *factor;
        }
    }
}

fn collection<'a>(view: &'a mut ClusterView, name: &CollectionName) -> &'a mut Collection {
    let Observed::Known(all) = &mut view.collections else {
        panic!("known");
    };
    let Some(Observed::Known(there)) = all.get_mut(name) else {
        panic!("known");
    };
    there
}

fn copy(active: bool, bytes: Option<u64>, unwell: Duration) -> Copy {
    Copy {
        state: CopyState::parse(if active { "Active" } else { "Partial" }),
        bytes,
        unwell: if active { Duration::ZERO } else { unwell },
    }
}

/// Plans and completes until there is nothing to do; the number of actions.
fn run_to_rest(view: &mut ClusterView) -> usize {
    let (settings, memory) = (settings(), Memory::default());
    for done in 0..2000 {
        let plan = plan(&settings, &memory, view);
        assert!(plan.actions.len() <= 1, "{:?}", plan.actions);
        let Some(planned) = plan.actions.first() else {
            return done;
        };
        assert_eq!(guard::may(&settings, view, &planned.action), Ok(()));
        let before = measure(&settings, view);
        complete(view, &planned.action);
        let after = measure(&settings, view);
        assert!(after < before, "{planned}\n{before:?}\n{after:?}");
    }
    panic!("no rest");
}

fn life() -> impl Strategy<Value = Life> {
    let gone = |lasted| Life::Gone {
        witnesses: [Witness::NotInDns].into(),
        lasted,
    };
    let (why, lasted) = (Doubt::NoWitness, LONG);
    prop_oneof![
        6 => Just(Life::Alive),
        1 => Just(Life::Hung { lasted }),
        1 => Just(Life::Unsure { why, lasted }),
        1 => Just(gone(Duration::ZERO)),
        2 => Just(gone(LONG)),
    ]
}

fn peer(life: impl Strategy<Value = Life>) -> impl Strategy<Value = Peer> {
    let zone = prop_oneof![
        1 => Just(None),
        9 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(|z| Some(z.into())),
    ];
    let voter = prop::bool::weighted(0.9);
    let leaving = prop::bool::weighted(0.1);
    let ending = prop::bool::weighted(0.1);
    let disk = prop::option::weighted(
        0.2,
        (0..200_u64).prop_map(|free| Disk { free, reserve: 50 }),
    );
    (life, zone, voter, leaving, ending, disk).prop_map(
        |(life, zone, voter, leaving, ending, disk)| Peer {
            life,
            zone,
            voter,
            uri: String::new(),
            leaving,
            disk,
            task: None,
            said: Said {
                ending,
                ..Said::default()
            },
        },
    )
}

fn shard() -> impl Strategy<Value = Shard> {
    let unwell = prop::sample::select(vec![Duration::ZERO, LONG]);
    let bytes = prop::option::weighted(0.9, 1..50_u64);
    let copy = (prop::bool::weighted(0.8), bytes, unwell).prop_map(|(a, b, u)| copy(a, b, u));
    // Peers 1 to 8 may exist; 9 never does.
    let copies = prop::collection::btree_map((1..=9_u64).prop_map(PeerId), copy, 0..5);
    copies.prop_map(|copies| Shard { key: None, copies })
}

fn some_collection() -> impl Strategy<Value = Observed<Collection>> {
    let shards = prop::collection::vec(shard(), 1..5);
    let ends = (0..4_u32, 1..=8_u64, 1..=8_u64, any::<bool>());
    let stalled = prop::sample::select(vec![Duration::ZERO, LONG]);
    let transfer = prop::option::weighted(0.2, (ends, stalled));
    let odd = (prop::bool::weighted(0.05), prop::bool::weighted(0.05));
    (1..=4_u32, shards, transfer, odd).prop_map(|(factor, shards, transfer, odd)| {
        let (resharding, unreadable) = odd;
        if unreadable {
            return Observed::Unknown("timed out".to_owned());
        }
        let shards: BTreeMap<ShardId, Shard> = (0..).map(ShardId).zip(shards).collect();
        let transfer = transfer.map(|((shard, from, to, sync), stalled)| Transfer {
            shard: ShardId(shard),
            from: PeerId(from),
            to: PeerId(to),
            sync,
            stalled,
        });
        let transfers = transfer.into_iter();
        let transfers = transfers.filter(|t| shards.contains_key(&t.shard) && t.from != t.to);
        Observed::Known(Collection {
            factor,
            resharding,
            transfers: transfers.collect(),
            shards,
        })
    })
}

fn view(peer: impl Strategy<Value = Peer>) -> impl Strategy<Value = ClusterView> {
    let peers = prop::collection::vec(peer, 1..=8);
    let collections = prop::collection::vec(some_collection(), 0..4);
    let unlisted = prop::sample::select(vec![Duration::ZERO, Duration::from_secs(10), LONG]);
    let outside = (0..4_u32, any::<bool>());
    (peers, collections, unlisted, outside).prop_map(|(peers, collections, unlisted, outside)| {
        let mut peers: BTreeMap<PeerId, Peer> = (1..).map(PeerId).zip(peers).collect();
        for (id, peer) in &mut peers {
            peer.task = Some(TaskId(format!("task-{id}")));
        }
        let us = peers.get_mut(&PeerId(1)).unwrap();
        (us.life, us.voter, us.leaving) = (Life::Alive, true, false);
        let names = ["c", "d", "e"].map(CollectionName::from).into_iter();
        ClusterView {
            us: PeerId(1),
            commits: Observed::Known(true),
            paused: None,
            // Everybody is here: no replacement is waited for.
            wanted_tasks: Some(0),
            peers,
            collections: Observed::Known(names.zip(collections).collect()),
            age: Duration::ZERO,
            losses: BTreeSet::new(),
            service: Service {
                unlisted: [(PeerId(9), unlisted)].into(),
                complete: outside.1,
                outside: (0..outside.0).map(outsider).collect(),
                ..Service::default()
            },
        }
    })
}

fn outsider(number: u32) -> (TaskId, Outsider) {
    let there = Outsider {
        state: State::Empty,
        zone: Some("b".into()),
        peer_id: None,
        said: Said::default(),
    };
    (TaskId(format!("outside-{number}")), there)
}

fn healthy_peer() -> impl Strategy<Value = Peer> {
    peer(Just(Life::Alive)).prop_map(|mut peer| {
        (peer.voter, peer.leaving, peer.disk) = (true, false, None);
        peer.said.ending = false;
        peer.zone = peer.zone.or_else(|| Some("a".into()));
        peer
    })
}

fn cases() -> u32 {
    match std::env::var_os("MODEL_DEEP") {
        Some(_) => 100_000,
        None => 4000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_action_lowers_the_measure_until_there_is_none(mut view in view(peer(life()))) {
        run_to_rest(&mut view);
    }

    #[test]
    fn equal_views_give_equal_plans(view in view(peer(life()))) {
        let (settings, memory) = (settings(), Memory::default());
        prop_assert_eq!(plan(&settings, &memory, &view), plan(&settings, &memory, &view.clone()));
    }

    #[test]
    fn nothing_is_done_behind_a_closed_gate(mut view in view(peer(life()))) {
        let (settings, memory) = (settings(), Memory::default());
        let open = plan(&settings, &memory, &view);
        view.commits = Observed::Known(false);
        let closed = plan(&settings, &memory, &view);
        prop_assert!(closed.actions.is_empty());
        prop_assert_eq!(closed.withheld.map(|(planned, _)| planned), open.actions.first().cloned());
    }

    #[test]
    fn a_peer_that_is_not_gone_loses_nothing(view in view(peer(life()))) {
        let plan = plan(&settings(), &Memory::default(), &view);
        for planned in plan.actions {
            match planned.action {
                Action::RemovePeer { peer }
                | Action::RemoveGhost { peer }
                | Action::RemoveLostPeer { peer } => prop_assert!(view.gone(peer)),
                Action::DropReplica { peer, .. } => {
                    let there = &view.peers[&peer];
                    prop_assert!(view.gone(peer) || there.leaving || there.ends());
                }
                Action::Release { peer } => {
                    let there = &view.peers[&peer];
                    prop_assert!(there.leaving || there.ends());
                }
                Action::ForgetUnlisted { peer } => prop_assert!(!view.peers.contains_key(&peer)),
                _ => {}
            }
        }
    }

    #[test]
    fn zones_are_spread_at_rest(mut view in view(healthy_peer())) {
        // Known, quiet, and every shard alive.
        let Observed::Known(all) = &mut view.collections else { panic!("known") };
        all.retain(|_, collection| collection.known().is_some_and(|there| !there.resharding));
        for there in all.values_mut() {
            let Observed::Known(there) = there else { panic!("known") };
            there.transfers.clear();
            for shard in there.shards.values_mut() {
                shard.copies.retain(|peer, _| view.peers.contains_key(peer));
                shard.copies.values_mut().for_each(|there| *there = copy(true, Some(7), LONG));
            }
            there.shards.retain(|_, shard| !shard.copies.is_empty());
        }
        run_to_rest(&mut view);
        let zones: BTreeSet<_> = view.peers.values().map(|peer| &peer.zone).collect();
        for (name, there) in view.known() {
            for (id, shard) in &there.shards {
                let used: BTreeSet<_> = shard.copies.keys().map(|p| &view.peers[p].zone).collect();
                let wanted = shard.copies.len().min(zones.len());
                prop_assert_eq!(used.len(), wanted, "{}/{}", name, id.0);
                prop_assert!(shard.copies.len() >= (there.factor as usize).min(view.peers.len()));
            }
        }
    }
}

fn even_view(zones: &[&str], peers: usize, shards: &[Vec<u64>], factor: u32) -> ClusterView {
    let peers = (0..peers).map(|index| {
        let peer = Peer {
            life: Life::Alive,
            zone: Some(zones[index % zones.len()].into()),
            voter: true,
            uri: String::new(),
            leaving: false,
            disk: None,
            task: None,
            said: Default::default(),
        };
        (PeerId(index as u64 + 1), peer)
    });
    let shards = shards.iter().map(|holders| Shard {
        key: None,
        copies: holders
            .iter()
            .map(|peer| (PeerId(*peer), copy(true, Some(7), LONG)))
            .collect(),
    });
    let there = Collection {
        factor,
        resharding: false,
        shards: (0..).map(ShardId).zip(shards).collect(),
        transfers: Vec::new(),
    };
    ClusterView {
        us: PeerId(1),
        commits: Observed::Known(true),
        paused: None,
        // Everybody is here: no replacement is waited for.
        wanted_tasks: Some(0),
        peers: peers.collect(),
        collections: Observed::Known([("c".into(), Observed::Known(there))].into()),
        age: Duration::ZERO,
        losses: BTreeSet::new(),
        service: Default::default(),
    }
}

/// All ways to choose three of so many peers.
fn threes(peers: u64) -> Vec<Vec<u64>> {
    let mut threes = Vec::new();
    for a in 1..=peers {
        for b in a + 1..=peers {
            for c in b + 1..=peers {
                threes.push(vec![a, b, c]);
            }
        }
    }
    threes
}

#[test]
fn six_in_three_zones_end_with_one_copy_each_wherever_they_began() {
    let mut most = 0;
    for first in threes(6) {
        for second in threes(6) {
            let began = [first.clone(), second];
            let mut view = even_view(&["a", "b", "c"], 6, &began, 3);
            most = most.max(run_to_rest(&mut view));
            let there = view.collection(&"c".into()).unwrap();
            let holders: Vec<PeerId> = there
                .shards
                .values()
                .flat_map(|s| s.copies.keys().copied())
                .collect();
            assert_eq!(holders.len(), 6, "{began:?}");
            assert_eq!(
                holders.iter().collect::<BTreeSet<_>>().len(),
                6,
                "{began:?}"
            );
            for shard in there.shards.values() {
                let zones: BTreeSet<_> = shard.copies.keys().map(|p| &view.peers[p].zone).collect();
                assert_eq!(zones.len(), 3, "{began:?}");
            }
        }
    }
    assert!(most <= 6, "{most} moves for six copies");
}

/// How many copies the fullest and the emptiest peer have at rest, and how crowded zones are.
#[test]
fn other_shapes_come_to_rest_even() {
    let zones = ["a", "b", "c"];
    for peers in [1_usize, 2, 3, 4, 5, 6, 9] {
        for zones in [&zones[..1], &zones[..2], &zones[..3]] {
            for heap in [1_u64, peers as u64] {
                // Everything in one place, with one copy of three.
                let began = [vec![heap], vec![heap], vec![heap]];
                let mut view = even_view(zones, peers, &began, 3);
                run_to_rest(&mut view);
                let there = view.collection(&"c".into()).unwrap();
                let copies = 3.min(peers);
                for shard in there.shards.values() {
                    assert_eq!(shard.copies.len(), copies, "{peers} peers, {zones:?}");
                    let used: BTreeSet<_> = shard
                        .copies
                        .keys()
                        .map(|p| view.peers[p].zone.clone())
                        .collect();
                    let spread = copies.min(zones.len());
                    assert_eq!(used.len(), spread, "{peers} peers, {zones:?}");
                }
                let mut load: BTreeMap<PeerId, usize> =
                    view.peers.keys().map(|peer| (*peer, 0)).collect();
                for peer in there.shards.values().flat_map(|s| s.copies.keys()) {
                    *load.get_mut(peer).unwrap() += 1;
                }
                let (most, fewest) = (load.values().max(), load.values().min());
                // A zone with one node carries what a zone with two or three shares.
                let uneven = peers % zones.len() != 0;
                let apart = most.unwrap() - fewest.unwrap();
                assert!(
                    apart <= if uneven { 2 } else { 1 },
                    "{peers} peers, {zones:?}: {load:?}"
                );
            }
        }
    }
}
