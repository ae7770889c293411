//! Newcomers (traps T2, T3).

use std::time::Duration;

use futures::future::join_all;

use crate::subject::{Lab, s, until};

/// A second peer joins as a learner and is made a voter.
async fn second_joins_and_becomes_voter(lab: Lab) {
    let first = lab.founder().await;
    let second = lab.node(2).join(&lab.uri(1)).start();
    until("REST of the joiner", s(20), async || second.cluster().await).await;
    let view = second.is_voter_among(2).await;
    assert_eq!(first.is_voter_among(2).await.peers, view.peers);
    assert_eq!(view.peers[&view.id], format!("{}/", lab.uri(2)));
}

/// Five at once, through different peers; whoever is refused tries again on its disk.
async fn five_join_at_once(lab: Lab) {
    let first = lab.founder().await;
    let specs: Vec<_> = (2..=6).map(|n| lab.node(n).join(&lab.uri(1))).collect();
    let joined = join_all(specs.iter().map(|spec| spec.start_joined())).await;
    let peers = first.is_voter_among(6).await.peers;
    for node in &joined {
        assert_eq!(node.is_voter_among(6).await.peers, peers);
    }
}

/// Any live member takes a newcomer in, not only the leader.
async fn join_through_a_follower(lab: Lab) {
    let nodes = lab.cluster(2).await;
    let third = lab.node(3).join(&lab.uri(2)).start_joined().await;
    third.is_voter_among(3).await;
    nodes[0].is_voter_among(3).await;
}

/// Nobody listens: 101 at once, the peer id stays, the term is 0, and the next try on the same
/// disk succeeds with the same id.
async fn failed_join_keeps_id_and_can_be_repeated(lab: Lab) {
    let spec = lab.node(2).join(&lab.uri(1));
    let mut node = spec.start();
    assert_eq!(node.exit(s(10)).await.code(), Some(101));
    let took = node.started.elapsed();
    assert!(took < s(3), "took {took:?}");
    assert!(
        node.log().contains("Failed to create timeout channel"),
        "{}",
        node.tail()
    );
    let state = spec.raft_state();
    assert_eq!(state["state"]["hard_state"]["term"], 0, "{state}");
    let id = state["this_peer_id"].as_u64().unwrap();

    let _first = lab.founder().await;
    let again = spec.start();
    let view = again.is_voter_among(2).await;
    assert_eq!(view.id, id);
}

/// Until the join has succeeded no port is open.
async fn silent_until_joined(lab: Lab) {
    let first = lab.founder().await;
    first.pause();
    let mut second = lab.node(2).join(&lab.uri(1)).start();
    for _ in 0..20 {
        let open: Vec<u16> = [6333, 6334, 6335]
            .into_iter()
            .filter(|p| second.listens(*p))
            .collect();
        assert!(open.is_empty(), "open before the join: {open:?}");
        assert!(second.alive(), "{}", second.tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.resume();
    second.is_voter_among(2).await;
}

/// Nobody answers: 101 after 15 s.
async fn join_into_a_black_hole_ends_after_15_s(lab: Lab) {
    let first = lab.founder().await;
    first.pause();
    let mut second = lab.node(2).join(&lab.uri(1)).start();
    assert_eq!(second.exit(s(25)).await.code(), Some(101));
    let took = second.started.elapsed();
    assert!((s(14)..s(18)).contains(&took), "took {took:?}");
}

/// The member that is asked knows no leader: 101 after 10 s.
async fn join_without_a_leader_ends_after_10_s(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[0].kill();
    nodes[1]
        .until_view("no leader", 15, |v| v.leader == Some(0))
        .await;
    let mut third = lab.node(3).join(&lab.uri(2)).start();
    assert_eq!(third.exit(s(25)).await.code(), Some(101));
    let took = third.started.elapsed();
    assert!((s(9)..s(14)).contains(&took), "took {took:?}");
    assert!(
        third.log().contains("leader is not established within 10s"),
        "{}",
        third.tail()
    );
}

/// The address of a known peer without replicas: the old id goes first.
async fn reused_address_replaces_an_empty_peer(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let old = nodes[2].view().await.id;
    nodes[2].kill();
    let spec = lab.node(3).join(&lab.uri(1)).empty_disk("new");
    let new = spec.start_joined().await.is_voter_among(3).await;
    assert_ne!(new.id, old);
    assert!(!new.peers.contains_key(&old), "{new:?}");
}

/// The address of a known peer that is listed with a replica: refused.
async fn reused_address_of_a_holder_is_refused(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[2].kill();
    let mut new = lab.node(3).join(&lab.uri(1)).empty_disk("new").start();
    assert_eq!(new.exit(s(10)).await.code(), Some(101));
    assert!(
        new.started.elapsed() < s(4),
        "took {:?}",
        new.started.elapsed()
    );
    assert!(new.log().contains("still has shards"), "{}", new.tail());
}

/// After the first peer is gone for good newcomers still come in, and no "/" stays.
async fn join_after_the_first_peer_was_removed(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let first = nodes[0].view().await.id;
    nodes[0].kill();
    let elected = |v: &crate::cluster::View| v.leader.is_some_and(|l| l != 0 && l != first);
    nodes[1].until_view("a new leader", 20, elected).await;
    assert_eq!(
        nodes[1]
            .delete(&format!("/cluster/peer/{first}"))
            .await
            .status,
        200
    );
    let view = lab
        .node(4)
        .join(&lab.uri(2))
        .start_joined()
        .await
        .is_voter_among(3)
        .await;
    assert!(
        view.peers.values().all(|uri| uri.starts_with("http://")),
        "{view:?}"
    );
    assert!(!view.peers.contains_key(&first), "{view:?}");
}

crate::behaviours!(
    second_joins_and_becomes_voter,
    five_join_at_once,
    join_through_a_follower,
    failed_join_keeps_id_and_can_be_repeated,
    silent_until_joined,
    join_into_a_black_hole_ends_after_15_s,
    join_without_a_leader_ends_after_10_s,
    reused_address_replaces_an_empty_peer,
    reused_address_of_a_holder_is_refused,
    join_after_the_first_peer_was_removed,
);
