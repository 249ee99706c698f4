//! Headlines and their click rates, read from a file of recorded experiments.
//!
//! Invariant: every rate lies from 0 to 1. What a line must hold is said by `Row`; other columns are ignored.
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Deserialize;

/// Where the headlines come from, and what is done to their rates.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// CSV with the columns experiment_id, impressions, clicks, kind, headline
    headlines: PathBuf,
    /// Which experiment of the file, counted from 1 [default: the one with the most different headlines]
    #[arg(long, value_name = "N")]
    experiment: Option<usize>,
    /// Multiplies the recorded click rates, so that a short run shows movement
    #[arg(long, default_value_t = 1.0)]
    boost: f64,
}

/// Why there are no headlines.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file.
    #[error("{path}: {what}", path = path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The factor.
    #[error("--boost {0}: must be a number above 0")]
    Boost(f64),
}

/// One line of the file.
#[derive(Debug, Deserialize)]
struct Row {
    experiment_id: String,
    impressions: f64,
    clicks: f64,
    kind: String,
    headline: String,
}

/// A headline and the rate, clicks per mail, at which it is clicked.
#[derive(Debug)]
pub struct Headline {
    /// What it says.
    pub text: String,
    /// Clicks per mail.
    pub rate: f64,
}

// === impl Source ===

impl Source {
    /// The headlines of the chosen experiment, in the order of the file.
    ///
    /// # Errors
    /// A file that cannot be read, a number that it does not have, and counts that make no rate.
    pub fn read(&self) -> Result<Vec<Headline>, SourceError> {
        if !(self.boost.is_finite() && self.boost > 0.0) {
            return Err(SourceError::Boost(self.boost));
        }
        let mut experiments = self.experiments()?;
        let chosen = match self.experiment {
            Some(number) => number.checked_sub(1),
            None => most_different(&experiments),
        };
        match chosen {
            Some(at) if at < experiments.len() => experiments
                .swap_remove(at)
                .into_iter()
                .map(|row| self.headline(row))
                .collect(),
            _ => Err(self.bad(format!(
                "has {} experiments; choose one with --experiment",
                experiments.len()
            ))),
        }
    }

    /// The lines by experiment, in the order in which experiments begin.
    fn experiments(&self) -> Result<Vec<Vec<Row>>, SourceError> {
        let bad = |error: csv::Error| self.bad(error.to_string());
        let mut reader = csv::Reader::from_path(&self.headlines).map_err(bad)?;
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut experiments: Vec<Vec<Row>> = Vec::new();
        for row in reader.deserialize() {
            let row: Row = row.map_err(bad)?;
            let place = *places
                .entry(row.experiment_id.clone())
                .or_insert(experiments.len());
            match experiments.get_mut(place) {
                Some(rows) => rows.push(row),
                None => experiments.push(vec![row]),
            }
        }
        Ok(experiments)
    }

    fn headline(&self, row: Row) -> Result<Headline, SourceError> {
        let rate = row.clicks / row.impressions;
        if !(0.0..=1.0).contains(&rate) {
            return Err(self.bad(format!(
                "experiment {}: {} clicks in {} impressions is no rate",
                row.experiment_id, row.clicks, row.impressions
            )));
        }
        Ok(Headline {
            text: row.headline,
            rate: (rate * self.boost).min(1.0),
        })
    }

    fn bad(&self, what: String) -> SourceError {
        SourceError::Data {
            path: self.headlines.clone(),
            what,
        }
    }
}

/// Of those in which the headline was tried: where only the picture differs there is nothing to read.
fn most_different(experiments: &[Vec<Row>]) -> Option<usize> {
    let different = |rows: &[Row]| {
        let headlines: HashSet<&str> = rows.iter().map(|row| row.headline.as_str()).collect();
        headlines.len()
    };
    (0..experiments.len())
        .filter(|at| experiments[*at].iter().all(|row| row.kind == "headline"))
        .max_by_key(|at| different(&experiments[*at]))
}
