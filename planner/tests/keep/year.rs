//! A year of quarter hours, with what is there at each moment compared with what the rule says in
//! plain words: by the spelling of dates, without any of the code that is tested.

use std::collections::{BTreeMap, BTreeSet};

use planner::keep::clock::Interval;
use planner::keep::ids::SetId;
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::Seen;

use crate::sample::{at, seen_at};

const SLOTS: usize = 35_040;

/// Makes one set after the other, and after each deletes what retention says.
struct Store {
    settings: Settings,
    sets: BTreeMap<SetId, Seen>,
    made: Vec<String>,
    most: usize,
}

impl Store {
    fn new() -> Self {
        Self {
            settings: Settings::default(),
            sets: BTreeMap::new(),
            made: Vec::new(),
            most: 0,
        }
    }

    fn make(&mut self, id: SetId) {
        self.sets.insert(id, seen_at(id, &["articles"]));
        self.made.push(id.to_string());
        let sets: Vec<_> = self.sets.values().cloned().collect();
        for (id, verdict) in retention(&self.settings, &sets, false) {
            if matches!(verdict, Verdict::Delete { now: true, .. }) {
                self.sets.remove(&id);
            }
        }
        self.most = self.most.max(self.sets.len());
    }

    fn there(&self) -> Vec<String> {
        self.sets.keys().map(SetId::to_string).collect()
    }

    /// The last 16; and the newest of each of the last 24 hours, 30 days, 12 months that have one.
    fn in_plain_words(&self) -> Vec<String> {
        let mut wanted: BTreeSet<&String> = self.made.iter().rev().take(16).collect();
        for (digits, count) in [(11, 24), (8, 30), (6, 12)] {
            let mut begun = BTreeSet::new();
            for id in self.made.iter().rev() {
                if begun.len() == count {
                    break;
                }
                if begun.insert(&id[..digits]) {
                    wanted.insert(id);
                }
            }
        }
        wanted.into_iter().cloned().collect()
    }
}

#[test]
fn retention_year() {
    let interval = Interval::default();
    let mut store = Store::new();
    let mut time = at("2027-06-01T00:00:00Z");
    // Month ends, a leap day, a new year, and some that are nothing special.
    let dates = [
        "20270601T000000Z",
        "20270601T040000Z",
        "20270630T234500Z",
        "20270701T000000Z",
        "20271031T234500Z",
        "20271231T234500Z",
        "20280101T000000Z",
        "20280228T234500Z",
        "20280229T000000Z",
        "20280229T234500Z",
        "20280301T000000Z",
        "20280330T120000Z",
        "20280331T121500Z",
        "20280530T234500Z",
    ];
    let mut compared = 0;
    for slot in 0..SLOTS {
        let id = SetId::at(time);
        store.make(id);
        // And every fourth day, at all times of the day.
        if dates.contains(&id.to_string().as_str()) || slot % 397 == 0 {
            assert_eq!(store.there(), store.in_plain_words(), "at {id}");
            compared += 1;
        }
        if id.to_string() == "20280331T121500Z" {
            assert_eq!(store.there(), leap_spring());
        }
        time = interval.next(time);
    }
    assert!(compared > 95);
    assert_eq!(store.made.last().unwrap(), "20280530T234500Z");
    assert!(store.most <= 16 + 24 + 30 + 12 + 1, "{}", store.most);
}

/// What is there on 31 March 2028 at a quarter past twelve, written out by hand.
fn leap_spring() -> Vec<String> {
    let months = [
        "20270630", "20270731", "20270831", "20270930", "20271031", "20271130", "20271231",
        "20280131", "20280229",
    ];
    let mut all: Vec<String> = months.iter().map(|day| format!("{day}T234500Z")).collect();
    // 30 days with the 31st: from the 2nd. The last day of February is kept for its month.
    all.extend((2..=29).map(|day| format!("202803{day:02}T234500Z")));
    // 24 hours with the 12th of today: from the 13th of yesterday.
    all.extend((13..=23).map(|hour| format!("20280330T{hour:02}4500Z")));
    all.extend((0..=7).map(|hour| format!("20280331T{hour:02}4500Z")));
    // 16 quarter hours: from half past eight.
    all.extend(["083000", "084500"].map(|time| format!("20280331T{time}Z")));
    for hour in 9..=11 {
        all.extend([0, 15, 30, 45].map(|minute| format!("20280331T{hour:02}{minute:02}00Z")));
    }
    all.extend(["120000", "121500"].map(|time| format!("20280331T{time}Z")));
    all
}

#[test]
fn a_service_that_runs_on_workdays_keeps_as_much() {
    let interval = Interval::default();
    let mut store = Store::new();
    let mut time = at("2027-12-06T00:00:00Z");
    for slot in 0..96 * 80 {
        // Monday to Friday, from eight to six.
        let (day, hour) = (slot / 96 % 7, slot % 96 / 4);
        if day < 5 && (8..18).contains(&hour) {
            store.make(SetId::at(time));
        }
        time = interval.next(time);
    }
    assert_eq!(store.there(), store.in_plain_words());
    let days: BTreeSet<_> = store
        .sets
        .keys()
        .map(|id| id.to_string()[..8].to_owned())
        .collect();
    assert!(
        days.len() >= 30,
        "thirty days that have a set, not thirty days of the calendar"
    );
}
