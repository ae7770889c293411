//! `cargo ci source`: Qdrant's source, fetched and compared with the pin. Owns where it may come from, and that the folder
//! is whole or absent. Does not patch and does not build. `qdrant-src/pinned.sh` does the same inside the image's build,
//! where there is no Rust of ours yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::hex::hex;
use crate::pin::{self, Release};
use crate::run;

/// What to do with the source.
#[derive(Subcommand)]
pub enum Command {
    /// Put the pinned source into a new folder, verified.
    Fetch(Fetch),
}

/// Where from and where to.
#[derive(Args)]
pub struct Fetch {
    /// Which release of pin.toml.
    #[arg(long, default_value = "upstream", value_parser = ["upstream", "fallback"])]
    section: String,
    /// A git mirror (folder or address), a folder with the source, or a tar archive of it; else the pin's repository.
    #[arg(long, value_name = "DIR|ARCHIVE|MIRROR")]
    from: Option<String>,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Runs the command for the workspace at `root`.
///
/// # Errors
/// One line: what could not be had, or what differs from the pin. The folder is then absent.
pub fn run(root: &Path, command: &Command) -> anyhow::Result<()> {
    let Command::Fetch(options) = command;
    let pin = pin::read(root)?;
    let release = pin.release(&options.section);
    let to = options
        .to
        .clone()
        .unwrap_or_else(|| root.join("qdrant-src/source"));
    let from = options.from.as_deref().unwrap_or(&release.repository);
    fetch(release, from, &to)?;
    println!("{}", to.display());
    Ok(())
}

/// Fetches `release` from `from` into the new folder `to`.
///
/// # Errors
/// As [`run`].
pub fn fetch(release: &Release, from: &str, to: &Path) -> anyhow::Result<()> {
    ensure!(
        !to.exists(),
        "{} exists already: remove it first",
        to.display()
    );
    let beside = to
        .parent()
        .filter(|folder| folder.is_dir())
        .with_context(|| {
            format!(
                "{}: the folder it is to be made in does not exist",
                to.display()
            )
        })?;
    // Filled beside the target and renamed at the end, so that the target is whole or absent.
    let work = TempDir::with_prefix_in(".source-", beside)
        .with_context(|| format!("make a folder in {}", beside.display()))?;
    let objects = Objects::new(&work.path().join("objects"))?;
    let tree = match kind(from)? {
        Kind::Git => objects.of_tag(release, from)?,
        Kind::Folder => objects.of_folder(Path::new(from), release)?,
        Kind::Archive => {
            let unpacked = work.path().join("unpacked");
            objects.of_folder(&unpack(Path::new(from), &unpacked)?, release)?
        }
    };
    let source = work.path().join("source");
    objects.check_out(&tree, &source)?;
    let lock = source.join("Cargo.lock");
    let lock = fs::read(&lock).with_context(|| format!("read {}", lock.display()))?;
    let found = hex(&Sha256::digest(lock));
    ensure!(
        found == release.cargo_lock_sha256,
        "Cargo.lock of {} has sha256 {found}, pinned is {}",
        release.tag,
        release.cargo_lock_sha256
    );
    fs::rename(&source, to).with_context(|| format!("put {} in place", to.display()))?;
    eprintln!(
        "{}: commit {}, tree {tree}, verified",
        release.tag, release.commit
    );
    Ok(())
}

/// What a `--from` is.
enum Kind {
    Git,
    Folder,
    Archive,
}

fn kind(from: &str) -> anyhow::Result<Kind> {
    let path = Path::new(from);
    if from.contains("://") || path.join(".git").exists() || path.join("objects").is_dir() {
        Ok(Kind::Git)
    } else if path.is_dir() {
        Ok(Kind::Folder)
    } else if path.is_file() {
        Ok(Kind::Archive)
    } else {
        bail!("{from} is no folder, no archive and no address");
    }
}

/// Unpacks an archive; gives the folder in it that holds the source.
fn unpack(archive: &Path, into: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir(into).with_context(|| format!("make {}", into.display()))?;
    run::output(
        Process::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(into),
    )
    .with_context(|| format!("{} is no archive that can be unpacked", archive.display()))?;
    if into.join("Cargo.lock").is_file() {
        return Ok(into.to_path_buf());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(into).with_context(|| format!("list {}", into.display()))? {
        folders.push(
            entry
                .with_context(|| format!("list {}", into.display()))?
                .path(),
        );
    }
    match folders.as_slice() {
        [only] if only.join("Cargo.lock").is_file() => Ok(only.clone()),
        _ => bail!("{} does not hold Qdrant's source", archive.display()),
    }
}

/// A store of git objects for the time of the fetch: with it every source is compared in the same way.
struct Objects {
    folder: PathBuf,
}

impl Objects {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        run::output(
            Process::new("git")
                .args(["init", "--quiet", "--bare"])
                .arg(folder),
        )?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    fn git(&self) -> Process {
        let mut git = Process::new("git");
        git.arg("--git-dir").arg(&self.folder);
        // Files in large-file storage stay the pointers that the tree holds, whatever is installed here.
        for setting in ["clean=", "smudge=", "process=", "required=false"] {
            git.arg("-c").arg(format!("filter.lfs.{setting}"));
        }
        git.args(["-c", "core.autocrlf=false", "-c", "core.fileMode=true"]);
        git
    }

    /// The tag is fetched, not the bare commit: a tag that moved must be noticed.
    fn of_tag(&self, release: &Release, from: &str) -> anyhow::Result<String> {
        let tag = format!("refs/tags/{}", release.tag);
        run::output(
            self.git()
                .args(["fetch", "--quiet", "--depth", "1", from, &tag]),
        )
        .with_context(|| {
            format!(
                "cannot fetch {} of {from}: no network, no such tag, or no room",
                release.tag
            )
        })?;
        let found = run::output(self.git().args(["rev-parse", "FETCH_HEAD^{commit}"]))?;
        ensure!(
            found == release.commit,
            "{} of {from} is commit {found}, pinned is {}: the tag was moved",
            release.tag,
            release.commit
        );
        let tree = run::output(self.git().args(["rev-parse", "FETCH_HEAD^{tree}"]))?;
        ensure!(
            tree == release.tree,
            "{} of {from} has tree {tree}, pinned is {}",
            release.tag,
            release.tree
        );
        Ok(tree)
    }

    /// A folder carries no commit; the same tree is the same content.
    fn of_folder(&self, folder: &Path, release: &Release) -> anyhow::Result<String> {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("find {}", folder.display()))?;
        run::output(
            self.git()
                .arg("--work-tree")
                .arg(&folder)
                .current_dir(&folder)
                .args(["add", "--all", "--force", "."]),
        )
        .with_context(|| format!("read {}", folder.display()))?;
        let tree = run::output(self.git().arg("write-tree"))?;
        ensure!(
            tree == release.tree,
            "{} has tree {tree}, pinned for {} is {}: files are missing, changed or added",
            folder.display(),
            release.tag,
            release.tree
        );
        Ok(tree)
    }

    fn check_out(&self, tree: &str, into: &Path) -> anyhow::Result<()> {
        fs::create_dir(into).with_context(|| format!("make {}", into.display()))?;
        let git = || {
            let mut git = self.git();
            git.arg("--work-tree").arg(into).current_dir(into);
            git
        };
        run::output(git().args(["read-tree", tree]))?;
        run::output(git().args(["checkout-index", "--all", "--force"]))
            .context("write the source")?;
        Ok(())
    }
}
