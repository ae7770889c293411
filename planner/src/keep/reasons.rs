//! Why a set is kept, and why one is deleted: what `list` and a dry run show.

use core::fmt;
use core::time::Duration;

use crate::heal::names::CollectionName;
use crate::keep::records::Level;
use crate::keep::time::Utc;

/// How fine a part of the history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Every slot of the clock.
    Slot,
    /// The newest of an hour.
    Hour,
    /// The newest of a day, in UTC.
    Day,
    /// The newest of a month, in UTC.
    Month,
}

/// A reason to keep a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// Somebody pinned it.
    Pinned,
    /// A restore is reading it.
    Restoring,
    /// There is nothing in it that could be deleted.
    Bare,
    /// It is not ours; for people.
    Foreign(String),
    /// It could not be read; for people.
    Unread(String),
    /// Somebody asked for it: only somebody deletes it.
    ByHand,
    /// It is being made.
    UnderWay,
    /// It has no manifest, and may still get one.
    Unfinished {
        /// For so long it stays.
        left: Duration,
    },
    /// The newest with this collection whole in its part of the history, which began at this moment.
    Tier(CollectionName, Tier, Utc),
    /// Found to be bad, and kept as long as if it were good.
    Suspect(CollectionName, Tier, Utc),
    /// Sets are failing, and it is one of the newest good ones.
    Failing(CollectionName),
    /// Nothing newer has this collection whole.
    LastWhole(CollectionName),
    /// The newest in which this collection was found to be good at this level.
    ProvenCollection(CollectionName, Level),
    /// The newest that as a whole was found to be good at this level.
    Proven(Level),
    /// The newest of all: that some collections have ended stands only there.
    Ends,
}

/// Why a set is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// It is being deleted already.
    Tombstoned,
    /// It has had no manifest for too long.
    Unfinished {
        /// For so long.
        age: Duration,
    },
    /// No collection in it is whole.
    Hollow,
    /// No collection needs it: what it holds is in newer sets.
    Outlived,
}

impl Delete {
    /// What goes first has the lower one.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Tombstoned => 0,
            Self::Unfinished { .. } => 1,
            Self::Hollow => 2,
            Self::Outlived => 3,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slot => "slot",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Restoring => f.write_str("a restore is reading it"),
            Self::Bare => f.write_str("nothing is in it"),
            Self::Foreign(why) => write!(f, "not ours: {why}"),
            Self::Unread(why) => write!(f, "cannot be read: {why}"),
            Self::ByHand => f.write_str("made by hand"),
            Self::UnderWay => f.write_str("being made"),
            Self::Unfinished { left } => {
                write!(f, "unfinished, {} s are left", left.as_secs())
            }
            Self::Tier(name, tier, begin) => {
                write!(f, "{name}: newest of the {tier} {begin}")
            }
            Self::Suspect(name, tier, begin) => {
                write!(f, "{name}: bad, would be the newest of the {tier} {begin}")
            }
            Self::Failing(name) => write!(f, "{name}: sets are failing"),
            Self::LastWhole(name) => write!(f, "{name}: the last whole copy"),
            Self::ProvenCollection(name, level) => {
                write!(f, "{name}: newest that is proven ({level})")
            }
            Self::Proven(level) => write!(f, "newest that is proven as a whole ({level})"),
            Self::Ends => f.write_str("newest of all: it says which collections have ended"),
        }
    }
}

impl fmt::Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tombstoned => f.write_str("being deleted"),
            Self::Unfinished { age } => write!(f, "unfinished for {} s", age.as_secs()),
            Self::Hollow => f.write_str("nothing in it is whole"),
            Self::Outlived => f.write_str("newer sets have all that it has"),
        }
    }
}
