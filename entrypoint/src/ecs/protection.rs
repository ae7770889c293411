//! The agent's endpoint for task scale-in protection: one request, three shapes of answer.
//!
//! The endpoint refuses a body with any key beside its own, and answers with a success, a failure
//! of ECS or an error of the call. Only the first, read whole, is a confirmation.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use crate::config::Printable;

/// The call goes through the agent to the API of ECS, which may throttle or be unreachable; whoever
/// waits for it must not wait long.
const LIMIT: Duration = Duration::from_secs(4);
/// No answer is nearly that long.
const LONGEST: usize = 64 * 1024;
/// The reason with which ECS says that protected tasks hold up a deployment.
const BLOCKED: &str = "DEPLOYMENT_BLOCKED";

/// The endpoint of this task.
#[derive(Clone, Debug)]
pub struct Endpoint {
    http: reqwest::Client,
    url: String,
}

/// Why ECS has not done what was asked. Every variant prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectionError {
    /// No answer, or a part of one.
    #[error("the agent's endpoint does not answer: {0}")]
    Unreachable(String),
    /// ECS said no.
    #[error("ECS refuses: {code}{detail}")]
    Refused {
        /// Its word for it, such as `DEPLOYMENT_BLOCKED` or `AccessDeniedException`.
        code: String,
        /// What it says besides, after a colon; empty when nothing.
        detail: String,
    },
    /// An answer that is none of the three.
    #[error("an answer with status {status} that cannot be understood: {what}")]
    Strange {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        what: String,
    },
}

impl ProtectionError {
    /// ECS says that protected tasks hold up a deployment.
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == BLOCKED)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask {
    protection_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_minutes: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    protection: Option<Confirmed>,
    failure: Option<Failure>,
    error: Option<CallError>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Confirmed {
    protection_enabled: bool,
    /// Absent when protection is off.
    expiration_date: Option<jiff::Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    reason: String,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CallError {
    code: String,
    message: Option<String>,
}

/// Whom the keeper asks: the endpoint, or a script in tests.
pub trait Asks: Send + Sync + 'static {
    /// Asks for protection for so many minutes from now on.
    fn protect(&self, minutes: u32) -> impl Future<Output = Result<(), ProtectionError>> + Send;

    /// Gives protection back.
    fn release(&self) -> impl Future<Output = Result<(), ProtectionError>> + Send;
}

impl Asks for Endpoint {
    async fn protect(&self, minutes: u32) -> Result<(), ProtectionError> {
        self.ask(true, Some(minutes)).await
    }

    async fn release(&self) -> Result<(), ProtectionError> {
        self.ask(false, None).await
    }
}

impl Endpoint {
    /// The endpoint under `$ECS_AGENT_URI`.
    pub fn new(agent: &reqwest::Url) -> reqwest::Result<Self> {
        let base = agent.as_str().trim_end_matches('/');
        Ok(Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(LIMIT)
                .build()?,
            url: format!("{base}/task-protection/v1/state"),
        })
    }

    async fn ask(&self, on: bool, minutes: Option<u32>) -> Result<(), ProtectionError> {
        let ask = Ask {
            protection_enabled: on,
            expires_in_minutes: minutes,
        };
        let sent = self.http.put(&self.url).json(&ask).send().await;
        let mut answer = sent.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > LONGEST {
                return Err(strange(status, "it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        read(status, &body, on)
    }
}

/// What an answer says to a wish. Exactly one of the three shapes may be there.
fn read(status: StatusCode, body: &[u8], on: bool) -> Result<(), ProtectionError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| strange(status, &error.to_string()))?;
    match answer {
        Answer {
            protection: Some(confirmed),
            failure: None,
            error: None,
        } => {
            if status != StatusCode::OK {
                return Err(strange(status, "a confirmation with this status"));
            }
            if confirmed.protection_enabled != on {
                return Err(strange(status, "it confirms the opposite"));
            }
            if on && confirmed.expiration_date.is_none() {
                return Err(strange(status, "a confirmation without an end"));
            }
            Ok(())
        }
        Answer {
            protection: None,
            failure: Some(failure),
            error: None,
        } => Err(refused(&failure.reason, failure.detail.as_deref())),
        Answer {
            protection: None,
            failure: None,
            error: Some(error),
        } => Err(refused(&error.code, error.message.as_deref())),
        _ => Err(strange(status, "neither a confirmation nor a refusal")),
    }
}

fn refused(code: &str, detail: Option<&str>) -> ProtectionError {
    let detail = detail.filter(|detail| !detail.is_empty());
    ProtectionError::Refused {
        code: Printable::new(code).as_str().to_owned(),
        detail: detail.map_or_else(String::new, |detail| {
            format!(": {}", Printable::new(detail).as_str())
        }),
    }
}

fn strange(status: StatusCode, what: &str) -> ProtectionError {
    ProtectionError::Strange {
        status: status.as_u16(),
        what: Printable::new(what).as_str().to_owned(),
    }
}

fn unreachable(error: &reqwest::Error) -> ProtectionError {
    let why = crate::log::chain(error);
    ProtectionError::Unreachable(Printable::new(&why).as_str().to_owned())
}

#[cfg(test)]
#[path = "protection_tests.rs"]
mod tests;
