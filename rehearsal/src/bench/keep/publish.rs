//! How fast a set becomes durable and proven files, beside `cp` and `sha256sum` of the same files.
//! Owns: these figures. Must not: make sets.
//!
//! Both sides take the files of a set at once, as the set's tasks do. Ours reads Qdrant's segments, which
//! are in memory since they were written; so by hand the files are in memory as well (*warm*), which is
//! the harder comparison, and once more not (*cold*). Ours ends when each file is durable, was read back
//! from the disk and hashed again; `cp` ends with its copy in memory, and is given its own `sync` in a
//! figure of its own. What Qdrant alone needs to stream the same shards, to somebody who throws them away, is
//! what anybody who takes them has to wait for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::Serialize;
use tokio::process::Command;

use super::Keep;
use crate::report::figures::Spread;
use crate::world::sets::Set;

/// Seconds, and throughputs as ratios of medians: above 1 ours is faster.
#[derive(Debug, Serialize)]
pub(super) struct Publishing {
    pub(super) set_bytes: u64,
    /// From the first file that is begun to the last that is durable and proven.
    ours_s: Option<Spread>,
    /// From the plan to the manifest.
    set_s: Option<Spread>,
    by_hand_warm_s: Option<Spread>,
    by_hand_cold_s: Option<Spread>,
    by_hand_synced_s: Option<Spread>,
    /// Qdrant's streams alone.
    streams_s: Option<Spread>,
    to_streams: Option<f64>,
    to_warm: Option<f64>,
    to_cold: Option<f64>,
    to_synced: Option<f64>,
}

pub(super) async fn measure(keep: &Keep, runs: usize) -> Result<Publishing> {
    let (mut ours, mut whole) = (Vec::new(), Vec::new());
    let (mut warm, mut cold, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    let mut streams = Vec::new();
    let mut bytes = 0;
    for run in 1..=runs {
        let set = keep.set().await?;
        let taking = set.taking()?.context("this file system tells no birth")?;
        ours.push(taking.as_secs_f64());
        whole.push(set.lasted()?.as_secs_f64());
        let files = files(&set)?;
        bytes = files.iter().map(|(_, size)| size).sum();
        let paths: Vec<PathBuf> = files.into_iter().map(|(path, _)| path).collect();
        let copies = tempfile::Builder::new()
            .prefix("by-hand-")
            .tempdir_in(keep.world.folder())
            .context("make a folder")?;
        forget(&paths)?;
        let (plain, _) = by_hand(&paths, copies.path()).await?;
        cold.push(plain);
        // Read just now, and so in memory.
        let (plain, with_sync) = by_hand(&paths, copies.path()).await?;
        warm.push(plain);
        synced.push(with_sync);
        let begun = Instant::now();
        keep.bare_streams().await?;
        let bare = begun.elapsed().as_secs_f64();
        streams.push(bare);
        println!(
            "publishing, run {run}: {:.0} MB, ours {:.2} s (plan to manifest {:.2} s), by hand {plain:.2} s \
             warm, {:.2} s cold, {with_sync:.2} s with sync; Qdrant's streams alone {bare:.2} s",
            bytes as f64 / 1e6,
            taking.as_secs_f64(),
            set.lasted()?.as_secs_f64(),
            cold.last().copied().unwrap_or_default(),
        );
    }
    let (ours, warm) = (Spread::of(ours), Spread::of(warm));
    let (cold, synced) = (Spread::of(cold), Spread::of(synced));
    let streams = Spread::of(streams);
    let ratio = |hand: Option<Spread>| Some(hand?.median / ours?.median);
    Ok(Publishing {
        set_bytes: bytes,
        ours_s: ours,
        set_s: Spread::of(whole),
        by_hand_warm_s: warm,
        by_hand_cold_s: cold,
        by_hand_synced_s: synced,
        streams_s: streams,
        to_streams: ratio(streams),
        to_warm: ratio(warm),
        to_cold: ratio(cold),
        to_synced: ratio(synced),
    })
}

impl Publishing {
    pub(super) fn print(&self) {
        let show = |spread: Option<Spread>| spread.map_or("–".into(), |it| it.to_string());
        let ratio = |ratio: Option<f64>| ratio.map_or("–".into(), |it| format!("{it:.2}"));
        println!("publishing a set of {:.0} MB", self.set_bytes as f64 / 1e6);
        println!("  ours, durable and read back   {}", show(self.ours_s));
        println!("  plan to manifest              {}", show(self.set_s));
        for (name, spread, to) in [
            (
                "Qdrant's streams, not kept   ",
                self.streams_s,
                self.to_streams,
            ),
            (
                "cp + sha256sum, warm         ",
                self.by_hand_warm_s,
                self.to_warm,
            ),
            (
                "cp + sha256sum, cold         ",
                self.by_hand_cold_s,
                self.to_cold,
            ),
            (
                "cp + sha256sum + sync, warm  ",
                self.by_hand_synced_s,
                self.to_synced,
            ),
        ] {
            println!(
                "  {name} {}; ours has {} × its throughput",
                show(spread),
                ratio(to)
            );
        }
    }
}

/// The files of a set, with their sizes.
fn files(set: &Set) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for (path, _) in set.files()? {
        let path = set.folder().join(path);
        let size = path.metadata().context("look at a file")?.len();
        files.push((path, size));
    }
    Ok(files)
}

/// Has the kernel drop what it holds of these files in memory.
fn forget(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let file = std::fs::File::open(path).context("open a file")?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .context("forget a file")?;
    }
    Ok(())
}

/// Copies and sums all of them at once; gives the seconds without and with making the copies durable.
async fn by_hand(paths: &[PathBuf], copies: &Path) -> Result<(f64, f64)> {
    let copy = |path: &Path| copies.join(path.file_name().unwrap_or_default());
    let begun = Instant::now();
    let done = paths.iter().map(|path| {
        let (path, copy) = (path.clone(), copy(path));
        async move {
            run("cp", &[&path, &copy]).await?;
            run("sha256sum", &[&path]).await
        }
    });
    try_join_all(done.collect::<Vec<_>>()).await?;
    let plain = begun.elapsed().as_secs_f64();
    let all: Vec<PathBuf> = paths.iter().map(|path| copy(path)).collect();
    run(
        "sync",
        &all.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
    )
    .await?;
    let synced = begun.elapsed().as_secs_f64();
    for copy in all {
        std::fs::remove_file(copy).context("remove a copy")?;
    }
    Ok((plain, synced))
}

async fn run(program: &str, words: &[&Path]) -> Result<()> {
    let done = Command::new(program).args(words).output().await;
    let done = done.with_context(|| format!("run {program}"))?;
    ensure!(done.status.success(), "{program}: {}", done.status);
    Ok(())
}
