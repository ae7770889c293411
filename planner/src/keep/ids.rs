//! The names of sets, of what is in them, and of what their bytes are.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::keep::time::{Civil, Utc};

/// A set: the UTC second for which it was planned, `YYYYMMDDTHHMMSSZ`. Sorts by time.
///
/// One by the clock has the time of its slot, however late it began; one by hand never has the time
/// of a slot, so that it cannot take the slot's name ([`crate::keep::clock::Interval::by_hand`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(Utc);

/// Why a text is not what it should be; the message says what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    text: String,
    wanted: &'static str,
}

impl SetId {
    /// The set of this second.
    pub fn at(time: Utc) -> Self {
        Self(time)
    }

    /// The second that it is named after.
    pub fn time(self) -> Utc {
        self.0
    }
}

/// The basic form of ISO 8601: no colons, which not every file system and shell takes.
fn basic(civil: Civil) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = civil;
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&basic(self.0.civil()))
    }
}

impl FromStr for SetId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Utc::read(text, basic)
            .map(Self)
            .ok_or_else(|| Malformed::new(text, "the name of a set, like 20260228T091500Z"))
    }
}

/// Where a collection's files are in a set: `c000`, `c001`, … Names of collections may hold what
/// names of folders may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CollectionIndex(pub u32);

impl fmt::Display for CollectionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:03}", self.0)
    }
}

/// What the bytes of a file hash to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new(text, "a SHA-256 of 64 lower-case hexadecimal digits");
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let digits: Option<Vec<u8>> = text.bytes().map(digit).collect();
        let digits: [u8; 64] = digits
            .and_then(|digits| digits.try_into().ok())
            .ok_or_else(malformed)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(hash))
    }
}

impl Malformed {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            wanted,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text.escape_debug(), self.wanted)
    }
}

impl core::error::Error for Malformed {}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    };
}

as_text!(SetId);
as_text!(Sha256);
