//! One task's life: observe, decide, act, record, again and again until a signal ends it.

mod last;
mod numbers;
mod publish;
mod stop;
mod together;

pub use numbers::long_sleep;
use numbers::{heal_settings, settings};

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use planner::decision::{Action, Decision, Phase};
use planner::ids::{GenerationId, PeerId};
use planner::keep::ids::SetId;
use planner::keep::proving::Order;
use planner::memory::{Memory, Passed};
use planner::observed::Observed;
use planner::records::{FORMAT, Hello, Member, Said, State};
use planner::settings::Settings;
use planner::view::{Child as ChildView, Disk as DiskView, Observation};
use qdrant_api::ClusterInfo;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::act::Hands;
use crate::child::StopBudget;
use crate::config::Config;
use crate::disk::{Disk, DiskError};
use crate::ecs::keeper::Keeper as ProtectionKeeper;
use crate::ecs::wanted::Wanted as WantedByEcs;
use crate::events;
use crate::identity::Identity;
use crate::keep::calls::Calls;
use crate::keep::keeper::{self, Keeper};
use crate::keep::prover::{self, Proofs};
use crate::keep::restorer::Restorer;
use crate::keep::retention_settings;
use crate::keep::shelf::Shelf;
use crate::keep::taker::{Call, Taker};
use crate::knocks::Knocks;
use crate::ledger::Ledger;
use crate::observe::{Senses, Wanted};
use crate::qdrant::Qdrant;
use crate::record;
use crate::status::{Board, Status};
use crate::steward::{self, Comparer, Look, Post, Steward, Sweeper, Watch};
use crate::wakefulness::Wakefulness;

/// The steward's task reads the store's members once in so many settled rounds.
const MEMBERS_EVERY: u32 = 10;

/// What a task is made of.
pub struct Parts {
    /// What it was told.
    pub config: Arc<Config>,
    /// Who it is.
    pub identity: Identity,
    /// Its disk.
    pub disk: Disk,
    /// Its side of the store.
    pub ledger: Ledger,
    /// Its Qdrant.
    pub qdrant: Qdrant,
    /// Its eyes.
    pub senses: Senses,
    /// How the time from SIGTERM to SIGKILL is divided.
    pub stop_budget: StopBudget,
    /// Who keeps its protection; `None` where there is none.
    pub protection: Option<ProtectionKeeper>,
    /// Who asks what ECS wants; `None` where nobody may.
    pub wanted: Option<WantedByEcs>,
    /// Who waits at its control port.
    pub knocks: Knocks,
    /// Who notices that this process slept.
    pub wakefulness: Wakefulness,
    /// The sets of snapshots in the store.
    pub shelf: Shelf,
}

/// What one look came to.
struct Looked {
    seen: Observation,
    decision: Decision,
    /// Since the look before.
    passed: Duration,
}

/// A task between its rounds.
pub struct Task {
    config: Arc<Config>,
    identity: Identity,
    settings: Settings,
    memory: Memory,
    disk: Disk,
    ledger: Ledger,
    qdrant: Qdrant,
    senses: Senses,
    board: watch::Sender<Board>,
    /// What we say in our member record until the next decision.
    state: State,
    /// A signal has asked us to stop: rounds go on, and nothing is done any more.
    ending: bool,
    generation: Option<GenerationId>,
    lease: u64,
    probe_commit: bool,
    last_round: Option<Instant>,
    wakefulness: Wakefulness,
    /// When something last happened here: rounds slow down while nothing does.
    stirred: Instant,
    stop_budget: StopBudget,
    journal: record::Journal,
    watch: Watch,
    posts: watch::Sender<Option<Post>>,
    protection: Option<ProtectionKeeper>,
    wanted: Option<WantedByEcs>,
    knocks: Knocks,
    /// Rounds since the store's members were last read.
    members_read: u32,
    steward: AbortOnDropHandle<()>,
    _sweeper: AbortOnDropHandle<()>,
    _comparer: AbortOnDropHandle<()>,
    /// Which set this task has a part in.
    calls: Calls,
    sets: Option<Sets>,
    shelf: Shelf,
    /// Which proof of a set this task is to do.
    orders: Calls<Order>,
    _proofs: Option<Proofs>,
    restorer: AbortOnDropHandle<()>,
}

/// What makes sets of snapshots.
struct Sets {
    _keeper: AbortOnDropHandle<()>,
    _taker: AbortOnDropHandle<()>,
}

impl Task {
    /// A task that has not looked at anything yet, and the board that it writes.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<Board>) {
        let Parts {
            config,
            identity,
            disk,
            ledger,
            qdrant,
            senses,
            stop_budget,
            protection,
            wanted,
            knocks,
            wakefulness,
            shelf,
        } = parts;
        let settings = settings(&config, &identity);
        // Until the disk was looked at it may hold anything.
        let state = State::HoldsData;
        let status = Status {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            service: settings.service.clone(),
            store_id: None,
            task: settings.task.clone(),
            address: settings.address,
            uri: qdrant.uri().to_owned(),
            zone: identity.zone.clone(),
            said: Said {
                revision: identity.revision.clone(),
                created: identity.created,
                size: Some(config.cluster_size),
                ..Said::default()
            },
            phase: "starting".to_owned(),
            reason: "the first round has not ended".to_owned(),
            since: Timestamp::now(),
            generation: None,
            state,
            aside: false,
            peer_id: None,
            role: None,
            is_voter: None,
            peers: Vec::new(),
            ready: false,
            ready_reason: "the first round has not ended".to_owned(),
            verified: false,
            alarms: Vec::new(),
            lost_log_lines: 0,
            plan: serde_json::Value::Null,
            divergence: serde_json::Value::Null,
            diverged: Vec::new(),
            concerns: Vec::new(),
            hears: Default::default(),
            set: None,
            sets: String::new(),
            kept: None,
            sets_wrong: None,
            restore: String::new(),
            proofs: None,
            proof: String::new(),
            proofs_wrong: None,
            planned: None,
            restore_wrong: None,
            filling: None,
            whole: false,
            shut: None,
            child: qdrant.describe(),
            decision: serde_json::Value::Null,
        };
        let (board, reader) = watch::channel(Board {
            status,
            turned: Instant::now(),
        });
        let healing = heal_settings(&config);
        let steward = Steward::new(
            qdrant.client().clone(),
            healing.clone(),
            config.heal,
            board.clone(),
        );
        let sweeper = Sweeper::new(
            qdrant.client().clone(),
            ledger.beside(),
            senses.prober().clone(),
            config.heal,
            config.loss_timeout,
        );
        let (posts, posted) = watch::channel(None);
        let comparer = Comparer::new(
            qdrant.client().clone(),
            config.divergence_interval,
            board.clone(),
        );
        let (swept, compared) = (posted.clone(), posted.clone());
        let (calls, called) = Calls::new();
        // Also where no sets are made: there may be some of before.
        let restorer = Restorer::new(
            qdrant.client().clone(),
            shelf.clone(),
            board.clone(),
            posted.clone(),
            config.control_port,
            config.qdrant.api_key.clone(),
            config.heal,
        );
        let (orders, ordered) = Calls::new();
        let proofs = prover::start(
            &config,
            prover::Parts {
                shelf: shelf.clone(),
                client: qdrant.client().clone(),
                task: settings.task.clone(),
                board: board.clone(),
                calls: called.clone(),
            },
            posted.clone(),
            ordered,
        );
        let sets = retention_settings(&config).map(|kept| {
            let keeper = Keeper::new(
                keeper::Settings {
                    kept,
                    mode: config.heal,
                    task: settings.task.clone(),
                    stop_leaves: stop_budget.hand_over_left(Duration::ZERO),
                },
                qdrant.client().clone(),
                shelf.clone(),
                board.clone(),
            );
            let taker = Taker::new(
                shelf.clone(),
                qdrant.client().clone(),
                settings.task.clone(),
            );
            Sets {
                _keeper: AbortOnDropHandle::new(tokio::spawn(keeper.run(posted.clone()))),
                _taker: AbortOnDropHandle::new(tokio::spawn(taker.run(called))),
            }
        });
        let task = Self {
            config,
            identity,
            settings,
            memory: Memory::default(),
            disk,
            ledger,
            qdrant,
            senses,
            board,
            state,
            ending: false,
            generation: None,
            lease: 0,
            probe_commit: false,
            last_round: None,
            wakefulness,
            stirred: Instant::now(),
            stop_budget,
            journal: record::Journal::default(),
            watch: Watch::new(healing),
            posts,
            protection,
            wanted,
            knocks,
            members_read: 0,
            steward: AbortOnDropHandle::new(tokio::spawn(steward.run(posted))),
            _sweeper: AbortOnDropHandle::new(tokio::spawn(sweeper.run(swept))),
            _comparer: AbortOnDropHandle::new(tokio::spawn(comparer.run(compared))),
            calls,
            sets,
            shelf,
            orders,
            _proofs: proofs,
            restorer: AbortOnDropHandle::new(tokio::spawn(restorer.run())),
        };
        (task, reader)
    }

    /// Rounds without end.
    pub async fn run(&mut self) -> std::convert::Infallible {
        loop {
            let pause = match self.round().await {
                Ok(acted) => self.pause(acted),
                Err(error) => {
                    self.blind(&error);
                    self.config.beat
                }
            };
            // The end of Qdrant is never waited out.
            let child = self.qdrant.running();
            let round = self.config.round;
            let knocked = async {
                // Whoever waits is not waited for faster than by any round that forms.
                tokio::time::sleep(round).await;
                match self.leads() {
                    true => self.knocks.next().await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = timeout(pause, Qdrant::ended(child)) => {}
                () = knocked => {}
            }
        }
    }

    /// The steward is here.
    fn leads(&self) -> bool {
        self.posts.borrow().is_some()
    }

    /// Our own disk cannot be read: nothing can be decided, so nothing is changed. Qdrant goes on as
    /// it is, and so do we: ending would make ECS delete the disk.
    fn blind(&mut self, error: &DiskError) {
        let why = crate::log::chain(error);
        let alarm = format!("this task's own disk: {why}");
        if self.board.borrow().status.alarms.first() != Some(&alarm) {
            tracing::error!(event = events::ALARM, "{alarm}");
        }
        self.posts.send_replace(None);
        self.calls.end();
        self.orders.end();
        self.watch.blind();
        self.board.send_modify(|board| {
            board.turned = Instant::now();
            board.status.hears.clear();
            board.status.reason = "this task's own disk cannot be read".to_owned();
            board.status.alarms = vec![alarm];
        });
    }

    /// Forming is quick, waiting gets calmer the longer nothing happens, membership is calm.
    fn pause(&mut self, acted: bool) -> Duration {
        let (quick, calm) = (self.config.round, self.config.beat);
        if acted {
            // What was done shows in the next look, after a moment.
            self.stirred = Instant::now();
            return quick / 4;
        }
        if self.memory.dns.arriving() {
            return quick / 4;
        }
        if self.qdrant.standstill().is_still() {
            return quick;
        }
        if self.settled() {
            // A round at the very moment when a silence is long enough, not up to a beat later.
            let due = self.watch.due().unwrap_or(calm);
            return due.clamp(quick, calm);
        }
        (self.stirred.elapsed() / 20).clamp(quick, calm)
    }

    /// A ready member in a cluster that works looks less often.
    fn settled(&self) -> bool {
        self.memory.ready
            && self.memory.verified
            && self.state == State::Member
            && !self.probe_commit
    }

    async fn round(&mut self) -> Result<bool, DiskError> {
        self.board
            .send_modify(|board| board.turned = Instant::now());
        if self.disk.finish()? {
            tracing::warn!(
                event = events::FREED_LATE,
                "an interrupted freeing of the disk was finished"
            );
        }
        let disk = self.disk.look()?;
        let empty = DiskView {
            served: disk.served,
            ..DiskView::EMPTY
        };
        if self.last_round.is_none() && disk == empty {
            self.state = State::Empty;
        }
        let looked = self.look(disk).await;
        let Looked { seen, decision, .. } = &looked;
        match (decision.ready.is_ok(), seen.disk.served) {
            (true, false) => self.disk.mark_served(&self.settings.task.0)?,
            (false, true) => self.disk.unmark_served()?,
            _ => {}
        }
        // Said before it is done, so that nobody takes us for empty while we act.
        let record = record::decision(seen, decision);
        let alarms = self.alarms(seen, decision);
        self.publish(seen, decision, &record, alarms.clone());
        if self.journal.decided(seen, decision, &record, alarms) {
            self.stirred = Instant::now();
        }
        self.renew(seen, decision.renew_lease).await;
        Ok(self.act(&decision.action, seen).await)
    }

    /// Sees everything once and decides upon it; what is to be done is not done here.
    async fn look(&mut self, disk: DiskView) -> Looked {
        self.beat(&disk).await;
        let stamp = disk.stamp.clone();
        let wanted_settled = self.settled();
        // Now and then the steward's task looks for newcomers whom DNS does not list.
        let all_members = self.leads() && self.members_read >= MEMBERS_EVERY;
        self.members_read = match all_members || !wanted_settled {
            true => 0,
            false => self.members_read.saturating_add(1),
        };
        let knocked = self.knocks.waiting();
        let wanted = Wanted {
            stage: stamp.as_ref().map(|stamp| (stamp.stage, &stamp.generation)),
            settled: wanted_settled,
            probe_commit: self.probe_commit,
            waits: !self.memory.ready,
            all_members,
            knocked: &knocked,
        };
        let seen = self
            .senses
            .look(disk, &mut self.ledger, &mut self.qdrant, wanted)
            .await;
        let now = Instant::now();
        let wakes = self.qdrant.standstill().wakes();
        let passed = Passed {
            time: self.last_round.map_or(Duration::ZERO, |last| now - last),
            asleep: self.wakefulness.longest_sleep(),
        };
        self.last_round = Some(now);
        let decision = planner::decide(&self.settings, &mut self.memory, passed, &seen);
        let still = self.qdrant.standstill();
        still.decided(decision.stand_still, wakes);
        self.state = decision.state;
        self.generation.clone_from(&decision.generation);
        self.probe_commit = decision.probe_commit;
        self.look_after_peers(&seen, &decision, passed, !wanted_settled);
        Looked {
            seen,
            decision,
            passed: passed.time,
        }
    }

    /// Counts on who lives, in every member; hands over to the steward where Qdrant leads.
    fn look_after_peers(
        &mut self,
        seen: &Observation,
        decision: &Decision,
        passed: Passed,
        beats: bool,
    ) {
        let (ChildView::Running(Observed::Known(qdrant)), Some(listed), Some(generation)) =
            (&seen.child, self.qdrant.last(), &decision.generation)
        else {
            self.posts.send_replace(None);
            self.watch.blind();
            match seen.child {
                // It did not answer for a moment.
                ChildView::Running(_) => {
                    self.calls.hear(None);
                    self.orders.hear(None);
                }
                _ => {
                    self.calls.end();
                    self.orders.end();
                }
            }
            return;
        };
        let peers = self.watch.look(Look {
            step: (passed.time <= self.settings.gap).then_some(passed.time),
            generation,
            listed,
            seen,
            beats,
        });
        let well = decision.phase == Phase::Member
            && decision.state == State::Member
            && self.memory.verified
            && qdrant.leads
            && qdrant.commits != Some(false)
            && matches!(&qdrant.proof, Observed::Known(Some(proof)) if proof.generation == *generation);
        let ourselves = {
            let zone = self.identity.zone.as_deref();
            let said = self.board.borrow().hello().said;
            steward::watch::ourselves(&self.settings.task, zone, self.qdrant.uri(), said)
        };
        let service = &self.settings.service;
        let leads = well.then(|| self.board.borrow().status.set);
        let call = called(leads, listed, seen, service, generation);
        let ordered = match leads {
            Some(_) => self.board.borrow().status.said.proof.order.clone(),
            None => leader(listed, seen, service, generation)
                .and_then(|leader| leader.said.proof.order.clone()),
        };
        let ordered = ordered.filter(|order| order.peer == PeerId(listed.peer_id));
        let known = decision.state == State::Member && self.memory.verified;
        let shut = self.board.borrow().status.shut.is_some();
        match known && (!self.ending || shut) {
            true => self.calls.hear(call),
            false => self.calls.end(),
        }
        match known && !self.ending {
            true => self.orders.hear(ordered),
            false => self.orders.end(),
        }
        if shut {
            // Nobody who goes by this has anything to do any more.
            return;
        }
        let began = seen.disk.stamp.as_ref().is_some_and(|stamp| stamp.restore);
        let restoring = began && qdrant.restored != Observed::Known(true);
        let ids = listed.peers.keys().map(|id| PeerId(*id)).collect();
        let outside = steward::service::outside(seen, service, &ids);
        let others = steward::service::hellos(seen, service);
        let wanted = steward::service::wanted(&self.settings.task, &ourselves.said, others);
        self.posts.send_replace(
            well.then_some(Post {
                ourselves,
                peers,
                outside,
                wanted_revision: wanted.revision,
                told: wanted.told,
                full: wanted.full,
                restoring,
                wanted_tasks: usize::try_from(wanted.tasks.unwrap_or(self.config.cluster_size))
                    .unwrap_or(usize::MAX),
                at: Instant::now(),
                fresh_for: self.settings.gap,
            }),
        );
    }

    async fn act(&mut self, action: &Action, seen: &Observation) -> bool {
        if *action == Action::Wait {
            return false;
        }
        let service = self.settings.service.clone();
        let mut hands = Hands {
            disk: &self.disk,
            ledger: &mut self.ledger,
            qdrant: &mut self.qdrant,
            service: &service,
            stack: self.settings.stack.as_deref(),
        };
        match hands.act(action, seen).await {
            Ok(()) => {
                self.journal.acted();
                true
            }
            Err(error) => {
                self.journal.failed(action, &crate::log::chain(&error));
                false
            }
        }
    }

    async fn beat(&mut self, disk: &DiskView) {
        let member = Member {
            format: FORMAT,
            beat: 0,
            state: self.state,
            address: self.settings.address,
            generation: self.generation.clone(),
            aside: disk.aside,
            peer_id: disk.peer_id,
            zone: self.identity.zone.clone(),
            revision: self.identity.revision.clone(),
        };
        let beat = self.ledger.beat(member, self.config.beat).await;
        self.journal
            .store("write our beat", beat.err().map(|e| crate::log::chain(&e)));
    }

    async fn renew(&mut self, seen: &Observation, wanted: bool) {
        let mut trouble = None;
        if let (true, Some(stamp)) = (wanted, &seen.disk.stamp) {
            self.lease += 1;
            let claim = stamp.claims().map_or(&stamp.generation, |(claim, _)| claim);
            let renewed = self.ledger.renew(claim, self.lease).await;
            trouble = renewed.err().map(|error| crate::log::chain(&error));
        }
        self.journal.store("renew our lease", trouble);
    }
}

/// The set that is being made, by the word of whoever leads: our own steward, with `leads`, or the task
/// that our Qdrant takes for the leader's.
fn called(
    leads: Option<Option<SetId>>,
    listed: &ClusterInfo,
    seen: &Observation,
    service: &str,
    generation: &GenerationId,
) -> Option<Call> {
    let set = leads.unwrap_or_else(|| leader(listed, seen, service, generation)?.set)?;
    Some(Call {
        set,
        generation: generation.clone(),
        peer: PeerId(listed.peer_id),
    })
}

/// The hello of the task that our Qdrant takes for the leader's.
fn leader<'a>(
    listed: &ClusterInfo,
    seen: &'a Observation,
    service: &'a str,
    generation: &GenerationId,
) -> Option<&'a Hello> {
    let leader = listed.raft.leader.map(PeerId);
    steward::service::hellos(seen, service).find(|hello| {
        hello.leads && hello.peer_id == leader && hello.generation.as_ref() == Some(generation)
    })
}
