//! Streaming a shard and recovering replicas from the stream: what a set is made of and restored by.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use entrypoint::store::sha256;
use serde_json::json;
use tar::Archive;

use crate::subject::{Lab, Node, s, until};

/// The stream of a shard, whole.
async fn streamed(node: &Node, shard: u64) -> Vec<u8> {
    let path = format!("/collections/c/shards/{shard}/snapshot");
    let (status, bytes) = node.bytes(&path).await;
    assert_eq!(status, 200, "{}", node.tail());
    bytes
}

/// One file on a loopback address, until the test ends.
async fn served(bytes: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let file = axum::routing::get(move || async move { bytes });
    let app = axum::Router::new().route("/file", file);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}/file")
}

async fn recover(node: &Node, shard: u64, body: serde_json::Value) -> crate::subject::Answer {
    let path = format!("/collections/c/shards/{shard}/snapshots/recover?wait=true");
    node.put(&path, body).await
}

/// The archive has an end, and the files that a restore needs.
async fn a_stream_is_a_whole_archive(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    node.write(0..100).await;
    let bytes = streamed(&node, 0).await;
    assert_eq!(bytes.len() % 512, 0);
    assert_eq!(bytes[bytes.len() - 1024..], [0; 1024]);
    let mut archive = Archive::new(&bytes[..]);
    let names: BTreeSet<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    for name in [
        "replica_state.json",
        "shard_config.json",
        "newest_clocks.json",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(
        names.iter().any(|name| name.starts_with("segments/")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name.starts_with("wal/")),
        "{names:?}"
    );
}

/// A shard that is not here, one that does not exist, and no collection.
async fn streams_are_refused(lab: Lab) {
    let nodes = lab.cluster(2).await;
    let status = nodes[0]
        .get("/collections/c/shards/0/snapshot")
        .await
        .status;
    assert_eq!(status, 404);
    nodes[0].create(1, 1, 10).await;
    let holder = nodes[0].replicas().await.unwrap().keys().next().unwrap().1;
    let first = nodes[0].view().await.id;
    let other = &nodes[usize::from(holder == first)];
    let refused = other.get("/collections/c/shards/0/snapshot").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    // Plain text, unlike every other refusal.
    let text = refused.body.as_str().unwrap_or_default();
    assert!(text.contains("not a local"), "{refused:?}");
    let refused = other.get("/collections/c/shards/7/snapshot").await;
    assert_eq!(refused.status, 404, "{refused:?}");
}

/// The same file on every holder with `no_sync`: all Active, all with what the file holds, nothing
/// is transferred.
async fn one_file_restores_every_holder(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..100).await;
    let bytes = streamed(&nodes[1], 0).await;
    let checksum = sha256(&bytes);
    nodes[0].write(100..150).await;
    let deleted = nodes[0].delete("/collections/c?timeout=30").await;
    assert_eq!(deleted.result(), json!(true));
    nodes[0].create(1, 3, 10).await;
    let location = served(bytes).await;
    for node in &nodes {
        let body = json!({"location": location, "priority": "no_sync", "checksum": checksum});
        assert_eq!(recover(node, 0, body).await.result(), json!(true));
    }
    for node in &nodes {
        until("the replica as in the file", s(20), async || {
            let replicas = node.replicas().await?;
            let active = replicas.values().all(|state| state == "Active");
            match (active && replicas.len() == 3, node.local_points().await?) {
                (true, 100) => Ok(()),
                (_, points) => Err(format!("{points} points, {replicas:?}")),
            }
        })
        .await;
        assert_eq!(node.count().await, Ok(100));
    }
}

/// What is in a stream is what was acknowledged before it began; later writes are not.
async fn a_stream_is_the_state_at_its_start(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    node.write(0..50).await;
    let bytes = streamed(&node, 0).await;
    node.write(50..60).await;
    let location = served(bytes).await;
    let body = json!({"location": location, "priority": "no_sync"});
    assert_eq!(recover(&node, 0, body).await.result(), json!(true));
    until("the older state", s(20), async || {
        match node.count().await? {
            50 => Ok(()),
            now => Err(format!("{now}")),
        }
    })
    .await;
}

/// A wrong checksum, an archive that was cut off, a place where nothing is: refused, and the replica
/// is as it was.
async fn a_bad_file_is_refused(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    node.write(0..50).await;
    let bytes = streamed(&node, 0).await;
    let nowhere = "http://127.0.0.1:9/file";
    let whole = served(bytes.clone()).await;
    let cut = served(bytes[..bytes.len() / 2].to_vec()).await;
    for body in [
        json!({"location": whole, "checksum": sha256(b"another")}),
        json!({"location": cut, "checksum": sha256(&bytes)}),
        json!({"location": nowhere}),
    ] {
        let refused = recover(&node, 0, body.clone()).await;
        assert!((400..=500).contains(&refused.status), "{body}: {refused:?}");
        assert_eq!(node.count().await, Ok(50), "{body}");
    }
}

/// On a peer that holds no replica a file fetched by URL makes one: a restore must ask the holders
/// alone.
async fn a_file_makes_a_holder(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    nodes[0].write(0..20).await;
    let holder = nodes[0].replicas().await.unwrap().keys().next().unwrap().1;
    let at = usize::from(nodes[0].view().await.id != holder);
    let location = served(streamed(&nodes[at], 0).await).await;
    let body = json!({"location": location, "priority": "no_sync"});
    let other = &nodes[1 - at];
    assert_eq!(recover(other, 0, body).await.result(), json!(true));
    let id = other.view().await.id;
    other.until_replica(0, id, "Active", 20).await;
    assert_eq!(other.replicas().await.unwrap().len(), 2);
    assert_eq!(other.local_points().await, Ok(20));
}

/// Every start deletes `tmp` of the snapshots directory, also where temporary files have a directory of
/// their own and though others may be at work in there; what lies beside it stays. With our patch it leaves that
/// directory alone then.
async fn a_start_deletes_what_is_temporary_in_its_directories(lab: Lab) {
    let shared = lab.node(1).dir.with_file_name("shared");
    let there = |path: &str| {
        let path = shared.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "of another node").unwrap();
        path
    };
    let (others, own) = (there("tmp/other/part"), there("own/tmp/part"));
    let patched = lab.has_patch("durable-snapshot-paths");
    let kept = [
        there("c/c-1.snapshot"),
        there("c/c-1.tmp"),
        there("own/part"),
    ];
    let path = |path: &str| shared.join(path).display().to_string();
    let node = lab.node(1);
    let node = node.env("QDRANT__STORAGE__SNAPSHOTS_PATH", &path(""));
    let node = node.env("QDRANT__STORAGE__TEMP_PATH", &path("own")).start();
    node.leads_itself().await;
    assert_eq!(others.exists(), patched, "{}", node.tail());
    assert!(!own.exists(), "{}", node.tail());
    assert!(kept.iter().all(|path| path.exists()), "{}", node.tail());
}

crate::behaviours!(
    a_start_deletes_what_is_temporary_in_its_directories,
    a_stream_is_a_whole_archive,
    streams_are_refused,
    one_file_restores_every_holder,
    a_stream_is_the_state_at_its_start,
    a_bad_file_is_refused,
    a_file_makes_a_holder,
);
