//! What becomes of a person's record with time: touches past their time go, then a record in which nothing happens any more.
//!
//! Invariant: nothing goes while a decision id could still bring it back, and neither an unsubscription nor a refusal of consent is ever
//! forgotten. What was counted stays counted: sums over everybody hold nobody's name. Reading and deleting are left to the layers above.
use jiff::Timestamp;

use crate::domain::recipient::{Consent, ConsentLevel, Recipient, TOUCH_KEPT_MS, Touch};
use crate::domain::send_window::WINDOW_DAYS_MAX;

/// How long the mark of an erasure is kept, milliseconds: until every decision id from before it is past its time.
pub const ERASURE_KEPT_MS: i64 = WINDOW_DAYS_MAX * 24 * 3_600_000 + TOUCH_KEPT_MS;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRules {
    /// How long a record is kept after the last decision, event or update, milliseconds; at least [`ERASURE_KEPT_MS`] is kept.
    pub recipient_kept_ms: i64,
    /// Consent of recipients who have not said.
    pub default_consent: ConsentLevel,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It stays as it is.
    Stays,
    /// It loses so many touches.
    LosesTouches(Recipient, usize),
    /// Nothing but what the person forbade is left of it.
    IsReduced(Recipient),
    /// It goes.
    Goes,
    /// It was the mark of an erasure, which goes.
    MarkGoes,
}

impl RetentionRules {
    /// What becomes of a record now.
    pub fn fate(&self, recipient: &Recipient, now: Timestamp) -> Fate {
        let now_ms = now.as_millisecond();
        if !recipient.exists() {
            let is_past = is_past(recipient.erased_at_ms, ERASURE_KEPT_MS, now_ms);
            return match recipient.suppression {
                None if is_past => Fate::MarkGoes,
                _ => Fate::Stays,
            };
        }
        let kept_ms = self.recipient_kept_ms.max(ERASURE_KEPT_MS);
        let is_live = |touch: &Touch| !is_past(last_ms(touch), TOUCH_KEPT_MS, now_ms);
        let live = recipient.touches.iter().filter(|touch| is_live(touch));
        let gone = recipient.touches.len() - live.count();
        if gone == recipient.touches.len() && is_past(recipient.updated_at_ms, kept_ms, now_ms) {
            return self.end(recipient);
        }
        if gone == 0 {
            return Fate::Stays;
        }
        let mut rest = recipient.clone();
        rest.touches.retain(is_live);
        Fate::LosesTouches(rest, gone)
    }

    /// What becomes of a record in which nothing has happened for too long.
    fn end(&self, recipient: &Recipient) -> Fate {
        let consent = &recipient.consent;
        let is_refusal =
            |said: Option<ConsentLevel>| said.is_some_and(|said| said < self.default_consent);
        let refuses = is_refusal(consent.timing) || is_refusal(consent.content);
        if !refuses && recipient.suppression.is_none() {
            return Fate::Goes;
        }
        let rest = Recipient {
            created_at_ms: recipient.created_at_ms,
            updated_at_ms: recipient.updated_at_ms,
            erased_at_ms: recipient.erased_at_ms,
            suppression: recipient.suppression,
            consent: if refuses {
                consent.clone()
            } else {
                Consent::default()
            },
            ..Recipient::default()
        };
        if rest == *recipient {
            Fate::Stays
        } else {
            Fate::IsReduced(rest)
        }
    }
}

/// The later of when a mail was planned and when it left: until then its decision id may bring the touch back.
fn last_ms(touch: &Touch) -> i64 {
    touch.send_at_ms.max(touch.planned_at_ms)
}

fn is_past(from_ms: i64, kept_ms: i64, now_ms: i64) -> bool {
    from_ms.saturating_add(kept_ms) < now_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::recipient::Suppression;

    const DAY_MS: i64 = 24 * 3_600_000;
    const RULES: RetentionRules = RetentionRules {
        recipient_kept_ms: 395 * DAY_MS,
        default_consent: ConsentLevel::Individual,
    };

    fn on_day(day: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + day * DAY_MS).unwrap()
    }

    fn person() -> Recipient {
        let mut person = Recipient::new(on_day(0));
        person.zone = Some("Europe/Berlin".to_owned());
        person.segments = vec!["loyal".to_owned()];
        person.activity.record_activity(
            on_day(0),
            crate::domain::civil::Zone::utc().local_hour(on_day(0)),
            1.0,
        );
        person
    }

    #[test]
    fn a_record_goes_once_nothing_has_happened_for_the_whole_time() {
        assert_eq!(RULES.fate(&person(), on_day(395)), Fate::Stays);
        assert_eq!(RULES.fate(&person(), on_day(396)), Fate::Goes);
        let short = RetentionRules {
            recipient_kept_ms: DAY_MS,
            ..RULES
        };
        assert_eq!(short.fate(&person(), on_day(60)), Fate::Stays);
        assert_eq!(short.fate(&person(), on_day(61)), Fate::Goes);
    }

    #[test]
    fn a_touch_goes_when_its_decision_id_can_no_longer_bring_it_back() {
        let mut person = person();
        let planned = |day: i64| Touch::counted(on_day(day).as_millisecond(), true);
        let left_early = Touch {
            send_at_ms: on_day(1).as_millisecond(),
            ..planned(20)
        };
        person.touches = vec![planned(5), left_early.clone(), planned(40)];
        assert_eq!(RULES.fate(&person, on_day(35)), Fate::Stays);
        let Fate::LosesTouches(rest, 1) = RULES.fate(&person, on_day(50)) else {
            panic!("one touch is past its time");
        };
        assert_eq!(rest.touches, [left_early, planned(40)]);
        assert_eq!(rest.activity, person.activity);
        let Fate::LosesTouches(rest, 3) = RULES.fate(&person, on_day(71)) else {
            panic!("all touches are past their time");
        };
        assert_eq!(RULES.fate(&rest, on_day(71)), Fate::Stays);
        assert_eq!(RULES.fate(&person, on_day(396)), Fate::Goes);
    }

    #[test]
    fn a_touch_still_ahead_keeps_a_record_however_old() {
        let mut person = person();
        person.touches = vec![Touch::counted(on_day(400).as_millisecond(), true)];
        assert_eq!(RULES.fate(&person, on_day(399)), Fate::Stays);
    }

    #[test]
    fn what_a_person_forbade_outlives_everything_else() {
        let mut left = person();
        left.suppression = Some(Suppression::Unsubscribed);
        let mut refused = person();
        refused.consent.timing = Some(ConsentLevel::Aggregate);
        refused.consent.source = "form".to_owned();
        for person in [left, refused] {
            let Fate::IsReduced(rest) = RULES.fate(&person, on_day(396)) else {
                panic!("something is left of it");
            };
            assert_eq!(rest.suppression, person.suppression);
            assert_eq!(rest.consent, person.consent);
            let nothing = Recipient {
                created_at_ms: person.created_at_ms,
                updated_at_ms: person.updated_at_ms,
                suppression: person.suppression,
                consent: person.consent.clone(),
                ..Recipient::default()
            };
            assert_eq!(rest, nothing);
            assert_eq!(RULES.fate(&rest, on_day(9_000)), Fate::Stays);
        }
        // Consent that was given lapses; consent at the default says nothing.
        let mut agreed = person();
        agreed.consent.timing = Some(ConsentLevel::Individual);
        assert_eq!(RULES.fate(&agreed, on_day(396)), Fate::Goes);
    }

    #[test]
    fn the_mark_of_an_erasure_goes_after_sixty_days_unless_it_suppresses() {
        let mut mark = Recipient {
            erased_at_ms: on_day(0).as_millisecond(),
            ..Recipient::default()
        };
        assert_eq!(RULES.fate(&mark, on_day(60)), Fate::Stays);
        assert_eq!(RULES.fate(&mark, on_day(61)), Fate::MarkGoes);
        mark.suppression = Some(Suppression::Complained);
        assert_eq!(RULES.fate(&mark, on_day(9_000)), Fate::Stays);
    }
}
