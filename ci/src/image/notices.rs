//! The notices: which crates are in a program, under which licence, and every licence and notice text that they
//! carry, each text once.
//!
//! Owns which files of a crate are such texts. Judges no licence.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::papers::Part;

/// How the names of such files begin, in capitals.
const NAMES: [&str; 7] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
    "PATENTS",
];
/// No licence is longer; a crate that names a program so is not read into memory.
const LONGEST: u64 = 1 << 20;

/// The document, and how many crates carry no text.
///
/// # Errors
/// A crate's folder or a text in it cannot be read.
pub fn write(parts: &[Part<'_>], program: &str) -> anyhow::Result<(String, usize)> {
    let linked: Vec<&Part<'_>> = parts.iter().filter(|part| part.linked).collect();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for part in &linked {
        let label = format!("{} {}", part.package.name, part.package.version);
        let found = texts_of(part).with_context(|| format!("read the licences of {label}"))?;
        if found.is_empty() {
            without.push(label.clone());
        }
        for text in found {
            let crates = texts.entry(text).or_default();
            if !crates.contains(&label) {
                crates.push(label.clone());
            }
        }
    }

    let mut document = format!(
        "Notices for {program} and the {} crates that are linked into it.\n\n",
        linked.len().saturating_sub(1)
    );
    for part in &linked {
        writeln!(
            document,
            "{} {}: {}{}",
            part.package.name,
            part.package.version,
            part.licence
                .as_deref()
                .unwrap_or("names no licence; its texts are below"),
            part.package
                .repository
                .as_deref()
                .map(|address| format!(", {address}"))
                .unwrap_or_default()
        )?;
    }
    if !without.is_empty() {
        writeln!(
            document,
            "\nThese carry no text of their licence in the package they are published as: {}.",
            without.join(", ")
        )?;
    }
    // By the first crate that carries it, so that the order says something and stays.
    let mut ordered: Vec<_> = texts.into_iter().collect();
    ordered.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (text, crates) in ordered {
        writeln!(
            document,
            "\n{}\n{}\n\n{text}",
            "=".repeat(80),
            crates.join(", ")
        )?;
    }
    Ok((document, without.len()))
}

/// Every text of one crate.
fn texts_of(part: &Part<'_>) -> anyhow::Result<Vec<String>> {
    let folder = part
        .package
        .manifest_path
        .parent()
        .context("a manifest lies in a folder")?;
    let mut files = named_so(folder.as_std_path())?;
    for sub in ["LICENSES", "licenses", "license", "LICENSE"] {
        let inner = folder.join(sub);
        if inner.is_dir() {
            files.extend(all_in(inner.as_std_path())?);
        }
    }
    if let Some(file) = &part.package.license_file {
        let file = folder.join(file).into_std_path_buf();
        if file.is_file() && !files.contains(&file) {
            files.push(file);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let size = fs::metadata(&file)
            .with_context(|| format!("look at {}", file.display()))?
            .len();
        if size > LONGEST {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        texts.push(normal(&String::from_utf8_lossy(&bytes)));
    }
    Ok(texts)
}

/// Files of the folder itself that are called like a licence; sources that are (`license.rs`) are none.
fn named_so(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(all_in(folder)?
        .into_iter()
        .filter(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().to_uppercase())
                .unwrap_or_default();
            NAMES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".RS")
        })
        .collect())
}

fn all_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Line ends and outer blank lines make no other text.
fn normal(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_found_by_name_and_sources_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "LICENSE-MIT",
            "Licence.md",
            "COPYING",
            "notice.txt",
            "license.rs",
            "README.md",
        ] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut found: Vec<_> = named_so(folder.path())
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(
            found,
            ["COPYING", "LICENSE-MIT", "Licence.md", "notice.txt"]
        );
    }

    #[test]
    fn the_same_text_with_other_line_ends_is_the_same() {
        assert_eq!(normal("\nMIT \r\nas is\r\n\r\n"), normal("MIT\nas is"));
    }
}
