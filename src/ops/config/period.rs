//! A length of time as people write it in a configuration: a number with its unit, `100ms`, `10s`, `1h 30m`.
//!
//! A bare number is refused, so that nobody has to guess the unit. Never negative.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanPrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, zero or more, written with its unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// The text is not a length of time with a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number with a unit, such as 100ms, 10s or 5m")]
pub struct InvalidPeriod(String);

// === impl Period ===

impl Period {
    /// A period of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A period of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The same length as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let invalid = || InvalidPeriod(text.to_owned());
        let signed: SignedDuration = text.parse().map_err(|_| invalid())?;
        Duration::try_from(signed).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        f.write_str(&SpanPrinter::new().duration_to_string(&signed))
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_read_and_written_back() {
        for (text, millis) in [
            ("100ms", 100),
            ("10s", 10_000),
            ("90 s", 90_000),
            ("1h 30m", 5_400_000),
            ("0s", 0),
        ] {
            let period: Period = text.parse().expect(text);
            assert_eq!(period, Period::from_millis(millis), "{text}");
            assert_eq!(period.to_string().parse(), Ok(period), "{text}");
        }
    }

    #[test]
    fn a_bare_number_a_negative_length_and_nonsense_are_refused() {
        for text in ["10", "-5s", "soon", "", "1 fortnight"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
