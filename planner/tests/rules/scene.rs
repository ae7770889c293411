//! A small world to decide in: what a round observes, built from a quiet default.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use planner::decision::{Action, Alarm, Decision};
use planner::ids::{GenerationId, PeerId, TaskId};
use planner::memory::{Memory, Passed};
use planner::observed::Observed;
use planner::records::{
    Claim, FORMAT, Formed, Hello, Identity, Member, Mode, Orders, Outcome, Said, Stage, Stamp,
    State,
};
use planner::settings::Settings;
use planner::view::{Child, Disk, Dns, Generation, Observation, Probe, Qdrant, Store};

pub const SERVICE: &str = "vectors";
pub const ROUND: Duration = Duration::from_secs(5);
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than a round that is late.
pub const SLEEP: Duration = Duration::from_secs(30);
pub const LOSS_TIMEOUT: Duration = Duration::from_secs(180);
pub const SETTLE: Duration = Duration::from_secs(30);

/// We are number 1.
pub fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))
}

pub fn task(n: u8) -> TaskId {
    TaskId(format!("task-{n}"))
}

pub fn id(number: u64, token: &str) -> GenerationId {
    GenerationId {
        number,
        token: token.into(),
    }
}

pub fn unknown<T>() -> Observed<T> {
    Observed::Unknown("it hangs".to_owned())
}

/// Formed upon whatever has the number before it and the token *one*.
pub fn formed(number: u64, token: &str) -> Formed {
    Formed {
        format: FORMAT,
        service: SERVICE.to_owned(),
        store_id: "store".into(),
        generation: id(number, token),
        previous: (number > 1).then(|| id(number - 1, "one")),
        founder: PeerId(1),
        complete: false,
        survivors: Default::default(),
        behind: Default::default(),
        restore: false,
    }
}

pub fn abandoned() -> Outcome {
    Outcome::Abandoned {
        format: FORMAT,
        by: task(9),
        why: "slow".to_owned(),
    }
}

pub fn entry(token: &str, outcome: Option<Outcome>) -> Generation {
    Generation {
        claim: Claim {
            format: FORMAT,
            token: token.into(),
            mode: Mode::Found,
            task: task(9),
            uri: "http://10.0.0.9:6335".to_owned(),
            previous: None,
            stack: None,
            survivors: Default::default(),
            missing: Default::default(),
            behind: Default::default(),
        },
        lease: Some(1),
        outcome,
    }
}

pub fn record(n: u8, state: State, generation: Option<GenerationId>) -> Member {
    Member {
        format: FORMAT,
        beat: 1,
        state,
        address: address(n),
        generation,
        aside: false,
        peer_id: None,
        zone: None,
        revision: None,
    }
}

pub fn hello(n: u8, state: State, generation: Option<GenerationId>) -> Hello {
    Hello {
        format: FORMAT,
        service: SERVICE.to_owned(),
        store_id: None,
        task: task(n),
        state,
        generation,
        aside: false,
        uri: format!("http://10.0.0.{n}:6335"),
        leads: false,
        verified: state == State::Member,
        peers: BTreeSet::new(),
        peer_id: None,
        serves: false,
        zone: None,
        hears: BTreeSet::new(),
        whole: false,
        set: None,
        said: Said::default(),
    }
}

pub fn probe(hello: Hello, proof: Option<Formed>) -> Probe {
    Probe::Task {
        hello: Box::new(hello),
        proof,
        orders: None,
    }
}

/// A believed member, which leads.
pub fn believed(n: u8, proof: Formed) -> Probe {
    let mut hello = hello(n, State::Member, Some(proof.generation.clone()));
    hello.leads = true;
    probe(hello, Some(proof))
}

/// A Qdrant in which all is well.
pub fn qdrant(proof: Option<Formed>) -> Qdrant {
    Qdrant {
        peer_id: PeerId(1),
        leads: false,
        has_leader: true,
        is_voter: true,
        peers: [PeerId(1)].into(),
        consensus_stopped: false,
        ready: true,
        proof: Observed::Known(proof),
        commits: None,
        commit: 2,
        orders: Observed::Known(Orders::default()),
        restored: Observed::Unknown("not asked for".to_owned()),
    }
}

pub fn running(qdrant: Qdrant) -> Child {
    Child::Running(Observed::Known(qdrant))
}

/// Settings, memory and the next observation.
#[derive(Clone, Debug)]
pub struct Scene {
    pub settings: Settings,
    pub memory: Memory,
    pub seen: Observation,
    begun: bool,
}

impl Scene {
    /// An empty task, alone in DNS, with an unused store.
    pub fn empty() -> Self {
        Self {
            settings: Settings {
                task: task(1),
                address: address(1),
                service: SERVICE.to_owned(),
                stack: None,
                adopt_fresh: false,
                ready_peers: 3,
                beat: Duration::from_secs(5),
                gap: Duration::from_secs(20),
                sleep: SLEEP,
                claim_timeout: CLAIM_TIMEOUT,
                loss_timeout: LOSS_TIMEOUT,
                dns_settle: SETTLE,
                requorum: true,
                restore: true,
            },
            memory: Memory::default(),
            seen: Observation {
                disk: Disk::EMPTY,
                store: Observed::Known(Store {
                    own_beat_seen: true,
                    sets: Some(false),
                    ..Store::default()
                }),
                dns: Dns::Arrived([address(1)].into()),
                peers: [].into(),
                child: Child::Stopped,
                crash_loop: None,
            },
            begun: false,
        }
    }

    /// Ours is the undecided claim to generation 1, Qdrant is stopped.
    pub fn claimant() -> Self {
        let mut scene = Self::empty().disk(Stage::Founding, &formed(1, "one"));
        scene.seen.disk.joined = false;
        scene.identity("store", SERVICE, None);
        scene.store().generations.insert(1, entry("one", None));
        scene
    }

    /// A member of generation 1 with collections, whose Qdrant runs, and whose store knows it.
    pub fn member() -> Self {
        let proof = formed(1, "one");
        let mut scene = Self::empty().disk(Stage::Member, &proof);
        scene.seen.disk.collections = true;
        scene.record_formed(&proof);
        scene.seen.child = running(qdrant(Some(proof)));
        scene
    }

    /// An empty task that sees the silent remains of generation 1.
    pub fn lost() -> Self {
        let mut scene = Self::empty();
        scene.record_formed(&formed(1, "one"));
        scene
    }

    /// A disk of this generation without collections.
    pub fn disk(mut self, stage: Stage, of: &Formed) -> Self {
        self.seen.disk = Disk {
            stamp: Some(Stamp::of(of, stage)),
            joined: true,
            collections: false,
            aside: false,
            peer_id: Some(PeerId(1)),
            ..Disk::EMPTY
        };
        self
    }

    pub fn store(&mut self) -> &mut Store {
        match &mut self.seen.store {
            Observed::Known(store) => store,
            Observed::Unknown(why) => panic!("the store of this scene is unknown: {why}"),
        }
    }

    pub fn identity(&mut self, store_id: &str, service: &str, stack: Option<&str>) {
        self.store().identity = Some(Identity {
            format: FORMAT,
            store_id: store_id.into(),
            service: service.to_owned(),
            stack: stack.map(str::to_owned),
        });
    }

    pub fn record_formed(&mut self, formed: &Formed) {
        self.identity("store", SERVICE, None);
        let token = formed.generation.token.0.clone();
        let outcome = Some(Outcome::Formed(formed.clone()));
        self.store()
            .generations
            .insert(formed.generation.number, entry(&token, outcome));
    }

    /// The claim of this generation was made by this stack.
    pub fn stack_of(&mut self, number: u64, stack: &str) {
        let generation = self.store().generations.get_mut(&number);
        generation.expect("it is there").claim.stack = Some(stack.to_owned());
    }

    pub fn forget_store(&mut self) {
        self.seen.store = unknown();
    }

    /// Lists these and ourselves in DNS.
    pub fn listed(&mut self, others: impl IntoIterator<Item = u8>) {
        let all = others.into_iter().chain([1]).map(address).collect();
        self.seen.dns = Dns::Arrived(all);
    }

    pub fn dns_fails(&mut self) {
        self.seen.dns = Dns::Failed("SERVFAIL".to_owned());
    }

    pub fn at(&mut self, n: u8, probe: Probe) {
        self.seen.peers.insert(address(n), probe);
    }

    /// An empty task that beats in our store and is listed with us.
    pub fn neighbour(&mut self, n: u8) {
        self.at(n, probe(hello(n, State::Empty, None), None));
        self.store()
            .members
            .insert(task(n), record(n, State::Empty, None));
        self.listed([n]);
    }

    pub fn qdrant(&mut self) -> &mut Qdrant {
        match &mut self.seen.child {
            Child::Running(Observed::Known(qdrant)) => qdrant,
            other => panic!("no Qdrant answers in this scene: {other:?}"),
        }
    }

    /// One round, after a sleep of so long.
    pub fn after(&mut self, asleep: Duration) -> Decision {
        let passed = Passed {
            time: asleep,
            asleep,
        };
        planner::decide(&self.settings, &mut self.memory, passed, &self.seen)
    }

    /// One round, held up for so long by something that is slow.
    pub fn held_up(&mut self, time: Duration) -> Decision {
        let passed = Passed {
            time,
            asleep: Duration::ZERO,
        };
        planner::decide(&self.settings, &mut self.memory, passed, &self.seen)
    }

    /// One round in the usual rhythm.
    pub fn round(&mut self) -> Decision {
        let elapsed = if self.begun { ROUND } else { Duration::ZERO };
        self.begun = true;
        self.after(elapsed)
    }

    pub fn rounds(&mut self, n: u64) -> Decision {
        let mut last = self.round();
        for _ in 1..n {
            last = self.round();
        }
        last
    }

    /// Rounds for this long.
    pub fn wait(&mut self, time: Duration) -> Decision {
        self.rounds(time.as_secs().div_ceil(ROUND.as_secs()) + 1)
    }
}

pub fn claims(decision: &Decision) -> bool {
    matches!(decision.action, Action::Claim { .. })
}

pub fn joins(decision: &Decision) -> bool {
    matches!(decision.action, Action::StartJoiner { .. })
}

#[track_caller]
pub fn waits(decision: &Decision, reason: &str) {
    assert_eq!(decision.action, Action::Wait, "{}", decision.reason);
    let said = decision.reason.to_string();
    assert!(said.contains(reason), "{said:?} does not say {reason:?}");
}

#[track_caller]
pub fn acts(decision: &Decision, action: &Action) {
    assert_eq!(&decision.action, action, "{}", decision.reason);
}

pub fn alarmed(decision: &Decision, is: fn(&Alarm) -> bool) -> bool {
    decision.alarms.iter().any(is)
}
