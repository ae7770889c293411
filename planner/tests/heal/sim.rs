//! A model cluster: tasks that live and die, a Qdrant among them (`qdrant`), a steward that sees
//! them as a real one would (`senses`) and does what the planner says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::guard;
use planner::heal::memory::Memory;
use planner::heal::names::{CollectionName, ShardId, ShardRef, Zone};
use planner::heal::settings::Settings;
use planner::heal::sight::Sight;
use planner::heal::view::{Disk, Pause};
use planner::heal::{Plan, plan};
use planner::ids::{PeerId, TaskId};
use planner::records::{GrantKind, Orders};

use crate::promises;

/// A steward whose eyes were broken on purpose, to show that the promises would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// All is in order.
    #[default]
    None,
    /// Transfers under way are not seen.
    TransfersHidden,
    /// A collection that cannot be read counts as one that is not there.
    UnreadOmitted,
    /// Whoever is gone has been gone for a day.
    Impatient,
    /// Every copy counts as Active.
    Rosy,
}

/// How a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// All is well.
    Up,
    /// PID 1 answers, Qdrant does not.
    Hung,
    /// Nothing of it answers in time, but it works, and beats.
    Slow,
    /// Stopped in its tracks; it may go on where it was.
    Frozen,
    /// Dead, its disk gone.
    Dead,
}

/// A peer that Raft lists.
#[derive(Clone, Debug)]
pub struct SimPeer {
    pub zone: Option<Zone>,
    pub task: Task,
    pub voter: bool,
    pub leaving: bool,
    /// A signal has asked its task to stop.
    pub ending: bool,
    /// Its Qdrant cannot run with its data, and says so.
    pub cannot_run: bool,
    /// The load balancer may send it traffic.
    pub ready: bool,
    pub revision: String,
    /// Then it ends.
    pub stops_at: Duration,
    pub address: u64,
    pub beat: u64,
    pub silent_since: Duration,
    pub disk: Option<Disk>,
    /// We cannot read its answers, for this reason.
    pub unclear: Option<String>,
    pub heard_by: Option<PeerId>,
}

/// What a copy is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimCopy {
    pub state: &'static str,
    pub since: Duration,
}

/// A collection.
#[derive(Clone, Debug)]
pub struct SimCollection {
    pub factor: u32,
    pub bytes: Option<u64>,
    pub readable: bool,
    pub resharding: bool,
    pub shards: BTreeMap<ShardId, BTreeMap<PeerId, SimCopy>>,
    pub transfers: Vec<SimTransfer>,
}

/// A transfer under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimTransfer {
    pub shard: ShardId,
    pub from: PeerId,
    pub to: PeerId,
    pub sync: bool,
    pub ours: bool,
    pub left: Duration,
    pub moved: Duration,
}

/// The whole world.
#[derive(Clone, Debug)]
pub struct Sim {
    pub settings: Settings,
    pub round: Duration,
    pub transfer_time: Duration,
    pub now: Duration,
    pub peers: BTreeMap<PeerId, SimPeer>,
    pub collections: BTreeMap<CollectionName, SimCollection>,
    pub losses: BTreeSet<ShardRef>,
    /// The first formation is complete: from then on nobody joins or serves unasked.
    pub complete: bool,
    pub orders: Orders,
    /// What new tasks are of.
    pub revision: String,
    pub wanted_revision: Option<String>,
    /// Tasks ask ECS for protection.
    pub protects: bool,
    /// Those that have it.
    pub protected: BTreeSet<PeerId>,
    /// Tasks that are no peers yet, by the id that theirs will have.
    pub outside: BTreeMap<PeerId, Option<Zone>>,
    /// Peers that a re-quorum went on without, and since when.
    pub unlisted: BTreeMap<PeerId, Duration>,
    /// Peers that a re-quorum expects back.
    pub survivors: BTreeSet<PeerId>,
    pub wanted_tasks: Option<usize>,
    pub paused: Option<Pause>,
    pub dns_lag: Duration,
    pub dns: bool,
    pub store: bool,
    /// Writes mark the copies on silent peers Dead.
    pub writes: bool,
    /// Qdrant synchronises Dead copies by itself.
    pub recovers: bool,
    pub leader: Option<PeerId>,
    pub electing: Duration,
    pub next_peer: u64,
    pub sight: Sight,
    pub memory: Memory,
    /// What happened, with its time.
    pub log: Vec<String>,
    pub last: Option<Plan>,
    /// Our requests that Qdrant is to refuse next, for no reason of its own.
    pub refuse: u32,
    /// The first promise that one of our actions broke.
    pub broken: Option<String>,
    pub sabotage: Sabotage,
}

impl Sim {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            round: Duration::from_secs(1),
            transfer_time: Duration::from_secs(4),
            now: Duration::ZERO,
            peers: BTreeMap::new(),
            collections: BTreeMap::new(),
            losses: BTreeSet::new(),
            complete: false,
            orders: Orders::default(),
            revision: "app:1".to_owned(),
            wanted_revision: None,
            protects: false,
            protected: BTreeSet::new(),
            outside: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            survivors: BTreeSet::new(),
            wanted_tasks: None,
            paused: None,
            dns_lag: Duration::from_secs(5),
            dns: true,
            store: true,
            writes: true,
            recovers: true,
            leader: None,
            electing: Duration::ZERO,
            next_peer: 1,
            sight: Sight::default(),
            memory: Memory::default(),
            log: Vec::new(),
            last: None,
            refuse: 0,
            broken: None,
            sabotage: Sabotage::None,
        }
    }

    /// A task joins; Raft lets it in as a learner and makes it a voter in the next round. `address`
    /// is that of a dead one, or a new one.
    pub fn add_peer(&mut self, zone: Option<&str>, address: Option<u64>) -> PeerId {
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        let first = self.peers.is_empty();
        self.peers.insert(
            peer,
            SimPeer {
                zone: zone.map(Zone::from),
                task: Task::Up,
                voter: first,
                leaving: false,
                ending: false,
                cannot_run: false,
                ready: false,
                revision: self.revision.clone(),
                stops_at: Duration::ZERO,
                address: address.unwrap_or(peer.0),
                beat: 0,
                silent_since: self.now,
                disk: None,
                unclear: None,
                heard_by: None,
            },
        );
        peer
    }

    /// The first formation is complete, and all who are here are ready.
    pub fn form(&mut self) {
        self.complete = true;
        self.peers.values_mut().for_each(|peer| peer.ready = true);
    }

    /// A task starts and waits to be let in.
    pub fn start_task(&mut self, zone: Option<&str>) {
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        self.outside.insert(id, zone.map(Zone::from));
    }

    /// Tasks read what is ordered, and do what it allows.
    pub fn tasks_turn(&mut self) {
        let Some(grant) = self.orders.grant.clone().filter(|_| self.commits()) else {
            return;
        };
        let joins = |id: &&PeerId| task_of(**id) == grant.task;
        if grant.kind == GrantKind::Join
            && let Some(id) = self.outside.keys().find(joins).copied()
        {
            let zone = self.outside.remove(&id).unwrap();
            let next = std::mem::replace(&mut self.next_peer, id.0);
            self.add_peer(zone.as_ref().map(|zone| zone.0.as_str()), None);
            self.next_peer = next;
        }
        if grant.kind == GrantKind::SetAside {
            self.set_aside(&grant.task);
        }
        let named = self.peers.iter_mut();
        let named = named.filter(|(id, peer)| task_of(**id) == grant.task && peer.voter);
        for (_, peer) in named.filter(|(_, peer)| peer.task == Task::Up) {
            peer.ready |= grant.kind == GrantKind::Serve;
        }
    }

    /// The task begins anew, empty, and its peer is no more. Nobody may miss what it had.
    fn set_aside(&mut self, task: &TaskId) {
        let asks = |(id, there): &(&PeerId, &SimPeer)| {
            task_of(**id) == *task && there.cannot_run && there.task == Task::Hung
        };
        let Some((peer, there)) = self.peers.iter().find(asks) else {
            return;
        };
        let (peer, zone) = (*peer, there.zone.clone());
        let lives = |copies: &BTreeMap<PeerId, SimCopy>| {
            let mut others = copies
                .iter()
                .filter(|(id, copy)| **id != peer && copy.is_active());
            others.any(|(id, _)| self.raft_works(*id))
        };
        let mut shards = self
            .collections
            .values()
            .flat_map(|there| there.shards.values());
        if shards.any(|copies| copies.contains_key(&peer) && !lives(copies)) {
            let what = format!("peer {peer} set the last copy aside");
            self.broken.get_or_insert(what);
        }
        self.log(format!("task {} sets its data aside", task.0));
        self.set_task(peer, Task::Dead);
        self.start_task(zone.as_ref().map(|zone| zone.0.as_str()));
    }

    pub fn set_task(&mut self, peer: PeerId, task: Task) {
        let now = self.now;
        if let Some(there) = self.peers.get_mut(&peer) {
            there.task = task;
            there.silent_since = now;
        }
        if self.leader == Some(peer) && !self.raft_works(peer) {
            self.leader = None;
            self.electing = Duration::from_secs(3);
        }
    }

    /// A re-quorum (`--reinit`) that goes on without these: the address book forgets them, the lists of
    /// copies do not.
    pub fn go_on_without(&mut self, peers: &[PeerId]) {
        for peer in peers {
            self.peers.remove(peer);
            self.unlisted.insert(*peer, self.now);
        }
    }

    /// A collection with one list of holders for each shard.
    pub fn collection(&mut self, name: &str, factor: u32, shards: &[Vec<PeerId>]) {
        let since = self.now;
        let copies = |holders: &Vec<PeerId>| {
            let holders = holders.iter();
            let active = |peer: &PeerId| (*peer, SimCopy::new("Active", since));
            holders.map(active).collect()
        };
        let numbered = shards.iter().zip(0..).map(|(h, n)| (ShardId(n), copies(h)));
        self.collections.insert(
            name.into(),
            SimCollection {
                factor,
                bytes: Some(1000),
                readable: true,
                resharding: false,
                shards: numbered.collect(),
                transfers: Vec::new(),
            },
        );
    }

    /// The shards of a new shard key: their ids go on after the highest that is left, from 1.
    pub fn add_key(&mut self, name: &str, shards: &[Vec<PeerId>]) {
        let since = self.now;
        let there = self.collections.get_mut(&name.into()).unwrap();
        let last = there.shards.keys().last().map_or(0, |id| id.0);
        for (id, holders) in (last + 1..).zip(shards) {
            let copy = |peer: &PeerId| (*peer, SimCopy::new("Active", since));
            there
                .shards
                .insert(ShardId(id), holders.iter().map(copy).collect());
        }
    }

    /// A key is deleted, with its only shard and what was on its way for it.
    pub fn drop_key(&mut self, name: &str, shard: ShardId) {
        let there = self.collections.get_mut(&name.into()).unwrap();
        there.shards.remove(&shard).unwrap();
        there.transfers.retain(|transfer| transfer.shard != shard);
    }

    /// Places a collection as Qdrant does: the peers with the fewest copies of it first, no
    /// matter what zone, alive or dead (facts: T8, section 6). `first` turns the order.
    pub fn place(&mut self, name: &str, shards: usize, factor: u32, first: usize) {
        let mut peers: Vec<PeerId> = self.peers.keys().copied().collect();
        if peers.is_empty() {
            return;
        }
        let turn = first % peers.len();
        peers.rotate_left(turn);
        let copies = (factor as usize).min(peers.len());
        let holders: Vec<Vec<PeerId>> = (0..shards)
            .map(|shard| {
                let from = (0..copies).map(|copy| (shard * copies + copy) % peers.len());
                from.map(|index| peers[index]).collect()
            })
            .collect();
        self.collection(name, factor, &holders);
    }

    /// One round of everything; what was decided in it.
    pub fn tick(&mut self) -> Option<Plan> {
        self.now += self.round;
        self.world_turns();
        self.ecs_turns();
        self.tasks_turn();
        self.steward_turns()
    }

    /// The leader's steward observes, decides and acts.
    fn steward_turns(&mut self) -> Option<Plan> {
        let seen = self.sightings();
        self.sight.observe(&self.settings, Some(self.round), &seen);
        let us = self.leader?;
        let view = self.view(us);
        self.memory.observe(&self.settings, self.round, &view);
        let plan = plan(&self.settings, &self.memory, &view);
        for planned in &plan.actions {
            // What a real steward does with a fresh view, just before it acts.
            let may = guard::may(&self.settings, &self.view(us), &planned.action);
            assert_eq!(may, Ok(()), "planned what may not be done: {planned}");
            self.log(format!("{planned}"));
            match self.act(&planned.action) {
                Ok(()) => self.memory.begin(&self.settings, planned.action.clone()),
                Err(why) => {
                    self.log(format!("  refused: {why}"));
                    self.memory.fail(&self.settings, &planned.action);
                }
            }
        }
        self.last = Some(plan.clone());
        Some(plan)
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        if self.refuse > 0 {
            self.refuse -= 1;
            return Err("Waiting for consensus operation commit failed".to_owned());
        }
        if action.is_transfer()
            && let Err(why) = promises::one_at_a_time(self)
        {
            self.broken.get_or_insert(why);
        }
        if let Err(why) = promises::carried(self, action) {
            self.broken.get_or_insert(why);
        }
        let before = promises::copies(self);
        if let Err(why) = self.request(action) {
            // Nothing happened since we looked, so Qdrant should have had no reason of its own.
            if why.starts_with('4') {
                let why = format!("Qdrant had to refuse: {action}: {why}");
                self.broken.get_or_insert(why);
            }
            return Err(why);
        }
        if let Err(why) = promises::nothing_lost(&before, &promises::copies(self), self) {
            self.broken.get_or_insert(why);
        }
        Ok(())
    }

    pub fn log(&mut self, what: impl Into<String>) {
        let at = self.now.as_secs();
        self.log.push(format!("{at:>5} s  {}", what.into()));
    }
}

/// The task of this peer.
pub fn task_of(peer: PeerId) -> TaskId {
    TaskId(format!("t{peer}"))
}

impl SimCopy {
    pub fn new(state: &'static str, since: Duration) -> Self {
        Self { state, since }
    }

    pub fn is_active(&self) -> bool {
        self.state == "Active"
    }
}
