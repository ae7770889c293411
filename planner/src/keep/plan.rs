//! Who takes what: one copy of every shard.
//!
//! A source is an Active copy on a peer that answers, whose task is known and is not being stopped.
//! Of those, in this order: one that did not fail for this shard last time, since a disk that cannot
//! be read fails again; one whose task is not being emptied, since the copy may be gone before the
//! stream is at its end; one that gives no copy away just now; the task with the fewest bytes to take,
//! then with the fewest shards, so that all network cards and disks share the work and the set is
//! done soonest; one that is not the leader, which has Raft to run; the lowest peer id. The largest
//! shards are given out first, or the last of them would spoil the balance. Zones play no part: the
//! store is as near to each of them.

use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::life::Life;
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::view::{ClusterView, Collection, Peer, Shard};
use crate::ids::{PeerId, TaskId};
use crate::keep::check_manifest::shards;
use crate::keep::ids::{CollectionIndex, SetId};
use crate::keep::missing::{Lack, Missing};
use crate::keep::records::{
    Asked, Description, FORMAT, Holder, Origin, PlanRecord, PlannedCollection, Scope, Source,
};
use crate::keep::time::Utc;
use crate::observed::Observed;

/// What every collection is, by its name. One that is not there was not read.
pub type Described = BTreeMap<CollectionName, Observed<Description>>;

/// A set that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub set: SetId,
    /// Why.
    pub origin: Origin,
    /// Who asked for it, when it is by hand.
    pub asked: Option<Asked>,
    /// Of what.
    pub scope: Scope,
    /// Where it will be from.
    pub source: Source,
    /// Now, by the wall clock.
    pub now: Utc,
    /// Collections that a restore by hand is making: of these nothing is taken.
    pub unfinished: BTreeSet<CollectionName>,
    /// Copies that could not be taken for the last set.
    pub failed_before: BTreeSet<(ShardRef, PeerId)>,
    /// For how long no client has reached a peer; empty while clients reach all. Of copies that are Active
    /// the one that clients could write to last is taken: see [`crate::farewell::together`].
    pub shut: BTreeMap<PeerId, Duration>,
    /// Collections that ended, see [`crate::keep::ends::deleted`].
    pub deleted: BTreeMap<CollectionName, SetId>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// Which collections there are could not be read; for people.
    Unread(String),
    /// There is no collection.
    Empty,
    /// The one collection that is wanted is not there.
    NoSuchCollection(CollectionName),
    /// None of the collections could become whole.
    NothingWhole(Vec<(CollectionName, Missing)>),
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(why) => write!(f, "the collections cannot be read: {why}"),
            Self::Empty => f.write_str("there is no collection"),
            Self::NoSuchCollection(name) => write!(f, "there is no collection {name}"),
            Self::NothingWhole(all) => {
                f.write_str("no collection can be taken whole")?;
                all.iter()
                    .try_for_each(|(name, missing)| write!(f, "; {name}: {missing}"))
            }
        }
    }
}

/// The plan for a set: complete, so that whoever reads it has nothing left to choose.
///
/// # Errors
/// There is nothing that could be taken.
pub fn plan(
    order: &Order,
    view: &ClusterView,
    described: &Described,
) -> Result<PlanRecord, NoPlan> {
    let all = match &view.collections {
        Observed::Known(all) => all,
        Observed::Unknown(why) => return Err(NoPlan::Unread(why.clone())),
    };
    let mut finished = all
        .iter()
        .filter(|(name, _)| !order.unfinished.contains(*name));
    let wanted: Vec<_> = match &order.scope {
        Scope::All => finished.collect(),
        Scope::One(name) => {
            let there = finished.find(|(there, _)| *there == name);
            vec![there.ok_or_else(|| NoPlan::NoSuchCollection(name.clone()))?]
        }
    };
    if wanted.is_empty() {
        return Err(NoPlan::Empty);
    }
    let mut collections = Vec::new();
    let mut open = Vec::new();
    for (index, (name, seen)) in (0_u32..).zip(&wanted) {
        let (description, ready) = readable(described.get(*name), seen);
        let missing = match ready {
            Ok(there) => {
                open.extend(there.shards.iter().map(|(id, shard)| {
                    let of = ShardRef {
                        collection: (*name).clone(),
                        shard: *id,
                    };
                    (of, shard)
                }));
                Vec::new()
            }
            Err(why) => vec![Missing { shard: None, why }],
        };
        collections.push(PlannedCollection {
            index: CollectionIndex(index),
            name: (*name).clone(),
            description,
            shards: BTreeMap::new(),
            missing,
        });
    }
    let mut by_name: BTreeMap<_, _> = collections
        .iter_mut()
        .map(|there| (there.name.clone(), there))
        .collect();
    for (of, holder) in share_out(order, view, open) {
        match (by_name.get_mut(&of.collection), holder) {
            (Some(there), Some(holder)) => drop(there.shards.insert(of.shard, holder)),
            (Some(there), None) => there.missing.push(Missing {
                shard: Some(of.shard),
                why: Lack::NoSource,
            }),
            (None, _) => {}
        }
    }
    if collections.iter().all(|there| !there.missing.is_empty()) {
        let first =
            |there: PlannedCollection| Some((there.name, there.missing.into_iter().next()?));
        return Err(NoPlan::NothingWhole(
            collections.into_iter().filter_map(first).collect(),
        ));
    }
    Ok(PlanRecord {
        format: FORMAT,
        set: order.set,
        origin: order.origin,
        asked: order.asked.clone(),
        scope: order.scope.clone(),
        source: order.source.clone(),
        planned: order.now,
        collections,
        deleted: order.deleted.clone(),
    })
}

/// What a collection is and where its shards are, or what stands in the way.
fn readable<'a>(
    described: Option<&Observed<Description>>,
    seen: &'a Observed<Collection>,
) -> (Option<Description>, Result<&'a Collection, Lack>) {
    let description = match described {
        Some(Observed::Known(description)) => description,
        Some(Observed::Unknown(why)) => return (None, Err(Lack::Unread(why.clone()))),
        None => return (None, Err(Lack::Unread("it was not asked".to_owned()))),
    };
    let there = match seen {
        Observed::Known(there) if there.resharding => Err(Lack::Resharding),
        Observed::Known(there) => {
            let listed = there.shards.keys().copied().collect();
            match shards(description) == Some(listed) {
                true => Ok(there),
                false => Err(Lack::Shards),
            }
        }
        Observed::Unknown(why) => Err(Lack::Unread(why.clone())),
    };
    // Keys that do not fit could not be read back from the record.
    let sound = shards(description).is_some();
    (sound.then(|| description.clone()), there)
}

/// One source for each shard, when it has any.
fn share_out(
    order: &Order,
    view: &ClusterView,
    mut open: Vec<(ShardRef, &Shard)>,
) -> BTreeMap<ShardRef, Option<Holder>> {
    open.sort_by_key(|(of, shard)| (Reverse(bytes(shard)), of.clone()));
    let mut load: BTreeMap<TaskId, (u64, u32)> = BTreeMap::new();
    let mut chosen = BTreeMap::new();
    for (of, shard) in open {
        let best = sources(view, shard).min_by_key(|(peer, there, task)| {
            (
                order.failed_before.contains(&(of.clone(), *peer)),
                order.shut.get(peer).copied().unwrap_or_default(),
                is_leaving(view, *peer, there),
                gives_away(view, &of, *peer),
                load.get(*task).copied().unwrap_or_default(),
                *peer == view.us,
                *peer,
            )
        });
        let holder = best.map(|(peer, _, task)| Holder {
            peer,
            task: task.clone(),
        });
        if let Some(holder) = &holder {
            let (sum, count) = load.entry(holder.task.clone()).or_default();
            *sum = sum.saturating_add(bytes(shard));
            *count = count.saturating_add(1);
        }
        chosen.insert(of, holder);
    }
    chosen
}

/// Those who can take a shard.
fn sources<'a>(
    view: &'a ClusterView,
    shard: &'a Shard,
) -> impl Iterator<Item = (PeerId, &'a Peer, &'a TaskId)> {
    let active = shard.copies.iter().filter(|(_, copy)| copy.is_active());
    active.filter_map(|(peer, _)| {
        let there = view.peers.get(peer)?;
        Some((*peer, there, task(there)?))
    })
}

/// The task of a peer that answers and is not being stopped.
fn task(peer: &Peer) -> Option<&TaskId> {
    let stays = peer.life == Life::Alive && !peer.said.ending;
    peer.task.as_ref().filter(|_| stays)
}

/// Whether this copy can certainly not be any more what a plan named as its source: it is not there or
/// not Active, or its peer is gone, is being stopped, or belongs to another task. A peer that does not
/// answer for a moment may still deliver.
pub(super) fn is_lost(view: &ClusterView, shard: &ShardRef, holder: &Holder) -> bool {
    let copy = view
        .shard(shard)
        .and_then(|there| there.copies.get(&holder.peer));
    let Some(there) = view.peers.get(&holder.peer) else {
        return true;
    };
    let other = there.task.as_ref().is_some_and(|task| *task != holder.task);
    !copy.is_some_and(|copy| copy.is_active()) || there.life.is_gone() || there.said.ending || other
}

fn is_leaving(view: &ClusterView, peer: PeerId, there: &Peer) -> bool {
    let ordered = view.service.orders.leaving.as_ref();
    there.leaving || ordered.is_some_and(|leaving| leaving.peer == peer)
}

fn gives_away(view: &ClusterView, of: &ShardRef, peer: PeerId) -> bool {
    let there = view.collection(&of.collection);
    let mut transfers = there.into_iter().flat_map(|there| &there.transfers);
    transfers.any(|t| t.shard == of.shard && t.from == peer)
}

/// The size of a shard: of its largest copy, since every copy holds the same.
fn bytes(shard: &Shard) -> u64 {
    let known = shard.copies.values().filter_map(|copy| copy.bytes);
    known.max().unwrap_or(0)
}
