//! Each call against a small server that answers as Qdrant does: what is sent, what is read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod fake;

use fake::{call, fake, fake_result};
use qdrant_api::{
    Cluster, CollectionStatus, ConsensusThread, CreateCollection, Distance, ErrorKind, Point,
    PointId, ReadConsistency, Readiness, ReplicaState, Role, UpdateStatus, VectorParams,
    WriteOrdering,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_local_count_names_the_shard() {
    let (client, seen) = fake_result(json!({ "count": 7 })).await;
    assert_eq!(client.count_local("a", 3).await.unwrap(), 7);
    assert_eq!(call(&seen), "POST /collections/a/shards/3/points/count");
    let body = seen.lock().unwrap().body.clone();
    assert_eq!(body, Some(json!({ "exact": true })));
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
async fn what_collections_were_created_with_is_asked_of_the_node_alone() {
    let params = json!({
        "shard_number": 2, "replication_factor": 3, "write_consistency_factor": 1,
        "vectors": { "size": 4, "distance": "Dot" },
    });
    let (client, seen) = fake_result(json!({
        "id": "x",
        "app": { "name": "qdrant", "version": "1.19.0" },
        "collections": { "number_of_collections": 3, "collections": [
            { "id": "a", "config": { "params": params, "uuid": null } },
            { "id": "of a later version", "config": { "params": {} } },
            { "id": "without", "init_time_ms": 1 },
        ] },
    }))
    .await;
    let all = client.collection_params().await.unwrap();
    assert_eq!(call(&seen), "GET /telemetry?details_level=2");
    let factors: Vec<_> = all
        .iter()
        .map(|(name, p)| (name.as_str(), p.replication_factor))
        .collect();
    assert_eq!(factors, [("a", 3)]);

    assert_eq!(client.version().await.unwrap(), "1.19.0");

    let (client, _) = fake_result(json!({ "id": "x", "collections": {} })).await;
    client.collection_params().await.unwrap_err();
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
