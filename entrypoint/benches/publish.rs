//! How fast a big file is published by the directory store, against `cp` and `sha256sum` of the
//! same bytes in the same run: `cargo bench -p entrypoint --bench publish -- [DIRECTORY] [MIB]`.
//!
//! One pair after the other, each side first in turn, so that a disk that is busy with something
//! else hits both. Ours is durable when it ends; `cp` is given its own `sync` in a second figure,
//! because only then have both done the same.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrypoint::store::{BlobStore as _, DirectoryStore, Key};

const PAIRS: usize = 7;
/// What Qdrant's stream comes in, more or less.
const PIECE: usize = 64 * 1024;

fn main() -> Result<()> {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"));
    let place = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: u64 = words.next().map_or(Ok(1024), |word| word.parse())?;
    let dir = tempfile::tempdir_in(place).context("make a directory")?;
    let source = dir.path().join("source");
    fill(&source, mib).context("make the source")?;
    let (mut ours, mut copied, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    let mut pages = 0;
    for pair in 0..PAIRS {
        let by_us = |ours: &mut Vec<Duration>, pages: &mut u64| -> Result<()> {
            let (took, most) = publish(dir.path(), &source)?;
            ours.push(took);
            *pages = most.max(*pages);
            Ok(())
        };
        if pair % 2 == 0 {
            by_us(&mut ours, &mut pages)?;
        }
        let (plain, durable) = by_hand(dir.path(), &source)?;
        copied.push(plain);
        synced.push(durable);
        if pair % 2 == 1 {
            by_us(&mut ours, &mut pages)?;
        }
    }
    let (ours, copied, synced) = (median(ours), median(copied), median(synced));
    let rate = |took: Duration| mib as f64 / took.as_secs_f64();
    println!("{PAIRS} pairs of {mib} MiB, medians; resident at most {pages} KiB");
    println!(
        "ours, hashed and durable:   {ours:8.3?}  {:7.0} MiB/s",
        rate(ours)
    );
    println!(
        "cp + sha256sum, in memory:  {copied:8.3?}  {:7.0} MiB/s",
        rate(copied)
    );
    println!(
        "cp + sync + sha256sum:      {synced:8.3?}  {:7.0} MiB/s",
        rate(synced)
    );
    println!(
        "ratio to cp + sha256sum:        {:.2}",
        rate(ours) / rate(copied)
    );
    println!(
        "ratio to cp + sync + sha256sum: {:.2}",
        rate(ours) / rate(synced)
    );
    Ok(())
}

/// Bytes that neither a disk nor a file system can make small.
fn fill(path: &Path, mib: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut state = 88_172_645_463_325_252_u64;
    let mut block = vec![0_u8; 1 << 20];
    for _ in 0..mib {
        for word in block.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(())
}

/// Publishes the source and gives how long that took and what this process held at most.
fn publish(dir: &Path, source: &Path) -> Result<(Duration, u64)> {
    let store = DirectoryStore::new(dir.join("store"));
    let key = Key::new("sets/1/shard")?;
    store.remove_blob(&key)?;
    let mut source = File::open(source)?;
    let mut piece = vec![0; PIECE];
    let began = Instant::now();
    let mut writer = store.begin(&key)?;
    loop {
        let length = source.read(&mut piece)?;
        match piece.get(..length) {
            Some(bytes) if !bytes.is_empty() => writer.write(bytes)?,
            _ => break,
        }
    }
    let stored = writer.finish()?;
    let took = began.elapsed();
    ensure!(
        stored.size == source.metadata()?.len(),
        "not all was written"
    );
    store.remove_blob(&key)?;
    let status = fs::read_to_string("/proc/self/status")?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Ok((took, most.unwrap_or_default()))
}

/// Copies and sums with the system's tools; gives the time without and with making it durable.
fn by_hand(dir: &Path, source: &Path) -> Result<(Duration, Duration)> {
    let copy = dir.join("copy");
    let timed = |program: &str, words: &[&Path]| -> Result<Duration> {
        let began = Instant::now();
        let run = Command::new(program)
            .args(words)
            .output()
            .context(program.to_owned())?;
        ensure!(run.status.success(), "{program} failed");
        Ok(began.elapsed())
    };
    let copied = timed("cp", &[source, &copy])?;
    let summed = timed("sha256sum", &[source])?;
    let synced = timed("sync", &[&copy])?;
    fs::remove_file(&copy)?;
    Ok((copied + summed, copied + summed + synced))
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
