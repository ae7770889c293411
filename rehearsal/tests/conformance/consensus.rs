//! Leaders, majorities, one change at a time (traps T1, T2, T13).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::subject::{Lab, Node, s};

async fn leader_first(nodes: &mut [Node]) {
    for at in 0..nodes.len() {
        let view = nodes[at].view().await;
        if view.leader == Some(view.id) {
            nodes.swap(0, at);
            return;
        }
    }
    panic!("no leader among {} nodes", nodes.len());
}

/// A leader that hears of nobody keeps its role; what it is asked to decide fails after 10 s.
async fn isolated_leader_keeps_its_role(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    leader_first(&mut nodes).await;
    nodes[1].pause();
    nodes[2].pause();
    let start = Instant::now();
    let answer = nodes[0]
        .put("/cluster/metadata/keys/k?wait=true", json!(1))
        .await;
    let took = start.elapsed();
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(
        answer.error().contains("Timeout set at: 10 seconds"),
        "{answer:?}"
    );
    assert!((s(9)..s(13)).contains(&took), "took {took:?}");
    let view = nodes[0].view().await;
    assert_eq!(view.role.as_deref(), Some("Leader"), "{view:?}");
    assert_eq!(view.leader, Some(view.id));
}

/// Without a leader a proposal is refused after the time-out, in other words.
async fn no_leader_no_proposal(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    leader_first(&mut nodes).await;
    nodes[0].kill();
    nodes[2].kill();
    nodes[1]
        .until_view("no leader", 15, |v| v.leader == Some(0))
        .await;
    let start = Instant::now();
    let answer = nodes[1].delete("/cluster/peer/5?timeout=3").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(
        answer
            .error()
            .contains("leader is not established within 3s"),
        "{answer:?}"
    );
    assert!(
        (s(2)..s(6)).contains(&start.elapsed()),
        "took {:?}",
        start.elapsed()
    );
}

/// The leader is killed: another one within 2 to 6 s, and it decides.
async fn killed_leader_is_replaced(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    leader_first(&mut nodes).await;
    let old = nodes[0].view().await.id;
    nodes[0].kill();
    let start = Instant::now();
    let new = |v: &crate::cluster::View| v.leader.is_some_and(|l| l != 0 && l != old);
    nodes[1].until_view("another leader", 15, new).await;
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(1500)..s(9)).contains(&took),
        "took {took:?}"
    );
    nodes[2].until_view("another leader", 5, new).await;
    nodes[2]
        .put("/cluster/metadata/keys/k?wait=true", json!(1))
        .await
        .result();
}

/// Two changes of membership at once: the second is dropped, its caller hears so after 10 s.
async fn second_change_is_dropped(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    leader_first(&mut nodes).await;
    // Nothing can commit, so both are unapplied at once.
    nodes[1].pause();
    nodes[2].pause();
    let (a, b, ()) = tokio::join!(
        nodes[0].delete("/cluster/peer/11?timeout=12"),
        nodes[0].delete("/cluster/peer/12?timeout=12"),
        async {
            tokio::time::sleep(s(2)).await;
            nodes[1].resume();
            nodes[2].resume();
        }
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 500], "{a:?} {b:?}");
}

/// A peer that never heard of its removal disturbs the others with elections.
async fn expelled_absentee_disturbs(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    leader_first(&mut nodes).await;
    let gone = nodes[2].view().await.id;
    // Not paused: what was sent to a paused process waits in its sockets.
    nodes[2].kill();
    assert_eq!(
        nodes[0]
            .delete(&format!("/cluster/peer/{gone}?force=true"))
            .await
            .status,
        200
    );
    let before = nodes[0]
        .until_view("removed", 10, |v| !v.peers.contains_key(&gone))
        .await
        .term;
    let _back = nodes[2].spec.start();
    let view = nodes[0]
        .until_view("terms go up", 30, |v| v.term >= before + 2)
        .await;
    assert!(!view.peers.contains_key(&gone), "{view:?}");
}

crate::behaviours!(
    isolated_leader_keeps_its_role,
    no_leader_no_proposal,
    killed_leader_is_replaced,
    second_change_is_dropped,
    expelled_absentee_disturbs,
);
