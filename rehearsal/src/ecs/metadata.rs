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
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::lock;

/// The region of every rehearsal.
pub const REGION: &str = "eu-central-1";
/// Its account.
pub const ACCOUNT: &str = "111122223333";
/// Its ECS cluster.
pub const CLUSTER: &str = "rehearsal";

/// What the endpoint says about one task.
#[derive(Debug, Clone)]
pub struct Document {
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
    /// When the task was created. Of two tasks the later one has the later time.
    pub created: Timestamp,
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

/// The id in the task's own URIs.
pub(super) fn docker_id(document: &Document) -> String {
    format!("{}-0527074092", document.task)
}

/// The name of something in ECS.
pub fn arn(resource: &str) -> String {
    format!("arn:aws:ecs:{REGION}:{ACCOUNT}:{resource}")
}

/// The name of a task.
pub fn task_arn(id: &str) -> String {
    arn(&format!("task/{CLUSTER}/{id}"))
}

/// The name of the cluster.
pub fn cluster_arn() -> String {
    arn(&format!("cluster/{CLUSTER}"))
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
                "IPv4SubnetCIDRBlock": format!("{}.{}.{}.0/20", subnet[0], subnet[1], subnet[2] & 0xf0),
                "DomainNameServers": ["127.0.0.2"],
                "PrivateDNSName": "ip-10-0-0-222.eu-central-1.compute.internal",
            }]),
        );
    }
    container
}

fn container_json(document: &Document, name: &str, kind: &str, id: &str) -> Value {
    let created = nanoseconds(document.created);
    json!({
        "DockerId": id,
        "Name": name,
        "DockerName": name,
        "Image": format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/{name}:latest"),
        "ImageID": "sha256:e0f0b8a0a1f4d2a8f6d3c9b1a7e5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4b",
        "Labels": {
            "com.amazonaws.ecs.cluster": CLUSTER,
            "com.amazonaws.ecs.container-name": name,
            "com.amazonaws.ecs.task-arn": task_arn(&document.task),
            "com.amazonaws.ecs.task-definition-family": document.family,
            "com.amazonaws.ecs.task-definition-version": document.revision,
        },
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 2},
        "CreatedAt": created,
        "StartedAt": created,
        "Type": kind,
        "ContainerARN": arn(&format!("container/{CLUSTER}/{id}")),
        "Snapshotter": "overlayfs",
    })
}

fn nanoseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
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
        "Cluster": cluster_arn(),
        "ServiceName": document.service,
        "TaskARN": task_arn(&document.task),
        "Family": document.family,
        "Revision": document.revision,
        "DesiredStatus": "RUNNING",
        "KnownStatus": if complete { "RUNNING" } else { "NONE" },
        "Limits": {"CPU": 2, "Memory": 8192},
        "PullStartedAt": nanoseconds(document.created),
        "PullStoppedAt": nanoseconds(document.created),
        "AvailabilityZone": document.zone,
        "LaunchType": "FARGATE",
        "ClockDrift": {
            "ClockErrorBound": 0.6, "ReferenceTimestamp": nanoseconds(document.created),
            "ClockSynchronizationStatus": "SYNCHRONIZED",
        },
        "EphemeralStorageMetrics": {"Utilized": 261, "Reserved": 20496},
        "Containers": [supervisor, own_container(document, complete)],
    }))
    .into_response()
}
