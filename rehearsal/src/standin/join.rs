//! Before consensus runs: found, join through a peer, restart, or re-initialise. And the other
//! side of joining: taking a newcomer in (upstream tonic/api/raft_api.rs:64-178).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use serde::{Deserialize, Serialize};

use super::client::{self, CallError};
use super::disk::{Disk, Persistent};
use super::error::ApiError;
use super::log;
use super::node::Node;
use super::raft::message::{ConfChange, Payload};
use super::serve::Fatal;
use super::settings::Settings;

/// `cluster.consensus.bootstrap_timeout_sec`, for connecting and for the answer.
const BOOTSTRAP: Duration = Duration::from_secs(15);
const RECOVER_TRIES: u64 = 3;

/// A newcomer's request.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    id: u64,
    uri: String,
}

/// The address book it gets.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinReply {
    all_peers: BTreeMap<u64, String>,
    first_peer_id: u64,
}

/// Bring the disk to where consensus can start. Asks the bootstrap peer once, without retry.
pub async fn prepare(
    settings: &Settings,
    client: &reqwest::Client,
    disk: &mut Disk,
    state: &mut Persistent,
) -> Result<(), Fatal> {
    if settings.reinit {
        super::reinit::reinit(settings, disk, state)?;
    }
    let id = state.this_peer_id;
    if state.state.hard_state.term != 0 {
        return move_address(settings, client, state).await;
    }
    if let Some(bootstrap) = &settings.bootstrap {
        // The disk has its peer id already: a failed join is repeated with the same one.
        let reply = ask(settings, bootstrap, id).await.map_err(Fatal::panic)?;
        state.peer_address_by_id = reply.all_peers;
        state.first_voter = Some(reply.first_peer_id);
        state.state.conf_state.voters = vec![reply.first_peer_id];
        return Ok(());
    }
    let uri = settings
        .uri
        .as_ref()
        .ok_or_else(|| Fatal::panic("First peer should specify its uri."))?;
    state.peer_address_by_id.insert(id, uri.to_string());
    state.first_voter = Some(id);
    state.state.conf_state.voters = vec![id];
    Ok(())
}

async fn ask(settings: &Settings, of: &Uri, id: u64) -> Result<JoinReply, String> {
    let client = client::new(BOOTSTRAP).map_err(|why| why.to_string())?;
    let uri = match &settings.uri {
        Some(uri) => uri.to_string(),
        None => format!("http://{}:{}/", settings.host, settings.p2p_port),
    };
    let request = JoinRequest { id, uri };
    let of = of.to_string();
    client::post_with(&client, settings, &of, "join", &request, BOOTSTRAP)
        .await
        .map_err(|why| match why {
            CallError::Connect { .. } => why.to_string(),
            _ => format!("Failed to add peer to known: {why}"),
        })
}

/// A restart under another address tells the peers that it knows, or gives up.
async fn move_address(
    settings: &Settings,
    client: &reqwest::Client,
    state: &Persistent,
) -> Result<(), Fatal> {
    let id = state.this_peer_id;
    let own = state.peer_address_by_id.get(&id);
    let Some(uri) = settings.uri.as_ref().map(Uri::to_string) else {
        return Ok(());
    };
    if own.is_none_or(|own| *own == uri) {
        return Ok(());
    }
    let others = state
        .peer_address_by_id
        .iter()
        .filter(|(other, _)| **other != id);
    for pause in 1..=RECOVER_TRIES {
        for (_, peer) in others.clone() {
            let request = JoinRequest {
                id,
                uri: uri.clone(),
            };
            let told: Result<JoinReply, _> =
                client::post_with(client, settings, peer, "join", &request, BOOTSTRAP).await;
            match told {
                Ok(_) => return Ok(()),
                Err(why) => log(
                    "WARN",
                    &format!("Failed to recover from peer at {peer}: {why}"),
                ),
            }
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
    Err(Fatal::panic("Failed to recover from any known peers"))
}

/// Take a newcomer in: one that holds the same address without replicas goes first.
pub async fn admit(node: &Arc<Node>, request: JoinRequest) -> Result<JoinReply, ApiError> {
    let JoinRequest { id, uri } = request;
    let holder = node.read(|inner| {
        let old = inner
            .model
            .peers
            .iter()
            .find(|(old, at)| **at == uri && **old != id);
        old.map(|(old, _)| (*old, inner.model.peer_has_shards(*old)))
    });
    match holder {
        Some((old, true)) => {
            return Err(ApiError::bad_request(format!(
                "peer URI {uri} already used by peer {old} which still has shards, remove its \
                 shards first or use a different URI"
            )));
        }
        Some((old, false)) => {
            log(
                "INFO",
                &format!("Peer {id} is replacing peer {old} which has no shards ({uri})"),
            );
            let removal = Payload::Conf(ConfChange::Remove { id: old });
            node.propose_and_wait(removal, None)
                .await
                .map_err(|why| ApiError {
                    message: format!("Failed to remove old peer {old}: {why}"),
                    ..why
                })?;
        }
        None => {}
    }
    let addition = Payload::Conf(ConfChange::AddLearner {
        id,
        uri: uri.clone(),
    });
    node.propose_and_wait(addition, None)
        .await
        .map_err(|why| ApiError {
            message: format!("Failed to add peer: {why}"),
            ..why
        })?;
    node.read(|inner| {
        let mut all_peers = inner.model.peers.clone();
        if !all_peers.values().any(|at| *at == uri) {
            let why = format!("Failed to add peer after consensus: {uri}");
            return Err(ApiError::service(why));
        }
        // A newcomer starts its replay with the first peer as the only voter.
        all_peers
            .entry(inner.first_voter)
            .or_insert_with(|| "/".into());
        Ok(JoinReply {
            all_peers,
            first_peer_id: inner.first_voter,
        })
    })
}
