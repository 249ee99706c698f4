//! The holdout under a thousand looks: how often a confidence sequence sees an uplift that is not there, and how often one that is.
//!
//! Invariant: each look judges exactly the sums that a server would have then. Only the counting of mails one by one is left out; that the use
//! cases arrive at the same uplift is tested beside this file.
use rand_distr::{Binomial, Distribution, LogNormal};
use serde::Serialize;

use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::uplift::{Plan, Side, Sides, TRIALS_MIN};
use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "holdout",
    about: "uplift over a holdout, watched a thousand times: false alarms and power",
};

/// Critical value of a two-sided test at 5 % for one look.
const ONE_LOOK: f64 = 1.959_963_984_540_054;
/// Median and log-sd of the true delays, hours: published open delays, which the default curve fits to 0.02.
const TRUE_DELAY: (f64, f64) = (5.0, 2.3);

/// The lists, and how often to play them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Mails of a list.
    pub sends: u64,
    /// Looks at the results, evenly over the sends.
    pub looks: u64,
    /// Rates in the holdout.
    pub rates: Vec<f64>,
    /// Shares of the holdout.
    pub shares: Vec<f64>,
    /// A true uplift to look for, relative.
    pub uplift: f64,
    /// Days over which the mails leave where answers are late.
    pub days: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sends: 200_000,
            looks: 1_000,
            rates: vec![0.22, 0.02],
            shares: vec![0.5, 0.05],
            uplift: 0.05,
            days: 14.0,
            seed: 1,
            seeds: 1_000,
        }
    }
}

/// One kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct World {
    /// Rate in the holdout.
    pub rate: f64,
    /// Share of the holdout.
    pub share: f64,
    /// True uplift, relative.
    pub uplift: f64,
    /// Whether answers take their time.
    pub is_delayed: bool,
}

/// What was seen in one kind of list; shares of the lists, percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kind.
    pub world: World,
    /// Lists in which the sequence ever claimed an uplift or a loss.
    pub claimed_percent: Estimate,
    /// Lists in which a test of 5 % repeated at every look ever did.
    pub repeated_test_percent: Estimate,
    /// Lists in which the true difference was ever outside of the sequence.
    pub missed_percent: Estimate,
    /// Mails after which half of the claims had been made; none without claims.
    pub median_sends: Option<f64>,
    /// The smallest uplift said to be found in 80 % of such lists, relative.
    pub detectable: Option<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The lists.
    pub options: Options,
    /// One per kind.
    pub rows: Vec<Row>,
}

/// What happened in one list.
#[derive(Clone, Copy, Default)]
struct Seen {
    claimed_at: Option<f64>,
    repeated_test: bool,
    missed: bool,
}

/// One side while its mails leave and are answered.
struct Lane {
    rate: f64,
    exposure: Exposure,
    /// Successes by the look at which they are in.
    arriving: Vec<f64>,
}

/// Watches lists of every kind.
///
/// # Errors
/// The options make no list.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let worlds = worlds(options);
    let jobs: Vec<(World, u64)> = worlds
        .iter()
        .flat_map(|world| (0..options.seeds).map(|at| (*world, options.seed.wrapping_add(at))))
        .collect();
    progress.begin("lists", jobs.len() as u64);
    let seen = in_parallel(&jobs, |(world, seed)| {
        let seen = watch(options, *world, *seed)?;
        progress.advance(1);
        Ok(seen)
    })?;
    let per_world = seen.chunks(options.seeds as usize).zip(&worlds);
    Ok(Report {
        options: options.clone(),
        rows: per_world
            .map(|(seen, world)| row(options, *world, seen))
            .collect(),
    })
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let within = |numbers: &[f64], high: f64| {
        !numbers.is_empty() && numbers.iter().all(|n| *n > 0.0 && *n <= high)
    };
    if !within(&options.rates, 0.5) || !within(&options.shares, 0.5) {
        return refuse("rates and holdout shares must be above 0 and at most 0.5");
    }
    if options.looks == 0 || options.sends < options.looks || options.seeds == 0 {
        return refuse("a list needs a look, at least one mail for each, and seeds");
    }
    if !(options.uplift.abs() < 1.0 && options.days > 0.0 && options.days < 1e4) {
        return refuse("the uplift must be within -1 and 1, the days above 0");
    }
    Ok(())
}

/// No uplift, the one asked for, and the one that is said to be detectable, in every combination of the rest.
fn worlds(options: &Options) -> Vec<World> {
    let mut worlds = Vec::new();
    for is_delayed in [false, true] {
        for rate in &options.rates {
            for share in &options.shares {
                let detectable = detectable(options, *rate, *share);
                for uplift in [Some(0.0), Some(options.uplift), detectable] {
                    worlds.extend(
                        uplift
                            .filter(|u| rate * (1.0 + u) < 1.0)
                            .map(|uplift| World {
                                rate: *rate,
                                share: *share,
                                uplift,
                                is_delayed,
                            }),
                    );
                }
            }
        }
    }
    worlds
}

fn detectable(options: &Options, rate: f64, holdout_share: f64) -> Option<f64> {
    let side = Side::expected(1.0, rate);
    let detectable = plan(options, holdout_share).detectable(side);
    detectable.map(|detectable| detectable.relative)
}

fn plan(options: &Options, holdout_share: f64) -> Plan {
    Plan {
        mails: options.sends as f64,
        holdout_share,
    }
}

fn row(options: &Options, world: World, seen: &[Seen]) -> Row {
    let percent = |of: &dyn Fn(&Seen) -> bool| {
        let values: Vec<f64> = seen
            .iter()
            .map(|seen| 100.0 * f64::from(u8::from(of(seen))))
            .collect();
        Estimate::over_runs(&values)
    };
    let mut claims: Vec<f64> = seen.iter().filter_map(|seen| seen.claimed_at).collect();
    claims.sort_unstable_by(f64::total_cmp);
    Row {
        world,
        claimed_percent: percent(&|seen| seen.claimed_at.is_some()),
        repeated_test_percent: percent(&|seen| seen.repeated_test),
        missed_percent: percent(&|seen| seen.missed),
        median_sends: claims.get(claims.len() / 2).copied(),
        detectable: detectable(options, world.rate, world.share),
    }
}

/// One list from the first mail to the last look.
fn watch(options: &Options, world: World, seed: u64) -> Result<Seen, LabError> {
    let curve = if world.is_delayed {
        DelayCurve::default_open()
    } else {
        DelayCurve::instant()
    };
    let looks = options.looks as usize;
    let hours = 24.0 * options.days / options.looks as f64;
    let mut policy = Lane::new(world.rate * (1.0 + world.uplift), looks);
    let mut holdout = Lane::new(world.rate, looks);
    let mut stream = Stream::new(StreamName {
        seed,
        world: "holdout",
        purpose: if world.is_delayed { "late" } else { "at once" },
    });
    let plan = plan(options, world.share);
    let effect_sd_relative = plan.effect_sd_relative(Side::expected(1.0, world.rate));
    let mut seen = Seen::default();
    let mut sent = 0;
    for look in 0..looks {
        let until = options.sends * (look as u64 + 1) / options.looks;
        let held = binomial(until - sent, world.share, &mut stream)?;
        let late = world.is_delayed.then_some(hours);
        policy.step(look, until - sent - held, late, &mut stream)?;
        holdout.step(look, held, late, &mut stream)?;
        sent = until;
        let sides = Sides {
            policy: Side::of_rate(&policy.exposure, &curve),
            holdout: Side::of_rate(&holdout.exposure, &curve),
            effect_sd_relative,
        };
        seen.look(&sides, world.rate * world.uplift, sent as f64);
    }
    Ok(seen)
}

fn binomial(trials: u64, rate: f64, stream: &mut Stream) -> Result<u64, LabError> {
    let shape = Binomial::new(trials, rate);
    let shape = shape.map_err(|_| LabError::Defect("a share of mails has no valid shape"))?;
    Ok(shape.sample(stream.generator()))
}

// === impl Lane ===

impl Lane {
    fn new(rate: f64, looks: usize) -> Self {
        Self {
            rate,
            exposure: Exposure::default(),
            arriving: vec![0.0; looks],
        }
    }

    /// Time passes, mails leave, and what has arrived by this look counts; `late` is the time between looks where answers take time.
    fn step(
        &mut self,
        look: usize,
        mails: u64,
        late: Option<f64>,
        stream: &mut Stream,
    ) -> Result<(), LabError> {
        let successes = binomial(mails, self.rate, stream)?;
        match late {
            None => self.exposure.successes += successes as f64,
            Some(hours) => {
                let (median, sigma) = TRUE_DELAY;
                let delay = LogNormal::new(f64::ln(median), sigma)
                    .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
                for _ in 0..successes {
                    let after = delay.sample(stream.generator()) / hours;
                    let at = look.saturating_add(after.ceil() as usize);
                    if let Some(count) = self.arriving.get_mut(at) {
                        *count += 1.0;
                    }
                }
                self.exposure.advance(hours, None);
            }
        }
        self.exposure.add(&Exposure::trial(mails as f64, 0.0));
        self.exposure.successes += self.arriving.get(look).copied().unwrap_or(0.0);
        Ok(())
    }
}

// === impl Seen ===

impl Seen {
    fn look(&mut self, sides: &Sides, difference: f64, sent: f64) {
        if self.claimed_at.is_none() && sides.is_significant() {
            self.claimed_at = Some(sent);
        }
        let (absolute, interval) = sides.absolute();
        self.missed |= !interval.contains(difference);
        let Sides {
            policy, holdout, ..
        } = sides;
        let variance = policy.unit_variance / policy.effective_trials
            + holdout.unit_variance / holdout.effective_trials;
        let enough = holdout.effective_trials.min(policy.effective_trials) >= TRIALS_MIN;
        self.repeated_test |= enough && absolute.abs() > ONE_LOOK * variance.sqrt();
    }
}

#[cfg(test)]
mod tests;
