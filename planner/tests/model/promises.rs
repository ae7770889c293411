//! What must hold in every state, and what must come of every state once nothing disturbs it.

use planner::decision::Alarm;
use planner::records::Outcome;

use crate::steps::{AILMENTS, How, Step};
use crate::world::{STEADY, Task, World};

/// Ticks of fair weather after which the world must be at rest.
const PATIENCE: u8 = 60;

/// The alarm says what keeps a cluster from being served, so that a person can do something about it.
/// That something goes on does not.
fn names(alarm: &Alarm) -> bool {
    match alarm {
        Alarm::Regrouping { .. } | Alarm::ClusterLost { .. } | Alarm::Adrift { .. } => false,
        Alarm::QuorumLost { next, .. } => next.contains("cannot go on by themselves: "),
        _ => true,
    }
}

impl World {
    /// No promise is broken in this state.
    pub fn is_sound(&self) -> Result<(), String> {
        if let Some(what) = self.broken {
            return Err(what.to_owned());
        }
        if self.two_serve() {
            return Err("two generations serve".to_owned());
        }
        for (i, task) in self.tasks.iter().enumerate() {
            let stamp = task.disk.stamp.as_ref().filter(|s| s.regroup.is_none());
            let ended = stamp.is_some_and(|stamp| {
                let end = self.store.ends.get(&stamp.generation.number);
                end.is_some_and(|end| {
                    end.generation == stamp.generation && Some(end.peer) == task.disk.peer_id
                })
            });
            if ended && task.runs() && task.is_member() && self.commits(i) {
                return Err(
                    "a peer runs on in the generation of which it has said the last word"
                        .to_owned(),
                );
            }
        }
        for task in &self.tasks {
            let Some(group) = task.group.filter(|group| !self.is_whole(*group)) else {
                continue;
            };
            if task.ready && task.runs() {
                return Err("a task serves what is not restored yet".to_owned());
            }
            let told = self.groups[group].proof.as_ref();
            let stamp = task.disk.stamp.as_ref();
            let (Some(told), Some(stamp)) = (told, stamp) else {
                continue;
            };
            if stamp.generation == told.generation && !stamp.restore {
                return Err("a member does not know of the restore".to_owned());
            }
        }
        Ok(())
    }

    /// Two groups that have told their generation take writes, and in the older one somebody goes on
    /// who could have known of the newer one for rounds: by the store, or by asking it.
    fn two_serve(&self) -> bool {
        let serving: Vec<(u64, usize)> = (0..self.groups.len())
            .filter(|g| self.quorum(*g))
            .filter_map(|g| Some((self.groups[g].proof.as_ref()?.generation.number, g)))
            .collect();
        let undisturbed = |group: usize| {
            self.tasks.iter().enumerate().filter_map(move |(i, task)| {
                let goes_on = task.group == Some(group)
                    && self.commits(i)
                    && task.steady >= STEADY
                    && task.intent.is_none();
                goes_on.then_some(task)
            })
        };
        serving.iter().any(|(n, old)| {
            serving.iter().any(|(m, new)| {
                old != new
                    && n <= m
                    && undisturbed(*old)
                        .any(|a| undisturbed(*new).any(|b| (a.store && b.store) || a.reaches(b)))
            })
        })
    }

    /// After any past, with no further fault: a serving cluster of everybody, or an alarm.
    pub fn comes_to_rest(&self) -> Result<(), String> {
        let mut world = self.clone();
        world.budget = 0;
        while !world.store.late.is_empty() {
            world.take(Step::Land(0));
        }
        for i in 0..world.tasks.len() {
            for ailment in AILMENTS.into_iter().filter(|a| self.tasks[i].ails(*a)) {
                world.take(Step::Heal(i, ailment));
            }
        }
        let world = world.run_on()?;
        if world.at_rest() {
            return Ok(());
        }
        world
            .is_excused()
            .map_err(|why| format!("{why}: {}", world.story()))
    }

    /// Rounds in fair weather until everybody is a member of one cluster.
    pub fn rested(self) -> Result<World, String> {
        let world = self.run_on()?;
        match world.at_rest() {
            true => Ok(world),
            false => Err(format!("not at rest: {}", world.story())),
        }
    }

    /// Rounds without a fault until nothing is left to do, or patience is over.
    fn run_on(self) -> Result<World, String> {
        self.fair(PATIENCE)
    }

    /// So many ticks without a fault, fewer when nothing is left to do.
    pub fn fair(mut self, ticks: u8) -> Result<World, String> {
        for _ in 0..ticks {
            for i in 0..self.tasks.len() {
                for _ in 0..2 {
                    while self.tasks[i].intent.is_some() {
                        self.take(Step::Act(i, How::Answered));
                    }
                    if !self.tasks[i].turned {
                        self.take(Step::Round(i));
                    }
                }
                if self.may_restore(i) {
                    self.take(Step::Restore(i));
                }
            }
            self.is_sound().map_err(|why| {
                format!("{why}, in fair weather:{}\n  before that:", self.story())
            })?;
            if self.at_rest() {
                break;
            }
            self.take(Step::Tick);
        }
        Ok(self)
    }

    /// Whoever is not where it should be calls for a person, and where nobody is served somebody
    /// names what is missing; nobody says that a quorum is lost which could still be had.
    fn is_excused(&self) -> Result<(), String> {
        let served = self.served();
        let calls = |task: &Task| task.alarms.0.iter().any(names);
        let in_place = |task: &Task| task.group == served && task.runs() && task.is_member();
        let excused = match served {
            Some(_) => self.tasks.iter().all(|task| in_place(task) || calls(task)),
            None => self.tasks.iter().any(calls),
        };
        if !excused {
            return Err("no cluster and no alarm".to_owned());
        }
        for (g, group) in self.groups.iter().enumerate() {
            let holders = self.tasks.iter().filter(|task| {
                task.group == Some(g)
                    && task
                        .disk
                        .peer_id
                        .is_some_and(|id| group.voters.contains_key(&id))
            });
            let could = holders.count() * 2 > group.voters.len();
            let said = self.tasks.iter().any(|task| {
                task.group == Some(g)
                    && task
                        .alarms
                        .0
                        .iter()
                        .any(|a| matches!(a, Alarm::QuorumLost { .. }))
            });
            if said && could {
                return Err("a quorum was thrown away".to_owned());
            }
        }
        Ok(())
    }

    /// Everybody is a member of one group that serves, and nothing is left to do.
    fn at_rest(&self) -> bool {
        let Some(group) = self.served() else {
            return false;
        };
        self.tasks
            .iter()
            .all(|task| task.group == Some(group) && task.runs() && task.is_member())
            && self.is_whole(group)
    }

    /// One line per task, for people.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for task in &self.tasks {
            let stamp = task.disk.stamp.as_ref();
            story += &format!(
                "\n  task {} at {}: says {:?}, disk {}, group {:?}, up {}, collections {}, aside {}, steady {}, silence {:?} ({:?}), no commit {:?}, alarms {:?}",
                task.name,
                task.address,
                task.state,
                stamp.map_or_else(
                    || "empty".to_owned(),
                    |s| format!("{:?} of {}", s.stage, s.generation)
                ),
                task.group,
                task.up,
                task.disk.collections,
                task.disk.aside,
                task.steady,
                task.memory.silence.lasted(),
                task.memory.silence.hindrance(),
                task.memory.no_commit,
                task.alarms.0,
            );
        }
        for (number, claim) in &self.store.claims {
            let outcome = match self.store.outcomes.get(number) {
                None => "open".to_owned(),
                Some(Outcome::Formed(formed)) => format!("formed {}", formed.generation),
                Some(Outcome::Abandoned { .. }) => "abandoned".to_owned(),
            };
            story += &format!("\n  claim {number} ({}): {outcome}", claim.token);
        }
        for (g, group) in self.groups.iter().enumerate() {
            story += &format!(
                "\n  group {g}: voters {:?}, told {}, serves {}",
                group.voters.values().collect::<Vec<_>>(),
                group
                    .proof
                    .as_ref()
                    .map_or_else(|| "nothing".to_owned(), |p| p.generation.to_string()),
                self.quorum(g),
            );
        }
        story
    }
}
