//! Where numbers lie on an axis, which of them get a tick, and how they are written.
//!
//! Invariant: a range is never empty, and ticks lie within it, at round numbers.
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Scale;

/// Free space beyond the outermost points, as a share of their range.
const MARGIN: f64 = 0.05;

/// A scale over the range of the points.
#[derive(Clone, Debug)]
pub struct Ruler {
    scale: Scale,
    /// Ends on the scale: logarithms to base ten on a logarithmic one.
    low: f64,
    high: f64,
}

// === impl Ruler ===

impl Ruler {
    /// A ruler long enough for all of these numbers.
    pub fn over(scale: &Scale, numbers: impl Iterator<Item = f64>) -> Self {
        let places = numbers.filter_map(|number| place(scale, number));
        let (mut low, mut high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |ends, at| {
            (ends.0.min(at), ends.1.max(at))
        });
        match scale {
            Scale::FromZero => (low, high) = (low.min(0.0), high.max(0.0)),
            Scale::Named(names) => {
                (low, high) = (-0.5, names.len().max(1) as f64 - 0.5);
            }
            Scale::Linear | Scale::Logarithmic => {}
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        } else if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let some = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low, high) = (low - some, high + some);
        }
        let room = match scale {
            Scale::Named(_) => 0.0,
            _ => MARGIN * (high - low),
        };
        let stays = *scale == Scale::FromZero;
        Self {
            scale: scale.clone(),
            low: if stays && low == 0.0 { low } else { low - room },
            high: if stays && high == 0.0 {
                high
            } else {
                high + room
            },
        }
    }

    /// Whether the number has a place on the scale.
    pub fn holds(&self, number: f64) -> bool {
        place(&self.scale, number).is_some()
    }

    /// How a number is written at a tick.
    pub fn written(&self, number: f64) -> String {
        match &self.scale {
            Scale::Named(names) => {
                let at = number.round();
                let name = (at >= 0.0).then(|| names.get(at as usize)).flatten();
                name.cloned().unwrap_or_default()
            }
            _ => short(number),
        }
    }

    fn ticks(&self, most: usize) -> Vec<f64> {
        match &self.scale {
            Scale::Named(names) => (0..names.len()).map(|at| at as f64).collect(),
            Scale::Logarithmic if self.high - self.low >= 1.0 => decades(self.low, self.high, most),
            Scale::Logarithmic => {
                let (low, high) = (10f64.powf(self.low), 10f64.powf(self.high));
                multiples(low, high, most)
            }
            Scale::Linear | Scale::FromZero => multiples(self.low, self.high, most),
        }
    }
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let at = place(&self.scale, *value).unwrap_or(self.low);
        let share = (at - self.low) / (self.high - self.low);
        let length = f64::from(limit.1) - f64::from(limit.0);
        (f64::from(limit.0) + share.clamp(-1.0, 2.0) * length).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        self.ticks(hint.bold_points())
    }

    fn range(&self) -> Range<f64> {
        match self.scale {
            Scale::Logarithmic => 10f64.powf(self.low)..10f64.powf(self.high),
            _ => self.low..self.high,
        }
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, value: &f64) -> String {
        self.written(*value)
    }
}

fn place(scale: &Scale, number: f64) -> Option<f64> {
    let at = match scale {
        Scale::Logarithmic => number.log10(),
        _ => number,
    };
    at.is_finite().then_some(at)
}

/// Powers of ten, or every n-th of them.
fn decades(low: f64, high: f64, most: usize) -> Vec<f64> {
    let (first, last) = (low.ceil() as i32, high.floor() as i32);
    let step = ((last - first) as usize / most.max(1) + 1) as i32;
    (0..=(last - first) / step)
        .map(|at| 10f64.powi(first + at * step))
        .collect()
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn multiples(low: f64, high: f64, most: usize) -> Vec<f64> {
    let least = (high - low) / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let count = ((high / step).floor() - first).clamp(0.0, 1_000.0) as usize;
    (0..=count).map(|at| (first + at as f64) * step).collect()
}

/// A number as short as it can be read: `0.25`, `20k`, `1e-9`.
fn short(number: f64) -> String {
    let size = number.abs();
    let trimmed = |number: f64, places: usize| {
        let text = format!("{number:.places$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    if number == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e9).contains(&size) {
        let exponent = size.log10().floor();
        let digits = trimmed(number / 10f64.powf(exponent), 2);
        format!("{digits}e{exponent}")
    } else if size >= 1e6 {
        format!("{}M", trimmed(number / 1e6, 2))
    } else if size >= 1e4 {
        format!("{}k", trimmed(number / 1e3, 1))
    } else {
        // Six significant digits say no more than a tick can.
        trimmed(
            number,
            (5 - size.log10().floor() as i32).clamp(0, 8) as usize,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruler(scale: Scale, numbers: &[f64]) -> Ruler {
        Ruler::over(&scale, numbers.iter().copied())
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(
            ruler(Scale::Linear, &[0.0, 9.7]).ticks(6),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        );
        assert_eq!(
            ruler(Scale::Logarithmic, &[1.0, 1e6]).ticks(10),
            [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]
        );
        assert_eq!(ruler(Scale::Logarithmic, &[1.0, 1e6]).ticks(4).len(), 4);
        assert_eq!(
            ruler(Scale::Named(vec!["a".into(), "b".into()]), &[]).ticks(9),
            [0.0, 1.0]
        );
    }

    #[test]
    fn a_larger_number_lies_further_along() {
        for scale in [Scale::Linear, Scale::FromZero, Scale::Logarithmic] {
            let ruler = ruler(scale, &[1.0, 100.0]);
            let places = [1.0, 10.0, 100.0].map(|number| ruler.map(&number, (0, 1_000)));
            assert!(places.is_sorted() && places[0] >= 0, "{places:?}");
            assert!(places[2] <= 1_000, "{places:?}");
        }
        let logarithmic = ruler(Scale::Logarithmic, &[1.0, 100.0]);
        assert_eq!(logarithmic.map(&10.0, (0, 1_000)), 500);
    }

    #[test]
    fn zero_is_shown_where_it_must_be() {
        assert_eq!(ruler(Scale::FromZero, &[3.0, 4.0]).range().start, 0.0);
        assert!(ruler(Scale::Linear, &[3.0, 4.0]).range().start > 2.9);
    }

    #[test]
    fn no_numbers_and_one_number_still_make_a_range() {
        for numbers in [&[][..], &[7.0], &[f64::NAN], &[0.0, 0.0]] {
            for scale in [Scale::Linear, Scale::FromZero, Scale::Logarithmic] {
                let range = ruler(scale, numbers).range();
                assert!(range.start < range.end, "{numbers:?}: {range:?}");
            }
        }
    }

    #[test]
    fn numbers_are_written_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1000.0, "1000"),
            (20_000.0, "20k"),
            (2.5e6, "2.5M"),
            (1e-9, "1e-9"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.3"),
        ] {
            assert_eq!(short(number), text);
        }
    }
}
