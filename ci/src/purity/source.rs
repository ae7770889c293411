//! Finds in one Rust source what a pure crate must not name. Reads syntax only: a path that is built in another
//! way (a macro of another crate, a re-export) is not seen here, but such a crate would not be on the list.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Path, UseTree};

/// Paths that reach outside, each with all below it.
const OUTSIDE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Macros that write or look outside.
const MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

/// One place that is not pure.
#[derive(Debug)]
pub struct Impurity {
    /// Counted from 1.
    pub line: usize,
    /// One sentence.
    pub what: String,
}

/// All such places outside tests, in the order of the text.
///
/// # Errors
/// `text` is not Rust.
pub fn impurities(text: &str) -> syn::Result<Vec<Impurity>> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder::default();
    if !is_test(&file.attrs) {
        finder.visit_file(&file);
    }
    finder.found.sort_by_key(|found| found.line);
    Ok(finder.found)
}

#[derive(Default)]
struct Finder {
    found: Vec<Impurity>,
}

impl Finder {
    fn name(&mut self, path: &str, at: Span) {
        // `core` does no I/O: `core::net` has addresses and no sockets, `core::time` no clock.
        let hit = OUTSIDE
            .iter()
            .find(|outside| path == **outside || path.starts_with(&format!("{outside}::")));
        if let Some(outside) = hit {
            self.report(at, format!("names {outside}"));
        }
    }

    fn report(&mut self, at: Span, what: String) {
        self.found.push(Impurity {
            line: at.start().line,
            what,
        });
    }

    /// Takes an import apart into whole paths.
    fn import(&mut self, before: &str, tree: &UseTree) {
        let joined = |name: &str| {
            if before.is_empty() {
                name.to_owned()
            } else {
                format!("{before}::{name}")
            }
        };
        match tree {
            UseTree::Path(path) => self.import(&joined(&path.ident.to_string()), &path.tree),
            UseTree::Name(name) if name.ident == "self" => self.imported(before, name.ident.span()),
            UseTree::Name(name) => {
                self.imported(&joined(&name.ident.to_string()), name.ident.span())
            }
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.imported(before, rename.ident.span())
            }
            UseTree::Rename(rename) => {
                self.imported(&joined(&rename.ident.to_string()), rename.ident.span());
            }
            UseTree::Glob(glob) => self.imported(before, glob.star_token.spans[0]),
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.import(before, tree)),
        }
    }

    /// A module that holds something forbidden must not come in whole: what is used of it could not be seen.
    fn imported(&mut self, path: &str, at: Span) {
        if OUTSIDE
            .iter()
            .any(|outside| outside.starts_with(&format!("{path}::")))
        {
            self.report(
                at,
                format!("imports {path} as a whole: import what is used by name"),
            );
        } else {
            self.name(path, at);
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if let Some(first) = path.segments.first() {
            self.name(&names.join("::"), first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let Some(last) = call.path.segments.last() else {
            return;
        };
        let name = last.ident.to_string();
        if MACROS.contains(&name.as_str()) {
            self.report(last.ident.span(), format!("calls {name}!"));
        }
        // The arguments are tokens, not syntax: compared as text.
        let text: String = call.tokens.to_string().split_whitespace().collect();
        for outside in OUTSIDE.iter().filter(|outside| text.contains(**outside)) {
            self.report(last.ident.span(), format!("names {outside}"));
        }
        visit::visit_macro(self, call);
    }
}

/// Does `#[cfg(test)]` or `#[test]` stand above it?
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Path>()
                    .is_ok_and(|path| path.is_ident("test")))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, String)> {
        impurities(text)
            .unwrap()
            .into_iter()
            .map(|found| (found.line, found.what))
            .collect()
    }

    #[test]
    fn clocks_files_and_threads_are_found_however_they_are_named() {
        let text = "use std::{collections::BTreeMap, fs::File as F};\n\
                    use std::time::{Duration, Instant};\n\
                    fn f() -> u64 {\n    std::thread::yield_now();\n    assert!(std::env::var(\"A\").is_ok());\n    1\n}\n\
                    type T = Option<std::time::SystemTime>;\n\
                    use std::{process, net::*};\n";
        let found = lines(text);
        let expected = [
            (1, "names std::fs"),
            (2, "names std::time::Instant"),
            (4, "names std::thread"),
            (5, "names std::env"),
            (8, "names std::time::SystemTime"),
            (9, "names std::process"),
            (9, "names std::net"),
        ];
        assert_eq!(found, expected.map(|(line, what)| (line, what.to_owned())));
    }

    #[test]
    fn a_module_that_holds_a_clock_is_not_imported_whole() {
        for text in [
            "use std::time;",
            "use std::time::{self, Duration};",
            "use std::*;",
        ] {
            let found = lines(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].1.contains("as a whole"), "{text}: {found:?}");
        }
    }

    #[test]
    fn tests_comments_and_text_are_free() {
        let text = "//! No std::time::Instant here.\n\
                    use std::time::Duration;\n\
                    /// Not std::fs.\n\
                    pub const WHY: &str = \"std::net is for others\";\n\
                    #[cfg(test)]\nmod tests { use std::fs; fn f() { println!(\"x\"); } }\n";
        assert_eq!(lines(text), []);
    }

    #[test]
    fn printing_is_found() {
        assert_eq!(
            lines("fn f() { println!(\"x\"); }"),
            [(1, "calls println!".to_owned())]
        );
    }
}
