//! A task that was asked to stop: is it worth waiting for the others to take over what is here?
//!
//! The steward drops the copies of an ending peer that live elsewhere and takes it out of Raft, so
//! that nobody waits for the gone time-out. The ending task itself changes nothing; it only decides
//! for how long it stays for that.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::names::{CollectionName, ShardRef};
use crate::heal::view::Collection;
use crate::ids::PeerId;
use crate::observed::Observed;
use crate::records::{Hello, Stage, State};
use crate::settings::{ELECTION, Settings};
use crate::view::{Child, Observation, Probe, Qdrant};

/// What our own Qdrant says of all collections.
pub type Collections = Observed<BTreeMap<CollectionName, Observed<Collection>>>;

/// What is known beside the round's observation.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The observation.
    pub seen: &'a Observation,
    /// Our Qdrant's collections.
    pub collections: &'a Collections,
    /// Somebody has asked the steward for no changes, or it may make none.
    pub held: bool,
    /// The time since the last look.
    pub passed: Duration,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The others may still take over.
    Wait,
    /// Our peer is out of the cluster: nothing here is missed.
    Done {
        /// Our own Qdrant knows it and is quiet; else it may campaign against the others.
        quiet: bool,
    },
    /// Nothing can come of waiting.
    GiveUp(Futile),
}

/// Why nothing can come of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Futile {
    /// No peer runs here.
    NoPeer,
    /// This is the only peer.
    Alone,
    /// No other member answers.
    NobodyAnswers,
    /// Every other member that answers is being stopped too.
    AllEnd,
    /// Nobody leads, or nothing commits.
    NoConsensus,
    /// The steward may change nothing.
    Held,
    /// These shards are here alone, and by the number of their copies nobody makes another.
    OnlyCopies(BTreeSet<ShardRef>),
}

impl fmt::Display for Futile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeer => f.write_str("no peer of the cluster runs here"),
            Self::Alone => f.write_str("this is the only peer"),
            Self::NobodyAnswers => f.write_str("no other member answers"),
            Self::AllEnd => f.write_str("every other member is being stopped too"),
            Self::NoConsensus => f.write_str("the cluster cannot decide anything"),
            Self::Held => f.write_str("the steward is paused, or only plans"),
            Self::OnlyCopies(shards) => {
                write!(f, "only copies are here, and wanted to be:")?;
                shards.iter().try_for_each(|shard| write!(f, " {shard}"))
            }
        }
    }
}

/// What is remembered between two looks: a hindrance that may pass, and for how long it has lasted.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    hindered: Option<(Futile, Duration)>,
}

impl Handover {
    /// Takes in one look.
    pub fn verdict(&mut self, settings: &Settings, look: Look<'_>) -> Verdict {
        let why = match judge(settings, look) {
            Verdict::GiveUp(why) => why,
            verdict => {
                self.hindered = None;
                return verdict;
            }
        };
        // A vote takes seconds, and one question may get lost.
        let patience = match why {
            Futile::NoConsensus => ELECTION,
            Futile::NobodyAnswers => settings.beat,
            // Somebody who is not heard for a moment may go on.
            Futile::AllEnd if !all_listed_end(settings, look.seen) => moment(settings),
            // The others may be asked to stop a moment later, and then all make a final set.
            Futile::OnlyCopies(_) => moment(settings),
            _ => Duration::ZERO,
        };
        let lasted = match &self.hindered {
            Some((before, lasted)) if *before == why => lasted.saturating_add(look.passed),
            _ => Duration::ZERO,
        };
        self.hindered = Some((why.clone(), lasted));
        match lasted >= patience {
            true => Verdict::GiveUp(why),
            false => Verdict::Wait,
        }
    }
}

/// A beat, but no more of the time that a stop has where beats are rare: hellos are not.
pub(crate) fn moment(settings: &Settings) -> Duration {
    settings.beat.min(Duration::from_secs(2))
}

fn judge(settings: &Settings, look: Look<'_>) -> Verdict {
    let seen = look.seen;
    let stage = seen.disk.stamp.as_ref().map(|stamp| stamp.stage);
    let (Some(Stage::Member), Child::Running(qdrant)) = (stage, &seen.child) else {
        return Verdict::GiveUp(Futile::NoPeer);
    };
    let us = match qdrant {
        Observed::Known(qdrant) => Some(qdrant.peer_id),
        Observed::Unknown(_) => seen.disk.peer_id,
    };
    let Some(us) = us else {
        return Verdict::GiveUp(Futile::NoPeer);
    };
    if out(settings, seen, us) {
        let quiet = matches!(qdrant, Observed::Known(qdrant) if qdrant.consensus_stopped);
        return Verdict::Done { quiet };
    }
    let mut others = members(settings, seen).peekable();
    if others.peek().is_none() {
        let why = match qdrant {
            Observed::Known(qdrant) if qdrant.peers.len() < 2 => Futile::Alone,
            _ => Futile::NobodyAnswers,
        };
        return Verdict::GiveUp(why);
    }
    if others.all(|hello| hello.said.ending) {
        return Verdict::GiveUp(match outlasts(qdrant, us) {
            true => Futile::Alone,
            false => Futile::AllEnd,
        });
    }
    if let Observed::Known(qdrant) = qdrant
        && (!qdrant.has_leader || qdrant.commits == Some(false))
    {
        return Verdict::GiveUp(Futile::NoConsensus);
    }
    if look.held {
        return Verdict::GiveUp(Futile::Held);
    }
    let alone: Vec<Short> = short(settings, seen, look.collections)
        .into_iter()
        .filter(|short| short.elsewhere == 0)
        .collect();
    // A copy that should have others may still get one.
    if !alone.is_empty() && alone.iter().all(|short| short.wanted <= 1) {
        let shards = alone.into_iter().map(|short| short.shard).collect();
        return Verdict::GiveUp(Futile::OnlyCopies(shards));
    }
    Verdict::Wait
}

/// Every other peer that our Qdrant lists says that it is being stopped.
fn all_listed_end(settings: &Settings, seen: &Observation) -> bool {
    let ending = members(settings, seen).filter(|hello| hello.said.ending);
    let ending: BTreeSet<_> = ending.filter_map(|hello| hello.peer_id).collect();
    match &seen.child {
        Child::Running(Observed::Known(qdrant)) => {
            let mut others = qdrant.peers.iter().filter(|peer| **peer != qdrant.peer_id);
            others.all(|peer| ending.contains(peer))
        }
        _ => false,
    }
}

impl Futile {
    /// Nobody stays who could take over, so nobody is missing something that another has.
    pub fn is_the_end_of_all(&self) -> bool {
        matches!(
            self,
            Self::NoPeer | Self::Alone | Self::NobodyAnswers | Self::AllEnd
        )
    }
}

/// Whether the others may still list our peer once the hand-over has ended like this; `None` when it
/// came to no verdict. Then the beat of our record, which stops, is what they tell its end by: the
/// record stays, and the steward removes it in time.
pub fn is_missed(verdict: Option<&Verdict>, seen: &Observation) -> bool {
    match verdict {
        Some(Verdict::Done { .. } | Verdict::GiveUp(Futile::Alone)) => false,
        // Its Qdrant may only be resting.
        Some(Verdict::GiveUp(Futile::NoPeer)) => seen.disk.joined,
        _ => true,
    }
}

/// Whether our peer is out: our own Qdrant has read it, or the one that leads lists us no more. A
/// removed peer does not always learn of it (facts: section 3).
pub(crate) fn out(settings: &Settings, seen: &Observation, us: PeerId) -> bool {
    let unlisted = |hello: &Hello| !hello.peers.is_empty() && !hello.peers.contains(&us);
    let others = || members(settings, seen);
    // One that reads its own removal forgets all others.
    let forgot = match &seen.child {
        Child::Running(known @ Observed::Known(qdrant)) => {
            !outlasts(known, us) && qdrant.peers.iter().all(|peer| *peer == us)
        }
        _ => false,
    };
    (forgot && others().next().is_some()) || others().any(|hello| hello.leads && unlisted(hello))
}

/// It lists nobody but itself and leads on: all others were taken out, and it has what they had.
fn outlasts(qdrant: &Observed<Qdrant>, us: PeerId) -> bool {
    qdrant.known().is_some_and(|qdrant| {
        let alone = qdrant.peers.iter().all(|peer| *peer == us);
        alone && qdrant.leads && !qdrant.consensus_stopped
    })
}

/// The other members of our generation that answer.
pub(crate) fn members<'a>(
    settings: &'a Settings,
    seen: &'a Observation,
) -> impl Iterator<Item = &'a Hello> {
    let generation = seen.disk.stamp.as_ref().map(|stamp| &stamp.generation);
    seen.peers.values().filter_map(move |probe| match probe {
        Probe::Task { hello, .. }
            if hello.service == settings.service
                && hello.state == State::Member
                && hello.generation.as_ref() == generation =>
        {
            Some(hello.as_ref())
        }
        _ => None,
    })
}

/// A shard with a copy here and too few on those who stay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Short {
    /// The shard.
    pub shard: ShardRef,
    /// Active copies on members that answer and are not being stopped.
    pub elsewhere: usize,
    /// How many copies its collection asks for.
    pub wanted: u32,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has {} of {} copies elsewhere",
            self.shard, self.elsewhere, self.wanted
        )
    }
}

/// What is short of copies once this task has ended, as far as its Qdrant says.
pub fn short(settings: &Settings, seen: &Observation, collections: &Collections) -> Vec<Short> {
    let us = match &seen.child {
        Child::Running(Observed::Known(qdrant)) => Some(qdrant.peer_id),
        _ => seen.disk.peer_id,
    };
    let stay: BTreeSet<PeerId> = members(settings, seen)
        .filter(|hello| !hello.said.ending && hello.serves)
        .filter_map(|hello| hello.peer_id)
        .collect();
    let known = collections.known().into_iter().flatten();
    let known = known.filter_map(|(name, collection)| Some((name, collection.known()?)));
    let mut all = Vec::new();
    for (name, collection) in known {
        let here = |copies: &BTreeMap<PeerId, _>| us.is_some_and(|us| copies.contains_key(&us));
        for (id, shard) in collection.shards.iter().filter(|(_, s)| here(&s.copies)) {
            let active = shard.copies.iter().filter(|(_, copy)| copy.is_active());
            let elsewhere = active.filter(|(peer, _)| stay.contains(peer)).count();
            if elsewhere < usize::try_from(collection.factor).unwrap_or(usize::MAX) {
                let shard = ShardRef {
                    collection: name.clone(),
                    shard: *id,
                };
                all.push(Short {
                    shard,
                    elsewhere,
                    wanted: collection.factor,
                });
            }
        }
    }
    all
}
