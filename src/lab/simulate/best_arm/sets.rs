//! Sets of posteriors on which quadratures go wrong, and such as campaigns have.
//!
//! Invariant: all shapes lie within 0.25 to 1e9, and a stream fixes the set.
use serde::Serialize;

use crate::domain::shape::BetaShape;
use crate::lab::streams::Stream;

/// Smallest and largest shape.
const SHAPES: (f64, f64) = (0.25, 1e9);

/// A kind of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Both shapes anywhere, logarithmically uniform.
    Random,
    /// Rates as mails have them after 10 to 100,000 sends each.
    Mails,
    /// All arms alike, of one size.
    Equal,
    /// Means so close, and so certain, that they differ by a few standard deviations.
    NearTies,
    /// One rate of 20 % known to all degrees of certainty.
    MixedScales,
    /// Rates next to zero and next to one.
    Extremes,
    /// One arm that is known and others that had a few sends.
    OneKnown,
}

// === impl Kind ===

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::Mails,
        Self::Equal,
        Self::NearTies,
        Self::MixedScales,
        Self::Extremes,
        Self::OneKnown,
    ];

    /// A set of so many arms.
    pub fn arms(self, count: usize, stream: &mut Stream) -> Vec<BetaShape> {
        let size = between(stream, SHAPES.0, SHAPES.1);
        let certain = between(stream, 1e4, 0.8e9);
        let one = |at: usize, stream: &mut Stream| match self {
            Self::Random => (
                between(stream, SHAPES.0, SHAPES.1),
                between(stream, SHAPES.0, SHAPES.1),
            ),
            Self::Mails => {
                let (trials, rate) = (between(stream, 10.0, 1e5), 0.01 + 0.3 * stream.unit());
                (2.0 + trials * rate, 8.0 + trials * (1.0 - rate))
            }
            Self::Equal => (size / 4.0, size),
            Self::NearTies => {
                let off = (0.2 * 0.8 * certain).sqrt() * (6.0 * stream.unit() - 3.0);
                (0.2 * certain + off, 0.8 * certain - off)
            }
            Self::MixedScales => {
                let total = between(stream, 2.0, 1.25e9);
                (0.2 * total, 0.8 * total)
            }
            Self::Extremes => {
                let ends = (
                    between(stream, SHAPES.0, 4.0),
                    between(stream, 1e6, SHAPES.1),
                );
                if at.is_multiple_of(2) {
                    ends
                } else {
                    (ends.1, ends.0)
                }
            }
            Self::OneKnown if at == 0 => (0.2 * certain, 0.8 * certain),
            Self::OneKnown => (2.0 + stream.below(4) as f64, 8.0 + stream.below(4) as f64),
        };
        (0..count)
            .map(|at| {
                let (alpha, beta) = one(at, stream);
                let within = |shape: f64| shape.clamp(SHAPES.0, SHAPES.1);
                BetaShape::clamped(within(alpha), within(beta))
            })
            .collect()
    }
}

/// A number whose logarithm is uniform between those of two others.
pub fn between(stream: &mut Stream, low: f64, high: f64) -> f64 {
    low * (high / low).powf(stream.unit())
}
