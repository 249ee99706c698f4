//! Delayed answers: what not knowing yet costs, by rule, in four campaigns; and whether intervals keep their promise while mails are pending.
//!
//! Invariant: all rules send the same mails at the same instants and meet the same answers and delays. What is measured is the expected number of
//! opens lost against always sending the best variant, also while it is not there yet.
mod coverage;
mod play;
mod rules;

use rand_distr::{Distribution, LogNormal};
use serde::Serialize;

use crate::domain::arrivals::bin_of;
use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::{DelayEvidence, DelayPrior, learn};
use crate::domain::policy::Policy;
use crate::lab::LabError;
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

pub use coverage::CoverageRow;
pub use rules::Rule;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "delay",
    about: "what answers that come hours later cost, by rule, and whether intervals hold",
};

/// Mails in the history that a known curve is taken from.
const HISTORY_MAILS: u32 = 400_000;

/// The worlds, and how often to play in each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Median of the time until an open, hours.
    pub delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time.
    pub delay_sigma: f64,
    /// Opens later than this do not happen, hours.
    pub attribution_hours: f64,
    /// Probability spread evenly over the variants.
    pub floor: f64,
    /// Campaigns with intervals, in each cell of that table.
    pub coverage_rounds: u32,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delay_median_hours: 5.0,
            delay_sigma: 2.3,
            attribution_hours: 168.0,
            floor: 0.02,
            coverage_rounds: 2_000,
            seed: 1,
            seeds: 20,
        }
    }
}

/// One campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Mails to send.
    pub mails: u32,
    /// Time in which they leave, evenly, hours.
    pub hours: f64,
    /// True open rates of the variants.
    pub rates: Vec<f64>,
    /// When the last variant joins, hours.
    pub last_joins_hours: f64,
    /// Whether the number of mails is known beforehand.
    pub is_planned: bool,
    /// Time between two looks at the answers, hours.
    pub look_hours: f64,
}

/// A rule's result in one campaign under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The campaign.
    pub case: &'static str,
    /// The policy.
    pub policy: Policy,
    /// The rule.
    pub rule: Rule,
    /// Opens lost, with the interval over seeds.
    pub lost_opens: Estimate,
    /// Over those lost with feedback at once (bootstrap over seeds).
    pub times_instant: Estimate,
    /// Over those lost by the naive rule (bootstrap over seeds).
    pub times_naive: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world.
    pub options: Options,
    /// The rules.
    pub rows: Vec<Row>,
    /// The intervals.
    pub coverage: Vec<CoverageRow>,
}

/// The four campaigns: two blasts of 100,000, a flow of 2,000 a day, and one of 5,000 a day that a better variant joins on the fourth day.
pub fn cases() -> Vec<Case> {
    let case = |name, mails, hours| Case {
        name,
        mails,
        hours,
        rates: vec![0.20, 0.21, 0.22, 0.24],
        last_joins_hours: 0.0,
        is_planned: hours <= 24.0,
        look_hours: if hours <= 24.0 { 1.0 / 12.0 } else { 1.0 },
    };
    let joined = Case {
        rates: vec![0.20, 0.21, 0.26],
        last_joins_hours: 72.0,
        ..case("S4 5,000 a day, better one joins", 50_000, 240.0)
    };
    vec![
        case("S1 100,000 in 4 h", 100_000, 4.0),
        case("S2 100,000 in 24 h", 100_000, 24.0),
        case("S3 2,000 a day, 14 days", 28_000, 336.0),
        joined,
    ]
}

/// Plays all campaigns under all rules and both policies, once for each seed; then measures the intervals.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    run_cases(options, &cases(), progress)
}

fn run_cases(
    options: &Options,
    cases: &[Case],
    progress: &dyn Progress,
) -> Result<Report, LabError> {
    check(options)?;
    let known = known_curve(options)?;
    let seeds: Vec<u64> = (0..options.seeds)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    progress.begin("campaigns", options.seeds * cases.len() as u64 * 2);
    let mut rows = Vec::new();
    for case in cases {
        for policy in [Policy::HorizonThompson, Policy::Thompson] {
            let lost: Vec<Vec<f64>> = in_parallel(&seeds, |seed| {
                let campaign = play::Campaign::new(options, case, &policy, *seed)?;
                let lost = Rule::ALL.map(|rule| campaign.play(rule, known));
                progress.advance(1);
                lost.into_iter().collect()
            })?;
            rows.extend(rows_of(options, case, &policy, &lost));
        }
    }
    Ok(Report {
        options: options.clone(),
        rows,
        coverage: coverage::measure(options, progress)?,
    })
}

fn rows_of(options: &Options, case: &Case, policy: &Policy, lost: &[Vec<f64>]) -> Vec<Row> {
    let of_rule = |rule: Rule| -> Vec<f64> {
        let at = Rule::ALL.iter().position(|other| *other == rule);
        lost.iter()
            .filter_map(|run| run.get(at?).copied())
            .collect()
    };
    let over = |rule, other| {
        let pairs = of_rule(rule).into_iter().zip(of_rule(other));
        let units: Vec<Share> = pairs.map(|(part, whole)| Share { part, whole }).collect();
        Estimate::over_units(&units, options.seed)
    };
    let row = |rule: Rule| Row {
        case: case.name,
        policy: policy.clone(),
        rule,
        lost_opens: Estimate::over_runs(&of_rule(rule)),
        times_instant: over(rule, Rule::Instant),
        times_naive: over(rule, Rule::Naive),
    };
    Rule::ALL.into_iter().map(row).collect()
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let positive = [
        options.delay_median_hours,
        options.delay_sigma,
        options.attribution_hours,
    ];
    if !positive.iter().all(|number| *number > 0.0 && *number < 1e6) {
        return refuse("hours and sigma of delays must be above 0");
    }
    if options.attribution_hours < 0.01 * options.delay_median_hours {
        return refuse("practically no open comes within the attribution window");
    }
    if !(0.0..=0.5).contains(&options.floor) {
        return refuse("the floor must lie between 0 and 0.5");
    }
    if options.seeds == 0 || options.coverage_rounds == 0 {
        return refuse("there must be seeds and rounds");
    }
    Ok(())
}

/// Draws delays within the window, hours.
fn delays(options: &Options) -> Result<impl Fn(&mut Stream) -> f64, LabError> {
    let delay = LogNormal::new(options.delay_median_hours.ln(), options.delay_sigma)
        .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
    let window_hours = options.attribution_hours;
    Ok(move |stream: &mut Stream| {
        loop {
            let hours = delay.sample(stream.generator());
            if hours <= window_hours {
                return hours;
            }
        }
    })
}

/// What a long history of old mails teaches of the true curve.
fn known_curve(options: &Options) -> Result<DelayCurve, LabError> {
    let mut evidence = history(options, HISTORY_MAILS, "known curve")?;
    evidence.importance = 1.0;
    Ok(learn(&prior(), &[evidence])
        .curve
        .within(options.attribution_hours))
}

/// Delays of so many opens of mails that are long past their window.
fn history(
    options: &Options,
    opens: u32,
    purpose: &'static str,
) -> Result<DelayEvidence, LabError> {
    let mut stream = Stream::new(StreamName {
        seed: options.seed,
        world: "delay",
        purpose,
    });
    let delay = delays(options)?;
    let mut evidence = DelayEvidence {
        trials: 5.0 * f64::from(opens),
        successes: f64::from(opens),
        window_hours: options.attribution_hours,
        importance: 1.0,
        ..DelayEvidence::default()
    };
    for _ in 0..opens {
        if let Some(weight) = evidence.arrived.get_mut(bin_of(delay(&mut stream))) {
            *weight += 1.0;
        }
    }
    Ok(evidence)
}

fn prior() -> DelayPrior {
    DelayPrior {
        published: DelayCurve::default_open(),
        high_rate: 0.5,
    }
}

#[cfg(test)]
mod tests;
