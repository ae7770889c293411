//! Who takes what.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::life::{Life, Witness};
use planner::heal::names::{ShardId, ShardRef};
use planner::heal::view::{CopyState, Shard, Transfer};
use planner::ids::PeerId;
use planner::keep::missing::{Lack, Missing};
use planner::keep::plan::{NoPlan, plan};
use planner::keep::records::{Origin, PlanRecord, Scope, ShardKey, Sharding};
use planner::observed::Observed;
use std::time::Duration;

use crate::sample::{
    cluster, collection, copy, described, description, name, order, planned, set, task,
};

/// Who takes which shard, as `collection/shard`.
fn sources(plan: &PlanRecord) -> BTreeMap<String, u64> {
    let mut sources = BTreeMap::new();
    for there in &plan.collections {
        for (shard, holder) in &there.shards {
            assert_eq!(holder.task, task(holder.peer.0));
            sources.insert(format!("{}/{shard}", there.name), holder.peer.0);
        }
    }
    sources
}

fn shown(plan: &PlanRecord) -> String {
    let pairs: Vec<_> = sources(plan)
        .iter()
        .map(|(of, peer)| format!("{of}={peer}"))
        .collect();
    pairs.join(" ")
}

#[test]
fn the_work_is_shared_and_the_leader_is_spared() {
    // The largest to the lowest that is not the leader, and so on; the last to the leader.
    assert_eq!(shown(&planned()), "articles/0=2 articles/1=3 notes/0=1");
    assert_eq!(planned(), planned());
}

#[test]
fn many_shards_are_spread_evenly() {
    let mut view = cluster();
    let shards = 30;
    collection(&mut view, "articles").shards = (0..shards)
        .map(|id| {
            let copies = (1..=3)
                .map(|peer| (PeerId(peer), copy(100 + u64::from(id % 3))))
                .collect();
            (ShardId(id), Shard { key: None, copies })
        })
        .collect();
    let mut described = described();
    described.insert(name("articles"), Observed::Known(description(shards, &[])));
    let plan = plan(&order(), &view, &described).unwrap();
    let mut load: BTreeMap<u64, u32> = BTreeMap::new();
    for peer in sources(&plan).values() {
        *load.entry(*peer).or_default() += 1;
    }
    assert!(
        load.values().all(|count| (10..=11).contains(count)),
        "{load:?}"
    );
}

#[test]
fn only_active_copies_on_tasks_that_answer_and_stay_are_taken() {
    let all: [&dyn Fn(&mut planner::heal::view::ClusterView); 5] = [
        &|view| {
            let shards = &mut collection(view, "articles").shards;
            let copies = &mut shards.get_mut(&ShardId(0)).unwrap().copies;
            copies.get_mut(&PeerId(2)).unwrap().state = CopyState::Other("Partial".to_owned());
        },
        &|view| {
            view.peers.get_mut(&PeerId(2)).unwrap().life = Life::Gone {
                witnesses: BTreeSet::from([Witness::BeatStopped]),
                lasted: Duration::from_secs(30),
            };
        },
        &|view| view.peers.get_mut(&PeerId(2)).unwrap().said.ending = true,
        &|view| view.peers.get_mut(&PeerId(2)).unwrap().task = None,
        &|view| drop(view.peers.remove(&PeerId(2))),
    ];
    for change in all {
        let mut view = cluster();
        change(&mut view);
        let plan = plan(&order(), &view, &described()).unwrap();
        assert_ne!(sources(&plan)["articles/0"], 2);
    }
}

#[test]
fn who_failed_leaves_or_gives_away_is_passed_over_while_another_can() {
    let of = ShardRef {
        collection: name("articles"),
        shard: ShardId(0),
    };
    let mut failed = order();
    failed.failed_before = BTreeSet::from([(of.clone(), PeerId(2))]);
    let plan_ = plan(&failed, &cluster(), &described()).unwrap();
    assert_eq!(sources(&plan_)["articles/0"], 3);

    // Whom clients reached last has what they were told is written.
    let mut shut = order();
    let since = |peer, ms| (PeerId(peer), Duration::from_millis(ms));
    shut.shut = BTreeMap::from([since(1, 950), since(2, 900), since(3, 899), since(4, 950)]);
    let plan_ = plan(&shut, &cluster(), &described()).unwrap();
    assert_eq!(sources(&plan_)["articles/0"], 3);
    shut.failed_before = BTreeSet::from([(of.clone(), PeerId(3))]);
    let plan_ = plan(&shut, &cluster(), &described()).unwrap();
    assert_eq!(sources(&plan_)["articles/0"], 2);

    let mut view = cluster();
    view.peers.get_mut(&PeerId(2)).unwrap().leaving = true;
    let plan_ = plan(&order(), &view, &described()).unwrap();
    assert!(!sources(&plan_).values().any(|peer| *peer == 2));

    let mut view = cluster();
    collection(&mut view, "articles").transfers.push(Transfer {
        shard: ShardId(0),
        from: PeerId(2),
        to: PeerId(4),
        sync: true,
        stalled: Duration::ZERO,
    });
    let plan_ = plan(&order(), &view, &described()).unwrap();
    assert_eq!(sources(&plan_)["articles/0"], 3);

    // When nobody else has it, it is better than nothing.
    let mut view = cluster();
    let shards = &mut collection(&mut view, "articles").shards;
    shards
        .get_mut(&ShardId(0))
        .unwrap()
        .copies
        .retain(|peer, _| *peer == PeerId(2));
    view.peers.get_mut(&PeerId(2)).unwrap().leaving = true;
    let plan_ = plan(&failed, &view, &described()).unwrap();
    assert_eq!(sources(&plan_)["articles/0"], 2);
}

#[test]
fn one_shard_without_a_source_does_not_stop_the_others() {
    let mut view = cluster();
    let shards = &mut collection(&mut view, "articles").shards;
    shards.get_mut(&ShardId(1)).unwrap().copies.clear();
    let plan = plan(&order(), &view, &described()).unwrap();
    let lack = Missing {
        shard: Some(ShardId(1)),
        why: Lack::NoSource,
    };
    assert_eq!(plan.collections[0].missing, [lack]);
    assert_eq!(plan.collections[0].shards.len(), 1);
    assert!(plan.collections[1].missing.is_empty());
}

#[test]
fn a_collection_that_is_not_clear_is_left_out_and_said() {
    let lack = |change: &dyn Fn(
        &mut planner::heal::view::ClusterView,
        &mut planner::keep::plan::Described,
    )| {
        let (mut view, mut described) = (cluster(), described());
        change(&mut view, &mut described);
        let plan = plan(&order(), &view, &described).unwrap();
        assert!(plan.collections[0].shards.is_empty());
        assert!(plan.collections[1].missing.is_empty());
        let [missing] = &plan.collections[0].missing[..] else {
            panic!("{:?}", plan.collections[0].missing);
        };
        assert_eq!(missing.shard, None);
        missing.why.clone()
    };
    assert_eq!(
        lack(&|view, _| collection(view, "articles").resharding = true),
        Lack::Resharding
    );
    let unread = |why: &str| Observed::Unknown(why.to_owned());
    assert_eq!(
        lack(&|_, described| drop(
            described.insert(name("articles"), Observed::Unknown("late".to_owned()))
        )),
        Lack::Unread("late".to_owned())
    );
    assert!(matches!(
        lack(&|_, described| drop(described.remove(&name("articles")))),
        Lack::Unread(_)
    ));
    assert_eq!(
        lack(&|view, _| {
            let Observed::Known(all) = &mut view.collections else {
                panic!("known");
            };
            all.insert(name("articles"), unread("no answer"));
        }),
        Lack::Unread("no answer".to_owned())
    );
    assert_eq!(
        lack(&|view, _| drop(collection(view, "articles").shards.remove(&ShardId(0)))),
        Lack::Shards
    );
}

#[test]
fn shard_keys_are_kept() {
    let (view, mut described) = (cluster(), described());
    let mut custom = description(2, &[]);
    custom.sharding = Sharding::Custom;
    custom.keys = BTreeMap::from([
        (ShardId(0), ShardKey::Word("1".to_owned())),
        (ShardId(1), ShardKey::Number(1)),
    ]);
    described.insert(name("articles"), Observed::Known(custom.clone()));
    let plan = plan(&order(), &view, &described).unwrap();
    assert_eq!(plan.collections[0].description, Some(custom.clone()));
    let json = serde_json::to_string(&custom.keys).unwrap();
    assert_eq!(json, r#"{"0":"1","1":1}"#);
    assert_eq!(
        serde_json::from_str::<BTreeMap<ShardId, ShardKey>>(&json).unwrap(),
        custom.keys
    );
}

#[test]
fn nothing_to_take_is_no_plan() {
    let refused = |change: &dyn Fn(&mut planner::heal::view::ClusterView)| {
        let mut view = cluster();
        change(&mut view);
        plan(&order(), &view, &described()).expect_err("no plan")
    };
    assert_eq!(
        refused(&|view| view.collections = Observed::Known(BTreeMap::new())),
        NoPlan::Empty
    );
    assert_eq!(
        refused(&|view| view.collections = Observed::Unknown("late".to_owned())),
        NoPlan::Unread("late".to_owned())
    );
    let nobody = refused(&|view| {
        view.peers
            .values_mut()
            .for_each(|peer| peer.said.ending = true)
    });
    assert!(matches!(nobody, NoPlan::NothingWhole(all) if all.len() == 2));
}

#[test]
fn one_collection_by_hand() {
    let mut by_hand = order();
    by_hand.set = set("20260228T091733Z");
    by_hand.origin = Origin::Hand;
    by_hand.scope = Scope::One(name("notes"));
    let plan_ = plan(&by_hand, &cluster(), &described()).unwrap();
    assert_eq!(plan_.collections.len(), 1);
    assert_eq!(plan_.collections[0].name, name("notes"));
    by_hand.scope = Scope::One(name("gone"));
    let refused = plan(&by_hand, &cluster(), &described());
    assert_eq!(refused, Err(NoPlan::NoSuchCollection(name("gone"))));
}
