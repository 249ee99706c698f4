//! Decisions: the same answer for the same question, nothing recorded that must not be, and honest probabilities.
use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use hermod::grpc::wire::decision_result::Result as Item;
use hermod::grpc::wire::{
    self, ConsentLevel, DecisionReason, DecisionView, DoNotSendReason, EventKind, EventOutcome,
};

use crate::server::{Place, Running, VARIANTS, event, hours, instant, question, subject_lines};

/// What a retry must not change.
fn essence(decision: &wire::Decision) -> (String, String, bool, Option<prost_types::Timestamp>) {
    let wire::Decision {
        decision_id,
        variant,
        send,
        send_time,
        ..
    } = decision;
    (decision_id.clone(), variant.clone(), *send, *send_time)
}

async fn decided(server: &Running, name: &str) -> f64 {
    let results = server.results(name).await;
    results
        .variants
        .iter()
        .map(|v| v.counts.unwrap().decided)
        .sum()
}

#[tokio::test]
async fn the_same_question_gets_the_same_answer() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    for person in 0..20 {
        let request = question(&name, &format!("person-{person}"));
        let first = server.decide(request.clone()).await;
        server.pass_hours(1);
        let again = server.decide(request).await;
        assert_eq!(essence(&first), essence(&again));
        assert_eq!(
            (first.repeated_answer, again.repeated_answer),
            (false, true)
        );
        assert_eq!(again.reason(), DecisionReason::Sticky);
        assert_eq!(first.decide_time, again.decide_time);
    }
    assert_eq!(decided(&server, &name).await, 20.0);
    server.stop().await;
}

#[tokio::test]
async fn a_retry_with_the_request_id_gets_the_answer_of_the_first_try() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let request = wire::DecideRequest {
        request_id: "try-1".into(),
        ..question(&name, "ann")
    };
    let first = server.decide(request.clone()).await;
    let again = server.decide(request.clone()).await;
    assert_eq!(essence(&first), essence(&again));
    assert_eq!(again.reason(), first.reason(), "a retry is told the same");
    let other = server.running("winter", subject_lines()).await;
    let reused = wire::DecideRequest {
        experiment: other,
        ..request
    };
    let refused = server.decisions.clone().decide(reused).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn do_not_send_is_repeated_for_its_request_id_only() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let suppressed = wire::Recipient {
        suppression: wire::Suppression::Manual.into(),
        ..Default::default()
    };
    server.update("ann", suppressed, "suppression").await;
    let request = wire::DecideRequest {
        request_id: "try-1".into(),
        ..question(&name, "ann")
    };
    let first = server.decide(request.clone()).await;
    assert_eq!(
        (first.send, first.do_not_send_reason()),
        (false, DoNotSendReason::Suppressed)
    );
    assert_eq!(
        (first.decision_id.as_str(), first.variant.as_str()),
        ("", "")
    );
    server
        .update("ann", wire::Recipient::default(), "suppression")
        .await;
    let again = server.decide(request).await;
    assert_eq!(
        (
            again.send,
            again.do_not_send_reason(),
            again.repeated_answer
        ),
        (false, DoNotSendReason::Suppressed, true)
    );
    assert!(server.decide(question(&name, "ann")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn a_new_occasion_is_a_new_decision() {
    let server = Place::in_memory().start().await;
    let name = server.running("flow", subject_lines()).await;
    let mut ids = BTreeMap::new();
    for occasion in ["", "2026-11-02", "2026-11-09"] {
        let request = wire::DecideRequest {
            occasion: occasion.into(),
            ..question(&name, "ann")
        };
        let decision = server.decide(request.clone()).await;
        assert!(!decision.repeated_answer);
        assert_eq!(
            server.decide(request).await.decision_id,
            decision.decision_id
        );
        ids.insert(decision.decision_id, occasion);
    }
    assert_eq!(ids.len(), 3);
    assert_eq!(server.recipient("ann").await.touches.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn validate_only_answers_and_records_nothing() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let request = wire::DecideRequest {
        validate_only: true,
        ..question(&name, "ann")
    };
    let answer = server.decide(request.clone()).await;
    assert!(answer.send && answer.decision_id.is_empty());
    let get = wire::GetRecipientRequest {
        recipient_id: "ann".into(),
    };
    let missing = server.recipients.clone().get_recipient(get).await;
    assert_eq!(missing.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(decided(&server, &name).await, 0.0);
    let recorded = server.decide(question(&name, "ann")).await;
    assert_eq!(recorded.variant, answer.variant, "it foretold the answer");
    server.stop().await;
}

#[tokio::test]
async fn the_full_view_ranks_all_variants_with_propensities_that_sum_to_one() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let request = wire::DecideRequest {
        view: DecisionView::Full.into(),
        ..question(&name, "ann")
    };
    let decision = server.decide(request).await;
    assert_eq!(decision.ranked_variants.len(), VARIANTS.len());
    let sum: f64 = decision.ranked_variants.iter().map(|v| v.propensity).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    let chosen = decision
        .ranked_variants
        .iter()
        .find(|v| v.variant == decision.variant)
        .unwrap();
    assert_eq!(chosen.propensity, decision.propensity);
    let explanation = decision.send_time_explanation.unwrap();
    assert!(
        explanation.candidates.len() >= 24,
        "one per hour of the day"
    );
    let basic = server.decide(question(&name, "bob")).await;
    assert!(basic.ranked_variants.is_empty());
    assert!(basic.send_time_explanation.unwrap().candidates.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_holdout_has_its_share_and_is_uniform() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        holdout_share: Some(0.25),
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    let requests = (0..2_000)
        .map(|n| question(&name, &format!("person-{n}")))
        .collect();
    let answers = batch(&server, requests).await;
    let mut held = BTreeMap::<String, usize>::new();
    for answer in answers {
        let Some(Item::Decision(decision)) = answer.result else {
            panic!("{answer:?}")
        };
        assert_eq!(
            decision.holdout,
            decision.reason() == DecisionReason::Holdout
        );
        if decision.holdout {
            assert_eq!(decision.propensity, 1.0 / 3.0);
            *held.entry(decision.variant).or_default() += 1;
        }
    }
    let total: usize = held.values().sum();
    // Five standard deviations either way.
    assert!((403..=597).contains(&total), "{total} of 2,000");
    let expected = total as f64 / 3.0;
    let statistic: f64 = VARIANTS
        .iter()
        .map(|v| (held[*v] as f64 - expected).powi(2) / expected)
        .sum();
    assert!(statistic < 20.0, "{held:?}");
    let results = server.results(&name).await;
    let in_policy: f64 = results
        .variants
        .iter()
        .map(|v| v.counts.unwrap().decided)
        .sum();
    assert_eq!(in_policy, (2_000 - total) as f64);
    server.stop().await;
}

#[tokio::test]
async fn without_consent_nothing_is_recorded() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let refusing = wire::Recipient {
        consent: Some(wire::Consent {
            timing: ConsentLevel::None.into(),
            content: ConsentLevel::None.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    server.update("ann", refusing, "consent").await;
    let answer = server.decide(question(&name, "ann")).await;
    assert!(answer.send && !answer.variant.is_empty());
    assert_eq!(answer.reason(), DecisionReason::NoConsent);
    assert_eq!(answer.decision_id, "");
    assert!(server.recipient("ann").await.touches.is_empty());
    assert_eq!(decided(&server, &name).await, 0.0);
    server.stop().await;
}

#[tokio::test]
async fn who_unsubscribed_gets_no_more_mail_but_receipts() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decision = server.choose(&name, "ann").await;
    let unsubscribed = event(
        EventKind::Unsubscribed,
        &decision.decision_id,
        server.in_minutes(10),
    );
    let outcomes = server.outcomes(vec![unsubscribed]).await;
    assert_eq!(outcomes, [EventOutcome::Counted]);
    let winter = server.running("winter", subject_lines()).await;
    let answer = server.decide(question(&winter, "ann")).await;
    assert_eq!(
        (answer.send, answer.do_not_send_reason()),
        (false, DoNotSendReason::Suppressed)
    );
    let receipt = wire::DecideRequest {
        constraints: Some(wire::SendConstraints {
            transactional: true,
            ..Default::default()
        }),
        ..question(&winter, "ann")
    };
    assert!(server.decide(receipt).await.send);
    server.stop().await;
}

#[tokio::test]
async fn the_frequency_cap_holds_over_all_experiments() {
    let server = Place::in_memory().start().await;
    let capped = |name: &str| wire::ChooseVariantRequest {
        experiment: name.into(),
        recipient_id: "ann".into(),
        frequency_cap: Some(wire::FrequencyCap {
            max_sends: 2,
            period: Some(hours(24)),
        }),
        ..Default::default()
    };
    let mut answers = Vec::new();
    for id in ["one", "two", "three"] {
        let name = server.running(id, subject_lines()).await;
        let answer = server.decisions.clone().choose_variant(capped(&name)).await;
        answers.push(answer.unwrap().into_inner().decision.unwrap());
    }
    let sends: Vec<bool> = answers.iter().map(|answer| answer.send).collect();
    assert_eq!(sends, [true, true, false]);
    assert_eq!(
        answers[2].do_not_send_reason(),
        DoNotSendReason::FrequencyCap
    );
    server.pass_hours(25);
    let later = capped("experiments/three");
    let answer = server.decisions.clone().choose_variant(later).await;
    assert!(answer.unwrap().into_inner().decision.unwrap().send);
    server.stop().await;
}

async fn batch(server: &Running, requests: Vec<wire::DecideRequest>) -> Vec<wire::DecisionResult> {
    let request = wire::BatchDecideRequest { requests };
    let answer = server.decisions.clone().batch_decide(request).await;
    answer.unwrap().into_inner().results
}

#[tokio::test]
async fn one_bad_item_of_a_batch_leaves_the_others_answered() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let requests = vec![
        question(&name, "ann"),
        question("experiments/absent", "bob"),
        question("", ""),
        question(&name, "cid"),
    ];
    let results = batch(&server, requests).await;
    let codes: Vec<i32> = results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            Item::Decision(_) => 0,
            Item::Problem(problem) => problem.code,
        })
        .collect();
    assert_eq!(codes, [0, 5, 3, 0]);
    let Some(Item::Problem(problem)) = &results[2].result else {
        panic!("{results:?}")
    };
    let fields: Vec<&str> = problem.fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["experiment", "recipient_id"]);
    assert_eq!(problem.reason, "INVALID_FIELDS");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_answers_in_the_order_asked() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let asked: Vec<wire::StreamDecideRequest> = (0..300)
        .map(|n| wire::StreamDecideRequest {
            correlation_id: format!("c-{n}"),
            // Every tenth one is bad.
            request: (n % 10 != 7).then(|| question(&name, &format!("person-{n}"))),
        })
        .collect();
    let answers = server
        .decisions
        .clone()
        .stream_decide(stream::iter(asked))
        .await
        .unwrap();
    let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 300);
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.correlation_id, format!("c-{n}"));
        let result = answer.result.unwrap().result.unwrap();
        assert_eq!(matches!(result, Item::Problem(_)), n % 10 == 7, "{n}");
    }
    server.stop().await;
}

#[tokio::test]
async fn racing_retries_get_one_answer_and_count_once() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let tries = (0..32).map(|_| server.decide(question(&name, "ann")));
    let answers: Vec<_> = futures_util::future::join_all(tries).await;
    for answer in &answers {
        assert_eq!(essence(answer), essence(&answers[0]));
        assert!(instant(answer.send_time) >= instant(answer.decide_time));
    }
    assert_eq!(decided(&server, &name).await, 1.0);
    server.stop().await;
}
