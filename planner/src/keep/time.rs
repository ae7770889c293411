//! Moments of the UTC wall clock, in whole seconds, and the civil dates that they are.
//!
//! Only the schedule, the names of sets and the retention know such moments; they are passed in, and
//! nothing here reads a clock. Written by hand rather than with a crate for dates, because such
//! crates can read the clock, which the planner may not be able to do; a test compares it with one.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The seconds of a day. UTC as computers count it has no leap seconds.
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// A moment between the years 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(u64);

/// The date and time of day of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// The year, with its century.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

impl Utc {
    /// The last moment that can be written with a year of four digits.
    pub const LAST: Self = Self(253_402_300_799);

    /// The moment so many seconds after the beginning of 1970.
    pub fn from_unix(seconds: u64) -> Option<Self> {
        (seconds <= Self::LAST.0).then_some(Self(seconds))
    }

    /// The moment of a date that exists.
    pub fn from_civil(civil: Civil) -> Option<Self> {
        let exists = (1970..=9999).contains(&civil.year)
            && (1..=12).contains(&civil.month)
            && (1..=days_of_month(civil.year, civil.month)).contains(&civil.day)
            && civil.hour < 24
            && civil.minute < 60
            && civil.second < 60;
        if !exists {
            return None;
        }
        let months: u64 = (1..civil.month).map(|m| days_of_month(civil.year, m)).sum();
        let days = days_before(civil.year) - days_before(1970) + months + civil.day - 1;
        Self::from_unix(days * DAY + civil.hour * 3600 + civil.minute * 60 + civil.second)
    }

    /// The seconds since the beginning of 1970.
    pub fn unix(self) -> u64 {
        self.0
    }

    /// The date and time of day.
    pub fn civil(self) -> Civil {
        let days = self.0 / DAY + days_before(1970);
        // 400 years have 146,097 days. The quotient may be one off around new year.
        let mut year = days * 400 / 146_097 + 1;
        while days_before(year) > days {
            year -= 1;
        }
        while days_before(year + 1) <= days {
            year += 1;
        }
        let mut day = days - days_before(year);
        let mut month = 1;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        Civil {
            year,
            month,
            day: day + 1,
            hour: self.0 % DAY / 3600,
            minute: self.0 % 3600 / 60,
            second: self.0 % 60,
        }
    }

    /// How long ago `earlier` was; nothing when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// So much later, but not after [`Utc::LAST`]. Parts of seconds are dropped.
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_secs()).min(Self::LAST.0))
    }

    /// So much earlier, but not before 1970. Parts of seconds are dropped.
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time.as_secs()))
    }

    /// Reads what `write` writes, and nothing else: the digits are taken out and written again.
    pub(crate) fn read(text: &str, write: impl Fn(Civil) -> String) -> Option<Self> {
        let digits: Option<Vec<u64>> = text
            .bytes()
            .filter(u8::is_ascii_digit)
            .map(|digit| Some(u64::from(digit.checked_sub(b'0')?)))
            .collect();
        let digits: [u64; 14] = digits?.try_into().ok()?;
        let [a, b, c, d, month @ .., s1, s0] = digits;
        let [m1, m0, d1, d0, h1, h0, i1, i0] = month;
        let civil = Civil {
            year: a * 1000 + b * 100 + c * 10 + d,
            month: m1 * 10 + m0,
            day: d1 * 10 + d0,
            hour: h1 * 10 + h0,
            minute: i1 * 10 + i0,
            second: s1 * 10 + s0,
        };
        let moment = Self::from_civil(civil)?;
        (write(civil) == text).then_some(moment)
    }
}

/// The days of all years before this one, counted from year 1.
fn days_before(year: u64) -> u64 {
    let past = year.saturating_sub(1);
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if days_before(year + 1) - days_before(year) == 366 => 29,
        2 => 28,
        _ => 31,
    }
}

/// As in RFC 3339, which people and `jq` read.
fn extended(civil: Civil) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = civil;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&extended(self.civil()))
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text, extended).ok_or_else(|| {
            de::Error::custom(format_args!(
                "`{text}` is not a moment like 2026-02-28T09:15:00Z"
            ))
        })
    }
}
