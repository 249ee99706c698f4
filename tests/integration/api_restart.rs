//! Restarts: what was answered and acknowledged is answered again by the server that opens the directory next.
use std::path::Path;

use hermod::grpc::wire::decision_result::Result as Item;
use hermod::grpc::wire::{self, EventKind, EventOutcome};
use tokio::runtime::Runtime;

use crate::server::{Place, Running, event, question, subject_lines};

const PEOPLE: usize = 500;

async fn decide_all(server: &Running, name: &str) -> Vec<wire::Decision> {
    let requests = (0..PEOPLE)
        .map(|n| question(name, &format!("person-{n}")))
        .collect();
    let request = wire::BatchDecideRequest { requests };
    let answer = server.decisions.clone().batch_decide(request).await;
    let results = answer.unwrap().into_inner().results;
    results
        .into_iter()
        .map(|result| match result.result {
            Some(Item::Decision(decision)) => decision,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Decides for everybody and reports what came of it; answers the decisions and what the experiment shows.
async fn live_a_day(server: &Running) -> (Vec<wire::Decision>, wire::ExperimentResults) {
    let name = server.running("autumn", subject_lines()).await;
    let decisions = decide_all(server, &name).await;
    let kinds = [
        EventKind::Sent,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Converted,
    ];
    let mut events = Vec::new();
    for (n, decision) in decisions.iter().enumerate() {
        for kind in &kinds[..n % (kinds.len() + 1)] {
            let at = decision.send_time.unwrap();
            events.push(wire::Event {
                human_probability: Some((n % 7) as f64 / 7.0),
                value: 3.25,
                ..event(*kind, &decision.decision_id, at)
            });
        }
    }
    for outcome in server.outcomes(events).await {
        assert_eq!(outcome, EventOutcome::Counted);
    }
    server.pass_hours(24);
    // Rates are shown by the delay curve as last learned, and a start learns it anew.
    server.app.refresh();
    (decisions, server.results(&name).await)
}

/// The next server gives the same answers and shows the same counts.
async fn assert_the_same(
    server: &Running,
    decisions: &[wire::Decision],
    shown: &wire::ExperimentResults,
) {
    let now = server.results("experiments/autumn").await;
    for (one, other) in shown.variants.iter().zip(&now.variants) {
        assert_eq!(one.counts, other.counts);
        assert_eq!((one.trials, one.successes), (other.trials, other.successes));
        let gap = (one.effective_trials - other.effective_trials).abs();
        assert!(gap < 1e-9 * one.trials.max(1.0), "{gap}");
    }
    let again = decide_all(server, "experiments/autumn").await;
    for (one, other) in decisions.iter().zip(&again) {
        assert!(other.repeated_answer);
        assert_eq!(one.decision_id, other.decision_id);
        assert_eq!(
            (&one.variant, one.propensity),
            (&other.variant, other.propensity)
        );
        assert_eq!(one.send_time, other.send_time);
    }
    let first = event(
        EventKind::Complained,
        &decisions[0].decision_id,
        decisions[0].send_time.unwrap(),
    );
    let outcomes = server.outcomes(vec![first.clone(), first]).await;
    assert_eq!(outcomes, [EventOutcome::Counted, EventOutcome::Duplicate]);
}

#[tokio::test]
async fn a_clean_stop_loses_nothing() {
    let place = Place::on_disk();
    let server = place.start().await;
    let (decisions, shown) = live_a_day(&server).await;
    assert!(!server.stop().await.cut_off);
    let server = place.start().await;
    assert_the_same(&server, &decisions, &shown).await;
    server.stop().await;
}

#[test]
fn an_end_without_a_stop_loses_nothing_that_was_acknowledged() {
    let place = Place::on_disk();
    let life = Runtime::new().unwrap();
    let (decisions, shown) = life.block_on(async {
        let server = place.start().await;
        live_a_day(&server).await
    });
    // All tasks of the server are dropped where they are: no drain, no flush, no close.
    drop(life);
    Runtime::new().unwrap().block_on(async {
        let server = place.start().await;
        assert_the_same(&server, &decisions, &shown).await;
        server.stop().await;
    });
}

#[tokio::test]
async fn an_experiment_with_its_variants_and_etag_is_the_same_after_a_restart() {
    let place = Place::on_disk();
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    let add = wire::AddVariantRequest {
        name: name.clone(),
        variant: Some(wire::Variant {
            variant_id: "emoji".into(),
            ..Default::default()
        }),
    };
    let answer = server.experiments.clone().add_variant(add).await.unwrap();
    let before = answer.into_inner().experiment.unwrap();
    server.stop().await;
    let server = place.start().await;
    let get = wire::GetExperimentRequest { name };
    let answer = server.experiments.clone().get_experiment(get).await;
    assert_eq!(answer.unwrap().into_inner().experiment.unwrap(), before);
    server.stop().await;
}

/// Copies a directory of files; a stopped server's, as a fault would leave it that takes all that came after.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_lost_decision_is_made_again_by_its_first_event_unless_its_recipient_was_erased_before() {
    let mut place = Place::on_disk();
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    server.stop().await;
    let before = place.path().join("before");
    copy(&place.config.store.path, &before);
    let server = place.start().await;
    let ann = server.choose(&name, "ann").await;
    let ben = server.choose(&name, "ben").await;
    server.stop().await;

    place.config.store.path = before;
    let server = place.start().await;
    let decided = async || {
        let results = server.results(&name).await;
        let counts = results
            .variants
            .iter()
            .map(|v| v.counts.unwrap_or_default());
        counts.map(|counts| counts.decided).sum::<f64>()
    };
    assert_eq!(decided().await, 0.0);
    let recipient_id = "ann".into();
    let mut recipients = server.recipients.clone();
    let erased = recipients.erase_recipient(wire::EraseRecipientRequest { recipient_id });
    assert_eq!(erased.await.unwrap().into_inner().touches_removed, 0);
    let sent = |decision: &wire::Decision| {
        event(EventKind::Sent, &decision.decision_id, server.in_minutes(1))
    };
    let outcomes = server
        .outcomes(vec![sent(&ann), sent(&ben), sent(&ben)])
        .await;
    let expected = [
        EventOutcome::NotAllowed,
        EventOutcome::Counted,
        EventOutcome::Duplicate,
    ];
    assert_eq!((outcomes.as_slice(), decided().await), (&expected[..], 1.0));
    server.stop().await;
}
