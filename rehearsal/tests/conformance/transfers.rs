//! Copying and moving shards (trap T9).

use std::time::Instant;

use serde_json::json;

use crate::subject::{Lab, s, until};

const CLUSTER: &str = "/collections/c/cluster";

/// A copy is made, then one of the two may go, the last may not.
async fn replicate_then_drop(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    nodes[0].write(0..100).await;
    let before = nodes[0].replicas().await.unwrap();
    let from = before.keys().next().unwrap().1;
    let ids = [nodes[0].view().await.id, nodes[1].view().await.id];
    let to = *ids.iter().find(|id| **id != from).unwrap();
    let target = &nodes[ids.iter().position(|id| *id == to).unwrap()];

    let route = json!({"shard_id": 0, "from_peer_id": from, "to_peer_id": to});
    let answer = nodes[0]
        .post(CLUSTER, json!({"replicate_shard": route}))
        .await;
    assert_eq!(answer.result(), json!(true));
    nodes[0].until_replica(0, to, "Active", 30).await;
    target.until_replica(0, to, "Active", 10).await;
    assert_eq!(target.local_points().await, Ok(100));

    let drop = |peer: u64| json!({"drop_replica": {"shard_id": 0, "peer_id": peer}});
    assert_eq!(
        nodes[0].post(CLUSTER, drop(from)).await.result(),
        json!(true)
    );
    assert_eq!(nodes[0].count().await, Ok(100));
    let answer = nodes[0].post(CLUSTER, drop(to)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.error().contains("at least one active replica"),
        "{answer:?}"
    );
}

/// A move leaves one copy, on the target.
async fn move_takes_the_source_away(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    nodes[0].write(0..10).await;
    let from = nodes[0].replicas().await.unwrap().keys().next().unwrap().1;
    let ids = [nodes[0].view().await.id, nodes[1].view().await.id];
    let to = *ids.iter().find(|id| **id != from).unwrap();
    let route = json!({"shard_id": 0, "from_peer_id": from, "to_peer_id": to});
    nodes[1]
        .post(CLUSTER, json!({"move_shard": route}))
        .await
        .result();
    nodes[1].until_replica(0, to, "Active", 30).await;
    // The target is shown as Active a moment before the source has gone.
    until("one replica", s(10), async || {
        match nodes[1].replicas().await? {
            after if after.len() == 1 && after.contains_key(&(0, to)) => Ok(()),
            after => Err(format!("{after:?}")),
        }
    })
    .await;
    for node in &nodes {
        assert_eq!(node.count().await, Ok(10));
    }
}

/// What is refused, and how.
async fn refused_changes(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    let holder = nodes[0].replicas().await.unwrap().keys().next().unwrap().1;
    let route = |shard: u64, from: u64, to: u64| json!({"shard_id": shard, "from_peer_id": from, "to_peer_id": to});
    let requests = [
        (
            json!({"replicate_shard": route(0, holder, 77)}),
            400,
            "Peer 77 does not exist",
        ),
        (
            json!({"replicate_shard": route(9, holder, holder)}),
            422,
            "",
        ),
        (
            json!({"abort_transfer": route(0, holder, 77)}),
            404,
            "does not exist",
        ),
        (
            json!({"drop_replica": {"shard_id": 0, "peer_id": 77}}),
            400,
            "Peer 77 does not exist",
        ),
    ];
    for (request, status, text) in requests {
        let answer = nodes[0].post(CLUSTER, request.clone()).await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert!(
            answer.body.to_string().contains(text),
            "{request}: {answer:?}"
        );
    }
    let answer = nodes[0]
        .post(
            "/collections/x/cluster",
            json!({"drop_replica": {"shard_id": 0, "peer_id": holder}}),
        )
        .await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

/// A listed peer that cannot be reached costs a transfer ten seconds.
async fn dead_address_delays_a_transfer(lab: Lab) {
    let mut nodes = lab.cluster(4).await;
    nodes[0].create(1, 1, 10).await;
    nodes[0].write(0..10).await;
    let from = nodes[0].replicas().await.unwrap().keys().next().unwrap().1;
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(node.view().await.id);
    }
    // Neither the source, nor the first, nor the target.
    let dead = (1..4).rev().find(|at| ids[*at] != from).unwrap();
    let to = (1..4).find(|at| *at != dead && ids[*at] != from).unwrap();
    nodes[dead].kill();
    let start = Instant::now();
    let route = json!({"shard_id": 0, "from_peer_id": from, "to_peer_id": ids[to]});
    nodes[0]
        .post(CLUSTER, json!({"replicate_shard": route}))
        .await
        .result();
    nodes[0].until_replica(0, ids[to], "Active", 60).await;
    let took = start.elapsed();
    assert!((s(8)..s(40)).contains(&took), "took {took:?}");
}

crate::behaviours!(
    replicate_then_drop,
    move_takes_the_source_away,
    refused_changes,
    dead_address_delays_a_transfer,
);
