//! What the client makes of refusals, strangers, silence and nobody.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod fake;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use axum::http::HeaderMap;
use fake::{PATIENCE, call, client, fake, fake_result, fake_with_headers};
use qdrant_api::{Error, ErrorKind};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that accepts connections and does with each what `act` says.
async fn raw<F, A>(act: F) -> SocketAddr
where
    F: Fn(tokio::net::TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    address
}

/// The error and all its causes, as a log shows them.
fn chain(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

#[tokio::test]
async fn names_that_would_change_the_call_are_never_sent() {
    let (client, seen) = fake_result(json!(true)).await;
    for name in ["", ".", ".."] {
        let error = client.delete_collection(name).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::BadName { .. }),
            "{error:?}"
        );
        assert!(!error.is_somebody_alive());
    }
    assert_eq!(call(&seen), "");
    assert_eq!(seen.lock().unwrap().body, None);
}

#[tokio::test]
async fn refusals_say_what_whom_and_why() {
    let body =
        r#"{"status":{"error":"Cannot remove peer 7 as there are shards on it"},"time":0.1}"#;
    let (client, _) = fake(400, body).await;
    let error = client.remove_peer(7, false, 3).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "DELETE /cluster/peer/7?force=false&timeout=3 at {}: status 400: Cannot remove peer 7 \
             as there are shards on it",
            client.base()
        )
    );
    assert!(error.is_somebody_alive());
    assert_eq!(error.code(), Some(400));

    let (client, _) = fake(401, "Invalid API key or JWT").await;
    let error = client.cluster().await.unwrap_err();
    assert!(error.is_somebody_alive());
    assert!(
        matches!(error.kind(), ErrorKind::Unauthorized { message } if message == "Invalid API key or JWT"),
        "{error:?}"
    );
    assert!(!format!("{client:?} {error:?}").contains("s3cret"));

    let (client, _) = fake(403, r#"{"status":{"error":"Global access is required"}}"#).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Forbidden { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn strangers_are_alive_but_malformed() {
    for body in ["", "{}", "<html>hello</html>", "[1]", r#"{"result":null}"#] {
        let (client, _) = fake(200, body).await;
        let error = client.cluster().await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Malformed { .. }),
            "{body}: {error:?}"
        );
        assert!(error.is_somebody_alive());
        let chain = chain(&error);
        assert_eq!(chain.len(), 2, "{chain:?}");
        assert!(
            !chain[0].contains(&chain[1]),
            "a cause is told once: {chain:?}"
        );
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (target, seen) = fake_result(json!({ "status": "disabled" })).await;
    let mut headers = HeaderMap::new();
    headers.insert(
        "location",
        format!("{}/cluster", target.base()).parse().unwrap(),
    );
    let (client, _) = fake_with_headers(307, "", headers).await;
    assert_eq!(client.cluster().await.unwrap_err().code(), Some(307));
    assert_eq!(call(&seen), "");
    assert_eq!(
        seen.lock().unwrap().api_key,
        None,
        "the key must not travel on"
    );
}

#[tokio::test]
async fn bodies_are_bounded() {
    let (client, _) = fake(200, vec![b' '; 9 << 20]).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { .. }),
        "{error:?}"
    );
    let (client, _) = fake(401, vec![b'x'; 9 << 20]).await;
    let error = client.cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unauthorized { .. }),
        "{:?}",
        error.code()
    );
    assert!(error.to_string().len() < 1000);
}

#[tokio::test]
async fn a_closed_port_is_refused_and_not_a_timeout() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(address, PATIENCE).cluster().await.unwrap_err();
    assert!(error.is_connect_refused(), "{:?}", chain(&error));
    assert!(!error.is_timeout() && !error.is_somebody_alive());
    assert_eq!(
        error.to_string(),
        format!("GET /cluster at http://{address}: no answer")
    );
}

#[tokio::test]
async fn silence_is_a_timeout_and_nobody() {
    let address = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let error = client(address, Duration::from_millis(100))
        .cluster()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{:?}", chain(&error));
    assert!(!error.is_connect_refused() && !error.is_somebody_alive());
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_of_somebody() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let error = client(address, Duration::from_millis(500))
        .cluster()
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{:?}", chain(&error));
    assert!(error.is_somebody_alive());
    assert_eq!(error.code(), Some(200));
}

#[tokio::test]
async fn something_that_is_not_http_is_unreachable() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"220 mail ready\r\n").await;
    })
    .await;
    let error = client(address, PATIENCE).cluster().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!error.is_connect_refused() && !error.is_timeout() && !error.is_somebody_alive());
}

#[tokio::test]
async fn a_removal_may_take_its_own_timeout_on_top() {
    let address = raw(|mut stream| async move {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        // Later than the client's own timeout, well within that of the removal.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let body = r#"{"result":true,"status":"ok","time":0.1}"#;
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let client = client(address, Duration::from_millis(200));
    client.remove_peer(7, false, 10).await.unwrap();
    assert!(client.recover().await.unwrap_err().is_timeout());
}
