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
    /// Is a folder the pinned source, whole and unchanged?
    Verify {
        /// Which release of pin.toml.
        #[arg(long, default_value = "upstream", value_parser = ["upstream", "fallback"])]
        section: String,
        /// A folder with Qdrant's source. What a `.git` in it holds is not looked at.
        #[arg(long, value_name = "DIR")]
        tree: PathBuf,
    },
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
    let pin = pin::read(root)?;
    let options = match command {
        Command::Fetch(options) => options,
        Command::Verify { section, tree } => {
            let release = pin.release(section);
            verify(tree, &[release])?;
            println!(
                "{}: {} at {}, whole and unchanged",
                tree.display(),
                release.tag,
                release.commit
            );
            return Ok(());
        }
    };
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

/// Is `folder` the source of one of these releases, whole and unchanged?
///
/// # Errors
/// It is not, or cannot be read.
pub fn verify(folder: &Path, releases: &[&Release]) -> anyhow::Result<()> {
    let work = tempfile::tempdir().context("make a temporary folder")?;
    let tree = Objects::new(&work.path().join("objects"))?.tree_of(folder)?;
    is_pinned(folder, &tree, releases)
}

/// A folder carries no commit; the same tree is the same content.
fn is_pinned(folder: &Path, tree: &str, releases: &[&Release]) -> anyhow::Result<()> {
    if releases.iter().any(|release| release.tree == tree) {
        return Ok(());
    }
    let pinned: Vec<String> = releases
        .iter()
        .map(|release| format!("{} for {}", release.tree, release.tag))
        .collect();
    bail!(
        "{} has tree {tree}, pinned is {}: files are missing, changed or added: take it anew, whole and with nothing else in it",
        folder.display(),
        pinned.join(", ")
    );
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
        // A bare name's parent is empty: it is made where we are.
        .map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        })
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
        "Cargo.lock of {} has sha256 {found}, pinned is {}: `cargo ci pin set {}` once you know why",
        release.tag,
        release.cargo_lock_sha256,
        release.tag
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
        bail!("{from} is no folder, no archive and no address: give one of these");
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
    .with_context(|| {
        format!(
            "{} cannot be unpacked: give a whole tar archive of the source",
            archive.display()
        )
    })?;
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
        _ => bail!(
            "{} does not hold Qdrant's source: Cargo.lock belongs at its root, or in its only folder",
            archive.display()
        ),
    }
}

/// A store of git objects for the time of the fetch: with it every source is compared in the same way.
struct Objects {
    folder: PathBuf,
}

impl Objects {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        run::output(run::git().args(["init", "--quiet", "--bare"]).arg(folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    fn git(&self) -> Process {
        let mut git = run::git();
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
                "cannot fetch {} of {from}: no network, no such tag, or no room; --from takes a mirror, folder or archive",
                release.tag
            )
        })?;
        let found = run::output(self.git().args(["rev-parse", "FETCH_HEAD^{commit}"]))?;
        ensure!(
            found == release.commit,
            "{} of {from} is commit {found}, pinned is {}: the tag was moved; `cargo ci pin set {}` once you know why",
            release.tag,
            release.commit,
            release.tag
        );
        let tree = run::output(self.git().args(["rev-parse", "FETCH_HEAD^{tree}"]))?;
        ensure!(
            tree == release.tree,
            "{} of {from} has tree {tree}, pinned is {}: `cargo ci pin set {}` once you know why",
            release.tag,
            release.tree,
            release.tag
        );
        Ok(tree)
    }

    fn of_folder(&self, folder: &Path, release: &Release) -> anyhow::Result<String> {
        let tree = self.tree_of(folder)?;
        is_pinned(folder, &tree, &[release])?;
        Ok(tree)
    }

    /// The tree that git makes of all files in a folder.
    fn tree_of(&self, folder: &Path) -> anyhow::Result<String> {
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
        run::output(self.git().arg("write-tree"))
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A small upstream with its pin, and a folder to fetch into that holds something already.
    struct World {
        folder: TempDir,
        release: Release,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let upstream = folder.path().join("upstream");
            fs::create_dir_all(upstream.join("src")).unwrap();
            fs::create_dir(folder.path().join("into")).unwrap();
            fs::write(folder.path().join("into/other"), "not ours").unwrap();
            fs::write(upstream.join("Cargo.lock"), "lock").unwrap();
            fs::write(upstream.join("Cargo.toml"), "").unwrap();
            fs::write(upstream.join("src/main.rs"), "fn main() {}\n").unwrap();
            let git = |arguments: &[&str]| git(&upstream, arguments);
            git(&["init", "--quiet"]);
            git(&["add", "."]);
            git(&["commit", "--quiet", "--message", "one"]);
            git(&["tag", "v9.9.9"]);
            let release = Release {
                repository: format!("file://{}", upstream.display()),
                tag: "v9.9.9".to_owned(),
                commit: git(&["rev-parse", "HEAD"]),
                tree: git(&["rev-parse", "HEAD^{tree}"]),
                cargo_lock_sha256: hex(&Sha256::digest("lock")),
                rust: "1.97.1".to_owned(),
                rust_minimum: "1.97".to_owned(),
            };
            Self { folder, release }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// The source without its history, as an archive of a release holds it.
        fn copy(&self, name: &str) -> PathBuf {
            let copy = self.path(name);
            let done = Process::new("cp")
                .arg("-r")
                .args([self.path("upstream"), copy.clone()])
                .status()
                .unwrap();
            assert!(done.success());
            fs::remove_dir_all(copy.join(".git")).unwrap();
            copy
        }

        fn archive(&self, of: &str) -> PathBuf {
            let archive = self.path(&format!("{of}.tar.gz"));
            let done = Process::new("tar")
                .args(["--create", "--gzip", "--file"])
                .arg(&archive)
                .arg("--directory")
                .arg(self.folder.path())
                .arg(of)
                .status()
                .unwrap();
            assert!(done.success());
            archive
        }

        fn fetches(&self, from: &str) {
            let to = self.path("into/source");
            fetch(&self.release, from, &to).unwrap();
            assert_eq!(fs::read_to_string(to.join("Cargo.lock")).unwrap(), "lock");
            assert!(to.join("src/main.rs").is_file());
            assert_eq!(self.left(), ["other", "source"]);
            verify(&to, &[&self.release]).unwrap();
        }

        /// One line with all of `said`, and nothing is left behind.
        fn refuses(&self, from: &str, said: &[&str]) {
            let error = fetch(&self.release, from, &self.path("into/source")).unwrap_err();
            let error = format!("{error:#}");
            assert_eq!(error.lines().count(), 1, "{error}");
            for said in said {
                assert!(error.contains(said), "{said:?} is not in {error}");
            }
            assert_eq!(self.left(), ["other"], "{error}");
        }

        fn left(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.path("into"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn git(folder: &Path, arguments: &[&str]) -> String {
        run::output(
            Process::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
                .args(["-c", "commit.gpgsign=false"])
                .args(arguments)
                .current_dir(folder),
        )
        .unwrap()
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn the_pin_is_fetched_from_its_repository_a_mirror_a_folder_or_an_archive() {
        let world = World::new();
        world.fetches(&world.release.repository);

        let world = World::new();
        git(
            world.folder.path(),
            &["clone", "--quiet", "--mirror", "upstream", "mirror"],
        );
        world.fetches(text(&world.path("mirror")));

        let world = World::new();
        world.fetches(text(&world.copy("copy")));

        let world = World::new();
        world.copy("qdrant-9.9.9");
        world.fetches(text(&world.archive("qdrant-9.9.9")));
    }

    #[test]
    fn a_wrong_hash_in_the_pin_is_named_with_the_right_one() {
        let mut world = World::new();
        let commit = std::mem::replace(&mut world.release.commit, "0".repeat(40));
        let from = world.release.repository.clone();
        world.refuses(&from, &[&commit, &"0".repeat(40), "cargo ci pin set"]);

        let mut world = World::new();
        let tree = std::mem::replace(&mut world.release.tree, "0".repeat(40));
        let from = world.release.repository.clone();
        world.refuses(&from, &[&tree, &"0".repeat(40), "cargo ci pin set"]);

        let mut world = World::new();
        let lock = std::mem::replace(&mut world.release.cargo_lock_sha256, "0".repeat(64));
        let from = world.release.repository.clone();
        world.refuses(&from, &["Cargo.lock", &lock, "cargo ci pin set"]);
    }

    #[test]
    fn a_half_fetched_or_edited_folder_is_refused() {
        let world = World::new();
        let copy = world.copy("copy");
        fs::remove_file(copy.join("src/main.rs")).unwrap();
        world.refuses(text(&copy), &["copy has tree", "missing", "take it anew"]);
        assert!(verify(&copy, &[&world.release]).is_err());
        world.refuses(text(&world.archive("copy")), &["missing", "take it anew"]);

        let copy = world.copy("edited");
        fs::write(copy.join("src/main.rs"), "fn main() { }\n").unwrap();
        world.refuses(text(&copy), &["edited has tree", "changed", "take it anew"]);

        let copy = world.copy("more");
        fs::write(copy.join("src/lib.rs"), "").unwrap();
        world.refuses(text(&copy), &["more has tree", "added", "take it anew"]);
    }

    #[test]
    fn an_archive_cut_short_and_one_of_something_else_are_refused() {
        let world = World::new();
        world.copy("copy");
        let archive = world.archive("copy");
        let whole = fs::read(&archive).unwrap();
        fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
        world.refuses(text(&archive), &["copy.tar.gz", "give a whole tar archive"]);

        let archive = world.archive("into");
        world.refuses(text(&archive), &["into.tar.gz", "Cargo.lock belongs"]);
    }

    #[test]
    fn without_a_network_it_is_said_what_else_can_be_given() {
        let world = World::new();
        // Closed again at once: whoever comes is refused.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let from = format!("git://127.0.0.1:{port}/qdrant");
        world.refuses(&from, &["cannot fetch v9.9.9 of git://", "--from takes"]);
        world.refuses("nowhere", &["nowhere is no folder"]);
    }

    #[test]
    fn a_folder_that_is_there_is_left_as_it_was() {
        let world = World::new();
        let to = world.path("into");
        let error = fetch(&world.release, &world.release.repository, &to).unwrap_err();
        assert!(error.to_string().contains("remove it first"), "{error:#}");
        assert_eq!(world.left(), ["other"]);
    }

    /// As a process of its own: the folder one is in belongs to all threads.
    #[test]
    fn a_bare_name_is_made_where_one_is() {
        const INSIDE: &str = "CI_TEST_BARE_NAME";
        if let Some(folder) = std::env::var_os(INSIDE) {
            let world = World::new();
            std::env::set_current_dir(folder).unwrap();
            fetch(&world.release, &world.release.repository, Path::new("bare")).unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let name = "source::tests::a_bare_name_is_made_where_one_is";
        run::output(
            Process::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(INSIDE, folder.path()),
        )
        .unwrap();
        assert!(folder.path().join("bare/src/main.rs").is_file());
    }

    #[test]
    fn a_checkout_is_judged_by_its_files_and_not_by_its_history() {
        let world = World::new();
        let checkout = world.path("upstream");
        verify(&checkout, &[&world.release]).unwrap();
        fs::write(checkout.join("src/main.rs"), "fn main() { }\n").unwrap();
        git(
            &checkout,
            &["commit", "--quiet", "--all", "--message", "two"],
        );
        assert!(verify(&checkout, &[&world.release]).is_err());
    }
}
