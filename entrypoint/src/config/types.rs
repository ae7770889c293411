//! The types of configuration values that the standard library does not have. Owns what a valid value
//! of each is; how they are read from text is in `parse`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use planner::keep::clock::Interval;

use crate::store::Prefix;

/// A credential. Never printed: `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this credential, in a time that depends on the lengths only, so that an
    /// answer does not tell how many leading characters were right.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own
            .iter()
            .zip(candidate)
            .fold(0_u8, |differing, (a, b)| differing | (a ^ b));
        own.len() == candidate.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A name that is safe as a file name and in a log line: 1 to 255 of `A-Z a-z 0-9 . _ -`, beginning
/// with a letter or digit. ECS service names and task ids have this form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The form in words, for messages.
    pub(crate) const FORM: &'static str =
        "a name of 1 to 255 letters, digits, '.', '_' or '-' that begins with a letter or digit";

    /// `text` as a name, or `None` when it does not have the form.
    pub fn new(text: &str) -> Option<Self> {
        let first = text.bytes().next()?;
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (first.is_ascii_alphanumeric() && text.len() <= 255 && text.bytes().all(good))
            .then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One word: 1 to 1024 visible ASCII characters. Wide enough for an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// `text` as a word, or `None` when it does not have the form.
    pub fn new(text: &str) -> Option<Self> {
        ((1..=1024).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()))
            .then(|| Self(text.to_owned()))
    }

    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A DNS name: labels of 1 to 63 letters, digits, `-` or `_`, at most 253 characters; a dot at the end
/// is allowed. An IP address is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName(String);

impl DnsName {
    /// `text` as a DNS name, or what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err("an address, not a name".to_owned());
        }
        let labels = text.strip_suffix('.').unwrap_or(text);
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if labels.len() > 253 {
            return Err("longer than the 253 characters that DNS allows".to_owned());
        }
        for label in labels.split('.') {
            if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
                return Err("not a DNS name".to_owned());
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory, usually on EFS; the path is absolute and holds no `..`.
    Directory(PathBuf),
    /// A prefix of an S3 bucket.
    Bucket {
        /// The bucket's name.
        name: String,
        /// The folder in it, or its root.
        prefix: Prefix,
    },
}

impl StoreUrl {
    /// The directory of the store, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Bucket { .. } => None,
        }
    }
}

/// How often sets of snapshots are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sets {
    /// None by the clock.
    Off,
    /// One in each slot of this length.
    Every(Interval),
}

/// How often sets are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Never by schedule.
    Off,
    /// So long after one proof the next may begin.
    Every(std::time::Duration),
}

/// Which DNS records list the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsType {
    /// A or AAAA records: addresses; the port is Qdrant's p2p port.
    A,
    /// SRV records: names with ports.
    Srv,
}

/// What to do with a store that another deployment stack of the same service has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptStore {
    /// Take it over and begin anew.
    Fresh,
}

/// What the steward does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// It plans and acts.
    Act,
    /// It plans and says what it would do.
    DryRun,
}

/// What the survivors of a lost majority do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requorum {
    /// They go on as a new generation with their data.
    Auto,
    /// They wait for a person.
    Wait,
}

/// What a new cluster does with the snapshot sets of one that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restore {
    /// It begins with what they hold.
    Auto,
    /// Nobody founds; a person is called.
    Wait,
}

/// How many copies every shard should have, however its collection was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Collections keep the factor that they were created with.
    Off,
    /// Collections with a lower factor are raised to this one.
    Wanted(u32),
}

impl Copies {
    /// What new collections get where nobody has said anything.
    pub(super) const USUAL: u32 = 3;
    /// The value when nobody has said anything.
    pub(super) const DEFAULT: Self = Self::Wanted(Self::USUAL);

    /// The factor below which collections are raised.
    pub fn wanted(self) -> Option<u32> {
        match self {
            Self::Off => None,
            Self::Wanted(factor) => Some(factor),
        }
    }
}

/// Whether something is done where the environment allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto {
    /// Where the environment allows it.
    Auto,
    /// Never.
    Off,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least important lines that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what a person must look at.
    Error,
    /// And what may become that.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// And everything.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_hides_itself_and_compares_whole() {
        let secret = Secret::new("wordfish");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        assert!(secret.matches(b"wordfish"));
        for wrong in ["", "wordfis", "wordfishy", "wordfisH"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_safe_as_a_file_name() {
        for good in ["a", "0123abcd", "qdrant-search_2.b", &"x".repeat(255)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a b",
            "a\n",
            "é",
            &"x".repeat(256),
        ] {
            assert!(Name::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn dns_names() {
        for good in [
            "qdrant.internal",
            "qdrant.internal.",
            "_p2p._tcp.qdrant",
            "qdrant",
        ] {
            assert!(DnsName::new(good).is_ok(), "{good}");
        }
        let long = vec!["a".repeat(63); 4].join(".");
        for bad in [
            "",
            ".",
            "a..b",
            "10.0.0.1",
            "::1",
            "a b",
            "a/b",
            "a:6335",
            &"x".repeat(64),
            &long,
        ] {
            assert!(DnsName::new(bad).is_err(), "{bad:?}");
        }
    }
}
