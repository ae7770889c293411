//! `cargo ci pin set TAG`: everything that follows from a tag, read from upstream's repository and put into pin.toml.

use std::path::Path;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use super::edit::{self, Change};
use super::{Pin, Set, image_version, numbers};
use crate::hex::hex;
use crate::run;

/// Reads the tag and changes the pin of the workspace at `root`.
///
/// # Errors
/// The tag cannot be had, or lacks something; then the pin is as it was.
pub fn run(root: &Path, pin: &Pin, options: &Set) -> anyhow::Result<()> {
    let tag = &options.tag;
    ensure!(
        numbers(tag.strip_prefix('v').unwrap_or_default()).is_some_and(|n| n.len() == 3),
        "{tag} is not a release like v1.2.3"
    );
    let old = pin.release(&options.section);
    let from = options.from.as_deref().unwrap_or(&old.repository);
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let git = || {
        let mut git = run::git();
        git.arg("--git-dir").arg(folder.path());
        git
    };
    run::output(git().args(["init", "--quiet", "--bare"]))?;
    run::output(git().args([
        "fetch",
        "--quiet",
        "--depth",
        "1",
        from,
        &format!("refs/tags/{tag}"),
    ]))
    .with_context(|| format!("cannot fetch {tag} of {from}: no network, or no such tag"))?;
    let show = |path: &str| {
        run::bytes(git().args(["show", &format!("FETCH_HEAD:{path}")]))
            .with_context(|| format!("{tag} has no {path}"))
    };
    let text = |path: &str| show(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let parse =
        |what: &str| run::output(git().args(["rev-parse", &format!("FETCH_HEAD^{{{what}}}")]));

    let rust_minimum = rust_minimum(&text("Cargo.toml")?)
        .with_context(|| format!("Cargo.toml of {tag} names no rust-version"))?;
    let rust = compiler(&text("Dockerfile")?)
        .with_context(|| format!("Dockerfile of {tag} names no rust image"))?;
    let section = options.section.as_str();
    let mut changes: Vec<Change<'_>> = vec![
        (section, "tag", tag.clone()),
        (section, "commit", parse("commit")?),
        (section, "tree", parse("tree")?),
        (
            section,
            "cargo_lock_sha256",
            hex(&Sha256::digest(show("Cargo.lock")?)),
        ),
        (section, "rust", rust.clone()),
        (section, "rust_minimum", rust_minimum),
    ];
    if section == "upstream" {
        let of_rust = with_version(&pin.images.rust.name, &rust);
        let of_qdrant = format!("qdrant/qdrant:{tag}");
        for (image, old, new) in [
            ("images.rust", &pin.images.rust, of_rust),
            ("images.qdrant", &pin.images.qdrant, of_qdrant),
        ] {
            if old.name != new {
                changes.push((image, "name", new));
                // The digest was the old image's.
                changes.push((image, "digest", String::new()));
            }
        }
    }
    edit::in_place(&super::path(root), &changes)?;
    for (section, key, value) in changes {
        println!("[{section}] {key} = {value:?}");
    }
    println!("now `cargo ci pin check` says which default of the Dockerfile is left behind");
    Ok(())
}

/// `rust:1.2.3-bookworm` with another version.
fn with_version(name: &str, rust: &str) -> String {
    let system = image_version(name)
        .split_once('-')
        .map_or("", |(_, system)| system);
    let image = name.rsplit_once(':').map_or(name, |(image, _)| image);
    if system.is_empty() {
        format!("{image}:{rust}")
    } else {
        format!("{image}:{rust}-{system}")
    }
}

fn rust_minimum(manifest: &str) -> Option<String> {
    let manifest: toml::Table = manifest.parse().ok()?;
    let own = manifest
        .get("package")
        .and_then(|package| package.get("rust-version")?.as_str());
    let shared = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("package")?.get("rust-version")?.as_str());
    own.or(shared).map(str::to_owned)
}

/// The version of the first `rust:` or `cargo-chef:…-rust-` image of a Dockerfile.
fn compiler(dockerfile: &str) -> Option<String> {
    dockerfile
        .lines()
        .filter(|line| line.starts_with("FROM "))
        .find_map(|line| {
            let (_, after) = line
                .split_once("rust:")
                .or_else(|| line.split_once("rust-"))?;
            let version: String = after
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            numbers(&version).map(|_| version)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_read_from_either_form() {
        assert_eq!(
            compiler(
                "ARG X\nFROM --platform=x lukemathwalker/cargo-chef:latest-rust-1.97.1 AS chef"
            )
            .as_deref(),
            Some("1.97.1")
        );
        assert_eq!(compiler("FROM rust:1.96-slim").as_deref(), Some("1.96"));
        assert_eq!(compiler("FROM debian:13"), None);
    }

    #[test]
    fn an_image_keeps_its_system() {
        assert_eq!(
            with_version("rust:1.97.1-bookworm", "1.98.0"),
            "rust:1.98.0-bookworm"
        );
    }

    #[test]
    fn the_minimum_is_the_packages_own_or_the_workspaces() {
        assert_eq!(
            rust_minimum("[package]\nrust-version = \"1.97\"").as_deref(),
            Some("1.97")
        );
        assert_eq!(
            rust_minimum("[workspace.package]\nrust-version = \"1.9\"").as_deref(),
            Some("1.9")
        );
        assert_eq!(rust_minimum("[package]\nname = \"x\""), None);
    }
}
