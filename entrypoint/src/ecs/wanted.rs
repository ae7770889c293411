//! Keeps asking what ECS wants of the service, and forgets what is old.
//!
//! Only a hint: whoever may not ask, or gets no answer, goes by what the tasks say of themselves.
//! So a refusal is said once and never an alarm.

use std::time::Duration;

use planner::records::WantedService;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::api::{Api, ApiError};
use crate::events;

/// Beside a Qdrant that does not lead it is asked so many times less often: to know it when ours
/// leads next, and when ECS wants nobody any more.
const SELDOM: u32 = 4;
/// What was heard is forgotten after so many pauses.
const STALE: u32 = 3;

/// Who can be asked: the API, or a script in tests.
pub trait Describes: Clone + Send + Sync + 'static {
    /// What ECS wants; blocks.
    fn wanted(&self) -> Result<WantedService, ApiError>;
}

impl Describes for Api {
    fn wanted(&self) -> Result<WantedService, ApiError> {
        Self::wanted(self)
    }
}

/// The handle of the rounds.
#[derive(Debug)]
pub struct Wanted {
    leads: watch::Sender<bool>,
    heard: watch::Receiver<Option<Heard>>,
    poll: Duration,
    _work: AbortOnDropHandle<()>,
}

#[derive(Clone, Debug)]
struct Heard {
    wanted: WantedService,
    at: Instant,
    /// The pause at that time.
    pause: Duration,
}

impl Wanted {
    /// Begins to ask every `poll`. Needs a tokio runtime.
    pub fn start(api: impl Describes, poll: Duration) -> Self {
        let (leads, leading) = watch::channel(false);
        let (hears, heard) = watch::channel(None);
        let work = Work {
            api,
            poll,
            leading,
            hears,
            said: None,
        };
        Self {
            leads,
            heard,
            poll,
            _work: AbortOnDropHandle::new(tokio::spawn(work.run())),
        }
    }

    /// Whether our Qdrant leads, as a round saw it.
    pub fn leads(&self, leads: bool) {
        self.leads.send_if_modified(|old| {
            let changed = *old != leads;
            *old = leads;
            changed
        });
    }

    /// What ECS wants, as it said lately.
    pub fn now(&self) -> Option<WantedService> {
        let heard = self.heard.borrow();
        let heard = heard.as_ref()?;
        // It may have been asked in either rhythm since.
        let patience = heard.pause.max(self.poll) * STALE;
        (heard.at.elapsed() < patience).then(|| heard.wanted.clone())
    }
}

struct Work<A> {
    api: A,
    poll: Duration,
    leading: watch::Receiver<bool>,
    hears: watch::Sender<Option<Heard>>,
    /// What was last said in the log: what is wanted, or why that is not known.
    said: Option<Result<WantedService, ApiError>>,
}

impl<A: Describes> Work<A> {
    async fn run(mut self) {
        loop {
            let pause = match *self.leading.borrow_and_update() {
                true => self.poll,
                false => self.poll * SELDOM,
            };
            let at = Instant::now();
            let api = self.api.clone();
            let answer = tokio::task::spawn_blocking(move || api.wanted()).await;
            let answer = answer.unwrap_or_else(|error| {
                Err(ApiError::Unreachable(format!(
                    "the call has failed: {error}"
                )))
            });
            self.say(&answer);
            if let Ok(wanted) = answer {
                self.hears.send_replace(Some(Heard { wanted, at, pause }));
            }
            if matches!(timeout(pause, self.leading.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }

    /// What lasts is said once.
    fn say(&mut self, answer: &Result<WantedService, ApiError>) {
        let same = match (&self.said, answer) {
            // Every failure of a kind has its own times and numbers; what matters is that it lasts.
            (Some(Err(before)), Err(now)) => {
                std::mem::discriminant(before) == std::mem::discriminant(now)
            }
            (said, now) => said.as_ref() == Some(now),
        };
        if same {
            return;
        }
        match answer {
            Ok(WantedService {
                revision, tasks, ..
            }) => {
                tracing::info!(event = events::WANTED, tasks, "{revision}");
            }
            Err(why) => tracing::info!(event = events::WANTED_UNKNOWN, "{why}"),
        }
        self.said = Some(answer.clone());
    }
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
