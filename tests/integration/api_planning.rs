//! Plans of blasts, the holdout's proof and the model card, as a caller sees them.
use hermod::grpc::wire::{self, EventKind, EvidenceLevel, UpliftScope};
use tonic::Code;

use crate::refusal::{assert_refused, bad_fields, refused};
use crate::server::{Place, Running, event, instant, subject_lines};

async fn plan(
    server: &Running,
    request: wire::PlanBlastRequest,
) -> Result<wire::BlastPlan, tonic::Status> {
    let mut decisions = server.decisions.clone();
    let answer = decisions.plan_blast(request).await?;
    Ok(answer.into_inner().plan.unwrap())
}

fn assumed(variant_count: i32, audience: i64) -> wire::PlanBlastRequest {
    wire::PlanBlastRequest {
        assumptions: Some(wire::BlastAssumptions {
            variant_count,
            base_rate: Some(0.2),
            ..Default::default()
        }),
        audience,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_campaign_that_is_only_assumed_gets_a_plan_that_explains_itself() {
    let server = Place::in_memory().start().await;
    let request = wire::PlanBlastRequest {
        deadline_time: Some(server.in_minutes(24 * 60)),
        ..assumed(3, 50_000)
    };
    let first = plan(&server, request.clone()).await.unwrap();
    assert!(!first.send_all_now && first.waves.len() >= 2, "{first:?}");
    assert_eq!(
        first.waves.iter().map(|wave| wave.mails).sum::<i64>(),
        50_000
    );
    assert_eq!((first.audience, first.unsent), (50_000, 0));
    let deadline = instant(request.deadline_time);
    for wave in &first.waves {
        assert!(instant(wave.start_time) <= deadline);
    }
    let (successes, evenly) = (first.successes.unwrap(), first.evenly.unwrap());
    assert!(successes.expected > evenly.expected && successes.low < successes.high);
    let gain = first.gain_over_evenly.unwrap();
    assert!((successes.expected - evenly.expected - gain.expected).abs() < 1e-6);
    assert!(first.test_then_winner.is_some() && first.gain_over_test.is_some());
    assert!(first.explanation.contains("waves"), "{}", first.explanation);
    assert_eq!(plan(&server, request).await.unwrap(), first);
    server.stop().await;
}

#[tokio::test]
async fn an_experiment_is_planned_by_what_is_left_of_it_and_by_its_own_speed() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        planned_sends: 10_000,
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    for person in 0..30 {
        server.choose(&name, &format!("person-{person}")).await;
    }
    let request = wire::PlanBlastRequest {
        experiment: name,
        deadline_time: Some(server.in_minutes(5 * 60)),
        sends_per_hour: Some(1_000.0),
        ..Default::default()
    };
    let plan = plan(&server, request).await.unwrap();
    assert_eq!((plan.audience, plan.unsent), (9_970, 4_970));
    assert!(
        plan.explanation.contains("cannot leave"),
        "{}",
        plan.explanation
    );
    server.stop().await;
}

#[tokio::test]
async fn a_plan_names_every_bad_field() {
    let server = Place::in_memory().start().await;
    let deadline_time = Some(server.in_minutes(60));
    let nothing = plan(&server, wire::PlanBlastRequest::default()).await;
    let fields = bad_fields(&["experiment", "audience", "deadline_time"]);
    assert_refused("nothing", &nothing.unwrap_err(), &fields);
    let both = wire::PlanBlastRequest {
        experiment: "experiments/autumn".into(),
        deadline_time,
        ..assumed(3, 1_000)
    };
    let both = plan(&server, both).await;
    assert_refused("both", &both.unwrap_err(), &bad_fields(&["assumptions"]));
    for (field, request) in [
        ("assumptions.variant_count", assumed(0, 1_000)),
        ("assumptions.variant_count", assumed(1_000_000, 1_000)),
        ("audience", assumed(3, i64::MAX)),
        (
            "sends_per_hour",
            wire::PlanBlastRequest {
                sends_per_hour: Some(f64::NAN),
                ..assumed(3, 1_000)
            },
        ),
    ] {
        let request = wire::PlanBlastRequest {
            deadline_time,
            ..request
        };
        let refused = plan(&server, request).await.unwrap_err();
        assert_refused(field, &refused, &bad_fields(&[field]));
    }
    let late = wire::PlanBlastRequest {
        deadline_time: Some(server.in_minutes(-10)),
        ..assumed(3, 1_000)
    };
    let late = plan(&server, late).await.unwrap_err();
    assert_refused("late", &late, &bad_fields(&["deadline_time"]));
    let unknown = wire::PlanBlastRequest {
        experiment: "experiments/nowhere".into(),
        deadline_time,
        ..Default::default()
    };
    let unknown = plan(&server, unknown).await.unwrap_err();
    assert_refused(
        "unknown",
        &unknown,
        &refused(Code::NotFound, "EXPERIMENT_NOT_FOUND"),
    );
    server.stop().await;
}

#[tokio::test]
async fn the_holdout_shows_its_uplift_and_the_card_what_it_rests_on() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        holdout_share: Some(0.4),
        planned_sends: 1_000,
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    let mut events = Vec::new();
    let mut held = 0.0;
    for person in 0..200 {
        let decision = server.choose(&name, &format!("person-{person}")).await;
        held += f64::from(u8::from(decision.holdout));
        if !decision.holdout && person % 3 == 0 {
            let at = server.in_minutes(30);
            events.push(event(EventKind::Clicked, &decision.decision_id, at));
        }
    }
    server.pass_hours(200);
    server.report(events).await;
    server.app.refresh();
    let holdout = server.results(&name).await.holdout.unwrap();
    assert_eq!((holdout.trials, holdout.successes), (held, 0.0));
    assert_eq!(holdout.uplift_scope(), UpliftScope::VariantAndTime);
    let uplift = holdout.uplift.unwrap();
    assert!(
        uplift.significant && uplift.absolute_low > 0.0,
        "{uplift:?}"
    );
    assert_eq!((uplift.relative, uplift.relative_high), (None, None));
    let (now, planned) = (
        holdout.detectable_now.unwrap(),
        holdout.detectable_planned.unwrap(),
    );
    assert!(planned.absolute < now.absolute, "{now:?} {planned:?}");
    let mut experiments = server.experiments.clone();
    let request = wire::GetModelCardRequest { name };
    let card = experiments.get_model_card(request).await.unwrap();
    let card = card.into_inner().card.unwrap();
    let data = card.data.unwrap();
    assert_eq!(data.decided, 200);
    assert_eq!(data.trials + held, 200.0);
    assert!(data.first_time.is_some() && data.last_time.is_some());
    assert_eq!(card.levels[0].level(), EvidenceLevel::Everyone);
    for name in ["policy", "deciding prior", "reporting prior", "delay curve"] {
        let model = card.models.iter().find(|model| model.name == name);
        assert!(!model.unwrap().parameters.is_empty(), "{name}");
        assert!(card.markdown.contains(name), "{}", card.markdown);
    }
    for heading in [
        "## Data",
        "## Variants",
        "## Holdout",
        "## Guardrails",
        "not known",
    ] {
        assert!(card.markdown.contains(heading), "{}", card.markdown);
    }
    assert!(!card.limits.is_empty() && card.results.is_some());
    server.stop().await;
}
