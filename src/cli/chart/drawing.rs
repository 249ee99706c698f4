//! Draws charts with plotters; this file and the rulers alone name it.
//!
//! Colours are Okabe and Ito's (2008), which people of any colour vision tell apart; markers differ as well.
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;

use super::axis::Ruler;
use super::{Axis, Chart, Point, Series, Style};

const WIDTH: u32 = 760;
const HEIGHT: u32 = 440;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x33, 0x33, 0x33),
];

type Area<'a, 'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ruler, Ruler>>;
type Failure<'b> =
    DrawingAreaErrorKind<<SVGBackend<'b> as plotters::prelude::DrawingBackend>::ErrorType>;

/// The charts one below the other, as the text of an SVG file.
///
/// # Errors
/// What the drawing library said.
pub fn svg(charts: &[Chart]) -> Result<String, String> {
    let mut text = String::new();
    let count = charts.len().max(1);
    {
        let size = (WIDTH, HEIGHT.saturating_mul(count as u32));
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let drawn = root.fill(&WHITE).and_then(|()| {
            let areas = root.split_evenly((count, 1));
            charts
                .iter()
                .zip(&areas)
                .try_for_each(|(chart, area)| draw(chart, area))?;
            root.present()
        });
        drawn.map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn draw<'b>(chart: &Chart, area: &Area<'_, 'b>) -> Result<(), Failure<'b>> {
    let (x, y) = (
        ruler(chart, &chart.x, across),
        ruler(chart, &chart.y, upwards),
    );
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, 17).into_font().color(&INK))
        .margin(12)
        .margin_right(legend_width(chart))
        .x_label_area_size(48)
        .y_label_area_size(68)
        .build_cartesian_2d(x.clone(), y.clone())?;
    context
        .configure_mesh()
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .x_labels(9)
        .y_labels(8)
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .x_label_formatter(&|at| x.written(*at))
        .y_label_formatter(&|at| y.written(*at))
        .draw()?;
    let mut colours = 0;
    for series in &chart.series {
        let points: Vec<Point> = series
            .points
            .iter()
            .filter(|point| x.holds(point.x) && y.holds(point.y.mean))
            .copied()
            .collect();
        let kept = Series {
            points,
            ..series.clone()
        };
        match kept.style {
            Style::Reference => reference(&mut context, &kept)?,
            Style::Line | Style::Dots => {
                measured(&mut context, &kept, colours, &y)?;
                colours += 1;
            }
        }
    }
    if chart.series.len() > 1 {
        legend(&mut context)?;
    }
    Ok(())
}

fn legend<'a, 'b: 'a>(context: &mut Context<'a, 'b>) -> Result<(), Failure<'b>> {
    // Beside the plot, where it hides nothing.
    let (right, _) = context.plotting_area().dim_in_pixel();
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(right as i32 + 8, 0))
        .margin(8)
        .legend_area_size(26)
        .label_font((FONT, 13).into_font().color(&INK))
        .background_style(WHITE)
        .border_style(WHITE)
        .draw()
}

/// Space for the names of the series, in pixels; a margin where one series needs no name.
fn legend_width(chart: &Chart) -> u32 {
    let longest = chart
        .series
        .iter()
        .map(|series| series.name.chars().count())
        .max();
    match longest {
        Some(longest) if chart.series.len() > 1 => (56 + 7 * longest.min(36)) as u32,
        _ => 12,
    }
}

fn reference<'a, 'b: 'a>(
    context: &mut Context<'a, 'b>,
    series: &Series,
) -> Result<(), Failure<'b>> {
    let style = INK.mix(0.7).stroke_width(2);
    let points: Vec<(f64, f64)> = series.points.iter().map(|p| (p.x, p.y.mean)).collect();
    context
        .draw_series(DashedLineSeries::new(points, 7, 5, style))?
        .label(&series.name)
        .legend(move |(x, y)| {
            let dash = |from, to| PathElement::new(vec![(x + from, y), (x + to, y)], style);
            EmptyElement::at((0, 0)) + dash(0, 8) + dash(12, 20)
        });
    Ok(())
}

/// Circles, triangles and crosses in turn.
fn measured<'a, 'b: 'a>(
    context: &mut Context<'a, 'b>,
    series: &Series,
    number: usize,
    y: &Ruler,
) -> Result<(), Failure<'b>> {
    let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or(INK);
    let uncertain = series.points.iter().filter_map(|point| {
        let (low, high) = (point.y.low?, point.y.high?);
        (y.holds(low) && y.holds(high)).then_some((point.x, low, high))
    });
    let uncertain: Vec<(f64, f64, f64)> = uncertain.collect();
    if series.style == Style::Line {
        let below = uncertain.iter().map(|(x, low, _)| (*x, *low));
        let above = uncertain.iter().rev().map(|(x, _, high)| (*x, *high));
        let band: Vec<(f64, f64)> = below.chain(above).collect();
        context.draw_series([Polygon::new(band, colour.mix(0.18).filled())])?;
        let line = series.points.iter().map(|point| (point.x, point.y.mean));
        context.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
    } else {
        let whisker = |(x, low, high): &(f64, f64, f64)| {
            PathElement::new(vec![(*x, *low), (*x, *high)], colour.stroke_width(2))
        };
        context.draw_series(uncertain.iter().map(whisker))?;
    }
    let points = series.points.iter().map(|point| (point.x, point.y.mean));
    let (dot, stroke) = (colour.filled(), colour.stroke_width(2));
    match number % 3 {
        0 => context.draw_series(points.map(|at| Circle::new(at, 4, dot)))?,
        1 => context.draw_series(points.map(|at| TriangleMarker::new(at, 5, dot)))?,
        _ => context.draw_series(points.map(|at| Cross::new(at, 4, stroke)))?,
    }
    .label(&series.name)
    .legend(move |(x, y)| {
        let line = PathElement::new(vec![(x, y), (x + 20, y)], stroke);
        // The legend wants one type for all marks: those that are not wanted have no size.
        let size = |kind: usize| if number % 3 == kind { 4 } else { 0 };
        let at = (x + 10, y);
        EmptyElement::at((0, 0))
            + line
            + Circle::new(at, size(0), dot)
            + TriangleMarker::new(at, size(1) * 5 / 4, dot)
            + Cross::new(at, size(2), stroke)
    });
    Ok(())
}

/// A ruler over the numbers that a point puts on it.
fn ruler(chart: &Chart, axis: &Axis, numbers: fn(&Point) -> [Option<f64>; 3]) -> Ruler {
    let points = chart.series.iter().flat_map(|series| &series.points);
    Ruler::over(&axis.scale, points.flat_map(numbers).flatten())
}

fn across(point: &Point) -> [Option<f64>; 3] {
    [Some(point.x), None, None]
}

fn upwards(point: &Point) -> [Option<f64>; 3] {
    [Some(point.y.mean), point.y.low, point.y.high]
}
