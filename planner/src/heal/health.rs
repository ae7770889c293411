//! How one shard is: which of its copies live, come, may return, or are lost.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::heal::facts::Facts;
use crate::heal::life::Life;
use crate::heal::names::{ShardRef, Zone};
use crate::heal::settings::Settings;
use crate::heal::view::{ClusterView, Copy, Peer, Shard};
use crate::heal::waiting::Short;
use crate::ids::PeerId;

/// The holders of one shard, by how their copy is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Active, and the peer answers.
    pub(crate) living: Vec<PeerId>,
    /// Not Active, and the peer answers: Qdrant synchronises it.
    pub(crate) coming: Vec<PeerId>,
    /// The peer does not answer, and may return.
    pub(crate) absent: Vec<PeerId>,
    /// The peer is gone, or not even in the address book; or it was told to leave, and what is
    /// not Active there will not be waited for.
    pub(crate) lost: Vec<PeerId>,
}

impl Health {
    pub(crate) fn of(view: &ClusterView, shard: &Shard) -> Self {
        let mut health = Self::default();
        for (peer, copy) in &shard.copies {
            let there = view.peers.get(peer);
            let kind = match there.map(|there| (&there.life, there.leaving)) {
                Some((Life::Alive, _)) if copy.is_active() => &mut health.living,
                Some((Life::Alive, false)) => &mut health.coming,
                Some((Life::Hung { .. } | Life::Unsure { .. }, _)) => &mut health.absent,
                Some((Life::Alive, true) | (Life::Gone { .. }, _)) | None => &mut health.lost,
            };
            kind.push(*peer);
        }
        health
    }

    /// Copies that need no replacement, at least not yet. One on a peer that has not answered for as
    /// long as a last copy is waited for gets one elsewhere, also while that peer is not gone: its
    /// PID 1 may answer for ever beside a Qdrant that hangs. Nothing is taken from it for that.
    pub(crate) fn present(&self, settings: &Settings, view: &ClusterView) -> usize {
        let waited_for = |peer: &&PeerId| away_for(view, **peer) < settings.lost_copy_timeout;
        let absent = self.absent.iter().filter(waited_for).count();
        self.living.len() + self.coming.len() + absent
    }

    /// Every copy lives.
    pub(crate) fn is_whole(&self) -> bool {
        !self.living.is_empty()
            && self.coming.is_empty()
            && self.absent.is_empty()
            && self.lost.is_empty()
    }
}

impl Health {
    /// One copy lives, more are wanted, and nothing else comes, or may be expected to return soon.
    pub(crate) fn is_single(&self, settings: &Settings, view: &ClusterView, wanted: usize) -> bool {
        let soon = |peer: &&PeerId| away_for(view, **peer) < settings.patience;
        self.living.len() == 1
            && self.coming.is_empty()
            && 1 + self.absent.iter().filter(soon).count() < wanted
    }
}

/// For how long a peer that is neither alive nor gone has not answered; for ever when it is either.
fn away_for(view: &ClusterView, peer: PeerId) -> Duration {
    match view.life(peer) {
        Some(Life::Hung { lasted } | Life::Unsure { lasted, .. }) => *lasted,
        _ => Duration::MAX,
    }
}

/// What is missing of the copies that could be there: the first shard with fewer copies on peers that
/// stay than it should have whose loss is not on record, or what could not be read. A copy on a task
/// that is being stopped is as good as gone. Collections in resharding are their owner's.
pub(crate) fn short_shard(view: &ClusterView, facts: &Facts<'_>) -> Option<Short> {
    if let Some((name, _)) = view.unknown() {
        return Some(Short::Unread(name.cloned()));
    }
    for (name, collection) in view.known().filter(|(_, there)| !there.resharding) {
        let wanted = wanted_copies(collection.factor, facts.seats.len());
        for (id, shard) in &collection.shards {
            let stays = |(peer, copy): &(&PeerId, &Copy)| {
                copy.is_active() && facts.seats.contains_key(*peer)
            };
            if shard.copies.iter().filter(stays).count() >= wanted {
                continue;
            }
            let short = ShardRef {
                collection: name.clone(),
                shard: *id,
            };
            if !view.losses.contains(&short) {
                return Some(Short::Shard(short));
            }
        }
    }
    None
}

/// How many copies a shard should have, with so many peers to hold them.
pub(crate) fn wanted_copies(factor: u32, staying: usize) -> usize {
    usize::try_from(factor).unwrap_or(usize::MAX).min(staying)
}

/// How many copies must be left on others before one on a peer that leaves is dropped: as many as
/// are wanted once everybody answers again who may and nobody is here who is not wanted, and never
/// none.
pub(crate) fn kept_copies(factor: u32, view: &ClusterView) -> usize {
    let may_stay = |peer: &&Peer| !peer.leaving && !peer.life.is_gone();
    let peers = view.peers.values().filter(may_stay).count();
    let peers = view.limit().map_or(peers, |limit| peers.min(limit));
    wanted_copies(factor, peers).max(1)
}

/// How many copies of a shard each zone has, the one on `without` and the lost ones not counted.
/// Peers without a known zone are one place of their own.
pub(crate) fn crowd<'a>(
    view: &'a ClusterView,
    shard: &Shard,
    without: Option<PeerId>,
) -> BTreeMap<Option<&'a Zone>, u32> {
    let mut crowd = BTreeMap::new();
    for peer in shard.copies.keys().filter(|peer| Some(**peer) != without) {
        if let Some(there) = view.peers.get(peer)
            && !there.life.is_gone()
        {
            *crowd.entry(there.zone.as_ref()).or_insert(0) += 1;
        }
    }
    crowd
}
