//! What peers ask each other about shards. Data only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Id of a point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PointId {
    /// A number.
    Number(u64),
    /// A UUID; not checked here.
    Text(String),
}

/// Points for one replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpsertRequest {
    /// Collection.
    pub collection: String,
    /// Shard.
    pub shard_id: u32,
    /// Points as the client sent them.
    pub points: Vec<Value>,
    /// True for the copying of a transfer: existing points are newer and stay.
    pub copy: bool,
    /// Index the receiver must have applied first.
    pub after: u64,
}

/// What to read of one replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadRequest {
    /// Collection.
    pub collection: String,
    /// Shard.
    pub shard_id: u32,
    /// What.
    pub select: Select,
}

/// Which points.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Select {
    /// Only how many there are.
    Count,
    /// From this id on, so many.
    Range(Option<PointId>, usize),
    /// These.
    Ids(Vec<PointId>),
}

/// Answer to a read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReadReply {
    /// Points in the replica.
    pub count: usize,
    /// The selected ones, by id.
    pub points: Vec<Value>,
    /// The number of the operation that last changed each, in this replica.
    #[serde(default)]
    pub versions: Vec<u64>,
}

/// Commit index of a peer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CommitReply {
    /// The index.
    pub commit: u64,
}
