//! What a person must look at although the steward does what it can: shards that nobody can read,
//! and what has been waited for so long that it will hardly come by itself.
//!
//! One reason for waiting gives way to another and back (refused, tried, resting), so what counts is
//! what is waited for, not why. The reasons stand in the plan.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::action::Action;
use crate::heal::memory::Memory;
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
    /// A transfer.
    Transfer {
        /// The shard.
        shard: ShardRef,
        /// The source.
        from: PeerId,
        /// The target.
        to: PeerId,
    },
}

/// What a person must look at. Equal ones have equal texts, so that each is said once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// The steward cannot look at the cluster, so nothing at all is done.
    Blind,
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
    ready: BTreeSet<PeerId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lasting {
    age: Duration,
    unseen: Duration,
}

impl Concerns {
    /// Takes in what one round saw and planned, `step` after the one before it. `plans` are the one
    /// that was made and, where only permissions are given, the one of these.
    pub fn observe(
        &mut self,
        settings: &Settings,
        step: Duration,
        view: &ClusterView,
        memory: &Memory,
        plans: &[&Plan],
    ) {
        let ready = view.peers.iter().filter(|(_, peer)| peer.said.ready);
        let ready: BTreeSet<PeerId> = ready.map(|(peer, _)| *peer).collect();
        if !ready.is_subset(&self.ready) {
            // A deployment comes on as long as tasks become ready.
            self.all.retain(|concern, _| !is_of_deployments(concern));
        }
        self.ready = ready;
        let mut now = BTreeSet::new();
        for plan in plans {
            now.extend(concerns(plan));
        }
        now.extend(
            memory
                .failing(FAILURES)
                .map(|action| Concern::Fails(purpose(action))),
        );
        now.extend(transfers(view));
        // Somebody wants it so; or a transfer is under way that moves, or whose progress nobody says,
        // and what waits for it waits its turn. Its own age counts on.
        let held = view.paused.is_some();
        let mut transfers = view.known().flat_map(|(_, there)| &there.transfers);
        let busy = transfers.any(|transfer| transfer.stalled < settings.patience);
        let stands = |concern: &Concern| match concern {
            Concern::Stuck(Subject::Transfer { .. }) => held,
            Concern::Stuck(_) => held || busy,
            _ => false,
        };
        for (concern, lasting) in &mut self.all {
            if !stands(concern) {
                lasting.age = lasting.age.saturating_add(step);
            }
            lasting.unseen = lasting.unseen.saturating_add(step);
        }
        for concern in now {
            if let Concern::Lost(shard) = &concern {
                self.all.remove(&Concern::Dark(shard.clone()));
            }
            self.all.entry(concern).or_default().unseen = Duration::ZERO;
        }
        // In the round that tries something it is not waited for, and an answer may be late once.
        self.all
            .retain(|_, lasting| lasting.unseen < settings.sight_timeout);
    }

    /// Takes in a round in which the steward could not look, `step` after the one before it. What it
    /// saw last holds.
    pub fn blind(&mut self, step: Duration) {
        let lasting = self.all.entry(Concern::Blind).or_default();
        lasting.age = lasting.age.saturating_add(step);
        lasting.unseen = Duration::ZERO;
    }

    /// Those that a person must hear of.
    pub fn alarms(&self, settings: &Settings) -> Vec<Concern> {
        let heard = |(concern, lasting): &(&Concern, &Lasting)| match concern {
            Concern::Lost(_) | Concern::Fails(_) => true,
            Concern::Dark(_) | Concern::Blind => lasting.age >= settings.patience,
            // Nobody says how far a transfer is, but for one kind of it.
            Concern::Stuck(Subject::Transfer { .. }) => {
                lasting.age >= settings.lost_copy_timeout.saturating_mul(4)
            }
            // What is bounded by the time that a last copy is waited for has come to its end by then.
            Concern::Stuck(_) => lasting.age >= settings.lost_copy_timeout.saturating_mul(2),
        };
        let all = self.all.iter().filter(heard);
        all.map(|(concern, _)| concern.clone()).collect()
    }
}

fn concerns(plan: &Plan) -> impl Iterator<Item = Concern> {
    let report = &plan.report;
    let lost = report.broken.iter().cloned().map(Concern::Lost);
    let dark = report.dark.iter().filter(|s| !report.broken.contains(s));
    let dark = dark.cloned().map(Concern::Dark);
    let stuck = plan.waiting_on.iter().filter_map(subject);
    lost.chain(dark).chain(stuck.map(Concern::Stuck))
}

/// Every transfer that is under way, whoever waits for it.
fn transfers(view: &ClusterView) -> impl Iterator<Item = Concern> {
    view.known().flat_map(|(name, there)| {
        there.transfers.iter().map(|transfer| {
            Concern::Stuck(Subject::Transfer {
                shard: ShardRef {
                    collection: name.clone(),
                    shard: transfer.shard,
                },
                from: transfer.from,
                to: transfer.to,
            })
        })
    })
}

fn is_of_deployments(concern: &Concern) -> bool {
    let Concern::Stuck(subject) = concern else {
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
        // Whose turn it is not yet is refused the permission in every round.
        Action::Grant(_) => Subject::Readiness,
        Action::Withdraw(_) => Subject::Orders,
        Action::Evacuate(_) | Action::LetGo(_) | Action::CallBack(_) | Action::EndEvacuation(_) => {
            Subject::Deployment
        }
        Action::RaiseFactor { collection, .. } => Subject::Collection(collection.clone()),
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blind => f.write_str(
                "the steward cannot look at the cluster, so nothing is healed and nobody joins: `entrypoint plan` says why"
            ),
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
            Self::Transfer { shard, from, to } => {
                write!(f, "the transfer of {shard} from peer {from} to {to}")
            }
        }
    }
}
