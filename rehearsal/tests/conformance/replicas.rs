//! Placement, dead replicas, their recovery (traps T7, T8, T10).

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::cluster::points;
use crate::subject::{Lab, Node, holds, s, until};

/// Writes go everywhere, and any node answers for all.
async fn points_are_served_by_all(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(2, 1, 10).await;
    nodes[1].write(0..30).await;
    for node in &nodes {
        assert_eq!(node.count().await, Ok(30));
    }
    let got = nodes[0]
        .post("/collections/c/points", json!({"ids": [3, 4, 999]}))
        .await
        .result();
    let mut ids: Vec<u64> = got
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["id"].as_u64())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [3, 4]);
    let page = json!({"limit": 10, "with_payload": true});
    let page = nodes[1]
        .post("/collections/c/points/scroll", page)
        .await
        .result();
    assert_eq!(page["points"].as_array().unwrap().len(), 10);
    assert_eq!(page["points"][0], json!({"id": 0, "payload": {"n": 0}}));
    assert_eq!(page["next_page_offset"], 10);
    let list = nodes[1].get("/collections").await.result();
    assert_eq!(list["collections"], json!([{"name": "c"}]));
    let info = nodes[0].get("/collections/c").await.result();
    assert_eq!(info["config"]["params"]["shard_number"], 2, "{info}");
    assert_eq!(info["config"]["params"]["replication_factor"], 1, "{info}");
    assert_eq!(
        nodes[0].delete("/collections/c").await.result(),
        json!(true)
    );
    assert_eq!(nodes[0].get("/collections/c").await.status, 404);
}

/// Each node counts the copy that it holds, and nobody else's.
async fn a_copy_is_counted_where_it_is(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    nodes[0].write(0..30).await;
    let mut answers = Vec::new();
    for node in &nodes {
        let path = "/collections/c/shards/0/points/count";
        let answer = node.post(path, json!({"exact": true})).await;
        answers.push((answer.status, answer.body["result"]["count"].as_u64()));
    }
    answers.sort_unstable();
    assert_eq!(answers, [(200, Some(30)), (500, None)]);
}

/// A disk on which a copy is older than it was loses nobody's trust: it is Active as before, with
/// fewer points, and nobody brings it up to date.
async fn an_older_copy_stays_active(lab: Lab) {
    let mut nodes = lab.cluster(2).await;
    nodes[0].create(1, 2, 10).await;
    nodes[0].write(0..10).await;
    until("both have them", s(10), async || {
        match nodes[1].local_points().await? {
            10 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
    let disk = lab.node(2).dir;
    let (copy, older) = (disk.join("storage/collections/c/0"), disk.join("older"));
    nodes[1].kill();
    copy_all(&copy, &older);
    nodes[1] = lab.node(2).start();
    until("it is back", s(20), async || {
        nodes[1].local_points().await.map(drop)
    })
    .await;
    nodes[0].write(10..20).await;
    let id = nodes[1].view().await.id;
    nodes[0].until_replica(0, id, "Active", 10).await;
    nodes[1].kill();
    fs::remove_dir_all(&copy).unwrap();
    fs::rename(&older, &copy).unwrap();
    nodes[1] = lab.node(2).start();
    until("the older copy", s(20), async || {
        match nodes[1].local_points().await? {
            10 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
    holds("it stays as it is", s(3), async || {
        let (points, all) = (nodes[1].local_points().await?, nodes[0].replicas().await?);
        match (points, all[&(0, id)].as_str()) {
            (10, "Active") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A collection that exists is not created again.
async fn collection_is_created_once(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 1, 10).await;
    let body = json!({"vectors": {"size": 1, "distance": "Dot"}});
    assert_eq!(node.put("/collections/c", body).await.status, 409);
}

/// More copies wanted than peers there: fewer copies, and nobody adds them later.
async fn missing_copies_are_never_added(lab: Lab) {
    let node = lab.founder().await;
    node.create(1, 2, 10).await;
    assert_eq!(node.replicas().await.unwrap().len(), 1);
    let second = lab.node(2).join(&lab.uri(1)).start_joined().await;
    second.is_voter_among(2).await;
    holds("one copy", s(3), async || match node.replicas().await? {
        replicas if replicas.len() == 1 => Ok(()),
        replicas => Err(format!("{replicas:?}")),
    })
    .await;
}

/// A dead peer is given replicas like any other.
async fn placement_counts_the_dead(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    let dead = nodes[2].view().await.id;
    nodes[2].kill();
    nodes[0].create(1, 3, 2).await;
    let replicas = nodes[0].replicas().await.unwrap();
    assert_eq!(replicas.len(), 3, "{replicas:?}");
    assert_eq!(replicas[&(0, dead)], "Initializing", "{replicas:?}");
}

/// A replica that misses a write becomes Dead; a write that is not sent changes nothing. Back
/// again, it fetches what it missed by itself.
async fn missed_writes_and_recovery(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let id = nodes[2].view().await.id;
    nodes[2].kill();
    assert_eq!(
        nodes[0].replicas().await.unwrap()[&(0, id)],
        "Active",
        "only a write tells"
    );
    nodes[0].write(10..20).await;
    nodes[0].until_replica(0, id, "Dead", 10).await;
    nodes[0].write(20..30).await;

    let again = lab.node(3).start();
    nodes[0].until_replica(0, id, "Active", 60).await;
    until("its own copy is complete", s(20), async || {
        match again.local_points().await? {
            30 => Ok(()),
            n => Err(n.to_string()),
        }
    })
    .await;
}

/// A replica that is Dead fetches what it missed from a holder that is there, not from one that is
/// only listed as Active.
async fn recovery_asks_a_holder_that_answers(lab: Lab) {
    let mut nodes = lab.cluster(5).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..10).await;
    let holders: Vec<u64> = nodes[0]
        .replicas()
        .await
        .unwrap()
        .keys()
        .map(|k| k.1)
        .collect();
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(node.view().await.id);
    }
    let at = |id: u64| ids.iter().position(|known| *known == id).unwrap();
    // The lowest holder is down once and the highest once, so that no order among them helps.
    for (gone, late) in [(holders[0], holders[2]), (holders[2], holders[0])] {
        let (gone, late) = (at(gone), at(late));
        nodes[late].kill();
        let other = (0..5).find(|n| ![gone, late].contains(n)).unwrap();
        nodes[other].write(10..20).await;
        nodes[other].until_replica(0, ids[late], "Dead", 10).await;
        nodes[gone].kill();
        nodes[other]
            .until_view("a leader that lives", 30, |view| {
                view.leader
                    .is_some_and(|l| l != ids[gone] && l != ids[late] && l != 0)
            })
            .await;
        let spec = nodes[late].spec.clone();
        nodes[late] = spec.start();
        nodes[other].until_replica(0, ids[late], "Active", 60).await;
        let spec = nodes[gone].spec.clone();
        nodes[gone] = spec.start();
        nodes[gone].is_voter_among(5).await;
        nodes[other].until_replica(0, ids[gone], "Active", 60).await;
    }
}

/// Without a majority a write that misses a replica is not confirmed, and whether it was written
/// cannot be known: the first write that a process coordinates for a shard is not (its clock
/// starts at tick 0, which replicas refuse, and the retry is never reached), a later one is.
async fn unconfirmed_first_write_is_lost(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[1].kill();
    nodes[2].kill();
    unconfirmed(&nodes[0], 0..5).await;
    assert_eq!(nodes[0].count().await, Ok(0));
}

/// The other half: after a write that went well the unconfirmed one is there.
async fn unconfirmed_later_write_is_kept(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    nodes[0].write(0..5).await;
    nodes[1].kill();
    nodes[2].kill();
    unconfirmed(&nodes[0], 5..10).await;
    assert_eq!(nodes[0].count().await, Ok(10));
}

/// A write that reaches fewer replicas than the collection asks for is refused, and takes none out
/// of service: it is refused again and again, until the collection asks for less.
async fn too_few_replicas_refuse_a_write(lab: Lab) {
    let mut nodes = lab.cluster(3).await;
    nodes[0].create(1, 3, 10).await;
    // Every node has coordinated a write, so that the first-write rule plays no part.
    nodes[0].write(0..10).await;
    let needs = async |node: &Node, copies: u64| {
        let body = json!({"params": {"write_consistency_factor": copies}});
        let answer = node.call("PATCH", "/collections/c", Some(body)).await;
        assert_eq!(answer.unwrap().result(), json!(true));
        let info = node.get("/collections/c").await.result();
        let params = &info["config"]["params"];
        assert_eq!(params["write_consistency_factor"], copies, "{info}");
        assert_eq!(params["replication_factor"], 3, "{info}");
    };
    needs(&nodes[0], 3).await;
    let id = nodes[2].view().await.id;
    nodes[2].kill();
    for _ in 0..2 {
        let answer = nodes[0]
            .put("/collections/c/points?wait=true", points(10..20))
            .await;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(nodes[0].replicas().await.unwrap()[&(0, id)], "Active");
    }
    // Refused, and there all the same.
    assert_eq!(nodes[0].count().await, Ok(20));
    needs(&nodes[0], 2).await;
    nodes[0].write(20..30).await;
    nodes[0].until_replica(0, id, "Dead", 10).await;
    // One that is out of service is not asked, so it cannot fail.
    needs(&nodes[0], 3).await;
    nodes[0].write(30..40).await;
}

/// What a collection does not say of its copies comes from the configuration of the node that was
/// asked to create it.
async fn defaults_of_collections(lab: Lab) {
    let node = lab
        .node(1)
        .env("QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR", "3")
        .env("QDRANT__STORAGE__COLLECTION__WRITE_CONSISTENCY_FACTOR", "2")
        .env("QDRANT__STORAGE__COLLECTION__SHARD_NUMBER", "2")
        .start();
    node.leads_itself().await;
    let vectors = json!({"size": 1, "distance": "Dot"});
    let made = node
        .put("/collections/plain", json!({"vectors": vectors}))
        .await;
    assert_eq!(made.result(), json!(true));
    let body = json!({"vectors": vectors, "replication_factor": 1, "shard_number": 1});
    assert_eq!(
        node.put("/collections/said", body).await.result(),
        json!(true)
    );
    for (name, expected) in [("plain", [2, 3, 2]), ("said", [1, 1, 2])] {
        let info = node.get(&format!("/collections/{name}")).await.result();
        let params = &info["config"]["params"];
        let names = [
            "shard_number",
            "replication_factor",
            "write_consistency_factor",
        ];
        let seen = names.map(|name| params[name].as_u64().unwrap());
        assert_eq!(seen, expected, "{info}");
    }
    // There is one copy of each: a write needs no more than there are.
    let one = json!({"points": [{"id": 1, "vector": [0.5]}]});
    for name in ["plain", "said"] {
        let path = format!("/collections/{name}/points?wait=true");
        assert_eq!(node.put(&path, one.clone()).await.status, 200);
    }
}

/// A higher factor is a number: nothing is copied.
async fn a_raised_factor_copies_nothing(lab: Lab) {
    let nodes = lab.cluster(2).await;
    nodes[0].create(1, 1, 10).await;
    let body = json!({"params": {"replication_factor": 2}});
    let answer = nodes[0].call("PATCH", "/collections/c", Some(body)).await;
    assert_eq!(answer.unwrap().result(), json!(true));
    until("the other node knows", s(10), async || {
        let info = nodes[1].get("/collections/c").await.result();
        match info["config"]["params"]["replication_factor"].as_u64() {
            Some(2) => Ok(()),
            _ => Err(info.to_string()),
        }
    })
    .await;
    holds("one copy", s(3), async || {
        match nodes[0].replicas().await? {
            replicas if replicas.len() == 1 => Ok(()),
            replicas => Err(format!("{replicas:?}")),
        }
    })
    .await;
    let body = json!({"params": {"replication_factor": 2}});
    let answer = nodes[0].call("PATCH", "/collections/x", Some(body)).await;
    assert_eq!(answer.unwrap().status, 404);
}

async fn unconfirmed(node: &Node, ids: std::ops::Range<u64>) {
    let start = Instant::now();
    let answer = node
        .put("/collections/c/points?wait=true", points(ids))
        .await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.error().contains("timed out after 30s"), "{answer:?}");
    assert!(
        (s(29)..s(40)).contains(&start.elapsed()),
        "took {:?}",
        start.elapsed()
    );
}

crate::behaviours!(
    points_are_served_by_all,
    a_copy_is_counted_where_it_is,
    an_older_copy_stays_active,
    collection_is_created_once,
    missing_copies_are_never_added,
    placement_counts_the_dead,
    missed_writes_and_recovery,
    recovery_asks_a_holder_that_answers,
    unconfirmed_first_write_is_lost,
    unconfirmed_later_write_is_kept,
    too_few_replicas_refuse_a_write,
    a_raised_factor_copies_nothing,
    defaults_of_collections,
);
