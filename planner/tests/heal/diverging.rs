//! Copies that differ are told apart from copies that are written to, moved, or unknown.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::divergence::{Divergence, LOOKS, Seen, Verdict};
use planner::heal::names::{ShardId, ShardRef};
use planner::ids::PeerId;
use planner::observed::Observed;
use proptest::prelude::*;

fn shard() -> ShardRef {
    ShardRef {
        collection: "c".into(),
        shard: ShardId(0),
    }
}

fn counts(counts: &[Option<u64>]) -> BTreeMap<PeerId, Observed<u64>> {
    let known = |count: &Option<u64>| match count {
        Some(count) => Observed::Known(*count),
        None => Observed::Unknown("it does not answer".to_owned()),
    };
    (1..).map(PeerId).zip(counts.iter().map(known)).collect()
}

fn seen(all: &[u64]) -> Seen {
    let all: Vec<_> = all.iter().copied().map(Some).collect();
    Seen {
        still: true,
        counts: counts(&all),
        exact: None,
    }
}

fn look(divergence: &mut Divergence, seen: &Seen) -> Option<Verdict> {
    divergence.look(&shard(), seen).map(|change| change.verdict)
}

/// Looks so often as it takes to be sure.
fn diverged(all: &[u64]) -> Divergence {
    let mut divergence = Divergence::default();
    for _ in 0..=LOOKS {
        look(&mut divergence, &seen(all));
    }
    assert_eq!(divergence.of(Verdict::Diverged).count(), 1);
    divergence
}

#[test]
fn suspect_then_diverged_then_over() {
    let mut divergence = Divergence::default();
    assert_eq!(
        look(&mut divergence, &seen(&[5, 5, 4])),
        None,
        "not at rest yet"
    );
    assert_eq!(
        look(&mut divergence, &seen(&[5, 5, 4])),
        Some(Verdict::Suspect)
    );
    assert_eq!(look(&mut divergence, &seen(&[5, 5, 4])), None);
    assert_eq!(
        look(&mut divergence, &seen(&[5, 5, 4])),
        Some(Verdict::Diverged)
    );
    assert_eq!(look(&mut divergence, &seen(&[5, 5, 4])), None, "said once");
    assert_eq!(
        look(&mut divergence, &seen(&[5, 5, 5])),
        None,
        "it has just changed"
    );
    assert_eq!(
        look(&mut divergence, &seen(&[5, 5, 5])),
        Some(Verdict::Equal)
    );
    assert_eq!(divergence.of(Verdict::Diverged).count(), 0);
}

#[test]
fn copies_that_are_written_to_are_never_suspected() {
    let mut divergence = Divergence::default();
    for written in 0..50 {
        let lagging = seen(&[written * 10, written * 10 - written % 3, written * 10]);
        assert_eq!(look(&mut divergence, &lagging), None);
    }
}

#[test]
fn an_unknown_count_says_nothing() {
    let mut divergence = Divergence::default();
    let mut blind = seen(&[5, 4]);
    blind.counts.insert(
        PeerId(3),
        Observed::Unknown("it does not answer".to_owned()),
    );
    for _ in 0..9 {
        assert_eq!(look(&mut divergence, &blind), None);
    }
    // Neither does it end what was found.
    let mut divergence = diverged(&[5, 5, 4]);
    blind.counts = counts(&[Some(5), Some(5), None]);
    for _ in 0..9 {
        assert_eq!(look(&mut divergence, &blind), None);
    }
    assert_eq!(divergence.of(Verdict::Diverged).count(), 1);
}

#[test]
fn nothing_is_judged_while_something_moves() {
    let mut divergence = Divergence::default();
    for _ in 0..9 {
        let mut moving = seen(&[5, 4]);
        moving.still = false;
        assert_eq!(look(&mut divergence, &moving), None);
    }
    assert_eq!(
        look(&mut divergence, &seen(&[5, 4])),
        None,
        "the first look at rest"
    );
    divergence.interrupted(|at| *at == shard());
    assert_eq!(
        look(&mut divergence, &seen(&[5, 4])),
        None,
        "the first one again"
    );
}

#[test]
fn another_difference_is_counted_anew() {
    let mut divergence = Divergence::default();
    for all in [
        [5, 4],
        [5, 4],
        [6, 4],
        [6, 4],
        [7, 4],
        [7, 4],
        [8, 4],
        [8, 4],
    ] {
        assert_ne!(look(&mut divergence, &seen(&all)), Some(Verdict::Diverged));
    }
}

#[test]
fn one_copy_cannot_differ() {
    let mut divergence = Divergence::default();
    for _ in 0..9 {
        assert_eq!(look(&mut divergence, &seen(&[5])), None);
    }
}

#[test]
fn what_differs_only_cheaply_is_no_difference() {
    let mut divergence = Divergence::default();
    let mut cheap = seen(&[5, 4]);
    assert!(
        !divergence.worth_exact(&shard(), &cheap.counts),
        "not at rest"
    );
    assert_eq!(look(&mut divergence, &cheap), None);
    assert!(divergence.worth_exact(&shard(), &cheap.counts));
    cheap.exact = Some(counts(&[Some(5), Some(5)]));
    for _ in 0..9 {
        assert_eq!(look(&mut divergence, &cheap), None);
    }
    cheap.exact = Some(counts(&[Some(5), None]));
    for _ in 0..9 {
        assert_eq!(
            look(&mut divergence, &cheap),
            None,
            "an exact count is missing"
        );
    }
    cheap.exact = Some(counts(&[Some(5), Some(3)]));
    assert_eq!(look(&mut divergence, &cheap), Some(Verdict::Suspect));
}

#[test]
fn equal_counts_need_no_exact_ones() {
    let mut divergence = Divergence::default();
    let equal = seen(&[5, 5]);
    for _ in 0..3 {
        assert!(!divergence.worth_exact(&shard(), &equal.counts));
        look(&mut divergence, &equal);
    }
}

#[test]
fn a_shard_that_is_no_more_is_forgotten() {
    let mut divergence = diverged(&[5, 4]);
    divergence.keep(|at| *at == shard());
    assert_eq!(divergence.of(Verdict::Diverged).count(), 1);
    divergence.keep(|_| false);
    assert_eq!(divergence.of(Verdict::Diverged).count(), 0);
}

fn any_look() -> impl Strategy<Value = Seen> {
    let count = || prop_oneof![9 => (3..5u64).prop_map(Some), 1 => Just(None)];
    let row = || prop::collection::vec(count(), 1..4);
    let exact = prop_oneof![3 => Just(None), 1 => row().prop_map(Some)];
    (prop::bool::weighted(0.9), row(), exact).prop_map(|(still, all, exact)| Seen {
        still,
        counts: counts(&all),
        exact: exact.map(|exact| counts(&exact)),
    })
}

proptest! {
    /// Whatever was seen: a verdict rises only upon a look in which everything was known, at rest and
    /// different, and *diverged* only after as many of them as it takes.
    #[test]
    fn nothing_is_said_without_a_difference(looks in prop::collection::vec(any_look(), 0..40)) {
        let mut divergence = Divergence::default();
        let mut differing = 0;
        let mut last: Option<Seen> = None;
        for now in looks {
            let before = differing;
            let judged = now.exact.as_ref().unwrap_or(&now.counts);
            let known: Option<BTreeSet<u64>> = judged.values().map(|c| c.known().copied()).collect();
            let same = last.as_ref().is_some_and(|last| last.still && last.counts == now.counts);
            let differs = now.still && same && known.is_some_and(|known| known.len() > 1);
            differing = if differs { before + 1 } else { 0 };
            match look(&mut divergence, &now) {
                Some(Verdict::Suspect) => prop_assert!(differs),
                Some(Verdict::Diverged) => prop_assert!(differing >= LOOKS),
                Some(Verdict::Equal) => prop_assert!(!differs),
                None => {}
            }
            last = Some(now);
        }
    }
}
