//! The records of the samples, as they were written.
use super::*;

pub fn exposure(trials: f64) -> Exposure {
    Exposure {
        trials,
        successes: trials / 4.0,
        ..Exposure::default()
    }
}

pub fn cell() -> Cell {
    Cell {
        as_of_ms: AT_MS,
        half_life_hours: 504.0,
        open: exposure(100.0),
        click: exposure(120.0),
        conversion: exposure(8.0),
        harm: Harm {
            unsubscribed: 1.0,
            complained: 2.0,
            bounced: 3.0,
            replied_negative: 4.0,
        },
        value_sum: 19.5,
        value_square_sum: 200.25,
    }
}

fn variant(id: &str, state: VariantState) -> Variant {
    Variant {
        id: Slug::parse(id).unwrap(),
        display_name: format!("Subject {id}"),
        state,
        created_at: at(),
        quarantine_reason: String::new(),
    }
}

pub fn experiment() -> Experiment {
    Experiment {
        id: Slug::parse("spring-sale").unwrap(),
        uid: ExperimentUid(7),
        revision: 3,
        display_name: "Spring sale".to_owned(),
        state: ExperimentState::Running,
        variants: vec![
            variant("plain", VariantState::Live),
            variant("question", VariantState::Retired),
        ],
        settings: settings(),
        created_at: at(),
        updated_at: at(),
        started_at: Some(at()),
        concluded_at: None,
        winner: Some(VariantIndex(1)),
        request: 99,
    }
}

fn settings() -> Settings {
    Settings {
        policy: Policy::TopTwo { beta: 0.5 },
        objective: Objective::Click,
        kind: ExperimentKind::Flow,
        attribution_window_ms: 72 * 3_600_000,
        trial_on: TrialOn::Sent,
        holdout_share: 0.05,
        floor: 0.02,
        segments: vec![Slug::parse("director").unwrap()],
        daypart_start_hours: vec![6, 12, 18],
        send_defaults: SendDefaults {
            quiet: Vec::new(),
            blocked_days: vec![jiff::civil::date(2026, 12, 25)],
            frequency_cap: Some(FrequencyCap {
                sends_max: 3,
                period_ms: 604_800_000,
            }),
            transactional: false,
            window_ms: Some(86_400_000),
        },
        half_life_hours: 504.0,
        planned_sends: 40_000,
        guardrails: Guardrails {
            complaint_rate_max: 0.002,
            ..Guardrails::default()
        },
        probation: Probation {
            share_max: 0.25,
            matured_trials_min: 50,
        },
        utility: Utility {
            open_value: 0.5,
            ..Utility::default()
        },
        open_proxy: false,
        exploration_share: 0.05,
        capacity: Some(SenderCapacity {
            sends_per_hour: 5_000,
            warm_up: Some(WarmUp {
                initial_sends_per_hour: 100,
                daily_growth: 1.5,
            }),
        }),
        shadow: true,
    }
}

fn touch() -> Touch {
    Touch {
        decision: 0xDEC1,
        experiment: ExperimentUid(7),
        answer: Answer::Send {
            variant: VariantIndex(1),
            context: Context {
                segment: 1,
                daypart: 2,
            },
            lane: Lane::Policy,
            propensity: 0.625,
        },
        decided_at_ms: AT_MS,
        send_at_ms: AT_MS + 3_600_000,
        planned_at_ms: AT_MS + 3_600_000,
        occasion: 5,
        request: 6,
        events: EventKind::Sent.bit() | EventKind::Opened.bit(),
        trial_counted: true,
        measurable: true,
        exposure_recorded: true,
        everyone_recorded: true,
        sent_local_minute: 9_000,
        open: Some(Response {
            weight: HumanWeight::nearest(0.5),
            at_ms: AT_MS + 7_200_000,
            local_hour_of_week: 158,
        }),
        click: None,
        value: 12.5,
        replied_negative: false,
        basis: Basis {
            reason: Reason::Policy,
            choice_level: ChoiceLevel::Everyone,
            time_level: Some(Level::Recipient),
        },
        timing: TouchTiming {
            interest: Interest::nearest([0.3, 0.2, 0.5]),
            campaign_level: CampaignLevel::nearest(1.5),
            propensity: 0.96,
        },
        converted_at_ms: Some(AT_MS + 10_800_000),
        harmed_at_ms: Some(AT_MS + 14_400_000),
    }
}

pub fn recipient() -> Recipient {
    let mut recipient = Recipient {
        created_at_ms: AT_MS,
        updated_at_ms: AT_MS + 1,
        zone: Some("Europe/Berlin".to_owned()),
        segments: vec!["director".to_owned()],
        consent: Consent {
            timing: Some(ConsentLevel::Individual),
            content: Some(ConsentLevel::Segment),
            source: "form".to_owned(),
            given_at_ms: AT_MS,
        },
        suppression: Some(Suppression::Manual),
        touches: vec![touch()],
        forgotten_until_ms: 4,
        erased_at_ms: 5,
        ..Recipient::default()
    };
    let hour = LocalHour {
        hour: 13,
        weekday: 6,
    };
    recipient.activity.record_activity(at(), hour, 1.0);
    recipient.active_hours.mark(at());
    recipient
}
