//! Charts as text: what is in them, and that odd numbers cannot break them.
use super::*;

fn estimate(mean: f64) -> Estimate {
    Estimate {
        mean,
        low: Some(0.9 * mean),
        high: Some(1.1 * mean),
    }
}

fn chart(points: &[(f64, f64)]) -> Chart {
    let points = || points.iter().map(|(x, y)| (*x, estimate(*y)));
    Chart {
        name: "regret",
        title: "Regret < 1 & falling".to_owned(),
        x: Axis::logarithmic("trials"),
        y: Axis::from_zero("regret, opens"),
        series: vec![
            Series::line("hermod", points()),
            Series::dots("uniform", points().map(|(x, y)| (x, y.times(2.0)))),
            Series::reference("limit", [(10.0, 1.0), (1_000.0, 3.0)]),
        ],
    }
}

#[test]
fn a_chart_shows_its_title_axes_and_legend() {
    let text = svg(&[chart(&[(10.0, 1.0), (100.0, 2.0), (1_000.0, 3.0)])]).unwrap();
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
    for word in [
        "Regret &lt; 1 &amp; falling",
        "trials",
        "regret, opens",
        "hermod",
        "uniform",
        "limit",
        "1000",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert!(
        text.contains("polygon") && text.contains("circle"),
        "{text}"
    );
}

#[test]
fn charts_are_stacked_in_one_file() {
    let one = svg(&[chart(&[(10.0, 1.0)])]).unwrap();
    let two = svg(&[chart(&[(10.0, 1.0)]), chart(&[(10.0, 1.0)])]).unwrap();
    assert!(one.contains("height=\"440\"") && two.contains("height=\"880\""));
}

#[test]
fn odd_numbers_are_left_out_and_nothing_is_no_failure() {
    for points in [
        &[][..],
        &[(0.0, 1.0)],
        &[(10.0, f64::NAN), (f64::INFINITY, 1.0), (5.0, 5.0)],
    ] {
        let text = svg(&[chart(points)]).unwrap();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
    let empty = Chart {
        x: Axis::named("nobody", Vec::new()),
        series: Vec::new(),
        ..chart(&[])
    };
    assert!(svg(&[empty]).unwrap().contains("nobody"));
    assert!(svg(&[]).is_ok());
}
