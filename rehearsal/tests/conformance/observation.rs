//! What can be seen from outside, and what it does not prove (traps T11, T14, T15).

use std::time::Instant;

use serde_json::json;

use crate::subject::{Lab, s, until};

/// A restarted member that is alone shows `null` first and 0 once it has asked for votes in vain.
async fn leader_is_null_then_zero(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes.iter_mut().for_each(|node| node.kill());
    let again = lab.node(2).start();
    let first = until("REST", s(20), async || again.cluster().await).await;
    assert_eq!(
        (first.leader, first.role.clone()),
        (None, None),
        "{first:?}"
    );
    let later = again
        .until_view("leader 0", 15, |v| v.leader.is_some())
        .await;
    assert_eq!(later.leader, Some(0), "{later:?}");
    assert_eq!(later.role.as_deref(), Some("Candidate"), "{later:?}");
}

/// Metadata: waits for our own copy only, is late elsewhere, null for what is not there.
async fn metadata_keys(lab: Lab) {
    let nodes = lab.cluster(3).await;
    let path = "/cluster/metadata/keys/generation";
    assert_eq!(nodes[1].get(path).await.result(), json!(null));
    let value = json!({"number": 1, "token": "t"});
    let put = nodes[1]
        .put(&format!("{path}?wait=true"), value.clone())
        .await;
    assert_eq!(put.result(), json!(true));
    assert_eq!(nodes[1].get(path).await.result(), value);
    assert_eq!(
        nodes[1].get("/cluster/metadata/keys").await.result(),
        json!(["generation"])
    );
    for node in &nodes {
        until("the key elsewhere", s(5), async || {
            let read = node.get(path).await.result();
            if read == value {
                Ok(())
            } else {
                Err(read.to_string())
            }
        })
        .await;
    }
    nodes[2].delete(&format!("{path}?wait=true")).await.result();
    assert_eq!(nodes[2].get(path).await.result(), json!(null));
    nodes[0]
        .put(&format!("{path}?wait=true"), json!(2))
        .await
        .result();
    nodes[0]
        .put(&format!("{path}?wait=true"), json!(null))
        .await
        .result();
    assert_eq!(
        nodes[0].get("/cluster/metadata/keys").await.result(),
        json!([])
    );
}

/// Ready once, ready for ever: a lost quorum does not show.
async fn readyz_is_a_latch(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    let ready = async || {
        let answer = nodes[1].get("/readyz").await;
        match answer.status {
            200 => Ok(()),
            503 => Err(format!("{answer:?}")),
            other => panic!("/readyz answered {other}"),
        }
    };
    until("ready", s(20), ready).await;
    nodes[0].kill();
    nodes[1]
        .until_view("no leader", 15, |v| v.leader == Some(0))
        .await;
    for path in ["/readyz", "/healthz", "/livez"] {
        assert_eq!(nodes[1].get(path).await.status, 200, "{path}");
    }
}

/// Failed deliveries are kept by address, also after the peer was removed.
async fn failures_outlive_the_peer(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let leader = nodes[0].view().await.leader.unwrap();
    assert_eq!(leader, nodes[0].view().await.id, "the first peer leads");
    let gone = nodes[2].view().await.id;
    nodes[2].kill();
    let uri = format!("{}/", lab.uri(3));
    nodes[0]
        .until_view("a failure", 15, |v| v.failures.get(&uri).is_some())
        .await;
    assert_eq!(
        nodes[0]
            .delete(&format!("/cluster/peer/{gone}"))
            .await
            .status,
        200
    );
    let view = nodes[0]
        .until_view("removed", 10, |v| v.peers.len() == 2)
        .await;
    let failure = &view.failures[&uri];
    assert!(failure["count"].as_u64() >= Some(1), "{view:?}");
    assert!(failure["latest_error"].is_string(), "{view:?}");
}

/// What collections were created with is said at once while most holders of a shard hang and the
/// description of the collection waits for them (T9).
async fn parameters_are_told_beside_holders_that_hang(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(2, 2, 10).await;
    nodes[0].write(0..10).await;
    for node in &nodes[1..] {
        node.pause();
    }
    let began = Instant::now();
    let told = nodes[0].get("/telemetry?details_level=2").await.result();
    let took = began.elapsed();
    assert!(took < s(1), "{took:?}");
    assert!(told["app"]["version"].is_string(), "{told}");
    let all = &told["collections"]["collections"];
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(all[0]["id"], "c", "{told}");
    let params = &all[0]["config"]["params"];
    assert_eq!(params["shard_number"], 2, "{told}");
    assert_eq!(params["replication_factor"], 2, "{told}");
    assert_eq!(params["write_consistency_factor"], 1, "{told}");
    for node in &nodes[1..] {
        node.resume();
    }
}

crate::behaviours!(
    leader_is_null_then_zero,
    parameters_are_told_beside_holders_that_hang,
    metadata_keys,
    readyz_is_a_latch,
    failures_outlive_the_peer,
);
