//! The client against the real Qdrant, when `QDRANT_BIN` names its binary.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qdrant_api::{
    ApiKey, Client, Cluster, ClusterInfo, CollectionStatus, ConsensusThread, CreateCollection,
    Distance, Error, ErrorKind, Point, PointId, ReadConsistency, Readiness, Role, UpdateStatus,
    VectorParams, WriteOrdering,
};
use serde_json::json;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "a key of this test";

/// A running Qdrant with its own directory; killed when dropped.
struct Qdrant {
    child: Child,
    directory: TempDir,
    rest: SocketAddr,
    uri: String,
}

impl Qdrant {
    /// Starts the binary on free ports of a loopback address of its own.
    fn start(binary: &Path, cluster: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // On 127.0.0.1 any other program could take a port between our finding it free and
        // Qdrant's listening on it.
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, if cluster { 81 } else { 82 }, high, low.clamp(1, 254));
        // All three are held until all are known, so that they differ.
        let held = [0; 3].map(|port| TcpListener::bind((host, port)).unwrap());
        let [rest, grpc, p2p] = held.each_ref().map(|held| held.local_addr().unwrap());
        drop(held);
        let uri = format!("http://{p2p}");
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(binary);
        command
            .current_dir(directory.path())
            .env("QDRANT__SERVICE__HOST", host.to_string())
            .env("QDRANT__SERVICE__HTTP_PORT", rest.port().to_string())
            .env("QDRANT__SERVICE__GRPC_PORT", grpc.port().to_string())
            .env("QDRANT__SERVICE__API_KEY", KEY)
            .env("QDRANT__CLUSTER__ENABLED", cluster.to_string())
            .env("QDRANT__CLUSTER__P2P__PORT", p2p.port().to_string())
            .env("QDRANT__TELEMETRY_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if cluster {
            command.args(["--uri", &uri]);
        }
        let child = command.spawn().unwrap();
        Self {
            child,
            directory,
            rest,
            uri,
        }
    }

    fn client(&self, key: Option<&str>) -> Client {
        let key = key.map(|key| ApiKey::new(key).unwrap());
        // Longer than the 10 s after which Qdrant gives up on consensus, to hear about it.
        Client::new(self.rest.try_into().unwrap(), key, Duration::from_secs(15)).unwrap()
    }

    /// Asks again until `look` finds what it wants, and shows the last state if it never does.
    async fn eventually<T, F, A>(&mut self, what: &str, mut look: F) -> T
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, String>>,
    {
        let end = Instant::now() + PATIENCE;
        loop {
            let last = match look().await {
                Ok(found) => return found,
                Err(last) => last,
            };
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                panic!(
                    "no {what}: {last}; ended: {ended:?}; log:\n{}",
                    log.unwrap()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn enabled(cluster: Result<Cluster, Error>) -> Result<ClusterInfo, String> {
    match cluster {
        Ok(Cluster::Enabled(info)) => Ok(info),
        Ok(Cluster::Disabled) => Err("disabled".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The binary, or a line that says that nothing was tested.
fn binary() -> Option<std::path::PathBuf> {
    let binary = std::env::var_os("QDRANT_BIN").map(Into::into);
    if binary.is_none() {
        // Written past the test harness, which would hide it; a failure to write is no failure.
        let _ = writeln!(std::io::stderr(), "skipped: QDRANT_BIN is not set");
    }
    binary
}

#[tokio::test]
async fn every_call_against_a_cluster_of_one() {
    let Some(binary) = binary() else { return };
    let mut qdrant = Qdrant::start(&binary, true);
    let client = qdrant.client(Some(KEY));

    let info = qdrant
        .eventually("leader of itself", || async {
            let info = enabled(client.cluster().await)?;
            if info.leads_itself() {
                Ok(info)
            } else {
                Err(format!("{info:?}"))
            }
        })
        .await;
    assert_eq!(info.peer_by_uri(&qdrant.uri), Some(info.peer_id));
    assert_eq!(info.raft.role, Some(Role::Leader));
    assert!(info.raft.is_voter);
    assert_eq!(info.consensus_thread, ConsensusThread::Working);
    assert_eq!(info.message_send_failures.len(), 0);

    refusals(&qdrant).await;
    metadata(&client).await;

    client.healthz().await.unwrap();
    qdrant
        .eventually("readiness", || async {
            match client.readyz().await {
                Ok(Readiness::Ready) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    // A leader has nobody to recover from; Qdrant drops the request and answers true.
    client.recover().await.unwrap();
    // An id that no peer has: Qdrant answers true.
    client
        .remove_peer(info.peer_id.wrapping_add(1), false, 10)
        .await
        .unwrap();

    collection(&mut qdrant, &client, "a collection", info.peer_id).await;
}

/// What a client without the right key gets.
async fn refusals(qdrant: &Qdrant) {
    for key in [None, Some("another key")] {
        let stranger = qdrant.client(key);
        let error = stranger.cluster().await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unauthorized { .. }),
            "{error:?}"
        );
        assert!(error.is_somebody_alive());
        stranger.healthz().await.unwrap();
        assert!(stranger.readyz().await.is_ok());
    }
}

async fn metadata(client: &Client) {
    for key in ["plain", "zone/of a?peer#%41"] {
        assert_eq!(client.metadata_key(key).await.unwrap(), None);
        let value = json!({ "zone": "a", "since": 7 });
        client.put_metadata_key(key, &value, true).await.unwrap();
        assert_eq!(client.metadata_key(key).await.unwrap(), Some(value));
        assert_eq!(client.metadata_keys().await.unwrap(), [key]);
        client.delete_metadata_key(key, true).await.unwrap();
        assert_eq!(client.metadata_key(key).await.unwrap(), None);
        assert!(client.metadata_keys().await.unwrap().is_empty());
    }
}

async fn collection(qdrant: &mut Qdrant, client: &Client, name: &str, peer_id: u64) {
    let missing = client.collection_info(name).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");

    let with = CreateCollection {
        vectors: VectorParams {
            size: 2,
            distance: Distance::Dot,
        },
        shard_number: Some(2),
        replication_factor: Some(1),
        write_consistency_factor: Some(1),
    };
    client.create_collection(name, &with).await.unwrap();
    assert_eq!(
        client
            .create_collection(name, &with)
            .await
            .unwrap_err()
            .code(),
        Some(409)
    );
    assert_eq!(client.collections().await.unwrap(), [name]);

    let placed = qdrant
        .eventually("active shards", || async {
            let placed = client
                .collection_cluster(name)
                .await
                .map_err(|e| e.to_string())?;
            let active = placed
                .replicas()
                .filter(|replica| replica.state.is_active())
                .count();
            if active == 2 {
                Ok(placed)
            } else {
                Err(format!("{placed:?}"))
            }
        })
        .await;
    assert!(
        placed.replicas().all(|replica| replica.peer_id == peer_id),
        "{placed:?}"
    );
    assert!(placed.transfers.is_empty(), "{placed:?}");

    let payload = serde_json::Map::from_iter([("n".to_owned(), json!(7))]);
    let points: Vec<_> = (1..=5)
        .map(|id| Point {
            id: id.into(),
            vector: vec![0.5, 1.0],
            payload: payload.clone(),
        })
        .collect();
    for ordering in [None, Some(WriteOrdering::Weak), Some(WriteOrdering::Strong)] {
        let done = client
            .upsert_points(name, &points, true, ordering)
            .await
            .unwrap();
        assert_eq!(done.status, UpdateStatus::Completed);
    }
    let done = client
        .upsert_points(name, &points, false, Some(WriteOrdering::Medium))
        .await;
    assert_eq!(done.unwrap().status, UpdateStatus::Acknowledged);

    let three = NonZeroU32::new(3).unwrap();
    for consistency in [
        None,
        Some(ReadConsistency::Majority),
        Some(ReadConsistency::Quorum),
        Some(ReadConsistency::All),
        Some(ReadConsistency::Factor(NonZeroU32::MIN)),
    ] {
        assert_eq!(client.count(name, true, consistency).await.unwrap(), 5);
        let ids = [PointId::Num(2), PointId::Num(77)];
        let records = client.retrieve(name, &ids, consistency).await.unwrap();
        let read: Vec<_> = records
            .iter()
            .map(|record| record.payload.as_ref())
            .collect();
        assert_eq!(read, [Some(&payload)]);
        let first = client.scroll(name, None, three, consistency).await.unwrap();
        assert_eq!(first.next_page_offset, Some(PointId::Num(4)));
        let offset = first.next_page_offset.as_ref();
        let second = client
            .scroll(name, offset, three, consistency)
            .await
            .unwrap();
        assert_eq!((first.points.len(), second.points.len()), (3, 2));
        assert_eq!(second.next_page_offset, None);
    }

    // The count in the description is an estimate that may lag behind the last write.
    let info = qdrant
        .eventually("five points", || async {
            let info = client
                .collection_info(name)
                .await
                .map_err(|error| error.to_string())?;
            if info.points_count == Some(5) {
                Ok(info)
            } else {
                Err(format!("{info:?}"))
            }
        })
        .await;
    assert!(
        !matches!(info.status, CollectionStatus::Unknown(_)),
        "{info:?}"
    );
    assert_eq!(
        (info.params.shard_number, info.params.replication_factor),
        (2, 1)
    );

    assert!(client.delete_collection(name).await.unwrap());
    assert!(!client.delete_collection(name).await.unwrap());
    assert!(client.collections().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_node_without_a_cluster_says_so() {
    let Some(binary) = binary() else { return };
    let mut qdrant = Qdrant::start(&binary, false);
    let client = qdrant.client(Some(KEY));
    let cluster = qdrant
        .eventually("answer", || async {
            client.cluster().await.map_err(|e| e.to_string())
        })
        .await;
    assert_eq!(cluster, Cluster::Disabled);
    assert_eq!(
        client.remove_peer(7, false, 1).await.unwrap_err().code(),
        Some(405)
    );
    assert_eq!(client.metadata_keys().await.unwrap_err().code(), Some(405));
    assert_eq!(client.readyz().await.unwrap(), Readiness::Ready);

    let rest = qdrant.rest;
    drop(qdrant);
    // The connection that was kept may break first; a new one is refused.
    client.cluster().await.unwrap_err();
    let error = client.cluster().await.unwrap_err();
    assert!(error.is_connect_refused(), "{rest}: {error:?}");
}
