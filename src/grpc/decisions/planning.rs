//! Plans of blasts on the wire.
use jiff::{SignedDuration, Timestamp};

use crate::app::{AppError, Assumptions, PlanRequest, PlanSubject, Planned};
use crate::domain::name::TenantId;
use crate::domain::planner::{Advice, BlastPlan, Forecast, PlannedWave, Sooner, TestPlan};
use crate::grpc::check::{Checks, duration_ms, timestamp};
use crate::grpc::experiments::objective;
use crate::grpc::wire;

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// A question to the planner; ranges of numbers are the planner's to check.
pub fn plan_request(
    tenant: TenantId,
    request: wire::PlanBlastRequest,
) -> Result<PlanRequest, AppError> {
    let wire::PlanBlastRequest {
        experiment,
        assumptions,
        audience,
        earliest_time,
        deadline_time,
        sends_per_hour,
    } = request;
    let mut checks = Checks::default();
    let subject = subject(&mut checks, &experiment, assumptions);
    if audience < 0 || (audience == 0 && experiment.is_empty()) {
        checks.wrong("audience", "must be 1 to 100,000,000");
    }
    let earliest_at = checks.instant("earliest_time", earliest_time);
    if deadline_time.is_none() {
        checks.wrong("deadline_time", "is required");
    }
    let deadline_at = checks.instant("deadline_time", deadline_time);
    match (subject, deadline_at) {
        (Some(subject), Some(deadline_at)) => {
            checks.finish()?;
            Ok(PlanRequest {
                tenant,
                subject,
                audience: u64::try_from(audience)
                    .ok()
                    .filter(|audience| *audience > 0),
                earliest_at,
                deadline_at,
                sends_per_hour,
            })
        }
        _ => Err(checks.into_error()),
    }
}

fn subject(
    checks: &mut Checks,
    experiment: &str,
    assumptions: Option<wire::BlastAssumptions>,
) -> Option<PlanSubject> {
    match assumptions {
        None => checks
            .experiment("experiment", experiment)
            .map(PlanSubject::Experiment),
        Some(_) if !experiment.is_empty() => {
            checks.wrong(
                "assumptions",
                "go without an experiment; leave out one of the two",
            );
            None
        }
        Some(wire::BlastAssumptions {
            variant_count,
            objective: wire_objective,
            base_rate,
            effect_spread,
        }) => Some(PlanSubject::Assumed(Assumptions {
            variants: usize::try_from(variant_count).unwrap_or(0),
            objective: objective(checks, "assumptions.objective", wire_objective),
            rate: base_rate,
            effect_scale: effect_spread,
        })),
    }
}

/// The answer.
pub fn planned(planned: &Planned) -> wire::BlastPlan {
    let Planned {
        plan,
        starts_at,
        audience,
        is_end_known,
    } = planned;
    let BlastPlan {
        advice,
        waves,
        successes,
        evenly,
        test,
        gain_over_evenly,
        gain_over_test,
        sooner,
        unsent,
        draws,
    } = plan;
    wire::BlastPlan {
        send_all_now: *advice == Advice::SendAllNow,
        waves: waves
            .iter()
            .map(|wave| wave_wire(wave, *starts_at))
            .collect(),
        successes: Some(forecast(successes)),
        evenly: Some(forecast(evenly)),
        test_then_winner: test.as_ref().map(test_wire),
        gain_over_evenly: Some(forecast(gain_over_evenly)),
        gain_over_test: gain_over_test.as_ref().map(forecast),
        sooner: sooner
            .iter()
            .map(|sooner| sooner_wire(sooner, *starts_at))
            .collect(),
        unsent: *unsent as i64,
        audience: *audience as i64,
        draws: *draws as i32,
        explanation: explanation(plan, *is_end_known),
    }
}

fn wave_wire(wave: &PlannedWave, starts_at: Timestamp) -> wire::BlastWave {
    let PlannedWave {
        at_hours,
        lasts_hours,
        mails,
        share,
        leader_share,
        best_share,
    } = *wave;
    wire::BlastWave {
        start_time: Some(timestamp(after(starts_at, at_hours))),
        duration: Some(duration_ms((lasts_hours * HOUR_MS) as i64)),
        mails: mails as i64,
        audience_share: share,
        leader_share,
        best_share,
    }
}

fn forecast(forecast: &Forecast) -> wire::SuccessForecast {
    let Forecast {
        expected,
        standard_error,
        low,
        high,
    } = *forecast;
    wire::SuccessForecast {
        expected,
        low,
        high,
        standard_error,
    }
}

fn test_wire(test: &TestPlan) -> wire::TestThenWinner {
    let TestPlan {
        test_share,
        wait_hours,
        successes,
    } = test;
    wire::TestThenWinner {
        test_share: *test_share,
        wait: Some(duration_ms((wait_hours * HOUR_MS) as i64)),
        successes: Some(forecast(successes)),
    }
}

fn sooner_wire(sooner: &Sooner, starts_at: Timestamp) -> wire::SoonerPlan {
    let Sooner {
        last_wave_hours,
        gain,
    } = sooner;
    wire::SoonerPlan {
        last_wave_time: Some(timestamp(after(starts_at, *last_wave_hours))),
        gain_over_evenly: Some(forecast(gain)),
    }
}

fn after(at: Timestamp, hours: f64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis((hours * HOUR_MS) as i64))
        .unwrap_or(at)
}

fn explanation(plan: &BlastPlan, is_end_known: bool) -> String {
    let percent = |gain: f64| 100.0 * gain / plan.evenly.expected.max(1e-9);
    let mut text = match plan.advice {
        Advice::SendAllNow => "Send all now: waiting is not expected to gain anything.".to_owned(),
        Advice::Waves => {
            let last = plan.waves.last().map_or(0.0, |wave| wave.at_hours);
            format!(
                "{} waves, the last after {last:.1} h, are expected to bring {:.1} % more successes than sending all now evenly.",
                plan.waves.len(),
                percent(plan.gain_over_evenly.expected),
            )
        }
    };
    if let (Some(test), Some(gain)) = (&plan.test, &plan.gain_over_test) {
        text.push_str(&format!(
            " The best test, of {:.0} % for {:.1} h with one winner for the rest, brings {:.1} % less than this plan.",
            100.0 * test.test_share,
            test.wait_hours,
            percent(gain.expected),
        ));
    }
    if plan.unsent > 0 {
        text.push_str(&format!(
            " At the sender's speed {} mails cannot leave before the deadline.",
            plan.unsent
        ));
    }
    if !is_end_known {
        text.push_str(
            " Set planned_sends: the policy does not know where the campaign ends and explores to the last mail.",
        );
    }
    text
}
