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
        let patience = Patience::until(409);
        while !patience.ends(name, rest.create_custom(through, name, copies).await)? {
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
        // One of its copies may be on a dead peer: then that is refused when the time is over (408),
        // and the key is there (400).
        let (patience, name) = (Patience::until(400), target.to_string());
        while !patience.ends(
            &name,
            rest.create_key(through, target, shards, copies).await,
        )? {
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

/// For how long something is asked for.
struct Patience {
    limit: Instant,
    /// The refusal that says that it is there.
    there: u16,
}

impl Patience {
    fn until(there: u16) -> Self {
        let limit = Instant::now() + timing::REST;
        Self { limit, there }
    }

    /// Whether it is there: made, or refused because of that.
    fn ends(&self, what: &str, answer: Result<(), RestError>) -> Result<bool, Failure> {
        match answer {
            Ok(()) => Ok(true),
            Err(RestError::Refused(status, _)) if status == self.there => Ok(true),
            Err(error) if Instant::now() > self.limit => {
                let why = anyhow::Error::from(error);
                let detail = format!("{what}: {why:#}");
                Err(Failure::new("shards can be made", detail))
            }
            Err(_) => Ok(false),
        }
    }
}
