//! What a campaign came to: for people as a table, for machines as JSON.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::campaign::Plan;
use super::meter::Meter;

/// The result of a campaign.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Concurrent callers.
    pub callers: usize,
    /// What was counted, by name.
    pub counts: Vec<(String, u64)>,
    /// Lost, doubled or wrong: none in a good run.
    pub violations: Vec<String>,
    /// How long it took, seconds.
    pub seconds: f64,
}

// === impl Report ===

impl Report {
    /// Reads the meter.
    pub fn new(plan: &Plan, faults: &[(&str, u64)], meter: &Meter, took: Duration) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &meter.tally;
        let counted = [
            ("decisions acknowledged", read(&tally.decisions)),
            (
                "events acknowledged as counted or upgraded",
                read(&tally.events),
            ),
            (
                "repeated events answered as duplicates",
                read(&tally.duplicates),
            ),
            ("changes of recipients acknowledged", read(&tally.updates)),
            ("erasures acknowledged", read(&tally.erasures)),
            ("changes of experiments acknowledged", read(&tally.changes)),
            ("calls cut off and made again", read(&tally.retried)),
            ("calls told to try again", read(&tally.refused)),
            (
                "decisions answered while nothing could be written",
                read(&tally.unremembered),
            ),
            (
                "answered decisions remembered after a fault",
                read(&tally.remembered),
            ),
            (
                "answered decisions attributed by token",
                read(&tally.attributed),
            ),
            (
                "answered decisions lost before their recipient was erased",
                read(&tally.lost_unclaimed),
            ),
            (
                "acknowledged events confirmed as duplicates",
                read(&tally.confirmed),
            ),
        ];
        let all = faults.iter().chain(&counted);
        Self {
            seed: plan.seed,
            callers: plan.callers,
            counts: all
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            violations: meter.violations(),
            seconds: took.as_secs_f64(),
        }
    }

    /// Lines for people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "seed {}, {} callers, {:.1} s\n",
            self.seed, self.callers, self.seconds
        );
        for (name, count) in &self.counts {
            text.push_str(&format!("  {count:>10}  {name}\n"));
        }
        text.push_str(&format!(
            "  {:>10}  lost, doubled or wrong\n",
            self.violations.len()
        ));
        for violation in self.violations.iter().take(20) {
            text.push_str(&format!("    {violation}\n"));
        }
        text
    }
}
