//! The control port: `/livez`, `/readyz`, `/v1/status`, `/v1/hello`. Reads the board, changes
//! nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Secret;
use crate::status::Board;

/// What the handlers share.
#[derive(Clone, Debug)]
struct Shared {
    board: watch::Receiver<Board>,
    keys: Arc<[Secret]>,
    patience: Duration,
}

/// Serves the control port until the process ends. `keys` are Qdrant's own API keys; without any,
/// `/v1` is open, as Qdrant is.
pub async fn serve(
    listener: TcpListener,
    board: watch::Receiver<Board>,
    keys: Vec<Secret>,
    patience: Duration,
) -> std::io::Result<()> {
    axum::serve(listener, router(board, keys, patience)).await
}

/// Binds the control port.
pub async fn bind(at: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(at).await
}

fn router(board: watch::Receiver<Board>, keys: Vec<Secret>, patience: Duration) -> Router {
    let shared = Shared { board, keys: keys.into(), patience };
    let private = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/hello", get(hello))
        .layer(middleware::from_fn_with_state(shared.clone(), authorize));
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(private)
        .with_state(shared)
}

/// Both keys are taken, so that a key can be changed while tasks with the old one still live.
async fn authorize(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let given = presented(request.headers());
    let allowed = shared.keys.is_empty()
        || given.is_some_and(|given| shared.keys.iter().any(|key| key.matches(given)));
    if allowed {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, "this needs Qdrant's API key in the header api-key\n").into_response()
}

/// `api-key: …` or `Authorization: Bearer …`, as Qdrant takes them.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("api-key") {
        return Some(key.as_bytes());
    }
    headers.get("authorization")?.as_bytes().strip_prefix(b"Bearer ")
}

async fn livez(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.board.borrow().is_alive(shared.patience) {
        true => (StatusCode::OK, "alive\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the loop of PID 1 has stopped turning\n"),
    }
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let board = shared.board.borrow();
    let code = match board.status.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{}\n", board.status.ready_reason))
}

async fn status(State(shared): State<Shared>) -> Response {
    Json(&shared.board.borrow().status).into_response()
}

async fn hello(State(shared): State<Shared>) -> Response {
    Json(shared.board.borrow().hello()).into_response()
}
