//! What people ask for about restores, in Qdrant's key map: a job beside what is served, or a decision
//! while the cluster waits for the restore of everything. Any task takes it; the restorer of whoever
//! leads finds it.
//!
//! What speaks against it is said to who asks, at once, and nothing is written. The key map has no
//! compare-and-set: who asks reads its own record back, and is told when another one stands there.

mod choice;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use planner::heal::names::CollectionName;
use planner::ids::{GenerationId, StoreId, Token};
use planner::keep::choose::unexplained;
use planner::keep::ends;
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::job;
use planner::keep::layout::Entry;
use planner::keep::plan::Described;
use planner::keep::records::{Description, Manifest, Tombstone};
use planner::keep::restore_wish::{self, WISH_KEY, What, Wish};
use planner::keep::time::Utc;
use planner::observed::Observed;
use planner::records::{self, FORMAT, JOB_KEY, Job, JobState, MARK, Restore};
use qdrant_api::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::choice::{There, counts, newest, pieces};
use super::shelves::{Known, Shelves, look};
use super::{Shelf, now};
use crate::config::{Config, Heal};
use crate::log::chain;
use crate::qdrant::{probe_commit, read_proof, read_restore};
use crate::steward::{COMMIT_TIMEOUT, pause};

/// Whose sets are ours is not known yet.
const UNNAMED: &str = "the store has not said yet which cluster this is";

/// What is longer is no name.
const LONGEST_NAME: usize = 200;

/// The body of `POST /v1/restores`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Who asks.
    pub owner: String,
    /// The set; otherwise the newest that has what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetId>,
    /// The one collection that is wanted; otherwise all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionName>,
    /// What it is to be called; otherwise as in the set.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub new_name: Option<CollectionName>,
    /// The aliases of the collection that is there lead to the restored one in the end.
    #[serde(default)]
    pub switch: bool,
    /// Collections that are there are deleted in the end, and their names lead to the restored ones.
    #[serde(default)]
    pub replace: bool,
    /// What is missing stays lost: while everything is restored, and of earlier lives of the cluster.
    #[serde(default)]
    pub accept_loss: bool,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of `DELETE /v1/restores`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallOff {
    /// Who.
    pub owner: String,
}

/// What was asked for, as it is on record, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// A restore beside what is served.
    Job(Job),
    /// A decision about what is restored, and what is not.
    Wish(Wish),
}

/// Where restores are: `GET /v1/restores`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The restore with which this generation began.
    pub everything: Option<Restore>,
    /// The last one by hand.
    pub job: Option<Job>,
}

/// Why it was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// What is asked for makes no sense.
    #[error("{0}")]
    Bad(String),
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// Something that is there is in the way.
    #[error("{0}")]
    InTheWay(String),
    /// It cannot be said now.
    #[error("{0}")]
    Unread(String),
    /// The key map was not read or written.
    #[error("ask Qdrant")]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// An operator wants no changes, or that is not known.
    #[error("look for a pause")]
    Pause(#[from] pause::PauseError),
    /// The record could not be written as JSON.
    #[error("write the request as JSON")]
    Encode(#[from] serde_json::Error),
}

impl NotTaken {
    /// As the control port says it.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::InTheWay(_) => StatusCode::CONFLICT,
            Self::Unread(_) | Self::Qdrant(_) | Self::Pause(_) | Self::Encode(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

fn bad<T>(why: impl Into<String>) -> Result<T, NotTaken> {
    Err(NotTaken::Bad(why.into()))
}

fn in_the_way<T>(why: impl Into<String>) -> Result<T, NotTaken> {
    Err(NotTaken::InTheWay(why.into()))
}

impl From<qdrant_api::Error> for NotTaken {
    fn from(error: qdrant_api::Error) -> Self {
        Self::Qdrant(Box::new(error))
    }
}

/// Takes what people ask for, for the control port.
#[derive(Clone)]
pub struct Restoring {
    qdrant: Client,
    shelf: Shelf,
    dry_run: bool,
}

impl Restoring {
    /// One that asks our own Qdrant, for sets in `shelf`.
    pub fn new(config: &Config, qdrant: Client, shelf: Shelf) -> Self {
        Self {
            qdrant,
            shelf,
            dry_run: config.heal == Heal::DryRun,
        }
    }

    /// Puts it on record, unless it only asks what would be. `ours` is the store's own name.
    ///
    /// # Errors
    /// Nothing would come of it, or something is in the way, or it is not known whether it was written.
    pub async fn take(&self, ask: Ask, ours: Option<StoreId>) -> Result<Taken, NotTaken> {
        let by = owner(&ask.owner)?;
        ask.makes_sense()?;
        if self.dry_run && !ask.dry_run {
            return in_the_way("nothing is changed with dry-run (ENTRYPOINT_HEAL)");
        }
        if let Some(pause) = pause::read(&self.qdrant).await? {
            let (owner, reason) = (pause.owner, pause.reason);
            return in_the_way(format!(
                "paused by {owner}: {reason}; `entrypoint resume` ends it"
            ));
        }
        let at = now().ok_or_else(|| NotTaken::Unread("the wall clock says no time".to_owned()))?;
        let everything = read_restore(&self.qdrant).await.map_err(NotTaken::Unread)?;
        if let Some(record) = everything.filter(|record| !record.finished) {
            return self.decide(&ask, record, ours.as_ref(), by, at).await;
        }
        let Some(ours) = ours else {
            return Err(NotTaken::Unread(UNNAMED.to_owned()));
        };
        if ask.accept_loss {
            return self.give_up_earlier(&ask, &ours, by, at).await;
        }
        if let Some(job) = self.job().await?.filter(|job| !job.is_over()) {
            return in_the_way(format!(
                "a restore from set {}, asked for by {} at {}, is not over: `entrypoint restore --call-off` ends it",
                job.set, job.by, job.at
            ));
        }
        let manifest = self.manifest(&ask, &ours).await?;
        let there = There {
            identities: self.qdrant.collection_identities().await?,
            aliases: self.qdrant.aliases().await?,
        };
        let job = Job {
            format: FORMAT,
            token: Token(uuid::Uuid::new_v4().simple().to_string()),
            by,
            at,
            set: manifest.set,
            pieces: pieces(&ask, &manifest, &there)?,
            tries: 0,
            state: JobState::Running,
        };
        if !ask.dry_run {
            // The look at the store took its time.
            self.applied().await?;
            if let Some(other) = self.job().await?.filter(|job| !job.is_over()) {
                return in_the_way(format!("{} was quicker, at {}", other.by, other.at));
            }
            self.put(JOB_KEY, &job).await?;
            let now = self.job().await?;
            if let Some(other) = now.filter(|now| now.token != job.token) {
                return in_the_way(format!("{} was quicker, at {}", other.by, other.at));
            }
        }
        Ok(Taken::Job(job))
    }

    /// A decision about the restore of everything.
    async fn decide(
        &self,
        ask: &Ask,
        record: Restore,
        ours: Option<&StoreId>,
        by: String,
        at: Utc,
    ) -> Result<Taken, NotTaken> {
        let beside = ask.collection.is_some() || ask.switch || ask.replace;
        let what = match (ask.set, ask.accept_loss) {
            (Some(set), false) if !beside => What::Use(set),
            (None, true) => What::AcceptLoss,
            _ => {
                return in_the_way(
                    "everything is being restored: until that is finished only --set ID alone, which is taken instead, and --accept-loss can be asked for",
                );
            }
        };
        let mut wish = Wish {
            format: FORMAT,
            generation: record.generation.clone(),
            by,
            at,
            what,
            lost: BTreeSet::new(),
        };
        let done = record.collections.iter();
        let done = done.filter(|(_, at)| matches!(at, records::Progress::Done { .. }));
        let mut kept: BTreeSet<_> = done.map(|(name, _)| name.clone()).collect();
        if let restore_wish::Verdict::Refused(why) = restore_wish::verdict(&record, &wish) {
            return in_the_way(why);
        }
        if let What::Use(set) = what {
            let tombstone = self.shelf.read::<Tombstone>(set, Entry::Tombstone).await;
            if !matches!(tombstone, Found::Absent) {
                return in_the_way(format!("set {set} is being deleted, or that is not known"));
            }
            let manifest = self.read(set).await?;
            if ours != Some(&manifest.source.cluster) {
                return in_the_way(format!("set {set} is of another cluster"));
            }
            let whole = manifest.collections.iter().filter(|there| there.whole);
            kept = whole.map(|there| there.name.clone()).collect();
        }
        let there = match ours {
            Some(ours) => self.sets(ours).await,
            None => Err(NotTaken::Unread(UNNAMED.to_owned())),
        };
        wish.lost = match there {
            Ok(there) => ends::lost(there.seen(), &kept),
            // A cluster whose store is gone must not wait for it: then it costs what is known to be missing.
            Err(NotTaken::Unread(why)) => {
                tracing::warn!("what a decision costs is told by the restore alone: {why}");
                let wanted = record.collections.into_keys();
                wanted.filter(|name| !kept.contains(name)).collect()
            }
            Err(why) => return Err(why),
        };
        self.decided(ask, wish).await
    }

    /// Puts the decision on record, unless it was only asked what it would be.
    async fn decided(&self, ask: &Ask, wish: Wish) -> Result<Taken, NotTaken> {
        if !ask.dry_run {
            self.put(WISH_KEY, &wish).await?;
        }
        Ok(Taken::Wish(wish))
    }

    /// A decision about what earlier lives of the cluster had, and nobody saw end: it is on record as ended
    /// with the next set, and no set that lacks it is passed over for that any more.
    async fn give_up_earlier(
        &self,
        ask: &Ask,
        ours: &StoreId,
        by: String,
        at: Utc,
    ) -> Result<Taken, NotTaken> {
        self.applied().await?;
        let formed = read_proof(&self.qdrant).await.map_err(NotTaken::Unread)?;
        let formed = formed.ok_or_else(|| NotTaken::Unread("it is not formed yet".to_owned()))?;
        let lost = unexplained(self.sets(ours).await?.seen());
        if lost.is_empty() {
            return in_the_way(
                "nothing is lost that could be accepted: no restore of everything waits, and the newest set lacks nothing",
            );
        }
        let wish = Wish {
            format: FORMAT,
            generation: formed.generation,
            by,
            at,
            what: What::AcceptLoss,
            lost,
        };
        self.decided(ask, wish).await
    }

    /// Calls the job off that is not over.
    ///
    /// # Errors
    /// There is none, or it is not known whether it was written.
    pub async fn call_off(&self, by: &str) -> Result<Job, NotTaken> {
        let by = owner(by)?;
        let none = || NotTaken::NotFound("no restore by hand is under way".to_owned());
        self.applied().await?;
        let job = self.job().await?.ok_or_else(none)?;
        let after = job::called_off(&job, &by).map_err(|_| none())?;
        self.put(JOB_KEY, &after).await?;
        let now = self.job().await?.filter(|now| now.token == after.token);
        match now {
            // Worked off already, or as it was written.
            Some(now) if now.is_over() || now.state == after.state => Ok(now),
            _ => in_the_way("the restorer wrote its own record just then: ask again"),
        }
    }

    /// What was committed is here: a task may lag, and what it reads then is of before.
    async fn applied(&self) -> Result<(), NotTaken> {
        let probed = probe_commit(&self.qdrant).await;
        probed.map_err(|error| NotTaken::Unread(chain(&error)))
    }

    /// How far they are.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn progress(&self) -> Result<Progress, NotTaken> {
        Ok(Progress {
            everything: read_restore(&self.qdrant).await.map_err(NotTaken::Unread)?,
            job: self.job().await?,
        })
    }

    async fn job(&self) -> Result<Option<Job>, NotTaken> {
        let value = self.qdrant.metadata_key(JOB_KEY).await?;
        believed(value).map_err(NotTaken::InTheWay)
    }

    async fn put(&self, key: &str, record: &impl Serialize) -> Result<(), NotTaken> {
        let value = serde_json::to_value(record)?;
        let client = self.qdrant.with_timeout(COMMIT_TIMEOUT);
        Ok(client.put_metadata_key(key, &value, true).await?)
    }

    /// The manifest of the set that is asked for, or of the newest that has what is wanted.
    async fn manifest(&self, ask: &Ask, ours: &StoreId) -> Result<Manifest, NotTaken> {
        let there = self.sets(ours).await?;
        let set = match ask.set {
            Some(set) => counts(there.seen(), set)?,
            None => newest(there.seen(), ask)?,
        };
        self.read(set).await
    }

    /// All sets, as the store has them now.
    async fn sets(&self, ours: &StoreId) -> Result<Shelves, NotTaken> {
        let running = self.qdrant.version().await?;
        let there = look(&self.shelf, ours, &running, &mut Known::new()).await;
        there.map_err(NotTaken::Unread)
    }

    async fn read(&self, set: SetId) -> Result<Manifest, NotTaken> {
        match self.shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Good(manifest) => Ok(manifest),
            Found::Absent => Err(NotTaken::NotFound(format!(
                "there is no set {set}, or it has no manifest"
            ))),
            Found::Refused(why) => in_the_way(why.to_string()),
            Found::Unread(why) => Err(NotTaken::Unread(why)),
        }
    }
}

impl Ask {
    fn makes_sense(&self) -> Result<(), NotTaken> {
        if self.new_name.is_some() && self.collection.is_none() {
            return bad("--as needs --collection: one name cannot be given to all");
        }
        if self.switch && self.new_name.is_none() {
            return bad("--switch needs --as: aliases are led to a collection of another name");
        }
        if self.switch && self.replace {
            return bad(
                "--switch keeps the collection that is there, --replace deletes it: choose one",
            );
        }
        let more = self.set.is_some() || self.collection.is_some() || self.replace || self.switch;
        if self.accept_loss && more {
            return bad("--accept-loss stands alone");
        }
        Ok(())
    }
}

fn owner(name: &str) -> Result<String, NotTaken> {
    match name.trim() {
        "" => bad("a restore by hand needs an owner"),
        name if name.len() > LONGEST_NAME => bad("the owner of a restore has 200 letters at most"),
        name => Ok(name.to_owned()),
    }
}

/// The job that stands in the key map.
///
/// # Errors
/// What is there is not believed; for people.
pub(super) fn believed(value: Option<Value>) -> Result<Option<Job>, String> {
    record(JOB_KEY, value)
}

/// The job that stands in the key map, whether it is over or not.
///
/// # Errors
/// It could not be read, or is not believed; for people.
pub(super) async fn job(client: &Client) -> Result<Option<Job>, String> {
    let value = client.metadata_key(JOB_KEY).await;
    believed(value.map_err(|error| chain(&error))?)
}

/// The collections that a restore by hand is making: they are half there, or carry its mark where its
/// record cannot be read.
pub(super) async fn unfinished(client: &Client, described: &Described) -> BTreeSet<CollectionName> {
    match job(client).await {
        Ok(job) => job.iter().flat_map(Job::unfinished).cloned().collect(),
        Err(_) => {
            let marked = |seen: &Observed<Description>| {
                let config = seen.known().map(|description| &description.config);
                config.is_some_and(|config| config["metadata"].get(MARK).is_some())
            };
            let marked = described.iter().filter(|(_, seen)| marked(seen));
            marked.map(|(name, _)| name.clone()).collect()
        }
    }
}

/// The set that a restore by hand reads.
///
/// # Errors
/// It is not known; for people.
pub(in crate::keep) async fn reading(client: &Client) -> Result<Option<SetId>, String> {
    let job = job(client).await?;
    Ok(job.filter(|job| !job.is_over()).map(|job| job.set))
}

/// The collections that ended in this life of the cluster though no set of it says so
/// ([`planner::keep::ends::accepted`]). None where the key map cannot be read: a later set says it as well.
pub(super) async fn accepted(
    client: &Client,
    generation: &GenerationId,
) -> BTreeSet<CollectionName> {
    let read = async { Ok((read_restore(client).await?, wish(client).await?)) };
    match read.await {
        Ok((restore, wish)) => ends::accepted(generation, restore.as_ref(), wish.as_ref()),
        Err::<_, String>(why) => {
            tracing::debug!("whether a restore says more of what has ended is not known: {why}");
            BTreeSet::new()
        }
    }
}

/// The decision that stands in the key map.
///
/// # Errors
/// It could not be read, or is not believed; for people.
pub(super) async fn wish(client: &Client) -> Result<Option<Wish>, String> {
    let value = client.metadata_key(WISH_KEY).await;
    record(WISH_KEY, value.map_err(|error| chain(&error))?)
}

fn record<T: DeserializeOwned>(key: &str, value: Option<Value>) -> Result<Option<T>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let refused = |why: String| {
        format!(
            "the key {key} in Qdrant's key map is not read: {why}; delete it, \
             or use a version of the image that reads it"
        )
    };
    // First, so that a newer record is called newer and not broken.
    match value.get("format").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(refused(format!("it has format {format}"))),
        None => return Err(refused("it has no format".to_owned())),
    }
    let read = serde_json::from_value(value);
    read.map(Some).map_err(|error| refused(error.to_string()))
}
