//! What a patch is: a folder with `patch.toml`, files of ours, and hooks. Owns reading and judging it; touches no tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::toml_line;

/// The whole of `patch.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Short name, as it is in the folder's name and in the build marker.
    pub name: String,
    /// One line: what it does.
    pub summary: String,
    /// Why it exists.
    pub why: String,
    /// What a user sees without it.
    pub without: String,
    /// The upstream thread, or why it cannot go upstream.
    pub upstream: String,
    /// When it can be dropped.
    pub drop_when: String,
    /// The releases on which it was found to apply.
    pub covers: Vec<String>,
    /// Where its own tests are.
    #[serde(default)]
    pub test: Vec<Test>,
    /// New files of ours.
    #[serde(default)]
    pub file: Vec<NewFile>,
    /// Where upstream's source calls them.
    #[serde(default)]
    pub hook: Vec<Hook>,
}

/// A selection of tests that the patch brings along.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The package of Qdrant's workspace.
    pub package: String,
    /// `lib` or `bin:NAME`.
    pub target: String,
    /// What cargo test is to filter by.
    pub filter: String,
}

impl Test {
    /// Another target would be taken for the library, and every test matches an empty filter.
    fn check(&self) -> anyhow::Result<()> {
        let target = self.target.as_str();
        ensure!(
            target == "lib"
                || target
                    .strip_prefix("bin:")
                    .is_some_and(|name| !name.is_empty()),
            "test of {}: target is {target:?}, wanted lib or bin:NAME",
            self.package
        );
        ensure!(
            !self.filter.trim().is_empty(),
            "test of {}: filter says nothing, wanted what the names of the patch's tests begin with",
            self.package
        );
        Ok(())
    }
}

/// A file that the patch adds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// Its name in the patch's folder.
    pub from: String,
    /// Its path in the tree.
    pub to: String,
    /// Tests only: also there when the patch is applied without its effect.
    #[serde(default)]
    pub test: bool,
}

/// A structural rule and what happens where it matches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Unique within the patch.
    pub id: String,
    /// Path in the tree.
    pub file: String,
    /// From the outside in: `impl Type`, `impl Trait for Type`, `fn name`, `struct Name`, `enum Name`, `mod name`.
    #[serde(default)]
    pub inside: Vec<String>,
    /// An ast-grep pattern. Absent with `append` only.
    #[serde(default)]
    pub find: Option<String>,
    /// How many places it must match, exactly.
    #[serde(default = "one")]
    pub places: usize,
    /// New statement before the statement that holds the match.
    #[serde(default)]
    pub before: Option<String>,
    /// New statement after it.
    #[serde(default)]
    pub after: Option<String>,
    /// New text in place of the match; `$NAME` stands for what the pattern caught. Empty removes the statement.
    #[serde(default)]
    pub replace: Option<String>,
    /// New item at the end of the file.
    #[serde(default)]
    pub append: Option<String>,
    /// A pattern that is found in the same scope once upstream has the change. Asked before the rule itself.
    #[serde(default)]
    pub upstream_has: Option<String>,
    /// Declares tests only: also made when the patch is applied without its effect.
    #[serde(default)]
    pub test: bool,
}

fn one() -> usize {
    1
}

/// What a hook does, of which there is exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A statement before the matched one.
    Before(&'a str),
    /// A statement after the matched one.
    After(&'a str),
    /// Other text for the match.
    Replace(&'a str),
    /// The whole matched statement goes.
    Remove,
    /// An item at the end of the file.
    Append(&'a str),
}

impl Hook {
    /// What it does.
    ///
    /// # Errors
    /// None or several actions are given, or a pattern is missing or superfluous.
    pub fn action(&self) -> anyhow::Result<Action<'_>> {
        let given: Vec<Action<'_>> = [
            self.before.as_deref().map(Action::Before),
            self.after.as_deref().map(Action::After),
            self.replace.as_deref().map(|text| match text {
                "" => Action::Remove,
                text => Action::Replace(text),
            }),
            self.append.as_deref().map(Action::Append),
        ]
        .into_iter()
        .flatten()
        .collect();
        let [action] = given.as_slice() else {
            bail!(
                "hook {}: give exactly one of before, after, replace, append",
                self.id
            );
        };
        let appends = matches!(action, Action::Append(_));
        ensure!(
            appends == self.find.is_none() && (!appends || self.inside.is_empty()),
            "hook {}: `find` goes with before, after and replace; append has neither `find` nor `inside`",
            self.id
        );
        ensure!(
            self.places > 0,
            "hook {}: `places` is at least 1, a rule that matches nowhere is no hook",
            self.id
        );
        Ok(*action)
    }
}

/// A patch as it lies in its folder.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Its name with its number: the folder's.
    pub folder: String,
    /// What `patch.toml` says.
    pub manifest: Manifest,
    /// The text of each of `manifest.file`, in its order.
    pub texts: Vec<String>,
}

/// Reads all patches below `folder`, in the order of their numbers.
///
/// # Errors
/// A folder cannot be read, or holds a patch that is not well-formed.
pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Patch>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry.with_context(|| format!("read {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && name.starts_with(|first: char| first.is_ascii_digit()) {
            names.push(name);
        }
    }
    names.sort();
    names.iter().map(|name| read(folder, name)).collect()
}

fn read(patches: &Path, folder: &str) -> anyhow::Result<Patch> {
    let path = patches.join(folder).join("patch.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: Manifest = toml_line::read(&path.display().to_string(), &text)?;
    check(folder, &manifest).with_context(|| format!("{}", path.display()))?;
    let texts = manifest
        .file
        .iter()
        .map(|file| {
            let path = patches.join(folder).join(&file.from);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Patch {
        folder: folder.to_owned(),
        manifest,
        texts,
    })
}

fn check(folder: &str, manifest: &Manifest) -> anyhow::Result<()> {
    ensure!(
        folder.split_once('-').map(|(_, name)| name) == Some(manifest.name.as_str()),
        "name = {:?}, but the folder is {folder}",
        manifest.name
    );
    for (key, value) in [
        ("summary", &manifest.summary),
        ("why", &manifest.why),
        ("without", &manifest.without),
        ("upstream", &manifest.upstream),
        ("drop_when", &manifest.drop_when),
    ] {
        ensure!(!value.trim().is_empty(), "{key} says nothing");
    }
    let mut seen = BTreeSet::new();
    for hook in &manifest.hook {
        hook.action()?;
        inside_the_tree(&hook.file)?;
        ensure!(seen.insert(&hook.id), "two hooks are called {}", hook.id);
    }
    for test in &manifest.test {
        test.check()?;
    }
    for file in &manifest.file {
        inside_the_tree(&file.to)?;
        ensure!(
            Path::new(&file.from).components().count() == 1,
            "file {}: it has to lie in the patch's folder",
            file.from
        );
    }
    Ok(())
}

/// A path that stays below where it is joined to.
fn inside_the_tree(path: &str) -> anyhow::Result<()> {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && !path.is_empty(), "{path:?} leaves the tree");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(text: &str) -> anyhow::Result<String> {
        let hook: Hook = toml::from_str(&format!("id = \"h\"\nfile = \"a.rs\"\n{text}"))?;
        hook.action().map(|action| format!("{action:?}"))
    }

    #[test]
    fn a_hook_has_exactly_one_action() {
        assert_eq!(
            hook("find = \"a()\"\nbefore = \"b();\"").unwrap(),
            "Before(\"b();\")"
        );
        assert_eq!(hook("find = \"a()\"\nreplace = \"\"").unwrap(), "Remove");
        assert!(hook("find = \"a()\"").is_err());
        assert!(hook("find = \"a()\"\nbefore = \"b\"\nafter = \"c\"").is_err());
        assert!(hook("find = \"a()\"\nappend = \"mod b;\"").is_err());
        assert!(hook("find = \"a()\"\nbefore = \"b\"\nplaces = 0").is_err());
    }

    #[test]
    fn tests_that_would_be_sought_in_another_place_or_be_any_are_refused() {
        let test = |target: &str, filter: &str| {
            let text = format!(
                "name = \"a\"\nsummary = \"s\"\nwhy = \"w\"\nwithout = \"o\"\nupstream = \"u\"\n\
                 drop_when = \"d\"\ncovers = []\n\
                 [[test]]\npackage = \"storage\"\ntarget = {target:?}\nfilter = {filter:?}\n"
            );
            check("0001-a", &toml::from_str(&text).unwrap())
        };
        test("lib", "ours::").unwrap();
        test("bin:qdrant", "ours::").unwrap();
        for target in ["", "bin", "bin:", "test:all", "libs"] {
            let error = test(target, "ours::").unwrap_err().to_string();
            assert!(
                error.contains(&format!("{target:?}, wanted lib or bin:NAME")),
                "{error}"
            );
        }
        assert!(test("lib", " ").is_err());
    }

    #[test]
    fn a_path_stays_in_the_tree() {
        assert!(inside_the_tree("src/main.rs").is_ok());
        for path in ["", "/etc/passwd", "../x", "src/../../x", "./x"] {
            assert!(inside_the_tree(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_patches_of_this_repository_are_well_formed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patches");
        read_all(&folder).unwrap();
    }
}
