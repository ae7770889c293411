//! The entrypoint's resolver against the Cloud Map stand-in: real sockets, every outcome.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of an integration test are tests too; clippy.toml covers test functions only"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use entrypoint::discovery::{Answer, RecordKind, Resolver, ResolverConfig};
use rehearsal::dns::{Mode, Registry, Server, Unregistered};

const SERVICE: &str = "qdrant.cluster.local";
const FOREVER: Duration = Duration::from_secs(3600);
/// Never waited for: an answer comes at once, even on a busy machine.
const PATIENT: Duration = Duration::from_secs(10);
/// Waited for in full where nothing comes.
const IMPATIENT: Duration = Duration::from_millis(300);

struct Lab {
    registry: Registry,
    server: Server,
}

impl Lab {
    async fn new() -> Self {
        Self::named(SERVICE).await
    }

    async fn named(service: &str) -> Self {
        let registry = Registry::new(service, 6335, 7).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, registry.clone(), "zone-a")
            .await
            .unwrap();
        Self { registry, server }
    }

    fn resolver(&self, name: &str, kind: RecordKind) -> Resolver {
        resolver(name, kind, self.server.address(), PATIENT)
    }

    async fn ask(&self, kind: RecordKind) -> Answer {
        self.resolver(SERVICE, kind).lookup().await
    }

    fn fill(&self, tasks: u8) -> Vec<IpAddr> {
        (1..=tasks)
            .map(|n| {
                self.registry.register(&format!("t{n}"), ip(n)).unwrap();
                ip(n)
            })
            .collect()
    }
}

fn resolver(name: &str, kind: RecordKind, server: SocketAddr, timeout: Duration) -> Resolver {
    Resolver::new(ResolverConfig {
        name: name.to_owned(),
        kind,
        server: Some(server),
        timeout,
    })
    .unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 1, last])
}

#[tokio::test]
async fn every_failure_is_its_own_answer_for_both_kinds() {
    let lab = Lab::new().await;
    lab.fill(2);
    for kind in [RecordKind::A, RecordKind::Srv] {
        for (mode, expected) in [
            (Mode::NxDomain, Answer::NxDomain),
            (Mode::Empty, Answer::NoRecords),
            (Mode::ServFail, Answer::ServFail),
            (Mode::Refused, Answer::Refused),
            (Mode::Normal, Answer::Addresses(vec![ip(1), ip(2)])),
        ] {
            lab.registry.change(|b| b.mode = mode);
            assert_eq!(lab.ask(kind).await, expected, "{kind:?} {mode:?}");
        }
        lab.registry.change(|b| b.mode = Mode::Silent);
        let impatient = resolver(SERVICE, kind, lab.server.address(), IMPATIENT);
        assert_eq!(impatient.lookup().await, Answer::Timeout, "{kind:?}");
        assert!(lab.registry.counts().silent > 0, "nothing was asked");
    }
}

#[tokio::test]
async fn an_empty_service_is_an_arrived_answer_either_way() {
    let lab = Lab::new().await;
    for kind in [RecordKind::A, RecordKind::Srv] {
        lab.registry
            .change(|b| b.unregistered = Unregistered::NxDomain);
        assert_eq!(lab.ask(kind).await, Answer::NxDomain);
        lab.registry
            .change(|b| b.unregistered = Unregistered::NoRecords);
        assert_eq!(lab.ask(kind).await, Answer::NoRecords);
    }
}

#[tokio::test]
async fn nothing_is_remembered_whatever_the_times_to_live() {
    let lab = Lab::new().await;
    lab.registry.change(|b| {
        b.ttl = FOREVER;
        b.negative_ttl = FOREVER;
    });
    let resolver = lab.resolver(SERVICE, RecordKind::A);
    assert_eq!(resolver.lookup().await, Answer::NxDomain);
    lab.fill(1);
    assert_eq!(resolver.lookup().await, Answer::Addresses(vec![ip(1)]));
    lab.fill(2);
    assert_eq!(
        resolver.lookup().await,
        Answer::Addresses(vec![ip(1), ip(2)])
    );
    assert_eq!(resolver.lookup().await.addresses().len(), 2);
    assert_eq!(lab.registry.counts().a, 4);
    assert_eq!(lab.registry.counts().aaaa, 0);
}

#[tokio::test]
async fn long_answers_come_by_tcp() {
    let lab = Lab::new().await;
    let all = lab.fill(200);
    lab.registry.change(|b| b.max_answers = 1000);
    assert_eq!(lab.ask(RecordKind::A).await, Answer::Addresses(all.clone()));
    assert_eq!(lab.registry.counts().tcp, 1, "200 records fit into UDP?");
    assert_eq!(lab.ask(RecordKind::Srv).await, Answer::Addresses(all));
    lab.registry.change(|b| b.truncate = true);
    lab.registry.change(|b| b.max_answers = 8);
    let answer = lab.ask(RecordKind::Srv).await;
    assert_eq!(answer.addresses().len(), 8, "{answer:?}");
}

#[tokio::test]
async fn own_and_foreign_addresses_are_given_and_impossible_ones_left_out() {
    let lab = Lab::new().await;
    lab.fill(1);
    let foreign: IpAddr = "127.9.9.9".parse().unwrap();
    let broken: Vec<IpAddr> = ["0.0.0.0", "224.0.0.1", "255.255.255.255"]
        .iter()
        .map(|ip| ip.parse().unwrap())
        .collect();
    lab.registry.change(|b| {
        b.foreign.clone_from(&broken);
        b.foreign.push(foreign);
    });
    for kind in [RecordKind::A, RecordKind::Srv] {
        let resolver = lab.resolver(SERVICE, kind);
        assert_eq!(
            resolver.lookup().await,
            Answer::Addresses(vec![ip(1), foreign])
        );
        assert_eq!(resolver.ignored(), broken);
    }
    lab.registry.deregister("t1");
    lab.registry.change(|b| b.foreign.truncate(1));
    let answer = lab.ask(RecordKind::A).await;
    assert!(matches!(answer, Answer::Other(_)), "{answer:?}");
}

#[tokio::test]
async fn ipv6_only_tasks_are_found_and_dual_stack_means_ipv4() {
    let lab = Lab::new().await;
    let v6: IpAddr = "fd00::7".parse().unwrap();
    lab.registry.register("t1", v6).unwrap();
    for kind in [RecordKind::A, RecordKind::Srv] {
        assert_eq!(lab.ask(kind).await, Answer::Addresses(vec![v6]));
    }
    lab.registry.register("t2", ip(2)).unwrap();
    assert_eq!(lab.ask(RecordKind::A).await, Answer::Addresses(vec![ip(2)]));
}

/// A client asked for a task's own name before it was registered; its resolver remembers that.
#[tokio::test]
async fn a_target_in_the_negative_cache_makes_the_answer_incomplete() {
    let lab = Lab::new().await;
    lab.fill(1);
    lab.registry.change(|b| b.negative_cache = Some(FOREVER));
    let early = lab.resolver(&format!("t2.{SERVICE}"), RecordKind::A);
    assert_eq!(early.lookup().await, Answer::NxDomain);
    lab.fill(2);
    let answer = lab.ask(RecordKind::Srv).await;
    assert!(!answer.arrived(), "{answer:?}");
    assert_eq!(answer.addresses(), [ip(1)]);
    assert!(answer.to_string().contains("t2."), "{answer}");
    lab.registry.clear_caches();
    assert!(lab.ask(RecordKind::Srv).await.arrived());
}

#[tokio::test]
async fn single_labels_are_asked_for_as_given() {
    let lab = Lab::named("qdrant").await;
    lab.fill(3);
    for name in ["qdrant", "qdrant.", "QDRANT"] {
        let answer = lab.resolver(name, RecordKind::A).lookup().await;
        assert_eq!(answer.addresses().len(), 3, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn zones_may_differ_and_an_address_can_be_had_again() {
    let lab = Lab::new().await;
    lab.fill(1);
    let address = "127.0.0.2:0".parse().unwrap();
    let other = Server::bind(address, lab.registry.clone(), "zone-b")
        .await
        .unwrap();
    let address = other.address();
    lab.registry
        .change_view("zone-b", |b| b.mode = Mode::ServFail);
    let in_b = resolver(SERVICE, RecordKind::A, address, PATIENT);
    assert_eq!(in_b.lookup().await, Answer::ServFail);
    assert_eq!(lab.ask(RecordKind::A).await.addresses(), [ip(1)]);
    assert_eq!(lab.registry.view_counts("zone-a").serv_fail, 0);
    assert!(lab.registry.view_counts("zone-b").serv_fail > 0);

    other.stop().await;
    let impatient = resolver(SERVICE, RecordKind::A, address, IMPATIENT);
    assert_eq!(impatient.lookup().await, Answer::Timeout);
    lab.registry.change(|b| b.mode = Mode::Normal);
    let _again = Server::bind(address, lab.registry.clone(), "zone-b")
        .await
        .unwrap();
    assert_eq!(in_b.lookup().await.addresses(), [ip(1)]);
}

#[test]
fn names_and_tasks_that_dns_cannot_hold_are_refused() {
    assert!(Registry::new("", 6335, 7).is_err());
    assert!(Registry::new("a..b", 6335, 7).is_err());
    let registry = Registry::new(SERVICE, 6335, 7).unwrap();
    for task in ["", "a.b", "a b", &"x".repeat(64)] {
        assert!(registry.register(task, ip(1)).is_err(), "{task}");
    }
    assert!(!registry.deregister("t1"));
}
