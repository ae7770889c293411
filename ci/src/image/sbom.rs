//! `cargo ci image sbom`: does the image carry what it is made of, and is that what it holds?
//!
//! Owns what must be inside: for each program an SBOM that names it and every linked crate with a licence, the
//! notices that name the same crates, the licence, and where the program came from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::archive::{self, Archive, Files};
use super::bom;

const FOLDERS: [&str; 3] = ["qdrant/sbom/", "qdrant/licenses/", "qdrant/build/"];
const UPSTREAMS: &str = "qdrant/sbom/qdrant.spdx.json";

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
            keep(&files, &out.join(platform.name.replace('/', "-")))
                .with_context(|| format!("keep what {} carries", options.image))?;
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
        bail!("{}: {}", options.image, found.join("\n       "));
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
    let path = format!("qdrant/sbom/{program}.cdx.json");
    // The official image brings its own document of Qdrant, in the other form, and no notices.
    if program == "qdrant"
        && !files.contents.contains_key(&path)
        && files.contents.contains_key(UPSTREAMS)
    {
        if qdrant.is_some() {
            found.push(format!(
                "/{UPSTREAMS} is upstream's own and is not read: leave --qdrant away"
            ));
        }
        return (
            format!("{program}: upstream's own SPDX document, not verified"),
            found,
        );
    }
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
        // Whoever made the image chose these names.
        let to = archive::inside(out, path.trim_start_matches("qdrant/"))?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::archive::fixture::Fixture;
    use super::*;

    type Image = BTreeMap<&'static str, Vec<u8>>;

    /// A document of a program with these libraries: name, version, scope, licence.
    fn document(program: &str, version: &str, libraries: &[[&str; 4]]) -> Vec<u8> {
        let component = |kind: &str, [name, version, scope, licence]: [&str; 4]| {
            let licenses = match licence {
                "" => serde_json::json!([]),
                text => serde_json::json!([{"expression": text}]),
            };
            serde_json::json!({
                "type": kind, "bom-ref": format!("{name}@{version}"), "name": name, "version": version,
                "scope": scope, "licenses": licenses, "purl": "",
            })
        };
        let libraries: Vec<_> = libraries
            .iter()
            .map(|library| component("library", *library))
            .collect();
        serde_json::to_vec(&serde_json::json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "dependencies": [],
            "metadata": {"component": component("application", [program, version, "required", "MIT"])},
            "components": libraries,
        }))
        .unwrap()
    }

    /// All that is asked for. What only ran during the build is in no notices.
    fn image() -> Image {
        let libraries = [
            ["serde", "1.0.1", "required", "MIT"],
            ["cc", "1.2.0", "excluded", ""],
        ];
        let notices = b"Notices\n\nserde 1.0.1: MIT\n".to_vec();
        BTreeMap::from([
            ("qdrant/qdrant", b"program".to_vec()),
            ("qdrant/entrypoint", b"program".to_vec()),
            ("qdrant/licenses/qdrant/LICENSE", b"text".to_vec()),
            ("qdrant/licenses/entrypoint/LICENSE", b"text".to_vec()),
            ("qdrant/licenses/qdrant/NOTICES.txt", notices.clone()),
            ("qdrant/licenses/entrypoint/NOTICES.txt", notices),
            ("qdrant/build/qdrant.toml", b"from = 1".to_vec()),
            ("qdrant/build/entrypoint.toml", b"from = 1".to_vec()),
            (
                "qdrant/sbom/qdrant.cdx.json",
                document("qdrant", "1.19.0", &libraries),
            ),
            (
                "qdrant/sbom/entrypoint.cdx.json",
                document("entrypoint", "0.1.0", &libraries),
            ),
        ])
    }

    fn write(image: Image, platforms: &[&'static str], path: &Path) {
        Fixture {
            platforms: platforms.to_vec(),
            config: serde_json::json!({}),
            layers: vec![image.into_iter().collect()],
            damage: None,
        }
        .write(path);
    }

    /// The lines that an image of one platform is refused with.
    fn lines(image: Image, qdrant: Option<&str>) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(image, &["amd64"], file.path());
        let options = Options {
            image: file.path().display().to_string(),
            qdrant: qdrant.map(str::to_owned),
            out: None,
        };
        let Err(error) = run(&options) else {
            return Vec::new();
        };
        let text = format!("{error:#}");
        let text = text
            .strip_prefix(&format!("{}: ", options.image))
            .unwrap_or_else(|| panic!("names no image: {text}"));
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn an_image_with_all_of_it_passes_and_its_papers_are_kept_for_each_platform() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        write(image(), &["amd64", "arm64"], &path);
        let out = folder.path().join("papers");
        run(&Options {
            image: path.display().to_string(),
            qdrant: Some("1.19.0".to_owned()),
            out: Some(out.clone()),
        })
        .unwrap();
        for platform in ["linux-amd64", "linux-arm64"] {
            for (path, bytes) in image() {
                let kept = out.join(platform).join(path.trim_start_matches("qdrant/"));
                // The programs themselves are no papers.
                let wanted = (bytes != b"program").then_some(bytes);
                assert_eq!(fs::read(&kept).ok(), wanted, "{}", kept.display());
            }
        }
    }

    #[test]
    fn each_file_that_is_missing_is_one_line() {
        let all = image();
        for path in all.keys() {
            let mut image = all.clone();
            image.remove(path);
            let found = lines(image, None);
            assert_eq!(found.len(), 1, "{path}: {found:?}");
            assert!(
                found[0].starts_with(&format!("linux/amd64: /{path} ")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_licence_or_a_note_that_says_nothing_is_none() {
        let mut image = image();
        image.insert("qdrant/licenses/qdrant/LICENSE", Vec::new());
        image.insert("qdrant/build/entrypoint.toml", Vec::new());
        assert_eq!(
            lines(image, None),
            [
                "linux/amd64: /qdrant/licenses/qdrant/LICENSE is missing or empty",
                "linux/amd64: /qdrant/build/entrypoint.toml is missing or empty",
            ]
        );
    }

    #[test]
    fn a_crate_without_licence_or_notice_is_named_and_another_version_is_no_notice_of_it() {
        let mut image = image();
        image.insert(
            "qdrant/sbom/entrypoint.cdx.json",
            document(
                "entrypoint",
                "0.1.0",
                &[
                    ["serde", "1.0", "required", "MIT"],
                    ["erde", "1.0.1", "required", "MIT"],
                    ["serde", "1.0.1", "required", ""],
                ],
            ),
        );
        assert_eq!(
            lines(image, None),
            [
                "linux/amd64: /qdrant/licenses/entrypoint/NOTICES.txt lacks serde 1.0",
                "linux/amd64: /qdrant/licenses/entrypoint/NOTICES.txt lacks erde 1.0.1",
                "linux/amd64: serde 1.0.1 names no licence",
            ]
        );
    }

    #[test]
    fn a_document_of_something_else_of_nothing_or_of_no_form_is_refused() {
        let with = |path, bytes| {
            let mut image = image();
            image.insert(path, bytes);
            lines(image, Some("1.19.0"))
        };
        let library = [["serde", "1.0.1", "required", "MIT"]];
        let qdrants = "qdrant/sbom/qdrant.cdx.json";
        assert_eq!(
            with(qdrants, document("entrypoint", "1.19.0", &library)),
            ["linux/amd64: /qdrant/sbom/qdrant.cdx.json is about entrypoint"]
        );
        assert_eq!(
            with(qdrants, document("qdrant", "1.18.3", &library)),
            ["linux/amd64: /qdrant/sbom/qdrant.cdx.json says Qdrant 1.18.3, wanted 1.19.0"]
        );
        assert_eq!(
            with(qdrants, document("qdrant", "1.19.0", &[])),
            ["linux/amd64: the SBOM of qdrant names no crate"]
        );
        let found = with(qdrants, b"{}".to_vec());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("linux/amd64: /qdrant/sbom/qdrant.cdx.json: parse as CycloneDX"),
            "{found:?}"
        );
    }

    #[test]
    fn upstreams_own_document_stands_for_qdrants_alone_and_says_no_version() {
        let mut official = image();
        official.remove("qdrant/sbom/qdrant.cdx.json");
        official.remove("qdrant/licenses/qdrant/NOTICES.txt");
        official.insert("qdrant/sbom/qdrant.spdx.json", b"{}".to_vec());
        assert_eq!(lines(official.clone(), None), Vec::<String>::new());
        assert_eq!(
            lines(official, Some("1.19.0")),
            [
                "linux/amd64: /qdrant/sbom/qdrant.spdx.json is upstream's own and is not read: leave --qdrant away"
            ]
        );

        // Beside ours it hides nothing, and it is none of the entrypoint's.
        let mut both = image();
        both.insert("qdrant/sbom/qdrant.spdx.json", b"{}".to_vec());
        both.insert("qdrant/sbom/entrypoint.spdx.json", b"{}".to_vec());
        both.remove("qdrant/sbom/entrypoint.cdx.json");
        both.remove("qdrant/licenses/qdrant/NOTICES.txt");
        assert_eq!(
            lines(both, None),
            [
                "linux/amd64: /qdrant/licenses/qdrant/NOTICES.txt lacks serde 1.0.1",
                "linux/amd64: /qdrant/sbom/entrypoint.cdx.json is missing",
            ]
        );
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files {
            sizes: BTreeMap::new(),
            contents: BTreeMap::from([("qdrant/sbom/../../outside".to_owned(), b"x".to_vec())]),
        };
        let error = keep(&files, &folder.path().join("papers")).unwrap_err();
        assert!(error.to_string().contains("sbom/../../outside"), "{error}");
        assert!(!folder.path().join("outside").exists());
    }

    #[test]
    fn an_image_for_no_platform_carries_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(image(), &[], file.path());
        let error = run(&Options {
            image: file.path().display().to_string(),
            qdrant: None,
            out: None,
        })
        .unwrap_err();
        assert!(error.to_string().contains("for no platform"), "{error}");
    }
}
