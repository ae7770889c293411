//! The few Qdrant REST calls this project uses, typed.
//!
//! [`Client`] asks one node and gives typed answers; it decides nothing, retries nothing and keeps
//! no state between calls. Everything it can learn is either a value or an [`Error`] that names
//! what was asked and of whom, so that callers can tell "nobody listens" from "somebody refused".
//!
//! Parsing is tolerant where Qdrant grows (unknown fields, unknown states become `Unknown`) and
//! strict where a missing field would read as "nothing there": a list of replicas that is absent
//! is an error, not an empty list.

mod aliases;
mod answer;
mod client;
mod cluster;
mod collections;
mod describe;
mod error;
mod identity;
mod key;
mod lenient;
mod metadata;
mod points;
mod recreate;
mod request;
mod samples;
mod shards;
mod snapshots;
mod url;

#[cfg(test)]
mod parser_properties;

pub use aliases::{Alias, AliasChange};
pub use client::{BuildError, Client, Readiness};
pub use cluster::{Cluster, ClusterInfo, ConsensusThread, PeerUri, RaftInfo, Role, SendFailures};
pub use collections::{
    CollectionCluster, CollectionInfo, CollectionParams, CollectionStatus, CreateCollection,
    Distance, LocalShard, RemoteShard, Replica, ReplicaState, ShardTransfer, VectorParams,
};
pub use describe::{Description, PayloadIndex, ShardKey};
pub use error::{Error, ErrorKind};
pub use identity::CollectionIdentity;
pub use key::{ApiKey, InvalidApiKey};
pub use points::{
    Page, Payload, Point, PointId, ReadConsistency, Record, UpdateResult, UpdateStatus,
    WriteOrdering,
};
pub use recreate::{CannotRecreate, Recreation};
pub use samples::{Nearest, Scored, WholePoint};
pub use shards::Route;
pub use snapshots::{Recovery, ShardStream};
pub use url::{BaseUrl, InvalidBaseUrl};
