//! Beside the steward, in a generation that began with a restore: brings back the newest set before
//! anybody is served.
//!
//! What comes next, and what may be thrown away, is `planner::keep::restore`'s to say; all that is
//! remembered is one record in Qdrant's key map, so the restorer of the next leader goes on where this
//! one ends. Each holder's Qdrant fetches the file of a shard from its own task ([`super::lend`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::ClusterView;
use planner::ids::{GenerationId, PeerId, StoreId};
use planner::keep::choose::{Choice, Wanted, choose};
use planner::keep::folder::Found;
use planner::keep::ids::{CollectionIndex, SetId};
use planner::keep::layout::Entry;
use planner::keep::records::{
    CollectionEntry, Description, FileEntry, Manifest, ShardKey, Sharding,
};
use planner::keep::restore::{self, Agreement, Holders, Next};
use planner::keep::seen::State;
use planner::records::{RESTORE_KEY, Restore};
use qdrant_api::{Alias, AliasChange, Client, ClusterInfo, PayloadIndex, Recovery, Recreation};
use tokio::sync::watch as channel;

use super::check::check;
use super::shelves::{Known, look};
use super::{Shelf, lend, sight};
use crate::config::{Heal, Secret};
use crate::events;
use crate::log::chain;
use crate::qdrant::{probe_commit, read_restore};
use crate::status::Board;
use crate::steward::elsewhere::{host_of_peer, qdrant_of};
use crate::steward::{COMMIT_TIMEOUT, Post, pause};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long Qdrant waits until a change is applied here.
const APPLY_SECS: u64 = 30;
/// How long copies may take to be placed, and to be seen Active with equal counts once they are
/// filled. Nothing is lost when it was too short: the collection is made again.
const SETTLE: Duration = Duration::from_secs(180);
/// How long all wanted tasks are waited for before anything is created.
const GATHER: Duration = Duration::from_secs(60);
/// When nothing has come on for so long, a person must know.
const STALLED: Duration = Duration::from_secs(120);
/// So many copies are filled at a time.
const AT_ONCE: usize = 6;
/// A copy may take a minute, and a second more for so many bytes.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a copy may take to count its points: Qdrant collects their ids.
const COUNT: Duration = Duration::from_secs(120);
/// What changes with every look is said this seldom.
const SAID: Duration = Duration::from_secs(60);

/// The restorer of one task; idle while another task's Qdrant leads, and for ever in a generation that
/// did not begin with a restore.
pub struct Restorer {
    client: Client,
    shelf: Shelf,
    board: channel::Sender<Board>,
    /// The port on which every task lends files.
    port: u16,
    /// What a task is asked with.
    key: Option<Secret>,
    mode: Heal,
    said: Option<(String, Instant)>,
    /// Since when nothing has come on.
    stalled: Instant,
}

/// Where a restore is.
struct Place {
    store: StoreId,
    generation: GenerationId,
}

/// How one step ended.
enum Step {
    /// The next one can be taken at once.
    On,
    /// The restore is over.
    Over,
}

/// Why a step came to nothing.
#[derive(Debug)]
enum Failed {
    /// Nothing can be said against the set: again, after a while. For people.
    Wait(String),
    /// Its bytes were read here and are wrong: it has a number of tries. For people.
    Set(SetId, String),
}

impl Failed {
    fn words(self) -> String {
        match self {
            Self::Wait(why) | Self::Set(_, why) => why,
        }
    }
}

/// How it went with one copy.
struct Filled {
    shard: ShardId,
    failed: Option<NotFilled>,
}

/// Why one copy was not filled.
struct NotFilled {
    /// Its Qdrant said so, rather than nothing.
    answered: bool,
    /// For people.
    why: String,
}

type Done<T> = Result<T, Failed>;

fn wait(error: &(dyn std::error::Error + 'static)) -> Failed {
    Failed::Wait(chain(error))
}

impl Restorer {
    /// One that has done nothing yet. `client` asks our own Qdrant; on `port` every task lends files to
    /// who has `key`. With dry-run it only says that it waits.
    pub fn new(
        client: Client,
        shelf: Shelf,
        board: channel::Sender<Board>,
        port: u16,
        key: Option<Secret>,
        mode: Heal,
    ) -> Self {
        Self {
            client,
            shelf,
            board,
            port,
            key,
            mode,
            said: None,
            stalled: Instant::now(),
        }
    }

    /// Restores while the rounds post and say that this is to be done, until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            self.said = None;
            self.show("");
            self.alarm(None);
            let wanted = |post: &Option<Post>| post.as_ref().is_some_and(|post| post.restoring);
            if posts.wait_for(wanted).await.is_err() {
                return;
            }
            let mut ends = posts.clone();
            tokio::select! {
                // Whatever is half done is pending on record, and made again by the next one.
                ended = ends.wait_for(|post| !wanted(post)) => if ended.is_err() { return },
                () = self.lead(&posts) => {}
            }
        }
    }

    /// Steps without end; when all is restored it waits for the rounds to see it.
    async fn lead(&mut self, posts: &channel::Receiver<Option<Post>>) {
        self.stalled = Instant::now();
        loop {
            match self.step(posts).await {
                Ok(Step::On) => {
                    self.said = None;
                    self.stalled = Instant::now();
                    self.alarm(None);
                }
                Ok(Step::Over) => std::future::pending().await,
                Err(why) => {
                    self.say(why);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One step by the record; `Err`: nothing could be done, for people.
    async fn step(&mut self, posts: &channel::Receiver<Option<Post>>) -> Result<Step, String> {
        if self.mode == Heal::DryRun {
            return Err("nothing is changed with dry-run: the restore waits".to_owned());
        }
        let paused = pause::read(&self.client).await;
        if let Some(paused) = paused.map_err(|error| chain(&error))? {
            let (owner, reason) = (paused.owner, paused.reason);
            return Err(format!("the steward is paused by {owner}: {reason}"));
        }
        let place = self.place()?;
        let there = read_restore(&self.client).await?;
        let record = restore::ours(there.clone(), &place.generation)?;
        if there.as_ref() != Some(&record) {
            let adopted = self.write(there.as_ref(), &record).await;
            return adopted.map(|()| Step::On).map_err(Failed::words);
        }
        let done = match restore::next(&record) {
            Next::Finished => return Ok(Step::Over),
            Next::Choose => self.choose(posts, &place, &record).await,
            Next::Clear(_, names) => self.clear(&place, &record, &names).await,
            Next::Collection(set, name) => {
                self.collection(posts, &place, &record, set, &name).await
            }
            Next::Finish(set) => self.finish(posts, &place, &record, set).await,
        };
        match done {
            Ok(()) => Ok(Step::On),
            Err(Failed::Wait(why)) => Err(why),
            Err(Failed::Set(set, why)) => {
                let (after, given_up) = restore::failed(&record, set);
                self.write(Some(&record), &after)
                    .await
                    .map_err(Failed::words)?;
                tracing::warn!(event = events::RESTORE_FAILED, given_up, "set {set}: {why}");
                Err(why)
            }
        }
    }

    fn place(&self) -> Result<Place, String> {
        let (store, generation) = sight::place(&self.board)?;
        Ok(Place { store, generation })
    }

    /// We lead, and the record is still what we went by: just before anything is changed. What a person
    /// or another steward has written meanwhile is not written over.
    async fn still(&self, before: Option<&Restore>) -> Done<()> {
        if !self.info().await?.leads_itself() {
            return Err(Failed::Wait("another task's Qdrant leads".to_owned()));
        }
        let now = read_restore(&self.client).await.map_err(Failed::Wait)?;
        match now.as_ref() == before {
            true => Ok(()),
            false => Err(Failed::Wait("the record has changed meanwhile".to_owned())),
        }
    }

    /// Puts the record into Qdrant's key map: a steward that cannot commit cannot restore.
    async fn write(&self, before: Option<&Restore>, after: &Restore) -> Done<()> {
        let value = serde_json::to_value(after).map_err(|error| wait(&error))?;
        self.still(before).await?;
        let client = self.client.with_timeout(COMMIT_TIMEOUT);
        let written = client.put_metadata_key(RESTORE_KEY, &value, true).await;
        written.map_err(|error| wait(&error))
    }

    /// Chooses a set, and has on record what will be made of it before anything is.
    async fn choose(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        record: &Restore,
    ) -> Done<()> {
        let view = self.survey(posts, place).await.map_err(Failed::Wait)?;
        // Whoever comes later gets its copies by transfers, which is slower.
        let late = self.stalled.elapsed() > GATHER;
        restore::gathered(&view, late).map_err(Failed::Wait)?;
        let running = self.client.version().await.map_err(|error| wait(&error))?;
        let mut known = Known::new();
        let there = look(&self.shelf, &place.store, &running, &mut known).await;
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
        let manifest = self.manifest(set).await?;
        if record.collections.is_empty() && record.given_up.is_empty() {
            let names = self.client.collections().await;
            let names = names.map_err(|error| wait(&error))?;
            if let Some(name) = names.first() {
                return Err(Failed::Wait(format!(
                    "the collection {name} is here and the restore did not make it: delete it, or accept what is here"
                )));
            }
        }
        for (set, why) in &skipped {
            tracing::warn!(event = events::RESTORE_SKIPPED, "set {set}: {why}");
        }
        if prove_first {
            self.prove(&manifest).await?;
        }
        let begun = restore::begun(record, &manifest);
        self.write(Some(record), &begun).await?;
        let collections = begun.collections.len();
        tracing::info!(
            event = events::RESTORE_BEGUN,
            "set {set} of {}: {collections} collections",
            manifest.started
        );
        Ok(())
    }

    async fn manifest(&self, set: SetId) -> Done<Manifest> {
        match self.shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Good(manifest) => Ok(manifest),
            // So does a store look that is being mounted.
            Found::Absent => Err(Failed::Wait(format!("set {set} has no manifest now"))),
            Found::Refused(why) => Err(Failed::Wait(why.to_string())),
            Found::Unread(why) => Err(Failed::Wait(why)),
        }
    }

    /// Reads all files of a set.
    async fn prove(&self, manifest: &Manifest) -> Done<()> {
        let checked = check(&self.shelf, manifest).await;
        if let Some(why) = checked.wrong.into_iter().next() {
            // A file that is not there speaks against a set only where the set itself is there.
            let _ = self.manifest(manifest.set).await?;
            return Err(Failed::Set(manifest.set, why));
        }
        match checked.unread.into_iter().next() {
            Some(why) => Err(Failed::Wait(why)),
            None => Ok(()),
        }
    }

    /// Reads one file of a set.
    async fn prove_file(
        &self,
        manifest: &Manifest,
        entry: &CollectionEntry,
        file: &FileEntry,
    ) -> Done<()> {
        let entry = CollectionEntry {
            files: vec![file.clone()],
            ..entry.clone()
        };
        let manifest = Manifest {
            collections: vec![entry],
            ..manifest.clone()
        };
        self.prove(&manifest).await
    }

    /// Deletes what an earlier set had and this one lacks.
    async fn clear(&self, place: &Place, record: &Restore, names: &[CollectionName]) -> Done<()> {
        for name in names {
            self.delete(place, record, name).await?;
        }
        let cleared = restore::cleared(record, names);
        self.write(Some(record), &cleared).await
    }

    /// Deletes what there is of a collection that the restore made, after a look at the record as it is
    /// now.
    async fn delete(&self, place: &Place, record: &Restore, name: &CollectionName) -> Done<()> {
        let there = self.client.collections().await;
        if !there.map_err(|error| wait(&error))?.contains(&name.0) {
            return Ok(());
        }
        restore::may_delete(record, &place.generation, name)
            .map_err(|why| Failed::Wait(format!("{name} is not deleted: {why}")))?;
        probe_commit(&self.client)
            .await
            .map_err(|error| wait(&error))?;
        self.still(Some(record)).await?;
        let client = self.client.with_timeout(COMMIT_TIMEOUT);
        let existed = client.delete_collection(&name.0).await;
        if existed.map_err(|error| wait(&error))? {
            tracing::info!(event = events::RESTORE_CLEARED, "{name}");
        }
        Ok(())
    }

    /// Makes one collection, fills all copies of each shard with the same file, and compares them.
    async fn collection(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        record: &Restore,
        set: SetId,
        name: &CollectionName,
    ) -> Done<()> {
        let manifest = self.manifest(set).await?;
        let entry = manifest
            .collections
            .iter()
            .find(|there| there.name == *name);
        let entry = entry.ok_or_else(|| Failed::Wait(format!("set {set} lacks {name}")))?;
        let description = entry.description.as_ref();
        let description = description
            .ok_or_else(|| Failed::Wait(format!("{name} is not described in set {set}")))?;
        self.delete(place, record, name).await?;
        self.show(&format!("{name} of set {set} is made"));
        self.make(name, description).await?;
        self.show(&format!("the copies of {name} are placed"));
        let holders = self.placed(posts, place, name, entry).await?;
        self.show(&format!("{name} is filled from set {set}"));
        let alone = Alone::of(&self.board, name);
        self.fill(record, &manifest, entry, &holders).await?;
        self.show(&format!("the copies of {name} are compared"));
        self.compare(posts, place, name, entry, &holders).await?;
        drop(alone);
        let done = restore::done(record, name);
        self.write(Some(record), &done).await?;
        let bytes: u64 = entry.files.iter().map(|file| file.bytes).sum();
        tracing::info!(
            event = events::RESTORE_COLLECTION,
            bytes,
            "{name} of set {set}"
        );
        Ok(())
    }

    /// Creates the empty collection with its shard keys and indexes.
    async fn make(&self, name: &CollectionName, description: &Description) -> Done<()> {
        let with = Recreation::of(&description.config)
            .map_err(|why| Failed::Wait(format!("{name}: {}", chain(&why))))?;
        let made = self
            .client
            .create_collection_from(&name.0, &with, APPLY_SECS)
            .await;
        made.map_err(|error| named(name, &error))?;
        if description.sharding == Sharding::Custom {
            self.make_keys(name, description).await?;
        }
        for (field, index) in &description.indexes {
            let index: PayloadIndex = serde_json::from_value(index.clone())
                .map_err(|why| Failed::Wait(format!("index {field} of {name}: {why}")))?;
            let made = self
                .client
                .create_index(&name.0, field, &index.schema(), true, APPLY_SECS)
                .await;
            made.map_err(|error| named(name, &error))?;
        }
        Ok(())
    }

    /// Creates the shard keys so that their shards get the numbers that they had.
    async fn make_keys(&self, name: &CollectionName, description: &Description) -> Done<()> {
        let order = restore::keys_in_order(&description.keys).map_err(|key| {
            Failed::Wait(format!(
                "the shards of {name} with the key {key:?} did not follow each other: nothing gives them their numbers again"
            ))
        })?;
        for new in &order {
            let key = api_key(&new.key);
            let made = self
                .client
                .create_shard_key(&name.0, &key, new.shards, APPLY_SECS)
                .await;
            made.map_err(|error| named(name, &error))?;
        }
        for filler in order.iter().filter(|new| new.filler) {
            let key = api_key(&filler.key);
            let gone = self.client.delete_shard_key(&name.0, &key, APPLY_SECS);
            gone.await.map_err(|error| named(name, &error))?;
        }
        let placed = self.client.collection_cluster(&name.0).await;
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
    async fn placed(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        name: &CollectionName,
        entry: &CollectionEntry,
    ) -> Done<Holders> {
        let began = Instant::now();
        let mut before: Option<(Holders, Instant)> = None;
        loop {
            let since = before.as_ref().map_or(began, |(_, at)| *at);
            let looked = Instant::now();
            let now = match self.survey(posts, place).await {
                Ok(view) => restore::placed(&view, name, entry),
                Err(why) => Err(why),
            };
            let now = now.and_then(|now| match self.steward_rests(since) {
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
                Err(_) if before.is_some() && began.elapsed() <= SETTLE && !self.moves() => {}
                Err(_) => before = None,
            }
            self.next_post(posts).await?;
        }
    }

    /// The steward has looked since then, and has nothing to do.
    fn steward_rests(&self, since: Instant) -> bool {
        let looked = self.board.borrow().status.planned;
        looked.is_some_and(|looked| looked > since) && !self.moves()
    }

    /// The steward's last page has something to do, or there is none.
    fn moves(&self) -> bool {
        let status = &self.board.borrow().status;
        let actions = status.plan.get("actions").and_then(|what| what.as_array());
        !actions.is_some_and(Vec::is_empty)
    }

    /// Waits for the next post: what was seen before it says nothing new.
    async fn next_post(&self, posts: &channel::Receiver<Option<Post>>) -> Done<()> {
        let mut posts = posts.clone();
        posts.borrow_and_update();
        let ended = posts.changed().await.is_err();
        match ended {
            true => Err(Failed::Wait("the rounds have ended".to_owned())),
            false => Ok(()),
        }
    }

    async fn survey(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
    ) -> Result<ClusterView, String> {
        sight::survey(&self.client, &self.board, posts, &place.generation).await
    }

    /// Has every holder of a shard replace its empty copy by the same file.
    async fn fill(
        &self,
        record: &Restore,
        manifest: &Manifest,
        entry: &CollectionEntry,
        holders: &Holders,
    ) -> Done<()> {
        let (set, name) = (manifest.set, &entry.name);
        let info = self.info().await?;
        let mut filling = Vec::new();
        for file in &entry.files {
            for peer in holders.get(&file.shard).into_iter().flatten() {
                filling.push(self.fill_one(record, &info, (set, entry.index), name, file, *peer));
            }
        }
        let filled: Vec<Filled> = futures::stream::iter(filling)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for file in &entry.files {
            let of_file = filled.iter().filter(|filled| filled.shard == file.shard);
            let failed: Vec<&NotFilled> = of_file.filter_map(|f| f.failed.as_ref()).collect();
            self.judge(manifest, entry, file, &failed).await?;
        }
        Ok(())
    }

    /// What it says of the set that copies were not filled. Qdrant has one answer for a file that is wrong
    /// and for one that it could not fetch, so the file is read here as well: only wrong bytes speak against
    /// the set.
    async fn judge(
        &self,
        manifest: &Manifest,
        entry: &CollectionEntry,
        file: &FileEntry,
        failed: &[&NotFilled],
    ) -> Done<()> {
        let Some(first) = failed.first() else {
            return Ok(());
        };
        if failed.iter().any(|why| why.answered) {
            self.prove_file(manifest, entry, file).await?;
        }
        let why = format!("shard {} of {}: {}", file.shard, entry.name, first.why);
        Err(Failed::Wait(why))
    }

    async fn fill_one(
        &self,
        record: &Restore,
        info: &ClusterInfo,
        set: (SetId, CollectionIndex),
        name: &CollectionName,
        file: &FileEntry,
        peer: PeerId,
    ) -> Filled {
        // Whoever slept since fills nothing that another steward has finished.
        let filled = match self.still(Some(record)).await {
            Ok(()) => self.recover(info, set, name, file, peer).await,
            Err(why) => Err(NotFilled {
                answered: false,
                why: why.words(),
            }),
        };
        Filled {
            shard: file.shard,
            failed: filled.err(),
        }
    }

    async fn recover(
        &self,
        info: &ClusterInfo,
        (set, index): (SetId, CollectionIndex),
        name: &CollectionName,
        file: &FileEntry,
        peer: PeerId,
    ) -> Result<(), NotFilled> {
        let unknown = |why| NotFilled {
            answered: false,
            why: format!("peer {peer}: {why}"),
        };
        let holder = qdrant_of(&self.client, info, peer).map_err(unknown)?;
        let host: IpAddr = host_of_peer(info, peer).map_err(unknown)?;
        let at = std::net::SocketAddr::new(host, self.port);
        let from = Recovery {
            location: format!(
                "http://{at}{}",
                lend::path(set, index, file.shard, file.peer)
            ),
            sha256: file.sha256.to_string(),
            api_key: self.key.as_ref().map(|key| key.expose().to_owned()),
        };
        let longest = Duration::from_secs(60 + file.bytes / BYTES_PER_SECOND);
        let filled = holder
            .recover_shard(&name.0, file.shard.0, &from, longest)
            .await;
        filled.map_err(|error| NotFilled {
            answered: error.code().is_some(),
            why: format!("peer {peer}: {}", chain(&error)),
        })
    }

    async fn info(&self) -> Done<ClusterInfo> {
        let cluster = self.client.cluster().await.map_err(|error| wait(&error))?;
        match cluster {
            qdrant_api::Cluster::Enabled(info) => Ok(info),
            _ => Err(Failed::Wait("Qdrant is not in cluster mode".to_owned())),
        }
    }

    /// Waits until the copies that were filled are Active, still the only ones, and count the same.
    async fn compare(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        name: &CollectionName,
        entry: &CollectionEntry,
        holders: &Holders,
    ) -> Done<()> {
        let began = Instant::now();
        loop {
            let compared = self.compare_once(posts, place, name, entry, holders).await;
            match compared {
                Ok(()) => return Ok(()),
                Err(Failed::Wait(why)) if began.elapsed() > SETTLE => {
                    return Err(Failed::Wait(format!("{name} is not restored: {why}")));
                }
                Err(Failed::Wait(_)) => self.next_post(posts).await?,
                Err(other) => return Err(other),
            }
        }
    }

    async fn compare_once(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        name: &CollectionName,
        entry: &CollectionEntry,
        holders: &Holders,
    ) -> Done<()> {
        let view = self.survey(posts, place).await.map_err(Failed::Wait)?;
        let now = restore::placed(&view, name, entry).map_err(Failed::Wait)?;
        if now != *holders {
            return Err(Failed::Wait("its copies are elsewhere now".to_owned()));
        }
        let info = self.info().await?;
        for file in &entry.files {
            let mut counts = BTreeMap::new();
            for peer in holders.get(&file.shard).into_iter().flatten() {
                let holder = qdrant_of(&self.client, &info, *peer).map_err(Failed::Wait)?;
                let holder = holder.with_timeout(COUNT);
                let count = holder.count_local(&name.0, file.shard.0).await;
                counts.insert(*peer, count.map_err(|error| wait(&error))?);
            }
            let agreed = restore::agree(file, &counts);
            let agreed = agreed.map_err(|differ| {
                Failed::Wait(format!("shard {} of {name}: {differ}", file.shard))
            })?;
            if let Agreement::Differs { restored } = agreed {
                tracing::warn!(
                    event = events::RESTORE_COUNTS,
                    "shard {} of {name}: {restored} points, {} before and {} after it was taken",
                    file.shard,
                    file.before.points,
                    file.after.points
                );
            }
        }
        Ok(())
    }

    /// A last look, the aliases, and with them the end.
    async fn finish(
        &self,
        posts: &channel::Receiver<Option<Post>>,
        place: &Place,
        record: &Restore,
        set: SetId,
    ) -> Done<()> {
        let view = self.survey(posts, place).await.map_err(Failed::Wait)?;
        let lost = restore::lost(&view, record).map_err(Failed::Wait)?;
        if !lost.is_empty() {
            // Who held it died meanwhile. The set has it still, and nobody was served.
            return self
                .write(Some(record), &restore::undone(record, &lost))
                .await;
        }
        let manifest = self.manifest(set).await?;
        let mut changes = Vec::new();
        for there in &manifest.collections {
            let aliases = there.description.iter().flat_map(|what| &what.aliases);
            for alias in aliases.filter(|_| record.collections.contains_key(&there.name)) {
                changes.push(AliasChange::Create(Alias {
                    alias_name: alias.clone(),
                    collection_name: there.name.0.clone(),
                }));
            }
        }
        if !changes.is_empty() {
            let given = self.client.set_aliases(&changes, APPLY_SECS).await;
            given.map_err(|error| wait(&error))?;
        }
        self.write(Some(record), &restore::finished(record)).await?;
        tracing::warn!(
            event = events::RESTORE_FINISHED,
            "set {set} of {}: {} collections; what was written after it is lost",
            manifest.started,
            record.collections.len()
        );
        Ok(())
    }

    /// Said when it is new, and no more than once in a while; after a longer while a person must know.
    fn say(&mut self, what: String) {
        self.show(&what);
        let stalled = self.stalled.elapsed();
        self.alarm((stalled > STALLED).then(|| format!("the restore does not come on: {what}")));
        let quiet = |(_, at): &(String, Instant)| at.elapsed() < SAID;
        let at = match &self.said {
            Some(said) if said.0 == what || quiet(said) => said.1,
            _ => {
                tracing::warn!(event = events::RESTORE_WAITS, "{what}");
                Instant::now()
            }
        };
        self.said = Some((what, at));
    }

    fn alarm(&self, wrong: Option<String>) {
        self.board.send_if_modified(|board| {
            let changed = board.status.restore_wrong != wrong;
            board.status.restore_wrong = wrong;
            changed
        });
    }

    fn show(&self, what: &str) {
        self.board.send_if_modified(|board| {
            let changed = board.status.restore != what;
            what.clone_into(&mut board.status.restore);
            changed
        });
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

/// What Qdrant refuses says nothing of the bytes: an older set would be refused the same.
fn named(name: &CollectionName, error: &qdrant_api::Error) -> Failed {
    Failed::Wait(format!("{name}: {}", chain(error)))
}

fn api_key(key: &ShardKey) -> qdrant_api::ShardKey {
    match key {
        ShardKey::Number(number) => qdrant_api::ShardKey::Number(*number),
        ShardKey::Word(word) => qdrant_api::ShardKey::Keyword(word.clone()),
    }
}
