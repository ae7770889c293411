//! Collections with custom sharding, whose shards their user makes, key by key.
//! Owns: those steps. Must not: contain a scenario, or say what healed means.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use super::World;
use super::points::rest::{Rest, RestError, Target};
use crate::ecs::task::Task;
use crate::timing;
use crate::verdict::Failure;
use crate::verdict::healed::Wanted;

impl World {
    /// Creates a collection with custom sharding through a task, however often that has to be asked.
    ///
    /// # Errors
    /// The last refusal, when it cannot be had in time.
    pub async fn create_custom(
        &self,
        through: &Arc<Task>,
        name: &str,
        copies: usize,
    ) -> Result<(), Failure> {
        let rest = Rest::new().context("build a client")?;
        let limit = Instant::now() + timing::REST;
        while !is_there(name, limit, rest.create_custom(through, name, copies).await)? {
            tokio::time::sleep(timing::LOOK).await;
        }
        self.healing.want(name, Wanted { shards: 0, copies });
        self.step(format!(
            "{name} has no shards yet, and wants {copies} copies"
        ));
        Ok(())
    }

    /// Creates a key, with as many copies as are asked for. At rest its shards should have those that
    /// the collection wants.
    ///
    /// # Errors
    /// The last refusal, when it cannot be had in time.
    pub async fn create_key(
        &self,
        through: &Arc<Task>,
        target: &Target,
        shards: usize,
        copies: Option<usize>,
    ) -> Result<(), Failure> {
        let rest = Rest::new().context("build a client")?;
        // While a dead peer is listed it may be placed there: then it is made and all the same refused
        // when the time is over (408), or it is not made because the peer was removed meanwhile (400).
        let (limit, name) = (Instant::now() + timing::REST, target.to_string());
        loop {
            let answer = rest.create_key(through, target, shards, copies).await;
            if is_there(&name, limit, answer)? {
                break;
            }
            tokio::time::sleep(timing::LOOK).await;
        }
        let before = self.healing.wanted();
        let before = before.get(&target.collection);
        let before = before.with_context(|| format!("{target} has no collection"))?;
        let wanted = Wanted {
            shards: before.shards + shards,
            ..*before
        };
        self.healing.want(&target.collection, wanted);
        let copies = copies.unwrap_or(wanted.copies);
        self.step(format!("{target} has {shards} shards in {copies} copies"));
        Ok(())
    }
}

/// Whether it is there: made, or refused because of that.
fn is_there(what: &str, limit: Instant, answer: Result<(), RestError>) -> Result<bool, Failure> {
    match answer {
        Ok(()) => Ok(true),
        Err(RestError::Refused(_, why)) if why.contains("already exists") => Ok(true),
        Err(error) if Instant::now() > limit => {
            let why = anyhow::Error::from(error);
            let detail = format!("{what}: {why:#}");
            Err(Failure::new("shards can be made", detail))
        }
        Err(_) => Ok(false),
    }
}
