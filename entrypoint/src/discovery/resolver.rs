//! DNS look-ups of the one name under which our tasks are registered.
//!
//! Both caches of the library are off (capacity 0, time to live 0, answers and failures alike): a
//! cached answer would be counted as a new observation. No search domains, no hosts file: the name
//! is asked for as absolute. That costs nothing for single labels: a DNS question carries labels
//! only, the trailing dot exists just on the client's side, so a container engine's own server sees
//! `qdrant` either way.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig as Servers};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::DiscoveryError;
use super::answer::{Answer, list};

/// SRV targets resolved at the same time.
const CONCURRENT_TARGETS: usize = 16;

/// Repetitions after a failed attempt, all within the same time-out. A lost UDP packet is sent
/// again by the library within one attempt; this is for a SERVFAIL of the moment.
const RETRIES: usize = 1;

/// Domains that the library answers by itself without asking any server (RFC 6761, RFC 7686).
/// Their "answers" would look as if they had arrived.
const NEVER_ASKED: [&str; 3] = ["localhost.", "invalid.", "onion."];

/// Which records hold our tasks' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A records; AAAA when the name has no A record.
    A,
    /// SRV records; their targets' A (or AAAA) records are looked up. Ports are ignored, ours are
    /// the same on every task.
    Srv,
}

/// What to look up and where.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// The service's DNS name, absolute with or without its trailing dot.
    pub name: String,
    /// The record type in which tasks are registered.
    pub kind: RecordKind,
    /// The DNS server; `None` = the servers of /etc/resolv.conf, read once.
    pub server: Option<SocketAddr>,
    /// Longest wait for the answer to one question. A look-up asks one question after the other at
    /// most twice (A, AAAA), with SRV three times for every 16 targets.
    pub timeout: Duration,
}

/// Looks one name up.
#[derive(Debug)]
pub struct Resolver {
    inner: TokioResolver,
    name: Name,
    kind: RecordKind,
    timeout: Duration,
    /// Impossible addresses of the last answer that held addresses; a change is logged, once.
    ignored: Mutex<BTreeSet<IpAddr>>,
}

impl Resolver {
    /// Sets the resolver up. Asks nothing yet.
    ///
    /// # Errors
    /// A name that cannot be looked up, or an unreadable /etc/resolv.conf.
    pub fn new(config: ResolverConfig) -> Result<Self, DiscoveryError> {
        let name = absolute(&config.name)?;
        let provider = TokioRuntimeProvider::default();
        let mut builder = match config.server {
            Some(server) => TokioResolver::builder_with_config(only(server), provider),
            None => TokioResolver::builder(provider).map_err(DiscoveryError::System)?,
        };
        let options = builder.options_mut();
        options.timeout = config.timeout;
        options.attempts = RETRIES;
        options.cache_size = 0;
        options.positive_max_ttl = Some(Duration::ZERO);
        options.negative_max_ttl = Some(Duration::ZERO);
        options.use_hosts_file = ResolveHosts::Never;
        // Eight SRV records do not fit into the 512 bytes of plain UDP.
        options.edns0 = true;
        let inner = builder.build().map_err(|source| DiscoveryError::Resolver {
            name: config.name,
            source,
        })?;
        Ok(Self {
            inner,
            name,
            kind: config.kind,
            timeout: config.timeout,
            ignored: Mutex::new(BTreeSet::new()),
        })
    }

    /// Asks now. Every outcome is an observation; see [`Answer::arrived`] for what it can prove.
    /// Addresses that no task can have are left out and logged (`dns.address_ignored`) when they
    /// change.
    pub async fn lookup(&self) -> Answer {
        let answer = match self.kind {
            RecordKind::A => self.addresses_of(&self.name).await,
            RecordKind::Srv => self.addresses_of_targets().await,
        };
        let answered = !answer.addresses().is_empty();
        let (answer, impossible) = answer.without_impossible();
        if answered {
            self.report(impossible);
        }
        answer
    }

    /// The impossible addresses (unspecified, multicast, broadcast) that the last answer with
    /// addresses held, sorted. They are never part of an [`Answer`].
    pub fn ignored(&self) -> Vec<IpAddr> {
        let ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        ignored.iter().copied().collect()
    }

    fn report(&self, impossible: BTreeSet<IpAddr>) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if *ignored == impossible {
            return;
        }
        if !impossible.is_empty() {
            tracing::warn!(
                event = "dns.address_ignored",
                name = %self.name,
                addresses = %list(&impossible),
                "DNS names addresses that no task can have; correct the registration",
            );
        }
        *ignored = impossible;
    }

    async fn addresses_of_targets(&self) -> Answer {
        let records = match self.ask(&self.name, RecordType::SRV).await {
            Ok(records) => records,
            Err(answer) => return answer,
        };
        let targets: BTreeSet<Name> = records
            .into_iter()
            .filter_map(|data| match data {
                // The target "." says that there is no such service (RFC 2782).
                RData::SRV(srv) if !srv.target.is_root() => Some(srv.target.to_lowercase()),
                _ => None,
            })
            .collect();
        let answers = stream::iter(targets)
            .map(|target| async move {
                let answer = self.addresses_of(&target).await;
                (target.to_string(), answer)
            })
            .buffered(CONCURRENT_TARGETS)
            .collect()
            .await;
        Answer::of_targets(answers)
    }

    /// A first, AAAA only where there is no A record: in a dual-stack network every task would else
    /// be listed twice, and a task knows one address as its own.
    async fn addresses_of(&self, name: &Name) -> Answer {
        match self.ask_addresses(name, RecordType::A).await {
            Answer::NoRecords => self.ask_addresses(name, RecordType::AAAA).await,
            answer => answer,
        }
    }

    async fn ask_addresses(&self, name: &Name, kind: RecordType) -> Answer {
        match self.ask(name, kind).await {
            Ok(records) => Answer::of(records.iter().filter_map(RData::ip_addr)),
            Err(answer) => answer,
        }
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Vec<RData>, Answer> {
        let lookup = self.inner.lookup(name.clone(), kind);
        match tokio::time::timeout(self.timeout, lookup).await {
            Err(_) => Err(Answer::Timeout),
            Ok(Err(error)) => Err(Answer::from_error(&error)),
            Ok(Ok(lookup)) => Ok(lookup
                .answers()
                .iter()
                .filter(|record| record.record_type() == kind)
                .map(|record| record.data.clone())
                .collect()),
        }
    }
}

/// A configuration with this server only, by UDP and, for long answers, TCP.
fn only(server: SocketAddr) -> Servers {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    Servers::from_name_servers(vec![config])
}

fn absolute(text: &str) -> Result<Name, DiscoveryError> {
    let refuse = |why: String| DiscoveryError::Name {
        name: text.to_owned(),
        why,
    };
    if text.trim_end_matches('.').parse::<IpAddr>().is_ok() {
        return Err(refuse(
            "it is an address; give the name under which the tasks are registered".into(),
        ));
    }
    let mut name = Name::from_ascii(text).map_err(|error| refuse(error.to_string()))?;
    name.set_fqdn(true);
    if name.is_root() {
        return Err(refuse("it is empty".into()));
    }
    for domain in NEVER_ASKED {
        if Name::from_ascii(domain).is_ok_and(|domain| domain.zone_of(&name)) {
            return Err(refuse(format!(
                "names under `{domain}` are not served by DNS"
            )));
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(name: &str, server: SocketAddr) -> Result<Resolver, DiscoveryError> {
        Resolver::new(ResolverConfig {
            name: name.to_owned(),
            kind: RecordKind::A,
            server: Some(server),
            timeout: Duration::from_millis(300),
        })
    }

    /// A name server that sends every question back with these bits set in the header's two flag
    /// bytes (RFC 1035, 4.1.1), by UDP only.
    async fn echo(first: u8, second: u8) -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                buffer[2] |= 0x80 | first;
                buffer[3] |= second;
                let _ = socket.send_to(&buffer[..length], from).await;
            }
        });
        address
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_refused_with_a_reason() {
        let server = "127.0.0.1:53".parse().unwrap();
        let long = "a".repeat(64);
        for name in [
            "",
            ".",
            "10.0.0.1",
            "10.0.0.1.",
            "::1",
            "localhost",
            "a.localhost.",
            "qdrant.invalid",
            "a..b",
            &long,
        ] {
            let error = resolver(name, server).expect_err(name).to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        for name in [
            "qdrant",
            "qdrant.cluster.local",
            "_qdrant._tcp.example.org.",
        ] {
            assert!(resolver(name, server).unwrap().name.is_fqdn(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_a_time_out() {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver("qdrant", socket.local_addr().unwrap()).unwrap();
        assert_eq!(resolver.lookup().await, Answer::Timeout);
        assert!(
            socket.try_recv(&mut [0; 512]).is_ok(),
            "the question was never sent"
        );
    }

    /// Linux refuses to send to the broadcast address for a socket that did not ask for that; no
    /// packet leaves.
    #[tokio::test]
    async fn a_server_that_nothing_can_be_sent_to_is_unreachable() {
        let resolver = resolver("qdrant", "255.255.255.255:53".parse().unwrap()).unwrap();
        let answer = resolver.lookup().await;
        assert!(matches!(answer, Answer::Unreachable(_)), "{answer:?}");
    }

    #[tokio::test]
    async fn a_truncated_answer_without_tcp_is_no_answer() {
        let resolver = resolver("qdrant", echo(0x02, 0).await).unwrap();
        let answer = resolver.lookup().await;
        assert!(
            matches!(&answer, Answer::Other(what) if what.contains("truncated")),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn other_response_codes_are_named() {
        let resolver = resolver("qdrant", echo(0, 4).await).unwrap();
        let answer = resolver.lookup().await;
        assert!(
            matches!(&answer, Answer::Other(what) if what.to_lowercase().contains("not impl")),
            "{answer:?}"
        );
    }
}
