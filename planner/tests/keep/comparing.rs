//! What is noted of points under writers, what a comparison finds, and what may be removed afterwards.

use std::collections::BTreeMap;

use planner::keep::ids::Sha256;
use planner::keep::records::{Count, FileEntry};
use planner::keep::samples::{
    Deviation, Found, Judgement, Look, Point, SampleId, Samples, Score, Search, compare, judge,
    unchanged,
};
use planner::keep::scratch::{Not, Seen, may_remove};
use proptest::prelude::*;

use crate::sample::manifest;

fn id(number: u64) -> SampleId {
    SampleId::Number(number)
}

fn point(content: u8, version: u64) -> Point {
    Point {
        payload: Sha256([content; 32]),
        vectors: Sha256([content; 32]),
        version: Some(version),
    }
}

fn search(by: u64, found: &[(u64, f64)]) -> Search {
    Search {
        vector: String::new(),
        by: id(by),
        found: found
            .iter()
            .map(|(of, score)| Found {
                id: id(*of),
                score: Score(*score),
            })
            .collect(),
    }
}

/// Three points that one search finds.
fn look() -> Look {
    Look {
        points: (1..=3).map(|n| (id(n), point(1, 10 + n))).collect(),
        searches: vec![search(1, &[(1, 1.0), (2, 0.5), (3, 0.25)])],
    }
}

fn samples(before: &Look, after: &Look) -> Samples {
    let (points, searches) = unchanged(before, after);
    Samples {
        points,
        searches,
        sum: Sha256([0; 32]),
    }
}

fn file(before: u64, after: u64) -> FileEntry {
    let count = |points| Count {
        points,
        exact: true,
    };
    FileEntry {
        before: count(before),
        after: count(after),
        ..manifest().collections[0].files[0].clone()
    }
}

#[test]
fn what_nobody_touched_is_noted_and_agrees() {
    let noted = samples(&look(), &look());
    assert_eq!((noted.points.len(), noted.searches.len()), (3, 1));
    assert_eq!(compare(&noted, &look()), []);
    assert_eq!(
        judge(&file(3, 3), 3, Some((&noted, &look())), true),
        Judgement::Good
    );
}

#[test]
fn what_a_writer_touched_is_not_noted() {
    let changed: &[fn(&mut Look)] = &[
        |after| after.points.retain(|there, _| *there != id(2)),
        |after| after.points.extend([(id(2), point(2, 12))]),
        // Changed and changed back, or deleted and written again: only the version tells.
        |after| after.points.extend([(id(2), point(1, 99))]),
        |after| after.points.get_mut(&id(2)).unwrap().version = None,
    ];
    for change in changed {
        let mut after = look();
        change(&mut after);
        let noted = samples(&look(), &after);
        assert_eq!(noted.points.len(), 2);
        let found: Vec<_> = noted.searches[0]
            .found
            .iter()
            .map(|f| f.id.clone())
            .collect();
        assert_eq!(found, [id(1), id(3)], "nor found");
        // So it may be anything in the file.
        for content in [None, Some(7)] {
            let mut restored = look();
            match content {
                None => drop(restored.points.remove(&id(2))),
                Some(content) => drop(restored.points.insert(id(2), point(content, 1))),
            }
            assert_eq!(compare(&noted, &restored), []);
        }
    }
    let mut unversioned = look();
    unversioned
        .points
        .values_mut()
        .for_each(|point| point.version = None);
    assert!(unchanged(&unversioned, &unversioned).0.is_empty());
}

#[test]
fn every_deviation_is_found() {
    let noted = samples(&look(), &look());
    let deviation = |change: fn(&mut Look)| {
        let mut restored = look();
        change(&mut restored);
        let deviations = compare(&noted, &restored);
        let judged = judge(&file(3, 3), 3, Some((&noted, &restored)), true);
        assert!(matches!(judged, Judgement::Bad(_)), "{judged:?}");
        deviations
    };
    assert_eq!(
        deviation(|restored| restored.points.retain(|there, _| *there != id(1))),
        [Deviation::Absent(id(1))]
    );
    assert_eq!(
        deviation(|r| r.points.get_mut(&id(1)).unwrap().payload = Sha256([9; 32])),
        [Deviation::Payload(id(1))]
    );
    assert_eq!(
        deviation(|r| r.points.get_mut(&id(1)).unwrap().vectors = Sha256([9; 32])),
        [Deviation::Vectors(id(1))]
    );
    let other = |to: u64| Deviation::Search {
        id: id(to),
        by: id(1),
    };
    assert_eq!(
        deviation(|r| r.searches = vec![search(1, &[(1, 1.0), (2, 0.6)])]),
        [other(2), other(3)]
    );
}

#[test]
fn another_processor_may_round_otherwise() {
    let noted = samples(&look(), &look());
    let mut restored = look();
    restored.searches = vec![search(1, &[(1, 0.9999), (2, 0.5003), (3, 0.2501)])];
    assert_eq!(compare(&noted, &restored), []);
    // A search that could not be done says nothing.
    restored.searches.clear();
    assert_eq!(compare(&noted, &restored), []);
}

#[test]
fn another_version_may_print_otherwise_but_not_lose_a_point() {
    let noted = samples(&look(), &look());
    let mut printed = look();
    printed.points.get_mut(&id(1)).unwrap().payload = Sha256([9; 32]);
    let judged = judge(&file(3, 3), 3, Some((&noted, &printed)), false);
    assert!(matches!(judged, Judgement::Unclear(_)), "{judged:?}");
    printed.points.remove(&id(2));
    let judged = judge(&file(3, 3), 3, Some((&noted, &printed)), false);
    assert!(matches!(judged, Judgement::Bad(_)), "{judged:?}");
}

#[test]
fn a_count_alone_condemns_nothing() {
    let noted = samples(&look(), &look());
    let compared = Some((&noted, &look()));
    // Somebody added and deleted meanwhile.
    assert_eq!(judge(&file(10, 10), 7, compared, true), Judgement::Good);
    let alone = |points| judge(&file(10, 12), points, None, true);
    assert_eq!(alone(11), Judgement::Good);
    assert!(matches!(alone(9), Judgement::Unclear(_)));
    assert!(matches!(alone(0), Judgement::Unclear(_)));
    assert_eq!(judge(&file(0, 0), 0, None, true), Judgement::Good);
}

/// What a writer does to one point.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put(u64, u8),
    Delete(u64),
}

fn apply(points: &mut BTreeMap<SampleId, Point>, version: &mut u64, write: Write) {
    *version += 1;
    match write {
        Write::Put(of, content) => drop(points.insert(id(of), point(content, *version))),
        Write::Delete(of) => drop(points.remove(&id(of))),
    }
}

proptest! {
    /// Whatever writers do between the two looks, and whenever in between the file was made: nothing that
    /// was noted is otherwise in the file.
    #[test]
    fn writers_condemn_nothing(
        first in prop::collection::vec((0_u64..6, 0_u8..3), 0..12),
        writes in prop::collection::vec(
            prop_oneof![
                (0_u64..6, 0_u8..3).prop_map(|(of, content)| Write::Put(of, content)),
                (0_u64..6).prop_map(Write::Delete),
            ],
            0..12,
        ),
        moment in 0_usize..13,
    ) {
        let (mut points, mut version) = (BTreeMap::new(), 0);
        for (of, content) in first {
            apply(&mut points, &mut version, Write::Put(of, content));
        }
        let seen = |points: &BTreeMap<SampleId, Point>| Look {
            points: points.clone(),
            searches: Vec::new(),
        };
        let before = seen(&points);
        let mut made = before.clone();
        for (at, write) in writes.into_iter().enumerate() {
            apply(&mut points, &mut version, write);
            if at < moment {
                made = seen(&points);
            }
        }
        let noted = samples(&before, &seen(&points));
        prop_assert_eq!(compare(&noted, &made), vec![]);
    }
}

const OURS: Seen = Seen {
    is_folder: true,
    place_is_folder: true,
    same_device: true,
    meets_storage: false,
    marked: true,
    empty: false,
};

#[test]
fn only_our_own_folder_is_removed() {
    assert_eq!(may_remove(OURS), Ok(()));
    let made = Seen {
        marked: false,
        empty: true,
        ..OURS
    };
    assert_eq!(may_remove(made), Ok(()));
    type Change = fn(&mut Seen);
    let cases: [(Change, Not); 5] = [
        (|seen| seen.is_folder = false, Not::Folder),
        (|seen| seen.place_is_folder = false, Not::Folder),
        (|seen| seen.same_device = false, Not::Mounted),
        (|seen| seen.meets_storage = true, Not::Storage),
        (|seen| seen.marked = false, Not::Unmarked),
    ];
    for (change, why) in cases {
        let mut seen = OURS;
        change(&mut seen);
        assert_eq!(may_remove(seen), Err(why));
        // An empty one is refused for the same reasons, but for the mark.
        seen.empty = true;
        assert_eq!(may_remove(seen).is_ok(), why == Not::Unmarked);
    }
}
