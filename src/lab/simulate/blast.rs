//! One campaign sent within hours, while most answers take longer: who takes silence for refusal loses opens.
//!
//! Invariant: all policies send the same mails at the same instants and meet the same answers and delays. What is measured is the expected number of
//! opens lost against always sending the best variant.
mod choosers;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_distr::{Distribution, LogNormal};
use serde::Serialize;

use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{Objective, Settings};
use crate::domain::snapshot::default_curve;
use crate::lab::LabError;
use crate::lab::campaign::campaign_settings;
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use choosers::{Alike, Chooser, Drawn, UseCases, choices};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "blast",
    about: "one campaign sent within hours, while most opens take longer",
};

/// The world, and how often to play in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Mails to send.
    pub recipients: u32,
    /// True open rates of the variants.
    pub rates: Vec<f64>,
    /// Time in which all mails leave, evenly, hours.
    pub window_hours: f64,
    /// Time between two looks at the answers, minutes.
    pub refresh_minutes: f64,
    /// Median of the time until an open, hours.
    pub delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time.
    pub delay_sigma: f64,
    /// Opens later than this do not happen, hours.
    pub attribution_hours: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recipients: 20_000,
            rates: vec![0.20, 0.21, 0.22, 0.24],
            window_hours: 4.0,
            refresh_minutes: 5.0,
            delay_median_hours: 5.0,
            delay_sigma: 2.3,
            attribution_hours: 168.0,
            seed: 1,
            seeds: 20,
        }
    }
}

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// hermod through its use cases: corrected for answers still to come.
    Hermod,
    /// hermod's snapshots with the same correction: checks the yardstick's machinery.
    Corrected,
    /// The same snapshots believing that every answer comes at once.
    Naive,
    /// All variants alike.
    Uniform,
}

/// One rule's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The rule.
    pub rule: Rule,
    /// Opens lost in a campaign, with the interval over seeds.
    pub lost_opens: Estimate,
    /// Opens lost over those that hermod lost, with the interval over seeds (bootstrap).
    pub times_hermod: Estimate,
    /// Share of the mails with the best variant, percent.
    pub best_share_percent: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world.
    pub options: Options,
    /// The rules.
    pub rows: Vec<Row>,
}

/// One campaign: the instants, answers and delays that all rules share.
struct Campaign<'a> {
    options: &'a Options,
    mails: Vec<Mail>,
    rig_seed: u64,
    choices: u64,
}

#[derive(Clone, Copy)]
struct Mail {
    sent_hours: f64,
    /// Opened if below the rate of its variant.
    luck: f64,
    delay_hours: f64,
}

// === impl Rule ===

impl Rule {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Hermod, Self::Corrected, Self::Naive, Self::Uniform];

    fn chooser(self, campaign: &Campaign<'_>) -> Result<Box<dyn Chooser>, LabError> {
        let seed = campaign.choices;
        let drawn = |curve| Drawn::new(campaign, curve, seed);
        Ok(match self {
            Self::Hermod => Box::new(UseCases::new(campaign)?),
            Self::Corrected => Box::new(drawn(default_curve(Objective::Open))?),
            Self::Naive => Box::new(drawn(DelayCurve::instant())?),
            Self::Uniform => Box::new(Alike {
                arms: campaign.options.rates.len(),
                choices: choices(seed),
            }),
        })
    }
}

/// Plays the campaign under every rule, once for each seed.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds: Vec<u64> = (0..options.seeds)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    progress.begin("campaigns", options.seeds);
    let sends: Vec<Vec<Vec<u64>>> = in_parallel(&seeds, |seed| {
        let campaign = Campaign::new(options, *seed)?;
        let sends = Rule::ALL.map(|rule| campaign.play(rule));
        progress.advance(1);
        sends.into_iter().collect()
    })?;
    let best = options.rates.iter().copied().fold(0.0, f64::max);
    let lost = |sends: &[u64]| -> f64 {
        let losses = sends.iter().zip(&options.rates);
        losses.map(|(n, rate)| *n as f64 * (best - rate)).sum()
    };
    let of_rule = |at: usize| -> Vec<f64> {
        let runs = sends.iter().filter_map(|run| run.get(at));
        runs.map(|sends| lost(sends)).collect()
    };
    let hermod = of_rule(0);
    let row = |(at, rule): (usize, &Rule)| {
        let losses = of_rule(at);
        let units: Vec<Share> = losses
            .iter()
            .zip(&hermod)
            .map(|(part, whole)| Share {
                part: *part,
                whole: *whole,
            })
            .collect();
        let on_best: u64 = sends
            .iter()
            .filter_map(|run| run.get(at))
            .flat_map(|sends| sends.iter().zip(&options.rates))
            .filter(|(_, rate)| **rate == best)
            .map(|(n, _)| n)
            .sum();
        let all = options.seeds as f64 * f64::from(options.recipients);
        Row {
            rule: *rule,
            lost_opens: Estimate::over_runs(&losses),
            times_hermod: Estimate::over_units(&units, options.seed),
            best_share_percent: 100.0 * on_best as f64 / all,
        }
    };
    Ok(Report {
        options: options.clone(),
        rows: Rule::ALL.iter().enumerate().map(row).collect(),
    })
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if options.rates.len() < 2 || !options.rates.iter().all(|rate| (0.0..=1.0).contains(rate)) {
        return refuse("a blast needs two or more open rates between 0 and 1");
    }
    let positive = [
        options.window_hours,
        options.refresh_minutes,
        options.delay_median_hours,
        options.delay_sigma,
        options.attribution_hours,
    ];
    if !positive.iter().all(|number| *number > 0.0 && *number < 1e6) {
        return refuse("hours, minutes and sigma of a blast must be above 0");
    }
    if options.attribution_hours < 0.01 * options.delay_median_hours {
        return refuse("practically no open comes within the attribution window");
    }
    if options.recipients == 0 || options.seeds == 0 {
        return refuse("a blast needs recipients and seeds");
    }
    Ok(())
}

// === impl Campaign ===

impl<'a> Campaign<'a> {
    fn new(options: &'a Options, seed: u64) -> Result<Self, LabError> {
        let stream = |purpose| {
            Stream::new(StreamName {
                seed,
                world: "blast",
                purpose,
            })
        };
        let delay = LogNormal::new(options.delay_median_hours.ln(), options.delay_sigma)
            .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
        let (mut luck, mut delays) = (stream("answers"), stream("delays"));
        let mut delay_hours = || loop {
            let hours = delay.sample(delays.generator());
            if hours <= options.attribution_hours {
                return hours;
            }
        };
        let count = f64::from(options.recipients);
        let mails = (0..options.recipients)
            .map(|number| Mail {
                sent_hours: options.window_hours * (f64::from(number) + 0.5) / count,
                luck: luck.unit(),
                delay_hours: delay_hours(),
            })
            .collect();
        Ok(Self {
            options,
            mails,
            rig_seed: stream("rig").bits(),
            choices: seed,
        })
    }

    fn settings(&self) -> Settings {
        Settings {
            attribution_window_ms: (self.options.attribution_hours * 3_600_000.0) as i64,
            ..campaign_settings(Objective::Open, u64::from(self.options.recipients))
        }
    }

    /// Sends by variant.
    fn play(&self, rule: Rule) -> Result<Vec<u64>, LabError> {
        let mut chooser = rule.chooser(self)?;
        let mut sends = vec![0; self.options.rates.len()];
        // Opens on their way, the next one first; microseconds, which have an order.
        let mut coming: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let microseconds = |hours: f64| (hours * 3.6e9) as u64;
        let mut next_look_hours = 0.0;
        for (number, mail) in self.mails.iter().enumerate() {
            while mail.sent_hours >= next_look_hours {
                let mut opened = Vec::new();
                while let Some(Reverse((at, of))) = coming.peek().copied() {
                    if at > microseconds(next_look_hours) {
                        break;
                    }
                    coming.pop();
                    opened.push(of);
                }
                chooser.look(next_look_hours, &opened)?;
                next_look_hours += self.options.refresh_minutes / 60.0;
            }
            let arm = chooser.choose(number, mail.sent_hours)?;
            if let Some(count) = sends.get_mut(arm) {
                *count += 1;
            }
            if self
                .options
                .rates
                .get(arm)
                .is_some_and(|rate| mail.luck < *rate)
            {
                let at = microseconds(mail.sent_hours + mail.delay_hours);
                coming.push(Reverse((at, number)));
            }
        }
        Ok(sends)
    }
}

#[cfg(test)]
mod tests;
