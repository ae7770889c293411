//! The beginning and the end of a task.
//! Owns: its design, its process, what follows its end. Must not: decide whether it is wanted.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;

use super::metadata::{self, Document};
use super::process::{Exit, Launch, Spawned};
use super::task::Task;
use super::{Shared, health};
use crate::lock;
use crate::timeline::Kind;
use crate::timing;

impl Shared {
    /// Starts a task of this revision in this zone.
    pub(super) async fn launch(self: &Arc<Self>, revision: u32, zone: usize) -> Result<()> {
        let task = Arc::new(self.design(revision, zone)?);
        std::fs::create_dir_all(task.disk.join("storage")).context("make a disk")?;
        std::fs::create_dir_all(task.disk.join("config")).context("make a disk")?;
        lock(&self.state).tasks.push(task.clone());
        self.names.register(&task.id, task.address);
        let of = match revision {
            1 => String::new(),
            _ => format!(" of revision {revision}"),
        };
        let text = format!("launched{of} in zone {} at {}", task.zone, task.address);
        self.timeline.push(Kind::Ecs, &[task.number], text);
        tokio::spawn(health::watch(self.checker.clone(), task.clone()));
        self.execute(&task).await
    }

    /// Everything about a new task that is decided before it exists.
    fn design(&self, revision: u32, zone: usize) -> Result<Task> {
        let mut state = lock(&self.state);
        let number = state.tasks.len() + 1;
        let id: String = (0..32)
            .map(|_| format!("{:x}", state.random.random_range(0..16u8)))
            .collect();
        let reused = state.free.iter().position(|_| state.reuse);
        let (zone, address) = match reused.map(|at| state.free.remove(at)) {
            Some(place) => place,
            None => (
                zone,
                self.network
                    .fresh(zone)
                    .context("no address left in the zone")?,
            ),
        };
        // Each a little later than the one before, as milliseconds tell it.
        let later = state.newest.checked_add(SignedDuration::from_millis(1));
        state.newest = Timestamp::now().max(later.unwrap_or(state.newest));
        let letter = self.definition.zones.get(zone).cloned().unwrap_or_default();
        let document = Document {
            service: self.definition.service.clone(),
            task: id.clone(),
            family: self.definition.service.clone(),
            revision: revision.to_string(),
            zone: format!("{}{letter}", metadata::REGION),
            address,
            created: state.newest,
            incomplete: state.random.random_range(0..3),
        };
        let short = metadata::docker_id(&document);
        let agent = self.agent.publish(&short, &metadata::task_arn(&id));
        let uri = self.metadata.publish(document);
        let disk = self.definition.folder.join(format!("t{number}"));
        let made = state.revision(revision);
        let mut env = self.definition.env.clone();
        env.extend(made.env);
        env.extend(state.overrides.clone());
        let host = address.to_string();
        let own = [
            ("ECS_CONTAINER_METADATA_URI_V4", uri),
            ("ENTRYPOINT_BIND", host.clone()),
            ("QDRANT__SERVICE__HOST", host),
            (
                "QDRANT__STORAGE__STORAGE_PATH",
                disk.join("storage").display().to_string(),
            ),
            (
                "QDRANT_INIT_FILE_PATH",
                disk.join(".qdrant-initialized").display().to_string(),
            ),
        ];
        let agent = agent.map(|uri| ("ECS_AGENT_URI", uri));
        let own = own.into_iter().chain(agent).chain(self.api.env());
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        // A directory that all tasks share is a scenario's to give.
        env.entry("QDRANT__STORAGE__SNAPSHOTS_PATH".to_owned())
            .or_insert_with(|| disk.join("snapshots").display().to_string());
        let api_key = env
            .get("QDRANT__SERVICE__API_KEY")
            .cloned()
            .unwrap_or_default();
        Ok(Task {
            number,
            id,
            revision,
            zone: letter,
            address,
            log: self.definition.folder.join(format!("t{number}.log")),
            disk,
            api_key,
            launched: Instant::now(),
            program: made.program,
            env: env.into_iter().collect(),
            life: Mutex::default(),
        })
    }

    /// Starts the process of a task.
    pub(super) async fn execute(self: &Arc<Self>, task: &Arc<Task>) -> Result<()> {
        let process = self
            .spawner
            .spawn(Launch {
                program: task.program.clone(),
                args: Vec::new(),
                env: task.env.clone(),
                cwd: task.disk.clone(),
                log: task.log.clone(),
            })
            .await?;
        task.set_process(process.clone());
        let (shared, task) = (self.clone(), task.clone());
        tokio::spawn(async move {
            if let Some(exit) = process.wait().await {
                shared.ended(&task, &process, exit).await;
            }
        });
        Ok(())
    }

    async fn ended(&self, task: &Arc<Task>, process: &Spawned, exit: Exit) {
        if lock(&self.state).closed {
            return;
        }
        self.timeline
            .push(Kind::Ecs, &[task.number], format!("ended: {exit}"));
        if !task.ends_with(process) {
            return;
        }
        task.destroy();
        self.failed(task);
        task.set_ended(exit);
        self.names.deregister(&task.id);
        let zone = self.zone(&task.zone).unwrap_or(0);
        lock(&self.state).free.push((zone, task.address));
        if !self.definition.keep {
            // Its disk ends with the task. What cannot be removed now goes with the whole folder.
            let disk = task.disk.clone();
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(disk)).await;
        }
        tokio::time::sleep(timing::REPLACE).await;
        self.wake.notify_one();
    }
}
