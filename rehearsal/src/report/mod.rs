//! What a command leaves behind: figures, a JSON file, a page, the last line.
//! Owns: the shape of a report. Must not: run or judge anything.

pub mod figures;
pub mod html;
mod svg;

use serde::Serialize;

use crate::cli::Args;
use crate::run::{CaseReport, Outcome, summary};
use crate::world::Plan;

use self::figures::Spread;

/// The phases that have a colour of their own, in the order of the legend.
const PHASES: [&str; 11] = [
    "starting",
    "discovering",
    "waiting",
    "founding",
    "joining",
    "member",
    "fenced",
    "blocked",
    "stopping",
    "silent",
    "paused",
];

/// Everything, as `--json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub format: u32,
    /// What was asked for.
    pub scenario: String,
    /// The Qdrant under it.
    pub qdrant: String,
    /// Tasks and zones asked for.
    pub tasks: u16,
    /// Zones.
    pub zones: u8,
    /// First seed.
    pub seed: u64,
    /// The last line.
    pub verdict: String,
    /// First launch to all voters, over all cases that got there, in seconds.
    pub all_voters_s: Option<Spread>,
    /// First launch to all ready, likewise.
    pub all_ready_s: Option<Spread>,
    /// Start of a replacement to its vote, over all replacements.
    pub replacement_voter_s: Option<Spread>,
    /// Every case.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Puts the cases together.
    pub fn new(args: &Args, plan: &Plan, cases: Vec<CaseReport>) -> Self {
        let all = |pick: fn(&CaseReport) -> Option<f64>| {
            Spread::of(cases.iter().filter_map(pick).collect())
        };
        let replaced = cases.iter().flat_map(|case| &case.figures.replacements);
        Self {
            format: 1,
            scenario: args.scenario.clone(),
            qdrant: plan.qdrant.label.clone(),
            tasks: args.tasks,
            zones: args.zones,
            seed: args.seed,
            verdict: verdict(&cases),
            all_voters_s: all(|case| case.figures.all_voters_s),
            all_ready_s: all(|case| case.figures.all_ready_s),
            replacement_voter_s: Spread::of(replaced.map(|each| each.voter_s).collect()),
            cases,
        }
    }

    /// Prints one line for each case and the figures.
    pub fn print(&self) {
        println!();
        if self.cases.iter().all(|case| case.repetition == 1) {
            for case in &self.cases {
                println!("{}", summary(case));
            }
        }
        for (name, spread) in [
            ("first launch → all voters", self.all_voters_s),
            ("first launch → all ready", self.all_ready_s),
            ("replacement launched → voter", self.replacement_voter_s),
        ] {
            if let Some(spread) = spread {
                println!("{name:<30} {spread}");
            }
        }
    }
}

/// `verdict: pass`, `verdict: fail: …`, or, where nothing could run, `verdict: skipped: …`.
fn verdict(cases: &[CaseReport]) -> String {
    for case in cases {
        if let Outcome::Fail(failures) = &case.outcome {
            let first = failures
                .first()
                .map_or("unknown".into(), ToString::to_string);
            return format!(
                "verdict: fail: {first} (in {} #{})",
                case.name, case.repetition
            );
        }
    }
    let skipped = cases.iter().find_map(|case| match &case.outcome {
        Outcome::Skipped(why) => Some(why),
        _ => None,
    });
    match skipped {
        Some(why) if cases.iter().all(|case| case.outcome != Outcome::Pass) => {
            format!("verdict: skipped: {why}")
        }
        _ => "verdict: pass".into(),
    }
}
