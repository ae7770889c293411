//! The SBOM: CycloneDX 1.5, as JSON.
//!
//! Owns the form, as much of it as we fill. Without serial number and time, so that the same source gives the same
//! document. Of the form we fill five structures; a library for all of it would be most of what this crate compiles.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::papers::Part;

const FORMAT: &str = "CycloneDX";
const VERSION: &str = "1.5";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bom {
    bom_format: String,
    spec_version: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    component: Component,
}

#[derive(Serialize, Deserialize)]
struct Component {
    r#type: Kind,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    scope: Scope,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
    purl: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Application,
    Library,
}

/// A crate that only ran during the build is named, and named as not being in the program.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Required,
    Excluded,
}

#[derive(Serialize, Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Licence {
    /// An SPDX expression.
    Expression { expression: String },
    /// What is no expression, mostly the name of a file.
    Named { license: Name },
}

#[derive(Serialize, Deserialize)]
struct Name {
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    r#ref: String,
    depends_on: Vec<String>,
}

/// The document; the first part is the program.
///
/// # Errors
/// There is no part, or two have one reference.
pub fn write(parts: &[Part<'_>]) -> anyhow::Result<String> {
    let (program, libraries) = parts.split_first().context("a program has parts")?;
    let mut references = BTreeSet::new();
    for part in parts {
        ensure!(
            references.insert(&part.reference),
            "two crates are {}",
            part.reference
        );
    }
    let bom = Bom {
        bom_format: FORMAT.to_owned(),
        spec_version: VERSION.to_owned(),
        version: 1,
        metadata: Metadata {
            component: component(program, Kind::Application),
        },
        components: libraries
            .iter()
            .map(|part| component(part, Kind::Library))
            .collect(),
        dependencies: parts
            .iter()
            .map(|part| Dependency {
                r#ref: part.reference.clone(),
                depends_on: part.needs.iter().cloned().collect(),
            })
            .collect(),
    };
    let mut text = serde_json::to_string(&bom).context("write the SBOM")?;
    text.push('\n');
    Ok(text)
}

/// Reads a document back and gives the program and the libraries that are linked into it.
///
/// # Errors
/// It is not as we write them, or a dependency names nobody.
pub fn read(json: &[u8]) -> anyhow::Result<Contents> {
    let bom: Bom = serde_json::from_slice(json).context("parse as CycloneDX")?;
    ensure!(
        bom.bom_format == FORMAT && bom.spec_version == VERSION,
        "is {} {}, wanted {FORMAT} {VERSION}",
        bom.bom_format,
        bom.spec_version
    );
    let mut references: BTreeSet<&str> = bom
        .components
        .iter()
        .map(|component| component.reference.as_str())
        .collect();
    references.insert(&bom.metadata.component.reference);
    for dependency in &bom.dependencies {
        for reference in dependency.depends_on.iter().chain([&dependency.r#ref]) {
            ensure!(
                references.contains(reference.as_str()),
                "names {reference} as a dependency and describes it nowhere"
            );
        }
    }
    Ok(Contents {
        name: bom.metadata.component.name,
        version: bom.metadata.component.version,
        linked: bom
            .components
            .into_iter()
            .filter(|library| library.scope == Scope::Required)
            .map(|library| Linked {
                has_licence: !library.licenses.is_empty(),
                name: library.name,
                version: library.version,
            })
            .collect(),
    })
}

/// What an SBOM says, as far as it is verified.
#[derive(Debug)]
pub struct Contents {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What is linked into it.
    pub linked: Vec<Linked>,
}

/// One library.
#[derive(Debug)]
pub struct Linked {
    /// The crate.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Does it say under which licence?
    pub has_licence: bool,
}

fn component(part: &Part<'_>, kind: Kind) -> Component {
    let package = part.package;
    let version = package.version.to_string();
    Component {
        r#type: kind,
        reference: part.reference.clone(),
        name: package.name.to_string(),
        description: package
            .description
            .as_deref()
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
        scope: if part.linked {
            Scope::Required
        } else {
            Scope::Excluded
        },
        hashes: part
            .sha256
            .iter()
            .map(|sum| Hash {
                alg: "SHA-256".to_owned(),
                content: sum.clone(),
            })
            .collect(),
        licenses: part.licence.iter().map(|text| licence(text)).collect(),
        // `+` begins a version's build part and is a space in an address.
        purl: format!("pkg:cargo/{}@{}", package.name, version.replace('+', "%2B")),
        version,
    }
}

/// Older crates write `MIT/Apache-2.0` for a choice, and a few name a file.
fn licence(text: &str) -> Licence {
    let is_expression = !text.is_empty()
        && text.split_whitespace().all(|word| {
            word.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.+:()/".contains(&b))
        })
        && !text.contains(".txt")
        && !text.contains(".md")
        && !text.to_uppercase().starts_with("LICEN");
    if is_expression {
        Licence::Expression {
            expression: text.replace('/', " OR ").replace("  ", " "),
        }
    } else {
        Licence::Named {
            license: Name {
                name: text.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_choice_becomes_an_expression_and_a_file_stays_a_name() {
        let json = |text| serde_json::to_value(licence(text)).unwrap();
        assert_eq!(
            json("MIT/Apache-2.0"),
            serde_json::json!({"expression": "MIT OR Apache-2.0"})
        );
        assert_eq!(
            json("(MIT OR Apache-2.0) AND Unicode-3.0"),
            serde_json::json!({"expression": "(MIT OR Apache-2.0) AND Unicode-3.0"})
        );
        assert_eq!(
            json("LICENSE.txt"),
            serde_json::json!({"license": {"name": "LICENSE.txt"}})
        );
    }

    #[test]
    fn another_form_and_a_dependency_on_nobody_are_refused() {
        let mut bom = serde_json::json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {"component": {"type": "application", "bom-ref": "a@1", "name": "a", "version": "1",
                "scope": "required", "purl": "pkg:cargo/a@1"}},
            "components": [], "dependencies": [{"ref": "a@1", "dependsOn": []}],
        });
        let read = |bom: &serde_json::Value| read(&serde_json::to_vec(bom).unwrap());
        assert_eq!(read(&bom).unwrap().name, "a");
        bom["dependencies"][0]["dependsOn"] = serde_json::json!(["b@1"]);
        assert!(format!("{:#}", read(&bom).unwrap_err()).contains("b@1"));
        bom["dependencies"] = serde_json::json!([]);
        bom["specVersion"] = "1.2".into();
        assert!(read(&bom).is_err());
    }
}
