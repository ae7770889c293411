//! What a restore does next, what it may throw away, and when a collection is restored.
//!
//! All that is remembered is in [`Restore`], which is committed by Raft: a steward that takes over
//! goes on with what is not *done*. What is pending is half, whatever there is of it, and is made
//! again from the beginning. Files of one set go to every copy of a shard, so copies that do not
//! count the same are not restored.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::names::{CollectionName, ShardId};
use crate::heal::view::{ClusterView, Collection};
use crate::ids::{GenerationId, PeerId};
use crate::keep::ids::SetId;
use crate::keep::records::{CollectionEntry, FileEntry, Manifest, ShardKey};
use crate::observed::Observed;
use crate::records::{FORMAT, Progress, Restore};

/// After so many times that its bytes were found to be wrong a set gives way to the next older one.
pub const TRIES: u32 = 2;

/// What a restore does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the cluster may serve.
    Finished,
    /// A set has to be chosen.
    Choose,
    /// These are not part of the set, or given up: what there is of them is deleted.
    Clear(Vec<CollectionName>),
    /// This one is made, filled, and compared.
    Collection(SetId, CollectionName),
    /// All are restored, or given up: the aliases, and with the word that all is finished the end. `None`:
    /// a person has accepted the loss before any set was chosen.
    Finish(Option<SetId>),
}

/// What comes next, by the record.
pub fn next(record: &Restore) -> Next {
    if record.finished {
        return Next::Finished;
    }
    let of = |wanted: &dyn Fn(&Progress) -> bool| {
        let found = record.collections.iter().filter(|(_, at)| wanted(at));
        found.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let failed = of(&|at| matches!(at, Progress::Failed(_)));
    if !failed.is_empty() {
        return Next::Clear(failed);
    }
    match (
        record.set,
        of(&|at| *at == Progress::Pending).into_iter().next(),
    ) {
        (Some(set), Some(name)) => Next::Collection(set, name),
        (Some(set), None) => Next::Finish(Some(set)),
        (None, None) if record.accepted.is_some() => Next::Finish(None),
        (None, _) => Next::Choose,
    }
}

/// The record of a restore for which no set was chosen yet.
pub fn empty(generation: GenerationId) -> Restore {
    Restore {
        format: FORMAT,
        generation,
        set: None,
        collections: BTreeMap::new(),
        tries: 0,
        given_up: BTreeSet::new(),
        finished: false,
        accepted: None,
    }
}

/// The record to go on with in our generation: the one that is there, also of the generation before a
/// re-quorum, which takes the key map along.
///
/// # Errors
/// It is of a generation that does not come before ours: for people.
pub fn ours(record: Option<Restore>, generation: &GenerationId) -> Result<Restore, String> {
    match record {
        None => Ok(empty(generation.clone())),
        Some(record) if record.generation == *generation => Ok(record),
        Some(record) if record.generation.number < generation.number => Ok(Restore {
            generation: generation.clone(),
            ..record
        }),
        Some(record) => Err(format!(
            "the record of the restore is of generation {}, ours is {generation}",
            record.generation
        )),
    }
}

/// The record once this set is chosen: everything in it is pending, and what a set before it had and
/// this one lacks goes.
pub fn begun(record: &Restore, manifest: &Manifest) -> Restore {
    let whole = manifest.collections.iter().filter(|there| there.whole);
    let mut collections: BTreeMap<_, _> = whole
        .map(|there| (there.name.clone(), Progress::Pending))
        .collect();
    for name in record.collections.keys() {
        collections
            .entry(name.clone())
            .or_insert_with(|| Progress::Failed(format!("set {} lacks it", manifest.set)));
    }
    Restore {
        set: Some(manifest.set),
        collections,
        tries: 0,
        ..record.clone()
    }
}

/// The record once this collection is restored as the one with this uuid.
pub fn done(record: &Restore, name: &CollectionName, uuid: &str) -> Restore {
    let mut record = record.clone();
    if let Some(at) = record.collections.get_mut(name) {
        *at = Progress::Done {
            uuid: uuid.to_owned(),
        };
    }
    record
}

/// The record once what was not part of the set is deleted.
pub fn cleared(record: &Restore, names: &[CollectionName]) -> Restore {
    let mut record = record.clone();
    record.collections.retain(|name, _| !names.contains(name));
    record
}

/// The record once all is restored.
pub fn finished(record: &Restore) -> Restore {
    Restore {
        finished: true,
        ..record.clone()
    }
}

/// The record once bytes of this set were read here and found to be wrong; says whether it is given up:
/// at once while it was only about to be chosen. What the set has lost is its trust: what was restored
/// from it before goes as well.
pub fn failed(record: &Restore, set: SetId) -> (Restore, bool) {
    let mut record = record.clone();
    record.tries = record.tries.saturating_add(1);
    let chosen = record.set == Some(set);
    if chosen && record.tries < TRIES {
        return (record, false);
    }
    record.given_up.insert(set);
    record.tries = 0;
    if chosen {
        record.set = None;
        for at in record.collections.values_mut() {
            *at = Progress::Pending;
        }
    }
    (record, true)
}

/// The record once these were found not to be there any more, or not whole: they are made again.
pub fn undone(record: &Restore, names: &[CollectionName]) -> Restore {
    let mut record = record.clone();
    for name in names {
        if let Some(at) = record.collections.get_mut(name) {
            *at = Progress::Pending;
        }
    }
    record
}

/// Qdrant's own name of each collection that is there.
pub type Uuids = BTreeMap<CollectionName, String>;

/// The collections of the record that are not there, are others than those that were restored, or have a
/// shard without a living Active copy: the set holds them still, and nobody has been served.
///
/// # Errors
/// What could not be read; for people.
pub fn lost(
    view: &ClusterView,
    there: &Uuids,
    record: &Restore,
) -> Result<Vec<CollectionName>, String> {
    let Observed::Known(all) = &view.collections else {
        return Err("the collections could not be read".to_owned());
    };
    let mut lost = Vec::new();
    for (name, at) in &record.collections {
        let other = matches!(at, Progress::Done { uuid } if there.get(name) != Some(uuid));
        if other || !is_whole(view, all.get(name), name)? {
            lost.push(name.clone());
        }
    }
    Ok(lost)
}

/// Every shard of a collection has a living Active copy.
pub(super) fn is_whole(
    view: &ClusterView,
    there: Option<&Observed<Collection>>,
    name: &CollectionName,
) -> Result<bool, String> {
    match there {
        None => Ok(false),
        Some(Observed::Unknown(why)) => Err(format!("{name}: {why}")),
        Some(Observed::Known(there)) => Ok(there.shards.values().all(|shard| {
            let mut copies = shard.copies.iter();
            copies.any(|(peer, copy)| copy.is_active() && view.alive(*peer))
        })),
    }
}

/// Why a restore may not delete a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The record is of another generation than the one that we are in.
    Generation,
    /// The restore is finished: the collections are somebody's.
    Finished,
    /// The restore did not make it.
    NotOurs,
    /// It is restored.
    Done,
}

/// May the restore delete what there is of this collection? Only what it made itself and has not
/// finished, in a generation that has never served.
///
/// # Errors
/// [`Keep`].
pub fn may_delete(
    record: &Restore,
    ours: &GenerationId,
    name: &CollectionName,
) -> Result<(), Keep> {
    if record.generation != *ours {
        return Err(Keep::Generation);
    }
    if record.finished {
        return Err(Keep::Finished);
    }
    match record.collections.get(name) {
        None => Err(Keep::NotOurs),
        Some(Progress::Done { .. }) => Err(Keep::Done),
        Some(Progress::Pending | Progress::Failed(_)) => Ok(()),
    }
}

/// A key to be created, with so many shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The key.
    pub key: ShardKey,
    /// Its shards.
    pub shards: u32,
    /// It only takes the numbers of shards that were deleted once, and is deleted again.
    pub filler: bool,
}

/// The keys in the order in which they get the shard numbers that they had: Qdrant gives a new key the
/// numbers after the highest one, beginning with 1 (lib/collection/src/collection/sharding_keys.rs).
///
/// # Errors
/// A key whose shards did not follow each other: no order gives it these numbers.
pub fn keys_in_order(had: &BTreeMap<ShardId, ShardKey>) -> Result<Vec<NewKey>, ShardKey> {
    let mut shards: BTreeMap<&ShardKey, Vec<u32>> = BTreeMap::new();
    for (shard, key) in had {
        shards.entry(key).or_default().push(shard.0);
    }
    let mut ranges = Vec::new();
    for (key, ids) in &shards {
        let (first, last) = (ids.first().copied(), ids.last().copied());
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if first == 0 || last - first != count - 1 {
            return Err((*key).clone());
        }
        ranges.push((first, count, *key));
    }
    ranges.sort_unstable();
    let mut order = Vec::new();
    let mut next = 1;
    for (first, count, key) in ranges {
        if first > next {
            let name = unlike(&shards, next);
            order.push(NewKey {
                key: name,
                shards: first - next,
                filler: true,
            });
        }
        order.push(NewKey {
            key: key.clone(),
            shards: count,
            filler: false,
        });
        next = first + count;
    }
    Ok(order)
}

/// A key that is none of these.
fn unlike(keys: &BTreeMap<&ShardKey, Vec<u32>>, number: u32) -> ShardKey {
    let mut name = format!("entrypoint-filler-{number}");
    while keys.contains_key(&ShardKey::Word(name.clone())) {
        name.push('-');
    }
    ShardKey::Word(name)
}

/// Whether everybody is here among whom the copies are spread; when it is `late`, whoever is.
///
/// # Errors
/// Who is waited for; for people.
pub fn gathered(view: &ClusterView, late: bool) -> Result<(), String> {
    if !view.service.complete {
        return Err("the first formation is not complete".to_owned());
    }
    let here = here(view);
    match view.wanted_tasks {
        Some(wanted) if here < wanted && !late => Err(format!("{here} of {wanted} tasks are here")),
        _ => Ok(()),
    }
}

/// Whether a formation that waits for more peers than ECS wants tasks is complete as it is: the service
/// was made smaller before everything was lost, and nobody else comes.
pub fn is_all_there_will_be(view: &ClusterView) -> bool {
    let enough = |wanted| wanted > 0 && here(view) >= wanted;
    let service = &view.service;
    !service.complete && service.told && view.wanted_tasks.is_some_and(enough)
}

fn here(view: &ClusterView) -> usize {
    view.peers.values().filter(|peer| peer.stays()).count()
}

/// Who holds each shard.
pub type Holders = BTreeMap<ShardId, BTreeSet<PeerId>>;

/// Who holds each shard of a collection that was just made, once every copy is where it stays: what
/// is filled now must not move.
///
/// # Errors
/// What is waited for; for people.
pub fn placed(
    view: &ClusterView,
    name: &CollectionName,
    wanted: &CollectionEntry,
) -> Result<Holders, String> {
    let there = match &view.collections {
        Observed::Unknown(why) => return Err(why.clone()),
        Observed::Known(all) => all.get(name).ok_or("it is not there")?,
    };
    let there = match there {
        Observed::Unknown(why) => return Err(why.clone()),
        Observed::Known(there) => there,
    };
    if !there.transfers.is_empty() {
        return Err("copies of it are under way".to_owned());
    }
    let listed: BTreeSet<ShardId> = there.shards.keys().copied().collect();
    let files: BTreeSet<ShardId> = wanted.files.iter().map(|file| file.shard).collect();
    if listed != files {
        return Err(format!(
            "it has the shards {}, the set has {}",
            list(&listed),
            list(&files)
        ));
    }
    let stays = view.peers.values().filter(|peer| peer.stays()).count();
    let copies = usize::try_from(there.factor).unwrap_or(usize::MAX);
    holders(view, there, copies.min(stays).max(1))
}

fn holders(view: &ClusterView, there: &Collection, copies: usize) -> Result<Holders, String> {
    let mut holders = Holders::new();
    for (id, shard) in &there.shards {
        if let Some((peer, copy)) = shard.copies.iter().find(|(_, copy)| !copy.is_active()) {
            return Err(format!(
                "the copy of shard {id} on peer {peer} is {:?}",
                copy.state
            ));
        }
        if let Some((peer, _)) = shard.copies.iter().find(|(peer, _)| !view.alive(**peer)) {
            return Err(format!("peer {peer}, which holds shard {id}, is silent"));
        }
        if shard.copies.len() < copies {
            let has = shard.copies.len();
            return Err(format!("shard {id} has {has} of {copies} copies"));
        }
        holders.insert(*id, shard.copies.keys().copied().collect());
    }
    Ok(holders)
}

/// Why the copies of a shard are not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differ(BTreeMap<PeerId, u64>);

/// How what was restored stands to what was noted when the file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It has as many points as were counted before and after, or lies between them.
    Agrees,
    /// It does not. The file is the one whose hash is in the manifest, so this tells of writers that
    /// deleted meanwhile, or of an estimate; it is said, and no reason to prefer an older set. So with none:
    /// the last point may have been deleted before the cut, and another one written after it.
    Differs {
        /// So many were restored.
        restored: u64,
    },
}

/// Whether all copies of a shard count the same, and what the file promised.
///
/// # Errors
/// [`Differ`]: they do not count the same, or there is none.
pub fn agree(file: &FileEntry, counts: &BTreeMap<PeerId, u64>) -> Result<Agreement, Differ> {
    let mut all = counts.values();
    let restored = match all.next() {
        Some(first) if all.all(|other| other == first) => *first,
        _ => return Err(Differ(counts.clone())),
    };
    let (before, after) = (file.before.points, file.after.points);
    let between = (before.min(after)..=before.max(after)).contains(&restored);
    Ok(match between {
        true => Agreement::Agrees,
        false => Agreement::Differs { restored },
    })
}

fn list(shards: &BTreeSet<ShardId>) -> String {
    let shards: Vec<_> = shards.iter().map(ToString::to_string).collect();
    shards.join(", ")
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self
            .0
            .iter()
            .map(|(peer, points)| format!("peer {peer} has {points} points"))
            .collect();
        match counts.is_empty() {
            true => f.write_str("there is no copy"),
            false => f.write_str(&counts.join(", ")),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generation => "the restore is of another generation",
            Self::Finished => "the restore is finished",
            Self::NotOurs => "the restore did not make it",
            Self::Done => "it is restored",
        })
    }
}
