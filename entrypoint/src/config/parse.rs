//! How each type of value is read from text and written back. Owns the forms; knows no variable.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use planner::keep::clock::Interval;

use super::types::{
    AdoptStore, Auto, Copies, DnsName, DnsType, Heal, LogFormat, LogLevel, Name, Proof, Requorum,
    Restore, Secret, Sets, StoreUrl, Word,
};
use crate::store::Prefix;

/// Longest duration that is accepted. Longer ones are mistakes, and would overflow when added to
/// a point in time.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A type that a variable can have. `parse` and `show` are inverse to each other.
pub(super) trait Value: Sized {
    /// The kind of value in a word or two, for tables.
    const KIND: &'static str;
    /// What to write, in words that follow "give".
    const FORM: &'static str;
    /// Whether values are never printed.
    const SECRET: bool = false;

    /// Reads the value, or says what is wrong with it (without repeating it).
    fn parse(text: &str) -> Result<Self, String>;

    /// The text that `parse` would read back; `None` for a value that is not set.
    fn show(&self) -> Option<String>;
}

impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const FORM: &'static str = T::FORM;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl Value for u32 {
    const KIND: &'static str = "number";
    const FORM: &'static str = "a whole number from 1";

    fn parse(text: &str) -> Result<Self, String> {
        match digits(text)?.parse() {
            Ok(0) => Err("must be at least 1".to_owned()),
            Ok(number) => Ok(number),
            Err(_) => Err("too large".to_owned()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Copies {
    const KIND: &'static str = "number or `off`";
    const FORM: &'static str = "a whole number from 1, or off";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            number => u32::parse(number).map(Self::Wanted),
        }
    }

    fn show(&self) -> Option<String> {
        match self {
            Self::Off => Some("off".to_owned()),
            Self::Wanted(factor) => factor.show(),
        }
    }
}

impl Value for Sets {
    const KIND: &'static str = "duration or `off`";
    const FORM: &'static str = "whole seconds that divide a day, such as 15m or 1h, or off";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let interval = Interval::new(Duration::parse(text)?);
        interval.map(Self::Every).map_err(|why| why.to_string())
    }

    fn show(&self) -> Option<String> {
        match self {
            Self::Off => Some("off".to_owned()),
            Self::Every(interval) => interval.length().show(),
        }
    }
}

impl Value for Proof {
    const KIND: &'static str = "pause or `off`";
    const FORM: &'static str = "a duration from 1s, such as 1m, or off";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => match Duration::parse(text)? {
                pause if pause < Duration::from_secs(1) => Err("shorter than 1s".to_owned()),
                pause => Ok(Self::Every(pause)),
            },
        }
    }

    fn show(&self) -> Option<String> {
        match self {
            Self::Off => Some("off".to_owned()),
            Self::Every(pause) => pause.show(),
        }
    }
}

impl Value for u16 {
    const KIND: &'static str = "port";
    const FORM: &'static str = "a port from 1 to 65535";

    fn parse(text: &str) -> Result<Self, String> {
        match digits(text)?.parse() {
            Ok(0) | Err(_) => Err("not a port".to_owned()),
            Ok(port) => Ok(port),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// The standard parser also takes a leading `+`, which nobody means.
fn digits(text: &str) -> Result<&str, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text)
    } else {
        Err("not a whole number".to_owned())
    }
}

impl Value for bool {
    const KIND: &'static str = "switch";
    const FORM: &'static str = "true or false";

    /// The words that Qdrant's own reader takes, in any case (crate `config` 0.15, value.rs:238-240).
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" => Ok(true),
            "0" | "false" | "off" | "no" => Ok(false),
            _ => Err("neither true nor false".to_owned()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Duration {
    const KIND: &'static str = "duration";
    const FORM: &'static str = "a duration with its unit, such as 250ms, 5s or 4m, at most 24h";

    fn parse(text: &str) -> Result<Self, String> {
        // A bare number is refused by humantime except 0, which is the same in every unit.
        let duration = humantime::parse_duration(text).map_err(|_| "not a duration".to_owned())?;
        if duration > LONGEST {
            return Err("longer than 24h".to_owned());
        }
        Ok(duration)
    }

    fn show(&self) -> Option<String> {
        Some(humantime::format_duration(*self).to_string())
    }
}

impl Value for IpAddr {
    const KIND: &'static str = "address";
    const FORM: &'static str = "an IP address without a port";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "not an IP address".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address and port";
    const FORM: &'static str = "an IP address with a port, such as 10.0.0.2:53 or [fd00::2]:53";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(address) if address.port() != 0 => Ok(address),
            _ => Err("not an IP address with a port".to_owned()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    const FORM: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::from(printable(text)?))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string_lossy().into_owned())
    }
}

/// Paths are printed as they are, and one with a line break or the like is a mistake.
fn printable(text: &str) -> Result<&str, String> {
    if text.chars().any(char::is_control) {
        return Err("holds a control character (a line break at its end?)".to_owned());
    }
    Ok(text)
}

impl Value for StoreUrl {
    const KIND: &'static str = "URL of a store";
    const FORM: &'static str =
        "a directory as file:///absolute/path, or a bucket as s3://name/prefix";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            return bucket(rest);
        }
        let path = printable(text)?
            .strip_prefix("file://")
            .ok_or("neither a file:// nor an s3:// URL")?;
        if path.contains(['%', '?', '#']) {
            return Err(
                "holds one of the characters % ? #, whose meaning in a URL is not the one \
                        in a path"
                    .to_owned(),
            );
        }
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err("the path is not absolute (three slashes after file:)".to_owned());
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err("the path holds '..'".to_owned());
        }
        // The root of a file system is never a directory of ours alone.
        if path.parent().is_none() {
            return Err("the path is the root directory".to_owned());
        }
        Ok(Self::Directory(path.components().collect()))
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::Bucket { name, prefix } if *prefix == Prefix::root() => format!("s3://{name}"),
            Self::Bucket { name, prefix } => format!("s3://{name}/{}", prefix.as_str()),
        })
    }
}

/// What follows `s3://`.
fn bucket(rest: &str) -> Result<StoreUrl, String> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // The form that all buckets of today have (S3 User Guide, "General purpose bucket naming
    // rules").
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| letter(byte) || byte == b'-' || byte == b'.';
    let ends = [name.bytes().next(), name.bytes().last()];
    if !(3..=63).contains(&name.len())
        || !name.bytes().all(inner)
        || !ends.into_iter().flatten().all(letter)
    {
        return Err("names no bucket (3 to 63 of a-z 0-9 - .)".to_owned());
    }
    let prefix = match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" => Prefix::root(),
        prefix => Prefix::new(prefix).map_err(|error| format!("the prefix {}", error.why))?,
    };
    let name = name.to_owned();
    Ok(StoreUrl::Bucket { name, prefix })
}

impl Value for reqwest::Url {
    const KIND: &'static str = "`http://` URL";
    const FORM: &'static str = "the http:// URL that ECS gives";

    fn parse(text: &str) -> Result<Self, String> {
        match Self::parse(text) {
            Ok(url) if url.scheme() == "http" && url.host().is_some() => Ok(url),
            _ => Err("not an http:// URL".to_owned()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Secret {
    const KIND: &'static str = "secret";
    const FORM: &'static str = "visible ASCII characters";
    const SECRET: bool = true;

    /// Both we and Qdrant's peers send keys as a header, so one that is no header value could be
    /// configured but never used. A line break at its end is the usual case.
    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && text.trim() == text {
            Ok(Self::new(text))
        } else {
            Err(
                "holds a character that cannot be sent as an HTTP header (a line break or space \
                 at an end?)"
                    .to_owned(),
            )
        }
    }

    fn show(&self) -> Option<String> {
        Some("(hidden)".to_owned())
    }
}

impl Value for Name {
    const KIND: &'static str = "name";
    const FORM: &'static str = Name::FORM;

    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).ok_or_else(|| "not a name".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Word {
    const KIND: &'static str = "word";
    const FORM: &'static str = "1 to 1024 visible ASCII characters without spaces";

    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).ok_or_else(|| "not one word".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.as_str().to_owned())
    }
}

impl Value for DnsName {
    const KIND: &'static str = "DNS name";
    const FORM: &'static str = "a DNS name such as qdrant.search.internal";

    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text)
    }

    fn show(&self) -> Option<String> {
        Some(self.as_str().to_owned())
    }
}

/// A closed set of words.
macro_rules! words {
    ($type:ty, $kind:literal, $form:literal, $($word:literal => $value:path),+) => {
        impl Value for $type {
            const KIND: &'static str = $kind;
            const FORM: &'static str = $form;

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err("not one of the known words".to_owned()),
                }
            }

            fn show(&self) -> Option<String> {
                Some(match self { $($value => $word,)+ }.to_owned())
            }
        }
    };
}

words!(DnsType, "`a`, `srv`", "a or srv", "a" => DnsType::A, "srv" => DnsType::Srv);
words!(AdoptStore, "`fresh`", "fresh, or remove the variable", "fresh" => AdoptStore::Fresh);
words!(Requorum, "`auto`, `wait`", "auto or wait", "auto" => Requorum::Auto, "wait" => Requorum::Wait);
words!(Restore, "`auto`, `wait`", "auto or wait", "auto" => Restore::Auto, "wait" => Restore::Wait);
words!(Heal, "`act`, `dry-run`", "act or dry-run", "act" => Heal::Act, "dry-run" => Heal::DryRun);
words!(Auto, "`auto`, `off`", "auto or off", "auto" => Auto::Auto, "off" => Auto::Off);
words!(LogFormat, "`json`, `text`", "json or text", "json" => LogFormat::Json, "text" => LogFormat::Text);
words!(LogLevel, "`error`, `warn`, `info`, `debug`, `trace`", "error, warn, info, debug or trace",
    "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info,
    "debug" => LogLevel::Debug, "trace" => LogLevel::Trace);

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: Value + PartialEq + std::fmt::Debug>(text: &str, value: T) {
        assert_eq!(T::parse(text).as_ref(), Ok(&value), "{text}");
        let shown = value.show().unwrap();
        assert_eq!(T::parse(&shown), Ok(value), "{text} shown as {shown}");
    }

    fn refuses<T: Value + std::fmt::Debug>(texts: &[&str]) {
        for text in texts {
            let answer = T::parse(text);
            assert!(answer.is_err(), "{text:?} was read as {answer:?}");
        }
    }

    #[test]
    fn numbers_and_ports() {
        reads("6", 6_u32);
        refuses::<u32>(&["", "0", "-1", "+1", "1.5", "six", "4294967296", " 6"]);
        reads("off", Copies::Off);
        reads("2", Copies::Wanted(2));
        refuses::<Copies>(&["", "0", "Off", "none"]);
        reads("off", Proof::Off);
        reads("90s", Proof::Every(Duration::from_secs(90)));
        refuses::<Proof>(&["", "0s", "999ms", "on", "25h"]);
        reads("off", Sets::Off);
        reads("15m", Sets::Every(Interval::default()));
        refuses::<Sets>(&["", "0s", "7m", "1500ms", "25h", "15"]);
        reads("6333", 6333_u16);
        refuses::<u16>(&["", "0", "65536", "http"]);
    }

    #[test]
    fn durations() {
        reads("250ms", Duration::from_millis(250));
        reads("1m 30s", Duration::from_secs(90));
        reads("0s", Duration::ZERO);
        reads("0", Duration::ZERO);
        reads("24h", LONGEST);
        refuses::<Duration>(&[
            "",
            "5",
            "5 parsecs",
            "-1s",
            "24h 1ns",
            "584542046091y",
            "1e9s",
        ]);
    }

    #[test]
    fn addresses() {
        reads("127.0.1.1", IpAddr::from([127, 0, 1, 1]));
        refuses::<IpAddr>(&["", "127.0.0.1:80", "localhost", "300.1.1.1"]);
        reads("[::1]:53", "[::1]:53".parse::<SocketAddr>().unwrap());
        refuses::<SocketAddr>(&["10.0.0.2", "10.0.0.2:0", "dns:53"]);
    }

    #[test]
    fn stores() {
        reads("file:///a/b/", StoreUrl::Directory("/a/b".into()));
        refuses::<StoreUrl>(&[
            "",
            "/a/b",
            "file://a/b",
            "file:///",
            "file:///a/../b",
            "nfs://h/x",
        ]);
        refuses::<StoreUrl>(&["file:///a%20b", "file:a"]);
    }

    #[test]
    fn buckets() {
        let bucket = |name: &str, prefix: Prefix| StoreUrl::Bucket {
            name: name.to_owned(),
            prefix,
        };
        reads("s3://bucket", bucket("bucket", Prefix::root()));
        reads("s3://my-bucket.eu/", bucket("my-bucket.eu", Prefix::root()));
        let one = Prefix::new("clusters/one").unwrap();
        reads("s3://bucket/clusters/one/", bucket("bucket", one.clone()));
        let shown = bucket("bucket", one).show();
        assert_eq!(shown.as_deref(), Some("s3://bucket/clusters/one"));
        for (url, why) in [
            ("s3://", "no bucket"),
            ("s3://Bucket/a", "no bucket"),
            ("s3://a/b", "no bucket"),
            ("s3://-bucket/b", "no bucket"),
            ("s3://bucket/a//b", "an empty segment"),
            ("s3://bucket/a//", "an empty segment"),
            ("s3://bucket/.hidden", "begins with a dot"),
            ("s3://bucket/a?x=1", "the prefix"),
            ("S3://bucket/a", "neither"),
        ] {
            let error = StoreUrl::parse(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn switches_take_the_words_that_qdrant_takes() {
        for text in ["1", "true", "TRUE", "on", "Yes"] {
            assert_eq!(bool::parse(text), Ok(true));
        }
        for text in ["0", "false", "Off", "no"] {
            assert_eq!(bool::parse(text), Ok(false));
        }
        refuses::<bool>(&["", "2", "enabled"]);
    }

    #[test]
    fn keys_that_cannot_be_a_header_are_refused() {
        assert_eq!(Secret::parse("a key!"), Ok(Secret::new("a key!")));
        refuses::<Secret>(&["key\n", " key", "k\u{e9}y", "a\tb"]);
    }
}
