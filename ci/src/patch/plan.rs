//! From patches and a tree to the new text of every touched file, or to every reason why not. Writes nothing.
//!
//! Owns the verdict on a hook, which `apply` and `rebase` share: what one refuses, the other reports.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::manifest::{Action, Hook, Patch};
use super::rule::{self, Found, Place, Rule};
use super::tree::Tree;
use crate::hex::hex;

/// What became of a hook in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It matches where it should, as often as it should.
    Applied,
    /// It matches as often as it should, but in another function or file.
    Moved,
    /// File and scope are there, the rule does not match as often as it should.
    Changed,
    /// File or scope are not there.
    Gone,
    /// Upstream has what the hook brings.
    AlreadyUpstream,
}

/// The verdict on one hook, with what a reader needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Assessment {
    /// The patch's folder.
    pub patch: String,
    /// The hook, or the new file.
    pub hook: String,
    /// Where it looks.
    pub file: String,
    /// What was found.
    pub verdict: Verdict,
    /// Lines of the matches, or what was found instead.
    pub detail: String,
}

/// What will be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By path in the tree: the text as it will be.
    pub files: BTreeMap<String, String>,
    /// One verdict for each hook and new file.
    pub assessments: Vec<Assessment>,
}

impl Plan {
    /// Does everything apply?
    pub fn applies(&self) -> bool {
        self.refusals().next().is_none()
    }

    /// What does not apply.
    pub fn refusals(&self) -> impl Iterator<Item = &Assessment> {
        self.assessments
            .iter()
            .filter(|assessment| assessment.verdict != Verdict::Applied)
    }
}

/// Which parts of the patches are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Everything.
    All,
    /// Only what is marked as test: to see the tests fail without the change.
    TestsOnly,
}

/// Tells the same patches from others: 12 hex digits over all that is put into a tree.
pub fn fingerprint(patches: &[Patch], parts: Parts) -> String {
    let mut sum = Sha256::new();
    sum.update(format!("{parts:?}"));
    for patch in patches {
        sum.update(format!("{}\n{:?}\n", patch.folder, patch.manifest.hook));
        for (file, text) in patch.manifest.file.iter().zip(&patch.texts) {
            sum.update(format!("{}\n{}\n{text}", file.to, text.len()));
        }
    }
    hex(&sum.finalize()).chars().take(12).collect()
}

/// Works out all patches on the tree, one after the other. Goes on after a refusal, so that all are named at once.
///
/// # Errors
/// The tree cannot be read, a file of upstream's or the result is no Rust, or a rule is none.
pub fn plan(patches: &[Patch], tree: &Tree, parts: Parts) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let names: Vec<&str> = patches
        .iter()
        .map(|patch| patch.manifest.name.as_str())
        .collect();
    let marks = [
        ("@patches@", names.join(",")),
        ("@fingerprint@", fingerprint(patches, parts)),
    ];
    for patch in patches {
        for (file, text) in patch.manifest.file.iter().zip(&patch.texts) {
            if parts == Parts::TestsOnly && !file.test {
                continue;
            }
            let taken = plan.files.contains_key(&file.to) || tree.read(&file.to)?.is_some();
            let text = marks
                .iter()
                .fold(text.clone(), |text, (mark, with)| text.replace(mark, with));
            plan.assessments.push(Assessment {
                patch: patch.folder.clone(),
                hook: format!("new file {}", file.from),
                file: file.to.clone(),
                verdict: if taken {
                    Verdict::Changed
                } else {
                    Verdict::Applied
                },
                detail: if taken {
                    "the tree has a file of that name already: it was patched before, or upstream took the name"
                        .to_owned()
                } else {
                    String::new()
                },
            });
            if !taken {
                plan.files.insert(file.to.clone(), text);
            }
        }
        for hook in &patch.manifest.hook {
            if parts == Parts::TestsOnly && !hook.test {
                continue;
            }
            one_hook(patch, hook, tree, &mut plan)
                .with_context(|| format!("patch {}, hook {}", patch.folder, hook.id))?;
        }
    }
    if plan.applies() {
        for (path, text) in &plan.files {
            is_rust(path, text).with_context(|| {
                format!("{path} would no longer parse with the patches: nothing was written")
            })?;
        }
    }
    Ok(plan)
}

fn one_hook(patch: &Patch, hook: &Hook, tree: &Tree, plan: &mut Plan) -> anyhow::Result<()> {
    let text = match plan.files.get(&hook.file) {
        Some(text) => Some(text.clone()),
        None => {
            let text = tree.read(&hook.file)?;
            if let Some(text) = &text {
                is_rust(&hook.file, text).with_context(|| {
                    format!("upstream's {} does not parse: the tree is damaged, or uses newer Rust than this tool", hook.file)
                })?;
            }
            text
        }
    };
    let (verdict, detail, places) = assess(hook, text.as_deref(), tree)?;
    plan.assessments.push(Assessment {
        patch: patch.folder.clone(),
        hook: hook.id.clone(),
        file: hook.file.clone(),
        verdict,
        detail,
    });
    if let (Verdict::Applied, Some(text)) = (verdict, text) {
        let text = edited(&text, hook.action()?, &places)?;
        plan.files.insert(hook.file.clone(), text);
    }
    Ok(())
}

/// The verdict, what to tell about it, and the places when it applies.
fn assess(
    hook: &Hook,
    text: Option<&str>,
    tree: &Tree,
) -> anyhow::Result<(Verdict, String, Vec<Place>)> {
    let Some(pattern) = &hook.find else {
        return Ok(match text {
            Some(_) => (
                Verdict::Applied,
                "at the end of the file".to_owned(),
                vec![],
            ),
            None => (
                Verdict::Gone,
                "there is no such file in the tree".to_owned(),
                vec![],
            ),
        });
    };
    // Before the rule itself, which may match as ever: then what upstream does already would be done twice.
    if let Some(detail) = upstream_has(hook, tree)? {
        return Ok((Verdict::AlreadyUpstream, detail, vec![]));
    }
    let rule = Rule::new(pattern)?;
    let found = text.map(|text| rule.find(text, &hook.inside));
    if let Some(Found::Places(places)) = &found
        && places.len() == hook.places
    {
        let lines: Vec<String> = places.iter().map(|place| place.line.to_string()).collect();
        let detail = format!("line {}", lines.join(", "));
        return Ok((Verdict::Applied, detail, places.clone()));
    }
    let within = hook.inside.join(" › ");
    let within = if within.is_empty() {
        String::new()
    } else {
        format!(" in `{within}`")
    };
    let counted = match &found {
        Some(Found::Places(places)) if places.len() > 1 || hook.places > 1 => {
            let lines: Vec<String> = places.iter().map(|place| place.line.to_string()).collect();
            let at = if lines.is_empty() {
                String::new()
            } else {
                format!(" (line {})", lines.join(", "))
            };
            Some(format!(
                "`{pattern}` matches {} places{within}{at}, wanted {}",
                places.len(),
                hook.places
            ))
        }
        _ => None,
    };
    // More than wanted is ambiguous, not moved: there is nothing to look for elsewhere.
    if let (Some(Found::Places(places)), Some(counted)) = (&found, &counted)
        && !places.is_empty()
    {
        return Ok((Verdict::Changed, counted.clone(), vec![]));
    }
    if let Some(elsewhere) = elsewhere(hook, &rule, tree)? {
        let detail = format!("0 places{within}, but {} in {elsewhere}", hook.places);
        return Ok((Verdict::Moved, detail, vec![]));
    }
    let (verdict, what, near) = match (&found, text) {
        (None, _) | (_, None) => (
            Verdict::Gone,
            "there is no such file in the tree".to_owned(),
            vec![],
        ),
        (Some(Found::NoScope(missing)), Some(text)) => (
            Verdict::Gone,
            format!("there is no `{missing}`"),
            rule::scopes_like(text, missing),
        ),
        (Some(Found::Places(_)), Some(text)) => (
            Verdict::Changed,
            counted.unwrap_or_else(|| {
                format!(
                    "`{pattern}` matches 0 places{within}, wanted {}",
                    hook.places
                )
            }),
            rule.candidates(text, &hook.inside),
        ),
    };
    let near = if near.is_empty() {
        "nothing like it there".to_owned()
    } else {
        format!("nearest: {}", near.join("; "))
    };
    Ok((verdict, format!("{what}; {near}"), vec![]))
}

/// Where upstream has what the hook brings, if it has. Looked up in the tree as it lies there, for what earlier hooks put
/// in is not upstream's; neither is what this hook put there itself, in a tree that is patched and does not say so.
fn upstream_has(hook: &Hook, tree: &Tree) -> anyhow::Result<Option<String>> {
    let (Some(has), Some(text)) = (&hook.upstream_has, tree.read(&hook.file)?) else {
        return Ok(None);
    };
    let places = |pattern: &str| -> anyhow::Result<Vec<Place>> {
        Ok(match Rule::new(pattern)?.find(&text, &hook.inside) {
            Found::Places(places) => places,
            Found::NoScope(_) => vec![],
        })
    };
    let ours = match hook.action()? {
        Action::Before(own) | Action::After(own) | Action::Replace(own) => {
            // What is no pattern, several statements for example, cannot be told from upstream's.
            places(own.trim_end()).unwrap_or_default()
        }
        Action::Remove | Action::Append(_) => vec![],
    };
    let theirs = places(has)?.into_iter().find(|place| {
        !ours.iter().any(|own| {
            own.matched.start <= place.matched.start && place.matched.end <= own.matched.end
        })
    });
    Ok(theirs.map(|place| format!("line {}: upstream has `{has}`", place.line)))
}

/// Another function in the file, or the same scope in another file, that holds exactly the wanted number of places.
fn elsewhere(hook: &Hook, rule: &Rule, tree: &Tree) -> anyhow::Result<Option<String>> {
    let word = rule.fixed_word();
    let mut found = Vec::new();
    for path in tree.rust_files()? {
        let same_file = path == hook.file;
        if hook.inside.is_empty() && same_file {
            continue;
        }
        let Some(text) = tree.read(&path)? else {
            continue;
        };
        if !text.contains(&word) {
            continue;
        }
        // In another file only a function or type of the same name is the same thing.
        let inside = match hook.inside.as_slice() {
            _ if same_file => &[],
            [.., last] => std::slice::from_ref(last),
            [] => &[],
        };
        if let Found::Places(places) = rule.find(&text, inside)
            && places.len() == hook.places
            && let Some(first) = places.first()
        {
            let function = first
                .function
                .as_ref()
                .map(|function| format!(", {function}"))
                .unwrap_or_default();
            found.push(format!("{path}, line {}{function}", first.line));
        }
    }
    Ok(match found.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    })
}

/// The text with the hook's change at each place. From the end, so that earlier places stay where they are.
fn edited(text: &str, action: Action<'_>, places: &[Place]) -> anyhow::Result<String> {
    let mut text = text.to_owned();
    if let Action::Append(item) = action {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("\n{}\n", item.trim_end()));
        return Ok(text);
    }
    for place in places.iter().rev() {
        let (range, new) = match action {
            Action::Before(statement) => {
                let at = place.statement.start;
                let indent = indent(&text, at);
                (
                    at..at,
                    format!("{}\n{indent}", inserted(statement, place, &indent)),
                )
            }
            Action::After(statement) => {
                let at = place.statement.end;
                let indent = indent(&text, place.statement.start);
                (
                    at..at,
                    format!("\n{indent}{}", inserted(statement, place, &indent)),
                )
            }
            Action::Replace(with) => (place.matched.clone(), filled(with, place)),
            Action::Remove => (place.statement.clone(), String::new()),
            Action::Append(_) => continue,
        };
        anyhow::ensure!(
            text.is_char_boundary(range.start) && text.is_char_boundary(range.end),
            "a place lies inside a character: this is an error of the tool"
        );
        text.replace_range(range, &new);
    }
    Ok(text)
}

fn inserted(statement: &str, place: &Place, indent: &str) -> String {
    filled(statement.trim_end(), place).replace('\n', &format!("\n{indent}"))
}

fn filled(text: &str, place: &Place) -> String {
    place
        .caught
        .iter()
        .fold(text.to_owned(), |text, (name, with)| {
            text.replace(name, with)
        })
}

/// The white space in front of the line that `at` is in.
fn indent(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.chars().take_while(|c| c.is_whitespace()).collect()
}

/// Tree-sitter repairs what it cannot read; this is the strict reader.
fn is_rust(path: &str, text: &str) -> anyhow::Result<()> {
    if !path.ends_with(".rs") {
        return Ok(());
    }
    syn::parse_file(text).map(drop).map_err(|error| {
        let at = error.span().start();
        anyhow::anyhow!("{path}:{}:{}: {error}", at.line, at.column + 1)
    })
}
