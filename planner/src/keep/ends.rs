//! Which collections have ended: what a set lacks for good, and not because a disaster took it.

use std::collections::{BTreeMap, BTreeSet};

use crate::heal::names::CollectionName;
use crate::ids::GenerationId;
use crate::keep::ids::SetId;
use crate::keep::restore_wish::{What, Wish};
use crate::keep::seen::{Seen, newest_of_all};
use crate::records::{Progress, Restore};

/// The collections whose end is on record when this set is planned, each with the first set after it.
///
/// Only an end within one life of the cluster is one: there its Raft says what is gone. What a new
/// life lacks may be what a disaster took; that is on record only when a person `accepted` it. What is
/// here again has not ended, and what no set lists any more is forgotten.
pub fn deleted(
    sets: &[Seen],
    set: SetId,
    generation: &GenerationId,
    present: &BTreeSet<CollectionName>,
    accepted: &BTreeSet<CollectionName>,
) -> BTreeMap<CollectionName, SetId> {
    let made = || sets.iter().filter_map(Seen::contents);
    let listed: BTreeSet<_> = made().flat_map(|there| there.collections.keys()).collect();
    let before = newest_of_all(sets).map(|(_, contents)| &contents.deleted);
    let before = before.cloned().unwrap_or_default();
    let own = made().filter(|there| there.generation == *generation);
    let own = own.flat_map(|there| there.collections.keys());
    let ended = own.chain(accepted).map(|name| (name.clone(), set));
    let mut deleted: BTreeMap<_, _> = ended.collect();
    deleted.extend(before);
    deleted.retain(|name, _| !present.contains(name) && listed.contains(name));
    deleted
}

/// The collections that have ended in this life of the cluster though no set of it lists them: those that its
/// restore brought back, for they were here since, and those of which a person was told that they are lost
/// by a decision, once it has taken effect.
pub fn accepted(
    generation: &GenerationId,
    restore: Option<&Restore>,
    wish: Option<&Wish>,
) -> BTreeSet<CollectionName> {
    let restore = restore.filter(|record| record.generation == *generation && record.finished);
    let brought_back = restore.into_iter().flat_map(|record| &record.collections);
    let mut accepted: BTreeSet<_> = brought_back
        .filter(|(_, at)| matches!(at, Progress::Done { .. }))
        .map(|(name, _)| name.clone())
        .collect();
    let wish = wish.filter(|wish| wish.generation == *generation);
    let wish = wish.filter(|wish| match wish.what {
        What::AcceptLoss => true,
        What::Use(set) => restore.is_some_and(|record| record.set == Some(set)),
    });
    accepted.extend(wish.into_iter().flat_map(|wish| wish.lost.clone()));
    accepted
}

/// What is lost when only `kept` is restored: all that sets have and whose end is not on record.
pub fn lost(sets: &[Seen], kept: &BTreeSet<CollectionName>) -> BTreeSet<CollectionName> {
    let ended = newest_of_all(sets).map(|(_, contents)| &contents.deleted);
    let listed = sets.iter().filter_map(Seen::contents);
    listed
        .flat_map(|there| there.collections.keys())
        .filter(|name| !kept.contains(*name))
        .filter(|name| !ended.is_some_and(|ended| ended.contains_key(*name)))
        .cloned()
        .collect()
}
