//! The set that is being made: its plan, the wait for its parts, and its end, which is a manifest or a
//! tombstone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use planner::farewell;
use planner::heal::names::ShardRef;
use planner::heal::view::ClusterView;
use planner::ids::PeerId;
use planner::keep::assemble::{End, NoManifest, assemble, awaited};
use planner::keep::by_hand::Request;
use planner::keep::ends::deleted;
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::plan::{Described, NoPlan, Order, plan};
use planner::keep::records::{Manifest, Origin, Outcome, PartRecord, PlanRecord, Scope, Source};
use planner::keep::resume::{FINISH_WITHIN, Resume, Unfinished, resume};
use planner::keep::time::Utc;
use planner::observed::Observed;
use tokio::sync::watch as channel;

use super::{Keeper, Place};
use crate::events;
use crate::keep::describe::describe;
use crate::keep::shelves::Shelves;
use crate::keep::{restore_request, sight, tombstone};
use crate::log::chain;
use crate::steward::Post;
use crate::store::Created;

/// The set that is being made.
pub(super) struct Making {
    pub(super) plan: PlanRecord,
    /// Since when we know it.
    pub(super) since: Instant,
    /// The newest plan in the store that is not of a set by hand.
    pub(super) newest: SetId,
    /// What has come of it so far.
    pub(super) parts: Vec<PartRecord>,
}

/// The set that is to be planned.
pub(super) struct Wanted {
    pub(super) set: SetId,
    /// Somebody asked for it; otherwise it is the clock's.
    pub(super) request: Option<Request>,
}

impl Keeper {
    fn source(&self, place: &Place) -> Source {
        Source {
            cluster: place.store.clone(),
            generation: place.generation.clone(),
            qdrant: place.qdrant.clone(),
            image: env!("CARGO_PKG_VERSION").to_owned(),
            steward: self.settings.task.clone(),
        }
    }

    /// Plans a set; says whether the store may hold another plan now.
    pub(super) async fn begin(
        &mut self,
        wanted: Wanted,
        now: Utc,
        place: &Place,
        posts: &channel::Receiver<Option<Post>>,
        there: &Shelves,
    ) -> Result<bool, String> {
        let Wanted { set, request } = wanted;
        let view = self.survey(posts, place).await?;
        let described = describe(&self.client, &view).await;
        let unfinished = restore_request::unfinished(&self.client, &described).await;
        let present = match &view.collections {
            // What is half there is not back yet: an end that is on record stays there.
            Observed::Known(all) => all
                .keys()
                .filter(|name| !unfinished.contains(*name))
                .cloned()
                .collect(),
            Observed::Unknown(why) => return Err(why.clone()),
        };
        let generation = &place.generation;
        let accepted = restore_request::accepted(&self.client, generation).await;
        let order = Order {
            set,
            origin: request.as_ref().map_or(Origin::Clock, |_| Origin::Hand),
            asked: request.as_ref().map(|request| request.asked.clone()),
            scope: request
                .as_ref()
                .map_or(Scope::All, |request| request.scope.clone()),
            source: self.source(place),
            now,
            unfinished,
            failed_before: self.failed.clone(),
            shut: BTreeMap::new(),
            deleted: deleted(there.seen(), set, generation, &present, &accepted),
        };
        let record = match (plan(&order, &view, &described), &request) {
            (Ok(record), _) => record,
            // What was asked for has been deleted since.
            (Err(why @ (NoPlan::Empty | NoPlan::NoSuchCollection(_))), Some(request)) => {
                self.drop_request(request, &why.to_string()).await?;
                return Ok(false);
            }
            (Err(why), _) => return Err(format!("set {set}: {why}")),
        };
        match self.shelf.create(&record).await {
            Ok(Created::Ours) => {
                let by = request.as_ref().map(|request| request.asked.by.as_str());
                tracing::info!(event = events::SET_BEGUN, by, "set {set}");
                self.making = Some(Making {
                    plan: record,
                    since: Instant::now(),
                    newest: set,
                    parts: Vec::new(),
                });
                if let Some(request) = &request {
                    // When it fails the next turn does it, or the next steward.
                    let _ = self.settle(request).await;
                }
            }
            // Another steward was quicker: it is found with the next look.
            Ok(Created::Exists(_)) => {}
            // So is ours, if it came to be nevertheless.
            Err(error) if error.is_unclear() => {}
            Err(error) => return Err(format!("set {set}: {}", chain(&error))),
        }
        Ok(true)
    }

    /// Looks how far a set is; says whether it is over.
    pub(super) async fn progress(
        &mut self,
        place: &Place,
        posts: &channel::Receiver<Option<Post>>,
        mut making: Making,
        now: Utc,
    ) -> (Making, Result<bool, String>) {
        let set = making.plan.set;
        let over = self.step(place, posts, &mut making, now).await;
        (making, over.map_err(|why| format!("set {set} {why}")))
    }

    async fn step(
        &mut self,
        place: &Place,
        posts: &channel::Receiver<Option<Post>>,
        making: &mut Making,
        now: Utc,
    ) -> Result<bool, String> {
        // It may have its end already: ours, whose answer was lost, or another steward's.
        match self
            .shelf
            .read::<Manifest>(making.plan.set, Entry::Manifest)
            .await
        {
            Found::Good(_) => return Ok(true),
            Found::Absent => {}
            Found::Refused(why) => return Err(why.to_string()),
            Found::Unread(why) => return Err(format!("cannot be looked at: {why}")),
        }
        let unread = self.shelf.parts(&making.plan, &mut making.parts).await;
        let plan = &making.plan;
        let age = now.since(plan.planned).max(making.since.elapsed());
        let late = age > FINISH_WITHIN;
        if let Some(why) = unread.first().filter(|_| !late) {
            return Err(format!("cannot be looked at: {why}"));
        }
        let view = self.survey(posts, place).await?;
        let verdict = resume(Unfinished {
            plan,
            parts: &making.parts,
            age,
            newest: making.newest,
            generation: &place.generation,
            view: &view,
            limit: FINISH_WITHIN,
        });
        if let Resume::GiveUp(why) = verdict {
            return self.give_up(plan, now, &why.to_string()).await;
        }
        let waits = awaited(plan, &making.parts, &view);
        // Half of the time is the sources'. Then what has come is a set, rather than nothing.
        if let Some((index, shard, holder)) = waits.first()
            && age < FINISH_WITHIN / 2
        {
            let (left, peer) = (waits.len(), holder.peer);
            return Err(format!(
                "waits for {left} files, the first of shard {shard} of {index} from peer {peer}"
            ));
        }
        let described = describe(&self.client, &view).await;
        // What cannot be described now may be in a moment, while somebody dead is being taken out.
        if let Some(what) = undescribed(plan, &described)
            && age < FINISH_WITHIN / 2
        {
            return Err(format!("waits for what {what}"));
        }
        let source = self.source(place);
        let end = End {
            view: &view,
            described: &described,
            source: &source,
            now,
        };
        let manifest = match assemble(plan, &making.parts, end) {
            Ok(manifest) => manifest,
            Err(NoManifest::Unread(why)) => return Err(format!("cannot be finished: {why}")),
            Err(why) => return self.give_up(plan, now, &why.to_string()).await,
        };
        let created = self.shelf.create(&manifest).await;
        // One that is there already is another steward's, from the same plan and the same parts.
        let created = created.map_err(|error| chain(&error))?;
        self.failed = failed(plan, &making.parts);
        let took = manifest.ended.since(manifest.started);
        let only = view.peers.len() == 1 && plan.scope == Scope::All;
        self.tight = only && farewell::is_tight(took, self.settings.stop_leaves);
        if created == Created::Ours {
            tell(&manifest);
        }
        Ok(true)
    }

    /// Marks a set that will never be whole, so that nobody takes it up again.
    async fn give_up(&self, plan: &PlanRecord, now: Utc, why: &str) -> Result<bool, String> {
        let set = plan.set;
        let cluster = &plan.source.cluster;
        let tombstone = tombstone(set, cluster, &self.settings.task, now, why);
        let created = self.shelf.create(&tombstone).await;
        // One that is there already says the same.
        let _ = created.map_err(|error| chain(&error))?;
        tracing::warn!(event = events::SET_GIVEN_UP, "set {set}: {why}");
        Ok(true)
    }

    /// What the cluster is now, in the life that `place` names.
    async fn survey(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
    ) -> Result<ClusterView, String> {
        sight::survey(&self.client, &self.board, posts, &place.generation).await
    }
}

/// The first collection that could be whole and cannot be described now.
fn undescribed(plan: &PlanRecord, described: &Described) -> Option<String> {
    let planned = plan.collections.iter();
    let mut planned = planned.filter(|planned| planned.missing.is_empty());
    planned.find_map(|planned| match described.get(&planned.name)? {
        Observed::Unknown(why) => Some(format!("{} is: {why}", planned.name)),
        Observed::Known(_) => None,
    })
}

/// The copies that could not be taken.
pub(in crate::keep) fn failed(
    plan: &PlanRecord,
    parts: &[PartRecord],
) -> BTreeSet<(ShardRef, PeerId)> {
    let failed = parts
        .iter()
        .filter(|part| matches!(part.outcome, Outcome::Failed(_)));
    let ours = failed.filter(|part| part.set == plan.set);
    ours.map(|part| {
        let shard = ShardRef {
            collection: part.collection.clone(),
            shard: part.shard,
        };
        (shard, part.holder.peer)
    })
    .collect()
}

/// Says that a set is made, and what it lacks.
pub(in crate::keep) fn tell(manifest: &Manifest) {
    let set = manifest.set;
    let whole = manifest
        .collections
        .iter()
        .filter(|there| there.whole)
        .count();
    let all = manifest.collections.len();
    let files = manifest.collections.iter().flat_map(|there| &there.files);
    let bytes: u64 = files.map(|file| file.bytes).sum();
    let seconds = manifest.ended.since(manifest.started).as_secs();
    if whole == all {
        tracing::info!(
            event = events::SET_MADE,
            bytes,
            seconds,
            "set {set}: {all} collections"
        );
        return;
    }
    let lack = manifest.collections.iter().filter(|there| !there.whole);
    let lack: Vec<_> = lack
        .map(|there| match there.missing.first() {
            Some(missing) => format!("{}: {missing}", there.name),
            None => there.name.to_string(),
        })
        .collect();
    tracing::warn!(
        event = events::SET_INCOMPLETE,
        bytes,
        seconds,
        "set {set}: {whole} of {all} collections; {}",
        lack.join("; ")
    );
}
