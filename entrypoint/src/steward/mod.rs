//! The steward: beside the Raft leader, one change at a time, it brings copies back, takes dead
//! peers out and keeps copies of a shard in different zones. What to do is decided by
//! `planner::heal`; here it is looked, asked for, and said.
//!
//! It runs beside the rounds, so that no transfer and no slow consensus holds up a fence. Every
//! change goes through Qdrant's consensus, after a probe write; what the rounds hand over of the
//! peers is used only while it is fresh.

mod clocks;
mod compare;
pub mod elsewhere;
mod hands;
mod page;
pub mod pause;
pub mod service;
mod sources;
pub mod survey;
mod sweep;
pub mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::heal::action::Action;
use planner::heal::concern::Concerns;
use planner::heal::life::Life;
use planner::heal::memory::Memory;
use planner::heal::settings::Settings;
use planner::heal::view::{ClusterView, Outsider, Peer};
use planner::heal::{self, Plan, Planned, guard};
use planner::ids::{PeerId, TaskId};
use planner::observed::Observed;
use qdrant_api::Client;
use tokio::sync::watch as channel;

use crate::config::Heal;
use crate::events;
use crate::log::chain;
use crate::qdrant::probe_commit;
use crate::status::Board;

pub use self::clocks::Clocks;
pub use self::compare::Comparer;
pub(crate) use self::hands::COMMIT_TIMEOUT;
pub use self::sweep::Sweeper;
pub use self::watch::{Look, Watch};

/// The pause before the next round while something is under way that cannot be seen yet.
const BUSY: Duration = Duration::from_millis(200);
/// The same after a change that shows at once.
const NEXT: Duration = Duration::from_millis(20);

/// What a member's round hands over when its Qdrant leads and all is well with it.
#[derive(Clone, Debug)]
pub struct Post {
    /// Ourselves.
    pub ourselves: Peer,
    /// The other peers.
    pub peers: BTreeMap<PeerId, Peer>,
    /// The tasks of our service that are no peers.
    pub outside: BTreeMap<TaskId, Outsider>,
    /// The wanted `family:revision`, when it is known.
    pub wanted_revision: Option<String>,
    /// How many tasks the service is meant to have.
    pub wanted_tasks: usize,
    /// ECS itself says so.
    pub told: bool,
    /// ECS says that it has no room to start a task of the wanted revision before another ends.
    pub full: bool,
    /// The generation began with a restore that is not known to be finished.
    pub restoring: bool,
    /// When this was seen.
    pub at: Instant,
    /// For how long it may be acted upon.
    pub fresh_for: Duration,
}

/// The steward of one task; idle while another task's Qdrant leads.
pub struct Steward {
    client: Client,
    settings: Settings,
    mode: Heal,
    board: channel::Sender<Board>,
    memory: Memory,
    concerns: Concerns,
    clocks: Clocks,
    last: Option<Instant>,
    /// The last round, when it could not look.
    blind: Option<Instant>,
    gone: Vec<PeerId>,
    said: String,
}

impl Steward {
    /// A steward that has seen nothing yet. `client` asks our own Qdrant.
    pub fn new(
        client: Client,
        settings: Settings,
        mode: Heal,
        board: channel::Sender<Board>,
    ) -> Self {
        Self {
            client,
            settings,
            mode,
            board,
            memory: Memory::default(),
            concerns: Concerns::default(),
            clocks: Clocks::default(),
            last: None,
            blind: None,
            gone: Vec::new(),
            said: String::new(),
        }
    }

    /// Works through what the rounds post until they end.
    pub async fn run(mut self, mut posts: channel::Receiver<Option<Post>>) {
        loop {
            let post = posts.borrow_and_update().clone();
            let pause = match &post {
                Some(post) => self.round(post, &posts).await,
                None => {
                    self.rest();
                    None
                }
            };
            let changed = match pause {
                // A new post does not hurry it, but an end does.
                Some(pause) => tokio::time::timeout(pause, ended(&mut posts)).await,
                None => Ok(posts.changed().await.is_err()),
            };
            if changed == Ok(true) {
                return;
            }
        }
    }

    /// Somebody else is the steward: nothing of what we remember holds when our turn comes.
    fn rest(&mut self) {
        if self.last.take().is_some() {
            self.memory = Memory::default();
            self.concerns = Concerns::default();
            self.blind = None;
            self.clocks = Clocks::default();
            self.gone.clear();
            self.said.clear();
            self.show(page::idle(), false);
        }
    }

    /// One round; gives the pause before the next one, `None` when that waits for a new post.
    async fn round(
        &mut self,
        post: &Post,
        posts: &channel::Receiver<Option<Post>>,
    ) -> Option<Duration> {
        let now = Instant::now();
        let mut step = self.last.map_or(Duration::ZERO, |last| now - last);
        if step > post.fresh_for {
            // We slept: what lasted meanwhile is not known, and a count of it would be our own.
            step = Duration::ZERO;
            self.clocks = Clocks::default();
        }
        let surveyed = survey::survey(&self.client, post, &self.clocks, step).await;
        let mut view = match surveyed {
            Ok((mut view, clocks)) => {
                self.leave_alone(&mut view);
                self.clocks = clocks;
                self.last = Some(now);
                self.blind = None;
                view
            }
            Err(error) => {
                self.last.get_or_insert(now);
                let before = self.blind.replace(now).unwrap_or(now);
                self.concerns.blind(now - before);
                self.show(page::blind(&chain(&error)), false);
                return None;
            }
        };
        self.tell_of_peers(&view);
        self.memory.observe(&self.settings, step, &view);
        let mut plan = heal::plan(&self.settings, &self.memory, &view);
        if plan.withheld.is_some() && self.mode == Heal::Act {
            // Only a write proves that consensus works, and only now is it worth one.
            view.commits = self.probe().await;
            plan = heal::plan(&self.settings, &self.memory, &view);
        }
        let orders = match self.mode {
            Heal::DryRun => Some(self.orders(&mut view).await),
            Heal::Act => None,
        };
        let plans: Vec<&Plan> = [&plan].into_iter().chain(&orders).collect();
        self.concerns
            .observe(&self.settings, step, &view, &self.memory, &plans);
        self.say(&plan, &view);
        let plan = orders.unwrap_or(plan);
        let Some(planned) = plan.actions.first() else {
            // A transfer is looked at with each post; only what cannot be seen yet is hurried after.
            return self.memory.unseen().is_some().then_some(BUSY);
        };
        self.act(planned, posts).await;
        Some(match planned.action.is_transfer() {
            true => BUSY,
            false => NEXT,
        })
    }

    /// Where nothing is to be changed, who waits at the door is let in all the same.
    async fn orders(&self, view: &mut ClusterView) -> Plan {
        let plan = heal::orders(&self.settings, &self.memory, view);
        if plan.withheld.is_none() {
            return plan;
        }
        view.commits = self.probe().await;
        heal::orders(&self.settings, &self.memory, view)
    }

    /// What is being restored is not healed: its copies are not Active while they are filled, and those
    /// that are may still be empty.
    fn leave_alone(&self, view: &mut ClusterView) {
        let filling = self.board.borrow().status.filling.clone();
        if let (Some(name), Observed::Known(all)) = (filling, &mut view.collections)
            && let Some(Observed::Known(there)) = all.get_mut(&name)
        {
            there.resharding = true;
        }
    }

    async fn probe(&self) -> Observed<bool> {
        match probe_commit(&self.client).await {
            Ok(()) => Observed::Known(true),
            Err(error) => Observed::Unknown(chain(&error)),
        }
    }

    /// Looks once more, asks the precondition, and does it.
    async fn act(&mut self, planned: &Planned, posts: &channel::Receiver<Option<Post>>) {
        let action = &planned.action;
        let Some(post) = self.newest(action, posts).await else {
            return;
        };
        let fresh = survey::survey(&self.client, &post, &self.clocks, Duration::ZERO).await;
        let mut view = match fresh {
            Ok((view, _)) => view,
            Err(error) => {
                tracing::info!(event = events::HEAL_REFUSED, "{action}: {}", chain(&error));
                return;
            }
        };
        self.leave_alone(&mut view);
        // The probe of this round stands; it was answered a moment ago.
        view.commits = Observed::Known(true);
        // A survey of many collections takes its time, and the rounds went on meanwhile.
        match self.newest(action, posts).await {
            Some(post) => survey::people(&mut view, &post),
            None => return,
        }
        if let Err(why) = guard::may(&self.settings, &view, action) {
            tracing::info!(event = events::HEAL_REFUSED, "{action}: {why}");
            return;
        }
        match hands::carry_out(&self.client, action, &view).await {
            Ok(()) => {
                tracing::info!(event = name_of(action), "{planned}");
                self.memory.begin(&self.settings, action.clone());
            }
            Err(error) => {
                tracing::warn!(event = events::HEAL_FAILED, "{action}: {}", chain(&error));
                self.memory.fail(&self.settings, action);
            }
        }
    }

    /// What the rounds posted last; before what cannot be undone, no longer ago than a beat: else the
    /// next post is waited for. `None` when the rounds post nothing any more.
    async fn newest(
        &self,
        action: &Action,
        posts: &channel::Receiver<Option<Post>>,
    ) -> Option<Post> {
        let mut posts = posts.clone();
        let post = posts.borrow_and_update().clone()?;
        if !action.is_final() || post.at.elapsed() <= self.settings.fresh {
            return Some(post);
        }
        posts.changed().await.ok()?;
        posts.borrow().clone()
    }

    fn tell_of_peers(&mut self, view: &ClusterView) {
        let gone = view.peers.iter().filter(|(_, peer)| peer.life.is_gone());
        for (peer, there) in gone {
            if !self.gone.contains(peer) {
                tracing::warn!(
                    event = events::PEER_GONE,
                    peer = peer.0,
                    uri = there.uri,
                    "{}",
                    there.life
                );
                self.gone.push(*peer);
            }
        }
        self.gone.retain(|peer| {
            let back = matches!(view.life(*peer), Some(Life::Alive));
            if back {
                tracing::info!(event = events::PEER_BACK, peer = peer.0, "it answers again");
            }
            if !view.peers.contains_key(peer) {
                tracing::info!(
                    event = events::PEER_REMOVED,
                    peer = peer.0,
                    "it is out of Raft"
                );
            }
            !back && view.peers.contains_key(peer)
        });
    }

    fn say(&mut self, plan: &Plan, view: &ClusterView) {
        let page = page::of(plan, &view.service, self.mode);
        let said = page::gist(plan);
        if said != self.said {
            tracing::info!(event = events::HEAL_PLAN, plan = page.to_string(), "{said}");
            self.said = said;
        }
        self.show(page, plan.report.is_whole());
    }

    fn show(&self, page: serde_json::Value, whole: bool) {
        let concerns = self.concerns.alarms(&self.settings);
        self.board.send_modify(|board| {
            board.status.plan = page;
            board.status.planned = Some(Instant::now());
            board.status.whole = whole;
            board.status.concerns = concerns.iter().map(ToString::to_string).collect();
        });
    }
}

/// Under which name a change is told.
fn name_of(action: &Action) -> &'static str {
    match action {
        Action::Grant(_) => events::GRANT_GIVEN,
        Action::Withdraw(_) => events::GRANT_WITHDRAWN,
        Action::Evacuate(_) | Action::CallBack(_) => events::EVACUATION_BEGUN,
        Action::LetGo(_) => events::PEER_RELEASED,
        Action::EndEvacuation(_) => events::EVACUATION_ENDED,
        _ => events::HEAL_ACTION,
    }
}

/// Waits until the rounds have ended; says so.
async fn ended(posts: &mut channel::Receiver<Option<Post>>) -> bool {
    while posts.changed().await.is_ok() {}
    true
}
