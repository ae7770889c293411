//! Counts the points of all copies now and then, and says where they differ. When a difference counts
//! is `planner::heal::divergence`'s; here it is asked, slowly, and said. Nothing is ever repaired.
//!
//! A loop of its own beside the steward's, which it never holds up: one question at a time, a few in
//! a second, and none while anything is being healed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::divergence::{Change, Divergence, Seen, Shown, Verdict};
use planner::heal::names::{CollectionName, ShardId, ShardRef};
use planner::ids::PeerId;
use planner::observed::Observed;
use qdrant_api::{Client, Cluster, ClusterInfo, CollectionCluster};
use serde_json::{Value, json};
use tokio::sync::watch as channel;

use super::Post;
use super::elsewhere::qdrant_of;
use crate::events;
use crate::log::chain;
use crate::status::Board;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);
/// Qdrant collects the ids of all points to count them exactly: larger copies are compared by their
/// cheap counts alone.
const EXACT_LIMIT: u64 = 2_000_000;

/// Counts in the order of shards and peers.
type Counts = BTreeMap<PeerId, Observed<u64>>;

/// What compares; idle while another task's Qdrant leads.
pub struct Comparer {
    client: Client,
    interval: Duration,
    pause: Duration,
    board: channel::Sender<Board>,
    divergence: Divergence,
}

impl Comparer {
    /// One that has compared nothing yet. `client` asks our own Qdrant.
    pub fn new(client: Client, interval: Duration, board: channel::Sender<Board>) -> Self {
        Self {
            client,
            interval,
            pause: PAUSE,
            board,
            divergence: Divergence::default(),
        }
    }

    /// Compares while the rounds post, until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            self.divergence = Divergence::default();
            self.show();
            if posts.wait_for(Option::is_some).await.is_err() {
                return;
            }
            while self.turn_lasts(&mut posts).await {
                self.compare(&posts).await;
            }
        }
    }

    /// Waits for the next comparison; says whether our Qdrant leads all the while.
    async fn turn_lasts(&self, posts: &mut channel::Receiver<Option<Post>>) -> bool {
        let ends = posts.wait_for(Option::is_none);
        tokio::time::timeout(self.interval, ends).await.is_err()
    }

    async fn compare(&mut self, posts: &channel::Receiver<Option<Post>>) {
        let (Ok(Cluster::Enabled(info)), Ok(names)) =
            (self.client.cluster().await, self.client.collections().await)
        else {
            self.divergence.interrupted(|_| true);
            return;
        };
        for name in &names {
            // Somebody else is the steward, or something is to be healed: not the time to compare.
            if posts.borrow().is_none() || !self.board.borrow().status.whole {
                self.divergence.interrupted(|_| true);
                return;
            }
            let filling = self.board.borrow().status.filling.clone();
            if filling.is_some_and(|filling| filling.0 == *name) {
                // Its copies are not meant to be the same yet.
                let of_it = |shard: &ShardRef| shard.collection.0 == *name;
                self.divergence.interrupted(of_it);
                continue;
            }
            self.collection(name, &info).await;
        }
        let there = |shard: &ShardRef| names.contains(&shard.collection.0);
        self.divergence.keep(there);
        self.show();
    }

    async fn collection(&mut self, name: &str, info: &ClusterInfo) {
        let Ok(cluster) = self.client.collection_cluster(name).await else {
            let of_it = |shard: &ShardRef| shard.collection.0 == *name;
            return self.divergence.interrupted(of_it);
        };
        let still = !cluster.is_resharding()
            && cluster.transfers.is_empty()
            && cluster.replicas().all(|replica| replica.state.is_active());
        let mut holders: BTreeMap<ShardId, BTreeSet<PeerId>> = BTreeMap::new();
        for replica in cluster.replicas() {
            let holders = holders.entry(ShardId(replica.shard_id)).or_default();
            holders.insert(PeerId(replica.peer_id));
        }
        let mut told = BTreeMap::new();
        if still {
            for peer in holders.values().flatten().copied().collect::<BTreeSet<_>>() {
                let counts = self.cheap(name, info, peer).await;
                told.insert(peer, counts);
            }
        }
        for (shard, holders) in &holders {
            let count = |peer: &PeerId| match told.get(peer) {
                Some(Ok(counts)) => counts.get(shard).copied().map_or_else(
                    || Observed::Unknown("it holds no Active copy".to_owned()),
                    Observed::Known,
                ),
                Some(Err(why)) => Observed::Unknown(why.clone()),
                None => Observed::Unknown("not asked".to_owned()),
            };
            let counts: Counts = holders.iter().map(|peer| (*peer, count(peer))).collect();
            self.judge(name, *shard, info, still, counts).await;
        }
        let here =
            |shard: &ShardRef| shard.collection.0 != *name || holders.contains_key(&shard.shard);
        self.divergence.keep(here);
    }

    async fn judge(
        &mut self,
        name: &str,
        shard: ShardId,
        info: &ClusterInfo,
        still: bool,
        counts: Counts,
    ) {
        let shard = ShardRef {
            collection: CollectionName::from(name),
            shard,
        };
        let small = (counts.values()).all(|count| count.known().is_some_and(|n| *n <= EXACT_LIMIT));
        let exact = match still && small && self.divergence.worth_exact(&shard, &counts) {
            true => Some(self.exact(&shard, info, &counts).await),
            false => None,
        };
        let seen = Seen {
            still,
            counts,
            exact,
        };
        if let Some(change) = self.divergence.look(&shard, &seen) {
            tell(&change);
            self.show();
        }
    }

    /// What this peer says of the copies that it holds itself.
    async fn cheap(
        &self,
        name: &str,
        info: &ClusterInfo,
        peer: PeerId,
    ) -> Result<BTreeMap<ShardId, u64>, String> {
        tokio::time::sleep(self.pause).await;
        let client = qdrant_of(&self.client, info, peer)?;
        let cluster = client.collection_cluster(name).await;
        local(&cluster.map_err(|error| chain(&error))?, peer)
    }

    async fn exact(&self, shard: &ShardRef, info: &ClusterInfo, counts: &Counts) -> Counts {
        let mut exact = Counts::new();
        for peer in counts.keys() {
            tokio::time::sleep(self.pause).await;
            let counted = match qdrant_of(&self.client, info, *peer) {
                Ok(client) => client
                    .count_local(&shard.collection.0, shard.shard.0)
                    .await
                    .map_err(|error| chain(&error)),
                Err(why) => Err(why),
            };
            let counted = counted.map_or_else(Observed::Unknown, Observed::Known);
            exact.insert(*peer, counted);
        }
        exact
    }

    fn show(&self) {
        let page = |verdict| {
            let shards = self.divergence.of(verdict);
            let shown = shards.map(|(shard, counts)| format!("{shard}: {}", Shown(counts)));
            shown.collect::<Vec<_>>()
        };
        let (suspect, diverged) = (page(Verdict::Suspect), page(Verdict::Diverged));
        self.board.send_modify(|board| {
            board.status.divergence = match suspect.is_empty() && diverged.is_empty() {
                true => Value::Null,
                false => json!({ "suspect": suspect, "diverged": diverged }),
            };
            board.status.diverged = diverged;
        });
    }
}

/// The counts of the Active copies that the answering peer holds; only its own word counts.
fn local(cluster: &CollectionCluster, peer: PeerId) -> Result<BTreeMap<ShardId, u64>, String> {
    if cluster.peer_id != peer.0 {
        return Err(format!("peer {} answers at its address", cluster.peer_id));
    }
    let active = cluster.local_shards.iter();
    let active = active.filter(|shard| shard.state.is_active());
    Ok(active
        .map(|shard| (ShardId(shard.shard_id), shard.points_count))
        .collect())
}

fn tell(change: &Change) {
    match change.verdict {
        Verdict::Equal => tracing::info!(event = events::DIVERGENCE_OVER, "{change}"),
        Verdict::Suspect => tracing::warn!(event = events::DIVERGENCE_SUSPECT, "{change}"),
        Verdict::Diverged => tracing::error!(event = events::DIVERGENCE_FOUND, "{change}"),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
