//! Names in the store. Owns the rule what a name may look like, so that no record, however it was
//! read or built, can point outside the store; does no I/O.

use std::fmt;
use std::str::FromStr;

/// Longest whole key in bytes.
const MAX_KEY: usize = 512;
/// Longest segment in bytes; EFS allows 255 and temporary names must fit as well.
const MAX_SEGMENT: usize = 128;
/// Most segments; bounds the depth of a walk.
pub(super) const MAX_DEPTH: usize = 8;

/// A relative name such as `generations/000001/claim.json`: 1 to 8 segments divided by `/`, each
/// of 1 to 128 characters `A-Z a-z 0-9 . _ -`, none beginning with a dot (those names are the
/// store's own temporary files), 512 bytes in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// The folder part of keys: `generations`, or the root that holds everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

/// A text that is no [`Key`] or [`Prefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store key {shown:?} {why}; use up to 8 names of A-Z a-z 0-9 . _ - divided by /")]
pub struct BadKey {
    /// The offending text, cut to a length that fits a log line.
    pub shown: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Key {
    /// Checks `text` and takes it as a key.
    ///
    /// # Errors
    /// [`BadKey`] names the first rule that it breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadKey> {
        let text = text.as_ref();
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.split().1
    }

    /// Everything before the last segment.
    #[must_use]
    pub fn parent(&self) -> Prefix {
        Prefix(self.split().0.to_owned())
    }

    fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl Prefix {
    /// The prefix of all keys.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Checks `text` (no slash at its end) and takes it as a prefix.
    ///
    /// # Errors
    /// [`BadKey`] names the first rule that it breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadKey> {
        Key::new(text).map(|key| Self(key.0))
    }

    /// The key `rest` below this prefix.
    ///
    /// # Errors
    /// [`BadKey`] when the whole is no key.
    pub fn join(&self, rest: &str) -> Result<Key, BadKey> {
        if self.0.is_empty() {
            return Key::new(rest);
        }
        Key::new(format!("{}/{rest}", self.0))
    }

    /// The prefix as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, none for the root.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::new(text)
    }
}

/// Whether one directory entry may be a segment of a key; others in the directory are foreign.
pub(super) fn is_segment(name: &str) -> bool {
    segment_fault(name).is_none()
}

fn check(text: &str) -> Result<(), BadKey> {
    let fault = if text.is_empty() {
        Some("is empty")
    } else if text.len() > MAX_KEY {
        Some("is longer than 512 bytes")
    } else if text.starts_with('/') {
        Some("is absolute")
    } else if text.split('/').count() > MAX_DEPTH {
        Some("has more than 8 segments")
    } else {
        text.split('/').find_map(segment_fault)
    };
    match fault {
        None => Ok(()),
        Some(why) => Err(BadKey {
            shown: text.chars().take(80).collect(),
            why,
        }),
    }
}

fn segment_fault(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        Some("has an empty segment")
    } else if segment.starts_with('.') {
        Some("has a segment that begins with a dot")
    } else if segment.len() > MAX_SEGMENT {
        Some("has a segment longer than 128 bytes")
    } else if !segment
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    {
        Some("has a character that is not allowed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn refuses_each_bad_form_by_name() {
        for (text, why) in [
            ("", "is empty"),
            ("/etc/passwd", "is absolute"),
            ("a//b", "has an empty segment"),
            ("a/", "has an empty segment"),
            ("..", "has a segment that begins with a dot"),
            ("a/../b", "has a segment that begins with a dot"),
            ("a/.b", "has a segment that begins with a dot"),
            ("a b", "has a character that is not allowed"),
            ("a\0", "has a character that is not allowed"),
            ("a\\b", "has a character that is not allowed"),
            ("ä", "has a character that is not allowed"),
            ("1/2/3/4/5/6/7/8/9", "has more than 8 segments"),
        ] {
            assert_eq!(Key::new(text).unwrap_err().why, why, "{text:?}");
        }
        assert_eq!(
            Key::new("a".repeat(129)).unwrap_err().why,
            "has a segment longer than 128 bytes"
        );
        let long = vec!["a".repeat(128); 5].join("/");
        let refused = Key::new(&long).unwrap_err();
        assert_eq!(refused.why, "is longer than 512 bytes");
        assert_eq!(refused.shown.len(), 80);
    }

    #[test]
    fn takes_keys_apart_and_together() {
        let key = Key::new("generations/000001/claim.json").unwrap();
        assert_eq!(key.name(), "claim.json");
        assert_eq!(key.parent(), Prefix::new("generations/000001").unwrap());
        assert_eq!(key.parent().join("claim.json").unwrap(), key);
        let top: Key = "identity.json".parse().unwrap();
        assert_eq!(top.parent(), Prefix::root());
        assert_eq!(Prefix::root().segments().count(), 0);
        assert_eq!(Prefix::root().join("identity.json").unwrap(), top);
        assert!(key.parent().join("../x").is_err());
    }

    proptest! {
        /// Whatever is accepted names something strictly inside the directory it is joined to.
        #[test]
        fn accepted_keys_stay_inside(text in "\\PC{0,40}|[a.\\-_/ ]{0,12}|([a-z0-9._-]{1,12}/){0,9}[A-Z]") {
            if let Ok(key) = Key::new(&text) {
                let parts: Vec<_> = Path::new(key.as_str()).components().collect();
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(Path::new("/root").join(key.as_str()), Path::new("/root").join(&text));
                prop_assert_eq!(key.parent().join(key.name()), Ok(key.clone()));
                prop_assert!(text.split('/').all(is_segment));
            }
        }

        /// Every well-formed name is accepted.
        #[test]
        fn well_formed_keys_are_accepted(
            parts in prop::collection::vec("[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}", 1..=8)
        ) {
            let text = parts.join("/");
            prop_assert_eq!(Key::new(&text).map(|key| key.as_str().to_owned()), Ok(text));
        }
    }
}
