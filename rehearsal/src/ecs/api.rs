//! The one call of the ECS API that a task makes, `DescribeServices`, and the task's credentials.
//! Owns: the answers. Must not: change the service, or verify a signature.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::deployment::Percent;
use super::metadata;
use crate::lock;

/// Where the task's credentials are, below the API's own address.
const CREDENTIALS: &str = "/credentials";
/// What `X-Amz-Target` must say.
const DESCRIBE: &str = "AmazonEC2ContainerServiceV20141113.DescribeServices";

/// How the API behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It answers.
    Answers,
    /// The task role does not permit it.
    Denies,
    /// Connections are refused: no path to it.
    Unreachable,
    /// Tasks have neither endpoint nor credentials.
    Absent,
}

/// One deployment of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Revision of its task definition.
    pub revision: u32,
    /// How many it should have.
    pub desired: usize,
    /// Whose containers run, healthy or not.
    pub running: usize,
    /// Others: a task starts at once here, so there are none.
    pub pending: usize,
}

/// The service as the API describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name; also the task definition family.
    pub service: String,
    /// Desired count.
    pub desired: usize,
    /// Bounds.
    pub percent: Percent,
    /// The primary one first.
    pub deployments: Vec<Deployment>,
}

/// The running stub.
pub struct Api {
    at: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    mode: Mutex<Mode>,
    described: Mutex<Option<Description>>,
}

impl Api {
    /// Listens at `at`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(at: SocketAddr, mode: Mode) -> Result<Self> {
        let api = Self {
            at,
            shared: Arc::new(Shared {
                mode: Mutex::new(Mode::Unreachable),
                described: Mutex::default(),
            }),
            server: Mutex::default(),
        };
        api.set(mode)?;
        Ok(api)
    }

    /// Changes the behaviour. Tasks that run keep the environment they were given.
    ///
    /// # Errors
    /// When the address cannot be bound again.
    pub fn set(&self, mode: Mode) -> Result<()> {
        *lock(&self.shared.mode) = mode;
        let mut server = lock(&self.server);
        if matches!(mode, Mode::Unreachable | Mode::Absent) {
            *server = None;
            return Ok(());
        }
        if server.is_none() {
            let listener = bind(self.at)?;
            let routes = Router::new()
                .route("/", post(call))
                .route(CREDENTIALS, get(credentials))
                .with_state(self.shared.clone());
            *server = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                let _ = axum::serve(listener, routes).await;
            })));
        }
        Ok(())
    }

    /// What it says from now on.
    pub(super) fn describe(&self, description: Description) {
        *lock(&self.shared.described) = Some(description);
    }

    /// Environment of a task that may call it.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![("AWS_REGION", metadata::REGION.to_owned())];
        if *lock(&self.shared.mode) != Mode::Absent {
            let base = format!("http://{}", self.at);
            let full = format!("{base}{CREDENTIALS}");
            env.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", full));
            env.push(("AWS_ENDPOINT_URL_ECS", base));
        }
        env
    }
}

fn bind(at: SocketAddr) -> Result<tokio::net::TcpListener> {
    let listen = || {
        let listener = std::net::TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    listen().with_context(|| format!("listen as the ECS API at {at}"))
}

async fn credentials() -> Response {
    let in_six_hours = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(6));
    let until = in_six_hours.map(|until| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    Json(json!({
        "RoleArn": format!("arn:aws:iam::{}:role/qdrant-task", metadata::ACCOUNT),
        "AccessKeyId": "ASIAREHEARSAL0000000",
        "SecretAccessKey": "a secret of the rehearsal",
        "Token": "a token of the rehearsal",
        "Expiration": until.unwrap_or_default(),
    }))
    .into_response()
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    services: Vec<String>,
}

async fn call(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let mode = *lock(&shared.mode);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = header("authorization").is_some_and(signed);
    let asked: Result<Asked, _> = serde_json::from_str(&body);
    let bad = |name: &str, why: &str| {
        let body = json!({"__type": name, "message": why});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    };
    match (mode, asked) {
        // A connection that was open before the listener closed.
        (Mode::Unreachable | Mode::Absent, _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ if header("x-amz-target") != Some(DESCRIBE) => bad(
            "UnknownOperationException",
            "only DescribeServices is known here",
        ),
        _ if !signed || header("x-amz-date").is_none() => bad(
            "MissingAuthenticationTokenException",
            "the request is not signed",
        ),
        (Mode::Denies, _) => bad(
            "AccessDeniedException",
            "the task role is not authorized to perform: ecs:DescribeServices",
        ),
        (Mode::Answers, Err(_)) => bad("SerializationException", "the body cannot be read"),
        (Mode::Answers, Ok(asked)) => match lock(&shared.described).as_ref() {
            Some(description) => Json(answer(description, &asked)).into_response(),
            None => bad("ClusterNotFoundException", "Cluster not found."),
        },
    }
}

/// Whether an `Authorization` header has the form of Signature Version 4.
fn signed(header: &str) -> bool {
    header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .is_some_and(|rest| {
            ["Credential=", "SignedHeaders=", "Signature="]
                .iter()
                .all(|part| rest.contains(part))
                && rest.contains("/ecs/aws4_request")
        })
}

fn answer(description: &Description, asked: &Asked) -> Value {
    let (mut services, mut failures) = (Vec::new(), Vec::new());
    let cluster = asked.cluster.as_deref().unwrap_or("default");
    let here = cluster == metadata::CLUSTER || cluster == metadata::cluster_arn();
    for name in &asked.services {
        let named = name.rsplit('/').next() == Some(&description.service);
        match here && named {
            true => services.push(service(description)),
            false => failures.push(json!({"arn": name, "reason": "MISSING"})),
        }
    }
    json!({"services": services, "failures": failures})
}

fn service(description: &Description) -> Value {
    let definition = |revision: u32| {
        let family = &description.service;
        metadata::arn(&format!("task-definition/{family}:{revision}"))
    };
    let sum = |of: fn(&Deployment) -> usize| description.deployments.iter().map(of).sum::<usize>();
    let deployments = description.deployments.iter().enumerate();
    let deployments = deployments.map(|(at, deployment)| {
        json!({
            "id": format!("ecs-svc/{:019}", deployment.revision),
            "status": if at == 0 { "PRIMARY" } else { "ACTIVE" },
            "taskDefinition": definition(deployment.revision),
            "desiredCount": deployment.desired,
            "runningCount": deployment.running,
            "pendingCount": deployment.pending,
            "failedTasks": 0,
            "launchType": "FARGATE",
            "rolloutState": if description.deployments.len() == 1 { "COMPLETED" } else { "IN_PROGRESS" },
        })
    });
    let primary = description
        .deployments
        .first()
        .map_or(0, |first| first.revision);
    json!({
        "serviceArn": metadata::arn(&format!("service/{}/{}", metadata::CLUSTER, description.service)),
        "serviceName": description.service,
        "clusterArn": metadata::cluster_arn(),
        "status": "ACTIVE",
        "desiredCount": description.desired,
        "runningCount": sum(|each| each.running),
        "pendingCount": sum(|each| each.pending),
        "launchType": "FARGATE",
        "taskDefinition": definition(primary),
        "deploymentConfiguration": {
            "maximumPercent": description.percent.maximum,
            "minimumHealthyPercent": description.percent.minimum,
        },
        "deployments": deployments.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=A/20261126/eu-central-1/ecs/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=0";

    fn description() -> Description {
        let deployment = |revision, desired| Deployment {
            revision,
            desired,
            running: desired,
            pending: 0,
        };
        Description {
            service: "qdrant".into(),
            desired: 6,
            percent: Percent {
                minimum: 100,
                maximum: 117,
            },
            deployments: vec![deployment(3, 6), deployment(2, 1)],
        }
    }

    async fn start(mode: Mode) -> (Api, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        let api = Api::start(at, mode).unwrap();
        api.describe(description());
        (api, format!("http://{at}/"))
    }

    async fn ask(url: &str, signature: Option<&str>) -> Result<(u16, Value), reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0);
        let mut request = client
            .build()?
            .post(url)
            .header("x-amz-target", DESCRIBE)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-date", "20261126T120000Z")
            .body(r#"{"cluster":"rehearsal","services":["qdrant","other"]}"#);
        if let Some(signature) = signature {
            request = request.header("authorization", signature);
        }
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    #[tokio::test]
    async fn it_names_the_primary_deployment() {
        let (_api, url) = start(Mode::Answers).await;
        let (code, body) = ask(&url, Some(SIGNATURE)).await.unwrap();
        let found = &body["services"][0];
        assert_eq!((code, &found["desiredCount"]), (200, &json!(6)));
        let primary = &found["deployments"][0];
        assert_eq!(primary["status"], "PRIMARY");
        let definition = primary["taskDefinition"].as_str().unwrap();
        assert!(
            definition.ends_with(":task-definition/qdrant:3"),
            "{definition}"
        );
        assert_eq!(found["deployments"][1]["status"], "ACTIVE");
        assert_eq!(body["failures"][0]["reason"], "MISSING");
    }

    #[tokio::test]
    async fn it_wants_a_signature_and_fails_as_it_is_told() {
        let (api, url) = start(Mode::Answers).await;
        for bad in [
            None,
            Some("Bearer x"),
            Some("AWS4-HMAC-SHA256 Credential=A"),
        ] {
            let (code, body) = ask(&url, bad).await.unwrap();
            assert_eq!(
                (code, &body["__type"]),
                (400, &json!("MissingAuthenticationTokenException"))
            );
        }
        api.set(Mode::Denies).unwrap();
        let (code, body) = ask(&url, Some(SIGNATURE)).await.unwrap();
        assert_eq!(
            (code, &body["__type"]),
            (400, &json!("AccessDeniedException"))
        );
        api.set(Mode::Unreachable).unwrap();
        // The listener goes when its task is next polled.
        loop {
            match ask(&url, Some(SIGNATURE)).await {
                Err(error) if error.is_connect() => break,
                _ => tokio::task::yield_now().await,
            }
        }
        api.set(Mode::Answers).unwrap();
        assert_eq!(ask(&url, Some(SIGNATURE)).await.unwrap().0, 200);
    }
}
