//! `cargo ci image sbom`: does the image carry what it is made of, and is that what it holds?
//!
//! Owns what must be inside: for each program an SBOM that names it and every linked crate with a licence, the
//! notices that name the same crates, the licence, and where the program came from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::archive::{Archive, Files};
use super::bom;

const FOLDERS: [&str; 3] = ["qdrant/sbom/", "qdrant/licenses/", "qdrant/build/"];

/// Which image, and how strict.
#[derive(Args)]
pub struct Options {
    /// An OCI archive, or the name of an image that the engine has.
    image: String,
    /// Qdrant's version must be this, as in the tag without its v.
    #[arg(long, value_name = "VERSION")]
    qdrant: Option<String>,
    /// Writes what the image carries below DIR/PLATFORM, for whoever keeps it beside the image.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Looks into every platform's files.
///
/// # Errors
/// Each thing that is missing or disagrees, one line each.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let archive = Archive::open(&options.image)?;
    let mut found = Vec::new();
    for platform in &archive.platforms {
        let files = platform.files(&FOLDERS)?;
        if let Some(out) = &options.out {
            keep(&files, &out.join(platform.name.replace('/', "-")))?;
        }
        for program in ["qdrant", "entrypoint"] {
            match findings(&files, program, options.qdrant.as_deref()) {
                (said, none) if none.is_empty() => println!("{}: {said}", platform.name),
                (_, some) => found.extend(
                    some.into_iter()
                        .map(|line| format!("{}: {line}", platform.name)),
                ),
            }
        }
        println!(
            "{}: {:.1} MB of files, {:.1} MB of them ours and Qdrant's",
            platform.name,
            megabytes(files.sizes.values()),
            megabytes(
                files
                    .sizes
                    .iter()
                    .filter(|(path, _)| path.starts_with("qdrant/"))
                    .map(|(_, size)| size)
            ),
        );
    }
    if archive.platforms.is_empty() {
        found.push("it is for no platform".to_owned());
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n       "));
    }
    Ok(())
}

/// A line on what is there, and what is not as it should be.
fn findings(files: &Files, program: &str, qdrant: Option<&str>) -> (String, Vec<String>) {
    let mut found = Vec::new();
    if !files.sizes.contains_key(&format!("qdrant/{program}")) {
        found.push(format!("/qdrant/{program} is missing"));
    }
    for path in [
        format!("qdrant/licenses/{program}/LICENSE"),
        format!("qdrant/build/{program}.toml"),
    ] {
        if files.contents.get(&path).is_none_or(Vec::is_empty) {
            found.push(format!("/{path} is missing or empty"));
        }
    }
    // The official image brings its own document, in the other form, and no notices.
    if files
        .contents
        .contains_key(&format!("qdrant/sbom/{program}.spdx.json"))
    {
        return (
            format!("{program}: upstream's own SPDX document, not verified"),
            found,
        );
    }
    let path = format!("qdrant/sbom/{program}.cdx.json");
    let Some(json) = files.contents.get(&path) else {
        found.push(format!("/{path} is missing"));
        return (String::new(), found);
    };
    let contents = match bom::read(json) {
        Ok(contents) => contents,
        Err(error) => {
            found.push(format!("/{path}: {error:#}"));
            return (String::new(), found);
        }
    };
    if contents.name != program {
        found.push(format!("/{path} is about {}", contents.name));
    }
    if program == "qdrant"
        && let Some(wanted) = qdrant
        && contents.version != wanted
    {
        found.push(format!(
            "/{path} says Qdrant {}, wanted {wanted}",
            contents.version
        ));
    }
    let path = format!("qdrant/licenses/{program}/NOTICES.txt");
    let notices = files
        .contents
        .get(&path)
        .map(|bytes| String::from_utf8_lossy(bytes))
        .unwrap_or_default();
    for library in &contents.linked {
        let named = format!("\n{} {}: ", library.name, library.version);
        if !notices.contains(&named) {
            found.push(format!(
                "/{path} lacks {} {}",
                library.name, library.version
            ));
        }
        if !library.has_licence {
            found.push(format!(
                "{} {} names no licence",
                library.name, library.version
            ));
        }
    }
    if contents.linked.is_empty() {
        found.push(format!("the SBOM of {program} names no crate"));
    }
    let said = format!(
        "{program} {}: {} crates, each with a licence and in the notices",
        contents.version,
        contents.linked.len()
    );
    (said, found)
}

fn keep(files: &Files, out: &std::path::Path) -> anyhow::Result<()> {
    for (path, bytes) in &files.contents {
        let to = out.join(path.trim_start_matches("qdrant/"));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        fs::write(&to, bytes).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a size that people read, in tenths of a megabyte"
)]
fn megabytes<'a>(sizes: impl Iterator<Item = &'a u64>) -> f64 {
    sizes.sum::<u64>() as f64 / 1e6
}
