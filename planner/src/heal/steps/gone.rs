//! Gone peers.

use core::time::Duration;

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::{Refusal, lives, lost};
use crate::heal::names::ShardRef;
use crate::heal::round::Round;
use crate::heal::view::Peer;
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;

pub(crate) fn clear_away(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let gone = || {
        let peers = view.peers.iter();
        peers.filter(|(_, there)| there.life.is_gone())
    };
    // Voters first: each one that is gone weighs on the quorum.
    let voters = gone().filter(|(_, there)| there.voter);
    let learners = gone().filter(|(_, there)| !there.voter);
    voters
        .chain(learners)
        .any(|(peer, there)| clear_one(round, *peer, there))
}

fn clear_one(round: &mut Round<'_>, peer: PeerId, there: &Peer) -> bool {
    let held = round
        .facts
        .elsewhere
        .get(&peer)
        .cloned()
        .unwrap_or_default();
    let (last, spare): (Vec<ShardRef>, Vec<ShardRef>) =
        held.into_iter().partition(|shard| is_last(round, shard));
    for shard in &spare {
        let action = Action::DropReplica {
            shard: shard.clone(),
            peer,
        };
        if round.offer(action, Purpose::HolderGone) {
            return true;
        }
    }
    match (spare.is_empty(), last.is_empty(), there.voter) {
        (true, true, true) => round.offer(Action::RemovePeer { peer }, Purpose::PeerGone),
        (true, true, false) => round.offer(Action::RemoveGhost { peer }, Purpose::PeerGone),
        (_, false, _) => {
            let removal = Action::RemoveLostPeer { peer };
            give_up(round, peer, last, removal, spare.is_empty())
        }
        // What could not be dropped has said why.
        (false, true, _) => false,
    }
}

/// Copies on peers that are not in the address book: the cluster was made to go on without them
/// (re-quorum), and nothing else will ever take them off the list.
pub(crate) fn forget_unlisted(round: &mut Round<'_>) -> bool {
    let view = round.view;
    let unlisted: Vec<(PeerId, Vec<ShardRef>)> = round
        .facts
        .elsewhere
        .iter()
        .filter(|(peer, _)| !view.peers.contains_key(peer))
        .map(|(peer, held)| (*peer, held.clone()))
        .collect();
    unlisted.into_iter().any(|(peer, mut held)| {
        held.retain(|shard| is_last(round, shard));
        let action = Action::ForgetUnlisted { peer };
        match held.is_empty() {
            true => round.offer(action, Purpose::NotListed),
            false => give_up(round, peer, held, action, true),
        }
    })
}

/// Whether no peer that answers, and is not about to end, has an Active copy.
fn is_last(round: &Round<'_>, shard: &ShardRef) -> bool {
    let there = round.view.shard(shard);
    !there.is_some_and(|there| lives(round.view, there))
}

/// Last copies protect their peer only while they can come back. Then their loss is recorded, and
/// the peer is removed: else dead voters would pile up until the quorum is lost.
fn give_up(
    round: &mut Round<'_>,
    peer: PeerId,
    last: Vec<ShardRef>,
    removal: Action,
    alone: bool,
) -> bool {
    let mut longest = Duration::ZERO;
    let mut refused = Vec::new();
    for shard in &last {
        match lost(round.settings, round.view, shard, peer) {
            Ok(()) => {}
            Err(Refusal::TooSoon { left }) => longest = longest.max(left),
            Err(why) => refused.push(why),
        }
    }
    if !longest.is_zero() {
        round.wait(Waiting::LastCopies {
            peer,
            shards: last.clone(),
            left: longest,
        });
    }
    let lost = last.iter().filter(|shard| {
        !round.view.losses.contains(*shard) && lost(round.settings, round.view, shard, peer).is_ok()
    });
    let shards = lost.cloned().collect::<std::collections::BTreeSet<_>>();
    if !shards.is_empty() {
        let action = Action::RecordLoss { peer, shards };
        if round.offer(action, Purpose::LossIsFinal) {
            return true;
        }
    }
    match refused.pop() {
        Some(why) => {
            round.wait(Waiting::Refused {
                action: removal,
                why,
            });
            false
        }
        None => longest.is_zero() && alone && round.offer(removal, Purpose::LossIsFinal),
    }
}
