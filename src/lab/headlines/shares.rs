//! Whether the archive's own tests gave their headlines fair shares: the tests that are flagged as faulty against all others.
//!
//! The archive's allocation was meant to be even, so each headline's impressions should be an equal share but for chance.
use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::domain::sample_ratio::{ALARM_FROM, fair_share_evidence};
use crate::lab::LabError;
use crate::lab::estimate::Estimate;

use super::data::{self, Counts, HeadlineTest};

/// Levels of the chi-square test that are reported.
const LEVELS: [f64; 3] = [0.05, 0.01, 0.001];

/// What share of some tests fails one check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// Level of the chi-square test; none for hermod's own alarm.
    pub level: Option<f64>,
    /// Share of the flagged tests, with the interval over tests.
    pub flagged: Estimate,
    /// Share of the others.
    pub others: Estimate,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Flagged tests.
    pub flagged: usize,
    /// Other tests.
    pub others: usize,
    /// By check.
    pub failed: Vec<Failed>,
}

/// Checks the shares of all tests of an archive.
///
/// # Errors
/// The file cannot be read or used.
pub fn run(path: &Path, seed: u64) -> Result<Report, LabError> {
    let sound = data::load(path, false)?;
    let names: BTreeSet<&str> = sound.tests.iter().map(|test| test.id.as_str()).collect();
    let all = data::load(path, true)?.tests;
    let (others, flagged): (Vec<&HeadlineTest>, Vec<&HeadlineTest>) = all
        .iter()
        .partition(|test| names.contains(test.id.as_str()));
    let share = |tests: &[&HeadlineTest], fails: &dyn Fn(&[Counts]) -> bool| {
        let failed: Vec<f64> = tests
            .iter()
            .map(|test| f64::from(u8::from(fails(&test.headlines))))
            .collect();
        Estimate::mean_over_units(&failed, seed)
    };
    let row = |level, fails: &dyn Fn(&[Counts]) -> bool| Failed {
        level,
        flagged: share(&flagged, fails),
        others: share(&others, fails),
    };
    let mut failed: Vec<Failed> = LEVELS
        .iter()
        .map(|level| row(Some(*level), &|headlines| p_value(headlines) < *level))
        .collect();
    failed.push(row(None, &|headlines| evidence(headlines) >= ALARM_FROM));
    Ok(Report {
        flagged: flagged.len(),
        others: others.len(),
        failed,
    })
}

fn evidence(headlines: &[Counts]) -> f64 {
    let shown: Vec<f64> = headlines.iter().map(|h| h.impressions as f64).collect();
    fair_share_evidence(&shown)
}

/// Pearson's chi-square test of even impressions.
fn p_value(headlines: &[Counts]) -> f64 {
    let shown = headlines.iter().map(|headline| headline.impressions as f64);
    let mean = shown.clone().sum::<f64>() / headlines.len().max(1) as f64;
    let statistic: f64 = shown.map(|n| (n - mean).powi(2) / mean.max(1e-9)).sum();
    let freedom = headlines.len().saturating_sub(1) as f64;
    ChiSquared::new(freedom).map_or(1.0, |chi| chi.sf(statistic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(impressions: &[u64]) -> Vec<Counts> {
        let counts = |impressions: &u64| Counts {
            impressions: *impressions,
            clicks: 0,
        };
        impressions.iter().map(counts).collect()
    }

    #[test]
    fn even_shares_pass_and_skewed_ones_fail() {
        let even = shown(&[3_052, 3_033, 2_990]);
        assert!(p_value(&even) > 0.05 && evidence(&even) < 10.0);
        let skewed = shown(&[3_052, 3_033, 2_000]);
        assert!(p_value(&skewed) < 1e-9 && evidence(&skewed) > ALARM_FROM);
        // Chi-square with one degree of freedom at 3.841 is 5 %.
        let edge = shown(&[50_310, 49_690]);
        assert!(
            (p_value(&edge) - 0.049_95).abs() < 0.001,
            "{}",
            p_value(&edge)
        );
    }
}
