//! Removing peers: what is checked and what is not (traps T5, T6).

use std::time::Duration;

use serde_json::json;

use crate::subject::{Lab, until};

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

/// The leader can be asked to remove itself: that is applied, its consensus stops, the others elect
/// another one, and the copies that it held are gone from its disk and from the lists.
async fn leader_removes_itself(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let id = nodes[0].view().await.leader.unwrap();
    let mut views = Vec::new();
    for node in &nodes {
        views.push(node.view().await);
    }
    let at = views.iter().position(|view| view.id == id).unwrap();
    let leader = &nodes[at];
    let answer = leader.delete(&format!("/cluster/peer/{id}")).await;
    assert_eq!(answer.status, 400, "not while it holds shards: {answer:?}");
    let answer = leader
        .delete(&format!("/cluster/peer/{id}?force=true"))
        .await;
    assert_eq!(answer.result(), json!(true));
    let view = leader
        .until_view("stopped", 10, |v| v.thread == "\"stopped\"")
        .await;
    assert_eq!(view.peers.len(), 1, "{view:?}");
    assert_eq!(leader.local_points().await, Ok(0));
    for other in nodes.iter().filter(|node| node.spec.ip != leader.spec.ip) {
        other
            .until_view("another leader", 15, |v| {
                v.peers.len() == 2 && v.leader.is_some_and(|l| l != 0 && l != id)
            })
            .await;
        let replicas = other.replicas().await.unwrap();
        assert_eq!(replicas.len(), 2, "{replicas:?}");
        assert_eq!(other.local_points().await, Ok(10));
        let path = "/cluster/metadata/keys/k?wait=true";
        other.put(path, json!(1)).await.result();
    }
}

/// A holder that is removed by force while it lives deletes its points.
async fn removed_live_holder_deletes_its_points(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let leader = nodes[0].view().await.leader;
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(node.view().await.id);
    }
    let at = ids.iter().rposition(|id| Some(*id) != leader).unwrap();
    assert_eq!(nodes[at].local_points().await, Ok(10));
    let by = nodes
        .iter()
        .position(|node| node.spec.ip != nodes[at].spec.ip);
    nodes[by.unwrap()].force_out(ids[at]).await;
    let view = nodes[at]
        .until_view("stopped or without a leader", 10, |v| {
            v.thread.contains("stopped") || v.leader == Some(0)
        })
        .await;
    // One that never heard of it keeps them (see removed_live_peer_stops_or_campaigns).
    if view.thread.contains("stopped") {
        assert_eq!(nodes[at].local_points().await, Ok(0));
    }
    assert_eq!(nodes[by.unwrap()].count().await, Ok(10));
}

/// Every peer has a directory for every collection, also one that never held a replica, and keeps it
/// when it is removed: what is on a disk does not tell whether anything is lost with it.
async fn a_removed_peer_keeps_the_directories_of_collections(lab: Lab) {
    let nodes = lab.cluster(3).await;
    nodes[0].create(1, 1, 10).await;
    for node in &nodes {
        let seen = async || match node.has_folder() {
            true => Ok(()),
            false => Err("no directory".to_owned()),
        };
        until("a directory", Duration::from_secs(10), seen).await;
    }
    let replicas = nodes[0].replicas().await.unwrap();
    let mut at = 0;
    for (n, node) in nodes.iter().enumerate() {
        let id = node.view().await.id;
        if replicas.keys().all(|(_, peer)| *peer != id) {
            at = n;
        }
    }
    let id = nodes[at].view().await.id;
    let other = &nodes[(at + 1) % 3];
    let removed = other.delete(&format!("/cluster/peer/{id}")).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    nodes[at]
        .until_view("stopped or without a leader", 10, |v| {
            v.thread.contains("stopped") || v.leader == Some(0)
        })
        .await;
    assert!(nodes[at].has_folder());
    let deleted = other.delete("/collections/c").await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert!(!other.has_folder());
}

crate::behaviours!(
    a_removed_peer_keeps_the_directories_of_collections,
    leader_removes_itself,
    removed_live_holder_deletes_its_points,
    removal_refuses_holders_only,
    removed_live_peer_stops_or_campaigns,
    force_drops_the_last_copy,
    last_voter_can_be_removed,
);
