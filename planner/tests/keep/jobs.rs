//! A restore by hand: what it does next, and everything that it leaves alone.

use std::collections::BTreeMap;

use planner::heal::names::ShardId;
use planner::ids::Token;
use planner::keep::job::{
    Keep, Next, called_off, failed, in_state, lost, may_delete, may_replace, moved, next,
};
use planner::records::{FORMAT, Job, JobState, Piece, PieceState, Then};
use serde_json::json;

use crate::sample::{SLOT, at, cluster, collection, name, set};

fn all() -> [PieceState; 3] {
    [PieceState::Waiting, PieceState::Making, made()]
}

fn made() -> PieceState {
    PieceState::Done {
        uuid: "new".to_owned(),
    }
}

fn states() -> [JobState; 5] {
    [
        JobState::Running,
        JobState::Naming,
        JobState::Undoing("because".to_owned()),
        JobState::Finished,
        JobState::Failed("because".to_owned()),
    ]
}

fn piece(from: &str, then: Then) -> Piece {
    Piece {
        from: name(from),
        at: PieceState::Waiting,
        then,
    }
}

fn replace() -> Then {
    Then::Replace {
        uuid: "old".to_owned(),
    }
}

/// Restores `notes` beside the one that is there, and puts `articles-2` into the place of `articles`.
fn job() -> Job {
    Job {
        format: FORMAT,
        token: Token("ours".to_owned()),
        by: "on call".to_owned(),
        at: at("2026-02-28T10:00:00Z"),
        set: set(SLOT),
        pieces: BTreeMap::from([
            (name("articles-2"), piece("articles", replace())),
            (name("notes-2"), piece("notes", Then::Switch)),
        ]),
        tries: 0,
        state: JobState::Running,
    }
}

fn all_made() -> Job {
    let job = moved(&job(), &name("articles-2"), made());
    moved(&job, &name("notes-2"), made())
}

fn ours() -> Option<Token> {
    Some(Token("ours".to_owned()))
}

#[test]
fn it_goes_from_one_collection_to_the_next_and_gives_names_at_the_end() {
    let mut now = job();
    let mut steps = Vec::new();
    loop {
        let step = next(&now);
        steps.push(format!("{step:?}"));
        now = match step {
            Next::Begin(piece) => moved(&now, &piece, PieceState::Making),
            Next::Make(piece) => moved(&now, &piece, made()),
            Next::Check => in_state(&now, JobState::Naming),
            Next::Name => in_state(&now, JobState::Finished),
            Next::Over => break,
            Next::Undo(..) => panic!("{now:?}"),
        };
    }
    let said: Vec<&str> = steps.iter().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            "Begin(CollectionName(\"articles-2\"))",
            "Make(CollectionName(\"articles-2\"))",
            "Begin(CollectionName(\"notes-2\"))",
            "Make(CollectionName(\"notes-2\"))",
            "Check",
            "Name",
            "Over"
        ]
    );
    assert!(now.is_over());
}

#[test]
fn what_is_half_made_is_made_again_before_anything_new_is_begun() {
    let job = moved(&job(), &name("notes-2"), PieceState::Making);
    assert_eq!(next(&job), Next::Make(name("notes-2")));
}

#[test]
fn only_what_carries_its_mark_and_is_not_whole_is_thrown_away() {
    let other = Some(Token("another job's".to_owned()));
    for state in states() {
        for at in all() {
            let now = in_state(&moved(&job(), &name("notes-2"), at.clone()), state.clone());
            for mark in [None, ours(), other.clone()] {
                let may = may_delete(&now, &name("notes-2"), mark.as_ref());
                let begun = at != PieceState::Waiting;
                let wanted = match (&state, &at) {
                    (JobState::Running, PieceState::Making) => mark == ours(),
                    (JobState::Undoing(_), _) => begun && mark == ours(),
                    _ => false,
                };
                assert_eq!(may.is_ok(), wanted, "{state:?} {at:?} {mark:?}: {may:?}");
            }
            // What it does not make, whatever it says of itself.
            for foreign in ["notes", "articles", "other"] {
                assert!(may_delete(&now, &name(foreign), ours().as_ref()).is_err());
            }
        }
    }
    let refused = may_delete(&job(), &name("other"), ours().as_ref());
    assert_eq!(refused, Err(Keep::NotOurs));
    let making = moved(&job(), &name("notes-2"), PieceState::Making);
    assert_eq!(
        may_delete(&making, &name("notes-2"), None),
        Err(Keep::NoMark)
    );
}

#[test]
fn a_collection_is_replaced_only_at_the_end_and_only_the_one_that_was_meant() {
    let (new, old) = (name("articles-2"), name("articles"));
    let ready = in_state(&all_made(), JobState::Naming);
    assert_eq!(may_replace(&ready, &new, &old, "old", None), Ok(()));
    // One that another, older job has left its mark on is somebody's all the same.
    let before = Some(Token("an older job's".to_owned()));
    assert_eq!(
        may_replace(&ready, &new, &old, "old", before.as_ref()),
        Ok(())
    );
    for (uuid, mark, of, what, why) in [
        ("new", None, &new, &old, Keep::Another),
        ("", None, &new, &old, Keep::Another),
        ("old", ours(), &new, &old, Keep::Restored),
        ("old", None, &new, &new, Keep::Restored),
        ("old", None, &new, &name("notes"), Keep::NotAsked),
        (
            "old",
            None,
            &name("notes-2"),
            &name("notes"),
            Keep::NotAsked,
        ),
        ("old", None, &name("other"), &old, Keep::NotOurs),
    ] {
        let may = may_replace(&ready, of, what, uuid, mark.as_ref());
        assert_eq!(may, Err(why), "{of} {what} {uuid} {mark:?}");
    }
    for state in states()
        .into_iter()
        .filter(|state| *state != JobState::Naming)
    {
        let early = in_state(&all_made(), state.clone());
        assert_eq!(
            may_replace(&early, &new, &old, "old", None),
            Err(Keep::Early),
            "{state:?}"
        );
    }
    for at in [PieceState::Waiting, PieceState::Making] {
        let half = in_state(&moved(&all_made(), &name("notes-2"), at), JobState::Naming);
        assert_eq!(
            may_replace(&half, &new, &old, "old", None),
            Err(Keep::Early)
        );
    }
}

#[test]
fn wrong_bytes_end_it_at_the_second_time_and_what_was_made_goes() {
    let begun = moved(&job(), &name("articles-2"), PieceState::Making);
    let once = failed(&begun, "a file is short");
    assert_eq!((once.tries, &once.state), (1, &JobState::Running));
    let twice = failed(&once, "a file is short");
    let Next::Undo(names, why) = next(&twice) else {
        panic!("{twice:?}");
    };
    assert_eq!(
        (names, why.as_str()),
        (vec![name("articles-2")], "a file is short")
    );
    // Once names are given nothing is taken back.
    let naming = in_state(&all_made(), JobState::Naming);
    let after = failed(&failed(&naming, "late"), "late");
    assert_eq!(next(&after), Next::Name);
}

#[test]
fn a_person_may_call_it_off_and_what_has_its_name_stays() {
    let begun = moved(&job(), &name("articles-2"), PieceState::Making);
    let off = called_off(&begun, "ops").unwrap();
    assert!(matches!(next(&off), Next::Undo(names, why)
        if names == [name("articles-2")] && why.contains("ops")));
    let naming = called_off(&in_state(&all_made(), JobState::Naming), "ops").unwrap();
    assert_eq!(next(&naming), Next::Over);
    assert!(may_delete(&naming, &name("notes-2"), ours().as_ref()).is_err());
    for over in [JobState::Finished, JobState::Failed("why".to_owned())] {
        assert!(called_off(&in_state(&job(), over), "ops").is_err());
    }
}

#[test]
fn what_died_before_names_are_given_is_seen() {
    let mut job = all_made();
    let piece = job.pieces.remove(&name("notes-2")).unwrap();
    job.pieces.clear();
    // As if the cluster's own notes were the restored ones.
    job.pieces.insert(name("notes"), piece.clone());
    let mut there = BTreeMap::from([(name("notes"), "new".to_owned())]);
    assert_eq!(lost(&cluster(), &there, &job), Ok(Vec::new()));
    job.pieces.insert(name("gone"), piece);
    assert_eq!(lost(&cluster(), &there, &job), Ok(vec![name("gone")]));
    let gone_and_another = Ok(vec![name("gone"), name("notes")]);
    there.insert(name("notes"), "somebody made it anew".to_owned());
    assert_eq!(lost(&cluster(), &there, &job), gone_and_another);
    there.insert(name("notes"), "new".to_owned());
    let mut view = cluster();
    let shard = collection(&mut view, "notes").shards.get_mut(&ShardId(0));
    shard.unwrap().copies.clear();
    assert_eq!(
        lost(&view, &there, &job),
        Ok(vec![name("gone"), name("notes")])
    );
    view.collections = planner::observed::Observed::Unknown("no answer".to_owned());
    assert!(lost(&view, &there, &job).is_err());
}

#[test]
fn what_is_not_finished_is_in_no_set() {
    // One that is not begun may be somebody else's.
    assert_eq!(job().unfinished().count(), 0);
    let unfinished = |state: JobState| in_state(&all_made(), state).unfinished().count();
    assert_eq!(unfinished(JobState::Running), 2);
    assert_eq!(unfinished(JobState::Undoing("why".to_owned())), 2);
    assert_eq!(unfinished(JobState::Naming), 0);
    assert_eq!(unfinished(JobState::Finished), 0);
    // What a failed one could not delete is a collection like others.
    assert_eq!(unfinished(JobState::Failed("why".to_owned())), 0);
}

#[test]
fn the_record_is_read_as_it_was_written_and_nothing_else_is_read() {
    let job = in_state(
        &moved(&job(), &name("notes-2"), PieceState::Making),
        JobState::Naming,
    );
    let value = serde_json::to_value(&job).unwrap();
    let whole = json!({
        "format": 1,
        "token": "ours",
        "by": "on call",
        "at": "2026-02-28T10:00:00Z",
        "set": SLOT,
        "pieces": {
            "articles-2": {"from": "articles", "at": "waiting", "then": {"replace": {"uuid": "old"}}},
            "notes-2": {"from": "notes", "at": "making", "then": "switch"},
        },
        "tries": 0,
        "state": "naming",
    });
    assert_eq!(value, whole);
    assert_eq!(serde_json::from_value::<Job>(value.clone()).unwrap(), job);
    let mut more = value;
    more["urgent"] = json!(true);
    assert!(serde_json::from_value::<Job>(more).is_err());
}
