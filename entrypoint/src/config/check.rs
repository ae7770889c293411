//! What `check-config` prints. Owns the layout; secrets are hidden before they get here.

use std::fmt::Write;

use super::{Config, Source, vars::ALL};

/// The configuration in effect as lines of text: each variable, its value and where it comes from;
/// then what is set for Qdrant, then the warnings.
pub fn render_check(config: &Config) -> String {
    let width = ALL
        .iter()
        .map(|var| var.name().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    // Writing to a String cannot fail; the results are of no use.
    for effective in &config.effective {
        let derived = || {
            ALL.iter()
                .find(|var| var.name() == effective.name)?
                .derived()
        };
        let (value, source) = match (&effective.value, effective.source) {
            (Some(value), Source::Set) => (value.clone(), "set".to_owned()),
            (Some(value), Source::Default) => (value.clone(), "default".to_owned()),
            (None, _) => match derived() {
                Some(how) => ("-".to_owned(), format!("default: {how}")),
                None => ("-".to_owned(), "not set".to_owned()),
            },
        };
        let _ = writeln!(text, "{:width$}  {value}  ({source})", effective.name);
    }
    for (name, value) in config.qdrant_env_overrides() {
        let _ = writeln!(text, "for Qdrant: {name}={value}");
    }
    for warning in &config.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}
