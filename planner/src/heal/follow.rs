//! How far an action has come, as the view shows it.

use crate::heal::action::Action;
use crate::heal::guard::holdings;
use crate::heal::names::ShardRef;
use crate::heal::view::{ClusterView, Copy, Transfer};
use crate::ids::PeerId;

/// How far an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What it was for can be seen.
    Done,
    /// Its transfer can be seen.
    Running,
    /// Nothing can be seen of it.
    Unseen,
    /// What it is about could not be read.
    Unknown,
}

pub(crate) fn progress(view: &ClusterView, action: &Action) -> Progress {
    let done = match action {
        Action::AbortTransfer { shard, from, to } => {
            read(view, shard, || transfer(view, shard, *from, *to).is_none())
        }
        Action::DropReplica { shard, peer } => {
            read(view, shard, || copy(view, shard, *peer).is_none())
        }
        Action::RecordLoss { shards, .. } => Some(shards.is_subset(&view.losses)),
        Action::RemovePeer { peer }
        | Action::RemoveLostPeer { peer }
        | Action::RemoveGhost { peer }
        | Action::Release { peer } => Some(!view.peers.contains_key(peer)),
        Action::ForgetUnlisted { peer } => view
            .unknown()
            .is_none()
            .then(|| holdings(view, *peer).next().is_none()),
        Action::Replicate { shard, from, to } | Action::MoveReplica { shard, from, to } => {
            if transfer(view, shard, *from, *to).is_some() {
                return Progress::Running;
            }
            read(view, shard, || {
                let arrived = copy(view, shard, *to).is_some_and(Copy::is_active);
                let stays = matches!(action, Action::Replicate { .. });
                arrived && (stays || copy(view, shard, *from).is_none())
            })
        }
        Action::Grant(grant) => Some(view.service.orders.grant.as_ref() == Some(grant)),
        Action::Withdraw(grant) => Some(view.service.orders.grant.as_ref() != Some(grant)),
        Action::Evacuate(leaving) | Action::LetGo(leaving) | Action::CallBack(leaving) => {
            Some(view.service.orders.leaving.as_ref() == Some(leaving))
        }
        Action::EndEvacuation(_) => Some(view.service.orders.leaving.is_none()),
        Action::RaiseFactor { collection, factor } => view
            .collection(collection)
            .map(|there| there.factor >= *factor),
    };
    match done {
        Some(true) => Progress::Done,
        Some(false) => Progress::Unseen,
        None => Progress::Unknown,
    }
}

fn read(view: &ClusterView, shard: &ShardRef, what: impl FnOnce() -> bool) -> Option<bool> {
    view.collection(&shard.collection)?;
    Some(what())
}

fn transfer<'a>(
    view: &'a ClusterView,
    shard: &ShardRef,
    from: PeerId,
    to: PeerId,
) -> Option<&'a Transfer> {
    let collection = view.collection(&shard.collection)?;
    let mut transfers = collection.transfers.iter();
    transfers.find(|t| t.shard == shard.shard && t.from == from && t.to == to)
}

fn copy<'a>(view: &'a ClusterView, shard: &ShardRef, peer: PeerId) -> Option<&'a Copy> {
    view.shard(shard)?.copies.get(&peer)
}
