//! The port between peers: consensus messages, joining, and writes and reads of shards.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::data::remote::{CommitReply, ReadReply, ReadRequest, UpsertRequest};
use super::error::ApiError;
use super::join::{self, JoinReply, JoinRequest};
use super::node::{META_OP_WAIT, Node};
use super::raft::message::Message;
use super::{data, rest};

type Answer<T> = Result<Json<T>, Refusal>;

/// An error as a peer reads it.
pub struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        (
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Json(self.0),
        )
            .into_response()
    }
}

/// The routes of the p2p port.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/raft", post(raft))
        .route("/join", post(admit))
        .route("/whois", post(who_is))
        .route("/commit", post(commit))
        .route("/upsert", post(upsert))
        .route("/read", post(read))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), check_key))
        .layer(DefaultBodyLimit::max(1 << 30))
        .with_state(node)
}

async fn check_key(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let settings = &node.settings;
    if settings.enforce_internal_auth
        && settings.has_key()
        && !settings.key_accepted(rest::given_key(request.headers()))
    {
        let message = "Unauthenticated, message: Invalid API key or JWT".to_owned();
        return Refusal(ApiError {
            status: 401,
            message,
        })
        .into_response();
    }
    next.run(request).await
}

async fn raft(State(node): State<Arc<Node>>, Json(batch): Json<Vec<Message>>) -> Answer<()> {
    node.change(|inner| {
        if inner.stopped.is_some() {
            return Err(ApiError::service("Can't send Raft message over channel"));
        }
        for message in batch {
            inner.raft.step(message);
        }
        Ok(())
    })?;
    Ok(Json(()))
}

async fn admit(State(node): State<Arc<Node>>, Json(who): Json<JoinRequest>) -> Answer<JoinReply> {
    Ok(Json(join::admit(&node, who).await?))
}

async fn who_is(State(node): State<Arc<Node>>, Json(id): Json<u64>) -> Answer<String> {
    let uri = node.read(|inner| inner.model.peers.get(&id).cloned());
    Ok(Json(
        uri.ok_or_else(|| ApiError::service("Peer not found"))?,
    ))
}

/// Our commit index; with an index, only once that is applied here (at most 10 s).
async fn commit(State(node): State<Arc<Node>>, Json(at): Json<Option<u64>>) -> Answer<CommitReply> {
    if let Some(at) = at {
        let mut applied = node.applied.subscribe();
        let reached = applied.wait_for(|now| *now >= at);
        if tokio::time::timeout(META_OP_WAIT, reached).await.is_err() {
            return Err(ApiError::service(format!("commit {at} not reached")).into());
        }
    }
    Ok(Json(CommitReply {
        commit: node.read(|inner| inner.raft.commit),
    }))
}

async fn upsert(State(node): State<Arc<Node>>, Json(what): Json<UpsertRequest>) -> Answer<()> {
    data::upsert_local(&node, &what).await?;
    Ok(Json(()))
}

async fn read(State(node): State<Arc<Node>>, Json(what): Json<ReadRequest>) -> Answer<ReadReply> {
    Ok(Json(data::read_local(&node, &what)?))
}
