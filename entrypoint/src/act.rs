//! Carries out one action. Every one can be repeated; every destructive one looks again first and
//! asks `planner::destruction`.

use std::net::IpAddr;

use planner::decision::{Action, Aside, Discard};
use planner::destruction::{self, Refused};
use planner::ids::{GenerationId, StoreId, Token};
use planner::observed::Observed;
use planner::records::{FORMAT, FORMED_KEY, Formed, Mode, Stage, Stamp};
use planner::view::{Child as ChildView, Observation, Probe, Store};

use crate::disk::{Disk, DiskError};
use crate::events;
use crate::ledger::{Depth, Ledger, LedgerError};
use crate::qdrant::{Qdrant, QdrantError};

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
                mode,
                previous,
            } => self.claim(*number, *mode, previous.as_ref()).await,
            Action::RepeatClaim => {
                let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
                self.write_claim(stamp.clone(), Mode::Found).await
            }
            Action::Abandon { number, why } => {
                if self.ledger.abandon(*number, why).await?.is_none() {
                    tracing::info!(event = events::ABANDONED, generation = number, why);
                }
                Ok(())
            }
            Action::Form => self.form(stamp, seen).await,
            Action::Settle(formed) => self.settle(formed),
            Action::StartFounder => Ok(self.qdrant.start(None, false).await?),
            Action::StartMember => Ok(self.qdrant.start(None, false).await?),
            Action::StartJoiner { formed, via, uri } => self.join(stamp, formed, *via, uri).await,
            Action::Publish(formed) => {
                let value = serde_json::to_value(formed)?;
                self.qdrant
                    .client()
                    .put_metadata_key(FORMED_KEY, &value, true)
                    .await
                    .map_err(|error| ActError::Rest(Box::new(error)))?;
                tracing::info!(
                    event = events::PUBLISHED,
                    generation = formed.generation.number,
                    complete = formed.complete
                );
                Ok(())
            }
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
        mode: Mode,
        previous: Option<&GenerationId>,
    ) -> Result<(), ActError> {
        let stamp = Stamp {
            format: FORMAT,
            store_id: StoreId(uuid::Uuid::new_v4().simple().to_string()),
            generation: GenerationId {
                number,
                token: Token(uuid::Uuid::new_v4().simple().to_string()),
            },
            previous: previous.cloned(),
            founder: None,
            stage: Stage::Founding,
        };
        self.write_claim(stamp, mode).await
    }

    async fn write_claim(&mut self, mut stamp: Stamp, mode: Mode) -> Result<(), ActError> {
        let identity = self
            .ledger
            .identify(self.service, self.stack, stamp.store_id.clone())
            .await?;
        if identity.service != self.service {
            return Err(ActError::Taken(identity.service));
        }
        stamp.store_id = identity.store_id;
        self.disk.write_stamp(&stamp)?;
        let uri = self.qdrant.uri().to_owned();
        let other = self
            .ledger
            .claim(
                &stamp.generation,
                mode,
                &uri,
                stamp.previous.as_ref(),
                self.stack,
            )
            .await?;
        if other.is_none() {
            tracing::info!(
                event = events::CLAIMED,
                generation = stamp.generation.number,
                token = stamp.generation.token.0
            );
        }
        Ok(())
    }

    async fn form(&mut self, stamp: Option<&Stamp>, seen: &Observation) -> Result<(), ActError> {
        let stamp = stamp.ok_or(ActError::Gone("the stamp is gone"))?;
        let store = self.ledger.look(Depth::Generations).await;
        destruction::may_form(stamp, &store).map_err(ActError::Refused)?;
        let ChildView::Running(Observed::Known(qdrant)) = &seen.child else {
            return Err(ActError::Gone("Qdrant does not answer any more"));
        };
        let formed = Stamp {
            founder: Some(qdrant.peer_id),
            ..stamp.clone()
        }
        .formed(self.service, false)
        .ok_or(ActError::Gone("the founder's peer id is gone"))?;
        match self.ledger.form(&formed).await? {
            None => {
                tracing::info!(
                    event = events::FORMED,
                    generation = formed.generation.number,
                    token = formed.generation.token.0,
                    founder = formed.founder.0
                );
                // Read back: the rest of this round is spared.
                self.settle(&formed)
            }
            Some(_) => Err(ActError::Gone("the claim was decided by somebody else")),
        }
    }

    fn settle(&mut self, formed: &Formed) -> Result<(), ActError> {
        self.disk.write_stamp(&Stamp {
            format: FORMAT,
            store_id: formed.store_id.clone(),
            generation: formed.generation.clone(),
            previous: formed.previous.clone(),
            founder: Some(formed.founder),
            stage: Stage::Member,
        })?;
        self.qdrant.joined();
        tracing::info!(
            event = events::JOINED,
            generation = formed.generation.number
        );
        Ok(())
    }

    async fn join(
        &mut self,
        stamp: Option<&Stamp>,
        formed: &Formed,
        via: IpAddr,
        uri: &str,
    ) -> Result<(), ActError> {
        let wanted = Stamp {
            format: FORMAT,
            store_id: formed.store_id.clone(),
            generation: formed.generation.clone(),
            previous: formed.previous.clone(),
            founder: Some(formed.founder),
            stage: Stage::Joining,
        };
        // The stamp before Qdrant, so that data is never without one.
        if stamp != Some(&wanted) {
            self.disk.write_stamp(&wanted)?;
        }
        tracing::debug!("joining through {via}");
        Ok(self.qdrant.start(Some(uri), true).await?)
    }

    async fn recreate(&mut self, formed: &Formed) -> Result<(), ActError> {
        let identity = self
            .ledger
            .identify(self.service, self.stack, formed.store_id.clone())
            .await?;
        if identity.store_id != formed.store_id {
            return Err(ActError::Taken(identity.service));
        }
        let uri = self.qdrant.uri().to_owned();
        let other = self
            .ledger
            .claim(
                &formed.generation,
                Mode::Found,
                &uri,
                formed.previous.as_ref(),
                self.stack,
            )
            .await?;
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
        let whole = disk
            .stamp
            .as_ref()
            .and_then(|stamp| destruction::whole_without(self.service, seen, stamp));
        destruction::may_set_aside(ground, &disk, runs, proven, whole)
            .map_err(ActError::Refused)?;
        let stamp = disk
            .stamp
            .as_ref()
            .ok_or(ActError::Gone("the stamp is gone"))?;
        let old = &stamp.generation;
        self.disk
            .set_aside(&format!("{:06}-{}", old.number, old.token))?;
        self.qdrant.reset();
        tracing::warn!(
            event = events::SET_ASIDE,
            generation = old.number,
            ground = ?ground
        );
        Ok(())
    }

    async fn look_again(
        &mut self,
    ) -> Result<(planner::view::Disk, bool, Observed<Store>), ActError> {
        let store = self.ledger.look(Depth::Generations).await;
        Ok((self.disk.look()?, self.qdrant.running().is_some(), store))
    }
}

/// The highest generation that the store, read just now, or a believed peer proves.
fn proven<'a>(
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
