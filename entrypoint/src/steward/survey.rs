//! What the steward sees: its own Qdrant's word on peers, collections, copies and transfers. One
//! question for the peers, two for all collections, one for each; none grows with the number of nodes,
//! and none waits for a node that is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use planner::heal::life::{Doubt, Life};
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::heal::view::{
    ClusterView, Collection, Copy, CopyState, Peer, Service, Shard, Transfer,
};
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::records::Said;
use qdrant_api::{Client, Cluster, CollectionCluster, CollectionParams, PeerUri, ReplicaState};
use serde::{Deserialize, Serialize};

use super::Post;
use super::clocks::{Clocks, Running};
use super::pause;
use super::sources::Sources;
use crate::qdrant::{read_orders, read_proof};

/// Where the losses are on record, in Qdrant's key map.
pub const LOSSES_KEY: &str = "entrypoint.losses";
/// So many collections are asked for at a time.
const AT_ONCE: usize = 8;

/// One lost shard, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss {
    /// Its collection.
    pub collection: String,
    /// Which of its shards.
    pub shard: u32,
}

impl Loss {
    /// On record.
    pub fn of(shard: &ShardRef) -> Self {
        Self {
            collection: shard.collection.0.clone(),
            shard: shard.shard.0,
        }
    }
}

/// Why there is nothing to plan upon.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Our Qdrant did not answer.
    #[error("our Qdrant does not say what it sees")]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// The record of losses is not ours to read; nothing is done beside it.
    #[error("the key {LOSSES_KEY} in Qdrant's key map cannot be read")]
    Losses(#[from] serde_json::Error),
    /// The proof of our generation in our own key map is not ours to read.
    #[error("the proof of our generation cannot be read: {0}")]
    Proof(String),
    /// The rounds have handed over nothing for too long.
    #[error("what is known of the peers is {0:?} old")]
    Stale(Duration),
    /// Somebody else leads, or nobody.
    #[error("our Qdrant does not lead")]
    NotLeader,
}

/// Looks at everything once, `step` after the survey that left `clocks`; gives the view and the
/// clocks after it. Whether consensus commits is left open.
pub async fn survey(
    client: &Client,
    post: &Post,
    clocks: &Clocks,
    step: Duration,
) -> Result<(ClusterView, Clocks), SurveyError> {
    let age = post.at.elapsed();
    if age > post.fresh_for {
        return Err(SurveyError::Stale(age));
    }
    let mut clocks = clocks.run(step);
    let info = match client.cluster().await.map_err(Box::new)? {
        Cluster::Enabled(info) if info.leads_itself() => info,
        _ => return Err(SurveyError::NotLeader),
    };
    let us = PeerId(info.peer_id);
    let unseen = |(id, uri): (&u64, &PeerUri)| (PeerId(*id), unseen(uri.address().unwrap_or("")));
    let peers = info.peers.iter().map(unseen).collect();
    let recorded = losses(client).await?;
    let collections = match client.collections().await {
        Ok(names) => {
            let sources = Some(Sources::of(client, &info, post));
            let all = collections(client, names, sources, &recorded, &mut clocks);
            Observed::Known(all.await)
        }
        Err(error) => Observed::Unknown(crate::log::chain(&error)),
    };
    let proof = read_proof(client).await.map_err(SurveyError::Proof)?;
    let mut view = ClusterView {
        us,
        commits: Observed::Unknown("not asked yet".to_owned()),
        paused: pause::read(client).await?,
        wanted_tasks: Some(post.wanted_tasks),
        peers,
        age,
        collections,
        losses: BTreeSet::new(),
        service: Service {
            wanted_revision: post.wanted_revision.clone(),
            told: post.told,
            full: post.full,
            complete: proof.as_ref().is_some_and(|proof| proof.complete),
            survivors: proof.map(|proof| proof.survivors).unwrap_or_default(),
            ..Service::default()
        },
    };
    match read_orders(client).await {
        Ok(orders) => view.service.orders = orders,
        Err(why) => view.service.orders_unread = Some(why),
    }
    people(&mut view, post);
    for peer in strangers(&view) {
        let lasted = clocks.unlisted(peer);
        view.service.unlisted.insert(peer, lasted);
    }
    view.losses = recorded
        .into_iter()
        .filter(|shard| still_lost(&view, shard))
        .collect();
    Ok((view, clocks.end()))
}

/// Puts into the view what the rounds saw of the peers and of the tasks beside them. Whom they have
/// not seen stays as it is.
pub fn people(view: &mut ClusterView, post: &Post) {
    for (id, peer) in &mut view.peers {
        if let Some(seen) = post.peers.get(id) {
            *peer = seen.clone();
        }
    }
    view.peers.insert(view.us, post.ourselves.clone());
    if let Some(leaving) = &view.service.orders.leaving
        && let Some(peer) = view.peers.get_mut(&leaving.peer)
    {
        peer.leaving = true;
    }
    view.service.outside.clone_from(&post.outside);
    view.age = post.at.elapsed();
}

/// What our own Qdrant says of the copies of all collections, for one who only looks.
pub async fn copies(client: &Client) -> Observed<BTreeMap<CollectionName, Observed<Collection>>> {
    let clocks = Clocks::default();
    match client.collections().await {
        Ok(names) => {
            let mut running = clocks.run(Duration::ZERO);
            let none = BTreeSet::new();
            Observed::Known(collections(client, names, None, &none, &mut running).await)
        }
        Err(error) => Observed::Unknown(crate::log::chain(&error)),
    }
}

/// The peers that copies or transfers name and the address book does not.
fn strangers(view: &ClusterView) -> BTreeSet<PeerId> {
    let named = view.known().flat_map(|(_, there)| {
        let holders = there.shards.values().flat_map(|shard| shard.copies.keys());
        let ends = there.transfers.iter().flat_map(|t| [&t.from, &t.to]);
        holders.chain(ends).copied()
    });
    named
        .filter(|peer| !view.peers.contains_key(peer))
        .collect()
}

/// A loss holds until its shard lives again, or is no more: with its collection, or with its shard
/// key. While that cannot be read, it holds.
fn still_lost(view: &ClusterView, lost: &ShardRef) -> bool {
    let Observed::Known(all) = &view.collections else {
        return true;
    };
    match all.get(&lost.collection) {
        None => false,
        Some(Observed::Unknown(_)) => true,
        Some(Observed::Known(collection)) => {
            collection.shards.get(&lost.shard).is_some_and(|there| {
                // A record is left standing until the next loss, and its shard may have come back
                // under the same number: a holder that is silent for a moment is no loss.
                let stays = |peer| {
                    view.peers
                        .get(peer)
                        .is_some_and(|there| !there.life.is_gone())
                };
                let mut copies = there.copies.iter();
                !copies.any(|(peer, copy)| copy.is_active() && stays(peer))
            })
        }
    }
}

/// A peer that Qdrant lists since our last round.
fn unseen(uri: &str) -> Peer {
    Peer {
        life: Life::Unsure {
            why: Doubt::TooSoon,
            lasted: Duration::ZERO,
        },
        zone: None,
        voter: true,
        uri: uri.to_owned(),
        leaving: false,
        disk: None,
        task: None,
        said: Said::default(),
    }
}

/// What is on record as lost.
pub async fn losses(client: &Client) -> Result<BTreeSet<ShardRef>, SurveyError> {
    let value = client.metadata_key(LOSSES_KEY).await.map_err(Box::new)?;
    let recorded: Vec<Loss> = match value {
        None | Some(serde_json::Value::Null) => Vec::new(),
        Some(value) => serde_json::from_value(value)?,
    };
    Ok(recorded
        .into_iter()
        .map(|loss| ShardRef {
            collection: CollectionName(loss.collection),
            shard: ShardId(loss.shard),
        })
        .collect())
}

async fn collections(
    client: &Client,
    names: Vec<String>,
    sources: Option<Sources<'_>>,
    recorded: &BTreeSet<ShardRef>,
    clocks: &mut Running<'_>,
) -> BTreeMap<CollectionName, Observed<Collection>> {
    let clusters = futures::stream::iter(names)
        .map(|name| async move {
            let cluster = client.collection_cluster(&name).await;
            (name, cluster)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let (clusters, params) = tokio::join!(clusters, client.collection_params());
    let mut all = BTreeMap::new();
    for (name, mut cluster) in clusters {
        if let (Some(sources), Ok(cluster)) = (&sources, &mut cluster) {
            sources.ask(&name, cluster).await;
        }
        let name = CollectionName(name);
        let told = match &params {
            Ok(params) => params.get(&name.0).copied().ok_or_else(untold),
            Err(error) => Err(crate::log::chain(error)),
        };
        let params = clocks.params(&name, told);
        let collection = match (cluster, params) {
            // Deleted since the list was made: it is no more.
            (Err(error), _) if error.is_not_found() => continue,
            (Err(error), _) => Observed::Unknown(crate::log::chain(&error)),
            (_, Err(why)) => Observed::Unknown(why),
            (Ok(cluster), Ok(params)) => {
                Observed::Known(collection(&name, &cluster, &params, recorded, clocks))
            }
        };
        all.insert(name, collection);
    }
    all
}

fn untold() -> String {
    "Qdrant does not say what it was created with".to_owned()
}

fn collection(
    name: &CollectionName,
    cluster: &CollectionCluster,
    params: &CollectionParams,
    recorded: &BTreeSet<ShardRef>,
    clocks: &mut Running<'_>,
) -> Collection {
    let mut shards: BTreeMap<ShardId, Shard> = BTreeMap::new();
    for replica in cluster.replicas() {
        let (shard, peer) = (ShardId(replica.shard_id), PeerId(replica.peer_id));
        let active = replica.state.is_active();
        let copy = Copy {
            state: match replica.state {
                ReplicaState::Active => CopyState::Active,
                other => CopyState::Other(format!("{other:?}")),
            },
            bytes: None,
            unwell: clocks.unwell((name.clone(), shard, peer), active),
        };
        shards.entry(shard).or_default().copies.insert(peer, copy);
    }
    // Qdrant says how many shards have no replica at all, and not which. Those whose loss is on record
    // are some of them, but when somebody has deleted their key; the other ids are guessed.
    let recorded = recorded.iter().filter(|lost| lost.collection == *name);
    let recorded = recorded.map(|lost| lost.shard);
    let unlisted = recorded.clone().filter(|id| !shards.contains_key(id));
    let all = cluster
        .shard_count
        .unwrap_or(shards.len() + unlisted.count());
    let mut missing = recorded.chain((0..).map(ShardId));
    while shards.len() < all {
        let Some(id) = missing.next() else { break };
        shards.entry(id).or_default();
    }
    let transfers = cluster.transfers.iter().map(|transfer| {
        let shard = ShardId(transfer.shard_id);
        let (from, to) = (PeerId(transfer.from), PeerId(transfer.to));
        Transfer {
            shard,
            from,
            to,
            sync: transfer.sync,
            stalled: clocks.stalled((name.clone(), shard, from, to), transfer.comment.as_deref()),
        }
    });
    Collection {
        factor: params.replication_factor,
        resharding: cluster.is_resharding(),
        transfers: transfers.collect(),
        shards,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surveyed(cluster: &str) -> Collection {
        surveyed_beside(cluster, &[])
    }

    fn surveyed_beside(cluster: &str, losses: &[ShardRef]) -> Collection {
        let cluster: CollectionCluster = serde_json::from_str(cluster).unwrap();
        let params = CollectionParams {
            shard_number: 2,
            replication_factor: 3,
            write_consistency_factor: 1,
        };
        let clocks = Clocks::default();
        let mut running = clocks.run(Duration::ZERO);
        let losses = losses.iter().cloned().collect();
        let name = CollectionName::from("c");
        collection(&name, &cluster, &params, &losses, &mut running)
    }

    fn lost(collection: &str, shard: u32) -> ShardRef {
        ShardRef {
            collection: CollectionName::from(collection),
            shard: ShardId(shard),
        }
    }

    fn view(collections: Observed<BTreeMap<CollectionName, Observed<Collection>>>) -> ClusterView {
        ClusterView {
            us: PeerId(1),
            commits: Observed::Known(true),
            paused: None,
            wanted_tasks: None,
            peers: [(
                PeerId(1),
                super::super::watch::ourselves(&"t".into(), None, "", Said::default()),
            )]
            .into(),
            age: Duration::ZERO,
            collections,
            losses: BTreeSet::new(),
            service: Service::default(),
        }
    }

    #[test]
    fn a_state_of_a_later_version_is_not_active() {
        let there = surveyed(
            r#"{"peer_id":1,"shard_count":2,"local_shards":[
                {"shard_id":0,"points_count":1,"state":"FutureState"},
                {"shard_id":1,"points_count":1,"state":"Active"}],
                "remote_shards":[],"shard_transfers":[]}"#,
        );
        let state = |shard| {
            there.shards[&ShardId(shard)].copies[&PeerId(1)]
                .state
                .clone()
        };
        assert_eq!(state(1), CopyState::Active);
        assert!(matches!(state(0), CopyState::Other(name) if name.contains("FutureState")));
    }

    #[test]
    fn shards_of_custom_keys_are_shards_like_any_other() {
        // After a key was deleted the ids have gaps; nothing is missing.
        let there = surveyed(
            r#"{"peer_id":1,"shard_count":2,"local_shards":[
                {"shard_id":3,"shard_key":"tenant","points_count":1,"state":"Active"}],
                "remote_shards":[
                {"shard_id":7,"shard_key":12,"peer_id":2,"state":"Active"}],
                "shard_transfers":[]}"#,
        );
        let ids: Vec<_> = there.shards.keys().copied().collect();
        assert_eq!(ids, [ShardId(3), ShardId(7)]);
        assert!(!there.resharding);
    }

    #[test]
    fn every_sign_of_resharding_counts() {
        let plain = r#"{"peer_id":1,"shard_count":1,"local_shards":[
            {"shard_id":0,"points_count":1,"state":"Active"}],
            "remote_shards":[],"shard_transfers":[]}"#;
        assert!(!surveyed(plain).resharding);
        for sign in [
            plain.replace(r#""Active""#, r#""Resharding""#),
            plain.replace(r#""Active""#, r#""ReshardingScaleDown""#),
            plain.replace(
                r#""shard_transfers":[]"#,
                r#""shard_transfers":[{"shard_id":0,"to_shard_id":1,"from":1,"to":2,"sync":true}]"#,
            ),
            plain.replace(
                r#""shard_transfers":[]"#,
                r#""shard_transfers":[],"resharding_operations":[{"direction":"up"}]"#,
            ),
        ] {
            assert!(surveyed(&sign).resharding, "{sign}");
        }
    }

    const ONE_OF_TWO: &str = r#"{"peer_id":1,"shard_count":2,
        "local_shards":[{"shard_id":1,"points_count":10,"state":"Active"}],
        "remote_shards":[],"shard_transfers":[]}"#;

    #[test]
    fn a_shard_without_any_copy_is_seen_although_qdrant_lists_nothing_for_it() {
        let there = surveyed(ONE_OF_TWO);
        assert_eq!(there.shards.len(), 2);
        assert!(there.shards[&ShardId(0)].copies.is_empty());
        assert_eq!(there.shards[&ShardId(1)].copies.len(), 1);
    }

    #[test]
    fn a_loss_holds_until_the_shard_lives_or_its_collection_is_gone() {
        let name = || CollectionName::from("c");
        let unknown = || Observed::Unknown("it hangs".to_owned());
        let known = view(Observed::Known(
            [(name(), Observed::Known(surveyed(ONE_OF_TWO)))].into(),
        ));
        assert!(still_lost(&known, &lost("c", 0)));
        assert!(!still_lost(&known, &lost("c", 1)), "it lives");
        assert!(!still_lost(&known, &lost("deleted", 0)));
        let unread = view(Observed::Known([(name(), unknown())].into()));
        assert!(still_lost(&unread, &lost("c", 1)));
        assert!(still_lost(
            &view(Observed::Unknown("it hangs".to_owned())),
            &lost("c", 1)
        ));
    }

    #[test]
    fn a_recorded_loss_is_the_shard_without_a_copy() {
        let losses = [lost("c", 7), lost("deleted", 0)];
        let there = surveyed_beside(ONE_OF_TWO, &losses);
        let ids: Vec<_> = there.shards.keys().copied().collect();
        assert_eq!(ids, [ShardId(1), ShardId(7)], "and no other is made up");
        assert!(there.shards[&ShardId(7)].copies.is_empty());
        let uncounted = ONE_OF_TWO.replace(r#""shard_count":2,"#, "");
        let there = surveyed_beside(&uncounted, &losses);
        assert_eq!(there.shards.len(), 2);
    }

    #[test]
    fn a_loss_is_over_when_its_shard_key_was_deleted() {
        let deleted = ONE_OF_TWO.replace(r#""shard_count":2"#, r#""shard_count":1"#);
        let there = surveyed_beside(&deleted, &[lost("c", 7)]);
        assert_eq!(there.shards.len(), 1);
        let known = [(CollectionName::from("c"), Observed::Known(there))];
        let seen = view(Observed::Known(known.into()));
        assert!(!still_lost(&seen, &lost("c", 7)));
    }
}
