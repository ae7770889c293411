//! What a calm round asks: of its own Qdrant the same however many nodes there are, of every other
//! task one hello, of their Qdrants nothing. Measured at the real program, with a Qdrant that only
//! answers.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use planner::records::FORMED_KEY;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);
/// So many rounds are measured.
const ROUNDS: usize = 20;
const COLLECTIONS: usize = 3;

/// A cluster as Qdrant and the other tasks would show it, and what was asked of them.
struct World {
    net: u8,
    nodes: usize,
    /// The peer that leads; we are peer 1.
    leader: usize,
    keys: BTreeMap<String, Value>,
    own: BTreeMap<String, usize>,
    hellos: BTreeMap<usize, usize>,
    foreign: usize,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 78, self.net, u8::try_from(node).unwrap())
    }

    fn cluster(&self) -> Value {
        let peers: BTreeMap<String, Value> = (1..=self.nodes)
            .map(|node| {
                let uri = format!("http://{}:6335/", self.address(node));
                (node.to_string(), json!({ "uri": uri }))
            })
            .collect();
        let role = if self.leader == 1 {
            "Leader"
        } else {
            "Follower"
        };
        json!({
            "status": "enabled", "peer_id": 1, "peers": peers,
            "raft_info": {"term": 1, "commit": 9, "pending_operations": 0,
                "leader": self.leader, "role": role, "is_voter": true},
            "consensus_thread_status": {"consensus_thread_status": "working", "last_update": ""},
            "message_send_failures": {},
        })
    }

    /// One shard on each of the first three nodes.
    fn shards(&self) -> Value {
        let remote = (2..=self.nodes.min(3))
            .map(|node| json!({"shard_id": 0, "peer_id": node, "state": "Active"}));
        json!({
            "peer_id": 1, "shard_count": 1,
            "local_shards": [{"shard_id": 0, "points_count": 10, "state": "Active"}],
            "remote_shards": remote.collect::<Vec<_>>(), "shard_transfers": [],
        })
    }

    fn answer(&mut self, method: &str, path: &str, body: &Bytes) -> Value {
        if let Some(key) = path.strip_prefix("/cluster/metadata/keys/") {
            return match method {
                "PUT" => {
                    let value = serde_json::from_slice(body).unwrap();
                    self.keys.insert(key.to_owned(), value);
                    json!(true)
                }
                _ => self.keys.get(key).cloned().unwrap_or_default(),
            };
        }
        match path {
            "/cluster" => self.cluster(),
            "/collections" => {
                let names = (0..COLLECTIONS).map(|n| json!({ "name": format!("c{n}") }));
                json!({ "collections": names.collect::<Vec<_>>() })
            }
            path if path.ends_with("/cluster") => self.shards(),
            "/telemetry" => {
                let params = json!({"shard_number": 1, "write_consistency_factor": 1,
                    "replication_factor": self.nodes.min(3)});
                let all = (0..COLLECTIONS)
                    .map(|n| json!({"id": format!("c{n}"), "config": {"params": params}}));
                json!({"collections": {"collections": all.collect::<Vec<_>>()}})
            }
            _ => json!(true),
        }
    }

    fn hello(&self, node: usize) -> Value {
        let generation = self
            .keys
            .get(FORMED_KEY)
            .map(|formed| &formed["generation"]);
        json!({
            "format": 1, "service": "calm", "store_id": null, "task": format!("task-{node}"),
            "state": "member", "generation": generation, "aside": false,
            "uri": format!("http://{}:6335", self.address(node)), "leads": self.leader == node,
            "verified": true, "peers": (1..=self.nodes).collect::<Vec<_>>(), "peer_id": node,
            "serves": true, "zone": format!("zone-{}", node % 3), "ready": true,
        })
    }
}

async fn qdrant(State(world): State<Shared>, request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut world = world.lock().unwrap();
    let asked = format!("{} {}", parts.method, parts.uri.path());
    *world.own.entry(asked).or_default() += 1;
    let result = world.answer(parts.method.as_str(), parts.uri.path(), &body);
    axum::Json(json!({ "result": result, "status": "ok", "time": 0.0 }))
}

async fn serve(at: SocketAddr, router: Router) {
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// The tasks beside ours: they say hello, and their Qdrants count whoever asks them.
async fn neighbours(world: &Shared, nodes: usize) {
    for node in 2..=nodes {
        let address = world.lock().unwrap().address(node);
        let says = Arc::clone(world);
        let hello = move || async move {
            let mut world = says.lock().unwrap();
            *world.hellos.entry(node).or_default() += 1;
            axum::Json(world.hello(node))
        };
        let router = Router::new().route("/v1/hello", axum::routing::get(hello));
        serve(SocketAddr::new(address.into(), 6336), router).await;
        let counts = Arc::clone(world);
        let foreign = move || async move { counts.lock().unwrap().foreign += 1 };
        let router = Router::new().fallback(foreign);
        serve(SocketAddr::new(address.into(), 6333), router).await;
    }
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, host: Ipv4Addr) -> Program {
    let sleeper = dir.join("qdrant");
    fs::write(&sleeper, "#!/bin/sh\nwhile :; do sleep 0.05; done\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&sleeper, mode).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_entrypoint"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("ENTRYPOINT_CLUSTER_SIZE", "1")
        .env("ENTRYPOINT_ADDRESS", host.to_string())
        .env("ENTRYPOINT_BIND", host.to_string())
        .env(
            "ENTRYPOINT_STORE",
            format!("file://{}", dir.join("store").display()),
        )
        .env("ENTRYPOINT_SERVICE", "calm")
        .env("ENTRYPOINT_QDRANT_BIN", &sleeper)
        .env("ENTRYPOINT_BEAT", "100ms")
        .env("ENTRYPOINT_ROUND", "20ms")
        .env("QDRANT__SERVICE__HOST", host.to_string())
        .env("QDRANT__STORAGE__STORAGE_PATH", dir.join("storage"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Program(process.expect("the program under test starts"))
}

async fn until(world: &Shared, what: &str, done: impl Fn(&World) -> bool) {
    let began = Instant::now();
    loop {
        {
            let world = world.lock().unwrap();
            if done(&world) {
                return;
            }
            let late = began.elapsed() > PATIENCE;
            assert!(!late, "{what}: {:?} {:?}", world.own, world.hellos);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What one calm round asks, on average.
#[derive(Debug, PartialEq)]
struct Asked {
    own_qdrant: BTreeMap<String, usize>,
    hellos: usize,
    foreign_qdrants: usize,
}

/// Lets a task found its cluster of one, shows it so many nodes, and counts what it asks when
/// nothing changes any more.
async fn measure(net: u8, nodes: usize, leads: bool) -> Asked {
    let world: Shared = Arc::new(Mutex::new(World {
        net,
        nodes: 1,
        leader: 1,
        keys: BTreeMap::new(),
        own: BTreeMap::new(),
        hellos: BTreeMap::new(),
        foreign: 0,
    }));
    let host = world.lock().unwrap().address(1);
    let router = Router::new()
        .fallback(qdrant)
        .with_state(Arc::clone(&world));
    serve(SocketAddr::new(host.into(), 6333), router).await;
    neighbours(&world, nodes).await;
    let dir = tempfile::tempdir().unwrap();
    let _program = start(dir.path(), host);
    until(&world, "the formation", |world| {
        world
            .keys
            .get(FORMED_KEY)
            .is_some_and(|formed| formed["complete"] == json!(true))
    })
    .await;
    // Whoever has not been ready asks everybody for permission, and is not calm.
    let served = dir.path().join("storage/.entrypoint/served");
    until(&world, "readiness", |_| served.exists()).await;
    {
        let mut world = world.lock().unwrap();
        world.nodes = nodes;
        world.leader = if leads { 1 } else { 2 };
    }
    // The first rounds among others are not calm yet.
    let rounds = |world: &World| world.hellos.get(&2).copied().unwrap_or_default();
    until(&world, "calm", |world| rounds(world) >= 20).await;
    {
        let mut world = world.lock().unwrap();
        (world.own, world.hellos, world.foreign) = Default::default();
    }
    until(&world, "the rounds to measure", |world| {
        rounds(world) >= ROUNDS
    })
    .await;
    let world = world.lock().unwrap();
    let rounded = |count: usize| (count + ROUNDS / 2) / ROUNDS;
    Asked {
        own_qdrant: (world.own.iter())
            .map(|(asked, count)| (asked.clone(), rounded(*count)))
            .filter(|(_, each)| *each > 0)
            .collect(),
        hellos: (world.hellos.values().copied().map(rounded)).sum(),
        foreign_qdrants: world.foreign,
    }
}

async fn of_three_and_of_thirty(net: u8, leads: bool) -> Asked {
    let few = measure(net, 3, leads).await;
    let many = measure(net + 1, 30, leads).await;
    println!("leads: {leads}, {few:#?}");
    assert_eq!(few.own_qdrant, many.own_qdrant);
    assert_eq!((few.foreign_qdrants, many.foreign_qdrants), (0, 0));
    assert_eq!((few.hellos, many.hellos), (2, 29), "one for each neighbour");
    few
}

#[tokio::test]
async fn a_calm_member_asks_as_much_among_thirty_as_among_three() {
    let asked = of_three_and_of_thirty(1, false).await;
    let all: usize = asked.own_qdrant.values().sum();
    assert!(all <= 3, "{asked:?}");
}

#[tokio::test]
async fn a_calm_steward_asks_as_much_among_thirty_as_among_three() {
    let asked = of_three_and_of_thirty(3, true).await;
    let all: usize = asked.own_qdrant.values().sum();
    assert!(all <= 9 + COLLECTIONS, "{asked:?}");
    assert!(
        !asked
            .own_qdrant
            .keys()
            .any(|asked| asked.starts_with("PUT")),
        "{asked:?}"
    );
}
