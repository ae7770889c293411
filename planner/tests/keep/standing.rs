//! What manifests and proofs say of a set, and which collections have ended.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::names::ShardId;
use planner::keep::ends::{accepted, deleted, lost};
use planner::keep::ids::CollectionIndex;
use planner::keep::records::{Checked, Level, Origin, ProofRecord};
use planner::keep::restore::empty;
use planner::keep::restore_wish::{What, Wish};
use planner::keep::seen::{Contents, Seen, taken};
use planner::records::Progress;

use crate::sample::{
    SLOT, at, contents, generation, manifest, name, names, planned, seen, set, standing,
};

fn proof(level: Level, qdrant: &str, checked: &[(u32, u32, Option<&str>)]) -> ProofRecord {
    let checked = checked.iter().map(|(index, shard, wrong)| Checked {
        index: CollectionIndex(*index),
        shard: ShardId(*shard),
        wrong: wrong.map(str::to_owned),
    });
    ProofRecord {
        format: 1,
        set: set(SLOT),
        level,
        at: at("2026-03-01T00:00:00Z"),
        task: "task-1".into(),
        qdrant: qdrant.to_owned(),
        checked: checked.collect(),
    }
}

fn of(proofs: &[ProofRecord]) -> Contents {
    Contents::of(&manifest(), proofs, "1.19.0")
}

const ARTICLES: [(u32, u32, Option<&str>); 2] = [(0, 0, None), (0, 1, None)];

#[test]
fn a_collection_is_proven_when_each_of_its_files_is() {
    let none = of(&[]);
    assert!(none.is_complete() && none.proven().is_none());
    let some = of(&[proof(Level::L0, "1.19.0", &ARTICLES[..1])]);
    assert_eq!(some.collections[&name("articles")].proven, None);
    let rotating = [
        proof(Level::L2, "1.19.0", &ARTICLES[..1]),
        proof(Level::L0, "1.19.0", &ARTICLES[1..]),
    ];
    let there = of(&rotating);
    assert_eq!(there.collections[&name("articles")].proven, Some(Level::L0));
    assert_eq!(there.collections[&name("notes")].proven, None);
    assert_eq!(there.proven(), None, "notes are not");
    let all = of(&[
        proof(Level::L2, "1.18.3", &ARTICLES),
        proof(Level::L1, "1.19.0", &[(1, 0, None)]),
    ]);
    assert_eq!(all.proven(), Some(Level::L1));
}

#[test]
fn what_was_found_bad_once_stays_bad() {
    let bad = proof(Level::L0, "1.18.3", &[(0, 1, Some("another hash"))]);
    let good = proof(Level::L2, "1.19.0", &ARTICLES);
    let there = of(&[bad, good]);
    let articles = there.collections[&name("articles")];
    assert!(articles.whole && articles.failed && !articles.is_good());
    assert!(there.collections[&name("notes")].is_good());
    assert!(!there.is_complete() && there.has_whole());
    assert_eq!(there.proven(), None);
}

#[test]
fn that_another_version_could_not_restore_it_is_no_finding() {
    let other = proof(Level::L2, "1.21.0", &[(0, 1, Some("unknown segment"))]);
    assert!(of(&[other]).is_complete());
    let ours = proof(Level::L2, "1.19.0", &[(0, 1, Some("unknown segment"))]);
    assert!(!of(&[ours]).is_complete());
    let mut stray = proof(Level::L0, "1.19.0", &[(0, 1, Some("another hash"))]);
    stray.set = set("20260228T093000Z");
    assert!(of(&[stray]).is_complete());
}

fn ended(sets: &[Seen], generation_: u64, present: &[&str], accepted: &[&str]) -> Vec<String> {
    let next = set("20260228T120000Z");
    let found = deleted(
        sets,
        next,
        &generation(generation_),
        &names(present),
        &names(accepted),
    );
    found
        .iter()
        .map(|(name, set)| format!("{name} {set}"))
        .collect()
}

#[test]
fn what_the_restore_of_this_life_brought_back_has_ended_when_it_is_gone() {
    let ours = generation(2);
    let done = |uuid: &str| Progress::Done { uuid: uuid.into() };
    let mut record = empty(ours.clone());
    record.set = Some(set("20260228T090000Z"));
    record.collections = BTreeMap::from([
        (name("a"), done("1")),
        (name("b"), done("2")),
        (name("c"), Progress::Failed("of no use".into())),
    ]);
    // While it is under way nothing has been served.
    assert!(accepted(&ours, Some(&record), None).is_empty());
    record.finished = true;
    assert_eq!(accepted(&ours, Some(&record), None), names(&["a", "b"]));
    // Of another life it says nothing.
    assert!(accepted(&generation(3), Some(&record), None).is_empty());

    let wish = |what, generation_| Wish {
        format: 1,
        generation: generation(generation_),
        by: "ops".into(),
        at: set("20260228T100000Z").time(),
        what,
        lost: names(&["c"]),
    };
    let (ab, abc) = (names(&["a", "b"]), names(&["a", "b", "c"]));
    for (what, of, expected) in [
        (What::AcceptLoss, 2, &abc),
        (What::Use(set("20260228T090000Z")), 2, &abc),
        // It came to another one in the end, or was about another life.
        (What::Use(set("20260228T091500Z")), 2, &ab),
        (What::AcceptLoss, 1, &ab),
    ] {
        let found = accepted(&ours, Some(&record), Some(&wish(what, of)));
        assert_eq!(found, *expected, "{what:?} of {of}");
    }
    assert_eq!(
        accepted(&ours, None, Some(&wish(What::AcceptLoss, 2))),
        names(&["c"])
    );
}

#[test]
fn what_a_decision_costs_is_all_that_any_set_has_and_has_not_ended() {
    let mut sets = [
        seen("20260228T090000Z", &["a", "b", "c"]),
        seen("20260228T091500Z", &["a", "d"]),
        seen("20260228T093000Z", &["a"]),
    ];
    contents(&mut sets[1]).all = false;
    let newest = contents(&mut sets[2]);
    newest.deleted.insert(name("b"), set("20260228T093000Z"));
    assert_eq!(lost(&sets, &names(&["a"])), names(&["c", "d"]));
    assert_eq!(lost(&sets, &names(&[])), names(&["a", "c", "d"]));
    sets[1].tombstoned = true;
    assert_eq!(lost(&sets, &names(&["a"])), names(&["c"]));
}

#[test]
fn an_end_within_one_life_of_the_cluster_is_on_record() {
    let sets = [
        seen("20260228T090000Z", &["a", "b"]),
        seen("20260228T091500Z", &["a", "b"]),
    ];
    assert!(ended(&sets, 1, &["a", "b"], &[]).is_empty());
    assert_eq!(ended(&sets, 1, &["a"], &[]), ["b 20260228T120000Z"]);
    // A new life lacks it: that may be what a disaster took.
    assert!(ended(&sets, 2, &["a"], &[]).is_empty());
    assert_eq!(
        ended(&sets, 2, &["a"], &["b", "unheard of"]),
        ["b 20260228T120000Z"]
    );
}

#[test]
fn an_end_stays_on_record_until_it_is_here_again_or_in_no_set() {
    let mut newest = seen("20260228T093000Z", &["a"]);
    contents(&mut newest).deleted = BTreeMap::from([
        (name("b"), set("20260228T093000Z")),
        (name("c"), set("20260101T000000Z")),
    ]);
    let old = seen("20260228T090000Z", &["a", "b"]);
    let sets = [newest, old];
    assert_eq!(
        ended(&sets, 1, &["a"], &[]),
        ["b 20260228T093000Z"],
        "no set has c"
    );
    assert_eq!(
        ended(&sets, 2, &["a"], &[]),
        ["b 20260228T093000Z"],
        "also in the next life"
    );
    assert!(ended(&sets, 1, &["a", "b"], &[]).is_empty());
}

#[test]
fn the_clock_goes_by_plans_that_are_not_by_hand() {
    let mut by_hand = planned();
    by_hand.origin = Origin::Hand;
    by_hand.set = set("20260228T093300Z");
    let slot = planned();
    let known = taken([(&by_hand, false), (&slot, false)]);
    assert_eq!((known.newest, known.given_up.len()), (Some(set(SLOT)), 0));
    let known = taken([(&by_hand, true), (&slot, true)]);
    assert_eq!((known.newest, known.given_up), (None, [set(SLOT)].into()));
    assert_eq!(taken(Vec::new()).newest, None);
}

#[test]
fn a_set_that_is_being_deleted_counts_for_nothing() {
    let mut gone = seen("20260228T093000Z", &["a"]);
    standing(&mut gone, "a").proven = Some(Level::L2);
    assert!(gone.contents().is_some());
    gone.tombstoned = true;
    assert!(gone.contents().is_none());
    assert!(ended(&[gone], 1, &[], &[]).is_empty());
    assert_eq!(BTreeSet::from(Level::ALL).len(), 3);
}
