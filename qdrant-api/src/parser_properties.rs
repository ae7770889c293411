//! Properties of the parser: no body makes it panic, and fields that Qdrant may add change nothing.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::collections::Listing;
use crate::points::Counted;
use crate::{Cluster, CollectionCluster, CollectionInfo, Page, Record, UpdateResult, answer};

/// Bodies as Qdrant 1.19 writes them.
const BODIES: &[&str] = &[
    r#"{"result":{"status":"enabled","peer_id":4171372031583419,"peers":{"4171372031583419":{"uri":"http://127.0.1.1:6335/"},"77":{"uri":"/"}},"raft_info":{"term":3,"commit":21,"pending_operations":0,"leader":4171372031583419,"role":"Leader","is_voter":true},"consensus_thread_status":{"consensus_thread_status":"working","last_update":"2026-11-22T23:00:00.123456789Z"},"message_send_failures":{"http://127.0.1.2:6335/":{"count":3,"latest_error":"transport error","latest_error_timestamp":"2026-11-22T23:00:00Z"}}},"status":"ok","time":0.000004}"#,
    r#"{"result":{"status":"disabled"},"status":"ok","time":0.000004}"#,
    r#"{"result":{"peer_id":1,"shard_count":2,"local_shards":[{"shard_id":0,"points_count":10,"state":"Active"}],"remote_shards":[{"shard_id":1,"shard_key":"eu","peer_id":2,"state":"Partial"}],"shard_transfers":[{"shard_id":1,"from":1,"to":2,"sync":true,"method":"snapshot","comment":"half way"}]},"usage":{"hardware":null},"status":"ok","time":0.1}"#,
    r#"{"result":{"status":"green","optimizer_status":"ok","indexed_vectors_count":0,"points_count":10,"segments_count":2,"config":{"params":{"vectors":{"size":4,"distance":"Dot"},"shard_number":2,"replication_factor":2,"write_consistency_factor":1,"on_disk_payload":true},"hnsw_config":{"m":16}},"payload_schema":{}},"status":"ok","time":0.1}"#,
    r#"{"result":{"points":[{"id":1,"payload":{"n":1}},{"id":"5c56c793-69f3-4fbf-87e6-c4bf54c28c26","payload":null}],"next_page_offset":3},"status":"ok","time":0.1}"#,
    r#"{"result":{"collections":[{"name":"a"},{"name":"b c"}]},"status":"ok","time":0.1}"#,
    r#"{"result":{"operation_id":7,"status":"completed"},"status":"ok","time":0.1}"#,
    r#"{"result":{"count":7},"status":"ok","time":0.1}"#,
    r#"{"result":true,"status":"ok","time":0.1}"#,
    r#"{"status":{"error":"Waiting for consensus operation commit failed."},"time":10.0}"#,
];

/// Objects whose keys are data: a field added there would be a peer or a uri, or payload.
const KEYED_BY_DATA: &[&str] = &["peers", "message_send_failures", "payload"];

/// Reads a body as everything this crate reads. Panics only if the parser does.
fn parse_as_everything(body: &[u8]) -> Vec<String> {
    fn shown<T: DeserializeOwned + Debug>(body: &[u8]) -> String {
        match answer::parse::<T>(200, body) {
            Ok(value) => format!("{value:?}"),
            Err(kind) => format!("{}", matches!(kind, crate::ErrorKind::Malformed { .. })),
        }
    }
    vec![
        shown::<Cluster>(body),
        shown::<CollectionCluster>(body),
        shown::<CollectionInfo>(body),
        shown::<Page>(body),
        shown::<Vec<Record>>(body),
        shown::<UpdateResult>(body),
        shown::<Option<Value>>(body).is_empty().to_string(),
        shown::<Vec<String>>(body),
        shown::<bool>(body),
        answer::parse::<Listing>(200, body).is_ok().to_string(),
        answer::parse::<Counted>(200, body).is_ok().to_string(),
    ]
}

/// Any JSON, with numbers that no integer type holds and strings that mean something to Qdrant.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof![Just("enabled"), Just("Active"), Just("/"), Just("green")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_0-9]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every value inside `value`, itself included.
fn for_each_value(value: &mut Value, name: &str, act: &mut impl FnMut(&mut Value, &str)) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                for_each_value(inner, key, act);
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| for_each_value(inner, "", act)),
        _ => {}
    }
    act(value, name);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
        parse_as_everything(&body);
        answer::refusal(500, &body);
    }

    #[test]
    fn arbitrary_json_never_panics(result in any_json(), status in any_json()) {
        let body = serde_json::json!({ "result": result, "status": status }).to_string();
        parse_as_everything(body.as_bytes());
        answer::refusal(500, body.as_bytes());
    }

    #[test]
    fn real_bodies_with_damaged_bytes_never_panic(
        which in any::<Index>(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3), 1..8),
    ) {
        let mut body = BODIES[which.index(BODIES.len())].as_bytes().to_vec();
        for (at, byte, how) in damage {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at.max(1)),
            }
        }
        parse_as_everything(&body);
        answer::refusal(500, &body);
    }

    #[test]
    fn real_bodies_with_one_value_replaced_never_panic(
        which in any::<Index>(),
        at in any::<Index>(),
        replacement in any_json(),
    ) {
        let mut body: Value = serde_json::from_str(BODIES[which.index(BODIES.len())]).unwrap();
        let mut count = 0;
        for_each_value(&mut body, "", &mut |_, _| count += 1);
        let target = at.index(count);
        let mut seen = 0;
        for_each_value(&mut body, "", &mut |value, _| {
            if seen == target {
                *value = replacement.clone();
            }
            seen += 1;
        });
        parse_as_everything(body.to_string().as_bytes());
    }

    #[test]
    fn fields_that_qdrant_may_add_change_nothing(
        which in any::<Index>(),
        name in "zz_[a-z]{1,8}",
        extra in any_json(),
    ) {
        let mut body: Value = serde_json::from_str(BODIES[which.index(BODIES.len())]).unwrap();
        let before = parse_as_everything(body.to_string().as_bytes());
        for_each_value(&mut body, "", &mut |value, key| {
            if let Value::Object(map) = value && !KEYED_BY_DATA.contains(&key) {
                map.insert(name.clone(), extra.clone());
            }
        });
        prop_assert_eq!(before, parse_as_everything(body.to_string().as_bytes()));
    }
}

#[test]
fn every_body_is_understood_as_what_it_is() {
    let understood = |body: &str| {
        let body = body.as_bytes();
        [
            answer::parse::<Cluster>(200, body).is_ok(),
            answer::parse::<CollectionCluster>(200, body).is_ok(),
            answer::parse::<CollectionInfo>(200, body).is_ok(),
            answer::parse::<Page>(200, body).is_ok(),
            answer::parse::<Listing>(200, body).is_ok(),
            answer::parse::<UpdateResult>(200, body).is_ok(),
            answer::parse::<Counted>(200, body).is_ok(),
            answer::parse::<bool>(200, body).is_ok(),
        ]
    };
    let error = BODIES.len() - 1;
    for (which, body) in BODIES.iter().enumerate() {
        assert_eq!(understood(body).contains(&true), which != error, "{body}");
    }
}
