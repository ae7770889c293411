//! The endpoint in every mood. It is a real one on loopback.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const HELD: &str = r#"{"protection":{"ExpirationDate":"2022-10-06T02:29:16Z",
    "ProtectionEnabled":true,"TaskArn":"arn:aws:ecs:eu-central-1:111122223333:task/x/y"}}"#;
const OFF: &str =
    r#"{"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"arn"}}"#;

type Bodies = Arc<Mutex<Vec<String>>>;

/// Answers every request with this, and keeps what it was sent.
async fn agent(status: StatusCode, body: &'static str) -> (Endpoint, Bodies) {
    let bodies = Bodies::default();
    let kept = bodies.clone();
    let answer = put(move |headers: HeaderMap, sent: String| async move {
        assert_eq!(headers["content-type"], "application/json");
        kept.lock().unwrap().push(sent);
        (status, body)
    });
    let routes = Router::new().route("/api/id/task-protection/v1/state", answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (endpoint(&format!("http://{at}/api/id")), bodies)
}

fn endpoint(agent: &str) -> Endpoint {
    Endpoint::new(&agent.parse().unwrap()).unwrap()
}

/// Takes one connection, reads the request and writes these bytes; then hangs up, or does not.
async fn raw(bytes: &'static [u8], hang: bool) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        stream.write_all(bytes).await.unwrap();
        if hang {
            std::future::pending::<()>().await;
        }
    });
    endpoint(&format!("http://{at}/"))
}

async fn protect(status: u16, body: &'static str) -> Result<(), ProtectionError> {
    let (agent, _) = agent(StatusCode::from_u16(status).unwrap(), body).await;
    agent.protect(10).await
}

#[tokio::test]
async fn it_is_asked_with_exactly_its_own_keys() {
    let (agent, bodies) = agent(StatusCode::OK, HELD).await;
    agent.protect(10).await.unwrap();
    // It confirms the opposite of what is asked now.
    assert!(matches!(
        agent.release().await,
        Err(ProtectionError::Strange { .. })
    ));
    assert_eq!(
        *bodies.lock().unwrap(),
        [
            r#"{"ProtectionEnabled":true,"ExpiresInMinutes":10}"#,
            r#"{"ProtectionEnabled":false}"#
        ]
    );
}

#[tokio::test]
async fn giving_back_needs_no_date() {
    let (agent, _) = agent(StatusCode::OK, OFF).await;
    agent.release().await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_who_and_why() {
    let blocked = protect(
        200,
        r#"{"failure":{"Arn":"arn","Detail":null,"Reason":"DEPLOYMENT_BLOCKED"}}"#,
    );
    let blocked = blocked.await.unwrap_err();
    assert!(blocked.is_blocked());
    assert_eq!(blocked.to_string(), "ECS refuses: DEPLOYMENT_BLOCKED");
    for (status, body, says) in [
        (
            200,
            r#"{"failure":{"Arn":"arn","Detail":"it stops","Reason":"TASK_NOT_VALID"}}"#,
            "ECS refuses: TASK_NOT_VALID: it stops",
        ),
        (
            400,
            r#"{"requestID":"r","error":{"Arn":"a","Code":"AccessDeniedException","Message":"no\nway"}}"#,
            "ECS refuses: AccessDeniedException: no\\nway",
        ),
        (
            403,
            r#"{"error":{"Code":"AccessDeniedException","Message":""}}"#,
            "ECS refuses: AccessDeniedException",
        ),
        (
            500,
            r#"{"requestID":"r","error":{"Arn":"a","Code":"RequestCanceled","Message":"Timed out calling ECS Task Protection API"}}"#,
            "ECS refuses: RequestCanceled: Timed out calling ECS Task Protection API",
        ),
    ] {
        let error = protect(status, body).await.unwrap_err();
        assert_eq!(error.to_string(), says);
        assert!(!error.is_blocked());
    }
}

#[tokio::test]
async fn anything_else_is_no_confirmation() {
    for (status, body) in [
        (200, ""),
        (200, "{}"),
        (200, "protected"),
        (200, "[]"),
        (200, r#"{"protection":{"ProtectionEnabled":true}}"#),
        (
            200,
            r#"{"protection":{"ProtectionEnabled":true,"ExpirationDate":"soon"}}"#,
        ),
        (
            200,
            r#"{"protection":{"ProtectionEnabled":"yes","ExpirationDate":"2022-10-06T02:29:16Z"}}"#,
        ),
        (200, OFF),
        (
            200,
            r#"{"protection":{"ProtectionEnabled":true,"ExpirationDate":"2022-10-06T02:29:16Z"},
                "failure":{"Reason":"DEPLOYMENT_BLOCKED"}}"#,
        ),
        (500, HELD),
        (404, "404 page not found"),
    ] {
        let answer = protect(status, body).await;
        assert!(
            matches!(answer, Err(ProtectionError::Strange { .. })),
            "{body}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn half_an_answer_or_none_is_none() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{\"protection\":";
    for agent in [
        raw(cut, false).await,
        raw(b"", false).await,
        endpoint("http://127.0.0.1:1"),
    ] {
        let answer = agent.protect(10).await;
        assert!(
            matches!(answer, Err(ProtectionError::Unreachable(_))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_not_waited_for() {
    let began = std::time::Instant::now();
    let answer = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{", true).await;
    let answer = answer.protect(10).await;
    assert!(
        matches!(answer, Err(ProtectionError::Unreachable(_))),
        "{answer:?}"
    );
    assert!(began.elapsed() < LIMIT * 2);
}

proptest! {
    /// Whatever the bytes: only a confirmation confirms.
    #[test]
    fn no_bytes_are_taken_for_a_confirmation(bytes: Vec<u8>, on: bool) {
        prop_assert!(read(StatusCode::OK, &bytes, on).is_err());
    }

    #[test]
    fn a_confirmation_that_is_cut_off_confirms_nothing(at in 0..HELD.len()) {
        prop_assert!(read(StatusCode::OK, &HELD.as_bytes()[..at], true).is_err());
    }
}
