//! Runs a story: one command a line, `#` begins a comment, everything is echoed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use planner::heal::names::ShardId;
use planner::heal::settings::Settings;
use planner::heal::view::{Disk, Pause};
use planner::heal::waiting::Waiting;
use planner::heal::{Plan, plan};
use planner::ids::PeerId;

use crate::promises;
use crate::show;
use crate::sim::{Sim, Task};

/// The story's text with what happened below each command.
pub fn run(script: &str) -> String {
    let mut sim = Sim::new(Settings::default());
    let mut text = String::new();
    for line in script.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            writeln!(text, "{line}").unwrap();
            continue;
        }
        writeln!(text, "> {line}").unwrap();
        let said = command(&mut sim, line).unwrap_or_else(|why| panic!("{line}: {why}"));
        for event in sim.log.drain(..) {
            writeln!(text, "  {event}").unwrap();
        }
        text.push_str(&said);
    }
    text
}

fn command(sim: &mut Sim, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let options: BTreeMap<&str, &str> = words.iter().filter_map(|w| w.split_once('=')).collect();
    match words[..] {
        ["set", ..] => options
            .iter()
            .try_for_each(|(name, value)| set(sim, name, value))?,
        ["peer", "add", ..] => {
            let address = options.get("address").map(|a| number(a)).transpose()?;
            for _ in 0..options.get("count").map_or(Ok(1), |count| number(count))? {
                sim.add_peer(options.get("zone").copied(), address);
            }
        }
        ["form"] => sim.form(),
        ["roll", "out", revision] => {
            sim.revision = (*revision).to_owned();
            sim.wanted_revision = Some((*revision).to_owned());
        }
        ["want", revision] => sim.wanted_revision = Some((*revision).to_owned()),
        ["task", "start", ..] => {
            for _ in 0..options.get("count").map_or(Ok(1), |count| number(count))? {
                sim.start_task(options.get("zone").copied());
            }
        }
        ["reinit", without] => {
            let ids = without.strip_prefix("without=").ok_or("without=?")?;
            let ids: Result<Vec<PeerId>, String> =
                ids.split(',').map(|id| number(id).map(PeerId)).collect();
            sim.go_on_without(&ids?);
        }
        ["expect", id] => drop(sim.survivors.insert(PeerId(number(id)?))),
        ["peer", what, id, ..] => peer(sim, what, PeerId(number(id)?), &options)?,
        ["collection", name, what] if !what.contains('=') => collection(sim, name, what)?,
        ["collection", name, ..] => {
            let copies = number(options.get("copies").ok_or("copies=?")?)?;
            let copies = u32::try_from(copies).map_err(|e| e.to_string())?;
            if let Some(on) = options.get("on") {
                sim.collection(name, copies, &holders(on)?);
            } else {
                let shards = number(options.get("shards").ok_or("shards=?")?)?;
                let first = options.get("first").map_or(Ok(0), |n| number(n))?;
                sim.place(name, shards as usize, copies, first as usize);
            }
        }
        ["key", name, on] if on.starts_with("on=") => sim.add_key(name, &holders(&on[3..])?),
        ["key", name, "delete", shard] => sim.drop_key(name, ShardId(number(shard)? as u32)),
        ["dns", "lag", lag] => sim.dns_lag = duration(lag)?,
        ["dns", state] => sim.dns = up(state)?,
        ["store", state] => sim.store = up(state)?,
        ["writes", state] => sim.writes = up(state)?,
        ["recovery", state] => sim.recovers = up(state)?,
        ["refuse", times] => sim.refuse = number(times)? as u32,
        ["pause", owner, ..] => {
            let reason = words[2..].join(" ");
            let owner = owner.to_owned();
            sim.paused = Some(Pause { owner, reason });
        }
        ["resume"] => sim.paused = None,
        ["tick"] => tick(sim, 1),
        ["tick", rounds] => tick(sim, number(rounds)?),
        ["rest"] => return rest(sim),
        ["show", "cluster"] => return Ok(show::cluster(sim)),
        ["show", "plan"] => return Ok(show::plan(&planned(sim))),
        _ => return Err("unknown command".to_owned()),
    }
    Ok(String::new())
}

/// The holders of each shard.
fn holders(on: &str) -> Result<Vec<Vec<PeerId>>, String> {
    let ids = |list: &str| list.split(',').map(|id| number(id).map(PeerId)).collect();
    on.split('/').map(ids).collect()
}

fn peer(
    sim: &mut Sim,
    what: &str,
    peer: PeerId,
    options: &BTreeMap<&str, &str>,
) -> Result<(), String> {
    let task = match what {
        "kill" => Some(Task::Dead),
        "back" => Some(Task::Up),
        "hang" => Some(Task::Hung),
        "slow" => Some(Task::Slow),
        "freeze" => Some(Task::Frozen),
        _ => None,
    };
    let there = sim.peers.get_mut(&peer).ok_or("no such peer")?;
    match (task, what) {
        (Some(task), _) => sim.set_task(peer, task),
        (None, "leave") => there.leaving = true,
        (None, "loop") => {
            there.cannot_run = true;
            sim.set_task(peer, Task::Hung);
        }
        (None, "runs") => {
            there.cannot_run = false;
            sim.set_task(peer, Task::Up);
        }
        (None, "stop") => there.ending = true,
        (None, "disk") => {
            let value = |name| number(options.get(name).ok_or("free=? reserve=?")?);
            let (free, reserve) = (value("free")?, value("reserve")?);
            there.disk = Some(Disk { free, reserve });
        }
        (None, _) => return Err("unknown fate".to_owned()),
    }
    Ok(())
}

fn collection(sim: &mut Sim, name: &str, what: &str) -> Result<(), String> {
    let there = sim
        .collections
        .get_mut(&name.into())
        .ok_or("no such collection")?;
    match what {
        "unreadable" => there.readable = false,
        "readable" => there.readable = true,
        "resharding" => there.resharding = true,
        "settled" => there.resharding = false,
        _ => return Err("unknown state".to_owned()),
    }
    Ok(())
}

fn set(sim: &mut Sim, name: &str, value: &str) -> Result<(), String> {
    match name {
        "gone" => sim.settings.gone_timeout = duration(value)?,
        "lost" => sim.settings.lost_copy_timeout = duration(value)?,
        "replacement" => sim.settings.replacement_wait = duration(value)?,
        "stall" => sim.settings.stall_timeout = duration(value)?,
        "transfer" => sim.transfer_time = duration(value)?,
        "factor" => sim.settings.wanted_factor = Some(number(value)? as u32),
        "wanted" => sim.wanted_tasks = Some(number(value)? as usize),
        _ => return Err(format!("no setting {name}")),
    }
    Ok(())
}

fn tick(sim: &mut Sim, rounds: u64) {
    for _ in 0..rounds {
        sim.tick();
        promises::hold(sim).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// Goes on until nothing happens and nothing is waited for that time alone would bring.
fn rest(sim: &mut Sim) -> Result<String, String> {
    let began = sim.now;
    for _ in 0..3600 {
        let events = sim.log.len();
        tick(sim, 1);
        if events == sim.log.len() && resting(sim) {
            let took = (sim.now - began).as_secs();
            return Ok(format!("      at rest after {took} s\n"));
        }
    }
    Err(format!(
        "no rest:\n{}{}",
        sim.log.join("\n"),
        show::cluster(sim)
    ))
}

/// Nothing is done, nothing is under way, and time alone changes nothing.
pub fn resting(sim: &Sim) -> bool {
    let Some(plan) = &sim.last else {
        return false;
    };
    let busy = sim.collections.values().any(|c| !c.transfers.is_empty());
    let time = |waiting: &Waiting| {
        matches!(
            waiting,
            Waiting::Unseen { .. }
                | Waiting::Resting { .. }
                | Waiting::Peer { .. }
                | Waiting::LastCopies { .. }
                | Waiting::Granted(_)
                | Waiting::ReadyWaits { .. }
                | Waiting::Replacement { .. }
                | Waiting::BalanceLater { .. }
                | Waiting::Surplus { .. }
                | Waiting::Blocked { .. }
                | Waiting::Recovering { .. }
        )
    };
    let ending = sim.peers.values().any(|p| p.ending && p.task != Task::Dead);
    let learners = sim.peers.values().any(|p| !p.voter && p.task == Task::Up);
    let unnoticed = sim.peers.values().any(|p| p.task == Task::Dead) && plan.report.gone == 0;
    sim.leader.is_some()
        && !busy
        && !learners
        && !ending
        && !unnoticed
        && sim.orders.leaving.is_none()
        && plan.actions.is_empty()
        && !plan.waiting_on.iter().any(time)
}

/// What would be planned now, with nothing changed.
fn planned(sim: &Sim) -> Plan {
    let us = sim.leader.or_else(|| sim.peers.keys().next().copied());
    plan(&sim.settings, &sim.memory, &sim.view(us.unwrap()))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

fn up(text: &str) -> Result<bool, String> {
    match text {
        "up" | "on" => Ok(true),
        "down" | "off" => Ok(false),
        _ => Err(format!("{text}: up or down")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => return Err(format!("{text}: seconds (s) or minutes (m)")),
    };
    Ok(Duration::from_secs(number(digits)? * seconds))
}
