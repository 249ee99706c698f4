//! The way of one campaign from its creation to its end, and of variants that come and go while it runs.
use std::collections::BTreeMap;

use hermod::grpc::wire::{self, EventKind, EventOutcome, ExperimentState, VariantState};

use crate::refusal::{assert_refused, bad_fields};
use crate::server::{Place, VARIANTS, event, question, subject_lines};

#[tokio::test]
async fn clicks_move_the_results_and_the_profile_explains_itself() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let mut events = Vec::new();
    for person in 0..120 {
        let decision = server.choose(&name, &format!("person-{person}")).await;
        assert!(VARIANTS.contains(&decision.variant.as_str()));
        if decision.variant == "question" {
            let at = server.in_minutes(30);
            events.push(event(EventKind::Clicked, &decision.decision_id, at));
        }
    }
    let before = server.results(&name).await;
    assert_eq!(before.variants.iter().map(|v| v.trials).sum::<f64>(), 120.0);
    let clicks = events.len() as f64;
    assert!(clicks > 10.0, "{clicks} of 120 got the second of three");
    server.pass_hours(1);
    for outcome in server.outcomes(events).await {
        assert_eq!(outcome, EventOutcome::Counted);
    }
    server.app.refresh();
    let after = server.results(&name).await;
    assert_eq!(after.leader, "question");
    let winner = &after.variants[1];
    assert_eq!(
        (winner.successes, winner.counts.unwrap().clicked),
        (clicks, clicks)
    );
    assert!(winner.mean > before.variants[1].mean);
    assert!(winner.share > before.variants[1].share, "{winner:?}");
    assert!(winner.interval_low < winner.mean && winner.mean < winner.interval_high);
    // An hour after the mails others may still turn out far better; once nearly all answers are in, hardly.
    server.pass_hours(100);
    server.app.refresh();
    let settled = server.results(&name).await;
    assert!(settled.value_remaining.is_some() && settled.value_remaining < after.value_remaining);
    server.stop().await;
}

#[tokio::test]
async fn a_recipient_shows_the_decision_and_why_this_hour() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let mut request = question(&name, "ann");
    request.time_zone = "europe/berlin".into();
    let decision = server.decide(request).await;
    let opened = event(
        EventKind::Opened,
        &decision.decision_id,
        decision.send_time.unwrap(),
    );
    assert_eq!(server.outcomes(vec![opened]).await, [EventOutcome::Counted]);
    let kept = server.recipient("ann").await;
    assert_eq!(kept.time_zone, "Europe/Berlin");
    let touch = &kept.touches[0];
    assert_eq!(
        (touch.experiment.as_str(), touch.variant.as_str()),
        (name.as_str(), decision.variant.as_str())
    );
    assert_eq!(touch.events, ["opened"]);
    assert_eq!(touch.propensity, decision.propensity);
    let activity = kept.activity.unwrap();
    assert_eq!(
        (
            activity.hours.len(),
            activity.weekdays.len(),
            activity.hours_of_week.len()
        ),
        (24, 7, 168)
    );
    assert!(activity.effective_observations > 0.0);
    let local = decision.send_time_explanation.unwrap().local_hour;
    assert!(activity.hours[local as usize].observed > 0.9, "{local}");
    assert!(!decision.explanation.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn variants_come_and_go_without_changing_the_answers_of_others() {
    let server = Place::in_memory().start().await;
    let name = server.running("flow", subject_lines()).await;
    let people: Vec<String> = (0..60).map(|n| format!("person-{n}")).collect();
    let mut first = BTreeMap::new();
    for person in &people {
        first.insert(
            person.clone(),
            server.choose(&name, person).await.variant.clone(),
        );
    }
    let mut experiments = server.experiments.clone();
    let added = wire::AddVariantRequest {
        name: name.clone(),
        variant: Some(wire::Variant {
            variant_id: "emoji".into(),
            ..Default::default()
        }),
    };
    experiments.add_variant(added).await.unwrap();
    let paused = wire::PauseVariantRequest {
        name: name.clone(),
        variant_id: "plain".into(),
    };
    experiments.pause_variant(paused).await.unwrap();
    for (person, variant) in &first {
        let again = server.choose(&name, person).await;
        if variant == "plain" {
            assert_ne!(again.variant, "plain", "a paused variant is not given out");
        } else {
            assert_eq!((&again.variant, again.repeated_answer), (variant, true));
        }
    }
    let retired = wire::RetireVariantRequest {
        name: name.clone(),
        variant_id: "plain".into(),
    };
    let answer = experiments.retire_variant(retired).await.unwrap();
    let experiment = answer.into_inner().experiment.unwrap();
    assert_eq!(experiment.variants[0].state(), VariantState::Retired);
    assert_eq!(experiment.variants.len(), 4);
    let resumed = wire::ResumeVariantRequest {
        name: name.clone(),
        variant_id: "plain".into(),
    };
    let refused = experiments.resume_variant(resumed).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let mut seen_new = false;
    for person in 0..60 {
        let decision = server.choose(&name, &format!("newcomer-{person}")).await;
        seen_new |= decision.variant == "emoji";
        assert_ne!(decision.variant, "plain");
    }
    assert!(seen_new, "the added variant is given out");
    server.stop().await;
}

#[tokio::test]
async fn a_concluded_experiment_decides_no_more_but_still_learns() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decision = server.choose(&name, "ann").await;
    let mut experiments = server.experiments.clone();
    let conclude = wire::ConcludeExperimentRequest {
        name: name.clone(),
        winner: "question".into(),
    };
    let answer = experiments.conclude_experiment(conclude).await.unwrap();
    let experiment = answer.into_inner().experiment.unwrap();
    assert_eq!(experiment.state(), ExperimentState::Concluded);
    assert_eq!(experiment.winner, "question");
    let mut decisions = server.decisions.clone();
    let refused = decisions.decide(question(&name, "bob")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let late = event(
        EventKind::Clicked,
        &decision.decision_id,
        server.in_minutes(5),
    );
    assert_eq!(server.outcomes(vec![late]).await, [EventOutcome::Counted]);
    let clicks: f64 = server
        .results(&name)
        .await
        .variants
        .iter()
        .map(|v| v.successes)
        .sum();
    assert_eq!(clicks, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn watchers_see_results_now_and_after_a_change() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let request = wire::WatchResultsRequest {
        name: name.clone(),
        interval: Some(prost_types::Duration {
            seconds: 0,
            nanos: 100_000_000,
        }),
    };
    let mut experiments = server.experiments.clone();
    let mut watch = experiments
        .watch_results(request)
        .await
        .unwrap()
        .into_inner();
    let trials = |answer: Option<wire::WatchResultsResponse>| -> f64 {
        let results = answer.unwrap().results.unwrap();
        results.variants.iter().map(|v| v.trials).sum()
    };
    assert_eq!(trials(watch.message().await.unwrap()), 0.0);
    server.choose(&name, "ann").await;
    server.app.refresh();
    assert_eq!(trials(watch.message().await.unwrap()), 1.0);
    let delete = wire::DeleteExperimentRequest {
        name,
        force: true,
        ..Default::default()
    };
    experiments.delete_experiment(delete).await.unwrap();
    let ended = watch.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn a_page_goes_on_where_the_one_before_ended_and_only_with_its_filter() {
    let server = Place::in_memory().start().await;
    let mut client = server.experiments.clone();
    for id in ["winter", "autumn", "spring", "summer"] {
        server.running(id, subject_lines()).await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListExperimentsRequest {
            page_size: 3,
            page_token: page_token.clone(),
            ..Default::default()
        };
        let page = client.list_experiments(request).await.unwrap().into_inner();
        names.extend(
            page.experiments
                .into_iter()
                .map(|experiment| experiment.name),
        );
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert_eq!(
        names,
        ["autumn", "spring", "summer", "winter"].map(|id| format!("experiments/{id}"))
    );
    let other_filter = wire::ListExperimentsRequest {
        page_token,
        state: wire::ExperimentState::Paused.into(),
        ..Default::default()
    };
    let status = client.list_experiments(other_filter).await.unwrap_err();
    assert_refused("list", &status, &bad_fields(&["page_token"]));
    server.stop().await;
}
