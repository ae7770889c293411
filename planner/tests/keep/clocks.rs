//! When a set is due, and what was missed.

use std::time::Duration;

use planner::keep::clock::{
    Clock, Hold, Interval, NotYet, Sight, Synchronised, Taken, Tick, Verdict, Wrong,
};
use planner::keep::ids::SetId;
use planner::keep::time::Utc;
use planner::observed::Observed;
use proptest::prelude::*;

use crate::sample::{at, set};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn sight(now: &str, newest: Option<&str>) -> Sight {
    Sight {
        now: at(now),
        synchronised: Synchronised::Yes,
        taken: known(newest.map(set)),
        under_way: None,
        hold: None,
    }
}

fn known(newest: Option<SetId>) -> Observed<Taken> {
    Observed::Known(Taken {
        newest,
        ..Taken::default()
    })
}

fn clock(began: &str) -> Clock {
    Clock::new(Interval::default(), at(began))
}

fn due(tick: &Tick) -> Option<SetId> {
    match tick.verdict {
        Verdict::Due(set) => Some(set),
        Verdict::NotYet { .. } => None,
    }
}

fn why(tick: &Tick) -> NotYet {
    match &tick.verdict {
        Verdict::NotYet { why, .. } => why.clone(),
        Verdict::Due(set) => panic!("{set} is due"),
    }
}

#[test]
fn an_interval_divides_a_day() {
    for good in [1, 5, 60, 900, 3600, 86_400] {
        let length = Duration::from_secs(good);
        assert_eq!(Interval::new(length).unwrap().length(), length);
    }
    for bad in [0, 7, 17 * 60, 86_401, 172_800] {
        let refused = Interval::new(Duration::from_secs(bad)).expect_err("bad");
        assert!(refused.to_string().contains("15 minutes"), "{refused}");
    }
    assert!(Interval::new(Duration::from_millis(1500)).is_err());
    let hourly = Interval::new(Duration::from_secs(3600)).unwrap();
    assert_eq!(hourly.tolerance(), Duration::from_secs(60));
    assert_eq!(
        hourly.slot(at("2028-02-29T23:59:59Z")),
        at("2028-02-29T23:00:00Z")
    );
    assert_eq!(
        hourly.next(at("2028-02-29T23:59:59Z")),
        at("2028-03-01T00:00:00Z")
    );
}

#[test]
fn a_slot_is_due_when_it_begins_and_only_once() {
    let mut clock = clock("2026-02-28T09:03:00Z");
    let before = clock.tick(&sight("2026-02-28T09:14:59Z", Some("20260228T090000Z")));
    assert_eq!(why(&before), NotYet::Taken);
    let Verdict::NotYet { until, .. } = before.verdict else {
        panic!("not due");
    };
    assert_eq!(until, at("2026-02-28T09:15:00Z"));
    let now = clock.tick(&sight("2026-02-28T09:15:00Z", Some("20260228T090000Z")));
    assert_eq!(due(&now), Some(set("20260228T091500Z")));
    let again = clock.tick(&sight("2026-02-28T09:15:01Z", Some("20260228T091500Z")));
    assert_eq!(why(&again), NotYet::Taken);
    assert_eq!(before.missed + now.missed + again.missed, 0);
}

#[test]
fn a_restart_takes_no_extra_set() {
    // Within the tolerance, and the plan is there: taken.
    let mut early = clock("2026-02-28T09:15:20Z");
    let tick = early.tick(&sight("2026-02-28T09:15:20Z", Some("20260228T091500Z")));
    assert_eq!(why(&tick), NotYet::Taken);
    // Within the tolerance, and nobody has planned it: it is the slot's own set.
    let mut early = clock("2026-02-28T09:15:20Z");
    let tick = early.tick(&sight("2026-02-28T09:15:20Z", Some("20260228T090000Z")));
    assert_eq!(due(&tick), Some(set("20260228T091500Z")));
    // Later: it is gone, and it was not this steward's to miss.
    let mut late = clock("2026-02-28T09:17:00Z");
    let tick = late.tick(&sight("2026-02-28T09:17:00Z", Some("20260228T090000Z")));
    let slot = at("2026-02-28T09:15:00Z");
    assert_eq!(why(&tick), NotYet::TooLate { slot });
    assert_eq!(tick.missed, 0);
    let tick = late.tick(&sight("2026-02-28T09:30:00Z", Some("20260228T090000Z")));
    assert_eq!(
        (due(&tick), tick.missed),
        (Some(set("20260228T093000Z")), 0)
    );
}

#[test]
fn what_passes_is_counted_and_not_made_up_for() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let newest = Some("20260228T090000Z");
    assert_eq!(clock.tick(&sight("2026-02-28T09:00:10Z", newest)).missed, 0);
    // This process slept for an hour and a bit.
    let tick = clock.tick(&sight("2026-02-28T10:07:00Z", newest));
    assert_eq!((due(&tick), tick.missed), (None, 4));
    assert_eq!(clock.tick(&sight("2026-02-28T10:08:00Z", newest)).missed, 0);
    let tick = clock.tick(&sight("2026-02-28T10:15:01Z", newest));
    assert_eq!(
        (due(&tick), tick.missed),
        (Some(set("20260228T101500Z")), 0)
    );
    // Another steward has taken them meanwhile.
    let tick = clock.tick(&sight("2026-02-28T11:20:00Z", Some("20260228T111500Z")));
    assert_eq!((why(&tick), tick.missed), (NotYet::Taken, 0));
}

#[test]
fn a_slot_that_passes_under_a_set_is_missed() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let mut busy = sight("2026-02-28T09:15:00Z", Some("20260228T090000Z"));
    busy.under_way = Some(set("20260228T090000Z"));
    assert_eq!(
        why(&clock.tick(&busy)),
        NotYet::UnderWay(set("20260228T090000Z"))
    );
    let done = clock.tick(&sight("2026-02-28T09:15:40Z", Some("20260228T090000Z")));
    assert_eq!(
        due(&done),
        Some(set("20260228T091500Z")),
        "it was done in time"
    );
    busy.now = at("2026-02-28T09:16:01Z");
    assert_eq!(clock.tick(&busy).missed, 1);
}

#[test]
fn what_is_not_known_makes_no_set_and_settles_nothing() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let mut unread = sight("2026-02-28T09:15:00Z", None);
    unread.taken = Observed::Unknown("no answer".to_owned());
    assert_eq!(
        why(&clock.tick(&unread)),
        NotYet::Unread("no answer".to_owned())
    );
    unread.now = at("2026-02-28T09:46:00Z");
    assert_eq!(clock.tick(&unread).missed, 0);
    let tick = clock.tick(&sight("2026-02-28T09:47:00Z", Some("20260228T093000Z")));
    assert_eq!(tick.missed, 1, "09:45; another steward took the others");
}

#[test]
fn a_clock_that_is_known_to_be_wrong_makes_no_set() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let mut wrong = sight("2026-02-28T09:15:00Z", Some("20260228T090000Z"));
    wrong.synchronised = Synchronised::No;
    assert_eq!(why(&clock.tick(&wrong)), NotYet::Unsynchronised);
    wrong.now = at("2026-02-28T09:16:01Z");
    assert_eq!(clock.tick(&wrong).missed, 1);
    wrong.now = at("2026-02-28T09:30:00Z");
    wrong.synchronised = Synchronised::Unknown;
    assert_eq!(due(&clock.tick(&wrong)), Some(set("20260228T093000Z")));
}

#[test]
fn slots_in_which_no_set_is_wanted_are_not_missed() {
    for hold in [Hold::Empty, Hold::Restoring, Hold::Off] {
        let mut clock = clock("2026-02-28T09:00:00Z");
        let mut held = sight("2026-02-28T11:02:00Z", None);
        held.hold = Some(hold);
        let tick = clock.tick(&held);
        assert_eq!((why(&tick), tick.missed), (NotYet::Hold(hold), 0));
        let tick = clock.tick(&sight("2026-02-28T11:15:00Z", None));
        assert_eq!(
            (due(&tick), tick.missed),
            (Some(set("20260228T111500Z")), 0)
        );
    }
}

#[test]
fn a_clock_that_went_back_makes_no_set_until_it_has_caught_up() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let newest = "20260228T090000Z";
    let tick = clock.tick(&sight("2026-02-28T08:20:00Z", Some(newest)));
    assert_eq!(
        why(&tick),
        NotYet::Backwards {
            newest: set(newest)
        }
    );
    let Verdict::NotYet { until, .. } = tick.verdict else {
        panic!("not due");
    };
    assert_eq!(until, at("2026-02-28T09:15:00Z"));
    let alarm = Wrong::Behind {
        newest: set(newest),
        now: at("2026-02-28T08:20:00Z"),
    };
    assert_eq!(tick.alarm, Some(alarm));
    // A second or a slot is no alarm.
    let tick = clock.tick(&sight("2026-02-28T08:59:59Z", Some(newest)));
    assert_eq!(
        (why(&tick), tick.alarm),
        (
            NotYet::Backwards {
                newest: set(newest)
            },
            None
        )
    );
    let tick = clock.tick(&sight("2026-02-28T09:15:00Z", Some(newest)));
    assert_eq!(
        (due(&tick), tick.missed),
        (Some(set("20260228T091500Z")), 0)
    );
}

#[test]
fn a_year_ahead_is_an_alarm_on_both_sides() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let ahead = clock.tick(&sight("2027-02-28T09:00:00Z", Some("20260228T090000Z")));
    assert_eq!(
        due(&ahead),
        Some(set("20270228T090000Z")),
        "it may have been off for a year"
    );
    assert!(matches!(ahead.alarm, Some(Wrong::Ahead { .. })));
    assert_eq!(ahead.missed, 96, "a day of them at most");
    let behind = clock.tick(&sight("2026-02-28T09:15:00Z", Some("20270228T090000Z")));
    assert!(matches!(why(&behind), NotYet::Backwards { .. }));
    assert!(matches!(behind.alarm, Some(Wrong::Behind { .. })));
    assert!(
        behind
            .alarm
            .unwrap()
            .to_string()
            .contains("delete it by hand")
    );
    // It was deleted by hand.
    let tick = clock.tick(&sight("2026-02-28T09:30:00Z", Some("20260228T090000Z")));
    assert_eq!(due(&tick), Some(set("20260228T093000Z")));
}

#[test]
fn a_slot_whose_set_was_given_up_is_not_taken_again() {
    let mut clock = clock("2026-02-28T09:00:00Z");
    let mut given_up = sight("2026-02-28T09:15:10Z", Some("20260228T090000Z"));
    given_up.taken = Observed::Known(Taken {
        newest: Some(set("20260228T090000Z")),
        given_up: [set("20260228T091500Z"), set("20990101T000000Z")].into(),
    });
    assert_eq!(why(&clock.tick(&given_up)), NotYet::GivenUp);
    given_up.now = at("2026-02-28T09:17:00Z");
    assert_eq!(clock.tick(&given_up).missed, 1);
    given_up.now = at("2026-02-28T09:30:00Z");
    assert_eq!(due(&clock.tick(&given_up)), Some(set("20260228T093000Z")));
}

#[test]
fn a_set_by_hand_leaves_the_name_of_the_slot() {
    let interval = Interval::default();
    let by_hand = |text| interval.by_hand(at(text));
    assert_eq!(by_hand("2026-02-28T09:15:00Z"), set("20260228T091501Z"));
    assert_eq!(by_hand("2026-02-28T09:15:07Z"), set("20260228T091507Z"));
}

proptest! {
    /// Whatever the clock does: every set is later than all before, sits on a slot near to when it was
    /// planned, and after the first no slot that a steady steward saw is both taken and missed.
    #[test]
    fn sets_are_made_in_the_order_of_their_names(
        steps in prop::collection::vec((-4000_i64..4000, any::<bool>()), 1..60),
    ) {
        let interval = Interval::default();
        let mut now = at("2026-02-28T09:00:00Z").unix();
        let mut newest: Option<SetId> = None;
        let mut clock = Clock::new(interval, Utc::from_unix(now).unwrap());
        for (step, restart) in steps {
            now = now.saturating_add_signed(step);
            let moment = Utc::from_unix(now).unwrap();
            if restart {
                clock = Clock::new(interval, moment);
            }
            let sight = Sight {
                now: moment,
                synchronised: Synchronised::Unknown,
                taken: known(newest),
                under_way: None,
                hold: None,
            };
            match clock.tick(&sight).verdict {
                Verdict::Due(set) => {
                    prop_assert!(newest.is_none_or(|newest| newest < set));
                    prop_assert_eq!(interval.slot(set.time()), set.time());
                    prop_assert!(moment.since(set.time()) <= interval.tolerance());
                    prop_assert!(set.time() <= moment);
                    newest = Some(set);
                }
                Verdict::NotYet { until, .. } => prop_assert!(until > moment),
            }
        }
    }

    /// A steward that looks often, for some days: each slot is taken or missed, never both.
    #[test]
    fn every_slot_is_taken_or_missed(
        began in 0_u64..900,
        looks in prop::collection::vec((1_u64..1500, prop::bool::weighted(0.8)), 10..200),
    ) {
        let interval = Interval::default();
        let first = at("2026-02-28T00:00:00Z").unix() + began;
        let mut now = first;
        let mut clock = Clock::new(interval, Utc::from_unix(now).unwrap());
        let (mut newest, mut taken, mut missed) = (None, 0, 0);
        for (step, works) in looks {
            now += step;
            let moment = Utc::from_unix(now).unwrap();
            let sight = Sight {
                now: moment,
                synchronised: Synchronised::Yes,
                taken: known(newest),
                under_way: None,
                hold: None,
            };
            let tick = clock.tick(&sight);
            missed += tick.missed;
            if let (Verdict::Due(set), true) = (tick.verdict, works) {
                newest = Some(set);
                taken += 1;
            }
        }
        // Long after, everything is settled.
        let last = Utc::from_unix(now).unwrap();
        let settled = interval.next(last).plus(Duration::from_secs(200));
        let sight = Sight {
            now: settled,
            synchronised: Synchronised::Yes,
            taken: known(newest),
            under_way: None,
            hold: None,
        };
        missed += clock.tick(&sight).missed;
        let own = Utc::from_unix(first - 60).unwrap();
        let slots = (interval.slot(settled).unix() - interval.slot(own).unix()) / 900;
        let on_slot = u64::from(interval.slot(own) == own);
        prop_assert_eq!(taken + missed, slots + on_slot);
        prop_assert!(settled.since(own) < DAY * 4);
    }
}
