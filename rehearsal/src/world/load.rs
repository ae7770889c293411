//! A write load: points upserted through every task until told to stop.
//! Owns: the writers and their count. Must not: judge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::ecs::task::Task;

const COLLECTION: &str = "rehearsal";

/// Running writers; they end when this is dropped.
pub struct Load {
    written: Arc<AtomicU64>,
    _writers: Vec<AbortOnDropHandle<()>>,
}

impl Load {
    /// Creates a collection and starts one writer for each task. `None` when this Qdrant refuses
    /// the collection or the first point (the stand-in may model no points).
    pub async fn start(tasks: &[Arc<Task>]) -> Option<Self> {
        let first = tasks.first()?;
        let limit = Duration::from_secs(20);
        let client = reqwest::Client::builder()
            .timeout(limit)
            .no_proxy()
            .build()
            .ok()?;
        let collection = json!({"vectors": {"size": 4, "distance": "Dot"}});
        let answer = client
            .put(url(first, ""))
            .header("api-key", &first.api_key)
            .json(&collection)
            .send()
            .await
            .ok()?;
        if !answer.status().is_success() || !write(&client, first, 1).await {
            return None;
        }
        let written = Arc::new(AtomicU64::new(1));
        let writers = tasks.iter().cloned().map(|task| {
            let (client, written) = (client.clone(), written.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let mut id = task.number as u64 * 1_000_000;
                loop {
                    id += 1;
                    if write(&client, &task, id).await {
                        written.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }))
        });
        let _writers = writers.collect();
        Some(Self { written, _writers })
    }

    /// Acknowledged writes so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

fn url(task: &Task, rest: &str) -> String {
    format!(
        "http://{}:6333/collections/{COLLECTION}{rest}",
        task.address
    )
}

async fn write(client: &reqwest::Client, task: &Task, id: u64) -> bool {
    let part = (id % 97) as f32 / 97.0;
    let points = json!({"points": [{"id": id, "vector": [part, 0.5, 0.25, 1.0]}]});
    let request = client
        .put(url(task, "/points?wait=true"))
        .header("api-key", &task.api_key);
    request
        .json(&points)
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
