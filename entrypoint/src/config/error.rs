//! What is wrong with a configuration, as one line a person can act on. Owns the wording and the
//! escaping; must never hold the value of a secret.

use std::fmt;

/// Longest part of a name or value that an error line repeats, in characters.
const SHOWN: usize = 120;

/// One mistake in the environment: which variable, its value, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An `ENTRYPOINT_…` variable that does not exist, or a variable of Qdrant in mixed case.
    #[error("{variable}: no such variable; did you mean {nearest}? Correct the name or remove it")]
    Unknown {
        /// The name as it was given.
        variable: Printable,
        /// The known name that is spelt most like it.
        nearest: &'static str,
    },
    /// The value is not UTF-8 text.
    #[error("{variable}: the value is not UTF-8 text; give it as plain text")]
    NotText {
        /// The name of the variable.
        variable: Printable,
    },
    /// The value cannot be read, or contradicts another one.
    #[error("{variable}={value}: {problem}; {advice}")]
    Invalid {
        /// The name of the variable.
        variable: &'static str,
        /// The value as it was given or as it follows from others; never a secret.
        value: Printable,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        advice: String,
    },
    /// A variable without a default that is needed.
    #[error("{variable} is not set: {problem}; {advice}")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
        /// Why it is needed.
        problem: String,
        /// What to do about it.
        advice: String,
    },
}

impl ConfigError {
    /// The name of the variable that is to be changed.
    pub fn variable(&self) -> &str {
        match self {
            Self::Unknown { variable, .. } | Self::NotText { variable } => variable.as_str(),
            Self::Invalid { variable, .. } | Self::Missing { variable, .. } => variable,
        }
    }
}

/// Text from outside, made safe for one line of a log: control characters escaped, length bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printable(String);

impl Printable {
    /// Escapes and bounds `text`.
    pub(crate) fn new(text: &str) -> Self {
        let mut shown: String = text.chars().take(SHOWN).flat_map(escape).collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    /// The same in quotation marks, for values.
    pub(super) fn quoted(text: &str) -> Self {
        Self(format!("\"{}\"", Self::new(text).0))
    }

    /// What stands in for the value of a secret.
    pub(super) fn hidden() -> Self {
        Self("(hidden)".to_owned())
    }

    /// The text that may be printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Quotation marks and ordinary letters stay readable; whatever could break or forge a line does not.
fn escape(c: char) -> Vec<char> {
    // U+2028 and U+2029 break lines in some viewers although they are not control characters.
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_break_the_line() {
        assert_eq!(
            Printable::new("a\nb\u{1b}[31m\u{2028}").as_str(),
            "a\\nb\\u{1b}[31m\\u{2028}"
        );
        let long = Printable::new(&"x".repeat(10_000));
        assert_eq!(long.as_str().chars().count(), SHOWN + 1);
        assert!(long.as_str().ends_with('…'));
    }
}
