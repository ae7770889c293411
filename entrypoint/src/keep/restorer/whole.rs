//! The restore with which a generation begins: of everything, before anybody is served.
//!
//! What comes next, and what may be thrown away, is `planner::keep::restore`'s to say; all that is
//! remembered is one record in Qdrant's key map, so the restorer of the next leader goes on where this
//! one ends.

use std::time::Duration;

use planner::heal::names::CollectionName;
use planner::heal::view::ClusterView;
use planner::keep::choose::{Choice, Wanted, choose};
use planner::keep::ids::SetId;
use planner::keep::records::Manifest;
use planner::keep::restore::{self, Next};
use planner::keep::restore_wish::{self, Verdict, Wish};
use planner::keep::seen::State;
use planner::records::{FORMED_KEY, Formed, RESTORE_KEY, Restore};
use qdrant_api::{Alias, AliasChange};

use super::super::restore_request;
use super::super::shelves::{Known, look};
use super::collection::Making;
use super::lapse::in_time;
use super::outcome::{Done, Failed, wait};
use super::site::{Basis, Counts, Place, Site};
use super::{APPLY_SECS, Step};
use crate::events;
use crate::qdrant::{parse_restore, probe_commit, read_proof};
use crate::steward::COMMIT_TIMEOUT;

/// How long all wanted tasks are waited for before anything is created.
const GATHER: Duration = Duration::from_secs(60);

/// One step of it by the record; `stalled`: nothing has come on for so long. `Err`: nothing could be
/// done, for people.
pub(super) async fn step(site: &Site, stalled: Duration) -> Result<Step, String> {
    let place = site.place()?;
    let basis = Basis::read(&site.client, RESTORE_KEY).await?;
    let there = parse_restore(basis.value.clone())?;
    let record = restore::ours(there.clone(), &place.generation)?;
    if there.as_ref() != Some(&record) {
        let adopted = site.write(&basis, &record).await;
        return adopted.map(|()| Step::On).map_err(Failed::words);
    }
    let step = Whole {
        site,
        place,
        record,
        basis,
    };
    if step.record.finished {
        return Ok(Step::Over);
    }
    let done = match step.wished().await {
        Ok(true) => Ok(()),
        Ok(false) => step.next(stalled).await,
        Err(why) => Err(why),
    };
    match done {
        Ok(()) => Ok(Step::On),
        Err(Failed::Wait(why) | Failed::Overtaken(why)) => Err(why),
        Err(Failed::Set(set, why)) => {
            let (after, given_up) = restore::failed(&step.record, set);
            step.write(&after).await.map_err(Failed::words)?;
            tracing::warn!(event = events::RESTORE_FAILED, given_up, "set {set}: {why}");
            Err(why)
        }
    }
}

struct Whole<'a> {
    site: &'a Site,
    place: Place,
    record: Restore,
    basis: Basis,
}

impl Whole<'_> {
    async fn next(&self, stalled: Duration) -> Done<()> {
        match restore::next(&self.record) {
            Next::Finished => Ok(()),
            Next::Choose => self.choose(stalled).await,
            Next::Clear(names) => self.clear(&names).await,
            Next::Collection(set, name) => self.collection(set, &name).await,
            Next::Finish(set) => self.finish(set).await,
        }
    }

    async fn write(&self, after: &Restore) -> Done<()> {
        self.site.write(&self.basis, after).await
    }

    /// Does what a person has decided meanwhile, once; says whether there was anything to do.
    async fn wished(&self) -> Done<bool> {
        let wish = restore_request::wish(&self.site.client).await;
        let Some(wish) = wish.map_err(Failed::Wait)? else {
            return Ok(false);
        };
        match restore_wish::verdict(&self.record, &wish) {
            Verdict::Nothing => Ok(false),
            Verdict::Refused(why) => {
                let by = &wish.by;
                Err(Failed::Wait(format!("what {by} asked for: {why}")))
            }
            Verdict::Accept => {
                let accepted = restore_wish::accept(&self.record, &wish.by);
                self.write(&accepted).await?;
                tracing::warn!(event = events::RESTORE_ACCEPTED, "by {}", wish.by);
                Ok(true)
            }
            Verdict::Use(set) => self.use_set(&wish, set).await.map(|()| true),
        }
    }

    /// A person wants this set, whatever speaks for another one.
    async fn use_set(&self, wish: &Wish, set: SetId) -> Done<()> {
        let manifest = match self.site.counts(set, &self.place.store).await? {
            Counts::Yes(manifest) => manifest,
            Counts::No(why) => return Err(Failed::Wait(why)),
        };
        self.nothing_of_others().await?;
        self.begin(
            &restore_wish::instead(&self.record),
            &manifest,
            Some(&wish.by),
        )
        .await
    }

    /// Chooses a set, and has on record what will be made of it before anything is.
    async fn choose(&self, stalled: Duration) -> Done<()> {
        let (site, record) = (self.site, &self.record);
        let view = site.survey(&self.place).await?;
        self.complete(&view).await?;
        // Whoever comes later gets its copies by transfers, which is slower.
        restore::gathered(&view, stalled > GATHER).map_err(Failed::Wait)?;
        let running = site.client.version().await.map_err(|error| wait(&error))?;
        let mut known = Known::new();
        let there = look(&site.shelf, &self.place.store, &running, &mut known).await;
        let there = there.map_err(Failed::Wait)?;
        let Choice {
            set,
            prove_first,
            skipped,
        } = choose(there.seen(), &Wanted::All, &record.given_up);
        // One that cannot be read may be the newest of all, or say what the others lack.
        let unread = there.seen().iter().find_map(|seen| match &seen.state {
            State::Unread(why) => Some(format!("set {}: {why}", seen.id)),
            _ => None,
        });
        if let Some(why) = unread {
            return Err(Failed::Wait(why));
        }
        if let Some((set, why)) = skipped.iter().find(|(_, why)| !why.is_settled()) {
            return Err(Failed::Wait(format!(
                "set {set} is newer than what could be restored: {why}"
            )));
        }
        let Some(set) = set else {
            let why = match skipped.first() {
                Some((set, why)) => format!("the newest is {set}: {why}"),
                None => "there is none".to_owned(),
            };
            return Err(Failed::Wait(format!("no set can be restored: {why}")));
        };
        let manifest = site.manifest(set).await?;
        self.nothing_of_others().await?;
        for (set, why) in &skipped {
            tracing::warn!(event = events::RESTORE_SKIPPED, "set {set}: {why}");
        }
        if prove_first {
            site.prove(&manifest).await?;
        }
        self.begin(record, &manifest, None).await
    }

    /// Calls the formation complete when ECS wants no more tasks than are here: a service that was made
    /// smaller before it was lost would wait for the others for ever.
    async fn complete(&self, view: &ClusterView) -> Done<()> {
        if !restore::is_all_there_will_be(view) {
            return Ok(());
        }
        let client = &self.site.client;
        let basis = Basis::read(client, FORMED_KEY).await;
        let basis = basis.map_err(Failed::Wait)?;
        let formed = read_proof(client).await.map_err(Failed::Wait)?;
        // The round publishes it in a moment, as the first word of this life.
        let ours = formed.filter(|formed| formed.generation == self.place.generation);
        let formed = ours.ok_or_else(|| Failed::Wait("it is not formed yet".to_owned()))?;
        let complete = Formed {
            complete: true,
            ..formed
        };
        self.site.write(&basis, &complete).await?;
        tracing::info!(
            event = events::PUBLISHED,
            generation = complete.generation.number,
            complete = true
        );
        // Not a step on: the next one would come before the round has read this, and write it again.
        Err(Failed::Wait("the formation was called complete".to_owned()))
    }

    /// Before anything was restored there is no collection: one that is here is nobody's that we know.
    async fn nothing_of_others(&self) -> Done<()> {
        if !self.record.collections.is_empty() || !self.record.given_up.is_empty() {
            return Ok(());
        }
        let names = self.site.client.collections().await;
        match names.map_err(|error| wait(&error))?.first() {
            None => Ok(()),
            Some(name) => Err(Failed::Wait(format!(
                "the collection {name} is here and the restore did not make it: delete it, or accept what is here"
            ))),
        }
    }

    async fn begin(&self, record: &Restore, manifest: &Manifest, by: Option<&str>) -> Done<()> {
        let begun = restore::begun(record, manifest);
        self.write(&begun).await?;
        let collections = begun.collections.len();
        tracing::info!(
            event = events::RESTORE_BEGUN,
            by,
            "set {} of {}: {collections} collections",
            manifest.set,
            manifest.started
        );
        Ok(())
    }

    /// Deletes what an earlier set had and this one lacks, and what a person has given up.
    async fn clear(&self, names: &[CollectionName]) -> Done<()> {
        for name in names {
            self.delete(name).await?;
        }
        self.write(&restore::cleared(&self.record, names)).await
    }

    /// Deletes what there is of a collection that the restore made, after a look at the record as it is
    /// now.
    async fn delete(&self, name: &CollectionName) -> Done<()> {
        let client = &self.site.client;
        let there = client.collections().await;
        if !there.map_err(|error| wait(&error))?.contains(&name.0) {
            return Ok(());
        }
        restore::may_delete(&self.record, &self.place.generation, name)
            .map_err(|why| Failed::Wait(format!("{name} is not deleted: {why}")))?;
        probe_commit(client).await.map_err(|error| wait(&error))?;
        self.site.still(&self.basis).await?;
        let client = client.with_timeout(COMMIT_TIMEOUT);
        let existed = client.delete_collection(&name.0).await;
        if existed.map_err(|error| wait(&error))? {
            tracing::info!(event = events::RESTORE_CLEARED, "{name}");
        }
        Ok(())
    }

    /// Makes one collection, fills all copies of each shard with the same file, and compares them.
    async fn collection(&self, set: SetId, name: &CollectionName) -> Done<()> {
        let manifest = self.site.manifest(set).await?;
        let all = &manifest.collections;
        let entry = all.iter().find(|there| there.name == *name);
        let entry = entry.ok_or_else(|| Failed::Wait(format!("set {set} lacks {name}")))?;
        self.delete(name).await?;
        let making = Making {
            site: self.site,
            place: &self.place,
            basis: &self.basis,
            manifest: &manifest,
            entry,
            name,
            mark: None,
        };
        let uuid = making.run().await?;
        let done = restore::done(&self.record, name, &uuid);
        in_time(|| self.write(&done)).await?;
        let bytes: u64 = entry.files.iter().map(|file| file.bytes).sum();
        tracing::info!(
            event = events::RESTORE_COLLECTION,
            bytes,
            "{name} of set {set}"
        );
        Ok(())
    }

    /// A last look, the aliases, and with them the end.
    async fn finish(&self, set: Option<SetId>) -> Done<()> {
        let (site, record) = (self.site, &self.record);
        let view = site.survey(&self.place).await?;
        // Nobody serves before it is, and nobody else would call it so afterwards.
        self.complete(&view).await?;
        if !view.service.complete {
            return Err(Failed::Wait(
                "the first formation is not complete".to_owned(),
            ));
        }
        let there = site.uuids().await?;
        let lost = restore::lost(&view, &there, record).map_err(Failed::Wait)?;
        if !lost.is_empty() {
            // Who held it died meanwhile, or a steward that was late made it anew. The set has it still, and
            // nobody was served.
            return self.write(&restore::undone(record, &lost)).await;
        }
        if let Some(set) = set {
            match site.manifest(set).await {
                Ok(manifest) => self.name(&manifest).await?,
                Err(why) if record.accepted.is_none() => return Err(why),
                // The store may be what was lost; who accepts that wants to be served.
                Err(why) => {
                    let why = why.words();
                    tracing::warn!(event = events::RESTORE_WAITS, "aliases are lost: {why}");
                }
            }
        }
        // That took its time, and what a late steward deletes is not made again once it is finished.
        let there = site.uuids().await?;
        if !restore::lost(&view, &there, record)
            .map_err(Failed::Wait)?
            .is_empty()
        {
            return Err(Failed::Overtaken(
                "what was restored has changed".to_owned(),
            ));
        }
        self.write(&restore::finished(record)).await?;
        let from = set.map_or_else(|| "nothing".to_owned(), |set| format!("set {set}"));
        tracing::warn!(
            event = events::RESTORE_FINISHED,
            accepted = record.accepted.as_deref(),
            "{from}: {} collections; what was written after it is lost",
            record.collections.len()
        );
        Ok(())
    }

    /// Gives the collections their other names again.
    async fn name(&self, manifest: &Manifest) -> Done<()> {
        let mut changes = Vec::new();
        for there in &manifest.collections {
            let aliases = there.description.iter().flat_map(|what| &what.aliases);
            for alias in aliases.filter(|_| self.record.collections.contains_key(&there.name)) {
                changes.push(AliasChange::Create(Alias {
                    alias_name: alias.clone(),
                    collection_name: there.name.0.clone(),
                }));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let given = self.site.client.set_aliases(&changes, APPLY_SECS).await;
        given.map_err(|error| wait(&error))
    }
}
