//! Of which sets the rest of broken-off writes may go.

use std::time::Duration;

use planner::keep::clock::Interval;
use planner::keep::seen::{Seen, State};
use planner::keep::sweep::{may_sweep, settles_after};

use crate::sample::set;

const OLD: &str = "20260228T090000Z";
const NEW: &str = "20260228T091500Z";
const HOUR: Duration = Duration::from_secs(3600);

fn seen(state: State) -> Seen {
    Seen {
        id: set(OLD),
        state,
        pinned: false,
        tombstoned: false,
        restoring: false,
    }
}

fn unfinished(under_way: bool) -> State {
    let age = HOUR;
    State::Unfinished { under_way, age }
}

fn may(seen: &Seen, since: Duration, newest: Option<&str>) -> bool {
    may_sweep(seen, since, newest.map(set), Interval::default())
}

#[test]
fn what_is_over_for_an_hour_is_tidied_up() {
    for state in [State::Bare, unfinished(false)] {
        assert!(may(&seen(state), HOUR, Some(NEW)));
    }
    let tombstoned = Seen {
        tombstoned: true,
        ..seen(unfinished(false))
    };
    assert!(may(&tombstoned, HOUR, Some(NEW)));
}

#[test]
fn what_may_still_be_written_or_is_not_ours_is_left_alone() {
    let bare = seen(State::Bare);
    assert!(!may(&bare, HOUR - Duration::from_secs(1), Some(NEW)));
    assert!(!may(&bare, HOUR, None), "it may be the next set");
    assert!(!may(&bare, HOUR, Some(OLD)), "it is the newest");
    for state in [
        unfinished(true),
        State::Foreign("of another cluster".to_owned()),
        State::Unread("late".to_owned()),
    ] {
        assert!(!may(&seen(state.clone()), HOUR, Some(NEW)), "{state:?}");
    }
    let restoring = Seen {
        restoring: true,
        ..seen(State::Bare)
    };
    assert!(!may(&restoring, HOUR, Some(NEW)));
}

#[test]
fn it_is_four_slots_and_an_hour_at_most() {
    let of = |seconds| {
        let interval = Interval::new(Duration::from_secs(seconds)).unwrap();
        settles_after(interval).as_secs()
    };
    assert_eq!([of(60), of(900), of(21_600)], [240, 3600, 3600]);
}
