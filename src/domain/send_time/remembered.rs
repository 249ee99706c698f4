//! Value curves of rates that many people share, kept from one question to the next.
//!
//! Invariant: what is answered is what would be computed, to the last bit: an entry counts only where all it was computed from is the same.
//! Most people of a large tenant are answered by everybody's curve, in windows of a few lengths that start in the same quarter of an hour.
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::freshness::FreshnessCurve;

use super::Goal;
use super::search::Valuation;

/// Curves that are kept: for each start in the local week and each length one of these places, which others may share.
const PLACES: usize = 256;

/// Where a window lies in the local week: the minute at which its first step begins, and how many steps it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first_minute: u16,
    pub count: usize,
}

/// A curve and all that it was computed from.
struct Kept {
    span: Span,
    goal: Goal,
    freshness: FreshnessCurve,
    by_week: [f64; 168],
    values: Arc<[f64]>,
}

/// The curves kept. A copy keeps none, and what is kept makes no difference to whatever it belongs to.
pub(super) struct Remembered {
    places: Box<[RwLock<Option<Arc<Kept>>>]>,
}

// === impl Span ===

impl Span {
    fn place(self) -> usize {
        // Starts are quarters of an hour apart, or five minutes; the lengths of few windows differ by one.
        (usize::from(self.first_minute) / 5 + 31 * self.count) % PLACES
    }
}

// === impl Kept ===

impl Kept {
    fn is_of(&self, valuation: &Valuation<'_>, span: Span) -> bool {
        self.span == span
            && self.goal == valuation.goal
            && self.freshness == *valuation.freshness
            && self.by_week == *valuation.by_week
    }
}

// === impl Remembered ===

impl Remembered {
    /// The values of a span as remembered, or as computed now.
    pub fn values(
        &self,
        valuation: &Valuation<'_>,
        span: Span,
        compute: impl FnOnce() -> Arc<[f64]>,
    ) -> Arc<[f64]> {
        let Some(place) = self.places.get(span.place()) else {
            return compute();
        };
        let kept = place.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.is_of(valuation, span)) {
            return Arc::clone(&kept.values);
        }
        let values = compute();
        let kept = Kept {
            span,
            goal: valuation.goal,
            freshness: *valuation.freshness,
            by_week: *valuation.by_week,
            values: Arc::clone(&values),
        };
        *place.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(kept));
        values
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| RwLock::default()).collect(),
        }
    }
}

impl Clone for Remembered {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Remembered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first_minute: u16) -> Span {
        Span {
            first_minute,
            count: 3,
        }
    }

    fn asked(remembered: &Remembered, by_week: &[f64; 168], span: Span, value: f64) -> f64 {
        let freshness = FreshnessCurve::default();
        let valuation = Valuation {
            by_week,
            freshness: &freshness,
            goal: Goal::OpenProbability,
            shared: None,
        };
        remembered.values(&valuation, span, || Arc::from([value]))[0]
    }

    #[test]
    fn a_curve_is_remembered_for_just_what_it_was_computed_from() {
        let remembered = Remembered::default();
        let (one, mut other) = ([1.0; 168], [1.0; 168]);
        other[167] = 1.5;
        assert_eq!(asked(&remembered, &one, span(0), 7.0), 7.0);
        assert_eq!(asked(&remembered, &one, span(0), 8.0), 7.0);
        assert_eq!(asked(&remembered, &other, span(0), 9.0), 9.0, "other rates");
        assert_eq!(
            asked(&remembered, &one, span(0), 10.0),
            10.0,
            "its place was taken"
        );
        // A span that falls on the same place.
        assert_eq!(span(0).place(), span(1).place());
        assert_eq!(asked(&remembered, &one, span(1), 11.0), 11.0);
        assert_eq!(
            asked(&remembered.clone(), &one, span(1), 12.0),
            12.0,
            "a copy"
        );
    }
}
