//! What a decision was made of, as the log keeps it and as `decide` wants it.
//!
//! Invariant: what is read back equals what was given, to the nanosecond. Larger things are named by their content and kept elsewhere.
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::activity::ActivityProfile;
use crate::domain::content_id::ContentId;
use crate::domain::decide::{Allowed, Choice, Question, Timing};
use crate::domain::experiment::FrequencyCap;
use crate::domain::name::VariantIndex;
use crate::domain::recipient::{ConsentLevel, Recipient, Suppression, Touch};
use crate::domain::send_window::{QuietHours, SendWindow};

/// What a decision was made of. Larger things are named by their content and kept once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// When it was decided, nanoseconds since 1970.
    pub decided_at_ns: i128,
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// How many earlier answers of this occasion could no longer hold.
    pub attempt: u64,
    /// When the mail could leave.
    pub timing: LoggedTiming,
    /// IANA name of the zone reckoned in.
    pub zone: String,
    /// The segment answered for, the request's or the recipient's; none where consent lets neither variant nor time rest on it.
    pub segment: Option<String>,
    /// Variants to choose among; none for all that were live.
    pub eligible: Option<Vec<VariantIndex>>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// What the person allowed.
    pub allowed: Allowed,
    /// Why nothing could be sent.
    pub suppression: Option<Suppression>,
    /// Mails that the frequency cap counted.
    pub mails: Vec<CountedMail>,
    /// Hours of activity, where the time rested on them.
    pub activity: Option<ActivityProfile>,
    /// The experiment as configured.
    pub configured: ContentId,
    /// The table it was drawn from, before restricting it to eligible variants.
    pub table: Option<ContentId>,
    /// The send-time model, where the time was predicted.
    pub model: Option<ContentId>,
}

/// When the mail could leave; instants in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoggedTiming {
    /// At the best instant of a window.
    Within {
        /// Its start.
        earliest_at_ns: i128,
        /// Its end.
        deadline_at_ns: i128,
        /// Daily periods without mail.
        quiet: Vec<QuietHours>,
        /// Days without mail, as year, month and day.
        blocked_days: Vec<(i16, i8, i8)>,
        /// Hours in which the sender had no room: the first since 1970 of each run, and how many.
        full_hours: Vec<(i64, u16)>,
    },
    /// At a fixed instant.
    At(i128),
}

/// A touch as far as the frequency cap looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedMail {
    /// When it leaves or left, milliseconds since 1970.
    pub send_at_ms: i64,
    /// Whether it was an answer to send.
    pub sends: bool,
}

/// Why an entry cannot be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRepeatable {
    /// An instant beyond the calendar.
    #[error("an instant in the entry is outside of the calendar")]
    Instant,
    /// A zone that this program does not know.
    #[error("the zone {0} is not known to this program")]
    Zone(String),
}

// === impl LoggedTiming ===

impl LoggedTiming {
    pub(super) fn of(timing: Timing<'_>) -> Self {
        match timing {
            Timing::At(at) => Self::At(at.as_nanosecond()),
            Timing::Within(window) => Self::Within {
                earliest_at_ns: window.earliest_at.as_nanosecond(),
                deadline_at_ns: window.deadline_at.as_nanosecond(),
                quiet: window.quiet.clone(),
                blocked_days: window
                    .blocked_days
                    .iter()
                    .map(|day| (day.year(), day.month(), day.day()))
                    .collect(),
                full_hours: runs(&window.full_hours),
            },
        }
    }

    pub(super) fn window(&self) -> Result<Result<SendWindow, Timestamp>, NotRepeatable> {
        match self {
            Self::At(at_ns) => Ok(Err(instant(*at_ns)?)),
            Self::Within {
                earliest_at_ns,
                deadline_at_ns,
                quiet,
                blocked_days,
                full_hours,
            } => Ok(Ok(SendWindow {
                earliest_at: instant(*earliest_at_ns)?,
                deadline_at: instant(*deadline_at_ns)?,
                quiet: quiet.clone(),
                blocked_days: blocked_days
                    .iter()
                    .map(|(year, month, day)| Date::new(*year, *month, *day))
                    .collect::<Result<_, _>>()
                    .map_err(|_| NotRepeatable::Instant)?,
                full_hours: full_hours
                    .iter()
                    .flat_map(|(first, count)| (0..i64::from(*count)).map(move |at| first + at))
                    .collect(),
            })),
        }
    }
}

/// Ascending hours as runs of hours that follow each other.
fn runs(hours: &[i64]) -> Vec<(i64, u16)> {
    let mut runs: Vec<(i64, u16)> = Vec::new();
    for hour in hours {
        match runs.last_mut() {
            Some((first, count)) if *first + i64::from(*count) == *hour && *count < u16::MAX => {
                *count += 1;
            }
            _ => runs.push((*hour, 1)),
        }
    }
    runs
}

/// The instant so many nanoseconds after 1970.
pub(super) fn instant(at_ns: i128) -> Result<Timestamp, NotRepeatable> {
    Timestamp::from_nanosecond(at_ns).map_err(|_| NotRepeatable::Instant)
}

// === impl Inputs ===

impl Inputs {
    /// What this question is made of, with the parts of the record that `decide` looks at.
    pub fn of(
        recipient: &Recipient,
        question: &Question<'_>,
        choice: Option<&Choice>,
        place: Place,
        ids: NamedGrounds,
    ) -> Self {
        let experiment = &question.snapshot.experiment;
        let prediction = choice.and_then(|choice| choice.prediction.as_ref());
        let Allowed { timing, content } = question.allowed;
        let may_rest_on_segment = content >= ConsentLevel::Segment
            || (timing >= ConsentLevel::Segment && prediction.is_some());
        let segment = question
            .segment
            .or_else(|| experiment.first_segment_of(&recipient.segments))
            .filter(|_| may_rest_on_segment);
        let counted = |touch: &Touch| CountedMail {
            send_at_ms: touch.send_at_ms,
            sends: touch.sends(),
        };
        let is_capped = question.frequency_cap.is_some() && !question.transactional;
        let rests_on_profile = timing == ConsentLevel::Individual
            && prediction.is_some_and(|prediction| prediction.level.rests_on_profile());
        Self {
            decided_at_ns: question.now.as_nanosecond(),
            occasion: place.occasion,
            attempt: place.attempt,
            timing: LoggedTiming::of(question.timing),
            zone: question.zone.name().to_owned(),
            segment: segment.map(str::to_owned),
            eligible: question.eligible.map(<[VariantIndex]>::to_vec),
            frequency_cap: question.frequency_cap,
            transactional: question.transactional,
            allowed: question.allowed,
            suppression: recipient.suppression,
            mails: if is_capped {
                recipient.touches.iter().map(counted).collect()
            } else {
                Vec::new()
            },
            activity: rests_on_profile.then(|| recipient.activity.clone()),
            configured: ids.configured,
            table: ids.table,
            model: ids.model,
        }
    }

    /// The record as far as `decide` looks at it.
    pub(super) fn recipient(&self) -> Recipient {
        let touch = |mail: &CountedMail| Touch::counted(mail.send_at_ms, mail.sends);
        Recipient {
            suppression: self.suppression,
            activity: self.activity.clone().unwrap_or_default(),
            touches: self.mails.iter().map(touch).collect(),
            ..Recipient::default()
        }
    }
}

/// Which of a recipient's answers it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// How many earlier answers of this occasion could no longer hold.
    pub attempt: u64,
}

/// The names of the larger things a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedGrounds {
    /// The experiment as configured.
    pub configured: ContentId,
    /// The table.
    pub table: Option<ContentId>,
    /// The send-time model.
    pub model: Option<ContentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_hours_come_back_as_they_were() {
        let window = SendWindow {
            earliest_at: Timestamp::from_nanosecond(1_800_000_000_123_456_789).unwrap(),
            deadline_at: Timestamp::from_second(1_800_100_000).unwrap(),
            quiet: Vec::new(),
            blocked_days: vec![jiff::civil::date(2027, 2, 28)],
            full_hours: vec![500_000, 500_001, 500_002, 500_007, 500_009, 500_010],
        };
        let logged = LoggedTiming::of(Timing::Within(&window));
        assert_eq!(
            runs(&window.full_hours),
            [(500_000, 3), (500_007, 1), (500_009, 2)]
        );
        assert_eq!(logged.window(), Ok(Ok(window)));
        let at = Timestamp::from_second(7).unwrap();
        assert_eq!(LoggedTiming::of(Timing::At(at)).window(), Ok(Err(at)));
    }
}
