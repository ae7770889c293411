//! What a release shows to the outside, as far as it can be read from its source: settings, arguments, endpoints, the
//! compiler, git dependencies. And what differs between two releases.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde::Serialize;

use crate::patch::tree::Tree;
use crate::toml_line;

/// The outside of one release.
#[derive(Debug, Default)]
pub struct Surface {
    /// The oldest compiler.
    pub rust: String,
    /// Dependencies that come from a repository and not from the registry.
    pub git_dependencies: Vec<String>,
    settings: BTreeSet<String>,
    arguments: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

/// What came and went in one respect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Settings, arguments or endpoints.
    pub what: &'static str,
    /// In this release only.
    pub new: Vec<String>,
    /// In the pinned one only.
    pub removed: Vec<String>,
}

impl Surface {
    /// Reads it.
    ///
    /// # Errors
    /// A file that every release has is missing.
    pub fn of(tree: &Tree) -> anyhow::Result<Self> {
        let text = |path: &str| {
            tree.read(path)?
                .with_context(|| format!("the tree has no {path}"))
        };
        let manifest: toml::Table = toml_line::read("Cargo.toml", &text("Cargo.toml")?)?;
        let rust = manifest
            .get("package")
            .and_then(|package| package.get("rust-version")?.as_str())
            .unwrap_or("not named")
            .to_owned();
        Ok(Self {
            rust,
            git_dependencies: git_dependencies(&text("Cargo.lock")?),
            settings: settings(&text("config/config.yaml")?),
            arguments: arguments(&text("src/main.rs")?),
            endpoints: endpoints(tree)?,
        })
    }

    /// What this one has and has not, against the other.
    pub fn against(&self, other: &Self) -> Vec<Difference> {
        [
            ("settings of config.yaml", &self.settings, &other.settings),
            ("arguments", &self.arguments, &other.arguments),
            ("endpoints", &self.endpoints, &other.endpoints),
        ]
        .into_iter()
        .map(|(what, now, then)| Difference {
            what,
            new: now.difference(then).cloned().collect(),
            removed: then.difference(now).cloned().collect(),
        })
        .collect()
    }
}

/// `source = "git+…"` of each package in a lock file, once.
fn git_dependencies(lock: &str) -> Vec<String> {
    let found: BTreeSet<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = \"git+")?.strip_suffix('"'))
        .collect();
    found.into_iter().map(str::to_owned).collect()
}

/// Dotted keys of the documented configuration, those that are commented out included.
fn settings(yaml: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in yaml.lines() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let bare = bare
            .strip_prefix("# ")
            .or_else(|| bare.strip_prefix('#'))
            .unwrap_or(bare);
        let Some((key, rest)) = bare.split_once(':') else {
            continue;
        };
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && (rest.is_empty() || rest.starts_with(' '));
        // Prose in a comment may look like a key; a key's value is one word.
        if !is_key
            || rest
                .trim()
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .count()
                > 1
        {
            continue;
        }
        above.retain(|(depth, _)| *depth < indent);
        let path: Vec<&str> = above
            .iter()
            .map(|(_, key)| key.as_str())
            .chain([key])
            .collect();
        found.insert(path.join("."));
        if rest.trim().is_empty() {
            above.push((indent, key.to_owned()));
        }
    }
    found
}

/// The fields of the command line's struct.
fn arguments(main: &str) -> BTreeSet<String> {
    let Ok(file) = syn::parse_file(main) else {
        return BTreeSet::new();
    };
    file.items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Struct(item) if item.ident == "Args" => Some(item),
            _ => None,
        })
        .flat_map(|args| &args.fields)
        .filter_map(|field| {
            Some(format!(
                "--{}",
                field.ident.as_ref()?.to_string().replace('_', "-")
            ))
        })
        .collect()
}

/// `GET /path` of each handler's attribute.
fn endpoints(tree: &Tree) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for path in tree.rust_files()? {
        if !path.starts_with("src/actix/") {
            continue;
        }
        let text = tree.read(&path)?.unwrap_or_default();
        for line in text.lines().map(str::trim) {
            for method in ["get", "post", "put", "patch", "delete"] {
                if let Some(rest) = line.strip_prefix(&format!("#[{method}(\""))
                    && let Some((endpoint, _)) = rest.split_once('"')
                {
                    found.insert(format!("{} {endpoint}", method.to_uppercase()));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_dotted_and_those_commented_out_count() {
        let yaml = "log_level: INFO\n# In prose: nothing to see here\nstorage:\n  # Where: on disk\n  storage_path: ./storage\n  performance:\n    max_search_threads: 0\n  #temp_path: ./tmp\nservice:\n  host: 0.0.0.0\n";
        let found: Vec<String> = settings(yaml).into_iter().collect();
        assert_eq!(
            found,
            [
                "log_level",
                "service",
                "service.host",
                "storage",
                "storage.performance",
                "storage.performance.max_search_threads",
                "storage.storage_path",
                "storage.temp_path",
            ]
        );
    }

    #[test]
    fn arguments_and_git_dependencies_are_read() {
        let main = "struct Args { reinit: bool, config_path: Option<String> }";
        assert_eq!(
            arguments(main).into_iter().collect::<Vec<_>>(),
            ["--config-path", "--reinit"]
        );
        let lock = "source = \"registry+x\"\nsource = \"git+https://a/b?branch=c#d\"\nsource = \"git+https://a/b?branch=c#d\"\n";
        assert_eq!(git_dependencies(lock), ["https://a/b?branch=c#d"]);
    }
}
