//! Reads TOML and says in one line where it is wrong: the parser's own error is a drawing of several.

use std::ops::Range;

use anyhow::anyhow;
use serde::de::DeserializeOwned;

use crate::run;

/// Reads a whole document; `file` is how it is called in an error.
///
/// # Errors
/// It is no TOML, or not of this form: `FILE, line N: what is wrong`.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> anyhow::Result<T> {
    toml::from_str(text).map_err(|error| said(file, text, error.span(), error.message()))
}

/// An error of a parser as one line.
pub fn said(file: &str, text: &str, span: Option<Range<usize>>, message: &str) -> anyhow::Error {
    let message = run::one_line(message.as_bytes());
    match span.and_then(|span| text.get(..span.start)) {
        Some(before) => anyhow!(
            "{file}, line {}: {message}",
            before.matches('\n').count() + 1
        ),
        None => anyhow!("{file}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        #[allow(dead_code, reason = "read only")]
        one: u8,
    }

    #[test]
    fn an_error_is_one_line_with_the_place() {
        for (text, line, what) in [
            ("one = 1\n\ntwo = 2\n", ", line 3: ", "`two`"),
            ("# head\none = \"x\"\n", ", line 2: ", "expected u8"),
            ("one = 1\none\n", ", line 2: ", "="),
            ("one = 1\none = 1\n", ", line 2: ", "duplicate key"),
            ("", "", "missing field `one`"),
        ] {
            let error = format!("{:#}", read::<Small>("a.toml", text).unwrap_err());
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(
                error.starts_with(&format!("a.toml{line}")) && error.contains(what),
                "{error}"
            );
        }
    }
}
