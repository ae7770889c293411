//! Copies that are missing.

use core::time::Duration;

use crate::heal::action::{Action, Purpose};
use crate::heal::health::{Health, wanted_copies};
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::placement::{places, sources};
use crate::heal::round::Round;
use crate::heal::view::{Collection, Shard};
use crate::heal::waiting::Waiting;

/// One living copy, and nothing else that comes or returns soon. At once, whatever the
/// zone.
pub(crate) fn save_single(round: &mut Round<'_>) -> bool {
    each_short(round, |round, short| {
        if !short
            .health
            .is_single(round.settings, round.view, short.wanted)
        {
            return false;
        }
        round.may_transfer() && replicate(round, short, &Purpose::OneLivingCopy, None)
    })
}

/// Everything else that is missing or does not recover.
pub(crate) fn restore_missing(round: &mut Round<'_>) -> bool {
    each_short(round, |round, short| {
        let present = short.health.present(round.settings, round.view);
        if present >= short.wanted {
            return false;
        }
        if short.health.living.is_empty() {
            round.wait(Waiting::NoSource(short.name.clone()));
            return false;
        }
        let purpose = Purpose::TooFew {
            present,
            wanted: short.wanted,
        };
        let patience = round.replacement_due();
        round.may_transfer() && replicate(round, short, &purpose, patience)
    }) || each_short(round, resync)
}

/// A shard that is not whole, or has fewer copies than wanted.
struct Short<'a> {
    name: ShardRef,
    collection: &'a CollectionName,
    shard: &'a Shard,
    health: Health,
    wanted: usize,
}

/// Asks `what` about every shard that is not whole or short of copies, in the order of their
/// names, until it chooses an action. Collections in resharding are left alone.
fn each_short(
    round: &mut Round<'_>,
    mut what: impl FnMut(&mut Round<'_>, &Short<'_>) -> bool,
) -> bool {
    let view = round.view;
    let quiet = |(_, collection): &(_, &Collection)| !collection.resharding;
    for (name, collection) in view.known().filter(quiet) {
        let wanted = wanted_copies(collection.factor, round.facts.seats.len());
        for (id, shard) in &collection.shards {
            let health = Health::of(view, shard);
            if health.is_whole() && health.living.len() >= wanted {
                continue;
            }
            let short = Short {
                name: ShardRef {
                    collection: name.clone(),
                    shard: *id,
                },
                collection: name,
                shard,
                health,
                wanted,
            };
            if what(round, &short) {
                return true;
            }
        }
    }
    false
}

/// Replicates onto the best peer that nothing speaks against. With `patience`, a copy that would be
/// moved again when the replacement task comes waits for it.
fn replicate(
    round: &mut Round<'_>,
    short: &Short<'_>,
    purpose: &Purpose,
    patience: Option<Duration>,
) -> bool {
    let places = places(
        round.view,
        &round.facts,
        short.collection,
        short.shard,
        None,
    );
    if places.is_empty() {
        round.wait(Waiting::NoPlace(short.name.clone()));
    }
    for place in places {
        if let (Some(left), false) = (patience, place.is_free()) {
            round.wait(Waiting::Replacement {
                shard: short.name.clone(),
                left,
            });
            return false;
        }
        for from in sources(round.view, &short.health.living, place.peer) {
            let action = Action::Replicate {
                shard: short.name.clone(),
                from,
                to: place.peer,
            };
            if round.offer(action, purpose.clone()) {
                return true;
            }
        }
    }
    false
}

/// A copy that Qdrant has not made Active by itself is synchronised again.
fn resync(round: &mut Round<'_>, short: &Short<'_>) -> bool {
    if short.health.living.is_empty() {
        // Nothing to synchronise from, and [`restore_missing`] has said so.
        return false;
    }
    for to in &short.health.coming {
        let unwell = short
            .shard
            .copies
            .get(to)
            .map_or(Duration::ZERO, |c| c.unwell);
        round.wait(Waiting::Recovering {
            shard: short.name.clone(),
            peer: *to,
            unwell,
        });
        let takes = round.facts.seats.contains_key(to);
        if unwell < round.settings.resync_timeout || !takes || !round.may_transfer() {
            continue;
        }
        for from in sources(round.view, &short.health.living, *to) {
            let action = Action::Replicate {
                shard: short.name.clone(),
                from,
                to: *to,
            };
            if round.offer(action, Purpose::NotRecovering(unwell)) {
                return true;
            }
        }
    }
    false
}
