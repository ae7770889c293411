//! When a cluster is healed: voters, copies, zones and load as they should be at rest.
//! Owns: that judgement, as a function of one look. Must not: ask or wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::observe::copies::{Collection, Holder, Look};

/// What a scenario asked for when it created a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Number of shards.
    pub shards: usize,
    /// Copies of each shard.
    pub copies: usize,
}

/// Whether the voters are exactly the live tasks: no dead one is left, and none is missing.
///
/// # Errors
/// The first difference.
pub fn voters(look: &Look) -> Result<(), String> {
    let live = live_peers(look)?;
    for holder in look.live() {
        let Some(raft) = &holder.raft else {
            return Err(format!("t{} does not answer", holder.task));
        };
        if !raft.is_voter {
            return Err(format!("t{} does not vote", holder.task));
        }
        let listed: BTreeSet<u64> = raft.peers.keys().copied().collect();
        if let Some(dead) = listed.difference(&live).next() {
            let task = holder.task;
            return Err(format!("t{task} lists peer {dead}, which is no live task"));
        }
        if let Some(missing) = live.difference(&listed).next() {
            return Err(format!("t{} does not list peer {missing}", holder.task));
        }
    }
    Ok(())
}

/// Whether every shard of every wanted collection has all of its copies, Active, on live tasks,
/// with nothing on its way, and all tasks say the same.
///
/// # Errors
/// The first thing that is missing.
pub fn whole(look: &Look, wanted: &BTreeMap<String, Wanted>) -> Result<(), String> {
    let live = live_peers(look)?;
    for (name, wanted) in wanted {
        let copies = wanted.copies.min(live.len());
        for holder in look.live() {
            let there = collection(holder, name)?;
            let task = holder.task;
            if let Some(transfer) = there.transfers.first() {
                let (shard, from, to) = (transfer.shard, transfer.from, transfer.to);
                return Err(format!("{name}/{shard} is on its way from {from} to {to}"));
            }
            if there.shards.len() != wanted.shards {
                let (seen, all) = (there.shards.len(), wanted.shards);
                return Err(format!("t{task} sees {seen} of {all} shards of {name}"));
            }
            for (shard, holders) in &there.shards {
                for (peer, copy) in holders {
                    if !live.contains(peer) {
                        return Err(format!("{name}/{shard} has a copy on dead peer {peer}"));
                    }
                    if !copy.active() {
                        let state = &copy.state;
                        let what = format!("the copy of {name}/{shard} on peer {peer} is {state}");
                        return Err(format!("{what} for t{task}"));
                    }
                }
                if holders.len() != copies {
                    let seen = holders.len();
                    return Err(format!("{name}/{shard} has {seen} of {copies} copies"));
                }
            }
        }
    }
    Ok(())
}

/// Whether the copies of every shard are as even over the zones as they can be, and the copies of
/// each collection and of all of them as even over the tasks of each zone.
///
/// With at least as many zones as copies, even means that no two copies of a shard share a zone.
///
/// # Errors
/// The first crowd.
pub fn spread(look: &Look, wanted: &BTreeMap<String, Wanted>) -> Result<(), String> {
    let mut zones: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for holder in look.live() {
        let peer = answering(holder)?;
        zones.entry(&holder.zone).or_default().insert(peer);
    }
    let newest = look.newest().ok_or("no task answers about collections")?;
    let mut all: BTreeMap<u64, usize> = BTreeMap::new();
    for name in wanted.keys() {
        let mut loads: BTreeMap<u64, usize> = BTreeMap::new();
        for (shard, copies) in &collection(newest, name)?.shards {
            over_zones(&zones, copies.keys()).map_err(|why| format!("{name}/{shard}: {why}"))?;
            for peer in copies.keys() {
                *loads.entry(*peer).or_default() += 1;
                *all.entry(*peer).or_default() += 1;
            }
        }
        over_tasks(&zones, &loads).map_err(|why| format!("{name}: {why}"))?;
    }
    over_tasks(&zones, &all).map_err(|why| format!("all collections: {why}"))
}

/// No zone has two copies more than another that could take one.
fn over_zones<'a>(
    zones: &BTreeMap<&str, BTreeSet<u64>>,
    holders: impl Iterator<Item = &'a u64>,
) -> Result<(), String> {
    let holders: BTreeSet<u64> = holders.copied().collect();
    let of = |peers: &BTreeSet<u64>| peers.intersection(&holders).count();
    for (crowded, there) in zones {
        let roomy = |(_, peers): &(&&str, &BTreeSet<u64>)| {
            of(peers) + 2 <= of(there) && of(peers) < peers.len()
        };
        if let Some((zone, peers)) = zones.iter().find(roomy) {
            let (many, few) = (of(there), of(peers));
            return Err(format!("{many} copies in zone {crowded}, {few} in {zone}"));
        }
    }
    Ok(())
}

/// No task has two copies more than another one in its zone.
fn over_tasks(
    zones: &BTreeMap<&str, BTreeSet<u64>>,
    loads: &BTreeMap<u64, usize>,
) -> Result<(), String> {
    for (zone, peers) in zones {
        let here = peers
            .iter()
            .map(|peer| loads.get(peer).copied().unwrap_or(0));
        let (few, many) = (here.clone().min(), here.max());
        if let (Some(few), Some(many)) = (few, many)
            && few + 2 <= many
        {
            return Err(format!(
                "in zone {zone} one task has {many} copies, one {few}"
            ));
        }
    }
    Ok(())
}

fn live_peers(look: &Look) -> Result<BTreeSet<u64>, String> {
    let peers: BTreeSet<u64> = look.live().map(answering).collect::<Result<_, _>>()?;
    if peers.is_empty() {
        return Err("no task runs".into());
    }
    Ok(peers)
}

fn answering(holder: &Holder) -> Result<u64, String> {
    let silent = || format!("the Qdrant of t{} does not answer", holder.task);
    holder.peer().ok_or_else(silent)
}

fn collection<'a>(holder: &'a Holder, name: &str) -> Result<&'a Collection, String> {
    let task = holder.task;
    let all = holder.collections.as_ref();
    let all = all.ok_or_else(|| format!("t{task} does not answer about collections"))?;
    let there = all.get(name);
    there.ok_or_else(|| format!("t{task} has no collection {name}"))
}
