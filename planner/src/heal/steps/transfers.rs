//! Transfers that come to no end.

use crate::heal::action::{Action, Purpose};
use crate::heal::guard::{away, doomed};
use crate::heal::names::ShardRef;
use crate::heal::round::Round;
use crate::heal::view::Peer;

/// Qdrant ends a transfer whose target died, after some tries; one whose source died it never
/// ends (facts: section 5.5).
pub(crate) fn abort_doomed(round: &mut Round<'_>) -> bool {
    let view = round.view;
    for (name, collection) in view.known() {
        for transfer in &collection.transfers {
            if !doomed(round.settings, view, name, transfer) {
                continue;
            }
            let purpose = match transfer {
                t if away(round.settings, view, t.from) => Purpose::SourceGone,
                t if away(round.settings, view, t.to) => Purpose::TargetGone,
                t if view.peers.get(&t.to).is_some_and(Peer::ends) => Purpose::TargetEnds,
                t => Purpose::Stalled(t.stalled),
            };
            let action = Action::AbortTransfer {
                shard: ShardRef {
                    collection: name.clone(),
                    shard: transfer.shard,
                },
                from: transfer.from,
                to: transfer.to,
            };
            if round.offer(action, purpose) {
                return true;
            }
        }
    }
    false
}
