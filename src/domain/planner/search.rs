//! The search for a plan: forms over the whole time, the best of them sooner, and fresh draws for what is promised.
//!
//! Invariant: all schedules meet the same worlds in the search; the promise is estimated on others. The number of worlds falls with the cost
//! of one, so that a plan takes some tenths of a second.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::campaign::{Campaign, Outcome};
use super::estimate::Forecast;
use super::schedule::{Form, Schedule, WAITING_SHARES};
use super::worlds::Worlds;
use super::{Advice, Blast, BlastPlan, PlannedWave, Sooner, TestPlan};

/// Worlds of the search and of the promise, for up to four variants.
const SEARCHED: usize = 48;
const PROMISED: usize = 600;
/// Forms that are tried over shorter times too.
const FINALISTS: usize = 3;
/// A schedule that is done sooner is preferred if it keeps so much of the gain.
const KEPT_SHARE: f64 = 0.98;
/// A gain below this share of the successes is none.
const GAIN_MIN: f64 = 0.001;
/// Shares of the audience and waiting times of the tests that the plan is compared with.
const TEST_SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];
const TEST_HOURS: [f64; 8] = [0.5, 1.0, 2.0, 4.0, 8.0, 24.0, 48.0, 72.0];

/// A set of worlds, each with its own randomness.
struct Draws {
    rates: Vec<Vec<f64>>,
    seed: u64,
}

/// A test and what it expects in each world.
struct Test {
    share: f64,
    wait_hours: f64,
}

// === impl Draws ===

impl Draws {
    fn new(worlds: &Worlds, count: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Self {
            rates: (0..count).map(|_| worlds.draw(&mut random)).collect(),
            seed,
        }
    }

    /// Plays something in every world; the randomness of a world is the same for all that is played.
    fn play(&self, play: impl Fn(&[f64], &mut ChaCha8Rng) -> Outcome) -> Vec<Outcome> {
        let worlds = (1..).zip(&self.rates);
        worlds
            .map(|(at, rates)| {
                let mut random = ChaCha8Rng::seed_from_u64(self.seed);
                random.set_stream(at);
                play(rates, &mut random)
            })
            .collect()
    }

    fn waves(&self, blast: &Blast, schedule: &Schedule) -> Vec<Outcome> {
        self.play(|rates, random| Campaign::new(blast, rates, random).waves(schedule, random))
    }

    fn test(&self, blast: &Blast, test: &Test) -> Vec<Outcome> {
        self.play(|rates, random| {
            Campaign::new(blast, rates, random).test(test.share, test.wait_hours, random)
        })
    }

    /// What sending evenly expects in every world.
    fn evenly(&self, mails: u64) -> Vec<f64> {
        let mean = |rates: &Vec<f64>| rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        self.rates
            .iter()
            .map(|rates| mails as f64 * mean(rates))
            .collect()
    }
}

fn mean_expected(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(|outcome| outcome.expected).sum::<f64>() / outcomes.len().max(1) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn expected(outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.expected).collect()
}

fn drawn(outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.drawn).collect()
}

fn difference(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter()
        .zip(other)
        .map(|(one, other)| one - other)
        .collect()
}

/// The plan for a question that has been checked.
pub fn plan(blast: &Blast, seed: u64) -> BlastPlan {
    let worlds = Worlds::of(blast);
    let cost = (blast.known.len() as f64 / 4.0).max(1.0);
    let fewer = |count: usize| ((count as f64 / cost) as usize).max(count / 6);
    let searched = Draws::new(&worlds, fewer(SEARCHED), seed);
    let promised = Draws::new(&worlds, fewer(PROMISED), seed ^ 0x9e37_79b9_7f4a_7c15);
    let form = best_form(blast, &searched);
    let test = best_test(blast, &searched);
    promise(blast, form, test, &promised)
}

/// The form that expects most; of those that are done sooner the soonest that keeps nearly all of the gain.
fn best_form(blast: &Blast, draws: &Draws) -> Option<Form> {
    let evenly = mean(&draws.evenly(blast.sendable()));
    let gain = |form: Form| {
        let schedule = form.schedule(blast)?;
        Some((mean_expected(&draws.waves(blast, &schedule)) - evenly, form))
    };
    let mut over_all: Vec<(f64, Form)> = Form::all().filter_map(gain).collect();
    over_all.sort_by(|one, other| other.0.total_cmp(&one.0));
    let most = over_all.first().map_or(0.0, |(gain, _)| *gain);
    let sooner = over_all.iter().take(FINALISTS).flat_map(|(_, form)| {
        WAITING_SHARES.iter().map(|waiting_share| Form {
            waiting_share: *waiting_share,
            ..*form
        })
    });
    let tried: Vec<(f64, Form)> = sooner.filter_map(gain).collect();
    let good = tried.iter().filter(|(gain, _)| *gain >= KEPT_SHARE * most);
    let soonest = good.min_by(|one, other| {
        let by_time = one.1.waiting_share.total_cmp(&other.1.waiting_share);
        by_time.then(other.0.total_cmp(&one.0))
    });
    soonest.or(over_all.first()).map(|(_, form)| *form)
}

/// The best test within the deadline; none where there is no time for one.
fn best_test(blast: &Blast, draws: &Draws) -> Option<Test> {
    let free_hours = blast.window_hours - blast.lasting_hours(blast.sendable() as f64);
    let waits = TEST_HOURS.iter().copied().filter(|wait| *wait < free_hours);
    let tests = waits
        .chain((free_hours > 0.0).then_some(free_hours))
        .flat_map(|wait_hours| TEST_SHARES.map(|share| Test { share, wait_hours }));
    tests
        .map(|test| (mean_expected(&draws.test(blast, &test)), test))
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, test)| test)
}

/// What is promised, on draws that had no part in the choice.
fn promise(blast: &Blast, form: Option<Form>, test: Option<Test>, draws: &Draws) -> BlastPlan {
    let now = Schedule::all_now(blast);
    let evenly = draws.evenly(blast.sendable());
    let chosen = form.and_then(|form| form.schedule(blast)).map(|schedule| {
        let outcomes = draws.waves(blast, &schedule);
        (schedule, outcomes)
    });
    let gains = |outcomes: &[Outcome]| Forecast::over(&difference(&expected(outcomes), &evenly));
    let worth = chosen.filter(|(_, outcomes)| {
        let gain = gains(outcomes);
        gain.expected > 2.0 * gain.standard_error && gain.expected > GAIN_MIN * mean(&evenly)
    });
    let advice = match worth {
        Some(_) => Advice::Waves,
        None => Advice::SendAllNow,
    };
    let (schedule, outcomes) = worth.unwrap_or_else(|| {
        let outcomes = draws.waves(blast, &now);
        (now, outcomes)
    });
    let tested = test.map(|test| {
        let outcomes = draws.test(blast, &test);
        (test, outcomes)
    });
    let sooner = form
        .filter(|_| advice == Advice::Waves)
        .map_or_else(Vec::new, |form| sooner(blast, form, draws, &evenly));
    let successes = Forecast::with_range(&expected(&outcomes), &drawn(&outcomes));
    BlastPlan {
        advice,
        waves: planned_waves(blast, &schedule, &outcomes),
        evenly: Forecast::over(&evenly),
        gain_over_evenly: gains(&outcomes),
        gain_over_test: tested.as_ref().map(|(_, tested)| {
            Forecast::over(&difference(&expected(&outcomes), &expected(tested)))
        }),
        test: tested.map(|(test, outcomes)| TestPlan {
            test_share: test.share,
            wait_hours: test.wait_hours,
            successes: Forecast::with_range(&expected(&outcomes), &drawn(&outcomes)),
        }),
        successes,
        sooner,
        unsent: blast.audience - blast.sendable(),
        draws: outcomes.len(),
    }
}

fn sooner(blast: &Blast, form: Form, draws: &Draws, evenly: &[f64]) -> Vec<Sooner> {
    let shares = WAITING_SHARES.iter();
    let forms = shares
        .filter(|share| **share < form.waiting_share)
        .map(|waiting_share| Form {
            waiting_share: *waiting_share,
            ..form
        });
    let schedules = forms.filter_map(|form| form.schedule(blast));
    schedules
        .map(|schedule| {
            let outcomes = draws.waves(blast, &schedule);
            Sooner {
                last_wave_hours: schedule.last_wave_hours(),
                gain: Forecast::over(&difference(&expected(&outcomes), evenly)),
            }
        })
        .collect()
}

fn planned_waves(blast: &Blast, schedule: &Schedule, outcomes: &[Outcome]) -> Vec<PlannedWave> {
    let mean_of = |at: usize, of: fn(&(f64, f64)) -> f64| {
        let shares: Vec<f64> = outcomes
            .iter()
            .filter_map(|outcome| outcome.waves.get(at))
            .map(of)
            .collect();
        mean(&shares)
    };
    let waves = schedule.waves.iter().enumerate();
    waves
        .map(|(at, wave)| PlannedWave {
            at_hours: wave.at_hours,
            lasts_hours: wave.lasts_hours,
            mails: wave.mails,
            share: wave.mails as f64 / blast.audience as f64,
            leader_share: mean_of(at, |shares| shares.0),
            best_share: mean_of(at, |shares| shares.1),
        })
        .collect()
}
