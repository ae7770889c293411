//! Peers whose tasks are being stopped. There is little time, so nothing is moved: what lives
//! elsewhere is dropped here, and whoever holds nothing any more leaves Raft, so that it is not
//! missed. The steward's own peer comes last, for with it goes the steward.

use crate::heal::action::{Action, Purpose};
use crate::heal::names::ShardRef;
use crate::heal::round::Round;
use crate::ids::PeerId;

pub(crate) fn hand_over(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let ending = || {
        let peers = view.peers.iter().filter(|(_, there)| there.ends());
        peers.map(|(peer, _)| *peer)
    };
    let others = ending().filter(|peer| *peer != view.us);
    let ourselves = ending().filter(|peer| *peer == view.us);
    others.chain(ourselves).any(|peer| clear(round, peer))
}

fn clear(round: &mut Round<'_>, peer: PeerId) -> bool {
    let held: Vec<ShardRef> = round
        .facts
        .elsewhere
        .get(&peer)
        .cloned()
        .unwrap_or_default();
    if held.is_empty() {
        return round.offer(Action::Release { peer }, Purpose::Ending);
    }
    held.into_iter().any(|shard| {
        let action = Action::DropReplica { shard, peer };
        round.offer(action, Purpose::Ending)
    })
}
