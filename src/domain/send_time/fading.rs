//! How fast a tenant's readers lose interest in a waiting mail: learned from how old mails were when they were opened.
//!
//! Invariant: hours and ages are told apart by the model, so good hours right after the usual send do not pass for quick fading. With few
//! responses the published default stands.
use std::collections::BTreeMap;

use crate::domain::freshness::{INTEREST_STEPS, Interest, InterestSteps, TAU_HOURS, TERMS};
use crate::domain::hour_activity::Assembled;

use super::everyone::EveryoneCurve;

/// Responses that the default is worth.
const PRIOR_RESPONSES: f64 = 200.0;
/// Ages that are followed, hours.
const AGES: usize = 168;
/// Steps in which shares are moved from one time constant to another, coarse first.
const STRIDES: [u8; 3] = [5, 2, 1];
/// Below so many effective hours of sending, age and hour of day are one: only what is left a day later tells of fading then.
const SEND_HOURS_MIN: f64 = 2.0;
/// Most moves with one stride: shares cannot go further than from one corner to the others.
const MOVES_MAX: usize = 10;

/// The shares of the time constants under which mails would be as old when they are opened as they were.
///
/// Method of moments on `exp(-age / tau_j)` for every time constant: `E[f] = sum_h N_h sum_a lambda(h + a) phi(a) s(a) f(a) / (the same without f)`,
/// with the hours' activity lambda fitted anew for every candidate of phi, and s(a) the mails still unopened; the candidate with the least
/// squared distance, found by moving shares between time constants in ever smaller strides.
pub fn learned_interest(assembled: &Assembled) -> Interest {
    let (responses, observed) = assembled.responses();
    let start = Interest::default().steps();
    if responses <= 0.0 {
        return Interest::default();
    }
    let expected = |steps| expected_left(assembled, Interest::of(steps));
    let default = expected(start);
    let target: [f64; TERMS] = std::array::from_fn(|term| {
        (observed[term] * responses + default[term] * PRIOR_RESPONSES)
            / (responses + PRIOR_RESPONSES)
    });
    let distance = |steps| -> f64 {
        let found = expected(steps);
        let apart = found.iter().zip(&target);
        apart.map(|(one, other)| (one - other).powi(2)).sum()
    };
    let is_spread = effective_send_hours(assembled) >= SEND_HOURS_MIN;
    let may_be = |[_, day, _]: &InterestSteps| *day == 0 || is_spread;
    let mut known = BTreeMap::new();
    let mut best = start;
    for stride in STRIDES {
        for _ in 0..MOVES_MAX {
            let mut at =
                |steps: InterestSteps| *known.entry(steps).or_insert_with(|| distance(steps));
            let here = at(best);
            let next = neighbours(best, stride)
                .filter(may_be)
                .map(|steps| (at(steps), steps))
                .min_by(|one, other| one.0.total_cmp(&other.0));
            match next {
                Some((there, steps)) if there < here => best = steps,
                _ => break,
            }
        }
    }
    Interest::of(best)
}

/// How many hours of the day mails leave at, had all of these the same share: `1 / sum_u p_u^2`.
fn effective_send_hours(assembled: &Assembled) -> f64 {
    let mut by_hour = [0.0; 24];
    for (hour, sends) in assembled.sends().iter().enumerate() {
        by_hour[hour % 24] += sends;
    }
    let all: f64 = by_hour.iter().sum();
    let squares: f64 = by_hour.iter().map(|sends| sends * sends).sum();
    all * all / squares.max(f64::MIN_POSITIVE)
}

/// The shares after a stride from one time constant to another.
fn neighbours(from: InterestSteps, stride: u8) -> impl Iterator<Item = InterestSteps> {
    let pairs = (0..TERMS).flat_map(|giver| (0..TERMS).map(move |taker| (giver, taker)));
    pairs
        .filter(|(giver, taker)| giver != taker)
        .filter_map(move |(giver, taker)| {
            let mut steps = from;
            let given = stride.min(*steps.get(giver)?);
            *steps.get_mut(giver)? -= given;
            *steps.get_mut(taker)? += given;
            (given > 0 && steps.iter().sum::<u8>() == INTEREST_STEPS).then_some(steps)
        })
}

/// What the means of `exp(-age / tau_j)` over responses would be under this fading and the hours fitted to it.
fn expected_left(assembled: &Assembled, interest: Interest) -> [f64; TERMS] {
    let curve = EveryoneCurve::learned(&assembled.sums(interest));
    let freshness = interest.curve();
    let ages: Vec<(f64, [f64; TERMS])> = (0..AGES)
        .map(|age| {
            // A mail leaves in the middle of its hour, which therefore has only half of it left.
            let (from, to) = ((age as f64 - 0.5).max(0.0), age as f64 + 0.5);
            let unopened = 1.0 - curve.level.min(0.9) * (1.0 - freshness.remaining(from));
            let mass = (freshness.remaining(from) - freshness.remaining(to)) * unopened;
            let middle = (from + to) / 2.0;
            (mass, TAU_HOURS.map(|tau| (-middle / tau).exp()))
        })
        .collect();
    let rate = |hour: usize| curve.surface[hour / 24 % 7][hour % 24];
    let (mut sums, mut weight) = ([0.0; TERMS], 0.0);
    let sent = assembled.sends().iter().enumerate();
    for (hour, sends) in sent.filter(|(_, sends)| **sends > 0.0) {
        for (age, (mass, left)) in ages.iter().enumerate() {
            let opens = sends * rate(hour + age) * mass;
            weight += opens;
            for (sum, left) in sums.iter_mut().zip(left) {
                *sum += opens * left;
            }
        }
    }
    sums.map(|sum| if weight > 0.0 { sum / weight } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::HourOfWeek;
    use crate::domain::hour_activity::{HourActivity, assemble, interest_left};
    use jiff::Timestamp;

    /// The sums after many mails at these hours of day under this fading, with people awake from eight to twenty.
    fn sums(send_hours: &[usize], shares: [f64; TERMS]) -> Assembled {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let curve = Interest::nearest(shares).curve();
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
            for shares in [[0.3, 0.0, 0.7], [0.7, 0.0, 0.3], [0.2, 0.5, 0.3]] {
                if shares[1] > 0.0 && hours.len() == 1 {
                    continue;
                }
                let learned = learned_interest(&sums(&hours, shares)).curve();
                let truth = Interest::nearest(shares).curve();
                for age in [1.0, 4.0, 12.0, 36.0, 96.0] {
                    let apart = (learned.remaining(age) - truth.remaining(age)).abs();
                    assert!(apart < 0.04, "{hours:?} {shares:?} {learned:?} at {age}");
                }
            }
        }
    }

    #[test]
    fn where_all_mails_leave_at_one_hour_nothing_is_said_of_fading_within_the_day() {
        let [_, day, _] = learned_interest(&sums(&[10], [0.2, 0.5, 0.3])).steps();
        assert_eq!(day, 0);
    }

    #[test]
    fn without_responses_the_published_fading_stands() {
        let none = assemble([], Timestamp::UNIX_EPOCH);
        assert_eq!(learned_interest(&none), Interest::default());
    }
}
