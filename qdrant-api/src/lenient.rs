//! Reading values whose set grows with Qdrant: owns how an unknown one is kept as text.

use serde_json::Value;

/// Longest text kept of something unknown, in characters.
const KEPT: usize = 300;

/// The text of a value that no variant stands for: a string as it is, anything else as JSON.
pub(crate) fn unknown(value: &Value) -> String {
    match value {
        Value::String(text) => shorten(text),
        other => shorten(&other.to_string()),
    }
}

/// At most the first 300 characters, with a mark when something was cut.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(KEPT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        let cut = shorten(&"ü".repeat(5000));
        assert_eq!(cut.chars().count(), KEPT + 1);
        assert!(cut.ends_with("ü…"), "{cut}");
    }
}
