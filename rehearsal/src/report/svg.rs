//! The picture of one case: a lane for each task, coloured by phase, and the faults across it.
//! Owns: geometry and marks. Must not: choose words.

use std::fmt::Write;

use crate::run::CaseReport;
use crate::timeline::Kind;

use super::PHASES;
use super::html::escape;

const LEFT: f64 = 150.0;
const WIDTH: f64 = 1180.0;
const RIGHT: f64 = 20.0;
const LANE: f64 = 26.0;
const GAP: f64 = 7.0;
const TOP: f64 = 78.0;

/// Draws it.
pub fn draw(case: &CaseReport) -> String {
    let end = case.story.end.max(0.5);
    let x = |at: f64| LEFT + (at / end).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let lanes: Vec<_> = case.story.tasks.iter().collect();
    let bottom = TOP + lanes.len() as f64 * (LANE + GAP);
    let height = bottom + 34.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline of {}\">",
        escape(&case.name)
    );
    axis(&mut svg, end, &x, bottom);
    generations(&mut svg, case, end, &x);
    for (row, (number, task)) in lanes.iter().enumerate() {
        let y = TOP + row as f64 * (LANE + GAP);
        let _ = write!(
            svg,
            "<text class=\"who\" x=\"8\" y=\"{:.1}\">t{number}</text>\
             <text class=\"where\" x=\"40\" y=\"{:.1}\">{} · {}</text>",
            y + 17.0,
            y + 17.0,
            escape(&task.zone),
            escape(&task.address)
        );
        for span in task.spans.iter().filter(|span| span.phase != "gone") {
            let (from, to) = (x(span.from), x(span.to).max(x(span.from) + 1.5));
            let reasons = span.reasons.join("\n");
            let _ = write!(
                svg,
                "<rect class=\"p-{}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
                 height=\"{LANE}\" rx=\"3\"><title>t{number} {} {:.2}–{:.2} s\n{}</title></rect>",
                class(&span.phase),
                to - from,
                escape(&span.phase),
                span.from,
                span.to,
                escape(&reasons)
            );
        }
        milestone(&mut svg, task.milestones.voter, &x, y, "voter", "◆");
        milestone(&mut svg, task.milestones.ready, &x, y, "ready", "✓");
    }
    leaders(
        &mut svg,
        case,
        end,
        &x,
        &lanes.iter().map(|(number, _)| **number).collect::<Vec<_>>(),
    );
    faults(&mut svg, case, &x, bottom);
    svg.push_str("</svg>");
    svg
}

/// Phases have colours of their own; anything new is drawn neutral.
fn class(phase: &str) -> &str {
    PHASES
        .iter()
        .find(|known| **known == phase)
        .copied()
        .unwrap_or("silent")
}

fn axis(svg: &mut String, end: f64, x: &impl Fn(f64) -> f64, bottom: f64) {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let step = steps
        .into_iter()
        .find(|step| end / step <= 14.0)
        .unwrap_or(300.0);
    let mut at = 0.0;
    while at <= end {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{0:.1}\" y=\"{1:.1}\">{2} s</text>",
            x(at),
            bottom + 18.0,
            (at * 10.0).round() / 10.0
        );
        at += step;
    }
}

/// The band above the lanes: which generation serves.
fn generations(svg: &mut String, case: &CaseReport, end: f64, x: &impl Fn(f64) -> f64) {
    let _ = write!(
        svg,
        "<text class=\"where\" x=\"8\" y=\"{}\">serving</text>",
        TOP - 22.0
    );
    let marks = &case.story.generations;
    for (at, mark) in marks.iter().enumerate() {
        let until = marks.get(at + 1).map_or(end, |next| next.at);
        for generation in &mark.what {
            let wrong = mark.what.len() > 1;
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"18\" rx=\"3\">\
                 <title>generation {} · token {}</title></rect>",
                if wrong { "gen wrong" } else { "gen" },
                x(mark.at),
                TOP - 36.0,
                (x(until) - x(mark.at)).max(1.5),
                generation.number,
                escape(&generation.token)
            );
            if x(until) - x(mark.at) > 90.0 {
                let _ = write!(
                    svg,
                    "<text class=\"genname\" x=\"{:.1}\" y=\"{}\">generation {}</text>",
                    x(mark.at) + 8.0,
                    TOP - 23.0,
                    generation.number
                );
            }
        }
    }
}

fn milestone(
    svg: &mut String,
    at: Option<f64>,
    x: &impl Fn(f64) -> f64,
    y: f64,
    name: &str,
    mark: &str,
) {
    if let Some(at) = at {
        let _ = write!(
            svg,
            "<text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\">{mark}<title>{name} at {at:.2} s</title>\
             </text>",
            x(at),
            y + if name == "voter" { 12.0 } else { 23.0 }
        );
    }
}

/// A line under the lane of whoever leads.
fn leaders(svg: &mut String, case: &CaseReport, end: f64, x: &impl Fn(f64) -> f64, rows: &[usize]) {
    let marks = &case.story.leaders;
    for (at, mark) in marks.iter().enumerate() {
        let until = marks.get(at + 1).map_or(end, |next| next.at);
        let row = mark
            .what
            .and_then(|task| rows.iter().position(|row| *row == task));
        if let Some(row) = row {
            let y = TOP + row as f64 * (LANE + GAP) + LANE + 1.0;
            let _ = write!(
                svg,
                "<rect class=\"leader\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"4\">\
                 <title>leader {:.2}–{until:.2} s</title></rect>",
                x(mark.at),
                (x(until) - x(mark.at)).max(2.0),
                mark.at
            );
        }
    }
}

fn faults(svg: &mut String, case: &CaseReport, x: &impl Fn(f64) -> f64, bottom: f64) {
    let wanted = |kind| matches!(kind, Kind::Fault | Kind::Violation);
    for event in case.events.iter().filter(|event| wanted(event.kind)) {
        let bad = event.kind == Kind::Violation;
        let names: Vec<String> = event.tasks.iter().map(|task| format!("t{task}")).collect();
        let _ = write!(
            svg,
            "<g class=\"{}\"><line x1=\"{1:.1}\" x2=\"{1:.1}\" y1=\"{2}\" y2=\"{bottom}\"/>\
             <text x=\"{1:.1}\" y=\"{3}\">{4}</text><title>{5:.2} s {6} {7}</title></g>",
            if bad { "violation" } else { "fault" },
            x(event.at),
            TOP - 44.0,
            TOP - 48.0,
            if bad { "✗" } else { "⚡" },
            event.at,
            names.join(" "),
            escape(&event.text)
        );
    }
}
