//! The ledger over a real directory store.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::store::DirectoryStore;
use planner::ids::{PeerId, Token};
use planner::records::{Mode, State};

fn ledger(dir: &Path, task: &str) -> Ledger {
    let store = DirectoryStore::open(dir).unwrap();
    let handle = StoreHandle::start(Arc::new(store), Duration::from_secs(10)).unwrap();
    Ledger::new(handle, task.into())
}

fn generation(number: u64, token: &str) -> GenerationId {
    GenerationId {
        number,
        token: Token::from(token),
    }
}

fn formed(number: u64, token: &str) -> Formed {
    Formed {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: "s".into(),
        generation: generation(number, token),
        previous: None,
        founder: PeerId(7),
        complete: true,
        survivors: Default::default(),
        behind: Default::default(),
        restore: false,
    }
}

/// The claim of the task of this name, whose token is its name.
fn claim_of(task: &str) -> Claim {
    Claim {
        format: FORMAT,
        token: Token::from(task),
        mode: Mode::Found,
        task: task.into(),
        uri: format!("http://{task}:1/"),
        previous: None,
        stack: None,
        survivors: Default::default(),
        missing: Default::default(),
        behind: Default::default(),
    }
}

fn member(state: State) -> Member {
    Member {
        format: FORMAT,
        beat: 0,
        state,
        address: "127.0.0.1".parse().unwrap(),
        generation: None,
        aside: false,
        peer_id: None,
        zone: None,
        revision: None,
    }
}

async fn look(ledger: &mut Ledger) -> Store {
    match ledger.look(Depth::Full).await {
        Observed::Known(store) => store,
        Observed::Unknown(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn an_unused_store_is_known_to_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    // That it holds no sets was read, and not supposed.
    let empty = Store {
        sets: Some(false),
        ended: None,
        ..Store::default()
    };
    assert_eq!(look(&mut ledger(dir.path(), "a")).await, empty);
}

#[tokio::test]
async fn one_claim_and_one_outcome_win() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (ledger(dir.path(), "a"), ledger(dir.path(), "b"));
    let one = generation(1, "a");
    assert!(a.claim(1, &claim_of("a")).await.unwrap().is_none());
    // Again, because the first answer may have been lost.
    assert!(a.claim(1, &claim_of("a")).await.unwrap().is_none());
    let other = b.claim(1, &claim_of("b")).await.unwrap();
    assert_eq!(other.unwrap().task, TaskId::from("a"));
    a.renew(&one, 5).await.unwrap();
    assert_eq!(look(&mut b).await.undecided().unwrap().1.lease, Some(5));
    assert!(b.abandon(1, "too slow").await.unwrap().is_none());
    let there = a.form(&formed(1, "a")).await.unwrap().unwrap();
    assert!(matches!(there, Outcome::Abandoned { .. }));
    let seen = look(&mut a).await;
    assert!(seen.formed().is_none() && seen.undecided().is_none());
    assert_eq!(seen.next_number(), 2);
}

#[tokio::test]
async fn the_lease_of_another_token_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (ledger(dir.path(), "a"), ledger(dir.path(), "b"));
    a.claim(1, &claim_of("a")).await.unwrap();
    b.renew(&generation(1, "b"), 9).await.unwrap();
    assert_eq!(look(&mut a).await.undecided().unwrap().1.lease, None);
}

#[tokio::test]
async fn a_formed_record_is_stored_without_the_flag_of_the_key_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = ledger(dir.path(), "a");
    a.claim(1, &claim_of("a")).await.unwrap();
    assert!(a.form(&formed(1, "a")).await.unwrap().is_none());
    assert_eq!(
        look(&mut a).await.formed(),
        Some(&Formed {
            complete: false,
            ..formed(1, "a")
        })
    );
}

#[tokio::test]
async fn a_beat_is_written_when_it_says_something_new_or_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (ledger(dir.path(), "a"), ledger(dir.path(), "b"));
    let long = Duration::from_secs(3600);
    assert!(!look(&mut a).await.own_beat_seen);
    a.beat(member(State::Empty), long).await.unwrap();
    a.beat(member(State::Empty), long).await.unwrap();
    assert!(look(&mut a).await.own_beat_seen);
    let beat = |store: &Store| {
        store
            .members
            .get(&TaskId::from("a"))
            .map(|m| (m.beat, m.state))
    };
    assert_eq!(beat(&look(&mut b).await), Some((1, State::Empty)));
    a.beat(member(State::Member), long).await.unwrap();
    a.beat(member(State::Member), Duration::ZERO).await.unwrap();
    assert_eq!(beat(&look(&mut b).await), Some((3, State::Member)));
    a.farewell().await.unwrap();
    assert_eq!(beat(&look(&mut b).await), None);
    assert!(!look(&mut a).await.own_beat_seen);
}

#[tokio::test]
async fn an_emptied_store_is_seen_although_records_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let mut a = ledger(&root, "a");
    a.claim(1, &claim_of("a")).await.unwrap();
    a.form(&formed(1, "a")).await.unwrap();
    assert!(look(&mut a).await.formed().is_some());
    std::fs::remove_dir_all(root.join("generations")).unwrap();
    assert!(look(&mut a).await.formed().is_none());
}

#[tokio::test]
async fn damaged_and_newer_records_make_the_store_unknown_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = ledger(dir.path(), "a");
    a.claim(1, &claim_of("a")).await.unwrap();
    let claim = dir.path().join("generations/000001/claim.json");
    let whole = std::fs::read_to_string(&claim).unwrap();
    for (text, word) in [
        (whole[..whole.len() / 2].to_owned(), "cut off"),
        (
            whole.replace("\"format\": 1", "\"format\": 2"),
            "newer version",
        ),
        ("{}".to_owned(), "no format"),
        (r#"{"format":1}"#.to_owned(), "not what it should be"),
    ] {
        std::fs::write(&claim, text).unwrap();
        match ledger(dir.path(), "b").look(Depth::Full).await {
            Observed::Unknown(why) => {
                assert!(why.contains("generations/000001/claim.json"), "{why}");
                assert!(why.contains(word) && why.contains("by hand"), "{why}");
            }
            known => panic!("{known:?}"),
        }
        assert!(claim.exists());
    }
}

#[tokio::test]
async fn a_manifest_is_a_set_and_a_plan_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = ledger(dir.path(), "a");
    let set = dir.path().join("sets/20260101T000000Z");
    std::fs::create_dir_all(&set).unwrap();
    std::fs::write(set.join("plan.json"), "{}").unwrap();
    assert_eq!(look(&mut a).await.sets, Some(false));
    std::fs::write(set.join("manifest.json"), "{}").unwrap();
    assert_eq!(look(&mut a).await.sets, Some(true));
    // Who does not look for them says so.
    let shallow = a.look(Depth::Generations).await;
    assert_eq!(shallow.known().unwrap().sets, None);
    // Nor is a set that cannot be read none.
    std::fs::remove_file(set.join("manifest.json")).unwrap();
    std::fs::create_dir(set.join("manifest.json")).unwrap();
    assert!(a.look(Depth::Full).await.known().is_none());
}

#[tokio::test]
async fn a_census_tells_our_own_beat_and_the_forgotten_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut us, mut other) = (ledger(dir.path(), "us"), ledger(dir.path(), "other"));
    let mut beside = us.beside();
    assert_eq!(beside.census().await.1, None, "nothing was written yet");
    for beat in 1..=2 {
        us.beat(member(State::Member), Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(beside.census().await.1, Some(beat));
    }
    other
        .beat(member(State::Member), Duration::ZERO)
        .await
        .unwrap();
    let task = TaskId::from("other");
    assert!(look(&mut beside).await.members.contains_key(&task));
    beside.forget(&task).await.unwrap();
    assert!(!look(&mut beside).await.members.contains_key(&task));
    // Whoever lives after all says so with its next beat.
    other
        .beat(member(State::Member), Duration::ZERO)
        .await
        .unwrap();
    assert!(look(&mut beside).await.members.contains_key(&task));
}

#[tokio::test]
async fn the_last_word_counts_while_its_set_is_the_newest_complete_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = ledger(dir.path(), "a");
    a.claim(1, &claim_of("a")).await.unwrap();
    a.form(&formed(1, "a")).await.unwrap();
    let end = End {
        format: FORMAT,
        generation: generation(1, "a"),
        set: "20260228T190001Z".parse().unwrap(),
        peer: PeerId(7),
        task: "a".into(),
    };
    assert_eq!(look(&mut a).await.ended, None);
    assert_eq!(a.end(&end).await.unwrap(), None);
    // Again, because the first answer may have been lost; another one comes too late.
    assert_eq!(a.end(&end).await.unwrap(), None);
    let other = End {
        peer: PeerId(8),
        ..end.clone()
    };
    assert_eq!(a.end(&other).await.unwrap().as_ref(), Some(&end));
    let is_newest = async |ledger: &mut Ledger| {
        let ended = look(ledger).await.ended.unwrap();
        assert_eq!(ended.end, end);
        ended.is_newest
    };
    assert!(!is_newest(&mut a).await, "its set is not there");
    let file = |set: &str, name: &str| {
        let folder = dir.path().join("sets").join(set);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), "{}").unwrap();
        folder
    };
    file("20260227T190001Z", "manifest.json");
    assert!(!is_newest(&mut a).await, "its set is not there");
    file("20260228T190001Z", "manifest.json");
    assert!(is_newest(&mut a).await);
    // What is not finished is no set.
    let later = file("20260228T191500Z", "plan.json");
    assert!(is_newest(&mut a).await);
    file("20260228T191500Z", "manifest.json");
    assert!(!is_newest(&mut a).await, "a later one is finished");
    std::fs::remove_dir_all(later).unwrap();
    file("20260228T190001Z", "tombstone.json");
    assert!(!is_newest(&mut a).await, "its set is being deleted");
    // The last word is the highest formed generation's alone.
    a.claim(2, &claim_of("a")).await.unwrap();
    a.form(&formed(2, "a")).await.unwrap();
    assert_eq!(look(&mut a).await.ended, None);
}
