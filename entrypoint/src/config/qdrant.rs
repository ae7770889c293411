//! The part of Qdrant's configuration that we read, and the variables that we set for it when the
//! user has not. Owns which ones and why; Qdrant reads everything else itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::types::Secret;

/// What we know of Qdrant's configuration: only what stands in the environment, not in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QdrantSettings {
    /// The key that requests carry; `None` when unset or empty.
    pub api_key: Option<Secret>,
    /// The second key that is accepted.
    pub alt_api_key: Option<Secret>,
    /// Port of the REST API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    /// Port between peers.
    pub p2p_port: u16,
    /// The address that Qdrant listens on; may be unspecified (`0.0.0.0`, `::`).
    pub host: IpAddr,
    /// The data directory; a relative one is relative to Qdrant's working directory.
    pub storage_path: PathBuf,
    /// Whether Qdrant's own ports speak TLS. Always `false` in this version: `true` is refused.
    pub tls: bool,
    /// What `Config::qdrant_env_overrides` gives.
    pub(super) overrides: Vec<(&'static str, String)>,
}

impl QdrantSettings {
    /// The address at which this machine reaches its own Qdrant.
    pub fn local_address(&self) -> IpAddr {
        match self.host {
            IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            host => host,
        }
    }
}

/// When a variable is set for Qdrant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Outgoing calls between peers carry `api_key` and never the second key, so enforcing it
    /// without that one would lock the peers out from each other.
    WithApiKey,
    /// Qdrant prefers the variable that we would set to this one of the user's.
    Without(&'static str),
}

/// What a variable is set to.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Text(&'static str),
    /// A number that follows from the configuration, and how in words.
    Number(&'static str, fn(&Basis) -> u32),
    /// A directory below the data directory.
    InStorage(&'static str),
}

/// What the numbers follow from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis {
    pub(super) has_api_key: bool,
    pub(super) cluster_size: u32,
    /// Wanted copies, whatever the cluster's size.
    pub(super) copies: u32,
    /// The user's own factor for new collections.
    pub(super) factor: Option<u32>,
}

impl Basis {
    /// More copies than tasks cannot be made, and Qdrant would never add the missing ones.
    fn factor(&self) -> u32 {
        self.factor
            .unwrap_or_else(|| self.copies.min(self.cluster_size))
    }

    /// One fewer than there are copies, so that one dead copy never stops a write until it is
    /// dropped; two say that what is acknowledged outlives any one task.
    fn acknowledgements(&self) -> u32 {
        self.factor().saturating_sub(1).clamp(1, 2)
    }

    fn shards(&self) -> u32 {
        self.cluster_size.min(2)
    }
}

/// One variable that we set for Qdrant.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) when: When,
    pub(super) why: &'static str,
}

/// All that we set. Sources: Qdrant 1.19 `src/settings.rs:66-74` (internal authentication),
/// `lib/api/src/grpc/transport_channel_pool.rs:171-182` (one lock held across a connect),
/// `lib/segment/src/data_types/collection_defaults.rs` (defaults of collections),
/// `lib/storage/src/content_manager/toc/temp_directories.rs` (temporary files).
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        name: "QDRANT__CLUSTER__ENABLED",
        value: Value::Text("true"),
        when: When::Always,
        why: "Without it Qdrant ignores its cluster arguments; one node is a cluster of one.",
    },
    Setting {
        name: "QDRANT__CLUSTER__CONNECTION_TIMEOUT_MS",
        value: Value::Text("500"),
        when: When::Always,
        why: "A stopped task answers nothing at all, and while Qdrant tries to reach one, its calls \
              to every other peer wait; its own default is 2 seconds a try.",
    },
    Setting {
        name: "QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH",
        value: Value::Text("true"),
        when: When::WithApiKey,
        why: "Without it the port between peers takes anybody's requests, also those of a Qdrant of \
              another cluster at a reused address.",
    },
    Setting {
        name: "QDRANT__STORAGE__TEMP_PATH",
        // Where Qdrant has temporary files of its own anyway, and on the same file system: what is
        // recovered is moved into its place.
        value: Value::InStorage("tmp"),
        when: When::Always,
        why: "Without it Qdrant puts shard snapshots, their streams (sets and transfers) and uploads \
              into `tmp` of the snapshots directory while they are made, and each start of any Qdrant \
              deletes what is in there: with a directory that all tasks share, also the others'.",
    },
    Setting {
        name: "QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR",
        value: Value::Number(
            "`ENTRYPOINT_COPIES` (3 when that is `off`), at most `ENTRYPOINT_CLUSTER_SIZE`",
            Basis::factor,
        ),
        when: When::Always,
        why: "A new collection that does not say otherwise gets copies enough to outlive a task; \
              Qdrant's own default is one copy.",
    },
    Setting {
        name: "QDRANT__STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR",
        value: Value::Number(
            "one fewer than the copies of a new collection, at least 1, at most 2",
            Basis::acknowledgements,
        ),
        when: When::Always,
        why: "A write is acknowledged when so many copies have it. With as many as there are copies, \
              one dead task would stop all writes until its copies are dropped.",
    },
    Setting {
        name: "QDRANT__STORAGE__COLLECTION__SHARD_NUMBER",
        value: Value::Number("2; 1 when `ENTRYPOINT_CLUSTER_SIZE` is 1", Basis::shards),
        when: When::Without("QDRANT__STORAGE__COLLECTION__SHARD_NUMBER_PER_NODE"),
        why: "Qdrant's own default is the number of peers at that moment, which differs while tasks \
              come and go; two shards in three copies give each of six tasks one.",
    },
];

/// The settings that apply, without those that the user has set to whatever value.
pub(super) fn overrides(
    basis: &Basis,
    storage: &Path,
    set_by_user: impl Fn(&str) -> bool,
) -> Vec<(&'static str, String)> {
    SETTINGS
        .iter()
        .filter(|setting| match setting.when {
            When::Always => true,
            When::WithApiKey => basis.has_api_key,
            When::Without(other) => !set_by_user(other),
        })
        .filter(|setting| !set_by_user(setting.name))
        .map(|setting| {
            let value = match setting.value {
                Value::Text(text) => text.to_owned(),
                Value::Number(_, number) => number(basis).to_string(),
                Value::InStorage(below) => storage.join(below).display().to_string(),
            };
            (setting.name, value)
        })
        .collect()
}
