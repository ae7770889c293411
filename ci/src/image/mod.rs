//! `cargo ci image`: the image lane. Builds the runtime stage of the product's Dockerfile from what this machine can
//! reach and runs three containers of it as one cluster.
//!
//! Owns the order of the lane. Nothing is pushed or published, and everything but the base image is removed at the
//! end. What a machine lacks skips the lane with one line that says what; what fails on the way is an error.

mod base;
mod cluster;
mod docker;
mod http;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use crate::run;
use docker::{Docker, Leftovers};

/// The word that `.ci/run` looks for to count the lane as skipped instead of passed.
const SKIPPED: &str = "image lane: skipped:";

/// What goes into the image.
#[derive(Args)]
pub struct Options {
    /// Qdrant's binary; without it $QDRANT_BIN, without that the rehearsal's stand-in.
    #[arg(long, value_name = "FILE")]
    qdrant: Option<PathBuf>,
    /// The entrypoint's binary; without it, it is built in release mode.
    #[arg(long, value_name = "FILE")]
    entrypoint: Option<PathBuf>,
    /// When no base image can be made here, let the engine fetch the Dockerfile's.
    #[arg(long)]
    pull: bool,
}

/// Builds the image and runs the cluster.
///
/// # Errors
/// Anything that should have worked on this machine and did not.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let docker = match Docker::find() {
        Ok(docker) => docker,
        Err(lack) => {
            println!("{SKIPPED} {lack}");
            return Ok(());
        }
    };
    docker::remove_abandoned(&docker)?;
    let Some(base) = base::find_or_make(&docker, root, options.pull)? else {
        println!(
            "{SKIPPED} no base image: install debootstrap (as root), or allow --pull, or tag one as {}",
            base::MADE_HERE
        );
        return Ok(());
    };

    let qdrant = options
        .qdrant
        .clone()
        .or_else(|| std::env::var_os("QDRANT_BIN").map(PathBuf::from));
    let (qdrant, kind) = match qdrant {
        Some(path) => {
            let kind = format!("Qdrant {}", path.display());
            (path, kind)
        }
        None => (
            built(root, "rehearsal", "standin", false)?,
            "the stand-in for Qdrant".to_owned(),
        ),
    };
    let entrypoint = match &options.entrypoint {
        Some(path) => path.clone(),
        None => built(root, "entrypoint", "entrypoint", true)?,
    };

    let mut leftovers = Leftovers::new(&docker);
    let image = build(&docker, root, &base, &qdrant, &entrypoint, &mut leftovers)?;
    println!("image lane: built the runtime stage on {base} with {kind}");
    cluster::rehearse(&docker, &image, &mut leftovers)?;
    println!("image lane: passed");
    Ok(())
}

/// Builds the runtime stage the binary way and gives the image's name.
fn build(
    docker: &Docker,
    root: &Path,
    base: &str,
    qdrant: &Path,
    entrypoint: &Path,
    leftovers: &mut Leftovers<'_>,
) -> anyhow::Result<String> {
    let qdrant = binary_image(docker, qdrant, "qdrant", leftovers)?;
    let entrypoint = binary_image(docker, entrypoint, "entrypoint", leftovers)?;
    let image = leftovers.image("runtime");
    let mut command = docker.command();
    command
        .env("DOCKER_BUILDKIT", "1")
        .args(["build", "--quiet", "--target", "runtime", "--tag", &image]);
    for argument in [
        format!("RUNTIME_BASE={base}"),
        "QDRANT_FROM=binary".to_owned(),
        format!("QDRANT_BINARY_IMAGE={qdrant}"),
        "ENTRYPOINT_FROM=binary".to_owned(),
        format!("ENTRYPOINT_BINARY_IMAGE={entrypoint}"),
    ] {
        command.args(["--build-arg", &argument]);
    }
    run::output(command.arg(root)).context("build the runtime stage")?;
    Ok(image)
}

/// An image with nothing but `binary` under `name`: what a named build context is, for engines that know none.
fn binary_image(
    docker: &Docker,
    binary: &Path,
    name: &str,
    leftovers: &mut Leftovers<'_>,
) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let inside = folder.path().join(name);
    fs::copy(binary, &inside).with_context(|| format!("copy {}", binary.display()))?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", inside.display()))?;
    let archive = tempfile::NamedTempFile::new().context("make a temporary file")?;
    run::output(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--create", "--file"])
            .arg(archive.path())
            .arg("--directory")
            .arg(folder.path())
            .arg(name),
    )?;
    let image = leftovers.image(name);
    docker.run(&["import", &archive.path().to_string_lossy(), &image])?;
    Ok(image)
}

/// One line of `cargo build --message-format json`, as far as it is wanted.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
}

/// Lets cargo build a program of the workspace and gives its path, wherever the target folder is.
fn built(root: &Path, package: &str, program: &str, release: bool) -> anyhow::Result<PathBuf> {
    let mut cargo = run::cargo();
    cargo
        .args(["build", "--quiet", "--package", package, "--bin", program])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root);
    if release {
        cargo.arg("--release");
    }
    run::output(&mut cargo)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Built>(line).ok()?.executable)
        .next_back()
        .with_context(|| format!("cargo built no program {program} of {package}"))
}
