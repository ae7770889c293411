//! The comparison against three Qdrants that say what they are told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use planner::heal::life::Life;
use planner::heal::view::Peer;
use planner::records::Said;
use tokio::net::TcpListener;

use super::*;

/// What the three say.
#[derive(Clone, Debug)]
struct Told {
    /// The cheap count of each.
    cheap: [u64; 3],
    /// The exact count of each.
    exact: [u64; 3],
    /// The peer id that each answers with.
    ids: [u64; 3],
    /// The state of the last one's copy, as all see it.
    last_state: &'static str,
    /// So many exact counts were asked for.
    exact_asked: usize,
}

struct Bench {
    told: Arc<Mutex<Told>>,
    comparer: Comparer,
    board: channel::Receiver<Board>,
    posts: channel::Receiver<Option<Post>>,
    _post: channel::Sender<Option<Post>>,
}

fn address(net: u8, nth: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 79, net, u8::try_from(nth + 1).unwrap())
}

fn shards(told: &Told, nth: usize) -> Value {
    let state = |other: usize| {
        if other == 2 {
            told.last_state
        } else {
            "Active"
        }
    };
    let others = (0..3)
        .filter(|other| *other != nth)
        .map(|other| json!({"shard_id": 0, "peer_id": other + 1, "state": state(other)}));
    json!({
        "peer_id": told.ids[nth], "shard_count": 1, "shard_transfers": [],
        "local_shards": [{"shard_id": 0, "points_count": told.cheap[nth], "state": state(nth)}],
        "remote_shards": others.collect::<Vec<_>>(),
    })
}

fn cluster(net: u8) -> Value {
    let peers = (0..3).map(|nth| {
        let uri = format!("http://{}:6335/", address(net, nth));
        ((nth + 1).to_string(), json!({ "uri": uri }))
    });
    json!({
        "status": "enabled", "peer_id": 1,
        "peers": peers.collect::<serde_json::Map<_, _>>(),
        "raft_info": {"term": 1, "commit": 9, "pending_operations": 0, "leader": 1,
            "role": "Leader", "is_voter": true},
        "consensus_thread_status": {"consensus_thread_status": "working", "last_update": ""},
        "message_send_failures": {},
    })
}

fn answer(result: Value) -> axum::Json<Value> {
    axum::Json(json!({ "result": result, "status": "ok", "time": 0.0 }))
}

async fn qdrant(net: u8, nth: usize, told: Arc<Mutex<Told>>) {
    let (cheap, exact) = (Arc::clone(&told), told);
    let count = move |Path((_, shard)): Path<(String, u32)>| async move {
        assert_eq!(shard, 0);
        let mut told = exact.lock().unwrap();
        told.exact_asked += 1;
        answer(json!({ "count": told.exact[nth] }))
    };
    let router = Router::new()
        .route("/cluster", get(move || async move { answer(cluster(net)) }))
        .route(
            "/collections",
            get(|| async { answer(json!({"collections": [{"name": "c"}]})) }),
        )
        .route(
            "/collections/{name}/cluster",
            get(move || async move { answer(shards(&cheap.lock().unwrap(), nth)) }),
        )
        .route(
            "/collections/{name}/shards/{shard}/points/count",
            post(count),
        );
    let listener = TcpListener::bind((address(net, nth), 6333)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
}

fn post_of_a_steward() -> Post {
    let ourselves = Peer {
        life: Life::Alive,
        zone: None,
        voter: true,
        uri: String::new(),
        leaving: false,
        disk: None,
        task: None,
        said: Said::default(),
    };
    Post {
        ourselves,
        peers: BTreeMap::new(),
        outside: Default::default(),
        wanted_revision: None,
        told: false,
        full: false,
        restoring: false,
        wanted_tasks: 3,
        at: std::time::Instant::now(),
        fresh_for: Duration::from_secs(60),
    }
}

impl Bench {
    async fn new(net: u8) -> Self {
        let told = Arc::new(Mutex::new(Told {
            cheap: [5; 3],
            exact: [5; 3],
            ids: [1, 2, 3],
            last_state: "Active",
            exact_asked: 0,
        }));
        for nth in 0..3 {
            qdrant(net, nth, Arc::clone(&told)).await;
        }
        let base = SocketAddr::new(address(net, 0).into(), 6333)
            .try_into()
            .unwrap();
        let client = Client::new(base, None, Duration::from_secs(5)).unwrap();
        let (board, reader) = channel::channel(crate::control::tests::board());
        board.send_modify(|board| board.status.whole = true);
        let (post, posts) = channel::channel(Some(post_of_a_steward()));
        let mut comparer = Comparer::new(client, Duration::from_secs(1), board);
        comparer.pause = Duration::ZERO;
        Self {
            told,
            comparer,
            board: reader,
            posts,
            _post: post,
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap());
    }

    async fn looks(&mut self, count: usize) -> Value {
        for _ in 0..count {
            self.comparer.compare(&self.posts).await;
        }
        self.board.borrow().status.divergence.clone()
    }
}

#[tokio::test]
async fn what_differs_at_rest_is_suspected_then_found_then_over() {
    let mut bench = Bench::new(1).await;
    assert_eq!(bench.looks(3).await, Value::Null);
    bench.tell(|told| (told.cheap[2], told.exact[2]) = (4, 4));
    assert_eq!(bench.looks(1).await, Value::Null, "not at rest yet");
    let suspect = bench.looks(1).await;
    assert_eq!(
        suspect["suspect"][0],
        "c/0: 5 on peer 1, 5 on peer 2, 4 on peer 3"
    );
    let found = bench.looks(2).await;
    assert_eq!(found["diverged"][0], suspect["suspect"][0]);
    assert_eq!(bench.board.borrow().status.diverged.len(), 1);
    bench.tell(|told| (told.cheap[2], told.exact[2]) = (5, 5));
    assert_eq!(bench.looks(2).await, Value::Null);
    assert_eq!(bench.board.borrow().status.diverged.len(), 0);
}

#[tokio::test]
async fn a_difference_that_only_the_cheap_count_shows_is_none() {
    let mut bench = Bench::new(2).await;
    bench.tell(|told| told.cheap[1] = 7);
    assert_eq!(bench.looks(6).await, Value::Null);
    assert!(bench.told.lock().unwrap().exact_asked >= 3);
}

#[tokio::test]
async fn equal_copies_are_never_counted_exactly() {
    let mut bench = Bench::new(3).await;
    assert_eq!(bench.looks(4).await, Value::Null);
    assert_eq!(bench.told.lock().unwrap().exact_asked, 0);
}

#[tokio::test]
async fn another_peer_at_the_address_and_a_copy_that_is_not_active_say_nothing() {
    let mut bench = Bench::new(4).await;
    bench.tell(|told| {
        (told.cheap[2], told.exact[2]) = (4, 4);
        told.ids[2] = 77;
    });
    assert_eq!(bench.looks(6).await, Value::Null);
    bench.tell(|told| {
        told.ids[2] = 3;
        told.last_state = "FutureState";
    });
    assert_eq!(bench.looks(6).await, Value::Null);
}

#[tokio::test]
async fn nothing_is_compared_while_something_is_to_be_healed() {
    let mut bench = Bench::new(5).await;
    bench.tell(|told| (told.cheap[2], told.exact[2]) = (4, 4));
    bench
        .comparer
        .board
        .send_modify(|board| board.status.whole = false);
    assert_eq!(bench.looks(6).await, Value::Null);
    bench
        .comparer
        .board
        .send_modify(|board| board.status.whole = true);
    assert_ne!(bench.looks(2).await, Value::Null);
}
