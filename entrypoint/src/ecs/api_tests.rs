//! The one call of the ECS API, against a server on loopback that reads what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use super::*;
use crate::identity::IdentitySource;

const SERVICE: &str = r#"{"services":[{"serviceName":"vectors","status":"ACTIVE","desiredCount":6,
    "runningCount":5,"deployments":[
        {"status":"ACTIVE","taskDefinition":"arn:aws:ecs:eu-central-1:1:task-definition/qdrant:16"},
        {"status":"PRIMARY","taskDefinition":"arn:aws:ecs:eu-central-1:1:task-definition/qdrant:17"}
    ],"events":[]}],"failures":[]}"#;
const KEYS: &str = r#"{"RoleArn":"r","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"s3cr3t",
    "Token":"t0ken","Expiration":"2026-11-26T12:00:00Z"}"#;

type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

fn identity() -> Identity {
    Identity {
        task: "t".to_owned(),
        address: "10.0.0.1".parse().unwrap(),
        zone: None,
        revision: None,
        created: None,
        service: "our-name-for-it".to_owned(),
        ecs_service: Some("vectors".to_owned()),
        task_arn: Some("arn:aws:ecs:eu-central-1:111122223333:task/search/t".to_owned()),
        cluster: Some("arn:aws:ecs:eu-central-1:111122223333:cluster/search".to_owned()),
        source: IdentitySource::Metadata,
    }
}

fn config(entries: &[(&str, &str)]) -> Config {
    let map: BTreeMap<_, _> = entries.iter().copied().collect();
    Config::from_env(&map).unwrap()
}

/// A server with these answers, and the API that asks it.
async fn api(status: u16, body: &'static str, keys: (u16, &'static str)) -> (Api, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let status = StatusCode::from_u16(status).unwrap();
    let keys = (StatusCode::from_u16(keys.0).unwrap(), keys.1);
    let routes = Router::new()
        .route(
            "/",
            post(move |headers: HeaderMap, body_sent: String| async move {
                kept.lock().unwrap().push((headers, body_sent));
                (status, body)
            }),
        )
        .route("/keys", get(move || async move { keys }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let api = Api::new(
        &config(&[
            ("AWS_ENDPOINT_URL_ECS", &base),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                &format!("{base}/keys"),
            ),
        ]),
        &identity(),
    );
    (api.unwrap(), seen)
}

async fn ask(api: Api) -> Result<WantedService, ApiError> {
    tokio::task::spawn_blocking(move || api.wanted())
        .await
        .unwrap()
}

#[tokio::test]
async fn it_asks_for_our_service_signed_and_reads_the_primary_deployment() {
    let (api, seen) = api(200, SERVICE, (200, KEYS)).await;
    let wanted = ask(api).await.unwrap();
    assert_eq!((wanted.revision.as_str(), wanted.tasks), ("qdrant:17", 6));
    let seen = seen.lock().unwrap();
    let [(headers, body)] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        *body,
        r#"{"cluster":"arn:aws:ecs:eu-central-1:111122223333:cluster/search","services":["vectors"]}"#
    );
    assert_eq!(headers["x-amz-target"], TARGET);
    assert_eq!(headers["content-type"], CONTENT_TYPE);
    assert_eq!(headers["x-amz-security-token"], "t0ken");
    let signature = headers["authorization"].to_str().unwrap();
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{signature}"
    );
    assert!(
        signature.contains("/eu-central-1/ecs/aws4_request"),
        "{signature}"
    );
    assert!(
        signature.contains("SignedHeaders=content-type;host;x-amz-date;"),
        "{signature}"
    );
    assert!(!signature.contains("s3cr3t"));
}

#[tokio::test]
async fn what_it_refuses_has_its_reason() {
    let denied =
        r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}"#;
    let (api, _) = api(400, denied, (200, KEYS)).await;
    assert_eq!(
        ask(api).await.unwrap_err().to_string(),
        "the API of ECS refuses: AccessDeniedException: not authorized"
    );
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_said_without_them() {
    for keys in [
        (500, "no"),
        (200, "{"),
        (200, r#"{"AccessKeyId":"a","SecretAccessKey":7}"#),
    ] {
        let (api, seen) = api(200, SERVICE, keys).await;
        let error = ask(api).await.unwrap_err();
        assert!(matches!(error, ApiError::Credentials(_)), "{error}");
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let entries = [
        ("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let api = Api::new(&config(&entries), &identity()).unwrap();
    assert!(matches!(ask(api).await, Err(ApiError::Unreachable(_))));
}

#[test]
fn what_is_not_one_active_service_of_our_name_is_strange() {
    let strange = |text: &str| {
        let answer = read(200, text, "vectors");
        assert!(
            matches!(answer, Err(ApiError::Strange(_))),
            "{text}: {answer:?}"
        );
    };
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"services":[],"failures":[{"reason":"MISSING"}]}"#,
    ] {
        strange(text);
    }
    strange(&SERVICE.replace("vectors", "others"));
    strange(&SERVICE.replace(
        "\"status\":\"ACTIVE\",\"desired",
        "\"status\":\"INACTIVE\",\"desired",
    ));
    strange(&SERVICE.replace("PRIMARY", "ACTIVE"));
    strange(&SERVICE.replace(
        "\"status\":\"ACTIVE\",\"task",
        "\"status\":\"PRIMARY\",\"task",
    ));
    strange(&SERVICE.replace("qdrant:17", "qdrant"));
    strange(&SERVICE.replace("\"desiredCount\":6", "\"desiredCount\":-1"));
    for at in 0..SERVICE.len() {
        strange(&SERVICE[..at]);
    }
    assert!(matches!(
        read(503, "busy", "vectors"),
        Err(ApiError::Strange(_))
    ));
    let none = read(200, &SERVICE.replace("Count\":6", "Count\":0"), "vectors");
    assert_eq!(none.unwrap().tasks, 0);
}

#[test]
fn it_is_off_where_something_is_missing() {
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    assert!(Api::new(&config(&keys), &identity()).is_ok());
    assert!(Api::new(&config(&[]), &identity()).is_err());
    let off = [keys[0], keys[1], ("ENTRYPOINT_ECS_API", "off")];
    assert!(Api::new(&config(&off), &identity()).is_err());
    type Change = fn(&mut Identity);
    let changes: [Change; 3] = [
        |identity| identity.ecs_service = None,
        |identity| identity.cluster = None,
        |identity| identity.task_arn = None,
    ];
    for change in changes {
        let mut identity = identity();
        change(&mut identity);
        assert!(Api::new(&config(&keys), &identity).is_err());
    }
    let https = Api::new(&config(&keys), &identity()).unwrap();
    assert_eq!(https.endpoint, "https://ecs.eu-central-1.amazonaws.com");
    let relative = [(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "/v2/credentials/x",
    )];
    let relative = Api::new(&config(&relative), &identity()).unwrap();
    assert!(
        matches!(&relative.source, Source::Url(url, None) if url == "http://169.254.170.2/v2/credentials/x")
    );
}

/// The same request at the same time is signed the same way, and every part of it counts.
#[test]
fn the_signature_covers_the_body_and_the_time() {
    let entries = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let api = Api::new(&config(&entries), &identity()).unwrap();
    let keys = api.keys().unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let sign = |body, at| api.signature(&keys, "https://ecs/", body, at).unwrap();
    assert_eq!(sign("{}", at), sign("{}", at));
    assert_ne!(sign("{}", at), sign("{ }", at));
    assert_ne!(sign("{}", at), sign("{}", at + Duration::from_secs(1)));
}

#[test]
fn it_is_full_when_one_task_has_to_end_before_another_can_begin() {
    let full = |maximum: u32, old: (u32, u32), new: (u32, u32)| {
        let deployment = |status: &str, revision: u32, (running, pending): (u32, u32)| {
            serde_json::json!({
                "status": status,
                "taskDefinition": format!("arn:aws:ecs:eu-central-1:1:task-definition/qdrant:{revision}"),
                "runningCount": running,
                "pendingCount": pending,
            })
        };
        let described = serde_json::json!({"services": [{
            "serviceName": "vectors",
            "status": "ACTIVE",
            "desiredCount": 6,
            "deploymentConfiguration": {"maximumPercent": maximum, "minimumHealthyPercent": 83},
            "deployments": [deployment("PRIMARY", 17, new), deployment("ACTIVE", 16, old)],
        }]});
        read(200, &described.to_string(), "vectors").unwrap().full
    };
    assert!(full(100, (6, 0), (0, 0)));
    assert!(full(100, (4, 0), (2, 0)));
    // 6.96 tasks: rounded down.
    assert!(full(116, (6, 0), (0, 0)));
    // One is on its way, or has a place.
    assert!(!full(100, (5, 0), (0, 1)));
    assert!(!full(100, (5, 0), (0, 0)));
    assert!(!full(117, (6, 0), (0, 0)));
    assert!(!full(117, (6, 0), (1, 0)));
    // Nothing is missing.
    assert!(!full(100, (0, 0), (6, 0)));
    // An answer that does not say it all.
    assert!(!read(200, SERVICE, "vectors").unwrap().full);
}
