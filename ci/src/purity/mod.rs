//! `cargo ci purity`: the planner decides and does nothing else.
//!
//! Two checks: every crate that the planner is built from is on a short list, and no code of it outside tests
//! names a clock, a file, a socket, a process, a thread or the environment.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run;

const CRATE: &str = "planner";

/// The crates that may be in the planner, directly or below. None of them does I/O, reads a clock or starts a thread.
/// To add one, look at that first.
const ALLOWED: &[&str] = &[
    "itoa",
    "memchr",
    "planner",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "zmij",
];

/// Checks the planner of the workspace at `root`.
///
/// # Errors
/// Cargo or a file cannot be read, or the planner is not pure; each finding is one line of the error.
pub fn run(root: &Path) -> anyhow::Result<()> {
    // Not `cargo metadata`: that gives one resolution for the whole workspace, so that a feature which another
    // crate's build script turns on would count as the planner's.
    let mut cargo = run::cargo();
    cargo
        .args(["tree", "--locked", "--package", CRATE, "--target", "all"])
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root);
    let crates = named_in(&run::output(&mut cargo)?)?;
    let mut findings: Vec<String> = crates
        .iter()
        .filter(|name| !ALLOWED.contains(&name.as_str()))
        .map(|name| {
            format!("{CRATE} is built from {name}: it may not do I/O; if {name} does none, add it to the list in ci/src/purity/mod.rs")
        })
        .collect();

    let mut files = Vec::new();
    rust_files(&root.join(CRATE).join("src"), &mut files)?;
    files.sort();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let found =
            source::impurities(&text).with_context(|| format!("parse {}", file.display()))?;
        let shown = file
            .strip_prefix(root)
            .unwrap_or(file)
            .display()
            .to_string();
        findings.extend(
            found
                .iter()
                .map(|found| format!("{shown}:{}: {}", found.line, found.what)),
        );
    }
    if !findings.is_empty() {
        bail!("{}", findings.join("\n       "));
    }
    println!(
        "purity: {CRATE} is pure: {} files, {} crates",
        files.len(),
        crates.len()
    );
    Ok(())
}

/// The names of all crates in what `cargo tree` printed: the first word of each line.
///
/// # Errors
/// The planner itself is not among them: then this was no such text.
fn named_in(tree: &str) -> anyhow::Result<BTreeSet<String>> {
    let crates: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    if !crates.contains(CRATE) {
        bail!("`cargo tree` names no crate {CRATE}: cannot tell what it is built from");
    }
    Ok(crates)
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("read {}", folder.display()))?
            .path();
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tree_names_a_crate_and_a_tree_without_the_planner_is_refused() {
        let tree = "planner v0.1.0 (/somewhere/planner)\nserde v1.0.1\nserde_derive v1.0.1 (proc-macro)\nserde v1.0.1 (*)\n";
        let crates: Vec<_> = named_in(tree).unwrap().into_iter().collect();
        assert_eq!(crates, ["planner", "serde", "serde_derive"]);
        assert!(named_in("").is_err());
    }
}
