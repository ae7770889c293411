//! Whether this task should be protected from being stopped by ECS: while it holds what others
//! would miss. Says nothing of whether ECS agrees.

use core::fmt;

use crate::ids::TaskId;
use crate::observed::Observed;
use crate::records::{Stage, WantedService};
use crate::view::{Child, Observation, Probe};

/// What this task should ask of ECS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// Do not stop this task for a deployment or a smaller count.
    Protect(Holding),
    /// It may be stopped.
    Free(Freedom),
}

/// What the disk of a task that should be protected holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    /// A peer that is or was in the cluster.
    Peer,
    /// Data of an earlier generation that was set aside.
    Aside,
}

/// Why a task may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freedom {
    /// Nothing is here that anybody would miss.
    Empty,
    /// The steward has emptied it.
    Released,
    /// ECS wants no task at all, and protection would only hold that up.
    NoneWanted,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protect(Holding::Peer) => "its disk holds a peer of the cluster",
            Self::Protect(Holding::Aside) => "its disk holds data that was set aside",
            Self::Free(Freedom::Empty) => "its disk holds nothing",
            Self::Free(Freedom::Released) => "the steward has emptied it",
            Self::Free(Freedom::NoneWanted) => "ECS wants no task of this service",
        })
    }
}

/// What one round's observation asks for. `told` is what the ECS API told this task itself.
pub fn wish(
    task: &TaskId,
    service: &str,
    seen: &Observation,
    told: Option<&WantedService>,
) -> Wish {
    let disk = &seen.disk;
    let in_a_cluster = disk
        .stamp
        .as_ref()
        // A survivor that goes over has data, and no Raft of its own until it is let in.
        .is_some_and(|stamp| stamp.stage == Stage::Member || stamp.rejoin.is_some() || disk.joined);
    let holding = match (in_a_cluster, disk.aside) {
        (true, _) => Holding::Peer,
        (false, true) => Holding::Aside,
        (false, false) => return Wish::Free(Freedom::Empty),
    };
    if none_wanted(service, seen, told) {
        return Wish::Free(Freedom::NoneWanted);
    }
    if released(task, seen) {
        return Wish::Free(Freedom::Released);
    }
    Wish::Protect(holding)
}

/// Everybody who knows says that ECS wants no task, and somebody does. One who says otherwise is
/// enough against.
fn none_wanted(service: &str, seen: &Observation, told: Option<&WantedService>) -> bool {
    let others = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { hello, .. } if hello.service == service => hello.said.wanted.as_ref(),
        _ => None,
    });
    let mut counts = told.into_iter().chain(others).map(|wanted| wanted.tasks);
    counts.next() == Some(0) && counts.all(|tasks| tasks == 0)
}

/// We hold no copy any more, as the cluster's key map says: our own; or, while our Qdrant does not
/// answer, that of a member that leads and whose data was found to be the cluster's.
fn released(task: &TaskId, seen: &Observation) -> bool {
    let own = match &seen.child {
        Child::Running(Observed::Known(qdrant)) => qdrant.orders.known(),
        _ => None,
    };
    let others = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { hello, orders, .. } if hello.leads && hello.verified => orders.as_ref(),
        _ => None,
    });
    let mut leaving = match own {
        Some(own) => own.leaving.iter().collect::<Vec<_>>(),
        None => others
            .filter_map(|orders| orders.leaving.as_ref())
            .collect(),
    }
    .into_iter();
    leaving.any(|leaving| {
        // What it leaves behind may be set aside, and with that its peer id is gone from the disk.
        let ours = seen.disk.peer_id.is_none_or(|us| us == leaving.peer);
        leaving.released && leaving.task == *task && ours
    })
}
