//! Figures of a case, from its story.
//! Owns: the arithmetic. Must not: ask anybody.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::observe::story::Story;
use crate::world::World;
use crate::world::heal::HealFigures;

/// Figures of one case; times in seconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// First launch until every task of the first formation is a voter.
    pub all_voters_s: Option<f64>,
    /// First launch until every task of the first formation is ready.
    pub all_ready_s: Option<f64>,
    /// Tasks that were launched after the first formation was complete.
    pub replacements: Vec<Replacement>,
    /// When each task was launched, since the start of the run.
    pub launched_s: BTreeMap<usize, f64>,
    /// How each task ended.
    pub exits: BTreeMap<usize, String>,
    /// Generations with a formed record.
    pub formed: Vec<u64>,
    /// What healing took, in cases about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healing: Option<HealFigures>,
    /// How long the case took.
    pub took_s: f64,
    /// How many samples were judged.
    pub samples: usize,
}

/// One replacement.
#[derive(Debug, Clone, Serialize)]
pub struct Replacement {
    /// Task number.
    pub task: usize,
    /// From its launch to its vote.
    pub voter_s: f64,
    /// From its launch to readiness.
    pub ready_s: Option<f64>,
}

/// Figures of a world that has ended.
pub fn figures(world: &World, story: &Story) -> Figures {
    let tasks = world.ecs.tasks();
    let launched: BTreeMap<usize, f64> = tasks
        .iter()
        .map(|task| (task.number, world.timeline.seconds(task.launched)))
        .collect();
    let exits = tasks
        .iter()
        .filter_map(|task| Some((task.number, task.ended()?.to_string())));
    let begin = launched.values().copied().fold(f64::INFINITY, f64::min);
    let reach = |marks: &[crate::observe::story::Mark<usize>]| {
        let found = marks.iter().find(|mark| mark.what >= world.size())?;
        Some(found.at - begin)
    };
    let all_voters_s = reach(&story.voters);
    let complete = all_voters_s.map_or(f64::INFINITY, |seconds| begin + seconds);
    let replacement = |(number, at): (&usize, &f64)| {
        let milestones = &story.tasks.get(number)?.milestones;
        let ready_s = milestones.ready.map(|ready| ready - at);
        let voter_s = milestones.voter? - at;
        (*at > complete).then_some(Replacement {
            task: *number,
            voter_s,
            ready_s,
        })
    };
    Figures {
        all_voters_s,
        all_ready_s: reach(&story.ready),
        replacements: launched.iter().filter_map(replacement).collect(),
        exits: exits.collect(),
        formed: world.efs.all_formed(),
        healing: world.healing.figures(),
        took_s: story.end,
        samples: story.looks,
        launched_s: launched,
    }
}

/// Median and extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Smallest.
    pub min: f64,
    /// Middle.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` when there is none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) {
            *values.get(middle - 1)?
        } else {
            upper
        };
        Some(Self {
            count: values.len(),
            min,
            median: f64::midpoint(lower, upper),
            max,
        })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            1 => write!(f, "{:.2} s", self.median),
            n => write!(
                f,
                "median {:.2} s, worst {:.2} s, best {:.2} s ({n} times)",
                self.median, self.max, self.min
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Spread::of(vec![]), None);
        let odd = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
    }
}
