//! What must hold in every state, and what must come of every state once nothing disturbs it.

use planner::records::Outcome;

use crate::steps::{How, Step};
use crate::world::{STEADY, World};

/// Ticks of fair weather after which the world must be at rest.
const PATIENCE: u8 = 60;

impl World {
    /// No promise is broken in this state.
    pub fn is_sound(&self) -> Result<(), String> {
        if let Some(what) = self.broken {
            return Err(what.to_owned());
        }
        if self.two_serve() {
            return Err("two generations serve".to_owned());
        }
        Ok(())
    }

    /// Two groups that have told their generation take writes, and in each somebody who could
    /// have known for rounds goes on.
    fn two_serve(&self) -> bool {
        let serving = (0..self.groups.len())
            .filter(|g| self.groups[*g].proof.is_some() && self.quorum(*g))
            .filter(|g| {
                (0..self.tasks.len()).any(|i| {
                    let task = &self.tasks[i];
                    task.group == Some(*g)
                        && self.commits(i)
                        && task.steady >= STEADY
                        && task.intent.is_none()
                        && (task.store || !task.cut)
                })
            })
            .count();
        serving > 1
    }

    /// After any past, with no further fault: a serving cluster of everybody, or an alarm.
    pub fn comes_to_rest(&self) -> Result<(), String> {
        let mut world = self.clone();
        world.budget = 0;
        while !world.store.late.is_empty() {
            world.take(Step::Land(0));
        }
        for i in 0..world.tasks.len() {
            world.take(Step::Heal(i));
        }
        // Alarms that were raised before may have been answered by now.
        world.tasks.iter_mut().for_each(|task| task.alarmed = false);
        for _ in 0..PATIENCE {
            for i in 0..world.tasks.len() {
                for _ in 0..2 {
                    while world.tasks[i].intent.is_some() {
                        world.take(Step::Act(i, How::Answered));
                    }
                    if !world.tasks[i].turned {
                        world.take(Step::Round(i));
                    }
                }
            }
            world.is_sound()?;
            if world.at_rest() {
                return Ok(());
            }
            world.take(Step::Tick);
        }
        match world.tasks.iter().any(|task| task.alarmed) {
            true => Ok(()),
            false => Err(format!("no cluster and no alarm: {}", world.story())),
        }
    }

    /// Everybody is a member of one group that serves, and nothing is left to do.
    fn at_rest(&self) -> bool {
        let Some(group) = self.served() else {
            return false;
        };
        self.tasks
            .iter()
            .all(|task| task.group == Some(group) && task.runs() && task.is_member())
    }

    /// One line per task, for people.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for task in &self.tasks {
            let stamp = task.disk.stamp.as_ref();
            story += &format!(
                "\n  task {} at {}: says {:?}, disk {}, group {:?}, up {}, collections {}, aside {}, steady {}, silence {:?} ({:?}), no commit {:?}",
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
