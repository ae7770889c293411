//! Restarts on a disk that holds something.

use serde_json::json;

use crate::subject::{Lab, s, until};

/// A member that restarts does not ask its bootstrap peer.
async fn restart_with_data_ignores_bootstrap(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let id = nodes[2].view().await.id;
    nodes[2].kill();
    let again = lab.node(3).join(&lab.uri(99)).start();
    assert_eq!(again.is_voter_among(3).await.id, id);
}

/// All killed, all restarted on their disks: the same cluster with what it knew.
async fn all_restart(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let peers = nodes[0].view().await.peers;
    nodes[0]
        .put("/cluster/metadata/keys/k?wait=true", json!("v"))
        .await
        .result();
    nodes.iter_mut().for_each(|node| node.kill());
    let again: Vec<_> = (1..=3).map(|n| lab.node(n).start()).collect();
    for node in &again {
        assert_eq!(node.is_voter_among(3).await.peers, peers);
        until("metadata", s(10), async || {
            let value = node.get("/cluster/metadata/keys/k").await.result();
            if value == json!("v") {
                Ok(())
            } else {
                Err(value.to_string())
            }
        })
        .await;
    }
}

/// A lone peer that restarts leads itself again at once, with its points.
async fn lone_restart_keeps_points(lab: Lab) {
    let mut node = lab.founder().await;
    node.create(2, 1, 10).await;
    node.write(0..50).await;
    node.kill();
    let again = lab.node(1).start();
    again.leads_itself().await;
    until("points", s(10), async || match again.count().await? {
        50 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
}

/// A lone peer under a new address has nobody to tell and gives up.
async fn lone_restart_under_a_new_address_ends(lab: Lab) {
    let mut node = lab.founder().await;
    node.kill();
    let mut spec = lab.node(2);
    spec.dir = node.spec.dir.clone();
    let mut again = spec.start();
    assert_eq!(again.exit(s(20)).await.code(), Some(101));
    assert!(
        again
            .log()
            .contains("Failed to recover from any known peers"),
        "{}",
        again.tail()
    );
}

/// The way out of a lost quorum: one survivor starts anew alone, the next joins it with its id.
async fn reinit_one_survivor_then_the_other(lab: Lab) {
    let mut nodes = lab.cluster(4).await;
    nodes[0].create(1, 4, 10).await;
    nodes[0].write(0..20).await;
    nodes[0]
        .put("/cluster/metadata/keys/k?wait=true", json!(7))
        .await
        .result();
    let ids = [nodes[2].view().await.id, nodes[3].view().await.id];
    for at in [2, 3] {
        until("metadata at the survivors", s(10), async || {
            let value = nodes[at].get("/cluster/metadata/keys/k").await.result();
            if value == json!(7) {
                Ok(())
            } else {
                Err(value.to_string())
            }
        })
        .await;
    }
    nodes.iter_mut().for_each(|node| node.kill());
    let third = lab.node(3).arg("--reinit").start();
    let view = third.leads_itself().await;
    assert_eq!((view.id, view.peers.len()), (ids[0], 1), "{view:?}");
    assert_eq!(
        third.get("/cluster/metadata/keys/k").await.result(),
        json!(7)
    );
    let fourth = lab.node(4).arg("--reinit").join(&lab.uri(3)).start();
    assert_eq!(fourth.is_voter_among(2).await.id, ids[1]);
    for node in [&third, &fourth] {
        until("points", s(20), async || match node.count().await? {
            20 => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
    }
    // Replicas of the vanished stay listed.
    assert_eq!(third.replicas().await.unwrap().len(), 4);
}

crate::behaviours!(
    restart_with_data_ignores_bootstrap,
    all_restart,
    lone_restart_keeps_points,
    lone_restart_under_a_new_address_ends,
    reinit_one_survivor_then_the_other,
);
