//! The end of several tasks at once: when the final set can be made of what they hold, and of whose.
//!
//! Each has had its Qdrant started again where no client reaches it, while its peers still do. Once that is
//! so of all of them, nothing is acknowledged any more. Who leads then makes a set like any other, but that of
//! the copies that are Active it takes those on the task that was shut last (decision 0030 says why).

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::handover::{members, moment, out};
use crate::ids::{PeerId, TaskId};
use crate::observed::Observed;
use crate::records::Hello;
use crate::settings::Settings;
use crate::view::{Child, Observation, Probe};

/// A peer that nobody answers for is done without after so many moments: one that ends with the others and
/// has had less time than they. So is a member that goes on.
const MOMENTS: u32 = 2;
/// The same while somebody is alive who cannot be read: it may be that peer.
const MOMENTS_IN_DOUBT: u32 = 4;

/// What is remembered between two looks: for how long peers have not been answered for, or went on.
#[derive(Clone, Debug, Default)]
pub struct Together {
    silent: BTreeMap<PeerId, Duration>,
    serving: BTreeMap<PeerId, Duration>,
}

/// One whom no client reaches any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// The task.
    pub task: TaskId,
    /// Where its peers reach it.
    pub uri: String,
    /// For how long no client has, by its own clock.
    pub since: Duration,
}

/// Who takes part in the final set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Those whom no client reaches; ourselves among them.
    pub peers: BTreeMap<PeerId, Shut>,
    /// Peers that are done without: what one of these acknowledges, or has acknowledged alone, may be missing.
    pub absent: BTreeSet<PeerId>,
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ours to make, with these.
    Make(Party),
    /// Something is missing yet.
    Wait(Waits),
    /// Our peer is out of the cluster: its hand-over was under way, and nothing here is needed any more.
    Out,
    /// This member goes on and serves clients: nothing ends, and nothing is to be made.
    GoesOn(PeerId),
    /// The only other one is gone, and without it we, this peer, can lead nothing: what can be done is done
    /// alone.
    Left(PeerId),
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Our own Qdrant does not answer.
    Starts,
    /// Another peer leads, or nobody: whoever does makes the set.
    NotOurs,
    /// Clients may still reach this one.
    Open(PeerId),
    /// This one does not answer yet.
    Silent(PeerId),
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starts => f.write_str("our own Qdrant has not answered since"),
            Self::NotOurs => f.write_str("our own Qdrant does not lead"),
            Self::Open(peer) => write!(f, "clients may still reach peer {peer}"),
            Self::Silent(peer) => write!(f, "peer {peer} does not answer"),
        }
    }
}

impl Together {
    /// Takes in one look, `passed` after the one before. `own`: we ourselves, when the others were asked.
    pub fn verdict(
        &mut self,
        settings: &Settings,
        seen: &Observation,
        own: Shut,
        passed: Duration,
    ) -> Verdict {
        let us = match &seen.child {
            Child::Running(Observed::Known(qdrant)) => Some(qdrant.peer_id),
            _ => seen.disk.peer_id,
        };
        if us.is_some_and(|us| out(settings, seen, us)) || is_removed(&seen.child) {
            return Verdict::Out;
        }
        let others: BTreeMap<PeerId, &Hello> = members(settings, seen)
            .filter_map(|hello| Some((hello.peer_id?, hello)))
            .collect();
        // Also one that our Qdrant does not list: it may be about to be listed.
        let serves = |hello: &&Hello| hello.said.ready && !hello.said.ending;
        let serving = others.iter().filter(|(_, hello)| serves(hello));
        self.serving = count(&self.serving, serving.map(|(peer, _)| *peer), passed);
        let patience = moment(settings) * MOMENTS;
        if let Some((peer, _)) = self.serving.iter().find(|(_, so_far)| **so_far >= patience) {
            return Verdict::GoesOn(*peer);
        }
        let Child::Running(Observed::Known(qdrant)) = &seen.child else {
            return Verdict::Wait(Waits::Starts);
        };
        let us = qdrant.peer_id;
        let silent = qdrant.peers.iter().copied();
        let silent = silent.filter(|peer| *peer != us && !others.contains_key(peer));
        self.silent = count(&self.silent, silent, passed);
        let doubt = |probe: &Probe| matches!(probe, Probe::Opaque(_) | Probe::Unasked(_));
        let patience = match seen.peers.values().any(doubt) {
            true => moment(settings) * MOMENTS_IN_DOUBT,
            false => patience,
        };
        // It has just come, and the load balancer does not know it.
        let is_new = |hello: &Hello| !hello.said.ready && !hello.said.ending;
        let mut others_open = others
            .iter()
            .filter(|(_, hello)| hello.said.shut.is_none() && !is_new(hello));
        // Whoever makes the set.
        if let Some((peer, _)) = others_open.next() {
            return Verdict::Wait(Waits::Open(*peer));
        }
        if !qdrant.leads || qdrant.commits == Some(false) {
            // Of two the one that was on its way out took the word of its removal with it. Of more, the others may
            // have decided something that is not known here.
            let of_two = qdrant.peers.len() == 2 && others.is_empty();
            let gone = !self.silent.is_empty() && self.silent.values().all(|s| *s >= patience);
            return match of_two && gone {
                true => Verdict::Left(us),
                false => Verdict::Wait(Waits::NotOurs),
            };
        }
        let mut peers = BTreeMap::from([(us, own)]);
        let mut absent = BTreeSet::new();
        for (peer, hello) in others {
            match hello.said.shut {
                None => drop(absent.insert(peer)),
                Some(_) if !hello.serves => return Verdict::Wait(Waits::Silent(peer)),
                Some(since) => {
                    let shut = Shut {
                        task: hello.task.clone(),
                        uri: hello.uri.clone(),
                        since: Duration::from_millis(since),
                    };
                    peers.insert(peer, shut);
                }
            }
        }
        if let Some((peer, _)) = self.silent.iter().find(|(_, so_far)| **so_far < patience) {
            return Verdict::Wait(Waits::Silent(*peer));
        }
        absent.extend(self.silent.keys());
        Verdict::Make(Party { peers, absent })
    }
}

/// Its own Qdrant has read its removal: it knows nobody else, and has stopped.
fn is_removed(child: &Child) -> bool {
    match child {
        Child::Running(Observed::Known(qdrant)) => {
            qdrant.consensus_stopped && qdrant.peers.iter().all(|peer| *peer == qdrant.peer_id)
        }
        _ => false,
    }
}

/// For how long each of these has been so, without a look in between in which it was not.
fn count(
    before: &BTreeMap<PeerId, Duration>,
    now: impl Iterator<Item = PeerId>,
    passed: Duration,
) -> BTreeMap<PeerId, Duration> {
    let so_far = |peer| {
        before
            .get(&peer)
            .map(|lasted| lasted.saturating_add(passed))
    };
    now.map(|peer| (peer, so_far(peer).unwrap_or_default()))
        .collect()
}
