//! Copies that are all Active and yet hold different numbers of points: said, never repaired.
//!
//! Which copy is right cannot be told from numbers, so a person decides. A difference counts only at
//! rest: twice in a row every copy of the shard was counted, no number had changed and nothing was
//! being moved. The first time it is a suspicion; the same difference at rest again and again is a
//! divergence. Whatever is unknown or in motion says nothing, neither for nor against.
//!
//! Counting cheaply is approximate, so what differs cheaply is counted exactly before it is judged
//! ([`Divergence::worth_exact`]).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::names::ShardRef;
use crate::ids::PeerId;
use crate::observed::Observed;

/// So many times in a row the same difference must be seen at rest.
pub const LOOKS: u32 = 3;

/// How many points each copy holds.
pub type Counts = BTreeMap<PeerId, u64>;

/// What one look found of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Every copy is Active, and nothing is transferred or resharded in the collection.
    pub still: bool,
    /// The cheap count of every copy that Qdrant lists.
    pub counts: BTreeMap<PeerId, Observed<u64>>,
    /// The exact count of every copy, where it was asked for.
    pub exact: Option<BTreeMap<PeerId, Observed<u64>>>,
}

/// What is thought of the copies of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing speaks against them.
    #[default]
    Equal,
    /// They differed at rest.
    Suspect,
    /// They differ at rest again and again.
    Diverged,
}

/// A verdict that is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The shard.
    pub shard: ShardRef,
    /// What is thought of it now.
    pub verdict: Verdict,
    /// What its copies hold.
    pub counts: Counts,
}

/// What is remembered of all shards between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divergence {
    shards: BTreeMap<ShardRef, Watched>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Watched {
    /// The cheap counts of the last look, while it says anything.
    last: Option<Counts>,
    /// The difference at rest, and how often in a row it was seen.
    differing: Counts,
    looks: u32,
    verdict: Verdict,
}

impl Divergence {
    /// These cheap counts are at rest and differ: worth counting exactly.
    pub fn worth_exact(&self, shard: &ShardRef, counts: &BTreeMap<PeerId, Observed<u64>>) -> bool {
        let Some(now) = all_known(counts) else {
            return false;
        };
        let last = self
            .shards
            .get(shard)
            .and_then(|watched| watched.last.as_ref());
        last == Some(&now) && differ(&now)
    }

    /// Takes in one look at one shard; gives the verdict when it has changed.
    pub fn look(&mut self, shard: &ShardRef, seen: &Seen) -> Option<Change> {
        let watched = self.shards.entry(shard.clone()).or_default();
        let now = all_known(&seen.counts).filter(|counts| seen.still && counts.len() > 1);
        let at_rest = now.is_some() && watched.last == now;
        watched.last.clone_from(&now);
        let judged = match (&seen.exact, now) {
            (Some(exact), Some(now)) => all_known(exact).filter(|exact| exact.len() == now.len()),
            (_, now) => now,
        };
        let Some(counts) = judged.filter(|_| at_rest) else {
            watched.looks = 0;
            return None;
        };
        let verdict = watched.judge(&counts);
        if verdict == watched.verdict {
            return None;
        }
        watched.verdict = verdict;
        Some(Change {
            shard: shard.clone(),
            verdict,
            counts,
        })
    }

    /// These could not be looked at, or something is being healed: the next look is a first one
    /// again. What was found stays found.
    pub fn interrupted(&mut self, which: impl Fn(&ShardRef) -> bool) {
        for (_, watched) in self.shards.iter_mut().filter(|(shard, _)| which(shard)) {
            watched.last = None;
            watched.looks = 0;
        }
    }

    /// Forgets the shards that are no more.
    pub fn keep(&mut self, exists: impl Fn(&ShardRef) -> bool) {
        self.shards.retain(|shard, _| exists(shard));
    }

    /// The shards of this verdict, and what their copies held when it was last judged.
    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = (&ShardRef, &Counts)> {
        let of = move |(_, watched): &(&ShardRef, &Watched)| watched.verdict == verdict;
        let all = self.shards.iter().filter(of);
        all.map(|(shard, watched)| (shard, &watched.differing))
    }
}

impl Watched {
    fn judge(&mut self, counts: &Counts) -> Verdict {
        if !differ(counts) {
            self.looks = 0;
            self.differing.clear();
            return Verdict::Equal;
        }
        self.looks = match self.differing == *counts {
            true => self.looks.saturating_add(1),
            false => 1,
        };
        self.differing.clone_from(counts);
        match self.looks >= LOOKS {
            true => Verdict::Diverged,
            // What was found stays found until they are seen equal.
            false => self.verdict.max(Verdict::Suspect),
        }
    }
}

fn all_known(counts: &BTreeMap<PeerId, Observed<u64>>) -> Option<Counts> {
    let known = |(peer, count): (&PeerId, &Observed<u64>)| Some((*peer, *count.known()?));
    counts.iter().map(known).collect()
}

fn differ(counts: &Counts) -> bool {
    let distinct: BTreeSet<&u64> = counts.values().collect();
    distinct.len() > 1
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} holds {}", self.shard, Shown(&self.counts))
    }
}

/// Counts as people read them.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a Counts);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (peer, count)) in self.0.iter().enumerate() {
            let sign = if nth == 0 { "" } else { ", " };
            write!(f, "{sign}{count} on peer {peer}")?;
        }
        Ok(())
    }
}
