//! `cargo ci image papers`: what a program is made of, written beside it while it is built: an SBOM and the notices
//! of every crate.
//!
//! Owns which crates belong to a program. The two documents have modules of their own. What it writes depends on the
//! workspace alone, not on the time or the machine, so that the same source gives the same image.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use cargo_metadata::{
    CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId, Resolve,
};
use clap::Args;
use serde::Deserialize;

use super::{bom, notices};
use crate::run;

/// Which program, and where to.
#[derive(Args)]
pub struct Options {
    /// The workspace that the program was built in.
    #[arg(long, value_name = "DIR")]
    workspace: PathBuf,
    /// The program's package.
    #[arg(long)]
    package: String,
    /// Features that it was built with, besides the default ones.
    #[arg(long, value_name = "FEATURE")]
    features: Vec<String>,
    /// The platform that it was built for; without it, this one.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Writes DIR/sbom/PACKAGE.cdx.json and DIR/licenses/PACKAGE/NOTICES.txt.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// One crate of the program.
pub struct Part<'a> {
    /// As cargo knows it.
    pub package: &'a Package,
    /// A name that says no path of this machine.
    pub reference: String,
    /// Linked into the program, or only run while it was built.
    pub linked: bool,
    /// The registry's sha256 of the archive it came in, where it came in one.
    pub sha256: Option<String>,
    /// What it needs, by reference.
    pub needs: BTreeSet<String>,
    /// Its licence, as it says itself or, for a member of the workspace that says none, as the program does.
    pub licence: Option<String>,
}

/// Writes both documents.
///
/// # Errors
/// The workspace cannot be read as its lock says, or a file cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let target = match &options.target {
        Some(target) => target.clone(),
        None => this_platform()?,
    };
    let mut command = MetadataCommand::new();
    command
        .manifest_path(options.workspace.join("Cargo.toml"))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            target.clone(),
        ]);
    if !options.features.is_empty() {
        // Features are a member's own, as on the command line of the build.
        let qualified = options.features.iter().map(|feature| {
            if feature.contains('/') {
                feature.clone()
            } else {
                format!("{}/{feature}", options.package)
            }
        });
        command.features(CargoOpt::SomeFeatures(qualified.collect()));
    }
    let metadata = command.exec().with_context(|| {
        format!(
            "read the workspace in {} as its lock says",
            options.workspace.display()
        )
    })?;
    let parts = parts(&metadata, &options.package, &options.workspace)?;
    let sbom = bom::write(&parts)?;
    let (notices, without_text) = notices::write(&parts, &options.package)?;
    let sbom_path = options
        .out
        .join(format!("sbom/{}.cdx.json", options.package));
    let notices_path = options
        .out
        .join(format!("licenses/{}/NOTICES.txt", options.package));
    for (path, text) in [(&sbom_path, &sbom), (&notices_path, &notices)] {
        write(path, text)?;
    }
    println!(
        "papers: {} for {target}: {} crates, {} of them linked; {} carry no licence text of their own",
        options.package,
        parts.len(),
        parts.iter().filter(|part| part.linked).count(),
        without_text
    );
    Ok(())
}

/// The program's package first, then everything it needs, by name and version.
fn parts<'a>(
    metadata: &'a Metadata,
    package: &str,
    workspace: &Path,
) -> anyhow::Result<Vec<Part<'a>>> {
    let root = metadata
        .workspace_packages()
        .into_iter()
        .find(|member| member.name.as_str() == package)
        .with_context(|| format!("{} has no member {package}", workspace.display()))?;
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo metadata resolved nothing")?;
    let linked = reachable(resolve, &root.id, &[DependencyKind::Normal]);
    let all = reachable(
        resolve,
        &root.id,
        &[DependencyKind::Normal, DependencyKind::Build],
    );
    let sums = checksums(&workspace.join("Cargo.lock"))?;
    let packages: BTreeMap<&PackageId, &Package> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let known = |id: &PackageId| {
        packages
            .get(id)
            .copied()
            .with_context(|| format!("cargo metadata resolves {id} and does not describe it"))
    };

    let mut parts = Vec::new();
    for (id, needs) in &all {
        let package = known(id)?;
        let needs = needs
            .iter()
            .map(|id| Ok(reference(known(id)?)))
            .collect::<anyhow::Result<_>>()?;
        let own = package
            .license
            .clone()
            .or_else(|| package.license_file.as_ref().map(ToString::to_string));
        parts.push(Part {
            package,
            reference: reference(package),
            linked: linked.contains_key(id),
            sha256: sums
                .get(&(package.name.to_string(), package.version.to_string()))
                .cloned(),
            needs,
            licence: match (own, &package.source) {
                (Some(own), _) => Some(own),
                (None, None) => root.license.clone(),
                (None, Some(_)) => None,
            },
        });
    }
    parts.sort_by_key(|part| {
        (
            part.package.id != root.id,
            part.package.name.to_string(),
            part.package.version.clone(),
        )
    });
    Ok(parts)
}

/// Everything that `root` needs by one of these kinds, each with what it needs itself.
fn reachable<'a>(
    resolve: &'a Resolve,
    root: &'a PackageId,
    kinds: &[DependencyKind],
) -> BTreeMap<&'a PackageId, Vec<&'a PackageId>> {
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::from([root]);
    while let Some(id) = queue.pop_front() {
        if found.contains_key(id) {
            continue;
        }
        let needs: Vec<&PackageId> = nodes.get(id).map_or_else(Vec::new, |node| {
            node.deps
                .iter()
                .filter(|need| need.dep_kinds.iter().any(|kind| kinds.contains(&kind.kind)))
                .map(|need| &need.pkg)
                .collect()
        });
        queue.extend(needs.iter().copied());
        found.insert(id, needs);
    }
    found
}

/// `name@version`, with the repository and commit where no registry vouches for it.
fn reference(package: &Package) -> String {
    let short = format!("{}@{}", package.name, package.version);
    match &package.source {
        Some(source) if source.repr.starts_with("git+") => format!("{short}?{}", source.repr),
        _ => short,
    }
}

/// As much of a Cargo.lock as is wanted.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

fn checksums(path: &Path) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    Ok(lock
        .package
        .into_iter()
        .filter_map(|one| Some(((one.name, one.version), one.checksum?)))
        .collect())
}

fn this_platform() -> anyhow::Result<String> {
    let said = run::output(Command::new("rustc").arg("-vV"))?;
    match said.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV names no host"),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
