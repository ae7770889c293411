//! The client against a small server on loopback that answers as Qdrant does, or as no Qdrant
//! should.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use qdrant_api::{
    ApiKey, Client, Cluster, CollectionStatus, ConsensusThread, CreateCollection, Distance, Error,
    ErrorKind, Point, PointId, ReadConsistency, Readiness, ReplicaState, Role, UpdateStatus,
    VectorParams, WriteOrdering,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the server was asked last.
#[derive(Debug, Clone, Default)]
struct Seen {
    call: String,
    api_key: Option<String>,
    body: Option<Value>,
}

#[derive(Clone)]
struct Fake {
    code: StatusCode,
    answer: Bytes,
    headers: HeaderMap,
    seen: Arc<Mutex<Seen>>,
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    *fake.seen.lock().unwrap() = Seen {
        call: format!("{} {}", parts.method, parts.uri),
        api_key: parts
            .headers
            .get("api-key")
            .map(|key| key.to_str().unwrap().to_owned()),
        body: (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap()),
    };
    let mut response = Response::new(Body::from(fake.answer.clone()));
    *response.status_mut() = fake.code;
    *response.headers_mut() = fake.headers.clone();
    response
}

/// Starts a server that gives one answer to everything.
async fn fake(code: u16, answer_with: impl Into<Bytes>) -> (Client, Arc<Mutex<Seen>>) {
    fake_with_headers(code, answer_with, HeaderMap::new()).await
}

async fn fake_with_headers(
    code: u16,
    answer_with: impl Into<Bytes>,
    headers: HeaderMap,
) -> (Client, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let state = Fake {
        code: StatusCode::from_u16(code).unwrap(),
        answer: answer_with.into(),
        headers,
        seen: Arc::clone(&seen),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move { axum::serve(listener, server).await });
    (client(address, PATIENCE), seen)
}

/// A fake whose answer is `result` in Qdrant's envelope.
async fn fake_result(result: Value) -> (Client, Arc<Mutex<Seen>>) {
    fake(
        200,
        json!({ "result": result, "status": "ok", "time": 0.000_04 }).to_string(),
    )
    .await
}

/// A server that accepts connections and does with each what `act` says.
async fn raw<F, A>(act: F) -> SocketAddr
where
    F: Fn(tokio::net::TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    address
}

fn client(address: SocketAddr, timeout: Duration) -> Client {
    let key = ApiKey::new("s3cret").unwrap();
    Client::new(address.try_into().unwrap(), Some(key), timeout).unwrap()
}

fn call(seen: &Arc<Mutex<Seen>>) -> String {
    seen.lock().unwrap().call.clone()
}

/// The error and all its causes, as a log shows them.
fn chain(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

#[tokio::test]
async fn cluster_reads_all_of_an_enabled_one() {
    let (client, seen) = fake_result(json!({
        "status": "enabled",
        "peer_id": 4_171_372_031_583_419_u64,
        "peers": {
            "4171372031583419": { "uri": "http://127.0.1.1:6335/" },
            "77": { "uri": "http://127.0.1.2:6335/" },
        },
        "raft_info": {
            "term": 3, "commit": 21, "pending_operations": 1, "leader": 77, "role": "Follower",
            "is_voter": false,
        },
        "consensus_thread_status": {
            "consensus_thread_status": "working", "last_update": "2026-11-22T23:00:00Z",
        },
        "message_send_failures": {
            "http://127.0.1.2:6335/": {
                "count": 3, "latest_error": "oh", "latest_error_timestamp": "2026-11-22T23:00:00Z",
            },
        },
    }))
    .await;
    let Cluster::Enabled(info) = client.cluster().await.unwrap() else {
        panic!("the cluster is enabled");
    };
    assert_eq!(call(&seen), "GET /cluster");
    assert_eq!(seen.lock().unwrap().api_key.as_deref(), Some("s3cret"));
    assert_eq!(info.peer_id, 4_171_372_031_583_419);
    assert_eq!(info.peer_by_uri("http://127.0.1.2:6335"), Some(77));
    assert_eq!(
        (
            info.raft.term,
            info.raft.commit,
            info.raft.pending_operations
        ),
        (3, 21, 1)
    );
    assert_eq!(
        (info.raft.leader, info.raft.role),
        (Some(77), Some(Role::Follower))
    );
    assert!(!info.raft.is_voter);
    assert_eq!(info.consensus_thread, ConsensusThread::Working);
    assert_eq!(
        info.message_send_failures["http://127.0.1.2:6335/"].count,
        3
    );
}

#[tokio::test]
async fn cluster_reads_a_disabled_one() {
    let (client, _) = fake_result(json!({ "status": "disabled" })).await;
    assert_eq!(client.cluster().await.unwrap(), Cluster::Disabled);
}

#[tokio::test]
async fn health_calls_carry_no_key() {
    let (client, seen) = fake(200, "all shards are ready").await;
    assert_eq!(client.readyz().await.unwrap(), Readiness::Ready);
    assert_eq!(call(&seen), "GET /readyz");
    assert_eq!(seen.lock().unwrap().api_key, None);
    client.healthz().await.unwrap();
    assert_eq!(call(&seen), "GET /healthz");
    assert_eq!(seen.lock().unwrap().api_key, None);
}

#[tokio::test]
async fn readiness_is_only_200_or_503() {
    let (client, _) = fake(503, "some shards are not ready").await;
    let not_ready = Readiness::NotReady("some shards are not ready".into());
    assert_eq!(client.readyz().await.unwrap(), not_ready);
    let (client, _) = fake(404, "").await;
    assert!(client.readyz().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn metadata_keys_are_encoded_and_told_apart_from_absence() {
    let (client, seen) = fake_result(Value::Null).await;
    assert_eq!(client.metadata_key("az/7").await.unwrap(), None);
    assert_eq!(call(&seen), "GET /cluster/metadata/keys/az%2F7");

    let (client, _) = fake_result(json!({ "zone": "a" })).await;
    assert_eq!(
        client.metadata_key("az/7").await.unwrap(),
        Some(json!({ "zone": "a" }))
    );

    let (client, _) = fake_result(json!(["az/7"])).await;
    assert_eq!(client.metadata_keys().await.unwrap(), ["az/7"]);

    let (client, seen) = fake_result(json!(true)).await;
    client
        .put_metadata_key("az/7", &json!({ "zone": "a" }), true)
        .await
        .unwrap();
    assert_eq!(call(&seen), "PUT /cluster/metadata/keys/az%2F7?wait=true");
    assert_eq!(seen.lock().unwrap().body, Some(json!({ "zone": "a" })));
    client.delete_metadata_key("az/7", false).await.unwrap();
    assert_eq!(
        call(&seen),
        "DELETE /cluster/metadata/keys/az%2F7?wait=false"
    );
}

#[tokio::test]
async fn peers_are_removed_as_asked_and_only_true_is_done() {
    let (client, seen) = fake_result(json!(true)).await;
    client.remove_peer(77, true, 0).await.unwrap();
    assert_eq!(call(&seen), "DELETE /cluster/peer/77?force=true&timeout=1");
    client.recover().await.unwrap();
    assert_eq!(call(&seen), "POST /cluster/recover");

    let (client, _) = fake_result(json!(false)).await;
    let error = client.remove_peer(77, false, 5).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotDone { code: 200 }),
        "{error:?}"
    );
}

#[tokio::test]
async fn collections_and_their_shards() {
    let (client, seen) =
        fake_result(json!({ "collections": [{ "name": "a" }, { "name": "b c" }] })).await;
    assert_eq!(client.collections().await.unwrap(), ["a", "b c"]);
    assert_eq!(call(&seen), "GET /collections");

    let (client, seen) = fake_result(json!({
        "peer_id": 1, "shard_count": 2,
        "local_shards": [{ "shard_id": 0, "points_count": 10, "state": "Active" }],
        "remote_shards": [
            { "shard_id": 0, "shard_key": "eu", "peer_id": 2, "state": "Sparkling" },
        ],
        "shard_transfers": [{ "shard_id": 0, "from": 1, "to": 2, "sync": true }],
    }))
    .await;
    let placed = client.collection_cluster("b c").await.unwrap();
    assert_eq!(call(&seen), "GET /collections/b%20c/cluster");
    let replicas: Vec<_> = placed
        .replicas()
        .map(|replica| (replica.peer_id, replica.state.clone()))
        .collect();
    let unknown = ReplicaState::Unknown("Sparkling".into());
    assert_eq!(replicas, [(1, ReplicaState::Active), (2, unknown)]);
    assert_eq!((placed.transfers[0].from, placed.transfers[0].to), (1, 2));

    let (client, _) = fake_result(json!({
        "status": "yellow", "points_count": 10,
        "config": { "params": {
            "shard_number": 2, "replication_factor": 3, "write_consistency_factor": 1,
        } },
    }))
    .await;
    let info = client.collection_info("a").await.unwrap();
    assert_eq!(
        (info.status, info.points_count),
        (CollectionStatus::Yellow, Some(10))
    );
    assert_eq!(
        (info.params.shard_number, info.params.replication_factor),
        (2, 3)
    );
}

#[tokio::test]
async fn collections_are_created_and_deleted() {
    let (client, seen) = fake_result(json!(true)).await;
    let with = CreateCollection {
        vectors: VectorParams {
            size: 4,
            distance: Distance::Dot,
        },
        shard_number: Some(2),
        replication_factor: Some(3),
        write_consistency_factor: None,
    };
    client.create_collection("a", &with).await.unwrap();
    assert_eq!(call(&seen), "PUT /collections/a");
    assert_eq!(
        seen.lock().unwrap().body,
        Some(json!({
            "vectors": { "size": 4, "distance": "Dot" },
            "shard_number": 2, "replication_factor": 3,
        }))
    );
    assert!(client.delete_collection("a").await.unwrap());
    assert_eq!(call(&seen), "DELETE /collections/a");
}

#[tokio::test]
async fn names_that_would_change_the_call_are_never_sent() {
    let (client, seen) = fake_result(json!(true)).await;
    for name in ["", ".", ".."] {
        let error = client.delete_collection(name).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::BadName { .. }),
            "{error:?}"
        );
        assert!(!error.is_somebody_alive());
    }
    assert_eq!(call(&seen), "");
}

#[tokio::test]
async fn points_are_written_and_read() {
    let (client, seen) = fake_result(json!({ "operation_id": 7, "status": "completed" })).await;
    let point = Point {
        id: 1.into(),
        vector: vec![0.5],
        payload: serde_json::Map::new(),
    };
    let done = client
        .upsert_points("a", &[point], true, Some(WriteOrdering::Strong))
        .await
        .unwrap();
    assert_eq!(
        (done.operation_id, done.status),
        (Some(7), UpdateStatus::Completed)
    );
    assert_eq!(
        call(&seen),
        "PUT /collections/a/points?wait=true&ordering=strong"
    );
    assert_eq!(
        seen.lock().unwrap().body,
        Some(json!({ "points": [{ "id": 1, "vector": [0.5], "payload": {} }] }))
    );

    let (client, seen) = fake_result(json!({ "count": 7 })).await;
    assert_eq!(
        client
            .count("a", true, Some(ReadConsistency::All))
            .await
            .unwrap(),
        7
    );
    assert_eq!(
        call(&seen),
        "POST /collections/a/points/count?consistency=all"
    );
    assert_eq!(seen.lock().unwrap().body, Some(json!({ "exact": true })));

    let uuid = PointId::Uuid("5c56c793-69f3-4fbf-87e6-c4bf54c28c26".into());
    let (client, seen) = fake_result(json!([{ "id": uuid, "payload": { "n": 1 } }])).await;
    let records = client
        .retrieve("a", &[1.into(), uuid.clone()], None)
        .await
        .unwrap();
    assert_eq!(records[0].id, uuid);
    assert_eq!(records[0].payload.as_ref().unwrap()["n"], json!(1));
    assert_eq!(call(&seen), "POST /collections/a/points");

    let page = json!({ "points": [{ "id": 1, "payload": null }], "next_page_offset": 2 });
    let (client, seen) = fake_result(page).await;
    let limit = std::num::NonZeroU32::MIN;
    let page = client.scroll("a", None, limit, None).await.unwrap();
    assert_eq!(page.next_page_offset, Some(PointId::Num(2)));
    assert_eq!(call(&seen), "POST /collections/a/points/scroll");
}

#[tokio::test]
async fn refusals_say_what_whom_and_why() {
    let body =
        r#"{"status":{"error":"Cannot remove peer 7 as there are shards on it"},"time":0.1}"#;
    let (client, _) = fake(400, body).await;
    let error = client.remove_peer(7, false, 3).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "DELETE /cluster/peer/7?force=false&timeout=3 at {}: status 400: Cannot remove peer 7 \
             as there are shards on it",
            client.base()
        )
    );
    assert!(error.is_somebody_alive());
    assert_eq!(error.code(), Some(400));

    let (client, _) = fake(401, "Invalid API key or JWT").await;
    let error = client.cluster().await.unwrap_err();
    assert!(error.is_somebody_alive());
    assert!(
        matches!(error.kind(), ErrorKind::Unauthorized { message } if message == "Invalid API key or JWT"),
        "{error:?}"
    );
    assert!(!format!("{client:?} {error:?}").contains("s3cret"));

    let (client, _) = fake(403, r#"{"status":{"error":"Global access is required"}}"#).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Forbidden { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn strangers_are_alive_but_malformed() {
    for body in ["", "{}", "<html>hello</html>", "[1]", r#"{"result":null}"#] {
        let (client, _) = fake(200, body).await;
        let error = client.cluster().await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Malformed { .. }),
            "{body}: {error:?}"
        );
        assert!(error.is_somebody_alive());
        let chain = chain(&error);
        assert_eq!(chain.len(), 2, "{chain:?}");
        assert!(
            !chain[0].contains(&chain[1]),
            "a cause is told once: {chain:?}"
        );
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (target, seen) = fake_result(json!({ "status": "disabled" })).await;
    let mut headers = HeaderMap::new();
    headers.insert(
        "location",
        format!("{}/cluster", target.base()).parse().unwrap(),
    );
    let (client, _) = fake_with_headers(307, "", headers).await;
    assert_eq!(client.cluster().await.unwrap_err().code(), Some(307));
    assert_eq!(call(&seen), "", "the key must not travel on");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let (client, _) = fake(200, vec![b' '; 9 << 20]).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { .. }),
        "{error:?}"
    );
    let (client, _) = fake(401, vec![b'x'; 9 << 20]).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unauthorized { .. }),
        "{:?}",
        error.code()
    );
    assert!(error.to_string().len() < 1000);
}

#[tokio::test]
async fn a_closed_port_is_refused_and_not_a_timeout() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(address, PATIENCE).cluster().await.unwrap_err();
    assert!(error.is_connect_refused(), "{:?}", chain(&error));
    assert!(!error.is_timeout() && !error.is_somebody_alive());
    assert_eq!(
        error.to_string(),
        format!("GET /cluster at http://{address}: no answer")
    );
}

#[tokio::test]
async fn silence_is_a_timeout_and_nobody() {
    let address = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let error = client(address, Duration::from_millis(100))
        .cluster()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{:?}", chain(&error));
    assert!(!error.is_connect_refused() && !error.is_somebody_alive());
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_of_somebody() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let error = client(address, Duration::from_millis(500))
        .cluster()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{:?}", chain(&error));
    assert!(error.is_somebody_alive());
    assert_eq!(error.code(), Some(200));
}

#[tokio::test]
async fn something_that_is_not_http_is_unreachable() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"220 mail ready\r\n").await;
    })
    .await;
    let error = client(address, PATIENCE).cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!error.is_connect_refused() && !error.is_timeout() && !error.is_somebody_alive());
}

#[tokio::test]
async fn a_removal_may_take_its_own_timeout_on_top() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        // Later than the client's own timeout, well within that of the removal.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let body = r#"{"result":true,"status":"ok","time":0.1}"#;
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let client = client(address, Duration::from_millis(200));
    client.remove_peer(7, false, 10).await.unwrap();
    assert!(client.recover().await.unwrap_err().is_timeout());
}
