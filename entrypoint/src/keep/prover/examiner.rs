//! Beside the steward: names in the hello which proof is due and whose task does it, follows how far that
//! task is, and says how old the proofs are.
//!
//! What is remembered is in the store. An examiner that is followed by another takes its order along: who was
//! at it hears no more of it and ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::heal::view::Peer;
use planner::keep::proving::{Ages, Order, Pace, Provable, Stands, Work, ages, due, last_by, who};
use planner::records::Said;
use qdrant_api::Client;
use tokio::sync::watch as channel;

use super::sets::{Sets, Whose};
use crate::config::Heal;
use crate::events;
use crate::keep::waits::Waits;
use crate::keep::{Shelf, now, restore_request, sight};
use crate::log::chain;
use crate::status::Board;
use crate::steward::{Post, pause};

/// Between two looks at how far a proof is, at most.
const CALM: Duration = Duration::from_secs(2);
const QUICK: Duration = Duration::from_millis(200);
/// An order that its task does not take up within this, and some rounds, is for another.
const HEARD: Duration = Duration::from_secs(60);
/// A proof may take this, and a second more for so many bytes.
const LONGEST: Duration = Duration::from_secs(30 * 60);
const BYTES_PER_SECOND: u64 = 1 << 20;

/// Orders proofs while this task's Qdrant leads.
pub struct Examiner {
    pace: Pace,
    mode: Heal,
    client: Client,
    shelf: Shelf,
    board: channel::Sender<Board>,
    sets: Sets,
    /// What could not be looked at, since when.
    tried: BTreeMap<Work, Instant>,
    out: Option<Out>,
    /// When the last proof ended, or none was due.
    rested: Instant,
    said: Waits,
}

/// An order that is out.
struct Out {
    order: Order,
    bytes: u64,
    since: Instant,
    heard: bool,
}

impl Examiner {
    /// One that has seen nothing yet. `client` asks our own Qdrant.
    pub fn new(
        pace: Pace,
        mode: Heal,
        client: Client,
        shelf: Shelf,
        board: channel::Sender<Board>,
    ) -> Self {
        Self {
            pace,
            mode,
            client,
            shelf,
            board,
            sets: Sets::default(),
            tried: BTreeMap::new(),
            out: None,
            rested: Instant::now(),
            said: Waits::default(),
        }
    }

    /// Orders while the rounds post, until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            self.sets = Sets::default();
            self.tried.clear();
            self.out = None;
            self.said.clear();
            self.show(None);
            if posts.wait_for(Option::is_some).await.is_err() {
                return;
            }
            self.rested = Instant::now();
            let mut ends = posts.clone();
            tokio::select! {
                ended = ends.wait_for(Option::is_none) => if ended.is_err() { return },
                () = self.lead(&posts) => {}
            }
        }
    }

    async fn lead(&mut self, posts: &channel::Receiver<Option<Post>>) {
        let pause = (self.pace.between / 4).clamp(QUICK, CALM);
        loop {
            tokio::time::sleep(pause).await;
            match self.turn(posts).await {
                Ok(()) => self.said.clear(),
                Err(why) => self.say(why),
            }
            self.show_order();
        }
    }

    /// One look; `Err`: nothing could be ordered, for people.
    async fn turn(&mut self, posts: &channel::Receiver<Option<Post>>) -> Result<(), String> {
        let Some(post) = posts.borrow().clone() else {
            return Ok(());
        };
        if self.mode == Heal::DryRun {
            return Err("nothing is proven with dry-run".to_owned());
        }
        if post.restoring {
            self.out = None;
            return Err("the cluster is being restored: nothing is proven".to_owned());
        }
        if self.out.is_some() {
            return self.follow(&post).await;
        }
        if self.rested.elapsed() < self.pace.between {
            return Ok(());
        }
        if self.board.borrow().status.set.is_some() {
            return Err("a set is being made".to_owned());
        }
        if restore_request::reading(&self.client).await?.is_some() {
            // It needs the room, and the disk.
            return Err("a restore by hand is under way: nothing is proven".to_owned());
        }
        let there = self.shelf.sets().await.map_err(|error| chain(&error))?;
        if there.is_empty() {
            self.rested = Instant::now();
            return Ok(());
        }
        let whose = self.whose().await?;
        self.sets.look(&self.shelf, &whose, there).await;
        let sets = self.sets.provable();
        self.show(Some((&sets, &whose.running)));
        let now = now().ok_or("the wall clock says nothing that can be written down")?;
        let again = self.pace.tried_again;
        self.tried.retain(|_, at| at.elapsed() < again);
        let tried = self.tried.keys().cloned().collect();
        let room = largest_room(&post, &self.board.borrow().status.said);
        let Some(work) = due(&self.pace, &sets, &whose.running, now, room, &tried) else {
            self.rested = Instant::now();
            return Ok(());
        };
        if let Some(paused) = pause::read(&self.client)
            .await
            .map_err(|error| chain(&error))?
        {
            let (owner, reason) = (paused.owner, paused.reason);
            return Err(format!("the steward is paused by {owner}: {reason}"));
        }
        // It may have been deleted, or proven by the word of an earlier leader.
        if !self.sets.refresh(&self.shelf, &whose, work.set()).await {
            return Ok(());
        }
        let sets = self.sets.provable();
        if due(&self.pace, &sets, &whose.running, now, room, &tried).as_ref() != Some(&work) {
            return Ok(());
        }
        let (_, life) = sight::place(&self.board)?;
        let view = sight::survey(&self.client, &self.board, posts, &life).await?;
        let bytes = bytes(&sets, &work);
        let needs = matches!(work, Work::Restore { .. }).then_some(bytes);
        let peer =
            who(&view, needs, &last_by(&sets)).map_err(|why| format!("{work} waits: {why}"))?;
        let order = Order {
            work,
            peer,
            at: now,
        };
        tracing::info!(
            event = events::PROOF_BEGUN,
            peer = peer.0,
            bytes,
            "{}",
            order.work
        );
        self.out = Some(Out {
            order,
            bytes,
            since: Instant::now(),
            heard: false,
        });
        Ok(())
    }

    /// Looks how far the order is that is out.
    async fn follow(&mut self, post: &Post) -> Result<(), String> {
        let ours = self.board.borrow().status.said.clone();
        let us = self.board.borrow().status.peer_id;
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let peer = out.order.peer;
        // Of one that is not heard for a moment holds what it said last.
        let lost = |there: &&Peer| there.life.is_gone() || there.said.ending;
        let said = match post.peers.get(&peer) {
            _ if us == Some(peer) => Some(&ours),
            there => there.filter(|there| !lost(there)).map(|there| &there.said),
        };
        let Some(said) = said else {
            return self.end("its task ends or is gone".to_owned()).await;
        };
        let answer = said.proof.answer.as_ref();
        let stands = answer.filter(|answer| answer.order == out.order);
        let stands = stands.map(|answer| answer.stands.clone());
        let longest = LONGEST + Duration::from_secs(out.bytes / BYTES_PER_SECOND);
        match stands {
            Some(Stands::Recorded) => {
                let set = out.order.work.set();
                self.out = None;
                self.rested = Instant::now();
                let whose = self.whose().await?;
                self.sets.refresh(&self.shelf, &whose, set).await;
                let sets = self.sets.provable();
                self.show(Some((&sets, &whose.running)));
                Ok(())
            }
            Some(Stands::Nothing(why)) => self.end(why).await,
            Some(Stands::Working) if out.since.elapsed() <= longest => {
                out.heard = true;
                Ok(())
            }
            Some(Stands::Working) => self.end("it takes too long".to_owned()).await,
            None if out.heard => self.end("its task has begun anew".to_owned()).await,
            None if out.since.elapsed() > HEARD => {
                self.end("its task does not take it up".to_owned()).await
            }
            None => Ok(()),
        }
    }

    /// The order came to nothing, or not to all: it is tried again after a while.
    async fn end(&mut self, why: String) -> Result<(), String> {
        let Some(out) = self.out.take() else {
            return Ok(());
        };
        let work = out.order.work;
        self.rested = Instant::now();
        self.tried.insert(work.clone(), Instant::now());
        // Some of its files may have been looked at.
        let whose = self.whose().await?;
        self.sets.refresh(&self.shelf, &whose, work.set()).await;
        Err(format!("{work}: {why}"))
    }

    async fn whose(&self) -> Result<Whose, String> {
        let running = self.client.version().await.map_err(|error| chain(&error))?;
        let (store, _) = sight::place(&self.board)?;
        Ok(Whose { store, running })
    }

    /// Said when it is new, and no more than once in a while.
    fn say(&mut self, what: String) {
        if self.said.is_news(what.clone()) {
            tracing::info!(event = events::PROOF_WAITS, "{what}");
        }
    }

    /// How old the proofs are; `None` where another task knows it.
    fn show(&self, sets: Option<(&[Provable], &str)>) {
        let known = sets.map(|(sets, running)| ages(sets, running));
        let wrong = sets.and_then(|(sets, running)| alarm(sets, running));
        self.board.send_if_modified(|board| {
            let status = &mut board.status;
            let changed = status.proofs != known || status.proofs_wrong != wrong;
            status.proofs = known;
            status.proofs_wrong = wrong;
            changed
        });
        self.show_order();
    }

    fn show_order(&self) {
        let order = self.out.as_ref().map(|out| out.order.clone());
        let said = self.said.text().map(str::to_owned);
        let said = said.unwrap_or_default();
        self.board.send_if_modified(|board| {
            let status = &mut board.status;
            let changed = status.said.proof.order != order || status.proof != said;
            status.said.proof.order = order;
            status.proof = said;
            changed
        });
    }
}

/// The largest file that anybody of this cluster would restore.
fn largest_room(post: &Post, ours: &Said) -> u64 {
    let others = post.peers.values().map(|peer| peer.said.proof.room);
    match post.peers.is_empty() {
        true => ours.proof.room,
        false => others.max().unwrap_or(0),
    }
}

/// How much is read for a proof.
fn bytes(sets: &[Provable], work: &Work) -> u64 {
    let set = sets.iter().find(|set| set.set == work.set());
    let files = set.into_iter().flat_map(|set| &set.files);
    let of = files.filter(|file| match work {
        Work::Read { .. } => true,
        Work::Restore { index, shard, .. } => (file.index, file.shard) == (*index, *shard),
    });
    of.map(|file| file.bytes).sum()
}

/// What a person must know: the newest set that anybody has looked at is bad.
fn alarm(sets: &[Provable], running: &str) -> Option<String> {
    let looked = sets.iter().filter(|set| !set.proofs.is_empty());
    let newest = looked.max_by_key(|set| set.set)?;
    newest.is_bad(running).then(|| {
        let Ages { newest: good, .. } = ages(sets, running);
        let good = good.values().max();
        let good = good.map_or("none is known to be good".to_owned(), |set| {
            format!("the newest that is known to be good is {set}")
        });
        format!("set {} is bad, as its proof found; {good}", newest.set)
    })
}
