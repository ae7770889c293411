//! Asks the metadata endpoint until its answer can be used. Owns the repetition, the time limits and
//! the bound on what is read; what an answer means is in `metadata`.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Identity, IdentityError,
    metadata::{MetadataError, TaskMetadata, parse_own_docker_id, parse_task_metadata},
};

/// Largest answer that is read. A task has at most ten containers of some kilobytes each.
const LONGEST: usize = 512 * 1024;

/// Limit of one request. The endpoint is on the same machine.
const REQUEST: Duration = Duration::from_secs(2);

/// The first pause between two tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause: the endpoint limits how often it may be asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks until `read` accepts the answer, an error cannot pass, or `limit` is over.
pub(super) async fn until_usable(
    http: &reqwest::Client,
    uri: &reqwest::Url,
    limit: Duration,
    read: impl Fn(&TaskMetadata) -> Result<Identity, MetadataError>,
) -> Result<Identity, IdentityError> {
    let end = Instant::now() + limit;
    let base = uri.as_str().trim_end_matches('/');
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    let mut before = None;
    loop {
        tries += 1;
        let answer = ask(http, base, end)
            .await
            .and_then(|metadata| read(&metadata));
        let last = match (answer, before) {
            (Ok(identity), _) => return Ok(identity),
            // A try that the limit cut short says less than the complete one before it.
            (Err(MetadataError::Request(_)), Some(before)) if Instant::now() >= end => before,
            (Err(error), _) => error,
        };
        if !last.may_pass() || Instant::now() + pause >= end {
            return Err(IdentityError::Metadata {
                url: format!("{base}/task"),
                tries,
                last,
            });
        }
        tracing::debug!(event = "identity.retry", tries, reason = %last, "task metadata is not usable yet");
        before = Some(last);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One complete answer: the task, and which of its containers we are where that matters.
async fn ask(
    http: &reqwest::Client,
    base: &str,
    end: Instant,
) -> Result<TaskMetadata, MetadataError> {
    let mut metadata = parse_task_metadata(&get(http, &format!("{base}/task"), end).await?)?;
    if metadata.is_ambiguous() {
        metadata.own_docker_id = Some(parse_own_docker_id(&get(http, base, end).await?)?);
    }
    Ok(metadata)
}

async fn get(http: &reqwest::Client, url: &str, end: Instant) -> Result<Vec<u8>, MetadataError> {
    let end = end.min(Instant::now() + REQUEST);
    match timeout_at(end, read_body(http, url)).await {
        Ok(answer) => answer,
        Err(_) => Err(MetadataError::Request("no answer in time".to_owned())),
    }
}

async fn read_body(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, MetadataError> {
    let mut response = http.get(url).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(MetadataError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LONGEST {
            return Err(MetadataError::TooLarge { limit: LONGEST });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause, which is the one that says something ("connection refused").
fn failed(error: reqwest::Error) -> MetadataError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    MetadataError::Request(cause.to_string())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
