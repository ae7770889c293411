//! The report of a rebase as Markdown and as JSON. Owns its form, and what counts as wanted.

use std::fmt::Write as _;

use serde::Serialize;

use super::surface::Difference;
use crate::patch::plan::{Assessment, Verdict};
use crate::probe::Finding;

/// Everything that was found out about a release.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The release.
    pub tag: String,
    /// What it is compared with.
    pub pinned: String,
    /// One for each hook and new file.
    pub hooks: Vec<Assessment>,
    /// One for each probe.
    pub probes: Vec<Finding>,
    /// The oldest compiler; nothing when that could not be read.
    pub rust: Option<String>,
    /// What does not come from the registry; nothing when that could not be read.
    pub git_dependencies: Option<Vec<String>>,
    /// Against the pin, or why that could not be seen.
    pub differences: Result<Vec<Difference>, String>,
    /// What the patches' tests said; nothing when they were not run.
    pub tests: Option<Result<String, String>>,
}

impl Report {
    /// Every hook applies, every probe holds, no test failed. What is merely new is for a person to read, and whether it
    /// could be looked for is in `differences`.
    pub fn all_as_wanted(&self) -> bool {
        self.hooks
            .iter()
            .all(|hook| hook.verdict == Verdict::Applied)
            && self.probes.iter().all(|probe| probe.holds)
            && !matches!(self.tests, Some(Err(_)))
    }

    /// For programs.
    ///
    /// # Errors
    /// Never in fact: all of it is text.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let verdict = match (self.all_as_wanted(), &self.differences) {
            (false, _) => "needs work",
            (true, Err(_)) => "could not be compared",
            (true, Ok(_)) => "all as wanted",
        };
        writeln!(
            out,
            "# Qdrant {} against our pin {}: {verdict}\n",
            self.tag, self.pinned
        )?;
        writeln!(
            out,
            "## Patches\n\n| patch | hook | file | verdict | where, or why not |\n| --- | --- | --- | --- | --- |"
        )?;
        for hook in &self.hooks {
            let detail = cell(&hook.detail);
            writeln!(
                out,
                "| {} | {} | `{}` | {} | {detail} |",
                hook.patch,
                hook.hook,
                hook.file,
                name(hook.verdict)
            )?;
        }
        let failed: Vec<&Finding> = self.probes.iter().filter(|probe| !probe.holds).collect();
        writeln!(
            out,
            "\n## Probes\n\n{} of {} hold.",
            self.probes.len() - failed.len(),
            self.probes.len()
        )?;
        for probe in failed {
            writeln!(
                out,
                "* **{}** ({}): {}",
                probe.id, probe.place, probe.detail
            )?;
        }
        writeln!(out, "\n## Against {}\n", self.pinned)?;
        if let Some(rust) = &self.rust {
            writeln!(out, "* compiler: at least {rust}")?;
        }
        if let Some(from) = &self.git_dependencies {
            writeln!(out, "* from git: {}", listed(from))?;
        }
        match &self.differences {
            Ok(differences) => {
                for one in differences {
                    writeln!(
                        out,
                        "* {}: new {}; removed {}",
                        one.what,
                        listed(&one.new),
                        listed(&one.removed)
                    )?;
                }
            }
            Err(why) => writeln!(out, "* **could not look**: {why}")?,
        }
        writeln!(out, "\n## Tests\n")?;
        match &self.tests {
            None => writeln!(out, "Not run."),
            Some(Ok(said)) => writeln!(out, "Passed.\n\n```\n{said}\n```"),
            Some(Err(said)) => writeln!(out, "FAILED.\n\n```\n{said}\n```"),
        }
    }
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Applied => "applied",
        Verdict::Moved => "**moved**",
        Verdict::Changed => "**changed**",
        Verdict::Gone => "**gone**",
        Verdict::AlreadyUpstream => "**already upstream**",
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items
        .iter()
        .map(|item| format!("`{item}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(hook: &str, verdict: Verdict, detail: &str) -> Assessment {
        Assessment {
            patch: "0001-flush".to_owned(),
            hook: hook.to_owned(),
            file: "src/store.rs".to_owned(),
            verdict,
            detail: detail.to_owned(),
        }
    }

    fn report() -> Report {
        Report {
            tag: "v2.0.0".to_owned(),
            pinned: "v1.0.0".to_owned(),
            hooks: vec![
                hook("declare", Verdict::Applied, "at the end of the file"),
                hook(
                    "flush",
                    Verdict::Moved,
                    "0 places in `fn save`, but 1 in src/store.rs, line 6, fn store",
                ),
                hook(
                    "name",
                    Verdict::Changed,
                    "`a | b` matches 0 places, wanted 1; nothing like it there",
                ),
                hook("list", Verdict::Gone, "there is no `fn list`"),
                hook(
                    "sync",
                    Verdict::AlreadyUpstream,
                    "line 6: upstream has `$FILE.sync_all()`",
                ),
            ],
            probes: vec![
                Finding {
                    id: "argument-uri".to_owned(),
                    holds: true,
                    place: "src/main.rs:80".to_owned(),
                    detail: String::new(),
                },
                Finding {
                    id: "readiness".to_owned(),
                    holds: false,
                    place: "src/api.rs".to_owned(),
                    detail: "`/readyz` is not there; relied on: it is asked".to_owned(),
                },
            ],
            rust: Some("1.97".to_owned()),
            git_dependencies: Some(vec!["https://a/b#c".to_owned()]),
            differences: Ok(vec![Difference {
                what: "arguments",
                new: vec!["--new".to_owned()],
                removed: vec![],
            }]),
            tests: None,
        }
    }

    #[test]
    fn the_report_is_the_one_on_file() {
        let (markdown, json) = (report().markdown(), report().json().unwrap());
        let golden = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
            std::fs::read_to_string(folder.join(name)).unwrap_or_default()
        };
        assert_eq!(
            markdown,
            golden("rebase.md"),
            "write to tests/golden/rebase.md:\n{markdown}"
        );
        assert_eq!(
            json,
            golden("rebase.json"),
            "write to tests/golden/rebase.json:\n{json}"
        );
    }

    #[test]
    fn what_could_not_be_compared_is_not_all_as_wanted() {
        let mut report = report();
        report.hooks.truncate(1);
        report.probes.truncate(1);
        assert!(report.markdown().contains(": all as wanted\n"));
        report.differences = Err("no history".to_owned());
        let markdown = report.markdown();
        assert!(markdown.contains(": could not be compared\n"), "{markdown}");
        assert!(
            markdown.contains("* **could not look**: no history\n"),
            "{markdown}"
        );
        assert!(!markdown.contains("removed none"), "{markdown}");
    }

    #[test]
    fn one_failure_is_enough() {
        let mut report = report();
        assert!(!report.all_as_wanted());
        report.hooks.truncate(1);
        assert!(!report.all_as_wanted());
        report.probes.truncate(1);
        assert!(report.all_as_wanted());
        report.tests = Some(Err("1 failed".to_owned()));
        assert!(!report.all_as_wanted());
    }
}
