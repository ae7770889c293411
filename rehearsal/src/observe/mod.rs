//! Watches every task all the time and keeps what changed.
//! Owns: the loop of looks, milestones and spans. Must not: change anything, or judge.

pub mod ask;
pub mod copies;
pub mod logs;
pub mod sample;
pub mod story;
pub mod watcher;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use futures::future::join_all;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use self::logs::Tails;
use self::sample::Sample;
use self::story::Story;
use crate::ecs::Ecs;
use crate::lock;
use crate::timeline::Timeline;
use crate::timing;
use crate::verdict::Judge;

/// The observers of one run.
pub struct Observer {
    latest: watch::Receiver<Arc<Sample>>,
    story: Arc<Mutex<Story>>,
    looks: AbortOnDropHandle<()>,
}

impl Observer {
    /// Starts looking; every sample goes to `judge`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn start(ecs: Arc<Ecs>, timeline: Arc<Timeline>, judge: Arc<Judge>) -> Result<Self> {
        let client = ask::client().context("build the observers' client")?;
        let (publish, latest) = watch::channel(Arc::new(Sample::default()));
        let story = Arc::new(Mutex::new(Story::default()));
        let keep = story.clone();
        let looks = tokio::spawn(async move {
            let mut tails = Tails::default();
            let mut read_up = BTreeSet::new();
            let mut tick = tokio::time::interval(timing::LOOK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let at = timeline.now();
                let tasks = ecs.tasks();
                let views = join_all(tasks.iter().map(|task| ask::look(&client, task))).await;
                let sample = Arc::new(Sample { at, views });
                let mut lines = Vec::new();
                for task in &tasks {
                    // Asked before the read: after its end a task writes nothing.
                    let over = task.ended().is_some();
                    if read_up.contains(&task.number) {
                        continue;
                    }
                    lines.extend(tails.read(task.number, &task.log));
                    if over {
                        read_up.insert(task.number);
                    }
                }
                lock(&keep).add(&sample, &lines, &timeline);
                judge.sample(&sample, &timeline);
                judge.lines(&lines, &timeline);
                if publish.send(sample).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            latest,
            story,
            looks: AbortOnDropHandle::new(looks),
        })
    }

    /// Ends the looks, for measurements that they would disturb: twenty a second cost more than a
    /// task at rest does by itself.
    pub fn stop(&self) {
        self.looks.abort();
    }

    /// A receiver of samples.
    pub fn samples(&self) -> watch::Receiver<Arc<Sample>> {
        self.latest.clone()
    }

    /// The newest sample.
    pub fn latest(&self) -> Arc<Sample> {
        self.latest.borrow().clone()
    }

    /// What changed so far.
    pub fn story(&self) -> Story {
        lock(&self.story).clone()
    }
}
