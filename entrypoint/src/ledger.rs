//! The store's bytes as records: reads them into the planner's view and writes the few that this
//! task may write. Knows the layout; decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::ids::{GenerationId, StoreId, TaskId};
use planner::keep::layout;
use planner::observed::Observed;
use planner::records::{Claim, End, FORMAT, Formed, Identity, Lease, Member, Outcome};
use planner::view::{Ended, Generation, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{BadKey, Created, Key, Prefix, StoreError, StoreHandle, Write};

const IDENTITY: &str = "identity.json";
const END: &str = "end.json";
/// One look asks many questions, each with the store's deadline; all together get so many of them.
const LOOK_DEADLINES: u32 = 4;

/// Why a record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name that no key can have.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The write has not been answered and may still land.
    #[error("writing {0} has not been answered yet; its outcome will be read")]
    Pending(String),
    /// A record that this version cannot understand.
    #[error(
        "{key} {why}; nothing is decided from this store until it is repaired or removed by hand"
    )]
    Record {
        /// The record.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A record of ours could not be written as JSON.
    #[error("writing {0} as JSON")]
    Encode(String, #[source] serde_json::Error),
}

/// How much of the store a round needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything, members and leases included.
    Full,
    /// The generations: enough for a member in a settled cluster.
    Generations,
}

/// What is known of the newest complete set.
enum Newest {
    /// Its folder.
    Set(String),
    /// There are too many folders to say which it is.
    Unlisted,
}

/// The records of one store, as one task sees and writes them.
pub struct Ledger {
    store: StoreHandle,
    task: TaskId,
    beat: u64,
    written: Option<(Member, Instant)>,
    /// Write-once records that were read: they do not change while they are listed, but for a store
    /// that was emptied and written again, whose identity is another.
    fixed: BTreeMap<Key, Vec<u8>>,
}

impl Ledger {
    /// The records in `store`, for `task`.
    pub fn new(store: StoreHandle, task: TaskId) -> Self {
        Self {
            store,
            task,
            beat: 0,
            written: None,
            fixed: BTreeMap::new(),
        }
    }

    /// Where the store is, for people.
    pub fn place(&self) -> &str {
        self.store.describe()
    }

    /// The same records for another loop of this task, which writes no beat.
    pub fn beside(&self) -> Self {
        Self::new(self.store.clone(), self.task.clone())
    }

    /// Reads the store. Any part that cannot be read makes the whole unknown, with the reason; so
    /// does a store that answers each question and takes too long for all of them.
    pub async fn look(&mut self, depth: Depth) -> Observed<Store> {
        self.bounded(depth).await.0
    }

    /// Reads the whole store, and the beat in our own record.
    pub async fn census(&mut self) -> (Observed<Store>, Option<u64>) {
        self.bounded(Depth::Full).await
    }

    /// The store's own name; `None` while it belongs to no cluster.
    pub async fn store_id(&mut self) -> Result<Option<StoreId>, LedgerError> {
        let identity = self.record::<Identity>(&Key::new(IDENTITY)?).await?;
        Ok(identity.map(|identity| identity.store_id))
    }

    async fn bounded(&mut self, depth: Depth) -> (Observed<Store>, Option<u64>) {
        let limit = self.store.deadline() * LOOK_DEADLINES;
        let unknown = |why| (Observed::Unknown(why), None);
        match tokio::time::timeout(limit, self.read(depth)).await {
            Ok(Ok((store, own))) => (Observed::Known(store), own),
            Ok(Err(error)) => unknown(crate::log::chain(&error)),
            Err(_) => unknown(format!("it was not read through within {limit:?}")),
        }
    }

    async fn read(&mut self, depth: Depth) -> Result<(Store, Option<u64>), LedgerError> {
        let identity = self.record::<Identity>(&Key::new(IDENTITY)?).await?;
        let mut generations = BTreeMap::new();
        let listed = self.store.list(&Prefix::new("generations")?).await?;
        self.fixed.retain(|key, _| listed.contains(key));
        for key in &listed {
            let Some(number) = number_of(key, "claim.json") else {
                continue;
            };
            let Some(claim) = self.fixed_record::<Claim>(key).await? else {
                continue;
            };
            let at = |name: &str| generation_key(number, name);
            let outcome_key = at("outcome.json")?;
            let outcome = self.fixed_record::<Outcome>(&outcome_key).await?;
            let lease = match outcome {
                None if depth == Depth::Full => self.record::<Lease>(&at("lease.json")?).await?,
                _ => None,
            };
            let lease = lease
                .filter(|lease| lease.token == claim.token)
                .map(|lease| lease.beat);
            generations.insert(
                number,
                Generation {
                    claim,
                    lease,
                    outcome,
                },
            );
        }
        let mut members = BTreeMap::new();
        let (mut sets, mut newest) = (None, None);
        if depth == Depth::Full {
            for key in self.store.list(&Prefix::new("members")?).await? {
                let Some(task) = key.name().strip_suffix(".json") else {
                    continue;
                };
                if let Some(member) = self.record::<Member>(&key).await? {
                    members.insert(TaskId::from(task), member);
                }
            }
            newest = self.newest_set().await?;
            sets = Some(newest.is_some());
        }
        let own = members.remove(&self.task).map(|member| member.beat);
        let mut store = Store {
            identity,
            generations,
            members,
            own_beat_seen: own == Some(self.beat) && self.beat > 0,
            sets,
            ended: None,
        };
        if depth == Depth::Full {
            store.ended = self.ended(&store, newest.as_ref()).await?;
        }
        Ok((store, own))
    }

    /// The last word of the highest formed generation. `newest` is the newest complete set.
    async fn ended(
        &self,
        store: &Store,
        newest: Option<&Newest>,
    ) -> Result<Option<Ended>, LedgerError> {
        let Some(formed) = store.formed() else {
            return Ok(None);
        };
        let key = generation_key(formed.generation.number, END)?;
        let Some(end) = self.record::<End>(&key).await? else {
            return Ok(None);
        };
        let name = end.set.to_string();
        let mut is_newest = matches!(newest, Some(Newest::Set(newest)) if *newest == name);
        if is_newest {
            let tombstone = format!("{}/{name}/{}", layout::SETS, layout::TOMBSTONE);
            is_newest = self.store.read(&Key::new(tombstone)?).await?.is_none();
        }
        Ok(Some(Ended { end, is_newest }))
    }

    /// The newest complete snapshot set: one look at their folders, and mostly one at the newest.
    async fn newest_set(&self) -> Result<Option<Newest>, LedgerError> {
        let folders = match self.store.folders(&Prefix::new(layout::SETS)?).await {
            Ok(folders) => folders,
            // Too many to list is many.
            Err(StoreError::TooMany { .. }) => return Ok(Some(Newest::Unlisted)),
            Err(error) => return Err(error.into()),
        };
        for folder in folders.iter().rev() {
            let manifest = format!("{}/{folder}/{}", layout::SETS, layout::MANIFEST);
            match self.store.read(&Key::new(manifest)?).await {
                Ok(None) => {}
                // What it says is of no interest here, and it may be larger than the cluster's records.
                Ok(Some(_)) | Err(StoreError::TooLarge { .. }) => {
                    return Ok(Some(Newest::Set(folder.clone())));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn fixed_record<T: DeserializeOwned>(
        &mut self,
        key: &Key,
    ) -> Result<Option<T>, LedgerError> {
        if let Some(bytes) = self.fixed.get(key) {
            return parse(key, bytes).map(Some);
        }
        let Some(bytes) = self.store.read(key).await? else {
            return Ok(None);
        };
        let record = parse(key, &bytes)?;
        self.fixed.insert(key.clone(), bytes);
        Ok(Some(record))
    }

    async fn record<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, LedgerError> {
        self.store
            .read(key)
            .await?
            .map(|bytes| parse(key, &bytes))
            .transpose()
    }

    /// Writes our member record when it says something new or `every` has passed.
    pub async fn beat(&mut self, mut member: Member, every: Duration) -> Result<(), LedgerError> {
        if let Some((last, at)) = &self.written {
            member.beat = last.beat;
            if member == *last && at.elapsed() < every {
                return Ok(());
            }
        }
        member.beat = self.beat + 1;
        let key = member_key(&self.task)?;
        // The count moves even when the answer is lost: a beat that was not read back is not seen.
        self.beat = member.beat;
        self.put(&key, &member).await?;
        self.written = Some((member, Instant::now()));
        Ok(())
    }

    /// Removes our member record: this task ends and says so.
    pub async fn farewell(&mut self) -> Result<(), LedgerError> {
        self.remove(&self.task).await
    }

    /// Removes the member record of a task that is no more. Whether it may be is the planner's.
    pub async fn forget(&mut self, task: &TaskId) -> Result<(), LedgerError> {
        self.remove(task).await
    }

    async fn remove(&self, task: &TaskId) -> Result<(), LedgerError> {
        match self.store.remove(&member_key(task)?).await? {
            Write::Written(_) => Ok(()),
            Write::Pending(pending) => Err(LedgerError::Pending(pending.path().to_owned())),
        }
    }

    /// Renews the lease of our claim.
    pub async fn renew(&mut self, generation: &GenerationId, beat: u64) -> Result<(), LedgerError> {
        let lease = Lease {
            format: FORMAT,
            token: generation.token.clone(),
            beat,
        };
        self.put(&generation_key(generation.number, "lease.json")?, &lease)
            .await
    }

    /// Makes sure that the store has an identity and returns the one that it has.
    pub async fn identify(
        &mut self,
        service: &str,
        stack: Option<&str>,
        store_id: StoreId,
    ) -> Result<Identity, LedgerError> {
        let key = Key::new(IDENTITY)?;
        let ours = Identity {
            format: FORMAT,
            store_id,
            service: service.to_owned(),
            stack: stack.map(str::to_owned),
        };
        Ok(self.create(&key, &ours).await?.unwrap_or(ours))
    }

    /// Creates the claim to generation `number`; returns the one that is there when it is not this.
    pub async fn claim(
        &mut self,
        number: u64,
        claim: &Claim,
    ) -> Result<Option<Claim>, LedgerError> {
        self.create(&generation_key(number, "claim.json")?, claim)
            .await
    }

    /// This task, as claims name it.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// Creates *formed*; returns what is there when it is something else.
    pub async fn form(&mut self, formed: &Formed) -> Result<Option<Outcome>, LedgerError> {
        let outcome = Outcome::Formed(Formed {
            complete: false,
            ..formed.clone()
        });
        self.create(
            &generation_key(formed.generation.number, "outcome.json")?,
            &outcome,
        )
        .await
    }

    /// Creates the last word of our generation; returns what is there when it is something else.
    pub async fn end(&mut self, end: &End) -> Result<Option<End>, LedgerError> {
        self.create(&generation_key(end.generation.number, END)?, end)
            .await
    }

    /// Creates *abandoned*; returns what is there when it is something else.
    pub async fn abandon(
        &mut self,
        number: u64,
        why: &str,
    ) -> Result<Option<Outcome>, LedgerError> {
        let outcome = Outcome::Abandoned {
            format: FORMAT,
            by: self.task.clone(),
            why: why.to_owned(),
        };
        self.create(&generation_key(number, "outcome.json")?, &outcome)
            .await
    }

    /// Exclusive creation: `None` when ours is there now, else what is there.
    async fn create<T>(&mut self, key: &Key, record: &T) -> Result<Option<T>, LedgerError>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.store.create(key, encode(key, record)?).await? {
            Write::Written(Created::Ours) => Ok(None),
            Write::Written(Created::Exists(bytes)) => parse(key, &bytes).map(Some),
            Write::Pending(pending) => Err(LedgerError::Pending(pending.path().to_owned())),
        }
    }

    async fn put<T: Serialize>(&mut self, key: &Key, record: &T) -> Result<(), LedgerError> {
        match self.store.put(key, encode(key, record)?).await? {
            Write::Written(()) => Ok(()),
            Write::Pending(pending) => Err(LedgerError::Pending(pending.path().to_owned())),
        }
    }
}

fn generation_key(number: u64, name: &str) -> Result<Key, BadKey> {
    Key::new(format!("generations/{number:06}/{name}"))
}

fn member_key(task: &TaskId) -> Result<Key, BadKey> {
    Key::new(format!("members/{task}.json"))
}

/// The generation number of `generations/000012/<name>`.
fn number_of(key: &Key, name: &str) -> Option<u64> {
    let rest = key.as_str().strip_prefix("generations/")?;
    let (number, file) = rest.split_once('/')?;
    (file == name).then(|| number.parse().ok()).flatten()
}

fn encode<T: Serialize>(key: &Key, record: &T) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec_pretty(record)
        .map_err(|source| LedgerError::Encode(key.as_str().to_owned(), source))
}

/// Reads a record; its format is looked at first, because a newer one may look quite different.
fn parse<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, LedgerError> {
    let wrong = |why: String| LedgerError::Record {
        key: key.as_str().to_owned(),
        why,
    };
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| wrong(format!("is damaged or cut off ({error})")))?;
    match format_of(&value) {
        Some(format) if format > u64::from(FORMAT) => {
            return Err(wrong(format!(
                "has format {format}, written by a newer version; this one reads up to {FORMAT}"
            )));
        }
        Some(_) => {}
        None => return Err(wrong("has no format number".to_owned())),
    }
    serde_json::from_value(value)
        .map_err(|error| wrong(format!("is not what it should be ({error})")))
}

/// The `format` of a record, which an outcome carries one level down.
fn format_of(value: &serde_json::Value) -> Option<u64> {
    let object = value.as_object()?;
    object
        .get("format")
        .or_else(|| object.values().find_map(|inner| inner.get("format")))?
        .as_u64()
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
