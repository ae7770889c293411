//! The plan as people read it: `/v1/plan`, `entrypoint plan`, and the log line when it changes.

use planner::heal::Plan;
use planner::heal::view::Service;
use serde_json::{Value, json};

use crate::config::Heal;

/// Another task is the steward.
pub fn idle() -> Value {
    json!({ "steward": false, "why": "another task's Qdrant leads" })
}

/// There is nothing to plan upon.
pub fn blind(why: &str) -> Value {
    json!({ "steward": true, "why": why })
}

/// What was decided, what not and why, and the state of the cluster in figures.
pub fn of(plan: &Plan, service: &Service, mode: Heal) -> Value {
    let report = &plan.report;
    json!({
        "steward": true,
        "dry_run": mode == Heal::DryRun,
        "actions": plan.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "withheld": plan.withheld.as_ref().map(|(planned, why)| format!("{planned}: {why}")),
        "waiting_on": plan.waiting_on.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "peers": {
            "alive": report.alive,
            "hung": report.hung,
            "unsure": report.unsure,
            "gone": report.gone,
            "learners": report.learners,
        },
        "orders": {
            "grant": service.orders.grant,
            "leaving": service.orders.leaving,
        },
        "outside": service.outside.iter().map(|(task, there)| {
            json!({ "task": task, "state": there.state, "revision": there.said.revision })
        }).collect::<Vec<_>>(),
        "wanted_revision": service.wanted_revision,
        "shards": {
            "all": report.shards,
            "whole": report.whole,
            "with_one_living_copy": report.single,
            "crowded_in_a_zone": report.crowded,
            "without_a_living_copy": report.dark.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "lost": report.broken.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
    })
}

/// The part of a plan whose change is worth a line: running times do not count.
pub fn gist(plan: &Plan) -> String {
    let report = &plan.report;
    let next = match (plan.actions.first(), &plan.withheld) {
        (Some(planned), _) => planned.to_string(),
        (None, Some((planned, why))) => format!("{planned} is withheld: {why}"),
        (None, None) => "nothing to do".to_owned(),
    };
    format!(
        "{next}; {} peers alive, {} gone; {} of {} shards whole",
        report.alive, report.gone, report.whole, report.shards
    )
}
