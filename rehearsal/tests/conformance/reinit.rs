//! `--reinit`: what outlives a lost quorum, what stays behind, and what it must not be trusted with.

use serde_json::json;

use crate::cluster::View;
use crate::subject::{Lab, Node, Spec, holds, s, until};

/// Four peers with a key, and a collection of one shard with a copy on each; all killed.
async fn wreck(lab: &Lab, shards: u64, factor: u64) -> Vec<View> {
    let mut nodes = lab.cluster(4).await;
    nodes[0].create(shards, factor, 10).await;
    nodes[0].write(0..20).await;
    nodes[0]
        .put("/cluster/metadata/keys/k?wait=true", json!(7))
        .await
        .result();
    let mut views = Vec::new();
    for node in &nodes {
        holds_key(node).await;
        views.push(node.view().await);
    }
    nodes.iter_mut().for_each(Node::kill);
    views
}

async fn holds_key(node: &Node) {
    until("the key", s(20), async || {
        match node.get("/cluster/metadata/keys/k").await.result() {
            value if value == json!(7) => Ok(()),
            value => Err(value.to_string()),
        }
    })
    .await;
}

async fn until_count(node: &Node, points: u64) {
    until("points", s(20), async || match node.count().await? {
        n if n == points => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
}

async fn until_local(node: &Node, points: u64) {
    until("own points", s(20), async || {
        match node.local_points().await? {
            n if n == points => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
}

async fn set_key(node: &Node) {
    let put = node.put("/cluster/metadata/keys/other?wait=true", json!(1));
    put.await.result();
}

fn alone(spec: Spec) -> Spec {
    spec.arg("--reinit")
}

fn joining(lab: &Lab, n: u8, through: u8) -> Spec {
    lab.node(n).arg("--reinit").join(&lab.uri(through))
}

/// A survivor that starts alone leads itself with its id, its key map and its points, its commit
/// index goes on from where it was, and the cluster takes changes again.
async fn a_survivor_alone_keeps_all(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    let node = alone(lab.node(3)).start();
    let view = node.leads_itself().await;
    assert_eq!((view.id, view.peers.len()), (views[2].id, 1), "{view:?}");
    assert!(view.commit >= views[2].commit, "{view:?} {:?}", views[2]);
    assert!(view.term > views[2].term, "{view:?} {:?}", views[2]);
    holds_key(&node).await;
    set_key(&node).await;
    until_count(&node, 20).await;
    until_local(&node, 20).await;
    node.write(20..30).await;
    until_count(&node, 30).await;
}

/// The flag again, and then a start without it, change nothing.
async fn alone_twice_then_without_the_flag(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    for spec in [alone(lab.node(3)), alone(lab.node(3)), lab.node(3)] {
        let mut node = spec.start();
        let view = node.leads_itself().await;
        assert_eq!((view.id, view.peers.len()), (views[2].id, 1), "{view:?}");
        holds_key(&node).await;
        set_key(&node).await;
        until_local(&node, 20).await;
        node.kill();
    }
}

/// The second survivor gets the state from the first and keeps its id and its own points.
async fn the_second_survivor_keeps_its_points(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    let mut first = alone(lab.node(3)).start();
    first.leads_itself().await;
    let mut second = joining(&lab, 4, 3).start();
    assert_eq!(second.is_voter_among(2).await.id, views[3].id);
    holds_key(&second).await;
    for node in [&first, &second] {
        node.until_replica(0, views[3].id, "Active", 30).await;
    }
    until_local(&second, 20).await;
    second.write(20..40).await;
    until_local(&second, 40).await;
    until_local(&first, 40).await;

    // Both start again as any other member does.
    first.kill();
    second.kill();
    let (first, second) = (lab.node(3).start(), lab.node(4).start());
    for node in [&first, &second] {
        node.is_voter_among(2).await;
        holds_key(node).await;
        until_local(node, 40).await;
    }
}

/// Copies on the vanished stay listed although their peers are not. They cannot be dropped; their
/// peer can be removed by force although nobody lists it, and takes just its own copies with it.
async fn copies_of_the_vanished(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    let node = alone(lab.node(3)).start();
    node.leads_itself().await;
    assert_eq!(node.replicas().await.unwrap().len(), 4);
    let gone = views[0].id;
    let drop = json!({"drop_replica": {"shard_id": 0, "peer_id": gone}});
    let answer = node.post("/collections/c/cluster", drop).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let text = format!("Peer {gone} does not exist");
    assert!(answer.error().contains(&text), "{answer:?}");
    let answer = node.delete(&format!("/cluster/peer/{gone}")).await;
    assert_eq!(answer.status, 400, "not without force: {answer:?}");
    node.force_out(gone).await;
    let left = node.replicas().await.unwrap();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(!left.contains_key(&(0, gone)), "{left:?}");
    assert_eq!(node.view().await.peers.len(), 1);
    until_count(&node, 20).await;
}

/// Removing the holder of the only copy, vanished or not, leaves a shard that nobody can read,
/// write or copy. Hence never.
async fn the_last_holder_is_removed_without_a_word(lab: Lab) {
    let views = wreck(&lab, 4, 1).await;
    let node = alone(lab.node(3)).start();
    node.leads_itself().await;
    let replicas = node.replicas().await.unwrap();
    let lost = replicas.keys().find(|key| key.1 == views[0].id).unwrap().0;
    node.force_out(views[0].id).await;
    let left = node.replicas().await.unwrap();
    assert_eq!(left.len(), replicas.len() - 1, "{left:?}");
    assert!(left.keys().all(|key| key.0 != lost), "{left:?}");
    let count = node.count().await;
    assert!(count.is_err(), "{count:?}");
    let copy = json!({"shard_id": lost, "from_peer_id": views[0].id, "to_peer_id": views[2].id});
    let answer = node
        .post("/collections/c/cluster", json!({"replicate_shard": copy}))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

/// An empty newcomer joins the re-initialised, gets the state, and can take a copy.
async fn a_newcomer_joins_the_reinitialised(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    let node = alone(lab.node(3)).start();
    node.leads_itself().await;
    for view in [&views[0], &views[1], &views[3]] {
        node.force_out(view.id).await;
    }
    let newcomer = lab.node(9).join(&lab.uri(3)).start_joined().await;
    let id = newcomer.is_voter_among(2).await.id;
    assert!(views.iter().all(|view| view.id != id));
    holds_key(&newcomer).await;
    until_count(&newcomer, 20).await;
    let copy = json!({"shard_id": 0, "from_peer_id": views[2].id, "to_peer_id": id});
    node.post("/collections/c/cluster", json!({"replicate_shard": copy}))
        .await
        .result();
    newcomer.until_replica(0, id, "Active", 30).await;
    until_local(&newcomer, 20).await;
}

/// A copy that is Dead is called Active by its own node when that joins anew: a trap, because what
/// it missed is missing until somebody copies it.
async fn a_stale_copy_is_called_active(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let id = nodes[2].view().await.id;
    nodes[2].kill();
    nodes[0].write(10..20).await;
    nodes[0].until_replica(0, id, "Dead", 10).await;
    nodes.iter_mut().for_each(Node::kill);
    let first = alone(lab.node(1)).start();
    first.leads_itself().await;
    assert_eq!(first.replicas().await.unwrap()[&(0, id)], "Dead");
    let third = joining(&lab, 3, 1).start();
    third.is_voter_among(2).await;
    third.until_replica(0, id, "Active", 60).await;
    first.until_replica(0, id, "Active", 10).await;
    holds("what it missed is missing", s(3), async || {
        match third.local_points().await? {
            10 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
}

/// The first survivor's own copy stays what it was: Dead, until a second brings an Active one.
async fn a_stale_copy_of_the_first_stays_dead(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let id = nodes[2].view().await.id;
    nodes[2].kill();
    nodes[0].write(10..20).await;
    nodes[0].until_replica(0, id, "Dead", 10).await;
    nodes[1].kill();
    // It hears that it is Dead, but not yet from a copy: the only others are down.
    let third = nodes[2].spec.start();
    third.until_replica(0, id, "Dead", 20).await;
    drop(third);
    nodes[0].kill();
    let third = alone(lab.node(3)).start();
    third.leads_itself().await;
    assert_eq!(third.replicas().await.unwrap()[&(0, id)], "Dead");
    let second = joining(&lab, 2, 3).start();
    second.is_voter_among(2).await;
    third.until_replica(0, id, "Active", 60).await;
    until_local(&third, 20).await;
}

/// The flag with a bootstrap peer is for once: a voter that starts with it again needs the consent of
/// a quorum to which it is needed itself, and with others it would be an old id with an empty log
/// (trap T12). Without the flag it is a member as before.
async fn joining_anew_twice_ends_the_second(lab: Lab) {
    wreck(&lab, 1, 4).await;
    let first = alone(lab.node(3)).start();
    first.leads_itself().await;
    let mut second = joining(&lab, 4, 3).start();
    let id = second.is_voter_among(2).await.id;
    second.kill();
    let mut again = joining(&lab, 4, 3).start();
    assert_eq!(again.exit(s(20)).await.code(), Some(101));
    assert_eq!(first.view().await.peers.len(), 2);
    assert!(first.view().await.peers.contains_key(&id));
}

/// Peers of the former cluster that come back know the addresses of the survivors, and nothing in
/// a Raft message says which cluster it belongs to. A term far ahead of theirs shuts them out.
async fn a_term_ahead_shuts_out_the_former_peers(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    lab.node(3).raise_term(1 << 32);
    let node = alone(lab.node(3)).start();
    let view = node.leads_itself().await;
    assert!(view.term > 1 << 32, "{view:?}");
    let former: Vec<Node> = [1, 2, 4].map(|n| lab.node(n).start()).into();
    let old = former[0]
        .until_view("the former peers have a leader", 30, |v| {
            v.leader.is_some_and(|l| l != 0) && v.term > views[0].term
        })
        .await;
    assert!(old.term < 1 << 32, "{old:?}");
    holds("undisturbed", s(5), async || {
        let now = node.cluster().await?;
        let same = now.leader == Some(now.id) && now.term == view.term && now.peers.len() == 1;
        if same {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    set_key(&node).await;
    assert_eq!(
        former[0].get("/cluster/metadata/keys/other").await.result(),
        json!(null)
    );
}

/// The same without that: the former peers take the survivor's leadership away with their votes.
async fn former_peers_disturb(lab: Lab) {
    let views = wreck(&lab, 1, 4).await;
    let node = alone(lab.node(3)).start();
    let view = node.leads_itself().await;
    assert_eq!(view.id, views[2].id);
    // A few elections later.
    lab.node(1).raise_term(5);
    let _former: Vec<Node> = [1, 2, 4].map(|n| lab.node(n).start()).into();
    node.until_view("terms go up", 60, |v| v.term > view.term)
        .await;
}

/// A survivor shows how far it is: one that missed entries has a lower commit index, also after a
/// restart without anybody else there.
async fn a_survivor_that_lags_shows_a_lower_commit(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[2].kill();
    for n in 0..5 {
        let path = format!("/cluster/metadata/keys/k{n}?wait=true");
        nodes[0].put(&path, json!(n)).await.result();
    }
    let ahead = nodes[0].view().await;
    nodes.iter_mut().for_each(Node::kill);
    let (first, third) = (lab.node(1).start(), lab.node(3).start());
    let (mut behind, mut same) = (None, None);
    until("both answer", s(20), async || {
        behind = Some(third.cluster().await?.commit);
        same = Some(first.cluster().await?.commit);
        Ok(())
    })
    .await;
    assert!(behind.unwrap() < same.unwrap(), "{behind:?} {same:?}");
    assert!(same.unwrap() >= ahead.commit, "{same:?} {ahead:?}");
}

crate::behaviours!(
    a_survivor_alone_keeps_all,
    alone_twice_then_without_the_flag,
    the_second_survivor_keeps_its_points,
    copies_of_the_vanished,
    the_last_holder_is_removed_without_a_word,
    a_newcomer_joins_the_reinitialised,
    a_stale_copy_is_called_active,
    a_stale_copy_of_the_first_stays_dead,
    joining_anew_twice_ends_the_second,
    a_term_ahead_shuts_out_the_former_peers,
    former_peers_disturb,
    a_survivor_that_lags_shows_a_lower_commit,
);
