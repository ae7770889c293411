//! The REST API: the routes that an entrypoint relies on, in Qdrant's envelope.

mod aliases;
mod cluster;
mod collections;
mod indexes;
mod keys;
mod points;
mod query;
mod shards;
mod snapshots;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::VERSION;
use super::error::ApiError;
use super::health::Health;
use super::node::Node;

const OPEN: [&str; 4] = ["/", "/healthz", "/livez", "/readyz"];

/// What handlers work with.
#[derive(Clone)]
struct Api {
    node: Arc<Node>,
    health: Arc<Health>,
}

impl Api {
    /// The name of the collection that a request means: an alias stands for it everywhere but where
    /// collections are created and deleted.
    fn real(&self, name: String) -> String {
        self.node.read(|inner| inner.model.real(&name).to_owned())
    }
}

/// `?timeout=`, in seconds.
#[derive(Debug, Deserialize)]
struct Timeout {
    timeout: Option<u64>,
}

impl Timeout {
    fn get(&self) -> Result<Option<Duration>, ApiError> {
        match self.timeout {
            Some(0) => Err(ApiError {
                status: 422,
                message: "Validation error in query parameters: [timeout: value 0 invalid, must \
                          be 1 or larger]"
                    .into(),
            }),
            seconds => Ok(seconds.map(Duration::from_secs)),
        }
    }
}

/// The routes of the REST port.
pub fn router(node: Arc<Node>, health: Arc<Health>) -> Router {
    let api = Api { node, health };
    Router::new()
        .route("/", get(root))
        .route("/healthz", get(|| async { "healthz check passed" }))
        .route("/livez", get(|| async { "healthz check passed" }))
        .route("/readyz", get(readyz))
        .route("/telemetry", get(collections::telemetry))
        .route("/cluster", get(cluster::status))
        .route("/cluster/peer/{id}", delete(cluster::remove_peer))
        .route("/cluster/metadata/keys", get(cluster::keys))
        .route(
            "/cluster/metadata/keys/{key}",
            get(cluster::key)
                .put(cluster::set_key)
                .delete(cluster::delete_key),
        )
        .route("/aliases", get(aliases::list))
        .route("/collections", get(collections::list))
        .route("/collections/aliases", post(aliases::change))
        .route(
            "/collections/{name}",
            get(collections::info)
                .put(collections::create)
                .patch(collections::update)
                .delete(collections::delete),
        )
        .route(
            "/collections/{name}/cluster",
            get(shards::info).post(shards::change),
        )
        .route(
            "/collections/{name}/shards",
            get(keys::list).put(keys::create),
        )
        .route("/collections/{name}/shards/delete", post(keys::delete))
        .route("/collections/{name}/aliases", get(aliases::of))
        .route("/collections/{name}/index", put(indexes::create))
        .route("/collections/{name}/index/{field}", delete(indexes::delete))
        .route(
            "/collections/{name}/points",
            put(points::upsert).post(points::retrieve),
        )
        .route("/collections/{name}/points/count", post(points::count))
        .route("/collections/{name}/points/query", post(query::query))
        .route(
            "/collections/{name}/shards/{shard}/points",
            post(points::retrieve_local),
        )
        .route(
            "/collections/{name}/shards/{shard}/points/count",
            post(points::count_local),
        )
        .route(
            "/collections/{name}/shards/{shard}/points/scroll",
            post(points::scroll_local),
        )
        .route("/collections/{name}/points/scroll", post(points::scroll))
        .route(
            "/collections/{name}/shards/{shard}/snapshot",
            get(snapshots::stream),
        )
        .route(
            "/collections/{name}/shards/{shard}/snapshots/recover",
            put(snapshots::recover),
        )
        .layer(middleware::from_fn_with_state(api.clone(), check_key))
        .layer(DefaultBodyLimit::max(32 << 20))
        .with_state(api)
}

/// The key that a request shows, in either of the two headers.
pub fn given_key(headers: &HeaderMap) -> Option<&str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    header("api-key").or_else(bearer)
}

async fn check_key(State(api): State<Api>, request: Request, next: Next) -> Response {
    let settings = &api.node.settings;
    if !settings.has_key() || OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let key = given_key(request.headers());
    if settings.key_accepted(key) {
        return next.run(request).await;
    }
    let why = match key {
        None => "Must provide an API key or an Authorization bearer token",
        Some(_) => "Invalid API key or JWT",
    };
    (StatusCode::UNAUTHORIZED, why).into_response()
}

async fn root() -> Json<Value> {
    Json(json!({"title": "qdrant - vector search engine", "version": VERSION}))
}

async fn readyz(State(api): State<Api>) -> Response {
    if api.health.poll().await {
        return "all shards are ready".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "some shards are not ready").into_response()
}

/// What a body asks for, or the refusal of one of another shape.
fn body<T: DeserializeOwned>(request: Value) -> Result<T, ApiError> {
    serde_json::from_value(request)
        .map_err(|why| ApiError::bad_request(format!("Format error in JSON body: {why}")))
}

/// Put a result into the envelope.
async fn timed<T: Serialize>(work: impl Future<Output = Result<T, ApiError>>) -> Response {
    let start = Instant::now();
    let result = work.await;
    let time = start.elapsed().as_secs_f64();
    match result {
        Ok(result) => Json(json!({"result": result, "status": "ok", "time": time})).into_response(),
        Err(ApiError { status, message }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (
                status,
                Json(json!({"status": {"error": message}, "time": time})),
            )
                .into_response()
        }
    }
}
