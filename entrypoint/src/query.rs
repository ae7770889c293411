//! Asks the running entrypoint of this task: `health`, `status`, `plan`, `pause`, `resume`, and for sets
//! and restores by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use planner::ids::Token;
use reqwest::Method;
use serde::Serialize;

use crate::config::Config;
use crate::keep::{asked, restore_request};
use crate::status::Status;
use crate::steward::pause;

/// The shortest time-out that ECS allows a health check is two seconds.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// A write through consensus may wait for an election.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Where the control port of this task is reached from inside.
fn control(config: &Config) -> SocketAddr {
    let host = match config.bind {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, config.control_port)
}

async fn get(config: &Config, path: &str) -> anyhow::Result<reqwest::Response> {
    ask::<()>(config, Method::GET, path, TIMEOUT, None).await
}

async fn ask<B: Serialize>(
    config: &Config,
    method: Method,
    path: &str,
    timeout: Duration,
    body: Option<&B>,
) -> anyhow::Result<reqwest::Response> {
    let url = format!("http://{}{path}", control(config));
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(timeout)
        .build()?;
    let mut request = client.request(method, &url);
    if let Some(key) = &config.qdrant.api_key {
        request = request.header("api-key", key.expose());
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().await.with_context(|| format!("ask {url}"))
}

/// `entrypoint pause`. Exit code 0, or 1 when it was not set.
pub async fn pause(config: &Config, request: &pause::Request) -> u8 {
    said(
        ask(
            config,
            Method::POST,
            "/v1/pause",
            COMMIT_TIMEOUT,
            Some(request),
        )
        .await,
    )
    .await
}

/// `entrypoint resume`. Exit code 0, or 1 when it was not ended.
pub async fn resume(config: &Config) -> u8 {
    said(ask::<()>(config, Method::DELETE, "/v1/pause", COMMIT_TIMEOUT, None).await).await
}

/// Asks for a set by hand.
pub(crate) async fn ask_for_set(
    config: &Config,
    wish: &asked::Wish,
) -> anyhow::Result<reqwest::Response> {
    // It reads the key map twice as well.
    let timeout = COMMIT_TIMEOUT * 2;
    ask(config, Method::POST, "/v1/sets", timeout, Some(wish)).await
}

/// The request for a set by hand that waits.
pub(crate) async fn request_for_set(config: &Config) -> anyhow::Result<Option<Token>> {
    let answer = ask::<()>(config, Method::GET, "/v1/sets", COMMIT_TIMEOUT, None).await?;
    let answer = answer.error_for_status().context("read the request")?;
    let there: Option<asked::Record> = answer.json().await.context("read the request")?;
    Ok(there.map(|record| record.token))
}

/// Asks for a restore. It reads every set, and may have to ask a slow store.
pub(crate) async fn ask_for_restore(
    config: &Config,
    ask_for: &restore_request::Ask,
) -> anyhow::Result<reqwest::Response> {
    let timeout = COMMIT_TIMEOUT * 8;
    ask(config, Method::POST, "/v1/restores", timeout, Some(ask_for)).await
}

/// Calls the restore by hand off.
pub(crate) async fn call_off_restore(
    config: &Config,
    owner: &str,
) -> anyhow::Result<reqwest::Response> {
    let by = restore_request::CallOff {
        owner: owner.to_owned(),
    };
    let timeout = COMMIT_TIMEOUT * 2;
    ask(config, Method::DELETE, "/v1/restores", timeout, Some(&by)).await
}

/// How far restores are.
pub(crate) async fn restores(config: &Config) -> anyhow::Result<reqwest::Response> {
    ask::<()>(config, Method::GET, "/v1/restores", COMMIT_TIMEOUT, None).await
}

async fn said(answer: anyhow::Result<reqwest::Response>) -> u8 {
    let (done, text) = match answer {
        Ok(answer) => {
            let done = answer.status().is_success();
            (done, answer.text().await.unwrap_or_else(|e| e.to_string()))
        }
        Err(error) => (false, format!("{error:#}\n")),
    };
    match done {
        true => {
            print!("{text}");
            0
        }
        false => {
            eprint!("entrypoint: {text}");
            1
        }
    }
}

/// Exit code of `entrypoint health`: 0 while the loop of PID 1 turns, else 1. Never red for
/// quorum, sync, the store, or a busy Qdrant: ECS kills what is red.
pub async fn health(config: &Config) -> u8 {
    match get(config, "/livez").await {
        Ok(answer) if answer.status().is_success() => 0,
        Ok(answer) => {
            eprintln!("entrypoint: /livez answers {}", answer.status());
            1
        }
        Err(error) => {
            eprintln!("entrypoint: {error:#}");
            1
        }
    }
}

/// `entrypoint status`: a table, or the body of `/v1/status`. Exit code 0, or 1 when it cannot be
/// had.
pub async fn status(config: &Config, json: bool) -> u8 {
    match fetch(config).await {
        Ok((text, status)) => {
            print!("{}", if json { text + "\n" } else { table(&status) });
            0
        }
        Err(error) => {
            eprintln!("entrypoint: {error:#}");
            1
        }
    }
}

/// `entrypoint plan`: the steward's plan, as lines or as the body of `/v1/plan`. Exit code 0, or 1
/// when it cannot be had.
pub async fn plan(config: &Config, json: bool) -> u8 {
    let asked = async {
        let answer = get(config, "/v1/plan").await?;
        let answer = answer.error_for_status().context("read the plan")?;
        answer
            .json::<serde_json::Value>()
            .await
            .context("read the plan")
    };
    match asked.await {
        Ok(plan) => {
            print!(
                "{}",
                if json {
                    format!("{plan}\n")
                } else {
                    lines(&plan)
                }
            );
            0
        }
        Err(error) => {
            eprintln!("entrypoint: {error:#}");
            1
        }
    }
}

/// One line for each leaf: its path and its value.
fn lines(value: &serde_json::Value) -> String {
    fn walk(path: &str, value: &serde_json::Value, text: &mut String) {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        match value {
            serde_json::Value::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| walk(&below(name), value, text)),
            serde_json::Value::Array(all) => {
                all.iter().for_each(|value| walk(path, value, text));
            }
            serde_json::Value::Null => {}
            serde_json::Value::String(said) => text.push_str(&format!("{path:<28} {said}\n")),
            other => text.push_str(&format!("{path:<28} {other}\n")),
        }
    }
    let mut text = String::new();
    walk("", value, &mut text);
    text
}

/// The status, as text and read.
pub(crate) async fn fetch(config: &Config) -> anyhow::Result<(String, Status)> {
    let answer = get(config, "/v1/status").await?;
    let answer = answer.error_for_status().context("read the status")?;
    let text = answer.text().await.context("read the status")?;
    let status = serde_json::from_str(&text).context("read the status")?;
    Ok((text, status))
}

fn table(status: &Status) -> String {
    let dash = || "-".to_owned();
    let generation = status
        .generation
        .as_ref()
        .map_or_else(dash, ToString::to_string);
    let peer = status.peer_id.map_or_else(dash, |id| id.to_string());
    let mut rows = vec![
        ("service", status.service.clone()),
        ("task", status.task.to_string()),
        ("address", status.address.to_string()),
        ("zone", status.zone.clone().unwrap_or_else(dash)),
        (
            "revision",
            status.said.revision.clone().unwrap_or_else(dash),
        ),
        ("phase", format!("{} since {}", status.phase, status.since)),
        ("reason", status.reason.clone()),
        (
            "ready",
            format!("{} ({})", status.ready, status.ready_reason),
        ),
        ("generation", generation),
        ("peer", peer),
        ("role", status.role.clone().unwrap_or_else(dash)),
        (
            "voter",
            status.is_voter.map_or_else(dash, |voter| voter.to_string()),
        ),
    ];
    for peer in &status.peers {
        rows.push(("peers", format!("{} {}", peer.id, peer.uri)));
    }
    for alarm in &status.alarms {
        rows.push(("ALARM", alarm.clone()));
    }
    let mut text = String::new();
    let mut before = "";
    for (name, value) in rows {
        let shown = if name == before { "" } else { name };
        text.push_str(&format!("{shown:<11} {value}\n"));
        before = name;
    }
    text
}
