//! One collection out of a set: made, its copies placed, every copy of a shard filled with the same file,
//! and compared. Whose collection it becomes, and when it may be thrown away, is the callers' business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::heal::names::CollectionName;
use planner::ids::Token;
use planner::keep::records::{CollectionEntry, Description, Manifest, ShardKey, Sharding};
use planner::keep::restore::{self, Holders};
use planner::records::MARK;
use qdrant_api::{CollectionIdentity, PayloadIndex, Recreation};
use tokio::sync::watch as channel;

use super::APPLY_SECS;
use super::lapse::in_time;
use super::outcome::{Done, Failed, named, wait};
use super::site::{Basis, Place, Site};
use crate::log::chain;
use crate::status::Board;

/// How long copies may take to be placed, and to be seen Active with equal counts once they are
/// filled. Nothing is lost when it was too short: the collection is made again.
pub(super) const SETTLE: Duration = Duration::from_secs(180);

/// A collection on its way out of a set.
pub(super) struct Making<'a> {
    pub(super) site: &'a Site,
    pub(super) place: &'a Place,
    /// The record that lists it: when it changes, nothing more is done.
    pub(super) basis: &'a Basis,
    pub(super) manifest: &'a Manifest,
    /// What it was in the set.
    pub(super) entry: &'a CollectionEntry,
    /// What it is called now.
    pub(super) name: &'a CollectionName,
    /// Tells it from a collection that somebody else makes under the same name.
    pub(super) mark: Option<&'a Token>,
}

impl Making<'_> {
    /// Makes it from nothing, for there is no collection of this name, and gives the uuid of what is whole now.
    pub(super) async fn run(&self) -> Done<String> {
        let (site, name, set) = (self.site, self.name, self.manifest.set);
        let description = self.entry.description.as_ref();
        let description = description.ok_or_else(|| {
            Failed::Wait(format!("{} is not described in set {set}", self.entry.name))
        })?;
        site.show(&format!("{name} of set {set} is made"));
        let uuid = self.create(description).await?;
        self.describe(description, &uuid).await?;
        site.show(&format!("the copies of {name} are placed"));
        let holders = self.placed().await?;
        site.show(&format!("{name} is filled from set {set}"));
        let _alone = Alone::of(&site.board, name);
        self.fill(&holders, &uuid).await?;
        site.show(&format!("the copies of {name} are compared"));
        self.compare(&holders, &uuid).await?;
        Ok(uuid)
    }

    /// Creates the empty collection, and gives its uuid.
    async fn create(&self, description: &Description) -> Done<String> {
        let (name, client) = (self.name, &self.site.client);
        let mut with = Recreation::of(&description.config)
            .map_err(|why| Failed::Wait(format!("{name}: {}", chain(&why))))?;
        // One that the set has is an earlier job's.
        with.mark(MARK, self.mark.map(|mark| mark.0.as_str()));
        let made = client
            .create_collection_from(&name.0, &with, APPLY_SECS)
            .await;
        made.map_err(|error| named(name, &error))?;
        let there = self.site.identities().await?.remove(&name.0);
        // Nobody else has led since there was none of this name, so it is the one that we made.
        self.site.still(self.basis).await?;
        let ours = there.filter(|there| self.carries_mark(there));
        let ours = ours.and_then(|there| there.uuid);
        ours.ok_or_else(|| {
            Failed::Wait(format!("{name} was made, and is not there as it was made"))
        })
    }

    /// It says of itself what it was told to when it was made.
    fn carries_mark(&self, there: &CollectionIdentity) -> bool {
        let says = there.metadata.get(MARK).and_then(|mark| mark.as_str());
        says == self.mark.map(|mark| mark.0.as_str())
    }

    /// The record is as it was, nobody else has led, and the collection is the one that we made: a steward that
    /// is late may have thrown that one away. What is not known for a moment only is asked again.
    pub(super) async fn still_ours(&self, uuid: &str) -> Done<()> {
        in_time(|| self.ours(uuid)).await
    }

    async fn ours(&self, uuid: &str) -> Done<()> {
        let all = self.site.identities().await?;
        let there = all.get(&self.name.0).and_then(|c| c.uuid.as_deref());
        if there != Some(uuid) {
            return Err(Failed::Overtaken(format!(
                "{} is somebody else's by now",
                self.name
            )));
        }
        self.site.still(self.basis).await
    }

    /// Gives it its shard keys and indexes.
    async fn describe(&self, description: &Description, uuid: &str) -> Done<()> {
        let (name, client) = (self.name, &self.site.client);
        if description.sharding == Sharding::Custom {
            self.make_keys(description, uuid).await?;
        }
        for (field, index) in &description.indexes {
            let index: PayloadIndex = serde_json::from_value(index.clone())
                .map_err(|why| Failed::Wait(format!("index {field} of {name}: {why}")))?;
            self.still_ours(uuid).await?;
            let made = client
                .create_index(&name.0, field, &index.schema(), true, APPLY_SECS)
                .await;
            made.map_err(|error| named(name, &error))?;
        }
        Ok(())
    }

    /// Creates the shard keys so that their shards get the numbers that they had.
    async fn make_keys(&self, description: &Description, uuid: &str) -> Done<()> {
        let (name, client) = (self.name, &self.site.client);
        let order = restore::keys_in_order(&description.keys).map_err(|key| {
            Failed::Wait(format!(
                "the shards of {name} with the key {key:?} did not follow each other: nothing gives them their numbers again"
            ))
        })?;
        for new in &order {
            let key = api_key(&new.key);
            self.still_ours(uuid).await?;
            let made = client
                .create_shard_key(&name.0, &key, new.shards, APPLY_SECS)
                .await;
            made.map_err(|error| named(name, &error))?;
        }
        for filler in order.iter().filter(|new| new.filler) {
            let key = api_key(&filler.key);
            self.still_ours(uuid).await?;
            let gone = client.delete_shard_key(&name.0, &key, APPLY_SECS);
            gone.await.map_err(|error| named(name, &error))?;
        }
        let placed = client.collection_cluster(&name.0).await;
        let got = placed.map_err(|error| wait(&error))?.shard_keys();
        let wanted = description.keys.iter();
        let wanted: BTreeMap<_, _> = wanted.map(|(shard, key)| (shard.0, api_key(key))).collect();
        match got == wanted {
            true => Ok(()),
            false => Err(Failed::Wait(format!(
                "the shards of {name} got other numbers than they had: its files cannot be told apart"
            ))),
        }
    }

    /// Waits until every copy is where it stays, and the steward moves nothing.
    async fn placed(&self) -> Done<Holders> {
        let name = self.name;
        let began = Instant::now();
        let mut before: Option<(Holders, Instant)> = None;
        loop {
            let since = before.as_ref().map_or(began, |(_, at)| *at);
            let looked = Instant::now();
            let now = match self.site.survey(self.place).await {
                Ok(view) => restore::placed(&view, name, self.entry),
                Err(why) => Err(why.words()),
            };
            let now = now.and_then(|now| match self.site.steward_rests(since) {
                true => Ok(now),
                false => Err("the steward has not looked, or moves copies".to_owned()),
            });
            match now {
                // Seen twice, and the steward had nothing to do in between.
                Ok(now) if before.as_ref().is_some_and(|(seen, _)| *seen == now) => return Ok(now),
                Ok(now) => before = Some((now, looked)),
                Err(why) if began.elapsed() > SETTLE => {
                    return Err(Failed::Wait(format!("{name} is not placed: {why}")));
                }
                // A page from before the last look says nothing yet.
                Err(_)
                    if before.is_some()
                        && began.elapsed() <= SETTLE
                        && !self.site.steward_moves() => {}
                Err(_) => before = None,
            }
            self.site.next_post().await?;
        }
    }
}

/// While it lives the steward leaves a collection alone.
struct Alone<'a>(&'a channel::Sender<Board>);

impl<'a> Alone<'a> {
    fn of(board: &'a channel::Sender<Board>, name: &CollectionName) -> Self {
        board.send_modify(|board| board.status.filling = Some(name.clone()));
        Self(board)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|board| board.status.filling = None);
    }
}

fn api_key(key: &ShardKey) -> qdrant_api::ShardKey {
    match key {
        ShardKey::Number(number) => qdrant_api::ShardKey::Number(*number),
        ShardKey::Word(word) => qdrant_api::ShardKey::Keyword(word.clone()),
    }
}
