//! Checking the fields of a request: every bad one is collected, so that a client sees all of them at once.
use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

use crate::app::{AppError, Violation};
use crate::domain::civil::Zone;
use crate::domain::name::{IDENTIFIER_BYTES_MAX, Slug};

/// Items that one batch may have.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub struct Checks {
    violations: Vec<Violation>,
}

// === impl Checks ===

impl Checks {
    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: impl Into<String>, description: impl Display) {
        self.violations.push(Violation {
            field: field.into(),
            description: description.to_string(),
        });
    }

    /// The error of all that was noted. Ask only when something was.
    pub fn into_error(self) -> AppError {
        AppError::invalid(self.violations)
    }

    /// An error if anything was noted.
    pub fn finish(self) -> Result<(), AppError> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(self.into_error())
        }
    }

    /// An id of the caller's: at most 256 bytes.
    pub fn identifier(&mut self, field: &str, text: String, required: bool) -> String {
        if text.is_empty() && required {
            self.wrong(field, "is required; give 1 to 256 bytes");
        }
        self.text(field, text, IDENTIFIER_BYTES_MAX)
    }

    /// A text of limited length.
    pub fn text(&mut self, field: &str, text: String, bytes_max: usize) -> String {
        if text.len() > bytes_max {
            self.wrong(
                field,
                format!("has {} bytes; at most {bytes_max} are allowed", text.len()),
            );
        }
        text
    }

    /// A slug.
    pub fn slug(&mut self, field: &str, text: &str) -> Option<Slug> {
        Slug::parse(text)
            .map_err(|error| self.wrong(field, error))
            .ok()
    }

    /// A slug or nothing.
    pub fn optional_slug(&mut self, field: &str, text: &str) -> Option<Slug> {
        if text.is_empty() {
            None
        } else {
            self.slug(field, text)
        }
    }

    /// The resource name `experiments/{experiment}`.
    pub fn experiment(&mut self, field: &str, name: &str) -> Option<Slug> {
        let id = name.strip_prefix("experiments/").map(Slug::parse);
        match id {
            Some(Ok(id)) => Some(id),
            _ if name.is_empty() => {
                self.wrong(field, "is required, as experiments/{experiment}");
                None
            }
            _ => {
                self.wrong(field, "must be experiments/{experiment}, the experiment 1 to 63 characters of a-z, 0-9, '_' and '-', the first a letter or digit");
                None
            }
        }
    }

    /// An instant within what the calendar can tell.
    pub fn instant(
        &mut self,
        field: &str,
        at: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let prost_types::Timestamp { seconds, nanos } = at?;
        let instant = (0..1_000_000_000)
            .contains(&nanos)
            .then(|| Timestamp::new(seconds, nanos).ok())
            .flatten();
        if instant.is_none() {
            self.wrong(
                field,
                "is not a timestamp of the years 1 to 9999 with 0 to 999,999,999 nanoseconds",
            );
        }
        instant
    }

    /// A length of time within limits.
    pub fn duration(
        &mut self,
        field: &str,
        length: Option<prost_types::Duration>,
        limits: DurationLimits,
    ) -> Option<SignedDuration> {
        let prost_types::Duration { seconds, nanos } = length?;
        let length = (-999_999_999..=999_999_999)
            .contains(&nanos)
            .then(|| {
                SignedDuration::from_secs(seconds)
                    .checked_add(SignedDuration::from_nanos(nanos.into()))
            })
            .flatten();
        let within = length.filter(|length| (limits.min..=limits.max).contains(length));
        if within.is_none() {
            self.wrong(
                field,
                format!(
                    "must be {} to {} seconds",
                    limits.min.as_secs_f64(),
                    limits.max.as_secs()
                ),
            );
        }
        within
    }

    /// A share within limits.
    pub fn share(&mut self, field: &str, share: f64, max: f64) -> f64 {
        if !(0.0..=max).contains(&share) {
            self.wrong(field, format!("must be a number from 0 to {max}"));
        }
        share
    }

    /// A zone or nothing.
    pub fn zone(&mut self, field: &str, name: &str) -> Option<Zone> {
        if name.is_empty() {
            return None;
        }
        Zone::parse(name)
            .map_err(|error| self.wrong(field, error))
            .ok()
    }

    /// A value of an enum, not the unspecified one.
    pub fn known<E: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<E> {
        let value = E::try_from(number).ok();
        if value.is_none() {
            self.wrong(
                field,
                format!("{number} is not one of its values; the proto lists them"),
            );
        }
        value
    }
}

/// Shortest and longest length of time that a field takes.
#[derive(Clone, Copy, Debug)]
pub struct DurationLimits {
    /// Shortest.
    pub min: SignedDuration,
    /// Longest.
    pub max: SignedDuration,
}

// === impl DurationLimits ===

impl DurationLimits {
    /// From so many seconds to so many.
    pub const fn seconds(min: i64, max: i64) -> Self {
        Self {
            min: SignedDuration::from_secs(min),
            max: SignedDuration::from_secs(max),
        }
    }
}

/// An instant on the wire.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
    .normalised()
}

/// A count of milliseconds on the wire, as an instant.
pub fn timestamp_ms(ms: i64) -> Option<prost_types::Timestamp> {
    Timestamp::from_millisecond(ms).ok().map(timestamp)
}

/// A length of time on the wire.
pub fn duration_ms(ms: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: ms.div_euclid(1_000),
        nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32,
    }
}

/// Timestamps count nanoseconds forward from the second, also before 1970.
trait Normalised {
    fn normalised(self) -> Self;
}

impl Normalised for prost_types::Timestamp {
    fn normalised(self) -> Self {
        if self.nanos < 0 {
            Self {
                seconds: self.seconds - 1,
                nanos: self.nanos + 1_000_000_000,
            }
        } else {
            self
        }
    }
}

/// Refuses a correlation id that is too long to be given back.
pub fn correlation(id: &str) -> Result<(), AppError> {
    let mut checks = Checks::default();
    checks.identifier("correlation_id", id.to_owned(), false);
    checks.finish()
}

/// Refuses a batch without items or with too many.
pub fn batch_size(field: &str, items: usize) -> Result<(), AppError> {
    if (1..=BATCH_ITEMS_MAX).contains(&items) {
        return Ok(());
    }
    Err(AppError::invalid_field(
        "BATCH_SIZE",
        field,
        format!("has {items} items; give 1 to {BATCH_ITEMS_MAX}, or use the stream"),
    ))
}
