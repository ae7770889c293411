//! A small server on loopback that gives one answer to everything and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use qdrant_api::{ApiKey, Client};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the server was asked last.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub call: String,
    pub api_key: Option<String>,
    pub body: Option<Value>,
}

#[derive(Clone)]
struct Fake {
    code: StatusCode,
    answer: Bytes,
    headers: HeaderMap,
    seen: Arc<Mutex<Seen>>,
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    *fake.seen.lock().unwrap() = Seen {
        call: format!("{} {}", parts.method, parts.uri),
        api_key: parts
            .headers
            .get("api-key")
            .map(|key| key.to_str().unwrap().to_owned()),
        body: (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap()),
    };
    let mut response = Response::new(Body::from(fake.answer.clone()));
    *response.status_mut() = fake.code;
    *response.headers_mut() = fake.headers.clone();
    response
}

/// Starts a server that gives one answer to everything.
pub async fn fake(code: u16, answer_with: impl Into<Bytes>) -> (Client, Arc<Mutex<Seen>>) {
    fake_with_headers(code, answer_with, HeaderMap::new()).await
}

pub async fn fake_with_headers(
    code: u16,
    answer_with: impl Into<Bytes>,
    headers: HeaderMap,
) -> (Client, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let state = Fake {
        code: StatusCode::from_u16(code).unwrap(),
        answer: answer_with.into(),
        headers,
        seen: Arc::clone(&seen),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move { axum::serve(listener, server).await });
    (client(address, PATIENCE), seen)
}

/// A fake whose answer is `result` in Qdrant's envelope.
pub async fn fake_result(result: Value) -> (Client, Arc<Mutex<Seen>>) {
    fake(
        200,
        json!({ "result": result, "status": "ok", "time": 0.000_04 }).to_string(),
    )
    .await
}

pub fn client(address: SocketAddr, timeout: Duration) -> Client {
    let key = ApiKey::new("s3cret").unwrap();
    Client::new(address.try_into().unwrap(), Some(key), timeout).unwrap()
}

pub fn call(seen: &Arc<Mutex<Seen>>) -> String {
    seen.lock().unwrap().call.clone()
}
