//! How long a task that was asked to stop waits for the others to take over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use planner::farewell::together::{Party, Shut, Together, Verdict as Last, Waits};
use planner::handover::{Collections, Futile, Handover, Look, Verdict, is_missed, short};
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::{Collection, Copy, CopyState, Shard};
use planner::ids::{GenerationId, PeerId};
use planner::observed::Observed;
use planner::records::{FORMAT, Hello, Said, Stage, Stamp, State};
use planner::settings::{ELECTION, Settings};
use planner::view::{Child, Disk, Dns, Observation, Probe, Qdrant};

const STEP: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_secs(2);

fn settings() -> Settings {
    Settings {
        task: "us".into(),
        address: address(1),
        service: "vectors".to_owned(),
        stack: None,
        adopt_fresh: false,
        ready_peers: 3,
        beat: BEAT,
        gap: STEP * 10,
        sleep: STEP * 10,
        claim_timeout: STEP * 60,
        loss_timeout: STEP * 240,
        dns_settle: STEP * 20,
        requorum: true,
        restore: true,
    }
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn generation() -> GenerationId {
    GenerationId {
        number: 1,
        token: "t".into(),
    }
}

fn peers(ids: impl IntoIterator<Item = u64>) -> BTreeSet<PeerId> {
    ids.into_iter().map(PeerId).collect()
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
        uri: String::new(),
        leads: n == 2,
        verified: true,
        peers: peers(1..=3),
        peer_id: Some(PeerId(n.into())),
        serves: true,
        zone: None,
        hears: BTreeSet::new(),
        whole: true,
        set: None,
        said: Said::default(),
    }
}

/// Three peers, of which we are number 1 and number 2 leads; one shard in three copies.
struct Scene {
    seen: Observation,
    collections: Collections,
    held: bool,
    handover: Handover,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self {
            seen: Observation {
                disk: Disk {
                    stamp: Some(Stamp {
                        format: FORMAT,
                        store_id: "s".into(),
                        generation: generation(),
                        previous: None,
                        founder: Some(PeerId(1)),
                        stage: Stage::Member,
                        regroup: Default::default(),
                        rejoin: Default::default(),
                        survivors: Default::default(),
                        held: None,
                        behind: Default::default(),
                        restore: false,
                        ended: None,
                    }),
                    joined: true,
                    collections: true,
                    peer_id: Some(PeerId(1)),
                    ..Disk::EMPTY
                },
                store: Observed::Unknown("not read".to_owned()),
                dns: Dns::NotConfigured,
                peers: BTreeMap::new(),
                crash_loop: None,
                child: Child::Running(Observed::Known(Qdrant {
                    peer_id: PeerId(1),
                    leads: false,
                    has_leader: true,
                    is_voter: true,
                    peers: peers(1..=3),
                    consensus_stopped: false,
                    ready: true,
                    proof: Observed::Known(None),
                    commits: None,
                    commit: 9,
                    orders: Observed::Known(Default::default()),
                    restored: Observed::Unknown("not asked for".to_owned()),
                })),
            },
            collections: Observed::Known(BTreeMap::new()),
            held: false,
            handover: Handover::default(),
        };
        for n in [2, 3] {
            scene.hear(n, |_| ());
        }
        scene.copies(3, &[(1, true), (2, true), (3, true)]);
        scene
    }

    fn hear(&mut self, n: u8, change: impl FnOnce(&mut Hello)) {
        let mut hello = hello(n);
        change(&mut hello);
        let probe = Probe::Task {
            hello: Box::new(hello),
            proof: None,
            orders: None,
        };
        self.seen.peers.insert(address(n), probe);
    }

    fn qdrant(&mut self, change: impl FnOnce(&mut Qdrant)) {
        if let Child::Running(Observed::Known(qdrant)) = &mut self.seen.child {
            change(qdrant);
        }
    }

    /// The copies of shard `c/0`: peer, and whether it is Active.
    fn copies(&mut self, factor: u32, copies: &[(u64, bool)]) {
        let copy = |active| Copy {
            state: match active {
                true => CopyState::Active,
                false => CopyState::Other("Dead".to_owned()),
            },
            bytes: None,
            unwell: Duration::ZERO,
        };
        let shard = Shard {
            key: None,
            copies: copies
                .iter()
                .map(|(peer, active)| (PeerId(*peer), copy(*active)))
                .collect(),
        };
        let collection = Collection {
            factor,
            resharding: false,
            shards: [(ShardId(0), shard)].into(),
            transfers: Vec::new(),
        };
        let name = CollectionName::from("c");
        self.collections = Observed::Known([(name, Observed::Known(collection))].into());
    }

    fn look(&mut self) -> Verdict {
        let look = Look {
            seen: &self.seen,
            collections: &self.collections,
            held: self.held,
            passed: STEP,
        };
        self.handover.verdict(&settings(), look)
    }

    fn short(&self) -> Vec<String> {
        let short = short(&settings(), &self.seen, &self.collections);
        short.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn it_waits_while_somebody_can_take_over() {
    let mut scene = Scene::new();
    for _ in 0..60 {
        assert_eq!(scene.look(), Verdict::Wait);
    }
    // Ours is dropped already: one step further, and nothing is short.
    scene.copies(3, &[(2, true), (3, true)]);
    assert_eq!((scene.look(), scene.short()), (Verdict::Wait, vec![]));
}

#[test]
fn it_is_done_when_the_cluster_does_not_list_it() {
    let mut scene = Scene::new();
    scene.hear(3, |hello| hello.peers = peers([2, 3]));
    assert_eq!(scene.look(), Verdict::Wait, "only the leader's word counts");
    scene.hear(2, |hello| hello.peers = peers([2, 3]));
    assert_eq!(scene.look(), Verdict::Done { quiet: false });
    scene.qdrant(|qdrant| qdrant.consensus_stopped = true);
    assert_eq!(scene.look(), Verdict::Done { quiet: true });
    let mut scene = Scene::new();
    scene.qdrant(|qdrant| qdrant.consensus_stopped = true);
    assert_eq!(scene.look(), Verdict::Wait, "consensus may have broken");
    scene.qdrant(|qdrant| qdrant.peers = peers([1]));
    assert_eq!(scene.look(), Verdict::Done { quiet: true });
    // Of another generation, or another service, it says nothing of ours.
    let mut scene = Scene::new();
    scene.hear(2, |hello| {
        hello.peers = peers([2, 3]);
        hello.generation = None;
    });
    assert_eq!(scene.look(), Verdict::Wait);
    // A leader that lists nobody has not looked yet.
    scene.hear(2, |hello| hello.peers.clear());
    assert_eq!(scene.look(), Verdict::Wait);
}

#[test]
fn who_is_no_member_waits_for_nobody() {
    let mut scene = Scene::new();
    scene.seen.child = Child::Stopped;
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::NoPeer));
    let mut scene = Scene::new();
    if let Some(stamp) = &mut scene.seen.disk.stamp {
        stamp.stage = Stage::Joining;
    }
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::NoPeer));
    let mut scene = Scene::new();
    scene.qdrant(|qdrant| qdrant.peers = peers([1]));
    scene.seen.peers.clear();
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::Alone));
    // A Qdrant that does not answer may still be taken over from.
    let mut scene = Scene::new();
    scene.seen.child = Child::Running(Observed::Unknown("slow".to_owned()));
    assert_eq!(scene.look(), Verdict::Wait);
}

#[test]
fn it_gives_up_when_all_end_or_nobody_answers() {
    let mut scene = Scene::new();
    scene.hear(2, |hello| hello.said.ending = true);
    assert_eq!(scene.look(), Verdict::Wait);
    scene.hear(3, |hello| hello.said.ending = true);
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::AllEnd));
    assert_eq!(scene.short(), ["c/0 has 0 of 3 copies elsewhere"]);
    let mut scene = Scene::new();
    scene.seen.peers.clear();
    assert_eq!(scene.look(), Verdict::Wait, "one question may get lost");
    assert_eq!(scene.look(), Verdict::Wait);
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::NobodyAnswers));
}

#[test]
fn an_election_is_waited_for_and_a_lost_quorum_is_not() {
    let mut scene = Scene::new();
    scene.qdrant(|qdrant| qdrant.has_leader = false);
    let rounds = ELECTION.as_secs();
    for _ in 0..rounds {
        assert_eq!(scene.look(), Verdict::Wait);
    }
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::NoConsensus));
    // One that ends in time begins the count anew.
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.qdrant(|qdrant| qdrant.commits = Some(false));
        for _ in 0..rounds {
            assert_eq!(scene.look(), Verdict::Wait);
        }
        scene.qdrant(|qdrant| qdrant.commits = Some(true));
        assert_eq!(scene.look(), Verdict::Wait);
    }
}

#[test]
fn a_steward_that_may_do_nothing_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.held = true;
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::Held));
}

#[test]
fn who_has_taken_all_others_out_is_not_out_itself() {
    let mut scene = Scene::new();
    scene.hear(2, |hello| hello.said.ending = true);
    scene.seen.peers.remove(&address(3));
    // The others are out, and one of them still answers.
    scene.qdrant(|qdrant| {
        qdrant.peers = peers([1]);
        qdrant.leads = true;
    });
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::Alone));
    // It has taken itself out last.
    scene.qdrant(|qdrant| qdrant.consensus_stopped = true);
    assert_eq!(scene.look(), Verdict::Done { quiet: true });
}

#[test]
fn that_all_end_is_believed_at_once_only_when_everybody_who_is_listed_says_so() {
    let ends = |hello: &mut Hello| hello.said.ending = true;
    let mut scene = Scene::new();
    scene.hear(2, ends);
    scene.hear(3, ends);
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::AllEnd));
    // The third may serve, and only its answer was lost.
    let mut scene = Scene::new();
    scene.hear(2, ends);
    scene.seen.peers.remove(&address(3));
    for _ in 0..2 {
        assert_eq!(scene.look(), Verdict::Wait);
    }
    assert_eq!(scene.look(), Verdict::GiveUp(Futile::AllEnd));
}

#[test]
fn an_only_copy_is_waited_for_when_it_should_have_others() {
    let mut scene = Scene::new();
    scene.copies(3, &[(1, true), (2, false)]);
    assert_eq!(scene.look(), Verdict::Wait, "the steward makes one at once");
    assert_eq!(scene.short(), ["c/0 has 0 of 3 copies elsewhere"]);
    scene.copies(1, &[(1, true)]);
    // The others may be asked to stop a moment later, and then they make the final set with us.
    for _ in 0..2 {
        assert_eq!(scene.look(), Verdict::Wait);
    }
    let Verdict::GiveUp(Futile::OnlyCopies(shards)) = scene.look() else {
        panic!("{:?}", scene.look());
    };
    assert_eq!(shards.len(), 1);
    // A copy on one who ends, or whose Qdrant is down, is none.
    scene.copies(2, &[(1, true), (2, true)]);
    scene.hear(2, |hello| hello.said.ending = true);
    assert_eq!(scene.short(), ["c/0 has 0 of 2 copies elsewhere"]);
    scene.hear(2, |hello| hello.serves = false);
    assert_eq!(scene.short(), ["c/0 has 0 of 2 copies elsewhere"]);
    scene.hear(2, |_| ());
    assert_eq!(scene.short(), ["c/0 has 1 of 2 copies elsewhere"]);
    // What cannot be read is no reason to hurry.
    scene.collections = Observed::Unknown("busy".to_owned());
    assert_eq!((scene.look(), scene.short()), (Verdict::Wait, vec![]));
}

#[test]
fn the_record_of_a_peer_that_the_others_still_list_stays_as_a_witness_of_its_end() {
    let mut scene = Scene::new();
    let out = Verdict::Done { quiet: true };
    assert!(!is_missed(Some(&out), &scene.seen));
    assert!(!is_missed(
        Some(&Verdict::GiveUp(Futile::Alone)),
        &scene.seen
    ));
    for short in [
        Some(Verdict::Wait),
        Some(Verdict::GiveUp(Futile::Held)),
        Some(Verdict::GiveUp(Futile::NoConsensus)),
        Some(Verdict::GiveUp(Futile::NobodyAnswers)),
        Some(Verdict::GiveUp(Futile::AllEnd)),
        None,
    ] {
        assert!(is_missed(short.as_ref(), &scene.seen), "{short:?}");
    }
    // A Qdrant that only rests is a peer; one that never joined is none.
    let resting = Verdict::GiveUp(Futile::NoPeer);
    assert!(is_missed(Some(&resting), &scene.seen));
    scene.seen.disk.joined = false;
    assert!(!is_missed(Some(&resting), &scene.seen));
}

fn is_shut(hello: &mut Hello) {
    hello.leads = false;
    hello.said.ending = true;
    hello.said.shut = Some(700);
}

/// Everybody ends, no client reaches anybody, and our Qdrant leads.
fn shut() -> Scene {
    let mut scene = Scene::new();
    for n in [2, 3] {
        scene.hear(n, is_shut);
    }
    scene.qdrant(|qdrant| qdrant.leads = true);
    scene
}

fn us() -> Shut {
    Shut {
        task: "us".into(),
        uri: "http://us".to_owned(),
        since: Duration::from_millis(650),
    }
}

impl Scene {
    fn together(&self, together: &mut Together) -> Last {
        together.verdict(&settings(), &self.seen, us(), STEP)
    }
}

#[test]
fn a_final_set_is_made_by_who_leads_once_no_client_reaches_anybody() {
    let made = shut().together(&mut Together::default());
    let Last::Make(Party { peers, absent }) = made else {
        panic!("{made:?}")
    };
    assert_eq!(
        peers.keys().copied().collect::<BTreeSet<_>>(),
        self::peers(1..=3)
    );
    assert_eq!(peers[&PeerId(1)], us());
    assert_eq!(peers[&PeerId(3)].since, Duration::from_millis(700));
    assert!(absent.is_empty());
    type Change = fn(&mut Scene);
    let cases: [(Change, Waits); 6] = [
        (
            |s| s.seen.child = Child::Running(Observed::Unknown("it starts".to_owned())),
            Waits::Starts,
        ),
        (|s| s.seen.child = Child::Stopped, Waits::Starts),
        (|s| s.qdrant(|q| q.leads = false), Waits::NotOurs),
        (|s| s.qdrant(|q| q.commits = Some(false)), Waits::NotOurs),
        // It serves clients, whether it ends or not.
        (
            |s| s.hear(3, |h| h.said.ending = true),
            Waits::Open(PeerId(3)),
        ),
        (
            |s| {
                s.hear(3, |hello| {
                    is_shut(hello);
                    hello.serves = false;
                });
            },
            Waits::Silent(PeerId(3)),
        ),
    ];
    for (change, why) in cases {
        let mut scene = shut();
        change(&mut scene);
        let mut together = Together::default();
        for _ in 0..100 {
            assert_eq!(scene.together(&mut together), Last::Wait(why.clone()));
        }
    }
}

#[test]
fn who_was_taken_out_meanwhile_has_no_part_in_it() {
    let mut scene = shut();
    scene.qdrant(|qdrant| qdrant.leads = false);
    scene.hear(2, |hello| {
        is_shut(hello);
        hello.leads = true;
        hello.peers = peers([2, 3]);
    });
    assert_eq!(scene.together(&mut Together::default()), Last::Out);
    let mut knows = shut();
    knows.qdrant(|qdrant| {
        qdrant.peers = peers([1]);
        qdrant.consensus_stopped = true;
    });
    assert_eq!(knows.together(&mut Together::default()), Last::Out);
    // Also when nobody answers any more.
    knows.seen.peers.clear();
    assert_eq!(knows.together(&mut Together::default()), Last::Out);
}

#[test]
fn somebody_who_serves_clients_is_waited_for_also_when_he_is_not_listed() {
    let mut scene = shut();
    scene.qdrant(|qdrant| qdrant.peers = peers([1, 2]));
    scene.hear(3, |hello| hello.said.ending = true);
    let waits = scene.together(&mut Together::default());
    assert_eq!(waits, Last::Wait(Waits::Open(PeerId(3))));
}

#[test]
fn who_has_just_come_and_serves_nobody_is_not_waited_for() {
    let mut scene = shut();
    scene.hear(4, |hello| hello.said.ready = false);
    let made = scene.together(&mut Together::default());
    let Last::Make(Party { peers, absent }) = made else {
        panic!("{made:?}")
    };
    assert_eq!(peers.len(), 3);
    assert_eq!(absent, self::peers([4]));
}

#[test]
fn nothing_ends_when_a_member_goes_on_that_clients_are_sent_to() {
    let mut scene = shut();
    scene.qdrant(|qdrant| qdrant.leads = false);
    scene.hear(3, |hello| hello.said.ready = true);
    let mut together = Together::default();
    for _ in 0..4 {
        let open = Last::Wait(Waits::Open(PeerId(3)));
        assert_eq!(scene.together(&mut together), open);
    }
    assert_eq!(scene.together(&mut together), Last::GoesOn(PeerId(3)));
    scene.qdrant(|qdrant| qdrant.leads = true);
    // It was only told later.
    let mut together = Together::default();
    for _ in 0..4 {
        assert_eq!(
            scene.together(&mut together),
            Last::Wait(Waits::Open(PeerId(3)))
        );
    }
    scene.hear(3, is_shut);
    assert!(matches!(scene.together(&mut together), Last::Make(_)));
}

#[test]
fn who_is_left_by_the_only_other_one_goes_on_alone() {
    let left = |of: std::ops::RangeInclusive<u64>| {
        let mut scene = shut();
        scene.qdrant(|qdrant| {
            qdrant.leads = false;
            qdrant.peers = peers(of);
        });
        scene.seen.peers.remove(&address(3));
        scene
    };
    let mut scene = left(1..=2);
    let mut together = Together::default();
    let waits = Last::Wait(Waits::NotOurs);
    for _ in 0..9 {
        // One that answers may lead yet.
        assert_eq!(scene.together(&mut together), waits);
    }
    scene.seen.peers.remove(&address(2));
    for _ in 0..4 {
        assert_eq!(scene.together(&mut together), waits);
    }
    assert_eq!(scene.together(&mut together), Last::Left(PeerId(1)));
    // Two others may have decided something without us.
    let mut three = left(1..=3);
    three.seen.peers.remove(&address(2));
    let mut together = Together::default();
    for _ in 0..20 {
        assert_eq!(three.together(&mut together), waits);
    }
}

#[test]
fn who_may_be_alive_and_cannot_be_read_is_waited_for_longer() {
    for probe in [
        Probe::Opaque("an open port".to_owned()),
        Probe::Unasked("no socket".to_owned()),
    ] {
        let mut scene = shut();
        scene.seen.peers.insert(address(3), probe);
        let mut together = Together::default();
        let waits = Last::Wait(Waits::Silent(PeerId(3)));
        for _ in 0..8 {
            assert_eq!(scene.together(&mut together), waits);
        }
        assert!(matches!(scene.together(&mut together), Last::Make(_)));
    }
}

#[test]
fn who_does_not_answer_is_done_without_after_two_beats_of_silence_in_a_row() {
    let mut scene = shut();
    scene.seen.peers.remove(&address(3));
    let mut together = Together::default();
    let waits = Last::Wait(Waits::Silent(PeerId(3)));
    for _ in 0..4 {
        assert_eq!(scene.together(&mut together), waits);
    }
    // An answer begins the count anew.
    shut().together(&mut together);
    for _ in 0..4 {
        assert_eq!(scene.together(&mut together), waits);
    }
    let made = scene.together(&mut together);
    let Last::Make(Party { peers, absent }) = made else {
        panic!("{made:?}")
    };
    assert_eq!(peers.len(), 2);
    assert_eq!(absent, self::peers([3]));
}
