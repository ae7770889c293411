//! What every step of a restore needs: the cluster, the sets, and the record by which it goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::heal::names::CollectionName;
use planner::heal::view::ClusterView;
use planner::ids::{GenerationId, StoreId};
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{CollectionEntry, FileEntry, Manifest, Tombstone};
use planner::keep::restore::Uuids;
use qdrant_api::{Client, Cluster, ClusterInfo, CollectionIdentity};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch as channel;

use super::super::check::check;
use super::super::{Shelf, sight};
use super::outcome::{Done, Failed, wait};
use crate::config::Secret;
use crate::log::chain;
use crate::qdrant::probe_commit;
use crate::status::Board;
use crate::steward::{COMMIT_TIMEOUT, Post};

/// Qdrant gives one telemetry at a time, to whoever asks, and one of its metrics waits for up to a minute
/// for a copy that is being loaded (src/actix/api/service_api.rs).
const TELEMETRY: Duration = Duration::from_secs(90);

/// Where restores are done.
pub(super) struct Site {
    /// Asks our own Qdrant.
    pub(super) client: Client,
    pub(super) shelf: Shelf,
    pub(super) board: channel::Sender<Board>,
    pub(super) posts: channel::Receiver<Option<Post>>,
    /// The port on which every task lends files.
    pub(super) port: u16,
    /// What a task is asked with.
    pub(super) key: Option<Secret>,
}

/// The cluster and the life of it that we are in.
pub(super) struct Place {
    pub(super) store: StoreId,
    pub(super) generation: GenerationId,
}

/// The record that a step goes by, as it was read from Qdrant's key map.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    pub(super) key: &'static str,
    /// `None`: there is none.
    pub(super) value: Option<Value>,
    /// The Raft term in which it was read. While our Qdrant leads in the same one, nobody else has led since.
    term: u64,
}

/// Whether a set counts.
pub(super) enum Counts {
    /// It does.
    Yes(Box<Manifest>),
    /// It never will; for people.
    No(String),
}

async fn info(client: &Client) -> Done<ClusterInfo> {
    match client.cluster().await.map_err(|error| wait(&error))? {
        Cluster::Enabled(info) => Ok(info),
        _ => Err(Failed::Wait("Qdrant is not in cluster mode".to_owned())),
    }
}

impl Basis {
    /// What stands under this key now, as our own Qdrant knows it.
    pub(super) async fn read(client: &Client, key: &'static str) -> Result<Self, String> {
        // First: what was written later was written in this term or in a later one.
        let term = info(client).await.map_err(Failed::words)?.raft.term;
        let value = client.metadata_key(key).await;
        let value = value.map_err(|error| chain(&error))?;
        let value = value.filter(|value| !value.is_null());
        Ok(Self { key, value, term })
    }
}

impl Site {
    pub(super) fn place(&self) -> Result<Place, String> {
        let (store, generation) = sight::place(&self.board)?;
        Ok(Place { store, generation })
    }

    /// We lead, nobody else has led since, and the record is still what we went by: just before anything is
    /// changed. What a person or another steward has written meanwhile is not written over.
    pub(super) async fn still(&self, before: &Basis) -> Done<()> {
        self.at_same_word(before, &before.value).await
    }

    async fn at_same_word(&self, before: &Basis, value: &Option<Value>) -> Done<()> {
        let now = info(&self.client).await?;
        if now.raft.term > before.term {
            let why = "there was another election since it was begun";
            return Err(Failed::Overtaken(why.to_owned()));
        }
        if !now.leads_itself() {
            return Err(Failed::Wait("another task's Qdrant leads".to_owned()));
        }
        let now = Basis::read(&self.client, before.key).await;
        match now.map_err(Failed::Wait)?.value == *value {
            true => Ok(()),
            false => Err(Failed::Overtaken(
                "the record has changed meanwhile".to_owned(),
            )),
        }
    }

    /// Puts the record into Qdrant's key map: a steward that cannot commit cannot restore.
    pub(super) async fn write(&self, before: &Basis, after: &impl Serialize) -> Done<()> {
        let value = serde_json::to_value(after).map_err(|error| wait(&error))?;
        match self.still(before).await {
            // It was written, and the answer was lost.
            Err(Failed::Overtaken(_))
                if self
                    .at_same_word(before, &Some(value.clone()))
                    .await
                    .is_ok() =>
            {
                return Ok(());
            }
            still => still?,
        }
        let client = self.client.with_timeout(COMMIT_TIMEOUT);
        let written = client.put_metadata_key(before.key, &value, true).await;
        written.map_err(|error| wait(&error))
    }

    /// What tells each collection from others of its name. What was committed before is applied here, and a
    /// Qdrant that only believes that it leads does not get so far.
    pub(super) async fn identities(&self) -> Done<BTreeMap<String, CollectionIdentity>> {
        probe_commit(&self.client)
            .await
            .map_err(|error| wait(&error))?;
        let patient = self.client.with_timeout(TELEMETRY);
        let all = patient.collection_identities().await;
        all.map_err(|error| wait(&error))
    }

    /// Their uuids alone.
    pub(super) async fn uuids(&self) -> Done<Uuids> {
        let all = self.identities().await?.into_iter();
        let known = all.filter_map(|(name, there)| Some((CollectionName(name), there.uuid?)));
        Ok(known.collect())
    }

    pub(super) async fn info(&self) -> Done<ClusterInfo> {
        info(&self.client).await
    }

    /// What the cluster is now, in the life that `place` names.
    pub(super) async fn survey(&self, place: &Place) -> Done<ClusterView> {
        let generation = &place.generation;
        let view = sight::survey(&self.client, &self.board, &self.posts, generation).await;
        view.map_err(Failed::Wait)
    }

    /// Waits for the next post: what was seen before it says nothing new.
    pub(super) async fn next_post(&self) -> Done<()> {
        let mut posts = self.posts.clone();
        posts.borrow_and_update();
        match posts.changed().await {
            Ok(()) => Ok(()),
            Err(_) => Err(Failed::Wait("the rounds have ended".to_owned())),
        }
    }

    /// The steward has looked since then, and has nothing to do.
    pub(super) fn steward_rests(&self, since: Instant) -> bool {
        let looked = self.board.borrow().status.planned;
        looked.is_some_and(|looked| looked > since) && !self.steward_moves()
    }

    /// The steward's last page has something to do, or there is none.
    pub(super) fn steward_moves(&self) -> bool {
        let status = &self.board.borrow().status;
        let actions = status.plan.get("actions").and_then(|what| what.as_array());
        !actions.is_some_and(Vec::is_empty)
    }

    pub(super) async fn manifest(&self, set: SetId) -> Done<Manifest> {
        match self.shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Good(manifest) => Ok(manifest),
            // So does a store look that is being mounted.
            Found::Absent => Err(Failed::Wait(format!("set {set} has no manifest now"))),
            Found::Refused(why) => Err(Failed::Wait(why.to_string())),
            Found::Unread(why) => Err(Failed::Wait(why)),
        }
    }

    /// The manifest of a set of ours that is not being deleted.
    pub(super) async fn counts(&self, set: SetId, ours: &StoreId) -> Done<Counts> {
        let tombstone = self.shelf.read::<Tombstone>(set, Entry::Tombstone).await;
        match tombstone {
            Found::Absent => {}
            Found::Good(_) => return Ok(Counts::No(format!("set {set} is being deleted"))),
            Found::Refused(why) => return Ok(Counts::No(why.to_string())),
            Found::Unread(why) => return Err(Failed::Wait(why)),
        }
        let manifest = self.manifest(set).await?;
        Ok(match manifest.source.cluster == *ours {
            true => Counts::Yes(Box::new(manifest)),
            false => Counts::No(format!("set {set} is of another cluster")),
        })
    }

    /// Reads all files of a set.
    pub(super) async fn prove(&self, manifest: &Manifest) -> Done<()> {
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
    pub(super) async fn prove_file(
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

    /// What is being done, for people.
    pub(super) fn show(&self, what: &str) {
        self.board.send_if_modified(|board| {
            let changed = board.status.restore != what;
            what.clone_into(&mut board.status.restore);
            changed
        });
    }
}
