//! The readable picture of a person's hours, or of everybody's: what the predictions rest on, for people.

use jiff::Timestamp;

use crate::domain::activity::{ActivityProfile, ActivityReading};

use super::circle::CircularKernel;
use super::{Level, Segments, SendTimeModel};

/// Hours of activity as the model sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Portrait {
    /// Relative activity by hour of the week, Monday 00 first; 1 is average.
    pub by_week: [f64; 168],
    /// Relative activity by hour of day; 1 is average.
    pub by_hour: [f64; 24],
    /// The hour around which activity is highest, counting the hours beside it.
    pub best_hour: u8,
    /// Whose record it rests on.
    pub level: Level,
    /// The person's own decayed observations.
    pub effective_observations: f64,
    /// The person's own amounts; none where there is no record.
    pub reading: Option<ActivityReading>,
}

impl SendTimeModel {
    /// The picture of a person as of an instant; of everybody without a profile.
    pub fn portrait(
        &self,
        profile: Option<&ActivityProfile>,
        segments: Segments<'_>,
        at: Timestamp,
    ) -> Portrait {
        let (rates, level) = self.rates(profile, segments, at);
        let mean = rates.by_week.iter().sum::<f64>() / 168.0;
        let by_week = rates
            .by_week
            .map(|rate| if mean > 0.0 { rate / mean } else { 1.0 });
        let by_hour: [f64; 24] =
            std::array::from_fn(|hour| by_week.iter().skip(hour).step_by(24).sum::<f64>() / 7.0);
        let around = CircularKernel::new(1.0).smooth(&by_hour);
        let best = around
            .iter()
            .enumerate()
            .max_by(|one, other| one.1.total_cmp(other.1))
            .map_or(0, |(hour, _)| hour);
        Portrait {
            by_week,
            by_hour,
            best_hour: best as u8,
            level,
            effective_observations: profile
                .map_or(0.0, |profile| profile.effective_observations(at)),
            reading: profile.map(|profile| profile.read(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::LocalHour;

    #[test]
    fn a_portrait_averages_one_and_finds_the_persons_hour() {
        let model = SendTimeModel::default();
        let mut profile = ActivityProfile::default();
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        for _ in 0..40 {
            profile.record_activity(
                at,
                LocalHour {
                    hour: 4,
                    weekday: 2,
                },
                1.0,
            );
        }
        let (everybody, person) = (
            model.portrait(None, Segments::default(), at),
            model.portrait(Some(&profile), Segments::default(), at),
        );
        assert!((person.by_week.iter().sum::<f64>() / 168.0 - 1.0).abs() < 1e-9);
        assert_eq!((person.best_hour, person.level), (4, Level::Recipient));
        assert_ne!(everybody.best_hour, 4);
        assert!(everybody.reading.is_none());
    }
}
