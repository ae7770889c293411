//! Runs cases one after another, in worlds of their own, and gathers what reports show.
//! Owns: the order of a command. Must not: know how reports look.

use futures::FutureExt;
use serde::Serialize;
use std::panic::AssertUnwindSafe;

use crate::ecs::cut::Cut;
use crate::efs::Efs;
use crate::observe::story::Story;
use crate::report::figures::{Figures, figures};
use crate::scenario::{Case, Scenario, Setup};
use crate::timeline::{Event, Kind};
use crate::verdict::Failure;
use crate::world::{Plan, World};

/// How often a case is tried again whose moment was missed.
const TRIES: usize = 5;

/// How a case ended.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "why")]
pub enum Outcome {
    /// Nothing was broken.
    Pass,
    /// These were.
    Fail(Vec<Failure>),
    /// This machine or size cannot run it.
    Skipped(String),
}

/// Everything about one case that was run.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Scenario and case: `founder-dies/after-claim`.
    pub name: String,
    /// What it proves.
    pub about: String,
    /// Which repetition, from 1.
    pub repetition: usize,
    /// Cluster size.
    pub size: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Figures.
    pub figures: Figures,
    /// What was seen.
    pub story: Story,
    /// What happened.
    pub events: Vec<Event>,
    /// Listed WARN and ERROR lines and how often they came.
    pub excused: std::collections::BTreeMap<String, usize>,
}

/// Runs all cases of a scenario, or the one named `only`.
pub async fn scenario(
    plan: &Plan,
    scenario: &Scenario,
    only: Option<&str>,
    size: usize,
    repeat: usize,
) -> Vec<CaseReport> {
    let mut reports = Vec::new();
    for repetition in 1..=repeat {
        let cases = scenario
            .cases
            .iter()
            .filter(|case| only.is_none_or(|only| case.name == only));
        for case in cases {
            let seed = plan.seed.wrapping_add(repetition as u64 - 1);
            let plan = Plan {
                seed,
                ..plan.clone()
            };
            let mut report = one(&plan, scenario, case, size).await;
            report.repetition = repetition;
            if repeat > 1 {
                println!("{}", summary(&report));
            }
            reports.push(report);
        }
    }
    reports
}

/// One line about one case.
pub fn summary(report: &CaseReport) -> String {
    let result = match &report.outcome {
        Outcome::Pass => "pass".to_owned(),
        Outcome::Fail(failures) => failures
            .first()
            .map_or("fail".into(), |f| format!("fail: {f}")),
        Outcome::Skipped(why) => format!("skipped: {why}"),
    };
    let formed = report
        .figures
        .all_voters_s
        .map_or(String::new(), |seconds| {
            format!(" · all voters after {seconds:.2} s")
        });
    format!(
        "{:<34} #{:<3} {result}{formed}",
        report.name, report.repetition
    )
}

async fn one(plan: &Plan, scenario: &Scenario, case: &Case, size: usize) -> CaseReport {
    let mut setup = Setup::new(size);
    (case.setup)(&mut setup);
    let name = match case.name {
        "" => scenario.name.to_owned(),
        case => format!("{}/{case}", scenario.name),
    };
    let mut report = CaseReport {
        name: name.clone(),
        about: scenario.about.into(),
        repetition: 1,
        size: setup.size,
        outcome: Outcome::Pass,
        figures: Figures::default(),
        story: Story::default(),
        events: Vec::new(),
        excused: Default::default(),
    };
    if setup.size < setup.at_least {
        let why = format!("it needs at least {} tasks", setup.at_least);
        report.outcome = Outcome::Skipped(why);
        return report;
    }
    if setup.real && plan.qdrant.standin {
        report.outcome = Outcome::Skipped("it is about the real Qdrant: give --qdrant PATH".into());
        return report;
    }
    if setup.breakable_store
        && let Some(why) = Efs::cannot_break()
    {
        report.outcome = Outcome::Skipped(format!("the store cannot be made to fail here: {why}"));
        return report;
    }
    if setup.bucket
        && let Some(why) = Efs::no_bucket()
    {
        report.outcome = Outcome::Skipped(format!("there is no S3 server here: {why}"));
        return report;
    }
    if setup.breakable_network
        && let Some(why) = Cut::cannot()
    {
        report.outcome = Outcome::Skipped(format!("nobody can be cut off here: {why}"));
        return report;
    }
    if !plan.quiet {
        println!("── {name}: {}", scenario.about);
    }
    for try_number in 1..=TRIES {
        let world = match World::build(plan, setup.clone()).await {
            Ok(world) => world,
            Err(error) => {
                report.outcome = Outcome::Fail(vec![error.into()]);
                return report;
            }
        };
        let missed = play(&world, case).await;
        if missed && try_number < TRIES {
            world.end().await;
            continue;
        }
        report.story = world.observer.story();
        report.figures = figures(&world, &report.story);
        let broken = world.judge.broken();
        report.outcome = if broken.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Fail(broken)
        };
        report.excused = world.judge.excused();
        report.events = world.timeline.events();
        world.end().await;
        if plan.keep {
            println!("disks and logs are in {}", world.folder().display());
        }
        break;
    }
    report
}

/// Plays a case to its end and hands every failure to the judge; true when the moment was missed.
async fn play(world: &World, case: &Case) -> bool {
    let playing = AssertUnwindSafe((case.run)(world)).catch_unwind();
    let result = tokio::select! {
        result = tokio::time::timeout(world.setup.longest, playing) => result,
        _ = tokio::signal::ctrl_c() => {
            let failure = Failure::new("the rehearsal ran to its end", "interrupted");
            world.judge.fail(failure, &[], &world.timeline);
            return false;
        }
    };
    let failure = match result {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(failure))) => Some(failure),
        Ok(Err(_)) => Some(Failure::new(
            "the rehearsal itself could not go on",
            "it panicked",
        )),
        Err(_) => {
            let state = world.observer.latest().describe();
            Some(Failure::new("bounded time to rest", state))
        }
    };
    if let Some(failure) = failure {
        if failure.is_missed() {
            world
                .timeline
                .push(Kind::Step, &[], format!("{failure}: tried again"));
        }
        let missed = failure.is_missed();
        world.judge.fail(failure, &[], &world.timeline);
        if missed {
            return true;
        }
    }
    world.finish();
    false
}
