//! What can happen next, and what happens then.

use planner::decision::{Action, Alarm};
use planner::memory::Passed;
use planner::records::{End, FORMAT, Member, Stage, State};
use planner::view::{Disk, Probe};

use crate::world::{
    DnsMode, Intent, LOSS_TIMEOUT, Restore, STEADY, Sabotage, Said, TICK, Task, World, Write, ip,
};

/// How a write into the store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// It lands and is answered.
    Answered,
    /// It lands and the answer is lost.
    Unanswered,
    /// It is not answered and lands at some later time.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The task is gone with its disk; an empty one takes its place, maybe at its address.
    Crash {
        reuse: bool,
    },
    /// The process ends and starts again on its disk.
    Restart,
    /// Its Qdrant ends.
    ChildDies,
    /// It sleeps, and its Qdrant with it.
    Pause,
    StoreOut,
    Cut,
    DnsFrozen,
    DnsFails,
    /// DNS does not list it.
    Unlisted,
    /// The living peer of this task is removed from Raft by somebody.
    Removed,
    /// The only peer ends in order, with its final set. `back`: its process starts again on its disk;
    /// else an empty one takes its place. `late`: the record of it lands at some later time.
    Farewell {
        back: bool,
        late: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// One round of a task, up to its decision.
    Round(usize),
    /// It carries out what it decided.
    Act(usize, How),
    /// A late write lands.
    Land(usize),
    /// Everybody had a round: time passes.
    Tick,
    /// Free, once: a client makes a collection.
    Use,
    /// The task whose Qdrant leads goes on with the restore: once it has begun, and once it is finished.
    Restore(usize),
    Hit(usize, Fault),
    /// Every file in the store is gone.
    EmptyStore,
    /// One of the things that ail this task ends.
    Heal(usize, Ailment),
}

/// What lasts until it is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ailment {
    Asleep,
    NoStore,
    CutOff,
    BadDns,
    NotListed,
}

pub const AILMENTS: [Ailment; 5] = [
    Ailment::Asleep,
    Ailment::NoStore,
    Ailment::CutOff,
    Ailment::BadDns,
    Ailment::NotListed,
];

const FAULTS: [Fault; 10] = [
    Fault::Crash { reuse: false },
    Fault::Crash { reuse: true },
    Fault::Restart,
    Fault::ChildDies,
    Fault::Pause,
    Fault::StoreOut,
    Fault::Cut,
    Fault::DnsFrozen,
    Fault::DnsFails,
    Fault::Unlisted,
];

impl World {
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let faults = self.budget > 0;
        for (i, task) in self.tasks.iter().enumerate() {
            if task.awake() {
                match &task.intent {
                    Some(intent) => {
                        steps.push(Step::Act(i, How::Answered));
                        if faults && writes(&intent.action) && task.store {
                            steps.push(Step::Act(i, How::Unanswered));
                            steps.push(Step::Act(i, How::Late));
                        }
                    }
                    None if !task.turned && self.its_turn(i) => steps.push(Step::Round(i)),
                    None => {}
                }
            }
            let ailing = AILMENTS.iter().filter(|ailment| task.ails(**ailment));
            steps.extend(ailing.map(|ailment| Step::Heal(i, *ailment)));
            if faults {
                let hits = FAULTS.iter().filter(|fault| self.possible(i, **fault));
                steps.extend(hits.map(|fault| Step::Hit(i, *fault)));
            }
        }
        steps.extend((0..self.store.late.len()).map(Step::Land));
        if faults && self.store.identity.is_some() {
            steps.push(Step::EmptyStore);
        }
        if !self.used && self.is_used() {
            steps.push(Step::Use);
        }
        steps.extend(
            (0..self.tasks.len())
                .filter(|i| self.may_restore(*i))
                .map(Step::Restore),
        );
        let all_turned = self
            .tasks
            .iter()
            .all(|task| !task.awake() || (task.turned && task.intent.is_none()));
        if all_turned {
            steps.push(Step::Tick);
        }
        steps
    }

    /// In an ordered world the rounds of a tick follow each other; what comes of them does not.
    fn its_turn(&self, i: usize) -> bool {
        !self.ordered || self.tasks.iter().take(i).all(|t| t.turned || !t.awake())
    }

    pub fn possible(&self, i: usize, fault: Fault) -> bool {
        let task = &self.tasks[i];
        match fault {
            Fault::Crash { reuse } => !reuse || task.listed,
            Fault::Restart => task.awake(),
            Fault::ChildDies => task.runs(),
            Fault::Pause => task.awake(),
            Fault::StoreOut => task.store,
            Fault::Cut => !task.cut,
            Fault::Unlisted => !task.unlisted,
            Fault::DnsFrozen | Fault::DnsFails => task.dns == DnsMode::Fresh,
            // A joiner that slept over it may get in before what is back has formed its claim, and is then
            // fenced: decision 0026 names that.
            Fault::Farewell { back: true, .. } if self.tasks.len() > 1 => false,
            Fault::Farewell { .. } => self.ends && self.may_say_farewell(i),
            Fault::Removed => {
                let voters = task.group.map_or(0, |g| self.groups[g].voters.len());
                task.disk.stamp.is_some() && voters > 1 && self.commits(i)
            }
        }
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Round(i) => self.round(i),
            Step::Act(i, how) => {
                if how != How::Answered {
                    self.budget -= 1;
                }
                self.act(i, how);
            }
            Step::Land(k) => {
                let (_, write) = self.store.late.remove(k);
                self.land(write, true);
            }
            Step::Tick => self.tick(),
            Step::Use => {
                self.used = true;
                if let Some(group) = self.served() {
                    self.groups[group].data = true;
                    self.groups[group].commit += 1;
                }
            }
            Step::Restore(i) => self.restore(i),
            Step::Hit(i, fault) => {
                self.budget -= 1;
                self.hit(i, fault);
            }
            Step::EmptyStore => {
                self.budget -= 1;
                let late = std::mem::take(&mut self.store.late);
                self.store = crate::world::Shared {
                    late,
                    ..Default::default()
                };
            }
            Step::Heal(i, ailment) => self.heal(i, ailment),
        }
        self.elect();
    }

    /// Observe and decide, with the planner that PID 1 runs.
    fn round(&mut self, i: usize) {
        self.beat(i);
        let seen = self.observe(i);
        let settings = self.settings(&self.tasks[i]);
        let sabotage = self.sabotage;
        let task = &mut self.tasks[i];
        let time = TICK * u32::from(task.since);
        // Who has no round in a tick sleeps.
        let passed = Passed { time, asleep: time };
        task.since = 0;
        let mut decision = planner::decide(&settings, &mut task.memory, passed, &seen);
        if sabotage == Sabotage::NoFence
            && matches!(decision.reason, planner::decision::Reason::Superseded(_))
        {
            decision.action = Action::Wait;
        }
        if sabotage == Sabotage::StartsAgain
            && matches!(decision.reason, planner::decision::Reason::Superseded(_))
            && !task.up
        {
            decision.action = Action::StartFounder;
        }
        task.turned = true;
        task.steady = (task.steady + 1).min(STEADY);
        task.state = match decision.state {
            State::Stuck if sabotage == Sabotage::NeverStuck => State::Member,
            state => state,
        };
        task.generation.clone_from(&decision.generation);
        task.probe_commit = decision.probe_commit;
        task.quorum_lost = decision.quorum_lost;
        task.plight = decision.plight.clone();
        task.said_commit = decision.commit;
        task.ready = decision.ready.is_ok();
        // That nothing comes of it is what the search is to find, not to excuse.
        decision
            .alarms
            .retain(|alarm| !matches!(alarm, Alarm::Adrift { .. }));
        task.alarms = Said(decision.alarms);
        let proven = seen
            .peers
            .values()
            .filter_map(|probe| match probe {
                Probe::Task {
                    proof: Some(formed),
                    ..
                } => Some(&formed.generation),
                _ => None,
            })
            .max_by_key(|id| id.number)
            .cloned();
        task.intent = (decision.action != Action::Wait).then_some(Intent {
            action: decision.action,
            proven,
            half: false,
        });
        if decision.renew_lease && self.may_write(i) {
            let task = &mut self.tasks[i];
            task.lease = (task.lease + 1) % 4;
            if let Some((claim, _)) = task.disk.stamp.as_ref().and_then(|s| s.claims()) {
                self.store.leases.insert(claim.number, task.lease);
            }
        }
    }

    /// The store is there, and no write of this task is without an answer.
    pub fn may_write(&self, i: usize) -> bool {
        let task = &self.tasks[i];
        task.store && self.store.late.iter().all(|(name, _)| *name != task.name)
    }

    fn beat(&mut self, i: usize) {
        let task = &mut self.tasks[i];
        // Two beats of one task are only ever compared with the one before.
        task.beat = (task.beat + 1) % 4;
        let member = Member {
            format: FORMAT,
            beat: task.beat,
            state: task.state,
            address: ip(task.address),
            generation: task.generation.clone(),
            aside: task.disk.aside,
            peer_id: task.disk.peer_id,
            zone: None,
            revision: None,
        };
        let id = task.id();
        if self.may_write(i) {
            self.store.members.insert(id, member);
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.ghosts.clear();
        for task in &mut self.tasks {
            task.turned = false;
            task.listed = !task.unlisted;
            task.since = (task.since + 1).min(LOSS_TIMEOUT * 2);
            if let Some(ticks) = &mut task.paused {
                *ticks = (*ticks + 1).min(LOSS_TIMEOUT * 2);
            }
        }
    }

    fn hit(&mut self, i: usize, fault: Fault) {
        let registry = self.registry();
        // Who sleeps has been seen before.
        if fault != Fault::Pause {
            self.tasks[i].shaken();
        }
        match fault {
            Fault::Crash { reuse } => {
                let address = reuse.then_some(self.tasks[i].address);
                if self.tasks[i].listed {
                    self.ghosts.insert(self.tasks[i].address);
                }
                self.tasks[i] = self.launch(address);
            }
            Fault::Restart => {
                let new = self.launch(None);
                let task = &mut self.tasks[i];
                *task = Task {
                    name: task.name,
                    address: task.address,
                    listed: task.listed,
                    store: task.store,
                    cut: task.cut,
                    unlisted: task.unlisted,
                    dns: task.dns.clone(),
                    group: task.group,
                    beat: task.beat,
                    commit: task.commit,
                    state: first_word(&task.disk),
                    generation: task.disk.stamp.as_ref().map(|s| s.generation.clone()),
                    disk: task.disk.clone(),
                    turned: task.turned,
                    ..new
                };
            }
            Fault::ChildDies => self.tasks[i].stop(),
            Fault::Pause => self.tasks[i].paused = Some(0),
            Fault::StoreOut => self.tasks[i].store = false,
            Fault::Cut => self.tasks[i].cut = true,
            Fault::Unlisted => {
                self.tasks[i].unlisted = true;
                self.tasks[i].listed = false;
            }
            Fault::DnsFrozen => self.tasks[i].dns = DnsMode::Frozen(registry),
            Fault::DnsFails => self.tasks[i].dns = DnsMode::Fails,
            Fault::Farewell { back, late } => self.farewell(i, back, late),
            Fault::Removed => {
                let task = &self.tasks[i];
                if let (Some(group), Some(id)) = (task.group, task.disk.peer_id) {
                    self.groups[group].voters.remove(&id);
                }
            }
        }
    }

    /// It is the only voter of a generation that serves and nobody contests, as `may_end` asks of it.
    fn may_say_farewell(&self, i: usize) -> bool {
        let task = &self.tasks[i];
        let (Some(group), Some(stamp)) = (task.group, &task.disk.stamp) else {
            return false;
        };
        let undisputed = stamp.regroup.is_none() && stamp.rejoin.is_none() && stamp.held.is_none();
        let store = self.store_view(task);
        let first = store.known().is_some_and(|store| {
            store.undecided().is_none()
                && store.formed().map(|formed| &formed.generation) == Some(&stamp.generation)
        });
        let alone = self.groups[group].voters.len() == 1 && self.commits(i);
        let serves = task.runs() && task.is_member() && self.is_whole(group) && !stamp.restore;
        undisputed && first && alone && serves && task.disk.collections && self.may_write(i)
    }

    fn farewell(&mut self, i: usize, back: bool, late: bool) {
        let sabotage = self.sabotage;
        let task = &mut self.tasks[i];
        let id = task.id();
        let (Some(stamp), Some(peer)) = (&mut task.disk.stamp, task.disk.peer_id) else {
            return;
        };
        let end = End {
            format: FORMAT,
            generation: stamp.generation.clone(),
            set: "20260228T190001Z".parse().expect("it is a name"),
            peer,
            task: id.clone(),
        };
        stamp.ended = (sabotage != Sabotage::Undead).then_some(end.set);
        task.stop();
        task.intent = None;
        self.store.sets = true;
        match late {
            // The process that waited for it is no more.
            true => self.store.late.push((0, Write::End(end))),
            false => self.land(Write::End(end), false),
        }
        self.store.members.remove(&id);
        self.hit(
            i,
            match back {
                true => Fault::Restart,
                false => Fault::Crash { reuse: false },
            },
        );
    }

    fn heal(&mut self, i: usize, ailment: Ailment) {
        let task = &mut self.tasks[i];
        match ailment {
            Ailment::Asleep => {
                task.paused = None;
                task.turned = false;
            }
            Ailment::NoStore => task.store = true,
            Ailment::CutOff => task.cut = false,
            Ailment::BadDns => task.dns = DnsMode::Fresh,
            Ailment::NotListed => task.unlisted = false,
        }
        task.shaken();
    }

    /// Clients are sent to the cluster.
    fn is_used(&self) -> bool {
        self.served().is_some_and(|group| self.is_whole(group))
    }

    /// Nothing is to be restored, or all was.
    pub fn is_whole(&self, group: usize) -> bool {
        matches!(
            self.groups[group].restore,
            Restore::Nothing | Restore::Finished(_)
        )
    }

    /// By the mark on its stamp, as a member and where consensus commits.
    pub fn may_restore(&self, i: usize) -> bool {
        let task = &self.tasks[i];
        let marked = task.disk.stamp.as_ref().is_some_and(|stamp| stamp.restore);
        task.group.is_some_and(|group| {
            marked
                && task.is_member()
                && task.leads
                && self.commits(i)
                && self.groups[group].proof.is_some()
                && !self.is_whole(group)
        })
    }

    fn restore(&mut self, i: usize) {
        let task = &self.tasks[i];
        let (Some(group), Some(stamp)) = (task.group, &task.disk.stamp) else {
            return;
        };
        let generation = stamp.generation.clone();
        let group = &mut self.groups[group];
        group.restore = match group.restore {
            Restore::Due(_) => Restore::Begun(generation),
            _ => Restore::Finished(generation),
        };
        group.data = true;
        group.commit += 1;
    }

    /// A group that takes writes and has told so.
    pub fn served(&self) -> Option<usize> {
        (0..self.groups.len()).find(|g| self.groups[*g].proof.is_some() && self.quorum(*g))
    }
}

/// What a task says before its first decision.
fn first_word(disk: &Disk) -> State {
    if *disk == Disk::EMPTY {
        State::Empty
    } else {
        State::HoldsData
    }
}

fn writes(action: &Action) -> bool {
    matches!(
        action,
        Action::Claim { .. }
            | Action::Regroup { .. }
            | Action::RepeatClaim
            | Action::Abandon { .. }
            | Action::Form
            | Action::Recreate(_)
    )
}

impl Task {
    pub fn ails(&self, ailment: Ailment) -> bool {
        match ailment {
            Ailment::Asleep => !self.awake(),
            Ailment::NoStore => !self.store,
            Ailment::CutOff => self.cut,
            Ailment::BadDns => self.dns != DnsMode::Fresh,
            Ailment::NotListed => self.unlisted,
        }
    }

    pub fn stop(&mut self) {
        self.up = false;
        self.leads = false;
    }

    /// It belongs to a formed generation.
    pub fn is_member(&self) -> bool {
        self.disk
            .stamp
            .as_ref()
            .is_some_and(|stamp| stamp.stage == Stage::Member)
    }
}
