//! The end of several tasks at once: when the final set can be made of what they hold, and of whom.
//!
//! Each has had its Qdrant started again where no client reaches it, while its peers still do. Once that is
//! so of all of them, nothing is acknowledged any more, and an Active copy holds all that ever was: Qdrant
//! acknowledges a write only when every copy that missed it is known to be Dead. Who leads then makes a set
//! like any other.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::handover::{members, out};
use crate::ids::{PeerId, TaskId};
use crate::observed::Observed;
use crate::records::Hello;
use crate::settings::Settings;
use crate::view::{Child, Observation};

/// A peer that nobody answers for is done without after so many beats: one that ends with the others and
/// has had less time than they.
const BEATS: u32 = 2;

/// What is remembered between two looks: for how long peers have not been answered for.
#[derive(Clone, Debug, Default)]
pub struct Together {
    silent: BTreeMap<PeerId, Duration>,
}

/// Who takes part in the final set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Each peer that no client reaches, with its task and its URI; ourselves among them.
    pub peers: BTreeMap<PeerId, (TaskId, String)>,
    /// Peers that are done without. What one of these has acknowledged alone may be missing.
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
    /// Takes in one look, `passed` after the one before. Our own Qdrant is one that no client reaches.
    pub fn verdict(
        &mut self,
        settings: &Settings,
        seen: &Observation,
        uri: &str,
        passed: Duration,
    ) -> Verdict {
        let us = match &seen.child {
            Child::Running(Observed::Known(qdrant)) => Some(qdrant.peer_id),
            _ => seen.disk.peer_id,
        };
        if us.is_some_and(|us| out(settings, seen, us)) {
            return Verdict::Out;
        }
        let Child::Running(Observed::Known(qdrant)) = &seen.child else {
            return Verdict::Wait(Waits::Starts);
        };
        let us = qdrant.peer_id;
        let others: BTreeMap<PeerId, &Hello> = members(settings, seen)
            .filter_map(|hello| Some((hello.peer_id?, hello)))
            .collect();
        let answers = |peer: &PeerId| *peer == us || others.contains_key(peer);
        self.silent = qdrant
            .peers
            .iter()
            .filter(|peer| !answers(peer))
            .map(|peer| {
                let lasted = self.silent.get(peer).map(|so_far| *so_far + passed);
                (*peer, lasted.unwrap_or_default())
            })
            .collect();
        if !qdrant.leads || qdrant.commits == Some(false) {
            return Verdict::Wait(Waits::NotOurs);
        }
        let mut peers = BTreeMap::from([(us, (settings.task.clone(), uri.to_owned()))]);
        // Also one that our Qdrant does not list: it may be about to be listed.
        for (peer, hello) in others {
            if !hello.said.shut {
                return Verdict::Wait(Waits::Open(peer));
            }
            if !hello.serves {
                return Verdict::Wait(Waits::Silent(peer));
            }
            peers.insert(peer, (hello.task.clone(), hello.uri.clone()));
        }
        let patience = settings.beat * BEATS;
        if let Some((peer, _)) = self.silent.iter().find(|(_, lasted)| **lasted < patience) {
            return Verdict::Wait(Waits::Silent(*peer));
        }
        let absent = self.silent.keys().copied().collect();
        Verdict::Make(Party { peers, absent })
    }
}
