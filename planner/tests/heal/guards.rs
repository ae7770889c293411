//! Every precondition, refusing and granting: one change to a good situation, one refusal.

use std::collections::BTreeSet;
use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::guard::{self, Refusal};
use planner::heal::life::{Doubt, Life, Witness};
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::heal::settings::Settings;
use planner::heal::view::{
    ClusterView, Collection, Copy, CopyState, Disk, Pause, Peer, Shard, Transfer,
};
use planner::ids::PeerId;
use planner::observed::Observed;

pub const LONG: Duration = Duration::from_secs(24 * 60 * 60);
pub const ONE: PeerId = PeerId(1);
pub const TWO: PeerId = PeerId(2);
pub const THREE: PeerId = PeerId(3);
pub const FOUR: PeerId = PeerId(4);

pub fn gone(lasted: Duration) -> Life {
    let witnesses = [Witness::NotInDns].into();
    Life::Gone { witnesses, lasted }
}

pub fn unsure() -> Life {
    let (why, lasted) = (Doubt::NoWitness, LONG);
    Life::Unsure { why, lasted }
}

pub fn copy(active: bool) -> Copy {
    Copy {
        state: CopyState::parse(if active { "Active" } else { "Dead" }),
        bytes: Some(100),
        unwell: if active { Duration::ZERO } else { LONG },
    }
}

/// Four peers in three zones; 3 is gone and holds nothing; `c/0` is Active on 1 and 2, `c/1` on 1
/// and, Dead, on 2.
pub fn good() -> ClusterView {
    let peer = |life: Life, zone: &str| Peer {
        life,
        zone: Some(zone.into()),
        voter: true,
        uri: String::new(),
        leaving: false,
        disk: None,
        task: None,
        said: Default::default(),
    };
    let shard = |second: bool| Shard {
        key: None,
        copies: [(ONE, copy(true)), (TWO, copy(second))].into(),
    };
    let collection = Collection {
        factor: 2,
        resharding: false,
        shards: [(ShardId(0), shard(true)), (ShardId(1), shard(false))].into(),
        transfers: Vec::new(),
    };
    ClusterView {
        us: ONE,
        commits: Observed::Known(true),
        paused: None,
        wanted_tasks: None,
        peers: [
            (ONE, peer(Life::Alive, "a")),
            (TWO, peer(Life::Alive, "b")),
            (THREE, peer(gone(LONG), "c")),
            (FOUR, peer(Life::Alive, "c")),
        ]
        .into(),
        collections: Observed::Known([("c".into(), Observed::Known(collection))].into()),
        age: Duration::ZERO,
        losses: BTreeSet::new(),
        service: Default::default(),
    }
}

pub fn shard(id: u32) -> ShardRef {
    ShardRef {
        collection: "c".into(),
        shard: ShardId(id),
    }
}

pub fn collection(view: &mut ClusterView) -> &mut Collection {
    let Observed::Known(all) = &mut view.collections else {
        panic!("known");
    };
    let Some(Observed::Known(there)) = all.get_mut(&CollectionName::from("c")) else {
        panic!("known");
    };
    there
}

pub fn hold(view: &mut ClusterView, id: u32, peer: PeerId, active: bool) {
    let shard = collection(view).shards.get_mut(&ShardId(id)).unwrap();
    shard.copies.insert(peer, copy(active));
}

pub fn unhold(view: &mut ClusterView, id: u32, peer: PeerId) {
    let shard = collection(view).shards.get_mut(&ShardId(id)).unwrap();
    shard.copies.remove(&peer);
}

pub fn live(view: &mut ClusterView, peer: PeerId, life: Life) {
    view.peers.get_mut(&peer).unwrap().life = life;
}

pub fn transfer(id: u32, from: PeerId, to: PeerId, stalled: Duration) -> Transfer {
    Transfer {
        shard: ShardId(id),
        from,
        to,
        sync: true,
        stalled,
    }
}

pub fn under_way(id: u32, from: PeerId, to: PeerId) -> Refusal {
    let shard = shard(id);
    Refusal::Transfer { shard, from, to }
}

/// As the steward asks.
pub fn may(view: &ClusterView, action: Action) -> Result<(), Refusal> {
    guard::may(&Settings::default(), view, &action)
}

pub type Change = (fn(&mut ClusterView), Refusal);

/// The good situation is granted, and each change to it refused for its own reason.
#[track_caller]
pub fn check(
    good: &ClusterView,
    may: impl Fn(&ClusterView) -> Result<(), Refusal>,
    changes: Vec<Change>,
) {
    assert_eq!(may(good), Ok(()), "the good situation");
    let gate: Vec<Change> = vec![
        (
            |v| {
                let (owner, reason) = ("alice".to_owned(), "drill".to_owned());
                v.paused = Some(Pause { owner, reason });
            },
            Refusal::Paused {
                owner: "alice".to_owned(),
                reason: "drill".to_owned(),
            },
        ),
        (
            |v| v.commits = Observed::Known(false),
            Refusal::NotCommitting,
        ),
        (
            |v| v.commits = Observed::Unknown("not asked".to_owned()),
            Refusal::CommitUnknown("not asked".to_owned()),
        ),
    ];
    for (change, refusal) in gate.into_iter().chain(changes) {
        let mut view = good.clone();
        change(&mut view);
        let said = refusal.to_string();
        assert_eq!(may(&view), Err(refusal), "{said}");
        assert!(!said.is_empty() && !said.ends_with('.'), "{said:?}");
    }
}

pub fn unread(view: &mut ClusterView) {
    let Observed::Known(all) = &mut view.collections else {
        panic!("known");
    };
    let dark = Observed::Unknown("timed out".to_owned());
    all.insert("dark".into(), dark);
}

fn unlistable(view: &mut ClusterView) {
    view.collections = Observed::Unknown("500".to_owned());
}

pub fn dark() -> Refusal {
    Refusal::Unread(Some("dark".into()), "timed out".to_owned())
}

fn unlisted() -> Refusal {
    Refusal::Unread(None, "500".to_owned())
}

pub fn resharding(view: &mut ClusterView) {
    collection(view).resharding = true;
}

/// What every removal needs.
fn removal(peer: PeerId) -> Vec<Change> {
    assert_eq!(peer, THREE);
    vec![
        (unread, dark()),
        (unlistable, unlisted()),
        (resharding, Refusal::Resharding("c".into())),
        (|v| live(v, THREE, Life::Alive), Refusal::Answers(THREE)),
        (
            |v| live(v, THREE, Life::Hung { lasted: LONG }),
            Refusal::Hung(THREE),
        ),
        (
            |v| live(v, THREE, unsure()),
            Refusal::Unsure(THREE, Doubt::NoWitness),
        ),
        (|v| drop(v.peers.remove(&THREE)), Refusal::NoSuchPeer(THREE)),
        (
            |v| {
                let transfer = transfer(1, ONE, THREE, Duration::ZERO);
                collection(v).transfers.push(transfer);
            },
            under_way(1, ONE, THREE),
        ),
    ]
}

#[test]
fn a_gone_peer_is_removed_when_it_holds_nothing() {
    let mut changes = removal(THREE);
    changes.extend([
        (
            (|v| hold(v, 0, THREE, false)) as fn(&mut ClusterView),
            Refusal::Holds(THREE, 1),
        ),
        (
            |v| {
                for peer in [ONE, TWO, FOUR] {
                    v.peers.get_mut(&peer).unwrap().voter = false;
                }
            },
            Refusal::Voters,
        ),
        (
            |v| v.peers.get_mut(&THREE).unwrap().voter = false,
            Refusal::WrongRole(THREE),
        ),
    ]);
    check(
        &good(),
        |view| may(view, Action::RemovePeer { peer: THREE }),
        changes,
    );
}

#[test]
fn nobody_removes_itself_as_gone() {
    let mut view = good();
    live(&mut view, ONE, gone(LONG));
    assert!(may(&view, Action::RemovePeer { peer: ONE }).is_err());
}

#[test]
fn a_ghost_is_a_gone_learner() {
    let mut ghost = good();
    ghost.peers.get_mut(&THREE).unwrap().voter = false;
    let mut changes = removal(THREE);
    changes.push((
        |v| v.peers.get_mut(&THREE).unwrap().voter = true,
        Refusal::WrongRole(THREE),
    ));
    check(
        &ghost,
        |view| may(view, Action::RemoveGhost { peer: THREE }),
        changes,
    );
}

/// Peer 3 holds the only Active copy of `c/1`, and it is on record as lost.
fn lost() -> ClusterView {
    let mut view = good();
    unhold(&mut view, 1, ONE);
    hold(&mut view, 1, THREE, true);
    view.losses.insert(shard(1));
    view
}

#[test]
fn a_peer_goes_with_its_last_copies_when_their_loss_is_final_and_on_record() {
    let mut changes = removal(THREE);
    changes.extend([
        (
            (|v| v.losses.clear()) as fn(&mut ClusterView),
            Refusal::NotRecorded(shard(1)),
        ),
        (
            |v| live(v, THREE, gone(Duration::from_secs(10))),
            Refusal::TooSoon {
                left: Duration::from_secs(15 * 60 - 10),
            },
        ),
        (|v| hold(v, 1, TWO, true), Refusal::Answers(TWO)),
        (
            |v| {
                hold(v, 1, FOUR, true);
                live(v, FOUR, unsure());
            },
            Refusal::CopyMayReturn(shard(1), FOUR),
        ),
        (
            |v| {
                hold(v, 1, FOUR, true);
                live(v, FOUR, gone(Duration::ZERO));
            },
            Refusal::TooSoon {
                left: Duration::from_secs(15 * 60),
            },
        ),
    ]);
    check(
        &lost(),
        |view| may(view, Action::RemoveLostPeer { peer: THREE }),
        changes,
    );
}

#[test]
fn a_loss_is_recorded_when_it_is_final() {
    let shards: BTreeSet<ShardRef> = [shard(1)].into();
    check(
        &lost(),
        |view| {
            may(
                view,
                Action::RecordLoss {
                    peer: THREE,
                    shards: shards.clone(),
                },
            )
        },
        vec![
            (|v| live(v, THREE, Life::Alive), Refusal::Answers(THREE)),
            (|v| hold(v, 1, TWO, true), Refusal::Answers(TWO)),
            (resharding, Refusal::Resharding("c".into())),
            (|v| unhold(v, 1, THREE), Refusal::NotThere),
            (
                |v| live(v, THREE, gone(Duration::ZERO)),
                Refusal::TooSoon {
                    left: Duration::from_secs(15 * 60),
                },
            ),
        ],
    );
}

#[test]
fn the_copy_of_a_gone_peer_is_dropped_when_another_lives() {
    let mut view = good();
    hold(&mut view, 0, THREE, true);
    check(
        &view,
        |view| {
            may(
                view,
                Action::DropReplica {
                    shard: shard(0),
                    peer: THREE,
                },
            )
        },
        vec![
            (unlistable, unlisted()),
            (resharding, Refusal::Resharding("c".into())),
            (|v| unhold(v, 0, THREE), Refusal::NotThere),
            (|v| live(v, THREE, Life::Alive), Refusal::Answers(THREE)),
            (
                |v| live(v, THREE, Life::Hung { lasted: LONG }),
                Refusal::Hung(THREE),
            ),
            (
                |v| live(v, THREE, unsure()),
                Refusal::Unsure(THREE, Doubt::NoWitness),
            ),
            (
                |v| {
                    hold(v, 0, ONE, false);
                    hold(v, 0, TWO, false);
                },
                Refusal::LastCopy(shard(0)),
            ),
            (
                // Active on paper, on peers that do not answer.
                |v| {
                    live(v, ONE, unsure());
                    live(v, TWO, Life::Hung { lasted: LONG });
                },
                Refusal::LastCopy(shard(0)),
            ),
            (
                |v| {
                    let copy = collection(v).shards.get_mut(&ShardId(0)).unwrap();
                    for peer in [ONE, TWO] {
                        let state = CopyState::parse("Surprising");
                        copy.copies.get_mut(&peer).unwrap().state = state;
                    }
                },
                Refusal::LastCopy(shard(0)),
            ),
            (
                |v| {
                    let transfer = transfer(0, ONE, FOUR, Duration::ZERO);
                    collection(v).transfers.push(transfer);
                },
                under_way(0, ONE, FOUR),
            ),
        ],
    );
}

#[test]
fn a_leaving_peer_keeps_what_others_do_not_have() {
    let mut view = good();
    view.peers.get_mut(&FOUR).unwrap().leaving = true;
    hold(&mut view, 0, FOUR, true);
    check(
        &view,
        |view| {
            may(
                view,
                Action::DropReplica {
                    shard: shard(0),
                    peer: FOUR,
                },
            )
        },
        vec![
            (|v| unhold(v, 0, TWO), Refusal::StillWanted(shard(0))),
            (|v| hold(v, 0, TWO, false), Refusal::StillWanted(shard(0))),
            // That nobody else answers does not make one copy enough.
            (|v| live(v, TWO, unsure()), Refusal::StillWanted(shard(0))),
            (
                |v| v.peers.get_mut(&FOUR).unwrap().leaving = false,
                Refusal::Answers(FOUR),
            ),
        ],
    );
}

fn no_source(view: &mut ClusterView) {
    live(view, ONE, unsure());
}

fn busy(view: &mut ClusterView) {
    let transfer = transfer(1, ONE, TWO, Duration::ZERO);
    collection(view).transfers.push(transfer);
}

pub fn full(view: &mut ClusterView) {
    let disk = Disk {
        free: 299,
        reserve: 100,
    };
    view.peers.get_mut(&FOUR).unwrap().disk = Some(disk);
}

#[test]
fn a_copy_is_made_from_a_living_one_on_a_peer_that_stays() {
    check(
        &good(),
        |view| {
            may(
                view,
                Action::Replicate {
                    shard: shard(0),
                    from: ONE,
                    to: FOUR,
                },
            )
        },
        vec![
            (unlistable, unlisted()),
            (resharding, Refusal::Resharding("c".into())),
            (busy, under_way(1, ONE, TWO)),
            (no_source, Refusal::Source(ONE)),
            (|v| hold(v, 0, ONE, false), Refusal::Source(ONE)),
            (|v| live(v, FOUR, unsure()), Refusal::Target(FOUR)),
            (
                |v| v.peers.get_mut(&FOUR).unwrap().voter = false,
                Refusal::Target(FOUR),
            ),
            (
                |v| v.peers.get_mut(&FOUR).unwrap().leaving = true,
                Refusal::Target(FOUR),
            ),
            (|v| hold(v, 0, FOUR, true), Refusal::Target(FOUR)),
            (full, Refusal::NoRoom(FOUR)),
        ],
    );
}

#[test]
fn a_copy_is_made_again_where_qdrant_has_given_it_up() {
    check(
        &good(),
        |view| {
            may(
                view,
                Action::Replicate {
                    shard: shard(1),
                    from: ONE,
                    to: TWO,
                },
            )
        },
        vec![(
            |v| {
                let shard = collection(v).shards.get_mut(&ShardId(1)).unwrap();
                shard.copies.get_mut(&TWO).unwrap().unwell = Duration::from_secs(100);
            },
            Refusal::TooSoon {
                left: Duration::from_secs(200),
            },
        )],
    );
}

#[test]
fn a_copy_moves_while_its_shard_is_whole_and_no_zone_is_crowded_for_it() {
    check(
        &good(),
        |view| {
            may(
                view,
                Action::MoveReplica {
                    shard: shard(0),
                    from: ONE,
                    to: FOUR,
                },
            )
        },
        vec![
            (unread, dark()),
            (resharding, Refusal::Resharding("c".into())),
            (busy, under_way(1, ONE, TWO)),
            (no_source, Refusal::Source(ONE)),
            (full, Refusal::NoRoom(FOUR)),
            (|v| hold(v, 0, FOUR, false), Refusal::Target(FOUR)),
            (|v| hold(v, 0, TWO, false), Refusal::NotWhole(shard(0))),
            (|v| live(v, TWO, unsure()), Refusal::NotWhole(shard(0))),
            (
                |v| v.peers.get_mut(&FOUR).unwrap().zone = Some("b".into()),
                Refusal::Crowds(Some("b".into())),
            ),
            (
                |v| v.peers.get_mut(&FOUR).unwrap().zone = None,
                Refusal::Crowds(None),
            ),
        ],
    );
}

#[test]
fn a_transfer_is_aborted_when_it_comes_to_no_end() {
    let mut view = good();
    collection(&mut view)
        .transfers
        .push(transfer(0, THREE, FOUR, Duration::ZERO));
    let settings = Settings::default();
    check(
        &view,
        |view| {
            may(
                view,
                Action::AbortTransfer {
                    shard: shard(0),
                    from: THREE,
                    to: FOUR,
                },
            )
        },
        vec![
            (|v| collection(v).transfers.clear(), Refusal::NotThere),
            (|v| live(v, THREE, unsure()), Refusal::Healthy),
            (resharding, Refusal::Resharding("c".into())),
        ],
    );
    live(&mut view, THREE, Life::Alive);
    collection(&mut view).transfers[0].stalled = settings.stall_timeout;
    assert_eq!(
        may(
            &view,
            Action::AbortTransfer {
                shard: shard(0),
                from: THREE,
                to: FOUR
            }
        ),
        Ok(())
    );
}

#[test]
fn a_factor_is_only_raised() {
    check(
        &good(),
        |view| {
            may(
                view,
                Action::RaiseFactor {
                    collection: "c".into(),
                    factor: 3,
                },
            )
        },
        vec![
            (|v| collection(v).factor = 3, Refusal::FactorReached),
            (resharding, Refusal::Resharding("c".into())),
            (unlistable, unlisted()),
        ],
    );
}
