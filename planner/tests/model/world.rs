//! The world around the planner: tasks with disks, a store, Raft clusters, DNS. Small enough to be
//! searched exhaustively, and faithful where the rules depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use planner::decision::{Action, Alarm};
use planner::ids::{GenerationId, PeerId, StoreId, TaskId};
use planner::memory::Memory;
use planner::records::{Claim, End, FORMAT, Formed, Identity, Member, Outcome, Plight, State};
use planner::settings::Settings;
use planner::view::Disk;

use crate::steps::Step;

pub const SERVICE: &str = "vectors";
/// One tick of the world; every live task has one round in each.
pub const TICK: Duration = Duration::from_secs(1);
/// In ticks.
pub const CLAIM_TIMEOUT: u8 = 3;
pub const LOSS_TIMEOUT: u8 = 5;
/// Rounds without a fault after which the others must have seen a task.
pub const STEADY: u8 = 2;

/// A rule to break on purpose: each must be found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// None: the planner as it is.
    #[default]
    None,
    /// The store replaces what is there instead of creating once.
    Overwrite,
    /// A member that cannot commit says that all is well.
    NeverStuck,
    /// A superseded member does not stop.
    NoFence,
    /// What others beat in the store is not looked at.
    NoBeats,
    /// A single tick of silence is enough to call a generation lost.
    Impatient,
    /// Nobody hears how far the others have come: each survivor takes itself for the most advanced.
    NoRank,
    /// A superseded member starts its Qdrant again as it was.
    StartsAgain,
    /// Whoever began anew for a claim that came to nothing starts again in its old generation.
    Unmarked,
    /// That sets were not found is taken for that there are none.
    Blind,
    /// That the restore has begun is taken for that it is finished.
    Hasty,
    /// What has said the last word of its generation has no mark of it.
    Undead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tasks: Vec<Task>,
    pub store: Shared,
    pub groups: Vec<Group>,
    /// Every generation that was ever formed, whatever became of its record.
    pub history: Vec<Formed>,
    /// Addresses of the dead that DNS still lists.
    pub ghosts: BTreeSet<u8>,
    /// Faults that may still happen.
    pub budget: u8,
    pub ticks: u8,
    pub names: u8,
    pub tokens: u8,
    /// A collection was created, once.
    pub used: bool,
    /// An act that broke a promise.
    pub broken: Option<&'static str>,
    pub sabotage: Sabotage,
    /// The rounds of one tick follow each other in the order of the tasks.
    pub ordered: bool,
    /// The only peer may end in order.
    pub ends: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    pub name: u8,
    pub address: u8,
    /// Asleep for so many ticks.
    pub paused: Option<u8>,
    pub listed: bool,
    /// It reaches the store.
    pub store: bool,
    /// Nobody reaches it and it reaches nobody, but for store and DNS.
    pub cut: bool,
    /// DNS does not list it, and will not.
    pub unlisted: bool,
    pub dns: DnsMode,
    pub disk: Disk,
    /// The Raft cluster that the peer on this disk belongs to.
    pub group: Option<usize>,
    pub up: bool,
    pub leads: bool,
    pub memory: Memory,
    pub state: State,
    pub generation: Option<GenerationId>,
    pub probe_commit: bool,
    pub quorum_lost: bool,
    pub plight: Plight,
    /// The last entry that its Qdrant knows to be committed, and what it says of that.
    pub commit: u64,
    pub said_commit: Option<u64>,
    pub beat: u64,
    pub lease: u64,
    /// Ticks since its last round.
    pub since: u8,
    pub turned: bool,
    pub intent: Option<Intent>,
    /// Rounds since something last happened to it, up to [`STEADY`].
    pub steady: u8,
    pub alarms: Said,
    /// The load balancer sends it traffic.
    pub ready: bool,
}

/// The alarms of the last round. They follow from the rest of the state: two states that differ in
/// them alone are one.
#[derive(Clone, Debug, Default)]
pub struct Said(pub Vec<Alarm>);

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Said {}

impl Hash for Said {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsMode {
    Fresh,
    Frozen(BTreeSet<u8>),
    Fails,
}

/// A decision on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    pub action: Action,
    /// The highest generation that a peer proved when it was decided.
    pub proven: Option<GenerationId>,
    /// The first half is done.
    pub half: bool,
}

/// One Raft cluster of Qdrants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    pub voters: BTreeMap<PeerId, u8>,
    pub proof: Option<Formed>,
    pub data: bool,
    pub leader: Option<PeerId>,
    /// Its last committed entry.
    pub commit: u64,
    /// What its key map says of the restore with which it began.
    pub restore: Restore,
}

/// How far the restore into a Raft cluster has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Restore {
    /// It was founded, and has no record.
    Nothing,
    /// It is to be restored, for this generation, and has no record.
    Due(GenerationId),
    /// Some collections are there.
    Begun(GenerationId),
    /// The record says that it is finished.
    Finished(GenerationId),
}

/// The store: files, and writes that have not landed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shared {
    pub identity: Option<Identity>,
    pub claims: BTreeMap<u64, Claim>,
    pub leases: BTreeMap<u64, u64>,
    pub outcomes: BTreeMap<u64, Outcome>,
    pub members: BTreeMap<TaskId, Member>,
    /// There are snapshot sets.
    pub sets: bool,
    /// The last words of generations that have ended in order.
    pub ends: BTreeMap<u64, End>,
    /// Writes without an answer, with the name of the writer.
    pub late: Vec<(u8, Write)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    Claim(u64, Claim),
    Outcome(u64, Outcome),
    End(End),
}

impl World {
    pub fn new(tasks: u8, budget: u8, sabotage: Sabotage) -> Self {
        let mut world = Self {
            tasks: Vec::new(),
            store: Shared::default(),
            groups: Vec::new(),
            history: Vec::new(),
            ghosts: BTreeSet::new(),
            budget,
            ticks: 0,
            names: 0,
            tokens: 0,
            used: false,
            broken: None,
            sabotage,
            ordered: false,
            ends: false,
        };
        for _ in 0..tasks {
            let task = world.launch(None);
            world.tasks.push(task);
        }
        world
    }

    /// A new, empty task at a new address, or at that of a dead one.
    pub fn launch(&mut self, address: Option<u8>) -> Task {
        self.names += 1;
        Task {
            name: self.names,
            address: address.unwrap_or(self.names),
            paused: None,
            listed: false,
            store: true,
            cut: false,
            unlisted: false,
            dns: DnsMode::Fresh,
            disk: Disk::EMPTY,
            group: None,
            up: false,
            leads: false,
            memory: Memory::default(),
            state: State::Empty,
            generation: None,
            probe_commit: false,
            quorum_lost: false,
            plight: Plight::default(),
            commit: 0,
            said_commit: None,
            beat: 0,
            lease: 0,
            since: 0,
            turned: false,
            intent: None,
            steady: 0,
            alarms: Said::default(),
            ready: false,
        }
    }

    pub fn settings(&self, task: &Task) -> Settings {
        let loss = match self.sabotage {
            Sabotage::Impatient => 1,
            _ => LOSS_TIMEOUT,
        };
        Settings {
            task: task.id(),
            address: ip(task.address),
            service: SERVICE.to_owned(),
            stack: None,
            adopt_fresh: false,
            ready_peers: self.tasks.len(),
            beat: TICK,
            gap: TICK * 3 / 2,
            // What stands still is not modelled: whoever sleeps here runs and does nothing.
            sleep: Duration::MAX,
            claim_timeout: TICK * u32::from(CLAIM_TIMEOUT),
            loss_timeout: TICK * u32::from(loss),
            dns_settle: TICK * 2,
            requorum: true,
            restore: true,
        }
    }

    /// A cluster that has just lost all but the last `survivors` of its tasks. Of those the last one has
    /// seen one entry more. The others are gone with their disks, or sleep, by the bits of `asleep`.
    pub fn half_lost(
        tasks: u8,
        survivors: u8,
        asleep: u64,
        budget: u8,
        sabotage: Sabotage,
    ) -> Self {
        let mut world = Self::new(tasks, 0, Sabotage::None);
        world = world.rested().expect("empty tasks become a cluster");
        world.take(Step::Use);
        world.ticks = 0;
        let lost = usize::from(tasks - survivors);
        let last = world.tasks.len() - 1;
        if survivors > 1
            && let Some(group) = world.served()
        {
            world.groups[group].commit += 1;
            let commit = world.groups[group].commit;
            for i in (0..lost).chain([last]) {
                world.tasks[i].commit = commit;
            }
        }
        for i in 0..lost {
            match asleep >> i & 1 == 1 {
                // Asleep for so long that ECS has taken it out of DNS.
                true => {
                    world.tasks[i].paused = Some(0);
                    world.tasks[i].unlisted = true;
                    world.tasks[i].listed = false;
                }
                false => world.tasks[i] = world.launch(None),
            }
        }
        world.elect();
        world.sabotage = sabotage;
        world.budget = budget;
        world
    }

    /// A cluster that was just lost with all its tasks, and whose snapshot sets are left. Empty ones have
    /// taken their place; those of the bits of `asleep` sleep instead.
    pub fn gone(tasks: u8, asleep: u64, budget: u8, sabotage: Sabotage) -> Self {
        let mut world = Self::half_lost(tasks, 0, asleep, budget, sabotage);
        world.store.sets = true;
        world
    }

    /// One task that is the whole cluster and holds data, and so many empty ones that have just come.
    pub fn sole(newcomers: u8, budget: u8, sabotage: Sabotage) -> Self {
        let mut world = Self::new(1, 0, Sabotage::None);
        world = world.rested().expect("an empty task becomes a cluster");
        world.take(Step::Use);
        world.elect();
        for _ in 0..newcomers {
            let task = world.launch(None);
            world.tasks.push(task);
        }
        world.sabotage = sabotage;
        world.budget = budget;
        world.ends = true;
        world
    }

    /// What DNS says to whoever asks now.
    pub fn registry(&self) -> BTreeSet<u8> {
        self.tasks
            .iter()
            .filter(|task| task.listed)
            .map(|task| task.address)
            .chain(self.ghosts.iter().copied())
            .collect()
    }

    pub fn token(&mut self, kind: char) -> String {
        self.tokens += 1;
        format!("{kind}{}", self.tokens)
    }

    pub fn identity(store_id: StoreId) -> Identity {
        Identity {
            format: FORMAT,
            store_id,
            service: SERVICE.to_owned(),
            stack: None,
        }
    }

    /// The voters of a group that run and reach each other.
    pub fn connected(&self, group: usize) -> Vec<usize> {
        (0..self.tasks.len())
            .filter(|i| self.is_voter(*i, group) && !self.tasks[*i].cut)
            .collect()
    }

    fn is_voter(&self, i: usize, group: usize) -> bool {
        let task = &self.tasks[i];
        task.runs()
            && task.group == Some(group)
            && task
                .disk
                .peer_id
                .is_some_and(|id| self.groups[group].voters.contains_key(&id))
    }

    /// The peer on this disk is one of its voters, running or not.
    pub fn is_voter_of(&self, i: usize, group: usize) -> bool {
        let peer = self.tasks[i].disk.peer_id;
        self.tasks[i].group == Some(group)
            && peer.is_some_and(|id| self.groups[group].voters.contains_key(&id))
    }

    /// A write through this task's Qdrant would be committed.
    pub fn commits(&self, i: usize) -> bool {
        let Some(group) = self.tasks[i].group else {
            return false;
        };
        if !self.is_voter(i, group) {
            return false;
        }
        let together = match self.tasks[i].cut {
            true => 1,
            false => self.connected(group).len(),
        };
        together * 2 > self.groups[group].voters.len()
    }

    /// Some task can write into this group.
    pub fn quorum(&self, group: usize) -> bool {
        (0..self.tasks.len()).any(|i| self.tasks[i].group == Some(group) && self.commits(i))
    }

    /// Raft elects where it can; whoever led and hears nobody goes on believing it (facts: T1).
    pub fn elect(&mut self) {
        for group in 0..self.groups.len() {
            let electors: Vec<usize> = (0..self.tasks.len())
                .filter(|i| self.tasks[*i].group == Some(group) && self.commits(*i))
                .collect();
            let Some(first) = electors.first() else {
                continue;
            };
            let leader = electors
                .iter()
                .copied()
                .find(|i| self.tasks[*i].disk.peer_id == self.groups[group].leader)
                .unwrap_or(*first);
            self.groups[group].leader = self.tasks[leader].disk.peer_id;
            let (data, proof) = (self.groups[group].data, self.groups[group].proof.is_some());
            let commit = self.groups[group].commit;
            for i in electors {
                self.tasks[i].commit = commit;
                self.tasks[i].leads = i == leader;
                self.tasks[i].disk.collections |= data && proof;
            }
        }
        for task in &mut self.tasks {
            task.leads &= task.up;
        }
    }
}

impl Task {
    pub fn id(&self) -> TaskId {
        TaskId(format!("task-{}", self.name))
    }

    pub fn awake(&self) -> bool {
        self.paused.is_none()
    }

    /// Its Qdrant runs and is not asleep.
    pub fn runs(&self) -> bool {
        self.up && self.awake()
    }

    /// It is told the other's address by DNS, and the network lies open between them.
    pub fn reaches(&self, other: &Task) -> bool {
        !self.cut && !other.cut && other.listed && self.dns == DnsMode::Fresh
    }

    pub fn uri(&self) -> String {
        format!("http://{}:6335", ip(self.address))
    }

    pub fn shaken(&mut self) {
        self.steady = 0;
    }
}

pub fn ip(address: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, address))
}

pub fn host(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => panic!("the model has no such address"),
    }
}
