//! Erasure: what a person added is taken out and named, and who unsubscribed stays so.
use hermod::grpc::wire::{self, DoNotSendReason, EventKind};

use crate::server::{Place, event, question, subject_lines};

#[tokio::test]
async fn an_erasure_takes_the_counts_out_and_leaves_the_unsubscription() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decision = server.choose(&name, "ann").await;
    let happened = |kind, minutes| event(kind, &decision.decision_id, server.in_minutes(minutes));
    let events = vec![
        happened(EventKind::Clicked, 5),
        happened(EventKind::Unsubscribed, 10),
    ];
    server.outcomes(events).await;
    let erase = wire::EraseRecipientRequest {
        recipient_id: "ann".into(),
    };
    let mut recipients = server.recipients.clone();
    let receipt = recipients
        .erase_recipient(erase)
        .await
        .unwrap()
        .into_inner();
    let amounts: Vec<(f64, f64)> = receipt
        .amounts
        .iter()
        .map(|amount| (amount.trials, amount.clicks))
        .collect();
    assert_eq!((receipt.existed, amounts), (true, vec![(1.0, 1.0)]));
    let results = server.results(&name).await;
    assert!(
        results
            .variants
            .iter()
            .all(|v| v.trials == 0.0 && v.successes == 0.0)
    );
    let winter = server.running("winter", subject_lines()).await;
    let answer = server.decide(question(&winter, "ann")).await;
    assert_eq!(
        (answer.send, answer.do_not_send_reason()),
        (false, DoNotSendReason::Suppressed)
    );
    server.stop().await;
}
