//! How long the newest set takes to come back when all is lost, beside the same files put back by hand.
//! Owns: these figures, and the hand. Must not: make sets.
//!
//! By hand is what a good operator would do who has formed a cluster already: create the collection, then
//! have all copies of all shards recover at once, each from the same file. The file comes by HTTP, as ours
//! does, or lies in each Qdrant's snapshots directory (a hard link stands for a directory that all share).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio_util::task::AbortOnDropHandle;

use super::super::raw::Bench;
use super::{COLLECTION, COPIES, Keep, LIMIT, SHARDS};
use crate::bench::broken;
use crate::observe::logs::Tails;
use crate::report::figures::Spread;
use crate::timing;
use crate::world::Plan;
use crate::world::sets::Set;

/// What is read at once of a file that is given by hand.
const PIECE: usize = 256 * 1024;

/// Seconds.
#[derive(Debug, Serialize)]
pub(super) struct Restoring {
    /// From *begun* to *finished*, as the steward says.
    ours_s: Option<Spread>,
    /// From the loss of everything to all tasks ready, the silence that proves it included.
    loss_to_serving_s: Option<Spread>,
    /// How old the newest set was at the loss.
    age_s: Option<Spread>,
    /// Until the loss was certain.
    silence_s: f64,
    by_hand_http_s: Option<Spread>,
    by_hand_file_s: Option<Spread>,
    to_http: Option<f64>,
    to_file: Option<f64>,
}

/// One loss.
struct Lost {
    restored: f64,
    serving: f64,
    age: f64,
}

pub(super) async fn measure(
    plan: &Plan,
    keep: &Keep,
    runs: usize,
) -> Result<(Restoring, Option<u64>)> {
    let (mut ours, mut serving, mut ages) = (Vec::new(), Vec::new(), Vec::new());
    let (mut http, mut file) = (Vec::new(), Vec::new());
    let mut peak = None;
    for run in 1..=runs {
        let set = keep.set().await?;
        let lost = lose(keep, &set).await.context("restore by ours")?;
        peak = peak.max(keep.peak_kib());
        keep.settled(&keep.hosts(), true).await?;
        let by_http = by_hand(plan, keep, &set, Source::Http)
            .await
            .context("by hand, http")?;
        let by_file = by_hand(plan, keep, &set, Source::Directory)
            .await
            .context("by hand, file")?;
        println!(
            "restore, run {run}: ours {:.2} s, {:.2} s from the loss to serving; by hand {by_http:.2} s by \
             HTTP, {by_file:.2} s from a directory",
            lost.restored, lost.serving
        );
        ours.push(lost.restored);
        serving.push(lost.serving);
        ages.push(lost.age);
        http.push(by_http);
        file.push(by_file);
    }
    let (ours, http, file) = (Spread::of(ours), Spread::of(http), Spread::of(file));
    let ratio = |hand: Option<Spread>| Some(ours?.median / hand?.median);
    let figures = Restoring {
        ours_s: ours,
        loss_to_serving_s: Spread::of(serving),
        age_s: Spread::of(ages),
        silence_s: timing::LOSS.as_secs_f64(),
        by_hand_http_s: http,
        by_hand_file_s: file,
        to_http: ratio(http),
        to_file: ratio(file),
    };
    Ok((figures, peak))
}

impl Restoring {
    pub(super) fn print(&self) {
        let show = |spread: Option<Spread>| spread.map_or("–".into(), |it| it.to_string());
        let ratio = |ratio: Option<f64>| ratio.map_or("–".into(), |it| format!("{it:.2}"));
        println!("restore of {SHARDS} shards × {COPIES} copies");
        println!("  ours, begun to finished   {}", show(self.ours_s));
        println!("  by hand, by HTTP          {}", show(self.by_hand_http_s));
        println!("  by hand, from a directory {}", show(self.by_hand_file_s));
        println!(
            "  ratios: {} and {}",
            ratio(self.to_http),
            ratio(self.to_file)
        );
        println!(
            "  loss of everything to serving {}, of which {:.0} s prove the loss; age of the set {}",
            show(self.loss_to_serving_s),
            self.silence_s,
            show(self.age_s)
        );
    }
}

/// Every task dies with its disk; waits until the newest set, which is this one, is served.
async fn lose(keep: &Keep, set: &Set) -> Result<Lost> {
    let world = &keep.world;
    let tasks = world.ecs.running();
    let (wanted, last) = (tasks.len(), tasks.iter().map(|task| task.number).max());
    let planned = set.plan.as_ref().context("a plan")?.planned;
    let begun = Instant::now();
    let age = Timestamp::now().duration_since(planned.to_string().parse::<Timestamp>()?);
    world
        .kill_all(&tasks, "everything is lost")
        .await
        .map_err(broken)?;
    let limit = Instant::now() + LIMIT;
    loop {
        let sample = world.observer.latest();
        let new = sample.running().filter(|view| Some(view.task) > last);
        if new.filter(|view| view.ready()).count() == wanted {
            break;
        }
        if Instant::now() > limit {
            bail!("not served after {LIMIT:?}: {}", sample.describe());
        }
        tokio::time::sleep(timing::LOOK).await;
    }
    let serving = begun.elapsed().as_secs_f64();
    let restored = restored(keep, last, set)?;
    Ok(Lost {
        restored,
        serving,
        age: age.as_secs_f64(),
    })
}

/// The time between the two events of the restore, which the newest tasks' logs tell.
fn restored(keep: &Keep, last: Option<usize>, set: &Set) -> Result<f64> {
    let mut tails = Tails::default();
    let (mut from, mut to) = (None::<Timestamp>, None::<Timestamp>);
    for task in keep.world.ecs.tasks() {
        if Some(task.number) <= last {
            continue;
        }
        for line in tails.read(task.number, &task.log) {
            let at = || line.timestamp.parse::<Timestamp>();
            match line.event.as_str() {
                "restore.begun" => {
                    let of = set.id.to_string();
                    ensure!(line.text.contains(&of), "not {of}: {}", line.text);
                    from = Some(at().context("a time")?);
                }
                "restore.finished" => to = Some(at().context("a time")?),
                _ => {}
            }
        }
    }
    let (from, to) = (
        from.context("a restore begins")?,
        to.context("it finishes")?,
    );
    Ok(to.duration_since(from).as_secs_f64())
}

/// Where a recovery by hand gets its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Http,
    Directory,
}

/// Puts the files of a set into bare Qdrants; gives the seconds from the creation of the collection until
/// all copies are Active and count the same.
async fn by_hand(plan: &Plan, keep: &Keep, set: &Set, from: Source) -> Result<f64> {
    let mut bench = Bench::new(&plan.qdrant, plan.zones)?;
    bench.form(SHARDS * COPIES).await?;
    let hosts = bench.hosts();
    let first = hosts.first().context("a node")?;
    let server = Server::start(set).await?;
    let mut peers = Vec::new();
    for host in &hosts {
        let me = keep.direct.get(host, "/cluster").await?;
        let id = me.get("peer_id").and_then(serde_json::Value::as_u64);
        peers.push((id.context("a peer id")?, host.clone()));
    }
    let begun = Instant::now();
    let direct = &keep.direct;
    direct
        .create(first, COLLECTION, keep.weight, SHARDS, COPIES)
        .await?;
    keep.settled(&hosts, false).await?;
    let copies = direct.copies(first, COLLECTION).await?;
    let manifest = set.manifest.as_ref().context("a manifest")?;
    let files = manifest.collections.iter().flat_map(|there| &there.files);
    let files: Vec<_> = files.collect();
    let mut orders = Vec::new();
    for (shard, peer, _) in &copies.all {
        let file = files.iter().find(|file| u64::from(file.shard.0) == *shard);
        let file = file.context("a file for every shard")?;
        let host = peers.iter().find(|(id, _)| id == peer);
        let host = host.context("a host for every copy")?.1.clone();
        let location = match from {
            Source::Http => server.location(&file.path),
            Source::Directory => {
                let folder = bench.folder_of(&host).join("snapshots").join(COLLECTION);
                let folder = folder.join("shards").join(shard.to_string());
                std::fs::create_dir_all(&folder).context("make a folder")?;
                std::fs::hard_link(set.folder().join(&file.path), folder.join(NAME))
                    .context("link a file")?;
                NAME.to_owned()
            }
        };
        let (sha256, shard) = (file.sha256.to_string(), *shard);
        orders.push(async move {
            let done = direct.recover(&host, COLLECTION, shard, &location, &sha256);
            done.await
                .with_context(|| format!("recover shard {shard} at {host}"))
        });
    }
    try_join_all(orders).await?;
    keep.settled(&hosts, false).await?;
    let counts = copies.all.iter().map(|(shard, peer, _)| {
        let host = peers
            .iter()
            .find(|(id, _)| id == peer)
            .map(|(_, host)| host);
        async move {
            let host = host.context("a host")?;
            let count = direct.count_copy(host, COLLECTION, *shard).await?;
            Ok::<_, anyhow::Error>((*shard, count))
        }
    });
    let mut counts = try_join_all(counts.collect::<Vec<_>>()).await?;
    let took = begun.elapsed().as_secs_f64();
    counts.sort_unstable();
    counts.dedup();
    ensure!(counts.len() == SHARDS, "copies differ: {counts:?}");
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    ensure!(all >= keep.amount.points, "only {all} points are there");
    bench.end().await;
    Ok(took)
}

/// Of a file in a Qdrant's snapshots directory.
const NAME: &str = "by-hand.snapshot";

/// Gives the files of a set to whoever asks, until it is dropped.
struct Server {
    address: std::net::SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(set: &Set) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("bind a port")?;
        let address = listener.local_addr().context("a port")?;
        let folder = Arc::new(set.folder().to_owned());
        let app = axum::Router::new()
            .route("/{*file}", axum::routing::get(give))
            .with_state(folder);
        let served = tokio::spawn(async move {
            // It ends with the measurement.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            _task: AbortOnDropHandle::new(served),
        })
    }

    fn location(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

async fn give(State(folder): State<Arc<PathBuf>>, Path(path): Path<String>) -> Response {
    let file = tokio::fs::File::open(folder.join(path)).await;
    let Ok(file) = file else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let pieces = futures::stream::unfold(file, |mut file| async move {
        let mut bytes = vec![0; PIECE];
        match file.read(&mut bytes).await {
            Ok(0) => None,
            Ok(read) => {
                bytes.truncate(read);
                Some((Ok::<_, std::io::Error>(Bytes::from(bytes)), file))
            }
            Err(why) => Some((Err(why), file)),
        }
    });
    Body::from_stream(pieces).into_response()
}
