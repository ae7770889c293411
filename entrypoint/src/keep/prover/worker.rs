//! A task's own part in the proof of sets: it does what the leader's hello orders, one thing at a time, and
//! says in its own hello how far it is. An order that is taken back ends what is under way.

use std::time::Duration;

use planner::ids::TaskId;
use planner::keep::folder::Found;
use planner::keep::layout::Entry;
use planner::keep::proving::{Answer, Order, Stands, Work};
use planner::keep::records::{
    Checked, CollectionEntry, FORMAT, FileEntry, Level, Manifest, ProofRecord, Tombstone,
};
use planner::keep::samples::Judgement;
use qdrant_api::Client;
use tokio::sync::watch as channel;

use super::Parts;
use super::gate::Gate;
use super::reading::{judged, read, records};
use super::restoring::{Restored, restore};
use super::room;
use super::scratch::{Program, Scratch};
use super::site::Site;
use crate::events;
use crate::keep::taker::Call;
use crate::keep::{Shelf, now};
use crate::log::chain;
use crate::status::Board;
use crate::store::Created;

/// Between two looks at how much room there is.
const MEASURE: Duration = Duration::from_secs(20);
/// A room that differs by less is the same.
const STEP: u64 = 64 << 20;
/// A name in the store is taken for a second at most.
const NAME: Duration = Duration::from_secs(1);
/// So many seconds are tried.
const NAMES: usize = 5;

/// Does what is ordered.
pub struct Prover {
    shelf: Shelf,
    /// Asks our own Qdrant.
    client: Client,
    task: TaskId,
    board: channel::Sender<Board>,
    /// Whether a set is being made.
    calls: channel::Receiver<Option<Call>>,
    site: Site,
    program: Program,
}

impl Prover {
    /// One that has done nothing yet; `site` is where its scratch Qdrants live.
    pub fn new(parts: Parts, site: Site, program: Program) -> Self {
        let Parts {
            shelf,
            client,
            task,
            board,
            calls,
        } = parts;
        Self {
            shelf,
            client,
            task,
            board,
            calls,
            site,
            program,
        }
    }

    /// Does one order after the other, until the rounds end.
    pub async fn run(self, orders: channel::Receiver<Option<Order>>) {
        self.clear().await;
        tokio::select! {
            () = self.obey(orders) => {}
            () = self.measure() => {}
        }
    }

    async fn obey(&self, mut orders: channel::Receiver<Option<Order>>) {
        let mut done = None;
        loop {
            let order = orders.borrow_and_update().clone();
            let over = async {
                let same = |now: &Option<Order>| *now == order;
                orders.wait_for(|now| !same(now)).await.map(drop)
            };
            let Some(own) = order.clone().filter(|order| done.as_ref() != Some(order)) else {
                if over.await.is_err() {
                    return;
                }
                continue;
            };
            self.say(&own, Stands::Working);
            let stands = self.fulfil(&own, over).await;
            if let Stands::Nothing(why) = &stands {
                tracing::info!(event = events::PROOF_WAITS, "{}: {why}", own.work);
            }
            self.say(&own, stands);
            done = Some(own);
        }
    }

    /// `over` ends when the order is taken back.
    async fn fulfil<T>(&self, order: &Order, over: impl Future<Output = T>) -> Stands {
        let called_off = || Stands::Nothing("it was called off".to_owned());
        tokio::pin!(over);
        match &order.work {
            Work::Read { .. } => tokio::select! {
                done = self.read(order) => answer(done),
                _ = &mut over => called_off(),
            },
            Work::Restore { .. } => {
                // Not broken off: one that is not whole yet could not be ended in order.
                let scratch = Scratch::start(&self.site, &self.program).await;
                let scratch = match scratch {
                    Ok(scratch) => scratch,
                    Err(why) => return Stands::Nothing(chain(&why)),
                };
                let stands = tokio::select! {
                    biased;
                    _ = &mut over => called_off(),
                    done = self.restore(order, &scratch) => answer(done),
                };
                // Whatever came of it, nothing of it stays.
                if let Err(why) = scratch.end().await {
                    tracing::warn!(event = events::PROOF_SCRATCH, "{}", chain(&why));
                }
                stands
            }
        }
    }

    /// Reads all files of a set.
    async fn read(&self, order: &Order) -> Result<(), String> {
        let manifest = self.manifest(order).await?;
        let qdrant = self.client.version().await.map_err(|error| chain(&error))?;
        let mut gate = Gate::slow(self.calls.clone());
        let reading = read(&self.shelf, &manifest, &mut gate).await;
        let of = |level, checked| self.record(&manifest, level, &qdrant, checked);
        for record in records(reading.checked, of) {
            self.put(&manifest, record).await?;
        }
        match reading.unread.first() {
            None => Ok(()),
            Some(first) => {
                let all = reading.unread.len();
                Err(format!("{first} ({all} in all could not be looked at)"))
            }
        }
    }

    /// Restores one file of a set.
    async fn restore(&self, order: &Order, scratch: &Scratch) -> Result<(), String> {
        let manifest = self.manifest(order).await?;
        let (there, file) = file_of(&manifest, &order.work)?;
        let room = room::here(&self.site)?;
        if file.bytes > room {
            return Err(format!(
                "it has {} bytes, there is room for {room}",
                file.bytes
            ));
        }
        let mut gate = Gate::slow(self.calls.clone());
        let qdrant = scratch.client().version().await;
        let qdrant = qdrant.map_err(|error| chain(&error))?;
        let restored = restore(&self.shelf, scratch, &manifest, there, file, &mut gate).await?;
        let (level, wrong) = match restored {
            Restored::Judged(Judgement::Good) => (Level::L2, None),
            Restored::Judged(Judgement::Bad(why)) => (Level::L2, Some(why)),
            Restored::Judged(Judgement::Unclear(why)) => return Err(why),
            Restored::OtherBytes => judged(&self.shelf, &manifest, there, file, &mut gate).await?,
        };
        let checked = vec![Checked {
            index: there.index,
            shard: file.shard,
            wrong,
        }];
        let record = self.record(&manifest, level, &qdrant, checked);
        self.put(&manifest, record).await
    }

    async fn manifest(&self, order: &Order) -> Result<Manifest, String> {
        let set = order.work.set();
        match self.shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Good(manifest) => Ok(manifest),
            Found::Absent => Err(format!("set {set} has no manifest now")),
            Found::Refused(why) => Err(why.to_string()),
            Found::Unread(why) => Err(why),
        }
    }

    fn record(
        &self,
        manifest: &Manifest,
        level: Level,
        qdrant: &str,
        checked: Vec<Checked>,
    ) -> ProofRecord {
        ProofRecord {
            format: FORMAT,
            set: manifest.set,
            level,
            // Before it is written it gets the second in which that is done.
            at: manifest.ended,
            task: self.task.clone(),
            qdrant: qdrant.to_owned(),
            checked,
        }
    }

    /// Puts a record beside the set, unless the set is being deleted.
    async fn put(&self, manifest: &Manifest, mut record: ProofRecord) -> Result<(), String> {
        let set = manifest.set;
        match self.shelf.read::<Tombstone>(set, Entry::Tombstone).await {
            Found::Absent => {}
            Found::Good(_) | Found::Refused(_) => return Err("the set is being deleted".to_owned()),
            Found::Unread(why) => return Err(why),
        }
        for _ in 0..NAMES {
            record.at = now().ok_or("the wall clock says nothing that can be written down")?;
            match self.shelf.create(&record).await {
                Ok(Created::Ours) => {
                    tell(manifest, &record);
                    return Ok(());
                }
                // Another proof of this level has the name of this second.
                Ok(Created::Exists(_)) => tokio::time::sleep(NAME).await,
                Err(error) => return Err(chain(&error)),
            }
        }
        Err("the store has a proof of every second that was tried".to_owned())
    }

    fn say(&self, order: &Order, stands: Stands) {
        let answer = Answer {
            order: order.clone(),
            stands,
        };
        self.board.send_modify(|board| {
            board.status.said.proof.answer = Some(answer);
        });
    }

    /// Says how much room there is, as often as that changes.
    async fn measure(&self) {
        let mut said = None;
        loop {
            let site = self.site.clone();
            let measured = tokio::task::spawn_blocking(move || room::here(&site)).await;
            let measured = measured.map_err(|error| chain(&error));
            let (room, why) = match measured.and_then(|room| room) {
                Ok(room) => (room / STEP * STEP, None),
                Err(why) => (0, Some(why)),
            };
            if why.is_some() && why != said {
                let why = why.as_deref().unwrap_or_default();
                tracing::info!(
                    event = events::PROOF_SCRATCH,
                    "nothing is restored here: {why}"
                );
            }
            said = why;
            self.board.send_if_modified(|board| {
                let known = &mut board.status.said.proof.room;
                let changed = *known != room;
                *known = room;
                changed
            });
            tokio::time::sleep(MEASURE).await;
        }
    }

    /// Removes what a scratch Qdrant left that died with us.
    async fn clear(&self) {
        let site = self.site.clone();
        let cleared = tokio::task::spawn_blocking(move || site.clear()).await;
        match cleared {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tracing::info!(
                    event = events::PROOF_SCRATCH,
                    "what an earlier one left was removed"
                );
            }
            Ok(Err(why)) => tracing::warn!(event = events::PROOF_SCRATCH, "{}", chain(&why)),
            Err(why) => tracing::warn!(event = events::PROOF_SCRATCH, "{}", chain(&why)),
        }
    }
}

fn answer(done: Result<(), String>) -> Stands {
    match done {
        Ok(()) => Stands::Recorded,
        Err(why) => Stands::Nothing(why),
    }
}

fn file_of<'a>(
    manifest: &'a Manifest,
    work: &Work,
) -> Result<(&'a CollectionEntry, &'a FileEntry), String> {
    let Work::Restore { set, index, shard } = work else {
        return Err("it names no file".to_owned());
    };
    let there = manifest
        .collections
        .iter()
        .find(|there| there.index == *index);
    let found = there.and_then(|there| {
        let file = there.files.iter().find(|file| file.shard == *shard)?;
        Some((there, file))
    });
    found.ok_or_else(|| format!("set {set} has no file of shard {shard} of {index}"))
}

fn tell(manifest: &Manifest, record: &ProofRecord) {
    let (set, level) = (record.set, record.level);
    for checked in &record.checked {
        if let Some(wrong) = &checked.wrong {
            let there = manifest
                .collections
                .iter()
                .find(|there| there.index == checked.index);
            let name = there.map_or("", |there| there.name.0.as_str());
            let shard = checked.shard;
            tracing::error!(
                event = events::PROOF_FAILED,
                "set {set}, shard {shard} of {name}, {level}: {wrong}"
            );
        }
    }
    let good = record.checked.iter().filter(|c| c.wrong.is_none()).count();
    let files = record.checked.len();
    tracing::info!(
        event = events::PROOF_DONE,
        "set {set}, {level}: {good} of {files} files are good"
    );
}
