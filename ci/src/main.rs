//! `cargo ci`: the chores of this repository that are more than one command. `.ci/run` calls them in order.
//!
//! Owns the command line only; each chore has its module. Nothing here is part of the product.

mod image;
mod pin;
mod purity;
mod run;

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
    /// Does the planner stay free of I/O, clocks and runtimes?
    Purity,
    /// Build the runtime stage of the Dockerfile and run a cluster of three containers, or verify an image.
    Image(image::Command),
}

fn main() -> ExitCode {
    match chore(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore(cli: Cli) -> anyhow::Result<()> {
    let root = workspace_root()?;
    match cli.chore {
        Chore::Pin { what } => pin::run(&root, &what),
        Chore::Purity => purity::run(&root),
        Chore::Image(command) => image::run(&root, &command),
    }
}

/// The folder with the workspace's Cargo.toml: the parent of this crate's folder as it was compiled.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .parent()
        .with_context(|| format!("{} has no parent folder", here.display()))?;
    Ok(root.to_path_buf())
}
