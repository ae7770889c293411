//! The story of a run: spans of phases, milestones, leaders, generations; changes only.
//! Owns: what reports are drawn from. Must not: ask or judge.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::logs::Line;
use super::sample::{Generation, Sample, View};
use crate::timeline::{Kind, Timeline};

/// A task in one phase.
#[derive(Debug, Clone, Serialize)]
pub struct Span {
    /// Seconds since the start of the run.
    pub from: f64,
    /// End; the time of the last look while it lasts.
    pub to: f64,
    /// Phase name.
    pub phase: String,
    /// Every reason given meanwhile, in order.
    pub reasons: Vec<String>,
    /// Its generation in that phase.
    pub generation: Option<u64>,
}

/// First times, in seconds since the start of the run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Milestones {
    /// First answer of the control port.
    pub answered: Option<f64>,
    /// Its Qdrant answers.
    pub qdrant: Option<f64>,
    /// A voter of a formed generation.
    pub voter: Option<f64>,
    /// Ready for the load balancer.
    pub ready: Option<f64>,
    /// Seen without a process.
    pub gone: Option<f64>,
}

/// What is remembered of one task.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TaskStory {
    /// Its zone letter.
    pub zone: String,
    /// Its address.
    pub address: String,
    /// Phases in order.
    pub spans: Vec<Span>,
    /// First times.
    pub milestones: Milestones,
    /// Its Qdrant's peer id.
    pub peer_id: Option<u64>,
}

/// A leader seen by most, or a generation that serves, from a time on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark<T> {
    /// Seconds since the start of the run.
    pub at: f64,
    /// What it is.
    pub what: T,
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Story {
    /// By task number.
    pub tasks: BTreeMap<usize, TaskStory>,
    /// Changes of the leader: task number, or none.
    pub leaders: Vec<Mark<Option<usize>>>,
    /// Changes of the set of generations that serve.
    pub generations: Vec<Mark<Vec<Generation>>>,
    /// Changes of the number of voters.
    pub voters: Vec<Mark<usize>>,
    /// Changes of the number of ready tasks.
    pub ready: Vec<Mark<usize>>,
    /// How often each event was logged, by level.
    pub events: BTreeMap<String, BTreeMap<String, usize>>,
    /// Time of the last look.
    pub end: f64,
    /// How many looks there were.
    pub looks: usize,
}

impl Story {
    /// Adds one sample and the log lines that came with it, and tells the timeline what is new.
    pub fn add(&mut self, sample: &Sample, lines: &[Line], timeline: &Timeline) {
        self.looks += 1;
        self.end = sample.at;
        let mut changes: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for view in &sample.views {
            if let Some(change) = self.view(sample.at, view) {
                changes.entry(change).or_default().push(view.task);
            }
        }
        for ((phase, reason), tasks) in changes {
            let text = if reason.is_empty() {
                phase
            } else {
                format!("{phase}: {reason}")
            };
            timeline.push(Kind::Phase, &tasks, text);
        }
        self.cluster(sample, timeline);
        for line in lines {
            let level = self.events.entry(line.level.clone()).or_default();
            *level.entry(line.event.clone()).or_default() += 1;
        }
    }

    fn view(&mut self, at: f64, view: &View) -> Option<(String, String)> {
        let story = self.tasks.entry(view.task).or_default();
        if story.address.is_empty() {
            story.zone.clone_from(&view.zone);
            story.address.clone_from(&view.address);
        }
        let first = |slot: &mut Option<f64>, now: bool| {
            if now && slot.is_none() {
                *slot = Some(at);
            }
        };
        first(&mut story.milestones.answered, view.status.is_some());
        first(&mut story.milestones.qdrant, view.raft.is_some());
        first(&mut story.milestones.voter, view.votes());
        first(&mut story.milestones.ready, view.ready());
        first(&mut story.milestones.gone, !view.running);
        if let Some(raft) = &view.raft {
            story.peer_id = Some(raft.peer_id);
        }
        let phase = view.phase();
        let reason = view
            .status
            .as_ref()
            .map_or("", |status| status.reason.as_str());
        let generation = view
            .status
            .as_ref()
            .and_then(|status| Some(status.generation.as_ref()?.number));
        if let Some(last) = story.spans.last_mut() {
            last.to = at;
            if last.phase == phase {
                last.generation = generation.or(last.generation);
                if reason.is_empty() || last.reasons.last().is_some_and(|known| known == reason) {
                    return None;
                }
                let known = last.reasons.iter().any(|known| known == reason);
                last.reasons.push(reason.into());
                // Reasons may alternate for long; each is worth one line.
                return (!known).then(|| (phase.to_owned(), reason.to_owned()));
            }
        }
        story.spans.push(Span {
            from: at,
            to: at,
            phase: phase.into(),
            reasons: if reason.is_empty() {
                Vec::new()
            } else {
                vec![reason.into()]
            },
            generation,
        });
        (phase != "gone").then(|| (phase.to_owned(), reason.to_owned()))
    }

    fn cluster(&mut self, sample: &Sample, timeline: &Timeline) {
        let serving: BTreeSet<Generation> = sample
            .running()
            .filter(|view| view.serves())
            .filter_map(|view| view.formed.clone())
            .collect();
        let serving: Vec<Generation> = serving.into_iter().collect();
        if mark(&mut self.generations, sample.at, serving.clone()) {
            let names: Vec<String> = serving
                .iter()
                .map(|generation| {
                    let short: String = generation.token.chars().take(8).collect();
                    format!("{} ({short})", generation.number)
                })
                .collect();
            let text = match names.is_empty() {
                true => "no generation serves".to_owned(),
                false => format!("generation {} serves", names.join(" and ")),
            };
            timeline.push(Kind::Cluster, &[], text);
        }
        let leader = leader(sample);
        if mark(&mut self.leaders, sample.at, leader) {
            match leader {
                Some(task) => timeline.push(Kind::Cluster, &[task], "leads"),
                None => timeline.push(Kind::Cluster, &[], "nobody leads"),
            }
        }
        let voters = sample.running().filter(|view| view.votes()).count();
        let ready = sample.running().filter(|view| view.ready()).count();
        let changed = mark(&mut self.voters, sample.at, voters);
        if mark(&mut self.ready, sample.at, ready) | changed {
            timeline.push(
                Kind::Cluster,
                &[],
                format!("{voters} voters, {ready} ready"),
            );
        }
    }
}

fn mark<T: PartialEq + Default>(marks: &mut Vec<Mark<T>>, at: f64, what: T) -> bool {
    let same = marks
        .last()
        .map_or(what == T::default(), |last| last.what == what);
    if !same {
        marks.push(Mark { at, what });
    }
    !same
}

/// The running task that most running Qdrants name as their leader.
pub fn leader(sample: &Sample) -> Option<usize> {
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    for raft in sample
        .running()
        .filter(|view| !view.paused)
        .filter_map(|view| view.raft.as_ref())
    {
        if let Some(leader) = raft.leader {
            *votes.entry(leader).or_default() += 1;
        }
    }
    let (peer, _) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let is = |view: &&View| view.raft.as_ref().is_some_and(|raft| raft.peer_id == peer);
    sample.running().find(is).map(|view| view.task)
}
