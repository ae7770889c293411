//! Streams of shards: that a body which ends or breaks off is told apart, that silence is bounded,
//! and what is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod fake;

use std::time::{Duration, Instant};

use fake::{PATIENCE, call, client, fake, fake_result};
use qdrant_api::{ErrorKind, Recovery, ShardStream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

async fn all(mut stream: ShardStream) -> Result<Vec<u8>, qdrant_api::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.piece().await? {
        bytes.extend_from_slice(piece.as_ref());
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_stream_gives_the_body_longer_than_any_other_answer_may_be() {
    let body = vec![7_u8; 20 << 20];
    let (client, seen) = fake(200, body.clone()).await;
    let stream = client.stream_shard("a b", 3).await.unwrap();
    assert_eq!(all(stream).await.unwrap(), body);
    assert_eq!(call(&seen), "GET /collections/a%20b/shards/3/snapshot");
    assert_eq!(seen.lock().unwrap().api_key.as_deref(), Some("s3cret"));
}

#[tokio::test]
async fn a_refusal_is_no_stream() {
    let error = json!({"status": {"error": "Wrong input: Shard 0 is not a local shard"}});
    let (client, _) = fake(400, error.to_string()).await;
    let error = client.stream_shard("c", 0).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Status { code: 400, message } if message.contains("not a local")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error_and_one_that_does_not_begin_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert_ne!(length, 0);
            if connection == 0 {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.";
                stream.write_all(head.as_bytes()).await.unwrap();
            } else {
                silent.push(stream);
            }
        }
    });
    let broken = client(address, PATIENCE).stream_shard("c", 0).await;
    let error = all(broken.unwrap()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Interrupted { code: 200, .. }),
        "{error:?}"
    );
    let began = Instant::now();
    let short = Duration::from_millis(300);
    let late = client(address, short).stream_shard("c", 0).await;
    let error = late.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Late { limit } if *limit == short));
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_recovery_says_where_the_file_is_and_takes_only_done_for_done() {
    let from = Recovery {
        location: "http://127.0.0.1:6336/file".to_owned(),
        sha256: "ab".repeat(32),
        api_key: Some("k".to_owned()),
    };
    let (client, seen) = fake_result(json!(true)).await;
    client
        .recover_shard("c", 1, &from, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(
        call(&seen),
        "PUT /collections/c/shards/1/snapshots/recover?wait=true"
    );
    let body = json!({
        "location": from.location,
        "checksum": from.sha256,
        "priority": "no_sync",
        "api_key": "k",
    });
    assert_eq!(seen.lock().unwrap().body, Some(body));

    let (client, _) = fake_result(json!(false)).await;
    let error = client.recover_shard("c", 1, &from, Duration::ZERO).await;
    assert!(matches!(
        error.unwrap_err().kind(),
        ErrorKind::NotDone { .. }
    ));
}
