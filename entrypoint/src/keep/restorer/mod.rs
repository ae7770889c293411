//! Beside the steward: brings collections back out of a set. In a generation that began with a restore
//! everything, before anybody is served ([`whole`]); later what somebody asks for by hand, beside what is
//! served ([`job`]).
//!
//! | module | owns |
//! |---|---|
//! | [`whole`] | the steps of the restore of everything |
//! | [`job`] | the steps of one by hand |
//! | [`collection`], [`fill`] | one collection, from nothing to copies that are the same |
//! | [`site`] | the cluster, the sets, and the record that a step goes by |
//! | [`lapse`] | how long a lead may be unseen before what is half made is given up |
//! | [`outcome`] | how a step came to nothing |

mod collection;
mod fill;
mod job;
mod lapse;
mod outcome;
mod site;
mod whole;

use std::time::{Duration, Instant};

use qdrant_api::Client;
use tokio::sync::watch as channel;

use self::lapse::{Lapsed, lapsed};
use self::site::Site;
use super::Shelf;
use super::waits::Waits;
use crate::config::{Heal, Secret};
use crate::events;
use crate::log::chain;
use crate::status::Board;
use crate::steward::{Post, pause};

/// Between two looks, and while there is nothing to do.
const PAUSE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(2);
/// How long Qdrant waits until a change is applied here.
const APPLY_SECS: u64 = 30;
/// When nothing has come on for so long, a person must know.
const STALLED: Duration = Duration::from_secs(120);

/// The restorer of one task; idle while another task's Qdrant leads.
pub struct Restorer {
    site: Site,
    mode: Heal,
    said: Waits,
    /// Since when nothing has come on.
    stalled: Instant,
    /// A restore by hand was under way when its record was last read.
    at_hand: bool,
}

/// How one step ended.
enum Step {
    /// The next one can be taken at once.
    On,
    /// There is nothing to restore.
    Over,
}

impl Restorer {
    /// One that has done nothing yet. `client` asks our own Qdrant; on `port` every task lends files to
    /// who has `key`. With dry-run it only says that it waits.
    pub fn new(
        client: Client,
        shelf: Shelf,
        board: channel::Sender<Board>,
        posts: channel::Receiver<Option<Post>>,
        port: u16,
        key: Option<Secret>,
        mode: Heal,
    ) -> Self {
        Self {
            site: Site {
                client,
                shelf,
                board,
                posts,
                port,
                key,
            },
            mode,
            said: Waits::default(),
            stalled: Instant::now(),
            at_hand: false,
        }
    }

    /// Restores while the rounds post, until they end.
    pub async fn run(mut self) {
        let mut posts = self.site.posts.clone();
        loop {
            self.calm();
            self.at_hand = false;
            if posts.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let mut ends = posts.clone();
            tokio::select! {
                // Whatever is half done is so on record, and made again by the next one.
                over = lapsed(&mut ends) => if over == Lapsed::Ended { return },
                () = self.lead() => {}
            }
        }
    }

    /// Steps without end.
    async fn lead(&mut self) {
        self.stalled = Instant::now();
        loop {
            match self.step().await {
                Ok(Step::On) => {
                    self.said.clear();
                    self.stalled = Instant::now();
                    self.alarm(None);
                }
                Ok(Step::Over) => {
                    self.stalled = Instant::now();
                    self.calm();
                    tokio::time::sleep(IDLE).await;
                }
                Err(why) => {
                    self.say(why);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One step by the record; `Err`: nothing could be done, for people.
    async fn step(&mut self) -> Result<Step, String> {
        let restoring = self.site.posts.borrow().as_ref().map(|post| post.restoring);
        let job = match restoring {
            None => return Ok(Step::Over),
            Some(true) => None,
            Some(false) => {
                let basis = match job::on_record(&self.site).await {
                    Ok(basis) => basis,
                    // Nobody is known to wait for anything.
                    Err(why) if !self.at_hand => {
                        tracing::debug!("whether a restore is asked for is not known: {why}");
                        return Ok(Step::Over);
                    }
                    Err(why) => return Err(why),
                };
                let job = job::wanted(basis)?;
                self.at_hand = job.is_some();
                match job {
                    Some(job) => Some(job),
                    None => return Ok(Step::Over),
                }
            }
        };
        if self.mode == Heal::DryRun {
            return Err("nothing is changed with dry-run: the restore waits".to_owned());
        }
        let paused = pause::read(&self.site.client).await;
        if let Some(paused) = paused.map_err(|error| chain(&error))? {
            let (owner, reason) = (paused.owner, paused.reason);
            return Err(format!("the steward is paused by {owner}: {reason}"));
        }
        match job {
            None => whole::step(&self.site, self.stalled.elapsed()).await,
            Some(job) => job::step(&self.site, job).await,
        }
    }

    /// Nothing is restored now.
    fn calm(&mut self) {
        self.said.clear();
        self.site.show("");
        self.alarm(None);
    }

    /// Said when it is new, and no more than once in a while; after a longer while a person must know.
    fn say(&mut self, what: String) {
        self.site.show(&what);
        let stalled = self.stalled.elapsed();
        self.alarm((stalled > STALLED).then(|| format!("the restore does not come on: {what}")));
        if self.said.is_news(what.clone()) {
            tracing::warn!(event = events::RESTORE_WAITS, "{what}");
        }
    }

    fn alarm(&self, wrong: Option<String>) {
        self.site.board.send_if_modified(|board| {
            let changed = board.status.restore_wrong != wrong;
            board.status.restore_wrong = wrong;
            changed
        });
    }
}
