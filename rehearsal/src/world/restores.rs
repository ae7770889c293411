//! Restores by hand in a world: asked for through a task, and followed by the cluster's own record.
//! Owns: asking and reading. Must not: judge.

use anyhow::{Context, Result, bail};
use entrypoint::keep::restore_request::{Ask, CallOff, Progress, Taken};
use planner::records::Job;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ecs::task::Task;
use crate::timing;

/// Asks a task for a restore beside what is served.
///
/// # Errors
/// When it is refused, with its words.
pub async fn ask(task: &Task, ask: &Ask) -> Result<Job> {
    match request(task, Method::POST, Some(ask)).await? {
        Taken::Job(job) => Ok(job),
        Taken::Wish(wish) => bail!("it was taken for a decision: {wish:?}"),
    }
}

/// Decides through a task what becomes of the restore of everything.
///
/// # Errors
/// When it is refused, with its words.
pub async fn decide(task: &Task, ask: &Ask) -> Result<()> {
    match request(task, Method::POST, Some(ask)).await? {
        Taken::Wish(_) => Ok(()),
        Taken::Job(job) => bail!("it was taken for a job: {job:?}"),
    }
}

/// Calls the restore that is under way off.
///
/// # Errors
/// When it is refused, with its words.
pub async fn call_off(task: &Task, owner: &str) -> Result<Job> {
    let owner = owner.to_owned();
    request(task, Method::DELETE, Some(&CallOff { owner })).await
}

/// The last restore by hand, as this task knows it.
///
/// # Errors
/// When it cannot be asked.
pub async fn job(task: &Task) -> Result<Option<Job>> {
    let progress: Progress = request::<(), _>(task, Method::GET, None).await?;
    Ok(progress.job)
}

async fn request<B: Serialize, T: DeserializeOwned>(
    task: &Task,
    method: Method,
    body: Option<&B>,
) -> Result<T> {
    let client = reqwest::Client::builder()
        .timeout(timing::REST)
        .no_proxy()
        .build()
        .context("build a client")?;
    let url = format!("http://{}:6336/v1/restores", task.address);
    let mut request = client.request(method, url).header("api-key", &task.api_key);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.context("ask for a restore")?;
    let (code, text) = (answer.status(), answer.text().await?);
    if !matches!(code, StatusCode::OK | StatusCode::ACCEPTED) {
        bail!("{} answers {code}: {text}", task.name());
    }
    serde_json::from_str(&text).with_context(|| format!("read {text}"))
}
