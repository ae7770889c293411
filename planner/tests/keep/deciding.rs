//! What a person decides while everything is being restored.

use std::collections::BTreeSet;

use planner::keep::restore::{Next, begun, cleared, done, empty, failed, finished, next};
use planner::keep::restore_wish::{Verdict, What, Wish, accept, instead, verdict};
use planner::records::{FORMAT, Progress, Restore};

use crate::sample::{SLOT, at, generation, manifest, name, set};

const OLDER: &str = "20260228T090000Z";

fn record() -> Restore {
    begun(&empty(generation(2)), &manifest())
}

fn wish(what: What) -> Wish {
    Wish {
        format: FORMAT,
        generation: generation(2),
        by: "ops".to_owned(),
        at: at("2026-02-28T10:00:00Z"),
        what,
        lost: BTreeSet::new(),
    }
}

#[test]
fn another_set_takes_the_place_of_the_chosen_one_once() {
    let use_older = wish(What::Use(set(OLDER)));
    for record in [empty(generation(2)), done(&record(), &name("notes"), "n")] {
        assert_eq!(verdict(&record, &use_older), Verdict::Use(set(OLDER)));
        let mut older = manifest();
        older.set = set(OLDER);
        let after = begun(&instead(&record), &older);
        assert_eq!(verdict(&after, &use_older), Verdict::Nothing);
        assert_eq!(next(&after), Next::Collection(set(OLDER), name("articles")));
    }
    assert_eq!(
        verdict(&record(), &wish(What::Use(set(SLOT)))),
        Verdict::Nothing
    );
}

#[test]
fn a_set_whose_bytes_are_wrong_is_not_tried_again_for_the_same_wish() {
    let (once, _) = failed(&record(), set(SLOT));
    let (twice, given_up) = failed(&once, set(SLOT));
    assert!(given_up);
    let refused = verdict(&twice, &wish(What::Use(set(SLOT))));
    assert!(matches!(refused, Verdict::Refused(_)));
}

#[test]
fn a_loss_is_accepted_once_and_what_is_half_there_goes() {
    let half = done(&record(), &name("articles"), "a");
    let accepts = wish(What::AcceptLoss);
    assert_eq!(verdict(&half, &accepts), Verdict::Accept);
    let after = accept(&half, "ops");
    assert_eq!(verdict(&after, &accepts), Verdict::Nothing);
    let stays = Progress::Done {
        uuid: "a".to_owned(),
    };
    assert_eq!(after.collections[&name("articles")], stays);
    assert_eq!(next(&after), Next::Clear(vec![name("notes")]));
    let after = cleared(&after, &[name("notes")]);
    assert_eq!(next(&after), Next::Finish(Some(set(SLOT))));
    assert_eq!(finished(&after).accepted.as_deref(), Some("ops"));
}

#[test]
fn a_loss_is_accepted_also_before_any_set_was_chosen_and_after_one_was_given_up() {
    let nothing = accept(&empty(generation(2)), "ops");
    assert_eq!(next(&nothing), Next::Finish(None));
    let (once, _) = failed(&record(), set(SLOT));
    let (given_up, _) = failed(&once, set(SLOT));
    let after = accept(&given_up, "ops");
    let both = vec![name("articles"), name("notes")];
    assert_eq!(next(&after), Next::Clear(both.clone()));
    assert_eq!(next(&cleared(&after, &both)), Next::Finish(None));
}

#[test]
fn a_decision_about_another_restore_or_after_the_end_is_none() {
    for what in [What::AcceptLoss, What::Use(set(OLDER))] {
        let mut other = wish(what);
        other.generation = generation(1);
        assert_eq!(verdict(&record(), &other), Verdict::Nothing);
        assert_eq!(verdict(&finished(&record()), &wish(what)), Verdict::Nothing);
    }
}
