//! Answering a small share of questions with a random hour, and how likely every answer was.
//!
//! Invariant: the probabilities of all hours that could have been answered sum to one, whichever was. What is learned from it is left to others.
use jiff::Timestamp;

use crate::domain::civil::LocalClock;
use crate::domain::draws::unit_interval;
use crate::domain::send_window::SendWindow;

use super::Exploration;
use super::allowed_hours::AllowedHours;

/// What exploring came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chosen {
    /// The random instant, if one is answered.
    pub explored_at: Option<Timestamp>,
    /// Probability with which the hour of the answer was chosen.
    pub propensity: f64,
}

impl Exploration {
    /// Whether to answer a random hour in place of the best, and the probability of what is answered.
    pub(super) fn choose(
        &self,
        best_at: Timestamp,
        window: &SendWindow,
        clock: &LocalClock,
    ) -> Chosen {
        let certain = Chosen {
            explored_at: None,
            propensity: 1.0,
        };
        if self.share <= 0.0 {
            return certain;
        }
        let hours = AllowedHours::of(window, clock);
        let explored_at = (unit_interval(self.whether) < self.share)
            .then(|| hours.drawn(self.hour, self.within))
            .flatten();
        let at = explored_at.unwrap_or(best_at);
        let random = self.share * hours.probability(at);
        let is_best = hours.is_same(at, best_at);
        Chosen {
            explored_at,
            propensity: random + if is_best { 1.0 - self.share } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::Zone;
    use crate::domain::send_window::QuietHours;

    fn window() -> SendWindow {
        SendWindow {
            earliest_at: "2026-03-02T00:00:00Z".parse().unwrap(),
            deadline_at: "2026-03-02T23:59:59Z".parse().unwrap(),
            quiet: vec![QuietHours {
                start_minute: 0,
                end_minute: 8 * 60 + 30,
            }],
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        }
    }

    fn chosen(whether: u64, hour: u64) -> Chosen {
        let (window, zone) = (window(), Zone::utc());
        let exploration = Exploration {
            share: 0.25,
            whether,
            hour,
            within: hour,
        };
        let best_at = "2026-03-02T18:05:00Z".parse().unwrap();
        exploration.choose(best_at, &window, &window.clock(&zone, 0))
    }

    #[test]
    fn the_probabilities_of_all_hours_sum_to_one() {
        let best = chosen(u64::MAX, 0);
        assert_eq!(best.explored_at, None);
        // Sixteen hours allow something: from half past eight until midnight.
        let mut others = std::collections::BTreeMap::new();
        for draw in 0..1_000 {
            let found = chosen(0, draw * (u64::MAX / 1_000));
            let at = found.explored_at.unwrap();
            assert!(window().allows(at, &window().clock(&Zone::utc(), 0)));
            others.insert(at.as_second().div_euclid(3_600), found.propensity);
        }
        assert_eq!(others.len(), 16);
        let sum: f64 = others.values().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{others:?}");
        assert!((best.propensity - (0.75 + 0.25 / 16.0)).abs() < 1e-12);
        let most = others.values().copied().fold(0.0, f64::max);
        assert!((most - best.propensity).abs() < 1e-12);
    }

    #[test]
    fn without_a_share_the_best_is_certain() {
        let (window, zone) = (window(), Zone::utc());
        let at = window.earliest_at;
        let chosen = Exploration::default().choose(at, &window, &window.clock(&zone, 0));
        assert_eq!((chosen.explored_at, chosen.propensity), (None, 1.0));
    }
}
