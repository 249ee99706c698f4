//! A logged decision against its repetition, field by field and bit by bit.
//!
//! Invariant: two numbers are equal only if all of their bits are. Texts are for people.
use crate::domain::cell::Lane;
use crate::domain::recipient::Answer;
use crate::domain::snapshot::Table;

use super::{LoggedTable, LoggedVerdict};

/// One field, as logged and as found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What is compared.
    pub field: &'static str,
    /// As logged.
    pub logged: String,
    /// As found again.
    pub repeated: String,
    /// Whether they are the same, to the last bit.
    pub equal: bool,
}

// === impl Comparison ===

impl Comparison {
    /// Compares two values of one type, the logged one first.
    pub fn of<T: PartialEq>(
        field: &'static str,
        both: [&T; 2],
        show: impl Fn(&T) -> String,
    ) -> Self {
        let [logged, repeated] = both;
        Self {
            field,
            logged: show(logged),
            repeated: show(repeated),
            equal: logged == repeated,
        }
    }
}

/// Compares every field of two verdicts.
pub fn compare(logged: &LoggedVerdict, repeated: &LoggedVerdict) -> Vec<Comparison> {
    let both = [Flat::of(logged), Flat::of(repeated)];
    let [one, other] = &both;
    let number = |bits: &u64| format!("{}", f64::from_bits(*bits));
    vec![
        Comparison::of("verdict", [&one.verdict, &other.verdict], Clone::clone),
        Comparison::of("variant", [&one.variant, &other.variant], shown),
        Comparison::of(
            "propensity",
            [&one.propensity_bits, &other.propensity_bits],
            number,
        ),
        Comparison::of("holdout", [&one.holdout, &other.holdout], shown),
        Comparison::of("segment", [&one.segment, &other.segment], shown),
        Comparison::of("daypart", [&one.daypart, &other.daypart], shown),
        Comparison::of("reason", [&one.reason, &other.reason], Clone::clone),
        Comparison::of(
            "variant level",
            [&one.choice_level, &other.choice_level],
            Clone::clone,
        ),
        Comparison::of(
            "time level",
            [&one.time_level, &other.time_level],
            Clone::clone,
        ),
        Comparison::of("send time", [&one.send_at_ns, &other.send_at_ns], |at| {
            instant(*at)
        }),
    ]
}

/// Compares the probabilities of all candidates of a table with those made again.
pub fn compare_table(logged: &LoggedTable, remade: Option<&Table>) -> Comparison {
    let bits = |values: &[f64]| values.iter().map(|p| p.to_bits()).collect::<Vec<_>>();
    let repeated = remade.map_or(Vec::new(), |table| bits(table.allocation.probabilities()));
    let show = |bits: &Vec<u64>| {
        let numbers: Vec<String> = bits
            .iter()
            .map(|bits| format!("{}", f64::from_bits(*bits)))
            .collect();
        numbers.join(" ")
    };
    Comparison::of(
        "table probabilities",
        [&bits(&logged.probabilities), &repeated],
        show,
    )
}

fn shown<T: ToString>(value: &T) -> String {
    value.to_string()
}

fn instant(at_ns: i128) -> String {
    jiff::Timestamp::from_nanosecond(at_ns).map_or_else(|_| at_ns.to_string(), |at| at.to_string())
}

/// A verdict with all of its fields side by side; numbers as their bits.
#[derive(Default)]
struct Flat {
    verdict: String,
    variant: u16,
    propensity_bits: u64,
    holdout: bool,
    segment: u8,
    daypart: u8,
    reason: String,
    choice_level: String,
    time_level: String,
    send_at_ns: i128,
}

// === impl Flat ===

impl Flat {
    fn of(verdict: &LoggedVerdict) -> Self {
        let bare = |verdict: String| Self {
            verdict,
            ..Self::default()
        };
        match verdict {
            LoggedVerdict::DoNotSend(reason) => bare(format!("do not send: {reason:?}")),
            LoggedVerdict::NoCandidate => bare("no variant may be chosen".to_owned()),
            LoggedVerdict::Send {
                answer,
                basis,
                send_at_ns,
            } => {
                let flat = Self {
                    reason: format!("{:?}", basis.reason),
                    choice_level: format!("{:?}", basis.choice_level),
                    time_level: basis
                        .time_level
                        .map_or("fixed".to_owned(), |level| format!("{level:?}")),
                    send_at_ns: *send_at_ns,
                    ..bare("send".to_owned())
                };
                flat.with_answer(answer)
            }
        }
    }

    fn with_answer(self, answer: &Answer) -> Self {
        match answer {
            Answer::DoNotSend(reason) => Self {
                verdict: format!("do not send: {reason:?}"),
                ..self
            },
            Answer::Send {
                variant,
                context,
                lane,
                propensity,
            } => Self {
                variant: variant.0,
                propensity_bits: propensity.to_bits(),
                holdout: *lane == Lane::Holdout,
                segment: context.segment,
                daypart: context.daypart,
                ..self
            },
        }
    }
}
