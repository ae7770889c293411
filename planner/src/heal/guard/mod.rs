//! The precondition of every action, in one place: asked when planning, and once more with a
//! fresh view when acting.
//!
//! Each function says *may*, never *should*. What is unknown refuses.

mod copies;
mod leave;
mod orders;
mod peers;
mod refusal;

pub use refusal::Refusal;

pub(crate) use copies::{away, doomed, lives};
pub(crate) use leave::{baseless, blocks};
pub(crate) use orders::{asks_to_set_aside, joins, may_set_aside, settled};
pub(crate) use peers::{holdings, lost};

use crate::heal::action::Action;
use crate::heal::settings::Settings;
use crate::heal::view::ClusterView;
use crate::observed::Observed;

/// May this action be carried out, as things are now?
///
/// # Errors
/// The first thing that speaks against it.
pub fn may(settings: &Settings, view: &ClusterView, action: &Action) -> Result<(), Refusal> {
    open(view)?;
    // Whoever held the other copy a while ago may be on its way out by now, or dead.
    if action.is_final() && view.age > settings.fresh {
        return Err(Refusal::Stale(view.age));
    }
    grounds(settings, view, action)
}

/// May anything be changed at all? Nobody has asked for a pause, and consensus commits.
///
/// # Errors
/// What closes the gate.
pub fn open(view: &ClusterView) -> Result<(), Refusal> {
    if let Some(pause) = &view.paused {
        return Err(Refusal::Paused {
            owner: pause.owner.clone(),
            reason: pause.reason.clone(),
        });
    }
    match &view.commits {
        Observed::Known(true) => Ok(()),
        Observed::Known(false) => Err(Refusal::NotCommitting),
        Observed::Unknown(why) => Err(Refusal::CommitUnknown(why.clone())),
    }
}

/// [`may`] without the gate, so that a closed gate still shows what would be done.
pub(crate) fn grounds(
    settings: &Settings,
    view: &ClusterView,
    action: &Action,
) -> Result<(), Refusal> {
    match action {
        Action::AbortTransfer { shard, from, to } => {
            copies::abort(settings, view, shard, *from, *to)
        }
        Action::DropReplica { shard, peer } => copies::drop(view, shard, *peer),
        Action::Replicate { shard, from, to } => {
            copies::replicate(settings, view, shard, *from, *to)
        }
        Action::MoveReplica { shard, from, to } => copies::shift(view, shard, *from, *to),
        Action::RaiseFactor { collection, factor } => {
            copies::raise_factor(view, collection, *factor)
        }
        Action::Grant(grant) => orders::grant(view, grant),
        Action::Withdraw(grant) => orders::withdraw(view, grant),
        Action::Evacuate(leaving) => leave::evacuate(view, leaving),
        Action::LetGo(leaving) => leave::let_go(view, leaving),
        Action::CallBack(leaving) => leave::call_back(view, leaving),
        Action::EndEvacuation(leaving) => leave::end(view, leaving),
        Action::RecordLoss { peer, shards } => peers::record_loss(settings, view, *peer, shards),
        Action::RemovePeer { peer } => peers::remove(view, *peer),
        Action::RemoveLostPeer { peer } => peers::remove_lost(settings, view, *peer),
        Action::ForgetUnlisted { peer } => peers::forget(settings, view, *peer),
        Action::RemoveGhost { peer } => peers::remove_ghost(view, *peer),
        Action::Release { peer } => peers::release(view, *peer),
    }
}
