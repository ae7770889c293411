//! A record leaves the store only when its task is silent, no peer, and everything is known.

use std::collections::BTreeSet;
use std::time::Duration;

use planner::forgetting::{Beats, Evidence, PATIENCE, may_forget};
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::observed::Observed;
use planner::records::{Claim, FORMAT, Formed, Hello, Identity, Member, Mode, Outcome, State};
use planner::view::{Generation, Probe, Store};

const LOSS: Duration = Duration::from_secs(240);
const STEP: Duration = Duration::from_secs(60);

fn task() -> TaskId {
    "dead".into()
}

fn generation(number: u64) -> GenerationId {
    GenerationId {
        number,
        token: "one".into(),
    }
}

fn formed() -> Formed {
    Formed {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: "store".into(),
        generation: generation(1),
        previous: None,
        founder: PeerId(1),
        complete: true,
        survivors: BTreeSet::new(),
        behind: Default::default(),
        restore: false,
    }
}

fn member(beat: u64) -> Member {
    Member {
        format: FORMAT,
        beat,
        state: State::Member,
        address: "10.0.0.9".parse().unwrap(),
        generation: Some(generation(1)),
        aside: false,
        peer_id: Some(PeerId(9)),
        zone: None,
        revision: None,
    }
}

fn store(beat: u64) -> Store {
    let claim = Claim {
        format: FORMAT,
        token: "one".into(),
        mode: Mode::Found,
        task: "founder".into(),
        uri: "http://10.0.0.1:6335".to_owned(),
        previous: None,
        stack: None,
        survivors: Default::default(),
        missing: Default::default(),
        behind: Default::default(),
    };
    let generation = Generation {
        claim,
        lease: None,
        outcome: Some(Outcome::Formed(formed())),
    };
    Store {
        identity: Some(Identity {
            format: FORMAT,
            store_id: "store".into(),
            service: "vectors".to_owned(),
            stack: None,
        }),
        generations: [(1, generation)].into(),
        members: [(task(), member(beat))].into(),
        own_beat_seen: true,
        sets: Some(false),
        ended: None,
    }
}

fn answering(as_task: &str) -> Probe {
    let hello = Hello {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: None,
        task: as_task.into(),
        state: State::Empty,
        generation: None,
        aside: false,
        uri: "http://10.0.0.9:6335".to_owned(),
        leads: false,
        verified: false,
        peers: BTreeSet::new(),
        peer_id: None,
        serves: false,
        zone: None,
        hears: BTreeSet::new(),
        whole: false,
        set: None,
        said: Default::default(),
    };
    Probe::Task {
        hello: Box::new(hello),
        proof: None,
        orders: None,
    }
}

/// Everything that has to be true, to be broken one by one.
struct Case {
    record: Member,
    still: Duration,
    store: Observed<Store>,
    proof: Observed<Option<Formed>>,
    listed: Observed<BTreeSet<PeerId>>,
    commits: Observed<bool>,
    there: Probe,
}

impl Case {
    fn good() -> Self {
        Self {
            record: member(7),
            still: LOSS * PATIENCE,
            store: Observed::Known(store(7)),
            proof: Observed::Known(Some(formed())),
            listed: Observed::Known([PeerId(1), PeerId(2)].into()),
            commits: Observed::Known(true),
            there: Probe::Silent,
        }
    }

    fn asked(&self) -> Result<(), String> {
        let evidence = Evidence {
            record: &self.record,
            still: self.still,
            store: &self.store,
            proof: &self.proof,
            listed: &self.listed,
            commits: &self.commits,
            there: &self.there,
        };
        may_forget(LOSS, &task(), evidence).map_err(|why| why.0)
    }
}

fn refused(expected: &str, spoil: impl FnOnce(&mut Case)) {
    let mut case = Case::good();
    spoil(&mut case);
    let why = case.asked().expect_err(expected);
    assert!(why.contains(expected), "{why}, not {expected}");
}

fn unknown<T>() -> Observed<T> {
    Observed::Unknown("it hangs".to_owned())
}

#[test]
fn the_record_of_a_killed_task_goes() {
    assert_eq!(Case::good().asked(), Ok(()));
    let mut taken = Case::good();
    taken.there = answering("its-successor");
    assert_eq!(taken.asked(), Ok(()), "the address is another task's now");
}

#[test]
fn every_doubt_keeps_it() {
    refused("it hangs", |case| case.store = unknown());
    refused("it hangs", |case| case.proof = unknown());
    refused("it hangs", |case| case.listed = unknown());
    refused("it hangs", |case| case.commits = unknown());
    refused("does not commit", |case| {
        case.commits = Observed::Known(false)
    });
    refused("proves no generation", |case| {
        case.proof = Observed::Known(None)
    });
    refused("long enough", |case| case.still -= Duration::from_secs(1));
    refused("still peer 9", |case| {
        case.listed = Observed::Known([PeerId(9)].into())
    });
    refused("beaten again", |case| {
        case.store = Observed::Known(store(8))
    });
    refused("gone already", |case| {
        let mut store = store(7);
        store.members.clear();
        case.store = Observed::Known(store);
    });
    refused("it answers", |case| case.there = answering("dead"));
    refused("somebody is alive", |case| {
        case.there = Probe::Opaque("it refuses our API key with 401".to_owned());
    });
}

#[test]
fn another_clusters_store_and_newer_generations_are_left_alone() {
    refused("not our cluster's", |case| {
        let mut store = store(7);
        store.identity = None;
        case.store = Observed::Known(store);
    });
    refused("highest formed generation is not ours", |case| {
        case.proof = Observed::Known(Some(Formed {
            generation: generation(2),
            ..formed()
        }));
    });
    refused("newer generation", |case| {
        let mut store = store(7);
        case.record.generation = Some(generation(2));
        store.members.insert(task(), case.record.clone());
        case.store = Observed::Known(store);
    });
}

#[test]
fn silence_counts_only_while_the_store_shows_the_present() {
    let mut beats = Beats::default();
    let patience = STEP * 3;
    let mut own = 0;
    let mut sweep = |beats: &mut Beats, beat: u64, moves: bool, step: Option<Duration>| {
        own += u64::from(moves);
        beats.observe(step, &Observed::Known(store(beat)), Some(own));
        beats.still_for(patience, 4).len()
    };
    assert_eq!(sweep(&mut beats, 7, true, None), 0);
    for expected in [0, 0, 0, 1] {
        assert_eq!(sweep(&mut beats, 7, true, Some(STEP)), expected);
    }
    assert_eq!(sweep(&mut beats, 8, true, Some(STEP)), 0, "it has moved");
    for expected in [0, 0, 1] {
        assert_eq!(sweep(&mut beats, 8, true, Some(STEP)), expected);
    }
    // Our own beat does not come back: an old picture.
    assert_eq!(sweep(&mut beats, 8, false, Some(STEP)), 0);
    for expected in [0, 0, 0, 1] {
        assert_eq!(sweep(&mut beats, 8, true, Some(STEP)), expected);
    }
    // We slept, or somebody else was the steward.
    assert_eq!(sweep(&mut beats, 8, true, None), 0);
    for expected in [0, 0, 0, 1] {
        assert_eq!(sweep(&mut beats, 8, true, Some(STEP)), expected);
    }
    beats.observe(Some(STEP), &unknown(), None);
    assert_eq!(beats.still_for(patience, 4), []);
}

#[test]
fn a_few_at_a_time_and_the_longest_silent_first() {
    let mut beats = Beats::default();
    let mut all = store(7);
    let look = |beats: &mut Beats, all: &Store, own: u64| {
        beats.observe(Some(STEP), &Observed::Known(all.clone()), Some(own));
    };
    look(&mut beats, &all, 1);
    look(&mut beats, &all, 2);
    for name in ["a", "b", "c"] {
        all.members.insert(name.into(), member(1));
    }
    (3..6).for_each(|own| look(&mut beats, &all, own));
    let first: Vec<TaskId> = beats
        .still_for(STEP, 2)
        .into_iter()
        .map(|(task, ..)| task)
        .collect();
    assert_eq!(first, [task(), "a".into()]);
}
