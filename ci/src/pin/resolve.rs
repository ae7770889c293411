//! `cargo ci pin resolve`: learns what is empty in pin.toml from where it is published. What cannot be learnt stays empty.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::edit::{self, Change};
use super::{Pin, is_hex, numbers};
use crate::hex::hex;
use crate::run;

/// Fills in what is empty; what was filled in stays as it is.
///
/// # Errors
/// Something is still empty afterwards; each such thing is one line with the reason.
pub fn run(root: &Path, pin: &Pin) -> anyhow::Result<()> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    let mut unknown = Vec::new();
    let sections = ["images.rust", "images.runtime", "images.qdrant"];
    for ((_, image), section) in pin.images.all().into_iter().zip(sections) {
        if image.digest.is_empty() {
            match digest(&image.name) {
                Ok(digest) => changes.push((section, "digest", digest)),
                Err(error) => unknown.push(format!("[{section}] digest: {error:#}")),
            }
        }
    }
    let mut version = pin.webui.version.clone();
    if version.is_empty() {
        match newest(&pin.webui.repository) {
            Ok(found) => {
                changes.push(("webui", "version", found.clone()));
                version = found;
            }
            Err(error) => unknown.push(format!("[webui] version: {error:#}")),
        }
    }
    if pin.webui.sha256.is_empty() && !version.is_empty() {
        match archive_sum(&pin.webui.repository, &version) {
            Ok(sum) => changes.push(("webui", "sha256", sum)),
            Err(error) => unknown.push(format!("[webui] sha256: {error:#}")),
        }
    }
    edit::in_place(&super::path(root), &changes)?;
    for (section, key, value) in &changes {
        println!("[{section}] {key} = {value:?}");
    }
    if !unknown.is_empty() {
        bail!("left empty: {}", unknown.join("\n       "));
    }
    Ok(())
}

/// The digest of the list of an image's platforms.
fn digest(name: &str) -> anyhow::Result<String> {
    let said = run::output(Command::new("docker").args([
        "buildx",
        "imagetools",
        "inspect",
        "--format",
        "{{.Manifest.Digest}}",
        name,
    ]))?;
    let digits = said.strip_prefix("sha256:").unwrap_or_default();
    ensure!(
        is_hex(digits, 64),
        "the registry answered {said:?}, no digest"
    );
    Ok(said)
}

/// The newest release of the dashboard.
fn newest(repository: &str) -> anyhow::Result<String> {
    let said =
        run::output(Command::new("git").args(["ls-remote", "--tags", "--refs", repository]))?;
    said.lines()
        .filter_map(|line| line.rsplit_once("refs/tags/v"))
        .filter_map(|(_, version)| Some((numbers(version)?, version)))
        .max()
        .map(|(_, version)| format!("v{version}"))
        .context("the repository has no tag like v1.2.3")
}

fn archive_sum(repository: &str, version: &str) -> anyhow::Result<String> {
    let address = format!("{repository}/releases/download/{version}/dist-qdrant.zip");
    let archive = run::bytes(Command::new("curl").args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        &address,
    ]))?;
    ensure!(archive.starts_with(b"PK"), "{address} is no zip archive");
    Ok(hex(&Sha256::digest(archive)))
}
