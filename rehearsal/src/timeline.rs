//! What happened, in order, and the live print of it.
//! Owns: the list of events and how a line looks. Must not: decide anything.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use crate::lock;

/// The kinds of events; each has its own colour and mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What the scenario is about to show.
    Step,
    /// The scheduler started, replaced or scaled something.
    Ecs,
    /// Something bad was done on purpose.
    Fault,
    /// A task changed its phase.
    Phase,
    /// A generation, a leader or a membership changed.
    Cluster,
    /// A task wrote a warning or an error.
    Log,
    /// An invariant was broken.
    Violation,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Seconds since the start of the run.
    pub at: f64,
    /// Its kind.
    pub kind: Kind,
    /// Tasks that it concerns, by number.
    pub tasks: Vec<usize>,
    /// One line.
    pub text: String,
}

/// The list of one run.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    events: Mutex<Vec<Event>>,
    quiet: bool,
    colour: bool,
}

impl Timeline {
    /// Begins now. `quiet` prints nothing.
    pub fn new(quiet: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            start: Instant::now(),
            events: Mutex::default(),
            quiet,
            colour,
        }
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// The given moment in seconds since the start; 0 for anything earlier.
    pub fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    /// Adds one event and prints it.
    pub fn push(&self, kind: Kind, tasks: &[usize], text: impl Into<String>) {
        let event = Event {
            at: self.now(),
            kind,
            tasks: tasks.to_vec(),
            text: text.into(),
        };
        if !self.quiet {
            self.print(&event);
        }
        lock(&self.events).push(event);
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    fn print(&self, event: &Event) {
        let mut names: Vec<String> = event.tasks.iter().map(|task| format!("t{task}")).collect();
        if names.len() > 8 {
            let more = names.len() - 7;
            names.truncate(7);
            names.push(format!("+{more}"));
        }
        let (mark, colour) = match event.kind {
            Kind::Step => ("──", "1"),
            Kind::Ecs => ("ecs", "36"),
            Kind::Fault => ("⚡", "1;33"),
            Kind::Phase => ("·", "0"),
            Kind::Cluster => ("●", "32"),
            Kind::Log => ("log", "35"),
            Kind::Violation => ("✗", "1;31"),
        };
        let who = names.join(" ");
        let line = format!("{:>8.2}s  {mark:<3} {who:<18} {}", event.at, event.text);
        let mut out = std::io::stdout().lock();
        // A closed pipe must not end a rehearsal that has children to stop.
        let _ = if self.colour {
            writeln!(out, "\x1b[{colour}m{line}\x1b[0m")
        } else {
            writeln!(out, "{}", line.trim_end())
        };
    }
}
