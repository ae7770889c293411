//! Figures of ours beside the same done by hand to the same Qdrant, in the same run.
//! Owns: what both benchmarks share. Must not: judge what is fast enough.

pub mod form;
pub mod heal;
pub mod keep;
mod raw;

use anyhow::anyhow;
use serde::Serialize;

use crate::report::figures::Spread;
use crate::verdict::Failure;

/// Ours beside raw.
#[derive(Debug, Serialize)]
pub struct Pair {
    ours: Option<Spread>,
    raw: Option<Spread>,
    ratio_of_medians: Option<f64>,
}

impl Pair {
    fn of(ours: Vec<f64>, raw: Vec<f64>) -> Self {
        let (ours, raw) = (Spread::of(ours), Spread::of(raw));
        let ratio_of_medians = ours.zip(raw).map(|(ours, raw)| ours.median / raw.median);
        Self {
            ours,
            raw,
            ratio_of_medians,
        }
    }

    fn print(&self, name: &str) {
        let show =
            |spread: Option<Spread>| spread.map_or("–".into(), |spread| spread.to_string());
        println!("{name}");
        println!("  ours  {}", show(self.ours));
        println!("  raw   {}", show(self.raw));
        println!(
            "  ratio {}",
            self.ratio_of_medians
                .map_or("–".into(), |r| format!("{r:.2}"))
        );
    }
}

fn broken(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}
