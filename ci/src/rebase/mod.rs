//! `cargo ci rebase TAG`: what another release of Qdrant means for us. Owns the order of the looks and the exit code; the
//! report's form is in `report`, what is compared between two trees in `surface`.

mod report;
mod surface;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;
use tempfile::TempDir;

use crate::patch::manifest;
use crate::patch::plan::{self, Parts};
use crate::patch::tree::Tree;
use crate::{pin, probe, run};

use report::Report;
use surface::Surface;

/// Which release, and where its source is.
#[derive(Args)]
pub struct Options {
    /// Upstream's tag or branch.
    tag: String,
    /// A checkout of that release, or a clone or mirror that knows it.
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// Where to put the report as JSON; the Markdown goes to standard output.
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// A checkout of the pinned release to compare settings, arguments and endpoints with; else taken from the same clone.
    #[arg(long, value_name = "DIR")]
    pinned: Option<PathBuf>,
    /// Also apply the patches to a copy, build and run their tests.
    #[arg(long)]
    test: bool,
}

/// Reports; says whether all is as wanted.
///
/// # Errors
/// It could not be looked.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let pin = pin::read(root)?;
    let pinned_tag = &pin.release("upstream").tag;
    let wanted = Source::new(&options.tree, &options.tag)?;
    let tree = Tree::open(wanted.path())?;
    let pinned = match &options.pinned {
        Some(folder) => Ok(Source::Given(folder.clone())),
        None => Source::new(&options.tree, pinned_tag),
    };

    let patches = manifest::read_all(&root.join("patches"))?;
    let plan = plan::plan(&patches, &tree, Parts::All)?;
    let findings = probe::look(&probe::read_all(&root.join("patches/probes"))?, &tree)?;
    let now = Surface::of(&tree)?;
    let differences = match pinned {
        Ok(pinned) => Ok(now.against(&Surface::of(&Tree::open(pinned.path())?)?)),
        Err(error) => Err(format!("{error:#}")),
    };
    let tests = (options.test && plan.applies()).then(|| test(root, &tree));
    let report = Report {
        tag: options.tag.clone(),
        pinned: pinned_tag.clone(),
        hooks: plan.assessments,
        probes: findings,
        rust: now.rust,
        git_dependencies: now.git_dependencies,
        differences,
        tests,
    };
    print!("{}", report.markdown());
    let json = report.json().context("write the report as JSON")?;
    fs::write(&options.json, json).with_context(|| format!("write {}", options.json.display()))?;
    Ok(report.all_as_wanted())
}

/// The source of one release, given or taken out of a clone.
enum Source {
    Given(PathBuf),
    Taken(TempDir),
}

impl Source {
    fn new(folder: &Path, tag: &str) -> anyhow::Result<Self> {
        let git = || {
            let mut git = Command::new("git");
            git.arg("-C").arg(folder);
            git
        };
        if !folder.join(".git").exists() && !folder.join("objects").is_dir() {
            // No history: it is taken at its word, which only a checkout can be.
            if folder.join("Cargo.toml").is_file() {
                return Ok(Self::Given(folder.to_path_buf()));
            }
            bail!("{} is neither a checkout nor a clone", folder.display());
        }
        let commit = run::output(
            git()
                .args(["rev-parse", "--verify", "--quiet"])
                .arg(format!("{tag}^{{commit}}")),
        )
        .with_context(|| {
            format!(
                "{} does not know {tag}: fetch it there first",
                folder.display()
            )
        })?;
        let taken = tempfile::tempdir().context("make a temporary folder")?;
        let archive = taken.path().join("source.tar");
        run::output(
            git()
                .args(["archive", "--format=tar", "--output"])
                .arg(&archive)
                .arg(&commit),
        )
        .with_context(|| format!("take {tag} out of {}", folder.display()))?;
        run::output(
            Command::new("tar")
                .arg("--extract")
                .arg("--file")
                .arg(&archive)
                .arg("--directory")
                .arg(taken.path()),
        )
        .context("unpack the source")?;
        fs::remove_file(&archive).context("remove the archive")?;
        Ok(Self::Taken(taken))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Taken(folder) => folder.path(),
        }
    }
}

/// Applies and tests in a copy, for the given tree is not ours.
fn test(root: &Path, tree: &Tree) -> Result<String, String> {
    let attempt = || -> anyhow::Result<String> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let copy = folder.path().join("source");
        run::output(
            Command::new("cp")
                .arg("--recursive")
                .arg(tree.root())
                .arg(&copy),
        )?;
        let ci = std::env::current_exe().context("find this program")?;
        let patch = |what: &str| {
            let mut command = Command::new(&ci);
            command
                .current_dir(root)
                .args(["patch", what, "--tree"])
                .arg(&copy);
            command
        };
        run::output(&mut patch("apply"))?;
        run::output(patch("verify").arg("--test"))
    };
    attempt().map_err(|error| format!("{error:#}"))
}
