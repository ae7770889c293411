//! The decision record: what a round saw, decided, and why; and the log lines about what changed.

use std::collections::BTreeMap;

use planner::decision::{Action, Aside, Decision, NotReady};
use planner::observed::Observed;
use planner::records::Outcome;
use planner::view::{Child, Dns, Observation, Probe, Store};
use serde_json::{Value, json};

use crate::events;

/// One round as one JSON object.
pub fn decision(seen: &Observation, decision: &Decision) -> Value {
    json!({
        "phase": decision.phase.to_string(),
        "action": action(&decision.action),
        "reason": decision.reason.to_string(),
        "alarms": decision.alarms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ready": decision.ready.as_ref().err().map(NotReady::to_string),
        "observed": observed(seen),
    })
}

fn action(action: &Action) -> String {
    match action {
        Action::Wait => "wait".to_owned(),
        Action::Claim { number, .. } => format!("claim generation {number}"),
        Action::RepeatClaim => "repeat the claim".to_owned(),
        Action::Abandon { number, .. } => format!("abandon the claim to generation {number}"),
        Action::Form => "form the generation".to_owned(),
        Action::Settle(formed) => format!("settle in generation {}", formed.generation.number),
        Action::StartFounder => "start Qdrant as the first peer".to_owned(),
        Action::StartJoiner { via, .. } => format!("start Qdrant to join through {via}"),
        Action::StartMember => "start Qdrant with its data".to_owned(),
        Action::Regroup { number, .. } => {
            format!("claim generation {number} for the survivors")
        }
        Action::StartReinit => "begin Raft anew with the data of this disk".to_owned(),
        Action::Resume => "go on in the old generation".to_owned(),
        Action::StartRejoin { via, .. } => {
            format!("begin Raft anew to go over through {via} with the data of this disk")
        }
        Action::Rejoined { formed, .. } => {
            format!("belong to generation {}", formed.generation.number)
        }
        Action::Publish(formed) => format!("publish generation {}", formed.generation.number),
        Action::Recreate(formed) => {
            format!(
                "re-create the records of generation {}",
                formed.generation.number
            )
        }
        Action::Restored => "take note that the restore is finished".to_owned(),
        Action::Kill => "kill Qdrant".to_owned(),
        Action::Discard(_) => "free the disk".to_owned(),
        Action::SetAside(Aside::Superseded { newer }) => {
            format!("set the data aside for generation {}", newer.number)
        }
        Action::HoldStill(held) => format!(
            "rest for the claim of task {} to generation {}",
            held.task, held.claim.number
        ),
        Action::SetAside(Aside::Permitted { leader }) => {
            format!("set the data aside, the steward permits it at {leader}")
        }
        Action::SetAside(Aside::Removed { leader }) => {
            format!("set the data aside, {leader} says that the cluster is whole without it")
        }
    }
}

fn observed(seen: &Observation) -> Value {
    let disk = &seen.disk;
    json!({
        "disk": {
            "stage": disk.stamp.as_ref().map(|stamp| format!("{:?}", stamp.stage).to_lowercase()),
            "generation": disk.stamp.as_ref().map(|stamp| stamp.generation.number),
            "collections": disk.collections,
            "aside": disk.aside,
        },
        "store": match &seen.store {
            Observed::Known(store) => stored(store),
            Observed::Unknown(why) => json!({ "unknown": why }),
        },
        "dns": match &seen.dns {
            Dns::NotConfigured => json!("not configured"),
            Dns::Arrived(addresses) => json!(addresses),
            Dns::Failed(why) => json!({ "failed": why }),
        },
        "peers": seen
            .peers
            .iter()
            .map(|(address, probe)| (address.to_string(), peer(probe)))
            .collect::<BTreeMap<_, _>>(),
        "qdrant": match &seen.child {
            Child::Stopped => json!("stopped"),
            Child::Resting(why) => json!({ "resting": why }),
            Child::Running(Observed::Unknown(why)) => json!({ "starting": why }),
            Child::Running(Observed::Known(qdrant)) => json!({
                "peer_id": qdrant.peer_id,
                "leads": qdrant.leads,
                "has_leader": qdrant.has_leader,
                "is_voter": qdrant.is_voter,
                "peers": qdrant.peers.len(),
                "ready": qdrant.ready,
                "commits": qdrant.commits,
            }),
        },
    })
}

fn stored(store: &Store) -> Value {
    let top = store
        .generations
        .last_key_value()
        .map(|(number, generation)| {
            let outcome = match &generation.outcome {
                None => "undecided",
                Some(Outcome::Formed(_)) => "formed",
                Some(Outcome::Abandoned { .. }) => "abandoned",
            };
            json!({ "number": number, "claimant": generation.claim.task, "outcome": outcome })
        });
    json!({
        "formed": store.formed().map(|formed| formed.generation.number),
        "highest_claim": top,
        "members": store.members.len(),
        "own_beat_seen": store.own_beat_seen,
        "sets": store.sets,
    })
}

fn peer(probe: &Probe) -> Value {
    match probe {
        Probe::Silent => json!("silent"),
        Probe::Opaque(what) => json!({ "alive": what }),
        Probe::Unasked(why) => json!({ "not_asked": why }),
        Probe::Task { hello, proof, .. } => json!({
            "task": hello.task,
            "state": hello.state,
            "generation": hello.generation.as_ref().map(|generation| generation.number),
            "proof": proof.as_ref().map(|formed| formed.generation.number),
        }),
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Logs what changed between rounds; a state that lasts is logged once.
#[derive(Debug, Default)]
pub struct Journal {
    said: Option<(String, String, String)>,
    alarms: Vec<String>,
    ready: bool,
    failure: Option<String>,
    store: BTreeMap<&'static str, String>,
}

impl Journal {
    /// A round has decided; `record` is its [`decision`], `alarms` are its own and those of what runs
    /// beside the rounds. Gives whether it decided something else than the one before.
    pub fn decided(
        &mut self,
        seen: &Observation,
        decided: &Decision,
        record: &Value,
        alarms: Vec<String>,
    ) -> bool {
        let kind = std::mem::discriminant(&decided.reason);
        // A reason with a running count is one reason; its kind tells.
        let now = (
            decided.phase.to_string(),
            action(&decided.action),
            format!("{kind:?}"),
        );
        let changed = self.said.as_ref() != Some(&now);
        if changed {
            tracing::info!(
                event = events::DECISION,
                phase = now.0,
                action = now.1,
                reason = decided.reason.to_string(),
                record = record.to_string(),
            );
            self.said = Some(now);
        }
        for alarm in alarms.iter().filter(|alarm| !self.alarms.contains(alarm)) {
            tracing::error!(event = events::ALARM, "{alarm}");
        }
        for over in self.alarms.iter().filter(|alarm| !alarms.contains(alarm)) {
            tracing::info!(event = events::ALARM_OVER, "{over}");
        }
        self.alarms = alarms;
        if decided.ready.is_ok() && !self.ready {
            tracing::info!(event = events::READY, "ready for traffic");
            self.ready = true;
        }
        if let Observed::Known(_) = seen.store {
            self.store("read the store", None);
        } else if let Observed::Unknown(why) = &seen.store {
            self.store("read the store", Some(why.clone()));
        }
        changed
    }

    /// An action was carried out.
    pub fn acted(&mut self) {
        self.failure = None;
    }

    /// An action failed; the same failure again and again is one line, whatever times its text
    /// names.
    pub fn failed(&mut self, what: &Action, why: &str) {
        let what = action(what);
        let same = format!("{what}: {}", without_digits(why));
        if self.failure.as_ref() != Some(&same) {
            tracing::warn!(event = events::ACTION_FAILED, "{what}: {why}");
            self.failure = Some(same);
        }
    }

    /// What the store does not do at the moment: `write our beat: …read-only…`.
    pub fn store_troubles(&self) -> impl Iterator<Item = String> {
        self.store
            .iter()
            .map(|(what, why)| format!("the store fails to {what}: {why}"))
    }

    /// How the store took something: an error, or that it is well.
    pub fn store(&mut self, what: &'static str, error: Option<String>) {
        match error {
            Some(why) => {
                if self.store.insert(what, why.clone()).is_none() {
                    tracing::warn!(event = events::STORE_LOST, "{what}: {why}");
                }
            }
            None => {
                if self.store.remove(what).is_some() {
                    tracing::info!(event = events::STORE_BACK, "{what}");
                }
            }
        }
    }
}
