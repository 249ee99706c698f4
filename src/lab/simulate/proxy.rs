//! Do opens help to choose by clicks, and does clickbait win? A blast in which clicks are rare and later than opens.
//!
//! Invariant: with and without opens the same mails meet the same luck. What is measured is clicks lost against the best variant.
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use crate::domain::experiment::{Objective, Settings};
use crate::domain::policy::Policy;
use crate::lab::LabError;
use crate::lab::campaign::campaign_settings;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;
use super::funnel::{Arm, Campaign, World, lost};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "proxy",
    about: "whether opens help to choose by clicks, with and without clickbait",
};

/// The world, and how often to play in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Mails to send.
    pub recipients: u32,
    /// Time in which all mails leave, evenly, hours.
    pub window_hours: f64,
    /// Time between two looks at the answers, minutes.
    pub look_minutes: f64,
    /// Further time from open to click, median, hours.
    pub click_median_hours: f64,
    /// Mean open rate.
    pub open_rate: f64,
    /// Mean share of openers who click.
    pub click_of_open: f64,
    /// Spread of open rates between variants, log-odds.
    pub open_spread: f64,
    /// Spread of the share who click between variants, log-odds.
    pub click_spread: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recipients: 20_000,
            window_hours: 4.0,
            look_minutes: 10.0,
            click_median_hours: 0.5,
            open_rate: 0.2,
            click_of_open: 0.1,
            open_spread: 0.15,
            click_spread: 0.15,
            seed: 1,
            seeds: 100,
        }
    }
}

/// What kind of variants there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Four variants whose open rates and click shares vary independently.
    Honest,
    /// As many open as click: variants differ in the open rate alone.
    OpensTell,
    /// One has the highest open rate and the lowest click rate.
    Clickbait,
}

/// One kind of variants under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What kind of variants there are.
    pub kind: Kind,
    /// Who chooses.
    pub policy: Policy,
    /// Clicks lost in a campaign without looking at opens.
    pub lost_without: Estimate,
    /// Clicks lost with opens as an early proxy.
    pub lost_with: Estimate,
    /// Clicks lost less with opens than without, over paired seeds.
    pub gain: Estimate,
    /// Share of the mails with the clickbait or worst variant with opens, percent.
    pub worst_share_percent: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world.
    pub options: Options,
    /// The kinds and policies.
    pub rows: Vec<Row>,
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 3] = [Self::Honest, Self::OpensTell, Self::Clickbait];

    fn arms(self, options: &Options, seed: u64) -> Vec<Arm> {
        let mut stream = Stream::new(StreamName {
            seed,
            world: "proxy",
            purpose: "variants",
        });
        let mut shifted = |rate: f64, spread: f64| {
            let deviate: f64 = StandardNormal.sample(stream.generator());
            let odds = (rate / (1.0 - rate)).ln() + spread * deviate;
            1.0 / (1.0 + (-odds).exp())
        };
        let arm = |open, click_of_open| Arm {
            open,
            click_of_open,
            order_of_click: 0.0,
            order_mean: 0.0,
            unsubscribe_of_open: 0.0,
            complain_of_open: 0.0,
        };
        let (open, click) = (options.open_rate, options.click_of_open);
        let mut honest = |click_spread| {
            let open = shifted(open, options.open_spread);
            arm(open, shifted(click, click_spread))
        };
        match self {
            Self::Honest => (0..4).map(|_| honest(options.click_spread)).collect(),
            Self::OpensTell => (0..4).map(|_| honest(0.0)).collect(),
            Self::Clickbait => vec![
                arm(1.5 * open, 0.5 * click),
                arm(open, click),
                arm(0.95 * open, 1.1 * click),
                arm(1.05 * open, 0.95 * click),
            ],
        }
    }
}

/// Plays every kind of world under both policies, with and without opens.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds: Vec<u64> = (0..options.seeds)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    let policies = [Policy::HorizonThompson, Policy::Thompson];
    progress.begin(
        "campaigns",
        options.seeds * (Kind::ALL.len() * policies.len()) as u64,
    );
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        for policy in &policies {
            let games = in_parallel(&seeds, |seed| {
                let game = game(options, kind, policy, *seed);
                progress.advance(1);
                game
            })?;
            rows.push(row(kind, policy, &games));
        }
    }
    Ok(Report {
        options: options.clone(),
        rows,
    })
}

/// Clicks lost without and with opens, and the share of the worst variant with them.
struct Game {
    without: f64,
    with: f64,
    worst_share: f64,
}

fn game(options: &Options, kind: Kind, policy: &Policy, seed: u64) -> Result<Game, LabError> {
    let world = World {
        arms: kind.arms(options, seed),
        recipients: options.recipients,
        window_hours: options.window_hours,
        look_minutes: options.look_minutes,
        open_median_hours: 5.0,
        click_median_hours: options.click_median_hours,
        order_median_hours: 1.0,
        order_sigma: 1.0,
        attribution_hours: 168.0,
    };
    let campaign = Campaign::new(&world, seed)?;
    let worth: Vec<f64> = world.arms.iter().map(Arm::click).collect();
    let sends = |open_proxy| {
        campaign.play(&Settings {
            open_proxy,
            policy: policy.clone(),
            ..campaign_settings(Objective::Click, u64::from(options.recipients))
        })
    };
    let (without, with) = (sends(false)?, sends(true)?);
    let worst = worth.iter().copied().fold(f64::INFINITY, f64::min);
    let of_worst = with.iter().zip(&worth).find(|(_, rate)| **rate == worst);
    Ok(Game {
        without: lost(&without, &worth),
        with: lost(&with, &worth),
        worst_share: of_worst.map_or(0.0, |(n, _)| *n as f64) / f64::from(options.recipients),
    })
}

fn row(kind: Kind, policy: &Policy, games: &[Game]) -> Row {
    let over =
        |of: fn(&Game) -> f64| Estimate::over_runs(&games.iter().map(of).collect::<Vec<_>>());
    Row {
        kind,
        policy: policy.clone(),
        lost_without: over(|game| game.without),
        lost_with: over(|game| game.with),
        gain: over(|game| game.without - game.with),
        worst_share_percent: 100.0 * over(|game| game.worst_share).mean,
    }
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let shares = [1.5 * options.open_rate, 1.1 * options.click_of_open];
    if !shares.iter().all(|share| *share > 0.0 && *share < 1.0) {
        return refuse("rates of a proxy world must be above 0 and leave room above");
    }
    let positive = [
        options.window_hours,
        options.look_minutes,
        options.click_median_hours,
    ];
    if !positive.iter().all(|number| *number > 0.0 && *number < 1e6) {
        return refuse("hours and minutes of a proxy world must be above 0");
    }
    let spreads = [options.open_spread, options.click_spread];
    if !spreads.iter().all(|spread| (0.0..=2.0).contains(spread)) {
        return refuse("spreads of a proxy world must be 0 to 2");
    }
    if options.recipients == 0 || options.seeds == 0 {
        return refuse("a proxy world needs recipients and seeds");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            recipients: 6_000,
            seeds: 6,
            ..Options::default()
        }
    }

    #[test]
    fn clickbait_does_not_win_whatever_opens_say() {
        // Fewer mails bring too few clicks within four hours to tell anything.
        let blast = Options {
            seeds: 20,
            ..Options::default()
        };
        let report = run(&blast, &()).unwrap();
        for row in report.rows.iter().filter(|row| row.kind == Kind::Clickbait) {
            assert!(row.worst_share_percent < 25.0, "{row:?}");
        }
    }

    #[test]
    fn a_world_that_cannot_be_is_refused() {
        for odd in [
            Options {
                open_rate: 0.9,
                ..small()
            },
            Options {
                look_minutes: 0.0,
                ..small()
            },
            Options {
                click_spread: -1.0,
                ..small()
            },
            Options {
                seeds: 0,
                ..small()
            },
        ] {
            assert!(run(&odd, &()).is_err(), "{odd:?}");
        }
    }
}
