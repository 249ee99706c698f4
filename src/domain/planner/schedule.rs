//! Schedules: how many mails leave when.
//!
//! Invariant: waves follow one another, none begins before the one before has left, and the last has left by the deadline.
use serde::Serialize;

use super::Blast;

/// Waves that leave one after the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// In order of time.
    pub waves: Vec<Wave>,
}

/// Mails that leave together, as fast as the sender can.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wave {
    /// When it begins, hours after the first mail.
    pub at_hours: f64,
    /// How long its mails take to leave, hours.
    pub lasts_hours: f64,
    /// Its mails.
    pub mails: u64,
}

/// The form of a schedule: how many waves, how large the first, and how much of the free time they take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Number of waves.
    pub waves: usize,
    /// Share of the first; the others grow by a constant factor.
    pub first_share: f64,
    /// Share of the time that the sending itself leaves.
    pub waiting_share: f64,
}

/// Numbers of waves and shares of the first that are tried.
const FORMS: [(usize, f64); 13] = [
    (2, 0.05),
    (2, 0.1),
    (2, 0.2),
    (2, 0.35),
    (3, 0.03),
    (3, 0.08),
    (3, 0.2),
    (5, 0.02),
    (5, 0.05),
    (5, 0.1),
    (9, 0.01),
    (9, 0.03),
    (9, 0.08),
];
/// Shares of the free time that are tried.
pub const WAITING_SHARES: [f64; 4] = [0.125, 0.25, 0.5, 1.0];
/// Less time than this between waves teaches nothing, hours.
const WAIT_HOURS_MIN: f64 = 1.0 / 60.0;

// === impl Form ===

impl Form {
    /// All that are tried first, over the whole time.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMS.into_iter().map(|(waves, first_share)| Self {
            waves,
            first_share,
            waiting_share: 1.0,
        })
    }

    /// The schedule of this form; none where a wave would be empty or follow too soon.
    pub fn schedule(&self, blast: &Blast) -> Option<Schedule> {
        let mails = blast.sendable();
        let free_hours = blast.window_hours - blast.lasting_hours(mails as f64);
        let gaps = self.waves.saturating_sub(1).max(1) as f64;
        let wait_hours = self.waiting_share * free_hours / gaps;
        if wait_hours < WAIT_HOURS_MIN || (self.first_share * mails as f64) < 1.0 {
            return None;
        }
        let growth = growth(self.waves, self.first_share);
        let mut waves = Vec::with_capacity(self.waves);
        let (mut sent, mut share, mut until) = (0, self.first_share, 0.0);
        for wave in 0..self.waves {
            until += share;
            share *= growth;
            let last = wave + 1 == self.waves;
            let goal = if last {
                mails
            } else {
                (until * mails as f64).round() as u64
            };
            let own = goal.saturating_sub(sent);
            waves.push(Wave {
                at_hours: blast.lasting_hours(sent as f64) + wait_hours * wave as f64,
                lasts_hours: blast.lasting_hours(own as f64),
                mails: own,
            });
            sent += own;
        }
        waves
            .iter()
            .all(|wave| wave.mails > 0)
            .then_some(Schedule { waves })
    }
}

/// The factor r by which waves grow: `f (1 + r + ... + r^(m - 1)) = 1`.
fn growth(waves: usize, first_share: f64) -> f64 {
    let sum = |r: f64| {
        (0..waves)
            .map(|wave| first_share * r.powi(wave as i32))
            .sum::<f64>()
    };
    let (mut low, mut high) = (0.0, 1.0 / first_share);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if sum(middle) < 1.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

// === impl Schedule ===

impl Schedule {
    /// All in one wave.
    pub fn all_now(blast: &Blast) -> Self {
        let mails = blast.sendable();
        Self {
            waves: vec![Wave {
                at_hours: 0.0,
                lasts_hours: blast.lasting_hours(mails as f64),
                mails,
            }],
        }
    }

    /// When the last wave begins, hours.
    pub fn last_wave_hours(&self) -> f64 {
        self.waves.last().map_or(0.0, |wave| wave.at_hours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::planner::tests::blast;

    #[test]
    fn every_form_sends_everything_in_time_and_in_order() {
        for sends_per_hour in [None, Some(5_000.0)] {
            let blast = Blast {
                sends_per_hour,
                ..blast(3, 50_000, 24.0)
            };
            let schedules: Vec<Schedule> = Form::all()
                .filter_map(|form| form.schedule(&blast))
                .collect();
            assert_eq!(schedules.len(), FORMS.len());
            for schedule in schedules {
                let mails: u64 = schedule.waves.iter().map(|wave| wave.mails).sum();
                assert_eq!(mails, 50_000);
                for pair in schedule.waves.windows(2) {
                    assert!(pair[0].at_hours + pair[0].lasts_hours < pair[1].at_hours);
                }
                let last = schedule.waves[schedule.waves.len() - 1];
                assert!(last.at_hours + last.lasts_hours <= 24.0 + 1e-9);
            }
        }
    }

    #[test]
    fn waves_grow_by_a_factor_from_the_first() {
        let form = Form {
            waves: 3,
            first_share: 0.1,
            waiting_share: 0.5,
        };
        let schedule = form.schedule(&blast(2, 91_000, 10.0)).unwrap();
        let mails: Vec<u64> = schedule.waves.iter().map(|wave| wave.mails).collect();
        let (first, second) = (
            mails[1] as f64 / mails[0] as f64,
            mails[2] as f64 / mails[1] as f64,
        );
        assert!((first - second).abs() < 0.01 && first > 2.0, "{mails:?}");
        assert_eq!(schedule.last_wave_hours(), 5.0);
    }

    #[test]
    fn there_are_no_waves_without_time_or_mails() {
        let form = Form {
            waves: 9,
            first_share: 0.01,
            waiting_share: 1.0,
        };
        assert_eq!(form.schedule(&blast(2, 50, 10.0)), None);
        assert_eq!(form.schedule(&blast(2, 5_000, 0.05)), None);
    }
}
