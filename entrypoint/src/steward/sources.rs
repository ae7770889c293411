//! What the source of a transfer says of it. Qdrant tells its progress on the source and on the target
//! alone (facts 4.5), so without asking there a hung transfer between two others would never be known
//! to be one. Asked is only while there is such a transfer, and only a source that answers.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::life::Life;
use planner::ids::PeerId;
use qdrant_api::{Client, ClusterInfo, CollectionCluster};

use super::Post;
use super::elsewhere::qdrant_of;

/// Whom to ask.
pub struct Sources<'a> {
    client: &'a Client,
    info: &'a ClusterInfo,
    alive: BTreeSet<PeerId>,
}

impl<'a> Sources<'a> {
    /// The peers that the address book lists and the last round heard.
    pub fn of(client: &'a Client, info: &'a ClusterInfo, post: &Post) -> Self {
        let alive = post.peers.iter();
        let alive = alive.filter(|(_, peer)| peer.life == Life::Alive);
        Self {
            client,
            info,
            alive: alive.map(|(id, _)| *id).collect(),
        }
    }

    /// Fills in what is known elsewhere. A source that does not say leaves it unknown.
    pub async fn ask(&self, name: &str, seen: &mut CollectionCluster) {
        let us = self.info.peer_id;
        let silent = seen.transfers.iter().filter(|transfer| {
            transfer.comment.is_none() && transfer.from != us && transfer.to != us
        });
        let from: BTreeSet<u64> = silent.map(|transfer| transfer.from).collect();
        let mut told = BTreeMap::new();
        for peer in from {
            if self.alive.contains(&PeerId(peer))
                && let Ok(client) = qdrant_of(self.client, self.info, PeerId(peer))
                && let Ok(answer) = client.collection_cluster(name).await
                && answer.peer_id == peer
            {
                told.insert(peer, answer);
            }
        }
        fill(seen, &told);
    }
}

fn fill(seen: &mut CollectionCluster, told: &BTreeMap<u64, CollectionCluster>) {
    for transfer in &mut seen.transfers {
        let Some(source) = told.get(&transfer.from) else {
            continue;
        };
        let same = source.transfers.iter().find(|there| {
            (there.shard_id, there.from, there.to)
                == (transfer.shard_id, transfer.from, transfer.to)
        });
        if let (None, Some(same)) = (&transfer.comment, same) {
            transfer.comment.clone_from(&same.comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(peer: u64, transfers: &str) -> CollectionCluster {
        let text = format!(
            r#"{{"peer_id":{peer},"local_shards":[],"remote_shards":[],"shard_transfers":[{transfers}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_word_of_the_source_counts_for_its_own_transfer_alone() {
        let silent = r#"{"shard_id":0,"from":2,"to":3,"sync":true}"#;
        let another = r#"{"shard_id":1,"from":4,"to":3,"sync":true}"#;
        let mut seen = cluster(1, &format!("{silent},{another}"));
        let comment = r#","comment":"Transferring records (1/2)"}"#;
        let said = silent.replace('}', comment);
        let other_way = another
            .replace('}', comment)
            .replace(r#""to":3"#, r#""to":5"#);
        let told = [(2, cluster(2, &said)), (4, cluster(4, &other_way))].into();
        fill(&mut seen, &told);
        let comments: Vec<_> = seen
            .transfers
            .iter()
            .map(|t| t.comment.as_deref())
            .collect();
        assert_eq!(comments, [Some("Transferring records (1/2)"), None]);
    }
}
