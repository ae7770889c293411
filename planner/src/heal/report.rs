//! The figures of one round, for people and metrics.

use crate::heal::facts::Facts;
use crate::heal::health::{Health, crowd, kept_copies, wanted_copies};
use crate::heal::life::Life;
use crate::heal::measure::{Measure, measured};
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::settings::Settings;
use crate::heal::view::ClusterView;

/// The state of the cluster in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The list of collections could be read.
    pub collections_read: bool,
    /// Peers whose Qdrant answers.
    pub alive: usize,
    /// Peers whose PID 1 alone answers.
    pub hung: usize,
    /// Silent peers that are not proven gone.
    pub unsure: usize,
    /// Gone peers that are still listed.
    pub gone: usize,
    /// Peers that do not vote.
    pub learners: usize,
    /// Peers that were told to leave.
    pub leaving: usize,
    /// Shards of collections that could be read.
    pub shards: usize,
    /// Of them, those with all wanted copies living.
    pub whole: usize,
    /// Of them, those with all copies that every peer which is not gone could hold, all living.
    pub settled: usize,
    /// Of them, those with one living copy that should have more.
    pub single: usize,
    /// Of them, those with more living copies than wanted. Nobody drops what is too much.
    pub spare: usize,
    /// Of them, those with two copies in one zone while another has two fewer.
    pub crowded: usize,
    /// Shards without a living copy.
    pub dark: Vec<ShardRef>,
    /// Of them, those whose loss is on record: the collection needs a restore.
    pub broken: Vec<ShardRef>,
    /// Collections that could not be read.
    pub unread: Vec<CollectionName>,
    /// Collections whose factor is lower than this service wants.
    pub low_factor: Vec<CollectionName>,
    /// How far from rest.
    pub measure: Measure,
}

impl Report {
    /// Everything could be read, and every shard has all the copies that it should have, of which
    /// none is still coming or merely absent. Stricter than [`Report::whole`]: on this word a removed
    /// peer sets its own data aside, so a peer that missed a single question must not lower it.
    pub fn is_whole(&self) -> bool {
        self.collections_read && self.unread.is_empty() && self.settled == self.shards
    }
}

pub(crate) fn report(settings: &Settings, view: &ClusterView, facts: &Facts<'_>) -> Report {
    let mut report = Report {
        measure: measured(settings, view, facts),
        collections_read: view.collections.known().is_some(),
        ..Report::default()
    };
    for peer in view.peers.values() {
        let kind = match &peer.life {
            Life::Alive => &mut report.alive,
            Life::Hung { .. } => &mut report.hung,
            Life::Unsure { .. } => &mut report.unsure,
            Life::Gone { .. } => &mut report.gone,
        };
        *kind += 1;
        report.learners += usize::from(!peer.voter);
        report.leaving += usize::from(peer.leaving);
    }
    let unread = view.collections.known().into_iter().flatten();
    let unread = unread.filter(|(_, collection)| collection.known().is_none());
    report.unread = unread.map(|(name, _)| name.clone()).collect();
    let mut zones: Vec<_> = facts.seats.values().filter_map(|seat| seat.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    for (name, collection) in view.known() {
        if Some(collection.factor) < settings.wanted_factor {
            report.low_factor.push(name.clone());
        }
        let wanted = wanted_copies(collection.factor, facts.seats.len());
        for (id, shard) in &collection.shards {
            let health = Health::of(view, shard);
            let living = health.living.len();
            let kept = kept_copies(collection.factor, view);
            let pending = health.coming.len() + health.absent.len();
            report.settled += usize::from(living >= kept && pending == 0);
            report.shards += 1;
            report.whole += usize::from(living >= wanted);
            report.single += usize::from(living == 1 && wanted > 1);
            report.spare += usize::from(living > wanted);
            let crowd = crowd(view, shard, None);
            let of = |zone| crowd.get(&Some(zone)).copied().unwrap_or(0);
            let fewest = zones.iter().map(|zone| of(zone)).min();
            let most = zones.iter().map(|zone| of(zone)).max();
            report.crowded += usize::from(most > fewest.map(|fewest| fewest + 1));
            // A shard that resharding fills has no Active copy before its end.
            if living == 0 && !collection.resharding {
                let name = ShardRef {
                    collection: name.clone(),
                    shard: *id,
                };
                if view.losses.contains(&name) {
                    report.broken.push(name.clone());
                }
                report.dark.push(name);
            }
        }
    }
    report
}
