//! Carries out what a re-quorum asks of this task (R8): the claim, the two ways of beginning Raft
//! anew, and the copies that are dropped after going over.
//!
//! Every step looks again first and asks `planner::destruction`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use planner::destruction;
use planner::ids::{GenerationId, PeerId, TaskId, Token};
use planner::records::{Formed, Held, Regroup, Rejoin, Stage, Stamp};
use planner::view::Observation;
use qdrant_api::{CollectionCluster, ReplicaState};

use crate::act::{ActError, Hands, proven};
use crate::events;
use crate::qdrant::Start;

/// How long Qdrant waits until a dropped copy is applied, and we for its answer.
const APPLY_SECS: u64 = 10;
const ANSWER: Duration = Duration::from_secs(12);
/// Copies dropped in one round at most, so that the loop of PID 1 goes on turning.
const DROPS: usize = 32;

/// What the planner asks a claimant to write down.
pub(crate) struct Succession<'a> {
    /// The number to claim.
    pub(crate) number: u64,
    /// The generation whose majority is lost.
    pub(crate) previous: &'a GenerationId,
    /// Who goes on.
    pub(crate) survivors: &'a BTreeMap<PeerId, TaskId>,
    /// Who is silent.
    pub(crate) missing: &'a BTreeSet<PeerId>,
    /// The last entry that is known here to be committed.
    pub(crate) commit: u64,
    /// Whose data has stood still while others went on.
    pub(crate) behind: &'a BTreeSet<PeerId>,
}

impl Hands<'_> {
    /// The mark on our own disk, then the claim: a claim that lands late is still ours.
    pub(crate) async fn regroup(
        &mut self,
        stamp: Option<&Stamp>,
        wanted: Succession<'_>,
    ) -> Result<(), ActError> {
        let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        let begun = stamp.regroup.as_ref().is_some_and(|mark| mark.begun);
        let mark = Regroup {
            claim: GenerationId {
                number: wanted.number,
                token: Token(uuid::Uuid::new_v4().simple().to_string()),
            },
            previous: wanted.previous.clone(),
            survivors: wanted.survivors.clone(),
            missing: wanted.missing.clone(),
            commit: wanted.commit,
            behind: wanted.behind.clone(),
            begun,
        };
        tracing::warn!(
            event = events::REQUORUM_CLAIMED,
            generation = wanted.number,
            token = mark.claim.token.0,
            survivors = ?mark.survivors.values().map(|task| &task.0).collect::<Vec<_>>(),
            missing = ?mark.missing.iter().map(|peer| peer.0).collect::<Vec<_>>(),
            commit = mark.commit,
        );
        self.write_claim(Stamp {
            regroup: Some(mark),
            ..stamp.clone()
        })
        .await
    }

    /// The mark that this peer has left its old generation, then Qdrant.
    pub(crate) async fn start_reinit(&mut self) -> Result<(), ActError> {
        let (disk, runs, store) = self.look_again().await?;
        destruction::may_reinit(&disk, runs, &store).map_err(ActError::Refused)?;
        let mut stamp = disk.stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        let mark = stamp
            .regroup
            .as_mut()
            .ok_or(ActError::Gone("the mark is gone"))?;
        let first_term = mark.claim.first_term();
        if !mark.begun {
            mark.begun = true;
            self.disk.write_stamp(&stamp)?;
        }
        self.disk.raise_term(first_term)?;
        Ok(self.qdrant.start(Start::Reinit).await?)
    }

    /// The mark that Qdrant rests for the claim of another, then its end: a process that is started
    /// again finds it.
    pub(crate) async fn hold_still(&mut self, held: &Held) -> Result<(), ActError> {
        let mut stamp = self.disk.look()?.stamp;
        let stamp = stamp.as_mut().ok_or(ActError::Gone("the stamp is gone"))?;
        if stamp.held.as_ref() != Some(held) {
            stamp.held = Some(held.clone());
            self.disk.write_stamp(stamp)?;
            tracing::warn!(
                event = events::REQUORUM_RESTS,
                generation = held.claim.number,
                claimant = held.task.0
            );
        }
        if self.qdrant.running().is_some() {
            self.qdrant.kill().await;
        }
        Ok(())
    }

    /// Takes that mark off, where there is one, before Qdrant is started again.
    pub(crate) async fn let_go(&mut self, seen: &Observation) -> Result<(), ActError> {
        if seen.disk.stamp.as_ref().is_none_or(|s| s.held.is_none()) {
            return Ok(());
        }
        let (disk, _, store) = self.look_again().await?;
        let stamp = disk.stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        destruction::may_let_go(&stamp, &store).map_err(ActError::Refused)?;
        Ok(self.disk.write_stamp(&Stamp {
            held: None,
            ..stamp
        })?)
    }

    pub(crate) async fn resume(&mut self) -> Result<(), ActError> {
        let (disk, _, store) = self.look_again().await?;
        destruction::may_resume(&disk, &store).map_err(ActError::Refused)?;
        let stamp = disk.stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        let generation = stamp.generation.number;
        self.disk.write_stamp(&Stamp {
            regroup: None,
            ..stamp
        })?;
        tracing::info!(event = events::REQUORUM_RESUMED, generation);
        Ok(())
    }

    pub(crate) async fn start_rejoin(
        &mut self,
        formed: &Formed,
        via: IpAddr,
        uri: &str,
        seen: &Observation,
    ) -> Result<(), ActError> {
        let (disk, runs, store) = self.look_again().await?;
        let proven = proven(&store, seen, self.service);
        destruction::may_rejoin(formed, &disk, runs, proven).map_err(ActError::Refused)?;
        let stamp = disk
            .stamp
            .as_ref()
            .ok_or(ActError::Gone("the stamp is gone"))?;
        let earlier = stamp.rejoin.as_ref();
        if earlier.is_none() || stamp.generation != formed.generation {
            let left = disk.voters.difference(&formed.survivors).copied();
            let regroup = stamp.regroup.as_ref().map(|mark| mark.commit);
            let mark = Rejoin {
                left: left.collect(),
                // What an earlier try has begun anew says nothing of the data any more.
                commit: regroup.or_else(|| earlier.map_or(disk.commit, |mark| mark.commit)),
            };
            self.disk.write_stamp(&Stamp {
                rejoin: Some(mark),
                // Who forms may not have seen yet that the restore was finished; we have.
                restore: formed.restore && stamp.restore,
                ..Stamp::of(formed, Stage::Joining)
            })?;
        }
        tracing::info!(
            event = events::REQUORUM_REJOINS,
            generation = formed.generation.number,
            via = via.to_string()
        );
        Ok(self.qdrant.start(Start::Rejoin { uri }).await?)
    }

    /// Drops our copies that a settled member holds as well, and then belongs to the generation.
    /// Qdrant calls them Active when it comes in with them, whatever they have missed.
    pub(crate) async fn rejoined(
        &mut self,
        formed: &Formed,
        settled: &BTreeSet<PeerId>,
    ) -> Result<(), ActError> {
        let rest = |error| ActError::Rest(Box::new(error));
        let client = self.qdrant.client().with_timeout(ANSWER);
        let mut drops = 0;
        for collection in client.collections().await.map_err(rest)? {
            let copies = client.collection_cluster(&collection).await.map_err(rest)?;
            for shard in sheds(&copies, settled) {
                if drops == DROPS {
                    return Ok(());
                }
                client
                    .drop_replica(&collection, shard, copies.peer_id, APPLY_SECS)
                    .await
                    .map_err(rest)?;
                drops += 1;
                tracing::info!(event = events::REQUORUM_SHED, collection, shard);
            }
        }
        tracing::info!(
            event = events::REQUORUM_REJOINED,
            generation = formed.generation.number
        );
        self.settle(formed)
    }
}

/// The shards whose copy here a settled member holds as well.
fn sheds(copies: &CollectionCluster, settled: &BTreeSet<PeerId>) -> Vec<u32> {
    let elsewhere = |shard: u32| -> BTreeSet<PeerId> {
        copies
            .remote_shards
            .iter()
            .filter(|remote| remote.shard_id == shard && remote.state == ReplicaState::Active)
            .map(|remote| PeerId(remote.peer_id))
            .collect()
    };
    copies
        .local_shards
        .iter()
        .filter(|local| local.state == ReplicaState::Active)
        .map(|local| local.shard_id)
        .filter(|shard| destruction::may_shed(&elsewhere(*shard), settled).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_copies_that_a_settled_member_holds_are_dropped() {
        let copies: CollectionCluster = serde_json::from_value(serde_json::json!({
            "peer_id": 2,
            "shard_count": 4,
            "local_shards": [
                {"shard_id": 0, "points_count": 5, "state": "Active"},
                {"shard_id": 1, "points_count": 5, "state": "Active"},
                {"shard_id": 2, "points_count": 5, "state": "Active"},
                {"shard_id": 3, "points_count": 5, "state": "Partial"},
            ],
            "remote_shards": [
                {"shard_id": 0, "peer_id": 1, "state": "Active"},
                {"shard_id": 1, "peer_id": 1, "state": "Dead"},
                {"shard_id": 1, "peer_id": 3, "state": "Active"},
                {"shard_id": 3, "peer_id": 1, "state": "Active"},
            ],
            "shard_transfers": [],
        }))
        .unwrap();
        assert_eq!(sheds(&copies, &[PeerId(1)].into()), [0]);
        assert_eq!(sheds(&copies, &[PeerId(1), PeerId(3)].into()), [0, 1]);
        assert!(sheds(&copies, &BTreeSet::new()).is_empty());
    }
}
