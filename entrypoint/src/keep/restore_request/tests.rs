use std::collections::BTreeMap;

use planner::keep::records::{CollectionEntry, Manifest};
use planner::records::{Piece, PieceState, Then};
use qdrant_api::{Alias, CollectionIdentity};
use serde_json::json;

use super::choice::{There, pieces};
use super::*;
use crate::keep::tests::sample;

/// A set of `books` and `films`, whole.
fn manifest() -> Manifest {
    let mut manifest = sample::manifest();
    let entry = manifest.collections.pop().unwrap();
    let named = |name: &str| CollectionEntry {
        name: name.into(),
        whole: true,
        missing: Vec::new(),
        ..entry.clone()
    };
    manifest.collections = vec![named("books"), named("films")];
    manifest
}

/// A cluster with these collections, and an alias `live` of the first of them.
fn there(names: &[&str]) -> There {
    let identity = |name: &str| CollectionIdentity {
        uuid: Some(format!("uuid of {name}")),
        metadata: BTreeMap::new(),
    };
    let named = names
        .iter()
        .map(|name| ((*name).to_owned(), identity(name)));
    let first = names.first().map(|name| Alias {
        alias_name: "live".to_owned(),
        collection_name: (*name).to_owned(),
    });
    There {
        identities: named.collect(),
        aliases: first.into_iter().collect(),
    }
}

fn of(collection: Option<&str>, new_name: Option<&str>) -> Ask {
    Ask {
        owner: "on call".to_owned(),
        collection: collection.map(Into::into),
        new_name: new_name.map(Into::into),
        ..Ask::default()
    }
}

fn made(ask: &Ask, there: &There) -> Vec<(String, String, Then)> {
    let pieces = pieces(ask, &manifest(), there).unwrap();
    let named = |(name, piece): (CollectionName, Piece)| {
        assert_eq!(piece.at, PieceState::Waiting);
        (name.0, piece.from.0, piece.then)
    };
    pieces.into_iter().map(named).collect()
}

fn refused(ask: &Ask, there: &There) -> (u16, String) {
    let why = pieces(ask, &manifest(), there).unwrap_err();
    (why.code().as_u16(), why.to_string())
}

fn triple(name: &str, from: &str, then: Then) -> (String, String, Then) {
    (name.to_owned(), from.to_owned(), then)
}

fn beside(name: &str) -> String {
    format!("{name}-{}", sample::SET)
}

#[test]
fn what_is_not_there_comes_back_under_another_name_and_gets_its_own_at_the_end() {
    let all = made(&of(None, None), &there(&["other"]));
    let books = triple(&beside("books"), "books", Then::Name);
    let films = triple(&beside("films"), "films", Then::Name);
    assert_eq!(all, [books.clone(), films]);
    assert_eq!(made(&of(Some("books"), None), &there(&["films"])), [books]);
}

#[test]
fn beside_the_one_that_is_there_it_has_another_name() {
    let there = there(&["books", "films"]);
    let beside = of(Some("books"), Some("books-2"));
    assert_eq!(
        made(&beside, &there),
        [triple("books-2", "books", Then::Nothing)]
    );
    let switch = Ask {
        switch: true,
        ..beside
    };
    assert_eq!(
        made(&switch, &there),
        [triple("books-2", "books", Then::Switch)]
    );
}

#[test]
fn what_replaces_another_one_knows_which_one() {
    let there = there(&["books"]);
    let uuid = "uuid of books".to_owned();
    let replace = |ask| Ask {
        replace: true,
        ..ask
    };
    let name = format!("books-{}", sample::SET);
    let all = made(&replace(of(None, None)), &there);
    let books = Then::Replace { uuid: uuid.clone() };
    // What is not there is not replaced.
    let films = triple(&beside("films"), "films", Then::Name);
    assert_eq!(all, [triple(&name, "books", books.clone()), films]);
    let named = made(&replace(of(Some("books"), Some("new"))), &there);
    assert_eq!(named, [triple("new", "books", books)]);
}

#[test]
fn what_is_in_the_way_is_said_and_nothing_comes_of_it() {
    let full = there(&["books", "films"]);
    let switch = |ask| Ask {
        switch: true,
        ..ask
    };
    let replace = |ask| Ask {
        replace: true,
        ..ask
    };
    for (ask, there, code, says) in [
        (of(None, None), &full, 409, "there is a books already"),
        (of(Some("books"), None), &full, 409, "--replace"),
        (of(Some("books"), Some("films")), &full, 409, "another name"),
        // A name that is an alias is taken as well.
        (
            of(Some("books"), Some("live")),
            &full,
            409,
            "there is a live already",
        ),
        (of(Some("news"), None), &full, 404, "no collection news"),
        (
            switch(of(Some("books"), Some("b"))),
            &there(&["films"]),
            409,
            "no collection books",
        ),
        (
            replace(of(Some("books"), Some("b"))),
            &there(&["films"]),
            409,
            "no collection books",
        ),
    ] {
        let (found, why) = refused(&ask, there);
        assert_eq!(found, code, "{ask:?}: {why}");
        assert!(why.contains(says), "{ask:?}: {why}");
    }
    let mut alias = there(&["other"]);
    alias.aliases[0].alias_name = "books".to_owned();
    let (_, why) = refused(&of(Some("books"), None), &alias);
    assert!(why.contains("is an alias now"), "{why}");
    let mut old = there(&["books"]);
    old.identities.get_mut("books").unwrap().uuid = None;
    let (_, why) = refused(&replace(of(Some("books"), None)), &old);
    assert!(why.contains("no uuid"), "{why}");
}

#[test]
fn half_of_a_collection_is_not_restored() {
    let mut half = manifest();
    half.collections[1].whole = false;
    let empty = there(&[]);
    let why = pieces(&of(None, None), &half, &empty).unwrap_err();
    assert!(why.to_string().contains("films is not whole"), "{why}");
    assert!(pieces(&of(Some("books"), None), &half, &empty).is_ok());
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    let good = of(Some("books"), Some("b"));
    assert!(good.makes_sense().is_ok());
    for (ask, says) in [
        (of(None, Some("b")), "--collection"),
        (
            Ask {
                switch: true,
                ..of(Some("books"), None)
            },
            "--as",
        ),
        (
            Ask {
                switch: true,
                replace: true,
                ..good.clone()
            },
            "choose one",
        ),
        (
            Ask {
                accept_loss: true,
                ..good
            },
            "alone",
        ),
    ] {
        let why = ask.makes_sense().unwrap_err();
        assert_eq!(why.code(), StatusCode::BAD_REQUEST);
        assert!(why.to_string().contains(says), "{why}");
    }
    assert!(owner(" ").is_err() && owner(&"x".repeat(201)).is_err());
}

#[test]
fn a_record_that_is_newer_or_broken_is_refused_and_stays() {
    assert_eq!(believed(None), Ok(None));
    assert_eq!(believed(Some(json!(null))), Ok(None));
    for (value, says) in [
        (json!({"format": 2, "who": "knows"}), "format 2"),
        (json!({"token": "word"}), "no format"),
        (json!("yes"), "no format"),
        (json!({"format": 1, "token": "word"}), "not read"),
    ] {
        let why = believed(Some(value)).unwrap_err();
        assert!(why.contains(says) && why.contains(JOB_KEY), "{why}");
    }
}
