//! Probes of real sockets on loopback, one for every outcome.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use planner::records::State;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Never waited for: an answer comes at once, even on a busy machine.
const PATIENT: Duration = Duration::from_secs(10);
/// Waited for in full where nothing comes.
const IMPATIENT: Duration = Duration::from_millis(500);
const HELLO: &str = r#"{"format":1,"service":"vectors","store_id":null,"task":"t","aside":false,"peers":[],
    "uri":"http://127.0.0.1:6335/","state":"empty","generation":null}"#;

/// A listener that reads one request, answers with these bytes and closes; gives its port and the
/// requests it got.
async fn canned(answer: Vec<u8>) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, requests) = (answer.clone(), requests.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                let _ = requests.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, received)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// A port on which nobody listens.
async fn closed() -> u16 {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

/// A listener that nobody accepts from: connections wait in its queue for ever.
async fn mute() -> (TcpListener, u16) {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn prober(control: u16, http: u16, p2p: u16, key: Option<&str>) -> Prober {
    Prober::new(Ports { control, http, p2p }, key, PATIENT).unwrap()
}

fn impatient(control: u16, http: u16, p2p: u16) -> Prober {
    Prober::new(Ports { control, http, p2p }, None, IMPATIENT).unwrap()
}

async fn control(answer: Vec<u8>) -> Probe {
    let (port, _requests) = canned(answer).await;
    let dead = closed().await;
    prober(port, dead, dead, None).probe(HOST).await
}

fn malformed(probe: Probe) -> String {
    assert!(probe.is_alive() && !probe.is_silent());
    match probe {
        Probe::Malformed(what) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hello_is_asked_for_with_the_key_and_read() {
    let (port, mut requests) = canned(http("200 OK", HELLO)).await;
    let dead = closed().await;
    let probe = prober(port, dead, dead, Some("secret")).probe(HOST).await;
    match &probe {
        Probe::Hello(hello) => assert_eq!(hello.state, State::Empty),
        other => panic!("{other:?}"),
    }
    assert!(probe.is_alive());
    let request = requests.recv().await.unwrap();
    assert!(
        request.starts_with("GET /v1/hello HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("api-key: secret\r\n"), "{request}");
}

#[tokio::test]
async fn refusals_are_someone_alive() {
    for (line, status) in [("401 Unauthorized", 401), ("403 Forbidden", 403)] {
        let probe = control(http(line, "no")).await;
        assert_eq!(probe, Probe::Refused { status });
        assert!(probe.is_alive() && !probe.is_silent());
    }
}

#[tokio::test]
async fn unreadable_answers_are_someone_alive() {
    let what = malformed(control(http("200 OK", "<html>")).await);
    assert!(what.contains("not JSON"), "{what}");
    let what = malformed(control(http("503 Busy", "")).await);
    assert!(what.contains("503"), "{what}");
    let what = malformed(control(http("302 Found\r\nlocation: http://127.0.0.1:1/", "")).await);
    assert!(what.contains("302"), "a redirect was followed: {what}");
    malformed(control(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()).await);
    malformed(control(Vec::new()).await);
    malformed(control(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"format\"".to_vec()).await);
    let what = malformed(control(http("200 OK", &" ".repeat(MAX_HELLO_BYTES + 1))).await);
    assert!(what.contains("longer than"), "{what}");
    let foreign = format!(r#"{{"format":1,"service":["{}"]}}"#, "\u{7}x".repeat(500));
    let what = malformed(control(http("200 OK", &foreign)).await);
    assert!(what.len() < 300 && !what.contains('\u{7}'), "{what}");
}

#[tokio::test]
async fn a_stopped_process_is_someone_alive() {
    let (_listener, port) = mute().await;
    let dead = closed().await;
    let what = malformed(impatient(port, dead, dead).probe(HOST).await);
    assert!(what.contains("takes connections"), "{what}");
}

#[tokio::test]
async fn an_open_port_of_qdrant_is_someone_alive() {
    let (_listener, open) = mute().await;
    let dead = closed().await;
    for ports in [(dead, open, dead), (dead, dead, open)] {
        let probe = prober(ports.0, ports.1, ports.2, None).probe(HOST).await;
        assert_eq!(probe, Probe::OpenQdrant { port: open });
        assert!(probe.is_alive());
    }
}

#[tokio::test]
async fn closed_ports_are_silence() {
    let dead = closed().await;
    let probe = prober(dead, dead, dead, None).probe(HOST).await;
    let why = Silence::Refused;
    assert_eq!(probe, Probe::NoAnswer { why });
    assert!(probe.is_silent() && !probe.is_alive());
}

/// Fills a listener's queue until the kernel drops further attempts to connect, as a host that
/// vanished does.
#[tokio::test]
async fn dropped_packets_are_a_time_out_and_outweigh_refusals() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(HOST, 0)).unwrap();
    let listener = socket.listen(1).unwrap();
    let full = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(IMPATIENT, TcpStream::connect(full)).await {
        queue.push(stream.unwrap());
        assert!(queue.len() < 100, "the queue takes everything");
    }
    let dead = closed().await;
    let why = Silence::Timeout;
    let probe = impatient(full.port(), dead, dead).probe(HOST).await;
    assert_eq!(probe, Probe::NoAnswer { why });
    let probe = impatient(dead, full.port(), dead).probe(HOST).await;
    assert_eq!(probe, Probe::NoAnswer { why });
}

/// Linux refuses TCP to the broadcast address locally with ENETUNREACH; no packet leaves.
#[tokio::test]
async fn no_way_to_the_host_is_unreachable() {
    let probe = prober(6336, 6333, 6335, None)
        .probe(Ipv4Addr::BROADCAST.into())
        .await;
    let why = Silence::Unreachable;
    assert_eq!(probe, Probe::NoAnswer { why });
}

#[test]
fn what_could_not_be_asked_is_neither_alive_nor_silent() {
    let prober = prober(1, 2, 3, None);
    let knocks = || {
        [
            Knock::Silent(Silence::Refused),
            Knock::Failed("no file descriptors left".into()),
            Knock::Silent(Silence::Refused),
        ]
    };
    let probe = prober.without_hello("refused", knocks());
    assert!(matches!(probe, Probe::Unknown(_)), "{probe:?}");
    assert!(!probe.is_alive() && !probe.is_silent());
    let mut knocks = knocks();
    knocks[2] = Knock::Open(3);
    assert_eq!(
        prober.without_hello("refused", knocks),
        Probe::OpenQdrant { port: 3 }
    );
}

#[test]
fn a_key_that_cannot_be_sent_is_refused_without_showing_it() {
    let ports = Ports {
        control: 1,
        http: 2,
        p2p: 3,
    };
    let error = Prober::new(ports, Some("geheim\n"), PATIENT)
        .unwrap_err()
        .to_string();
    assert!(!error.contains("geheim"), "{error}");
    let prober = Prober::new(ports, Some("geheim"), PATIENT).unwrap();
    assert!(!format!("{prober:?}").contains("geheim"));
}

#[tokio::test]
async fn many_addresses_are_probed_side_by_side() {
    let dead = closed().await;
    let (_listener, open) = mute().await;
    let prober = prober(dead, dead, open, None);
    let addresses: Vec<IpAddr> = (1..=64)
        .map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)))
        .collect();
    let found = prober.probe_all(addresses.clone(), None).await;
    assert_eq!(found.len(), addresses.len());
    for (address, probe) in found {
        assert_eq!(probe.is_alive(), address == HOST, "{address}: {probe:?}");
    }
}

#[tokio::test]
async fn ipv6_addresses_are_probed() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return eprintln!("skipped: this machine has no IPv6 loopback");
    };
    let open = listener.local_addr().unwrap().port();
    let dead = closed().await;
    let probe = prober(dead, open, dead, None)
        .probe("::1".parse().unwrap())
        .await;
    assert_eq!(probe, Probe::OpenQdrant { port: open });
}
