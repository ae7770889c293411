//! What a collection is said to be, and that an equal one can be made from it: configuration,
//! payload indexes, other names.

use qdrant_api::{Alias, AliasChange, Client, Description, ShardKey, UpdateStatus};
use serde_json::{Value, json};

use crate::subject::{Lab, Node, s, until};

const INDEX: &str = "/collections/c/index";

impl Node {
    fn api(&self) -> Client {
        let address = std::net::SocketAddr::from((self.spec.ip, 6333));
        Client::new(address.try_into().unwrap(), None, s(60)).unwrap()
    }

    /// Counts what a name means, and gives the status of a refusal.
    async fn count_in(&self, name: &str) -> Result<u64, Option<u16>> {
        let counted = self.api().count(name, true, None).await;
        counted.map_err(|why| why.code())
    }

    /// A collection of that name with so many points.
    async fn filled(&self, name: &str, points: u64) {
        let body = json!({"vectors": {"size": 1, "distance": "Dot"}, "shard_number": 1});
        let path = format!("/collections/{name}");
        assert_eq!(self.put(&path, body).await.result(), json!(true));
        if points > 0 {
            let path = format!("{path}/points?wait=true");
            let written = self.put(&path, crate::cluster::points(0..points)).await;
            assert_eq!(written.result()["status"], "completed");
        }
    }

    /// Make an index and wait for it.
    async fn index(&self, collection: &str, field: &str, schema: &Value) {
        let client = self.api();
        let made = client
            .create_index(collection, field, schema, true, 10)
            .await;
        assert_eq!(made.unwrap().status, UpdateStatus::Completed);
    }

    /// Change aliases by a raw request.
    async fn alias(&self, actions: Value) -> crate::subject::Answer {
        let request = json!({"actions": actions});
        self.post("/collections/aliases", request).await
    }

    /// What `payload_schema` says of `c`, once it is this.
    async fn until_indexes(&self, wanted: Value) {
        until("the indexes", s(20), async || {
            let answer = self.call("GET", "/collections/c", None).await?;
            match &answer.body["result"]["payload_schema"] {
                shown if *shown == wanted => Ok(()),
                other => Err(format!("{} {other}", answer.status)),
            }
        })
        .await;
    }
}

fn give(alias: &str, collection: &str) -> Value {
    json!({"create_alias": {"alias_name": alias, "collection_name": collection}})
}

/// One of each kind of setting.
fn everything() -> Value {
    json!({
        "vectors": {
            "image": {
                "size": 4, "distance": "Dot", "on_disk": true, "datatype": "float16",
                "hnsw_config": {"m": 24, "on_disk": true},
                "quantization_config": {
                    "scalar": {"type": "int8", "quantile": 0.99, "always_ram": true},
                },
            },
            "words": {
                "size": 8, "distance": "Cosine", "multivector_config": {"comparator": "max_sim"},
            },
        },
        "sparse_vectors": {"text": {"index": {"full_scan_threshold": 500}, "modifier": "idf"}},
        "shard_number": 2,
        "replication_factor": 2,
        "write_consistency_factor": 2,
        "on_disk_payload": false,
        "hnsw_config": {"m": 32, "payload_m": 8, "ef_construct": 123},
        "optimizers_config": {
            "default_segment_number": 2, "indexing_threshold": 20000,
            "max_optimization_threads": 1, "flush_interval_sec": 7,
        },
        "wal_config": {"wal_capacity_mb": 2, "wal_segments_ahead": 1},
        "quantization_config": {"binary": {"always_ram": true}},
        "strict_mode_config": {"enabled": true, "max_query_limit": 1000, "max_timeout": 60},
        "metadata": {"made_by": "a test", "numbers": [1, 2]},
    })
}

/// Make `d` from what `c` is said to be, and say what differs.
async fn again(node: &Node) -> (Description, Vec<String>) {
    let client = node.api();
    let described = client.describe_collection("c").await.unwrap();
    let recreation = described.recreation().unwrap();
    client
        .create_collection_from("d", &recreation, 10)
        .await
        .unwrap();
    for (field, index) in &described.indexes {
        node.index("d", field, &index.schema()).await;
    }
    let new = client.describe_collection("d").await.unwrap();
    let differences = described.differences(&new);
    (described, differences)
}

/// Described and made again under another name, a collection is described equal, by every node.
async fn a_described_collection_is_made_again_equal(lab: Lab) {
    let nodes = lab.cluster(2).await;
    let made = nodes[0].put("/collections/c", everything()).await;
    assert_eq!(made.result(), json!(true));
    let path = "/collections/c?timeout=10";
    let fan_out = json!({"params": {"read_fan_out_factor": 1, "read_fan_out_delay_ms": 50}});
    let changed = nodes[0].call("PATCH", path, Some(fan_out)).await.unwrap();
    assert_eq!(changed.result(), json!(true));
    for (field, schema) in [
        ("by_type", json!("keyword")),
        (
            "nested.n",
            json!({"type": "integer", "range": false, "lookup": true}),
        ),
        (
            "text",
            json!({"type": "text", "min_token_len": 2, "lowercase": false}),
        ),
        (
            "\"with space\".x",
            json!({"type": "float", "on_disk": true}),
        ),
    ] {
        nodes[1].index("c", field, &schema).await;
    }
    let (described, differences) = again(&nodes[0]).await;
    assert_eq!(differences, [""; 0]);
    assert_eq!(described.indexes.len(), 4, "{described:?}");
    let config = &described.config;
    for (path, wanted) in [
        ("/params/shard_number", json!(2)),
        ("/params/read_fan_out_factor", json!(1)),
        ("/params/on_disk_payload", json!(false)),
        ("/params/vectors/image/hnsw_config/m", json!(24)),
        ("/params/sparse_vectors/text/modifier", json!("idf")),
        ("/hnsw_config/payload_m", json!(8)),
        ("/hnsw_config/full_scan_threshold", json!(10000)),
        ("/optimizer_config/max_optimization_threads", json!(1)),
        ("/wal_config/wal_capacity_mb", json!(2)),
        ("/quantization_config/binary/always_ram", json!(true)),
        ("/strict_mode_config/max_query_limit", json!(1000)),
        ("/metadata/made_by", json!("a test")),
    ] {
        assert_eq!(config.pointer(path), Some(&wanted), "{path} in {config}");
    }
    let there = nodes[1].api().describe_collection("d").await.unwrap();
    assert_eq!(described.differences(&there), [""; 0]);
}

/// The same of a collection that leaves all it can open, and of a node that holds nothing of it and
/// has to ask.
async fn a_plain_collection_is_made_again_equal(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    for node in &nodes {
        let (described, differences) = again(node).await;
        assert_eq!(differences, [""; 0]);
        let other = nodes[0].api().describe_collection("c").await.unwrap();
        assert_eq!(described.differences(&other), [""; 0]);
        assert!(node.api().delete_collection("d").await.unwrap());
        for node in &nodes {
            until("d is gone", s(10), async || {
                let all = node.api().collections().await;
                match all.map_err(|why| why.to_string())?.as_slice() {
                    [only] if only == "c" => Ok(()),
                    all => Err(format!("{all:?}")),
                }
            })
            .await;
        }
    }
}

/// With custom sharding the keys are listed, and a key gets the indexes that are there already.
async fn a_key_gets_the_indexes(lab: Lab) {
    let node = lab.founder().await;
    let body = json!({
        "vectors": {"size": 1, "distance": "Dot"}, "sharding_method": "custom",
    });
    assert_eq!(node.put("/collections/c", body).await.result(), json!(true));
    let client = node.api();
    assert_eq!(client.shard_keys("c").await.unwrap(), Some(Vec::new()));
    let schema = json!("keyword");
    let made = client.create_index("c", "a", &schema, true, 10).await;
    // There is nobody who could complete it.
    assert_eq!(made.unwrap().status, UpdateStatus::Acknowledged);
    let shown = json!({"a": {"data_type": "keyword", "points": 0}});
    node.until_indexes(shown.clone()).await;
    for key in [json!("eu"), json!(7)] {
        let made = node.put("/collections/c/shards", json!({"shard_key": key}));
        assert_eq!(made.await.result(), json!(true));
    }
    node.until_indexes(shown).await;
    let mut keys = client.shard_keys("c").await.unwrap().unwrap();
    keys.sort();
    let wanted = [ShardKey::Number(7), ShardKey::Keyword("eu".into())];
    assert_eq!(keys, wanted);
    let described = client.describe_collection("c").await.unwrap();
    let recreation = described.recreation().unwrap();
    assert_eq!(recreation.create["sharding_method"], "custom");
    let made = client.create_collection_from("d", &recreation, 10).await;
    made.unwrap();
    let new = client.describe_collection("d").await.unwrap();
    assert_eq!(described.differences(&new), ["payload_schema.a"]);
    node.filled("plain", 0).await;
    assert_eq!(client.shard_keys("plain").await.unwrap(), None);
}

/// An index is shown with its parameters and the points it has, by old replicas and new ones, after
/// a restart too.
async fn an_index_outlives_restarts_and_moves(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[0].create(1, 2, 10).await;
    nodes[0].write(0..30).await;
    let schema = json!({"type": "integer", "range": false});
    nodes[1].index("c", "n", &schema).await;
    let by_type = json!({"field_name": "other", "field_schema": "uuid"});
    let made = nodes[0].put(&format!("{INDEX}?wait=true"), by_type).await;
    assert_eq!(made.result()["status"], "completed");
    let params = json!({"type": "integer", "lookup": null, "range": false, "is_principal": null});
    let shown = json!({
        "n": {"data_type": "integer", "params": params, "points": 30},
        "other": {"data_type": "uuid", "points": 0},
    });
    for node in &nodes {
        node.until_indexes(shown.clone()).await;
    }
    nodes.iter_mut().for_each(|node| node.kill());
    let nodes: Vec<Node> = (1..=2).map(|n| lab.node(n).start()).collect();
    for node in &nodes {
        node.is_voter_among(2).await;
        node.until_indexes(shown.clone()).await;
    }
    let third = lab.node(3).join(&lab.uri(1)).start_joined().await;
    let to = third.is_voter_among(3).await.id;
    let from = nodes[0].view().await.id;
    let route = json!({"shard_id": 0, "from_peer_id": from, "to_peer_id": to});
    let request = json!({"replicate_shard": route});
    let begun = nodes[0].post("/collections/c/cluster", request).await;
    assert_eq!(begun.result(), json!(true));
    third.until_replica(0, to, "Active", 30).await;
    third.until_indexes(shown).await;

    let path = format!("{INDEX}/n?wait=true");
    assert_eq!(third.delete(&path).await.result()["status"], "completed");
    let left = json!({"other": {"data_type": "uuid", "points": 0}});
    for node in nodes.iter().chain([&third]) {
        node.until_indexes(left.clone()).await;
    }
    // One that is not there is no error.
    assert_eq!(third.delete(&path).await.result()["status"], "completed");
}

/// An index of another kind takes the place of the one that its field had.
async fn an_index_is_made_anew(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    node.write(0..10).await;
    for (schema, shown) in [
        (
            json!("keyword"),
            json!({"data_type": "keyword", "points": 0}),
        ),
        (
            json!("integer"),
            json!({"data_type": "integer", "points": 10}),
        ),
    ] {
        node.index("c", "n", &schema).await;
        node.until_indexes(json!({"n": shown})).await;
    }
}

/// What is no index is refused, and nothing is left behind.
async fn refused_indexes(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    for body in [
        json!({"field_name": "a", "field_schema": "sparkle"}),
        json!({"field_name": "a", "field_schema": {"type": "sparkle"}}),
        json!({"field_name": "a", "field_schema": {"type": "keyword", "is_tenant": 7}}),
        json!({"field_name": "a b", "field_schema": "keyword"}),
        json!({"field_name": "", "field_schema": "keyword"}),
        json!({"field_schema": "keyword"}),
        json!({"field_name": "a"}),
    ] {
        let refused = node.put(INDEX, body.clone()).await;
        assert_eq!(refused.status, 400, "{body}: {refused:?}");
        assert!(!refused.error().is_empty(), "{body}");
    }
    let body = json!({"field_name": "a", "field_schema": "keyword"});
    let nowhere = node.put("/collections/nowhere/index", body).await;
    assert_eq!(nowhere.status, 404, "{nowhere:?}");
    assert_eq!(
        node.delete("/collections/nowhere/index/a").await.status,
        404
    );
    node.until_indexes(json!({})).await;
}

/// An alias is listed everywhere and goes from one collection to the next at one moment: whoever
/// reads meanwhile finds the one or the other.
async fn aliases_move_at_one_moment(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].filled("old", 10).await;
    nodes[0].filled("new", 20).await;
    let alias = |name: &str, collection: &str| Alias {
        alias_name: name.into(),
        collection_name: collection.into(),
    };
    let give = |collection: &str| AliasChange::Create(alias("now", collection));
    let take = || AliasChange::Delete {
        alias_name: "now".into(),
    };
    let client = nodes[0].api();
    client.set_aliases(&[give("old")], 10).await.unwrap();
    for node in &nodes {
        let listed = node.api().aliases().await.unwrap();
        assert_eq!(listed, [alias("now", "old")]);
        assert_eq!(node.count_in("now").await, Ok(10));
    }
    let moves = async {
        for to in ["new", "old"].into_iter().cycle().take(21) {
            client.set_aliases(&[take(), give(to)], 10).await.unwrap();
        }
    };
    let reads = async {
        loop {
            for node in &nodes {
                let found = node.count_in("now").await;
                assert!(matches!(found, Ok(10 | 20)), "{found:?}");
            }
        }
    };
    tokio::select! {
        () = moves => {}
        _ = reads => {}
    }
    for node in &nodes {
        assert_eq!(node.count_in("now").await, Ok(20));
        let of = node.get("/collections/new/aliases").await.result();
        let wanted = json!([{"alias_name": "now", "collection_name": "new"}]);
        assert_eq!(of["aliases"], wanted);
        let of = node.get("/collections/old/aliases").await.result();
        assert_eq!(of["aliases"], json!([]));
    }
    let changed = nodes[1].alias(json!([
        {"rename_alias": {"old_alias_name": "now", "new_alias_name": "then"}},
    ]));
    assert_eq!(changed.await.result(), json!(true));
    assert_eq!(client.aliases().await.unwrap(), [alias("then", "new")]);
    assert_eq!(nodes[0].count_in("now").await, Err(Some(404)));
}

/// Where an alias stands for its collection.
async fn an_alias_is_a_name(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    assert_eq!(
        node.alias(json!([give("a", "c")])).await.result(),
        json!(true)
    );
    let written = node.put(
        "/collections/a/points?wait=true",
        crate::cluster::points(0..7),
    );
    assert_eq!(written.await.result()["status"], "completed");
    assert_eq!(node.count_in("c").await, Ok(7));
    node.index("a", "n", &json!("integer")).await;
    let of = [
        node.api().describe_collection("a").await.unwrap(),
        node.api().describe_collection("c").await.unwrap(),
    ];
    assert_eq!(of[0], of[1]);
    assert!(of[0].indexes.contains_key("n"), "{of:?}");
    let placed = node.api().collection_cluster("a").await.unwrap();
    assert_eq!(placed.local_shards.len(), 1, "{placed:?}");
    assert_eq!(node.api().collections().await.unwrap(), ["c"]);
    // Not where collections are deleted.
    assert!(!node.api().delete_collection("a").await.unwrap());
    assert_eq!(node.count_in("a").await, Ok(7));
}

/// What is refused; the steps before a refused one stay.
async fn refused_aliases(lab: Lab) {
    let node = lab.founder().await;
    node.filled("c", 0).await;
    node.filled("d", 0).await;
    let rename = json!({"rename_alias": {"old_alias_name": "x", "new_alias_name": "y"}});
    for (actions, status, why) in [
        (json!([give("a", "nowhere")]), 404, "doesn't exist"),
        (json!([give("c", "d")]), 409, "already exists"),
        (json!([rename]), 404, "does not exist"),
        (json!([{"sparkle": {}}]), 400, "Format error"),
        (
            json!([give("a", "c"), give("b", "nowhere"), give("e", "c")]),
            404,
            "doesn't exist",
        ),
        // An alias is no collection that another one could stand for.
        (json!([give("b", "a")]), 404, "doesn't exist"),
    ] {
        let refused = node.alias(actions.clone()).await;
        assert_eq!(refused.status, status, "{actions}: {refused:?}");
        assert!(refused.error().contains(why), "{actions}: {refused:?}");
    }
    let stayed = Alias {
        alias_name: "a".into(),
        collection_name: "c".into(),
    };
    assert_eq!(node.api().aliases().await.unwrap(), [stayed]);
    let body = json!({"vectors": {"size": 1, "distance": "Dot"}});
    let refused = node.put("/collections/a", body).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.error().contains("Alias with the same name"),
        "{refused:?}"
    );
    let unknown = json!([{"delete_alias": {"alias_name": "nobody"}}]);
    assert_eq!(node.alias(unknown).await.result(), json!(true));
    let of = node.get("/collections/nowhere/aliases").await.result();
    assert_eq!(of["aliases"], json!([]));
}

/// Aliases outlive restarts, reach who joins later, and vanish with their collection.
async fn aliases_vanish_with_their_collection(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[0].filled("c", 3).await;
    nodes[0].filled("d", 4).await;
    let given = json!([give("a", "c"), give("b", "c"), give("of_d", "d")]);
    assert_eq!(nodes[1].alias(given).await.result(), json!(true));
    nodes.iter_mut().for_each(|node| node.kill());
    let mut nodes: Vec<Node> = (1..=2).map(|n| lab.node(n).start()).collect();
    for node in &nodes {
        node.is_voter_among(2).await;
    }
    nodes.push(lab.node(3).join(&lab.uri(1)).start_joined().await);
    nodes[2].is_voter_among(3).await;
    let names = async |node: &Node, wanted: &[&str]| {
        until("the aliases", s(20), async || {
            let listed = node.api().aliases().await.map_err(|why| why.to_string())?;
            let mut names: Vec<String> = listed.into_iter().map(|a| a.alias_name).collect();
            names.sort();
            match names == wanted {
                true => Ok(()),
                false => Err(format!("{names:?}")),
            }
        })
        .await;
    };
    for node in &nodes {
        names(node, &["a", "b", "of_d"]).await;
    }
    assert!(nodes[2].api().delete_collection("c").await.unwrap());
    for node in &nodes {
        names(node, &["of_d"]).await;
        assert_eq!(node.count_in("a").await, Err(Some(404)));
        assert_eq!(node.count_in("of_d").await, Ok(4));
    }
    // The names are free.
    nodes[0].filled("a", 1).await;
    assert_eq!(nodes[0].count_in("a").await, Ok(1));
}

/// A collection has a uuid that every node knows and that its successor of the same name does not have,
/// and carries what was written into its metadata from its creation on, until that is taken off.
async fn a_collection_is_told_from_its_successor(lab: Lab) {
    let nodes = lab.cluster(2).await;
    let create = async |mark: &str| {
        let body = json!({"vectors": {"size": 1, "distance": "Dot"}, "shard_number": 1,
            "metadata": {"mark": mark, "theirs": 7}});
        let made = nodes[0].put("/collections/c", body).await;
        assert_eq!(made.result(), json!(true));
    };
    let seen = async |node: &Node, wanted: &Value| {
        until("the metadata", s(20), async || {
            let all = node.api().collection_identities().await;
            let all = all.map_err(|why| why.to_string())?;
            let there = all.get("c").ok_or("there is no c")?;
            let shown = json!(there.metadata);
            let uuid = there.uuid.clone().ok_or("it has no uuid")?;
            match shown == *wanted {
                true => Ok(uuid),
                false => Err(shown.to_string()),
            }
        })
        .await
    };
    create("one").await;
    let one = json!({"mark": "one", "theirs": 7});
    let first = seen(&nodes[0], &one).await;
    assert_eq!(seen(&nodes[1], &one).await, first);
    let unmark = async |key: &str| nodes[1].api().unmark_collection("c", key, 10).await;
    unmark("mark").await.unwrap();
    for node in &nodes {
        assert_eq!(seen(node, &json!({"theirs": 7})).await, first);
    }
    // Once more, and what was never there.
    unmark("mark").await.unwrap();
    unmark("other").await.unwrap();
    assert!(nodes[0].api().delete_collection("c").await.unwrap());
    create("two").await;
    let two = json!({"mark": "two", "theirs": 7});
    assert_ne!(seen(&nodes[1], &two).await, first);
    assert!(nodes[0].api().delete_collection("c").await.unwrap());
    let gone = unmark("mark").await.unwrap_err();
    assert_eq!(gone.code(), Some(404));
}

crate::behaviours!(
    a_collection_is_told_from_its_successor,
    a_described_collection_is_made_again_equal,
    a_plain_collection_is_made_again_equal,
    a_key_gets_the_indexes,
    an_index_outlives_restarts_and_moves,
    an_index_is_made_anew,
    refused_indexes,
    aliases_move_at_one_moment,
    an_alias_is_a_name,
    refused_aliases,
    aliases_vanish_with_their_collection,
);
