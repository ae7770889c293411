//! The end of a task with which everything ends: writes are shut out, what is here becomes the final set,
//! and the store is told that nothing is missing from it (decision 0026). Where several end at once they
//! make it together (`together.rs`).
//!
//! Nothing of this takes the time that Qdrant needs to end: what does not fit is left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use planner::destruction::{self, Alone};
use planner::farewell::together::Shut;
use planner::farewell::{self, Look, NoSet, Way};
use planner::handover::{Collections, Futile};
use planner::ids::PeerId;
use planner::keep::clock::Interval;
use planner::keep::records::Manifest;
use planner::records::Stamp;
use planner::view::Observation;
use qdrant_api::{Client, Cluster, ClusterInfo};
use tokio::time::timeout;

use super::Task;
use crate::child::Stopped;
use crate::events;
use crate::keep::last::{Last, Party};
use crate::keep::retention_settings;
use crate::ledger::Depth;
use crate::log::chain;
use crate::qdrant::{Qdrant, probe_commit};

/// Between two questions to a Qdrant that starts.
const AGAIN: Duration = Duration::from_millis(50);

/// How the hand-over came to nothing.
pub(super) struct Given {
    /// Why.
    pub(super) futile: Futile,
    /// What was seen last.
    pub(super) seen: Observation,
    /// And of the collections.
    pub(super) collections: Collections,
    /// Nobody may change anything.
    pub(super) held: bool,
}

/// A Qdrant that was ended for its final set, whatever became of that.
pub(super) struct Farewell {
    /// How it ended.
    pub(super) stopped: Stopped,
    /// The store says that the generation has ended.
    pub(super) said: bool,
    /// The others had taken over after all.
    pub(super) over: bool,
}

impl Task {
    /// Ends Qdrant, starts it where nobody reaches it, makes the final set and ends it again. `None`: no
    /// final set is wanted, and Qdrant runs as it did.
    pub(super) async fn last_set(&mut self, began: Instant, given: Given) -> Option<Farewell> {
        let budget = self.stop_budget;
        let kept = retention_settings(&self.config);
        let wanted = farewell::wanted(Look {
            sets: kept.is_some(),
            held: given.held,
            futile: &given.futile,
            seen: &given.seen,
            collections: &given.collections,
            left: budget.hand_over_left(began.elapsed()),
        });
        let (way, kept, stamp) = match (wanted, kept, given.seen.disk.stamp) {
            (Ok(way), Some(kept), Some(stamp)) => (way, kept, stamp),
            (Err(NoSet::NotTheEnd), ..) | (Ok(_), ..) => return None,
            (Err(why), ..) if why.is_a_loss() => {
                tracing::error!(event = events::SET_LAST_FAILED, "{why}");
                return None;
            }
            (Err(why), ..) => {
                tracing::info!(event = events::SET_LAST_SKIPPED, "{why}");
                return None;
            }
        };
        let interval = kept.interval;
        // Who makes the ordinary sets asks a Qdrant that is no more.
        self.steward.abort();
        self.sets = None;
        match way {
            Way::Alone => self.last_alone(began, &stamp, interval).await,
            Way::Together => self.last_together(began, &stamp, interval).await,
        }
    }

    pub(super) async fn last_alone(
        &mut self,
        began: Instant,
        stamp: &Stamp,
        interval: Interval,
    ) -> Option<Farewell> {
        let budget = self.stop_budget;
        tracing::info!(event = events::SET_LAST, "writes are shut out now");
        // It drops its clients' connections: what it acknowledged it has, and nothing else counts.
        let grace = budget.grace(began.elapsed());
        let first = self.qdrant.stop(Signal::SIGINT, grace).await?;
        let left = budget.hand_over_left(began.elapsed());
        let made = match timeout(left, self.apart(stamp, interval, left)).await {
            Ok(made) => made,
            Err(_) => Err("the time to SIGKILL leaves no more for it".to_owned()),
        };
        let grace = budget.grace(began.elapsed());
        let second = self.qdrant.stop(Signal::SIGINT, grace).await;
        let said = match made {
            Ok((manifest, alone)) => {
                let left = budget.grace(began.elapsed());
                self.say_the_last_word(&manifest, alone, left).await
            }
            Err(why) => {
                tracing::error!(event = events::SET_LAST_FAILED, "{why}");
                false
            }
        };
        Some(Farewell {
            stopped: better(first, second),
            said,
            over: false,
        })
    }

    /// The final set, of a Qdrant that nobody else reaches; and what that says of its cluster then.
    async fn apart(
        &mut self,
        stamp: &Stamp,
        interval: Interval,
        left: Duration,
    ) -> Result<(Manifest, Result<Alone, String>), String> {
        // Nobody else asks it, and every answer that is missed costs the set.
        let patience = self.config.probe_timeout * 10;
        let started = self.qdrant.start_apart(patience).await;
        let client = started.map_err(|error| chain(&error))?;
        let child = self.qdrant.running();
        let work = async {
            let info = answers(&client).await?;
            let peer = PeerId(info.peer_id);
            let ourselves = Shut {
                task: self.settings.task.clone(),
                uri: self.qdrant.uri().to_owned(),
                since: Duration::ZERO,
            };
            let last = Last {
                client: &client,
                shelf: &self.shelf.at_once(),
                task: &self.settings.task,
                peer,
                party: &Party::from([(peer, ourselves)]),
                board: &self.board,
                alone: true,
                stamp,
                interval,
                left,
            };
            let manifest = last.make(&mut BTreeSet::new()).await?;
            Ok((manifest, alone(&client).await))
        };
        tokio::select! {
            made = work => made,
            () = Qdrant::ended(child) => Err("Qdrant has ended by itself".to_owned()),
        }
    }

    /// Puts on record that nothing is missing from the final set; says whether it is.
    async fn say_the_last_word(
        &mut self,
        manifest: &Manifest,
        alone: Result<Alone, String>,
        left: Duration,
    ) -> bool {
        let said = match alone {
            Ok(alone) => timeout(left, self.end_generation(manifest, &alone))
                .await
                .unwrap_or_else(|_| Err("the time to SIGKILL is over".to_owned())),
            Err(why) => Err(why),
        };
        let set = manifest.set;
        match said {
            Ok(()) => tracing::info!(event = events::ENDED, "its final set is {set}"),
            Err(ref why) => tracing::warn!(event = events::ENDED_UNSAID, "set {set}: {why}"),
        }
        said.is_ok()
    }

    /// The mark on our own disk first: whoever finds the record goes by it at once.
    async fn end_generation(&mut self, manifest: &Manifest, alone: &Alone) -> Result<(), String> {
        let store = self.ledger.look(Depth::Generations).await;
        let disk = self.disk.look().map_err(|error| chain(&error))?;
        let runs = self.qdrant.running().is_some();
        let task = &self.settings.task;
        let end = destruction::may_end(&disk, runs, &store, alone, manifest, task)
            .map_err(|refused| refused.to_string())?;
        let stamp = disk.stamp.ok_or("the stamp is gone")?;
        let ended = Stamp {
            ended: Some(end.set),
            ..stamp
        };
        self.disk
            .write_stamp(&ended)
            .map_err(|error| chain(&error))?;
        let there = self.ledger.end(&end).await;
        match there.map_err(|error| chain(&error))? {
            None => Ok(()),
            Some(other) => Err(format!("task {} has ended it before", other.task)),
        }
    }
}

/// How Qdrant has ended that was ended twice. What is on the disk since the first end is there; that the second
/// one was cut short, perhaps before it had begun to serve, says nothing of that.
pub(super) fn better(first: Stopped, second: Option<Stopped>) -> Stopped {
    let clean = |stopped: &Stopped| !stopped.forced && stopped.exit.exit_code() == 0;
    match second {
        Some(second) if clean(&second) || !clean(&first) => second,
        _ => first,
    }
}

/// Waits until Qdrant answers.
async fn answers(client: &Client) -> Result<ClusterInfo, String> {
    loop {
        match client.cluster().await {
            Ok(Cluster::Enabled(info)) => return Ok(info),
            Ok(Cluster::Disabled) => return Err("cluster mode is off".to_owned()),
            // It loads what is on its disk.
            Err(error) => tracing::debug!("not yet: {}", chain(&error)),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a Qdrant that nobody reaches says of its cluster, once it has elected itself.
async fn alone(client: &Client) -> Result<Alone, String> {
    let info = loop {
        let info = answers(client).await?;
        if info.peers.len() != 1 {
            return Err(format!("Qdrant lists {} peers", info.peers.len()));
        }
        if info.leads_itself() && info.raft.is_voter {
            break info;
        }
        tokio::time::sleep(AGAIN).await;
    };
    probe_commit(client).await.map_err(|error| chain(&error))?;
    let peers: BTreeSet<_> = info.peers.keys().copied().map(PeerId).collect();
    Ok(Alone {
        peer: PeerId(info.peer_id),
        peers,
        leads: true,
        commits: true,
    })
}
