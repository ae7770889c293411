//! A restore by hand, beside what is served. What comes next, and what may be thrown away or replaced, is
//! `planner::keep::job`'s to say; the record in Qdrant's key map is all that is remembered.

use planner::heal::names::CollectionName;
use planner::ids::Token;
use planner::keep::job::{self, Next};
use planner::records::{Job, JobState, MARK, Piece, PieceState, Then};
use qdrant_api::{Alias, AliasChange, CollectionIdentity};

use super::super::restore_request;
use super::collection::Making;
use super::lapse::in_time;
use super::outcome::{Done, Failed, named, wait};
use super::site::{Basis, Counts, Place, Site};
use super::{APPLY_SECS, Step};
use crate::events;
use crate::steward::COMMIT_TIMEOUT;

/// A job and the record that it was read from.
pub(super) struct OnRecord {
    job: Job,
    basis: Basis,
}

/// What stands in the key map; `Err`: it could not be asked, for people.
pub(super) async fn on_record(site: &Site) -> Result<Basis, String> {
    Basis::read(&site.client, planner::records::JOB_KEY).await
}

/// The job that is to be done; `None`: there is none. `Err`: what stands there is not believed, for people.
pub(super) fn wanted(basis: Basis) -> Result<Option<OnRecord>, String> {
    let job = restore_request::believed(basis.value.clone())?;
    let wanted = job.filter(|job| !job.is_over());
    Ok(wanted.map(|job| OnRecord { job, basis }))
}

/// One step of it; `Err`: nothing could be done, for people.
pub(super) async fn step(site: &Site, there: OnRecord) -> Result<Step, String> {
    let OnRecord { job, basis } = there;
    let place = site.place()?;
    let step = Work {
        site,
        place,
        job,
        basis,
    };
    match step.next().await {
        Ok(()) => Ok(Step::On),
        Err(Failed::Wait(why) | Failed::Overtaken(why)) => {
            Err(format!("{} by {}: {why}", step.job.set, step.job.by))
        }
        Err(Failed::Set(set, why)) => {
            let after = job::failed(&step.job, &format!("set {set}: {why}"));
            step.write(&after).await.map_err(Failed::words)?;
            let given_up = after.state != JobState::Running;
            tracing::warn!(event = events::RESTORE_FAILED, given_up, "set {set}: {why}");
            Err(why)
        }
    }
}

struct Work<'a> {
    site: &'a Site,
    place: Place,
    job: Job,
    basis: Basis,
}

impl Work<'_> {
    async fn next(&self) -> Done<()> {
        match job::next(&self.job) {
            Next::Over => Ok(()),
            Next::Begin(name) => self.begin(&name).await,
            Next::Make(name) => self.make(&name).await,
            Next::Check => self.check().await,
            Next::Name => self.name().await,
            Next::Undo(names, why) => self.undo(&names, &why).await,
        }
    }

    async fn write(&self, after: &Job) -> Done<()> {
        self.site.write(&self.basis, after).await
    }

    async fn give_up(&self, why: String) -> Done<()> {
        let undoing = job::in_state(&self.job, JobState::Undoing(why));
        self.write(&undoing).await
    }

    /// Has on record that this one is made, when nothing has its name.
    async fn begin(&self, name: &CollectionName) -> Done<()> {
        let client = &self.site.client;
        let aliases = client.aliases().await.map_err(|error| wait(&error))?;
        let is_alias = aliases.iter().any(|alias| alias.alias_name == name.0);
        let there = client.collections().await.map_err(|error| wait(&error))?;
        if is_alias || there.contains(&name.0) {
            return self.give_up(format!("there is a {name} by now")).await;
        }
        self.write(&job::moved(&self.job, name, PieceState::Making))
            .await
    }

    /// Makes one collection anew, fills all copies of each shard with the same file, and compares them.
    async fn make(&self, name: &CollectionName) -> Done<()> {
        let Some(piece) = self.job.pieces.get(name) else {
            return Ok(());
        };
        let set = self.job.set;
        let manifest = match self.site.counts(set, &self.place.store).await? {
            Counts::Yes(manifest) => manifest,
            Counts::No(why) => return self.give_up(why).await,
        };
        let all = &manifest.collections;
        let entry = all
            .iter()
            .find(|there| there.name == piece.from && there.whole);
        let Some(entry) = entry else {
            let from = &piece.from;
            return self.give_up(format!("set {set} has no whole {from}")).await;
        };
        match self.delete(name).await? {
            Gone::Yes => {}
            Gone::Foreign(why) => return self.give_up(why).await,
        }
        let making = Making {
            site: self.site,
            place: &self.place,
            basis: &self.basis,
            manifest: &manifest,
            entry,
            name,
            mark: Some(&self.job.token),
        };
        let uuid = making.run().await?;
        let done = job::moved(&self.job, name, PieceState::Done { uuid });
        in_time(|| self.write(&done)).await?;
        let bytes: u64 = entry.files.iter().map(|file| file.bytes).sum();
        tracing::info!(
            event = events::RESTORE_COLLECTION,
            bytes,
            "{name} of set {set}"
        );
        Ok(())
    }

    /// Deletes what there is of a collection that the job makes.
    async fn delete(&self, name: &CollectionName) -> Done<Gone> {
        let Some(there) = self.identity(name).await? else {
            return Ok(Gone::Yes);
        };
        if let Err(why) = job::may_delete(&self.job, name, mark(&there).as_ref()) {
            return Ok(Gone::Foreign(format!("{name} is not deleted: {why}")));
        }
        self.drop_collection(name).await?;
        tracing::info!(event = events::RESTORE_CLEARED, "{name}");
        Ok(Gone::Yes)
    }

    async fn identity(&self, name: &CollectionName) -> Done<Option<CollectionIdentity>> {
        Ok(self.site.identities().await?.remove(&name.0))
    }

    /// The last look at the record, and the deletion.
    async fn drop_collection(&self, name: &CollectionName) -> Done<()> {
        self.site.still(&self.basis).await?;
        let client = self.site.client.with_timeout(COMMIT_TIMEOUT);
        let deleted = client.delete_collection(&name.0).await;
        deleted.map(drop).map_err(|error| named(name, &error))
    }

    /// A last look before anybody is led to what was made.
    async fn check(&self) -> Done<()> {
        let there = self.site.identities().await?;
        let foreign = self.job.pieces.keys().find(|name| {
            let there = there.get(&name.0);
            there.is_some_and(|there| mark(there).as_ref() != Some(&self.job.token))
        });
        if let Some(name) = foreign {
            return self
                .give_up(format!("{name} is somebody else's by now"))
                .await;
        }
        let lost = self.lost().await?;
        let after = match lost.is_empty() {
            true => job::in_state(&self.job, JobState::Naming),
            // Who held it died meanwhile, or a steward that was late made it anew. The set has it still.
            false => lost.iter().fold(self.job.clone(), |job, name| {
                job::moved(&job, name, PieceState::Making)
            }),
        };
        self.write(&after).await
    }

    async fn lost(&self) -> Done<Vec<CollectionName>> {
        let view = self.site.survey(&self.place).await?;
        let there = self.site.uuids().await?;
        job::lost(&view, &there, &self.job).map_err(Failed::Wait)
    }

    /// Takes the marks off and gives names. Each part may be done twice. The marks go first: from then on
    /// nobody can throw away what was made, whatever a late hand writes into the record.
    async fn name(&self) -> Done<()> {
        if let Some(name) = self.lost().await?.first() {
            let why = format!("{name} is not whole any more, so nobody is led to it");
            return Err(Failed::Wait(why));
        }
        for name in self.job.pieces.keys() {
            self.site.still(&self.basis).await?;
            let client = &self.site.client;
            let unmarked = client.unmark_collection(&name.0, MARK, APPLY_SECS).await;
            match unmarked {
                // Somebody has deleted it already.
                Err(error) if error.is_not_found() => {}
                other => other.map_err(|error| named(name, &error))?,
            }
        }
        for (name, piece) in &self.job.pieces {
            if let Then::Replace { .. } = piece.then {
                self.replace(name, &piece.from).await?;
            }
            self.alias(name, piece).await?;
        }
        self.write(&job::in_state(&self.job, JobState::Finished))
            .await?;
        tracing::warn!(
            event = events::RESTORE_DONE,
            by = self.job.by,
            "{} collections of set {} are restored",
            self.job.pieces.len(),
            self.job.set
        );
        Ok(())
    }

    /// Takes away the collection whose place this one takes. That it is gone is how it looks when another
    /// steward was here before.
    async fn replace(&self, name: &CollectionName, old: &CollectionName) -> Done<()> {
        if !self.may_replace(name, old).await? {
            return Ok(());
        }
        if self.lost().await?.contains(name) {
            let why = format!("{old} stays: {name} is not whole any more");
            return Err(Failed::Wait(why));
        }
        // Its other names go with it, and are what the restored one gets.
        self.hand_over(old, name).await?;
        // That took its time, and somebody may have made it anew.
        if self.may_replace(name, old).await? {
            self.drop_collection(old).await?;
            tracing::warn!(event = events::RESTORE_REPLACED, "{old} by {name}");
        }
        Ok(())
    }

    /// Whether the collection that is to be replaced is still there.
    async fn may_replace(&self, name: &CollectionName, old: &CollectionName) -> Done<bool> {
        let Some(there) = self.identity(old).await? else {
            return Ok(false);
        };
        let uuid = there.uuid.clone().unwrap_or_default();
        let may = job::may_replace(&self.job, name, old, &uuid, mark(&there).as_ref());
        may.map(|()| true).map_err(|why| {
            Failed::Wait(format!(
                "{old} is not replaced by {name}: {why}; delete it, or call the job off and give {name} its names by hand"
            ))
        })
    }

    /// The aliases of one collection lead to another one, at one moment.
    async fn hand_over(&self, from: &CollectionName, to: &CollectionName) -> Done<()> {
        let there = self.site.client.aliases().await;
        let there = there.map_err(|error| wait(&error))?;
        let moved = there.into_iter().filter(|a| a.collection_name == from.0);
        let moved: Vec<_> = moved.map(|alias| alias.alias_name).collect();
        self.give(&moved, to).await
    }

    /// What the collection is called beside its name.
    async fn alias(&self, name: &CollectionName, piece: &Piece) -> Done<()> {
        let wanted = match piece.then {
            Then::Nothing => return Ok(()),
            Then::Switch => return self.hand_over(&piece.from, name).await,
            Then::Replace { .. } => vec![piece.from.0.clone()],
            Then::Name => {
                // First, so that who looks for it by its name finds it without the store.
                self.give(std::slice::from_ref(&piece.from.0), name).await?;
                self.former_aliases(&piece.from).await?
            }
        };
        self.give(&wanted, name).await
    }

    /// The aliases that it had in the set. One that leads elsewhere by now is somebody else's.
    async fn former_aliases(&self, from: &CollectionName) -> Done<Vec<String>> {
        let client = &self.site.client;
        let aliases = client.aliases().await.map_err(|error| wait(&error))?;
        let there = client.collections().await.map_err(|error| wait(&error))?;
        let free = |alias: &String| {
            !there.contains(alias) && !aliases.iter().any(|other| other.alias_name == *alias)
        };
        let manifest = self.site.manifest(self.job.set).await?;
        let all = manifest.collections.iter();
        let entry = all.filter(|there| there.name == *from);
        let described = entry.filter_map(|there| there.description.as_ref());
        let had = described.flat_map(|what| what.aliases.iter().cloned());
        Ok(had.filter(free).collect())
    }

    async fn give(&self, aliases: &[String], to: &CollectionName) -> Done<()> {
        if aliases.is_empty() {
            return Ok(());
        }
        self.site.still(&self.basis).await?;
        let change = |alias: &String| {
            AliasChange::Create(Alias {
                alias_name: alias.clone(),
                collection_name: to.0.clone(),
            })
        };
        let changes: Vec<_> = aliases.iter().map(change).collect();
        let given = self.site.client.set_aliases(&changes, APPLY_SECS).await;
        given.map_err(|error| named(to, &error))
    }

    /// Deletes what was made, and says that nothing came of the job.
    async fn undo(&self, names: &[CollectionName], why: &str) -> Done<()> {
        for name in names {
            if let Gone::Foreign(kept) = self.delete(name).await? {
                tracing::warn!(event = events::RESTORE_WAITS, "{kept}");
            }
        }
        let failed = job::in_state(&self.job, JobState::Failed(why.to_owned()));
        self.write(&failed).await?;
        tracing::warn!(event = events::RESTORE_UNDONE, by = self.job.by, "{why}");
        Ok(())
    }
}

/// Whether nothing of a collection is there any more.
enum Gone {
    Yes,
    /// What is there is somebody else's; for people.
    Foreign(String),
}

fn mark(there: &CollectionIdentity) -> Option<Token> {
    let mark = there.metadata.get(MARK)?.as_str()?;
    Some(Token(mark.to_owned()))
}
