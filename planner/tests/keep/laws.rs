//! What holds for every store, however strange.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::keep::clock::Interval;
use planner::keep::ids::SetId;
use planner::keep::reasons::Keep;
use planner::keep::records::{Level, Origin};
use planner::keep::retention::{Settings, Verdict, retention};
use planner::keep::seen::{Contents, Seen, Standing, State};
use planner::keep::time::Utc;
use proptest::prelude::*;

use crate::sample::{generation, name};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// One set, before it has a date.
#[derive(Clone, Debug)]
struct Draft {
    /// Seconds since the set before it.
    gap: u64,
    kind: u8,
    standings: [(bool, bool, Option<Level>); 3],
    pinned: bool,
    tombstoned: bool,
    restoring: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    let gap = prop_oneof![
        10 => Just(900_u64),
        2 => 1_u64..900,
        3 => 900_u64..40_000,
        2 => 40_000_u64..4_000_000,
        1 => Just(366 * 86_400),
    ];
    let level = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Level::L0)),
        1 => Just(Some(Level::L1)),
        1 => Just(Some(Level::L2)),
    ];
    let standing = (prop::bool::weighted(0.8), prop::bool::weighted(0.1), level);
    let rare = || prop::bool::weighted(0.04);
    (
        gap,
        0_u8..24,
        [standing.clone(), standing.clone(), standing],
        rare(),
        rare(),
        rare(),
    )
        .prop_map(
            |(gap, kind, standings, pinned, tombstoned, restoring)| Draft {
                gap,
                kind,
                standings,
                pinned,
                tombstoned,
                restoring,
            },
        )
}

/// A store: sets with growing dates. From `ends` on a collection is not there any more, and its end is
/// on record.
fn store(drafts: &[Draft], ends: [Option<usize>; 3]) -> Vec<Seen> {
    let mut time = Utc::from_unix(1_800_000_000).unwrap();
    let mut deleted = BTreeMap::new();
    let mut sets = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        time = time.plus(Duration::from_secs(draft.gap));
        let id = SetId::at(time);
        let mut collections = BTreeMap::new();
        for ((of, (whole, failed, proven)), end) in NAMES.iter().zip(draft.standings).zip(ends) {
            if end.is_some_and(|end| at >= end) {
                deleted.entry(name(of)).or_insert(id);
                continue;
            }
            let standing = Standing {
                whole,
                failed,
                proven: proven.filter(|_| whole),
            };
            collections.insert(name(of), standing);
        }
        let made = |origin, all| {
            State::Made(Contents {
                origin,
                all,
                generation: generation(1),
                collections: collections.clone(),
                deleted: deleted.clone(),
            })
        };
        let state = match draft.kind {
            0 => State::Unfinished {
                under_way: false,
                age: Duration::from_secs(draft.gap * 20),
            },
            1 => State::Unfinished {
                under_way: true,
                age: Duration::ZERO,
            },
            2 => State::Foreign("of another cluster".to_owned()),
            3 => State::Unread("late".to_owned()),
            4 => made(Origin::Hand, true),
            5 => made(Origin::Hand, false),
            6 => made(Origin::Stop, true),
            _ => made(Origin::Clock, true),
        };
        sets.push(Seen {
            id,
            state,
            pinned: draft.pinned,
            tombstoned: draft.tombstoned,
            restoring: draft.restoring,
        });
    }
    sets
}

fn stores() -> impl Strategy<Value = Vec<Seen>> {
    let end = || prop_oneof![2 => Just(None), 1 => (1_usize..90).prop_map(Some)];
    let drafts = prop::collection::vec(draft(), 0..90);
    (drafts, [end(), end(), end()]).prop_map(|(drafts, ends)| store(&drafts, ends))
}

fn settings() -> impl Strategy<Value = Settings> {
    let interval = prop_oneof![Just(900_u64), Just(300), Just(3600), Just(86_400)];
    (
        interval,
        0_u64..6,
        0_u64..8,
        0_u64..8,
        0_u64..5,
        0_usize..9,
        1_usize..6,
    )
        .prop_map(
            |(interval, hours_of_all, hourly, daily, monthly, floor, per_round)| Settings {
                interval: Interval::new(Duration::from_secs(interval)).unwrap(),
                all_for: Duration::from_secs(3600 * hours_of_all),
                hourly,
                daily,
                monthly,
                floor,
                per_round,
                ..Settings::default()
            },
        )
}

fn kept(settings: &Settings, sets: &[Seen], failing: bool) -> BTreeSet<SetId> {
    let verdicts = retention(settings, sets, failing);
    assert_eq!(verdicts.len(), sets.len(), "a verdict for each");
    let kept = verdicts.into_iter().filter(|(_, verdict)| verdict.keeps());
    kept.map(|(id, _)| id).collect()
}

/// The store after the deletions of one round.
fn round(settings: &Settings, sets: &[Seen], failing: bool) -> Vec<Seen> {
    let verdicts = retention(settings, sets, failing);
    let goes = |set: &&Seen| !matches!(verdicts[&set.id], Verdict::Delete { now: true, .. });
    sets.iter().filter(goes).cloned().collect()
}

fn of<'a>(set: &'a Seen, name_: &str) -> Option<&'a Standing> {
    let contents = set
        .contents()
        .filter(|there| there.origin != Origin::Hand)?;
    contents
        .collections
        .get(&name(name_))
        .filter(|there| there.is_good())
}

/// The newest set of all collections has no record of the end of this one.
fn lives(sets: &[Seen], name_: &str) -> bool {
    let newest = sets
        .iter()
        .filter(|set| set.contents().is_some_and(|there| there.all));
    let newest = newest.max_by_key(|set| set.id);
    newest.is_none_or(|set| !set.contents().unwrap().deleted.contains_key(&name(name_)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// What is kept needs nothing of what goes, in whichever order and however slowly it goes.
    #[test]
    fn it_is_idempotent(settings in settings(), sets in stores(), failing in any::<bool>()) {
        let wanted = kept(&settings, &sets, failing);
        let mut left = sets;
        for _ in 0..200 {
            prop_assert_eq!(&kept(&settings, &left, failing), &wanted);
            // What has its tombstone takes no place from what has not.
            let begun = |sets: &[Seen]| sets.iter().filter(|set| !set.tombstoned).count();
            let (before, unmarked) = (left.len(), begun(&left));
            left = round(&settings, &left, failing);
            prop_assert!(unmarked - begun(&left) <= settings.per_round);
            if left.len() == before {
                break;
            }
        }
        let rest: BTreeSet<_> = left.iter().map(|set| set.id).collect();
        prop_assert_eq!(rest, wanted, "it comes to an end");
    }

    /// The order in which a store lists its folders means nothing.
    #[test]
    fn order_means_nothing(settings in settings(), sets in stores(), turn in 0_usize..90) {
        let mut other = sets.clone();
        other.reverse();
        if !other.is_empty() {
            let turn = turn % other.len();
            other.rotate_left(turn);
        }
        prop_assert_eq!(retention(&settings, &sets, false), retention(&settings, &other, false));
    }

    /// As sets are made, nothing is wanted that was not wanted before: what was deleted is not missed.
    #[test]
    fn it_is_monotone(settings in settings(), sets in stores(), cut in 0_usize..90) {
        let mut now = sets;
        let later = now.split_off(cut.min(now.len()));
        let first = kept(&settings, &now, false);
        let all: Vec<_> = now.iter().chain(&later).cloned().collect();
        let second = kept(&settings, &all, false);
        let again: Vec<_> = now.iter().map(|set| set.id)
            .filter(|id| second.contains(id) && !first.contains(id))
            .collect();
        prop_assert!(again.is_empty(), "{again:?}");
        // And it is the same when what was not wanted has gone meanwhile.
        let rest = all.iter().filter(|set| first.contains(&set.id) || later.contains(set));
        let rest: Vec<_> = rest.cloned().collect();
        prop_assert_eq!(kept(&settings, &rest, false), second);
    }

    /// What must never go does not, whatever the settings.
    #[test]
    fn what_must_stay_stays(settings in settings(), sets in stores(), failing in any::<bool>()) {
        let wanted = kept(&settings, &sets, failing);
        for set in &sets {
            let held = set.pinned || set.restoring
                || matches!(set.state, State::Foreign(_) | State::Unread(_));
            let by_hand = set.contents().is_some_and(|there| there.origin == Origin::Hand);
            prop_assert!(!(held || by_hand) || wanted.contains(&set.id));
        }
        for level in Level::ALL {
            let proven = sets.iter().filter(|set| {
                let contents = set.contents().filter(|there| there.origin != Origin::Hand);
                contents.is_some_and(|there| there.proven() >= Some(level))
            });
            if let Some(newest) = proven.map(|set| set.id).max() {
                prop_assert!(wanted.contains(&newest), "the newest proven: {level}");
            }
        }
        for name_ in NAMES {
            let mut good: Vec<_> = sets.iter().filter(|set| of(set, name_).is_some()).collect();
            good.sort_by_key(|set| std::cmp::Reverse(set.id));
            if lives(&sets, name_) {
                prop_assert!(good.first().is_none_or(|set| wanted.contains(&set.id)), "the last");
            }
            if failing {
                let floor = good.iter().take(settings.floor);
                prop_assert!(floor.into_iter().all(|set| wanted.contains(&set.id)), "the floor");
            }
        }
    }

    /// A date a year ahead, or any other, takes one place of each tier and collection.
    #[test]
    fn a_date_from_the_future_pushes_out_little(
        settings in settings(), sets in stores(), ahead in 1_u64..100 * 366 * 86_400,
    ) {
        let last = sets.iter().map(|set| set.id.time()).max();
        let last = last.unwrap_or_else(|| Utc::from_unix(1_800_000_000).unwrap());
        let mut future = sets.clone();
        future.push(crate::sample::seen_at(SetId::at(last.plus(Duration::from_secs(ahead))), &NAMES));
        let before = retention(&settings, &sets, false);
        let after = kept(&settings, &future, false);
        // The last whole one and the proven ones are others then, which is no loss.
        let tiers = |verdict: &Verdict| match verdict {
            Verdict::Keep(reasons) => reasons.iter().any(|why| matches!(why, Keep::Tier(..))),
            Verdict::Delete { .. } => false,
        };
        let lost = before.iter().filter(|(id, verdict)| tiers(verdict) && !after.contains(id)).count();
        prop_assert!(lost <= 4 * NAMES.len(), "{lost}");
    }

    /// Time alone does nothing: moving all of a store by whole 400 years of the calendar changes no
    /// verdict, and no clock is asked.
    #[test]
    fn only_the_sets_count(settings in settings(), sets in stores()) {
        let cycle = Duration::from_secs(146_097 * 86_400);
        let mut moved = sets.clone();
        for set in &mut moved {
            set.id = SetId::at(set.id.time().plus(cycle));
            if let State::Made(contents) = &mut set.state {
                for ended in contents.deleted.values_mut() {
                    *ended = SetId::at(ended.time().plus(cycle));
                }
            }
        }
        let here = kept(&settings, &sets, false);
        let there = kept(&settings, &moved, false);
        let here: Vec<_> = here.iter().map(|id| id.time().plus(cycle)).collect();
        let there: Vec<_> = there.iter().map(|id| id.time()).collect();
        prop_assert_eq!(here, there);
    }
}
