//! Task metadata endpoint v4, as Fargate answers it.
//! Owns: the documents and the HTTP server. Must not: start anything.
//!
//! Shape: AWS "Task metadata endpoint version 4 for Fargate", response examples. With EFS a
//! supervisor container is listed first, so nobody may take the first one blindly; and the first
//! answers of a young task may lack the network.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::lock;

/// What the endpoint says about one task.
#[derive(Debug, Clone)]
pub struct Document {
    /// Cluster name.
    pub cluster: String,
    /// ECS service name.
    pub service: String,
    /// Task id: 32 hexadecimal digits.
    pub task: String,
    /// Task definition family and revision.
    pub family: String,
    /// Revision number, as text.
    pub revision: String,
    /// Zone name such as `eu-central-1a`.
    pub zone: String,
    /// The task's address.
    pub address: Ipv4Addr,
    /// So many first `/task` answers come without networks.
    pub incomplete: u32,
}

type Shared = Arc<Mutex<HashMap<String, Document>>>;

/// The running server.
#[derive(Debug)]
pub struct Metadata {
    at: SocketAddr,
    documents: Shared,
    _server: AbortOnDropHandle<()>,
}

impl Metadata {
    /// Listens at `at`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(at: SocketAddr) -> Result<Self> {
        let documents = Shared::default();
        let routes = Router::new()
            .route("/v4/{id}", get(container))
            .route("/v4/{id}/task", get(task))
            .with_state(documents.clone());
        let listener = tokio::net::TcpListener::bind(at)
            .await
            .with_context(|| format!("listen for task metadata at {at}"))?;
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            at,
            documents,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Publishes a task and returns its `ECS_CONTAINER_METADATA_URI_V4`.
    pub fn publish(&self, document: Document) -> String {
        let id = docker_id(&document);
        let uri = format!("http://{}/v4/{id}", self.at);
        lock(&self.documents).insert(id, document);
        uri
    }
}

fn docker_id(document: &Document) -> String {
    format!("{}-0527074092", document.task)
}

fn arn(document: &Document, kind: &str, rest: &str) -> String {
    format!(
        "arn:aws:ecs:eu-central-1:111122223333:{kind}/{}/{rest}",
        document.cluster
    )
}

fn own_container(document: &Document, networks: bool) -> Value {
    let mut container = container_json(document, "qdrant", "NORMAL", &docker_id(document));
    if networks && let Some(map) = container.as_object_mut() {
        let subnet = document.address.octets();
        map.insert(
            "Networks".into(),
            json!([{
                "NetworkMode": "awsvpc",
                "IPv4Addresses": [document.address.to_string()],
                "AttachmentIndex": 0,
                "MACAddress": "0a:de:f6:10:51:e5",
                "IPv4SubnetCIDRBlock": format!("{}.{}.{}.0/20", subnet[0], subnet[1], subnet[2]),
                "DomainNameServers": ["127.0.0.2"],
                "PrivateDNSName": "ip-10-0-0-222.eu-central-1.compute.internal",
            }]),
        );
    }
    container
}

fn container_json(document: &Document, name: &str, kind: &str, id: &str) -> Value {
    json!({
        "DockerId": id,
        "Name": name,
        "DockerName": name,
        "Image": format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/{name}:latest"),
        "ImageID": "sha256:e0f0b8a0a1f4d2a8f6d3c9b1a7e5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4b",
        "Labels": {
            "com.amazonaws.ecs.cluster": document.cluster,
            "com.amazonaws.ecs.container-name": name,
            "com.amazonaws.ecs.task-arn": arn(document, "task", &document.task),
            "com.amazonaws.ecs.task-definition-family": document.family,
            "com.amazonaws.ecs.task-definition-version": document.revision,
        },
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 2},
        "CreatedAt": "2026-11-22T00:00:00.000000000Z",
        "StartedAt": "2026-11-22T00:00:01.000000000Z",
        "Type": kind,
        "ContainerARN": arn(document, "container", id),
        "Snapshotter": "overlayfs",
    })
}

fn no_task() -> Response {
    (
        StatusCode::NOT_FOUND,
        "V4 container metadata handler: unable to get container",
    )
        .into_response()
}

async fn container(State(documents): State<Shared>, Path(id): Path<String>) -> Response {
    match lock(&documents).get(&id) {
        Some(document) => Json(own_container(document, document.incomplete == 0)).into_response(),
        None => no_task(),
    }
}

async fn task(State(documents): State<Shared>, Path(id): Path<String>) -> Response {
    let mut documents = lock(&documents);
    let Some(document) = documents.get_mut(&id) else {
        return no_task();
    };
    let complete = document.incomplete == 0;
    document.incomplete = document.incomplete.saturating_sub(1);
    let supervisor = container_json(
        document,
        "aws-fargate-supervisor",
        "AWS_FARGATE_SUPERVISOR",
        &format!("{}-2495160603", document.task),
    );
    Json(json!({
        "Cluster": format!("arn:aws:ecs:eu-central-1:111122223333:cluster/{}", document.cluster),
        "ServiceName": document.service,
        "TaskARN": arn(document, "task", &document.task),
        "Family": document.family,
        "Revision": document.revision,
        "DesiredStatus": "RUNNING",
        "KnownStatus": if complete { "RUNNING" } else { "NONE" },
        "Limits": {"CPU": 2, "Memory": 8192},
        "PullStartedAt": "2026-11-22T00:00:00.532811081Z",
        "PullStoppedAt": "2026-11-22T00:00:00.541068435Z",
        "AvailabilityZone": document.zone,
        "LaunchType": "FARGATE",
        "ClockDrift": {
            "ClockErrorBound": 0.6, "ReferenceTimestamp": "2026-11-22T00:00:00Z",
            "ClockSynchronizationStatus": "SYNCHRONIZED",
        },
        "EphemeralStorageMetrics": {"Utilized": 261, "Reserved": 20496},
        "Containers": [supervisor, own_container(document, complete)],
    }))
    .into_response()
}
