//! `cargo ci purity`: the planner decides and does nothing else.
//!
//! Two checks: every crate that the planner is built from is on a short list, and no code of it outside tests
//! names a clock, a file, a socket, a process, a thread or the environment.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

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
    let mut cargo = run::cargo();
    cargo
        .args(["metadata", "--format-version", "1"])
        .current_dir(root);
    let metadata =
        serde_json::from_str(&run::output(&mut cargo)?).context("parse cargo metadata")?;
    let crates = built_from(&metadata)?;
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

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Absent for an ordinary dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// The names of all crates that are compiled into the planner, itself included; those of its tests are not.
fn built_from(metadata: &Metadata) -> anyhow::Result<BTreeSet<String>> {
    let names: BTreeMap<&str, &str> = metadata
        .packages
        .iter()
        .map(|p| (p.id.as_str(), p.name.as_str()))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|n| (n.id.as_str(), n))
        .collect();
    let planner = metadata
        .packages
        .iter()
        .find(|package| package.name == CRATE)
        .with_context(|| format!("no crate {CRATE} in the workspace"))?;

    let mut seen = BTreeSet::new();
    let mut open = vec![planner.id.as_str()];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes
            .get(id)
            .with_context(|| format!("cargo metadata resolves no {id}"))?;
        open.extend(
            node.deps
                .iter()
                .filter(|dependency| {
                    dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind.as_deref() != Some("dev"))
                })
                .map(|dependency| dependency.pkg.as_str()),
        );
    }
    seen.into_iter()
        .map(|id| {
            let name = names
                .get(id)
                .with_context(|| format!("cargo metadata has no package {id}"))?;
            Ok((*name).to_owned())
        })
        .collect()
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
    fn what_is_linked_counts_and_what_only_tests_use_does_not() {
        let metadata = serde_json::from_value(serde_json::json!({
            "packages": [
                {"id": "p", "name": "planner"}, {"id": "s", "name": "serde"},
                {"id": "t", "name": "tokio"}, {"id": "m", "name": "mio"}, {"id": "x", "name": "proptest"},
            ],
            "resolve": {"nodes": [
                {"id": "p", "deps": [
                    {"pkg": "s", "dep_kinds": [{"kind": null}, {"kind": "dev"}]},
                    {"pkg": "x", "dep_kinds": [{"kind": "dev"}]},
                ]},
                {"id": "s", "deps": [{"pkg": "t", "dep_kinds": [{"kind": "build"}]}]},
                {"id": "t", "deps": [{"pkg": "m", "dep_kinds": [{"kind": null}]}]},
                {"id": "m", "deps": []},
                {"id": "x", "deps": []},
            ]},
        }))
        .unwrap();
        let crates: Vec<_> = built_from(&metadata).unwrap().into_iter().collect();
        assert_eq!(crates, ["mio", "planner", "serde", "tokio"]);
    }
}
