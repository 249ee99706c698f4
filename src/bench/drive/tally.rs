//! Calls counted, with how long they took.

use std::time::Instant;

use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};

use super::Span;
use crate::bench::BenchError;

/// Calls of one or many callers.
pub struct Tally {
    /// In nanoseconds, to three digits.
    taken: Histogram<u64>,
    calls: u64,
    items: u64,
    all_items: u64,
    failed: u64,
    first_failure: Option<String>,
    has_run_out: bool,
}

/// What one drive came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Calls answered in the time that counts.
    pub calls: u64,
    /// Answers in them: decisions or events.
    pub items: u64,
    /// Answers in all, those of the warm-up included.
    pub all_items: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Half of the calls took at most this, microseconds.
    pub p50_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// 99.9 % of them.
    pub p999_us: f64,
}

// === impl Tally ===

impl Tally {
    /// Nothing counted yet.
    pub fn new() -> Result<Self, BenchError> {
        let nonsense = |error: CreationError| BenchError::Nonsense(error.to_string());
        Ok(Self {
            taken: Histogram::new(3).map_err(nonsense)?,
            calls: 0,
            items: 0,
            all_items: 0,
            failed: 0,
            first_failure: None,
            has_run_out: false,
        })
    }

    /// Counts a call that was due or made at an instant and ended now.
    pub(super) fn count(
        &mut self,
        span: Span,
        since: Instant,
        items: u64,
        answer: Result<(), tonic::Status>,
    ) {
        let now = Instant::now();
        if let Err(status) = answer {
            self.failed += 1;
            self.first_failure
                .get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
            return;
        }
        self.all_items += items;
        if now >= span.begin && now < span.end {
            self.calls += 1;
            self.items += items;
            let taken = now.duration_since(since).as_nanos();
            // The histogram grows to whatever is recorded.
            let _ = self.taken.record(u64::try_from(taken).unwrap_or(u64::MAX));
        }
    }

    /// There was nothing left to send before the time was over.
    pub(super) fn ran_out(&mut self) {
        self.has_run_out = true;
    }

    /// Adds another's calls.
    pub fn merge(&mut self, other: &Self) {
        // Histograms of one kind always add up.
        let _ = self.taken.add(&other.taken);
        self.calls += other.calls;
        self.items += other.items;
        self.all_items += other.all_items;
        self.failed += other.failed;
        self.has_run_out |= other.has_run_out;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }

    /// What it came to in so many seconds.
    ///
    /// # Errors
    /// Calls failed, or none was answered.
    pub fn measured(&self, seconds: f64) -> Result<Measured, BenchError> {
        if let Some(first) = &self.first_failure {
            return Err(BenchError::Calls {
                failed: self.failed,
                calls: self.calls + self.failed,
                first: first.clone(),
            });
        }
        if self.has_run_out {
            let what = "the client had nothing left to report before the time was over; give it fewer seconds";
            return Err(BenchError::Nonsense(what.to_owned()));
        }
        if self.calls == 0 {
            let what = "no call was answered in the time that counts; give it more seconds";
            return Err(BenchError::Nonsense(what.to_owned()));
        }
        let quantile = |q: f64| self.taken.value_at_quantile(q) as f64 / 1e3;
        Ok(Measured {
            calls: self.calls,
            items: self.items,
            all_items: self.all_items,
            per_second: self.items as f64 / seconds,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn span(now: Instant) -> Span {
        Span {
            begin: now - Duration::from_secs(5),
            end: now + Duration::from_secs(60),
        }
    }

    #[test]
    fn calls_are_counted_from_when_they_were_due() {
        let now = Instant::now();
        let mut tally = Tally::new().unwrap();
        tally.count(span(now), now - Duration::from_secs(2), 10, Ok(()));
        let measured = tally.measured(4.0).unwrap();
        assert_eq!((measured.calls, measured.items), (1, 10));
        assert_eq!(measured.per_second, 2.5);
        assert!(measured.p50_us >= 1.99e6, "{measured:?}");
    }

    #[test]
    fn a_failed_call_ends_the_measurement() {
        let now = Instant::now();
        let (mut sum, mut tally) = (Tally::new().unwrap(), Tally::new().unwrap());
        sum.count(span(now), now, 1, Ok(()));
        tally.count(span(now), now, 1, Err(tonic::Status::internal("broken")));
        sum.merge(&tally);
        let error = sum.measured(1.0).unwrap_err().to_string();
        assert!(
            error.contains("1 of 2") && error.contains("broken"),
            "{error}"
        );
    }

    #[test]
    fn a_client_that_ran_out_of_events_has_measured_nothing() {
        let now = Instant::now();
        let mut tally = Tally::new().unwrap();
        tally.count(span(now), now, 1, Ok(()));
        tally.ran_out();
        let mut sum = Tally::new().unwrap();
        sum.merge(&tally);
        assert!(sum.measured(1.0).is_err());
    }

    #[test]
    fn what_ends_in_the_warm_up_counts_for_cpu_only() {
        let now = Instant::now();
        let later = Span {
            begin: now + Duration::from_secs(60),
            end: now + Duration::from_secs(61),
        };
        let mut tally = Tally::new().unwrap();
        tally.count(later, now, 3, Ok(()));
        assert_eq!((tally.all_items, tally.items), (3, 0));
        assert!(tally.measured(1.0).is_err());
    }
}
