//! What many people's answers have in common, kept from one question to the next: everybody's rates, and the value curves of shared rates.
//!
//! Invariant: what is answered is what would be computed, to the last bit: an entry counts only where all it was computed from is the same, and what a
//! model is made of does not change once it has been asked. Most people of a large tenant are answered by everybody's curve, in windows of a few
//! lengths that start in the same quarter of an hour.
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use crate::domain::freshness::FreshnessCurve;

use super::Goal;
use super::circle::CircularKernel;
use super::personal::Rates;
use super::search::Valuation;

/// Curves that are kept: for each start in the local week and each length one of these places, which others may share.
const PLACES: usize = 256;

/// Where a window lies in the local week: the minute at which its first step begins, and how many steps it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first_minute: u16,
    pub count: usize,
}

/// A curve and all that it was computed from, as far as a model's questions differ in it.
#[derive(Debug)]
pub(super) struct Kept {
    span: Span,
    goal: Goal,
    freshness: FreshnessCurve,
    /// None where they are everybody's, which are the same for all of a model's questions.
    by_week: Option<[f64; 168]>,
    values: Arc<[f64]>,
}

/// The values of a curve.
#[derive(Debug)]
pub(super) enum Values {
    /// Computed for this answer.
    Own(Arc<[f64]>),
    /// Computed before: those of an entry that is there.
    Kept(Guard<Arc<Kept>>),
}

/// What does not depend on whom is asked about.
pub(super) struct Common {
    /// Everybody's rates.
    pub everyone: Rates,
    /// How hours are smoothed.
    pub kernel: CircularKernel,
}

/// What is kept. A copy keeps nothing, and it makes no difference to whatever it belongs to.
pub(super) struct Remembered {
    common: OnceLock<Box<Common>>,
    /// Made when something is put there: to let go of one costs a walk over all threads.
    places: Box<[OnceLock<ArcSwap<Kept>>]>,
}

// === impl Values ===

impl Deref for Values {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        match self {
            Self::Own(values) => values,
            Self::Kept(kept) => &kept.values,
        }
    }
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
            && match &self.by_week {
                None => valuation.is_everyone,
                Some(by_week) => !valuation.is_everyone && by_week == valuation.by_week,
            }
    }
}

// === impl Remembered ===

impl Remembered {
    /// What all answers have in common, as computed the first time.
    pub fn common(&self, compute: impl FnOnce() -> Common) -> &Common {
        self.common.get_or_init(|| Box::new(compute()))
    }

    /// The values of a span as remembered, or as computed now.
    pub fn values(
        &self,
        valuation: &Valuation<'_>,
        span: Span,
        compute: impl FnOnce() -> Arc<[f64]>,
    ) -> Values {
        let Some(place) = self.places.get(span.place()) else {
            return Values::Own(compute());
        };
        let known = place.get().map(ArcSwap::load);
        if let Some(kept) = known.filter(|kept| kept.is_of(valuation, span)) {
            return Values::Kept(kept);
        }
        let values = compute();
        let kept = Arc::new(Kept {
            span,
            goal: valuation.goal,
            freshness: *valuation.freshness,
            by_week: (!valuation.is_everyone).then_some(*valuation.by_week),
            values: Arc::clone(&values),
        });
        place
            .get_or_init(|| ArcSwap::new(Arc::clone(&kept)))
            .store(kept);
        Values::Own(values)
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            common: OnceLock::new(),
            places: (0..PLACES).map(|_| OnceLock::new()).collect(),
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
        asked_of(remembered, (by_week, false), span, value)
    }

    fn asked_of(
        remembered: &Remembered,
        (by_week, is_everyone): (&[f64; 168], bool),
        span: Span,
        value: f64,
    ) -> f64 {
        let freshness = FreshnessCurve::default();
        let valuation = Valuation {
            by_week,
            freshness: &freshness,
            goal: Goal::OpenProbability,
            shared: None,
            is_everyone,
        };
        remembered.values(&valuation, span, || Arc::from([value]))[0]
    }

    #[test]
    fn everybody_and_a_group_with_the_same_rates_have_each_a_curve_of_their_own() {
        let remembered = Remembered::default();
        let rates = [1.0; 168];
        for (is_everyone, value, expected) in [
            (true, 1.0, 1.0),
            (true, 2.0, 1.0),
            (false, 3.0, 3.0),
            (false, 4.0, 3.0),
            (true, 5.0, 5.0),
        ] {
            let of = (&rates, is_everyone);
            assert_eq!(asked_of(&remembered, of, span(0), value), expected);
        }
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
