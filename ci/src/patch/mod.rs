//! `cargo ci patch`: puts our changes into a tree of Qdrant's source. Owns the order: look, judge, write; parts have files.

pub mod manifest;
pub mod plan;
pub mod rule;
mod state;
pub mod tree;
mod verify;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use manifest::Patch;
use plan::Parts;
use state::State;
use tree::Tree;

use crate::{pin, source};

/// What to do with the patches.
#[derive(Subcommand)]
pub enum Command {
    /// Put all patches into a tree, or none of them.
    Apply(Apply),
    /// Is a tree patched as this repository would? Optionally builds and runs the patches' own tests.
    Verify(Verify),
    /// Print what there is, and with --tree whether it would apply there.
    List {
        /// A checkout of Qdrant's source.
        #[arg(long, value_name = "DIR")]
        tree: Option<PathBuf>,
    },
}

/// How to apply.
#[derive(Args)]
pub struct Apply {
    /// A checkout of Qdrant's source.
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// A tracked file that may differ from its commit, as long as no patch touches it. May be repeated.
    #[arg(long, value_name = "FILE")]
    allow_changed: Vec<String>,
    /// Take a tree without history as it is, although it is no release of pin.toml.
    #[arg(long)]
    any_release: bool,
    /// Only what the patches bring as tests, without their effect: those that show a fault must then fail.
    #[arg(long)]
    tests_only: bool,
}

/// How to verify.
#[derive(Args)]
pub struct Verify {
    /// A patched tree.
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// Build the touched packages and run the patches' own tests.
    #[arg(long)]
    test: bool,
    /// Arguments for cargo test, for example --release.
    #[arg(last = true, requires = "test")]
    cargo: Vec<String>,
}

/// Runs one of the commands on the patches of the workspace at `root`.
///
/// # Errors
/// One line for each thing that is not as it should be.
pub fn run(root: &Path, command: &Command) -> anyhow::Result<()> {
    let patches = manifest::read_all(&root.join("patches"))?;
    match command {
        Command::Apply(options) => {
            let tree = Tree::open(&options.tree)?;
            // Without history only the pin tells whether the tree is whole. A patched one says itself what it holds.
            if !options.any_release && !tree.has_history() && State::of(&tree)?.is_none() {
                source::verify(tree.root(), &pin::read(root)?.releases()).context(
                    "nothing applied; --any-release takes a tree that is meant to be another",
                )?;
            }
            let parts = if options.tests_only {
                Parts::TestsOnly
            } else {
                Parts::All
            };
            println!(
                "{}",
                apply(
                    &patches,
                    &tree,
                    parts,
                    &options.allow_changed,
                    &mut write::RealDisk
                )?
            );
            Ok(())
        }
        Command::Verify(options) => verify::run(
            &patches,
            &Tree::open(&options.tree)?,
            options.test,
            &options.cargo,
        ),
        Command::List { tree } => list(&patches, tree.as_deref()),
    }
}

/// Puts `patches` into `tree`; gives the line that says what was done.
fn apply(
    patches: &[Patch],
    tree: &Tree,
    parts: Parts,
    allow_changed: &[String],
    disk: &mut dyn write::Disk,
) -> anyhow::Result<String> {
    if let Some(state) = State::of(tree)? {
        verify::is_as_written(patches, parts, tree, &state)?;
        return Ok("the tree holds these patches already: nothing to do".to_owned());
    }
    let changed = tree.changed()?;
    if let Some(path) = changed.iter().find(|path| !allow_changed.contains(path)) {
        bail!(
            "{path} differs from the commit that is checked out: take a clean tree, or --allow-changed {path}"
        );
    }
    let plan = plan::plan(patches, tree, parts)?;
    if let Some(path) = changed.iter().find(|path| plan.files.contains_key(*path)) {
        bail!("{path} was changed already and a patch touches it: take a clean tree");
    }
    if !plan.applies() {
        bail!("{}", refusals(&plan));
    }
    let state = State::after(patches, parts, &plan);
    let mut files = plan.files.clone();
    files.insert(state::FILE.to_owned(), state.text()?);
    write::all_or_nothing(tree.root(), &files, disk).context("nothing applied")?;
    Ok(format!(
        "applied {} patches, {} files touched, fingerprint {}",
        patches.len(),
        plan.files.len(),
        state.fingerprint
    ))
}

/// One line for each hook that does not apply.
fn refusals(plan: &plan::Plan) -> String {
    let lines: Vec<String> = plan
        .refusals()
        .map(|one| {
            format!(
                "{}, {}, {}: {}; the tree is as it was",
                one.patch, one.hook, one.file, one.detail
            )
        })
        .collect();
    lines.join("\n       ")
}

fn list(patches: &[Patch], tree: Option<&Path>) -> anyhow::Result<()> {
    for patch in patches {
        println!(
            "{}: {} (covers {})",
            patch.folder,
            patch.manifest.summary,
            patch.manifest.covers.join(", ")
        );
    }
    let Some(tree) = tree else { return Ok(()) };
    let tree = Tree::open(tree)?;
    if let Some(state) = State::of(&tree)? {
        println!("the tree holds {}", state.patches.join(", "));
        return verify::is_as_written(patches, Parts::All, &tree, &state);
    }
    let plan = plan::plan(patches, &tree, Parts::All)?;
    for one in &plan.assessments {
        println!(
            "  {}, {}: {:?} {}",
            one.patch, one.hook, one.verdict, one.detail
        );
    }
    if !plan.applies() {
        bail!("{} hooks do not apply", plan.refusals().count());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
