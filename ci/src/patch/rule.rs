//! Where a hook's rule matches in one file, and what comes closest when it does not. Pure: text in, places out.

use std::ops::Range;

use anyhow::anyhow;
use ast_grep_core::matcher::MatcherExt as _;
use ast_grep_core::tree_sitter::{LanguageExt as _, StrDoc};
use ast_grep_core::{AstGrep, Matcher as _, Node, NodeMatch, Pattern};
use ast_grep_language::SupportLang;

const RUST: SupportLang = SupportLang::Rust;

type Doc = StrDoc<SupportLang>;

/// How many near misses are named.
const CANDIDATES: usize = 3;

/// A pattern, parsed.
pub struct Rule {
    pattern: Pattern,
    text: String,
}

/// A place where a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// The match itself.
    pub matched: Range<usize>,
    /// The statement, item or attribute that holds it, with the attributes before it.
    pub statement: Range<usize>,
    /// What the pattern's variables caught.
    pub caught: Vec<(String, String)>,
    /// The innermost function around it.
    pub function: Option<String>,
}

/// What a file says to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The scope is there; these are the matches, perhaps none.
    Places(Vec<Place>),
    /// The scope itself is not there: the part that is missing.
    NoScope(String),
}

impl Rule {
    /// Parses a pattern.
    ///
    /// # Errors
    /// It is not Rust with variables.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        // An attribute or a field of a struct cannot stand alone for the parser: it is given a context.
        let pattern = if text.trim_start().starts_with("#[") {
            Pattern::contextual(&format!("{text}\nstruct X;"), "attribute_item", RUST)
        } else {
            Pattern::try_new(text, RUST)
        }
        .map_err(|error| anyhow!("pattern {text:?} does not parse: {error}"))?;
        if pattern.has_error() {
            return Err(anyhow!("pattern {text:?} does not parse as Rust"));
        }
        Ok(Self {
            pattern,
            text: text.to_owned(),
        })
    }

    /// A word that every match holds, to look for before parsing.
    pub fn fixed_word(&self) -> String {
        self.pattern.fixed_string().into_owned()
    }

    /// The matches in `source` within `inside`.
    pub fn find(&self, source: &str, inside: &[String]) -> Found {
        let parsed = RUST.ast_grep(source);
        match scopes(&parsed, inside) {
            Err(missing) => Found::NoScope(missing),
            Ok(scopes) => Found::Places(
                scopes
                    .iter()
                    .flat_map(|scope| scope.dfs())
                    .filter_map(|node| self.pattern.match_node(node))
                    .map(|found| place(&found))
                    .collect(),
            ),
        }
    }

    /// What in the scope, or else in the file, resembles the pattern most; as `line N: text`.
    pub fn candidates(&self, source: &str, inside: &[String]) -> Vec<String> {
        let parsed = RUST.ast_grep(source);
        let within = scopes(&parsed, inside).unwrap_or_else(|_| vec![parsed.root()]);
        let kinds = self.pattern.potential_kinds();
        let near = within
            .iter()
            .flat_map(|scope| scope.dfs())
            .filter(|node| {
                kinds
                    .as_ref()
                    .is_none_or(|kinds| kinds.contains(node.kind_id().into()))
            })
            .map(|node| {
                let text = one_line(&node.text());
                let alike = strsim::normalized_damerau_levenshtein(&self.text, &text);
                (alike, node.start_pos().line() + 1, text)
            })
            .collect();
        closest(near, 0.3)
    }
}

/// The first line, from 1, within `inside` that holds `wanted` as it stands and not as a part of a longer name; or the part of `inside` that is missing.
///
/// # Errors
/// The scope is not there.
pub fn line_with(source: &str, inside: &[String], wanted: &str) -> Result<Option<usize>, String> {
    let parsed = RUST.ast_grep(source);
    let found = scopes(&parsed, inside)?.iter().find_map(|scope| {
        // A scope ends at its last token, a file's text is whole.
        let range = if inside.is_empty() {
            0..source.len()
        } else {
            scope.range()
        };
        let at = range.start + whole(source.get(range.clone())?, wanted)?;
        Some(source.get(..at)?.matches('\n').count() + 1)
    });
    Ok(found)
}

/// Where `wanted` stands in `text` without a longer name around it: `Recovery,` is not in `ManualRecovery,`.
fn whole(text: &str, wanted: &str) -> Option<usize> {
    let named = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (wanted.chars().next(), wanted.chars().next_back());
    text.match_indices(wanted).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).unwrap_or_default().chars().next_back();
        let after = text.get(at + wanted.len()..).unwrap_or_default();
        !(named(first) && named(before) || named(last) && named(after.chars().next()))
    })
}

/// Names of functions and impls in the file that resemble a scope which is missing.
pub fn scopes_like(source: &str, missing: &str) -> Vec<String> {
    let parsed = RUST.ast_grep(source);
    let near = parsed
        .root()
        .dfs()
        .filter_map(|node| Some((scope_name(&node)?, node.start_pos().line() + 1)))
        .map(|(name, line)| {
            let alike = strsim::normalized_damerau_levenshtein(missing, &name);
            (alike, line, name)
        })
        .collect();
    closest(near, 0.5)
}

/// The few that resemble most what was looked for, and more than `least` (0 to 1), as `line N: text`. `near` has
/// the resemblance, the line and the text of each.
fn closest(mut near: Vec<(f64, usize, String)>, least: f64) -> Vec<String> {
    near.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    near.into_iter()
        .take(CANDIDATES)
        .filter(|(alike, ..)| *alike > least)
        .map(|(_, line, text)| format!("line {line}: {text}"))
        .collect()
}

/// The nodes that `inside` leads to, or the part of it that is not there.
fn scopes<'a>(parsed: &'a AstGrep<Doc>, inside: &[String]) -> Result<Vec<Node<'a, Doc>>, String> {
    let mut at = vec![parsed.root()];
    for wanted in inside {
        let next: Vec<_> = at
            .iter()
            .flat_map(|node| node.dfs())
            .filter(|node| scope_name(node).as_deref() == Some(wanted))
            .collect();
        if next.is_empty() {
            return Err(wanted.clone());
        }
        at = next;
    }
    Ok(at)
}

/// How a hook names this node as a scope, if it can be one. Generics are left out.
fn scope_name(node: &Node<'_, Doc>) -> Option<String> {
    let named = |word: &str| Some(format!("{word} {}", node.field("name")?.text()));
    match &*node.kind() {
        "function_item" => named("fn"),
        "struct_item" => named("struct"),
        "enum_item" => named("enum"),
        "mod_item" => named("mod"),
        "impl_item" => {
            let of = bare(&node.field("type")?);
            Some(match node.field("trait") {
                Some(implemented) => format!("impl {} for {of}", bare(&implemented)),
                None => format!("impl {of}"),
            })
        }
        _ => None,
    }
}

fn bare(node: &Node<'_, Doc>) -> String {
    let text = node.text();
    text.split('<').next().unwrap_or_default().to_owned()
}

fn place(found: &NodeMatch<'_, Doc>) -> Place {
    let node = found.get_node();
    Place {
        line: node.start_pos().line() + 1,
        matched: node.range(),
        statement: statement(node),
        caught: caught(found),
        function: node
            .ancestors()
            .find(|around| &*around.kind() == "function_item")
            .and_then(|around| scope_name(&around)),
    }
}

/// The nearest node around the match that stands in a block, a body or a file by itself. Attributes in front belong to it.
fn statement(node: &Node<'_, Doc>) -> Range<usize> {
    let mut at = node.clone();
    while let Some(parent) = at.parent() {
        if matches!(
            &*parent.kind(),
            "block" | "declaration_list" | "source_file"
        ) {
            break;
        }
        at = parent;
    }
    let end = at.range().end;
    while let Some(before) = at.prev() {
        if &*before.kind() != "attribute_item" {
            break;
        }
        at = before;
    }
    at.range().start..end
}

fn caught(found: &NodeMatch<'_, Doc>) -> Vec<(String, String)> {
    use ast_grep_core::meta_var::MetaVariable;
    let env = found.get_env();
    let whole = found.root().root();
    let mut caught: Vec<(String, String)> = env
        .get_matched_variables()
        .filter_map(|variable| match variable {
            MetaVariable::Capture(name, _) => {
                let text = env.get_match(&name)?.text().into_owned();
                Some((format!("${name}"), text))
            }
            MetaVariable::MultiCapture(name) => {
                let nodes = env.get_multiple_matches(&name);
                let text = match (nodes.first(), nodes.last()) {
                    (Some(first), Some(last)) => whole
                        .text()
                        .get(first.range().start..last.range().end)?
                        .to_owned(),
                    _ => String::new(),
                };
                Some((format!("$$${name}"), text))
            }
            MetaVariable::Dropped(_) | MetaVariable::Multiple => None,
        })
        .collect();
    // Long names first, so that $AB is not taken for $A and a B.
    caught.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    caught
}

fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(100) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
struct Args;
impl Store {
    fn save(&self) {
        #[cfg(unix)]
        let a = write(1, two(3))?;
        write(9, 9);
    }
}
impl Save for Store<u8> {
    fn save(&self) { write(4, 5); }
}
#[command(version, about)]
struct Cli;
";

    fn places(pattern: &str, inside: &[&str]) -> Vec<(usize, String)> {
        let inside: Vec<String> = inside.iter().map(ToString::to_string).collect();
        match Rule::new(pattern).unwrap().find(SOURCE, &inside) {
            Found::Places(places) => places
                .iter()
                .map(|place| (place.line, SOURCE[place.statement.clone()].to_owned()))
                .collect(),
            Found::NoScope(missing) => panic!("no {missing}"),
        }
    }

    #[test]
    fn a_scope_narrows_and_a_statement_takes_its_attributes() {
        assert_eq!(places("write($$$)", &[]).len(), 3);
        assert_eq!(places("write($$$)", &["impl Store"]).len(), 2);
        assert_eq!(
            places("write(1, $B)", &["impl Store", "fn save"]),
            [(
                5,
                "#[cfg(unix)]\n        let a = write(1, two(3))?;".to_owned()
            )]
        );
        assert_eq!(
            places("write($$$)", &["impl Save for Store"]),
            [(10, "write(4, 5);".to_owned())]
        );
    }

    #[test]
    fn an_attribute_can_be_found() {
        let found = Rule::new("#[command(version, about)]")
            .unwrap()
            .find(SOURCE, &[]);
        let Found::Places(places) = found else {
            panic!("{found:?}")
        };
        assert_eq!(places.len(), 1);
        assert_eq!(
            &SOURCE[places[0].matched.clone()],
            "#[command(version, about)]"
        );
    }

    #[test]
    fn what_is_missing_and_what_is_near_are_named() {
        let rule = Rule::new("wrote(4, 5)").unwrap();
        assert_eq!(
            rule.find(SOURCE, &["fn load".to_owned()]),
            Found::NoScope("fn load".to_owned())
        );
        assert_eq!(rule.candidates(SOURCE, &[])[0], "line 10: write(4, 5)");
        assert_eq!(scopes_like(SOURCE, "fn safe")[0], "line 3: fn save");
    }

    #[test]
    fn a_part_of_a_longer_name_is_not_that_name() {
        let line = |wanted: &str| {
            let source = "ManualRecovery,\nPartialSnapshot,\nPartial,\n#[get(\"/a\")]\n";
            line_with(source, &[], wanted).unwrap()
        };
        assert_eq!(line("Recovery,"), None);
        assert_eq!(line("Partial"), Some(3));
        assert_eq!(line("ManualRecovery"), Some(1));
        // What ends in no name is found wherever it stands.
        assert_eq!(line("get(\"/a\""), Some(4));
    }

    #[test]
    fn variables_are_caught_by_name() {
        let rule = Rule::new("write($A, $$$REST)").unwrap();
        let Found::Places(places) = rule.find(SOURCE, &["impl Save for Store".to_owned()]) else {
            panic!("no scope")
        };
        assert_eq!(
            places[0].caught,
            [
                ("$$$REST".to_owned(), "5".to_owned()),
                ("$A".to_owned(), "4".to_owned())
            ]
        );
    }
}
