//! The model cluster and its plans as text for people.

use std::fmt::Write as _;

use planner::heal::Plan;
use planner::ids::PeerId;

use crate::sim::{Sim, Task};

/// One line for each peer: where, how, what it holds.
pub fn cluster(sim: &Sim) -> String {
    let mut text = String::new();
    for (peer, there) in &sim.peers {
        let zone = there.zone.as_ref().map_or("?", |zone| zone.0.as_str());
        let task = match there.task {
            Task::Up => "up",
            Task::Hung => "hung",
            Task::Slow => "slow",
            Task::Frozen => "frozen",
            Task::Dead => "dead",
        };
        let serves = sim.complete && there.ready;
        let mut line = format!("      peer {peer:<2} zone {zone}  {task}");
        for (marked, mark) in [
            (sim.leader == Some(*peer), " leader"),
            (!there.voter, " learner"),
            (there.leaving, " leaving"),
            (there.ending, " ending"),
            (serves, " ready"),
        ] {
            line.push_str(if marked { mark } else { "" });
        }
        let copies = held(sim, *peer);
        let line = format!("{line:<33} {}", copies.join(" "));
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    for (peer, zone) in &sim.outside {
        let zone = zone.as_ref().map_or("?", |zone| zone.0.as_str());
        writeln!(text, "      task {peer:<2} zone {zone}  outside").unwrap();
    }
    for peer in sim.unlisted.keys() {
        let copies = held(sim, *peer);
        if !copies.is_empty() {
            let line = format!("      peer {peer:<2} not listed");
            writeln!(text, "{line:<33} {}", copies.join(" ")).unwrap();
        }
    }
    for (name, there) in &sim.collections {
        for transfer in &there.transfers {
            let kind = if transfer.sync { "copy" } else { "move" };
            let (shard, from, to) = (transfer.shard.0, transfer.from, transfer.to);
            writeln!(
                text,
                "      under way: {kind} of {name}/{shard} from {from} to {to}"
            )
            .unwrap();
        }
    }
    text
}

fn held(sim: &Sim, peer: PeerId) -> Vec<String> {
    let mut held = Vec::new();
    for (name, there) in &sim.collections {
        for (shard, copies) in &there.shards {
            if let Some(copy) = copies.get(&peer) {
                held.push(match copy.is_active() {
                    true => format!("{name}/{}", shard.0),
                    false => format!("{name}/{}({})", shard.0, copy.state),
                });
            }
        }
    }
    held
}

/// What a plan does, what it waits for, and its figures.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    for planned in &plan.actions {
        writeln!(text, "      do: {planned}").unwrap();
    }
    for waiting in &plan.waiting_on {
        writeln!(text, "      {waiting}").unwrap();
    }
    if let Some((planned, _)) = &plan.withheld {
        writeln!(text, "      would do: {planned}").unwrap();
    }
    let r = &plan.report;
    writeln!(
        text,
        "      peers: {} alive, {} hung, {} unsure, {} gone",
        r.alive, r.hung, r.unsure, r.gone
    )
    .unwrap();
    write!(text, "      shards: {} of {} whole", r.whole, r.shards).unwrap();
    for (count, what) in [
        (r.single, "with one living copy"),
        (r.crowded, "crowded in a zone"),
        (r.spare, "with copies to spare"),
        (r.dark.len(), "without a living copy"),
        (r.broken.len(), "broken, to be restored"),
    ] {
        if count > 0 {
            write!(text, ", {count} {what}").unwrap();
        }
    }
    text.push('\n');
    text
}
