//! Which proof is due, who does it, and when nobody does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::life::Life;
use planner::heal::names::ShardId;
use planner::heal::view::{ClusterView, CopyState, Transfer};
use planner::ids::PeerId;
use planner::keep::ids::{CollectionIndex, SetId};
use planner::keep::proving::{
    Answer, File, Order, Pace, Provable, Stands, Work, ages, due, room, who,
};
use planner::keep::records::{Checked, Level, ProofRecord};
use planner::keep::time::Utc;
use planner::observed::Observed;
use planner::records::{Leaving, LeavingReason};
use proptest::prelude::*;

use crate::sample::{at, cluster, collection, name, set, task};

const RUNNING: &str = "1.19.0";
const NOW: &str = "2026-02-28T12:00:00Z";

fn pace() -> Pace {
    Pace::of(Duration::from_secs(60))
}

fn file(shard: u32) -> File {
    File {
        index: CollectionIndex(0),
        name: name("articles"),
        shard: ShardId(shard),
        bytes: 1000,
    }
}

/// A set of two shards.
fn of(id: &str) -> Provable {
    Provable {
        set: set(id),
        files: vec![file(0), file(1)],
        proofs: Vec::new(),
    }
}

fn proof(level: Level, time: &str, found: &[(u32, bool)]) -> ProofRecord {
    let checked = found.iter().map(|(shard, good)| Checked {
        index: CollectionIndex(0),
        shard: ShardId(*shard),
        wrong: (!good).then(|| "bad".to_owned()),
    });
    ProofRecord {
        format: 1,
        set: set("20260228T091500Z"),
        level,
        at: at(time),
        task: task(2),
        qdrant: RUNNING.to_owned(),
        checked: checked.collect(),
    }
}

fn read(set: &mut Provable, time: &str) {
    set.proofs
        .push(proof(Level::L1, time, &[(0, true), (1, true)]));
}

fn next(sets: &[Provable]) -> Option<Work> {
    due(&pace(), sets, RUNNING, at(NOW), u64::MAX, &BTreeSet::new())
}

fn reading(id: &str) -> Option<Work> {
    Some(Work::Read { set: set(id) })
}

fn restoring(id: &str, shard: u32) -> Option<Work> {
    Some(Work::Restore {
        set: set(id),
        index: CollectionIndex(0),
        shard: ShardId(shard),
    })
}

const OLD: &str = "20260228T091500Z";
const NEW: &str = "20260228T093000Z";

#[test]
fn the_newest_is_read_then_restored_then_the_older_ones_are_read() {
    let (mut old, mut new) = (of(OLD), of(NEW));
    assert_eq!(next(&[]), None);
    assert_eq!(next(&[old.clone(), new.clone()]), reading(NEW));
    read(&mut new, "2026-02-28T09:31:00Z");
    assert_eq!(next(&[old.clone(), new.clone()]), restoring(NEW, 0));
    new.proofs
        .push(proof(Level::L2, "2026-02-28T09:32:00Z", &[(0, true)]));
    assert_eq!(next(&[old.clone(), new.clone()]), restoring(NEW, 1));
    new.proofs
        .push(proof(Level::L2, "2026-02-28T09:33:00Z", &[(1, true)]));
    assert_eq!(next(&[old.clone(), new.clone()]), reading(OLD));
    read(&mut old, "2026-02-28T09:34:00Z");
    assert_eq!(next(&[old, new]), None);
}

#[test]
fn shards_take_turns_and_the_one_proven_longest_ago_comes_first() {
    let (mut old, mut new) = (of(OLD), of(NEW));
    read(&mut old, "2026-02-28T05:00:00Z");
    read(&mut new, "2026-02-28T09:31:00Z");
    old.proofs
        .push(proof(Level::L2, "2026-02-28T05:02:00Z", &[(0, true)]));
    old.proofs
        .push(proof(Level::L2, "2026-02-28T05:01:00Z", &[(1, true)]));
    // Both are older than six hours, and the newest set has them.
    assert_eq!(next(&[old.clone(), new.clone()]), restoring(NEW, 1));
    // Within six hours a shard is not restored again, whichever set it was from.
    for proof in &mut old.proofs {
        proof.at = at("2026-02-28T11:00:00Z");
    }
    assert_eq!(next(&[old.clone(), new.clone()]), None);
    // What another Qdrant restored says nothing about this one.
    for proof in &mut old.proofs {
        proof.qdrant = "1.18.3".to_owned();
    }
    assert_eq!(next(&[old, new]), restoring(NEW, 0));
}

#[test]
fn after_a_file_that_failed_the_next_one_is_not_trusted_on_its_word() {
    let (mut old, mut new) = (of(OLD), of(NEW));
    new.proofs.push(proof(
        Level::L0,
        "2026-02-28T11:00:00Z",
        &[(0, false), (1, true)],
    ));
    // It is not restored for that shard, and an older one must be read before it is.
    assert_eq!(next(&[old.clone(), new.clone()]), restoring(NEW, 1));
    new.proofs
        .push(proof(Level::L2, "2026-02-28T11:01:00Z", &[(1, true)]));
    assert_eq!(next(&[old.clone(), new.clone()]), reading(OLD));
    read(&mut old, "2026-02-28T11:02:00Z");
    assert_eq!(next(&[old.clone(), new.clone()]), restoring(OLD, 0));
    // Also when that shard was restored a moment ago from a third one.
    let mut oldest = of("20260228T090000Z");
    read(&mut oldest, "2026-02-28T11:30:00Z");
    oldest
        .proofs
        .push(proof(Level::L2, "2026-02-28T11:31:00Z", &[(0, true)]));
    assert_eq!(
        next(&[oldest.clone(), old.clone(), new.clone()]),
        restoring(OLD, 0)
    );
    old.proofs
        .push(proof(Level::L2, "2026-02-28T11:40:00Z", &[(0, true)]));
    assert_eq!(next(&[oldest, old, new]), None);
}

#[test]
fn nor_is_one_that_was_made_since() {
    let (mut oldest, mut old, mut new) = (of("20260228T090000Z"), of(OLD), of(NEW));
    read(&mut oldest, "2026-02-28T11:30:00Z");
    for shard in [0, 1] {
        oldest
            .proofs
            .push(proof(Level::L2, "2026-02-28T11:31:00Z", &[(shard, true)]));
    }
    old.proofs.push(proof(
        Level::L0,
        "2026-02-28T11:32:00Z",
        &[(0, false), (1, true)],
    ));
    read(&mut new, "2026-02-28T11:33:00Z");
    let all = |new: &Provable| next(&[oldest.clone(), old.clone(), new.clone()]);
    assert_eq!(all(&new), restoring(NEW, 0), "though it was a moment ago");
    new.proofs
        .push(proof(Level::L2, "2026-02-28T11:34:00Z", &[(0, true)]));
    assert_eq!(all(&new), None);
}

#[test]
fn what_does_not_fit_or_was_tried_is_passed_over() {
    let mut new = of(NEW);
    read(&mut new, "2026-02-28T09:31:00Z");
    new.files[0].bytes = 5000;
    let of = |room, tried: &[Work]| {
        let tried = tried.iter().cloned().collect();
        due(
            &pace(),
            std::slice::from_ref(&new),
            RUNNING,
            at(NOW),
            room,
            &tried,
        )
    };
    assert_eq!(of(5000, &[]), restoring(NEW, 0));
    assert_eq!(of(4999, &[]), restoring(NEW, 1));
    assert_eq!(of(999, &[]), None);
    let tried = restoring(NEW, 1).unwrap();
    assert_eq!(of(4999, &[tried]), None);
}

#[test]
fn what_is_kept_for_long_is_read_again() {
    let (mut old, mut new) = (of(OLD), of(NEW));
    read(&mut old, "2026-01-20T00:00:00Z");
    read(&mut new, "2026-02-28T11:31:00Z");
    for shard in [0, 1] {
        new.proofs
            .push(proof(Level::L2, "2026-02-28T11:32:00Z", &[(shard, true)]));
    }
    assert_eq!(next(&[old.clone(), new.clone()]), reading(OLD));
    read(&mut old, "2026-02-20T00:00:00Z");
    assert_eq!(next(&[old, new]), None);
}

/// Peers 2 and 3, beside the leader 1, have room for anything.
fn view() -> ClusterView {
    let mut view = cluster();
    for peer in view.peers.values_mut() {
        peer.said.ready = true;
        peer.said.proof.room = u64::MAX;
    }
    view
}

const HUNG: Life = Life::Hung {
    lasted: Duration::ZERO,
};

fn chosen(view: &ClusterView) -> Option<u64> {
    who(view, Some(1000), &BTreeMap::new())
        .ok()
        .map(|peer| peer.0)
}

#[test]
fn a_task_that_is_not_busy_does_it_and_they_take_turns() {
    assert_eq!(chosen(&view()), Some(2));
    let last = |two: &str, three: &str| BTreeMap::from([(task(2), at(two)), (task(3), at(three))]);
    let turn = |last| who(&view(), None, &last).unwrap();
    assert_eq!(turn(last(NOW, "2026-02-28T11:00:00Z")), PeerId(3));
    assert_eq!(turn(last("2026-02-28T11:00:00Z", NOW)), PeerId(2));
    assert_eq!(turn(BTreeMap::from([(task(2), at(NOW))])), PeerId(3));
}

#[test]
fn who_is_busy_does_nothing() {
    let busy: &[fn(&mut ClusterView)] = &[
        |view| view.peers.get_mut(&PeerId(2)).unwrap().said.ending = true,
        |view| view.peers.get_mut(&PeerId(2)).unwrap().leaving = true,
        |view| {
            view.service.orders.leaving = Some(Leaving {
                task: task(2),
                peer: PeerId(2),
                why: LeavingReason::Surplus,
                released: false,
            });
        },
        |view| view.peers.get_mut(&PeerId(2)).unwrap().voter = false,
        |view| view.peers.get_mut(&PeerId(2)).unwrap().task = None,
        |view| view.peers.get_mut(&PeerId(2)).unwrap().life = HUNG,
        |view| view.peers.get_mut(&PeerId(2)).unwrap().said.proof.room = 999,
        |view| {
            let shard = collection(view, "notes")
                .shards
                .get_mut(&ShardId(0))
                .unwrap();
            shard.copies.get_mut(&PeerId(2)).unwrap().state = CopyState::Other("Dead".to_owned());
        },
        |view| {
            collection(view, "articles").transfers.push(Transfer {
                shard: ShardId(0),
                from: PeerId(1),
                to: PeerId(2),
                sync: true,
                stalled: Duration::ZERO,
            });
        },
    ];
    for (at, make) in busy.iter().enumerate() {
        let mut view = view();
        make(&mut view);
        assert_eq!(chosen(&view), Some(3), "{at}");
    }
    let mut all = view();
    for peer in [2, 3] {
        all.peers.get_mut(&PeerId(peer)).unwrap().said.ending = true;
    }
    assert_eq!(chosen(&all), None, "who leads does it only alone");
    let mut unread = view();
    unread.collections = Observed::Unknown("late".to_owned());
    assert_eq!(chosen(&unread), None);
}

#[test]
fn one_at_a_time_in_the_cluster() {
    let mut view = view();
    view.peers.get_mut(&PeerId(3)).unwrap().said.proof.answer = Some(Answer {
        order: Order {
            work: reading(OLD).unwrap(),
            peer: PeerId(3),
            at: at(NOW),
        },
        stands: Stands::Working,
    });
    assert_eq!(chosen(&view), None);
    view.peers.get_mut(&PeerId(3)).unwrap().life = HUNG;
    assert_eq!(chosen(&view), Some(2), "nobody waits for ever");
}

#[test]
fn a_cluster_of_one_has_nobody_else() {
    let mut view = view();
    view.peers.retain(|peer, _| *peer == view.us);
    for of in ["articles", "notes"] {
        for shard in collection(&mut view, of).shards.values_mut() {
            shard.copies.retain(|peer, _| *peer == PeerId(1));
        }
    }
    assert_eq!(chosen(&view), Some(1));
}

#[test]
fn half_of_disk_and_memory_is_left_alone() {
    const GIB: u64 = 1 << 30;
    assert_eq!(room(0, u64::MAX), 0);
    assert_eq!(room(u64::MAX, 0), 0);
    assert_eq!(
        room(GIB / 2, 100 * GIB),
        0,
        "nothing but what a Qdrant needs"
    );
    let fits = room(20 * GIB, 100 * GIB);
    assert!(3 * fits <= 10 * GIB && fits > 3 * GIB, "{fits}");
    let fits = room(2000 * GIB, 8 * GIB);
    assert!(2 * fits <= 4 * GIB && fits > GIB, "{fits}");
}

#[test]
fn ages_say_what_is_good_how_far_and_since_when() {
    let (mut old, mut new) = (of(OLD), of(NEW));
    read(&mut old, "2026-02-28T09:20:00Z");
    for shard in [0, 1] {
        old.proofs
            .push(proof(Level::L2, "2026-02-28T09:21:00Z", &[(shard, true)]));
    }
    new.proofs.push(proof(
        Level::L1,
        "2026-02-28T09:35:00Z",
        &[(0, true), (1, true)],
    ));
    new.proofs
        .push(proof(Level::L2, "2026-02-28T09:36:00Z", &[(0, true)]));
    let said = ages(&[old.clone(), new.clone()], RUNNING);
    assert_eq!(said.newest[&Level::L1], set(NEW));
    assert_eq!(said.newest[&Level::L2], set(OLD));
    assert_eq!(said.last[&Level::L2], at("2026-02-28T09:36:00Z"));
    assert!(said.bad.is_empty());
    new.proofs
        .push(proof(Level::L2, "2026-02-28T09:37:00Z", &[(1, false)]));
    let said = ages(&[old.clone(), new.clone()], RUNNING);
    assert_eq!(said.newest[&Level::L1], set(OLD));
    assert_eq!(said.bad, BTreeSet::from([set(NEW)]));
    // That a Qdrant could not restore it says nothing about another version.
    let said = ages(&[old, new], "1.20.0");
    assert!(said.bad.is_empty());
    assert_eq!(said.newest.get(&Level::L2), None);
}

#[derive(Clone, Debug)]
struct Draft(u8, Vec<(Level, u64, u8, bool, bool)>);

fn stores() -> impl Strategy<Value = Vec<Provable>> {
    let level = prop_oneof![Just(Level::L0), Just(Level::L1), Just(Level::L2)];
    let found = (
        level,
        0_u64..3_000_000,
        0_u8..4,
        prop::bool::weighted(0.9),
        any::<bool>(),
    );
    let draft = (1_u8..4, prop::collection::vec(found, 0..8));
    let draft = draft.prop_map(|(files, proofs)| Draft(files, proofs));
    prop::collection::vec(draft, 0..8).prop_map(|drafts| {
        let begin = at("2026-01-25T00:00:00Z");
        let sets = drafts
            .into_iter()
            .enumerate()
            .map(|(n, Draft(files, proofs))| {
                let id = SetId::at(begin.plus(Duration::from_secs(900 * n as u64)));
                let proofs =
                    proofs
                        .into_iter()
                        .map(|(level, after, shard, good, ours)| ProofRecord {
                            set: id,
                            at: id.time().plus(Duration::from_secs(after)),
                            qdrant: if ours { RUNNING } else { "1.18.3" }.to_owned(),
                            ..proof(level, NOW, &[(u32::from(shard), good)])
                        });
                Provable {
                    set: id,
                    files: (0..u32::from(files)).map(file).collect(),
                    proofs: proofs.collect(),
                }
            });
        sets.collect()
    })
}

/// The store after a proof that found everything good.
fn after(sets: &[Provable], work: &Work, now: Utc) -> Vec<Provable> {
    let mut sets = sets.to_vec();
    let proven = sets.iter_mut().find(|set| set.set == work.set()).unwrap();
    let (level, shards): (_, Vec<u32>) = match work {
        Work::Read { .. } => (Level::L1, proven.files.iter().map(|f| f.shard.0).collect()),
        Work::Restore { shard, .. } => (Level::L2, vec![shard.0]),
    };
    let found: Vec<_> = shards.into_iter().map(|shard| (shard, true)).collect();
    proven.proofs.push(ProofRecord {
        set: work.set(),
        at: now,
        ..proof(level, NOW, &found)
    });
    sets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What is restored was read, fits, and nothing speaks against it; what was tried is not due.
    #[test]
    fn a_proof_makes_sense(sets in stores(), room in 0_u64..2000, skip in any::<bool>()) {
        let mut tried = BTreeSet::new();
        for _ in 0..40 {
            let Some(work) = due(&pace(), &sets, RUNNING, at(NOW), room, &tried) else { break };
            prop_assert!(!tried.contains(&work));
            let set = sets.iter().find(|set| set.set == work.set()).unwrap();
            if let Work::Restore { shard, .. } = &work {
                prop_assert!(room >= 1000);
                let found: Vec<_> = set.proofs.iter()
                    .flat_map(|p| p.checked.iter().map(move |c| (p, c)))
                    .filter(|(_, c)| c.shard == *shard)
                    .collect();
                prop_assert!(found.iter().any(|(_, c)| c.wrong.is_none()), "it was read");
                let binding = |p: &ProofRecord| p.level < Level::L2 || p.qdrant == RUNNING;
                prop_assert!(!found.iter().any(|(p, c)| c.wrong.is_some() && binding(p)));
            }
            if !skip { break }
            tried.insert(work);
        }
    }

    /// While all that is looked at is good, proving comes to an end.
    #[test]
    fn it_comes_to_rest(sets in stores()) {
        let mut sets = sets;
        let mut now = at(NOW);
        for round in 0.. {
            let none = BTreeSet::new();
            let Some(work) = due(&pace(), &sets, RUNNING, now, u64::MAX, &none) else { break };
            prop_assert!(round < 60, "{work}");
            now = now.plus(Duration::from_secs(60));
            sets = after(&sets, &work, now);
        }
    }

    /// The order in which a store lists its sets means nothing.
    #[test]
    fn order_means_nothing(sets in stores(), turn in 0_usize..8) {
        let mut other = sets.clone();
        other.reverse();
        if !other.is_empty() {
            let turn = turn % other.len();
            other.rotate_left(turn);
        }
        prop_assert_eq!(next(&sets), next(&other));
        prop_assert_eq!(ages(&sets, RUNNING), ages(&other, RUNNING));
    }
}
