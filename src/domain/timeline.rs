//! The hourly timeline of a variant: what was decided, sent and answered in each hour, for charts and checks.
//!
//! Counts are whole, never fade and never decide anything; they only add up.
use serde::{Deserialize, Serialize};

use crate::domain::event::EventKind;

/// Counts of one variant and lane in one hour, one entry per kind of event, and sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HourCounts {
    /// Decisions recorded.
    pub decided: i64,
    /// Events by kind, in the order of [`EventKind::ALL`].
    pub events: [i64; 9],
    /// Negative replies.
    pub replied_negative: i64,
    /// Sum of conversion values.
    pub value: f64,
    /// How many of the hour's decisions are known to have led to a mail, by a sent or delivered event at any time.
    pub confirmed: i64,
}

// === impl HourCounts ===

impl HourCounts {
    /// Adds another part of the same hour.
    pub fn merge(&mut self, part: &Self) {
        self.decided += part.decided;
        for (count, more) in self.events.iter_mut().zip(part.events) {
            *count += more;
        }
        self.replied_negative += part.replied_negative;
        self.value += part.value;
        self.confirmed += part.confirmed;
    }

    /// How many events of a kind.
    pub fn of(&self, kind: EventKind) -> i64 {
        self.events.get(kind as usize).copied().unwrap_or(0)
    }

    /// Counts one event of a kind `times` times.
    pub fn count(&mut self, kind: EventKind, times: i64) {
        if let Some(count) = self.events.get_mut(kind as usize) {
            *count += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_add_up_kind_by_kind() {
        let mut sum = HourCounts {
            decided: 1,
            ..HourCounts::default()
        };
        let mut part = HourCounts {
            decided: 2,
            value: 1.5,
            ..HourCounts::default()
        };
        part.count(EventKind::Clicked, 3);
        sum.merge(&part);
        sum.merge(&part);
        assert_eq!(
            (
                sum.decided,
                sum.of(EventKind::Clicked),
                sum.of(EventKind::Opened),
                sum.value
            ),
            (5, 6, 0, 3.0)
        );
    }
}
