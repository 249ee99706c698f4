//! How fast a tenant's readers lose interest in a waiting mail: learned from how old mails were when they were opened.
//!
//! Invariant: hours and ages are told apart by the model, so good hours right after the usual send do not pass for quick fading. With few
//! responses the published default stands.
use crate::domain::freshness::Interest;
use crate::domain::hour_activity::Assembled;

use super::everyone::EveryoneCurve;

/// Responses that the default is worth.
const PRIOR_RESPONSES: f64 = 200.0;
/// Least and greatest share of interest that fades within hours.
const SHARE_RANGE: (f64, f64) = (0.05, 0.95);
/// Halvings of that range: to within half a percent.
const HALVINGS: usize = 8;
/// Ages that are followed, hours.
const AGES: usize = 168;

/// The share of interest that fades within hours: the one under which mails would be as old when they are opened as they were.
///
/// Method of moments on `exp(-age / 40 h)`: `E[f] = sum_h N_h sum_a lambda(h + a) phi(a) s(a) f(a) / (the same without f)`, with the hours'
/// activity lambda fitted anew for every candidate of phi, and s(a) the mails still unopened.
pub fn learned_interest(assembled: &Assembled) -> Interest {
    let (responses, observed) = assembled.responses();
    if responses <= 0.0 {
        return Interest::default();
    }
    let expected = |share: f64| {
        let interest = Interest::nearest(share);
        mean_left(
            assembled,
            interest,
            &EveryoneCurve::learned(&assembled.sums(interest)),
        )
    };
    let default = expected(Interest::default().share());
    let target = (observed * responses + default * PRIOR_RESPONSES) / (responses + PRIOR_RESPONSES);
    let (mut low, mut high) = SHARE_RANGE;
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if expected(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    Interest::nearest((low + high) / 2.0)
}

/// What the mean of `exp(-age / 40 h)` over responses would be under this fading and these hours.
fn mean_left(assembled: &Assembled, interest: Interest, curve: &EveryoneCurve) -> f64 {
    let freshness = interest.curve();
    let [_, (_, slow_tau)] = freshness.components();
    let ages: Vec<(f64, f64)> = (0..AGES)
        .map(|age| {
            // A mail leaves in the middle of its hour, which therefore has only half of it left.
            let (from, to) = ((age as f64 - 0.5).max(0.0), age as f64 + 0.5);
            let unopened = 1.0 - curve.level.min(0.9) * (1.0 - freshness.remaining(from));
            let mass = (freshness.remaining(from) - freshness.remaining(to)) * unopened;
            (mass, (-(from + to) / 2.0 / slow_tau).exp())
        })
        .collect();
    let rate = |hour: usize| curve.surface[hour / 24 % 7][hour % 24];
    let (mut sum, mut weight) = (0.0, 0.0);
    for (hour, sends) in assembled
        .sends()
        .iter()
        .enumerate()
        .filter(|(_, n)| **n > 0.0)
    {
        for (age, (mass, left)) in ages.iter().enumerate() {
            let opens = sends * rate(hour + age) * mass;
            weight += opens;
            sum += opens * left;
        }
    }
    if weight > 0.0 { sum / weight } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::HourOfWeek;
    use crate::domain::hour_activity::{HourActivity, assemble, interest_left};
    use jiff::Timestamp;

    /// The sums after many mails at these hours of day under this fading, with people awake from eight to twenty.
    fn sums(send_hours: &[usize], share: f64) -> Assembled {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let curve = Interest::nearest(share).curve();
        let mut hours = [HourActivity::default(); 168];
        for day in 0..7 {
            for hour in send_hours {
                hours[day * 24 + hour].sends += 1e4;
                for age in 0..168_usize {
                    let at = (day * 24 + hour + age) % 168;
                    let awake = if (8..20).contains(&(at % 24)) {
                        1.5
                    } else {
                        0.5
                    };
                    let (from, to) = ((age as f64 - 0.5).max(0.0), age as f64 + 0.5);
                    let opens = 1e4 * 0.01 * awake * (curve.remaining(from) - curve.remaining(to));
                    hours[at].observed += opens;
                    for (sum, left) in hours[at]
                        .cut_off
                        .iter_mut()
                        .zip(interest_left((from + to) / 2.0))
                    {
                        *sum += opens * left;
                    }
                }
            }
        }
        hours
            .iter_mut()
            .for_each(|hour| hour.as_of_ms = now.as_millisecond());
        let index = |at: usize| HourOfWeek::new(at as u8).unwrap();
        assemble(
            hours.iter().enumerate().map(|(at, hour)| (index(at), hour)),
            now,
        )
    }

    #[test]
    fn fading_is_found_even_if_all_mails_leave_at_one_hour() {
        for hours in [vec![10], (0..24).collect()] {
            for share in [0.3, 0.7] {
                let learned = learned_interest(&sums(&hours, share)).share();
                assert!(
                    (learned - share).abs() < 0.06,
                    "{hours:?} {share} {learned}"
                );
            }
        }
    }

    #[test]
    fn without_responses_the_published_fading_stands() {
        let none = assemble([], Timestamp::UNIX_EPOCH);
        assert_eq!(learned_interest(&none), Interest::default());
    }
}
