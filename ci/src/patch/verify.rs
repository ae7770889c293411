//! `cargo ci patch verify`: is a tree patched as this repository would patch it, and do the patches' tests pass there?

use std::process::Command;

use anyhow::bail;

use super::manifest::{Patch, Test};
use super::plan::{Parts, fingerprint};
use super::state::State;
use super::tree::Tree;
use crate::run;

/// Compares, and with `test` builds and runs.
///
/// # Errors
/// The tree is not patched, or otherwise, or a test fails.
pub fn run(
    patches: &[Patch],
    tree: &Tree,
    test: bool,
    cargo_arguments: &[String],
) -> anyhow::Result<()> {
    let Some(state) = State::of(tree)? else {
        let root = tree.root().display();
        bail!("{root} is not patched: `cargo ci patch apply --tree {root}` first");
    };
    is_as_written(patches, Parts::All, tree, &state)?;
    println!(
        "patched as this repository does: {}, fingerprint {}",
        state.patches.join(", "),
        state.fingerprint
    );
    if test {
        for patch in patches {
            run_tests(patch, tree, cargo_arguments)?;
        }
    }
    Ok(())
}

/// Does the tree hold exactly these patches, untouched since?
///
/// # Errors
/// It holds others, or a file was changed afterwards.
pub fn is_as_written(
    patches: &[Patch],
    parts: Parts,
    tree: &Tree,
    state: &State,
) -> anyhow::Result<()> {
    let wanted = fingerprint(patches, parts);
    if state.fingerprint != wanted {
        bail!(
            "{} holds other patches ({}, fingerprint {}, wanted {wanted}): take a fresh tree",
            tree.root().display(),
            state.patches.join(", "),
            state.fingerprint
        );
    }
    let differing = state.differing(tree)?;
    if !differing.is_empty() {
        bail!(
            "{}: changed after the patches were applied: {}: take a fresh tree",
            tree.root().display(),
            differing.join(", ")
        );
    }
    Ok(())
}

fn run_tests(patch: &Patch, tree: &Tree, cargo_arguments: &[String]) -> anyhow::Result<()> {
    let folder = &patch.folder;
    if patch.manifest.test.is_empty() {
        println!("{folder}: brings no tests");
    }
    for test in &patch.manifest.test {
        let package = &test.package;
        let mut command = command(test, tree, cargo_arguments);
        let done = run::ended(&mut command)?;
        let said = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            let failed = failed(&said);
            let why = if failed.is_empty() {
                run::one_line(&done.stderr)
            } else {
                failed.join(", ")
            };
            bail!(
                "{folder}: tests of {package} fail: {why}: to see more, `{}` in {}",
                run::shown(&command),
                tree.root().display()
            );
        }
        let ran = passed(&said);
        // A filter that selects nothing passes as well.
        if ran == 0 {
            bail!(
                "{folder}: no test matches {:?} in {} of {package}: mend patch.toml",
                test.filter,
                test.target
            );
        }
        println!("{folder}: {ran} tests of {package} passed");
    }
    Ok(())
}

fn command(test: &Test, tree: &Tree, cargo_arguments: &[String]) -> Command {
    let mut command = run::cargo();
    command
        .current_dir(tree.root())
        .args(["test", "--package", &test.package]);
    match test.target.split_once(':') {
        Some(("bin", name)) => command.args(["--bin", name]),
        _ => command.arg("--lib"),
    };
    // Cargo's own variables for this crate would otherwise be taken for those of the tree.
    command.env_remove("CARGO_MANIFEST_DIR");
    // Else the line on a failure begins with every crate that was compiled.
    command.env("CARGO_TERM_QUIET", "true");
    command.args(cargo_arguments).arg(&test.filter);
    command
}

/// How many tests passed, of what a test program wrote.
fn passed(said: &str) -> usize {
    said.lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next())
        .filter_map(|count| count.parse::<usize>().ok())
        .sum()
}

/// The names at its end; what each of them wrote comes before and is headed by the same word.
fn failed(said: &str) -> Vec<&str> {
    said.rsplit_once("\nfailures:\n")
        .map(|(_, end)| end)
        .unwrap_or_default()
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .collect()
}

#[cfg(test)]
mod tests {
    //! On a small package that cargo really builds.

    use std::fs;

    use tempfile::TempDir;

    use super::super::write::RealDisk;
    use super::super::{apply, manifest, state};
    use super::*;

    struct Bench {
        folder: TempDir,
        tree: Tree,
        patches: Vec<Patch>,
    }

    /// A package with a library and a program, and a patch that puts the module `ours` into one of them.
    fn bench(into: &str, tests: &str, selections: &[(&str, &str)]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        let patch = folder.path().join("patches/0001-ours");
        let mut manifest = format!(
            "name = \"ours\"\nsummary = \"s\"\nwhy = \"w\"\nwithout = \"o\"\nupstream = \"u\"\n\
             drop_when = \"d\"\ncovers = []\n\
             [[file]]\nfrom = \"ours.rs\"\nto = \"src/ours.rs\"\n\
             [[hook]]\nid = \"declare\"\nfile = \"{into}\"\nappend = \"mod ours;\"\n"
        );
        for (target, filter) in selections {
            manifest.push_str(&format!(
                "[[test]]\npackage = \"small\"\ntarget = \"{target}\"\nfilter = \"{filter}\"\n"
            ));
        }
        for (path, text) in [
            (
                root.join("Cargo.toml"),
                "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
            ),
            (root.join("src/main.rs"), "fn main() {}\n"),
            (root.join("src/lib.rs"), "#[test]\nfn upstreams() {}\n"),
            (patch.join("patch.toml"), &manifest),
            (patch.join("ours.rs"), tests),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Bench {
            tree: Tree::open(&root).unwrap(),
            patches: manifest::read_all(&folder.path().join("patches")).unwrap(),
            folder,
        }
    }

    impl Bench {
        fn apply(self, parts: Parts) -> Self {
            apply(&self.patches, &self.tree, parts, &[], &mut RealDisk).unwrap();
            self
        }

        fn verify(&self, test: bool) -> Result<(), String> {
            let target = self.folder.path().join("target").display().to_string();
            let arguments = ["--offline", "--target-dir", &target].map(str::to_owned);
            run(&self.patches, &self.tree, test, &arguments).map_err(|error| format!("{error:#}"))
        }

        /// The one line that it is refused with.
        fn refusal(&self, test: bool) -> String {
            let line = self.verify(test).unwrap_err();
            assert_eq!(line.lines().count(), 1, "{line}");
            line
        }

        fn root(&self) -> String {
            self.tree.root().display().to_string()
        }
    }

    const LIB: &str = "src/lib.rs";
    const PASSES: &str = "#[test]\nfn good() {}\n";

    #[test]
    fn a_tree_passes_once_it_is_patched_and_is_told_how_before() {
        let bench = bench(LIB, PASSES, &[]);
        let root = bench.root();
        assert_eq!(
            bench.refusal(false),
            format!("{root} is not patched: `cargo ci patch apply --tree {root}` first")
        );
        bench.apply(Parts::All).verify(false).unwrap();
    }

    #[test]
    fn a_tree_with_the_tests_alone_is_not_taken_for_patched() {
        let bench = bench(LIB, PASSES, &[]).apply(Parts::TestsOnly);
        let line = bench.refusal(false);
        assert!(
            line.contains(&bench.root()) && line.ends_with(": take a fresh tree"),
            "{line}"
        );
    }

    #[test]
    fn every_file_that_was_changed_or_removed_afterwards_is_named() {
        let bench = bench(LIB, PASSES, &[]).apply(Parts::All);
        fs::write(bench.tree.root().join(LIB), "").unwrap();
        fs::remove_file(bench.tree.root().join("src/ours.rs")).unwrap();
        assert_eq!(
            bench.refusal(false),
            format!(
                "{}: changed after the patches were applied: src/lib.rs, src/ours.rs: take a fresh tree",
                bench.root()
            )
        );
    }

    #[test]
    fn a_note_in_the_tree_that_is_cut_short_is_refused_with_its_place() {
        let bench = bench(LIB, PASSES, &[]).apply(Parts::All);
        let note = bench.tree.root().join(state::FILE);
        let text = fs::read_to_string(&note).unwrap();
        fs::write(&note, text.split_at(text.len() / 2).0).unwrap();
        let line = bench.refusal(false);
        assert!(
            line.starts_with(&format!("{} in {}", state::FILE, bench.root()))
                && line.contains("take a fresh tree"),
            "{line}"
        );
    }

    #[test]
    fn only_the_patches_own_tests_are_run_and_only_when_asked_for() {
        // A test of upstream's that fails is not the patch's.
        let bench = bench(LIB, PASSES, &[("lib", "ours::")]);
        fs::write(
            bench.tree.root().join(LIB),
            "#[test]\nfn upstreams() { panic!() }\n",
        )
        .unwrap();
        let bench = bench.apply(Parts::All);
        bench.verify(false).unwrap();
        assert!(!bench.folder.path().join("target").exists());
        bench.verify(true).unwrap();
    }

    #[test]
    fn tests_that_fail_are_named_with_patch_and_tree_and_those_that_pass_are_not() {
        // What a test writes is headed like the list of names at the end.
        let tests = "#[test]\nfn good() {}\n\
             #[test]\nfn bad() { println!(\"\\nfailures:\\n    decoy\\n\"); panic!() }\n\
             #[test]\nfn worse() { panic!() }\n";
        let bench = bench(LIB, tests, &[("lib", "ours::")]).apply(Parts::All);
        let line = bench.refusal(true);
        assert!(
            line.starts_with(
                "0001-ours: tests of small fail: ours::bad, ours::worse: to see more, `"
            ),
            "{line}"
        );
        assert!(line.ends_with(&format!("` in {}", bench.root())), "{line}");
    }

    #[test]
    fn a_patch_that_does_not_compile_is_refused_with_what_the_compiler_says() {
        let bench = bench(LIB, "fn ours() { absent() }\n", &[("lib", "ours::")]).apply(Parts::All);
        let line = bench.refusal(true);
        assert!(
            line.starts_with("0001-ours: tests of small fail: error[")
                && line.contains("src/ours.rs:1:")
                && line.contains("absent"),
            "{line}"
        );
    }

    #[test]
    fn a_selection_of_no_test_is_no_success_also_beside_one_that_has_some() {
        let bench = bench(LIB, PASSES, &[("lib", "ours::"), ("lib", "our::")]).apply(Parts::All);
        assert_eq!(
            bench.refusal(true),
            "0001-ours: no test matches \"our::\" in lib of small: mend patch.toml"
        );
    }

    #[test]
    fn the_tests_of_a_program_are_sought_in_the_program() {
        let selected = |target| {
            bench("src/main.rs", PASSES, &[(target, "ours::")])
                .apply(Parts::All)
                .verify(true)
        };
        selected("bin:small").unwrap();
        assert!(selected("lib").unwrap_err().contains("no test matches"));
        assert!(selected("bin:other").unwrap_err().contains("other"));
    }
}
