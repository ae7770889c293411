//! When a task asks ECS for protection, and when it gives it back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use planner::ids::{GenerationId, PeerId};
use planner::observed::Observed;
use planner::protection::{Freedom, Holding, Wish, wish};
use planner::records::{
    FORMAT, Hello, Leaving, LeavingReason, Orders, Rejoin, Said, Stage, Stamp, State, WantedService,
};
use planner::view::{Child, Disk, Dns, Observation, Probe};

const EMPTY: Wish = Wish::Free(Freedom::Empty);
const PEER: Wish = Wish::Protect(Holding::Peer);
const NONE_WANTED: Wish = Wish::Free(Freedom::NoneWanted);

fn seen(stage: Option<Stage>, joined: bool) -> Observation {
    let generation = GenerationId {
        number: 1,
        token: "t".into(),
    };
    let stamp = stage.map(|stage| Stamp {
        stage,
        ..Stamp::founding("s".into(), generation, None, false)
    });
    Observation {
        disk: Disk {
            peer_id: stamp.as_ref().map(|_| PeerId(7)),
            stamp,
            joined,
            ..Disk::EMPTY
        },
        store: Observed::Unknown("not read".to_owned()),
        dns: Dns::NotConfigured,
        peers: BTreeMap::new(),
        child: Child::Running(Observed::Unknown("loading".to_owned())),
        crash_loop: None,
    }
}

#[test]
fn a_survivor_that_goes_over_is_protected_while_raft_knows_nothing_of_it() {
    let mut going_over = seen(Some(Stage::Joining), false);
    let asks = |seen: &Observation| wish(&"task-1".into(), "vectors", seen, None);
    assert_eq!(asks(&going_over), EMPTY);
    if let Some(stamp) = &mut going_over.disk.stamp {
        stamp.rejoin = Some(Rejoin {
            left: [PeerId(8)].into(),
            commit: None,
        });
    }
    assert_eq!(asks(&going_over), PEER);
}

fn member() -> Observation {
    seen(Some(Stage::Member), true)
}

fn ask(seen: &Observation) -> Wish {
    wish(&"us".into(), "vectors", seen, None)
}

fn wants(tasks: u32) -> WantedService {
    WantedService {
        revision: "qdrant:1".to_owned(),
        tasks,
        full: false,
    }
}

/// Another task at this address, with what it says and reads.
fn hear(seen: &mut Observation, at: u8, wanted: Option<WantedService>, orders: Option<Orders>) {
    let hello = Hello {
        format: FORMAT,
        service: "vectors".to_owned(),
        store_id: None,
        task: "other".into(),
        state: State::Member,
        generation: None,
        aside: false,
        uri: String::new(),
        leads: true,
        verified: true,
        peers: Default::default(),
        peer_id: None,
        serves: true,
        zone: None,
        hears: Default::default(),
        whole: false,
        set: None,
        said: Said {
            wanted,
            ..Said::default()
        },
    };
    let probe = Probe::Task {
        hello: Box::new(hello),
        proof: None,
        orders,
    };
    seen.peers.insert(IpAddr::from([10, 0, 0, at]), probe);
}

fn leaving(task: &str, peer: u64, released: bool) -> Option<Orders> {
    Some(Orders {
        format: FORMAT,
        grant: None,
        leaving: Some(Leaving {
            task: task.into(),
            peer: PeerId(peer),
            why: LeavingReason::Surplus,
            released,
        }),
    })
}

#[test]
fn who_holds_a_peer_is_protected_and_who_is_empty_is_not() {
    assert_eq!(ask(&seen(None, false)), EMPTY);
    // A claim, or a join, that has not led to a cluster yet.
    assert_eq!(ask(&seen(Some(Stage::Founding), false)), EMPTY);
    assert_eq!(ask(&seen(Some(Stage::Joining), false)), EMPTY);
    assert_eq!(ask(&seen(Some(Stage::Joining), true)), PEER);
    assert_eq!(ask(&member()), PEER);
    let mut aside = seen(None, false);
    aside.disk.aside = true;
    assert_eq!(ask(&aside), Wish::Protect(Holding::Aside));
}

#[test]
fn who_was_emptied_is_not_protected_though_its_qdrant_serves_on() {
    let mut released = member();
    hear(&mut released, 1, None, leaving("us", 7, true));
    assert_eq!(ask(&released), Wish::Free(Freedom::Released));
    for (task, peer, done) in [("us", 7, false), ("other", 7, true), ("us", 8, true)] {
        hear(&mut released, 1, None, leaving(task, peer, done));
        assert_eq!(ask(&released), PEER, "{task} {peer} {done}");
    }
}

#[test]
fn no_wanted_task_ends_it_unless_somebody_says_otherwise() {
    let told = |seen: &Observation, tasks| wish(&"us".into(), "vectors", seen, Some(&wants(tasks)));
    let mut seen = member();
    assert_eq!(told(&seen, 0), NONE_WANTED);
    assert_eq!(told(&seen, 6), PEER);
    hear(&mut seen, 1, None, None);
    assert_eq!(ask(&seen), PEER, "nobody knows");
    hear(&mut seen, 2, Some(wants(0)), None);
    assert_eq!(ask(&seen), NONE_WANTED, "another task was told");
    assert_eq!(told(&seen, 3), PEER, "they contradict each other");
    hear(&mut seen, 3, Some(wants(3)), None);
    assert_eq!(told(&seen, 0), PEER, "they contradict each other");
    let Some(Probe::Task { hello, .. }) = seen.peers.get_mut(&IpAddr::from([10, 0, 0, 3])) else {
        panic!("it was heard");
    };
    hello.service = "another".to_owned();
    assert_eq!(told(&seen, 0), NONE_WANTED, "another service says nothing");
}
