use std::collections::BTreeSet;

use planner::heal::life::{Doubt, Witness};
use planner::records::{FORMAT, Member};
use planner::view::{Child, Disk, Store};

use super::*;

const STEP: Duration = Duration::from_secs(2);

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn generation() -> GenerationId {
    GenerationId {
        number: 1,
        token: "one".into(),
    }
}

/// Our Qdrant is peer 1 and lists peers 1 to 3 at 10.0.0.1 to .3.
fn listed() -> ClusterInfo {
    let peers: serde_json::Map<String, serde_json::Value> = (1..=3)
        .map(|n| {
            let uri = format!("http://10.0.0.{n}:6335/");
            (n.to_string(), serde_json::json!({ "uri": uri }))
        })
        .collect();
    let info = serde_json::json!({
        "status": "enabled", "peer_id": 1, "peers": peers,
        "raft_info": {"term": 1, "commit": 5, "pending_operations": 0, "leader": 1,
            "role": "Leader", "is_voter": true},
        "consensus_thread_status": {"consensus_thread_status": "working", "last_update": ""},
        "message_send_failures": {},
    });
    match serde_json::from_value(info).unwrap() {
        qdrant_api::Cluster::Enabled(info) => info,
        other => panic!("{other:?}"),
    }
}

fn hello(n: u8) -> Hello {
    Hello {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: None,
        task: format!("task-{n}").as_str().into(),
        state: State::Member,
        generation: Some(generation()),
        aside: false,
        uri: format!("http://10.0.0.{n}:6335"),
        leads: false,
        verified: true,
        peers: BTreeSet::new(),
        peer_id: Some(PeerId(n.into())),
        serves: true,
        zone: Some(format!("zone-{n}")),
        hears: BTreeSet::new(),
        whole: false,
        set: None,
        said: Said::default(),
    }
}

fn task(hello: Hello) -> Probe {
    Probe::Task {
        hello: Box::new(hello),
        proof: None,
        orders: None,
    }
}

fn record(n: u8, beat: u64) -> Member {
    Member {
        format: FORMAT,
        beat,
        state: State::Member,
        address: address(n),
        generation: Some(generation()),
        aside: false,
        peer_id: Some(PeerId(n.into())),
        zone: None,
        revision: None,
    }
}

/// All three answer, beat and are listed.
fn calm() -> Observation {
    let members = (2..=3).map(|n| (format!("task-{n}").as_str().into(), record(n, 7)));
    Observation {
        disk: Disk::EMPTY,
        store: Observed::Known(Store {
            members: members.collect(),
            ..Store::default()
        }),
        dns: Dns::Arrived((1..=3).map(address).collect()),
        peers: (2..=3).map(|n| (address(n), task(hello(n)))).collect(),
        child: Child::Stopped,
        crash_loop: None,
    }
}

struct Scene {
    watch: Watch,
    seen: Observation,
    beats: bool,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self {
            watch: Watch::new(Settings::default()),
            seen: calm(),
            beats: true,
        };
        scene.look();
        scene
    }

    fn look(&mut self) -> BTreeMap<PeerId, Peer> {
        self.watch.look(Look {
            step: Some(STEP),
            generation: &generation(),
            listed: &listed(),
            seen: &self.seen,
            beats: self.beats,
        })
    }

    /// Looks for a minute; how peer 3 is at the end.
    fn wait(&mut self) -> Peer {
        let mut last = self.look();
        for _ in 0..30 {
            last = self.look();
        }
        last.remove(&PeerId(3)).unwrap()
    }
}

fn witnesses(peer: &Peer) -> BTreeSet<Witness> {
    match &peer.life {
        Life::Gone { witnesses, .. } => witnesses.clone(),
        other => panic!("{other:?}"),
    }
}

fn doubt(peer: &Peer) -> Doubt {
    match &peer.life {
        Life::Unsure { why, .. } => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_answers_lives_with_its_zone() {
    let mut scene = Scene::new();
    let peer = scene.wait();
    assert_eq!(peer.life, Life::Alive);
    assert_eq!(peer.zone, Some("zone-3".into()));
    assert!(peer.voter);
    assert_eq!(
        scene.watch.hears(),
        [PeerId(2), PeerId(3)].into_iter().collect()
    );
    assert!(!scene.look().contains_key(&PeerId(1)), "ourselves");
}

#[test]
fn who_is_silent_is_gone_by_its_beat_and_keeps_its_zone() {
    let mut scene = Scene::new();
    scene.seen.peers.insert(address(3), Probe::Silent);
    let peer = scene.wait();
    assert_eq!(witnesses(&peer), [Witness::BeatStopped].into());
    assert_eq!(peer.zone, Some("zone-3".into()));
    assert_eq!(scene.watch.hears(), [PeerId(2)].into());
}

#[test]
fn beats_that_were_not_read_are_no_witness() {
    let mut scene = Scene::new();
    scene.seen.peers.insert(address(3), Probe::Silent);
    scene.beats = false;
    assert_eq!(doubt(&scene.wait()), Doubt::NoWitness);
    scene.seen.store = Observed::Unknown("it hangs".to_owned());
    scene.beats = true;
    assert_eq!(doubt(&scene.wait()), Doubt::NoWitness);
    // DNS alone is enough then.
    scene.seen.dns = Dns::Arrived((1..=2).map(address).collect());
    assert_eq!(witnesses(&scene.wait()), [Witness::NotInDns].into());
}

#[test]
fn another_task_at_its_address_is_a_witness_and_a_stranger_is_doubt() {
    let mut scene = Scene::new();
    scene.seen.store = Observed::Unknown("it hangs".to_owned());
    scene.seen.peers.insert(
        address(3),
        task(Hello {
            peer_id: None,
            state: State::Empty,
            ..hello(9)
        }),
    );
    assert_eq!(witnesses(&scene.wait()), [Witness::AddressTaken].into());
    let stranger = Probe::Opaque("it refuses our API key".to_owned());
    scene.seen.peers.insert(address(3), stranger);
    assert!(matches!(doubt(&scene.wait()), Doubt::Unreadable(_)));
    let failed = Probe::Unasked("no free port".to_owned());
    scene.seen.peers.insert(address(3), failed);
    assert!(matches!(doubt(&scene.wait()), Doubt::CouldNotAsk(_)));
    scene.seen.peers.remove(&address(3));
    assert!(matches!(doubt(&scene.wait()), Doubt::CouldNotAsk(_)));
}

#[test]
fn one_who_hears_it_is_enough_against() {
    let mut scene = Scene::new();
    scene.seen.peers.insert(address(3), Probe::Silent);
    let mut witness = hello(2);
    witness.hears = [PeerId(3)].into();
    scene.seen.peers.insert(address(2), task(witness.clone()));
    assert_eq!(doubt(&scene.wait()), Doubt::HeardBy(PeerId(2)));
    // Of another generation it says nothing about ours.
    witness.generation = None;
    scene.seen.peers.insert(address(2), task(witness));
    witnesses(&scene.wait());
}

#[test]
fn a_qdrant_that_hangs_under_a_living_entrypoint_is_not_gone() {
    let mut scene = Scene::new();
    let mut hung = hello(3);
    hung.serves = false;
    scene.seen.peers.insert(address(3), task(hung));
    assert!(matches!(scene.wait().life, Life::Hung { .. }));
}
