//! One self-contained page: verdict, picture, figures, events. No scripts, light and dark.
//! Owns: the page. Must not: draw lanes (see `svg`).

use std::fmt::Write;

use super::{PHASES, Report, svg};
use crate::run::{CaseReport, Outcome};
use crate::timeline::Kind;

/// A whole page.
pub fn page(report: &Report) -> String {
    let pass = report.verdict == "verdict: pass";
    let skipped = report.verdict.starts_with("verdict: skipped");
    let class = if pass {
        "pass"
    } else if skipped {
        "skip"
    } else {
        "fail"
    };
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{} · rehearsal</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"kicker\">rehearsal</p><h1>{}</h1>\
         <p class=\"sub\">{} tasks · {} zones · Qdrant {} · seed {}</p>\
         <p class=\"banner {class}\">{}</p></header>",
        escape(&report.scenario),
        escape(&report.scenario),
        report.tasks,
        report.zones,
        escape(&report.qdrant),
        report.seed,
        escape(report.verdict.trim_start_matches("verdict: "))
    );
    totals(&mut html, report);
    legend(&mut html);
    for case in &report.cases {
        section(&mut html, case);
    }
    html.push_str("</main></body></html>\n");
    html
}

/// Makes text safe between tags and in attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn totals(html: &mut String, report: &Report) {
    let rows = [
        ("first launch → all voters", report.all_voters_s),
        ("first launch → all ready", report.all_ready_s),
        ("replacement launched → voter", report.replacement_voter_s),
    ];
    html.push_str("<div class=\"cards\">");
    for (name, spread) in rows {
        if let Some(spread) = spread {
            let more = match spread.count {
                1 => String::new(),
                n => format!("median of {n}, worst {:.2} s", spread.max),
            };
            let _ = write!(
                html,
                "<div class=\"card\"><b>{:.2} s</b><span>{name}</span><small>{more}</small></div>",
                spread.median
            );
        }
    }
    let samples: usize = report.cases.iter().map(|case| case.figures.samples).sum();
    let _ = write!(
        html,
        "<div class=\"card\"><b>{samples}</b><span>samples judged</span><small></small></div></div>"
    );
}

fn legend(html: &mut String) {
    html.push_str("<p class=\"legend\">");
    for phase in PHASES {
        let _ = write!(html, "<span><i class=\"k p-{phase}\"></i>{phase}</span>");
    }
    html.push_str(
        "<span><i class=\"k leader\"></i>leader</span><span>◆ voter</span><span>✓ ready</span>\
         <span>⚡ fault</span><span>✗ violation</span></p>",
    );
}

fn section(html: &mut String, case: &CaseReport) {
    let (class, word) = match &case.outcome {
        Outcome::Pass => ("pass", "pass".to_owned()),
        Outcome::Fail(failures) => {
            let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
            ("fail", format!("fail: {}", lines.join("; ")))
        }
        Outcome::Skipped(why) => ("skip", format!("skipped: {why}")),
    };
    let times = match case.repetition {
        1 => String::new(),
        n => format!(" #{n}"),
    };
    let _ = write!(
        html,
        "<section><h2>{}{times} <em class=\"{class}\">{}</em></h2><p class=\"sub\">{}</p>",
        escape(&case.name),
        escape(&word),
        escape(&case.about)
    );
    if matches!(case.outcome, Outcome::Skipped(_)) {
        html.push_str("</section>");
        return;
    }
    let _ = write!(html, "<div class=\"picture\">{}</div>", svg::draw(case));
    tasks(html, case);
    html.push_str("<details><summary>what happened, line by line</summary><ol>");
    for event in &case.events {
        let names: Vec<String> = event.tasks.iter().map(|task| format!("t{task}")).collect();
        let class = match event.kind {
            Kind::Step => "step",
            Kind::Fault => "fault",
            Kind::Violation => "violation",
            Kind::Cluster => "cluster",
            Kind::Ecs | Kind::Phase | Kind::Log => "",
        };
        let _ = write!(
            html,
            "<li class=\"{class}\"><time>{:.2} s</time><b>{}</b>{}</li>",
            event.at,
            names.join(" "),
            escape(&event.text)
        );
    }
    html.push_str("</ol></details></section>");
}

fn tasks(html: &mut String, case: &CaseReport) {
    html.push_str(
        "<details><summary>figures of each task</summary><table><tr><th>task<th>zone<th>address\
         <th>launched<th>answered<th>Qdrant up<th>voter<th>ready<th>ended</tr>",
    );
    for (number, task) in &case.story.tasks {
        let show = |at: Option<f64>| at.map_or("–".into(), |at| format!("{at:.2} s"));
        let milestones = &task.milestones;
        let _ = write!(
            html,
            "<tr><td>t{number}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(&task.zone),
            escape(&task.address),
            show(case.figures.launched_s.get(number).copied()),
            show(milestones.answered),
            show(milestones.qdrant),
            show(milestones.voter),
            show(milestones.ready),
            case.figures
                .exits
                .get(number)
                .map_or("–".into(), |exit| escape(exit))
        );
    }
    html.push_str("</table></details>");
}

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fbfaf7;--ink:#1d2326;--soft:#6b7478;--line:#e3e0d8;--card:#fff;
--ok:#1f7a4d;--bad:#b3261e;--meh:#8a6d1a;--fault:#c26a00;
--starting:#cfd4d6;--discovering:#a9c7e8;--waiting:#e7d9a3;--founding:#8f7bd1;--joining:#58a6c9;
--member:#4fa877;--fenced:#d98c7a;--blocked:#c4453a;--stopping:#8d9599;--silent:#eceae4;--paused:#5b6a8c}
@media (prefers-color-scheme:dark){:root{--bg:#14181b;--ink:#e6e8e6;--soft:#93a0a5;--line:#2a3136;
--card:#1b2125;--ok:#5fcf95;--bad:#ff8a7f;--meh:#e5c35c;--fault:#ffb454;
--starting:#4a5256;--discovering:#39678f;--waiting:#7d6c2c;--founding:#7a64c8;--joining:#2f7f9f;
--member:#2e7d55;--fenced:#96574a;--blocked:#b13f35;--stopping:#5e676b;--silent:#22292d;--paused:#4a5a80}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:40px 24px 80px}
.kicker{margin:0;color:var(--soft);letter-spacing:.14em;text-transform:uppercase;font-size:12px}
h1{margin:2px 0 0;font-size:40px;letter-spacing:-.02em;line-height:1.1}
h2{margin:0;font-size:21px}h2 em{font-style:normal;font-size:14px;font-weight:500;margin-left:8px}
.sub{margin:4px 0 0;color:var(--soft)}em.pass{color:var(--ok)}em.fail{color:var(--bad)}em.skip{color:var(--meh)}
.banner{display:inline-block;margin:18px 0 0;padding:8px 18px;border-radius:8px;font-weight:600;color:#fff}
.banner.pass{background:#1f7a4d}.banner.fail{background:#b3261e}.banner.skip{background:#8a6d1a}
.cards{display:flex;flex-wrap:wrap;gap:14px;margin:26px 0 18px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 18px;min-width:180px;
display:flex;flex-direction:column}.card b{font-size:25px;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.card span{color:var(--soft)}.card small{color:var(--soft);min-height:0}
.legend{display:flex;flex-wrap:wrap;gap:6px 16px;color:var(--soft);font-size:13px;margin:0 0 10px}
.legend span{display:inline-flex;align-items:center;gap:6px}
.k{width:14px;height:14px;border-radius:3px;display:inline-block}.k.leader{height:4px;border-radius:0}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 22px 14px;margin:22px 0}
.picture{overflow-x:auto;margin:14px -6px 4px}svg{display:block;width:100%;min-width:820px;height:auto;font-size:12px}
.grid{stroke:var(--line)}.tick{fill:var(--soft);text-anchor:middle;font-size:11px}
.who{fill:var(--ink);font-weight:600}.where{fill:var(--soft);font-size:11px}
.gen{fill:var(--member);opacity:.35}.gen.wrong{fill:var(--bad);opacity:.9}.genname{fill:var(--ink);font-size:11px}
.mark{fill:var(--ink);font-size:11px;font-weight:700;text-anchor:middle;cursor:default}
svg .leader,.k.leader{fill:#e0a100;background:#e0a100}
.fault line{stroke:var(--fault);stroke-dasharray:3 3}.fault text{fill:var(--fault);text-anchor:middle;font-size:14px}
.violation line{stroke:var(--bad);stroke-width:2}.violation text{fill:var(--bad);text-anchor:middle;font-size:15px}
rect:hover{opacity:.8}
.p-starting{fill:var(--starting);background:var(--starting)}.p-discovering{fill:var(--discovering);background:var(--discovering)}
.p-waiting{fill:var(--waiting);background:var(--waiting)}.p-founding{fill:var(--founding);background:var(--founding)}
.p-joining{fill:var(--joining);background:var(--joining)}.p-member{fill:var(--member);background:var(--member)}
.p-fenced{fill:var(--fenced);background:var(--fenced)}.p-blocked{fill:var(--blocked);background:var(--blocked)}
.p-stopping{fill:var(--stopping);background:var(--stopping)}.p-silent{fill:var(--silent);background:var(--silent)}
.p-paused{fill:var(--paused);background:var(--paused)}
details{border-top:1px solid var(--line);padding:9px 0}summary{cursor:pointer;color:var(--soft)}
ol{list-style:none;margin:8px 0 0;padding:0;font:12.5px/1.6 ui-monospace,SFMono-Regular,Menlo,monospace}
li{display:flex;gap:12px}li time{flex:0 0 70px;text-align:right;color:var(--soft)}li b{flex:0 0 130px;font-weight:600}
li.step{font-weight:600;margin-top:6px}li.fault{color:var(--fault)}li.violation{color:var(--bad);font-weight:600}
li.cluster{color:var(--ok)}
table{border-collapse:collapse;width:100%;margin-top:8px;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:500}th,td{padding:4px 10px 4px 0;border-bottom:1px solid var(--line)}
";
