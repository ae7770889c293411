//! Actions against a real disk and a real directory store, without a Qdrant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use planner::ids::{PeerId, TaskId};
use planner::records::{Held, Identity, Outcome};
use planner::view::{Disk as DiskView, Dns};

use super::*;
use crate::config::Config;
use crate::store::{DirectoryStore, StoreHandle};

struct Bench {
    dir: tempfile::TempDir,
    disk: Disk,
    ledger: Ledger,
    qdrant: Qdrant,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env: BTreeMap<String, String> = [
            (
                "ENTRYPOINT_STORE",
                format!("file://{}/store", dir.path().display()),
            ),
            ("ENTRYPOINT_QDRANT_BIN", "/nowhere/qdrant".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let config = Config::from_env(&env).unwrap();
        let disk = Disk::open(dir.path().join("disk")).unwrap();
        let ledger = ledger(&dir.path().join("store"), "us");
        let qdrant = Qdrant::new(&config, "127.0.0.1".parse().unwrap()).unwrap();
        Self {
            dir,
            disk,
            ledger,
            qdrant,
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), ActError> {
        let seen = Observation {
            disk: self.disk.look().unwrap(),
            store: self.ledger.look(Depth::Full).await,
            dns: Dns::Arrived(BTreeSet::new()),
            peers: BTreeMap::new(),
            child: ChildView::Stopped,
            crash_loop: None,
        };
        let mut hands = Hands {
            disk: &self.disk,
            ledger: &mut self.ledger,
            qdrant: &mut self.qdrant,
            service: "vectors",
            stack: None,
        };
        hands.act(&action, &seen).await
    }

    fn stamp(&self) -> Option<Stamp> {
        self.disk.look().unwrap().stamp
    }

    fn other(&self) -> Ledger {
        ledger(&self.dir.path().join("store"), "other")
    }

    fn collection(&self) -> std::path::PathBuf {
        let path = self.dir.path().join("disk/collections/c");
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

fn ledger(dir: &Path, task: &str) -> Ledger {
    let store = DirectoryStore::open(dir).unwrap();
    let handle = StoreHandle::start(Arc::new(store), Duration::from_secs(10)).unwrap();
    Ledger::new(handle, task.into())
}

fn claim() -> Action {
    Action::Claim {
        number: 1,
        previous: None,
        mode: Mode::Found,
    }
}

fn formed(number: u64, token: &str) -> Formed {
    Formed {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: "s".into(),
        generation: GenerationId {
            number,
            token: token.into(),
        },
        previous: None,
        founder: PeerId(7),
        complete: false,
        survivors: Default::default(),
        behind: Default::default(),
        restore: false,
    }
}

fn claim_of(generation: &GenerationId) -> Claim {
    Claim {
        format: FORMAT,
        token: generation.token.clone(),
        mode: Mode::Found,
        task: "other".into(),
        uri: "http://o:1".to_owned(),
        previous: None,
        stack: None,
        survivors: BTreeMap::new(),
        missing: BTreeSet::new(),
        behind: Default::default(),
    }
}

#[tokio::test]
async fn a_claim_is_stamped_and_can_be_repeated() {
    let mut bench = Bench::new().await;
    bench.act(claim()).await.unwrap();
    let stamp = bench.stamp().unwrap();
    assert_eq!((stamp.stage, stamp.generation.number), (Stage::Founding, 1));
    bench.act(Action::RepeatClaim).await.unwrap();
    assert_eq!(bench.stamp(), Some(stamp.clone()));
    let store = bench.other().look(Depth::Full).await;
    let store = store.known().unwrap();
    assert_eq!(store.identity.as_ref().unwrap().store_id, stamp.store_id);
    assert_eq!(
        store.undecided().unwrap().1.claim.token,
        stamp.generation.token
    );
}

#[tokio::test]
async fn a_claim_to_restore_says_so_everywhere_until_the_restore_was_seen_finished() {
    let mut bench = Bench::new().await;
    let claim = Action::Claim {
        number: 1,
        previous: None,
        mode: Mode::Restore,
    };
    bench.act(claim).await.unwrap();
    let stamp = bench.stamp().unwrap();
    assert!(stamp.restore);
    let mode = |store: Observed<Store>| store.known().unwrap().generations[&1].claim.mode;
    assert_eq!(mode(bench.other().look(Depth::Full).await), Mode::Restore);
    let formed = stamp.claimed("vectors", PeerId(1)).unwrap();
    let member = Stamp::of(&formed, Stage::Member);
    bench.disk.write_stamp(&member).unwrap();
    bench.act(Action::Restored).await.unwrap();
    let finished = Stamp {
        restore: false,
        ..member
    };
    assert_eq!(bench.stamp(), Some(finished));

    let mut bench = Bench::new().await;
    bench.act(Action::Recreate(formed)).await.unwrap();
    let store = bench.other().look(Depth::Full).await;
    assert!(store.known().unwrap().formed().unwrap().restore);
    assert_eq!(mode(store), Mode::Restore);
}

#[tokio::test]
async fn a_claim_that_came_too_late_frees_the_disk_and_one_of_ours_does_not() {
    let mut bench = Bench::new().await;
    let winner = GenerationId {
        number: 1,
        token: "winner".into(),
    };
    bench.other().claim(1, &claim_of(&winner)).await.unwrap();
    bench.act(claim()).await.unwrap();
    let ours = bench.stamp().unwrap().generation;
    let wrong = Action::Discard(Discard::ClaimAbandoned {
        generation: ours.clone(),
    });
    assert!(matches!(bench.act(wrong).await, Err(ActError::Refused(_))));
    assert!(bench.stamp().is_some());
    bench
        .act(Action::Discard(Discard::ClaimLost { generation: ours }))
        .await
        .unwrap();
    assert_eq!(bench.disk.look().unwrap(), DiskView::EMPTY);
}

#[tokio::test]
async fn what_was_decided_upon_an_older_look_is_refused_when_things_have_changed() {
    let mut bench = Bench::new().await;
    bench.act(claim()).await.unwrap();
    let ours = bench.stamp().unwrap().generation;
    // Decided when the claim looked abandoned; in truth it was formed.
    let formed = Formed {
        generation: ours.clone(),
        ..formed(1, "")
    };
    bench.ledger.form(&formed).await.unwrap();
    let data = bench.collection();
    for ground in [
        Discard::ClaimAbandoned {
            generation: ours.clone(),
        },
        Discard::ClaimLost {
            generation: ours.clone(),
        },
        Discard::Dataless,
    ] {
        let refused = bench.act(Action::Discard(ground)).await;
        assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
        assert!(data.is_dir() && bench.stamp().is_some());
    }
}

#[tokio::test]
async fn data_is_set_aside_only_for_a_newer_generation_that_is_proven_now() {
    let mut bench = Bench::new().await;
    bench.act(Action::Settle(formed(1, "one"))).await.unwrap();
    let data = bench.collection();
    let newer = GenerationId {
        number: 2,
        token: "two".into(),
    };
    let action = || {
        Action::SetAside(Aside::Superseded {
            newer: newer.clone(),
        })
    };
    let refused = bench.act(action()).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    assert!(data.is_dir());
    let mut other = bench.other();
    other.claim(2, &claim_of(&newer)).await.unwrap();
    other.form(&formed(2, "two")).await.unwrap();
    bench.act(action()).await.unwrap();
    let seen = bench.disk.look().unwrap();
    assert!(seen.aside && !seen.collections && seen.stamp.is_none());
    assert!(
        bench
            .dir
            .path()
            .join("disk/.entrypoint/aside/000001-one/collections/c")
            .is_dir()
    );
}

#[tokio::test]
async fn lost_records_are_written_again_and_a_strangers_are_left_alone() {
    let mut bench = Bench::new().await;
    bench
        .act(Action::Recreate(formed(3, "three")))
        .await
        .unwrap();
    let store = bench.other().look(Depth::Full).await;
    assert_eq!(
        store.known().unwrap().formed().unwrap().generation.number,
        3
    );
    let mut bench = Bench::new().await;
    bench
        .other()
        .identify("others", None, "theirs".into())
        .await
        .unwrap();
    assert!(matches!(
        bench.act(Action::Recreate(formed(3, "three"))).await,
        Err(ActError::Taken(_))
    ));
    assert!(matches!(bench.act(claim()).await, Err(ActError::Taken(_))));
    assert!(bench.stamp().is_none());
    let store = bench.other().look(Depth::Full).await;
    let store = store.known().unwrap();
    assert!(store.generations.is_empty());
    let Some(Identity { service, .. }) = &store.identity else {
        panic!("no identity")
    };
    assert_eq!(service, "others");
}

#[tokio::test]
async fn an_abandoned_claim_cannot_be_formed() {
    let mut bench = Bench::new().await;
    bench.act(claim()).await.unwrap();
    bench.other().abandon(1, "too slow").await.unwrap();
    // Its Qdrant is gone, or its claim is: either way nothing is formed.
    assert!(bench.act(Action::Form).await.is_err());
    let ours = bench.stamp().unwrap().generation;
    let other = Formed {
        generation: ours,
        ..formed(1, "")
    };
    assert!(matches!(
        bench.ledger.form(&other).await.unwrap(),
        Some(Outcome::Abandoned { by, .. }) if by == TaskId::from("other")
    ));
}

/// A member of generation 1 with data in Raft, in a store that knows it.
async fn survivor() -> Bench {
    let mut bench = Bench::new().await;
    bench.act(Action::Recreate(formed(1, "one"))).await.unwrap();
    bench.act(Action::Settle(formed(1, "one"))).await.unwrap();
    bench.collection();
    let raft = r#"{"state":{"hard_state":{"term":4,"vote":7,"commit":9},"conf_state":{"voters":[7,8]}},"this_peer_id":7}"#;
    std::fs::write(bench.dir.path().join("disk/raft_state.json"), raft).unwrap();
    bench
}

fn regroup() -> Action {
    Action::Regroup {
        number: 2,
        previous: formed(1, "one").generation,
        survivors: [(PeerId(7), "us".into())].into(),
        missing: [PeerId(8)].into(),
        behind: Default::default(),
        commit: 9,
    }
}

fn term(bench: &Bench) -> u64 {
    let bytes = std::fs::read(bench.dir.path().join("disk/raft_state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    state["state"]["hard_state"]["term"].as_u64().unwrap()
}

#[tokio::test]
async fn raft_begins_anew_only_for_our_own_open_claim_and_is_marked_first() {
    let mut bench = survivor().await;
    let refused = bench.act(Action::StartReinit).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    bench.act(regroup()).await.unwrap();
    let stamp = bench.stamp().unwrap();
    assert_eq!((stamp.stage, stamp.generation.number), (Stage::Member, 1));
    let store = bench.other().look(Depth::Full).await;
    let claim = &store.known().unwrap().undecided().unwrap().1.claim;
    assert_eq!(claim.mode, Mode::Requorum);
    assert_eq!(claim.survivors, [(PeerId(7), TaskId::from("us"))].into());
    // There is no Qdrant to start here; what matters stands on the disk before that.
    let failed = bench.act(Action::StartReinit).await;
    assert!(matches!(failed, Err(ActError::Qdrant(_))), "{failed:?}");
    assert!(bench.stamp().unwrap().regroup.unwrap().begun);
    assert_eq!(term(&bench), 2 << 32);
    let refused = bench.act(Action::Resume).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    bench.other().abandon(2, "too slow").await.unwrap();
    let refused = bench.act(Action::StartReinit).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    let refused = bench.act(Action::Resume).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_claim_for_survivors_that_came_to_nothing_leaves_a_member() {
    let mut bench = survivor().await;
    let before = bench.stamp();
    bench.act(regroup()).await.unwrap();
    let refused = bench.act(Action::Resume).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    bench.other().abandon(2, "too slow").await.unwrap();
    bench.act(Action::Resume).await.unwrap();
    assert_eq!(bench.stamp(), before);
    assert_eq!(term(&bench), 4);
}

#[tokio::test]
async fn whoever_rests_for_a_claim_is_marked_and_starts_only_when_it_came_to_nothing() {
    let mut bench = survivor().await;
    let claim = GenerationId {
        number: 2,
        token: "two".into(),
    };
    let mut other = bench.other();
    other.claim(2, &claim_of(&claim)).await.unwrap();
    let held = Held {
        task: "other".into(),
        claim,
    };
    bench.act(Action::HoldStill(held.clone())).await.unwrap();
    assert_eq!(bench.stamp().unwrap().held, Some(held.clone()));
    let refused = bench.act(Action::StartMember).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    assert_eq!(bench.stamp().unwrap().held, Some(held));
    other.abandon(2, "too slow").await.unwrap();
    // There is no Qdrant to start here; the mark is off before that.
    let failed = bench.act(Action::StartMember).await;
    assert!(matches!(failed, Err(ActError::Qdrant(_))), "{failed:?}");
    assert_eq!(bench.stamp().unwrap().held, None);
}

#[tokio::test]
async fn data_is_not_set_aside_without_the_permission_of_this_round() {
    let mut bench = survivor().await;
    let leader = "127.0.0.2".parse().unwrap();
    let ground = Aside::Permitted { leader };
    let refused = bench.act(Action::SetAside(ground)).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    assert!(bench.stamp().is_some() && bench.collection().exists());
}

#[tokio::test]
async fn a_survivor_goes_over_only_into_a_generation_that_counts_on_it() {
    let mut bench = survivor().await;
    let second = Formed {
        previous: Some(formed(1, "one").generation),
        founder: PeerId(9),
        survivors: [PeerId(7), PeerId(9)].into(),
        ..formed(2, "two")
    };
    let go = |formed: &Formed| Action::StartRejoin {
        formed: formed.clone(),
        via: "127.0.0.2".parse().unwrap(),
        uri: "http://127.0.0.2:6335".to_owned(),
    };
    let refused = bench.act(go(&second)).await;
    assert!(
        matches!(refused, Err(ActError::Refused(_))),
        "not formed: {refused:?}"
    );
    let mut other = bench.other();
    other.claim(2, &claim_of(&second.generation)).await.unwrap();
    other.form(&second).await.unwrap();
    let without_us = Formed {
        survivors: [PeerId(9)].into(),
        ..second.clone()
    };
    let refused = bench.act(go(&without_us)).await;
    assert!(matches!(refused, Err(ActError::Refused(_))), "{refused:?}");
    let failed = bench.act(go(&second)).await;
    assert!(matches!(failed, Err(ActError::Qdrant(_))), "{failed:?}");
    let stamp = bench.stamp().unwrap();
    assert_eq!((stamp.stage, stamp.generation.number), (Stage::Joining, 2));
    let mark = stamp.rejoin.unwrap();
    assert_eq!((mark.left, mark.commit), ([PeerId(8)].into(), Some(9)));
    assert_eq!(term(&bench), 4);
}

#[tokio::test]
async fn a_qdrant_that_is_not_there_is_one_clear_line() {
    let mut bench = Bench::new().await;
    let error = bench.act(Action::StartMember).await.unwrap_err();
    let text = crate::log::chain(&error);
    assert!(text.contains("/nowhere/qdrant"), "{text}");
}
