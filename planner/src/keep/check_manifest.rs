//! Whether a manifest is in accord with itself and with the layout.
//!
//! It must account for every shard: a restore believes `whole` and the files, and nothing else.

use std::collections::BTreeSet;

use crate::heal::names::{CollectionName, ShardId};
use crate::keep::ids::CollectionIndex;
use crate::keep::layout;
use crate::keep::records::{
    Asked, CollectionEntry, Description, Manifest, Origin, Scope, Sharding,
};
use crate::keep::refusal::{CollectionFault, Fault};

pub(super) fn check(manifest: &Manifest) -> Result<(), Fault> {
    let entries = &manifest.collections;
    let named = entries
        .iter()
        .map(|entry| (entry.index, &entry.name, entry.description.as_ref()));
    names(&manifest.scope, named)?;
    asked(manifest.origin, manifest.asked.as_ref())?;
    let mut files = BTreeSet::new();
    for entry in entries {
        if manifest.deleted.contains_key(&entry.name) {
            return Err(Fault::Deleted(entry.name.clone()));
        }
        for file in &entry.files {
            let wanted = layout::payload(entry.index, file.shard, file.peer);
            if file.path != wanted {
                let found = file.path.clone();
                return Err(Fault::Path { found, wanted });
            }
            if !files.insert(&file.path) {
                return Err(Fault::Twice(wanted));
            }
            if file.bytes == 0 {
                return Err(Fault::NoBytes(wanted));
            }
        }
        account(entry).map_err(|fault| Fault::Collection(entry.name.clone(), fault))?;
    }
    Ok(())
}

/// Nobody asks for what the clock makes, or a stop.
pub(super) fn asked(origin: Origin, asked: Option<&Asked>) -> Result<(), Fault> {
    match asked {
        Some(_) if origin != Origin::Hand => Err(Fault::Asked),
        _ => Ok(()),
    }
}

/// Indexes, names and aliases are each there once, and the scope is kept.
pub(super) fn names<'a>(
    scope: &Scope,
    collections: impl Iterator<Item = (CollectionIndex, &'a CollectionName, Option<&'a Description>)>,
) -> Result<(), Fault> {
    let (mut indexes, mut names, mut aliases) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, name, description) in collections {
        if !indexes.insert(index) {
            return Err(Fault::SameIndex(index));
        }
        if !names.insert(name) {
            return Err(Fault::SameName(name.clone()));
        }
        let of = description.into_iter().flat_map(|there| &there.aliases);
        for alias in of {
            if !aliases.insert(alias) {
                return Err(Fault::SameAlias(alias.clone()));
            }
        }
    }
    match scope {
        _ if names.is_empty() => Err(Fault::Empty),
        Scope::One(name) if names != BTreeSet::from([name]) => Err(Fault::Scope),
        Scope::One(_) | Scope::All => Ok(()),
    }
}

/// Every shard is either there, once, or named as missing.
fn account(entry: &CollectionEntry) -> Result<(), CollectionFault> {
    if entry.whole != entry.missing.is_empty() {
        return Err(CollectionFault::Contradiction);
    }
    let mut there = BTreeSet::new();
    for file in &entry.files {
        if !there.insert(file.shard) {
            return Err(CollectionFault::SecondFile(file.shard));
        }
    }
    let missing: BTreeSet<_> = entry.missing.iter().filter_map(|m| m.shard).collect();
    if let Some(both) = there.intersection(&missing).next() {
        return Err(CollectionFault::ThereAndMissing(*both));
    }
    let Some(description) = &entry.description else {
        let nothing = !entry.whole && there.is_empty();
        return nothing.then_some(()).ok_or(CollectionFault::Undescribed);
    };
    let all = shards(description).ok_or(CollectionFault::Keys)?;
    let named = there.union(&missing);
    if let Some(strange) = named.copied().find(|shard| !all.contains(shard)) {
        return Err(CollectionFault::StrangeShard(strange));
    }
    let absent = all
        .difference(&there)
        .copied()
        .find(|shard| !missing.contains(shard));
    match absent {
        None => Ok(()),
        Some(shard) if entry.whole => Err(CollectionFault::WholeWithout(shard)),
        // Something is wrong with the collection as a whole, and each shard has that reason.
        Some(_) if entry.missing.iter().any(|m| m.shard.is_none()) => Ok(()),
        Some(shard) => Err(CollectionFault::Unaccounted(shard)),
    }
}

/// The shards that a collection has: Qdrant counts them up from 0, and with shard keys as they come.
/// `None` when keys and number do not fit.
pub(super) fn shards(description: &Description) -> Option<BTreeSet<ShardId>> {
    match description.sharding {
        Sharding::Auto => {
            // A number that no cluster has would take long to count to.
            let sane = (1..=1 << 20).contains(&description.shards) && description.keys.is_empty();
            sane.then(|| (0..description.shards).map(ShardId).collect())
        }
        Sharding::Custom => {
            let keys: BTreeSet<_> = description.keys.keys().copied().collect();
            (u32::try_from(keys.len()) == Ok(description.shards)).then_some(keys)
        }
    }
}
