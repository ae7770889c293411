//! How long a write takes while a set is made, how long while none is, and how long while Qdrant streams the
//! same shards to somebody who throws them away.
//! Owns: the steady writer, and these figures. Must not: make sets.
//!
//! Writes are begun by the clock, whether those before them have ended or not, and are timed from when
//! they should have begun: who waits for an answer first would write less just when it is slow.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::{COLLECTION, Keep};
use crate::direct::{Direct, Weight};
use crate::report::figures::Spread;

/// Writes in a second.
const RATE: u32 = 100;
/// Of a window in which no set is made.
const WINDOW: Duration = Duration::from_secs(8);
/// After a window, so that none has what is left of the other.
const BETWEEN: Duration = Duration::from_secs(2);

/// Milliseconds: of each window its median and its 99th percentile, and of those the spread.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    writes_per_second: u32,
    without_p50_ms: Option<Spread>,
    without_p99_ms: Option<Spread>,
    with_p50_ms: Option<Spread>,
    with_p99_ms: Option<Spread>,
    streamed_p50_ms: Option<Spread>,
    streamed_p99_ms: Option<Spread>,
    /// Of the medians.
    p50_ratio: Option<f64>,
    p99_ratio: Option<f64>,
    /// How long the sets took that were made meanwhile, in seconds.
    set_s: Option<Spread>,
}

/// Writes at a steady rate.
pub(super) struct Steady {
    direct: Direct,
    hosts: Vec<String>,
    weight: Weight,
    next: AtomicU64,
}

impl Steady {
    pub(super) fn new(direct: Direct, hosts: Vec<String>, weight: Weight, next: u64) -> Self {
        Self {
            direct,
            hosts,
            weight,
            next: AtomicU64::new(next),
        }
    }

    /// Writes until `what` is over; gives its result and how long each write took, in milliseconds.
    async fn during<T>(&self, what: impl Future<Output = T>) -> Result<(T, Vec<f64>)> {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut writes = JoinSet::new();
        tokio::pin!(what);
        let done = loop {
            let due = tokio::select! {
                done = &mut what => break done,
                due = tick.tick() => due,
            };
            self.begin(&mut writes, due)?;
        };
        let mut took = Vec::new();
        while let Some(write) = writes.join_next().await {
            took.push(write.context("wait for a write")??);
        }
        Ok((done, took))
    }

    fn begin(&self, writes: &mut JoinSet<Result<f64>>, due: Instant) -> Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(id)? % self.hosts.len().max(1);
        let host = self.hosts.get(at).cloned().context("a host")?;
        let (direct, weight) = (self.direct.clone(), self.weight);
        writes.spawn(async move {
            direct.write(&host, COLLECTION, id, weight).await?;
            Ok(due.elapsed().as_secs_f64() * 1000.0)
        });
        Ok(())
    }
}

pub(super) async fn measure(keep: &Keep, runs: usize) -> Result<Latency> {
    let writer = keep.writer();
    let (mut without, mut with) = (Windows::default(), Windows::default());
    let mut streamed = Windows::default();
    let mut sets = Vec::new();
    // What connections and caches cost at first is nobody's.
    writer.during(tokio::time::sleep(BETWEEN)).await?;
    for run in 1..=runs {
        let ((), quiet) = writer.during(tokio::time::sleep(WINDOW)).await?;
        without.add(quiet)?;
        let (set, busy) = writer.during(keep.set()).await?;
        with.add(busy)?;
        sets.push(set?.lasted()?.as_secs_f64());
        tokio::time::sleep(BETWEEN).await;
        let (bare, beside) = writer.during(keep.bare_streams()).await?;
        bare?;
        streamed.add(beside)?;
        tokio::time::sleep(BETWEEN).await;
        println!(
            "latency, run {run}: without a set {}, with bare streams {}, with a set {}, which took {:.2} s",
            without.last(),
            streamed.last(),
            with.last(),
            sets.last().copied().unwrap_or_default()
        );
    }
    let (quiet_50, quiet_99) = (Spread::of(without.p50), Spread::of(without.p99));
    let (set_50, set_99) = (Spread::of(with.p50), Spread::of(with.p99));
    let (bare_50, bare_99) = (Spread::of(streamed.p50), Spread::of(streamed.p99));
    let ratio =
        |with: Option<Spread>, without: Option<Spread>| Some(with?.median / without?.median);
    Ok(Latency {
        writes_per_second: RATE,
        p50_ratio: ratio(set_50, quiet_50),
        p99_ratio: ratio(set_99, quiet_99),
        without_p50_ms: quiet_50,
        without_p99_ms: quiet_99,
        streamed_p50_ms: bare_50,
        streamed_p99_ms: bare_99,
        with_p50_ms: set_50,
        with_p99_ms: set_99,
        set_s: Spread::of(sets),
    })
}

#[derive(Default)]
struct Windows {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Windows {
    fn add(&mut self, mut took: Vec<f64>) -> Result<()> {
        took.sort_by(f64::total_cmp);
        let (Some(p50), Some(p99)) = (percentile(&took, 50), percentile(&took, 99)) else {
            bail!("nothing was written in a window");
        };
        self.p50.push(p50);
        self.p99.push(p99);
        Ok(())
    }

    fn last(&self) -> String {
        let last = |of: &[f64]| of.last().copied().unwrap_or_default();
        format!(
            "p50 {:.1} ms, p99 {:.1} ms",
            last(&self.p50),
            last(&self.p99)
        )
    }
}

/// The smallest value that so many percent do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

impl Latency {
    pub(super) fn print(&self) {
        let ms = |spread: Option<Spread>| {
            spread.map_or("–".into(), |it| {
                format!(
                    "{:.1} ms (median of {} windows, {:.1} to {:.1})",
                    it.median, it.count, it.min, it.max
                )
            })
        };
        let ratio = |ratio: Option<f64>| ratio.map_or("–".into(), |it| format!("{it:.2}"));
        println!("{} writes a second", self.writes_per_second);
        println!("  p50 without a set {}", ms(self.without_p50_ms));
        println!("  p50 with one      {}", ms(self.with_p50_ms));
        println!("  p50 bare streams  {}", ms(self.streamed_p50_ms));
        println!("  p99 without a set {}", ms(self.without_p99_ms));
        println!("  p99 bare streams  {}", ms(self.streamed_p99_ms));
        println!("  p99 with one      {}", ms(self.with_p99_ms));
        println!(
            "  ratios: p50 {}, p99 {}",
            ratio(self.p50_ratio),
            ratio(self.p99_ratio)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let all: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&all, 50), Some(100.0));
        assert_eq!(percentile(&all, 99), Some(198.0));
        assert_eq!(percentile(&[3.0], 99), Some(3.0));
        assert_eq!(percentile(&[], 99), None);
    }
}
