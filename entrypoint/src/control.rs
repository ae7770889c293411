//! The control port: `/livez`, `/readyz`, `/metrics`, `/v1/status`, `/v1/hello`, `/v1/plan`, `/v1/pause`,
//! `/v1/restores`, and the files below `/v1/sets`. Reads the board; of all that it is asked for, only a
//! pause and requests for a set or a restore change anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use qdrant_api::Client;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Secret;
use crate::events;
use crate::keep::asked::{self, Asking, NotTaken};
use crate::keep::lend::{self, Lender};
use crate::keep::restore_request::{self, Restoring};
use crate::knocks::Knocks;
use crate::metrics;
use crate::status::Board;
use crate::steward::pause::{self, PauseError};

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    board: watch::Receiver<Board>,
    keys: Arc<[Secret]>,
    patience: Duration,
    /// Asks our own Qdrant.
    qdrant: Client,
    knocks: Knocks,
    sets: Sets,
}

/// What is asked of this task about sets.
#[derive(Clone)]
pub struct Sets {
    /// Gives files of sets.
    pub lender: Lender,
    /// Takes requests for sets by hand.
    pub asking: Asking,
    /// Takes requests for restores.
    pub restoring: Restoring,
}

/// Serves the control port until the process ends. `keys` are Qdrant's own API keys; without any,
/// `/v1` is open, as Qdrant is.
pub async fn serve(
    listener: TcpListener,
    board: watch::Receiver<Board>,
    keys: Vec<Secret>,
    patience: Duration,
    qdrant: Client,
    knocks: Knocks,
    sets: Sets,
) -> std::io::Result<()> {
    let shared = Shared {
        board,
        keys: keys.into(),
        patience,
        qdrant,
        knocks,
        sets,
    };
    axum::serve(listener, router(shared)).await
}

/// Binds the control port.
pub async fn bind(at: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(at).await
}

fn router(shared: Shared) -> Router {
    let private = Router::new()
        .route("/metrics", get(meters))
        .route("/v1/status", get(status))
        .route("/v1/hello", get(hello))
        .route("/v1/plan", get(plan))
        .route("/v1/pause", post(set_pause).delete(end_pause))
        .route("/v1/sets", get(asked_set).post(ask_set))
        .route(
            "/v1/restores",
            get(restores).post(ask_restore).delete(call_off_restore),
        )
        .route(lend::ROUTE, get(file_of_a_set))
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
    (
        StatusCode::UNAUTHORIZED,
        "this needs Qdrant's API key in the header api-key\n",
    )
        .into_response()
}

/// `api-key: …` or `Authorization: Bearer …`, as Qdrant takes them.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("api-key") {
        return Some(key.as_bytes());
    }
    headers
        .get("authorization")?
        .as_bytes()
        .strip_prefix(b"Bearer ")
}

async fn livez(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.board.borrow().is_alive(shared.patience) {
        true => (StatusCode::OK, "alive\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the loop of PID 1 has stopped turning\n",
        ),
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

async fn meters(State(shared): State<Shared>) -> Response {
    let written = metrics::text(&shared.board.borrow().status, Timestamp::now());
    match written {
        Ok(text) => ([(CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response(),
        Err(error) => {
            let why = crate::log::chain(&error);
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response()
        }
    }
}

async fn plan(State(shared): State<Shared>) -> Response {
    let board = shared.board.borrow();
    let mut plan = board.status.plan.clone();
    if let Some(plan) = plan.as_object_mut() {
        plan.insert("divergence".to_owned(), board.status.divergence.clone());
    }
    Json(plan).into_response()
}

async fn set_pause(
    State(shared): State<Shared>,
    Json(request): Json<pause::Request>,
) -> (StatusCode, String) {
    let (owner, reason) = (request.owner.clone(), request.reason.clone());
    match pause::set(&shared.qdrant, request).await {
        Ok(until) => {
            tracing::warn!(event = events::PAUSED, owner, "{reason} (until {until})");
            (StatusCode::OK, format!("paused until {until}\n"))
        }
        Err(error) => refused(&error),
    }
}

async fn end_pause(State(shared): State<Shared>) -> (StatusCode, String) {
    match pause::end(&shared.qdrant).await {
        Ok(()) => {
            tracing::info!(event = events::RESUMED, "the steward may act again");
            (StatusCode::OK, "resumed\n".to_owned())
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &PauseError) -> (StatusCode, String) {
    let code = match error {
        PauseError::Bad(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{}\n", crate::log::chain(error)))
}

/// The question of `/v1/hello`.
#[derive(Debug, Deserialize)]
struct Question {
    /// Who asks, when that task waits for the steward.
    waits: Option<IpAddr>,
}

async fn hello(State(shared): State<Shared>, Query(question): Query<Question>) -> Response {
    if let Some(address) = question.waits {
        shared.knocks.knock(address);
    }
    Json(shared.board.borrow().hello()).into_response()
}

async fn ask_set(State(shared): State<Shared>, Json(wish): Json<asked::Wish>) -> Response {
    match shared.sets.asking.take(wish).await {
        Ok(record) => {
            let (by, token) = (&record.by, &record.token);
            tracing::info!(event = events::SET_ASKED, %token, "by {by}: {:?}", record.scope);
            (StatusCode::ACCEPTED, Json(record)).into_response()
        }
        Err(error) => not_taken(&error),
    }
}

async fn asked_set(State(shared): State<Shared>) -> Response {
    match shared.sets.asking.waiting().await {
        Ok(record) => Json(record).into_response(),
        Err(error) => not_taken(&error),
    }
}

fn not_taken(error: &NotTaken) -> Response {
    (error.code(), format!("{}\n", crate::log::chain(error))).into_response()
}

async fn ask_restore(
    State(shared): State<Shared>,
    Json(ask): Json<restore_request::Ask>,
) -> Response {
    let (ours, dry_run) = (shared.board.borrow().status.store_id.clone(), ask.dry_run);
    match shared.sets.restoring.take(ask, ours).await {
        Ok(taken) if dry_run => Json(taken).into_response(),
        Ok(taken) => {
            tracing::info!(event = events::RESTORE_ASKED, "{taken:?}");
            (StatusCode::ACCEPTED, Json(taken)).into_response()
        }
        Err(error) => no_restore(&error),
    }
}

async fn call_off_restore(
    State(shared): State<Shared>,
    Json(by): Json<restore_request::CallOff>,
) -> Response {
    match shared.sets.restoring.call_off(&by.owner).await {
        Ok(job) => {
            tracing::info!(event = events::RESTORE_ASKED, "called off by {}", by.owner);
            (StatusCode::ACCEPTED, Json(job)).into_response()
        }
        Err(error) => no_restore(&error),
    }
}

async fn restores(State(shared): State<Shared>) -> Response {
    match shared.sets.restoring.progress().await {
        Ok(progress) => Json(progress).into_response(),
        Err(error) => no_restore(&error),
    }
}

fn no_restore(error: &restore_request::NotTaken) -> Response {
    (error.code(), format!("{}\n", crate::log::chain(error))).into_response()
}

/// The path as it came: what is encoded in it is not decoded, for no name of ours needs that.
async fn file_of_a_set(State(shared): State<Shared>, asked: Uri) -> Response {
    shared.sets.lender.lend(asked.path()).await
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::Instant;

    use axum::extract::Path;
    use axum::routing::get as get_route;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::keep::Shelf;
    use crate::status::Status;
    use crate::store::DirectoryStore;
    use planner::records::{FORMAT, Hello, State as TaskState};

    pub(crate) fn board() -> Board {
        let status = Status {
            format: FORMAT,
            version: "0".to_owned(),
            service: "vectors".to_owned(),
            store_id: None,
            task: "t".into(),
            address: "127.0.0.1".parse().unwrap(),
            uri: "http://127.0.0.1:6335".to_owned(),
            zone: None,
            said: Default::default(),
            phase: "waiting".to_owned(),
            reason: "r".to_owned(),
            since: jiff::Timestamp::UNIX_EPOCH,
            generation: None,
            state: TaskState::Empty,
            aside: false,
            peer_id: None,
            role: None,
            is_voter: None,
            peers: Vec::new(),
            ready: false,
            ready_reason: "not yet".to_owned(),
            verified: false,
            alarms: Vec::new(),
            lost_log_lines: 0,
            plan: serde_json::Value::Null,
            divergence: serde_json::Value::Null,
            diverged: Vec::new(),
            concerns: Vec::new(),
            hears: Default::default(),
            set: None,
            sets: String::new(),
            kept: None,
            sets_wrong: None,
            restore: String::new(),
            proofs: None,
            proof: String::new(),
            proofs_wrong: None,
            planned: None,
            restore_wrong: None,
            filling: None,
            whole: false,
            child: serde_json::Value::Null,
            shut: None,
            decision: serde_json::Value::Null,
        };
        Board {
            status,
            turned: Instant::now(),
        }
    }

    async fn start(
        board: Board,
        keys: &[&str],
        patience: Duration,
    ) -> (String, watch::Sender<Board>) {
        // Nobody listens there.
        let nowhere = "127.0.0.1:1".parse::<SocketAddr>().unwrap();
        let nowhere = qdrant_api::BaseUrl::try_from(nowhere).unwrap();
        let qdrant = Client::new(nowhere, None, Duration::from_secs(1)).unwrap();
        serve_with(board, keys, patience, qdrant, &[("ENTRYPOINT_SETS", "15m")]).await
    }

    /// The same before this Qdrant, with this in its environment.
    async fn serve_with(
        board: Board,
        keys: &[&str],
        patience: Duration,
        qdrant: Client,
        env: &[(&str, &str)],
    ) -> (String, watch::Sender<Board>) {
        let (sender, reader) = watch::channel(board);
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let keys = keys.iter().map(|key| Secret::new(*key)).collect();
        let asking = Asking::new(&config(env), qdrant.clone());
        // Nobody asks for a file.
        let nothing = DirectoryStore::new("/nonexistent");
        let shelf = Shelf::start(Arc::new(nothing), patience).unwrap();
        let restoring = Restoring::new(&config(env), qdrant.clone(), shelf.clone());
        let lender = Lender::new(shelf);
        tokio::spawn(serve(
            listener,
            reader,
            keys,
            patience,
            qdrant,
            Knocks::default(),
            Sets {
                lender,
                asking,
                restoring,
            },
        ));
        (base, sender)
    }

    async fn get(url: String, header: Option<(&str, &str)>) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(url);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn both_keys_open_v1_and_nothing_else_does() {
        let (base, _board) = start(board(), &["new", "old"], Duration::from_secs(60)).await;
        for path in ["/v1/status", "/v1/hello", "/v1/plan"] {
            let url = || format!("{base}{path}");
            assert_eq!(get(url(), None).await.0, 401);
            assert_eq!(get(url(), Some(("api-key", "wrong"))).await.0, 401);
            assert_eq!(get(url(), Some(("authorization", "old"))).await.0, 401);
            assert_eq!(get(url(), Some(("api-key", "new"))).await.0, 200);
            assert_eq!(
                get(url(), Some(("authorization", "Bearer old"))).await.0,
                200
            );
        }
        assert_eq!(
            get(format!("{base}/livez"), None).await,
            (200, "alive\n".to_owned())
        );
        assert_eq!(
            get(format!("{base}/readyz"), None).await,
            (503, "not yet\n".to_owned())
        );
    }

    #[tokio::test]
    async fn without_a_key_v1_is_open_and_hello_is_the_boards() {
        let (base, sender) = start(board(), &[], Duration::from_secs(60)).await;
        let hello = |text: &str| serde_json::from_str::<Hello>(text).unwrap();
        let (code, text) = get(format!("{base}/v1/hello"), None).await;
        assert_eq!((code, hello(&text).state), (200, TaskState::Empty));
        sender.send_modify(|board| {
            board.status.state = TaskState::Member;
            board.status.ready = true;
            board.status.ready_reason = "ready".to_owned();
        });
        assert_eq!(
            hello(&get(format!("{base}/v1/hello"), None).await.1).state,
            TaskState::Member
        );
        assert_eq!(
            get(format!("{base}/readyz"), None).await,
            (200, "ready\n".to_owned())
        );
    }

    #[tokio::test]
    async fn a_pause_needs_the_key_an_owner_a_reason_an_end_and_a_qdrant() {
        let (base, _board) = start(board(), &["key"], Duration::from_secs(60)).await;
        let ask = async |body: &str, key: &str| {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client
                .post(format!("{base}/v1/pause"))
                .header("api-key", key)
                .header("content-type", "application/json")
                .body(body.to_owned());
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let good = r#"{"owner":"on call","reason":"a restore","seconds":60}"#;
        assert_eq!(ask(good, "wrong").await.0, 401);
        assert_eq!(ask(good, "key").await.0, 503, "its Qdrant does not answer");
        for (bad, code, says) in [
            (r#"{"owner":" ","reason":"r","seconds":60}"#, 400, "owner"),
            (
                r#"{"owner":"o","reason":"r","seconds":0}"#,
                400,
                "seven days",
            ),
            (
                r#"{"owner":"o","reason":"r","seconds":999999}"#,
                400,
                "seven days",
            ),
            (r#"{"owner":"o","reason":"r"}"#, 422, "seconds"),
            ("no json", 400, ""),
        ] {
            let (found, text) = ask(bad, "key").await;
            assert_eq!(found, code, "{bad}: {text}");
            assert!(text.contains(says), "{bad}: {text}");
        }
    }

    pub(crate) fn config(env: &[(&str, &str)]) -> Config {
        let env = env.iter().map(|(name, value)| {
            let (name, value) = (*name, *value);
            (name.to_owned(), value.to_owned())
        });
        Config::from_env(&env.collect::<BTreeMap<_, _>>()).unwrap()
    }

    type Keys = Arc<Mutex<BTreeMap<String, Value>>>;

    /// A Qdrant with one collection, `notes`, and a key map.
    async fn qdrant() -> (Client, Keys) {
        let keys = Keys::default();
        let result = |value: Value| Json(json!({"result": value, "status": "ok", "time": 0.0}));
        let read = move |State(keys): State<Keys>, Path(key): Path<String>| async move {
            let value = keys.lock().unwrap().get(&key).cloned();
            result(value.unwrap_or_default())
        };
        let write = move |State(keys): State<Keys>, Path(key), Json(value): Json<Value>| async move {
            keys.lock().unwrap().insert(key, value);
            result(json!(true))
        };
        let notes = move || async move { result(json!({"collections": [{"name": "notes"}]})) };
        let router = Router::new()
            .route("/collections", get_route(notes))
            .route("/cluster/metadata/keys/{key}", get_route(read).put(write))
            .with_state(keys.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = qdrant_api::BaseUrl::try_from(listener.local_addr().unwrap()).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::new(at, None, Duration::from_secs(5)).unwrap();
        (client, keys)
    }

    async fn post(url: String, key: &str, body: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(url)
            .header("api-key", key)
            .header("content-type", "application/json")
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    const ALL: &str = r#"{"owner":"on call"}"#;
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_request_for_a_set_is_on_record_and_is_the_only_one() {
        let (client, keys) = qdrant().await;
        let env = [("ENTRYPOINT_SETS", "15m")];
        let (base, _board) = serve_with(board(), &["key"], PATIENCE, client, &env).await;
        let url = || format!("{base}/v1/sets");
        assert_eq!(post(url(), "wrong", ALL).await.0, 401);
        let header = Some(("api-key", "key"));
        assert_eq!(get(url(), header).await, (200, "null".to_owned()));
        for (bad, code, says) in [
            (r#"{"owner":" "}"#, 400, "owner"),
            (r#"{}"#, 422, "owner"),
            (r#"{"owner":"o","when":"now"}"#, 422, "when"),
            (
                r#"{"owner":"o","collection":"news"}"#,
                404,
                "there is no collection news",
            ),
        ] {
            let (found, text) = post(url(), "key", bad).await;
            assert_eq!(found, code, "{bad}: {text}");
            assert!(text.contains(says), "{bad}: {text}");
        }
        assert!(keys.lock().unwrap().is_empty());
        let one = r#"{"owner":"on call","collection":"notes"}"#;
        let (code, text) = post(url(), "key", one).await;
        assert_eq!(code, 202, "{text}");
        let record: asked::Record = serde_json::from_str(&text).unwrap();
        assert_eq!(get(url(), header).await, (200, text));
        let there = keys.lock().unwrap().get(asked::TAKE_KEY).cloned();
        assert_eq!(there.unwrap(), serde_json::to_value(&record).unwrap());
        let (code, text) = post(url(), "key", ALL).await;
        assert_eq!(code, 409);
        let since = record.at.to_string();
        for part in ["on call", "collection notes", &since] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_that_would_wait_in_vain_is_refused_with_the_reason() {
        for (env, says) in [
            (vec![], "ENTRYPOINT_SETS is off"),
            (
                vec![("ENTRYPOINT_SETS", "15m"), ("ENTRYPOINT_HEAL", "dry-run")],
                "dry-run",
            ),
        ] {
            let (client, keys) = qdrant().await;
            let (base, _board) = serve_with(board(), &[], PATIENCE, client, &env).await;
            let (code, text) = post(format!("{base}/v1/sets"), "", ALL).await;
            assert_eq!(code, 409, "{text}");
            assert!(text.contains(says), "{text}");
            assert!(keys.lock().unwrap().is_empty());
        }
        let (client, keys) = qdrant().await;
        let until = jiff::Timestamp::now() + Duration::from_secs(60);
        let paused = json!({"format": 1, "owner": "ops", "reason": "a move", "until": until});
        keys.lock()
            .unwrap()
            .insert(pause::PAUSE_KEY.to_owned(), paused);
        let env = [("ENTRYPOINT_SETS", "15m")];
        let (base, _board) = serve_with(board(), &[], PATIENCE, client, &env).await;
        let (code, text) = post(format!("{base}/v1/sets"), "", ALL).await;
        assert_eq!(code, 409, "{text}");
        assert!(text.contains("ops") && text.contains("a move"), "{text}");
        // Without a Qdrant that answers nothing is known.
        let (base, _board) = start(board(), &[], PATIENCE).await;
        assert_eq!(post(format!("{base}/v1/sets"), "", ALL).await.0, 503);
    }

    #[tokio::test]
    async fn a_loop_that_hangs_is_not_alive() {
        let (base, _board) = start(board(), &[], Duration::ZERO).await;
        assert_eq!(get(format!("{base}/livez"), None).await.0, 503);
    }
}
