//! Why a record of a set is not used.

use core::fmt;

use crate::heal::names::{CollectionName, ShardId};
use crate::keep::ids::{CollectionIndex, SetId};
use crate::keep::records::FORMAT;

/// A record that is not used: where it is, and what is wrong with it. Nothing of a set whose manifest
/// is refused is used or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The folder of the set, as it is named in the store.
    pub folder: String,
    /// The record in it.
    pub path: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The folder is not named as sets are.
    Folder,
    /// Nothing of this set is at this path.
    Place,
    /// It has so many bytes, more than any record of ours.
    TooLarge(u64),
    /// It ends before its end.
    Truncated,
    /// It is no JSON.
    NotJson(String),
    /// It says no format.
    NoFormat,
    /// It is of a format that this version does not know.
    Newer(u64),
    /// Something is missing, of another type, not known, or not spelled as it must be.
    Shape(String),
    /// It is of another set.
    OtherSet(SetId),
    /// What it says belongs at another path of the set.
    OtherPlace(String),
    /// It has no collection.
    Empty,
    /// It is of one collection, and lists other ones.
    Scope,
    /// Somebody asked for it, and it is not by hand.
    Asked,
    /// Two collections have this folder.
    SameIndex(CollectionIndex),
    /// Two collections have this name.
    SameName(CollectionName),
    /// Two collections have this alias.
    SameAlias(String),
    /// A collection is there and deleted at once.
    Deleted(CollectionName),
    /// A file is not where the layout puts it.
    Path {
        /// What the record says.
        found: String,
        /// Where it would be.
        wanted: String,
    },
    /// A file stands there twice.
    Twice(String),
    /// A file of nothing.
    NoBytes(String),
    /// Something is wrong with one collection.
    Collection(CollectionName, CollectionFault),
}

/// What is wrong with a collection in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionFault {
    /// Two files of one shard.
    SecondFile(ShardId),
    /// A shard that it cannot have.
    StrangeShard(ShardId),
    /// Whole, and this is missing.
    WholeWithout(ShardId),
    /// Whole, and something is named as missing; or not whole, and nothing is.
    Contradiction,
    /// A shard that is neither there nor named as missing.
    Unaccounted(ShardId),
    /// A shard that is there and named as missing.
    ThereAndMissing(ShardId),
    /// It has shards or files, and what it is was not recorded.
    Undescribed,
    /// The shard keys do not fit the sharding and the number of shards.
    Keys,
}

impl Refusal {
    /// What a person can do about it.
    fn advice(&self) -> &'static str {
        match &self.fault {
            Fault::Newer(_) => "use a version of the image that reads it",
            Fault::Folder | Fault::Place => "it is left alone; move it elsewhere if it is yours",
            _ => {
                "the set is not used and not deleted; use another one, and look at what wrote this"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            folder,
            path,
            fault,
        } = self;
        let line = format!("sets/{folder}/{path}: {fault}: {}", self.advice());
        // Whatever stands in the record, it is one line and moves no cursor.
        line.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => write!(f, "{c}"),
        })
    }
}

impl core::error::Error for Refusal {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("the folder is not named like a set (20260228T091500Z)"),
            Self::Place => f.write_str("a set has no such record"),
            Self::TooLarge(bytes) => write!(f, "it has {bytes} bytes, more than any record"),
            Self::Truncated => f.write_str("it is cut off"),
            Self::NotJson(why) => write!(f, "it is no JSON: {why}"),
            Self::NoFormat => f.write_str("it says no format"),
            Self::Newer(format) => {
                write!(f, "its format is {format}, and this version reads {FORMAT}")
            }
            Self::Shape(why) => write!(f, "it is not of its format: {why}"),
            Self::OtherSet(set) => write!(f, "it is of set {set}"),
            Self::OtherPlace(place) => write!(f, "it belongs at {place}"),
            Self::Empty => f.write_str("it has no collection"),
            Self::Scope => f.write_str("it is of one collection and lists others"),
            Self::Asked => f.write_str("it names who asked for it and is not by hand"),
            Self::SameIndex(index) => write!(f, "two collections are in the folder {index}"),
            Self::SameName(name) => write!(f, "collection {name} is there twice"),
            Self::SameAlias(alias) => write!(f, "two collections have the alias {alias}"),
            Self::Deleted(name) => write!(f, "collection {name} is there and deleted"),
            Self::Path { found, wanted } => {
                write!(f, "it names the file `{found}`, which can only be {wanted}")
            }
            Self::Twice(path) => write!(f, "it names the file `{path}` twice"),
            Self::NoBytes(path) => write!(f, "the file {path} is empty"),
            Self::Collection(name, fault) => write!(f, "collection {name}: {fault}"),
        }
    }
}

impl fmt::Display for CollectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecondFile(shard) => write!(f, "shard {shard} has two files"),
            Self::StrangeShard(shard) => write!(f, "it has no shard {shard}"),
            Self::WholeWithout(shard) => write!(f, "it is called whole and lacks shard {shard}"),
            Self::Contradiction => {
                f.write_str("whether it is whole and what is missing contradict each other")
            }
            Self::Unaccounted(shard) => {
                write!(f, "shard {shard} is neither there nor named as missing")
            }
            Self::ThereAndMissing(shard) => {
                write!(f, "shard {shard} is there and named as missing")
            }
            Self::Undescribed => f.write_str("its configuration is not recorded"),
            Self::Keys => f.write_str("its shard keys do not fit its shards"),
        }
    }
}
