//! The floor that ordered formation is compared with: the same Qdrants, ordered by hand.
//! Owns: starting bare Qdrants in the known good order and taking the time. Must not: use ours.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::ecs::network::Network;
use crate::ecs::process::{self, Launch, Spawned, Spawner};
use crate::observe::ask;
use crate::timing;
use crate::tools::Qdrant;
use crate::world::API_KEY;

/// Seconds that raw Qdrants took.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Raw {
    /// Start of the first until all are voters that list all.
    pub all_voters_s: f64,
    /// … until every `/readyz` says 200.
    pub all_ready_s: f64,
    /// Start of one more, after one was killed, until it is a voter.
    pub replacement_voter_s: f64,
}

/// One bare Qdrant.
pub(super) struct Node {
    pub(super) address: Ipv4Addr,
    pub(super) process: Spawned,
}

/// Bare Qdrants.
pub(super) struct Bench<'a> {
    qdrant: &'a Qdrant,
    folder: TempDir,
    network: Network,
    spawner: Spawner,
    client: reqwest::Client,
    zones: usize,
    /// How many were ever started: places go round the zones.
    started: usize,
    pub(super) nodes: Vec<Node>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.process.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Forms a cluster of `size` bare Qdrants, kills one that is not the first and adds another.
///
/// # Errors
/// When a Qdrant ends, or something takes longer than a minute.
pub async fn measure(qdrant: &Qdrant, size: usize, zones: usize) -> Result<Raw> {
    let mut bench = Bench::new(qdrant, zones)?;
    let begun = Instant::now();
    let first = bench.form(size).await?;
    let all_voters_s = begun.elapsed().as_secs_f64();
    bench
        .until("all are ready", async |bench| bench.ready().await)
        .await?;
    let all_ready_s = begun.elapsed().as_secs_f64();
    if size >= 3 {
        let victim = bench.nodes.pop().context("no node")?;
        victim.process.signal(nix::sys::signal::Signal::SIGKILL);
        victim.process.wait().await;
        tokio::time::sleep(timing::REPLACE).await;
    }
    let again = Instant::now();
    bench.start(Some(first)).await?;
    let newest = bench.nodes.len() - 1;
    bench
        .until("the new one votes", async |bench| bench.votes(newest).await)
        .await?;
    let replacement_voter_s = again.elapsed().as_secs_f64();
    bench.end().await;
    Ok(Raw {
        all_voters_s,
        all_ready_s,
        replacement_voter_s,
    })
}

impl<'a> Bench<'a> {
    /// Nothing runs yet.
    pub(super) fn new(qdrant: &'a Qdrant, zones: usize) -> Result<Self> {
        Ok(Self {
            qdrant,
            folder: tempfile::Builder::new()
                .prefix("rehearsal-raw-")
                .tempdir()
                .context("make a folder")?,
            network: Network::claim()?,
            spawner: Spawner::start(std::env::current_exe().context("find this program")?)?,
            client: ask::client().context("build a client")?,
            zones,
            started: 0,
            nodes: Vec::new(),
        })
    }

    /// One cluster of so many voters; gives the first one's address.
    pub(super) async fn form(&mut self, size: usize) -> Result<Ipv4Addr> {
        self.start(None).await?;
        self.until("the first leads itself", async |bench| bench.leads(0).await)
            .await?;
        let first = self.nodes.first().context("no node")?.address;
        for _ in 1..size {
            self.start(Some(first)).await?;
        }
        self.until("all are voters", async |bench| bench.voters(size).await)
            .await?;
        Ok(first)
    }

    /// Kills all of them.
    pub(super) async fn end(&self) {
        for node in &self.nodes {
            process::send(node.process.pid, nix::sys::signal::Signal::SIGKILL);
            node.process.wait().await;
        }
    }

    /// Starts one more, which joins through `bootstrap`.
    pub(super) async fn start(&mut self, bootstrap: Option<Ipv4Addr>) -> Result<()> {
        let number = self.started;
        let address = self
            .network
            .fresh(number % self.zones)
            .context("no address left")?;
        let disk: PathBuf = self.folder.path().join(address.to_string());
        std::fs::create_dir_all(disk.join("config")).context("make a disk")?;
        let storage = disk.join("storage").display().to_string();
        let snapshots = disk.join("snapshots").display().to_string();
        let env = [
            ("QDRANT__CLUSTER__ENABLED", "true".to_owned()),
            ("QDRANT__CLUSTER__P2P__PORT", "6335".into()),
            ("QDRANT__SERVICE__HOST", address.to_string()),
            ("QDRANT__SERVICE__API_KEY", API_KEY.into()),
            ("QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", "true".into()),
            ("QDRANT__STORAGE__STORAGE_PATH", storage),
            ("QDRANT__STORAGE__SNAPSHOTS_PATH", snapshots),
            ("QDRANT__LOG_LEVEL", "INFO".into()),
            ("QDRANT__TELEMETRY_DISABLED", "true".into()),
        ];
        let mut args = vec!["--uri".into(), format!("http://{address}:6335").into()];
        if let Some(peer) = bootstrap {
            args.extend(["--bootstrap".into(), format!("http://{peer}:6335").into()]);
        }
        // Only a patched one asks for it.
        let founder = bootstrap
            .is_none()
            .then(|| ("QDRANT_FOUNDER", "true".to_owned()));
        let launch = Launch {
            program: self.qdrant.program.clone(),
            args,
            env: env
                .into_iter()
                .chain(founder)
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            log: self.folder.path().join(format!("{address}.log")),
            cwd: disk,
        };
        let process = self.spawner.spawn(launch).await?;
        self.started += 1;
        self.nodes.push(Node { address, process });
        Ok(())
    }

    /// The disk of the one at this address.
    pub(super) fn folder_of(&self, host: &str) -> PathBuf {
        self.folder.path().join(host)
    }

    /// Where they are.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.address.to_string())
            .collect()
    }

    /// What one of them says of its cluster.
    pub(super) async fn raft(&self, at: usize) -> Option<crate::observe::sample::Raft> {
        let node = self.nodes.get(at)?;
        ask::raft(&self.client, &node.address.to_string(), API_KEY).await
    }

    async fn leads(&self, at: usize) -> bool {
        let raft = self.raft(at).await;
        raft.is_some_and(|raft| raft.leader == Some(raft.peer_id) && raft.commit >= 2)
    }

    /// Whether it is a voter by its own word.
    pub(super) async fn votes(&self, at: usize) -> bool {
        self.raft(at).await.is_some_and(|raft| raft.is_voter)
    }

    async fn voters(&self, size: usize) -> bool {
        let answers = (0..size).map(|at| self.raft(at));
        let answers = futures::future::join_all(answers).await;
        let good = answers
            .iter()
            .flatten()
            .filter(|raft| raft.is_voter && raft.peers.len() == size);
        good.count() == size
    }

    async fn ready(&self) -> bool {
        let hosts = self.hosts();
        let asked = hosts
            .iter()
            .map(|host| ask::qdrant_ready(&self.client, host));
        futures::future::join_all(asked)
            .await
            .into_iter()
            .all(|ready| ready)
    }

    /// Waits for it, and looks as often as the observers of ours.
    pub(super) async fn until(&self, what: &str, good: impl AsyncFn(&Self) -> bool) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(60);
        while !good(self).await {
            for node in &self.nodes {
                if let Some(exit) = node.process.exit() {
                    bail!(
                        "raw Qdrant at {} ended while we waited: {exit}",
                        node.address
                    );
                }
            }
            if Instant::now() > limit {
                bail!("raw Qdrants: {what} took longer than a minute");
            }
            // As often as the observers of ours look, so that both carry the same load.
            tokio::time::sleep(timing::LOOK).await;
        }
        Ok(())
    }
}
