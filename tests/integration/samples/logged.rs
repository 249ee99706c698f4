//! The records of the decision log and of shadow mode, as they were written.
use hermod::domain::content_id::ContentId;
use hermod::domain::decide::Allowed;
use hermod::domain::decision_log::{
    CountedMail, Inputs, LoggedDecision, LoggedOutcome, LoggedTable, LoggedTiming, LoggedVerdict,
    PlatformSend,
};
use hermod::domain::freshness::FreshnessCurve;
use hermod::domain::gamma_shape::GammaShape;
use hermod::domain::name::RecipientKey;
use hermod::domain::policy::horizon::Progress;
use hermod::domain::posterior::{Posterior, UtilityPosterior, ValuePosterior};
use hermod::domain::send_time::{EveryoneCurve, Parameters, SendTimeModel};
use hermod::domain::send_window::QuietHours;
use hermod::domain::shadow::ShadowTally;
use hermod::domain::shape::{BetaShape, Interval};
use hermod::domain::snapshot::{Candidate, Rule};

use super::*;

/// Nanoseconds in a millisecond.
const NS: i128 = 1_000_000;

fn at_ns() -> i128 {
    i128::from(AT_MS) * NS
}

fn key() -> RecipientKey {
    RecipientKey(*b"0123456789abcdef")
}

fn inputs() -> Inputs {
    Inputs {
        decided_at_ns: at_ns() + 7,
        occasion: 5,
        attempt: 1,
        timing: LoggedTiming::Within {
            earliest_at_ns: at_ns(),
            deadline_at_ns: at_ns() + 86_400_000 * NS,
            quiet: vec![QuietHours {
                start_minute: 1_320,
                end_minute: 420,
            }],
            blocked_days: vec![(2026, 12, 25)],
            full_hours: vec![(492_324, 2)],
        },
        zone: "Europe/Berlin".to_owned(),
        segment: Some("director".to_owned()),
        eligible: Some(vec![VariantIndex(0), VariantIndex(2)]),
        frequency_cap: Some(FrequencyCap {
            sends_max: 3,
            period_ms: 604_800_000,
        }),
        transactional: false,
        allowed: Allowed {
            timing: ConsentLevel::Individual,
            content: ConsentLevel::Segment,
        },
        suppression: None,
        mails: vec![CountedMail {
            send_at_ms: AT_MS - 3_600_000,
            sends: true,
        }],
        activity: Some(recipient().activity),
        configured: ContentId([1; 16]),
        table: Some(ContentId([2; 16])),
        model: Some(ContentId([3; 16])),
    }
}

pub fn decision() -> LoggedDecision {
    let touch = &recipient().touches[0];
    LoggedDecision {
        recipient: key(),
        code: "0.1.0".to_owned(),
        experiment: ExperimentUid(7),
        snapshot_version: 12,
        inputs: inputs(),
        outcome: LoggedVerdict::Send {
            answer: touch.answer,
            basis: touch.basis,
            send_at_ns: at_ns() + 3_600_000 * NS,
        },
        platform: Some(PlatformSend {
            variant: VariantIndex(2),
            send_at_ms: AT_MS + 60_000,
        }),
    }
}

pub fn outcome() -> LoggedOutcome {
    LoggedOutcome {
        recipient: key(),
        send_at_ms: AT_MS,
        events: EventKind::Opened.bit() | EventKind::Converted.bit(),
        open: 0.5,
        click: 0.25,
        value: 12.5,
        replied_negative: true,
    }
}

/// One candidate of each family, which no table has together.
pub fn table() -> LoggedTable {
    let beta = |alpha, beta| BetaShape::new(alpha, beta).unwrap();
    let value = ValuePosterior {
        shape: GammaShape::clamped(4.0, 2.5),
        trials: 120.0,
    };
    let utility = UtilityPosterior {
        share: beta(3.0, 5.0),
        range: Interval {
            low: -20.0,
            high: 1.5,
        },
        trials: 80.0,
    };
    let posteriors = [
        Posterior::Rate(beta(20.5, 80.25)),
        Posterior::Value(value),
        Posterior::Utility(utility),
    ];
    let candidate = |(at, posterior)| Candidate {
        variant: VariantIndex(at),
        posterior,
        effective_trials: 100.75,
        successes: 20.0,
    };
    LoggedTable {
        rule: Rule {
            policy: Policy::HorizonThompson,
            progress: Progress {
                sends: 300.0,
                planned_sends: 40_000.0,
            },
            floor: 0.015,
            on_probation: vec![VariantIndex(2)],
            probation_share_max: 0.1,
        },
        candidates: (0..).zip(posteriors).map(candidate).collect(),
        level: ChoiceLevel::Everyone,
        probabilities: vec![0.5, 0.25, 0.25],
    }
}

pub fn model() -> SendTimeModel {
    let everyone = EveryoneCurve {
        by_hour: [1.0; 24],
        by_weekday: [1.0; 7],
        surface: [[1.0; 24]; 7],
        level: 0.3,
        observations: 400.0,
    };
    let chronotypes = Chronotypes {
        fitted_at_ms: AT_MS,
        people: 900,
        kinds: vec![Chronotype {
            weight: 1.0,
            relative: [1.0; 24],
        }],
        kappa: Some(32.0),
        segments: Vec::new(),
    };
    SendTimeModel::new(
        everyone,
        FreshnessCurve::new(3, [0.25, 0.25, 0.5], [2.0, 10.0, 40.0]).unwrap(),
        Parameters {
            kappa: 12.0,
            smoothing_sd_hours: 1.5,
            weekday_kappa: 30.0,
            observations_min: 4.0,
            everyone_observations_min: 50.0,
        },
        chronotypes,
    )
}

pub fn tally() -> ShadowTally {
    ShadowTally {
        sends: 10.0,
        agreed: 4.0,
        probability: 3.5,
        probability_square: 1.75,
        reward: 2.0,
        reward_square: 2.5,
        weighted: 0.75,
        square_weighted: 0.375,
        weighted_square: 0.1875,
    }
}
