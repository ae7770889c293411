//! The base image for the lane: the machine's own if it has one, else made from the distribution's packages without
//! any image registry, else, when allowed, the Dockerfile's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::docker::Docker;
use crate::run;

/// Kept between runs, because making it takes minutes.
pub const MADE_HERE: &str = "qdrant-ecs-base:local";

/// What the runtime stage would else install over the network.
const PACKAGES: &str = "ca-certificates,libunwind8,tzdata";

/// The name of a base image that the engine has now; `None` when this machine has no way to one.
///
/// # Errors
/// A way exists and fails.
pub fn find_or_make(docker: &Docker, root: &Path, pull: bool) -> anyhow::Result<Option<String>> {
    let of_dockerfile = dockerfile_default(root)?;
    for name in [MADE_HERE, &of_dockerfile] {
        if docker.run(&["image", "inspect", name]).is_ok() {
            return Ok(Some(name.to_owned()));
        }
    }
    if run::output(Command::new("debootstrap").arg("--version")).is_ok() && is_root() {
        make(docker).context("make a base image with debootstrap")?;
        return Ok(Some(MADE_HERE.to_owned()));
    }
    if pull {
        docker.run(&["pull", "--quiet", &of_dockerfile])?;
        return Ok(Some(of_dockerfile));
    }
    Ok(None)
}

/// The smallest system of this machine's own release, so that programs built here find their libraries in it.
fn make(docker: &Docker) -> anyhow::Result<()> {
    let os_release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let suite = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no VERSION_CODENAME")?;
    println!("image lane: making a base image from {suite}'s packages, once; this takes minutes");
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let system = folder.path().join("root");
    run::output(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={PACKAGES}"), suite])
            .arg(&system),
    )?;
    let archive = folder.path().join("root.tar");
    run::output(
        Command::new("tar")
            .args([
                "--one-file-system",
                "--exclude=./var/cache/apt/archives/*.deb",
                "--exclude=./var/lib/apt/lists/*",
            ])
            .args(["--create", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&system)
            .arg("."),
    )?;
    docker.run(&["import", &archive.to_string_lossy(), MADE_HERE])?;
    Ok(())
}

/// The Dockerfile's own default.
fn dockerfile_default(root: &Path) -> anyhow::Result<String> {
    let path = root.join("Dockerfile");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let default = text
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUNTIME_BASE="));
    Ok(default
        .context("the Dockerfile has no ARG RUNTIME_BASE=")?
        .trim()
        .to_owned())
}

fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}
