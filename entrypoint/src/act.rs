//! Carries out one action. Every one can be repeated; every destructive one looks again first and
//! asks `planner::destruction`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use planner::decision::{Action, Aside, Discard};
use planner::destruction::{self, Refused};
use planner::ids::{GenerationId, StoreId, Token};
use planner::observed::Observed;
use planner::records::{Claim, FORMAT, FORMED_KEY, Formed, Mode, Stage, Stamp};
use planner::view::{Child as ChildView, Observation, Probe, Store};

use crate::disk::{Disk, DiskError};
use crate::events;
use crate::ledger::{Depth, Ledger, LedgerError};
use crate::qdrant::{Qdrant, QdrantError, Start};
use crate::regroup::Succession;

/// Why an action was not carried out. The next round decides anew.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The local disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Our Qdrant.
    #[error(transparent)]
    Qdrant(#[from] QdrantError),
    /// Qdrant's REST interface.
    #[error("write into Qdrant's key map")]
    Rest(#[source] Box<qdrant_api::Error>),
    /// A record could not be written as JSON.
    #[error("write the generation as JSON")]
    Encode(#[from] serde_json::Error),
    /// What an action needs was not there any more.
    #[error("{0}")]
    Gone(&'static str),
    /// What cannot be undone was refused when it looked again.
    #[error("not done: {0}")]
    Refused(Refused),
    /// The store is another service's.
    #[error("the store was just taken by service {0:?}")]
    Taken(String),
}

/// What actions work on.
pub struct Hands<'a> {
    /// Our disk.
    pub disk: &'a Disk,
    /// The store.
    pub ledger: &'a mut Ledger,
    /// Our Qdrant.
    pub qdrant: &'a mut Qdrant,
    /// Our service.
    pub service: &'a str,
    /// Our stack.
    pub stack: Option<&'a str>,
}

impl Hands<'_> {
    /// Carries out `action`, decided upon `seen`.
    pub async fn act(&mut self, action: &Action, seen: &Observation) -> Result<(), ActError> {
        let stamp = seen.disk.stamp.as_ref();
        match action {
            Action::Wait => Ok(()),
            Action::Claim {
                number,
                previous,
                mode,
            } => self.claim(*number, previous.as_ref(), *mode).await,
            Action::Regroup {
                number,
                previous,
                survivors,
                missing,
                commit,
                behind,
            } => {
                let wanted = Succession {
                    number: *number,
                    previous,
                    survivors,
                    missing,
                    commit: *commit,
                    behind,
                };
                self.regroup(stamp, wanted).await
            }
            Action::RepeatClaim => {
                let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
                self.write_claim(stamp.clone()).await
            }
            Action::Abandon { number, why } => {
                if self.ledger.abandon(*number, why).await?.is_none() {
                    tracing::info!(event = events::ABANDONED, generation = number, why);
                }
                Ok(())
            }
            Action::Form => self.form(stamp, seen).await,
            Action::Settle(formed) => self.settle(formed),
            Action::StartFounder => Ok(self.qdrant.start(Start::Found).await?),
            Action::StartMember => {
                self.let_go(seen).await?;
                Ok(self.qdrant.start(Start::Own).await?)
            }
            Action::HoldStill(held) => self.hold_still(held).await,
            Action::StartReinit => self.start_reinit().await,
            Action::Resume => self.resume().await,
            Action::StartRejoin { formed, via, uri } => {
                self.start_rejoin(formed, *via, uri, seen).await
            }
            Action::Rejoined { formed, settled } => self.rejoined(formed, settled).await,
            Action::StartJoiner { formed, via, uri } => self.join(stamp, formed, *via, uri).await,
            Action::Publish(formed) => {
                let value = serde_json::to_value(formed)?;
                self.qdrant
                    .client()
                    .put_metadata_key(FORMED_KEY, &value, true)
                    .await
                    .map_err(|error| ActError::Rest(Box::new(error)))?;
                self.qdrant.published();
                tracing::info!(
                    event = events::PUBLISHED,
                    generation = formed.generation.number,
                    complete = formed.complete
                );
                Ok(())
            }
            Action::Restored => self.restored(),
            Action::Recreate(formed) => self.recreate(formed).await,
            Action::Kill => {
                self.qdrant.kill().await;
                Ok(())
            }
            Action::Discard(ground) => self.discard(ground).await,
            Action::SetAside(ground) => self.set_aside(ground, seen).await,
        }
    }

    /// Identity first, then our own stamp, then the claim: whatever is lost in between is found
    /// again from the stamp, and a claim that lands late is still ours.
    async fn claim(
        &mut self,
        number: u64,
        previous: Option<&GenerationId>,
        mode: Mode,
    ) -> Result<(), ActError> {
        let word = || uuid::Uuid::new_v4().simple().to_string();
        let generation = GenerationId {
            number,
            token: Token(word()),
        };
        let restore = mode == Mode::Restore;
        let stamp = Stamp::founding(StoreId(word()), generation, previous.cloned(), restore);
        self.write_claim(stamp).await
    }

    /// Writes the claim of this stamp, the stamp first.
    pub(crate) async fn write_claim(&mut self, mut stamp: Stamp) -> Result<(), ActError> {
        let identity = self
            .ledger
            .identify(self.service, self.stack, stamp.store_id.clone())
            .await?;
        if identity.service != self.service {
            return Err(ActError::Taken(identity.service));
        }
        if stamp.stage != Stage::Founding && identity.store_id != stamp.store_id {
            return Err(ActError::Gone("the store is another cluster's"));
        }
        stamp.store_id = identity.store_id;
        self.disk.write_stamp(&stamp)?;
        let (generation, previous) = stamp
            .claims()
            .ok_or(ActError::Gone("this disk claims nothing"))?;
        let mut claim = self.claim_of(generation, previous, stamp.mode());
        if let Some(mark) = &stamp.regroup {
            claim.survivors = mark.survivors.clone();
            claim.missing = mark.missing.clone();
            claim.behind = mark.behind.clone();
        }
        let other = self.ledger.claim(generation.number, &claim).await?;
        if other.is_none() {
            tracing::info!(
                event = events::CLAIMED,
                generation = generation.number,
                token = generation.token.0,
                mode = ?claim.mode
            );
        }
        Ok(())
    }

    /// Our claim to this generation, without what only a re-quorum says.
    fn claim_of(
        &self,
        generation: &GenerationId,
        previous: Option<&GenerationId>,
        mode: Mode,
    ) -> Claim {
        Claim {
            format: FORMAT,
            token: generation.token.clone(),
            mode,
            task: self.ledger.task().clone(),
            uri: self.qdrant.uri().to_owned(),
            previous: previous.cloned(),
            stack: self.stack.map(str::to_owned),
            survivors: BTreeMap::new(),
            missing: BTreeSet::new(),
            behind: BTreeSet::new(),
        }
    }

    async fn form(&mut self, stamp: Option<&Stamp>, seen: &Observation) -> Result<(), ActError> {
        let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        let store = self.ledger.look(Depth::Generations).await;
        destruction::may_form(stamp, &store).map_err(ActError::Refused)?;
        let ChildView::Running(Observed::Known(qdrant)) = &seen.child else {
            return Err(ActError::Gone("Qdrant does not answer any more"));
        };
        let formed = stamp
            .claimed(self.service, qdrant.peer_id)
            .ok_or(ActError::Gone("this disk claims nothing"))?;
        match self.ledger.form(&formed).await? {
            None => {
                tracing::info!(
                    event = events::FORMED,
                    generation = formed.generation.number,
                    token = formed.generation.token.0,
                    founder = formed.founder.0
                );
                if !formed.survivors.is_empty() {
                    tracing::warn!(
                        event = events::REQUORUM_FORMED,
                        generation = formed.generation.number,
                        survivors = formed.survivors.len(),
                        "what was changed last in collections and aliases may be lost"
                    );
                }
                // Read back: the rest of this round is spared.
                self.settle(&formed)
            }
            Some(_) => Err(ActError::Gone("the claim was decided by somebody else")),
        }
    }

    pub(crate) fn settle(&mut self, formed: &Formed) -> Result<(), ActError> {
        self.disk.write_stamp(&Stamp::of(formed, Stage::Member))?;
        self.qdrant.joined();
        tracing::info!(
            event = events::JOINED,
            generation = formed.generation.number
        );
        Ok(())
    }

    /// Only for good: the record in the key map is never taken back.
    fn restored(&self) -> Result<(), ActError> {
        let stamp = self.disk.look()?.stamp;
        let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        Ok(self.disk.write_stamp(&Stamp {
            restore: false,
            ..stamp
        })?)
    }

    async fn join(
        &mut self,
        stamp: Option<&Stamp>,
        formed: &Formed,
        via: IpAddr,
        uri: &str,
    ) -> Result<(), ActError> {
        let wanted = Stamp::of(formed, Stage::Joining);
        // The stamp before Qdrant, so that data is never without one.
        if stamp != Some(&wanted) {
            self.disk.write_stamp(&wanted)?;
        }
        tracing::debug!("joining through {via}");
        Ok(self.qdrant.start(Start::Join { uri }).await?)
    }

    async fn recreate(&mut self, formed: &Formed) -> Result<(), ActError> {
        let identity = self
            .ledger
            .identify(self.service, self.stack, formed.store_id.clone())
            .await?;
        if identity.store_id != formed.store_id {
            return Err(ActError::Taken(identity.service));
        }
        let mode = Stamp::of(formed, Stage::Member).mode();
        let claim = self.claim_of(&formed.generation, formed.previous.as_ref(), mode);
        let number = formed.generation.number;
        let other = self.ledger.claim(number, &claim).await?;
        if other.is_some_and(|other| other.token != formed.generation.token) {
            return Err(ActError::Gone(
                "another claim stands in our generation's place",
            ));
        }
        if self.ledger.form(formed).await?.is_none() {
            tracing::warn!(
                event = events::RECREATED,
                generation = formed.generation.number
            );
        }
        Ok(())
    }

    async fn discard(&mut self, ground: &Discard) -> Result<(), ActError> {
        let (disk, runs, store) = self.look_again().await?;
        destruction::may_discard(ground, &disk, runs, &store).map_err(ActError::Refused)?;
        self.disk.discard()?;
        self.qdrant.reset();
        tracing::info!(event = events::DISCARDED, ground = ?ground);
        Ok(())
    }

    async fn set_aside(&mut self, ground: &Aside, seen: &Observation) -> Result<(), ActError> {
        let (disk, runs, store) = self.look_again().await?;
        let proven = proven(&store, seen, self.service);
        let stamp = disk
            .stamp
            .as_ref()
            .ok_or(ActError::Gone("the stamp is gone"))?;
        let task = self.ledger.task();
        let word = destruction::word_for(ground, self.service, task, seen, stamp);
        destruction::may_set_aside(ground, &disk, runs, proven, word).map_err(ActError::Refused)?;
        let old = &stamp.generation;
        self.disk
            .set_aside(&format!("{:06}-{}", old.number, old.token))?;
        self.qdrant.reset();
        tracing::warn!(event = events::SET_ASIDE, generation = old.number, ?ground);
        Ok(())
    }

    pub(crate) async fn look_again(
        &mut self,
    ) -> Result<(planner::view::Disk, bool, Observed<Store>), ActError> {
        let store = self.ledger.look(Depth::Generations).await;
        Ok((self.disk.look()?, self.qdrant.running().is_some(), store))
    }
}

/// The highest generation that the store, read just now, or a believed peer proves.
pub(crate) fn proven<'a>(
    store: &'a Observed<Store>,
    seen: &'a Observation,
    service: &str,
) -> Option<&'a GenerationId> {
    let in_store = store.known().into_iter().filter_map(Store::formed);
    let by_peers = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task {
            proof: Some(formed),
            ..
        } if formed.service == service => Some(formed),
        _ => None,
    });
    in_store
        .chain(by_peers)
        .map(|formed| &formed.generation)
        .max_by_key(|id| id.number)
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
