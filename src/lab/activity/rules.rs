//! Rules that recommend an hour of day from counts by hour: the yardsticks that hermod is compared with.
//!
//! Ties go to the earlier hour, so every rule is a function of the counts.

/// Counts, or shares, by local hour of day.
pub type ByHour = [f64; 24];

/// Standard deviation of the ceiling's smoothing, hours.
const CEILING_SD_HOURS: f64 = 1.2;
/// Events that everybody's curve is worth in the ceiling.
const CEILING_PRIOR_EVENTS: f64 = 3.0;

/// Counts of hours.
pub fn count(hours: impl IntoIterator<Item = usize>) -> ByHour {
    let mut counts = [0.0; 24];
    for hour in hours {
        counts[hour % 24] += 1.0;
    }
    counts
}

/// The counts as shares of their sum; nothing stays nothing.
pub fn normalised(counts: &ByHour) -> ByHour {
    let total: f64 = counts.iter().sum();
    if total > 0.0 {
        counts.map(|count| count / total)
    } else {
        *counts
    }
}

/// The sum of an hour and its two neighbours, around the clock.
pub fn within_an_hour(counts: &ByHour) -> ByHour {
    std::array::from_fn(|hour| counts[(hour + 23) % 24] + counts[hour] + counts[(hour + 1) % 24])
}

/// The hour with the most, the earlier of equals.
pub fn greatest(values: &ByHour) -> usize {
    (0..24)
        .rev()
        .max_by(|one, other| values[*one].total_cmp(&values[*other]))
        .unwrap_or(0)
}

/// Everybody's best hour: most of the average person's activity lies within an hour of it.
pub fn best_of_everybody(shares: &ByHour) -> usize {
    greatest(&within_an_hour(shares))
}

/// The best hour by all of a person's other events: smoothed around the clock (normal, 1.2 h) and lent three events of everybody's.
///
/// What a perfect memory of the person, before and after, would recommend.
pub fn ceiling(others: &ByHour, everybody: &ByHour) -> usize {
    let smooth = smoothed(others);
    let everybody = normalised(everybody);
    greatest(&std::array::from_fn(|hour| {
        smooth[hour] + CEILING_PRIOR_EVENTS * everybody[hour]
    }))
}

fn smoothed(counts: &ByHour) -> ByHour {
    let weight = |distance: usize| {
        let hours = distance.min(24 - distance) as f64;
        (-0.5 * (hours / CEILING_SD_HOURS).powi(2)).exp()
    };
    let total: f64 = (0..24).map(weight).sum();
    std::array::from_fn(|hour| {
        (0..24)
            .map(|other| counts[other] * weight((hour + 24 - other) % 24) / total)
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_a_circle() {
        let counts = count([23, 0, 0, 1, 12]);
        assert_eq!(within_an_hour(&counts)[0], 4.0);
        assert_eq!(best_of_everybody(&counts), 0);
        assert_eq!(ceiling(&counts, &[1.0; 24]), 0);
        assert!((smoothed(&counts).iter().sum::<f64>() - 5.0).abs() < 1e-12);
    }

    #[test]
    fn ties_go_to_the_earlier_hour() {
        assert_eq!(greatest(&count([7, 5])), 5);
        assert_eq!(greatest(&[0.0; 24]), 0);
    }
}
