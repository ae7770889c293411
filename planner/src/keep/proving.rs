//! Which proof is due next, and who does it.
//!
//! The newest set is read first (its hashes, then its archives: one reading proves both levels), then
//! single shards of it are restored, those first whose restore was proven longest ago; then older sets that
//! were never read; and at last all of them again, for what is kept for a year must be readable in a year.
//! At most one is out at a time, with a pause between. A proof decides nothing about what is deleted; what it
//! finds is on record beside the set.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::heal::life::Life;
use crate::heal::names::{CollectionName, ShardId};
use crate::heal::view::{ClusterView, Peer};
use crate::ids::{PeerId, TaskId};
use crate::keep::ids::{CollectionIndex, SetId};
use crate::keep::records::{Level, Manifest, ProofRecord};
use crate::keep::time::Utc;

/// How often is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between the end of one proof and the next.
    pub between: Duration,
    /// A shard is restored again after this.
    pub restored_again: Duration,
    /// A set is read again after this.
    pub read_again: Duration,
    /// What could not be looked at is tried again after this.
    pub tried_again: Duration,
}

impl Pace {
    /// By the pause alone: with a minute each shard is restored every six hours, and each set read again
    /// after thirty days.
    pub fn of(between: Duration) -> Self {
        Self {
            between,
            restored_again: between.saturating_mul(6 * 60),
            read_again: between.saturating_mul(30 * 24 * 60),
            tried_again: between.saturating_mul(10),
        }
    }
}

/// One proof.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// All files of a set are read: hashes, archives, configuration.
    Read {
        /// The set.
        set: SetId,
    },
    /// One file is restored into a scratch Qdrant and compared.
    Restore {
        /// The set.
        set: SetId,
        /// The collection's folder.
        index: CollectionIndex,
        /// The shard.
        shard: ShardId,
    },
}

impl Work {
    /// Of which set.
    pub fn set(&self) -> SetId {
        match self {
            Self::Read { set } | Self::Restore { set, .. } => *set,
        }
    }
}

/// A proof, who is to do it, and since when: the word of whoever leads, in its hello.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub work: Work,
    /// Whose Qdrant's task.
    pub peer: PeerId,
    /// When it was given, by the clock of who gave it: tells one order from the next.
    pub at: Utc,
}

/// What a task says of the order that it has heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// Which.
    pub order: Order,
    /// How far it is.
    pub stands: Stands,
}

/// How far a proof is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// It is being done.
    Working,
    /// What it found is on record.
    Recorded,
    /// Something could not be looked at, which is no finding; for people.
    Nothing(String),
}

/// What a task says about proofs in its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proving {
    /// The largest file that it would restore into a scratch Qdrant now; zero: none.
    #[serde(default)]
    pub room: u64,
    /// Its Qdrant leads, and this is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What it makes of the last order that it has heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// A set with a manifest and without a tombstone, as far as proofs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provable {
    /// Which.
    pub set: SetId,
    /// Its files.
    pub files: Vec<File>,
    /// What was found so far.
    pub proofs: Vec<ProofRecord>,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The collection's folder.
    pub index: CollectionIndex,
    /// The collection.
    pub name: CollectionName,
    /// The shard.
    pub shard: ShardId,
    /// Its size.
    pub bytes: u64,
}

impl Provable {
    /// What a manifest lists.
    pub fn of(manifest: &Manifest, proofs: Vec<ProofRecord>) -> Self {
        let mut files = Vec::new();
        for there in &manifest.collections {
            files.extend(there.files.iter().map(|file| File {
                index: there.index,
                name: there.name.clone(),
                shard: file.shard,
                bytes: file.bytes,
            }));
        }
        Self {
            set: manifest.set,
            files,
            proofs,
        }
    }

    /// What was found of one file: each record with whether something is wrong.
    fn findings(&self, file: &File) -> impl Iterator<Item = (&ProofRecord, bool)> {
        let (index, shard) = (file.index, file.shard);
        self.proofs.iter().filter_map(move |proof| {
            let mut checked = proof.checked.iter();
            let own = checked.find(|c| c.index == index && c.shard == shard)?;
            Some((proof, own.wrong.is_some()))
        })
    }

    /// When all of it was last looked at; `None` while a file never was.
    fn read_at(&self) -> Option<Utc> {
        let last = |file: &File| self.findings(file).map(|(proof, _)| proof.at).max();
        let all: Option<Vec<Utc>> = self.files.iter().map(last).collect();
        all?.into_iter().min()
    }

    /// A file that was read and found to be good, and that nothing speaks against where `running` runs.
    fn is_trusted(&self, file: &File, running: &str) -> bool {
        let mut read = false;
        for (proof, wrong) in self.findings(file) {
            let binding = proof.level < Level::L2 || proof.qdrant == running;
            if wrong && binding {
                return false;
            }
            read |= !wrong;
        }
        read
    }

    /// Something was found to be wrong with it where `running` runs.
    pub fn is_bad(&self, running: &str) -> bool {
        let mut all = self.files.iter().flat_map(|file| self.findings(file));
        all.any(|(proof, wrong)| wrong && (proof.level < Level::L2 || proof.qdrant == running))
    }
}

/// The proof that is due; `None`: none is. `room` is the largest file that anybody would restore, `tried`
/// what could not be done lately.
pub fn due(
    pace: &Pace,
    sets: &[Provable],
    running: &str,
    now: Utc,
    room: u64,
    tried: &BTreeSet<Work>,
) -> Option<Work> {
    let mut newest_first: Vec<_> = sets.iter().filter(|set| !set.files.is_empty()).collect();
    newest_first.sort_unstable_by_key(|set| core::cmp::Reverse(set.set));
    let read = |set: &Provable| Work::Read { set: set.set };
    let free = |work: &Work| !tried.contains(work);
    let newest = newest_first.first()?;
    if newest.read_at().is_none() && free(&read(newest)) {
        return Some(read(newest));
    }
    if let Some(work) = restore_due(pace, &newest_first, running, now, room, tried) {
        return Some(work);
    }
    let never = newest_first.iter().filter(|set| set.read_at().is_none());
    if let Some(work) = never.map(|set| read(set)).find(free) {
        return Some(work);
    }
    let old = newest_first.iter().filter_map(|set| {
        let at = set.read_at()?;
        (now.since(at) >= pace.read_again).then_some((at, read(set)))
    });
    old.filter(|(_, work)| free(work))
        .min()
        .map(|(_, work)| work)
}

/// Of each shard of the newest set the newest file that is trusted; of those the one whose shard was
/// proven longest ago, when that is long enough.
fn restore_due(
    pace: &Pace,
    newest_first: &[&Provable],
    running: &str,
    now: Utc,
    room: u64,
    tried: &BTreeSet<Work>,
) -> Option<Work> {
    let mut best: Option<(Option<Utc>, Work)> = None;
    for wanted in &newest_first.first()?.files {
        let same = |file: &&File| (&file.name, file.shard) == (&wanted.name, wanted.shard);
        let of_shard = newest_first
            .iter()
            .filter_map(|set| Some((*set, set.files.iter().find(same)?)));
        let of_shard: Vec<_> = of_shard.collect();
        let proven = of_shard.iter().flat_map(|(set, file)| {
            let good = set.findings(file).filter(|(_, wrong)| !wrong);
            good.map(|(proof, _)| proof)
        });
        let proven = proven.filter(|proof| proof.level == Level::L2 && proof.qdrant == running);
        let last = proven.map(|proof| proof.at).max();
        let newest = of_shard
            .iter()
            .find(|(set, file)| set.is_trusted(file, running));
        let Some((set, file)) = newest.filter(|(_, file)| file.bytes <= room) else {
            continue;
        };
        let restored = |proof: &ProofRecord| proof.level == Level::L2 && proof.qdrant == running;
        let which = |found: &dyn Fn(&ProofRecord, bool) -> bool| {
            let mut newest_first = of_shard.iter();
            let found = newest_first
                .find(|(set, file)| set.findings(file).any(|(proof, wrong)| found(proof, wrong)));
            found.map(|(set, _)| set.set)
        };
        // After a file that failed the next one is not trusted on its word, newer or older.
        let good = which(&|proof, wrong| !wrong && restored(proof));
        let failed = which(&|_, wrong| wrong) > good;
        let itself = set
            .findings(file)
            .any(|(proof, wrong)| !wrong && restored(proof));
        let due = last.is_none_or(|last| now.since(last) >= pace.restored_again);
        let work = Work::Restore {
            set: set.set,
            index: file.index,
            shard: file.shard,
        };
        if !(due || (failed && !itself)) || tried.contains(&work) {
            continue;
        }
        if best.as_ref().is_none_or(|(at, _)| last < *at) {
            best = Some((last, work));
        }
    }
    best.map(|(_, work)| work)
}

/// Why nobody proves anything now; for people.
pub type Waits = String;

/// Who does a proof of a file of so many bytes (none: it only reads): a task that does not lead, is not
/// being stopped or emptied, and whose copies are calm; of those the one that proved longest ago. A cluster
/// of one has nobody else.
///
/// # Errors
/// Why there is nobody now.
pub fn who(
    view: &ClusterView,
    bytes: Option<u64>,
    last: &BTreeMap<TaskId, Utc>,
) -> Result<PeerId, Waits> {
    if let Some((_, why)) = view.unknown() {
        return Err(format!("the copies cannot be read: {why}"));
    }
    let working = |peer: &Peer| {
        let answer = peer.said.proof.answer.as_ref();
        answer.is_some_and(|answer| answer.stands == Stands::Working)
    };
    let mut others = view.peers.iter().filter(|(id, _)| **id != view.us);
    if let Some((id, _)) = others.find(|(_, peer)| peer.life == Life::Alive && working(peer)) {
        return Err(format!("peer {id} is still at an earlier one"));
    }
    let alone = view.peers.len() == 1;
    let able = view.peers.iter().filter(|(id, peer)| {
        (alone || **id != view.us)
            && peer.stays()
            && !is_emptied(view, **id)
            && is_calm(view, **id)
            && bytes.is_none_or(|bytes| bytes <= peer.said.proof.room)
    });
    let able = able.filter_map(|(id, peer)| Some((last.get(peer.task.as_ref()?), *id)));
    let chosen = able.min().map(|(_, id)| id);
    chosen.ok_or_else(|| "no task has the time and the room for it".to_owned())
}

fn is_emptied(view: &ClusterView, peer: PeerId) -> bool {
    let leaving = view.service.orders.leaving.as_ref();
    leaving.is_some_and(|leaving| leaving.peer == peer)
}

/// Its copies are Active, and nothing is moved to it or from it.
fn is_calm(view: &ClusterView, peer: PeerId) -> bool {
    view.known().all(|(_, there)| {
        let moved = there
            .transfers
            .iter()
            .any(|t| t.from == peer || t.to == peer);
        let mut copies = there.shards.values().filter_map(|s| s.copies.get(&peer));
        !moved && copies.all(|copy| copy.is_active())
    })
}

/// What a scratch Qdrant needs whatever it holds.
const BASE: u64 = 256 << 20;

/// The largest file that may be restored where so much disk and memory is free. Half of both is left alone.
/// On the disk it is there packed and unpacked, and its Qdrant may write as much again.
pub fn room(disk: u64, memory: u64) -> u64 {
    let of_disk = (disk / 2).saturating_sub(BASE) / 3;
    let of_memory = (memory / 2).saturating_sub(BASE) / 2;
    of_disk.min(of_memory)
}

/// How old the proofs are: what a person and a meter look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ages {
    /// For each level the newest set of which every file was found to be good at it.
    pub newest: BTreeMap<Level, SetId>,
    /// For each level when it last found anything good.
    pub last: BTreeMap<Level, Utc>,
    /// The sets of which a file was found to be bad.
    pub bad: BTreeSet<SetId>,
}

/// What the proofs in the store come to, where `running` runs.
pub fn ages(sets: &[Provable], running: &str) -> Ages {
    let mut ages = Ages::default();
    for set in sets.iter().filter(|set| !set.files.is_empty()) {
        let bad = set.is_bad(running);
        if bad {
            ages.bad.insert(set.set);
        }
        for level in Level::ALL {
            let counts = |proof: &ProofRecord| {
                proof.level >= level && (level < Level::L2 || proof.qdrant == running)
            };
            let good = |file: &File| {
                let found = set.findings(file);
                let found = found.filter(|(proof, wrong)| !wrong && counts(proof));
                found.map(|(proof, _)| proof.at).max()
            };
            let times: Vec<Option<Utc>> = set.files.iter().map(good).collect();
            if let Some(last) = times.iter().flatten().max() {
                let known = ages.last.entry(level).or_insert(*last);
                *known = (*known).max(*last);
            }
            if !bad && times.iter().all(Option::is_some) {
                let newest = ages.newest.entry(level).or_insert(set.set);
                *newest = (*newest).max(set.set);
            }
        }
    }
    ages
}

/// When each task last proved anything.
pub fn last_by(sets: &[Provable]) -> BTreeMap<TaskId, Utc> {
    let mut last = BTreeMap::new();
    for proof in sets.iter().flat_map(|set| &set.proofs) {
        let known = last.entry(proof.task.clone()).or_insert(proof.at);
        *known = (*known).max(proof.at);
    }
    last
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { set } => write!(f, "reading set {set}"),
            Self::Restore { set, index, shard } => {
                write!(f, "restoring shard {shard} of {index} of set {set}")
            }
        }
    }
}
