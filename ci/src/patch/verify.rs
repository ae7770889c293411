//! `cargo ci patch verify`: is a tree patched as this repository would patch it, and do the patches' tests pass there?

use std::process::Command;

use anyhow::{Context as _, bail};

use super::manifest::Patch;
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
        bail!("the tree is not patched: `cargo ci patch apply` first");
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
            "the tree holds other patches ({}, fingerprint {}, wanted {wanted}): take a fresh tree",
            state.patches.join(", "),
            state.fingerprint
        );
    }
    let differing = state.differing(tree)?;
    if !differing.is_empty() {
        bail!(
            "changed after the patches were applied: {}: take a fresh tree",
            differing.join(", ")
        );
    }
    Ok(())
}

fn run_tests(patch: &Patch, tree: &Tree, cargo_arguments: &[String]) -> anyhow::Result<()> {
    for test in &patch.manifest.test {
        let mut command: Command = run::cargo();
        command
            .current_dir(tree.root())
            .args(["test", "--package", &test.package]);
        match test.target.split_once(':') {
            Some(("bin", name)) => command.args(["--bin", name]),
            _ => command.arg("--lib"),
        };
        // Cargo's own variables for this crate would otherwise be taken for those of the tree.
        command.env_remove("CARGO_MANIFEST_DIR");
        command.args(cargo_arguments).arg(&test.filter);
        let said =
            run::output(&mut command).with_context(|| format!("tests of {}", patch.folder))?;
        let ran: usize = said
            .lines()
            .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next())
            .filter_map(|count| count.parse::<usize>().ok())
            .sum();
        // A filter that selects nothing passes as well.
        if ran == 0 {
            bail!(
                "{}: no test matches {:?} in {}",
                patch.folder,
                test.filter,
                test.package
            );
        }
        println!("{}: {ran} tests of {} passed", patch.folder, test.package);
    }
    Ok(())
}
