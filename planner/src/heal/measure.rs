//! What every action lowers.
//!
//! The components stand in the order of their weight: an action lowers one of them and raises
//! none before it. All are whole numbers from zero up, so with nothing happening from outside the
//! steward comes to rest. Property-tested in `tests/heal`.

use std::collections::BTreeMap;

use crate::heal::facts::Facts;
use crate::heal::guard::{baseless, blocks, doomed, holdings, joins, lost};
use crate::heal::health::{Health, crowd, wanted_copies};
use crate::heal::life::Life;
use crate::heal::names::ShardRef;
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Peer};
use crate::ids::PeerId;
use crate::ids::TaskId;
use crate::records::GrantKind;

/// How far the cluster is from rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measure {
    /// An order to empty a task that has no ground any more.
    pub baseless: u64,
    /// Tasks that are one too many, or block a deployment, and were not told to leave.
    pub to_go: u64,
    /// Tasks that wait to be let in and have no permission.
    pub outside: u64,
    /// Members that wait to be ready and have no permission.
    pub unready: u64,
    /// Permissions that are out.
    pub grants: u64,
    /// What the factors of collections are short of the wanted one.
    pub factors: u64,
    /// Transfers that come to no end.
    pub doomed: u64,
    /// Lost shards that are not on record.
    pub unrecorded: u64,
    /// Copies listed on gone peers.
    pub dead_copies: u64,
    /// Copies listed on peers that are not in the address book.
    pub unlisted: u64,
    /// Gone peers.
    pub gone: u64,
    /// Copies on peers whose tasks are being stopped.
    pub ending_copies: u64,
    /// Peers whose tasks are being stopped.
    pub ending: u64,
    /// Shards with one living copy that should have more.
    pub single: u64,
    /// Copies that are missing.
    pub missing: u64,
    /// Copies that are not Active on a living peer.
    pub recovering: u64,
    /// Tasks that were let go and hold copies.
    pub exposed: u64,
    /// Tasks that are being emptied and were not let go.
    pub unreleased: u64,
    /// Copies on peers that were told to leave.
    pub leaving_copies: u64,
    /// Peers that were told to leave.
    pub leaving: u64,
    /// Sum over shards and zones of squared copies.
    pub crowding: u64,
    /// Sum over collections and peers of squared copies.
    pub uneven_collections: u64,
    /// Sum over peers of squared copies.
    pub uneven_counts: u64,
    /// Sum over peers of squared bytes.
    pub uneven_bytes: u128,
}

/// Measures a view.
pub fn measure(settings: &Settings, view: &ClusterView) -> Measure {
    measured(settings, view, &Facts::of(view))
}

pub(crate) fn measured(settings: &Settings, view: &ClusterView, facts: &Facts<'_>) -> Measure {
    let mut sum = Measure::default();
    for peer in view.peers.values() {
        sum.gone += u64::from(peer.life.is_gone());
        sum.ending += u64::from(peer.ends());
        sum.leaving += u64::from(peer.leaving && peer.life == Life::Alive);
    }
    admissions(view, &mut sum);
    evacuations(settings, view, &mut sum);
    let tasks = view.wanted_tasks.unwrap_or(0).max(facts.seats.len());
    let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
    let factor = settings.wanted_factor.unwrap_or(0).min(tasks);
    for (name, collection) in view.known() {
        sum.factors += u64::from(factor.saturating_sub(collection.factor));
        let wanted = wanted_copies(collection.factor, facts.seats.len());
        let transfers = collection.transfers.iter();
        sum.doomed += count(
            transfers
                .filter(|t| doomed(settings, view, name, t))
                .count(),
        );
        for (id, shard) in &collection.shards {
            let health = Health::of(view, shard);
            sum.single += u64::from(health.is_single(settings, view, wanted));
            sum.missing += count(wanted.saturating_sub(health.present(settings, view)));
            sum.recovering += count(health.coming.len());
            sum.crowding += squares(crowd(view, shard, None).values());
            let gone = || shard.copies.keys().filter(|peer| view.gone(**peer));
            sum.dead_copies += count(gone().count());
            let unlisted = || {
                shard
                    .copies
                    .keys()
                    .filter(|peer| view.life(**peer).is_none())
            };
            sum.unlisted += count(unlisted().count());
            let ending = |peer: &&PeerId| view.peers.get(peer).is_some_and(Peer::ends);
            sum.ending_copies += count(shard.copies.keys().filter(ending).count());
            let name = ShardRef {
                collection: name.clone(),
                shard: *id,
            };
            let unrecorded = health.living.is_empty()
                && !view.losses.contains(&name)
                && gone()
                    .chain(unlisted())
                    .any(|peer| lost(settings, view, &name, *peer).is_ok());
            sum.unrecorded += u64::from(unrecorded);
        }
    }
    let leaving = |peer| {
        view.peers
            .get(peer)
            .is_some_and(|p| p.leaving && !view.gone(*peer))
    };
    let leaving = facts.elsewhere.iter().filter(|(peer, _)| leaving(peer));
    sum.leaving_copies = leaving.map(|(_, shards)| count(shards.len())).sum();
    for spread in facts.spread.values() {
        let here: BTreeMap<_, _> = spread
            .iter()
            .filter(|(peer, _)| facts.seats.contains_key(peer))
            .collect();
        sum.uneven_collections += squares(here.into_values());
    }
    sum.uneven_counts = squares(facts.seats.values().map(|seat| &seat.copies));
    let bytes = facts.seats.values().map(|seat| u128::from(seat.bytes));
    sum.uneven_bytes = bytes.map(|bytes| bytes.saturating_mul(bytes)).sum();
    sum
}

fn admissions(view: &ClusterView, sum: &mut Measure) {
    let service = &view.service;
    let out = service.orders.grant.as_ref();
    sum.grants = u64::from(out.is_some());
    if !service.complete {
        return;
    }
    let has = |kind, task: &TaskId| out.is_some_and(|out| out.kind == kind && out.task == *task);
    let outside = service.outside.iter();
    let outside = outside.filter(|(task, there)| joins(there) && !has(GrantKind::Join, task));
    sum.outside = count(outside.count());
    let unready = view
        .peers
        .values()
        .filter(|peer| peer.stays() && !peer.said.ready);
    let unready = unready.filter(|peer| {
        let task = peer.task.as_ref();
        !task.is_some_and(|task| has(GrantKind::Serve, task))
    });
    sum.unready = count(unready.count());
}

fn evacuations(settings: &Settings, view: &ClusterView, sum: &mut Measure) {
    if let Some(leaving) = &view.service.orders.leaving {
        sum.baseless = u64::from(baseless(settings, view, leaving).is_some());
        sum.unreleased = u64::from(!leaving.released);
        let holds = holdings(view, leaving.peer).next().is_some();
        sum.exposed = u64::from(leaving.released && holds);
    }
    let stay = || view.peers.values().filter(|peer| peer.stays());
    let here = stay().count();
    let surplus = view.limit().map_or(0, |limit| here.saturating_sub(limit));
    let blocking = stay().filter(|peer| blocks(view, peer)).count();
    sum.to_go = count(surplus.saturating_add(blocking));
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn squares<'a>(numbers: impl Iterator<Item = &'a u32>) -> u64 {
    numbers.map(|n| u64::from(*n) * u64::from(*n)).sum()
}
