//! Removing peers: what is checked and what is not (traps T5, T6).

use serde_json::json;

use crate::subject::Lab;

/// A peer with replicas is not removed without force; an unknown id is "removed" with 200.
async fn removal_refuses_holders_only(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 2, 10).await;
    let id = nodes[1].view().await.id;
    let answer = nodes[0].delete(&format!("/cluster/peer/{id}")).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.error().contains("as there are shards on it"),
        "{answer:?}"
    );
    assert_eq!(
        nodes[0].delete("/cluster/peer/4242").await.result(),
        json!(true)
    );
    assert_eq!(nodes[0].view().await.peers.len(), 2);
}

/// A live peer that is removed stays up. When it hears of its removal its consensus stops; the leader
/// may forget it before that, and then it campaigns for ever (both seen on v1.19.0, the second under
/// load). Either way it commits nothing any more.
async fn removed_live_peer_stops_or_campaigns(lab: Lab) {
    let nodes = lab.cluster(3).await;
    let id = nodes[2].view().await.id;
    assert_eq!(nodes[2].get("/healthz").await.status, 200);
    assert_eq!(
        nodes[0].delete(&format!("/cluster/peer/{id}")).await.status,
        200
    );
    let view = nodes[2]
        .until_view("stopped or without a leader", 10, |v| {
            v.thread.contains("stopped") || v.leader == Some(0)
        })
        .await;
    if view.thread.contains("stopped") {
        assert!(
            view.peers.keys().all(|peer| *peer == id),
            "forgets the others: {view:?}"
        );
    }
    for node in &nodes[..2] {
        node.until_view("gone", 10, |v| !v.peers.contains_key(&id))
            .await;
    }
    assert_eq!(nodes[2].get("/healthz").await.status, 200);
    let answer = nodes[2]
        .put("/cluster/metadata/keys/k?wait=true", json!(1))
        .await;
    assert_ne!(answer.status, 200, "{answer:?}");
}

/// Force takes the last copy of a shard without a word.
async fn force_drops_the_last_copy(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(3, 1, 10).await;
    let id = nodes[2].view().await.id;
    let before = nodes[0].replicas().await.unwrap();
    assert!(before.keys().any(|(_, peer)| *peer == id), "{before:?}");
    assert_eq!(
        nodes[0]
            .delete(&format!("/cluster/peer/{id}?force=true"))
            .await
            .status,
        200
    );
    let after = nodes[0].replicas().await.unwrap();
    assert_eq!(after.len(), before.len() - 1, "{after:?}");
    assert!(!after.keys().any(|(_, peer)| *peer == id), "{after:?}");
}

/// The last voter can be asked to remove itself, and its consensus ends in an error.
async fn last_voter_can_be_removed(lab: Lab) {
    let node = lab.founder().await;
    let id = node.view().await.id;
    let answer = node
        .delete(&format!("/cluster/peer/{id}?force=true&timeout=3"))
        .await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let view = node
        .until_view("ended", 10, |v| v.thread.contains("stopped_with_err"))
        .await;
    assert_eq!(view.id, id);
}

crate::behaviours!(
    removal_refuses_holders_only,
    removed_live_peer_stops_or_campaigns,
    force_drops_the_last_copy,
    last_voter_can_be_removed,
);
