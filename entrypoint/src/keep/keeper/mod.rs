//! Beside the steward: when a set is due it is planned; while one is being made its parts are waited for;
//! when they have come, or will not come any more, the manifest is written, or the set is given up.
//!
//! Every decision is `planner::keep`'s, and all that is remembered is in the store: the keeper of the next
//! leader goes on where this one ends. Two that both believe to be the one find each other's files.

mod making;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use planner::heal::names::ShardRef;
use planner::ids::{GenerationId, PeerId, StoreId, TaskId, Token};
use planner::keep::by_hand::{self, by_hand};
use planner::keep::choose::unexplained;
use planner::keep::clock::{Clock, Hold, Sight, Synchronised, Verdict};
use planner::keep::retention;
use planner::keep::seen::Seen;
use planner::keep::time::Utc;
use planner::observed::Observed;
use qdrant_api::Client;
use tokio::sync::watch as channel;

use self::making::{Making, Wanted};
pub(super) use self::making::{failed, tell};
use super::asked::{self, OnRecord};
use super::lookout::Lookout;
use super::pruner::Pruner;
use super::shelves::{Known, look};
use super::waits::Waits;
use super::{Shelf, now, restore_request, sight};
use crate::config::Heal;
use crate::events;
use crate::log::chain;
use crate::status::{Board, Kept};
use crate::steward::{Post, pause};

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
    lookout: Lookout,
    /// Asked once: a Qdrant of another version is another task's.
    qdrant: Option<String>,
    /// The request for which the store was looked at anew.
    looked_for: Option<Token>,
    /// When it could not be planned, and why.
    tried: Option<(Instant, String)>,
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
                        lookout: Lookout::default(),
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
                Ok(true) => watch.lookout.forget(),
                Ok(false) => self.making = Some(making),
                Err(why) => {
                    self.making = Some(making);
                    return Err(why);
                }
            }
            return Ok(());
        }
        if self.pruner.is_behind() || !watch.lookout.counts(Instant::now()) {
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
            watch.lookout.saw(there, Instant::now());
        }
        let Some(there) = watch.lookout.last() else {
            return Ok(());
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
        let every = self.settings.kept.interval.length();
        let unread = there.unread();
        let unread_since = watch.lookout.unread_since();
        let long_unread = unread_since.is_some_and(|since| since.elapsed() > every);
        let long_unread = unread.as_ref().filter(|_| long_unread);
        self.wrong = tick
            .alarm
            .map(|wrong| wrong.to_string())
            .or_else(|| long_unread.map(|why| format!("no sets are made meanwhile: {why}")))
            .or_else(|| unaccounted(there.seen()));
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
                    // While it lasts no slot is taken.
                    None => return unread.map_or(Ok(()), Err),
                }
            }
        };
        let Some(token) = wanted.request.as_ref().map(|r| r.asked.token.clone()) else {
            if self.begin(wanted, now, &place, posts, there).await? {
                watch.lookout.forget();
            }
            return Ok(());
        };
        // Its name follows from what is there, and so must be seen just before: no slot does that for it.
        if watch.looked_for.as_ref() != Some(&token) {
            watch.looked_for = Some(token);
            watch.lookout.forget();
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
            Ok(true) => watch.lookout.forget(),
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
    async fn settle(&self, request: &by_hand::Request) -> Result<(), String> {
        let ended = asked::end(&self.client, &request.asked.token).await;
        ended.map_err(|error| chain(&error))
    }

    async fn drop_request(&self, request: &by_hand::Request, why: &str) -> Result<(), String> {
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

/// What a person must know of collections that only old sets have.
fn unaccounted(sets: &[Seen]) -> Option<String> {
    let names = unexplained(sets);
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        format!(
            "earlier sets have {}, the newest does not, and nobody saw it end: no newer set is restored by itself until \
             `entrypoint restore --collection NAME --as NAME` brings it back, or `entrypoint restore --accept-loss` gives it up",
            names.join(", ")
        )
    })
}
