//! Asking a metadata endpoint that is late, broken or lies. The endpoint is a real one on loopback.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::StatusCode, routing::get};
use serde_json::json;

use super::*;
use crate::{config::Config, identity::discover, identity::metadata::tests::sample};

const AMPLE: Duration = Duration::from_secs(30);

/// For what never becomes usable: long enough for two answers on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// Serves `/task` from `answers` in turn, the last one for ever, and `bare` at the bare URI. Gives the
/// URI and the count of questions to `/task`.
async fn endpoint(
    answers: Vec<(StatusCode, String)>,
    bare: serde_json::Value,
) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let app = Router::new()
        .route("/v4/id", get(async move || bare.to_string()))
        .route(
            "/v4/id/task",
            get(async move || {
                let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                answers[turn].clone()
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/v4/id"), asked)
}

async fn ask_at(uri: &str, limit: Duration) -> Result<Identity, IdentityError> {
    let map = BTreeMap::from([("ECS_CONTAINER_METADATA_URI_V4", uri)]);
    let config = Config::from_env(&map).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    discover(&config, &http, limit).await
}

fn good(address: &str) -> (StatusCode, String) {
    (StatusCode::OK, sample(address).to_string())
}

#[tokio::test]
async fn incomplete_answers_are_asked_for_again() {
    let (_, mut cut) = good("127.0.1.9");
    cut.truncate(700);
    let mut early = sample("127.0.1.9");
    early["KnownStatus"] = json!("NONE");
    early["Containers"][1]["Networks"] = json!(null);
    let answers = vec![
        (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        (StatusCode::OK, early.to_string()),
        (StatusCode::OK, cut),
        good("127.0.1.9"),
    ];
    let (uri, asked) = endpoint(answers, json!({})).await;
    let identity = ask_at(&uri, AMPLE).await.unwrap();
    assert_eq!(identity.address.to_string(), "127.0.1.9");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_uri_is_no_harm() {
    let (uri, _) = endpoint(vec![good("127.0.1.9")], json!({})).await;
    assert!(ask_at(&format!("{uri}/"), AMPLE).await.is_ok());
}

#[tokio::test]
async fn the_limit_ends_with_what_was_last_wrong() {
    let mut early = sample("127.0.1.9");
    early["Containers"][1]["Networks"] = json!([]);
    let (uri, asked) = endpoint(vec![(StatusCode::OK, early.to_string())], json!({})).await;
    let error = ask_at(&uri, SHORT).await.unwrap_err();
    let tries = asked.load(Ordering::SeqCst);
    assert!(tries > 1);
    let line = error.to_string();
    let start =
        format!("no usable task metadata from {uri}/task after {tries} tries: the answer has no");
    assert!(line.starts_with(&start), "{line}");
}

#[tokio::test]
async fn an_address_of_nobody_here_is_refused() {
    // TEST-NET-1: no machine has it.
    let (uri, _) = endpoint(vec![good("192.0.2.1")], json!({})).await;
    let line = ask_at(&uri, SHORT).await.unwrap_err().to_string();
    assert!(
        line.contains("no network interface of this machine has the address"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn a_wrong_shape_is_refused_at_once() {
    let (uri, asked) = endpoint(vec![(StatusCode::OK, "[]".to_owned())], json!({})).await;
    let error = ask_at(&uri, AMPLE).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let huge = (StatusCode::OK, " ".repeat(LONGEST + 1));
    let (uri, asked) = endpoint(vec![huge], json!({})).await;
    let line = ask_at(&uri, AMPLE).await.unwrap_err().to_string();
    assert!(line.contains("longer than 524288 bytes"), "{line}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn different_addresses_are_told_apart_by_the_bare_uri() {
    let mut task = sample("127.0.1.9");
    let mut other = task["Containers"][1].clone();
    let own = other.clone();
    other["DockerId"] = json!("sidecar");
    other["Networks"][0]["IPv4Addresses"] = json!(["127.0.1.8"]);
    task["Containers"].as_array_mut().unwrap().insert(0, other);
    let (uri, _) = endpoint(vec![(StatusCode::OK, task.to_string())], own).await;
    let identity = ask_at(&uri, AMPLE).await.unwrap();
    assert_eq!(identity.address.to_string(), "127.0.1.9");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_costs_only_the_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel accepts; nobody reads.
    let line = ask_at(&format!("http://{address}/v4/id"), SHORT).await;
    let line = line.unwrap_err().to_string();
    assert!(line.contains("no answer in time"), "{line}");
    drop(listener);
    let line = ask_at(&format!("http://{address}/v4/id"), SHORT).await;
    let line = line.unwrap_err().to_string();
    assert!(line.contains("refused"), "{line}");
}

#[tokio::test]
async fn outside_ecs_the_environment_is_enough() {
    let map = BTreeMap::from([
        ("ENTRYPOINT_ADDRESS", "127.0.1.1"),
        ("ENTRYPOINT_TASK_ID", "one"),
    ]);
    let config = Config::from_env(&map).unwrap();
    let identity = discover(&config, &reqwest::Client::new(), AMPLE)
        .await
        .unwrap();
    assert_eq!(
        (identity.task.as_str(), identity.service.as_str()),
        ("one", "qdrant")
    );
    assert_eq!(identity.address.to_string(), "127.0.1.1");
    assert_eq!((identity.zone, identity.task_arn), (None, None));
}
