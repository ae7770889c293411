//! What the steward permits and orders, one record in Qdrant's key map.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{PeerId, TaskId};

/// What the steward has ordered, in Qdrant's key map, where a steward that cannot commit cannot
/// write it. Read by the tasks that it names, who act on it only while they read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Orders {
    /// Format of this record.
    pub format: u32,
    /// The one permission that is out.
    #[serde(default)]
    pub grant: Option<Grant>,
    /// The one task that is being emptied.
    #[serde(default)]
    pub leaving: Option<Leaving>,
}

/// A permission for one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// To do what.
    pub kind: GrantKind,
    /// Who.
    pub task: TaskId,
}

/// What a task may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Join Raft.
    Join,
    /// Be ready for the load balancer.
    Serve,
    /// Rename its data aside and begin anew, because its Qdrant cannot run with it.
    SetAside,
}

/// A task that is being emptied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leaving {
    /// The task.
    pub task: TaskId,
    /// Its peer.
    pub peer: PeerId,
    /// Why it, and not another.
    pub why: LeavingReason,
    /// It holds no copy any more: it serves what others hold until ECS ends it, unprotected.
    #[serde(default)]
    pub released: bool,
}

/// Why a task is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingReason {
    /// There are more tasks than wanted.
    Surplus,
    /// It is of another revision than the wanted one, and there is one more task than wanted.
    Revision,
    /// ECS says that protected tasks block its deployment, and nothing newer is here.
    Blocked,
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Serve => "serve",
            Self::SetAside => "set its data aside",
        })
    }
}

impl fmt::Display for LeavingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Surplus => "there are more tasks than wanted",
            Self::Revision => "it is not of the wanted revision",
            Self::Blocked => "protected tasks block the deployment",
        })
    }
}
