//! Gathers what one round sees: disk, store, DNS, the peers, our own Qdrant. No decision is made
//! here; every failure becomes an observation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use futures::StreamExt;
use planner::ids::GenerationId;
use planner::observed::Observed;
use planner::records::{Formed, Orders, Stage, State};
use planner::view::{Disk as DiskView, Dns, Observation, Probe as Seen, Store};
use qdrant_api::Client;

use crate::config::{Config, DnsType};
use crate::discovery::{
    Answer, DiscoveryError, Ports, Probe, Prober, RecordKind, Resolver, ResolverConfig,
};
use crate::ledger::{Depth, Ledger};
use crate::qdrant::{Qdrant, read_orders, read_proof};

/// At most so many proofs are read at a time.
const PROOFS_AT_ONCE: usize = 8;
/// At most so many addresses from the store are asked; DNS adds its own.
const STORE_ADDRESSES: usize = 64;

/// The senses of a task.
#[derive(Debug)]
pub struct Senses {
    resolver: Option<Resolver>,
    prober: Prober,
    own: IpAddr,
    http_port: u16,
    /// Asks the peers' Qdrants; where, is said each time.
    qdrants: Client,
    /// Addresses that the store named last; asked also while the store does not answer.
    known: BTreeSet<IpAddr>,
    /// When the others were last asked.
    asked: Instant,
}

/// What a round needs to know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Our generation and how far we are in it.
    pub stage: Option<(Stage, &'a GenerationId)>,
    /// Our data has been found to be the cluster's, and we serve.
    pub settled: bool,
    /// Find out by a write whether consensus commits.
    pub probe_commit: bool,
    /// This task waits for the steward: to join, or to be ready.
    pub waits: bool,
    /// Read the whole store although we are settled: somebody may be there whom DNS does not list.
    pub all_members: bool,
    /// Addresses of tasks that wait for us.
    pub knocked: &'a [IpAddr],
}

impl Senses {
    /// Sets the senses up; `qdrant` is the client of our own Qdrant, whose key and connections serve
    /// for the peers' as well.
    pub fn new(config: &Config, own: IpAddr, qdrant: &Client) -> Result<Self, DiscoveryError> {
        let resolver = config
            .dns_name
            .as_ref()
            .map(|name| {
                Resolver::new(ResolverConfig {
                    name: name.as_str().to_owned(),
                    kind: match config.dns_type {
                        DnsType::A => RecordKind::A,
                        DnsType::Srv => RecordKind::Srv,
                    },
                    server: config.dns_server,
                    timeout: config.dns_timeout,
                })
            })
            .transpose()?;
        let key = config.qdrant.api_key.as_ref().map(|key| key.expose());
        let ports = Ports {
            control: config.control_port,
            http: config.qdrant.http_port,
            p2p: config.qdrant.p2p_port,
        };
        Ok(Self {
            resolver,
            prober: Prober::new(ports, key, config.probe_timeout)?,
            own,
            http_port: config.qdrant.http_port,
            qdrants: qdrant.with_timeout(config.probe_timeout),
            known: BTreeSet::new(),
            asked: Instant::now(),
        })
    }

    /// When the others were last asked.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// Sees everything once.
    pub async fn look(
        &mut self,
        disk: DiskView,
        ledger: &mut Ledger,
        qdrant: &mut Qdrant,
        wanted: Wanted<'_>,
    ) -> Observation {
        let depth = if wanted.settled && !wanted.all_members {
            Depth::Generations
        } else {
            Depth::Full
        };
        let stamp = disk.stamp.as_ref();
        let restoring = stamp.filter(|stamp| stamp.restore);
        let (answer, store, child) = tokio::join!(
            lookup(self.resolver.as_ref()),
            ledger.look(depth),
            qdrant.look(wanted.probe_commit, restoring),
        );
        if let (Observed::Known(store), Depth::Full) = (&store, depth) {
            self.known = addresses_in(store);
        }
        let mut addresses = self.known.clone();
        addresses.extend(wanted.knocked);
        // Presence in an answer that lacks others is presence all the same.
        addresses.extend(answer.iter().flat_map(Answer::addresses));
        let dns = heard(answer);
        if let Some(info) = qdrant.last() {
            addresses.extend(
                info.peers
                    .values()
                    .filter_map(|uri| host_of(uri.address()?)),
            );
        }
        addresses.remove(&self.own);
        self.asked = Instant::now();
        let peers = self.ask(addresses, wanted).await;
        Observation {
            disk,
            store,
            dns,
            peers,
            child,
            crash_loop: qdrant.crash_loop(),
        }
    }

    async fn ask(&self, addresses: BTreeSet<IpAddr>, wanted: Wanted<'_>) -> BTreeMap<IpAddr, Seen> {
        let answers = self
            .prober
            .probe_all(addresses, wanted.waits.then_some(self.own))
            .await;
        futures::stream::iter(answers)
            .map(|(address, probe)| async move { (address, self.read(address, probe, wanted).await) })
            .buffer_unordered(PROOFS_AT_ONCE)
            .collect()
            .await
    }

    async fn read(&self, address: IpAddr, probe: Probe, wanted: Wanted<'_>) -> Seen {
        match probe {
            Probe::Hello(hello) => {
                let same = wanted.stage.is_some_and(|(stage, generation)| {
                    stage == Stage::Member && hello.generation.as_ref() == Some(generation)
                });
                // A settled member needs no proof of what it is itself part of.
                let needs_proof = hello.state == State::Member && !(same && wanted.settled);
                // Whoever is not in waits for a permission, and one that was released for its end; a
                // member that serves reads its own key map.
                let outside = !wanted.settled;
                let (proof, orders) = match needs_proof {
                    true => self.key_map(address, outside).await,
                    false => (None, None),
                };
                Seen::Task {
                    hello,
                    proof,
                    orders,
                }
            }
            other => unproven(other),
        }
    }

    /// What asks an address who lives there.
    pub(crate) fn prober(&self) -> &Prober {
        &self.prober
    }

    /// What the key map of the Qdrant at this address says: the proof, and the orders when asked for.
    async fn key_map(&self, address: IpAddr, orders: bool) -> (Option<Formed>, Option<Orders>) {
        let Ok(base) = SocketAddr::new(address, self.http_port).try_into() else {
            return (None, None);
        };
        let qdrant = self.qdrants.at(base);
        let known = |what: &str, error: String| {
            tracing::debug!("{address} says that it is a member and gives no {what}: {error}");
        };
        let proof = read_proof(&qdrant).await;
        let proof = proof.map_err(|why| known("proof", why)).ok().flatten();
        let orders = match (orders, &proof) {
            (true, Some(_)) => read_orders(&qdrant)
                .await
                .map_err(|why| known("orders", why)),
            _ => Err(()),
        };
        (proof, orders.ok())
    }
}

/// What an answer is without a look at the key map behind it.
pub(crate) fn unproven(probe: Probe) -> Seen {
    match probe {
        Probe::Hello(hello) => Seen::Task {
            hello,
            proof: None,
            orders: None,
        },
        Probe::Refused { status } => Seen::Opaque(format!(
            "it refuses our API key with {status} (was the key changed?)"
        )),
        Probe::Malformed(what) => Seen::Opaque(what),
        Probe::OpenQdrant { port } => Seen::Opaque(format!(
            "port {port} of a Qdrant is open and no entrypoint answers"
        )),
        Probe::Unknown(why) => Seen::Unasked(format!("it could not be asked: {why}")),
        Probe::NoAnswer { .. } => Seen::Silent,
    }
}

async fn lookup(resolver: Option<&Resolver>) -> Option<Answer> {
    match resolver {
        Some(resolver) => Some(resolver.lookup().await),
        None => None,
    }
}

fn heard(answer: Option<Answer>) -> Dns {
    match answer {
        None => Dns::NotConfigured,
        Some(Answer::Addresses(addresses)) => Dns::Arrived(addresses.into_iter().collect()),
        Some(Answer::NxDomain | Answer::NoRecords) => Dns::Arrived(BTreeSet::new()),
        Some(answer) => Dns::Failed(answer.to_string()),
    }
}

fn addresses_in(store: &Store) -> BTreeSet<IpAddr> {
    let claims = store
        .generations
        .values()
        .rev()
        .filter_map(|g| host_of(&g.claim.uri));
    // Whoever claims matters most; of the members those who say that they hold something.
    let mut members: Vec<_> = store.members.values().collect();
    members.sort_by_key(|member| member.state == State::Empty);
    let members = members.into_iter().map(|member| member.address);
    claims.chain(members).take(STORE_ADDRESSES).collect()
}

/// The address in `http://10.0.0.1:6335/`.
pub(crate) fn host_of(uri: &str) -> Option<IpAddr> {
    let rest = uri.split_once("://")?.1;
    let authority = rest.split('/').next()?;
    authority.parse::<SocketAddr>().map(|at| at.ip()).ok()
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn hosts_of_uris() {
        assert_eq!(
            host_of("http://10.0.0.1:6335/"),
            Some("10.0.0.1".parse().unwrap())
        );
        assert_eq!(
            host_of("http://[fd00::1]:6335"),
            Some("fd00::1".parse().unwrap())
        );
        for bad in ["/", "", "http://name:6335/", "10.0.0.1"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }
}
