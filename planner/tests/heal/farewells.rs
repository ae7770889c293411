//! The preconditions for those who go: tasks that are being stopped, and peers that a re-quorum went
//! on without.

use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::guard::Refusal;
use planner::heal::life::Doubt;
use planner::heal::view::ClusterView;
use planner::ids::PeerId;

use crate::guards::{
    Change, FOUR, LONG, ONE, TWO, check, collection, dark, good, hold, live, may, resharding,
    shard, transfer, under_way, unhold, unread, unsure,
};

const NINE: PeerId = PeerId(9);

fn ends(view: &mut ClusterView, peer: PeerId) {
    view.peers.get_mut(&peer).unwrap().said.ending = true;
}

#[test]
fn a_copy_on_a_task_that_ends_is_dropped_when_another_stays() {
    let mut view = good();
    ends(&mut view, TWO);
    let drop = Action::DropReplica {
        shard: shard(0),
        peer: TWO,
    };
    check(
        &view,
        |view| may(view, drop.clone()),
        vec![
            (resharding, Refusal::Resharding("c".into())),
            (|v| ends(v, ONE), Refusal::LastCopy(shard(0))),
            (
                |v| v.peers.get_mut(&ONE).unwrap().leaving = true,
                Refusal::LastCopy(shard(0)),
            ),
            (|v| live(v, ONE, unsure()), Refusal::LastCopy(shard(0))),
            (
                |v| v.peers.get_mut(&TWO).unwrap().said.ending = false,
                Refusal::Answers(TWO),
            ),
            (
                |v| live(v, TWO, unsure()),
                Refusal::Unsure(TWO, Doubt::NoWitness),
            ),
            (
                |v| {
                    let ours = transfer(0, ONE, FOUR, Duration::ZERO);
                    collection(v).transfers.push(ours);
                },
                under_way(0, ONE, FOUR),
            ),
        ],
    );
}

#[test]
fn a_task_that_ends_and_holds_nothing_leaves_raft_while_somebody_stays() {
    let mut view = good();
    ends(&mut view, FOUR);
    check(
        &view,
        |view| may(view, Action::Release { peer: FOUR }),
        vec![
            (unread, dark()),
            (|v| hold(v, 0, FOUR, false), Refusal::Holds(FOUR, 1)),
            // One of three that would remain lives.
            (|v| live(v, TWO, unsure()), Refusal::Voters),
            (
                |v| {
                    ends(v, ONE);
                    ends(v, TWO);
                },
                Refusal::Voters,
            ),
        ],
    );
}

/// Copies of both shards are listed on peer 9, which is not in the address book.
fn left_behind() -> ClusterView {
    let mut view = good();
    hold(&mut view, 0, NINE, true);
    hold(&mut view, 1, NINE, false);
    view.service.unlisted.insert(NINE, Duration::from_secs(10));
    view
}

#[test]
fn copies_on_a_peer_that_is_not_listed_are_forgotten_when_others_live() {
    let too_soon = |left| Refusal::TooSoon {
        left: Duration::from_secs(left),
    };
    let changes: Vec<Change> = vec![
        (unread, dark()),
        (resharding, Refusal::Resharding("c".into())),
        (
            |v| {
                let peer = v.peers[&FOUR].clone();
                v.peers.insert(NINE, peer);
            },
            Refusal::Listed(NINE),
        ),
        // Not seen twice in a row.
        (|v| v.service.unlisted.clear(), too_soon(2)),
        (
            |v| {
                v.service.survivors.insert(NINE);
            },
            too_soon(15 * 60 - 10),
        ),
        (
            |v| {
                let ours = transfer(0, NINE, FOUR, Duration::ZERO);
                collection(v).transfers.push(ours);
            },
            under_way(0, NINE, FOUR),
        ),
        (
            |v| {
                unhold(v, 0, NINE);
                unhold(v, 1, NINE);
            },
            Refusal::NotThere,
        ),
        // Nobody else has it: as with a gone peer, its disk may still be brought back.
        (
            |v| {
                unhold(v, 1, ONE);
                unhold(v, 1, TWO);
            },
            too_soon(15 * 60 - 10),
        ),
        (
            |v| {
                live(v, ONE, unsure());
                live(v, TWO, unsure());
                v.service.unlisted.insert(NINE, LONG);
            },
            Refusal::CopyMayReturn(shard(0), ONE),
        ),
        (
            |v| {
                unhold(v, 1, ONE);
                unhold(v, 1, TWO);
                v.service.unlisted.insert(NINE, LONG);
            },
            Refusal::NotRecorded(shard(1)),
        ),
    ];
    let forget = |view: &ClusterView| may(view, Action::ForgetUnlisted { peer: NINE });
    check(&left_behind(), forget, changes);
    // With its loss on record it goes, and so does a survivor that never came back.
    let mut lost = left_behind();
    unhold(&mut lost, 1, ONE);
    unhold(&mut lost, 1, TWO);
    lost.service.unlisted.insert(NINE, LONG);
    lost.service.survivors.insert(NINE);
    let record = Action::RecordLoss {
        peer: NINE,
        shards: [shard(1)].into(),
    };
    assert_eq!(may(&lost, record), Ok(()));
    lost.losses.insert(shard(1));
    assert_eq!(forget(&lost), Ok(()));
}
