//! Beside the steward: when a set is due it is planned; while one is being made its parts are waited for;
//! when they have come, or will not come any more, the manifest is written, or the set is given up.
//!
//! Every decision is `planner::keep`'s, and all that is remembered is in the store: the keeper of the next
//! leader goes on where this one ends. Two that both believe to be the one find each other's files.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use planner::farewell;
use planner::heal::names::ShardRef;
use planner::heal::view::ClusterView;
use planner::ids::{GenerationId, PeerId, StoreId, TaskId, Token};
use planner::keep::assemble::{End, NoManifest, assemble, awaited};
use planner::keep::by_hand::{self, Request, by_hand};
use planner::keep::clock::{Clock, Hold, Sight, Synchronised, Verdict};
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::plan::{Described, NoPlan, Order, plan};
use planner::keep::records::{Manifest, Origin, Outcome, PartRecord, PlanRecord, Scope, Source};
use planner::keep::resume::{FINISH_WITHIN, Resume, Unfinished, resume};
use planner::keep::retention;
use planner::keep::seen::{Seen, deleted};
use planner::keep::time::Utc;
use planner::observed::Observed;
use qdrant_api::Client;
use tokio::sync::watch as channel;

use super::asked::{self, OnRecord};
use super::describe::describe;
use super::pruner::Pruner;
use super::shelves::{Known, Shelves, look};
use super::waits::Waits;
use super::{Shelf, now, restore_request, sight, tombstone};
use crate::config::Heal;
use crate::events;
use crate::log::chain;
use crate::status::{Board, Kept};
use crate::steward::{Post, pause};
use crate::store::Created;

/// The shortest and the longest pause between two looks at the clock, or at a set that is being made.
const QUICK: Duration = Duration::from_millis(100);
const CALM: Duration = Duration::from_secs(2);
/// A set by hand that could not be planned is tried again after this: no slot ends its waiting.
const AGAIN: Duration = Duration::from_secs(15);

/// In words that do not change while it lasts.
const TIGHT: &str = "the newest set took longer than a stop leaves for the final set of this only node: what is \
                     written since the newest set is lost when the task is stopped; raise its stopTimeout \
                     and ENTRYPOINT_STOP_TIMEOUT, or make sets more often";

/// What a keeper is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When sets are made, and for how long they are kept.
    pub kept: retention::Settings,
    /// Whether anything may be changed.
    pub mode: Heal,
    /// Our task.
    pub task: TaskId,
    /// So much time a stop leaves for the final set of the only node.
    pub stop_leaves: Duration,
}

/// The keeper of one task; idle while another task's Qdrant leads.
pub struct Keeper {
    settings: Settings,
    client: Client,
    shelf: Shelf,
    board: channel::Sender<Board>,
    pruner: Pruner,
    making: Option<Making>,
    known: Known,
    /// Copies that could not be taken for the last set.
    failed: BTreeSet<(ShardRef, PeerId)>,
    /// What was last said, and when.
    said: Waits,
    /// How the sets stood when the store was last looked at; `None`: it was not yet, in this lead.
    stood: Option<Kept>,
    /// The slots that passed without a set since this task started.
    missed: u64,
    /// What a person must know of the clock.
    wrong: Option<String>,
    /// This is the only node, and its final set would not fit into a stop.
    tight: bool,
}

/// The set that is being made.
struct Making {
    plan: PlanRecord,
    /// Since when we know it.
    since: Instant,
    /// The newest plan in the store that is not of a set by hand.
    newest: SetId,
    /// What has come of it so far.
    parts: Vec<PartRecord>,
}

/// Where the sets of this turn are from: the cluster as our own round knows it.
struct Place {
    store: StoreId,
    generation: GenerationId,
    qdrant: String,
}

/// What one turn as the leader's keeper goes by.
struct Watch {
    clock: Clock,
    /// What the store holds; looked at anew after every change of ours.
    shelves: Option<Shelves>,
    /// Asked once: a Qdrant of another version is another task's.
    qdrant: Option<String>,
    /// The request for which the store was looked at anew.
    looked_for: Option<Token>,
    /// When it could not be planned, and why.
    tried: Option<(Instant, String)>,
}

/// The set that is to be planned.
struct Wanted {
    set: SetId,
    /// Somebody asked for it; otherwise it is the clock's.
    request: Option<Request>,
}

impl Keeper {
    /// One that has seen nothing yet. `client` asks our own Qdrant.
    pub fn new(
        settings: Settings,
        client: Client,
        shelf: Shelf,
        board: channel::Sender<Board>,
    ) -> Self {
        let pruner = Pruner::new(shelf.clone(), settings.task.clone(), settings.kept.clone());
        Self {
            settings,
            client,
            shelf,
            board,
            pruner,
            making: None,
            known: Known::new(),
            failed: BTreeSet::new(),
            said: Waits::default(),
            stood: None,
            missed: 0,
            wrong: None,
            tight: false,
        }
    }

    /// Keeps while the rounds post, until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            // Whoever leads next finds in the store what we know.
            self.making = None;
            self.known.clear();
            self.failed.clear();
            self.said.clear();
            self.stood = None;
            self.wrong = None;
            self.tight = false;
            self.show();
            if posts.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let mut ends = posts.clone();
            tokio::select! {
                // Nothing is half done that is not begun anew or ended by the next one.
                ended = ends.wait_for(Option::is_none) => if ended.is_err() { return },
                () = self.lead(&posts) => {}
            }
        }
    }

    /// Turns without end.
    async fn lead(&mut self, posts: &channel::Receiver<Option<Post>>) {
        let every = self.settings.kept.interval;
        // Often enough to see a slot begin while it may be taken.
        let pause = (every.tolerance() / 8).clamp(QUICK, CALM);
        let mut watch = None;
        loop {
            tokio::time::sleep(pause).await;
            let done = match now() {
                None => {
                    Err("the wall clock says no time that a set could be named after".to_owned())
                }
                Some(now) => {
                    let watch = watch.get_or_insert_with(|| Watch {
                        clock: Clock::new(every, now),
                        shelves: None,
                        qdrant: None,
                        looked_for: None,
                        tried: None,
                    });
                    self.turn(posts, now, watch).await
                }
            };
            match done {
                Ok(()) => self.said.clear(),
                Err(why) => self.say(why),
            }
            self.show();
        }
    }

    /// One look; `Err`: nothing could be done, for people.
    async fn turn(
        &mut self,
        posts: &channel::Receiver<Option<Post>>,
        now: Utc,
        watch: &mut Watch,
    ) -> Result<(), String> {
        if self.settings.mode == Heal::DryRun {
            return Err("nothing is changed with dry-run: no sets are made".to_owned());
        }
        if posts.borrow().as_ref().is_some_and(|post| post.restoring) {
            // What is half restored is no set, and what it is restored from is not deleted.
            return Err("the cluster is being restored: no sets are made or deleted".to_owned());
        }
        let paused = pause::read(&self.client).await;
        let paused = paused.map_err(|error| chain(&error))?;
        let on_record = asked::read(&self.client).await;
        let on_record = on_record.map_err(|error| chain(&error))?;
        let place = self.place(&mut watch.qdrant).await?;
        if let Some(Making { plan, .. }) = &self.making {
            let token = plan.asked.as_ref().map(|asked| asked.token.clone());
            let sight = by_hand::Sight {
                now,
                interval: self.settings.kept.interval,
                sets: Observed::Unknown("a set is being made".to_owned()),
                under_way: Some((plan.set, token)),
                clock: None,
                hold: None,
            };
            // That it waits is no news beside what the set waits for.
            let _ = self.answer(on_record.clone(), &sight).await;
        }
        if let Some(making) = self.making.take() {
            let (making, over) = self.progress(&place, posts, making, now).await;
            match over {
                Ok(true) => watch.shelves = None,
                Ok(false) => self.making = Some(making),
                Err(why) => {
                    self.making = Some(making);
                    return Err(why);
                }
            }
            return Ok(());
        }
        if self.pruner.is_behind() {
            watch.shelves = None;
        }
        let there = match &watch.shelves {
            Some(there) => there,
            None => {
                let (ours, running) = (&place.store, place.qdrant.as_str());
                let mut there = look(&self.shelf, ours, running, &mut self.known).await?;
                let reading = restore_request::reading(&self.client).await;
                if let Ok(Some(set)) = reading {
                    there.lend(set);
                }
                // Which set a restore reads that is of a newer version is not known.
                if paused.is_none() && reading.is_ok() {
                    let prune = self.pruner.prune(&there, &self.known, ours, running, now);
                    // What cannot be deleted now holds up no set.
                    for why in prune.await {
                        tracing::warn!(event = events::SET_KEPT, "{why}");
                    }
                }
                watch.shelves.insert(there)
            }
        };
        // What a former steward began, the oldest first.
        if let Some(plan) = there.unfinished().first() {
            self.making = Some(Making {
                plan: plan.clone(),
                since: Instant::now(),
                newest: there.newest().unwrap_or(plan.set),
                parts: Vec::new(),
            });
            return Ok(());
        }
        let off = paused.map(|_| Hold::Off);
        let whole = |seen: &&Seen| seen.contents().is_some_and(|there| there.is_complete());
        let newest = there.seen().iter().filter(whole).map(|seen| seen.id).max();
        let hold = match off {
            Some(_) => off,
            None => self.is_empty(now).await?.then_some(Hold::Empty),
        };
        let tick = watch.clock.tick(&Sight {
            now,
            // Task metadata says so on few platforms, and is not asked yet.
            synchronised: Synchronised::Unknown,
            taken: there.taken(),
            under_way: None,
            hold,
        });
        self.missed = self.missed.saturating_add(tick.missed);
        self.stood = Some(Kept {
            newest,
            missed: self.missed,
        });
        if tick.missed > 0 {
            let missed = tick.missed;
            tracing::warn!(
                event = events::SET_MISSED,
                missed,
                "slots passed without a set"
            );
        }
        self.wrong = tick.alarm.map(|wrong| wrong.to_string());
        let wanted = match tick.verdict {
            Verdict::Due(set) => Wanted { set, request: None },
            not_yet @ Verdict::NotYet { .. } => {
                let sight = by_hand::Sight {
                    now,
                    interval: self.settings.kept.interval,
                    sets: there.asked(),
                    under_way: None,
                    clock: Some(not_yet),
                    hold: off,
                };
                match self.answer(on_record, &sight).await? {
                    Some(wanted) => wanted,
                    None => return Ok(()),
                }
            }
        };
        let Some(token) = wanted.request.as_ref().map(|r| r.asked.token.clone()) else {
            if self.begin(wanted, now, &place, posts, there).await? {
                watch.shelves = None;
            }
            return Ok(());
        };
        // Its name follows from what is there, and so must be seen just before: no slot does that for it.
        if watch.looked_for.as_ref() != Some(&token) {
            (watch.looked_for, watch.shelves) = (Some(token), None);
            return Ok(());
        }
        if let Some((at, why)) = &watch.tried
            && at.elapsed() < AGAIN
        {
            return Err(why.clone());
        }
        let begun = self.begin(wanted, now, &place, posts, there).await;
        (watch.looked_for, watch.tried) = (None, None);
        match begun {
            Ok(true) => watch.shelves = None,
            Ok(false) => {}
            Err(why) => {
                watch.tried = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        }
        Ok(())
    }

    /// What becomes of a request; gives the set that is to be planned for it. `Err`: it waits, for people.
    async fn answer(
        &self,
        on_record: OnRecord,
        sight: &by_hand::Sight,
    ) -> Result<Option<Wanted>, String> {
        let request = match on_record {
            OnRecord::Nothing => return Ok(None),
            OnRecord::Refused(why) => return Err(why),
            OnRecord::Request(request) => request,
        };
        match by_hand(&request, sight) {
            by_hand::Verdict::Due(set) => Ok(Some(Wanted {
                set,
                request: Some(request),
            })),
            by_hand::Verdict::Waits(why) => {
                let by = &request.asked.by;
                Err(format!("the set that {by} asked for waits: {why}"))
            }
            by_hand::Verdict::Taken(_) => self.settle(&request).await.map(|()| None),
            by_hand::Verdict::Dropped(why) => {
                self.drop_request(&request, &why.to_string()).await?;
                Ok(None)
            }
        }
    }

    /// A request that has its set goes out of the key map. While that fails its token tells.
    async fn settle(&self, request: &Request) -> Result<(), String> {
        let ended = asked::end(&self.client, &request.asked.token).await;
        ended.map_err(|error| chain(&error))
    }

    async fn drop_request(&self, request: &Request, why: &str) -> Result<(), String> {
        self.settle(request).await?;
        let (by, what) = (&request.asked.by, asked::what(&request.scope));
        tracing::warn!(
            event = events::SET_REQUEST_DROPPED,
            "{what}, by {by}: {why}"
        );
        Ok(())
    }

    /// Whether there is no collection; asked while a slot can be taken.
    async fn is_empty(&self, now: Utc) -> Result<bool, String> {
        let every = self.settings.kept.interval;
        if now.since(every.slot(now)) > every.tolerance() {
            return Ok(false);
        }
        let names = self.client.collections().await;
        Ok(names.map_err(|error| chain(&error))?.is_empty())
    }

    /// The cluster that we are in, and its Qdrant.
    async fn place(&self, qdrant: &mut Option<String>) -> Result<Place, String> {
        if qdrant.is_none() {
            let version = self.client.version().await.map_err(|error| chain(&error))?;
            *qdrant = Some(version);
        }
        let (store, generation) = sight::place(&self.board)?;
        Ok(Place {
            store,
            generation,
            qdrant: qdrant.clone().unwrap_or_default(),
        })
    }

    fn source(&self, place: &Place) -> Source {
        Source {
            cluster: place.store.clone(),
            generation: place.generation.clone(),
            qdrant: place.qdrant.clone(),
            image: env!("CARGO_PKG_VERSION").to_owned(),
            steward: self.settings.task.clone(),
        }
    }

    /// What the cluster is now, in the life that `place` names.
    async fn survey(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
    ) -> Result<ClusterView, String> {
        sight::survey(&self.client, &self.board, posts, &place.generation).await
    }

    /// Plans a set; says whether the store may hold another plan now.
    async fn begin(
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
        let none = BTreeSet::new();
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
            deleted: deleted(there.seen(), set, &place.generation, &present, &none),
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
    async fn progress(
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

    /// Said when it is new, and no more than once in a while: a reason may hold a time that moves on.
    fn say(&mut self, what: String) {
        if self.said.is_news(what.clone()) {
            tracing::info!(event = events::SET_WAITS, "{what}");
        }
    }

    fn show(&self) {
        let making = self.making.as_ref().map(|making| making.plan.set);
        let said = self.said.text();
        let wrong = self.wrong.clone();
        let wrong = wrong.or(self.tight.then(|| TIGHT.to_owned()));
        self.board.send_if_modified(|board| {
            let status = &mut board.status;
            let said = said.unwrap_or_default();
            let changed = status.set != making
                || status.sets != said
                || status.kept != self.stood
                || status.sets_wrong != wrong;
            status.set = making;
            status.kept.clone_from(&self.stood);
            said.clone_into(&mut status.sets);
            status.sets_wrong.clone_from(&wrong);
            changed
        });
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
fn failed(plan: &PlanRecord, parts: &[PartRecord]) -> BTreeSet<(ShardRef, PeerId)> {
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

pub(super) fn tell(manifest: &Manifest) {
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
