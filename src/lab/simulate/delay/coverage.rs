//! Whether 95 % intervals contain the truth in 95 % of campaigns, however young the mails are.
//!
//! Invariant: the sends of a cell are the same in every round; only answers and delays are drawn anew.
use serde::Serialize;

use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::learn;
use crate::domain::exposure::Exposure;
use crate::domain::posterior::{Prior, naive_posterior, posterior};
use crate::lab::LabError;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::{Options, delays, history, known_curve, prior};

/// Mails of a campaign.
const MAILS: u32 = 2_000;
/// Opens of the history that a learned curve rests on.
const LEARNED_OPENS: u32 = 20_000;
/// True rates.
const RATES: [f64; 3] = [0.02, 0.2, 0.4];
/// Ages of the youngest and oldest mail, hours.
const AGES_HOURS: [(f64, f64); 5] = [
    (0.0, 0.5),
    (0.0, 4.0),
    (2.0, 6.0),
    (20.0, 24.0),
    (0.0, 336.0),
];

/// How often the intervals contain the truth, in one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoverageRow {
    /// True rate.
    pub rate: f64,
    /// Age of the youngest mail, hours.
    pub youngest_hours: f64,
    /// Age of the oldest mail, hours.
    pub oldest_hours: f64,
    /// Percent of the campaigns, with the true curve known.
    pub known_percent: f64,
    /// Percent with a curve learned from 20,000 earlier opens.
    pub learned_percent: f64,
    /// Percent if silence is taken for refusal.
    pub naive_percent: f64,
}

/// Measures all cells.
pub fn measure(options: &Options, progress: &dyn Progress) -> Result<Vec<CoverageRow>, LabError> {
    let cells: Vec<(f64, (f64, f64))> = RATES
        .into_iter()
        .flat_map(|rate| AGES_HOURS.map(|ages| (rate, ages)))
        .collect();
    let known = known_curve(options)?;
    let history = history(options, LEARNED_OPENS, "learned curve")?;
    let learned = learn(&prior(), &[history])
        .curve
        .within(options.attribution_hours);
    progress.begin("intervals", cells.len() as u64);
    in_parallel(&cells, |(rate, ages)| {
        let row = cell(options, *rate, *ages, [known, learned]);
        progress.advance(1);
        row
    })
}

fn cell(
    options: &Options,
    rate: f64,
    (youngest_hours, oldest_hours): (f64, f64),
    [known, learned]: [DelayCurve; 2],
) -> Result<CoverageRow, LabError> {
    let step = (oldest_hours - youngest_hours) / f64::from(MAILS);
    let ages: Vec<f64> = (0..MAILS)
        .map(|mail| youngest_hours + step * (f64::from(mail) + 0.5))
        .collect();
    let mut sent = Exposure::default();
    ages.iter()
        .for_each(|age_hours| sent.add(&Exposure::trial(1.0, *age_hours)));
    let mut stream = Stream::new(StreamName {
        seed: options.seed,
        world: "delay",
        purpose: "intervals",
    });
    let delay = delays(options)?;
    // Weak, as decisions have it, and centred so that it does not help.
    let weak = Prior {
        mean: rate,
        weight: 1.0,
    };
    let mut covered = [0u32; 3];
    for _ in 0..options.coverage_rounds {
        let mut successes = 0.0;
        for age_hours in &ages {
            if stream.unit() < rate && delay(&mut stream) <= *age_hours {
                successes += 1.0;
            }
        }
        let exposure = Exposure {
            successes,
            ..sent.clone()
        };
        let shapes = [
            posterior(weak, &exposure, &known),
            posterior(weak, &exposure, &learned),
            naive_posterior(weak, &exposure),
        ];
        for (count, shape) in covered.iter_mut().zip(shapes) {
            *count += u32::from((0.025..=0.975).contains(&shape.cdf(rate)));
        }
    }
    let percent =
        covered.map(|count| 100.0 * f64::from(count) / f64::from(options.coverage_rounds));
    let [known_percent, learned_percent, naive_percent] = percent;
    Ok(CoverageRow {
        rate,
        youngest_hours,
        oldest_hours,
        known_percent,
        learned_percent,
        naive_percent,
    })
}
