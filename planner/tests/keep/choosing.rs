//! Which set a restore takes.

use std::collections::BTreeSet;
use std::time::Duration;

use planner::keep::choose::{Choice, Skip, Wanted, choose, unexplained};
use planner::keep::ids::SetId;
use planner::keep::seen::{Seen, State};

use crate::sample::{contents, generation, name, names, seen, set, standing};

const OLD: &str = "20260228T090000Z";
const MIDDLE: &str = "20260228T091500Z";
const NEW: &str = "20260228T093000Z";

fn three(whole: &[&str]) -> [Seen; 3] {
    [seen(OLD, whole), seen(MIDDLE, whole), seen(NEW, whole)]
}

fn all(sets: &[Seen]) -> Choice {
    choose(sets, &Wanted::All, &BTreeSet::new())
}

fn these(sets: &[Seen], wanted: &[&str]) -> Choice {
    choose(sets, &Wanted::These(names(wanted)), &BTreeSet::new())
}

fn chosen(choice: &Choice) -> Option<String> {
    choice.set.map(|set: SetId| set.to_string())
}

#[test]
fn the_newest_unless_something_speaks_against_it() {
    let sets = three(&["a", "b"]);
    let choice = all(&sets);
    assert_eq!(choice.set, Some(set(NEW)));
    assert!(choice.skipped.is_empty() && !choice.prove_first);
    let mut turned = sets.clone();
    turned.reverse();
    assert_eq!(all(&turned), choice);
    assert_eq!(all(&[]), Choice::default());
}

#[test]
fn what_is_passed_over_is_named() {
    let skip = |change: &dyn Fn(&mut Seen)| {
        let mut sets = three(&["a", "b"]);
        change(&mut sets[2]);
        let choice = all(&sets);
        assert_eq!(chosen(&choice).as_deref(), Some(MIDDLE));
        let [(id, why)] = &choice.skipped[..] else {
            panic!("{choice:?}");
        };
        assert_eq!(*id, set(NEW));
        assert!(!why.to_string().is_empty());
        (why.clone(), choice.prove_first)
    };
    assert_eq!(skip(&|set| set.tombstoned = true).0, Skip::Tombstoned);
    let foreign = || "of another cluster".to_owned();
    assert_eq!(
        skip(&|set| set.state = State::Foreign(foreign())).0,
        Skip::Foreign(foreign())
    );
    assert_eq!(
        skip(&|set| set.state = State::Unread("late".to_owned())).0,
        Skip::Unread("late".to_owned())
    );
    let unfinished = || State::Unfinished {
        under_way: true,
        age: Duration::ZERO,
    };
    assert_eq!(
        skip(&|set| set.state = unfinished()),
        (Skip::Unfinished, false)
    );
    assert_eq!(skip(&|set| contents(set).all = false).0, Skip::OfOne);
    assert_eq!(
        skip(&|set| standing(set, "b").whole = false),
        (Skip::NotWhole(names(&["b"])), false)
    );
    // Whose proof failed takes away the trust in the next one.
    assert_eq!(
        skip(&|set| standing(set, "b").failed = true),
        (Skip::Failed(names(&["b"])), true)
    );
    assert_eq!(
        skip(&|set| contents(set)
            .collections
            .retain(|there, _| *there != name("b")))
        .0,
        Skip::Fewer(names(&["b"]))
    );
}

#[test]
fn a_set_from_which_a_restore_failed_twice_gives_way() {
    let sets = three(&["a"]);
    let choice = choose(&sets, &Wanted::All, &BTreeSet::from([set(NEW)]));
    assert_eq!(chosen(&choice).as_deref(), Some(MIDDLE));
    assert!(choice.prove_first);
    assert_eq!(choice.skipped, [(set(NEW), Skip::GivenUp)]);
}

#[test]
fn fewer_collections_are_never_chosen_however_many_such_sets_there_are() {
    let mut sets = vec![seen(OLD, &["a", "b"])];
    sets.extend(
        (15..45)
            .step_by(15)
            .map(|minute| seen(&format!("20260228T09{minute}00Z"), &["a"])),
    );
    let choice = all(&sets);
    assert_eq!(chosen(&choice).as_deref(), Some(OLD));
    assert_eq!(choice.skipped.len(), 2);
    assert_eq!(unexplained(&sets), names(&["b"]));
    // Its end is on record.
    let last = sets.last_mut().unwrap();
    contents(last).deleted.insert(name("b"), set(MIDDLE));
    assert_eq!(chosen(&all(&sets)).as_deref(), Some(NEW));
    assert!(unexplained(&sets).is_empty());
    // A set of one collection by hand says nothing about the others.
    let mut one = seen(OLD, &["c"]);
    contents(&mut one).all = false;
    let sets = [one, seen(MIDDLE, &["a"])];
    assert_eq!(chosen(&all(&sets)).as_deref(), Some(MIDDLE));
}

#[test]
fn one_collection_is_taken_from_the_newest_set_that_has_it_whole() {
    let mut sets = three(&["a", "b"]);
    standing(&mut sets[2], "b").whole = false;
    contents(&mut sets[1]).collections.remove(&name("b"));
    assert_eq!(chosen(&these(&sets, &["a"])).as_deref(), Some(NEW));
    let choice = these(&sets, &["b"]);
    assert_eq!(chosen(&choice).as_deref(), Some(OLD));
    assert_eq!(
        choice.skipped,
        [
            (set(NEW), Skip::NotWhole(names(&["b"]))),
            (set(MIDDLE), Skip::Lacks(names(&["b"])))
        ]
    );
    assert_eq!(these(&sets, &["x"]).set, None);
}

#[test]
fn a_set_of_another_life_of_the_same_cluster_is_as_good() {
    let mut sets = three(&["a"]);
    contents(&mut sets[2]).generation = generation(7);
    assert_eq!(chosen(&all(&sets)).as_deref(), Some(NEW));
}
