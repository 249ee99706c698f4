//! How much a caller may still ask for: a token bucket over passed-in time.
//!
//! Invariant: over any span of `t` seconds at most `burst + rate * t` is let through, and a request that is told to wait is let through after
//! exactly that time if nothing else was asked meanwhile. Whose allowance it is, and what counts, is left to the callers.
use std::time::Duration;

use jiff::Timestamp;

/// One request in the unit that is counted with, so that nothing is rounded: a rate of `r` per second gives `r` units per nanosecond.
const REQUEST: i128 = 1_000_000_000;

/// How fast an allowance comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    burst: u64,
}

/// What one caller may still ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in units of [`REQUEST`]; negative while a large batch is being paid off.
    units: i128,
    at: Timestamp,
}

// === impl Rate ===

impl Rate {
    /// So many requests per second, and so many at once, at least one; no rate where there are none per second.
    pub fn new(per_second: u64, burst: u64) -> Option<Self> {
        let burst = burst.max(1);
        (per_second > 0).then_some(Self { per_second, burst })
    }

    /// Requests per second on average.
    pub fn per_second(self) -> u64 {
        self.per_second
    }

    fn full_units(self) -> i128 {
        i128::from(self.burst) * REQUEST
    }
}

// === impl Allowance ===

impl Allowance {
    /// The whole burst.
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self {
            units: rate.full_units(),
            at: now,
        }
    }

    /// Lets so many requests through together. More than the burst pass when the whole burst is there, and leave a debt.
    ///
    /// # Errors
    /// How long to wait.
    pub fn spend(&mut self, rate: Rate, requests: u64, now: Timestamp) -> Result<(), Duration> {
        self.refill(rate, now);
        let cost = i128::from(requests) * REQUEST;
        let needed = cost.min(rate.full_units());
        if self.units >= needed {
            self.units -= cost;
            return Ok(());
        }
        let per_nanosecond = i128::from(rate.per_second);
        let nanoseconds = (needed - self.units + per_nanosecond - 1) / per_nanosecond;
        Err(Duration::from_nanos(
            u64::try_from(nanoseconds).unwrap_or(u64::MAX),
        ))
    }

    /// A clock that was set back gives nothing and takes nothing.
    fn refill(&mut self, rate: Rate, now: Timestamp) {
        let passed = now.as_nanosecond() - self.at.as_nanosecond();
        self.at = now;
        let gained = passed.max(0).saturating_mul(i128::from(rate.per_second));
        self.units = self.units.saturating_add(gained).min(rate.full_units());
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn start() -> Timestamp {
        "2026-11-02T10:00:00Z".parse().unwrap()
    }

    fn after(wait: Duration) -> Timestamp {
        start() + SignedDuration::try_from(wait).unwrap()
    }

    #[test]
    fn the_burst_passes_at_once_and_then_one_per_interval() {
        let rate = Rate::new(10, 3).unwrap();
        let mut allowance = Allowance::full(rate, start());
        for _ in 0..3 {
            assert_eq!(allowance.spend(rate, 1, start()), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(allowance.spend(rate, 1, start()), Err(wait));
        let nearly = after(wait - Duration::from_nanos(1));
        assert_eq!(
            allowance.spend(rate, 1, nearly),
            Err(Duration::from_nanos(1))
        );
        assert_eq!(allowance.spend(rate, 1, after(wait)), Ok(()));
        assert_eq!(allowance.spend(rate, 1, after(wait)), Err(wait));
    }

    #[test]
    fn a_batch_beyond_the_burst_passes_when_it_is_full_and_is_paid_off() {
        let rate = Rate::new(10, 5).unwrap();
        let mut allowance = Allowance::full(rate, start());
        assert_eq!(allowance.spend(rate, 25, start()), Ok(()));
        let paid_off = Duration::from_millis(2_100);
        assert_eq!(allowance.spend(rate, 1, start()), Err(paid_off));
    }

    #[test]
    fn a_clock_that_was_set_back_gives_and_takes_nothing() {
        let rate = Rate::new(1, 2).unwrap();
        let mut allowance = Allowance::full(rate, start());
        allowance.spend(rate, 1, start()).unwrap();
        let before = start() - SignedDuration::from_hours(1);
        assert_eq!(allowance.spend(rate, 1, before), Ok(()));
        assert_eq!(
            allowance.spend(rate, 1, before),
            Err(Duration::from_secs(1))
        );
        assert!(Rate::new(0, 2).is_none());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_and_always_after_the_wait(
            per_second in 1..2_000_000_000_u64,
            burst in 1..10_000_u64,
            asked in proptest::collection::vec((0..3_000_000_000_u64, 1..20_u64), 1..60),
        ) {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut allowance = Allowance::full(rate, start());
            let (mut passed, mut now) = (0_u128, Duration::ZERO);
            for (pause, requests) in asked {
                let requests = requests.min(burst);
                now += Duration::from_nanos(pause);
                match allowance.spend(rate, requests, after(now)) {
                    Ok(()) => passed += u128::from(requests),
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO);
                        let mut later = allowance;
                        prop_assert_eq!(later.spend(rate, requests, after(now + wait)), Ok(()));
                        let mut sooner = allowance;
                        let just_before = now + wait - Duration::from_nanos(1);
                        prop_assert!(sooner.spend(rate, requests, after(just_before)).is_err());
                    }
                }
                let most = u128::from(burst) + u128::from(per_second) * now.as_nanos() / 1_000_000_000;
                prop_assert!(passed <= most, "{} > {}", passed, most);
            }
        }
    }
}
