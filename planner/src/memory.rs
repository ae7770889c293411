//! What a task remembers between two rounds: counts that an observation feeds and a gap resets.
//!
//! All durations are sums of the time between this task's own rounds. Clocks of two machines are
//! never compared (rule R5).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{GenerationId, PeerId, TaskId, Token};
use crate::observed::Observed;
use crate::settings::{DNS_ANSWERS, DNS_LIMIT, Settings};
use crate::view::{Child, Dns, Observation, Probe, Store};
use crate::{requorum, witness};

pub use crate::standstill::Doubt;

/// Everything remembered. A new process starts with the default: nothing was ever observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The last DNS answers.
    pub dns: DnsMemory,
    /// How long the members of the highest formed generation have been silent.
    pub silence: Silence,
    /// How long the peers of our own generation that do not answer have been silent (R8).
    pub majority: Silence,
    /// How long the lease of the highest claim has not moved.
    pub claim: ClaimWatch,
    /// The time that the last observation added to every count; zero after a gap.
    pub step: Duration,
    /// How long our own consensus has not committed.
    pub no_commit: Duration,
    /// How often consensus has ended in our Qdrant without a calm time between.
    pub consensus_stops: u8,
    /// How long our consensus has gone on since it last ended or lost its leader.
    pub calm: Duration,
    /// Why the peer of this disk must not run again; kept until the disk is freed.
    pub verdict: Option<Verdict>,
    /// How long our claim has stood without our being able to form it.
    pub holding: Duration,
    /// A claim of ours came to nothing here: others go first. Kept until we belong to a cluster.
    pub gave_up: Option<GaveUp>,
    /// How long this task has not been a member that works.
    pub adrift: Duration,
    /// How long a majority has not listed our peer.
    pub unlisted: Duration,
    /// The others have listed our peer before.
    pub listed: bool,
    /// The others may have removed our peer without its knowledge; until they say otherwise its Qdrant
    /// stands still.
    pub doubt: Option<Doubt>,
    /// How long somebody has been alive whom we cannot read.
    pub unreadable: Duration,
    /// Our data was found to be the cluster's since this process began, or last slept.
    pub verified: bool,
    /// Our data was to be set aside because the cluster needs nothing of it.
    pub gave_up_data: bool,
    /// Readiness was given; it stays as long as the data does.
    pub ready: bool,
    /// Nothing is here that anybody could miss: this task begins anew, and is ready when it is let serve
    /// again. A Qdrant that has just joined takes writes before it has read who holds what, so that
    /// they miss copies (measured); traffic must not come to it for an earlier life's sake.
    pub anew: bool,
    /// We came to our generation before its first formation was complete: nobody of those waits to be
    /// let serve.
    pub early: bool,
    /// How long members have answered and none of them led.
    pub leaderless: Duration,
    /// Joins begun, to go round the peers.
    pub joins: u8,
    /// How long every survivor that is before us has said that it cannot claim.
    pub deferred: Duration,
    /// The members whose copies may stand in for ours, and how long they have been the same.
    pub settled: Option<(BTreeSet<PeerId>, Duration)>,
    /// How long another survivor has gone over before us.
    pub queued: Duration,
}

/// The time between two observations, by this task's own monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// All of it; zero for the first observation.
    pub time: Duration,
    /// The longest part in which this process did not run.
    pub asleep: Duration,
}

/// Why the peer of this disk must not run again in this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The cluster goes on without it.
    Removed(String),
    /// Its consensus has ended again and again.
    Stopped(String),
    /// Its Qdrant belongs to another generation than its disk.
    Broken(String),
}

/// A claim that this task gave up because it could not be formed here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GaveUp {
    /// Why, for people.
    pub why: String,
    /// How long ago, up to loss and claim time-out together.
    pub since: Duration,
}

impl GaveUp {
    /// Just now.
    pub(crate) fn new(why: String) -> Self {
        Self {
            why,
            since: Duration::ZERO,
        }
    }
}

impl Memory {
    /// The others have listed us: in the life of this process, or before it, when we were let serve with
    /// what is on the disk.
    pub(crate) fn was_listed(&self, seen: &Observation) -> bool {
        self.listed || (seen.disk.served && !self.anew)
    }

    /// Takes in one observation.
    pub fn observe(&mut self, settings: &Settings, passed: Passed, seen: &Observation) {
        // A pause of the whole task must not count as silence of the others, nor must a round that
        // was held up so long that much of it was not seen.
        let step = (passed.time <= settings.gap).then_some(passed.time);
        // Whoever slept may have been given up by the others; whoever waited for a slow store was
        // there for them.
        let slept = passed.asleep > settings.loss_timeout / 2;
        if slept {
            self.verified = false;
        }
        if passed.asleep >= settings.sleep {
            self.doubt = Some(Doubt::default());
        }
        self.step = step.unwrap_or_default();
        // An answer proves what it proves however slowly it came; only a long sleep ends that.
        let awake = (!slept).then_some(passed.time);
        self.dns.observe(settings, awake, &seen.dns);
        self.claim.observe(settings, step, &seen.store);
        let total = Watched::of_total_loss(settings, seen);
        self.silence.observe(settings, step, total);
        // Counted beside the doubt about our own consensus, so that neither waits for the other.
        match requorum::in_question(settings, self.no_commit, seen) {
            true => {
                let watched = requorum::watched(settings, seen);
                self.majority.observe(settings, step, watched);
            }
            false => self.majority = Silence::default(),
        }
        self.deferred = match requorum::all_before_us_cannot(settings, seen) && step.is_some() {
            true => count(self.deferred, self.step, settings.loss_timeout),
            false => Duration::ZERO,
        };
        if seen.disk.stamp.as_ref().is_none_or(|s| s.rejoin.is_none()) {
            self.settled = None;
        }
        if step.is_none() {
            self.no_commit = Duration::ZERO;
            self.unlisted = Duration::ZERO;
            self.holding = Duration::ZERO;
            self.leaderless = Duration::ZERO;
            self.queued = Duration::ZERO;
        }
        self.early &= seen.disk.stamp.is_some();
        self.early |= came_early(seen);
        match &seen.disk.stamp {
            None => {
                // What was set aside for a newer generation may be the only copy of something.
                if self.gave_up_data || !seen.disk.aside {
                    (self.ready, self.anew) = (false, true);
                }
                self.gave_up_data = false;
                self.verdict = None;
                self.doubt = None;
                self.consensus_stops = 0;
                self.no_commit = Duration::ZERO;
                self.unlisted = Duration::ZERO;
                self.listed = false;
                self.verified = false;
                self.holding = Duration::ZERO;
            }
            Some(stamp) if stamp.claims().is_none() => {
                self.holding = Duration::ZERO;
                // A member whose quorum is lost may have a claim behind it.
                if self.no_commit < settings.loss_timeout {
                    self.gave_up = None;
                }
            }
            Some(_) => {}
        }
        if let Some(gave_up) = &mut self.gave_up {
            let limit = settings.loss_timeout + settings.claim_timeout;
            gave_up.since = count(gave_up.since, self.step, limit);
        }
        self.unreadable = match witness::unreadable(seen) {
            Some(_) => count(self.unreadable, self.step, settings.claim_timeout),
            None => Duration::ZERO,
        };
    }
}

/// The proof of our generation, in our own key map or a member's, does not call it complete.
fn came_early(seen: &Observation) -> bool {
    let Some(stamp) = &seen.disk.stamp else {
        return false;
    };
    let own = match &seen.child {
        Child::Running(Observed::Known(qdrant)) => qdrant.proof.known().and_then(Option::as_ref),
        _ => None,
    };
    let theirs = seen.peers.values().filter_map(|probe| match probe {
        Probe::Task { proof, .. } => proof.as_ref(),
        _ => None,
    });
    own.into_iter()
        .chain(theirs)
        .any(|proof| proof.generation == stamp.generation && !proof.complete)
}

/// Adds `step` to a count and stops at `limit`, so that equal situations stay equal.
pub(crate) fn count(sum: Duration, step: Duration, limit: Duration) -> Duration {
    (sum + step).min(limit)
}

/// The last DNS answers.
///
/// An answer is a snapshot of some moment in the past. One that lists ourselves is younger than
/// our own registration, so it also lists everybody who was registered before us; one with fewer
/// than eight addresses is whole. Where neither can be had, time has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DnsMemory {
    answers: VecDeque<BTreeSet<IpAddr>>,
    /// Listed lately, and how long ago: the union for services with more than seven tasks.
    listed: BTreeMap<IpAddr, Duration>,
    /// How long answers have arrived without interruption and without a new address.
    stable: Duration,
}

impl DnsMemory {
    fn observe(&mut self, settings: &Settings, step: Option<Duration>, dns: &Dns) {
        let (Some(step), Dns::Arrived(answer)) = (step, dns) else {
            *self = Self::default();
            return;
        };
        self.listed.values_mut().for_each(|age| *age += step);
        self.listed.retain(|_, age| *age <= settings.dns_settle);
        // The time before the first answer is not time in which answers arrived.
        let mut new = self.answers.is_empty();
        for address in answer {
            new |= self.listed.insert(*address, Duration::ZERO).is_none();
        }
        self.stable = if new {
            Duration::ZERO
        } else {
            count(self.stable, step, settings.dns_settle)
        };
        if self.answers.len() >= DNS_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer.clone());
    }

    /// Answers arrive and a few more are needed: not worth a pause.
    pub fn arriving(&self) -> bool {
        (1..DNS_ANSWERS).contains(&self.answers.len())
    }

    /// The addresses that founding must ask, or why DNS is not enough yet.
    pub fn settled(&self, settings: &Settings, now: &Dns) -> Result<BTreeSet<IpAddr>, String> {
        match now {
            Dns::NotConfigured => return Ok(BTreeSet::new()),
            Dns::Failed(why) => return Err(why.clone()),
            Dns::Arrived(_) => {}
        }
        if self.answers.len() < DNS_ANSWERS {
            return Err(format!(
                "{} of {DNS_ANSWERS} answers have arrived",
                self.answers.len()
            ));
        }
        let whole_and_lists_us = self
            .answers
            .iter()
            .any(|a| a.len() < DNS_LIMIT && a.contains(&settings.address));
        if whole_and_lists_us {
            return Ok(self.answers.iter().flatten().copied().collect());
        }
        if self.stable < settings.dns_settle {
            return Err(format!(
                "no whole answer lists our own address; unchanged for {:.1} of {} s",
                self.stable.as_secs_f64(),
                settings.dns_settle.as_secs_f64()
            ));
        }
        Ok(self.listed.keys().copied().collect())
    }
}

/// How long the lease of the highest undecided claim has not moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimWatch {
    watched: Option<(u64, Token, Option<u64>)>,
    unmoved: Duration,
}

impl ClaimWatch {
    fn observe(&mut self, settings: &Settings, step: Option<Duration>, store: &Observed<Store>) {
        let now = store
            .known()
            .and_then(Store::undecided)
            .map(|(n, undecided)| (n, undecided.claim.token.clone(), undecided.lease));
        match (step, now) {
            (Some(step), Some(now)) if self.watched.as_ref() == Some(&now) => {
                self.unmoved = count(self.unmoved, step, settings.claim_timeout);
            }
            (_, now) => {
                *self = Self {
                    watched: now,
                    unmoved: Duration::ZERO,
                }
            }
        }
    }

    /// The claim has shown no life for the claim time-out.
    pub fn expired(&self, settings: &Settings) -> bool {
        self.watched.is_some() && self.unmoved >= settings.claim_timeout
    }
}

/// How long everyone who could still hold a generation has been silent.
///
/// One count for the two rules that call something lost: R7, where nobody with data may show life,
/// and R8, where nobody but the survivors may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Silence {
    subject: Subject,
    beats: BTreeMap<TaskId, u64>,
    lasted: Duration,
    hindrance: Option<String>,
}

/// Whose silence is counted; another subject starts the count anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    /// The generation that they could hold.
    pub(crate) generation: Option<GenerationId>,
    /// R8: the peers that are missing.
    pub(crate) missing: BTreeSet<PeerId>,
}

/// What one round says about their silence.
pub(crate) struct Watched {
    /// Who is watched.
    pub(crate) subject: Subject,
    /// The beats in the store that may not move.
    pub(crate) beats: BTreeMap<TaskId, u64>,
    /// Our own beat was read back.
    pub(crate) own_beat_seen: bool,
    /// Who shows life otherwise.
    pub(crate) somebody: Option<String>,
}

impl Watched {
    /// R7: everybody in the store and in DNS who does not give way.
    fn of_total_loss(settings: &Settings, seen: &Observation) -> Result<Self, String> {
        let Observed::Known(store) = &seen.store else {
            return Err("the store cannot be read".to_owned());
        };
        let generation = store.formed().map(|formed| formed.generation.clone());
        let beats = store
            .members
            .iter()
            .filter(|(_, member)| !witness::member_gives_way(member, generation.as_ref()))
            .map(|(task, member)| (task.clone(), member.beat))
            .collect();
        Ok(Self {
            beats,
            own_beat_seen: store.own_beat_seen,
            somebody: witness::somebody_holds(settings, seen, generation.as_ref()),
            subject: Subject {
                generation,
                missing: BTreeSet::new(),
            },
        })
    }
}

impl Silence {
    fn observe(
        &mut self,
        settings: &Settings,
        step: Option<Duration>,
        watched: Result<Watched, String>,
    ) {
        let watched = match watched {
            Ok(watched) => watched,
            Err(why) => {
                self.reset(&why);
                return;
            }
        };
        let moved = watched
            .beats
            .iter()
            .find(|(task, beat)| self.beats.get(*task) != Some(*beat));
        let hindrance = match (step, moved) {
            (None, _) => Some("this task has slept".to_owned()),
            _ if watched.subject != self.subject => Some("just begun".to_owned()),
            (_, Some((task, _))) => Some(format!("task {task} beats in the store")),
            _ if !watched.own_beat_seen => Some("our own beat was not read back".to_owned()),
            _ => watched.somebody,
        };
        self.subject = watched.subject;
        self.beats = watched.beats;
        match (hindrance, step) {
            (None, Some(step)) => {
                self.lasted = count(self.lasted, step, settings.loss_timeout);
                self.hindrance = None;
            }
            (why, _) => {
                self.lasted = Duration::ZERO;
                self.hindrance = why;
            }
        }
    }

    fn reset(&mut self, why: &str) {
        *self = Self {
            hindrance: Some(why.to_owned()),
            ..Self::default()
        };
    }

    /// For how long all have been silent.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// What broke the count in this round.
    pub fn hindrance(&self) -> Option<&str> {
        self.hindrance.as_deref()
    }

    /// Long enough to call the generation lost.
    pub fn complete(&self, settings: &Settings) -> bool {
        self.lasted >= settings.loss_timeout
    }

    /// Somebody in the store's member list could hold a cluster and has not been silent long
    /// enough.
    pub fn pending(&self, settings: &Settings) -> bool {
        !self.beats.is_empty() && !self.complete(settings)
    }
}
