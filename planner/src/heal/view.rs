//! What the steward observed in one round: the input of [`crate::heal::plan()`].

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::life::Life;
use crate::heal::names::{CollectionName, ShardId, ShardRef, Zone};
use crate::ids::{PeerId, TaskId};
use crate::observed::Observed;
use crate::records::{Orders, Protection, Said, State};

/// The whole cluster as one round saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The peer beside which this steward runs.
    pub us: PeerId,
    /// A probe write of this round committed. Nothing else proves that consensus works (facts: T1).
    pub commits: Observed<bool>,
    /// Somebody has asked for no changes.
    pub paused: Option<Pause>,
    /// How many tasks the service is meant to have.
    pub wanted_tasks: Option<usize>,
    /// Every peer in Qdrant's address book, by id.
    pub peers: BTreeMap<PeerId, Peer>,
    /// How long ago it was seen what is said here of the peers.
    pub age: Duration,
    /// Every collection. Unknown when the list itself could not be read.
    pub collections: Observed<BTreeMap<CollectionName, Observed<Collection>>>,
    /// Shards whose loss is on record.
    pub losses: BTreeSet<ShardRef>,
    /// The service around the cluster.
    pub service: Service,
}

/// The service around the cluster: what is wanted, what was ordered, who is outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The wanted `family:revision`, when it is known.
    pub wanted_revision: Option<String>,
    /// The number of tasks that are wanted was told by ECS itself. Otherwise it is what a configuration
    /// said when its task began, which nobody changes when the service is scaled.
    pub told: bool,
    /// ECS said that it has no room to start a task of the wanted revision before another ends.
    pub full: bool,
    /// The first formation was complete once. Before that everybody joins and nobody waits.
    pub complete: bool,
    /// The orders in force.
    pub orders: Orders,
    /// Why the orders cannot be read, when they cannot: then none is given or taken back.
    pub orders_unread: Option<String>,
    /// The tasks that answer and are no peers.
    pub outside: BTreeMap<TaskId, Outsider>,
    /// The peers that go on in this generation with their data, when it began by re-quorum; some
    /// may not be back yet.
    pub survivors: BTreeSet<PeerId>,
    /// The peers on which copies are listed and that are not in the address book; for how long, by
    /// this task's own clock.
    pub unlisted: BTreeMap<PeerId, Duration>,
}

/// A task that answers and is no peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outsider {
    /// What it is.
    pub state: State,
    /// Its zone.
    pub zone: Option<Zone>,
    /// The peer id on its disk, when there is one.
    pub peer_id: Option<PeerId>,
    /// What it says of itself.
    pub said: Said,
}

/// A request for no changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who asked.
    pub owner: String,
    /// What for.
    pub reason: String,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whether it lives, as far as that is known.
    pub life: Life,
    /// Its zone, as it published it; absent until it has.
    pub zone: Option<Zone>,
    /// It votes in Raft; otherwise it is a learner.
    pub voter: bool,
    /// Its address in Qdrant's address book.
    pub uri: String,
    /// It was told to leave: never a target again, and its copies are moved away.
    pub leaving: bool,
    /// Its disk, when it was measured.
    pub disk: Option<Disk>,
    /// Its task, when it has answered.
    pub task: Option<TaskId>,
    /// What its task last said of itself.
    pub said: Said,
}

/// The disk of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free bytes.
    pub free: u64,
    /// Free bytes that must remain whatever is placed there.
    pub reserve: u64,
}

/// One collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Wanted copies of each shard, as the collection's configuration says.
    pub factor: u32,
    /// Qdrant is changing the number of its shards; it is left alone meanwhile.
    pub resharding: bool,
    /// Its shards.
    pub shards: BTreeMap<ShardId, Shard>,
    /// Transfers of its shards that are under way, whoever began them.
    pub transfers: Vec<Transfer>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// The user's shard key, with custom sharding.
    pub key: Option<String>,
    /// Its copies, by the peer that Qdrant lists as holder.
    pub copies: BTreeMap<PeerId, Copy>,
}

/// One copy of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its state in consensus.
    pub state: CopyState,
    /// Its size, when it is known.
    pub bytes: Option<u64>,
    /// For how long it has not been Active, by this task's own clock; zero for an Active one.
    pub unwell: Duration,
}

/// The state of a copy, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Whole, and takes reads and writes.
    Active,
    /// Everything else, also states that this version has never heard of.
    Other(String),
}

impl CopyState {
    /// Reads Qdrant's name for a state.
    pub fn parse(name: &str) -> Self {
        match name {
            "Active" => Self::Active,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A transfer of a shard from one peer to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The shard.
    pub shard: ShardId,
    /// Where the data comes from.
    pub from: PeerId,
    /// Where it goes.
    pub to: PeerId,
    /// The source keeps its copy; otherwise the copy moves.
    pub sync: bool,
    /// For how long nothing of it has changed, by this task's own clock.
    pub stalled: Duration,
}

impl Copy {
    /// Whether it is Active.
    pub fn is_active(&self) -> bool {
        self.state == CopyState::Active
    }
}

impl ClusterView {
    /// The collections that could be read.
    pub fn known(&self) -> impl Iterator<Item = (&CollectionName, &Collection)> {
        let all = self.collections.known().into_iter().flatten();
        all.filter_map(|(name, collection)| Some((name, collection.known()?)))
    }

    /// One collection, when it could be read.
    pub fn collection(&self, name: &CollectionName) -> Option<&Collection> {
        self.collections.known()?.get(name)?.known()
    }

    /// One shard, when its collection could be read.
    pub fn shard(&self, shard: &ShardRef) -> Option<&Shard> {
        self.collection(&shard.collection)?.shards.get(&shard.shard)
    }

    /// The first thing about the collections that could not be read, if any.
    pub fn unknown(&self) -> Option<Unread<'_>> {
        match &self.collections {
            Observed::Unknown(why) => Some((None, why)),
            Observed::Known(all) => all.iter().find_map(|(name, collection)| match collection {
                Observed::Unknown(why) => Some((Some(name), why.as_str())),
                Observed::Known(_) => None,
            }),
        }
    }

    /// The living peer of this task.
    pub fn peer_of(&self, task: &TaskId) -> Option<(PeerId, &Peer)> {
        let mut peers = self.peers.iter();
        let peer = peers.find(|(_, p)| p.life == Life::Alive && p.task.as_ref() == Some(task))?;
        Some((*peer.0, peer.1))
    }

    /// How many tasks are wanted, as far as that may hold anybody back: as ECS says, or, while tasks of
    /// different revisions are here, as the newest of them does. More tasks of one revision are a
    /// service that was scaled out.
    pub fn limit(&self) -> Option<usize> {
        let peers = self
            .peers
            .values()
            .filter(|p| !p.life.is_gone())
            .map(|p| &p.said);
        let outside = self.service.outside.values().map(|task| &task.said);
        let revisions: BTreeSet<_> = peers
            .chain(outside)
            .filter_map(|s| s.revision.as_ref())
            .collect();
        self.wanted_tasks
            .filter(|_| self.service.told || revisions.len() > 1)
    }

    /// Tasks that may get traffic, peers or not.
    pub fn ready_tasks(&self) -> usize {
        let peers = self.peers.values().filter(|p| p.life == Life::Alive);
        let peers = peers.filter(|p| p.said.ready).count();
        let outside = self.service.outside.values();
        peers + outside.filter(|task| task.said.ready).count()
    }

    /// Whether this peer answers.
    pub fn alive(&self, peer: PeerId) -> bool {
        matches!(self.life(peer), Some(Life::Alive))
    }

    /// Whether this peer is gone: proven, not supposed.
    pub fn gone(&self, peer: PeerId) -> bool {
        self.life(peer).is_some_and(Life::is_gone)
    }

    /// What is known of this peer's life; `None` when it is not in the address book.
    pub fn life(&self, peer: PeerId) -> Option<&Life> {
        self.peers.get(&peer).map(|peer| &peer.life)
    }
}

/// A collection that could not be read, or all of them, and why.
pub type Unread<'a> = (Option<&'a CollectionName>, &'a str);

impl Peer {
    /// It lives, votes, and was neither told to leave nor is being stopped: it counts, and may be
    /// given copies.
    pub fn stays(&self) -> bool {
        self.life == Life::Alive && self.voter && !self.leaving && !self.said.ending
    }

    /// It has data that the cluster needs, or serves: not one that joined a moment ago.
    pub fn is_settled(&self, holds: bool) -> bool {
        self.life == Life::Alive && (self.said.ready || holds)
    }

    /// ECS has confirmed that it does not stop its task.
    pub fn is_protected(&self) -> bool {
        self.said.protection == Some(Protection::Held)
    }

    /// It lives and is being stopped.
    pub fn ends(&self) -> bool {
        self.life == Life::Alive && self.said.ending
    }
}
