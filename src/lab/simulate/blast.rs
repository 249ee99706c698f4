//! One campaign sent within hours, while most answers take longer: who takes silence for refusal loses opens.
//!
//! Invariant: all policies send the same mails at the same instants and meet the same answers and delays. What is measured is the expected number of
//! opens lost against always sending the best variant.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use jiff::Timestamp;
use rand_distr::{Distribution, LogNormal};
use serde::Serialize;

use crate::app::DecideRequest;
use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::delay::DelayCurve;
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Beliefs, Snapshot, default_curve};
use crate::lab::LabError;
use crate::lab::campaign::{
    answered, campaign, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::rig::{Rig, after_hours, start};
use crate::lab::streams::{Stream, StreamName};

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

/// What a rule has to do.
trait Chooser {
    /// Takes the answers that arrived, and prepares for the mails until the next look.
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError>;
    /// The variant of a mail that leaves now.
    fn choose(&mut self, number: usize, now_hours: f64) -> Result<usize, LabError>;
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

fn choices(seed: u64) -> Stream {
    Stream::new(StreamName {
        seed,
        world: "blast",
        purpose: "choices",
    })
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

// === choosers ===

/// hermod's use cases.
struct UseCases {
    rig: Rig,
    request: DecideRequest,
    mails: Vec<Mail>,
    tokens: Vec<String>,
}

impl UseCases {
    fn new(campaign: &Campaign<'_>) -> Result<Self, LabError> {
        let rig = Rig::new(campaign.rig_seed)?;
        let name = start_campaign(&rig, campaign.options.rates.len(), campaign.settings())?;
        Ok(Self {
            rig,
            request: request_now(&name, 0, start()),
            mails: campaign.mails.clone(),
            tokens: Vec::new(),
        })
    }
}

impl Chooser for UseCases {
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError> {
        self.rig.set(after_hours(start(), now_hours));
        let event = |number: &usize| {
            let (mail, token) = (self.mails.get(*number)?, self.tokens.get(*number)?);
            let at = after_hours(start(), mail.sent_hours + mail.delay_hours);
            Some(answered(token.clone(), EventKind::Opened, at))
        };
        report(&self.rig, opened.iter().filter_map(event).collect())?;
        self.rig.app.refresh();
        Ok(())
    }

    fn choose(&mut self, number: usize, now_hours: f64) -> Result<usize, LabError> {
        let now = after_hours(start(), now_hours);
        self.rig.set(now);
        self.request.recipient_id = number.to_string();
        self.request.send_at = Some(now);
        let (arm, token) = decide(&self.rig, &self.request)?;
        self.tokens.push(token);
        Ok(arm)
    }
}

/// The domain's snapshots under some belief about delays.
struct Drawn {
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
    snapshot: Option<Snapshot>,
    cells: Vec<Exposure>,
    as_of_hours: f64,
    sent: Vec<usize>,
    unseen: Vec<(usize, f64)>,
    choices: Stream,
}

impl Drawn {
    fn new(campaign: &Campaign<'_>, curve: DelayCurve, seed: u64) -> Result<Self, LabError> {
        let arms = campaign.options.rates.len();
        Ok(Self {
            experiment: Arc::new(self::campaign(arms, campaign.settings())?),
            beliefs: Beliefs {
                prior: Prior {
                    mean: 0.2,
                    weight: 10.0,
                },
                curve,
            },
            snapshot: None,
            cells: vec![Exposure::default(); arms],
            as_of_hours: 0.0,
            sent: Vec::new(),
            unseen: Vec::new(),
            choices: choices(seed),
        })
    }

    fn cells(&self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        let cell = |(arm, open): (u16, &Exposure)| {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(arm),
                context: Context::default(),
                lane: Lane::Policy,
            };
            let cell = Cell {
                open: open.clone(),
                ..Cell::empty(now, None)
            };
            (id, cell)
        };
        (0..).zip(&self.cells).map(cell).collect()
    }

    fn add(&mut self, arm: usize, part: &Exposure) {
        if let Some(cell) = self.cells.get_mut(arm) {
            cell.add(part);
        }
    }
}

impl Chooser for Drawn {
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError> {
        let elapsed = now_hours - self.as_of_hours;
        for cell in &mut self.cells {
            cell.advance(elapsed, None);
        }
        self.as_of_hours = now_hours;
        for (arm, sent_hours) in std::mem::take(&mut self.unseen) {
            self.add(arm, &Exposure::trial(1.0, now_hours - sent_hours));
        }
        for number in opened {
            if let Some(arm) = self.sent.get(*number).copied() {
                self.add(arm, &Exposure::success(1.0));
            }
        }
        let now = after_hours(start(), now_hours);
        let cells = self.cells(now);
        let experiment = self.experiment.clone();
        self.snapshot = Some(Snapshot::build(experiment, &cells, &self.beliefs, 1, now));
        Ok(())
    }

    fn choose(&mut self, _: usize, now_hours: f64) -> Result<usize, LabError> {
        let table = self.snapshot.as_ref().and_then(Snapshot::everyone);
        let table = table.ok_or(LabError::Defect("a snapshot has no table"))?;
        let arm = table.allocation.draw(self.choices.bits());
        self.sent.push(arm);
        self.unseen.push((arm, now_hours));
        Ok(arm)
    }
}

/// All variants alike.
struct Alike {
    arms: usize,
    choices: Stream,
}

impl Chooser for Alike {
    fn look(&mut self, _: f64, _: &[usize]) -> Result<(), LabError> {
        Ok(())
    }

    fn choose(&mut self, _: usize, _: f64) -> Result<usize, LabError> {
        Ok(self.choices.below(self.arms))
    }
}

#[cfg(test)]
mod tests;
