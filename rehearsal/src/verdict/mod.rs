//! The invariants, checked on every sample and at rest.
//! Owns: what counts as broken. Must not: ask, wait or print anything but violations.

pub mod contents;
pub mod copies;
pub mod healed;
#[cfg(test)]
mod healed_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Serialize;

use crate::lock;
use crate::observe::logs::Line;
use crate::observe::sample::Sample;
use crate::timeline::{Kind, Timeline};

/// A broken invariant, or a rehearsal that could not go on.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Failure {
    /// Short stable name.
    pub invariant: String,
    /// What was seen.
    pub detail: String,
}

impl Failure {
    /// Makes one.
    pub fn new(invariant: &str, detail: impl Into<String>) -> Self {
        Self {
            invariant: invariant.into(),
            detail: detail.into(),
        }
    }
}

/// The invariant's name when a scenario came too late for the moment it wanted to hit.
const MISSED: &str = "the moment was hit";

impl Failure {
    /// The scenario came too late; the case is tried again.
    pub fn missed(moment: &str) -> Self {
        Self::new(MISSED, format!("{moment} had passed"))
    }

    /// Whether the case deserves another try.
    pub fn is_missed(&self) -> bool {
        self.invariant == MISSED
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new("the rehearsal itself could not go on", format!("{error:#}"))
    }
}

/// What a scenario permits beyond the ordinary.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Parts of reasons for which a task may be `blocked`.
    pub blocked: Vec<&'static str>,
    /// Events that may be logged at WARN or ERROR; a trailing `*` stands for any ending.
    pub events: Vec<&'static str>,
    /// For so many seconds somebody who wakes may still call itself a member of a generation that
    /// has ended.
    pub overlap: f64,
}

/// Events that any scenario may log at WARN: they report what every scenario does on purpose.
const EVERYWHERE: &[&str] = &[
    // Faster times than production's are what a rehearsal is.
    "entrypoint.warning",
    // A join that came too early ends Qdrant with 101 and is tried again.
    "qdrant.exited",
    "join.failed",
];

/// The alarm after three loss time-outs outside of a working cluster. These are far shorter here than
/// in production, and how long a wait may last is judged by the bounds of each scenario.
const ADRIFT: &str = "has not belonged to a working cluster for";

/// Keeps what was broken.
#[derive(Debug)]
pub struct Judge {
    allowed: Allowed,
    broken: Mutex<Vec<Failure>>,
    /// Since when two generations serve.
    overlapping: Mutex<Option<f64>>,
    excused: Mutex<BTreeMap<String, usize>>,
}

impl Judge {
    /// Judges by what the scenario permits.
    pub fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            broken: Mutex::default(),
            overlapping: Mutex::default(),
            excused: Mutex::default(),
        }
    }

    /// Everything broken so far, first things first, each once.
    pub fn broken(&self) -> Vec<Failure> {
        lock(&self.broken).clone()
    }

    /// Allowed WARN and ERROR lines and how often they came.
    pub fn excused(&self) -> BTreeMap<String, usize> {
        lock(&self.excused).clone()
    }

    /// Records a failure once.
    pub fn fail(&self, failure: Failure, tasks: &[usize], timeline: &Timeline) {
        let mut broken = lock(&self.broken);
        if broken
            .iter()
            .all(|known| known.invariant != failure.invariant)
        {
            timeline.push(Kind::Violation, tasks, failure.to_string());
            broken.push(failure);
        }
    }

    /// What must hold in every sample.
    pub fn sample(&self, sample: &Sample, timeline: &Timeline) {
        let mut since = lock(&self.overlapping);
        match one_generation(sample) {
            Some((failure, tasks)) => {
                if sample.at - *since.get_or_insert(sample.at) >= self.allowed.overlap {
                    self.fail(failure, &tasks, timeline);
                }
            }
            None => *since = None,
        }
        drop(since);
        for view in sample.running() {
            let Some(status) = view
                .status
                .as_ref()
                .filter(|status| status.phase == "blocked")
            else {
                continue;
            };
            if !self
                .allowed
                .blocked
                .iter()
                .any(|part| status.reason.contains(part))
            {
                let detail = format!("t{}: {}", view.task, status.reason);
                self.fail(
                    Failure::new("nobody is blocked", detail),
                    &[view.task],
                    timeline,
                );
            }
        }
    }

    /// What must hold for log lines.
    pub fn lines(&self, lines: &[Line], timeline: &Timeline) {
        for line in lines
            .iter()
            .filter(|line| line.level == "WARN" || line.level == "ERROR")
        {
            let listed = EVERYWHERE
                .iter()
                .chain(&self.allowed.events)
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => line.event.starts_with(start),
                    None => line.event == *pattern,
                });
            if listed || line.text.contains(ADRIFT) {
                *lock(&self.excused).entry(line.event.clone()).or_default() += 1;
                continue;
            }
            let text: String = line.text.chars().take(300).collect();
            timeline.push(
                Kind::Log,
                &[line.task],
                format!("{} {}", line.level, line.event),
            );
            let invariant = format!("no unlisted {} line", line.level);
            let detail = format!("t{} logged {}: {text}", line.task, line.event);
            self.fail(Failure::new(&invariant, detail), &[line.task], timeline);
        }
    }
}

/// At every moment at most one generation serves: among tasks that call themselves member or
/// ready, and whose Qdrant answers as a member, there is one token.
fn one_generation(sample: &Sample) -> Option<(Failure, Vec<usize>)> {
    let mut tokens: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for view in sample
        .running()
        .filter(|view| view.serves() && view.votes())
    {
        if let Some(formed) = &view.formed {
            tokens.entry(formed).or_default().push(view.task);
        }
    }
    if tokens.len() < 2 {
        return None;
    }
    let names: Vec<String> = tokens
        .iter()
        .map(|(generation, tasks)| {
            format!(
                "generation {} token {} at {tasks:?}",
                generation.number, generation.token
            )
        })
        .collect();
    let failure = Failure::new("one generation serves", names.join(", "));
    Some((failure, tokens.into_values().flatten().collect()))
}

/// Whether `members` tasks are at rest as one cluster; the reason when they are not.
///
/// # Errors
/// The first thing that is missing, with the state of every task.
pub fn at_rest(sample: &Sample, members: usize) -> Result<(), String> {
    let views: Vec<_> = sample.running().filter(|view| !view.paused).collect();
    let wrong = |what: String| Err(format!("{what} [{}]", sample.describe()));
    if views.len() != members {
        return wrong(format!("{} tasks run, {members} wanted", views.len()));
    }
    let mut tokens = BTreeSet::new();
    let mut books = BTreeSet::new();
    let mut leaders = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for view in &views {
        if view.phase() != "member" {
            return wrong(format!("t{} is {}", view.task, view.phase()));
        }
        if !view.votes() {
            return wrong(format!("t{} is no voter of a formed generation", view.task));
        }
        if !view.ready() {
            return wrong(format!("t{} is not ready", view.task));
        }
        let (Some(raft), Some(formed)) = (&view.raft, &view.formed) else {
            return wrong(format!("the Qdrant of t{} does not answer", view.task));
        };
        let Some(leader) = raft.leader else {
            return wrong(format!("t{} knows no leader", view.task));
        };
        let own = format!("//{}:", view.address);
        if !raft
            .peers
            .get(&raft.peer_id)
            .is_some_and(|uri| uri.contains(&own))
        {
            return wrong(format!(
                "t{} is not listed under its own address",
                view.task
            ));
        }
        let said = view
            .status
            .as_ref()
            .and_then(|status| status.generation.as_ref());
        if said != Some(formed) {
            return wrong(format!(
                "t{} says another generation than its key map",
                view.task
            ));
        }
        tokens.insert(formed);
        books.insert(&raft.peers);
        leaders.insert(leader);
        ids.insert(raft.peer_id);
    }
    if tokens.len() > 1 || books.len() > 1 || leaders.len() > 1 || ids.len() != views.len() {
        return wrong(format!(
            "{} tokens, {} sets of peers, {} leaders, {} peer ids",
            tokens.len(),
            books.len(),
            leaders.len(),
            ids.len()
        ));
    }
    if !leaders.iter().all(|leader| ids.contains(leader)) {
        return wrong("the leader is no running task".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::sample::{Generation, Raft, Status, View};

    fn member(task: usize, token: &str) -> View {
        let generation = Generation {
            number: 1,
            token: token.into(),
        };
        let uri = |task: u64| format!("http://127.64.16.{task}:6335/");
        let peers = [(1, uri(1)), (2, uri(2))].into();
        View {
            task,
            address: format!("127.64.16.{task}"),
            running: true,
            status: Some(Status {
                phase: "member".into(),
                ready: true,
                generation: Some(generation.clone()),
                ..Status::default()
            }),
            raft: Some(Raft {
                peer_id: task as u64,
                peers,
                leader: Some(1),
                is_voter: true,
                ..Raft::default()
            }),
            formed: Some(generation),
            ..View::default()
        }
    }

    #[test]
    fn two_tokens_that_serve_are_a_violation_at_once() {
        let timeline = Timeline::new(true);
        let judge = Judge::new(Allowed::default());
        let views = vec![member(1, "a"), member(2, "b")];
        judge.sample(
            &Sample {
                at: 0.0,
                views: views.clone(),
            },
            &timeline,
        );
        assert_eq!(judge.broken()[0].invariant, "one generation serves");

        // A task that does not call itself member serves nobody.
        let judge = Judge::new(Allowed::default());
        let mut fenced = views;
        fenced[1].status = Some(Status {
            phase: "fenced".into(),
            ..Status::default()
        });
        judge.sample(
            &Sample {
                at: 0.0,
                views: fenced,
            },
            &timeline,
        );
        assert_eq!(judge.broken(), []);
    }

    #[test]
    fn rest_needs_one_cluster() {
        let good = vec![member(1, "a"), member(2, "a")];
        assert_eq!(
            at_rest(
                &Sample {
                    at: 0.0,
                    views: good.clone()
                },
                2
            ),
            Ok(())
        );
        let spoil = |change: fn(&mut View)| {
            let mut views = good.clone();
            change(&mut views[1]);
            at_rest(&Sample { at: 0.0, views }, 2).unwrap_err()
        };
        assert!(spoil(|view| view.running = false).contains("1 tasks run, 2 wanted"));
        assert!(spoil(|view| view.raft.as_mut().unwrap().is_voter = false).contains("no voter"));
        assert!(spoil(|view| view.raft.as_mut().unwrap().leader = Some(2)).contains("2 leaders"));
        let other = spoil(|view| {
            view.raft.as_mut().unwrap().peers.remove(&1);
        });
        assert!(other.contains("2 sets of peers"), "{other}");
        let key = spoil(|view| view.formed.as_mut().unwrap().token = "x".into());
        assert!(key.contains("another generation"), "{key}");
    }

    #[test]
    fn unlisted_warnings_are_violations() {
        let timeline = Timeline::new(true);
        let judge = Judge::new(Allowed {
            events: vec!["store.*"],
            ..Allowed::default()
        });
        let line = |event: &str, level: &str| Line {
            task: 1,
            level: level.into(),
            event: event.into(),
            timestamp: String::new(),
            text: String::new(),
        };
        judge.lines(
            &[line("store.slow", "WARN"), line("other", "INFO")],
            &timeline,
        );
        assert_eq!(judge.broken(), []);
        judge.lines(&[line("other", "ERROR")], &timeline);
        assert_eq!(judge.broken()[0].invariant, "no unlisted ERROR line");
    }
}
