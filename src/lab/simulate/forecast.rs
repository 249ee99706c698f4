//! A user's own question: with this list, these rates and this cadence, what is to be expected after some weeks, and how sure is that?
//!
//! Invariant: every world is one possible future of the user: its campaigns are planned and decided as a server would (plan, snapshots, delayed
//! answers) and compared with plainer ways of sending the very same texts. Personal send times are left out, and so is what they would add.
use serde::Serialize;

use crate::domain::planner::{Advice, BlastPlan, plan};
use crate::domain::uplift::{Detectable, EFFECT_SD_RELATIVE, Plan, Side, Sides};
use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};

use super::Scenario;
use super::planner::play;
use super::planner::world::{Campaign, World};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "forecast",
    about: "your own list: what to expect after some weeks, and how sure that is",
};

/// The user's list and habits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Recipients of each campaign.
    pub list_size: u64,
    /// Usual rate of the success that is counted, opens or clicks.
    pub rate: f64,
    /// Texts to choose among in each campaign.
    pub variants: usize,
    /// Campaigns in a week.
    pub campaigns_per_week: f64,
    /// Time that a campaign may take, hours.
    pub window_hours: f64,
    /// How far texts differ: scale of Student's t with three degrees of freedom, log-odds.
    pub effect_spread: f64,
    /// Share of the recipients held out.
    pub holdout_share: f64,
    /// After how many weeks to tell.
    pub weeks: Vec<u32>,
    /// First seed.
    pub seed: u64,
    /// How many futures.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            list_size: 50_000,
            rate: 0.2,
            variants: 4,
            campaigns_per_week: 2.0,
            window_hours: 24.0,
            effect_spread: 0.15,
            holdout_share: 0.05,
            weeks: vec![4, 13],
            seed: 1,
            seeds: 200,
        }
    }
}

/// What is to be expected after some weeks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// How many.
    pub weeks: u32,
    /// Campaigns sent by then.
    pub campaigns: usize,
    /// Successes in all, mean and the range of 95 % of the futures.
    pub successes: Estimate,
    /// Successes more than with one text for everybody.
    pub over_one_text: Estimate,
    /// The same, percent.
    pub over_one_text_percent: Estimate,
    /// Successes more than with a test and its winner.
    pub over_test: Estimate,
    /// The same, percent.
    pub over_test_percent: Estimate,
    /// Futures in which more came than with one text, percent.
    pub better_percent: f64,
    /// Futures in which the holdouts of all campaigns together have proved it, percent.
    pub proved_percent: f64,
    /// The relative gain that these holdouts find in four of five cases; none for holdouts that are too small.
    pub detectable: Option<Detectable>,
}

/// All that is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The list.
    pub options: Options,
    /// How each campaign is sent.
    pub plan: BlastPlan,
    /// After the weeks asked for.
    pub rows: Vec<Row>,
    /// Gain over one text by the campaign, for a chart.
    pub by_campaign: Vec<Estimate>,
}

/// Running sums of one future.
#[derive(Clone, Copy, Default)]
struct Sums {
    hermod: f64,
    one_text: f64,
    test: f64,
    policy_came: f64,
    held_came: f64,
}

/// Plays the futures.
///
/// # Errors
/// The options make no list.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    let campaigns = check(options)?;
    let typical = world(options, 0, 0)?;
    let plan = plan(&typical.question(), options.seed)
        .map_err(|error| LabError::Nothing(error.to_string()))?;
    let seeds: Vec<u64> = (0..options.seeds)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    progress.begin("futures", options.seeds);
    let futures = in_parallel(&seeds, |seed| {
        let future = play_future(options, &plan, *seed, campaigns)?;
        progress.advance(1);
        Ok(future)
    })?;
    let rows = options
        .weeks
        .iter()
        .map(|weeks| row(options, &futures, *weeks));
    let gains = |at: usize| {
        let sums = futures.iter().filter_map(|future| future.get(at));
        range(sums.map(|sums| sums.hermod - sums.one_text).collect())
    };
    Ok(Report {
        options: options.clone(),
        rows: rows.collect(),
        by_campaign: (0..campaigns).map(gains).collect(),
        plan,
    })
}

/// How many campaigns to play.
fn check(options: &Options) -> Result<usize, LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let Options {
        list_size,
        rate,
        campaigns_per_week,
        holdout_share,
        ..
    } = *options;
    if !(100..=10_000_000).contains(&list_size) || !(1e-4..=0.9).contains(&rate) {
        return refuse("the list must be 100 to 10,000,000, its rate 0.0001 to 0.9");
    }
    if !(0.0..=0.5).contains(&holdout_share) || options.seeds < 2 {
        return refuse("the holdout must be 0 to 0.5 of the list, the futures two or more");
    }
    if !(2..=20).contains(&options.variants) || !(0.0..=2.0).contains(&options.effect_spread) {
        return refuse("texts must be 2 to 20, their spread 0 to 2");
    }
    let weeks = options.weeks.iter().copied().max().unwrap_or(0);
    let campaigns = f64::from(weeks) * campaigns_per_week;
    if !(1.0..=1_000.0).contains(&campaigns) {
        return refuse("there must be 1 to 1,000 campaigns in all");
    }
    Ok(campaigns as usize)
}

/// One campaign of one future; the holdout is not among its recipients.
fn world(options: &Options, seed: u64, campaign: usize) -> Result<World, LabError> {
    let recipients = options.list_size as f64 * (1.0 - options.holdout_share);
    World::of(Campaign {
        audience: recipients.round() as u64,
        window_hours: options.window_hours,
        variants: options.variants,
        usual_rate: options.rate,
        assumed_spread: options.effect_spread,
        spread: options.effect_spread,
        delay_factor: 1.0,
        seed: seed.wrapping_mul(1_000_003).wrapping_add(campaign as u64),
    })
}

/// Sums after each campaign.
fn play_future(
    options: &Options,
    plan: &BlastPlan,
    seed: u64,
    campaigns: usize,
) -> Result<Vec<Sums>, LabError> {
    let mut sums = Sums::default();
    let mut after = Vec::with_capacity(campaigns);
    for campaign in 0..campaigns {
        let world = world(options, seed, campaign)?;
        let (expected, came) = play::snapshots(&world, plan)?;
        let held = options.list_size - world.audience;
        let evenly = world.rates.iter().sum::<f64>() / world.rates.len() as f64;
        let first = world.rates.first().copied().unwrap_or(0.0);
        sums.hermod += expected + held as f64 * evenly;
        sums.one_text += options.list_size as f64 * first;
        sums.test += match &plan.test {
            // The test has the whole list, as it needs no holdout.
            Some(test) => {
                let scale = options.list_size as f64 / world.audience as f64;
                scale * play::test(&world, test)?
            }
            None => options.list_size as f64 * first,
        };
        sums.policy_came += came;
        sums.held_came += play::binomial(held, evenly, &mut world.stream("held out"))? as f64;
        after.push(sums);
    }
    Ok(after)
}

/// The mean, and the range that holds 95 % of the values: what may come, not how precisely the mean is known.
fn range(mut values: Vec<f64>) -> Estimate {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    let quantile = |share: f64| values.get(((share * n as f64) as usize).min(n.saturating_sub(1)));
    Estimate {
        mean: values.iter().sum::<f64>() / n.max(1) as f64,
        low: quantile(0.025).copied(),
        high: quantile(0.975).copied(),
    }
}

fn row(options: &Options, futures: &[Vec<Sums>], weeks: u32) -> Row {
    let campaigns = ((f64::from(weeks) * options.campaigns_per_week) as usize).max(1);
    let sums: Vec<Sums> = futures
        .iter()
        .filter_map(|future| future.get(campaigns - 1).copied())
        .collect();
    let of = |value: &dyn Fn(&Sums) -> f64| range(sums.iter().map(value).collect());
    let share = |is: &dyn Fn(&Sums) -> bool| {
        100.0 * sums.iter().filter(|one| is(one)).count() as f64 / sums.len().max(1) as f64
    };
    let list = Plan {
        mails: options.list_size as f64 * campaigns as f64,
        holdout_share: options.holdout_share,
    };
    let side = Side::expected(1.0, options.rate);
    let proved = |one: &Sums| {
        let held = list.mails * list.holdout_share;
        let of = |mails: f64, came: f64| Side::expected(mails, (came / mails).min(1.0));
        let sides = Sides {
            policy: of(list.mails - held, one.policy_came),
            holdout: of(held, one.held_came),
            effect_sd_relative: list.effect_sd_relative(side).max(EFFECT_SD_RELATIVE),
        };
        sides.is_significant() && one.policy_came / (list.mails - held) > one.held_came / held
    };
    Row {
        weeks,
        campaigns,
        successes: of(&|one| one.hermod),
        over_one_text: of(&|one| one.hermod - one.one_text),
        over_one_text_percent: of(&|one| 100.0 * (one.hermod / one.one_text - 1.0)),
        over_test: of(&|one| one.hermod - one.test),
        over_test_percent: of(&|one| 100.0 * (one.hermod / one.test - 1.0)),
        better_percent: share(&|one| one.hermod > one.one_text),
        proved_percent: share(&|one| options.holdout_share > 0.0 && proved(one)),
        detectable: list.detectable(side),
    }
}

/// Whether the plan waits at all.
pub fn is_in_waves(plan: &BlastPlan) -> bool {
    plan.advice == Advice::Waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_weeks_bring_more_and_surer_gains() {
        let options = Options {
            list_size: 8_000,
            weeks: vec![2, 6],
            seeds: 30,
            ..Options::default()
        };
        let report = run(&options, &()).unwrap();
        assert_eq!(report.by_campaign.len(), 12);
        let (early, late) = (&report.rows[0], &report.rows[1]);
        assert_eq!((early.campaigns, late.campaigns), (4, 12));
        assert!(late.over_one_text.mean > 2.0 * early.over_one_text.mean);
        assert!(late.over_one_text.mean > late.over_test.mean);
        assert!(late.better_percent >= early.better_percent && late.better_percent > 90.0);
        let find = |row: &Row| row.detectable.unwrap().relative;
        assert!(find(late) < find(early));
        let width = |row: &Row| {
            row.over_one_text_percent.high.unwrap() - row.over_one_text_percent.low.unwrap()
        };
        assert!(width(late) < width(early));
        assert_eq!(run(&options, &()).unwrap(), report);
    }

    #[test]
    fn texts_that_do_not_differ_gain_nothing() {
        let options = Options {
            list_size: 4_000,
            effect_spread: 0.0,
            weeks: vec![2],
            seeds: 10,
            ..Options::default()
        };
        let report = run(&options, &()).unwrap();
        assert!(report.rows[0].over_one_text_percent.mean.abs() < 0.01);
        assert!(!is_in_waves(&report.plan));
    }

    #[test]
    fn a_list_that_cannot_be_is_refused() {
        for options in [
            Options {
                list_size: 0,
                ..Options::default()
            },
            Options {
                weeks: Vec::new(),
                ..Options::default()
            },
            Options {
                holdout_share: 0.9,
                ..Options::default()
            },
        ] {
            assert!(run(&options, &()).is_err());
        }
    }
}
