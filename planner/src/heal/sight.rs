//! From what each round saw of the peers to whether they live. Every member keeps this memory all
//! the time, so that a new steward begins with counts that already run.
//!
//! Durations are sums of the time between our own rounds; a round after a gap resets them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::heal::life::{Doubt, Life, Witness};
use crate::heal::settings::Settings;
use crate::ids::PeerId;
use crate::observed::Observed;
use crate::settings::DNS_ANSWERS;

/// What one round saw of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its Qdrant, asked at its address. Only an answer that names this peer id is one.
    pub qdrant: Answer,
    /// Its PID 1. Only an answer that names this peer id is one: a task that joined anew under
    /// another id is not this peer any more.
    pub pid1: Answer,
    /// The number of its task's last beat in the store; `Known(None)` when it has no record.
    pub beat: Observed<Option<u64>>,
    /// What this round's DNS answer says of its address.
    pub dns: Observed<Listing>,
    /// At its address another task, or another peer id of ours, has answered.
    pub address_taken: Observed<bool>,
    /// A member that says that this peer answers it.
    pub heard_by: Option<PeerId>,
}

/// How a question to a peer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Answers,
    /// Nothing answered.
    Silent,
    /// We could not ask; for people.
    Unclear(String),
    /// Somebody answers whom we cannot read: a stranger at an address that was given anew, or the peer
    /// itself with another key; for people.
    Unreadable(String),
}

/// What a DNS answer says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// It is there. No sign of life: the records of the dead stay for a while.
    Listed,
    /// It is not there.
    Absent {
        /// The answer was shorter than Cloud Map's limit, hence not cut off.
        whole: bool,
    },
}

/// The counts for every peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    peers: BTreeMap<PeerId, Counts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    quiet: Duration,
    silent: Duration,
    unread: Duration,
    gone: Duration,
    beat: Option<u64>,
    still: Duration,
    absent: usize,
    absent_whole: bool,
    /// Since DNS last listed it.
    unnamed: Duration,
    life: Life,
}

impl Counts {
    /// Every count begins when a peer is first seen, so that a new process is patient from there.
    fn new() -> Self {
        Self {
            quiet: Duration::ZERO,
            silent: Duration::ZERO,
            unread: Duration::ZERO,
            gone: Duration::ZERO,
            beat: None,
            still: Duration::ZERO,
            absent: 0,
            absent_whole: false,
            unnamed: Duration::ZERO,
            life: Life::Alive,
        }
    }
}

impl Sight {
    /// Takes in one round. `step` is the time since the last one, `None` when this task slept
    /// between them: then every count begins again, for the silence was ours.
    pub fn observe(
        &mut self,
        settings: &Settings,
        step: Option<Duration>,
        seen: &BTreeMap<PeerId, Sighting>,
    ) {
        self.peers.retain(|peer, _| seen.contains_key(peer));
        for (peer, sighting) in seen {
            let known = step.and_then(|step| Some((step, self.peers.get(peer)?)));
            let mut counts = known.map_or_else(Counts::new, |(_, counts)| counts.clone());
            let step = known.map_or(Duration::ZERO, |(step, _)| step);
            counts.take_in(settings, step, sighting);
            self.peers.insert(*peer, counts);
        }
    }

    /// How long until the silence of some peer is long enough to be judged: worth a round of its own,
    /// for until then its copies are missing and nobody may do anything about it.
    pub fn due(&self, settings: &Settings) -> Option<Duration> {
        let waits = |counts: &&Counts| {
            matches!(
                counts.life,
                Life::Unsure {
                    why: Doubt::TooSoon,
                    ..
                }
            )
        };
        let waiting = self.peers.values().filter(waits);
        let left = waiting.map(|counts| settings.gone_timeout.saturating_sub(counts.silent));
        left.min()
    }

    /// What is known of this peer's life; never asked for means unsure.
    pub fn life(&self, peer: PeerId) -> Life {
        self.peers.get(&peer).map_or(
            Life::Unsure {
                why: Doubt::TooSoon,
                lasted: Duration::ZERO,
            },
            |counts| counts.life.clone(),
        )
    }
}

impl Counts {
    fn take_in(&mut self, settings: &Settings, step: Duration, seen: &Sighting) {
        match &seen.beat {
            Observed::Known(beat) if *beat == self.beat => self.still += step,
            Observed::Known(beat) => {
                self.beat = *beat;
                self.still = Duration::ZERO;
            }
            Observed::Unknown(_) => self.still = Duration::ZERO,
        }
        self.unnamed = match &seen.dns {
            Observed::Known(Listing::Listed) => Duration::ZERO,
            _ => self.unnamed.saturating_add(step),
        };
        match &seen.dns {
            Observed::Known(Listing::Absent { whole }) => {
                self.absent = (self.absent + 1).min(DNS_ANSWERS);
                self.absent_whole |= whole;
            }
            Observed::Known(Listing::Listed) => {
                self.absent = 0;
                self.absent_whole = false;
            }
            // No answer says nothing; and it is no witness in this round.
            Observed::Unknown(_) => {}
        }
        self.life = self.judge(settings, step, seen);
    }

    fn judge(&mut self, settings: &Settings, step: Duration, seen: &Sighting) -> Life {
        if seen.qdrant == Answer::Answers {
            (self.quiet, self.silent, self.unread, self.gone) = Default::default();
            return Life::Alive;
        }
        self.quiet += step;
        let lasted = self.quiet;
        if seen.pid1 == Answer::Answers {
            (self.silent, self.unread, self.gone) = Default::default();
            return Life::Hung { lasted };
        }
        match self.doubt(settings, step, seen) {
            Err(why) => {
                self.gone = Duration::ZERO;
                Life::Unsure { why, lasted }
            }
            Ok(witnesses) => {
                if self.life.is_gone() {
                    self.gone += step;
                }
                let lasted = self.gone;
                Life::Gone { witnesses, lasted }
            }
        }
    }

    /// The witnesses of its end, or what keeps us from believing in it.
    fn doubt(
        &mut self,
        settings: &Settings,
        step: Duration,
        seen: &Sighting,
    ) -> Result<BTreeSet<Witness>, Doubt> {
        let mut stranger = None;
        for answer in [&seen.qdrant, &seen.pid1] {
            match answer {
                Answer::Unclear(why) => {
                    (self.silent, self.unread) = Default::default();
                    return Err(Doubt::CouldNotAsk(why.clone()));
                }
                Answer::Unreadable(why) => stranger = Some(why),
                Answer::Answers | Answer::Silent => {}
            }
        }
        self.unread += step;
        self.silent = match stranger {
            Some(_) => Duration::ZERO,
            None => self.silent + step,
        };
        if let Some(peer) = seen.heard_by {
            return Err(Doubt::HeardBy(peer));
        }
        if let Some(why) = stranger {
            return self.stranger(settings, seen, why);
        }
        if self.silent < settings.gone_timeout {
            return Err(Doubt::TooSoon);
        }
        let beats = matches!(seen.beat, Observed::Known(Some(_)));
        let taken = seen.address_taken == Observed::Known(true);
        if beats && self.still < settings.gone_timeout {
            return Err(Doubt::Beats);
        }
        let absent = self.absent_lately(seen) && self.absent_whole;
        let witnesses: BTreeSet<Witness> = [
            (beats, Witness::BeatStopped),
            (absent, Witness::NotInDns),
            (taken, Witness::AddressTaken),
        ]
        .into_iter()
        .filter_map(|(says, witness)| says.then_some(witness))
        .collect();
        match witnesses.is_empty() {
            true => Err(Doubt::NoWitness),
            false => Ok(witnesses),
        }
    }
    /// Whoever answers there may be the peer itself, which refuses our key or speaks another version;
    /// or the address was given to somebody else after the peer's end. Only the second stops the
    /// peer's beat *and* takes it out of DNS, so both must say so, and for as long as a last copy is
    /// waited for.
    fn stranger(
        &self,
        settings: &Settings,
        seen: &Sighting,
        why: &str,
    ) -> Result<BTreeSet<Witness>, Doubt> {
        let beats = matches!(seen.beat, Observed::Known(Some(_)));
        let lasted = self.still.min(self.unread).min(self.unnamed);
        let stopped = beats && lasted >= settings.lost_copy_timeout;
        match stopped && self.absent_lately(seen) {
            true => Ok([Witness::BeatStopped, Witness::NotInDns].into()),
            false => Err(Doubt::Unreadable(why.to_owned())),
        }
    }

    /// Several answers in a row, the last in this round, do not list its address.
    fn absent_lately(&self, seen: &Sighting) -> bool {
        let now = matches!(seen.dns, Observed::Known(Listing::Absent { .. }));
        now && self.absent >= DNS_ANSWERS
    }
}
