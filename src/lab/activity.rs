//! How well hermod knows when a newcomer is active, from a few events: real people, ten-fold.
//!
//! Protocol: everybody else's habits are learned from nine tenths of the people; of each of the others the first n events are reported, an hour of day
//! is asked for each day, and the next 50 events are the test. Score: the share of them within one hour of it, around the clock, averaged over people.
pub mod data;
mod newcomers;
mod rules;

use std::path::Path;

use serde::Serialize;

use data::Person;
use newcomers::{Acquainted, Advice};
use rules::ByHour;

use super::LabError;
use super::estimate::{Estimate, Share};
use super::parallel::{Progress, in_parallel};
use super::streams::{Stream, StreamName};

/// Lengths of history that are tested.
pub const HISTORIES: [usize; 4] = [3, 10, 30, 100];
/// Events after the history that are tested, at most and at least.
const TESTED_MAX: usize = 50;
const TESTED_MIN: usize = 20;
const FOLDS: usize = 10;
/// Three hours of 24.
const RANDOM: f64 = 3.0 / 24.0;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Fixes folds, shuffling and bootstrap.
    pub seed: u64,
    /// Deal the hours to people at random first: then nobody has habits, and no gain may be claimed.
    pub shuffle_hours: bool,
}

/// Shares of activity met, of one history length, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Events known of each newcomer.
    pub history: usize,
    /// Newcomers with enough events.
    pub people: usize,
    /// A random hour.
    pub random: f64,
    /// The best hour of everybody else.
    pub everybody: f64,
    /// The newcomer's own most frequent hour.
    pub own: f64,
    /// hermod's hours day by day, each judged by the events on its own weekday.
    pub hermod: f64,
    /// hermod's hour for the 24 hours after the last known event, judged by all events.
    pub hermod_next_day: f64,
    /// The best hour by all of the person's other events, before and after.
    pub ceiling: f64,
    /// hermod less everybody, percentage points, with the interval over people.
    pub lift: Estimate,
    /// The lift as a percentage of what the ceiling has over everybody, with the interval over people; none where the ceiling has nothing over it.
    pub share_of_room: Option<Estimate>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// People in the file.
    pub people: usize,
    /// Their events.
    pub events: usize,
    /// The seed.
    pub seed: u64,
    /// Whether hours were dealt at random.
    pub shuffled: bool,
    /// By history length.
    pub rows: Vec<Row>,
}

/// One newcomer's scores after one history.
#[derive(Clone, Copy, Debug)]
struct Scores {
    history: usize,
    everybody: f64,
    own: f64,
    hermod: f64,
    hermod_next_day: f64,
    ceiling: f64,
}

/// One part of the people, and the others.
struct Fold<'a> {
    learned: Vec<&'a Person>,
    tested: Vec<&'a Person>,
    seed: u64,
}

/// Measures on the people of a file.
///
/// # Errors
/// The file cannot be read or used.
pub fn run(path: &Path, options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    let mut people = data::load(path)?;
    if options.shuffle_hours {
        data::shuffle_hours(&mut people, options.seed);
    }
    let folds = folds(&people, options.seed);
    progress.begin("parts of the people", folds.len() as u64);
    let scores = in_parallel(&folds, |fold| {
        let scores = fold.scores();
        progress.advance(1);
        scores
    })?;
    let scores: Vec<Scores> = scores.into_iter().flatten().collect();
    if scores.is_empty() {
        return Err(LabError::Nothing(format!(
            "{}: nobody has the {} events that the shortest history needs",
            path.display(),
            HISTORIES[0] + TESTED_MIN
        )));
    }
    Ok(Report {
        people: people.len(),
        events: people.iter().map(|person| person.hours.len()).sum(),
        seed: options.seed,
        shuffled: options.shuffle_hours,
        rows: HISTORIES
            .into_iter()
            .filter_map(|history| row(history, &scores, options.seed))
            .collect(),
    })
}

fn folds(people: &[Person], seed: u64) -> Vec<Fold<'_>> {
    let mut dealt: Vec<&Person> = people.iter().collect();
    Stream::new(StreamName {
        seed,
        world: "people",
        purpose: "folds",
    })
    .shuffle(&mut dealt);
    let part = |fold: usize, tested: bool| -> Vec<&Person> {
        let of_fold = dealt
            .iter()
            .enumerate()
            .filter(|(at, _)| (at % FOLDS == fold) == tested);
        of_fold.map(|(_, person)| *person).collect()
    };
    (0..FOLDS)
        .map(|fold| Fold {
            learned: part(fold, false),
            tested: part(fold, true),
            seed: seed.wrapping_add(fold as u64),
        })
        .collect()
}

// === impl Fold ===

impl Fold<'_> {
    fn scores(&self) -> Result<Vec<Scores>, LabError> {
        let hermod = Acquainted::with(&self.learned, self.seed)?;
        let everybody = average(&self.learned);
        let mut scores = Vec::new();
        for person in &self.tested {
            let long_enough = |history: &usize| person.hours.len() >= history + TESTED_MIN;
            let histories: Vec<usize> = HISTORIES.into_iter().filter(long_enough).collect();
            let recommended = hermod.recommend(person, &histories)?;
            for (history, advice) in histories.into_iter().zip(recommended) {
                scores.push(score(person, history, &advice, &everybody));
            }
        }
        Ok(scores)
    }
}

/// The average person's share of activity by hour: everybody counts alike, however active.
fn average(people: &[&Person]) -> ByHour {
    let mut sum = [0.0; 24];
    for person in people {
        let shares = rules::normalised(&rules::count(person.hours_of_day()));
        sum.iter_mut()
            .zip(shares)
            .for_each(|(sum, share)| *sum += share);
    }
    sum
}

fn score(person: &Person, history: usize, advice: &Advice, everybody: &ByHour) -> Scores {
    let hours: Vec<usize> = person.hours_of_day().collect();
    let (known, later) = hours.split_at(history.min(hours.len()));
    let (tested, rest) = later.split_at(later.len().min(TESTED_MAX));
    let after = person.hours.get(known.len()..).unwrap_or_default();
    let tested_hours = after.get(..tested.len()).unwrap_or_default();
    let known_counts = rules::count(known.iter().copied());
    let others = rules::count(known.iter().chain(rest).copied());
    let met = rules::within_an_hour(&rules::normalised(&rules::count(tested.iter().copied())));
    Scores {
        history,
        everybody: met[rules::best_of_everybody(everybody)],
        own: met[rules::greatest(&known_counts)],
        hermod: met_by_weekday(tested_hours, &advice.by_weekday),
        hermod_next_day: met[advice.next_day % 24],
        ceiling: met[rules::ceiling(&others, everybody)],
    }
}

/// The share of these events within an hour of what was recommended for their weekday.
fn met_by_weekday(hours: &[i64], by_weekday: &[usize; 7]) -> f64 {
    let met = |hour: &&i64| {
        let weekday = hour.div_euclid(24).rem_euclid(7) as usize;
        let distance = (hour.rem_euclid(24) - by_weekday[weekday] as i64).rem_euclid(24);
        distance <= 1 || distance == 23
    };
    hours.iter().filter(met).count() as f64 / hours.len().max(1) as f64
}

fn row(history: usize, scores: &[Scores], seed: u64) -> Option<Row> {
    let of_history: Vec<&Scores> = scores
        .iter()
        .filter(|scores| scores.history == history)
        .collect();
    if of_history.is_empty() {
        return None;
    }
    let people = of_history.len();
    let percent = |score: fn(&Scores) -> f64| {
        100.0 * of_history.iter().map(|scores| score(scores)).sum::<f64>() / people as f64
    };
    let lifts: Vec<f64> = of_history
        .iter()
        .map(|scores| scores.hermod - scores.everybody)
        .collect();
    let room: Vec<Share> = of_history
        .iter()
        .map(|scores| Share {
            part: scores.hermod - scores.everybody,
            whole: scores.ceiling - scores.everybody,
        })
        .collect();
    Some(Row {
        history,
        people,
        random: 100.0 * RANDOM,
        everybody: percent(|scores| scores.everybody),
        own: percent(|scores| scores.own),
        hermod: percent(|scores| scores.hermod),
        hermod_next_day: percent(|scores| scores.hermod_next_day),
        ceiling: percent(|scores| scores.ceiling),
        lift: Estimate::mean_over_units(&lifts, seed).times(100.0),
        share_of_room: (room.iter().map(|unit| unit.whole).sum::<f64>() > 0.0)
            .then(|| Estimate::over_units(&room, seed).times(100.0)),
    })
}

#[cfg(test)]
mod tests;
