//! Who might be there, and who answers: DNS look-ups and probes of single addresses.
//!
//! This module owns the observations only. It never decides what an observation means for founding
//! or joining (that is the planner's), keeps no memory of earlier rounds, and does not know which
//! address is our own: callers unite answers over rounds and take their own address out.
//!
//! Every way in which a look-up or a probe can fail is its own value, because they do not prove the
//! same: "the name does not exist" is an arrived answer, a time-out is not.

mod answer;
mod hello;
mod probe;
mod resolver;

pub use answer::Answer;

pub use probe::{CONCURRENT_PROBES, MAX_HELLO_BYTES, Ports, Probe, Prober, Silence};
pub use resolver::{RecordKind, Resolver, ResolverConfig};

/// Why discovery could not be set up. Running look-ups and probes never fail: their failures are
/// observations ([`Answer`], [`Probe`]).
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The DNS name cannot be asked for.
    #[error("the DNS name `{name}` cannot be looked up: {why}")]
    Name {
        /// The name as configured.
        name: String,
        /// What is wrong with it and what to give instead.
        why: String,
    },
    /// No DNS server was configured and the system's own configuration cannot be used.
    #[error("reading the system's DNS servers from /etc/resolv.conf")]
    System(#[source] hickory_resolver::net::NetError),
    /// The resolver library refused its settings.
    #[error("setting up the resolver for `{name}`")]
    Resolver {
        /// The name as configured.
        name: String,
        /// The library's reason.
        #[source]
        source: hickory_resolver::net::NetError,
    },
    /// The API key has characters that no HTTP header may hold.
    #[error(
        "the API key cannot be sent: an HTTP header holds visible ASCII characters only; choose another key"
    )]
    ApiKey,
    /// The HTTP client refused its settings.
    #[error("setting up the HTTP client for probes")]
    Client(#[source] reqwest::Error),
}
