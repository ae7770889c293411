//! `cargo ci image papers`: what a program is made of, written beside it while it is built: an SBOM and the notices
//! of every crate.
//!
//! Owns which crates belong to a program. The two documents have modules of their own. What it writes depends on the
//! workspace alone, not on the time or the machine, so that the same source gives the same image.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
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
    /// Linked into the program, or only run while it was built. Macros count as linked: what they write is.
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
    ensure!(
        options.workspace.join("Cargo.toml").is_file(),
        "{} holds no Cargo.toml: give the workspace that the program was built in",
        options.workspace.display()
    );
    let mut command = MetadataCommand::new();
    // From inside, so that the workspace's own configuration of cargo holds.
    command
        .current_dir(&options.workspace)
        .manifest_path("Cargo.toml")
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
    let metadata = read(&mut command.cargo_command()).with_context(|| {
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

/// Not by the library's own means: what cargo says when it fails is to be one line.
fn read(command: &mut Command) -> anyhow::Result<Metadata> {
    MetadataCommand::parse(run::output(command)?).context("parse what cargo metadata says")
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
        .with_context(|| {
            format!(
                "{} has no member {package}: give the program's package",
                workspace.display()
            )
        })?;
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
            sha256: package.source.as_ref().and_then(|source| {
                sums.get(&(
                    package.name.to_string(),
                    package.version.to_string(),
                    source.repr.clone(),
                ))
                .cloned()
            }),
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
    source: Option<String>,
    checksum: Option<String>,
}

/// By name, version and source: a fork may be called like what it was forked from, and no registry vouches for it.
fn checksums(path: &Path) -> anyhow::Result<BTreeMap<(String, String, String), String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    Ok(lock
        .package
        .into_iter()
        .filter_map(|one| Some(((one.name, one.version, one.source?), one.checksum?)))
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

#[cfg(test)]
mod tests {
    //! On a workspace whose registry and repository are folders of its own.

    use tempfile::TempDir;

    use super::*;

    const LINUX: &str = "x86_64-unknown-linux-gnu";
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    const REPOSITORY: &str = "https://localhost/forked";
    const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
    const SUM: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n{rest}")
    }

    /// A program that needs a crate in every way there is: a member, one of a registry and a fork of that by a commit;
    /// for its build, for its tests, on Windows, and with a feature.
    fn workspace() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let git =
            format!("{{ package = \"registered\", git = \"{REPOSITORY}\", rev = \"{REVISION}\" }}");
        let source = format!("git+{REPOSITORY}?rev={REVISION}#{REVISION}");
        let members = [
            "builder", "extra", "library", "program", "tester", "windows",
        ];
        let mut files = vec![
            (
                "Cargo.toml".to_owned(),
                format!("[workspace]\nmembers = {members:?}\nresolver = \"2\"\n"),
            ),
            (
                "program/Cargo.toml".to_owned(),
                package(
                    "program",
                    "license = \"MIT\"\n\
                     [features]\nmore = [\"dep:extra\"]\n\
                     [dependencies]\nlibrary = { path = \"../library\" }\n\
                     extra = { path = \"../extra\", optional = true }\n\
                     [target.'cfg(windows)'.dependencies]\nwindows = { path = \"../windows\" }\n\
                     [build-dependencies]\nbuilder = { path = \"../builder\" }\n\
                     [dev-dependencies]\ntester = { path = \"../tester\" }\n",
                ),
            ),
            (
                "library/Cargo.toml".to_owned(),
                package(
                    "library",
                    &format!("[dependencies]\nregistered = \"1.0.0\"\nforked = {git}\n"),
                ),
            ),
            (
                "program/LICENSE".to_owned(),
                "text of the program".to_owned(),
            ),
            (
                "builder/LICENSE".to_owned(),
                "text of the builder".to_owned(),
            ),
            (
                ".cargo/config.toml".to_owned(),
                format!(
                    "[source.crates-io]\nreplace-with = \"registry\"\n\
                     [source.registry]\ndirectory = \"registry\"\n\
                     [source.\"{REPOSITORY}\"]\ngit = \"{REPOSITORY}\"\nrev = \"{REVISION}\"\nreplace-with = \"repository\"\n\
                     [source.repository]\ndirectory = \"repository\"\n"
                ),
            ),
        ];
        for member in ["builder", "extra", "tester", "windows"] {
            files.push((format!("{member}/Cargo.toml"), package(member, "")));
        }
        for (kind, sum) in [
            ("registry", format!("{SUM:?}")),
            ("repository", "null".to_owned()),
        ] {
            let crate_folder = format!("{kind}/registered");
            files.push((
                format!("{crate_folder}/Cargo.toml"),
                package("registered", ""),
            ));
            files.push((format!("{crate_folder}/src/lib.rs"), String::new()));
            files.push((
                format!("{crate_folder}/.cargo-checksum.json"),
                format!("{{\"files\": {{}}, \"package\": {sum}}}"),
            ));
        }
        let mut lock = "version = 4\n".to_owned();
        for (name, rest) in [
            ("builder", String::new()),
            ("extra", String::new()),
            (
                "library",
                format!(
                    "dependencies = [\"registered 1.0.0 ({source})\", \"registered 1.0.0 ({REGISTRY})\"]\n"
                ),
            ),
            (
                "program",
                "dependencies = [\"builder\", \"extra\", \"library\", \"tester\", \"windows\"]\n"
                    .to_owned(),
            ),
            ("registered", format!("source = \"{source}\"\n")),
            (
                "registered",
                format!("source = \"{REGISTRY}\"\nchecksum = \"{SUM}\"\n"),
            ),
            ("tester", String::new()),
            ("windows", String::new()),
        ] {
            lock.push_str(&format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{rest}"
            ));
        }
        files.push(("Cargo.lock".to_owned(), lock));
        for member in members {
            files.push((format!("{member}/src/lib.rs"), String::new()));
        }
        for (path, text) in files {
            write(&folder.path().join(path), &text).unwrap();
        }
        folder
    }

    fn options(workspace: &Path, target: &str, features: &[&str]) -> Options {
        Options {
            workspace: workspace.to_path_buf(),
            package: "program".to_owned(),
            features: features.iter().map(ToString::to_string).collect(),
            target: Some(target.to_owned()),
            out: workspace.join("out"),
        }
    }

    /// What was written: the SBOM and the notices.
    fn papers(options: &Options) -> (String, String) {
        run(options).unwrap();
        let text = |path| fs::read_to_string(options.out.join(path)).unwrap();
        (
            text("sbom/program.cdx.json"),
            text("licenses/program/NOTICES.txt"),
        )
    }

    /// The crates of an SBOM, each with one of its values as text.
    fn crates(sbom: &str, value: &str) -> Vec<(String, String)> {
        let sbom: serde_json::Value = serde_json::from_str(sbom).unwrap();
        sbom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = one.pointer(value).and_then(|text| text.as_str());
                (
                    one["bom-ref"].as_str().unwrap().to_owned(),
                    text.unwrap_or_default().to_owned(),
                )
            })
            .collect()
    }

    fn fork() -> String {
        format!("registered@1.0.0?git+{REPOSITORY}?rev={REVISION}#{REVISION}")
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs
            .map(|(one, other)| (one.to_owned(), other.to_owned()))
            .to_vec()
    }

    #[test]
    fn what_only_builds_is_named_as_that_and_what_only_tests_is_not_named() {
        let workspace = workspace();
        let (sbom, notices) = papers(&options(workspace.path(), LINUX, &[]));
        assert_eq!(
            crates(&sbom, "/scope"),
            pairs([
                ("builder@1.0.0", "excluded"),
                ("library@1.0.0", "required"),
                (&fork(), "required"),
                ("registered@1.0.0", "required"),
            ])
        );
        assert!(notices.contains("text of the program"), "{notices}");
        assert!(!notices.contains("builder"), "{notices}");
    }

    #[test]
    fn a_feature_and_a_platform_bring_their_own_crates() {
        let workspace = workspace();
        let names = |target, features: &[&str]| {
            let (sbom, _) = papers(&options(workspace.path(), target, features));
            let mut names: Vec<_> = crates(&sbom, "/name")
                .into_iter()
                .map(|(_, name)| name)
                .collect();
            names.retain(|name| ["extra", "windows"].contains(&name.as_str()));
            names
        };
        assert_eq!(names(LINUX, &["more"]), ["extra"]);
        assert_eq!(names(LINUX, &["program/more"]), ["extra"]);
        assert_eq!(names("x86_64-pc-windows-gnu", &[]), ["windows"]);
    }

    #[test]
    fn a_registrys_hash_is_not_given_to_a_fork_of_the_same_name() {
        let workspace = workspace();
        let (sbom, _) = papers(&options(workspace.path(), LINUX, &[]));
        assert_eq!(
            crates(&sbom, "/hashes/0/content"),
            pairs([
                ("builder@1.0.0", ""),
                ("library@1.0.0", ""),
                (&fork(), ""),
                ("registered@1.0.0", SUM),
            ])
        );
    }

    #[test]
    fn a_member_has_the_programs_licence_and_a_foreign_crate_has_only_its_own() {
        let workspace = workspace();
        let (sbom, notices) = papers(&options(workspace.path(), LINUX, &[]));
        assert_eq!(
            crates(&sbom, "/licenses/0/expression"),
            pairs([
                ("builder@1.0.0", "MIT"),
                ("library@1.0.0", "MIT"),
                (&fork(), ""),
                ("registered@1.0.0", ""),
            ])
        );
        assert!(
            notices.contains("\nregistered 1.0.0: names no licence"),
            "{notices}"
        );
    }

    #[test]
    fn the_same_workspace_in_another_folder_has_the_same_papers() {
        let (one, other) = (workspace(), workspace());
        let (sbom, notices) = papers(&options(one.path(), LINUX, &[]));
        assert!(!format!("{sbom}{notices}").contains(&*one.path().to_string_lossy()));
        assert_eq!((sbom, notices), papers(&options(other.path(), LINUX, &[])));
    }

    #[test]
    fn the_sbom_can_be_read_back_and_is_about_the_program() {
        let workspace = workspace();
        let (sbom, notices) = papers(&options(workspace.path(), LINUX, &[]));
        let contents = bom::read(sbom.as_bytes()).unwrap();
        assert_eq!(
            (contents.name, contents.version),
            ("program".to_owned(), "1.0.0".to_owned())
        );
        for linked in contents.linked {
            let line = format!("\n{} {}: ", linked.name, linked.version);
            assert!(notices.contains(&line), "{line:?} in {notices}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_one_line_and_nothing_is_written() {
        let workspace = workspace();
        let of = |change: &dyn Fn(&mut Options)| {
            let mut options = options(workspace.path(), LINUX, &[]);
            change(&mut options);
            let line = format!("{:#}", run(&options).unwrap_err());
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(
                line.contains(&*options.workspace.to_string_lossy()),
                "{line}"
            );
            assert!(!options.out.exists());
            line
        };
        assert!(
            of(&|options| options.package = "absent".to_owned()).contains("has no member absent")
        );
        assert!(of(&|options| options.target = Some("no-such".to_owned())).contains("no-such"));
        assert!(of(&|options| options.features = vec!["absent".to_owned()]).contains("absent"));
        let inner = workspace.path().join("nowhere");
        assert!(
            of(&|options| options.workspace.clone_from(&inner)).contains("holds no Cargo.toml")
        );
        fs::remove_file(workspace.path().join("Cargo.lock")).unwrap();
        assert!(of(&|_| ()).contains("--locked"));
    }
}
