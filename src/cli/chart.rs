//! Small charts of results: lines with bands or dots with whiskers, as SVG.
//!
//! Invariant: what is not a finite number (or not above 0 on a logarithmic axis) is left out, and any chart can be drawn.
//! Numbers come from the reports; where the text is written is left to the caller.
mod axis;
mod drawing;

pub use drawing::svg;

use crate::lab::Estimate;

/// One chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// A short word for file names.
    pub name: &'static str,
    /// What is shown, for the heading.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
}

/// An axis with its label, which says the unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured along it, with its unit.
    pub label: String,
    /// How numbers become places.
    pub scale: Scale,
}

/// How numbers become places on an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Equal differences are equal distances.
    Linear,
    /// The same, and zero is always shown.
    FromZero,
    /// Equal ratios are equal distances; for positive numbers.
    Logarithmic,
    /// The numbers 0, 1, 2 ... stand for these names.
    Named(Vec<String>),
}

/// Points of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its entry in the legend.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// Where, and how surely.
    pub points: Vec<Point>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line with dots, and a band for the intervals.
    Line,
    /// Dots with whiskers for the intervals.
    Dots,
    /// A dashed grey line: what was published, aimed at, or is the limit.
    Reference,
}

/// A point with the interval of its height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Place along the horizontal axis.
    pub x: f64,
    /// Height, with its interval if it has one.
    pub y: Estimate,
}

// === impl Axis ===

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self::of(label, Scale::Linear)
    }

    /// A linear axis that shows zero.
    pub fn from_zero(label: impl Into<String>) -> Self {
        Self::of(label, Scale::FromZero)
    }

    /// A logarithmic axis.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self::of(label, Scale::Logarithmic)
    }

    /// An axis of names, at 0, 1, 2 ...
    pub fn named(label: impl Into<String>, names: Vec<String>) -> Self {
        Self::of(label, Scale::Named(names))
    }

    fn of(label: impl Into<String>, scale: Scale) -> Self {
        Self {
            label: label.into(),
            scale,
        }
    }
}

// === impl Series ===

impl Series {
    /// A line through points with intervals.
    pub fn line(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, Estimate)>,
    ) -> Self {
        Self::of(name, Style::Line, points)
    }

    /// Dots with whiskers.
    pub fn dots(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, Estimate)>,
    ) -> Self {
        Self::of(name, Style::Dots, points)
    }

    /// A dashed line through certain points.
    pub fn reference(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let certain = |(x, y)| (x, Estimate::certain(y));
        Self::of(name, Style::Reference, points.into_iter().map(certain))
    }

    fn of(
        name: impl Into<String>,
        style: Style,
        points: impl IntoIterator<Item = (f64, Estimate)>,
    ) -> Self {
        Self {
            name: name.into(),
            style,
            points: points.into_iter().map(|(x, y)| Point { x, y }).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
