//! `cargo ci probe`: what our entrypoint takes for granted about Qdrant without patching it, looked up in its source.
//!
//! Owns the form of `patches/probes/*.toml` and the verdicts. A probe finds names, not behaviour: that is measured by the
//! conformance suite. It is there to say on the day of a new release what to look at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::patch::rule::{self, Found, Rule};
use crate::patch::tree::Tree;
use crate::toml_line;

/// Which tree.
#[derive(Args)]
pub struct Options {
    /// A checkout of Qdrant's source.
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// Also write the findings as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One file of probes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    probe: Vec<Probe>,
}

/// One thing that is taken for granted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Unique.
    pub id: String,
    /// What breaks for us when it no longer holds.
    pub relied_on: String,
    /// Path in the tree.
    pub file: String,
    /// The scope, as in a hook.
    #[serde(default)]
    pub inside: Vec<String>,
    /// Each of these texts stands in the scope.
    #[serde(default)]
    pub text: Vec<String>,
    /// This ast-grep pattern matches in the scope.
    #[serde(default)]
    pub find: Option<String>,
}

/// What a tree says to a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The probe.
    pub id: String,
    /// Does it hold?
    pub holds: bool,
    /// `file:line` of what was found, or the file.
    pub place: String,
    /// What is missing, and what is relied on it.
    pub detail: String,
}

/// Prints each probe with its verdict and place; says whether all hold.
///
/// # Errors
/// It could not be looked: no tree, no probes.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let findings = look(
        &read_all(&root.join("patches/probes"))?,
        &Tree::open(&options.tree)?,
    )?;
    for finding in &findings {
        let verdict = if finding.holds { "holds" } else { "FAILS" };
        println!(
            "{verdict}  {}  {}  {}",
            finding.id, finding.place, finding.detail
        );
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&findings).context("write the findings as JSON")?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let failed = findings.iter().filter(|finding| !finding.holds).count();
    println!("{} probes, {failed} fail", findings.len());
    Ok(failed == 0)
}

/// Reads all files of probes in `folder`, by name.
///
/// # Errors
/// One cannot be read, or is not well-formed.
pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Probe>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("read {}", folder.display()))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let mut probes = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file: File = toml_line::read(&path.display().to_string(), &text)?;
        for probe in file.probe {
            ensure!(
                !probe.text.is_empty() || probe.find.is_some(),
                "{}: probe {} looks for nothing",
                path.display(),
                probe.id
            );
            ensure!(
                seen.insert(probe.id.clone()),
                "{}: two probes are called {}",
                path.display(),
                probe.id
            );
            probes.push(probe);
        }
    }
    ensure!(!probes.is_empty(), "{} holds no probes", folder.display());
    Ok(probes)
}

/// Puts every probe to the tree.
///
/// # Errors
/// A file of the tree cannot be read, or a pattern is none.
pub fn look(probes: &[Probe], tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    probes
        .iter()
        .map(|probe| one(probe, tree).with_context(|| format!("probe {}", probe.id)))
        .collect()
}

fn one(probe: &Probe, tree: &Tree) -> anyhow::Result<Finding> {
    let missing = |what: String| Finding {
        id: probe.id.clone(),
        holds: false,
        place: probe.file.clone(),
        detail: format!("{what}; relied on: {}", probe.relied_on),
    };
    let Some(source) = tree.read(&probe.file)? else {
        return Ok(missing("there is no such file".to_owned()));
    };
    let mut line = None;
    for wanted in &probe.text {
        match rule::line_with(&source, &probe.inside, wanted) {
            Ok(Some(found)) => line = line.or(Some(found)),
            Ok(None) => return Ok(missing(format!("`{wanted}` is not there"))),
            Err(scope) => return Ok(missing(format!("there is no `{scope}`"))),
        }
    }
    if let Some(pattern) = &probe.find {
        match Rule::new(pattern)?.find(&source, &probe.inside) {
            Found::Places(places) => match places.first() {
                Some(place) => line = line.or(Some(place.line)),
                None => return Ok(missing(format!("`{pattern}` matches nowhere"))),
            },
            Found::NoScope(scope) => return Ok(missing(format!("there is no `{scope}`"))),
        }
    }
    Ok(Finding {
        id: probe.id.clone(),
        holds: true,
        place: format!("{}:{}", probe.file, line.unwrap_or(1)),
        detail: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(probe: &str) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        fs::write(
            folder.path().join("src/main.rs"),
            "// head\nstruct Args {\n    #[arg(env = \"HERE\")]\n    uri: u8,\n}\nfn run() { exit(1) }\n",
        )
        .unwrap();
        let probe: Probe = toml::from_str(&format!(
            "id = \"p\"\nrelied_on = \"r\"\nfile = \"src/main.rs\"\n{probe}"
        ))
        .unwrap();
        one(&probe, &Tree::open(folder.path()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_there_is_found_with_its_line() {
        let finding =
            verdict("inside = [\"struct Args\"]\ntext = [\"env = \\\"HERE\\\"\", \"uri\"]");
        assert_eq!(
            (finding.holds, finding.place.as_str()),
            (true, "src/main.rs:3")
        );
        assert_eq!(verdict("find = \"exit($CODE)\"").place, "src/main.rs:6");
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_relied_on() {
        let finding = verdict("inside = [\"struct Args\"]\ntext = [\"exit\"]");
        assert_eq!(finding.detail, "`exit` is not there; relied on: r");
        let finding = verdict("inside = [\"fn stop\"]\nfind = \"exit($CODE)\"");
        assert_eq!(finding.detail, "there is no `fn stop`; relied on: r");
    }

    #[test]
    fn the_probes_of_this_repository_are_well_formed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patches/probes");
        for probe in read_all(&folder).unwrap() {
            if let Some(pattern) = &probe.find {
                Rule::new(pattern).unwrap();
            }
        }
    }
}
