//! Where everything of a set is, below `sets/<id>/`.
//!
//! A path is only ever made here. What a record says of a path is compared with what is made here
//! and never used: so no record can name a file outside of its set.

use core::str::FromStr;

use crate::heal::names::ShardId;
use crate::ids::PeerId;
use crate::keep::ids::{CollectionIndex, SetId};
use crate::keep::records::Level;
use crate::keep::time::Utc;

/// The folder of all sets, in the store.
pub const SETS: &str = "sets";
/// Who takes what: created exclusively by the steward, before anything else.
pub const PLAN: &str = "plan.json";
/// What the set holds: created exclusively by the steward, after everything else.
pub const MANIFEST: &str = "manifest.json";
/// That the set is being deleted. Outweighs everything else.
pub const TOMBSTONE: &str = "tombstone.json";
/// That the set must not be deleted.
pub const PIN: &str = "pin.json";
/// The folder of the records of single files.
pub const PARTS: &str = "parts";
/// The folder of the records of proofs.
pub const PROOFS: &str = "proofs";

/// The folder of a set, in the store.
pub fn set(set: SetId) -> String {
    format!("{SETS}/{set}")
}

/// The native snapshot of one shard of one peer, in its set.
pub fn payload(collection: CollectionIndex, shard: ShardId, peer: PeerId) -> String {
    format!("{collection}/s{shard}-{peer}.shard")
}

/// The record of that file, in its set.
pub fn part(collection: CollectionIndex, shard: ShardId, peer: PeerId) -> String {
    format!("{PARTS}/{collection}-s{shard}-{peer}.json")
}

/// The record of a proof, in its set.
pub fn proof(level: Level, at: Utc) -> String {
    format!("{PROOFS}/{level}-{}.json", SetId::at(at))
}

/// One of the things that may be in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// [`PLAN`].
    Plan,
    /// [`MANIFEST`].
    Manifest,
    /// [`TOMBSTONE`].
    Tombstone,
    /// [`PIN`].
    Pin,
    /// See [`payload`].
    Payload(CollectionIndex, ShardId, PeerId),
    /// See [`part`].
    Part(CollectionIndex, ShardId, PeerId),
    /// See [`proof`].
    Proof(Level, Utc),
}

impl Entry {
    /// Its path in its set.
    pub fn path(self) -> String {
        match self {
            Self::Plan => PLAN.to_owned(),
            Self::Manifest => MANIFEST.to_owned(),
            Self::Tombstone => TOMBSTONE.to_owned(),
            Self::Pin => PIN.to_owned(),
            Self::Payload(collection, shard, peer) => payload(collection, shard, peer),
            Self::Part(collection, shard, peer) => part(collection, shard, peer),
            Self::Proof(level, at) => proof(level, at),
        }
    }

    /// What this path in a set is; `None`: nothing of ours, and it is left alone.
    pub fn of(path: &str) -> Option<Self> {
        let entry = match path {
            PLAN => Self::Plan,
            MANIFEST => Self::Manifest,
            TOMBSTONE => Self::Tombstone,
            PIN => Self::Pin,
            _ => match path.split_once('/')? {
                (PARTS, name) => {
                    let (collection, shard) = name.strip_suffix(".json")?.split_once('-')?;
                    let (shard, peer) = shard_and_peer(shard)?;
                    Self::Part(index(collection)?, shard, peer)
                }
                (PROOFS, name) => {
                    let (level, at) = name.strip_suffix(".json")?.split_once('-')?;
                    let at: SetId = at.parse().ok()?;
                    Self::Proof(Level::named(level)?, at.time())
                }
                (collection, name) => {
                    let (shard, peer) = shard_and_peer(name.strip_suffix(".shard")?)?;
                    Self::Payload(index(collection)?, shard, peer)
                }
            },
        };
        // Numbers can be written in several ways; only ours is ours.
        (entry.path() == path).then_some(entry)
    }
}

fn index(text: &str) -> Option<CollectionIndex> {
    number(text.strip_prefix('c')?).map(CollectionIndex)
}

fn shard_and_peer(text: &str) -> Option<(ShardId, PeerId)> {
    let (shard, peer) = text.strip_prefix('s')?.split_once('-')?;
    Some((ShardId(number(shard)?), PeerId(number(peer)?)))
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
