//! Start and stop: found, join or restart, open the ports, tick, end on a signal.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::disk::Disk;
use super::health::Health;
use super::node::{Node, Stopped};
use super::raft::message::{ConfChange, Payload};
use super::settings::Settings;
use super::{client, data, join, log, p2p, reinit, rest};

const TICK: Duration = Duration::from_millis(100);
/// `cluster.connection_timeout_ms`.
const CONNECT: Duration = Duration::from_secs(2);
/// What a graceful stop may take; actix's default.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Why the process ends with an error.
#[derive(Debug)]
pub struct Fatal {
    /// Exit code.
    pub code: u8,
    /// What to print.
    pub message: String,
}

impl Fatal {
    fn settings(why: impl ToString) -> Self {
        Self {
            code: 1,
            message: why.to_string(),
        }
    }

    /// As a panic of Qdrant's main thread.
    pub fn panic(why: impl std::fmt::Display) -> Self {
        let message = format!(
            "Panic occurred: Can't initialize consensus: Failed to initialize Consensus for new \
             Raft state\n\nCaused by:\n    {why}"
        );
        Self { code: 101, message }
    }
}

/// Serve until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<(), Fatal> {
    for directory in settings.temporary.iter().filter(|it| it.exists()) {
        let why = |why| {
            format!(
                "Failed to remove temp directory at {}: {why}",
                directory.display()
            )
        };
        std::fs::remove_dir_all(directory).map_err(|error| Fatal::panic(why(error)))?;
    }
    let (mut disk, mut state) =
        Disk::open(&settings.storage, settings.peer_id).map_err(Fatal::settings)?;
    let client = client::new(CONNECT).map_err(Fatal::settings)?;
    let new = state.state.hard_state.term == 0 || settings.reinit;
    let joined = new && settings.bootstrap.is_some();
    join::prepare(&settings, &client, &mut disk, &mut state).await?;
    let held = match state.state.hard_state.term {
        0 => disk.load_held().map_err(Fatal::panic)?,
        _ => BTreeMap::new(),
    };
    let node = Node::new(settings, disk, state, client).map_err(Fatal::panic)?;
    if let Some(Stopped::Failed(why)) = node.read(|inner| inner.stopped.clone()) {
        return Err(Fatal::panic(why));
    }

    let p2p = bind(&node, node.settings.p2p_port)
        .await
        .map_err(Fatal::panic)?;
    if node.read(|inner| inner.model.peers.len() <= 1 && inner.raft.is_voter()) {
        lead_alone(&node);
    }
    let (stop, stopping) = watch::channel(false);
    let internal = tokio::spawn(
        axum::serve(p2p, p2p::router(Arc::clone(&node)))
            .with_graceful_shutdown(wait(stopping.clone()))
            .into_future(),
    );
    let rest = bind(&node, node.settings.http_port)
        .await
        .map_err(Fatal::settings)?;
    let grpc = bind(&node, node.settings.grpc_port)
        .await
        .map_err(Fatal::settings)?;
    let health = Health::spawn(&node, joined);
    let router = rest::router(Arc::clone(&node), health);
    let web = tokio::spawn(
        axum::serve(rest, router)
            .with_graceful_shutdown(wait(stopping))
            .into_future(),
    );
    log(
        "INFO",
        &format!("Qdrant HTTP listening on {}", node.settings.http_port),
    );
    // Accepted connections are closed at once: nobody here speaks gRPC.
    tokio::spawn(async move { while grpc.accept().await.is_ok() {} });
    tokio::spawn(tick(Arc::clone(&node)));
    tokio::spawn(reinit::propose_held(Arc::clone(&node), held));

    let mut term = signal(SignalKind::terminate()).map_err(Fatal::settings)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fatal::settings)?;
    let patience = tokio::select! {
        _ = term.recv() => {
            log("INFO", "SIGTERM received; starting graceful shutdown");
            SHUTDOWN
        }
        // Connections are dropped, whatever is under way on them (conformance `process`).
        _ = interrupt.recv() => {
            log("INFO", "SIGINT received; starting forced shutdown");
            Duration::ZERO
        }
    };
    stop.send_replace(true);
    let ends = futures::future::join(internal, web);
    if tokio::time::timeout(patience, ends).await.is_err() {
        log("WARN", "connections were still open");
    }
    log("INFO", "shutting down workers: done");
    Ok(())
}

async fn bind(node: &Node, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(node.settings.host, port)).await
}

async fn wait(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends us as well.
    let _ended = stopping.wait_for(|stop| *stop).await;
}

/// A lone voter elects itself without waiting, and the origin writes itself into the log
/// (upstream consensus.rs:590-597, 875-931).
fn lead_alone(node: &Arc<Node>) {
    node.change(|inner| inner.raft.campaign());
    node.change(|inner| {
        let uri = inner.model.peers.get(&node.id).cloned();
        if !inner.raft.has_origin() && inner.raft.commit <= 1 {
            inner
                .raft
                .propose(Payload::Conf(ConfChange::AddVoter { id: node.id, uri }));
        }
    });
}

async fn tick(node: Arc<Node>) {
    data::abort_own_transfers(&node);
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        node.change(|inner| {
            if inner.stopped.is_none() {
                inner.raft.tick();
            }
        });
        data::sync_own_replicas(&node);
    }
}
