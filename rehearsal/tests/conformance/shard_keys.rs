//! Custom sharding: shards that a user's key makes, at any time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::points;
use crate::subject::{Answer, Lab, Node, s, until};

const SHARDS: &str = "/collections/c/shards";

impl Node {
    /// A collection `c` with custom sharding.
    async fn create_custom(&self, factor: u64) {
        let body = json!({
            "vectors": {"size": 1, "distance": "Dot"},
            "sharding_method": "custom",
            "replication_factor": factor,
        });
        let answer = self.put("/collections/c", body).await;
        assert_eq!(answer.result(), json!(true));
    }

    /// Ask for a key.
    async fn ask_key(&self, request: Value) -> Answer {
        self.put(SHARDS, request).await
    }

    /// Create a key.
    async fn key(&self, request: Value) {
        assert_eq!(self.ask_key(request).await.result(), json!(true));
    }

    /// Delete a key.
    async fn drop_key(&self, key: &str) -> Answer {
        let request = json!({"shard_key": key});
        self.post("/collections/c/shards/delete", request).await
    }

    /// Write points with a key, and wait.
    async fn write_to(&self, key: Value, ids: std::ops::Range<u64>) -> Answer {
        let mut request = points(ids);
        request["shard_key"] = key;
        self.put("/collections/c/points?wait=true", request).await
    }

    /// Count the points of a key.
    async fn count_of(&self, key: Value) -> Answer {
        let request = json!({"exact": true, "shard_key": key});
        self.post("/collections/c/points/count", request).await
    }

    /// The number of shards that `/collections/c/cluster` gives, and the key of each one listed.
    async fn keys_of_shards(&self) -> (u64, BTreeMap<u64, Value>) {
        let result = self.get("/collections/c/cluster").await.result();
        let lists = ["local_shards", "remote_shards"];
        let rows = lists.iter().flat_map(|l| result[*l].as_array().unwrap());
        let keys = rows.map(|row| (row["shard_id"].as_u64().unwrap(), row["shard_key"].clone()));
        (result["shard_count"].as_u64().unwrap(), keys.collect())
    }

    /// The same, as soon as this node has applied what gives so many shards.
    async fn until_shards(&self, wanted: u64) -> BTreeMap<u64, Value> {
        until("so many shards", s(10), async || {
            match self.keys_of_shards().await {
                (count, keys) if count == wanted => Ok(keys),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

/// A collection begins without a shard; each key has shards, points and copies of its own.
async fn a_key_has_its_own_shards(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create_custom(1).await;
    for node in &nodes {
        assert_eq!(node.keys_of_shards().await, (0, BTreeMap::new()));
        assert_eq!(node.count().await, Ok(0));
        let keys = node.get(SHARDS).await.result();
        assert_eq!(keys, json!({"shard_keys": []}));
    }
    let info = nodes[0].get("/collections/c").await.result();
    let params = &info["config"]["params"];
    assert_eq!(params["sharding_method"], "custom", "{info}");
    assert_eq!(params["shard_number"], 1, "{info}");

    let request = json!({"shard_key": "a", "shards_number": 2, "replication_factor": 2});
    nodes[0].key(request).await;
    nodes[1].key(json!({"shard_key": 7})).await;
    let expected = [(1, json!("a")), (2, json!("a")), (3, json!(7))];
    for node in &nodes {
        assert_eq!(node.until_shards(3).await, expected.clone().into());
        let replicas = node.replicas().await.unwrap();
        let of = |shard: u64| replicas.keys().filter(|key| key.0 == shard).count();
        assert_eq!([of(1), of(2), of(3)], [2, 2, 1], "{replicas:?}");
        assert!(replicas.values().all(|s| s == "Active"), "{replicas:?}");
    }
    let listed = nodes[0].get(SHARDS).await.result();
    let listed = listed["shard_keys"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.contains(&json!({"key": 7})), "{listed:?}");

    for (key, ids) in [(json!("a"), 0..20), (json!(7), 20..25)] {
        let answer = nodes[1].write_to(key, ids).await;
        assert_eq!(answer.result()["status"], "completed");
    }
    for node in &nodes {
        assert_eq!(node.count().await, Ok(25));
        for (key, count) in [(json!("a"), 20), (json!(7), 5), (json!(["a", 7]), 25)] {
            let counted = node.count_of(key.clone()).await.result();
            assert_eq!(counted["count"], count, "{key}");
        }
        let request = json!({"ids": [3, 21], "with_vector": false});
        let found = node.post("/collections/c/points", request).await.result();
        assert_eq!(found[0]["shard_key"], "a", "{found}");
        assert_eq!(found[1]["shard_key"], 7, "{found}");
        let request = json!({"ids": [3, 21], "shard_key": "a"});
        let found = node.post("/collections/c/points", request).await.result();
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        let request = json!({"limit": 100, "shard_key": 7});
        let page = node.post("/collections/c/points/scroll", request).await;
        assert_eq!(page.result()["points"].as_array().unwrap().len(), 5);
    }
}

/// What is refused, and how.
async fn refused_keys(lab: Lab) {
    let node = lab.founder().await;
    node.create_custom(1).await;
    let vectors = json!({"size": 1, "distance": "Dot"});
    let plain = node
        .put("/collections/plain", json!({"vectors": vectors}))
        .await;
    assert_eq!(plain.result(), json!(true));
    node.key(json!({"shard_key": "a"})).await;
    let peer = node.view().await.id;
    let refused = [
        (json!({"shard_key": "a"}), "already exists"),
        (
            json!({"shard_key": "b", "placement": []}),
            "cannot be empty",
        ),
        (
            json!({"shard_key": "b", "placement": [peer, 77]}),
            "Peer 77 does not exist",
        ),
        (json!({"shard_key": "b", "shards_number": 0}), "JSON body"),
        (
            json!({"shard_key": "b", "initial_state": "Dead"}),
            "Initial state cannot be Dead",
        ),
    ];
    let check = |what: &Value, answer: &Answer, text: &str| {
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(answer.error().contains(text), "{what}: {answer:?}");
    };
    for (request, text) in refused {
        check(&request, &node.ask_key(request.clone()).await, text);
    }
    check(&json!("b"), &node.drop_key("b").await, "does not exist");
    let auto = "Auto sharding method";
    let request = json!({"shard_key": "a"});
    let answer = node.put("/collections/plain/shards", request.clone()).await;
    check(&request, &answer, auto);
    let path = "/collections/plain/shards/delete";
    check(&request, &node.post(path, request.clone()).await, auto);
    let listed = node.get("/collections/plain/shards").await;
    assert!(listed.result()["shard_keys"].is_null());
    let answer = node.put("/collections/x/shards", request).await;
    assert_eq!(answer.status, 404, "{answer:?}");

    let answer = node
        .put("/collections/c/points?wait=true", points(0..1))
        .await;
    check(&json!(null), &answer, "Shard key not specified");
    let unknown = json!("b");
    let answer = node.write_to(unknown.clone(), 0..1).await;
    check(&unknown, &answer, "Shard key \"b\" not found");
    let answer = node.count_of(unknown.clone()).await;
    check(&unknown, &answer, "Shard key \"b\" not found");
}

/// A key takes its shards with it. Ids go on after the highest that is left: one that was deleted can
/// come back with another key, and is empty then.
async fn ids_of_a_deleted_key_come_back(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create_custom(2).await;
    for (at, key) in ["a", "b", "c"].iter().enumerate() {
        nodes[0].key(json!({"shard_key": key})).await;
        let ids = at as u64 * 10..at as u64 * 10 + 10;
        assert_eq!(nodes[0].write_to(json!(key), ids).await.status, 200);
    }
    for key in ["c", "a"] {
        assert_eq!(nodes[1].drop_key(key).await.result(), json!(true));
    }
    for node in &nodes {
        assert_eq!(node.until_shards(1).await, [(2, json!("b"))].into());
        assert_eq!(node.count().await, Ok(10));
    }
    nodes[1].key(json!({"shard_key": "d"})).await;
    for node in &nodes {
        let keys = node.until_shards(2).await;
        assert_eq!(keys, [(2, json!("b")), (3, json!("d"))].into());
        assert_eq!(node.count_of(json!("d")).await.result()["count"], 0);
        assert_eq!(node.count().await, Ok(10));
    }
}

/// Copies go where `placement` says, as many as there are peers in it. Without a number a key gets
/// what its collection wants at that moment, and keeps it.
async fn copies_of_a_key(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create_custom(1).await;
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(node.view().await.id);
    }
    let placement = [ids[1], ids[2]];
    let request = json!({"shard_key": "a", "replication_factor": 3, "placement": placement});
    nodes[0].key(request).await;
    nodes[0].key(json!({"shard_key": "b"})).await;
    let body = json!({"params": {"replication_factor": 3}});
    let answer = nodes[0].call("PATCH", "/collections/c", Some(body)).await;
    assert_eq!(answer.unwrap().result(), json!(true));
    nodes[0].key(json!({"shard_key": "c"})).await;
    let replicas = nodes[0].replicas().await.unwrap();
    let of = |shard: u64| {
        let of = replicas.keys().filter(|key| key.0 == shard);
        of.map(|key| key.1).collect::<Vec<u64>>()
    };
    let mut placed = placement.to_vec();
    placed.sort_unstable();
    assert_eq!(of(1), placed, "{replicas:?}");
    assert_eq!([of(2).len(), of(3).len()], [1, 3], "{replicas:?}");
}

/// A key that is created while a dead peer is listed may be placed on it. The answer is a failure when
/// the time is over, and the key is there all the same; the first write takes the dead copy out.
async fn a_key_beside_a_dead_peer(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create_custom(3).await;
    let dead = nodes[2].view().await.id;
    // Until then the copies of a new key are Active from the first moment.
    versions_known(&nodes[0], 3).await;
    nodes[2].kill();
    let path = format!("{SHARDS}?timeout=2");
    let answer = nodes[0].put(&path, json!({"shard_key": "a"})).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.error().contains("timed out"), "{answer:?}");
    let replicas = nodes[0].replicas().await.unwrap();
    assert_eq!(replicas[&(1, dead)], "Initializing", "{replicas:?}");
    let again = nodes[1].ask_key(json!({"shard_key": "a"})).await;
    assert_eq!(again.status, 400, "{again:?}");
    assert!(again.error().contains("already exists"), "{again:?}");
    written_without(&nodes, dead).await;
}

/// Wait until so many peers have made their version known.
async fn versions_known(node: &Node, wanted: usize) {
    until("all versions known", s(90), async || {
        match &node.spec.raft_state()["peer_metadata_by_id"] {
            Value::Object(known) if known.len() == wanted => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

/// A write to key `a`, whose only shard is 1, takes the dead copy out of service.
async fn written_without(nodes: &[Node], dead: u64) {
    let written = nodes[1].write_to(json!("a"), 0..10).await;
    assert_eq!(written.result()["status"], "completed");
    nodes[0].until_replica(1, dead, "Dead", 10).await;
    let counted = nodes[0].count_of(json!("a")).await.result();
    assert_eq!(counted["count"], 10);
}

/// Shards of a key are copied and dropped by their number as any other, and come back with their key
/// after a restart.
async fn shards_of_a_key_are_like_any_other(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[0].create_custom(1).await;
    let ids = [nodes[0].view().await.id, nodes[1].view().await.id];
    let request = json!({"shard_key": "a", "placement": [ids[0]]});
    nodes[0].key(request).await;
    assert_eq!(nodes[0].write_to(json!("a"), 0..50).await.status, 200);
    let cluster = "/collections/c/cluster";
    let route = json!({"shard_id": 1, "from_peer_id": ids[0], "to_peer_id": ids[1]});
    let answer = nodes[1]
        .post(cluster, json!({"replicate_shard": route}))
        .await;
    assert_eq!(answer.result(), json!(true));
    nodes[1].until_replica(1, ids[1], "Active", 30).await;
    assert_eq!(nodes[1].local_points().await, Ok(50));
    let request = json!({"drop_replica": {"shard_id": 1, "peer_id": ids[0]}});
    assert_eq!(nodes[1].post(cluster, request).await.result(), json!(true));
    nodes[1].kill();
    let spec = nodes[1].spec.clone();
    nodes[1] = spec.start();
    nodes[1].is_voter_among(2).await;
    nodes[1].until_replica(1, ids[1], "Active", 30).await;
    let keys = nodes[1].until_shards(1).await;
    assert_eq!(keys, [(1, json!("a"))].into());
    for node in &nodes {
        until("all points by their key", s(10), async || {
            let counted = node.count_of(json!("a")).await;
            match counted.body["result"]["count"].as_u64() {
                Some(50) => Ok(()),
                _ => Err(format!("{counted:?}")),
            }
        })
        .await;
    }
}

/// A shard whose last copy is gone stays in the number of shards and is listed nowhere. Questions to
/// all shards leave it out in silence, those to its key get no answer, and deleting the key ends it.
async fn a_key_without_any_copy(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create_custom(1).await;
    let (here, gone) = (nodes[0].view().await.id, nodes[2].view().await.id);
    for (key, peer, ids) in [("lost", gone, 0..10), ("kept", here, 10..15)] {
        let request = json!({"shard_key": key, "placement": [peer]});
        nodes[0].key(request).await;
        assert_eq!(nodes[0].write_to(json!(key), ids).await.status, 200);
    }
    assert_eq!(nodes[0].count().await, Ok(15));
    nodes[2].kill();
    let leads = |view: &crate::cluster::View| view.leader.is_some_and(|l| l != gone && l != 0);
    nodes[0].until_view("a leader that lives", 30, leads).await;
    nodes[0].force_out(gone).await;
    let keys = nodes[0].keys_of_shards().await;
    assert_eq!(keys, (2, [(2, json!("kept"))].into()));
    assert_eq!(nodes[0].count().await, Ok(5));
    let request = Some(json!({"exact": true, "shard_key": "lost"}));
    let path = "/collections/c/points/count";
    let answer = nodes[0].call("POST", path, request).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500));
    assert_eq!(nodes[0].drop_key("lost").await.result(), json!(true));
    let keys = nodes[0].until_shards(1).await;
    assert_eq!(keys, [(2, json!("kept"))].into());
}

crate::behaviours!(
    a_key_has_its_own_shards,
    refused_keys,
    ids_of_a_deleted_key_come_back,
    copies_of_a_key,
    a_key_beside_a_dead_peer,
    shards_of_a_key_are_like_any_other,
    a_key_without_any_copy,
);
