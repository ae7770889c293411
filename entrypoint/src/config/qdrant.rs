//! The part of Qdrant's configuration that we read, and the variables that we set for it when the
//! user has not. Owns which ones and why; Qdrant reads everything else itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
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
    pub(super) overrides: Vec<(&'static str, &'static str)>,
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
}

/// One variable that we set for Qdrant.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    pub(super) when: When,
    pub(super) why: &'static str,
}

/// All that we set. Sources: Qdrant 1.19 `src/settings.rs:66-74` (internal authentication),
/// `lib/api/src/grpc/transport_channel_pool.rs:171-182` (one lock held across a connect).
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        name: "QDRANT__CLUSTER__ENABLED",
        value: "true",
        when: When::Always,
        why: "Without it Qdrant ignores its cluster arguments; one node is a cluster of one.",
    },
    Setting {
        name: "QDRANT__CLUSTER__CONNECTION_TIMEOUT_MS",
        value: "500",
        when: When::Always,
        why: "A stopped task answers nothing at all, and while Qdrant tries to reach one, its calls \
              to every other peer wait; its own default is 2 seconds a try.",
    },
    Setting {
        name: "QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH",
        value: "true",
        when: When::WithApiKey,
        why: "Without it the port between peers takes anybody's requests, also those of a Qdrant of \
              another cluster at a reused address.",
    },
];

/// The settings that apply, without those that the user has set to whatever value.
pub(super) fn overrides(
    has_api_key: bool,
    set_by_user: impl Fn(&str) -> bool,
) -> Vec<(&'static str, &'static str)> {
    SETTINGS
        .iter()
        .filter(|setting| match setting.when {
            When::Always => true,
            When::WithApiKey => has_api_key,
        })
        .filter(|setting| !set_by_user(setting.name))
        .map(|setting| (setting.name, setting.value))
        .collect()
}
