//! The calls that describe a collection and make it again, against a small server that answers as
//! Qdrant does: what is sent, what is read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod fake;

use fake::{call, fake, fake_result};
use qdrant_api::{Alias, AliasChange, ErrorKind, PayloadIndex, Recreation, ShardKey, UpdateStatus};
use serde_json::{Value, json};

#[tokio::test]
async fn a_collection_is_described_with_its_indexes() {
    let config = json!({
        "params": {
            "shard_number": 2, "replication_factor": 3, "write_consistency_factor": 1,
            "vectors": { "size": 4, "distance": "Dot" },
        },
        "hnsw_config": { "m": 16 },
    });
    let (client, seen) = fake_result(json!({
        "status": "green", "points_count": 10, "config": config,
        "payload_schema": { "a": { "data_type": "keyword", "points": 10 } },
    }))
    .await;
    let described = client.describe_collection("b c").await.unwrap();
    assert_eq!(call(&seen), "GET /collections/b%20c");
    assert_eq!(described.config, config);
    assert_eq!(described.params.replication_factor, 3);
    let index = PayloadIndex {
        data_type: "keyword".into(),
        params: None,
    };
    assert_eq!(described.indexes, [("a".to_owned(), index)].into());

    let (client, _) = fake_result(json!({ "config": config })).await;
    let error = client.describe_collection("a").await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Malformed { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn shard_keys_are_words_or_numbers_or_none() {
    let (client, seen) =
        fake_result(json!({ "shard_keys": [{ "key": "eu" }, { "key": 7 }] })).await;
    let keys = client.shard_keys("a").await.unwrap();
    let wanted = [ShardKey::Keyword("eu".into()), ShardKey::Number(7)];
    assert_eq!(keys.as_deref(), Some(&wanted[..]));
    assert_eq!(call(&seen), "GET /collections/a/shards");

    // Qdrant leaves the field out with automatic sharding.
    for none in [json!({ "shard_keys": null }), json!({})] {
        let (client, _) = fake_result(none).await;
        assert_eq!(client.shard_keys("a").await.unwrap(), None);
    }
    let (client, _) = fake_result(json!({ "shard_keys": 7 })).await;
    client.shard_keys("a").await.unwrap_err();
}

#[tokio::test]
async fn indexes_are_made() {
    let (client, seen) = fake_result(json!({ "operation_id": 7, "status": "completed" })).await;
    let schema = json!({ "type": "integer", "range": false });
    let done = client.create_index("a", "b.c[]", &schema, true, 9).await;
    assert_eq!(done.unwrap().status, UpdateStatus::Completed);
    assert_eq!(call(&seen), "PUT /collections/a/index?wait=true&timeout=9");
    let body = seen.lock().unwrap().body.clone();
    let wanted = json!({ "field_name": "b.c[]", "field_schema": schema });
    assert_eq!(body, Some(wanted));
}

#[tokio::test]
async fn a_collection_is_made_again_by_one_request_or_two() {
    let (client, seen) = fake_result(json!(true)).await;
    let mut with = Recreation {
        create: json!({ "vectors": {} }),
        change: None,
    };
    client.create_collection_from("a", &with, 9).await.unwrap();
    assert_eq!(call(&seen), "PUT /collections/a?timeout=9");
    assert_eq!(seen.lock().unwrap().body.as_ref(), Some(&with.create));

    with.change = Some(json!({ "params": { "read_fan_out_factor": 2 } }));
    client.create_collection_from("a", &with, 9).await.unwrap();
    assert_eq!(call(&seen), "PATCH /collections/a?timeout=9");
    assert_eq!(seen.lock().unwrap().body, with.change);

    let refusal = json!({ "status": { "error": "there already" }, "time": 0.1 });
    let (client, seen) = fake(409, refusal.to_string()).await;
    let refused = client.create_collection_from("a", &with, 9).await;
    assert_eq!(refused.unwrap_err().code(), Some(409));
    assert_eq!(call(&seen), "PUT /collections/a?timeout=9");
}

#[tokio::test]
async fn aliases_are_listed_and_changed_at_once() {
    let alias = Alias {
        alias_name: "now".into(),
        collection_name: "a".into(),
    };
    let listed = json!({ "aliases": [{ "alias_name": "now", "collection_name": "a" }] });
    let (client, seen) = fake_result(listed).await;
    let listed = client.aliases().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&alias));
    assert_eq!(seen.lock().unwrap().api_key.as_deref(), Some("s3cret"));
    assert_eq!(call(&seen), "GET /aliases");
    let (client, _) = fake_result(Value::Null).await;
    client.aliases().await.unwrap_err();

    let (client, seen) = fake_result(json!(true)).await;
    let gone = AliasChange::Delete {
        alias_name: "then".into(),
    };
    let changes = [gone, AliasChange::Create(alias)];
    client.set_aliases(&changes, 5).await.unwrap();
    assert_eq!(call(&seen), "POST /collections/aliases?timeout=5");
    let wanted = json!({ "actions": [
        { "delete_alias": { "alias_name": "then" } },
        { "create_alias": { "alias_name": "now", "collection_name": "a" } },
    ] });
    assert_eq!(seen.lock().unwrap().body, Some(wanted));
}
