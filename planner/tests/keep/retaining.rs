//! Retention, case by case. What holds for all cases is in `laws.rs`, a whole year in `year.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use planner::keep::clock::Interval;
use planner::keep::ids::SetId;
use planner::keep::reasons::{Delete, Keep, Tier};
use planner::keep::records::{Level, Origin};
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::{Seen, State};

use crate::sample::{at, contents, name, seen, seen_at, set, standing};

/// Nothing but what is always kept.
fn nothing() -> Settings {
    Settings {
        all_for: Duration::ZERO,
        hourly: 0,
        daily: 0,
        monthly: 0,
        floor: 2,
        per_round: 100,
        ..Settings::default()
    }
}

fn kept(settings: &Settings, sets: &[Seen], failing: bool) -> Vec<String> {
    let verdicts = retention(settings, sets, failing);
    let kept = verdicts.iter().filter(|(_, verdict)| verdict.keeps());
    kept.map(|(id, _)| id.to_string()).collect()
}

fn verdict(settings: &Settings, sets: &[Seen], of: &str) -> Verdict {
    retention(settings, sets, false)[&set(of)].clone()
}

/// One set each quarter hour.
fn slots(first: &str, count: u64) -> Vec<Seen> {
    let interval = Interval::default();
    let mut time = at(first);
    let mut sets = Vec::new();
    for _ in 0..count {
        sets.push(seen_at(SetId::at(time), &["a"]));
        time = interval.next(time);
    }
    sets
}

#[test]
fn the_tiers_of_some_days() {
    let settings = Settings {
        all_for: Duration::from_secs(3600),
        hourly: 3,
        daily: 3,
        monthly: 2,
        per_round: 1000,
        ..Settings::default()
    };
    let sets = slots("2028-02-26T00:00:00Z", 4 * 24 * 5 + 7);
    assert_eq!(
        kept(&settings, &sets, false),
        [
            "20280229T234500Z", // also the newest of February
            "20280301T234500Z",
            "20280302T004500Z", // a slot, and the newest of its hour
            "20280302T010000Z",
            "20280302T011500Z",
            "20280302T013000Z",
        ]
    );
    let Verdict::Keep(reasons) = verdict(&settings, &sets, "20280229T234500Z") else {
        panic!("kept");
    };
    let shown: Vec<_> = reasons.iter().map(Keep::to_string).collect();
    assert_eq!(
        shown,
        [
            "a: newest of the day 2028-02-29T00:00:00Z",
            "a: newest of the month 2028-02-01T00:00:00Z"
        ]
    );
}

#[test]
fn a_default_history_has_a_bound() {
    let settings = Settings::default();
    let bound: u64 = Tier::ALL.iter().map(|tier| tier.count(&settings)).sum();
    assert_eq!(bound, 16 + 24 + 30 + 12);
    let odd = Settings {
        interval: Interval::new(Duration::from_secs(86_400)).unwrap(),
        ..Settings::default()
    };
    assert_eq!(
        Tier::Slot.count(&odd),
        1,
        "at least one where the interval is longer"
    );
}

#[test]
fn a_year_off_deletes_nothing_by_itself() {
    let settings = Settings::default();
    let mut sets = slots("2026-02-01T00:00:00Z", 4 * 24 * 40);
    let before = kept(&settings, &sets, false);
    sets.push(seen("20270301T120000Z", &["a"]));
    let after = kept(&settings, &sets, false);
    let lost = before.iter().filter(|id| !after.contains(id)).count();
    assert!(lost <= 3, "one slot, one hour and one day went on: {lost}");
}

#[test]
fn a_set_with_a_date_a_century_ahead_pushes_out_one_place_of_each_tier() {
    let settings = Settings::default();
    let mut sets = slots("2026-02-01T00:00:00Z", 4 * 24 * 40);
    let before = kept(&settings, &sets, false);
    sets.push(seen("21260301T120000Z", &["a"]));
    let after = kept(&settings, &sets, false);
    let lost = before.iter().filter(|id| !after.contains(id)).count();
    assert!(lost <= 3, "{lost}");
}

#[test]
fn what_people_want_stays() {
    let stays = |change: &dyn Fn(&mut Seen)| {
        let mut sets = slots("2026-02-28T09:00:00Z", 2);
        change(&mut sets[0]);
        verdict(&nothing(), &sets, "20260228T090000Z")
    };
    assert_eq!(
        stays(&|_| {}),
        Verdict::Delete {
            why: Delete::Outlived,
            now: true
        }
    );
    let only = |why: Keep| Verdict::Keep([why].into());
    assert_eq!(stays(&|set| set.pinned = true), only(Keep::Pinned));
    assert_eq!(stays(&|set| set.restoring = true), only(Keep::Restoring));
    assert_eq!(
        stays(&|set| contents(set).origin = Origin::Hand),
        only(Keep::ByHand)
    );
    let foreign = || "a newer format".to_owned();
    assert_eq!(
        stays(&|set| set.state = State::Foreign(foreign())),
        only(Keep::Foreign(foreign()))
    );
    // What we cannot read may be anybody's, also with a tombstone beside it.
    assert_eq!(
        stays(&|set| {
            set.state = State::Foreign(foreign());
            set.tombstoned = true;
        }),
        only(Keep::Foreign(foreign()))
    );
    assert_eq!(
        stays(&|set| set.state = State::Unread("late".to_owned())),
        only(Keep::Unread("late".to_owned()))
    );
}

#[test]
fn a_deletion_that_was_begun_is_ended_unless_somebody_holds_it() {
    let mut sets = slots("2026-02-28T09:00:00Z", 2);
    sets[1].tombstoned = true;
    let deletes = |why| Verdict::Delete { why, now: true };
    assert_eq!(
        verdict(&nothing(), &sets, "20260228T091500Z"),
        deletes(Delete::Tombstoned)
    );
    assert!(
        verdict(&nothing(), &sets, "20260228T090000Z").keeps(),
        "the last that counts"
    );
    sets[1].pinned = true;
    assert!(verdict(&nothing(), &sets, "20260228T091500Z").keeps());
    sets[1].pinned = false;
    sets[1].restoring = true;
    assert!(verdict(&nothing(), &sets, "20260228T091500Z").keeps());
}

#[test]
fn unfinished_sets_go_when_they_are_old() {
    let settings = nothing();
    let age = settings.unfinished_after;
    let of = |under_way, age| {
        let mut sets = slots("2026-02-28T09:00:00Z", 2);
        sets[0].state = State::Unfinished { under_way, age };
        verdict(&settings, &sets, "20260228T090000Z")
    };
    let why = Delete::Unfinished { age };
    assert_eq!(of(false, age), Verdict::Delete { why, now: true });
    assert!(of(true, age * 9).keeps());
    let left = Duration::from_secs(1);
    assert_eq!(
        of(false, age - left),
        Verdict::Keep([Keep::Unfinished { left }].into())
    );
}

#[test]
fn each_collection_keeps_its_own_history() {
    let settings = nothing();
    let mut sets = slots("2026-02-28T09:00:00Z", 3);
    contents(&mut sets[0]).collections = seen_names(&["a", "b"]);
    standing(&mut sets[1], "b").whole = false;
    standing(&mut sets[2], "b").whole = false;
    // Nothing newer has b whole.
    assert_eq!(
        kept(&settings, &sets, false),
        ["20260228T090000Z", "20260228T093000Z"]
    );
    // While b fails, its history stands still however many sets the others get.
    let tiers = Settings {
        hourly: 2,
        ..nothing()
    };
    let mut sets = slots("2026-02-28T00:00:00Z", 40);
    for (at, set) in sets.iter_mut().enumerate() {
        standing(set, "b").whole = at < 12;
    }
    assert_eq!(
        kept(&tiers, &sets, false),
        [
            "20260228T014500Z",
            "20260228T024500Z",
            "20260228T084500Z",
            "20260228T094500Z"
        ]
    );
}

fn seen_names(
    whole: &[&str],
) -> BTreeMap<planner::heal::names::CollectionName, planner::keep::seen::Standing> {
    contents(&mut seen("20260228T090000Z", whole))
        .collections
        .clone()
}

#[test]
fn what_has_ended_goes_with_time_and_not_at_once() {
    let settings = Settings {
        hourly: 3,
        ..nothing()
    };
    // b ends after the first of four hours.
    let mut sets = slots("2026-02-28T00:00:00Z", 16);
    for (at, set) in sets.iter_mut().enumerate() {
        if at < 4 {
            standing(set, "b").whole = true;
        } else {
            contents(set)
                .deleted
                .insert(name("b"), crate::sample::set("20260228T010000Z"));
        }
    }
    assert!(kept(&settings, &sets[..12], false).contains(&"20260228T004500Z".to_owned()));
    assert!(!kept(&settings, &sets, false).contains(&"20260228T004500Z".to_owned()));
    // Without a record of the end it stays for ever.
    for set in &mut sets {
        contents(set).deleted.clear();
    }
    assert!(kept(&settings, &sets, false).contains(&"20260228T004500Z".to_owned()));
}

#[test]
fn the_sets_of_the_only_collection_stay_when_it_is_deleted() {
    // No set is made of nothing, so nothing goes on counting, and a person decides.
    let settings = Settings::default();
    let sets = slots("2026-02-01T00:00:00Z", 2000);
    let before = kept(&settings, &sets, false);
    assert!(before.len() > 50);
    assert_eq!(kept(&settings, &sets, false), before);
}

#[test]
fn a_bad_set_takes_no_place_and_is_not_thrown_away_early() {
    let settings = Settings {
        hourly: 2,
        ..nothing()
    };
    let mut sets = slots("2026-02-28T00:00:00Z", 12);
    assert_eq!(
        kept(&settings, &sets, false),
        ["20260228T014500Z", "20260228T024500Z"]
    );
    standing(&mut sets[11], "a").failed = true;
    assert_eq!(
        kept(&settings, &sets, false),
        ["20260228T014500Z", "20260228T023000Z", "20260228T024500Z"]
    );
    // Were all found to be bad, by a mistake of ours: nothing goes that would have stayed.
    for set in &mut sets {
        standing(set, "a").failed = true;
    }
    assert_eq!(
        kept(&settings, &sets, false),
        ["20260228T014500Z", "20260228T024500Z"]
    );
}

#[test]
fn the_newest_proven_of_each_level_stays() {
    let mut sets = slots("2026-02-28T00:00:00Z", 6);
    standing(&mut sets[0], "a").proven = Some(Level::L2);
    standing(&mut sets[1], "a").proven = Some(Level::L2);
    standing(&mut sets[2], "a").proven = Some(Level::L0);
    standing(&mut sets[3], "a").proven = Some(Level::L1);
    standing(&mut sets[3], "a").failed = true;
    assert_eq!(
        kept(&nothing(), &sets, false),
        ["20260228T001500Z", "20260228T003000Z", "20260228T011500Z"]
    );
}

#[test]
fn while_sets_fail_the_newest_good_ones_stay() {
    let settings = nothing();
    let mut sets = slots("2026-02-28T00:00:00Z", 6);
    standing(&mut sets[5], "a").whole = false;
    assert_eq!(kept(&settings, &sets, false), ["20260228T010000Z"]);
    assert_eq!(
        kept(&settings, &sets, true),
        ["20260228T004500Z", "20260228T010000Z"]
    );
    let verdicts = retention(&settings, &sets[..2], true);
    assert!(
        verdicts.values().all(Verdict::keeps),
        "no more than the floor: nothing goes"
    );
}

#[test]
fn a_few_in_each_round_and_the_useless_first() {
    let settings = Settings {
        per_round: 3,
        ..nothing()
    };
    let mut sets = slots("2026-02-28T00:00:00Z", 8);
    standing(&mut sets[4], "a").whole = false;
    sets[5].state = State::Unfinished {
        under_way: false,
        age: Duration::from_secs(1_000_000),
    };
    sets[6].tombstoned = true;
    let verdicts = retention(&settings, &sets, false);
    let now: Vec<_> = verdicts
        .iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Delete { now: true, .. }))
        .map(|(id, _)| id.to_string())
        .collect();
    // Three, and the one that has its tombstone already.
    assert_eq!(
        now,
        [
            "20260228T000000Z",
            "20260228T010000Z",
            "20260228T011500Z",
            "20260228T013000Z"
        ]
    );
    assert_eq!(
        verdicts.values().filter(|verdict| !verdict.keeps()).count(),
        7
    );
}
