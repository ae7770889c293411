//! `cargo ci rebase TAG`: what another release of Qdrant means for us. Owns the order of the looks and the exit code; the
//! report's form is in `report`, what is compared between two trees in `surface`.

mod report;
mod surface;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};
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
/// It could not be looked, or not at everything.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let pin = pin::read(root)?;
    let pinned_tag = &pin.release("upstream").tag;
    let wanted = Source::new(&options.tree, &options.tag)?;
    let tree = Tree::open(wanted.path())?;
    let pinned = match (&options.pinned, &wanted) {
        (Some(folder), _) => Ok(Source::Given(folder.clone())),
        (None, Source::Taken(_)) => Source::new(&options.tree, pinned_tag),
        // Taken at its word it would be the pinned release as well, and nothing would ever differ.
        (None, Source::Given(folder)) => Err(anyhow!(
            "{} has no history to take {pinned_tag} from: give --pinned DIR, or a clone",
            folder.display()
        )),
    };

    let patches = manifest::read_all(&root.join("patches"))?;
    let plan = plan::plan(&patches, &tree, Parts::All)?;
    let findings = probe::look(&probe::read_all(&root.join("patches/probes"))?, &tree)?;
    // Hooks and probes were looked at whatever this one says.
    let now = Surface::of(&tree).with_context(|| format!("read {}", options.tag));
    let (rust, git_dependencies) = match &now {
        Ok(now) => (Some(now.rust.clone()), Some(now.git_dependencies.clone())),
        Err(_) => (None, None),
    };
    let differences = now
        .and_then(|now| Ok(now.against(&Surface::of(&Tree::open(pinned?.path())?)?)))
        .map_err(|error| format!("{error:#}"));
    let tests = (options.test && plan.applies()).then(|| test(root, &tree));
    let report = Report {
        tag: options.tag.clone(),
        pinned: pinned_tag.clone(),
        hooks: plan.assessments,
        probes: findings,
        rust,
        git_dependencies,
        differences,
        tests,
    };
    print!("{}", report.markdown());
    let json = report.json().context("write the report as JSON")?;
    fs::write(&options.json, json).with_context(|| format!("write {}", options.json.display()))?;
    match (report.all_as_wanted(), report.differences) {
        // What was not looked at is not as wanted; what is known to be wrong remains the greater news.
        (true, Err(why)) => bail!("not compared with {pinned_tag}: {why}"),
        (as_wanted, _) => Ok(as_wanted),
    }
}

/// The source of one release, given or taken out of a clone.
enum Source {
    Given(PathBuf),
    Taken(TempDir),
}

impl Source {
    fn new(folder: &Path, tag: &str) -> anyhow::Result<Self> {
        let git = || {
            let mut git = run::git();
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
        // Whichever release it is, it came out of a clone just now, or was given as it is.
        run::output(patch("apply").arg("--any-release"))?;
        run::output(patch("verify").arg("--test"))
    };
    attempt().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// A workspace with one patch and one probe, and a release without history.
    fn ours_and_theirs() -> (TempDir, TempDir) {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(
            ours.path(),
            &[
                ("qdrant-src/pin.toml", include_str!("../pin/fixture.toml")),
                (
                    "patches/0001-one/patch.toml",
                    "name = \"one\"\nsummary = \"s\"\nwhy = \"w\"\nwithout = \"o\"\nupstream = \"u\"\n\
                     drop_when = \"d\"\ncovers = []\n\
                     [[hook]]\nid = \"h\"\nfile = \"src/main.rs\"\nfind = \"start()\"\nbefore = \"ours();\"\n",
                ),
                (
                    "patches/probes/p.toml",
                    "[[probe]]\nid = \"p\"\nrelied_on = \"r\"\nfile = \"src/main.rs\"\ntext = [\"start\"]\n",
                ),
            ],
        );
        write(
            theirs.path(),
            &[
                ("Cargo.toml", "[package]\nrust-version = \"1.97\"\n"),
                ("Cargo.lock", ""),
                ("config/config.yaml", "log_level: INFO\n"),
                ("src/main.rs", "fn main() { start(); }\n"),
            ],
        );
        (ours, theirs)
    }

    /// Rebases; gives the exit's meaning and the JSON's `differences`.
    fn rebase(
        ours: &TempDir,
        theirs: &TempDir,
        pinned: Option<&Path>,
    ) -> (Result<bool, String>, serde_json::Value) {
        let options = Options {
            tag: "v9.9.9".to_owned(),
            tree: theirs.path().to_path_buf(),
            json: ours.path().join("report.json"),
            pinned: pinned.map(Path::to_path_buf),
            test: false,
        };
        let result = run(ours.path(), &options).map_err(|error| format!("{error:#}"));
        let text = fs::read_to_string(&options.json).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        (result, report["differences"].clone())
    }

    #[test]
    fn a_tree_without_history_is_not_compared_with_itself() {
        let (ours, theirs) = ours_and_theirs();
        let (result, differences) = rebase(&ours, &theirs, None);
        let error = result.unwrap_err();
        assert!(
            error.contains("has no history") && error.contains("--pinned"),
            "{error}"
        );
        let why = differences["Err"].as_str().unwrap();
        assert!(why.contains("has no history"), "{why}");

        let (_, pinned) = ours_and_theirs();
        write(
            pinned.path(),
            &[("config/config.yaml", "log_level: INFO\nhost: a\n")],
        );
        let (result, differences) = rebase(&ours, &theirs, Some(pinned.path()));
        assert_eq!(result, Ok(true));
        assert_eq!(differences["Ok"][0]["removed"][0], "host");
    }

    #[test]
    fn a_pinned_tree_that_cannot_be_read_is_not_compared_and_the_report_is_there() {
        let (ours, theirs) = ours_and_theirs();
        let (result, differences) = rebase(&ours, &theirs, Some(&ours.path().join("none")));
        assert!(result.unwrap_err().starts_with("not compared"));
        assert!(differences["Err"].is_string(), "{differences}");
    }

    /// As a process of its own: the environment belongs to all threads.
    #[test]
    fn git_looks_at_the_named_clone_also_from_within_a_hook() {
        const INSIDE: &str = "CI_TEST_IN_A_HOOK";
        if let Some(folder) = std::env::var_os(INSIDE) {
            let folder = Path::new(&folder);
            assert_eq!(
                Tree::open(folder).unwrap().changed().unwrap(),
                ["Cargo.toml"]
            );
            assert!(matches!(
                Source::new(folder, "HEAD").unwrap(),
                Source::Taken(_)
            ));
            return;
        }
        let (_, theirs) = ours_and_theirs();
        for arguments in [
            "init --quiet",
            "add .",
            "-c user.name=t -c user.email=t@localhost -c commit.gpgsign=false commit --quiet -m one",
        ] {
            run::output(
                run::git()
                    .args(arguments.split(' '))
                    .current_dir(theirs.path()),
            )
            .unwrap();
        }
        write(theirs.path(), &[("Cargo.toml", "[package]\n")]);
        let elsewhere = tempfile::tempdir().unwrap();
        let name = "rebase::tests::git_looks_at_the_named_clone_also_from_within_a_hook";
        let said = run::output(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(INSIDE, theirs.path())
                .env("GIT_DIR", elsewhere.path().join(".git"))
                .env("GIT_WORK_TREE", elsewhere.path())
                .env("GIT_INDEX_FILE", elsewhere.path().join("index")),
        )
        .unwrap();
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_surface_that_cannot_be_read_does_not_empty_the_report() {
        let (ours, theirs) = ours_and_theirs();
        let (_, pinned) = ours_and_theirs();
        write(theirs.path(), &[("Cargo.toml", "# head\n[package\n")]);
        let (result, differences) = rebase(&ours, &theirs, Some(pinned.path()));
        let why = differences["Err"].as_str().unwrap();
        assert!(
            why.starts_with("read v9.9.9: Cargo.toml, line 2: "),
            "{why}"
        );
        assert_eq!(why.lines().count(), 1, "{why}");
        assert!(result.unwrap_err().contains(why));
    }

    #[test]
    fn what_is_not_as_wanted_is_said_also_without_a_comparison() {
        let (ours, theirs) = ours_and_theirs();
        write(
            theirs.path(),
            &[("src/main.rs", "fn main() { begin(); } // start\n")],
        );
        assert_eq!(rebase(&ours, &theirs, None).0, Ok(false));
    }
}
