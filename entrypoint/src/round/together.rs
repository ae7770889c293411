//! The end of several tasks at once: each has its Qdrant started again where no client reaches it, and who
//! leads then makes the final set of what all of them hold (decision 0030).
//!
//! Nothing of this takes the time that Qdrant needs to end: what does not fit is left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use planner::decision::Action;
use planner::farewell::together::{Party, Shut, Together, Verdict, Waits};
use planner::farewell::{self, NoSet};
use planner::heal::names::ShardRef;
use planner::ids::{PeerId, TaskId};
use planner::keep::clock::Interval;
use planner::keep::folder::Found;
use planner::keep::ids::SetId;
use planner::keep::layout::Entry;
use planner::keep::records::{Manifest, Origin};
use planner::records::Stamp;
use planner::view::Probe;
use qdrant_api::Client;
use tokio::sync::watch as channel;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::Task;
use super::last::{Farewell, better};
use crate::events;
use crate::keep::calls::Calls;
use crate::keep::last::Last;
use crate::keep::shelf::Shelf;
use crate::keep::taker::Taker;
use crate::log::chain;
use crate::qdrant::probe_commit;
use crate::status::Board;

/// What the rounds here wait for one another at least.
const PAUSE: Duration = Duration::from_millis(100);

/// Copies that could not be taken.
type Failed = BTreeSet<(ShardRef, PeerId)>;

/// How a task has ended with the others.
enum End {
    /// All that they held is in this set.
    Made(SetId),
    /// They had taken over what was here before they ended.
    Out,
    /// This one does not end.
    GoesOn(PeerId),
    /// The only other one is gone, and has nothing.
    Left,
}

/// A set that we make with others.
struct Work {
    peers: BTreeSet<PeerId>,
    made: AbortOnDropHandle<(Result<Manifest, String>, Failed)>,
}

impl Work {
    fn is_of_others(&self, party: &Party) -> bool {
        !party.peers.keys().eq(&self.peers)
    }
}

impl Task {
    /// Shuts clients out, makes the final set with the others that do, and ends Qdrant again.
    pub(super) async fn last_together(
        &mut self,
        began: Instant,
        stamp: &Stamp,
        interval: Interval,
    ) -> Option<Farewell> {
        let budget = self.stop_budget;
        tracing::info!(
            event = events::SET_LAST,
            "writes are shut out now, here and by the others that end"
        );
        let grace = budget.grace(began.elapsed());
        // From this moment on it takes nothing from anybody, however long it needs to end.
        let at = Instant::now();
        let first = self.qdrant.stop(Signal::SIGINT, grace).await?;
        self.board.send_modify(|board| {
            let status = &mut board.status;
            status.shut = Some(at);
            // What the ended one said of itself.
            (status.is_voter, status.role) = (None, None);
        });
        let left = budget.hand_over_left(began.elapsed());
        let made = match timeout(left, self.shut(began, stamp, interval)).await {
            Ok(made) => made,
            Err(_) => Err("the time to SIGKILL leaves no more for it".to_owned()),
        };
        // Who made it may have ended before everybody had heard of it.
        let made = match made {
            Err(why) => {
                let patience = self.config.probe_timeout;
                let there = timeout(patience, self.newest_final(stamp)).await;
                there.ok().flatten().map(End::Made).ok_or(why)
            }
            made => made,
        };
        let mut over = false;
        match made {
            Ok(End::Left) => {
                tracing::info!(
                    event = events::SET_LAST_WAITS,
                    "the only other one is gone, and all copies are here: the final set is made alone"
                );
                let alone = self.last_alone(began, stamp, interval).await;
                return alone.map(|alone| Farewell {
                    stopped: better(first, Some(alone.stopped)),
                    ..alone
                });
            }
            Ok(End::Made(set)) => {
                tracing::info!(event = events::SET_LAST_MADE, "the final set is {set}");
            }
            Ok(End::Out) => {
                over = true;
                tracing::info!(event = events::HANDED_OVER, "out of Raft");
            }
            Ok(End::GoesOn(peer)) => tracing::info!(
                event = events::SET_LAST_SKIPPED,
                "peer {peer} goes on and serves clients"
            ),
            Err(why) => tracing::error!(event = events::SET_LAST_FAILED, "{why}"),
        }
        let grace = budget.grace(began.elapsed());
        let second = self.qdrant.stop(Signal::SIGINT, grace).await;
        Some(Farewell {
            stopped: better(first, second),
            // Whether all the others have ended is not known here: silence tells.
            said: false,
            over,
        })
    }

    /// From a Qdrant that was ended to a final set, whoever makes it.
    async fn shut(
        &mut self,
        began: Instant,
        stamp: &Stamp,
        interval: Interval,
    ) -> Result<End, String> {
        let patience = self.config.probe_timeout * 3;
        let started = self.qdrant.start_shut(patience).await;
        started.map_err(|error| chain(&error))?;
        // A set of before is nobody's any more.
        self.board.send_modify(|board| board.status.set = None);
        // Every answer that is missed costs the set.
        let client = self.qdrant.client().with_timeout(patience * 3);
        let (calls, called) = Calls::new();
        self.calls = calls;
        let task = self.settings.task.clone();
        let taker = Taker::new(self.shelf.at_once(), client.clone(), task);
        let _taker = AbortOnDropHandle::new(tokio::spawn(taker.run(called.clone())));
        let mut together = Together::default();
        let mut work: Option<Work> = None;
        let mut waits = Said::default();
        let mut failed = Failed::new();
        loop {
            let child = self.qdrant.running();
            if child.is_none() {
                return Err("Qdrant has ended by itself".to_owned());
            }
            let looked = self.look_at_the_end().await;
            let own = self.ourselves();
            let (looked, collections) = looked.ok_or("our own disk cannot be read")?;
            let verdict = together.verdict(&self.settings, &looked.seen, own, looked.passed);
            if verdict != Verdict::Out && looked.decision.action == Action::Kill {
                return Err(looked.decision.reason.to_string());
            }
            // What is acknowledged from now on would be missing.
            let open = matches!(verdict, Verdict::Wait(Waits::Open(_)));
            if open {
                work = None;
            }
            match verdict {
                Verdict::Make(party)
                    if work.as_ref().is_none_or(|work| work.is_of_others(&party)) =>
                {
                    tell_absent(&party);
                    let peers = party.peers.keys().copied().collect();
                    let made = make(Making {
                        client: client.clone(),
                        shelf: self.shelf.at_once(),
                        task: self.settings.task.clone(),
                        board: self.board.clone(),
                        party,
                        stamp: stamp.clone(),
                        interval,
                        left: self.stop_budget.hand_over_left(began.elapsed()),
                        failed: failed.clone(),
                    });
                    let made = AbortOnDropHandle::new(tokio::spawn(made));
                    work = Some(Work { peers, made });
                }
                Verdict::Make(_) => {}
                Verdict::Out => return Ok(End::Out),
                Verdict::GoesOn(peer) => return Ok(End::GoesOn(peer)),
                Verdict::Left(us) => match farewell::all_here(&collections, us) {
                    Ok(()) => return Ok(End::Left),
                    Err(NoSet::Unread(why)) => waits.say(why),
                    Err(why) => return Err(format!("nobody leads any more, and {why}")),
                },
                Verdict::Wait(why) => waits.say(why.to_string()),
            }
            tokio::time::sleep(PAUSE).await;
            if let Some(done) = work.take_if(|work| work.made.is_finished()) {
                let (made, lost) = done.made.await.map_err(|error| error.to_string())?;
                match made {
                    Ok(manifest) => {
                        self.until_heard().await;
                        return Ok(End::Made(manifest.set));
                    }
                    Err(why) => waits.say(why),
                }
                failed.extend(lost);
            }
            let heard = called.borrow().as_ref().map(|call| call.set);
            if let Some(set) = heard
                && !open
                && self.is_final(set, stamp).await
            {
                return Ok(End::Made(set));
            }
        }
    }

    fn ourselves(&self) -> Shut {
        let shut = self.board.borrow().status.shut;
        Shut {
            task: self.settings.task.clone(),
            uri: self.qdrant.uri().to_owned(),
            // As of the moment at which the others were asked for theirs.
            since: shut.map_or(Duration::ZERO, |at| {
                self.senses.asked().saturating_duration_since(at)
            }),
        }
    }

    /// The others end when they have heard of the set, and whoever has not would make another: so they are
    /// answered until they are gone, or for a while.
    async fn until_heard(&mut self) {
        let until = Instant::now() + self.config.probe_timeout * 2;
        while Instant::now() < until {
            let Some((looked, _)) = self.look_at_the_end().await else {
                return;
            };
            let is_there = |probe: &Probe| match probe {
                Probe::Task { hello, .. } => hello.said.shut.is_some(),
                _ => false,
            };
            if !looked.seen.peers.values().any(is_there) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The final set of this generation, when it is the newest of all.
    async fn newest_final(&self, stamp: &Stamp) -> Option<SetId> {
        let newest = self.shelf.sets().await.ok()?.last().copied()?;
        self.is_final(newest, stamp).await.then_some(newest)
    }

    /// Whether this set is finished, and the final one of this generation.
    async fn is_final(&self, set: SetId, stamp: &Stamp) -> bool {
        match self.shelf.read::<Manifest>(set, Entry::Manifest).await {
            Found::Good(manifest) => {
                let ours = manifest.source.generation == stamp.generation;
                ours && manifest.origin == Origin::Stop
            }
            Found::Absent | Found::Refused(_) | Found::Unread(_) => false,
        }
    }
}

/// What is in the way, said when it is new.
#[derive(Default)]
struct Said(String);

impl Said {
    fn say(&mut self, why: String) {
        if self.0 != why {
            tracing::info!(event = events::SET_LAST_WAITS, "{why}");
            self.0 = why;
        }
    }
}

fn tell_absent(party: &Party) {
    let absent: Vec<_> = party.absent.iter().map(ToString::to_string).collect();
    if !absent.is_empty() {
        tracing::warn!(
            event = events::SET_LAST_ABSENT,
            peers = absent.join(", "),
            "the final set is made without them: what they acknowledge now, or acknowledged alone, is missing"
        );
    }
}

/// What a final set is made of, beside the rounds.
struct Making {
    client: Client,
    shelf: Shelf,
    task: TaskId,
    board: channel::Sender<Board>,
    party: Party,
    stamp: Stamp,
    interval: Interval,
    left: Duration,
    failed: Failed,
}

async fn make(making: Making) -> (Result<Manifest, String>, Failed) {
    let mut failed = making.failed;
    let mut peers = making.party.peers.iter();
    let Some((peer, _)) = peers.find(|(_, shut)| shut.task == making.task) else {
        return (Err("our own peer is not known".to_owned()), failed);
    };
    // What our Qdrant says of the copies is as new as that only once it has committed something.
    if let Err(error) = probe_commit(&making.client).await {
        return (Err(format!("nothing commits: {}", chain(&error))), failed);
    }
    let last = Last {
        client: &making.client,
        shelf: &making.shelf,
        task: &making.task,
        peer: *peer,
        party: &making.party.peers,
        board: &making.board,
        alone: false,
        stamp: &making.stamp,
        interval: making.interval,
        left: making.left,
    };
    let made = last.make(&mut failed).await;
    (made, failed)
}
