//! One peer: it joins the Raft rules, the replicated state, the disk and the network, and lets
//! callers propose and wait. All state is behind one lock that is never held across an await.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::data::store::Shards;
use super::disk::{ConfState, Disk, HardState, Persistent, RaftState};
use super::error::ApiError;
use super::model::{Effect, Model};
use super::outbox::{self, Failure};
use super::raft::message::{ConfChange, Message, Payload};
use super::raft::{Conf, Raft, Role};
use super::settings::Settings;
use super::{data, log};

/// How long a proposal may take (upstream common/defaults.rs:24).
pub const META_OP_WAIT: Duration = Duration::from_secs(10);

/// Why a peer's consensus no longer runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Stopped {
    /// It was removed from the cluster.
    Removed,
    /// An entry could not be applied.
    Failed(String),
    /// Its thread panicked; the status goes on saying `working`.
    Panicked,
}

type Waiter = oneshot::Sender<Result<(), ApiError>>;

/// Everybody who waits for one proposal, and its number.
#[derive(Debug, Default)]
struct Waiting {
    proposal: u64,
    waiters: Vec<Waiter>,
}

/// Everything that changes.
#[derive(Debug)]
pub struct Inner {
    /// Consensus.
    pub raft: Raft,
    /// Replicated state as applied.
    pub model: Model,
    /// The first peer of the cluster.
    pub first_voter: u64,
    /// Leader as of the last change of role or leader; `None` before the first one.
    pub leader: Option<u64>,
    /// Failed deliveries by address.
    pub failures: BTreeMap<String, Failure>,
    /// Set when consensus has ended on this peer.
    pub stopped: Option<Stopped>,
    /// When consensus last did anything.
    pub last_update: jiff::Timestamp,
    /// Replicas (collection, shard, peer) that missed a write and are to be marked Dead.
    pub disabled: HashMap<(String, u32, u64), Instant>,
    /// When we last asked for something about our own replica (collection, shard).
    pub asked: HashMap<(String, u32), Instant>,
    /// Shards (collection, shard) for which a write of this process got past tick 0.
    pub clocks: HashSet<(String, u32)>,
    soft: (Role, u64),
    disk: Disk,
    saved_log: u64,
    saved_state: HardState,
    waiters: HashMap<String, Waiting>,
    proposals: u64,
    outboxes: HashMap<u64, mpsc::Sender<(String, Message)>>,
}

/// One peer.
#[derive(Debug)]
pub struct Node {
    /// Our id.
    pub id: u64,
    /// How we were started.
    pub settings: Settings,
    /// Connections to peers.
    pub client: reqwest::Client,
    /// Points of our replicas.
    pub shards: Shards,
    /// Index that is applied here.
    pub applied: watch::Sender<u64>,
    leader_known: watch::Sender<bool>,
    inner: Mutex<Inner>,
}

impl Node {
    /// A peer from what its disk holds; replays what was committed.
    pub fn new(
        settings: Settings,
        disk: Disk,
        state: Persistent,
        client: reqwest::Client,
    ) -> io::Result<Arc<Self>> {
        let id = state.this_peer_id;
        let log = disk.load_log()?;
        let first_voter = state.first_voter.unwrap_or(id);
        let conf = Conf {
            voters: [first_voter].into(),
            ..Conf::default()
        };
        let hard = state.state.hard_state;
        let saved_log = log.len() as u64;
        let raft = Raft::new(id, hard.term, hard.vote, hard.commit, conf, log);
        let shards = Shards::new(&settings.storage);
        disk.save(&state)?;
        let model = Model {
            peers: state.peer_address_by_id,
            collections: disk.load_held()?,
            ..Model::default()
        };
        let mut inner = Inner {
            soft: (raft.role, raft.leader),
            raft,
            model,
            first_voter,
            leader: None,
            failures: BTreeMap::new(),
            stopped: None,
            last_update: jiff::Timestamp::now(),
            disabled: HashMap::new(),
            asked: HashMap::new(),
            clocks: HashSet::new(),
            disk,
            saved_log,
            saved_state: hard,
            waiters: HashMap::new(),
            proposals: 0,
            outboxes: HashMap::new(),
        };
        while let Some(entry) = inner.raft.next_committed() {
            inner.apply(id, entry.index, &entry.payload);
        }
        data::open_own(&shards, &inner.model, id)?;
        let applied = watch::Sender::new(inner.raft.applied);
        let inner = Mutex::new(inner);
        let leader_known = watch::Sender::new(false);
        Ok(Arc::new(Self {
            id,
            settings,
            client,
            shards,
            applied,
            leader_known,
            inner,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at the state.
    pub fn read<R>(&self, look: impl FnOnce(&Inner) -> R) -> R {
        look(&self.lock())
    }

    /// Change the state, then persist, send and apply whatever followed from it.
    pub fn change<R>(self: &Arc<Self>, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = act(&mut inner);
        let effects = match inner.settle(self) {
            Ok(effects) => effects,
            Err(why) => {
                log("ERROR", &format!("cannot write the consensus state: {why}"));
                std::process::exit(101);
            }
        };
        self.applied
            .send_if_modified(|at| std::mem::replace(at, inner.raft.applied) != *at);
        let known = inner.raft.leader != 0;
        self.leader_known
            .send_if_modified(|at| std::mem::replace(at, known) != known);
        drop(inner);
        for effect in effects {
            data::run(self, effect);
        }
        result
    }

    /// Propose without waiting.
    pub fn propose(self: &Arc<Self>, payload: Payload) -> Result<(), ApiError> {
        self.change(|inner| {
            inner.running()?;
            inner.raft.propose(payload);
            Ok(())
        })
    }

    /// Propose and wait until it is applied on this peer. The same proposal already under way is
    /// joined, not repeated (upstream consensus_manager.rs:854-872).
    pub async fn propose_and_wait(
        self: &Arc<Self>,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> Result<(), ApiError> {
        let timeout = timeout.unwrap_or(META_OP_WAIT);
        self.read(Inner::running)?;
        let mut known = self.leader_known.subscribe();
        if tokio::time::timeout(timeout, known.wait_for(|known| *known))
            .await
            .is_err()
        {
            return Err(ApiError::service(format!(
                "Failed to propose operation: leader is not established within {timeout:?}"
            )));
        }
        let key = key_of(&payload);
        let (sender, receiver) = oneshot::channel();
        let first = self.change(|inner| {
            inner.running()?;
            let waiting = inner.waiters.entry(key.clone()).or_default();
            waiting.waiters.push(sender);
            if waiting.waiters.len() > 1 {
                return Ok(None);
            }
            inner.proposals += 1;
            waiting.proposal = inner.proposals;
            inner.raft.propose(payload);
            Ok(Some(inner.proposals))
        })?;
        if let Some(proposal) = first {
            // Not left to whoever waits: a client that hangs up does not end its request in Qdrant,
            // and until it is over the same one is joined and not proposed again.
            let (node, key) = (Arc::clone(self), key.clone());
            tokio::spawn(async move {
                tokio::time::sleep(timeout).await;
                let mut inner = node.lock();
                let same = |waiting: &Waiting| waiting.proposal == proposal;
                if inner.waiters.get(&key).is_some_and(same) {
                    inner.waiters.remove(&key);
                }
            });
        }
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ApiError::service(
                "Error occurred while waiting for consensus operation. Channel sender dropped",
            )),
            Err(_) => {
                drop(self.lock().waiters.remove(&key));
                Err(ApiError::service(format!(
                    "Waiting for consensus operation commit failed. Timeout set at: {} seconds",
                    timeout.as_secs_f64()
                )))
            }
        }
    }
}

fn key_of(payload: &Payload) -> String {
    serde_json::to_string(payload).unwrap_or_default()
}

impl Inner {
    fn running(&self) -> Result<(), ApiError> {
        match &self.stopped {
            None => Ok(()),
            Some(_) => Err(ApiError::service(
                "Can not forward new entry to consensus as it was stopped.",
            )),
        }
    }

    /// Persist, then send, then apply, until nothing is left to do.
    fn settle(&mut self, node: &Arc<Node>) -> io::Result<Vec<Effect>> {
        let mut effects = Vec::new();
        while self.stopped.is_none() {
            if let Some(first) = self.raft.take_unsaved() {
                self.disk.save_log(self.raft.log(), first, self.saved_log)?;
                self.saved_log = self.raft.last_index();
            }
            if self.hard_state() != self.saved_state {
                self.save(node.id)?;
            }
            // Before applying: the last message to a removed peer tells it of its removal.
            for (to, message) in self.raft.take_messages() {
                self.post(node, to, message);
            }
            self.note_soft_state();
            let mut busy = false;
            while let Some(entry) = self.raft.next_committed() {
                effects.extend(self.apply(node.id, entry.index, &entry.payload));
                busy = true;
                if self.stopped.is_some() {
                    break;
                }
            }
            if busy {
                self.save(node.id)?;
                continue;
            }
            if let Some(why) = self.raft.panic.take() {
                log("ERROR", &format!("Panic occurred: {why}"));
                self.stopped = Some(Stopped::Panicked);
                break;
            }
            // Whoever went away waits no more, although upstream keeps his place: the next who proposes
            // the same joins it in vain.
            let mut waiters = self.waiters.values().flat_map(|waiting| &waiting.waiters);
            let waited_for = waiters.any(|waiter| !waiter.is_closed());
            let promoted = self.raft.promotable_learner().filter(|_| !waited_for);
            let Some(id) = promoted else { break };
            log("INFO", &format!("Promoting learner {id} to voter"));
            self.raft
                .propose(Payload::Conf(ConfChange::AddVoter { id, uri: None }));
        }
        if self.stopped.is_some() {
            self.save(node.id)?;
            self.waiters.clear();
            drop(self.raft.take_messages());
        }
        Ok(effects)
    }

    fn note_soft_state(&mut self) {
        let soft = (self.raft.role, self.raft.leader);
        if soft != self.soft {
            self.soft = soft;
            self.leader = Some(soft.1);
            log(
                "INFO",
                &format!(
                    "Now {:?} of leader {} in term {}",
                    soft.0, soft.1, self.raft.term
                ),
            );
        }
        self.last_update = jiff::Timestamp::now();
    }

    /// Apply one entry and answer whoever waits for it.
    fn apply(&mut self, me: u64, index: u64, payload: &Payload) -> Vec<Effect> {
        let change = match payload {
            Payload::Conf(change) => Some(change),
            _ => None,
        };
        if let Some(ConfChange::Remove { id }) = change
            && self.raft.conf.voters.len() == 1
            && self.raft.conf.voters.contains(id)
        {
            self.stopped = Some(Stopped::Failed("removed all voters".into()));
            return Vec::new();
        }
        let result = match payload {
            Payload::Empty => Ok(Vec::new()),
            Payload::Conf(change) => Ok(self.apply_conf(me, change)),
            Payload::Op(op) => {
                self.enable(op);
                self.model.apply(op, me)
            }
        };
        self.raft.applied(index, change);
        if let Err(why) = &result {
            log("WARN", &format!("Failed to apply entry {index}: {why}"));
        }
        let waiting = self.waiters.remove(&key_of(payload)).unwrap_or_default();
        for waiter in waiting.waiters {
            let answer = result.as_ref().map(|_| ()).map_err(Clone::clone);
            // A caller that went away needs no answer.
            let _gone = waiter.send(answer);
        }
        result.unwrap_or_default()
    }

    fn apply_conf(&mut self, me: u64, change: &ConfChange) -> Vec<Effect> {
        match change {
            ConfChange::AddLearner { id, uri } | ConfChange::AddVoter { id, uri: Some(uri) } => {
                self.model.peers.insert(*id, uri.clone());
                Vec::new()
            }
            ConfChange::AddVoter { uri: None, .. } => Vec::new(),
            ConfChange::Remove { id } => {
                self.outboxes.remove(id);
                if *id == me {
                    self.stopped = Some(Stopped::Removed);
                }
                self.model.remove_peer(*id, me)
            }
        }
    }

    fn enable(&mut self, op: &super::model::Op) {
        if let super::model::Op::SetReplica {
            collection,
            shard_id,
            peer,
            ..
        } = op
        {
            self.disabled
                .remove(&(collection.clone(), *shard_id, *peer));
        }
    }

    fn post(&mut self, node: &Arc<Node>, to: u64, message: Message) {
        let uri = self.model.peers.get(&to).cloned().unwrap_or_default();
        let queue = self
            .outboxes
            .entry(to)
            .or_insert_with(|| outbox::spawn(node, to));
        // A full queue drops the message, as an unreliable network may.
        let _full = queue.try_send((uri, message));
    }

    fn hard_state(&self) -> HardState {
        let Raft {
            term, vote, commit, ..
        } = self.raft;
        HardState { term, vote, commit }
    }

    fn save(&mut self, id: u64) -> io::Result<()> {
        let hard_state = self.hard_state();
        let conf = &self.raft.conf;
        let conf_state = ConfState {
            voters: conf.voters.iter().copied().collect(),
            learners: conf.learners.iter().copied().collect(),
            ..ConfState::default()
        };
        self.disk.save(&Persistent {
            state: RaftState {
                hard_state,
                conf_state,
            },
            latest_snapshot_meta: serde_json::json!({"term": 0, "index": 0}),
            apply_progress_queue: serde_json::json!([self.raft.applied + 1, self.raft.commit]),
            first_voter: Some(self.first_voter),
            peer_address_by_id: self.model.peers.clone(),
            peer_metadata_by_id: self.model.known_versions(),
            cluster_metadata: self.model.metadata.clone(),
            this_peer_id: id,
        })?;
        self.saved_state = hard_state;
        Ok(())
    }
}
