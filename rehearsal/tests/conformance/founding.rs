//! The first peer.

use std::time::Instant;

use crate::subject::{Lab, s};

/// It leads itself at once, with two entries committed, and prints addresses with a slash.
async fn first_peer_leads_itself(lab: Lab) {
    let node = lab.node(1).start();
    let view = node.leads_itself().await;
    let took = node.started.elapsed();
    assert!(took < s(3), "took {took:?}");
    assert_eq!(view.role.as_deref(), Some("Leader"));
    assert_eq!(view.peers[&view.id], format!("{}/", lab.uri(1)));
    assert!(view.thread.contains("working"), "{view:?}");
    let state = node.spec.raft_state();
    assert_eq!(state["this_peer_id"], view.id);
    assert_eq!(state["first_voter"], view.id);
    assert_eq!(
        state["state"]["conf_state"]["voters"],
        serde_json::json!([view.id])
    );
    assert!(
        state["state"]["hard_state"]["term"].as_u64() >= Some(1),
        "{state}"
    );
}

/// Without an address it refuses.
async fn first_peer_needs_its_uri(lab: Lab) {
    let mut node = lab.node(1).without_uri().start();
    assert_eq!(node.exit(s(10)).await.code(), Some(101));
}

/// A bootstrap address that is our own makes us the first peer.
async fn bootstrap_with_own_uri_founds(lab: Lab) {
    let node = lab.node(1).join(&lab.uri(1)).start();
    node.leads_itself().await;
    assert!(
        node.log()
            .contains("Bootstrap URI is the same as this peer URI"),
        "{}",
        node.tail()
    );
}

/// An empty disk and nobody to join through, or itself: a plain one founds, and one with our patch refuses
/// before it has a Raft state, with one line, unless it was told to.
async fn an_accident_founds_only_without_the_patch(lab: Lab) {
    let patched = lab.has_patch("no-accidental-founder");
    let itself = lab.node(2).join(&lab.uri(2));
    for spec in [lab.node(1), itself] {
        let spec = spec.without_env("QDRANT_FOUNDER");
        let mut node = spec.start();
        if !patched {
            node.leads_itself().await;
            continue;
        }
        assert_eq!(node.exit(s(10)).await.code(), Some(78), "{}", node.tail());
        let log = node.log();
        let refusals = log
            .lines()
            .filter(|line| line.contains("refusing to found"));
        assert_eq!(refusals.count(), 1, "{log}");
        assert!(!spec.dir.join("storage/raft_state.json").exists());
        let told = spec.env("QDRANT_FOUNDER", "true").start();
        told.leads_itself().await;
    }
}

/// An empty variable is a usage error, not "unset".
async fn empty_variables_are_usage_errors(lab: Lab) {
    for key in ["QDRANT_BOOTSTRAP", "QDRANT_URI"] {
        let mut node = lab.node(1).without_uri().env(key, "").start();
        assert_eq!(node.exit(s(10)).await.code(), Some(2), "{key}");
    }
}

/// Addresses may come from the environment.
async fn uri_from_the_environment(lab: Lab) {
    let node = lab
        .node(1)
        .without_uri()
        .env("QDRANT_URI", &lab.uri(1))
        .start();
    node.leads_itself().await;
}

/// Two nodes that were both started as first never notice each other (nobody merges them).
async fn two_founders_stay_two_clusters(lab: Lab) {
    let first = lab.founder().await;
    let second = lab.node(2).start();
    let a = first.view().await;
    let b = second.leads_itself().await;
    assert_ne!(a.id, b.id);
    assert_eq!((first.view().await.peers.len(), b.peers.len()), (1, 1));
}

/// `--version` names itself and ends.
async fn version_is_printed(lab: Lab) {
    let start = Instant::now();
    let mut node = lab.node(1).without_uri().arg("--version").start();
    assert_eq!(node.exit(s(5)).await.code(), Some(0));
    assert!(node.log().starts_with("qdrant 1."), "{}", node.tail());
    assert!(start.elapsed() < s(2));
}

crate::behaviours!(
    first_peer_leads_itself,
    first_peer_needs_its_uri,
    an_accident_founds_only_without_the_patch,
    bootstrap_with_own_uri_founds,
    empty_variables_are_usage_errors,
    uri_from_the_environment,
    two_founders_stay_two_clusters,
    version_is_printed,
);
