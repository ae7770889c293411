//! Two slow questions to our own Qdrant, asked beside the rounds so that none waits for them.

use std::time::{Duration, Instant};

use planner::records::{FORMAT, PROBE_KEY};
use qdrant_api::{Client, Error, Readiness};
use tokio::task::JoinHandle;

/// Longer than an election (2 to 4 s). Qdrant itself would hold the question for 10 s, and an answer
/// so old says nothing of now (facts: section 7).
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer to `/readyz` is waited for. Each *question* takes Qdrant's check one step
/// further, and a question that finds it not ready is held for half a second (v1.19.0,
/// `src/common/health.rs`); so it is asked again, not waited for.
const READY_ANSWER: Duration = Duration::from_millis(100);
/// The pause between two questions for readiness.
const READY_PAUSE: Duration = Duration::from_millis(25);
/// The pause after a probe write that was committed; after a failure the next begins at once.
const COMMIT_PAUSE: Duration = Duration::from_secs(5);

/// Asks `/readyz` in the background until it says 200, which is final (facts: T11).
#[derive(Debug, Default)]
pub(super) struct ReadyWatch {
    asking: Option<JoinHandle<()>>,
}

impl ReadyWatch {
    pub(super) fn look(&mut self, client: &Client) -> bool {
        let asking = self.asking.get_or_insert_with(|| {
            let client = client.with_timeout(READY_ANSWER);
            tokio::spawn(async move {
                while !matches!(client.readyz().await, Ok(Readiness::Ready)) {
                    tokio::time::sleep(READY_PAUSE).await;
                }
            })
        });
        asking.is_finished()
    }
}

impl Drop for ReadyWatch {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

/// Writes a key and waits for the commit: the only proof that consensus works (facts: T1).
///
/// Never the same value twice. Qdrant proposes an operation only when no equal one is waited for
/// (v1.19.0, `consensus_manager.rs:854-872`), and one that was forwarded to a leader that died is
/// waited for until its ten seconds are over, also when its caller went away long before (measured).
/// Each probe meanwhile would join it, and call a consensus dead that works.
pub async fn probe_commit(client: &Client) -> Result<(), Error> {
    let once = uuid::Uuid::new_v4().simple().to_string();
    let value = serde_json::json!({ "format": FORMAT, "once": once });
    client
        .with_timeout(COMMIT_TIMEOUT)
        .put_metadata_key(PROBE_KEY, &value, true)
        .await
}

/// Probes in the background, while there is doubt.
#[derive(Debug, Default)]
pub(super) struct CommitProbe {
    running: Option<JoinHandle<bool>>,
    last: Option<(bool, Instant)>,
}

impl CommitProbe {
    pub(super) fn look(&mut self, client: &Client, wanted: bool) -> Option<bool> {
        if let Some(task) = &mut self.running
            && task.is_finished()
        {
            let task = self.running.take()?;
            // A finished task's result is there at once.
            let committed = futures::FutureExt::now_or_never(task).and_then(Result::ok)?;
            self.last = Some((committed, Instant::now()));
        }
        if !wanted {
            if self.running.is_none() {
                self.last = None;
            }
            return self.last.map(|(committed, _)| committed);
        }
        let due = self
            .last
            .is_none_or(|(committed, at)| !committed || at.elapsed() > COMMIT_PAUSE);
        if self.running.is_none() && due {
            let client = client.clone();
            self.running = Some(tokio::spawn(
                async move { probe_commit(&client).await.is_ok() },
            ));
        }
        self.last.map(|(committed, _)| committed)
    }
}
