//! What becomes of a request for a set by hand.

use std::time::Duration;

use planner::keep::by_hand::{Dropped, Request, Sets, Sight, Verdict, Waits, age, by_hand};
use planner::keep::clock::{self, Clock, Hold, Interval, NotYet, Synchronised, Taken};
use planner::keep::plan::plan;
use planner::keep::read::read;
use planner::keep::records::{Asked, Manifest, Origin, PlanRecord, Scope};
use planner::keep::refusal::Fault;
use planner::keep::time::Utc;
use planner::observed::Observed;

use crate::sample::{SLOT, at, cluster, described, manifest, name, order, planned, set};

fn request() -> Request {
    Request {
        asked: asked("word"),
        scope: Scope::All,
        at: at("2026-02-28T09:20:07Z"),
    }
}

fn asked(token: &str) -> Asked {
    Asked {
        token: token.into(),
        by: "on call".to_owned(),
    }
}

/// The clock's set of this slot is there.
fn quiet(now: &str) -> Sight {
    Sight {
        now: at(now),
        interval: Interval::default(),
        sets: known(Some(SLOT), &[]),
        under_way: None,
        clock: Some(clock::Verdict::NotYet {
            until: at("2026-02-28T09:30:00Z"),
            why: NotYet::Taken,
        }),
        hold: None,
    }
}

fn known(latest: Option<&str>, asked: &[(&str, &str)]) -> Observed<Sets> {
    let asked = asked.iter();
    Observed::Known(Sets {
        latest: latest.map(set),
        asked: asked
            .map(|(token, id)| ((*token).into(), set(id)))
            .collect(),
    })
}

fn waits(why: Waits) -> Verdict {
    Verdict::Waits(why)
}

#[test]
fn a_request_becomes_the_set_of_its_second_whoever_looks_and_when() {
    for now in ["2026-02-28T09:20:07Z", "2026-02-28T09:29:59Z"] {
        let verdict = by_hand(&request(), &quiet(now));
        assert_eq!(verdict, Verdict::Due(set("20260228T092007Z")), "{now}");
    }
}

#[test]
fn its_name_is_later_than_every_other_and_never_a_slots() {
    let verdict = |asked_at: &str, latest: &str| {
        let mut request = request();
        request.at = at(asked_at);
        let mut sight = quiet("2026-02-28T09:40:00Z");
        sight.sets = known(Some(latest), &[]);
        by_hand(&request, &sight)
    };
    let due = |id: &str| Verdict::Due(set(id));
    let (asked, slot) = ("2026-02-28T09:20:07Z", "2026-02-28T09:30:00Z");
    assert_eq!(verdict(asked, "20260228T092006Z"), due("20260228T092007Z"));
    assert_eq!(verdict(asked, "20260228T092007Z"), due("20260228T092008Z"));
    assert_eq!(verdict(asked, "20260228T092959Z"), due("20260228T093001Z"));
    assert_eq!(verdict(asked, "20260228T093000Z"), due("20260228T093001Z"));
    assert_eq!(verdict(slot, SLOT), due("20260228T093001Z"));
    let far = set("20260228T094000Z");
    let early = waits(Waits::Early(set("20260228T094001Z")));
    assert_eq!(verdict(asked, &far.to_string()), early);
}

#[test]
fn a_request_that_has_its_set_never_gets_another() {
    let mut sight = quiet("2026-02-28T09:20:09Z");
    let taken = Verdict::Taken(set("20260228T092007Z"));
    sight.sets = known(
        Some("20260228T092007Z"),
        &[("other", SLOT), ("word", "20260228T092007Z")],
    );
    assert_eq!(by_hand(&request(), &sight), taken);
    // Not when it is old either, nor while nothing else is known.
    sight.now = at("2026-02-28T11:20:09Z");
    assert_eq!(by_hand(&request(), &sight), taken);
    sight.sets = Observed::Unknown("the volume".to_owned());
    sight.under_way = Some((set("20260228T092007Z"), Some("word".into())));
    assert_eq!(by_hand(&request(), &sight), taken);
}

#[test]
fn a_set_under_way_the_clocks_set_a_hold_and_what_is_not_known_come_first() {
    let base = quiet("2026-02-28T09:20:09Z");
    let look = |change: &dyn Fn(&mut Sight)| {
        let mut sight = base.clone();
        change(&mut sight);
        by_hand(&request(), &sight)
    };
    let other = set("20260228T092001Z");
    for token in [None, Some("other".into())] {
        let verdict = look(&|sight| sight.under_way = Some((other, token.clone())));
        assert_eq!(verdict, waits(Waits::UnderWay(other)));
    }
    for hold in [Hold::Off, Hold::Restoring, Hold::Empty] {
        let verdict = look(&|sight| sight.hold = Some(hold));
        assert_eq!(verdict, waits(Waits::Hold(hold)));
    }
    let verdict = look(&|sight| sight.sets = Observed::Unknown("hangs".to_owned()));
    assert_eq!(verdict, waits(Waits::Unread("hangs".to_owned())));
    for clock in [None, Some(clock::Verdict::Due(set(SLOT)))] {
        let verdict = look(&|sight| sight.clock = clock.clone());
        assert_eq!(verdict, waits(Waits::Clock));
    }
}

#[test]
fn after_an_hour_a_request_is_dropped_and_so_is_one_from_far_ahead() {
    let hour = "2026-02-28T10:20:07Z";
    assert!(matches!(by_hand(&request(), &quiet(hour)), Verdict::Due(_)));
    let verdict = by_hand(&request(), &quiet("2026-02-28T10:20:08Z"));
    let age = Duration::from_secs(3601);
    assert_eq!(verdict, Verdict::Dropped(Dropped::TooOld { age }));
    // Also while everything else would have it wait.
    let mut busy = quiet("2026-02-28T10:20:08Z");
    busy.under_way = Some((set(SLOT), None));
    busy.sets = Observed::Unknown("hangs".to_owned());
    busy.hold = Some(Hold::Off);
    assert_eq!(
        by_hand(&request(), &busy),
        Verdict::Dropped(Dropped::TooOld { age })
    );
    let name = set("20260228T092007Z");
    let verdict = by_hand(&request(), &quiet("2026-02-28T09:20:06Z"));
    assert_eq!(verdict, waits(Waits::Early(name)));
    let verdict = by_hand(&request(), &quiet("2026-02-28T08:20:06Z"));
    let by = Duration::from_secs(3601);
    assert_eq!(verdict, Verdict::Dropped(Dropped::Ahead { by }));
}

#[test]
fn the_age_of_a_request_is_the_difference_of_two_clocks() {
    let (one, other): (Utc, Utc) = (at("2026-02-28T09:20:07Z"), at("2026-02-28T09:20:09Z"));
    assert_eq!(age(one, other), Duration::from_secs(2));
    assert_eq!(age(other, one), Duration::from_secs(2));
}

#[test]
fn the_clock_neither_counts_a_set_by_hand_nor_misses_a_slot_for_a_short_one() {
    let sight = |now: &str| clock::Sight {
        now: at(now),
        synchronised: Synchronised::Unknown,
        // The plan that is by hand is not in it.
        taken: Observed::Known(Taken {
            newest: Some(set(SLOT)),
            ..Taken::default()
        }),
        under_way: None,
        hold: None,
    };
    let mut clock = Clock::new(Interval::default(), at("2026-02-28T09:15:00Z"));
    assert_eq!(clock.tick(&sight("2026-02-28T09:29:50Z")).missed, 0);
    // One was made from 09:29:51 to 09:30:40: nobody asked the clock meanwhile.
    let tick = clock.tick(&sight("2026-02-28T09:30:40Z"));
    let due = clock::Verdict::Due(set("20260228T093000Z"));
    assert_eq!((tick.verdict, tick.missed), (due, 0));
}

/// Plan and manifest of a set by hand.
fn records() -> (PlanRecord, Manifest) {
    let mut order = order();
    order.origin = Origin::Hand;
    order.asked = Some(asked("word"));
    order.scope = Scope::One(name("notes"));
    let plan = plan(&order, &cluster(), &described()).unwrap();
    let mut manifest = manifest();
    manifest.origin = Origin::Hand;
    manifest.asked = plan.asked.clone();
    (plan, manifest)
}

#[test]
fn who_asked_stands_in_plan_and_manifest_and_only_of_a_set_by_hand() {
    let (mut plan, mut manifest) = records();
    assert_eq!(plan.asked, Some(asked("word")));
    let of = |plan: &PlanRecord| serde_json::to_vec(plan).unwrap();
    let again: PlanRecord = read(SLOT, "plan.json", &of(&plan)).unwrap();
    assert_eq!(again, plan);
    let of_all = |manifest: &Manifest| serde_json::to_vec(manifest).unwrap();
    let again: Manifest = read(SLOT, "manifest.json", &of_all(&manifest)).unwrap();
    assert_eq!(again, manifest);
    for origin in [Origin::Clock, Origin::Stop] {
        (plan.origin, manifest.origin) = (origin, origin);
        let refused = read::<PlanRecord>(SLOT, "plan.json", &of(&plan)).unwrap_err();
        assert_eq!(refused.fault, Fault::Asked);
        let refused = read::<Manifest>(SLOT, "manifest.json", &of_all(&manifest)).unwrap_err();
        assert_eq!(refused.fault, Fault::Asked);
    }
    // The clock's own say nothing of it.
    let value = serde_json::to_value(planned()).unwrap();
    assert!(value.get("asked").is_none());
}
