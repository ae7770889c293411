//! `cargo ci image`: the image lane. Builds the runtime stage of the product's Dockerfile from what this machine can
//! reach and runs three containers of it as one cluster. Its subcommands write the papers that an image carries and
//! verify an image that was built.
//!
//! Owns the order of the lane. Nothing is pushed or published, and everything but the base image is removed at the
//! end. What a machine lacks skips the lane with one line that says what; what fails on the way is an error.

mod archive;
mod base;
mod bom;
mod cluster;
mod digest;
mod docker;
mod http;
mod labels;
mod notices;
mod papers;
mod sbom;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::run;
use docker::{Docker, Leftovers};

/// The word that `.ci/run` looks for to count the lane as skipped instead of passed.
const SKIPPED: &str = "image lane: skipped:";

const MB: i64 = 1_000_000;
/// What the image may have beside plain Qdrant, in megabytes.
const ALLOWED: i64 = 10;

/// The lane, or something smaller.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    lane: Options,
}

/// What is not the lane.
#[derive(Subcommand)]
enum What {
    /// Verify every part of an image and print what it is called by.
    Digest(digest::Options),
    /// Verify that an image carries what it is made of: SBOMs, notices, licences.
    Sbom(sbom::Options),
    /// Verify what an image says of itself and how it would run.
    Labels(labels::Options),
    /// Write the SBOM and the notices of one program; the Dockerfile does.
    Papers(papers::Options),
}

/// What goes into the image.
#[derive(Args)]
struct Options {
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

/// Runs the lane, or what was asked for instead.
///
/// # Errors
/// Anything that should have worked on this machine and did not, or what an image lacks.
pub fn run(root: &Path, command: &Command) -> anyhow::Result<()> {
    match &command.what {
        None => lane(root, &command.lane),
        Some(What::Digest(options)) => digest::run(options),
        Some(What::Sbom(options)) => sbom::run(options),
        Some(What::Labels(options)) => labels::run(options),
        Some(What::Papers(options)) => papers::run(options),
    }
}

/// Builds the image and runs the cluster.
fn lane(root: &Path, options: &Options) -> anyhow::Result<()> {
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
    let (qdrant, kind, real) = match qdrant {
        Some(path) => {
            let kind = format!("Qdrant {}", path.display());
            (path, kind, true)
        }
        None => (
            built(root, "rehearsal", "standin", false)?,
            "the stand-in for Qdrant".to_owned(),
            false,
        ),
    };
    let entrypoint = match &options.entrypoint {
        Some(path) => path.clone(),
        None => built(root, "entrypoint", "entrypoint", true)?,
    };

    let mut leftovers = Leftovers::new(&docker);
    let image = build(&docker, root, &base, &qdrant, &entrypoint, &mut leftovers)?;
    println!("image lane: built the runtime stage on {base} with {kind}");
    report_size(&docker, &base, &image, &qdrant)?;
    cluster::rehearse(&docker, &image, real, &mut leftovers)?;
    println!("image lane: passed");
    Ok(())
}

/// How much more than plain Qdrant the image is: what lies on the base, without Qdrant's own binary.
fn report_size(docker: &Docker, base: &str, image: &str, qdrant: &Path) -> anyhow::Result<()> {
    let size = |name: &str| -> anyhow::Result<i64> {
        let text = docker.run(&["image", "inspect", "--format", "{{.Size}}", name])?;
        text.parse()
            .with_context(|| format!("the engine says the size of {name} is {text:?}"))
    };
    let (base, image) = (size(base)?, size(image)?);
    let binary = fs::metadata(qdrant)
        .with_context(|| format!("look at {}", qdrant.display()))?
        .len();
    let binary = i64::try_from(binary).context("a size beyond all files")?;
    let ours = image - base - binary;
    println!(
        "image lane: {} MB, of which the base {}, Qdrant {}, ours {} (allowed beside plain Qdrant: {ALLOWED} MB){}",
        image / MB,
        base / MB,
        binary / MB,
        tenths(ours),
        if ours > ALLOWED * MB {
            "; more than allowed, as with an entrypoint that is no release"
        } else {
            ""
        }
    );
    Ok(())
}

/// Bytes as megabytes with one decimal.
fn tenths(bytes: i64) -> String {
    format!("{}.{}", bytes / MB, (bytes % MB).abs() * 10 / MB)
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
        process::Command::new("tar")
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
