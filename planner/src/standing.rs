//! Where a survivor of a lost majority stands: in which generation, among whom, and who of them is
//! before it.

use core::cmp::Reverse;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::fencing::our_store;
use crate::ids::{GenerationId, PeerId, TaskId};
use crate::observed::Observed;
use crate::records::{Formed, Hello, Regroup, Stage, Stamp, State};
use crate::rejoin;
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};

/// Where we stand in the generation that was lost: from our own Qdrant; once we have claimed, from the
/// mark on our disk, because a Raft that was begun anew lists nobody else; or, while we wait to go over
/// into it, from its record.
pub(crate) struct Standing<'a> {
    pub(crate) generation: &'a GenerationId,
    pub(crate) peer: PeerId,
    /// All peers of the generation, ourselves included.
    pub(crate) listed: BTreeSet<PeerId>,
    /// Those of them that vote.
    pub(crate) voters: BTreeSet<PeerId>,
    pub(crate) commit: u64,
    /// Whom our open claim names. They were found to have no quorum, and need not answer any more.
    pub(crate) named: Option<&'a BTreeMap<PeerId, TaskId>>,
    /// Our own Raft could still vote in it.
    pub(crate) votes: bool,
    /// Our own Raft was begun anew for a claim.
    pub(crate) begun: bool,
    /// We have been in it; otherwise it only counts on our data.
    pub(crate) inside: bool,
    /// Who came into it with data, or was to.
    heirs: BTreeSet<PeerId>,
}

/// How far a survivor has come: greater is before. One that has been in the generation, then the last
/// committed entry, then whoever ran on: what began anew for a claim that came to nothing has stood
/// still since. Among equals the lowest peer.
type Rank = (bool, Option<u64>, bool, Reverse<PeerId>);

impl<'a> Standing<'a> {
    pub(crate) fn of(settings: &Settings, seen: &'a Observation) -> Result<Self, String> {
        let member = |stamp: &&Stamp| stamp.stage == Stage::Member;
        let (Some(stamp), Some(peer)) =
            (seen.disk.stamp.as_ref().filter(member), seen.disk.peer_id)
        else {
            return Err("this task is no member".to_owned());
        };
        if let Some(formed) = awaited(settings, seen, stamp) {
            return Self::outside(seen, stamp, peer, formed);
        }
        if let Some(mark) = &stamp.regroup {
            return Ok(Self::marked(seen, stamp, peer, mark));
        }
        match &seen.child {
            Child::Running(Observed::Known(qdrant)) if qdrant.peers.contains(&peer) => {
                let voters = seen.disk.voters.intersection(&qdrant.peers);
                let voters: BTreeSet<PeerId> = voters.copied().collect();
                Ok(Self {
                    generation: &stamp.generation,
                    peer,
                    listed: qdrant.peers.clone(),
                    // Whoever is not known to be a learner votes.
                    voters: match voters.contains(&peer) {
                        true => voters,
                        false => qdrant.peers.clone(),
                    },
                    commit: qdrant.commit,
                    named: None,
                    votes: true,
                    begun: false,
                    inside: true,
                    heirs: stamp.survivors.clone(),
                })
            }
            _ => Err("our own Qdrant does not say whom it lists".to_owned()),
        }
    }

    /// Ours is a claim, open or come to nothing.
    fn marked(seen: &Observation, stamp: &'a Stamp, peer: PeerId, mark: &'a Regroup) -> Self {
        let open = seen.store.known().is_none_or(|store| {
            let there = store.generations.get(&mark.claim.number);
            there.is_none_or(|there| {
                there.claim.token == mark.claim.token && there.outcome.is_none()
            })
        });
        let survivors = || mark.survivors.keys().copied();
        let listed: BTreeSet<PeerId> = survivors().chain(mark.missing.iter().copied()).collect();
        let inside = stamp.generation == mark.previous;
        Self {
            generation: &mark.previous,
            peer,
            voters: listed.clone(),
            listed,
            commit: mark.commit,
            named: open.then_some(&mark.survivors),
            votes: !mark.begun && inside,
            begun: mark.begun,
            inside,
            heirs: survivors().collect(),
        }
    }

    /// The generation counts on our data, and we have not been in it. Whoever has tried to go over has
    /// begun Raft anew for it, and has nothing left to begin a generation with.
    fn outside(
        seen: &Observation,
        stamp: &Stamp,
        peer: PeerId,
        formed: &'a Formed,
    ) -> Result<Self, String> {
        if matches!(seen.child, Child::Running(_)) {
            return Err("our own Qdrant still runs in the generation before".to_owned());
        }
        let mark = stamp.regroup.as_ref();
        let commit = mark.map(|mark| mark.commit).or(seen.disk.commit);
        Ok(Self {
            generation: &formed.generation,
            peer,
            listed: formed.survivors.clone(),
            voters: formed.survivors.clone(),
            commit: commit.ok_or("our own disk does not say how far it has come")?,
            named: None,
            votes: false,
            begun: mark.is_some_and(|mark| mark.begun),
            inside: false,
            heirs: formed.survivors.clone(),
        })
    }

    /// A task that holds data which our generation counts on: one of those who would go on.
    pub(crate) fn is_survivor(&self, settings: &Settings, hello: &Hello) -> bool {
        let (Some(peer), Some(its)) = (hello.peer_id, hello.generation.as_ref()) else {
            return false;
        };
        let same = its == self.generation
            && self.listed.contains(&peer)
            && matches!(hello.state, State::Member | State::HoldsData);
        let heir = its.number <= self.generation.number
            && self.heirs.contains(&peer)
            && hello.state == State::HoldsData;
        hello.service == settings.service && peer != self.peer && (same || heir)
    }

    pub(crate) fn survivors<'s>(
        &self,
        settings: &Settings,
        seen: &'s Observation,
    ) -> BTreeMap<PeerId, &'s Hello> {
        hellos(seen)
            .filter(|(_, hello)| self.is_survivor(settings, hello))
            .filter_map(|(_, hello)| Some((hello.peer_id?, hello)))
            .collect()
    }

    pub(crate) fn missing(&self, survivors: &BTreeMap<PeerId, &Hello>) -> BTreeSet<PeerId> {
        let gone = |peer: &&PeerId| match self.named {
            Some(named) => !named.contains_key(*peer),
            None => **peer != self.peer && !survivors.contains_key(*peer),
        };
        self.listed.iter().filter(gone).copied().collect()
    }

    /// How many of those who answer could vote, ourselves included. Whoever does not run counts: it may
    /// run again, and nothing is gone as long as it may.
    pub(crate) fn voices(&self, survivors: &BTreeMap<PeerId, &Hello>) -> usize {
        let votes = |(peer, hello): &(&PeerId, &&Hello)| {
            self.voters.contains(*peer)
                && !hello.said.plight.begun
                && hello.generation.as_ref() == Some(self.generation)
                && (self.inside || hello.state == State::Member)
        };
        usize::from(self.votes) + survivors.iter().filter(votes).count()
    }

    /// This survivor has been in the generation, and did not only survive into it.
    pub(crate) fn is_inside(&self, peer: PeerId, hello: &Hello) -> bool {
        hello.generation.as_ref() == Some(self.generation)
            && (hello.state == State::Member || (self.inside && self.listed.contains(&peer)))
    }

    fn rank(&self, peer: PeerId, hello: &Hello) -> Rank {
        (
            self.is_inside(peer, hello),
            hello.said.commit,
            !hello.said.plight.begun,
            Reverse(peer),
        )
    }

    /// The survivors that are before us. One that does not say how far it has come may be.
    pub(crate) fn before_us<'s>(&self, survivors: &BTreeMap<PeerId, &'s Hello>) -> Vec<&'s Hello> {
        let ours: Rank = (
            self.inside,
            Some(self.commit),
            !self.begun,
            Reverse(self.peer),
        );
        let before = |(peer, hello): &(&PeerId, &&Hello)| {
            hello.said.commit.is_none() || self.rank(**peer, hello) > ours
        };
        let before = survivors.iter().filter(before);
        before.map(|(_, hello)| *hello).collect()
    }

    /// The survivors whose data has stood still while others went on: by an earlier claim, or because
    /// they were not in the generation yet.
    pub(crate) fn behind(&self, survivors: &BTreeMap<PeerId, &Hello>) -> BTreeSet<PeerId> {
        let is_inside = |(peer, hello): (&PeerId, &&Hello)| self.is_inside(*peer, hello);
        let anybody_inside = self.inside || survivors.iter().any(is_inside);
        let still = |begun: bool, inside: bool| begun || (anybody_inside && !inside);
        let others = survivors.iter().filter_map(|(peer, hello)| {
            still(hello.said.plight.begun, self.is_inside(*peer, hello)).then_some(*peer)
        });
        let ours = still(self.begun, self.inside).then_some(self.peer);
        others.chain(ours).collect()
    }
}

/// The formed generation that this disk is to go over into and has not tried to.
pub(crate) fn awaited<'a>(
    settings: &Settings,
    seen: &'a Observation,
    stamp: &Stamp,
) -> Option<&'a Formed> {
    let formed = our_store(settings, seen, stamp)?.formed()?;
    let claimed = stamp
        .regroup
        .as_ref()
        .is_some_and(|mark| mark.claim == formed.generation || mark.previous == formed.generation);
    let later = formed.generation.number > stamp.generation.number;
    (later && !claimed && stamp.rejoin.is_none() && rejoin::survives(formed, seen))
        .then_some(formed)
}

pub(crate) fn hellos(seen: &Observation) -> impl Iterator<Item = (&IpAddr, &Hello)> {
    seen.peers
        .iter()
        .filter_map(|(address, probe)| match probe {
            Probe::Task { hello, .. } => Some((address, hello.as_ref())),
            _ => None,
        })
}
