//! The last word of a generation that has ended in order.

use serde::{Deserialize, Serialize};

use crate::ids::{GenerationId, PeerId, TaskId};
use crate::keep::ids::SetId;

/// `generations/N/end.json`: the only peer of this generation has ended for good, and all that was ever
/// acknowledged in it is in its final set. Created once, exclusively, by that peer's task, when its Qdrant
/// has stopped and its own disk says so ([`Stamp::ended`](crate::records::Stamp::ended)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct End {
    /// Format of this record.
    pub format: u32,
    /// The generation that has ended.
    pub generation: GenerationId,
    /// Its final set.
    pub set: SetId,
    /// Its only peer.
    pub peer: PeerId,
    /// The task of that peer.
    pub task: TaskId,
}
