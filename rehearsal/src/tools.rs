//! The programs under rehearsal: our entrypoint, built when needed, and the Qdrant under it.
//! Owns: finding and building. Must not: run a rehearsal.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use entrypoint::qdrant::Build;
use serde::Serialize;

/// Name of the symbolic link under which this program is the stand-in.
pub const STANDIN_NAME: &str = "standin-qdrant";

/// The Qdrant that entrypoints start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Qdrant {
    /// What to execute.
    pub program: PathBuf,
    /// Whether it is the stand-in of this crate.
    pub standin: bool,
    /// For people: its version, or `stand-in`.
    pub label: String,
}

impl Qdrant {
    /// Chooses: `--qdrant PATH` or `--qdrant standin`, else `QDRANT_BIN`, else the stand-in. A link
    /// to the stand-in is made in `folder`.
    ///
    /// # Errors
    /// When the named program does not exist, or the link cannot be made.
    pub fn choose(asked: Option<&str>, folder: &Path) -> Result<Self> {
        let named = match asked {
            Some("standin") => None,
            Some(path) => Some(PathBuf::from(path)),
            None => std::env::var_os("QDRANT_BIN")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from),
        };
        let Some(path) = named else {
            return Self::standin(folder);
        };
        let program = path.canonicalize().with_context(|| {
            format!(
                "find the Qdrant binary {}: give --qdrant PATH or --qdrant standin",
                path.display()
            )
        })?;
        let answer = Command::new(&program).arg("--version").output();
        let answer = answer.with_context(|| format!("run {} --version", program.display()))?;
        let label = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if !answer.status.success() || label.is_empty() {
            bail!(
                "{} --version: {}; is that a Qdrant?",
                program.display(),
                answer.status
            );
        }
        Ok(Self {
            program,
            standin: false,
            label,
        })
    }

    /// Whether this patch of ours is in it, as it says itself.
    pub fn has_patch(&self, name: &str) -> bool {
        let build = Build::parse(&self.label);
        build.is_ok_and(|build| build.patches.contains(name))
    }

    fn standin(folder: &Path) -> Result<Self> {
        let program = folder.join(STANDIN_NAME);
        let this = std::env::current_exe().context("find this program")?;
        std::os::unix::fs::symlink(this, &program).context("link the stand-in")?;
        Ok(Self {
            program,
            standin: true,
            label: "stand-in".into(),
        })
    }
}

/// Finds the entrypoint: `--entrypoint PATH`, else it is built by the same cargo that runs us, in
/// the release profile when `release` is asked or we are a release build, else the binary beside us.
///
/// # Errors
/// When it cannot be built or found.
pub fn entrypoint(asked: Option<&Path>, release: bool) -> Result<PathBuf> {
    if let Some(path) = asked {
        return path
            .canonicalize()
            .with_context(|| format!("find {}", path.display()));
    }
    let this = std::env::current_exe().context("find this program")?;
    let profile_folder = this.parent().context("find this program's folder")?;
    let release = release || profile_folder.ends_with("release");
    let target = profile_folder.parent().context("find the target folder")?;
    let profile = if release { "release" } else { "debug" };
    let built = target.join(profile).join("entrypoint");
    // Both are set by `cargo run`, and only there.
    if let (Some(cargo), Some(crate_folder)) = (
        std::env::var_os("CARGO"),
        std::env::var_os("CARGO_MANIFEST_DIR"),
    ) {
        println!("building the entrypoint ({profile})");
        let mut build = Command::new(cargo);
        build.args([
            "build",
            "--quiet",
            "--package",
            "entrypoint",
            "--bin",
            "entrypoint",
        ]);
        build
            .arg("--target-dir")
            .arg(target)
            .current_dir(crate_folder);
        if release {
            build.arg("--release");
        }
        // What `cargo run` says of this crate is not what a shell would say: build scripts that watch
        // it (ring's does) would run again, and all above them be built anew, at every turn.
        let of_this_crate =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(of_this_crate) {
                build.env_remove(name);
            }
        }
        let status = build
            .status()
            .context("run cargo build --package entrypoint")?;
        if !status.success() {
            bail!("cargo build --package entrypoint: {status}");
        }
    }
    if !built.exists() {
        bail!(
            "there is no {}: run `cargo build --package entrypoint` first",
            built.display()
        );
    }
    Ok(built)
}

/// Runs this process as the stand-in Qdrant.
pub fn be_standin(args: Vec<std::ffi::OsString>) -> std::process::ExitCode {
    let args = args
        .into_iter()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned());
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    crate::standin::main(args, &env.collect())
}
