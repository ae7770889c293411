//! The end of a task with which everything ends: whether a final set is made of what is here.
//!
//! Writes are shut out first, so that nothing that was ever acknowledged is missing from it. The only holder
//! can do that alone when nobody else is there; of several that end all shut them out before one of them makes
//! the set ([`together`]). Whether the end is put on
//! record then is [`crate::destruction::may_end`]'s.

pub mod together;

use core::fmt;
use core::time::Duration;

use crate::handover::{Collections, Futile};
use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::view::Collection;
use crate::ids::PeerId;
use crate::observed::Observed;
use crate::records::Stage;
use crate::view::{Child, Observation};

/// What is known when the hand-over has come to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Sets are made here at all.
    pub sets: bool,
    /// Somebody has asked for no changes, or none may be made.
    pub held: bool,
    /// Why the hand-over is over.
    pub futile: &'a Futile,
    /// The last observation.
    pub seen: &'a Observation,
    /// Our Qdrant's collections.
    pub collections: &'a Collections,
    /// What is left of the time to SIGKILL, without what Qdrant needs to end.
    pub left: Duration,
}

/// How a final set is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By this task alone, of a Qdrant that nobody reaches: nobody else has anything.
    Alone,
    /// With the others that end.
    Together,
}

/// Why no final set is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSet {
    /// The others go on, or no peer runs here: there is nothing that would end with this task.
    NotTheEnd,
    /// Our Qdrant does not run, and nobody else has what is on its disk.
    NotRunning,
    /// No sets are made.
    Off,
    /// The steward is paused, or only plans.
    Held,
    /// A restore into this generation has not been seen finished.
    Restoring,
    /// Our Qdrant does not say what is here; for people.
    Unread(String),
    /// There is no collection.
    Empty,
    /// A copy is, or was to be, on another peer as well.
    Elsewhere(ShardRef, PeerId),
    /// The time is over.
    NoTime,
}

impl NoSet {
    /// Something may be lost that a final set would have kept: a person must know.
    pub fn is_a_loss(&self) -> bool {
        matches!(self, Self::NotRunning | Self::Unread(_) | Self::NoTime)
    }
}

impl fmt::Display for NoSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheEnd => f.write_str("nothing ends with this task"),
            Self::NotRunning => f.write_str(
                "Qdrant does not run: what was written since the newest set ends with this disk",
            ),
            Self::Off => f.write_str("ENTRYPOINT_SETS is off"),
            Self::Held => f.write_str("the steward is paused, or only plans"),
            Self::Restoring => f.write_str("a restore is not finished: its set is the newest"),
            Self::Unread(why) => write!(f, "Qdrant does not say what is here: {why}"),
            Self::Empty => f.write_str("there is no collection"),
            Self::Elsewhere(shard, peer) => write!(
                f,
                "peer {peer} has a copy of {shard} as well, and may have taken writes that are not here"
            ),
            Self::NoTime => f.write_str("the time to SIGKILL leaves none for it"),
        }
    }
}

/// Is a final set made of what is here, and how?
///
/// # Errors
/// Why not.
pub fn wanted(look: Look<'_>) -> Result<Way, NoSet> {
    let seen = look.seen;
    let ends = match look.futile {
        Futile::NoPeer => false,
        // Nobody else has any of these, whoever goes on.
        Futile::OnlyCopies(_) => true,
        other => other.is_the_end_of_all(),
    };
    let stamp = seen.disk.stamp.as_ref();
    let stamp = stamp.filter(|stamp| stamp.stage == Stage::Member);
    // A cluster of one by its own Raft state, which was served and has not ended: nobody else has what is here.
    let holds_all = seen.disk.voters.len() == 1
        && seen.disk.collections
        && stamp.is_some_and(|stamp| stamp.ended.is_none() && !stamp.restore);
    if holds_all && look.sets && !matches!(seen.child, Child::Running(_)) {
        return Err(NoSet::NotRunning);
    }
    let Some(stamp) = stamp.filter(|_| ends) else {
        return Err(NoSet::NotTheEnd);
    };
    let us = match &seen.child {
        Child::Running(Observed::Known(qdrant)) => Some(qdrant.peer_id),
        Child::Running(Observed::Unknown(_)) => seen.disk.peer_id,
        Child::Stopped | Child::Resting(_) => return Err(NoSet::NotTheEnd),
    };
    if !look.sets {
        return Err(NoSet::Off);
    }
    if look.held {
        return Err(NoSet::Held);
    }
    if stamp.restore {
        return Err(NoSet::Restoring);
    }
    let us = us.ok_or_else(|| NoSet::Unread("it does not say who it is".to_owned()))?;
    let way = match (all_here(look.collections, us), look.futile) {
        (Err(NoSet::Empty), _) => return Err(NoSet::Empty),
        // Also who has no copy has a vote, and who has all of them may be seen so by itself alone.
        (_, Futile::AllEnd) => Way::Together,
        // It is asked again when nobody reaches it, and a Qdrant that knows nobody else disturbs nobody.
        (Ok(()), _) | (Err(NoSet::Unread(_)), Futile::Alone) => Way::Alone,
        (Err(why), _) => return Err(why),
    };
    match look.left.is_zero() {
        true => Err(NoSet::NoTime),
        false => Ok(way),
    }
}

/// Every collection, of which there is at least one.
///
/// # Errors
/// What is not known, or that there is none.
pub fn all_known(collections: &Collections) -> Result<Vec<(&CollectionName, &Collection)>, NoSet> {
    let all = match collections {
        Observed::Known(all) => all,
        Observed::Unknown(why) => return Err(NoSet::Unread(why.clone())),
    };
    if all.is_empty() {
        return Err(NoSet::Empty);
    }
    let known = all.iter().map(|(name, there)| match there {
        Observed::Known(there) => Ok((name, there)),
        Observed::Unknown(why) => Err(NoSet::Unread(format!("{name}: {why}"))),
    });
    known.collect()
}

/// Every copy that there is, in whatever state, is ours.
///
/// # Errors
/// One that is not, or what is not known.
pub fn all_here(collections: &Collections, us: PeerId) -> Result<(), NoSet> {
    for (name, there) in all_known(collections)? {
        if let Some((shard, peer)) = other(there, us) {
            let collection = name.clone();
            return Err(NoSet::Elsewhere(ShardRef { collection, shard }, peer));
        }
    }
    Ok(())
}

fn other(there: &Collection, us: PeerId) -> Option<(crate::heal::names::ShardId, PeerId)> {
    let mut shards = there.shards.iter();
    let copy = shards.find_map(|(shard, copies)| {
        let peer = copies.copies.keys().find(|peer| **peer != us)?;
        Some((*shard, *peer))
    });
    let mut transfers = there.transfers.iter();
    copy.or_else(|| {
        let out = transfers.find(|transfer| transfer.to != us)?;
        Some((out.shard, out.to))
    })
}

/// Whether a final set as large as the newest set will probably not be made in time: that one took
/// `took`, and so much is left.
pub fn is_tight(took: Duration, left: Duration) -> bool {
    // Qdrant is stopped and started first, and every machine is busier when everything ends.
    took.saturating_mul(5) > left.saturating_mul(4)
}
