//! The final set: every collection of a Qdrant that nobody else reaches, or of several that no client
//! reaches.
//!
//! Plan, parts and manifest are those of any other set. There is no steward any more: who asks and finishes
//! is one; whom the plan names takes what is its own, as of any other set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::farewell::together::Shut;
use planner::farewell::{self, NoSet};
use planner::heal::names::ShardRef;
use planner::heal::view::{ClusterView, Service};
use planner::ids::{PeerId, TaskId};
use planner::keep::assemble::{End, assemble, outstanding};
use planner::keep::by_hand;
use planner::keep::clock::Interval;
use planner::keep::ends::deleted;
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::plan::{Described, Order, plan};
use planner::keep::records::{Manifest, Origin, PlanRecord, Scope, Source};
use planner::observed::Observed;
use planner::records::{Said, Stamp};
use qdrant_api::Client;
use tokio::sync::watch as channel;

use super::describe::describe;
use super::keeper::{failed, tell};
use super::shelves::{Known, Shelves, look};
use super::taker::{Call, Taker};
use super::{Shelf, now, restore_request};
use crate::events;
use crate::log::chain;
use crate::status::Board;
use crate::steward::{survey, watch};
use crate::store::Created;

/// Between two questions that were not answered.
const AGAIN: Duration = Duration::from_millis(50);
/// Between two looks at what others have taken.
const LOOK: Duration = Duration::from_millis(200);

/// Those who take what they hold, ourselves among them.
pub type Party = BTreeMap<PeerId, Shut>;

/// What a final set is made of.
pub struct Last<'a> {
    /// Asks our own Qdrant.
    pub client: &'a Client,
    /// Where the sets are.
    pub shelf: &'a Shelf,
    /// Our task.
    pub task: &'a TaskId,
    /// Its peer, by its own word.
    pub peer: PeerId,
    /// Who takes part.
    pub party: &'a Party,
    /// Where the others hear which set it is.
    pub board: &'a channel::Sender<Board>,
    /// Nobody reaches our Qdrant, its peers neither: every copy has to be ours, and we take them here and now.
    pub alone: bool,
    /// What our disk says.
    pub stamp: &'a Stamp,
    /// From one slot to the next.
    pub interval: Interval,
    /// So much time is left for all of this.
    pub left: Duration,
}

impl Last<'_> {
    /// Makes it. Whoever drops this gives it up: it has no manifest then, and is no set. Copies that could
    /// not be taken are left in `failed`, where another one is taken the next time.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub async fn make(
        &self,
        failed: &mut BTreeSet<(ShardRef, PeerId)>,
    ) -> Result<Manifest, String> {
        let version = self.client.version().await;
        let version = version.map_err(|error| chain(&error))?;
        let source = Source {
            cluster: self.stamp.store_id.clone(),
            generation: self.stamp.generation.clone(),
            qdrant: version,
            image: env!("CARGO_PKG_VERSION").to_owned(),
            steward: self.task.clone(),
        };
        let ours = &source.cluster;
        let there = look(self.shelf, ours, &source.qdrant, &mut Known::new()).await?;
        self.tell_tight(&there).await;
        let plan = self.plan(&source, &there, failed).await?;
        let set = plan.set;
        self.board.send_modify(|board| board.status.set = Some(set));
        let made = self.finish(&plan, &source, failed).await;
        made.map_err(|why| format!("set {set}: {why}"))
    }

    async fn plan(
        &self,
        source: &Source,
        there: &Shelves,
        failed: &BTreeSet<(ShardRef, PeerId)>,
    ) -> Result<PlanRecord, String> {
        let now = now().ok_or("the wall clock says no time that a set could be named after")?;
        let latest = there.seen().iter().map(|seen| seen.id).max();
        let set = by_hand::name(now, latest, self.interval);
        let view = self.view().await?;
        let described = self.described(&view).await;
        let unfinished = restore_request::unfinished(self.client, &described).await;
        let there_now = view.known().map(|(name, _)| name.clone());
        let present = there_now
            .filter(|name| !unfinished.contains(name))
            .collect();
        let generation = &source.generation;
        let accepted = restore_request::accepted(self.client, generation).await;
        let order = Order {
            set,
            origin: Origin::Stop,
            asked: None,
            scope: Scope::All,
            source: source.clone(),
            now,
            unfinished,
            failed_before: failed.clone(),
            shut: self
                .party
                .iter()
                .map(|(peer, shut)| (*peer, shut.since))
                .collect(),
            deleted: deleted(there.seen(), set, generation, &present, &accepted),
        };
        let plan = plan(&order, &view, &described).map_err(|why| format!("set {set}: {why}"))?;
        // Of several it is whole or not at all: nothing is copied in vain.
        let lacks = plan.collections.iter().find_map(|there| {
            let missing = there.missing.first()?;
            Some(format!("{} cannot be whole: {missing}", there.name))
        });
        if let Some(lacks) = lacks.filter(|_| !self.alone) {
            return Err(lacks);
        }
        match self.shelf.create(&plan).await {
            Ok(Created::Ours) => {
                tracing::info!(event = events::SET_BEGUN, "set {set}");
                Ok(plan)
            }
            Ok(Created::Exists(_)) => Err(format!("set {set} is another task's")),
            Err(error) => Err(format!("set {set}: {}", chain(&error))),
        }
    }

    async fn finish(
        &self,
        plan: &PlanRecord,
        source: &Source,
        failed_now: &mut BTreeSet<(ShardRef, PeerId)>,
    ) -> Result<Manifest, String> {
        let taker = Taker::new(self.shelf.clone(), self.client.clone(), self.task.clone());
        let call = Call {
            set: plan.set,
            generation: source.generation.clone(),
            peer: self.peer,
        };
        if self.alone {
            taker.take_all(&call).await;
        }
        let mut parts = Vec::new();
        loop {
            let unread = self.shelf.parts(plan, &mut parts).await;
            if let Some(why) = unread.into_iter().next() {
                return Err(why);
            }
            // Whoever waits for this ends it when the time is over, or when one of them is no more.
            match outstanding(plan, &parts).is_empty() {
                true => break,
                false => tokio::time::sleep(LOOK).await,
            }
        }
        failed_now.extend(failed(plan, &parts));
        let view = self.view().await?;
        let described = self.described(&view).await;
        let now = now().ok_or("the wall clock says nothing that can be written down")?;
        let end = End {
            view: &view,
            described: &described,
            source,
            now,
        };
        let manifest = assemble(plan, &parts, end).map_err(|why| why.to_string())?;
        // There are other copies, and older sets that have everything.
        let lacks = manifest.collections.iter().find(|there| !there.whole);
        if let Some(lacks) = lacks.filter(|_| !self.alone) {
            let missing = lacks.missing.first();
            let why = missing.map_or_else(String::new, |missing| format!(": {missing}"));
            return Err(format!("{} is not whole{why}", lacks.name));
        }
        let created = self.shelf.create(&manifest).await;
        match created.map_err(|error| chain(&error))? {
            Created::Ours => {}
            Created::Exists(_) => return Err("it has another manifest".to_owned()),
        }
        tell(&manifest);
        Ok(manifest)
    }

    /// What our Qdrant sees of those who take part, and every copy that there is.
    async fn view(&self) -> Result<ClusterView, String> {
        let collections = loop {
            let collections = survey::copies(self.client).await;
            let all = match self.alone {
                true => farewell::all_here(&collections, self.peer),
                false => farewell::all_known(&collections).map(drop),
            };
            match all {
                Ok(()) => break collections,
                // Whoever waits for this ends it when the time is over.
                Err(NoSet::Unread(why)) => tracing::debug!("not yet: {why}"),
                // A peer that was reachable before may have taken a copy.
                Err(why) => return Err(why.to_string()),
            }
            tokio::time::sleep(AGAIN).await;
        };
        // That they end is why they are asked.
        let there = |shut: &Shut| watch::ourselves(&shut.task, None, &shut.uri, Said::default());
        let peers = self.party.iter();
        let peers = peers.map(|(peer, shut)| (*peer, there(shut)));
        Ok(ClusterView {
            us: self.peer,
            commits: Observed::Unknown("not asked".to_owned()),
            paused: None,
            wanted_tasks: None,
            peers: peers.collect(),
            age: Duration::ZERO,
            collections,
            losses: BTreeSet::new(),
            service: Service::default(),
        })
    }

    /// What every collection is; one that does not say it in time would be missing from the set.
    async fn described(&self, view: &ClusterView) -> Described {
        loop {
            let described = describe(self.client, view).await;
            let unread = |there: &Observed<_>| matches!(there, Observed::Unknown(_));
            if !described.values().any(unread) {
                return described;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Says so when the time will hardly do, by how long the newest set took.
    async fn tell_tight(&self, there: &Shelves) {
        let Some(took) = self.newest_took(there.newest()).await else {
            return;
        };
        if farewell::is_tight(took, self.left) {
            let (took, left) = (took.as_secs(), self.left.as_secs());
            tracing::warn!(
                event = events::SET_LAST_TIGHT,
                "the newest set took {took} s, and {left} s are left"
            );
        }
    }

    async fn newest_took(&self, newest: Option<SetId>) -> Option<Duration> {
        match self.shelf.read::<Manifest>(newest?, Entry::Manifest).await {
            Found::Good(manifest) => Some(manifest.ended.since(manifest.started)),
            Found::Absent | Found::Refused(_) | Found::Unread(_) => None,
        }
    }
}
