//! `bench-heal`: how much longer ours takes to heal one killed node of several than the same steps by
//! hand in the best order: the dead peer out, its replacement in, the copies complete.
//! Owns: these figures, and the hand. Must not: judge what is fast enough.
//!
//! Ours waits for the grace (`ENTRYPOINT_GONE_TIMEOUT`) before it believes in a death, and a hand does
//! not: the grace is taken off. The scheduler's delay passes within it and is not taken off twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::raw::Bench;
use super::{Pair, broken};
use crate::ecs::task::Task;
use crate::observe::ask;
use crate::scenario::Setup;
use crate::timing;
use crate::world::{API_KEY, Plan, World};

const COLLECTION: &str = "bench";
const POINTS: u64 = 10_000;
const DIMENSIONS: u64 = 64;
const BATCH: u64 = 500;
const SHARDS: usize = 2;
const COPIES: usize = 3;
/// How long a change may take, with everything by hand.
const LIMIT: Duration = Duration::from_secs(60);

/// All figures.
#[derive(Debug, Serialize)]
struct Figured {
    format: u32,
    qdrant: String,
    tasks: usize,
    runs: usize,
    points: u64,
    dimensions: u64,
    grace_s: f64,
    follower: Row,
    leader: Row,
}

/// One kind of death, in seconds from the kill; ours without the grace only in the last.
#[derive(Debug, Serialize)]
struct Row {
    dead_out_s: Pair,
    replacement_in_s: Pair,
    copies_s: Pair,
    healed_without_grace_s: Pair,
}

/// Seconds from the kill of one node.
#[derive(Debug, Clone, Copy)]
struct Times {
    out: f64,
    joined: f64,
    copies: f64,
}

impl Times {
    /// Until the last of it.
    fn all(&self) -> f64 {
        self.out.max(self.joined).max(self.copies)
    }
}

impl Row {
    fn of(ours: &[Times], raw: &[Times], grace: f64) -> Self {
        let pair = |of: fn(&Times) -> f64| {
            Pair::of(ours.iter().map(of).collect(), raw.iter().map(of).collect())
        };
        let without = ours.iter().map(|times| times.all() - grace).collect();
        let raw_all = raw.iter().map(Times::all).collect();
        Self {
            dead_out_s: pair(|times| times.out),
            replacement_in_s: pair(|times| times.joined),
            copies_s: pair(|times| times.copies),
            healed_without_grace_s: Pair::of(without, raw_all),
        }
    }

    fn print(&self, name: &str) {
        self.dead_out_s.print(&format!("{name} killed → dead out"));
        self.replacement_in_s
            .print(&format!("{name} killed → replacement votes"));
        self.copies_s
            .print(&format!("{name} killed → copies complete"));
        self.healed_without_grace_s.print(&format!(
            "{name} killed → all of that, ours without the grace"
        ));
    }
}

/// Runs it, prints the figures and writes them to `json`.
///
/// # Errors
/// When one of the runs fails.
pub async fn main(plan: &Plan, tasks: usize, runs: usize, json: Option<&Path>) -> Result<ExitCode> {
    if tasks < 4 {
        bail!("with fewer than four tasks a death cannot be healed to {COPIES} copies elsewhere");
    }
    let quiet = Plan {
        quiet: true,
        ..plan.clone()
    };
    let grace = timing::GONE.as_secs_f64();
    let (mut ours, mut raws) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let raw = by_hand(plan, tasks).await.context("by hand")?;
        let own = by_ours(&quiet, tasks).await.context("by ours")?;
        for (victim, raw, own) in [("follower", raw.0, own.0), ("leader", raw.1, own.1)] {
            println!(
                "run {run}: {victim}: raw {:.2} s (out {:.2}, in {:.2}), ours {:.2} s after the \
                 grace (out {:.2}, in {:.2}, copies {:.2})",
                raw.all(),
                raw.out,
                raw.joined,
                own.all() - grace,
                own.out,
                own.joined,
                own.copies,
            );
        }
        raws.push(raw);
        ours.push(own);
    }
    let row = |of: fn(&(Times, Times)) -> Times| {
        let pick = |all: &[(Times, Times)]| all.iter().map(of).collect::<Vec<_>>();
        Row::of(&pick(&ours), &pick(&raws), grace)
    };
    let figured = Figured {
        format: 1,
        qdrant: plan.qdrant.label.clone(),
        tasks,
        runs,
        points: POINTS,
        dimensions: DIMENSIONS,
        grace_s: grace,
        follower: row(|pair| pair.0),
        leader: row(|pair| pair.1),
    };
    figured.follower.print("follower");
    figured.leader.print("leader");
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&figured).context("write the figures")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A follower and then the leader, killed and healed by ours.
async fn by_ours(plan: &Plan, tasks: usize) -> Result<(Times, Times)> {
    let mut setup = Setup::new(tasks);
    setup.env = timing::HEAL
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    setup.allowed.events = vec!["*"];
    let world = World::build(plan, setup).await?;
    world.ecs.scale(tasks);
    world.rest(tasks).await.map_err(broken)?;
    let hand = Hand::new()?;
    let leader = world.leader().map_err(broken)?;
    hand.load(&leader.address.to_string()).await?;
    hand.settled(&hosts(&world.ecs.running())).await?;
    // From here on only the hand looks, so that both carry the same load.
    let follower = world
        .ecs
        .running()
        .into_iter()
        .find(|task| task.number != leader.number);
    world.observer.stop();
    let first = killed_by_ours(&world, &hand, &follower.context("a follower")?).await?;
    let leader = hand.leader(&hosts(&world.ecs.running())).await?;
    let leader = world
        .ecs
        .running()
        .into_iter()
        .find(|task| task.address.to_string() == leader);
    let second = killed_by_ours(&world, &hand, &leader.context("a leader")?).await?;
    world.end().await;
    Ok((first, second))
}

async fn killed_by_ours(world: &World, hand: &Hand, victim: &Arc<Task>) -> Result<Times> {
    let dead = hand.peer(&victim.address.to_string()).await?;
    let tasks = world.ecs.running().len();
    let begun = Instant::now();
    victim.destroy();
    hand.watch(begun, dead, tasks, || hosts(&world.ecs.running()))
        .await
}

fn hosts(tasks: &[Arc<Task>]) -> Vec<String> {
    tasks.iter().map(|task| task.address.to_string()).collect()
}

/// The same by hand.
async fn by_hand(plan: &Plan, tasks: usize) -> Result<(Times, Times)> {
    let mut bench = Bench::new(&plan.qdrant, plan.zones)?;
    let first = bench.form(tasks).await?.to_string();
    let hand = Hand::new()?;
    hand.load(&first).await?;
    hand.settled(&bench.hosts()).await?;
    let follower = bench.nodes.len() - 1;
    let killed = killed_by_hand(&mut bench, &hand, follower).await?;
    let leader = hand.leader(&bench.hosts()).await?;
    let at = bench
        .nodes
        .iter()
        .position(|node| node.address.to_string() == leader);
    let leader = killed_by_hand(&mut bench, &hand, at.context("a leader")?).await?;
    bench.end().await;
    Ok((killed, leader))
}

/// In the best order: its copies dropped and it removed before anything is copied, for every dead
/// address costs a transfer ten seconds.
async fn killed_by_hand(bench: &mut Bench<'_>, hand: &Hand, victim: usize) -> Result<Times> {
    let victim = bench.nodes.remove(victim);
    let dead = hand.peer(&victim.address.to_string()).await?;
    let begun = Instant::now();
    let took = || begun.elapsed().as_secs_f64();
    victim.process.signal(nix::sys::signal::Signal::SIGKILL);
    victim.process.wait().await;
    let leader = hand.leader_but(&bench.hosts(), dead).await?;
    let missing = hand.shards_on(&leader, dead).await?;
    for shard in &missing {
        let drop = json!({"drop_replica": {"shard_id": shard, "peer_id": dead}});
        hand.change(&leader, &drop).await?;
    }
    hand.remove(&leader, dead).await?;
    let out = took();
    let bootstrap = leader.parse().context("an address")?;
    bench.start(Some(bootstrap)).await?;
    let newest = bench.nodes.len() - 1;
    bench
        .until("the new one votes", async |bench| bench.votes(newest).await)
        .await?;
    let joined = took();
    let host = bench
        .nodes
        .last()
        .context("the new one")?
        .address
        .to_string();
    let to = hand.peer(&host).await?;
    for shard in &missing {
        let from = hand.active(&leader, *shard).await?.first().copied();
        let from = from.context("an Active copy")?;
        let copy = json!({"replicate_shard": {
            "shard_id": shard, "from_peer_id": from, "to_peer_id": to,
        }});
        hand.change(&leader, &copy).await?;
    }
    hand.settled(&bench.hosts()).await?;
    let copies = took();
    Ok(Times {
        out,
        joined,
        copies,
    })
}

/// The requests of a person, or of nobody at all: only looking.
struct Hand {
    client: reqwest::Client,
    patient: reqwest::Client,
}

impl Hand {
    fn new() -> Result<Self> {
        let patient = reqwest::Client::builder().timeout(LIMIT).no_proxy();
        Ok(Self {
            client: ask::client().context("build a client")?,
            patient: patient.build().context("build a client")?,
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer = request
            .header("api-key", API_KEY)
            .send()
            .await
            .context("ask")?;
        let (status, text) = (answer.status(), answer.text().await.context("ask")?);
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        serde_json::from_str(&text).context("read an answer")
    }

    /// Creates the collection and fills it.
    async fn load(&self, host: &str) -> Result<()> {
        let url = format!("http://{host}:6333/collections/{COLLECTION}");
        let body = json!({
            "vectors": {"size": DIMENSIONS, "distance": "Dot"},
            "shard_number": SHARDS, "replication_factor": COPIES, "write_consistency_factor": 1,
        });
        self.send(self.patient.put(&url).json(&body)).await?;
        for first in (0..POINTS).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            let vector = |id: u64| -> Vec<f32> {
                (0..DIMENSIONS)
                    .map(|at| ((id * 31 + at * 17) % 101) as f32 / 101.0)
                    .collect()
            };
            let points = (first..first + BATCH).map(|id| json!({"id": id, "vector": vector(id)}));
            let body = json!({"points": points.collect::<Vec<_>>()});
            let request = self.patient.put(format!("{url}/points?wait=true"));
            self.send(request.json(&body)).await?;
        }
        Ok(())
    }

    /// Asks for a change of the collection's shards, again and again until it is taken.
    async fn change(&self, host: &str, body: &Value) -> Result<()> {
        let url = format!("http://{host}:6333/collections/{COLLECTION}/cluster");
        self.insist(|| self.patient.post(&url).json(body)).await
    }

    async fn remove(&self, host: &str, peer: u64) -> Result<()> {
        let url = format!("http://{host}:6333/cluster/peer/{peer}");
        self.insist(|| self.patient.delete(&url)).await
    }

    async fn insist(&self, request: impl Fn() -> reqwest::RequestBuilder) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        loop {
            match self.send(request()).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > limit => return Err(error),
                Err(_) => tokio::time::sleep(timing::LOOK).await,
            }
        }
    }

    async fn peer(&self, host: &str) -> Result<u64> {
        let raft = ask::raft(&self.client, host, API_KEY).await;
        Ok(raft.with_context(|| format!("{host} answers"))?.peer_id)
    }

    async fn leader(&self, hosts: &[String]) -> Result<String> {
        self.leader_but(hosts, 0).await
    }

    /// Waits until one of these leads by its own word, and gives its address.
    async fn leader_but(&self, hosts: &[String], dead: u64) -> Result<String> {
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            for host in hosts {
                let raft = ask::raft(&self.client, host, API_KEY).await;
                let leads = |raft: &crate::observe::sample::Raft| {
                    raft.leader == Some(raft.peer_id) && raft.peer_id != dead
                };
                if raft.as_ref().is_some_and(leads) {
                    return Ok(host.clone());
                }
            }
            tokio::time::sleep(timing::LOOK).await;
        }
        bail!("nobody leads for a minute");
    }

    async fn shards(&self, host: &str) -> Result<Vec<(u64, u64, bool)>> {
        let path = format!("/collections/{COLLECTION}/cluster");
        let answer = ask::qdrant(&self.client, host, &path, API_KEY).await;
        let answer = answer.with_context(|| format!("{host} answers"))?;
        Ok(copies(&answer))
    }

    async fn shards_on(&self, host: &str, peer: u64) -> Result<BTreeSet<u64>> {
        let all = self.shards(host).await?.into_iter();
        Ok(all
            .filter(|(_, at, _)| *at == peer)
            .map(|(shard, ..)| shard)
            .collect())
    }

    async fn active(&self, host: &str, shard: u64) -> Result<Vec<u64>> {
        let all = self.shards(host).await?.into_iter();
        let active = all.filter(|(of, _, active)| *of == shard && *active);
        Ok(active.map(|(_, peer, _)| peer).collect())
    }

    /// Waits until every one of these sees all copies Active and nothing on its way.
    async fn settled(&self, hosts: &[String]) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            let mut all = true;
            for host in hosts {
                all = all && self.complete(host).await;
            }
            if all {
                return Ok(());
            }
            tokio::time::sleep(timing::LOOK).await;
        }
        bail!("the copies are not complete after a minute");
    }

    async fn complete(&self, host: &str) -> bool {
        let path = format!("/collections/{COLLECTION}/cluster");
        let Some(answer) = ask::qdrant(&self.client, host, &path, API_KEY).await else {
            return false;
        };
        let moving = answer.get("shard_transfers").and_then(Value::as_array);
        let copies = copies(&answer);
        moving.is_some_and(Vec::is_empty)
            && copies.len() == SHARDS * COPIES
            && copies.iter().all(|(_, _, active)| *active)
    }

    /// Looks at everybody who runs until the dead peer is out, all of them vote, and the copies are
    /// complete.
    async fn watch(
        &self,
        begun: Instant,
        dead: u64,
        tasks: usize,
        hosts: impl Fn() -> Vec<String>,
    ) -> Result<Times> {
        let (mut out, mut joined) = (None, None);
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            let hosts = hosts();
            let (mut rafts, mut complete) = (Vec::new(), true);
            for host in &hosts {
                rafts.extend(ask::raft(&self.client, host, API_KEY).await);
                complete = complete && self.complete(host).await;
            }
            let listed = rafts.iter().any(|raft| raft.peers.contains_key(&dead));
            let voters = rafts.iter().filter(|raft| raft.is_voter).count();
            let now = begun.elapsed().as_secs_f64();
            if !listed && !rafts.is_empty() {
                out.get_or_insert(now);
            }
            if voters == tasks && hosts.len() == tasks {
                joined.get_or_insert(now);
            }
            if let (Some(out), Some(joined), true) = (out, joined, complete && !listed) {
                return Ok(Times {
                    out,
                    joined,
                    copies: now,
                });
            }
            tokio::time::sleep(timing::LOOK).await;
        }
        bail!("not healed after a minute: out {out:?}, in {joined:?}");
    }
}

/// Shard, peer, and whether it is Active, of every copy in an answer.
fn copies(answer: &Value) -> Vec<(u64, u64, bool)> {
    let me = answer.get("peer_id").and_then(Value::as_u64);
    let rows = ["local_shards", "remote_shards"].into_iter();
    let rows = rows
        .filter_map(|name| answer.get(name)?.as_array())
        .flatten();
    rows.filter_map(|row| {
        let peer = row.get("peer_id").and_then(Value::as_u64).or(me)?;
        let active = row.get("state").and_then(Value::as_str) == Some("Active");
        Some((row.get("shard_id")?.as_u64()?, peer, active))
    })
    .collect()
}
