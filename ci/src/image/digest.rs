//! `cargo ci image digest`: which image is this, and is it whole?

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use super::archive::Archive;

/// Which image, and what it should be.
#[derive(Args)]
pub struct Options {
    /// An OCI archive, or the name of an image that the engine has.
    image: String,
    /// Fails unless it is this one.
    #[arg(long, value_name = "sha256:…")]
    expect: Option<String>,
    /// Writes the digest that a task definition names there, and nothing else.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Fails unless it is for exactly these, like linux/amd64.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
}

/// Compares every part with its hash and prints what the image is called by.
///
/// # Errors
/// A part is damaged or missing, or the image is another one than was expected.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let archive = Archive::open(&options.image)?;
    for platform in &archive.platforms {
        println!("{} {}", platform.name, platform.digest);
    }
    if !options.platforms.is_empty() {
        let mut wanted = options.platforms.clone();
        let mut found: Vec<_> = archive.platforms.iter().map(|one| &one.name).collect();
        wanted.sort();
        found.sort();
        ensure!(
            found.iter().copied().eq(&wanted),
            "{} is for {found:?}, wanted {wanted:?}",
            options.image
        );
    }
    let Some(digest) = &archive.digest else {
        println!("the engine's own image: a registry names it only when it is pushed");
        if options.write.is_some() {
            bail!(
                "{} has no digest to deploy by; give an OCI archive",
                options.image
            );
        }
        let own = archive.platforms.first().map(|one| one.digest.as_str());
        return expected(options, own.unwrap_or_default());
    };
    println!(
        "image {digest}, {} attestations; every part is what its hash says",
        archive.attestations
    );
    expected(options, digest)?;
    if let Some(path) = &options.write {
        fs::write(path, format!("{digest}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn expected(options: &Options, found: &str) -> anyhow::Result<()> {
    match &options.expect {
        Some(wanted) => {
            ensure!(
                found == wanted,
                "{} is {found}, expected was {wanted}",
                options.image
            );
            Ok(())
        }
        None => Ok(()),
    }
}
