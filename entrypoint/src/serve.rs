//! `entrypoint run`: sets everything up, runs rounds, and ends with Qdrant's exit code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::child::{Reaper, StopBudget};
use crate::cli::EX_UNAVAILABLE;
use crate::config::{Auto, Config, Heal};
use crate::disk::Disk;
use crate::ecs::api::Api;
use crate::ecs::keeper::Keeper;
use crate::ecs::protection::Endpoint;
use crate::ecs::wanted::Wanted;
use crate::identity::{self, Identity};
use crate::keep::Shelf;
use crate::keep::asked::Asking;
use crate::keep::lend::Lender;
use crate::keep::restore_request::Restoring;
use crate::knocks::Knocks;
use crate::ledger::Ledger;
use crate::observe::Senses;
use crate::qdrant::Qdrant;
use crate::round::{Parts, Task, long_sleep};
use crate::store::{self, StoreHandle};
use crate::wakefulness::Wakefulness;
use crate::{control, events, log};

/// Where the image keeps Qdrant.
pub const QDRANT_BIN: &str = "/qdrant/qdrant";
/// How long metadata may stay incomplete (facts: first answers may be).
const METADATA_LIMIT: Duration = Duration::from_secs(30);
/// A round has many deadlines, and a settled member pauses for a beat between two; only a loop that
/// hangs for good is not alive.
const LIVENESS_FLOOR: Duration = Duration::from_secs(60);

/// Runs this task until a signal ends it; returns the exit code.
pub async fn run(config: Config) -> u8 {
    let _flushed_at_the_end = log::start(config.log, config.log_level);
    match live(Arc::new(config)).await {
        Ok(code) => {
            tracing::info!(event = events::STOPPED, code);
            u8::try_from(code.rem_euclid(256)).unwrap_or(u8::MAX)
        }
        Err(error) => {
            tracing::error!(event = events::FAILED, "{error:#}");
            EX_UNAVAILABLE
        }
    }
}

async fn live(config: Arc<Config>) -> anyhow::Result<i32> {
    // Signals first: one that comes during the set-up must not kill us by default.
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let reaper = Reaper::if_pid_one().context("listen for SIGCHLD")?;
    for warning in &config.warnings {
        tracing::warn!(event = events::WARNING, "{warning}");
    }
    let set_up = set_up(Arc::clone(&config));
    let mut task = tokio::select! {
        task = set_up => task?,
        _ = term.recv() => return Ok(0),
        _ = int.recv() => return Ok(0),
    };
    let reap = async {
        match reaper {
            Some(reaper) => reaper.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(reap);
    let began = tokio::select! {
        never = task.run() => match never {},
        never = &mut reap => match never {},
        _ = term.recv() => Instant::now(),
        _ = int.recv() => Instant::now(),
    };
    tracing::info!(event = events::STOPPING, "a signal asked the task to stop");
    tokio::select! {
        code = task.stop(began) => Ok(code),
        never = &mut reap => match never {},
    }
}

async fn set_up(config: Arc<Config>) -> anyhow::Result<Task> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("set up HTTP")?;
    let identity = identity::discover(&config, &http, METADATA_LIMIT)
        .await
        .context("find out who this task is")?;
    let disk =
        Disk::open(config.qdrant.storage_path.clone()).context("open the storage directory")?;
    disk.belongs_to(&identity.task)
        .context("look for the mark of another task")?;
    // Nothing is touched yet: an unreachable EFS would hang us here.
    let place = store::open(&config.store, &config.aws).context("prepare the store")?;
    let shelf = Shelf::start(Arc::clone(&place), config.store_timeout);
    let shelf = shelf.context("start the store of snapshots")?;
    let store = StoreHandle::start(place, config.store_timeout).context("start the store")?;
    let ledger = Ledger::new(store, identity.task.as_str().into());
    let mut qdrant = Qdrant::new(&config, identity.address).context("prepare Qdrant")?;
    qdrant.identify().await;
    let senses =
        Senses::new(&config, identity.address, qdrant.client()).context("prepare discovery")?;
    announce(&config, &identity, &ledger);
    let at = SocketAddr::new(config.bind, config.control_port);
    let listener = control::bind(at)
        .await
        .with_context(|| format!("listen on {at}"))?;
    let budget = StopBudget::new(config.stop_timeout, config.stop_margin, config.stop_linger)
        .context("divide the stop time-out")?;
    let protection = protection(&config).context("prepare task protection")?;
    let wanted = match Api::new(&config, &identity) {
        Ok(api) => Some(Wanted::start(api, config.ecs_poll)),
        Err(why) => {
            tracing::info!(event = events::WANTED_UNKNOWN, "it is not asked: {why}");
            None
        }
    };
    let qdrant_client = qdrant.client().clone();
    let knocks = Knocks::default();
    let sets = control::Sets {
        lender: Lender::new(shelf.clone()),
        asking: Asking::new(&config, qdrant.client().clone()),
        restoring: Restoring::new(&config, qdrant.client().clone(), shelf.clone()),
    };
    let still = qdrant.standstill().clone();
    let wakefulness = Wakefulness::watch(long_sleep(&config), move || still.woken())
        .context("start the watch over this process")?;
    let (task, board) = Task::new(Parts {
        config: Arc::clone(&config),
        identity,
        disk,
        ledger,
        qdrant,
        senses,
        stop_budget: budget,
        protection,
        wanted,
        knocks: knocks.clone(),
        wakefulness,
        shelf,
    });
    let keys = [&config.qdrant.api_key, &config.qdrant.alt_api_key];
    let keys = keys.into_iter().flatten().cloned().collect();
    let patience = LIVENESS_FLOOR.max(config.store_timeout * 8 + config.beat * 3);
    tokio::spawn(async move {
        let served = control::serve(listener, board, keys, patience, qdrant_client, knocks, sets);
        if let Err(error) = served.await {
            tracing::error!(
                event = events::FAILED,
                "the control port has closed: {error}"
            );
        }
    });
    Ok(task)
}

/// Nothing where protection is off, or where nobody would ever empty a protected task: with
/// `dry-run` every deployment would wait for it until a person comes.
fn protection(config: &Config) -> reqwest::Result<Option<Keeper>> {
    let (Auto::Auto, Heal::Act, Some(agent)) = (config.protection, config.heal, &config.agent_uri)
    else {
        return Ok(None);
    };
    let endpoint = Endpoint::new(agent)?;
    Ok(Some(Keeper::start(endpoint, config.protection_minutes)))
}

fn announce(config: &Config, identity: &Identity, ledger: &Ledger) {
    tracing::info!(
        event = events::STARTED,
        version = env!("CARGO_PKG_VERSION"),
        service = identity.service,
        task = identity.task,
        address = %identity.address,
        zone = identity.zone,
        revision = identity.revision,
        cluster_size = config.cluster_size,
        store = ledger.place(),
        qdrant = %config.qdrant_bin.display(),
        "who we are"
    );
}
