//! The observers' questions. Deliberately not the client that the entrypoint uses: a mistake in
//! that one must not blind the judge as well.
//! Owns: HTTP GETs with a short limit. Must not: keep state.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sample::{Generation, Raft, Status, View};
use crate::ecs::task::Task;
use crate::timing;

/// Name of the formed record in Qdrant's replicated key map.
const FORMED: &str = "entrypoint.generation";
/// The entrypoint's control port.
const CONTROL: u16 = 6336;
/// Qdrant's REST port.
const REST: u16 = 6333;

/// A client for the observers.
///
/// # Errors
/// When it cannot be built.
pub fn client() -> reqwest::Result<reqwest::Client> {
    // Every question has its own connection: while one is kept alive and asked every 50 ms, a Qdrant
    // that was told to stop waits for it (actix, graceful shutdown), and the witness would be the
    // fault.
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(timing::ASK)
        .no_proxy()
        .build()
}

/// Everything about one task, asked at once.
pub async fn look(client: &reqwest::Client, task: &Task) -> View {
    let mut view = View {
        task: task.number,
        id: task.id.clone(),
        address: task.address.to_string(),
        zone: task.zone.clone(),
        running: task.running(),
        paused: task.paused(),
        ..View::default()
    };
    if !view.running {
        return view;
    }
    let host = &view.address;
    let control = format!("http://{host}:{CONTROL}/v1/status");
    let map = format!("http://{host}:{REST}/cluster/metadata/keys/{FORMED}");
    let (status, raft, formed) = tokio::join!(
        get::<Status>(client, control, &task.api_key),
        raft(client, host, &task.api_key),
        get::<Value>(client, map, &task.api_key),
    );
    view.status = status;
    view.raft = raft;
    view.formed = formed.as_ref().and_then(formed_generation);
    view
}

/// Whether the container health check of a task would pass.
pub async fn healthy(client: &reqwest::Client, task: &Task) -> bool {
    let livez = format!("http://{}:{CONTROL}/livez", task.address);
    let answer = client.get(livez).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// `GET /cluster` of the Qdrant at `host`; `None` when it does not answer as a cluster node.
pub async fn raft(client: &reqwest::Client, host: &str, api_key: &str) -> Option<Raft> {
    let answer = get::<Value>(client, format!("http://{host}:{REST}/cluster"), api_key).await?;
    let result = answer.get("result")?;
    let info = result.get("raft_info")?;
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let mut peers = BTreeMap::new();
    for (id, peer) in result.get("peers")?.as_object()? {
        let uri = peer.get("uri").and_then(Value::as_str).unwrap_or_default();
        peers.insert(id.parse().ok()?, uri.to_owned());
    }
    Some(Raft {
        peer_id: number(result.get("peer_id"))?,
        peers,
        leader: number(info.get("leader")).filter(|leader| *leader != 0),
        is_voter: info
            .get("is_voter")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        commit: number(info.get("commit")).unwrap_or(0),
        term: number(info.get("term")).unwrap_or(0),
    })
}

/// The `result` of a GET at the Qdrant at `host`; `None` when it does not answer with 200.
pub async fn qdrant(
    client: &reqwest::Client,
    host: &str,
    path: &str,
    api_key: &str,
) -> Option<Value> {
    let answer = get::<Value>(client, format!("http://{host}:{REST}{path}"), api_key).await?;
    answer.get("result").cloned()
}

/// Whether Qdrant's own `/readyz` says 200.
pub async fn qdrant_ready(client: &reqwest::Client, host: &str) -> bool {
    let answer = client
        .get(format!("http://{host}:{REST}/readyz"))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn get<T: DeserializeOwned>(client: &reqwest::Client, url: String, key: &str) -> Option<T> {
    let answer = client.get(url).header("api-key", key).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

/// The record is `{…, "generation": {"number": N, "token": "…"}}`; it is only ever written for a
/// formed generation.
fn formed_generation(answer: &Value) -> Option<Generation> {
    let generation = answer.get("result")?.get("generation")?;
    let number = generation.get("number")?.as_u64()?;
    let token = generation.get("token")?.as_str()?.to_owned();
    Some(Generation { number, token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_names_its_generation() {
        let record = json!({"result": {"generation": {"number": 2, "token": "x"}}});
        let expected = Generation {
            number: 2,
            token: "x".into(),
        };
        assert_eq!(formed_generation(&record), Some(expected));
        for nothing in [
            json!({"result": null}),
            json!({"result": {"generation": 2}}),
            json!({}),
        ] {
            assert_eq!(formed_generation(&nothing), None);
        }
    }
}
