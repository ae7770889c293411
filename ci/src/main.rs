//! `cargo ci`: the chores of this repository that are more than one command. `.ci/run` calls them in order.
//!
//! Owns the command line only; each chore has its module. Nothing here is part of the product.

mod hex;
mod image;
mod patch;
mod pin;
mod probe;
mod purity;
mod rebase;
mod run;
mod source;
mod toml_line;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo ci", about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The upstream release that the image is made of.
    Pin {
        #[command(subcommand)]
        what: pin::Command,
    },
    /// The upstream source itself.
    Source {
        #[command(subcommand)]
        what: source::Command,
    },
    /// Our changes to Qdrant.
    Patch {
        #[command(subcommand)]
        what: patch::Command,
    },
    /// Does Qdrant's source still say what our entrypoint takes for granted? Exit 0 yes, 1 no, 2 could not look.
    Probe(probe::Options),
    /// What another release of Qdrant means for us. Exit 0 all as wanted, 1 not, 2 could not look.
    Rebase(rebase::Options),
    /// Does the planner stay free of I/O, clocks and runtimes?
    Purity,
    /// Build the runtime stage of the Dockerfile and run a cluster of three containers, or verify an image.
    Image(image::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A look that failed and a look that could not be made are different news.
    let looks = matches!(cli.chore, Chore::Probe(_) | Chore::Rebase(_));
    match chore(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            if looks {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs it; says whether what was looked at is as wanted.
fn chore(cli: Cli) -> anyhow::Result<bool> {
    let root = workspace_root()?;
    match cli.chore {
        Chore::Pin { what } => pin::run(&root, &what)?,
        Chore::Source { what } => source::run(&root, &what)?,
        Chore::Patch { what } => patch::run(&root, &what)?,
        Chore::Probe(options) => return probe::run(&root, &options),
        Chore::Rebase(options) => return rebase::run(&root, &options),
        Chore::Purity => purity::run(&root)?,
        Chore::Image(command) => image::run(&root, &command)?,
    }
    Ok(true)
}

/// The folder with the workspace's Cargo.toml: the parent of this crate's folder as it was compiled.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .parent()
        .with_context(|| format!("{} has no parent folder", here.display()))?;
    Ok(root.to_path_buf())
}
