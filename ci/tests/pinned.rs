//! qdrant-src/pinned.sh against a repository made on the spot: only exactly what is pinned is fetched.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are not recognised as tests by the lint"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const TAG: &str = "v9.9.9";

/// A small upstream, and a copy of the script with a pin for it.
struct Upstream {
    folder: TempDir,
}

impl Upstream {
    fn new() -> Self {
        let upstream = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(upstream.repository()).unwrap();
        upstream.git(&["init", "--quiet"]);
        upstream.commit("lock one");
        upstream.git(&["tag", TAG]);
        fs::create_dir(upstream.pin_folder()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qdrant-src/pinned.sh");
        fs::copy(script, upstream.pin_folder().join("pinned.sh")).unwrap();
        let lock = upstream.repository().join("Cargo.lock");
        let sum = output(Command::new("sha256sum").arg(lock));
        upstream.pin(
            &upstream.git(&["rev-parse", "HEAD"]),
            &upstream.git(&["rev-parse", "HEAD^{tree}"]),
            sum.split(' ').next().unwrap(),
        );
        upstream
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("upstream")
    }

    fn pin_folder(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn git(&self, arguments: &[&str]) -> String {
        output(
            Command::new("git")
                .args([
                    "-c",
                    "user.name=test",
                    "-c",
                    "user.email=test@localhost",
                    "-c",
                    "commit.gpgsign=false",
                ])
                .args(arguments)
                .current_dir(self.repository()),
        )
    }

    fn commit(&self, lock: &str) {
        fs::write(self.repository().join("Cargo.lock"), lock).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", lock]);
    }

    fn pin(&self, commit: &str, tree: &str, lock: &str) {
        let text = format!(
            "[other]\ncommit = \"not this one\"\n[upstream]\nrepository = \"file://{}\"\ntag = \"{TAG}\"\n\
             commit = \"{commit}\"\ntree = \"{tree}\"\ncargo_lock_sha256 = \"{lock}\"\n",
            self.repository().display()
        );
        fs::write(self.pin_folder().join("pin.toml"), text).unwrap();
    }

    fn edit_pin(&self, from: &str, to: &str) {
        let path = self.pin_folder().join("pin.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn script(&self, arguments: &[&str]) -> Output {
        Command::new("sh")
            .arg(self.pin_folder().join("pinned.sh"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn fetch(&self) -> Output {
        self.script(&["fetch", "upstream", &self.source().to_string_lossy()])
    }

    /// The fetch is refused with one line that says why, and nothing is left.
    fn refuses(&self, why: &str) {
        let done = self.fetch();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(
            !done.status.success(),
            "fetched although {why} was expected"
        );
        assert!(
            said.starts_with("qdrant-src: ") && said.contains(why),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        let left: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("source"))
            .collect();
        assert!(left.is_empty(), "{left:?} was left");
    }
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_pinned_release_is_fetched_and_verified() {
    let upstream = Upstream::new();
    let done = upstream.fetch();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(
        fs::read_to_string(upstream.source().join("Cargo.lock")).unwrap(),
        "lock one"
    );
    assert!(!upstream.source().join(".git").exists());
    let again = upstream.fetch();
    assert!(
        !again.status.success(),
        "an existing folder was overwritten"
    );
}

#[test]
fn a_moved_tag_is_refused() {
    let upstream = Upstream::new();
    upstream.commit("lock two");
    upstream.git(&["tag", "--force", TAG]);
    upstream.refuses("the tag was moved");
}

#[test]
fn another_tree_and_another_lock_are_refused() {
    let upstream = Upstream::new();
    let tree = upstream.git(&["rev-parse", "HEAD^{tree}"]);
    upstream.edit_pin(&tree, "0123456789");
    upstream.refuses("has tree");
    upstream.refuses("cargo ci pin set v9.9.9");

    let upstream = Upstream::new();
    upstream.edit_pin("cargo_lock_sha256 = \"", "cargo_lock_sha256 = \"00");
    upstream.refuses("Cargo.lock");
}

#[test]
fn a_pin_without_a_value_is_named() {
    for key in ["repository", "tag", "commit", "tree", "cargo_lock_sha256"] {
        let upstream = Upstream::new();
        // The other section's value does not stand in for it.
        let path = upstream.pin_folder().join("pin.toml");
        let text = fs::read_to_string(&path).unwrap();
        let (other, own) = text.split_once("[upstream]").unwrap();
        let own = own.replace(&format!("\n{key} = "), "\nother = ");
        fs::write(path, format!("{other}[upstream]{own}")).unwrap();
        upstream.refuses(&format!("no value for {key} in [upstream]"));
    }
}

#[test]
fn what_git_says_and_what_to_do_are_one_line() {
    let upstream = Upstream::new();
    upstream.edit_pin(&format!("tag = \"{TAG}\""), "tag = \"v0.0.0\"");
    upstream.refuses("cannot fetch v0.0.0 of file://");
    upstream.refuses("without a network give the source");

    // git itself uses several lines for this one.
    let upstream = Upstream::new();
    upstream.edit_pin("/upstream\"", "/nowhere\"");
    upstream.refuses("/nowhere: without a network give the source");
}

#[test]
fn a_folder_given_instead_must_hold_the_pinned_lock() {
    let upstream = Upstream::new();
    let repository = upstream.repository();
    let verify = || upstream.script(&["verify-lock", "upstream", &repository.to_string_lossy()]);
    assert!(verify().status.success());
    fs::write(repository.join("Cargo.lock"), "another").unwrap();
    assert!(!verify().status.success());
    fs::remove_file(repository.join("Cargo.lock")).unwrap();
    assert!(!verify().status.success());
}
