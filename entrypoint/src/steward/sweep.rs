//! Removes from the store the records of tasks that were killed: they would pile up for ever. When
//! one may go is `planner::forgetting`'s; here it is counted, looked at once more, and done.
//!
//! A loop of its own beside the steward's, for the store may be slow. It works only while our Qdrant
//! leads, and looks for itself at everything that it acts upon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use planner::forgetting::{Beats, Evidence, PATIENCE, may_forget};
use planner::ids::{PeerId, TaskId};
use planner::observed::Observed;
use planner::records::Member;
use qdrant_api::{Client, Cluster};
use tokio::sync::watch as channel;

use super::{Post, pause};
use crate::config::Heal;
use crate::discovery::Prober;
use crate::events;
use crate::ledger::Ledger;
use crate::log::chain;
use crate::observe::unproven;
use crate::qdrant::{probe_commit, read_proof};

/// At most so many records go in one sweep.
const FEW: usize = 4;

/// The sweeper of one task; idle while another task's Qdrant leads.
pub struct Sweeper {
    client: Client,
    ledger: Ledger,
    prober: Prober,
    mode: Heal,
    loss_timeout: Duration,
    beats: Beats,
    last: Option<Instant>,
    kept: BTreeMap<TaskId, String>,
}

impl Sweeper {
    /// A sweeper that has counted nothing yet. `client` asks our own Qdrant.
    pub fn new(
        client: Client,
        ledger: Ledger,
        prober: Prober,
        mode: Heal,
        loss_timeout: Duration,
    ) -> Self {
        Self {
            client,
            ledger,
            prober,
            mode,
            loss_timeout,
            beats: Beats::default(),
            last: None,
            kept: BTreeMap::new(),
        }
    }

    /// Half a loss time-out between two sweeps: whoever lives beats many times between them.
    fn every(&self) -> Duration {
        self.loss_timeout / 2
    }

    /// Sweeps while the rounds post, until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            // Somebody else is the steward: when our turn comes, every count begins anew.
            self.beats = Beats::default();
            self.last = None;
            if posts.wait_for(Option::is_some).await.is_err() {
                return;
            }
            while self.turn_lasts(&mut posts).await {
                self.sweep().await;
            }
        }
    }

    /// Waits for the next sweep; says whether our Qdrant leads all the while.
    async fn turn_lasts(&self, posts: &mut channel::Receiver<Option<Post>>) -> bool {
        let ends = posts.wait_for(Option::is_none);
        tokio::time::timeout(self.every(), ends).await.is_err()
    }

    async fn sweep(&mut self) {
        let now = Instant::now();
        let step = self.last.map(|last| now - last);
        self.last = Some(now);
        // After a pause of our own, or a read that took as long, nobody's silence is known.
        let step = step.filter(|step| *step <= self.every() * 2);
        let (store, own) = self.ledger.census().await;
        self.beats.observe(step, &store, own);
        let still = self.beats.still_for(self.loss_timeout * PATIENCE, FEW);
        self.kept
            .retain(|task, _| still.iter().any(|(at, ..)| at == task));
        if still.is_empty() || self.mode != Heal::Act || self.paused().await {
            return;
        }
        let commits = match probe_commit(&self.client).await {
            Ok(()) => Observed::Known(true),
            Err(error) => Observed::Unknown(chain(&error)),
        };
        for (task, record, for_) in still {
            self.consider(&task, &record, for_, &commits).await;
        }
    }

    /// What cannot be read may be a pause.
    async fn paused(&self) -> bool {
        !matches!(pause::read(&self.client).await, Ok(None))
    }

    /// Looks at one of them once more, asks the precondition, and removes its record.
    async fn consider(
        &mut self,
        task: &TaskId,
        record: &Member,
        still: Duration,
        commits: &Observed<bool>,
    ) {
        let there = unproven(self.prober.probe(record.address).await);
        let listed = listed(&self.client).await;
        let proof = match read_proof(&self.client).await {
            Ok(proof) => Observed::Known(proof),
            Err(why) => Observed::Unknown(why),
        };
        let (store, _) = self.ledger.census().await;
        let evidence = Evidence {
            record,
            still,
            store: &store,
            proof: &proof,
            listed: &listed,
            commits,
            there: &there,
        };
        if let Err(why) = may_forget(self.loss_timeout, task, evidence) {
            self.keep(task, why.to_string());
            return;
        }
        match self.ledger.forget(task).await {
            Ok(()) => tracing::info!(
                event = events::MEMBER_FORGOTTEN,
                task = task.to_string(),
                address = %record.address,
                "silent for {} s and no peer",
                still.as_secs()
            ),
            Err(error) => self.keep(task, chain(&error)),
        }
    }

    /// Says why a record stays, once for each reason.
    fn keep(&mut self, task: &TaskId, why: String) {
        if self.kept.get(task) != Some(&why) {
            let name = task.to_string();
            tracing::info!(event = events::MEMBER_KEPT, task = name, "{why}");
            self.kept.insert(task.clone(), why);
        }
    }
}

/// The peers that our Qdrant lists, while it leads.
async fn listed(client: &Client) -> Observed<BTreeSet<PeerId>> {
    match client.cluster().await {
        Ok(Cluster::Enabled(info)) if info.leads_itself() => {
            Observed::Known(info.peers.keys().copied().map(PeerId).collect())
        }
        Ok(_) => Observed::Unknown("our Qdrant does not lead".to_owned()),
        Err(error) => Observed::Unknown(chain(&error)),
    }
}
