//! What was seen of every task at one moment.
//! Owns: the types of a sample. Must not: judge or ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The entrypoint's own account of itself (`/v1/status`), as far as we look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Phase name.
    pub phase: String,
    /// Why it is in that phase.
    pub reason: String,
    /// Its generation.
    pub generation: Option<Generation>,
    /// Whether it calls itself ready for the load balancer.
    pub ready: bool,
    /// Why, or why not.
    pub ready_reason: String,
    /// What a person should look at.
    pub alarms: Vec<String>,
    /// What its restore does.
    pub restore: String,
}

/// A generation with its token.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Generation {
    /// 1, 2, …
    pub number: u64,
    /// Random token.
    pub token: String,
}

/// Qdrant's account (`GET /cluster`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Raft {
    /// Its peer id.
    pub peer_id: u64,
    /// Everybody it knows: id and uri.
    pub peers: BTreeMap<u64, String>,
    /// The leader it follows; `None` for `null` and 0.
    pub leader: Option<u64>,
    /// Whether it votes.
    pub is_voter: bool,
    /// Newest committed entry.
    pub commit: u64,
    /// Raft term.
    pub term: u64,
}

/// One task at one moment. `None` = it did not answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct View {
    /// Task number.
    pub task: usize,
    /// ECS task id.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// Zone letter.
    pub zone: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether the scenario has paused it.
    pub paused: bool,
    /// The entrypoint.
    pub status: Option<Status>,
    /// Its Qdrant.
    pub raft: Option<Raft>,
    /// The formed generation in its key map.
    pub formed: Option<Generation>,
}

impl View {
    /// The phase, `silent` when it did not answer, `gone` when there is no process.
    pub fn phase(&self) -> &str {
        match (&self.status, self.running, self.paused) {
            (_, false, _) => "gone",
            (_, _, true) => "paused",
            (Some(status), ..) => &status.phase,
            (None, ..) => "silent",
        }
    }

    /// Whether it calls itself member or ready.
    pub fn serves(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|status| status.phase == "member" || status.ready)
    }

    /// Whether its Qdrant is a voter of a formed generation.
    pub fn votes(&self) -> bool {
        self.formed.is_some() && self.raft.as_ref().is_some_and(|raft| raft.is_voter)
    }

    /// Whether it calls itself ready.
    pub fn ready(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.ready)
    }
}

/// All tasks at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// Seconds since the start of the run, when the questions were sent.
    pub at: f64,
    /// Every task there ever was, oldest first.
    pub views: Vec<View>,
}

impl Sample {
    /// Tasks whose process runs.
    pub fn running(&self) -> impl Iterator<Item = &View> {
        self.views.iter().filter(|view| view.running)
    }

    /// One line for each running task: what a failed wait shows.
    pub fn describe(&self) -> String {
        let line = |view: &View| {
            let reason = view
                .status
                .as_ref()
                .map_or("", |status| status.reason.as_str());
            let raft = match &view.raft {
                Some(raft) => format!(
                    "{} of {} peers",
                    if raft.is_voter { "voter" } else { "learner" },
                    raft.peers.len()
                ),
                None => "Qdrant silent".to_owned(),
            };
            format!("t{} {} ({raft}) {reason}", view.task, view.phase())
        };
        let lines: Vec<String> = self.running().map(line).collect();
        if lines.is_empty() {
            "no task runs".into()
        } else {
            lines.join("; ")
        }
    }
}
