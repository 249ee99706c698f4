//! Where somebody without a known zone may live: the zones of the tenant's known people, judged by the person's own hours.
//!
//! Invariant: probabilities sum to one, and without a record they are the shares of the known people. What is done with the answer is left
//! to the callers; a person's hours are kept in the default zone until the zone is known.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SendTimeModel;
use super::chronotypes::Evidence;
use super::everyone::EveryoneCurve;
use crate::domain::activity::ActivityProfile;
use crate::domain::civil::Zone;

/// Most zones in the tally; the rarest beyond are left out.
pub const ZONES_MAX: usize = 64;
/// Known people without whom nothing is said of the others.
const PEOPLE_MIN: u64 = 20;
/// Known people that the default zone is worth besides those who live there.
const DEFAULT_PEOPLE: f64 = 1.0;
/// Opens of one person count as if they had this many fellows of like hours: people have hours of their own, and `n` opens say
/// `(K + 1) / (K + n)` of what so many opens of different people would. With this many, those said to be sure were right in 96 to 100 % (measured).
const OPENS_ALIKE: f64 = 128.0;

/// How many of a tenant's people live in which zone, by its name, as counted last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneTally {
    /// When it was counted, milliseconds since 1970; 0 for never.
    pub counted_at_ms: i64,
    /// People by the IANA name of their zone.
    pub people: BTreeMap<String, u32>,
}

/// A zone that somebody may live in.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneGuess {
    /// The zone; of those with the same time now, the most frequent.
    pub zone: Zone,
    /// Hours that its clocks are ahead of the default zone's, to the nearest hour.
    pub ahead_hours: i32,
    /// Minutes that they are ahead.
    pub ahead_minutes: i32,
    /// Probability that the person lives there, or where the time is the same.
    pub probability: f64,
}

/// Zones with the same time now.
struct Group {
    zone: Zone,
    most: u32,
    people: f64,
}

// === impl ZoneTally ===

impl ZoneTally {
    /// Counts one person.
    pub fn count(&mut self, zone: &str) {
        *self.people.entry(zone.to_owned()).or_default() += 1;
    }

    /// Leaves out the rarest zones beyond [`ZONES_MAX`].
    pub fn limit(&mut self) {
        while self.people.len() > ZONES_MAX {
            let rarest = self.people.iter().min_by_key(|(_, people)| **people);
            let Some(name) = rarest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.people.remove(&name);
        }
    }

    /// Whether all known people have the default zone's time, or too few are known: then nobody's zone is in question.
    pub fn is_plain(&self, default: &Zone, at: Timestamp) -> bool {
        self.groups(default, at).len() < 2
    }

    /// Whether it knows so few people that nobody's zone is guessed by it.
    pub fn is_small(&self) -> bool {
        let known: u64 = self.people.values().map(|people| u64::from(*people)).sum();
        known < PEOPLE_MIN
    }

    /// By the offset from universal time, seconds.
    fn groups(&self, default: &Zone, at: Timestamp) -> BTreeMap<i32, Group> {
        let mut groups = BTreeMap::new();
        let own = Group {
            zone: default.clone(),
            most: u32::MAX,
            people: DEFAULT_PEOPLE,
        };
        groups.insert(default.offset_seconds(at), own);
        if self.is_small() {
            return groups;
        }
        for (name, people) in &self.people {
            let Ok(zone) = Zone::parse(name) else {
                continue;
            };
            let group = groups
                .entry(zone.offset_seconds(at))
                .or_insert_with(|| Group {
                    zone: zone.clone(),
                    most: 0,
                    people: 0.0,
                });
            group.people += f64::from(*people);
            if *people > group.most {
                (group.zone, group.most) = (zone, *people);
            }
        }
        groups
    }
}

impl SendTimeModel {
    /// The zones that a person may live in, the likeliest first; the default zone alone where nobody lives elsewhere.
    ///
    /// `P(z) ~ people(z) sum_g w_g (prod_u q_gz(u)^O_u prod_u a_gz(u)^A_u)^((K + 1) / (K + n))`: opens fall on the hours in proportion to the
    /// waiting mails times the activity of a chronotype g as the clocks of z tell it, `q_gz(u) ~ E_u T_g(u + ahead_z)`, activity without
    /// mails in proportion to `a_gz(u) ~ T_g(u + ahead_z)`; n opens and actions in all. The power is quasi-likelihood for
    /// counts that scatter more than a multinomial (Wedderburn 1974; McCullagh and Nelder 1989, section 5.5): a person's hours differ from the chronotype's.
    pub fn guess_zones(
        &self,
        tally: &ZoneTally,
        default: &Zone,
        profile: Option<&ActivityProfile>,
        at: Timestamp,
    ) -> Vec<ZoneGuess> {
        let groups = tally.groups(default, at);
        let default_seconds = default.offset_seconds(at);
        let reading = profile.filter(|_| groups.len() > 1).map(|p| p.read(at));
        let evidence = reading.as_ref().map(Evidence::of);
        let mut guesses: Vec<ZoneGuess> = groups
            .into_iter()
            .map(|(seconds, group)| {
                let ahead = seconds - default_seconds;
                let ahead_hours = (f64::from(ahead) / 3_600.0).round() as i32;
                let fit = evidence.map_or(0.0, |evidence| {
                    self.log_fit(evidence, ahead_hours.rem_euclid(24) as usize)
                });
                ZoneGuess {
                    zone: group.zone,
                    ahead_hours,
                    ahead_minutes: ahead / 60,
                    // The logarithm, until it is normalised below.
                    probability: group.people.ln() + fit,
                }
            })
            .collect();
        let logs = guesses.iter().map(|guess| guess.probability);
        let most = logs.fold(f64::NEG_INFINITY, f64::max);
        let likely = |guess: &ZoneGuess| (guess.probability - most).exp();
        let sum: f64 = guesses.iter().map(likely).sum();
        for guess in &mut guesses {
            guess.probability = likely(guess) / sum;
        }
        guesses.sort_by(|one, other| other.probability.total_cmp(&one.probability));
        guesses
    }

    /// Logarithm of how well the hours fit clocks that are so many hours ahead of those they were read on.
    fn log_fit(&self, evidence: Evidence<'_>, ahead: usize) -> f64 {
        let EveryoneCurve { by_hour, .. } = &self.everyone;
        let kinds: Vec<(f64, &[f64; 24])> = if self.kinds.is_empty() {
            vec![(1.0, by_hour)]
        } else {
            self.kinds.each().collect()
        };
        let opened: f64 = evidence.opened.iter().sum();
        let active: f64 = evidence.active.iter().sum();
        let alike = (OPENS_ALIKE + 1.0) / (OPENS_ALIKE + opened + active);
        let logs: Vec<f64> = kinds
            .into_iter()
            .map(|(weight, activity)| {
                let there = |u: usize| activity[(u + ahead) % 24].max(1e-9);
                let (mut fit, mut waited) = (0.0, 0.0);
                for u in 0..24 {
                    fit += (evidence.opened[u] + evidence.active[u]) * there(u).ln();
                    waited += evidence.exposed[u] * there(u);
                }
                let total: f64 = activity.iter().sum();
                let scale = opened * waited.max(1e-9).ln() + active * total.max(1e-9).ln();
                weight.max(1e-12).ln() + alike * (fit - scale)
            })
            .collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::LocalHour;

    fn at() -> Timestamp {
        "2024-03-04T12:00:00Z".parse().unwrap()
    }

    fn tally() -> ZoneTally {
        let mut tally = ZoneTally::default();
        for (zone, people) in [("Asia/Tokyo", 30), ("Africa/Lagos", 60), ("UTC", 9)] {
            for _ in 0..people {
                tally.count(zone);
            }
        }
        tally
    }

    fn guesses(profile: Option<&ActivityProfile>) -> Vec<ZoneGuess> {
        SendTimeModel::default().guess_zones(&tally(), &Zone::utc(), profile, at())
    }

    /// Somebody active at these hours of the default zone.
    fn active_at(hours: &[u8], times: usize) -> ActivityProfile {
        let mut profile = ActivityProfile::default();
        for hour in hours.repeat(times) {
            profile.record_activity(at(), LocalHour { hour, weekday: 2 }, 1.0);
        }
        profile
    }

    #[test]
    fn without_a_record_the_shares_of_the_known_people_hold() {
        let guesses = guesses(None);
        let shown: Vec<(&str, i32)> = guesses
            .iter()
            .map(|guess| (guess.zone.name(), guess.ahead_hours))
            .collect();
        assert_eq!(shown, [("Africa/Lagos", 1), ("Asia/Tokyo", 9), ("UTC", 0)]);
        assert!((guesses[0].probability - 0.6).abs() < 1e-12);
        assert!((guesses[2].probability - 0.1).abs() < 1e-12);
    }

    #[test]
    fn who_is_awake_when_tokyo_is_lives_there_and_not_on_the_other_side() {
        // 23 to 12 in universal time is 8 to 21 in Tokyo.
        let there = active_at(&[23, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11], 4);
        let first = guesses(Some(&there)).remove(0);
        assert_eq!(first.zone.name(), "Asia/Tokyo");
        assert!(first.probability > 0.95, "{first:?}");
        let here = active_at(&[8, 9, 10, 11, 13, 14, 16, 17, 18, 19, 20, 21], 4);
        let tokyo = guesses(Some(&here))
            .into_iter()
            .find(|guess| guess.ahead_hours == 9);
        assert!(tokyo.is_some_and(|guess| guess.probability < 0.01));
    }

    #[test]
    fn hours_in_which_mails_waited_tell_less_than_hours_in_which_they_did_not() {
        use crate::domain::freshness::ExposureVector;
        let mut mailed_at_night = active_at(&[], 0);
        let mut exposure = ExposureVector {
            by_hour: [0.0; 24],
            by_weekday: [0.0; 7],
        };
        exposure.by_hour[2] = 1.0;
        exposure.by_weekday[2] = 1.0;
        let night = LocalHour {
            hour: 2,
            weekday: 2,
        };
        for _ in 0..20 {
            mailed_at_night.record_exposure(at(), &exposure, 1.0);
            mailed_at_night.record_open(at(), night, 1.0);
        }
        // All mails waited at two only: that they were opened then says nothing of where two is noon.
        let prior = guesses(None);
        for guess in guesses(Some(&mailed_at_night)) {
            let before = prior.iter().find(|of| of.zone == guess.zone).unwrap();
            assert!((guess.probability - before.probability).abs() < 1e-6);
        }
    }

    #[test]
    fn few_known_people_and_one_zone_leave_everybody_in_the_default_zone() {
        let mut few = ZoneTally::default();
        few.count("Asia/Tokyo");
        let mut alike = ZoneTally::default();
        (0..500).for_each(|_| alike.count("UTC"));
        let person = active_at(&[2, 3], 50);
        for tally in [few, alike] {
            assert!(tally.is_plain(&Zone::utc(), at()));
            let guesses =
                SendTimeModel::default().guess_zones(&tally, &Zone::utc(), Some(&person), at());
            assert_eq!(guesses.len(), 1);
            assert_eq!((guesses[0].ahead_hours, guesses[0].probability), (0, 1.0));
        }
        assert!(!tally().is_plain(&Zone::utc(), at()));
    }

    #[test]
    fn the_rarest_zones_are_left_out() {
        let mut tally = ZoneTally::default();
        for number in 0..ZONES_MAX + 3 {
            let name = format!("zone-{number:03}");
            (0..=number).for_each(|_| tally.count(&name));
        }
        tally.limit();
        assert_eq!(tally.people.len(), ZONES_MAX);
        assert!(!tally.people.contains_key("zone-002"));
    }
}
