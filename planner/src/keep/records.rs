//! The records of a set, as JSON. Every one is created once, exclusively, and never changed.
//!
//! They are read by [`mod@crate::keep::read`], which refuses a newer format and everything that this
//! version does not know: a set is restored years later, by another version, without its writer.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::heal::names::{CollectionName, ShardId};
use crate::ids::{GenerationId, PeerId, StoreId, TaskId, Token};
use crate::keep::ids::{CollectionIndex, SetId, Sha256};
use crate::keep::missing::Missing;
use crate::keep::samples::Samples;
use crate::keep::time::Utc;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Why a set was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Its slot began.
    Clock,
    /// Somebody asked for it. Retention leaves it to people.
    Hand,
    /// The only node was stopped.
    Stop,
}

/// The request that a set by hand was made for. It is in the set and so outlives whoever planned it:
/// the next steward sees that the request has its set, and makes no second one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Unlike that of any other request.
    pub token: Token,
    /// Who asked.
    pub by: String,
}

/// What a set is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every collection that there was.
    All,
    /// One collection, by hand.
    One(CollectionName),
}

/// Where a set is from. The plan says it, the manifest repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The store's own name, which is the cluster's: a set of another one is never touched.
    pub cluster: StoreId,
    /// The life of the cluster.
    pub generation: GenerationId,
    /// The version of Qdrant. Archives do not say it.
    pub qdrant: String,
    /// The version of the image, and so of what wrote the records.
    pub image: String,
    /// The steward's task.
    pub steward: TaskId,
}

/// `plan.json`: who takes what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// Why it is made.
    pub origin: Origin,
    /// Who asked for it, when it is by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What it is of.
    pub scope: Scope,
    /// Where it is from.
    pub source: Source,
    /// When it was planned, by the steward's clock.
    pub planned: Utc,
    /// Every collection in the scope.
    pub collections: Vec<PlannedCollection>,
    /// Collections of earlier sets whose end was seen, by the first set after it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deleted: BTreeMap<CollectionName, SetId>,
}

/// A collection in a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCollection {
    /// Its folder.
    pub index: CollectionIndex,
    /// Its name.
    pub name: CollectionName,
    /// What it is; `None` when it could not be read.
    pub description: Option<Description>,
    /// Who takes which shard.
    pub shards: BTreeMap<ShardId, Holder>,
    /// What nobody takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// Who takes a shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The peer that holds the copy.
    pub peer: PeerId,
    /// Its task.
    pub task: TaskId,
}

/// All of a collection that its files do not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Its configuration as Qdrant's API gave it.
    pub config: Value,
    /// Its payload indexes, as Qdrant's API gave them.
    pub indexes: BTreeMap<String, Value>,
    /// The aliases that lead to it.
    pub aliases: BTreeSet<String>,
    /// How points find their shard.
    pub sharding: Sharding,
    /// The shard keys, with custom sharding: every shard has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<ShardId, ShardKey>,
    /// How many shards it has.
    pub shards: u32,
    /// How many copies of each are wanted.
    pub copies: u32,
}

/// How points find their shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharding {
    /// By their id.
    Auto,
    /// By a key that the writer names.
    Custom,
}

/// A shard key: Qdrant takes words and numbers, and `"1"` is not `1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShardKey {
    /// A number.
    Number(u64),
    /// A word.
    Word(String),
}

/// `parts/c<index>-s<shard>-<peer>.json`: how it went with one file. Written when the file is durable,
/// or when it is certain that it will never be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// The life of the cluster in which it was taken.
    pub generation: GenerationId,
    /// The collection's folder.
    pub index: CollectionIndex,
    /// The collection.
    pub collection: CollectionName,
    /// Which shard.
    pub shard: ShardId,
    /// Whose copy.
    pub holder: Holder,
    /// What was made of it.
    pub outcome: Outcome,
}

/// How it went with one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is durable, and was read back to its end.
    Taken(Taken),
    /// There is none; for people.
    Failed(String),
}

/// A file that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
    /// The copy's state just before, as its own node knew it.
    pub state_before: String,
    /// The copy's state just after.
    pub state_after: String,
    /// When it began. The file holds the shard as it was at about this moment.
    pub started: Utc,
    /// When it was durable.
    pub ended: Utc,
    /// Points of the copy just before.
    pub before: Count,
    /// Points of the copy just after. Between the two the file's own count lies, when nothing was
    /// deleted meanwhile.
    pub after: Count,
    /// Some of its points, for a comparison with what is restored from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
}

/// Points of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// How many.
    pub points: u64,
    /// They were counted. Otherwise it is Qdrant's estimate: to count very many costs memory.
    pub exact: bool,
}

/// `manifest.json`: what the set holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// Why it was made.
    pub origin: Origin,
    /// Who asked for it, when it is by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What it is of.
    pub scope: Scope,
    /// Where it is from; the steward is the one that finished it.
    pub source: Source,
    /// When it was planned.
    pub started: Utc,
    /// When it was finished.
    pub ended: Utc,
    /// Its collections.
    pub collections: Vec<CollectionEntry>,
    /// Collections of earlier sets whose end was seen, by the first set after it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deleted: BTreeMap<CollectionName, SetId>,
}

/// A collection in a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionEntry {
    /// Its folder.
    pub index: CollectionIndex,
    /// Its name.
    pub name: CollectionName,
    /// Every shard is here: it can be restored from this set.
    pub whole: bool,
    /// What is not here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// What it is; `None` when it could not be read.
    pub description: Option<Description>,
    /// Its files, one for each shard.
    pub files: Vec<FileEntry>,
}

/// A file in a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it is in the set.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
    /// The shard.
    pub shard: ShardId,
    /// The peer whose copy it is.
    pub peer: PeerId,
    /// That peer's task.
    pub task: TaskId,
    /// When it began.
    pub started: Utc,
    /// When it was durable.
    pub ended: Utc,
    /// Points of the copy just before.
    pub before: Count,
    /// Points of the copy just after.
    pub after: Count,
}

/// How far a file was proven. A higher level includes the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Read again and hashed.
    L0,
    /// Archive and configuration parse.
    L1,
    /// Restored into a scratch Qdrant and compared.
    L2,
}

impl Level {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::L0, Self::L1, Self::L2];

    /// The level of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::L0 => "l0",
            Self::L1 => "l1",
            Self::L2 => "l2",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `proofs/<level>-<time>.json`: what a proof found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRecord {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// How far.
    pub level: Level,
    /// When it was finished.
    pub at: Utc,
    /// Who did it.
    pub task: TaskId,
    /// The version of the Qdrant that it was done with.
    pub qdrant: String,
    /// What was looked at.
    pub checked: Vec<Checked>,
}

/// One file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// The collection's folder.
    pub index: CollectionIndex,
    /// The shard.
    pub shard: ShardId,
    /// What is wrong with the file itself, for people; `None`: it is good. That it could not be
    /// looked at is no finding and makes no record.
    pub wrong: Option<String>,
}

/// `tombstone.json`: the set is being deleted, and nothing of it counts any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// Whose set it is: at the end of a deletion nothing else is left that says so.
    pub cluster: StoreId,
    /// When.
    pub at: Utc,
    /// Who.
    pub task: TaskId,
    /// Why, for people.
    pub why: String,
}

/// `pin.json`: the set must not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Format of this record.
    pub format: u32,
    /// The set.
    pub set: SetId,
    /// When.
    pub at: Utc,
    /// Who, a person or a restore.
    pub by: String,
    /// Why, for people.
    pub why: String,
}
