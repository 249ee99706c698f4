//! A variant with a known rate of complaints: is it stopped, how soon, how much harm is avoided, and how often is it stopped wrongly?
//!
//! Invariant: under every rule the same mails leave at the same instants and the same of them bring complaints. The rules
//! alone are played many times; the first of these campaigns are played through the use cases as well and must stop at the same mail.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_distr::{Distribution, LogNormal};
use serde::Serialize;

use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

mod watchers;

use watchers::{Counts, UseCases, Watcher};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "guardrail",
    about: "a variant that brings complaints: stopped in time, and how often wrongly?",
};

/// The world, and how often to play in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// True complaint rates of the variant, one campaign each.
    pub rates: Vec<f64>,
    /// The limit.
    pub limit: f64,
    /// Mails with the variant, unless it is stopped.
    pub mails: u32,
    /// Mails with it per hour.
    pub mails_per_hour: f64,
    /// Median of the time until a complaint, hours.
    pub delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time.
    pub delay_sigma: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many of them are played through the use cases as well.
    pub checked_seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rates: vec![0.0005, 0.001, 0.002, 0.004],
            limit: 0.001,
            mails: 50_000,
            mails_per_hour: 1_000.0,
            delay_median_hours: 5.0,
            delay_sigma: 2.3,
            seed: 1,
            seeds: 2_000,
            checked_seeds: 2,
        }
    }
}

/// What mails count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// What they are worth by their age: the guardrail as it is.
    ByAge,
    /// One each, however young: complaints that are still to come count as none.
    Whole,
}

/// The result of one rule at one rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The true rate.
    pub rate: f64,
    /// The rule.
    pub rule: Rule,
    /// Share of campaigns in which the variant was stopped.
    pub stopped: Estimate,
    /// Of these, mails that had left in the median; none when it was never stopped.
    pub mails_median: Option<f64>,
    /// Complaints avoided over those that come without the guardrail.
    pub avoided: Estimate,
    /// Mails that it left fewer than counting them whole in the campaigns that both stopped; none when there are none.
    pub fewer_mails: Option<Estimate>,
    /// Campaigns that the use cases stopped at the same mail, of those checked; none for a rule that they do not go by.
    pub agreed: Option<u64>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world.
    pub options: Options,
    /// One row for each rate and rule.
    pub rows: Vec<Row>,
}

/// One campaign: for each mail that brings a complaint, its number and when, in order of its number.
struct Campaign<'a> {
    options: &'a Options,
    complaints: Vec<(u32, f64)>,
    rig_seed: u64,
}

/// How a campaign went.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Course {
    /// Mails that had left when it was stopped.
    stopped_after: Option<u32>,
    /// Share of the complaints that were avoided.
    avoided: f64,
}

/// One campaign under both rules.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Played {
    by_age: Course,
    whole: Course,
    agreed: bool,
}

/// Plays all campaigns.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds: Vec<u64> = (0..options.seeds).collect();
    progress.begin("campaigns", options.seeds * options.rates.len() as u64);
    let mut rows = Vec::with_capacity(2 * options.rates.len());
    for rate in &options.rates {
        let played = in_parallel(&seeds, |at| {
            let campaign = Campaign::new(options, *rate, options.seed.wrapping_add(*at))?;
            let by_age = campaign.play(&mut Counts::new(options, Rule::ByAge))?;
            let whole = campaign.play(&mut Counts::new(options, Rule::Whole))?;
            let agreed = *at < options.checked_seeds
                && campaign.play(&mut UseCases::new(&campaign)?)? == by_age;
            progress.advance(1);
            Ok(Played {
                by_age,
                whole,
                agreed,
            })
        })?;
        rows.extend(rows_of(*rate, &played));
    }
    Ok(Report {
        options: options.clone(),
        rows,
    })
}

fn rows_of(rate: f64, played: &[Played]) -> [Row; 2] {
    let fewer: Vec<f64> = played
        .iter()
        .filter_map(|one| {
            let (by_age, whole) = (one.by_age.stopped_after?, one.whole.stopped_after?);
            Some(f64::from(whole) - f64::from(by_age))
        })
        .collect();
    let agreed = played.iter().filter(|one| one.agreed).count() as u64;
    let by_age: Vec<Course> = played.iter().map(|one| one.by_age).collect();
    let whole: Vec<Course> = played.iter().map(|one| one.whole).collect();
    [
        Row {
            fewer_mails: (!fewer.is_empty()).then(|| Estimate::over_runs(&fewer)),
            agreed: Some(agreed),
            ..row(rate, Rule::ByAge, &by_age)
        },
        row(rate, Rule::Whole, &whole),
    ]
}

fn row(rate: f64, rule: Rule, courses: &[Course]) -> Row {
    let mut after: Vec<u32> = courses
        .iter()
        .filter_map(|course| course.stopped_after)
        .collect();
    after.sort_unstable();
    let stopped: Vec<f64> = courses
        .iter()
        .map(|course| f64::from(u8::from(course.stopped_after.is_some())))
        .collect();
    let avoided: Vec<f64> = courses.iter().map(|course| course.avoided).collect();
    Row {
        rate,
        rule,
        stopped: Estimate::over_runs(&stopped),
        mails_median: after.get(after.len() / 2).map(|mails| f64::from(*mails)),
        avoided: Estimate::over_runs(&avoided),
        fewer_mails: None,
        agreed: None,
    }
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let is_share = |share: &f64| *share > 0.0 && *share < 1.0;
    if options.rates.is_empty() || !options.rates.iter().all(is_share) || !is_share(&options.limit)
    {
        return refuse("rates and limit must be between 0 and 1");
    }
    let positive = [
        options.mails_per_hour,
        options.delay_median_hours,
        options.delay_sigma,
    ];
    if !positive.iter().all(|number| *number > 0.0 && *number < 1e9) {
        return refuse("mails per hour, hours and sigma must be above 0");
    }
    if options.mails == 0 || options.seeds == 0 {
        return refuse("there must be mails and seeds");
    }
    Ok(())
}

// === impl Campaign ===

impl<'a> Campaign<'a> {
    fn new(options: &'a Options, rate: f64, seed: u64) -> Result<Self, LabError> {
        let stream = |purpose| {
            Stream::new(StreamName {
                seed,
                world: "guardrail",
                purpose,
            })
        };
        let delay = LogNormal::new(options.delay_median_hours.ln(), options.delay_sigma)
            .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
        let (mut luck, mut delays) = (stream("complaints"), stream("delays"));
        let mut complaints = Vec::new();
        for number in 0..options.mails {
            // Drawn for every mail, so that a higher rate only adds complaints.
            let (complains, hours) = (luck.unit() < rate, delay.sample(delays.generator()));
            if complains && hours <= HOURS_MAX {
                complaints.push((number, hours));
            }
        }
        Ok(Self {
            options,
            complaints,
            rig_seed: stream("rig").bits(),
        })
    }

    fn sent_hours(&self, number: u32) -> f64 {
        f64::from(number) / self.options.mails_per_hour
    }

    /// Sends until the watcher says stop, and counts who is spared.
    fn play(&self, watcher: &mut dyn Watcher) -> Result<Course, LabError> {
        let mut coming: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
        let microseconds = |hours: f64| (hours * 3.6e9) as u64;
        let mut complaints = self.complaints.iter().peekable();
        for number in 0..self.options.mails {
            let now_hours = self.sent_hours(number);
            while let Some(Reverse((at, of))) = coming.peek().copied() {
                if at > microseconds(now_hours) {
                    break;
                }
                coming.pop();
                if watcher.complain(of, now_hours)? {
                    return Ok(self.stopped(number));
                }
            }
            watcher.send(number, now_hours)?;
            if let Some((_, delay)) = complaints.next_if(|(of, _)| *of == number) {
                coming.push(Reverse((microseconds(now_hours + delay), number)));
            }
        }
        while let Some(Reverse((at, of))) = coming.pop() {
            if watcher.complain(of, at as f64 / 3.6e9)? {
                return Ok(self.stopped(self.options.mails));
            }
        }
        Ok(Course {
            stopped_after: None,
            avoided: 0.0,
        })
    }

    fn stopped(&self, mails: u32) -> Course {
        let all = self.complaints.len();
        let spared = self
            .complaints
            .iter()
            .filter(|(of, _)| *of >= mails)
            .count();
        Course {
            stopped_after: Some(mails),
            avoided: if all > 0 {
                spared as f64 / all as f64
            } else {
                0.0
            },
        }
    }
}

/// Complaints later than this do not happen, hours.
const HOURS_MAX: f64 = 168.0;

#[cfg(test)]
mod tests;
