//! The end of a generation that is on record: when a final set is made, when its end may be said, who goes
//! by it, and what becomes of the disk on which it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::decision::{Action, Aside, Discard, Phase, Reason};
use planner::destruction::{Alone, may_end};
use planner::farewell::{Look, NoSet, Way, all_here, is_tight, wanted};
use planner::handover::{Collections, Futile};
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::{Collection, Copy, CopyState, Shard, Transfer};
use planner::ids::PeerId;
use planner::keep::ids::{CollectionIndex, SetId};
use planner::keep::records::{CollectionEntry, Manifest, Origin, Scope, Source};
use planner::observed::Observed;
use planner::records::{End, FORMAT, Formed, Mode, Regroup, Stage, Stamp, State};
use planner::view::{Child, Ended, Probe, Store};

use crate::scene::{
    LOSS_TIMEOUT, SERVICE, Scene, abandoned, acts, alarmed, believed, claims, entry, formed, hello,
    id, joins, probe, qdrant, record, running, task, unknown, waits,
};

/// Until DNS has settled.
const SETTLED: u64 = 4;
/// Rounds of five seconds that complete the count of silence, the first of which only begins it.
const COMPLETE: u64 = LOSS_TIMEOUT.as_secs() / 5 + 1;

fn set() -> SetId {
    "20260228T190001Z".parse().unwrap()
}

fn end() -> End {
    End {
        format: FORMAT,
        generation: id(1, "one"),
        set: set(),
        peer: PeerId(1),
        task: task(9),
    }
}

/// An empty task that finds the last word of generation 1.
fn farewell() -> Scene {
    let mut scene = Scene::lost();
    scene.store().sets = Some(true);
    scene.store().ended = Some(Ended {
        end: end(),
        is_newest: true,
    });
    scene
}

/// A disk on which generation 1 has ended, whose task runs again.
fn back() -> Scene {
    let mut scene = Scene::member();
    let stamp = scene.seen.disk.stamp.as_mut().unwrap();
    stamp.ended = Some(set());
    scene.seen.disk.commit = Some(7);
    scene.seen.child = Child::Stopped;
    scene
}

#[test]
fn after_the_last_word_the_final_set_is_restored_without_waiting_for_silence() {
    let mut scene = farewell();
    let decision = scene.rounds(SETTLED);
    let claim = Action::Claim {
        number: 2,
        previous: Some(id(1, "one")),
        mode: Mode::Restore,
    };
    acts(&decision, &claim);
    assert_eq!(
        decision.reason,
        Reason::MayRestoreFinal(id(1, "one"), set())
    );
    // Nothing is lost.
    assert_eq!(decision.alarms, []);
}

#[test]
fn without_a_last_word_that_holds_it_is_silence_that_counts() {
    let cases: [(&str, fn(&mut Scene)); 10] = [
        ("no last word", |s| s.store().ended = None),
        ("of another generation", |s| {
            s.store().ended.as_mut().unwrap().end.generation = id(1, "other");
        }),
        ("its set is gone, or not the newest", |s| {
            s.store().ended.as_mut().unwrap().is_newest = false;
        }),
        ("its only member still beats", |s| {
            let still = record(9, State::Member, Some(id(1, "one")));
            s.store().members.insert(task(9), still);
        }),
        ("somebody of it kept data", |s| {
            let kept = record(9, State::HoldsData, Some(id(1, "one")));
            s.store().members.insert(task(9), kept);
        }),
        ("somebody holds data and does not say of which", |s| {
            let kept = record(9, State::HoldsData, None);
            s.store().members.insert(task(9), kept);
        }),
        ("it is listed and silent", |s| s.listed([9])),
        ("it answers", |s| {
            let ending = hello(9, State::Member, Some(id(1, "one")));
            s.at(9, probe(ending, None));
        }),
        ("somebody answers who cannot be read", |s| {
            s.at(9, Probe::Opaque("401".to_owned()));
        }),
        ("our own beat is not seen", |s| {
            s.store().own_beat_seen = false
        }),
    ];
    for (what, change) in cases {
        let mut scene = farewell();
        change(&mut scene);
        let decision = scene.rounds(COMPLETE - 1);
        assert!(!claims(&decision), "{what}: {}", decision.reason);
    }
    let mut scene = farewell();
    scene.dns_fails();
    assert!(!claims(&scene.rounds(COMPLETE)));
    scene.forget_store();
    waits(&scene.rounds(2), "store");
}

/// Its Qdrant never came in, and the one that it was to join has ended.
#[test]
fn a_joiner_that_came_too_late_begins_anew() {
    let mut scene = farewell().disk(Stage::Joining, &formed(1, "one"));
    scene.seen.disk.joined = false;
    let decision = scene.rounds(SETTLED);
    acts(&decision, &Action::Discard(Discard::Dataless));
    // What Raft has brought here already is not thrown away.
    let mut brought = farewell().disk(Stage::Joining, &formed(1, "one"));
    brought.seen.disk.collections = true;
    let decision = brought.rounds(SETTLED);
    assert!(!matches!(decision.action, Action::Discard(_)));
    let mut silent = farewell().disk(Stage::Joining, &formed(1, "one"));
    silent.seen.disk.joined = false;
    silent.store().ended = None;
    waits(&silent.rounds(SETTLED), "nobody of it answers");
}

/// What is left of an earlier generation holds nothing of this one.
#[test]
fn the_records_of_earlier_generations_hold_up_nobody() {
    let mut scene = farewell();
    let before = Formed {
        previous: Some(id(1, "one")),
        ..formed(2, "two")
    };
    scene.record_formed(&before);
    scene.store().ended.as_mut().unwrap().end.generation = id(2, "two");
    let killed = record(8, State::Member, Some(id(1, "one")));
    scene.store().members.insert(task(8), killed);
    assert!(claims(&scene.rounds(SETTLED)));
}

/// The old task of a rollout runs while the new one starts.
#[test]
fn while_a_member_is_believed_it_is_joined_whatever_the_store_says() {
    let mut scene = farewell();
    scene.at(9, believed(9, formed(1, "one")));
    scene.listed([9]);
    assert!(joins(&scene.rounds(COMPLETE)));
}

#[test]
fn a_last_word_founds_nothing_empty_and_asks_a_person_where_one_is_to_be_asked() {
    let mut scene = farewell();
    scene.store().sets = Some(false);
    waits(&scene.rounds(COMPLETE - 1), "nobody of it answers");
    let mut scene = farewell();
    scene.settings.restore = false;
    let decision = scene.rounds(SETTLED);
    assert_eq!(decision.phase, Phase::Blocked);
    assert!(alarmed(&decision, |a| a.to_string().contains("=wait")));
    let mut scene = farewell();
    scene.seen.disk.aside = true;
    assert!(!claims(&scene.rounds(COMPLETE)));
}

/// R3 once more, just before *formed*.
#[test]
fn a_claim_upon_the_last_word_is_held_up_by_whoever_shows_life_since() {
    let proof = Formed {
        restore: true,
        ..formed(2, "two")
    };
    let mut scene = farewell().disk(Stage::Founding, &proof);
    let mut claim = entry("two", None);
    claim.claim.mode = Mode::Restore;
    scene.store().generations.insert(2, claim);
    scene.seen.child = running(qdrant(None));
    scene.qdrant().leads = true;
    let decision = scene.rounds(SETTLED);
    acts(&decision, &Action::Form);
    let back = hello(9, State::HoldsData, Some(id(1, "one")));
    scene.at(9, probe(back, None));
    let decision = scene.round();
    assert_ne!(decision.action, Action::Form, "{}", decision.reason);
    scene.at(9, believed(9, formed(1, "one")));
    assert_ne!(scene.round().action, Action::Form);
    // One of a later generation outranks it.
    scene.at(9, believed(9, formed(3, "three")));
    assert!(matches!(scene.round().action, Action::Abandon { .. }));
}

#[test]
fn what_has_said_the_last_word_runs_only_as_the_next_generation() {
    let claim = Action::Regroup {
        number: 2,
        previous: id(1, "one"),
        survivors: [(PeerId(1), task(1))].into(),
        missing: BTreeSet::new(),
        commit: 7,
        behind: BTreeSet::new(),
    };
    let mut scene = back();
    let decision = scene.rounds(SETTLED);
    acts(&decision, &claim);
    assert_eq!(decision.state, State::HoldsData);
    scene.seen.child = running(qdrant(Some(formed(1, "one"))));
    acts(&scene.round(), &Action::Kill);

    // Whatever the store says, it never starts in the old one.
    let cases: [(&str, fn(&mut Scene)); 5] = [
        ("the store hangs", |s| s.seen.store = unknown()),
        ("the store is another cluster's", |s| {
            s.identity("theirs", SERVICE, None);
        }),
        ("its place is taken", |s| {
            s.store().generations.insert(1, entry("other", None));
        }),
        ("another claims", |s| {
            s.store().generations.insert(2, entry("two", None));
        }),
        ("no peer is on the disk", |s| s.seen.disk.peer_id = None),
    ];
    for (what, change) in cases {
        let mut scene = back();
        change(&mut scene);
        let decision = scene.rounds(SETTLED);
        assert_eq!(decision.action, Action::Wait, "{what}: {}", decision.reason);
        assert_eq!(decision.state, State::HoldsData, "{what}");
    }
}

/// A claim must follow something.
#[test]
fn in_a_store_that_was_emptied_it_writes_its_generation_again_first() {
    let mut scene = back();
    scene.seen.store = Observed::Known(Store {
        own_beat_seen: true,
        sets: Some(false),
        ..Store::default()
    });
    let decision = scene.rounds(2);
    acts(&decision, &Action::Recreate(formed(1, "one")));
}

#[test]
fn its_claim_goes_on_without_silence_and_is_first_or_gives_way() {
    let mut scene = back();
    let stamp = scene.seen.disk.stamp.as_mut().unwrap();
    stamp.regroup = Some(Regroup {
        claim: id(2, "ours"),
        previous: id(1, "one"),
        survivors: [(PeerId(1), task(1))].into(),
        missing: BTreeSet::new(),
        commit: 7,
        begun: false,
        behind: BTreeSet::new(),
    });
    let mut open = entry("ours", None);
    open.claim.mode = Mode::Requorum;
    scene.store().generations.insert(2, open);
    let decision = scene.rounds(SETTLED);
    acts(&decision, &Action::StartReinit);
    assert_eq!(decision.alarms, [], "nothing was lost");

    // Somebody else was first: it makes way, with its data aside.
    let mut second = scene.clone();
    second.store().generations.insert(2, entry("theirs", None));
    acts(&second.round(), &Action::Resume);
    let mut lost = back();
    lost.record_formed(&formed(2, "two"));
    let newer = id(2, "two");
    acts(
        &lost.rounds(2),
        &Action::SetAside(Aside::Superseded { newer }),
    );

    // A claim of another that came to nothing ends nothing.
    let mut third = back();
    let nothing = entry("theirs", Some(abandoned()));
    third.store().generations.insert(2, nothing);
    let decision = third.rounds(SETTLED);
    assert!(matches!(decision.action, Action::Regroup { number: 3, .. }));
    // One that died on the way is given up first.
    let mut dead = back();
    dead.store().generations.insert(2, entry("theirs", None));
    let decision = dead.wait(crate::scene::CLAIM_TIMEOUT);
    assert!(matches!(decision.action, Action::Abandon { number: 2, .. }));
}

fn manifest() -> Manifest {
    let at = set().time();
    Manifest {
        format: 1,
        set: set(),
        origin: Origin::Stop,
        asked: None,
        scope: Scope::All,
        source: Source {
            cluster: "store".into(),
            generation: id(1, "one"),
            qdrant: "1.19.0".to_owned(),
            image: "0.1.0".to_owned(),
            steward: task(1),
        },
        started: at,
        ended: at,
        collections: vec![CollectionEntry {
            index: CollectionIndex(0),
            name: CollectionName("points".to_owned()),
            whole: true,
            missing: Vec::new(),
            description: None,
            files: Vec::new(),
        }],
        deleted: BTreeMap::new(),
    }
}

struct Last {
    scene: Scene,
    runs: bool,
    alone: Alone,
    manifest: Manifest,
}

impl Last {
    fn stamp(&mut self) -> &mut Stamp {
        self.scene.seen.disk.stamp.as_mut().unwrap()
    }

    fn word(&self) -> Result<End, planner::destruction::Refused> {
        may_end(
            &self.scene.seen.disk,
            self.runs,
            &self.scene.seen.store,
            &self.alone,
            &self.manifest,
            &task(1),
        )
    }
}

fn last() -> Last {
    Last {
        scene: Scene::member(),
        runs: false,
        alone: Alone {
            peer: PeerId(1),
            peers: [PeerId(1)].into(),
            leads: true,
            commits: true,
        },
        manifest: manifest(),
    }
}

#[test]
fn the_last_word_is_said_by_the_only_voter_of_a_generation_whose_final_set_is_whole() {
    let said = End {
        task: task(1),
        ..end()
    };
    assert_eq!(last().word(), Ok(said));
    let cases: [(&str, fn(&mut Last)); 19] = [
        ("still running", |l| l.runs = true),
        ("no stamp", |l| l.scene.seen.disk.stamp = None),
        ("not an undisputed member", |l| {
            l.stamp().stage = Stage::Joining
        }),
        ("not an undisputed member", |l| {
            l.stamp().held = Some(planner::records::Held {
                task: task(2),
                claim: id(2, "two"),
            });
        }),
        ("restore", |l| l.stamp().restore = true),
        ("another peer", |l| l.alone.peer = PeerId(2)),
        ("lists other peers", |l| {
            let _ = l.alone.peers.insert(PeerId(2));
        }),
        ("only voter", |l| l.alone.leads = false),
        ("only voter", |l| l.alone.commits = false),
        ("not the final one", |l| l.manifest.origin = Origin::Clock),
        ("not the final one", |l| {
            l.manifest.scope = Scope::One(CollectionName("points".to_owned()));
        }),
        ("not the final one", |l| {
            l.manifest.source.generation = id(1, "other");
        }),
        ("another cluster", |l| {
            l.manifest.source.cluster = "x".into()
        }),
        ("not every collection", |l| {
            l.manifest.collections[0].whole = false;
        }),
        ("store is unknown", |l| l.scene.forget_store()),
        ("store is not the one", |l| l.scene.store().identity = None),
        ("highest formed", |l| {
            l.scene.record_formed(&formed(2, "two"))
        }),
        ("highest formed", |l| l.scene.store().generations.clear()),
        ("has claimed", |l| {
            l.scene.store().generations.insert(2, entry("two", None));
        }),
    ];
    for (why, change) in cases {
        let mut last = last();
        change(&mut last);
        let refused = last.word().unwrap_err().to_string();
        assert!(refused.contains(why), "{refused:?} does not say {why:?}");
    }
}

fn copies(at: &[u64]) -> Collections {
    let copy = |peer: &u64| {
        let copy = Copy {
            state: CopyState::Active,
            bytes: None,
            unwell: Duration::ZERO,
        };
        (PeerId(*peer), copy)
    };
    let shard = Shard {
        key: None,
        copies: at.iter().map(copy).collect(),
    };
    let collection = Collection {
        factor: 1,
        shards: [(ShardId(0), shard)].into(),
        transfers: Vec::new(),
        resharding: false,
    };
    let name = CollectionName("points".to_owned());
    Observed::Known([(name, Observed::Known(collection))].into())
}

struct Ending {
    sets: bool,
    held: bool,
    futile: Futile,
    scene: Scene,
    collections: Collections,
    left: Duration,
}

fn ending() -> Ending {
    Ending {
        sets: true,
        held: false,
        futile: Futile::Alone,
        scene: Scene::member(),
        collections: copies(&[1]),
        left: Duration::from_secs(18),
    }
}

/// A cluster of one whose Qdrant is not running.
fn crashed_alone(ending: &mut Ending) {
    let seen = &mut ending.scene.seen;
    ending.futile = Futile::NoPeer;
    seen.child = Child::Stopped;
    seen.disk.collections = true;
    seen.disk.voters = BTreeSet::from([PeerId(1)]);
}

impl Ending {
    fn wanted(&self) -> Result<Way, NoSet> {
        wanted(Look {
            sets: self.sets,
            held: self.held,
            futile: &self.futile,
            seen: &self.scene.seen,
            collections: &self.collections,
            left: self.left,
        })
    }
}

#[test]
fn a_final_set_is_made_where_every_copy_is_and_nothing_else_speaks_against_it() {
    assert_eq!(ending().wanted(), Ok(Way::Alone));
    for futile in [Futile::NobodyAnswers, Futile::OnlyCopies(BTreeSet::new())] {
        let mut ending = ending();
        ending.futile = futile;
        assert_eq!(ending.wanted(), Ok(Way::Alone));
    }
    // It is asked again when nobody reaches it.
    let mut unread = ending();
    unread.collections = unknown();
    assert_eq!(unread.wanted(), Ok(Way::Alone));
    let cases: [(fn(&mut Ending), fn(&NoSet) -> bool); 19] = [
        (|e| e.futile = Futile::NoPeer, |w| *w == NoSet::NotTheEnd),
        (|e| e.futile = Futile::Held, |w| *w == NoSet::NotTheEnd),
        (
            |e| e.futile = Futile::NoConsensus,
            |w| *w == NoSet::NotTheEnd,
        ),
        (
            |e| e.scene.seen.disk.stamp = None,
            |w| *w == NoSet::NotTheEnd,
        ),
        (
            |e| e.scene.seen.child = Child::Stopped,
            |w| *w == NoSet::NotTheEnd,
        ),
        // Nobody else has what a Qdrant holds that does not run now.
        (crashed_alone, |w| *w == NoSet::NotRunning && w.is_a_loss()),
        (
            |e| {
                crashed_alone(e);
                e.scene.seen.disk.voters.insert(PeerId(2));
            },
            |w| *w == NoSet::NotTheEnd,
        ),
        (
            |e| {
                crashed_alone(e);
                e.scene.seen.disk.collections = false;
            },
            |w| *w == NoSet::NotTheEnd,
        ),
        (
            |e| {
                crashed_alone(e);
                e.scene.seen.disk.stamp.as_mut().unwrap().restore = true;
            },
            |w| *w == NoSet::NotTheEnd,
        ),
        // What has ended in order is in its final set.
        (
            |e| {
                crashed_alone(e);
                e.scene.seen.disk.stamp.as_mut().unwrap().ended = Some(set());
            },
            |w| *w == NoSet::NotTheEnd,
        ),
        (
            |e| {
                crashed_alone(e);
                e.sets = false;
            },
            |w| *w == NoSet::NotTheEnd,
        ),
        (|e| e.sets = false, |w| *w == NoSet::Off),
        (|e| e.held = true, |w| *w == NoSet::Held),
        (
            |e| e.scene.seen.disk.stamp.as_mut().unwrap().restore = true,
            |w| *w == NoSet::Restoring,
        ),
        (
            |e| {
                e.futile = Futile::NobodyAnswers;
                e.collections = unknown();
            },
            |w| matches!(w, NoSet::Unread(_)) && w.is_a_loss(),
        ),
        (
            |e| e.collections = Observed::Known([].into()),
            |w| *w == NoSet::Empty && !w.is_a_loss(),
        ),
        (
            |e| e.collections = copies(&[1, 2]),
            |w| matches!(w, NoSet::Elsewhere(_, PeerId(2))),
        ),
        (
            |e| e.collections = copies(&[2]),
            |w| matches!(w, NoSet::Elsewhere(_, PeerId(2))),
        ),
        (
            |e| e.left = Duration::ZERO,
            |w| *w == NoSet::NoTime && w.is_a_loss(),
        ),
    ];
    for (n, (change, is)) in cases.into_iter().enumerate() {
        let mut ending = ending();
        change(&mut ending);
        let why = ending.wanted().unwrap_err();
        assert!(is(&why), "case {n}: {why:?}");
    }
}

#[test]
fn several_that_all_end_make_it_together_whoever_has_the_copies() {
    let together = |here: Collections| {
        let mut ending = ending();
        ending.futile = Futile::AllEnd;
        ending.collections = here;
        ending
    };
    // Who has none votes, and another may see it otherwise.
    for here in [
        copies(&[1, 2]),
        copies(&[2, 3]),
        copies(&[1]),
        copies(&[2]),
        unknown(),
    ] {
        assert_eq!(together(here).wanted(), Ok(Way::Together));
    }
    let none = together(Observed::Known([].into()));
    assert_eq!(none.wanted(), Err(NoSet::Empty));
    // The others go on, or nobody knows whether they do.
    for futile in [
        Futile::NobodyAnswers,
        Futile::OnlyCopies(BTreeSet::new()),
        Futile::Alone,
    ] {
        let mut ending = together(copies(&[1, 2]));
        ending.futile = futile;
        let elsewhere = ending.wanted();
        assert!(matches!(elsewhere, Err(NoSet::Elsewhere(_, PeerId(2)))));
    }
    let refusals: [(fn(&mut Ending), NoSet); 4] = [
        (|e| e.sets = false, NoSet::Off),
        (|e| e.held = true, NoSet::Held),
        (
            |e| e.scene.seen.disk.stamp.as_mut().unwrap().restore = true,
            NoSet::Restoring,
        ),
        (|e| e.left = Duration::ZERO, NoSet::NoTime),
    ];
    for (change, why) in refusals {
        let mut ending = together(copies(&[1, 2]));
        change(&mut ending);
        assert_eq!(ending.wanted(), Err(why));
    }
}

#[test]
fn what_is_on_its_way_to_another_peer_is_not_here_alone() {
    let mut there = copies(&[1]);
    if let Observed::Known(all) = &mut there {
        for collection in all.values_mut() {
            let Observed::Known(collection) = collection else {
                panic!("it is known")
            };
            collection.transfers.push(Transfer {
                shard: ShardId(0),
                from: PeerId(1),
                to: PeerId(2),
                sync: false,
                stalled: Duration::ZERO,
            });
        }
    }
    let refused = all_here(&there, PeerId(1));
    assert!(matches!(refused, Err(NoSet::Elsewhere(_, PeerId(2)))));
}

#[test]
fn a_set_is_tight_when_the_newest_took_most_of_the_time() {
    let s = Duration::from_secs;
    assert!(!is_tight(s(14), s(18)));
    assert!(is_tight(s(15), s(18)));
    assert!(is_tight(s(1), s(0)));
    assert!(is_tight(Duration::MAX, s(18)));
}

#[test]
fn the_record_is_read_as_it_was_written() {
    let json = serde_json::json!({
        "format": 1,
        "generation": {"number": 1, "token": "one"},
        "set": "20260228T190001Z",
        "peer": 1,
        "task": "task-9",
    });
    assert_eq!(serde_json::to_value(end()).unwrap(), json);
    assert_eq!(serde_json::from_value::<End>(json).unwrap(), end());
}
