//! Privacy: a caller's id of a recipient goes into every method and comes out nowhere: not on disk, not in the log, not in metrics.
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::stream;
use hermod::grpc::wire::{self, EventKind};
use hermod::ops::config::{LogConfig, LogFormat};
use hermod::ops::telemetry;

use crate::server::{Place, Running, event, question, subject_lines};

const PLANTED: &str = "planted.address@example.test";
/// The part that would tell of it in any case and with any host.
const TELLTALE: &str = "planted.address";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let lower = bytes.to_ascii_lowercase();
    lower
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// The files below a directory that hold a text, in whatever case.
fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if holds(&fs::read(&path).unwrap(), text)
            || holds(path.to_string_lossy().as_bytes(), text)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn decide_everywhere(server: &Running, name: &str, id: &str) -> String {
    let mut decisions = server.decisions.clone();
    let request = wire::DecideRequest {
        request_id: format!("retry of {id}"),
        occasion: format!("birthday of {id}"),
        time_zone: "Europe/Berlin".into(),
        ..question(name, id)
    };
    let decision = server.decide(request.clone()).await;
    let full = wire::DecideRequest {
        view: wire::DecisionView::Full.into(),
        validate_only: true,
        ..question(name, id)
    };
    server.decide(full).await;
    let batch = wire::BatchDecideRequest {
        requests: vec![request.clone(), question(id, id)],
    };
    decisions.batch_decide(batch).await.unwrap();
    let item = wire::StreamDecideRequest {
        correlation_id: id.into(),
        request: Some(request),
    };
    let answers = decisions.stream_decide(stream::iter([item])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    assert_eq!(answer.unwrap().correlation_id, id);
    server.choose(name, id).await;
    let predict = wire::PredictSendTimeRequest {
        recipient_id: id.into(),
        ..Default::default()
    };
    decisions.predict_send_time(predict).await.unwrap();
    decision.decision_id
}

async fn report_everything(server: &Running, decision_id: &str, id: &str) {
    let mut feedback = server.feedback.clone();
    let kinds = [
        EventKind::Sent,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Active,
        EventKind::Unspecified,
    ];
    let events = kinds.map(|kind| wire::Event {
        recipient_id: id.into(),
        evidence: Some(wire::Evidence {
            user_agent: format!("agent of {id}"),
            ..Default::default()
        }),
        ..event(kind, decision_id, server.in_minutes(5))
    });
    server.report(events.to_vec()).await;
    server
        .report(vec![event(EventKind::Clicked, id, server.in_minutes(5))])
        .await;
    let item = wire::StreamEventsRequest {
        correlation_id: id.into(),
        event: Some(events[0].clone()),
    };
    let answers = feedback.stream_events(stream::iter([item])).await;
    answers.unwrap().into_inner().message().await.unwrap();
    let request = wire::ReclassifyEventsRequest {
        reclassifications: vec![wire::Reclassification {
            decision_id: decision_id.into(),
            kind: EventKind::Opened.into(),
            human_probability: Some(0.5),
        }],
    };
    feedback.reclassify_events(request).await.unwrap();
}

async fn look_up(server: &Running, id: &str) {
    let mut recipients = server.recipients.clone();
    let recipient_id = || id.to_owned();
    let segments = wire::Recipient {
        segments: vec!["vip".into()],
        ..Default::default()
    };
    server.update(id, segments, "segments").await;
    let shown = server.recipient(id).await;
    assert!(!shown.touches.is_empty());
    let export = wire::ExportRecipientRequest {
        recipient_id: recipient_id(),
    };
    let exported = recipients
        .export_recipient(export)
        .await
        .unwrap()
        .into_inner();
    assert!(!holds(exported.json.as_bytes(), TELLTALE));
}

/// Mistakes of callers that put the id where it does not belong.
async fn misplace(server: &Running, id: &str) {
    let refused = wire::DecideRequest {
        time_zone: id.into(),
        segment: id.into(),
        eligible_variants: vec![id.into()],
        ..question(&format!("experiments/{id}"), id)
    };
    server.decisions.clone().decide(refused).await.unwrap_err();
    let name = wire::GetExperimentRequest { name: id.into() };
    server
        .experiments
        .clone()
        .get_experiment(name)
        .await
        .unwrap_err();
    let variant = wire::PauseVariantRequest {
        name: "experiments/autumn".into(),
        variant_id: id.into(),
    };
    server
        .experiments
        .clone()
        .pause_variant(variant)
        .await
        .unwrap_err();
    let mask = wire::UpdateRecipientRequest {
        recipient_id: id.into(),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![id.into()],
        }),
        ..Default::default()
    };
    server
        .recipients
        .clone()
        .update_recipient(mask)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn the_id_of_a_recipient_is_found_nowhere() {
    let lines = Lines::default();
    let writer = lines.clone();
    let everything = LogConfig {
        format: LogFormat::Text,
        filter: "trace".into(),
    };
    let subscriber = telemetry::subscriber(&everything, move || writer.clone()).unwrap();
    // With a single dispatcher in the process, tracing asks the thread that meets a line first, here another test's, whether anybody
    // wants it, and remembers that nobody does; with a second one it asks both.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // The runtime has this one thread, so server and clients alike log here.
    let _logging = tracing::subscriber::set_default(subscriber);
    let place = Place::on_disk();
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    for id in [PLANTED.to_owned(), PLANTED.to_uppercase()] {
        let decision_id = decide_everywhere(&server, &name, &id).await;
        report_everything(&server, &decision_id, &id).await;
        look_up(&server, &id).await;
        misplace(&server, &id).await;
    }
    let erase = wire::EraseRecipientRequest {
        recipient_id: PLANTED.to_uppercase(),
    };
    server
        .recipients
        .clone()
        .erase_recipient(erase)
        .await
        .unwrap();
    server.app.refresh();
    let page = server.page("/metrics").await;
    assert!(page.contains("hermod_decisions_total"), "{page}");
    assert!(!holds(page.as_bytes(), TELLTALE));
    assert_eq!(files_with(place.path(), TELLTALE), Vec::<String>::new());
    server.stop().await;
    assert_eq!(files_with(place.path(), TELLTALE), Vec::<String>::new());
    assert!(
        !files_with(place.path(), "autumn").is_empty(),
        "the search finds what is there"
    );
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("INVALID_FIELDS"), "the log is written");
    let told: Vec<&str> = log
        .lines()
        .filter(|line| holds(line.as_bytes(), TELLTALE))
        .collect();
    assert_eq!(told, Vec::<&str>::new());
}
