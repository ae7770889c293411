//! What cannot be undone: only upon what was seen a moment ago, and only when the copy that is left is
//! where it will be for a while.

use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::guard::Refusal;
use planner::heal::settings::Settings;
use planner::heal::view::ClusterView;
use planner::ids::PeerId;
use planner::records::{Leaving, LeavingReason};

use crate::guards::{FOUR, LONG, ONE, THREE, TWO, check, good, hold, live, may, shard, unsure};

const NINE: PeerId = PeerId(9);

/// Peer 3 is gone and holds a copy of `c/0`; 1 and 2 hold the others.
fn gone_holder() -> ClusterView {
    let mut view = good();
    hold(&mut view, 0, THREE, true);
    view
}

/// Peer 2 alone has another copy of `c/0`.
fn one_other() -> ClusterView {
    let mut view = gone_holder();
    crate::guards::unhold(&mut view, 0, ONE);
    view
}

fn ends(view: &mut ClusterView, peer: PeerId) {
    view.peers.get_mut(&peer).unwrap().said.ending = true;
}

fn released(view: &mut ClusterView, peer: PeerId) {
    view.service.orders.leaving = Some(Leaving {
        task: "t".into(),
        peer,
        why: LeavingReason::Surplus,
        released: true,
    });
}

#[test]
fn the_copy_of_a_gone_peer_goes_only_when_another_is_where_it_stays() {
    let drop = Action::DropReplica {
        shard: shard(0),
        peer: THREE,
    };
    check(
        &one_other(),
        |view| may(view, drop.clone()),
        vec![
            (|v| ends(v, TWO), Refusal::LastCopy(shard(0))),
            (|v| released(v, TWO), Refusal::LastCopy(shard(0))),
            (|v| live(v, TWO, unsure()), Refusal::LastCopy(shard(0))),
        ],
    );
    // One that was told to leave is emptied by a move, so its copy is not about to vanish.
    let mut leaves = one_other();
    leaves.peers.get_mut(&TWO).unwrap().leaving = true;
    assert_eq!(may(&leaves, drop), Ok(()));
}

#[test]
fn copies_on_an_unlisted_peer_are_kept_for_the_same_reasons() {
    let mut view = good();
    crate::guards::unhold(&mut view, 0, ONE);
    hold(&mut view, 0, NINE, true);
    view.service.unlisted.insert(NINE, Duration::from_secs(10));
    let forget = |view: &ClusterView| may(view, Action::ForgetUnlisted { peer: NINE });
    assert_eq!(forget(&view), Ok(()));
    for about_to_end in [ends, released] {
        let mut view = view.clone();
        about_to_end(&mut view, TWO);
        assert!(forget(&view).is_err());
    }
}

#[test]
fn nothing_is_taken_away_upon_what_was_seen_long_ago() {
    let fresh = Settings::default().fresh;
    let stale = fresh + Duration::from_millis(1);
    let mut ending = good();
    ends(&mut ending, FOUR);
    let mut ghost = good();
    ghost.peers.get_mut(&THREE).unwrap().voter = false;
    let mut unlisted = good();
    hold(&mut unlisted, 0, NINE, true);
    unlisted.service.unlisted.insert(NINE, LONG);
    let mut lost = good();
    for (holder, active) in [(ONE, false), (THREE, true)] {
        hold(&mut lost, 1, holder, active);
    }
    lost.losses.insert(shard(1));
    let drop = Action::DropReplica {
        shard: shard(0),
        peer: THREE,
    };
    let final_ones = [
        (gone_holder(), drop),
        (good(), Action::RemovePeer { peer: THREE }),
        (ghost, Action::RemoveGhost { peer: THREE }),
        (lost, Action::RemoveLostPeer { peer: THREE }),
        (unlisted, Action::ForgetUnlisted { peer: NINE }),
        (ending, Action::Release { peer: FOUR }),
    ];
    for (mut view, action) in final_ones {
        view.age = fresh;
        assert_eq!(may(&view, action.clone()), Ok(()), "{action}");
        view.age = stale;
        assert_eq!(
            may(&view, action.clone()),
            Err(Refusal::Stale(stale)),
            "{action}"
        );
    }
    // What adds a copy harms nobody.
    let mut view = good();
    view.age = LONG;
    let copy = Action::Replicate {
        shard: shard(0),
        from: ONE,
        to: FOUR,
    };
    assert_eq!(may(&view, copy), Ok(()));
}
