//! Changes values of pin.toml in place: comments, order and spacing stay. Knows no meaning of the values.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, TomlError};

use crate::toml_line;

/// `(section, key, value)`; the section may be dotted.
pub type Change<'a> = (&'a str, &'a str, String);

/// The text with the values changed.
///
/// # Errors
/// It is no TOML, or a key is not there: nothing is ever added.
pub fn changed(text: &str, changes: &[Change<'_>]) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().map_err(|error: TomlError| {
        toml_line::said("pin.toml", text, error.span(), error.message())
    })?;
    for (section, key, value) in changes {
        let mut table = document.as_table_mut();
        for part in section.split('.') {
            table = table
                .get_mut(part)
                .and_then(|item| item.as_table_mut())
                .with_context(|| format!("pin.toml has no section [{section}]"))?;
        }
        let Some(old) = table.get_mut(key).and_then(|item| item.as_value_mut()) else {
            bail!("pin.toml has no {key} in [{section}]");
        };
        let decor = old.decor().clone();
        *old = value.as_str().into();
        *old.decor_mut() = decor;
    }
    Ok(document.to_string())
}

/// Changes the file, whole or not at all.
///
/// # Errors
/// As [`changed`], or it cannot be written; then it is as it was.
pub fn in_place(path: &Path, changes: &[Change<'_>]) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let new = changed(&text, changes)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)
        .with_context(|| format!("write beside {}", path.display()))?;
    file.write_all(new.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .and_then(|()| fs::metadata(path))
        .and_then(|old| file.as_file().set_permissions(old.permissions()))
        .with_context(|| format!("write {}: it is as it was", path.display()))?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(|| format!("write {}: it is as it was", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# head\n[a]\n# why\ntag = \"one\"  # beside\n\n[b.c]\nname = \"\"\n";

    #[test]
    fn comments_and_spacing_stay() {
        let new = changed(
            TEXT,
            &[
                ("a", "tag", "two".to_owned()),
                ("b.c", "name", "x".to_owned()),
            ],
        )
        .unwrap();
        assert_eq!(
            new,
            TEXT.replace("\"one\"", "\"two\"").replace("\"\"", "\"x\"")
        );
    }

    #[test]
    fn what_is_no_toml_is_one_line() {
        let error = changed("# head\n[a\n", &[]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("pin.toml, line 2: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = changed(TEXT, &[("a", "tree", String::new())]).unwrap_err();
        assert_eq!(error.to_string(), "pin.toml has no tree in [a]");
        assert!(changed(TEXT, &[("d", "tree", String::new())]).is_err());
    }
}
