//! `/readyz`: a latch that only advances when it is polled, and never goes back
//! (upstream src/common/health.rs).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

use super::client;
use super::data::remote::CommitReply;
use super::model::ReplicaState;
use super::node::{META_OP_WAIT, Node};

const POLL_WAIT: Duration = Duration::from_millis(500);

/// The latch.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    became_ready: Notify,
    polled: Notify,
}

impl Health {
    /// Start at "not ready"; `joined` when this process has just joined a cluster.
    pub fn spawn(node: &Arc<Node>, joined: bool) -> Arc<Self> {
        let health = Arc::new(Self::default());
        let (node, task) = (Arc::clone(node), Arc::clone(&health));
        tokio::spawn(async move {
            task.advance(&node, joined).await;
            task.ready.store(true, Ordering::Relaxed);
            task.became_ready.notify_waiters();
        });
        health
    }

    /// Poll once; waits up to half a second for the answer to become yes.
    pub async fn poll(&self) -> bool {
        if self.ready.load(Ordering::Relaxed) {
            return true;
        }
        self.polled.notify_one();
        let became = self.became_ready.notified();
        if self.ready.load(Ordering::Relaxed) {
            return true;
        }
        tokio::time::timeout(POLL_WAIT, became).await.is_ok()
    }

    async fn advance(&self, node: &Arc<Node>, joined: bool) {
        while joined && node.read(|inner| inner.model.peers.len() <= 1) {
            self.polled.notified().await;
        }
        self.polled.notify_one();
        let Some(mut wanted) = self.cluster_commit(node, true).await else {
            return;
        };
        loop {
            while node.read(|inner| inner.raft.applied) < wanted {
                self.polled.notified().await;
                if members(node).len() <= 1 {
                    return;
                }
            }
            match self.cluster_commit(node, false).await {
                Some(newer) if newer != wanted => wanted = newer,
                _ => break,
            }
        }
        let mut ill = unhealthy(node);
        while !ill.is_empty() {
            self.polled.notified().await;
            let now = unhealthy(node);
            ill.retain(|shard| now.contains(shard));
        }
    }

    /// Highest commit index of some other members; failures are passed over. `None` when alone.
    async fn cluster_commit(&self, node: &Arc<Node>, one: bool) -> Option<u64> {
        self.polled.notified().await;
        let members = members(node);
        if members.len() <= 1 {
            return None;
        }
        let enough = if one { 1 } else { members.len() / 2 };
        let own = node.read(|inner| inner.model.peers.get(&node.id).cloned());
        let others = members.into_iter().filter(|uri| Some(uri) != own.as_ref());
        let ask = |uri: String| async move {
            let reply: Result<CommitReply, _> =
                client::post(node, &uri, "commit", &None::<u64>, META_OP_WAIT).await;
            reply
        };
        let answers: FuturesUnordered<_> = others.map(ask).collect();
        let commits: Vec<u64> = answers
            .filter_map(|reply| futures::future::ready(reply.ok().map(|r| r.commit)))
            .take(enough)
            .collect()
            .await;
        Some(commits.into_iter().max().unwrap_or(0))
    }
}

fn members(node: &Node) -> BTreeSet<String> {
    node.read(|inner| {
        let conf = &inner.raft.conf;
        let listed = |id: &u64| conf.voters.contains(id) || conf.learners.contains(id);
        let own = listed(&node.id);
        let peers = inner
            .model
            .peers
            .iter()
            .filter(|(id, _)| !own || listed(id));
        peers.map(|(_, uri)| uri.clone()).collect()
    })
}

fn unhealthy(node: &Node) -> HashSet<(String, u32)> {
    node.read(|inner| {
        let mut found = HashSet::new();
        for (name, collection) in &inner.model.collections {
            for (shard_id, replicas) in &collection.shards {
                if replicas
                    .get(&node.id)
                    .is_some_and(|s| *s != ReplicaState::Active)
                {
                    found.insert((name.clone(), *shard_id));
                }
            }
        }
        found
    })
}
