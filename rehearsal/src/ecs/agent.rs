//! The agent endpoint of every task (`$ECS_AGENT_URI`): task scale-in protection.
//! Owns: who is protected and for how long, and what the endpoint answers. Must not: start or stop
//! anything.
//!
//! Shapes and status codes: facts, section 2, and the agent's own handlers (failures are 200).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::lock;
use crate::timing;

/// Protection without a stated time.
const DEFAULT_MINUTES: i64 = 120;
/// Longest protection.
const MOST_MINUTES: i64 = 2880;

/// How the endpoint behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As ECS does it: refuses when a deployment or scale-in is blocked.
    Ecs,
    /// Tasks are not told of it at all.
    Absent,
    /// Every request gets this status code: 400, 403 or 500.
    Answers(u16),
    /// It takes requests and never answers.
    Hangs,
    /// Every request to protect is refused with `DEPLOYMENT_BLOCKED`.
    Blocked,
}

/// Knows whether a deployment stands in the way of protection.
pub(super) trait Blocks: Send + Sync {
    /// Whether ECS refuses to protect this task now.
    fn refuses(&self, task: &str) -> bool;
}

/// The running endpoint.
pub struct Agent {
    at: SocketAddr,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    mode: Mutex<Mode>,
    /// Until when, by task ARN.
    protected: Mutex<HashMap<String, Instant>>,
    /// ARN by the id in the task's own URI.
    known: Mutex<HashMap<String, String>>,
    blocks: OnceLock<Weak<dyn Blocks>>,
}

/// The body of a request; any other key is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    protection_enabled: Option<bool>,
    #[serde(default)]
    expires_in_minutes: Option<i64>,
}

impl Agent {
    /// Listens at `at`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(at: SocketAddr, mode: Mode) -> Result<Self> {
        let shared = Arc::new(Shared {
            mode: Mutex::new(mode),
            protected: Mutex::default(),
            known: Mutex::default(),
            blocks: OnceLock::new(),
        });
        let routes = Router::new()
            .route(
                "/api/{id}/task-protection/v1/state",
                get(current).put(change),
            )
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind(at)
            .await
            .with_context(|| format!("listen as the agent at {at}"))?;
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            at,
            shared,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Who is asked whether something is blocked; once.
    pub(super) fn ask(&self, blocks: Weak<dyn Blocks>) {
        let _ = self.shared.blocks.set(blocks);
    }

    /// Changes the behaviour. Tasks that run keep the environment they were given.
    pub fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
    }

    /// Makes a task known and returns its `ECS_AGENT_URI`, where there is one.
    pub fn publish(&self, id: &str, arn: &str) -> Option<String> {
        lock(&self.shared.known).insert(id.into(), arn.into());
        let there = *lock(&self.shared.mode) != Mode::Absent;
        there.then(|| format!("http://{}/api/{id}", self.at))
    }

    /// Whether the task with this ARN is protected now.
    pub fn protects(&self, arn: &str) -> bool {
        self.shared.left(arn).is_some()
    }
}

impl Shared {
    fn left(&self, arn: &str) -> Option<Duration> {
        let until = *lock(&self.protected).get(arn)?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// `{"protection": …}` as it stands.
    fn stands(&self, arn: &str) -> Value {
        let left = self.left(arn);
        let date = left.map(|left| {
            let until = jiff::Timestamp::now().checked_add(left).ok();
            until.map(|until| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        });
        json!({"protection": {
            "ExpirationDate": date, "ProtectionEnabled": left.is_some(), "TaskArn": arn,
        }})
    }

    /// The task's ARN, or what is answered instead.
    async fn greet(&self, id: &str) -> Result<String, Response> {
        let mode = *lock(&self.mode);
        match mode {
            Mode::Hangs => std::future::pending().await,
            Mode::Answers(code) => {
                let arn = lock(&self.known).get(id).cloned();
                let (code, name) = match code {
                    400 => (StatusCode::BAD_REQUEST, "InvalidParameterException"),
                    403 => (StatusCode::FORBIDDEN, "AccessDeniedException"),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "ServerException"),
                };
                Err(error(
                    code,
                    &arn.unwrap_or_default(),
                    name,
                    "so it was told",
                ))
            }
            Mode::Ecs | Mode::Absent | Mode::Blocked => {
                let known = lock(&self.known).get(id).cloned();
                known.ok_or_else(|| {
                    let why = "Failed to find a task for the request";
                    error(StatusCode::NOT_FOUND, "", "ResourceNotFoundException", why)
                })
            }
        }
    }

    fn refuses(&self, arn: &str) -> bool {
        match *lock(&self.mode) {
            Mode::Blocked => true,
            _ => self
                .blocks
                .get()
                .and_then(Weak::upgrade)
                .is_some_and(|blocks| blocks.refuses(arn)),
        }
    }
}

fn error(code: StatusCode, arn: &str, name: &str, why: &str) -> Response {
    let body = json!({"error": {"Arn": arn, "Code": name, "Message": why}});
    (code, Json(body)).into_response()
}

async fn current(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match shared.greet(&id).await {
        Ok(arn) => Json(shared.stands(&arn)).into_response(),
        Err(other) => other,
    }
}

async fn change(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: String,
) -> Response {
    let bad = |arn: &str, why: &str| {
        error(
            StatusCode::BAD_REQUEST,
            arn,
            "InvalidParameterException",
            why,
        )
    };
    let Ok(request) = serde_json::from_str::<Request>(&body) else {
        return bad("", "UpdateTaskProtection: failed to decode request");
    };
    let arn = match shared.greet(&id).await {
        Ok(arn) => arn,
        Err(other) => return other,
    };
    let Some(enabled) = request.protection_enabled else {
        return bad(
            &arn,
            "Invalid request: does not contain 'ProtectionEnabled' field",
        );
    };
    if !enabled {
        lock(&shared.protected).remove(&arn);
        return Json(shared.stands(&arn)).into_response();
    }
    let minutes = request.expires_in_minutes.unwrap_or(DEFAULT_MINUTES);
    let Some(minutes) = u32::try_from(minutes)
        .ok()
        .filter(|_| (1..=MOST_MINUTES).contains(&minutes))
    else {
        return bad(&arn, "expiresInMinutes must be between 1 and 2880");
    };
    if shared.refuses(&arn) {
        let why = "More tasks than desired would be protected while there are tasks to stop";
        let failure = json!({"Arn": arn, "Detail": why, "Reason": "DEPLOYMENT_BLOCKED"});
        return Json(json!({"failure": failure})).into_response();
    }
    let until = Instant::now() + timing::MINUTE * minutes;
    lock(&shared.protected).insert(arn.clone(), until);
    Json(shared.stands(&arn)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:ecs:eu-central-1:111122223333:task/rehearsal/0";

    async fn agent(mode: Mode) -> (Agent, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        let agent = Agent::start(at, mode).await.unwrap();
        let uri = agent.publish("c", ARN).unwrap();
        (agent, format!("{uri}/task-protection/v1/state"))
    }

    async fn put(url: &str, body: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.put(url).body(body.to_owned()).send().await.unwrap();
        let code = answer.status().as_u16();
        (code, answer.json().await.unwrap())
    }

    #[tokio::test]
    async fn it_is_given_and_given_back() {
        let (agent, url) = agent(Mode::Ecs).await;
        let (code, on) = put(&url, r#"{"ProtectionEnabled":true,"ExpiresInMinutes":60}"#).await;
        let on = &on["protection"];
        assert_eq!(
            (code, &on["ProtectionEnabled"], &on["TaskArn"]),
            (200, &json!(true), &json!(ARN))
        );
        let date: jiff::Timestamp = on["ExpirationDate"].as_str().unwrap().parse().unwrap();
        assert!(date > jiff::Timestamp::now());
        assert!(agent.protects(ARN));
        let (code, off) = put(&url, r#"{"ProtectionEnabled":false}"#).await;
        let off = &off["protection"];
        assert_eq!(
            (code, &off["ProtectionEnabled"], &off["ExpirationDate"]),
            (200, &json!(false), &Value::Null)
        );
        assert!(!agent.protects(ARN));
    }

    #[tokio::test]
    async fn the_decoder_is_strict() {
        let (agent, url) = agent(Mode::Ecs).await;
        for bad in [
            "",
            "{}",
            r#"{"ExpiresInMinutes":5}"#,
            r#"{"ProtectionEnabled":true,"Reason":"x"}"#,
            r#"{"ProtectionEnabled":true,"ExpiresInMinutes":0}"#,
            r#"{"ProtectionEnabled":true,"ExpiresInMinutes":2881}"#,
            r#"{"ProtectionEnabled":"true"}"#,
        ] {
            let (code, body) = put(&url, bad).await;
            assert_eq!(code, 400, "{bad}");
            assert_eq!(body["error"]["Code"], "InvalidParameterException", "{bad}");
        }
        assert!(!agent.protects(ARN));
    }

    #[tokio::test]
    async fn a_blocked_deployment_is_a_failure_with_200() {
        let (agent, url) = agent(Mode::Blocked).await;
        let (code, body) = put(&url, r#"{"ProtectionEnabled":true}"#).await;
        assert_eq!(
            (code, &body["failure"]["Reason"]),
            (200, &json!("DEPLOYMENT_BLOCKED"))
        );
        assert!(!agent.protects(ARN));
        let (code, _) = put(&url, r#"{"ProtectionEnabled":false}"#).await;
        assert_eq!(code, 200);
    }

    #[tokio::test]
    async fn it_fails_as_it_is_told() {
        let (agent, url) = agent(Mode::Answers(403)).await;
        let (code, body) = put(&url, r#"{"ProtectionEnabled":true}"#).await;
        assert_eq!(
            (code, &body["error"]["Code"]),
            (403, &json!("AccessDeniedException"))
        );
        agent.set(Mode::Ecs);
        assert_eq!(
            put(&url.replace("/c/", "/d/"), r#"{"ProtectionEnabled":true}"#)
                .await
                .0,
            404
        );
        agent.set(Mode::Absent);
        assert_eq!(agent.publish("e", ARN), None);
    }
}
