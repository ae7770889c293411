//! `cargo rehearse …`: arguments, and the verdict as the last line.
//! Owns: the command line. Must not: hold anything a scenario needs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::bench;
use crate::report;
use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::scenarios::ALL;
use crate::tools::{self, Qdrant};
use crate::world::Plan;

/// ECS in a box: real entrypoints and Qdrants on loopback addresses, with faults and a verdict.
#[derive(Debug, Parser)]
#[command(name = "rehearse", version)]
pub struct Args {
    /// Scenario, `scenario/case`, `all`, or `bench-form`, `bench-heal`, `bench-keep` (figures beside raw Qdrant)
    #[arg(default_value = "first-light")]
    pub scenario: String,
    /// List the scenarios
    #[arg(long)]
    pub list: bool,
    /// Cluster size
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=60))]
    pub tasks: u16,
    /// Number of zones
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=6))]
    pub zones: u8,
    /// Seed of task ids and delays
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How often to run it; each repetition has the next seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub repeat: u16,
    /// How many tasks `kill-any` kills [default: 3] and `thousand` replaces [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3000))]
    pub times: Option<u16>,
    /// How many faults `random` has
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub faults: u16,
    /// Qdrant binary, or `standin` [default: $QDRANT_BIN, else standin]
    #[arg(long, value_name = "PATH|standin")]
    pub qdrant: Option<String>,
    /// Entrypoint binary [default: built by cargo]
    #[arg(long, value_name = "PATH")]
    pub entrypoint: Option<PathBuf>,
    /// Build the entrypoint in the release profile, for figures
    #[arg(long)]
    pub release: bool,
    /// Write all figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the run into this file, one self-contained page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print verdicts only
    #[arg(long)]
    pub quiet: bool,
    /// Keep disks and logs
    #[arg(long)]
    pub keep: bool,
    /// Points of `bench-keep`
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub points: u64,
    /// Dimensions of each of them
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub dim: u16,
    /// Runs of `bench-form`, `bench-heal` and `bench-keep`, each with raw Qdrants and with ours
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub runs: u16,
}

/// Runs the command; the exit code is 0 for pass and skipped, 1 for fail.
///
/// # Errors
/// When the command itself is wrong or cannot begin.
pub async fn main(args: Args) -> Result<ExitCode> {
    if args.list {
        for scenario in ALL {
            println!("{:<26} {}", scenario.name, scenario.about);
            for case in scenario.cases.iter().filter(|case| !case.name.is_empty()) {
                println!("  {}/{}", scenario.name, case.name);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let folder = tempfile::Builder::new()
        .prefix("rehearse-")
        .tempdir()
        .context("make a folder")?;
    let plan = Plan {
        qdrant: Qdrant::choose(args.qdrant.as_deref(), folder.path())?,
        entrypoint: tools::entrypoint(args.entrypoint.as_deref(), args.release)?,
        zones: args.zones.into(),
        seed: args.seed,
        quiet: args.quiet || args.repeat > 1,
        keep: args.keep,
        times: args.times.map(usize::from),
        faults: args.faults.into(),
    };
    println!(
        "Qdrant: {}; {} tasks in {} zones; seed {}",
        plan.qdrant.label, args.tasks, args.zones, args.seed
    );
    let (tasks, runs, json) = (args.tasks.into(), args.runs.into(), args.json.as_deref());
    match args.scenario.as_str() {
        "bench-form" => return bench::form::main(&plan, tasks, runs, json).await,
        "bench-heal" => return bench::heal::main(&plan, tasks, runs, json).await,
        "bench-keep" => {
            let amount = bench::keep::Amount {
                points: args.points,
                dimensions: args.dim.into(),
            };
            return bench::keep::main(&plan, tasks, runs, amount, json).await;
        }
        _ => {}
    }
    let mut cases = Vec::new();
    for (scenario, only) in chosen(&args.scenario)? {
        let more = run::scenario(&plan, scenario, only, args.tasks.into(), args.repeat.into());
        cases.extend(more.await);
    }
    let report = report::Report::new(&args, &plan, cases);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).context("write the report as JSON")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &args.html {
        let page = report::html::page(&report);
        std::fs::write(path, page).with_context(|| format!("write {}", path.display()))?;
    }
    report.print();
    println!("{}", report.verdict);
    let failed = report
        .cases
        .iter()
        .any(|case| matches!(case.outcome, Outcome::Fail(_)));
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

type Choice<'a> = (&'static Scenario, Option<&'a str>);

fn chosen(name: &str) -> Result<Vec<Choice<'_>>> {
    if name == "all" {
        return Ok(ALL.iter().map(|scenario| (*scenario, None)).collect());
    }
    let (scenario, case) = match name.split_once('/') {
        Some((scenario, case)) => (scenario, Some(case)),
        None => (name, None),
    };
    let Some(found) = ALL.iter().find(|known| known.name == scenario) else {
        bail!("there is no scenario `{scenario}`: see --list");
    };
    if let Some(case) = case
        && found.cases.iter().all(|known| known.name != case)
    {
        bail!("scenario `{scenario}` has no case `{case}`: see --list");
    }
    Ok(vec![(*found, case)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_a_scenario_or_one_case_of_it() {
        assert_eq!(chosen("all").unwrap().len(), ALL.len());
        let (scenario, case) = chosen("founder-dies/after-claim").unwrap()[0];
        assert_eq!((scenario.name, case), ("founder-dies", Some("after-claim")));
        let unknown = chosen("founder-dies/at-noon").unwrap_err().to_string();
        assert!(unknown.contains("no case `at-noon`"), "{unknown}");
        assert!(chosen("nonsense").is_err());
    }

    #[test]
    fn the_default_is_first_light() {
        let args = Args::try_parse_from(["rehearse"]).unwrap();
        assert_eq!(
            (args.scenario.as_str(), args.tasks, args.zones),
            ("first-light", 6, 3)
        );
        assert!(Args::try_parse_from(["rehearse", "--tasks", "0"]).is_err());
    }
}
