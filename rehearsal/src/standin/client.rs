//! Calls to another stand-in's p2p port: JSON over HTTP/1.1 with the api key.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::node::Node;
use super::settings::Settings;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("Failed to create timeout channel: {uri}")]
    Connect {
        /// Whom we called.
        uri: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer, or none that can be read.
    #[error("no answer from {uri}: {source}")]
    Answer {
        /// Whom we called.
        uri: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It refused.
    #[error("status: {0}")]
    Refused(ApiError),
}

/// A client with Qdrant's time-out for connections.
pub fn new(connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(connect)
        .no_proxy()
        .build()
}

/// Call a peer, with the client and key of this node.
pub async fn post<T: Serialize + ?Sized, R: DeserializeOwned>(
    node: &Node,
    uri: &str,
    path: &str,
    body: &T,
    timeout: Duration,
) -> Result<R, CallError> {
    post_with(&node.client, &node.settings, uri, path, body, timeout).await
}

/// Call a peer before there is a node.
pub async fn post_with<T: Serialize + ?Sized, R: DeserializeOwned>(
    client: &reqwest::Client,
    settings: &Settings,
    uri: &str,
    path: &str,
    body: &T,
    timeout: Duration,
) -> Result<R, CallError> {
    let mut request = client
        .post(format!("{uri}{path}"))
        .json(body)
        .timeout(timeout);
    if let Some(key) = &settings.api_key {
        request = request.header("api-key", key);
    }
    let answered = |source| CallError::Answer {
        uri: uri.to_owned(),
        source,
    };
    let response = request.send().await.map_err(|source| {
        if source.is_connect() {
            CallError::Connect {
                uri: uri.to_owned(),
                source,
            }
        } else {
            answered(source)
        }
    })?;
    if response.status().is_success() {
        return response.json().await.map_err(answered);
    }
    let status = response.status().as_u16();
    let text = response.text().await.map_err(answered)?;
    let unreadable = |_| ApiError {
        status,
        message: text.clone(),
    };
    Err(CallError::Refused(
        serde_json::from_str(&text).unwrap_or_else(unreadable),
    ))
}
