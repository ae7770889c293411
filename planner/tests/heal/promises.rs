//! What must hold in every state of the model, and at rest. Written against the model itself, not
//! against what the planner thinks of it.

use std::collections::BTreeMap;

use planner::heal::action::Action;
use planner::heal::names::Zone;
use planner::ids::PeerId;
use planner::records::GrantKind;

use crate::sim::{Sim, SimCopy, Task};

/// After every round: at most one action, and nothing broken by it.
pub fn hold(sim: &Sim) -> Result<(), String> {
    if let Some(why) = &sim.broken {
        return Err(why.clone());
    }
    let actions = sim.last.as_ref().map_or(0, |plan| plan.actions.len());
    match actions > 1 {
        true => Err(format!("{actions} actions in one round")),
        false => Ok(()),
    }
}

/// A transfer of ours begins: none is under way, as far as anybody can see.
pub fn one_at_a_time(sim: &Sim) -> Result<(), String> {
    let readable = sim.collections.values().filter(|c| c.readable);
    match readable.flat_map(|c| &c.transfers).next() {
        Some(other) => Err(format!("a second transfer beside {other:?}")),
        None => Ok(()),
    }
}

/// Somebody is let in: were everybody to vanish who neither holds data nor serves, the newcomer among
/// them, the others could still commit. The first alone may let in a second.
pub fn carried(sim: &Sim, action: &Action) -> Result<(), String> {
    let Action::Grant(grant) = action else {
        return Ok(());
    };
    if grant.kind != GrantKind::Join || sim.peers.len() == 1 {
        return Ok(());
    }
    let holds = |peer: &PeerId| {
        let mut shards = sim.collections.values().flat_map(|c| c.shards.values());
        shards.any(|copies| copies.get(peer).is_some_and(SimCopy::is_active))
    };
    let carry = sim.peers.iter();
    let carry = carry.filter(|(id, p)| p.task != Task::Dead && (p.ready || holds(id)));
    match 2 * carry.count() > sim.peers.len() + 1 {
        true => Ok(()),
        false => Err(format!("{action}: too few would be left")),
    }
}

/// The holders of Active copies of every shard that do not count as dead.
pub type Copies = BTreeMap<(String, u32), Vec<PeerId>>;

/// Who holds what, as far as it still exists.
pub fn copies(sim: &Sim) -> Copies {
    let mut copies = Copies::new();
    for (name, there) in &sim.collections {
        for (shard, holders) in &there.shards {
            let exists = |peer: &PeerId| sim.peers.get(peer).is_some_and(|p| p.task != Task::Dead);
            let held = holders
                .iter()
                .filter(|(peer, copy)| copy.is_active() && exists(peer));
            copies.insert(
                (name.0.clone(), shard.0),
                held.map(|(peer, _)| *peer).collect(),
            );
        }
    }
    copies
}

/// An action of ours took no copy from a task that works, and never the last that exists.
pub fn nothing_lost(before: &Copies, after: &Copies, sim: &Sim) -> Result<(), String> {
    for (shard, was) in before {
        let is = after.get(shard).cloned().unwrap_or_default();
        if !was.is_empty() && is.is_empty() {
            return Err(format!("the last copy of {shard:?} was dropped"));
        }
        let works = |peer: &&PeerId| {
            sim.peers
                .get(*peer)
                .is_some_and(|p| p.task == Task::Up && !p.leaving && !p.ending)
        };
        if is.iter().filter(works).count() < was.iter().filter(works).count() {
            return Err(format!("{shard:?} has fewer copies than before our action"));
        }
    }
    Ok(())
}

/// At rest: only living peers are listed, every shard that was not lost has its copies, zones are
/// as even as can be, and so is each collection within a zone.
pub fn at_rest(sim: &Sim) -> Result<(), String> {
    if let Some((peer, there)) = sim
        .peers
        .iter()
        .find(|(_, p)| p.task != Task::Up || !p.voter)
    {
        return Err(format!("peer {peer} is listed and {:?}", there.task));
    }
    let ready = sim.peers.values().filter(|p| p.ready).count();
    let enough = |count: usize| sim.wanted_tasks.is_some_and(|wanted| count > wanted);
    // Of a service of one nobody else is let serve while it holds what cannot be moved: what is left of a
    // lost shard stays with it until a person has decided.
    let held = sim.wanted_tasks == Some(1) && ready == 1 && !sim.losses.is_empty();
    if sim.complete && !held && !enough(ready) && sim.peers.values().any(|p| !p.ready && !p.leaving)
    {
        return Err(format!("{ready} are ready, and others wait for it"));
    }
    // Whoever was told to leave and cannot is not ready, and carries nobody.
    let stuck = sim.peers.values().any(|p| p.leaving);
    if !sim.outside.is_empty() && sim.complete && !enough(sim.peers.len()) && !stuck {
        return Err(format!("{:?} wait to be let in", sim.outside.keys()));
    }
    let stays = sim.peers.iter().filter(|(_, p)| !p.leaving && !p.ending);
    let stays: Vec<PeerId> = stays.map(|(peer, _)| *peer).collect();
    // Nothing is evened out while somebody is to go, who may wait for a person.
    let too_many = sim.complete && enough(stays.len());
    for (name, there) in &sim.collections {
        let mut spread: BTreeMap<PeerId, u32> = stays.iter().map(|p| (*p, 0)).collect();
        for (shard, holders) in &there.shards {
            for peer in holders.keys() {
                if let Some(here) = spread.get_mut(peer) {
                    *here += 1;
                }
            }
            if !holders.values().any(SimCopy::is_active) {
                if holders.is_empty()
                    || sim
                        .losses
                        .iter()
                        .any(|l| l.collection == *name && l.shard == *shard)
                {
                    continue;
                }
                return Err(format!("{name}/{} is lost and not on record", shard.0));
            }
            let wanted = (there.factor as usize).min(stays.len());
            let active = holders.values().filter(|copy| copy.is_active()).count();
            if active < wanted || active < holders.len() {
                return Err(format!(
                    "{name}/{} has {active} of {wanted} copies",
                    shard.0
                ));
            }
            if !too_many {
                zones_even(sim, &format!("{name}/{}", shard.0), holders.keys())?;
            }
        }
        let zone = |peer: &PeerId| sim.peers[peer].zone.clone();
        for (a, most) in &spread {
            for (b, fewest) in &spread {
                if !too_many && zone(a) == zone(b) && *most >= fewest + 2 && whole(sim, name, *a) {
                    return Err(format!(
                        "{name}: {most} copies on peer {a}, {fewest} on {b}"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Peer `a` has nothing of the collection but shards that can be moved.
fn whole(sim: &Sim, name: &planner::heal::names::CollectionName, a: PeerId) -> bool {
    let shards = sim.collections[name].shards.values();
    shards
        .filter(|h| h.contains_key(&a))
        .all(|h| h.values().all(SimCopy::is_active))
}

fn zones_even<'a>(
    sim: &Sim,
    shard: &str,
    holders: impl Iterator<Item = &'a PeerId>,
) -> Result<(), String> {
    let mut room: BTreeMap<Option<Zone>, usize> = BTreeMap::new();
    for peer in sim
        .peers
        .values()
        .filter(|p| p.zone.is_some() && !p.leaving)
    {
        *room.entry(peer.zone.clone()).or_default() += 1;
    }
    let mut used: BTreeMap<Option<Zone>, usize> = room.keys().map(|z| (z.clone(), 0)).collect();
    for peer in holders {
        *used.entry(sim.peers[peer].zone.clone()).or_default() += 1;
    }
    let free = used
        .iter()
        .filter(|(zone, used)| room.get(*zone) > Some(used));
    let fewest = free.map(|(_, used)| *used).min();
    let known = used.iter().filter(|(zone, _)| zone.is_some());
    let most = known.map(|(_, used)| *used).max();
    match most > fewest.map(|fewest| fewest + 1) && fewest.is_some() {
        true => Err(format!(
            "{shard} is crowded: {used:?} where there is room for {room:?}"
        )),
        false => Ok(()),
    }
}
