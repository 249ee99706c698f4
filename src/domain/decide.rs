//! One decision: which variant and when for one recipient, from a snapshot, the record and the draws; or do not send, with its reason.
//!
//! Invariant: the same inputs give the same verdict. Reading the record and remembering the touch are left to others.
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::cell::{Context, Lane};
use crate::domain::civil::Zone;
use crate::domain::draws::{Draws, unit_interval};
use crate::domain::experiment::FrequencyCap;
use crate::domain::name::VariantIndex;
use crate::domain::recipient::{Answer, ConsentLevel, DoNotSend, Recipient, Suppression, Touch};
use crate::domain::send_time::{Goal, PredictRequest, Prediction, SendTimeModel};
use crate::domain::send_window::SendWindow;
use crate::domain::snapshot::{ChoiceLevel, Snapshot, Table};

/// Everything a decision depends on, besides the recipient's record.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The experiment and its tables.
    pub snapshot: &'a Snapshot,
    /// What is learned of times.
    pub model: &'a SendTimeModel,
    /// The randomness of this decision.
    pub draws: Draws,
    /// Now.
    pub now: Timestamp,
    /// When the mail may leave, or leaves.
    pub timing: Timing<'a>,
    /// The recipient's zone.
    pub zone: &'a Zone,
    /// The segment asked for; none takes the recipient's.
    pub segment: Option<&'a str>,
    /// Variants to choose among; none takes all live ones.
    pub eligible: Option<&'a [VariantIndex]>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// What the person allows.
    pub allowed: Allowed,
    /// Whether to list the hours of the window.
    pub want_candidates: bool,
}

/// When the mail may leave, or leaves.
#[derive(Clone, Copy, Debug)]
pub enum Timing<'a> {
    /// At the best instant of this window.
    Within(&'a SendWindow),
    /// At this instant, which is fixed.
    At(Timestamp),
}

/// What a person allows, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Use of opens and activity to learn when to send.
    pub timing: ConsentLevel,
    /// Use of responses to learn which variant works.
    pub content: ConsentLevel,
}

/// Why this variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Drawn by the policy.
    Policy,
    /// The recipient is in the holdout.
    Holdout,
    /// Only one was eligible.
    OnlyCandidate,
    /// Consent does not allow recording.
    NoConsent,
    /// The recipient's record could not be read.
    Fallback,
    /// Answered before, within the attribution window.
    Sticky,
}

/// A choice of variant and time.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The variant.
    pub variant: VariantIndex,
    /// Segment and daypart it counts in.
    pub context: Context,
    /// Policy or holdout.
    pub lane: Lane,
    /// Probability with which it was chosen.
    pub propensity: f64,
    /// Why.
    pub reason: Reason,
    /// The level behind it.
    pub level: ChoiceLevel,
    /// The table it was drawn from.
    pub table: Arc<Table>,
    /// When to send.
    pub send_at: Timestamp,
    /// How that was found; none where the time was fixed.
    pub prediction: Option<Prediction>,
}

/// What is decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Send.
    Send(Box<Choice>),
    /// Do not send.
    DoNotSend(DoNotSend),
    /// No variant may be chosen.
    NoCandidate,
}

// === impl Choice ===

impl Choice {
    /// What the touch remembers of it.
    pub fn answer(&self) -> Answer {
        Answer::Send {
            variant: self.variant,
            context: self.context,
            lane: self.lane,
            propensity: self.propensity,
        }
    }
}

/// The earlier answer that this question gets again: the one to the same request, or a sticky one whose variant may still be chosen.
pub fn earlier_answer<'a>(
    recipient: &'a Recipient,
    question: &Question<'_>,
    request: u64,
    occasion: u64,
) -> Option<&'a Touch> {
    let experiment = &question.snapshot.experiment;
    let still_holds = |touch: &&Touch| match touch.answer {
        Answer::Send { variant, .. } => may_be_chosen(question, variant),
        Answer::DoNotSend(_) => false,
    };
    recipient
        .touch_of_request(request)
        .filter(|touch| touch.experiment == experiment.uid)
        .or_else(|| {
            recipient
                .sticky_touch(experiment, occasion, question.now)
                .filter(still_holds)
        })
}

fn may_be_chosen(question: &Question<'_>, variant: VariantIndex) -> bool {
    let live = question
        .snapshot
        .everyone()
        .is_some_and(|table| table.position(variant).is_some());
    live && question
        .eligible
        .is_none_or(|eligible| eligible.contains(&variant))
}

/// Decides afresh.
pub fn decide(recipient: &Recipient, question: &Question<'_>) -> Verdict {
    if recipient
        .suppression
        .is_some_and(|suppression| stops(suppression, question.transactional))
    {
        return Verdict::DoNotSend(DoNotSend::Suppressed);
    }
    let holdout = is_in_holdout(question);
    let (send_at, prediction) = match when(recipient, question, holdout) {
        Ok(time) => time,
        Err(reason) => return Verdict::DoNotSend(reason),
    };
    match which(recipient, question, holdout, send_at) {
        Some(choice) => Verdict::Send(Box::new(Choice {
            prediction,
            ..choice
        })),
        None => Verdict::NoCandidate,
    }
}

/// A receipt still goes to somebody who unsubscribed from the news, but never to a dead address.
fn stops(suppression: Suppression, transactional: bool) -> bool {
    !transactional || matches!(suppression, Suppression::Bounced | Suppression::Manual)
}

fn is_in_holdout(question: &Question<'_>) -> bool {
    question.allowed.content > ConsentLevel::None
        && unit_interval(question.draws.holdout)
            < question.snapshot.experiment.settings.holdout_share
}

fn when(
    recipient: &Recipient,
    question: &Question<'_>,
    holdout: bool,
) -> Result<(Timestamp, Option<Prediction>), DoNotSend> {
    let window = match question.timing {
        Timing::At(at) if is_capped(recipient, question, at) => {
            return Err(DoNotSend::FrequencyCap);
        }
        Timing::At(at) => return Ok((at, None)),
        Timing::Within(window) if question.transactional => return Ok((window.earliest_at, None)),
        Timing::Within(window) => window,
    };
    let free_at = earliest_under_cap(recipient, question, window).ok_or(DoNotSend::FrequencyCap)?;
    let window = SendWindow {
        earliest_at: free_at,
        ..window.clone()
    };
    if holdout {
        let clock = window.clock(question.zone, 0);
        let first = window
            .candidates(&clock)
            .next()
            .ok_or(DoNotSend::NoAllowedTime)?;
        return Ok((first, None));
    }
    let profile =
        (question.allowed.timing == ConsentLevel::Individual).then_some(&recipient.activity);
    let request = PredictRequest {
        window: &window,
        zone: question.zone,
        goal: Goal::OpenProbability,
        jitter: question.draws.jitter,
        campaign_level: 1.0,
        want_candidates: question.want_candidates,
    };
    let prediction = question
        .model
        .predict(profile, request)
        .map_err(|_| DoNotSend::NoAllowedTime)?;
    let capped = is_capped(recipient, question, prediction.send_at);
    let send_at = if capped { free_at } else { prediction.send_at };
    Ok((send_at, Some(prediction)))
}

fn is_capped(recipient: &Recipient, question: &Question<'_>, at: Timestamp) -> bool {
    !question.transactional
        && question
            .frequency_cap
            .is_some_and(|cap| recipient.is_capped(cap, at.as_millisecond()))
}

/// The first instant of the window at which the cap leaves room: now, or when an earlier mail leaves the period.
fn earliest_under_cap(
    recipient: &Recipient,
    question: &Question<'_>,
    window: &SendWindow,
) -> Option<Timestamp> {
    let Some(cap) = question.frequency_cap.filter(|_| !question.transactional) else {
        return Some(window.earliest_at);
    };
    let earliest_ms = window.earliest_at.as_millisecond();
    let freed = recipient
        .touches
        .iter()
        .map(|touch| touch.send_at_ms.saturating_add(cap.period_ms))
        .filter(|at| *at > earliest_ms);
    let mut instants: Vec<i64> = std::iter::once(earliest_ms).chain(freed).collect();
    instants.sort_unstable();
    let clock = window.clock(question.zone, 0);
    instants
        .into_iter()
        .filter(|at| !recipient.is_capped(cap, *at))
        .filter_map(|at| Timestamp::from_millisecond(at).ok())
        .find(|at| {
            *at <= window.deadline_at
                && SendWindow {
                    earliest_at: *at,
                    ..window.clone()
                }
                .candidates(&clock)
                .next()
                .is_some()
        })
}

fn which(
    recipient: &Recipient,
    question: &Question<'_>,
    holdout: bool,
    send_at: Timestamp,
) -> Option<Choice> {
    let experiment = &question.snapshot.experiment;
    let segment = match question.allowed.content {
        ConsentLevel::None | ConsentLevel::Aggregate => None,
        _ => question
            .segment
            .or_else(|| experiment.first_segment_of(&recipient.segments)),
    };
    let context = match question.allowed.content {
        ConsentLevel::None => Context::default(),
        _ => experiment.context(segment, question.zone.local_hour(send_at).hour),
    };
    let table = match question.allowed.content {
        ConsentLevel::None => question.snapshot.everyone()?,
        _ => question.snapshot.table(context)?,
    };
    let table = match question.eligible {
        Some(eligible) => Arc::new(question.snapshot.restricted(table, eligible)?),
        None => table.clone(),
    };
    let count = table.candidates.len();
    let (position, propensity) = if holdout {
        let position = ((u128::from(question.draws.variant) * count as u128) >> 64) as usize;
        (position, 1.0 / count as f64)
    } else {
        let position = table.allocation.draw(question.draws.variant);
        (position, table.allocation.propensity(position))
    };
    let reason = match question.allowed.content {
        ConsentLevel::None => Reason::NoConsent,
        _ if holdout => Reason::Holdout,
        _ if count == 1 => Reason::OnlyCandidate,
        _ => Reason::Policy,
    };
    let lane = if holdout { Lane::Holdout } else { Lane::Policy };
    let variant = table.candidates.get(position)?.variant;
    Some(Choice {
        variant,
        context,
        lane,
        propensity,
        reason,
        level: table.level,
        table,
        send_at,
        prediction: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delay::DelayCurve;
    use crate::domain::draws::Seed;
    use crate::domain::experiment::tests::campaign;
    use crate::domain::name::RecipientKey;
    use crate::domain::posterior::Prior;
    use crate::domain::recipient::tests::touch;
    use crate::domain::send_window::QuietHours;
    use crate::domain::snapshot::Beliefs;
    use std::collections::BTreeMap;

    const NOW_MS: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    struct Bench {
        snapshot: Snapshot,
        model: SendTimeModel,
        window: SendWindow,
        zone: Zone,
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn bench(holdout_share: f64) -> Bench {
        let mut experiment = campaign(3);
        experiment.settings.holdout_share = holdout_share;
        let beliefs = Beliefs {
            prior: Prior {
                mean: 0.02,
                weight: 12.5,
            },
            curve: DelayCurve::default_click(),
        };
        Bench {
            snapshot: Snapshot::build(
                Arc::new(experiment),
                &BTreeMap::new(),
                &beliefs,
                1,
                at(NOW_MS),
            ),
            model: SendTimeModel::default(),
            window: SendWindow {
                earliest_at: at(NOW_MS),
                deadline_at: at(NOW_MS + 24 * HOUR_MS),
                quiet: Vec::new(),
                blocked_days: Vec::new(),
            },
            zone: Zone::utc(),
        }
    }

    fn question(bench: &Bench, recipient: u8) -> Question<'_> {
        let key = RecipientKey([recipient; 16]);
        Question {
            snapshot: &bench.snapshot,
            model: &bench.model,
            draws: Seed::from_number(1).draws(bench.snapshot.experiment.uid, key, 0, 0),
            now: at(NOW_MS),
            timing: Timing::Within(&bench.window),
            zone: &bench.zone,
            segment: None,
            eligible: None,
            frequency_cap: None,
            transactional: false,
            allowed: Allowed {
                timing: ConsentLevel::Individual,
                content: ConsentLevel::Individual,
            },
            want_candidates: false,
        }
    }

    fn sent(verdict: Verdict) -> Choice {
        match verdict {
            Verdict::Send(choice) => *choice,
            other => panic!("expected to send, got {other:?}"),
        }
    }

    #[test]
    fn the_same_question_gets_the_same_verdict() {
        let bench = bench(0.0);
        let recipient = Recipient::new(at(NOW_MS));
        let (one, other) = (
            sent(decide(&recipient, &question(&bench, 1))),
            sent(decide(&recipient, &question(&bench, 1))),
        );
        assert_eq!(
            (one.variant, one.send_at, one.propensity),
            (other.variant, other.send_at, other.propensity)
        );
    }

    #[test]
    fn the_holdout_gets_a_uniform_variant_at_the_first_allowed_time() {
        let bench = bench(0.5);
        let recipient = Recipient::new(at(NOW_MS));
        let choices: Vec<Choice> = (0..200)
            .map(|i| sent(decide(&recipient, &question(&bench, i))))
            .collect();
        let held: Vec<&Choice> = choices
            .iter()
            .filter(|choice| choice.reason == Reason::Holdout)
            .collect();
        assert!((70..130).contains(&held.len()));
        assert!(held.iter().all(|c| c.send_at == at(NOW_MS)
            && (c.propensity - 1.0 / 3.0).abs() < 1e-12
            && c.lane == Lane::Holdout));
    }

    #[test]
    fn the_suppressed_get_nothing_but_receipts() {
        let bench = bench(0.0);
        let mut recipient = Recipient::new(at(NOW_MS));
        recipient.suppression = Some(Suppression::Unsubscribed);
        assert!(matches!(
            decide(&recipient, &question(&bench, 1)),
            Verdict::DoNotSend(DoNotSend::Suppressed)
        ));
        let receipt = Question {
            transactional: true,
            ..question(&bench, 1)
        };
        assert_eq!(sent(decide(&recipient, &receipt)).send_at, at(NOW_MS));
        recipient.suppression = Some(Suppression::Bounced);
        assert!(matches!(
            decide(&recipient, &receipt),
            Verdict::DoNotSend(DoNotSend::Suppressed)
        ));
    }

    #[test]
    fn a_full_cap_delays_to_when_there_is_room_and_stops_when_there_is_none() {
        let bench = bench(0.0);
        let mut recipient = Recipient::new(at(NOW_MS));
        recipient.remember(touch(1, NOW_MS - HOUR_MS), at(NOW_MS));
        let capped = |hours| Question {
            frequency_cap: Some(FrequencyCap {
                sends_max: 1,
                period_ms: hours * HOUR_MS,
            }),
            ..question(&bench, 1)
        };
        assert!(sent(decide(&recipient, &capped(6))).send_at >= at(NOW_MS + 5 * HOUR_MS));
        assert!(matches!(
            decide(&recipient, &capped(48)),
            Verdict::DoNotSend(DoNotSend::FrequencyCap)
        ));
    }

    #[test]
    fn quiet_hours_over_the_whole_window_leave_no_time() {
        let mut bench = bench(0.0);
        bench.window.deadline_at = at(NOW_MS + HOUR_MS);
        let hour = u16::from(bench.zone.local_hour(at(NOW_MS)).hour);
        bench.window.quiet = vec![QuietHours {
            start_minute: hour * 60,
            end_minute: (hour * 60 + 150) % 1440,
        }];
        let recipient = Recipient::new(at(NOW_MS));
        assert!(matches!(
            decide(&recipient, &question(&bench, 1)),
            Verdict::DoNotSend(DoNotSend::NoAllowedTime)
        ));
    }

    #[test]
    fn without_consent_nothing_personal_is_used_and_the_reason_says_so() {
        let bench = bench(0.5);
        let recipient = Recipient::new(at(NOW_MS));
        for i in 0..20 {
            let allowed = Allowed {
                timing: ConsentLevel::None,
                content: ConsentLevel::None,
            };
            let choice = sent(decide(
                &recipient,
                &Question {
                    allowed,
                    segment: Some("it"),
                    ..question(&bench, i)
                },
            ));
            assert_eq!(
                (choice.reason, choice.lane, choice.context),
                (Reason::NoConsent, Lane::Policy, Context::default())
            );
        }
    }

    #[test]
    fn an_answer_is_sticky_until_its_variant_leaves() {
        let mut bench = bench(0.0);
        let mut recipient = Recipient::new(at(NOW_MS));
        recipient.remember(touch(1, NOW_MS - HOUR_MS), at(NOW_MS));
        assert!(earlier_answer(&recipient, &question(&bench, 1), 0, 0).is_some());
        assert!(earlier_answer(&recipient, &question(&bench, 1), 0, 99).is_none());
        let eligible = [VariantIndex(1)];
        assert!(
            earlier_answer(
                &recipient,
                &Question {
                    eligible: Some(&eligible),
                    ..question(&bench, 1)
                },
                0,
                0
            )
            .is_none()
        );
        bench.window.earliest_at = at(NOW_MS);
        let later = Question {
            now: at(NOW_MS + 73 * HOUR_MS),
            ..question(&bench, 1)
        };
        assert!(earlier_answer(&recipient, &later, 0, 0).is_none());
    }

    #[test]
    fn no_eligible_variant_is_no_candidate() {
        let bench = bench(0.0);
        let recipient = Recipient::new(at(NOW_MS));
        let verdict = decide(
            &recipient,
            &Question {
                eligible: Some(&[]),
                ..question(&bench, 1)
            },
        );
        assert!(matches!(verdict, Verdict::NoCandidate));
    }
}
