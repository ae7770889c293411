//! `cargo ci pin`: reads qdrant-src/pin.toml, holds the Dockerfile to it, and changes it in place.
//!
//! Owns what a well-formed pin is. The source itself is fetched by `source`, and by qdrant-src/pinned.sh inside the build.

mod edit;
mod resolve;
mod set;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::toml_line;

/// What to do with the pin.
#[derive(Subcommand)]
pub enum Command {
    /// Print it.
    Show,
    /// Is it well-formed, and does the Dockerfile agree?
    Check {
        /// As a release build asks: nothing may be empty.
        #[arg(long)]
        release: bool,
    },
    /// Name another release, with everything that follows from it. Comments stay.
    Set(Set),
    /// Fill in what is empty, where there is a network.
    Resolve,
}

/// Which release to pin.
#[derive(Args)]
pub struct Set {
    /// Upstream's tag, like v1.2.3.
    tag: String,
    /// Which section.
    #[arg(long, default_value = "upstream", value_parser = ["upstream", "fallback"])]
    section: String,
    /// A git mirror, folder or address; else the pin's repository.
    #[arg(long, value_name = "MIRROR")]
    from: Option<String>,
}

/// The whole of pin.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    upstream: Release,
    fallback: Release,
    webui: WebUi,
    images: Images,
}

impl Pin {
    /// The release of a section.
    pub fn release(&self, section: &str) -> &Release {
        match section {
            "fallback" => &self.fallback,
            _ => &self.upstream,
        }
    }

    /// Both releases.
    pub fn releases(&self) -> [&Release; 2] {
        [&self.upstream, &self.fallback]
    }

    /// What was not learnt yet, as `[section] key`.
    fn empty(&self) -> Vec<String> {
        let mut empty = Vec::new();
        for (key, value) in [
            ("version", &self.webui.version),
            ("sha256", &self.webui.sha256),
        ] {
            if value.is_empty() {
                empty.push(format!("[webui] {key}"));
            }
        }
        for (section, image) in self.images.all() {
            if image.digest.is_empty() {
                empty.push(format!("[images.{section}] digest"));
            }
        }
        empty
    }
}

/// The dashboard: its release and what its archive sums up to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebUi {
    repository: String,
    version: String,
    sha256: String,
}

/// One release of Qdrant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Where it is fetched from.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// What the tag has to point at.
    pub commit: String,
    /// The commit's tree.
    pub tree: String,
    /// Of Cargo.lock in that tree.
    pub cargo_lock_sha256: String,
    /// The compiler that upstream builds it with.
    pub rust: String,
    /// The oldest that compiles it.
    pub rust_minimum: String,
}

/// The images that the Dockerfile starts from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    rust: Image,
    runtime: Image,
    qdrant: Image,
}

impl Images {
    /// Each with its section.
    fn all(&self) -> [(&'static str, &Image); 3] {
        [
            ("rust", &self.rust),
            ("runtime", &self.runtime),
            ("qdrant", &self.qdrant),
        ]
    }
}

/// One base image; an empty digest was not learnt yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    name: String,
    digest: String,
}

impl Image {
    /// How a Dockerfile names it.
    fn reference(&self) -> String {
        if self.digest.is_empty() {
            self.name.clone()
        } else {
            format!("{}@{}", self.name, self.digest)
        }
    }
}

/// Prints or checks the pin of the workspace at `root`.
///
/// # Errors
/// A file cannot be read, or the check found something; each finding is one line of the error.
pub fn run(root: &Path, command: &Command) -> anyhow::Result<()> {
    let pin = read(root)?;
    match command {
        Command::Set(options) => set::run(root, &pin, options),
        Command::Resolve => resolve::run(root, &pin),
        Command::Show => {
            for (name, release) in [("upstream", &pin.upstream), ("fallback", &pin.fallback)] {
                println!(
                    "{name}: {} of {}\n  commit {}\n  tree   {}\n  lock   {}\n  Rust {} (at least {})",
                    release.tag,
                    release.repository,
                    release.commit,
                    release.tree,
                    release.cargo_lock_sha256,
                    release.rust,
                    release.rust_minimum,
                );
            }
            for (_, image) in images(&pin) {
                println!("image: {}", image.reference());
            }
            Ok(())
        }
        Command::Check { release } => {
            let path = root.join("Dockerfile");
            let dockerfile =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let findings = findings(&pin, &dockerfile);
            if !findings.is_empty() {
                bail!("{}", findings.join("\n       "));
            }
            let empty = pin.empty();
            if *release && !empty.is_empty() {
                bail!(
                    "empty: {}: `cargo ci pin resolve` fills them in where there is a network; \
                     a release is not built without",
                    empty.join(", ")
                );
            }
            for what in empty {
                println!("note: {what} is not known yet");
            }
            println!(
                "pin: {} at {}, well-formed",
                pin.upstream.tag, pin.upstream.commit
            );
            Ok(())
        }
    }
}

/// Reads the pin of the workspace at `root`.
///
/// # Errors
/// It cannot be read, or lacks a key, or has one too many.
pub fn read(root: &Path) -> anyhow::Result<Pin> {
    let path = path(root);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    toml_line::read(&path.display().to_string(), &text)
}

fn path(root: &Path) -> PathBuf {
    root.join("qdrant-src/pin.toml")
}

/// Each base image with the Dockerfile's argument for it.
fn images(pin: &Pin) -> [(&'static str, &Image); 3] {
    [
        ("RUST_IMAGE", &pin.images.rust),
        ("RUNTIME_BASE", &pin.images.runtime),
        ("QDRANT_IMAGE", &pin.images.qdrant),
    ]
}

/// Everything that is wrong, one line each, saying where.
fn findings(pin: &Pin, dockerfile: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, release) in [("upstream", &pin.upstream), ("fallback", &pin.fallback)] {
        release_findings(name, release, &mut found);
    }
    let arguments = arguments(dockerfile);
    for (argument, image) in images(pin) {
        let digest = image.digest.strip_prefix("sha256:");
        if !image.digest.is_empty() && !digest.is_some_and(|digest| is_hex(digest, 64)) {
            found.push(format!(
                "pin.toml: digest of {} is {:?}: leave it empty or give sha256: and 64 hex digits",
                image.name, image.digest
            ));
        }
        let wanted = image.reference();
        match arguments.get(argument) {
            Some(default) if *default == wanted => {}
            Some(default) => found.push(format!(
                "Dockerfile: ARG {argument}={default}, pin.toml says {wanted}"
            )),
            None => found.push(format!(
                "Dockerfile: no ARG {argument}= before the first FROM"
            )),
        }
    }
    if !pin.webui.sha256.is_empty() && !is_hex(&pin.webui.sha256, 64) {
        found.push(format!(
            "pin.toml: [webui] sha256 = {:?}: leave it empty or give 64 hex digits",
            pin.webui.sha256
        ));
    }
    // The compiler and the official image belong to the release; else a new tag would be built by an old compiler.
    if !image_version(&pin.images.rust.name).starts_with(&format!("{}-", pin.upstream.rust)) {
        found.push(format!(
            "pin.toml: image {} is not Rust {}, which [upstream] names",
            pin.images.rust.name, pin.upstream.rust
        ));
    }
    if image_version(&pin.images.qdrant.name) != pin.upstream.tag {
        found.push(format!(
            "pin.toml: image {} is not {}, which [upstream] names",
            pin.images.qdrant.name, pin.upstream.tag
        ));
    }
    found
}

fn release_findings(name: &str, release: &Release, found: &mut Vec<String>) {
    for (key, value, digits) in [
        ("commit", &release.commit, 40),
        ("tree", &release.tree, 40),
        ("cargo_lock_sha256", &release.cargo_lock_sha256, 64),
    ] {
        if !is_hex(value, digits) {
            found.push(format!(
                "pin.toml: [{name}] {key} = {value:?} is not {digits} lower-case hex digits"
            ));
        }
    }
    if numbers(release.tag.strip_prefix('v').unwrap_or_default()).is_none_or(|n| n.len() != 3) {
        found.push(format!(
            "pin.toml: [{name}] tag = {:?} is not like v1.2.3",
            release.tag
        ));
    }
    if !release.repository.starts_with("https://") {
        found.push(format!(
            "pin.toml: [{name}] repository = {:?} is not an https address",
            release.repository
        ));
    }
    match (numbers(&release.rust), numbers(&release.rust_minimum)) {
        (Some(rust), Some(minimum)) if rust >= minimum => {}
        (Some(_), Some(_)) => found.push(format!(
            "pin.toml: [{name}] rust = {} is older than rust_minimum = {}",
            release.rust, release.rust_minimum
        )),
        _ => found.push(format!(
            "pin.toml: [{name}] rust = {:?}, rust_minimum = {:?}: versions like 1.97.1 are wanted",
            release.rust, release.rust_minimum
        )),
    }
}

/// The defaults of the arguments before the first `FROM`.
fn arguments(dockerfile: &str) -> BTreeMap<&str, &str> {
    dockerfile
        .lines()
        .take_while(|line| !line.starts_with("FROM "))
        .filter_map(|line| line.strip_prefix("ARG ")?.split_once('='))
        .map(|(name, default)| (name.trim(), default.trim()))
        .collect()
}

/// What follows the colon in an image's name.
fn image_version(name: &str) -> &str {
    name.rsplit_once(':').map_or("", |(_, version)| version)
}

fn is_hex(value: &str, digits: usize) -> bool {
    value.len() == digits
        && value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `1.97.1` as numbers, so that 1.100 is newer than 1.97.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = include_str!("../../../qdrant-src/pin.toml");
    const OUR_DOCKERFILE: &str = include_str!("../../../Dockerfile");

    /// Of no release: what is edited below must not depend on where the real pin stands.
    const PIN: &str = include_str!("fixture.toml");
    const DOCKERFILE: &str = "ARG RUST_IMAGE=rust:1.97.1-bookworm\nARG RUNTIME_BASE=debian:13-slim\n\
                              ARG QDRANT_IMAGE=qdrant/qdrant:v9.8.7\nFROM ${RUST_IMAGE}\n";

    fn check(pin: &str, dockerfile: &str) -> Vec<String> {
        findings(&toml::from_str(pin).unwrap(), dockerfile)
    }

    /// The text with something else in one place; an edit of nothing would make a test of nothing.
    fn edited(text: &str, old: &str, new: &str) -> String {
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {text}");
        text.replace(old, new)
    }

    #[test]
    fn the_pin_of_this_repository_is_well_formed_and_the_dockerfile_agrees() {
        assert_eq!(check(OURS, OUR_DOCKERFILE), Vec::<String>::new());
    }

    #[test]
    fn a_well_formed_pin_has_no_findings() {
        assert_eq!(check(PIN, DOCKERFILE), Vec::<String>::new());
    }

    /// They ask pinned.sh: a workflow's own token may not change workflows, so a compiler named there would stay behind.
    #[test]
    fn no_workflow_names_the_compiler_or_the_release_itself() {
        let pin: Pin = toml::from_str(OURS).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
        let mut asked = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            for value in [
                &pin.upstream.rust,
                &pin.upstream.tag,
                &pin.upstream.repository,
            ] {
                assert!(!text.contains(value), "{} names {value}", path.display());
            }
            asked += text.matches("pinned.sh get upstream rust").count();
            assert!(
                !text.contains("$RUST\""),
                "{}: nothing sets RUST",
                path.display()
            );
        }
        assert!(asked > 0);
    }

    #[test]
    fn a_cut_commit_is_named() {
        let found = check(&edited(PIN, "c0ffee00", ""), DOCKERFILE);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("[upstream] commit"), "{found:?}");
    }

    #[test]
    fn a_dockerfile_left_behind_is_named() {
        let found = check(
            PIN,
            &edited(
                DOCKERFILE,
                "RUNTIME_BASE=debian:13-slim",
                "RUNTIME_BASE=debian:11",
            ),
        );
        assert_eq!(
            found,
            ["Dockerfile: ARG RUNTIME_BASE=debian:11, pin.toml says debian:13-slim"]
        );
    }

    #[test]
    fn a_new_tag_with_the_old_image_and_compiler_is_named() {
        let pin = edited(PIN, "tag = \"v9.8.7\"", "tag = \"v9.9.0\"");
        let pin = edited(&pin, "rust = \"1.97.1\"", "rust = \"1.100.0\"");
        let found = check(&pin, DOCKERFILE);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("is not Rust 1.100.0"), "{found:?}");
        assert!(found[1].contains("is not v9.9.0"), "{found:?}");
    }

    #[test]
    fn a_digest_must_be_whole_and_the_dockerfile_must_carry_it() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pin = |digest: &str| {
            edited(
                PIN,
                "name = \"debian:13-slim\"\ndigest = \"\"",
                &format!("name = \"debian:13-slim\"\ndigest = \"{digest}\""),
            )
        };
        assert_eq!(check(&pin("sha256:12"), DOCKERFILE).len(), 2);
        let with = edited(
            DOCKERFILE,
            "=debian:13-slim",
            &format!("=debian:13-slim@{digest}"),
        );
        assert_eq!(check(&pin(&digest), &with), Vec::<String>::new());
    }

    #[test]
    fn an_older_compiler_than_the_minimum_is_named_by_number_not_by_text() {
        let fallback = |rust: &str| edited(PIN, "rust = \"1.96.0\"", rust);
        let found = check(&fallback("rust = \"1.100.0\""), DOCKERFILE);
        assert_eq!(found, Vec::<String>::new());
        let found = check(&fallback("rust = \"1.93.0\""), DOCKERFILE);
        assert!(found[0].contains("older than rust_minimum"), "{found:?}");
    }
}
