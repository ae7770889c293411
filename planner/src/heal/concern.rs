//! What a person must look at although the steward does what it can: shards that nobody can read,
//! and what has been waited for so long that it will hardly come by itself.
//!
//! One reason for waiting gives way to another and back (refused, tried, resting), so what counts is
//! what is waited for, not why. The reasons stand in the plan.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::action::Action;
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::plan::Plan;
use crate::heal::settings::Settings;
use crate::heal::view::ClusterView;
use crate::heal::waiting::Waiting;
use crate::ids::PeerId;

/// An action that failed so often in a row fails for a reason: with the pauses between, ten minutes.
const FAILURES: u32 = 6;

/// What the steward does not come on with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The copies of a shard.
    Shard(ShardRef),
    /// A peer that neither serves nor can be removed.
    Peer(PeerId),
    /// A collection that cannot be read or changed.
    Collection(CollectionName),
    /// The list of collections.
    Collections,
    /// A task that ECS, or its revision, wants gone.
    Deployment,
    /// Tasks that are to be ready for the first time.
    Readiness,
    /// Permissions.
    Orders,
}

/// What a person must look at. Equal ones have equal texts, so that each is said once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// The shard's loss is on record: its data comes back by a restore only.
    Lost(ShardRef),
    /// No living peer has an Active copy of the shard.
    Dark(ShardRef),
    /// The steward has been waiting for this for long.
    Stuck(Subject),
    /// What the steward asks of Qdrant for this fails again and again.
    Fails(Subject),
}

/// What concerns the steward, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    all: BTreeMap<Concern, Lasting>,
    peers: BTreeSet<PeerId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lasting {
    age: Duration,
    unseen: Duration,
}

impl Concerns {
    /// Takes in what one round saw and planned, `step` after the one before it.
    pub fn observe(
        &mut self,
        settings: &Settings,
        step: Duration,
        view: &ClusterView,
        plan: &Plan,
    ) {
        let changed = !self.peers.iter().eq(view.peers.keys());
        if changed {
            self.peers = view.peers.keys().copied().collect();
            // A deployment goes on as long as peers come and go.
            self.all.retain(|concern, _| !is_of_deployments(concern));
        }
        for lasting in self.all.values_mut() {
            lasting.age = lasting.age.saturating_add(step);
            lasting.unseen = lasting.unseen.saturating_add(step);
        }
        for concern in concerns(plan) {
            self.all.entry(concern).or_default().unseen = Duration::ZERO;
        }
        self.all.retain(|concern, lasting| match concern {
            Concern::Lost(_) | Concern::Dark(_) | Concern::Fails(_) => lasting.unseen.is_zero(),
            // In the round that tries it, it is not waited for.
            Concern::Stuck(_) => lasting.unseen < settings.sight_timeout,
        });
    }

    /// Those that a person must hear of.
    pub fn alarms(&self, settings: &Settings) -> Vec<Concern> {
        let heard = |(concern, lasting): &(&Concern, &Lasting)| match concern {
            Concern::Lost(_) | Concern::Fails(_) => true,
            Concern::Dark(_) => lasting.age >= settings.patience,
            // What is bounded by the time that a last copy is waited for has come to its end by then.
            Concern::Stuck(_) => lasting.age >= settings.lost_copy_timeout.saturating_mul(2),
        };
        let all = self.all.iter().filter(heard);
        all.map(|(concern, _)| concern.clone()).collect()
    }
}

fn concerns(plan: &Plan) -> Vec<Concern> {
    let report = &plan.report;
    let lost = report.broken.iter().cloned().map(Concern::Lost);
    let dark = report.dark.iter().filter(|s| !report.broken.contains(s));
    let dark = dark.cloned().map(Concern::Dark);
    let stuck = plan.waiting_on.iter().filter_map(subject);
    let fails = plan.waiting_on.iter().filter_map(|why| match why {
        Waiting::Resting {
            action, failures, ..
        } if *failures >= FAILURES => Some(Concern::Fails(purpose(action))),
        _ => None,
    });
    let waits = stuck.map(Concern::Stuck).chain(fails);
    lost.chain(dark).chain(waits).collect()
}

fn is_of_deployments(concern: &Concern) -> bool {
    let (Concern::Stuck(subject) | Concern::Fails(subject)) = concern else {
        return false;
    };
    matches!(subject, Subject::Deployment | Subject::Readiness)
}

/// What this reason keeps the steward from; `None` when it is bounded, or somebody wants it so.
fn subject(waiting: &Waiting) -> Option<Subject> {
    match waiting {
        Waiting::Unseen { action, .. }
        | Waiting::Refused { action, .. }
        | Waiting::Resting { action, .. } => Some(purpose(action)),
        Waiting::Unread(Some(name), _) => Some(Subject::Collection(name.clone())),
        Waiting::Unread(None, _) => Some(Subject::Collections),
        Waiting::Peer { peer, .. } | Waiting::Unlisted { peer, .. } => Some(Subject::Peer(*peer)),
        Waiting::NoSource(shard) | Waiting::NoPlace(shard) => Some(Subject::Shard(shard.clone())),
        Waiting::Recovering { shard, .. } => Some(Subject::Shard(shard.clone())),
        Waiting::OrdersUnread(_) => Some(Subject::Orders),
        Waiting::ReadyWaits { .. } => Some(Subject::Readiness),
        Waiting::Successor | Waiting::Blocked { .. } | Waiting::Surplus { .. } => {
            Some(Subject::Deployment)
        }
        Waiting::Closed(_)
        | Waiting::Transfer { .. }
        | Waiting::Resharding(_)
        | Waiting::ZoneUnknown(_)
        | Waiting::LastCopies { .. }
        | Waiting::Replacement { .. }
        | Waiting::BalanceLater { .. }
        | Waiting::Granted(_)
        | Waiting::Goes(_) => None,
    }
}

fn purpose(action: &Action) -> Subject {
    match action {
        Action::AbortTransfer { shard, .. }
        | Action::DropReplica { shard, .. }
        | Action::Replicate { shard, .. }
        | Action::MoveReplica { shard, .. } => Subject::Shard(shard.clone()),
        Action::RecordLoss { peer, .. }
        | Action::RemovePeer { peer }
        | Action::RemoveLostPeer { peer }
        | Action::ForgetUnlisted { peer }
        | Action::RemoveGhost { peer }
        | Action::Release { peer } => Subject::Peer(*peer),
        Action::Grant(_) | Action::Withdraw(_) => Subject::Orders,
        Action::Evacuate(_) | Action::LetGo(_) | Action::CallBack(_) | Action::EndEvacuation(_) => {
            Subject::Deployment
        }
        Action::RaiseFactor { collection, .. } => Subject::Collection(collection.clone()),
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(shard) => write!(
                f,
                "every copy of {shard} is lost: restore its collection, or delete it"
            ),
            Self::Dark(shard) => write!(
                f,
                "no peer that answers has an Active copy of {shard}: look at the tasks that held one"
            ),
            Self::Fails(subject) => write!(
                f,
                "what the steward does about {subject} fails again and again: see its log for heal.failed"
            ),
            Self::Stuck(subject) => write!(
                f,
                "the steward does not come on with {subject}: `entrypoint plan` says why"
            ),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "the copies of {shard}"),
            Self::Peer(peer) => write!(f, "peer {peer}"),
            Self::Collection(name) => write!(f, "collection {name}"),
            Self::Collections => f.write_str("the list of collections"),
            Self::Deployment => f.write_str("a task that is to go"),
            Self::Readiness => f.write_str("tasks that are to be ready"),
            Self::Orders => f.write_str("permissions"),
        }
    }
}
