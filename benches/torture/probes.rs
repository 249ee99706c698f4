//! Single questions to a server whose disk refuses, and to one whose disk is well again.
//!
//! Invariant: each answer is held against what is promised for that state; waiting is asking again until the answer comes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use hermod::grpc::wire::decision_service_client::DecisionServiceClient;
use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use hermod::grpc::wire::feedback_service_client::FeedbackServiceClient;
use hermod::grpc::wire::recipient_service_client::RecipientServiceClient;
use hermod::grpc::wire::{self, DecisionReason, EventKind};
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use super::child::Child;
use super::meter::Meter;
use super::model::ARENAS;

/// Somebody whom no caller works on.
const NOBODY: &str = "probe";

/// What is promised while the disk refuses.
pub async fn while_refusing(
    child: &Child,
    channels: &[Channel],
    meter: &Meter,
) -> Result<(), String> {
    let channel = channels[0].clone();
    let refused = until_refused(&channel).await;
    let is_right = matches!(refused.code(), Code::ResourceExhausted | Code::Unavailable);
    if !is_right || refused.get_error_details().retry_info().is_none() {
        meter.violation(format!(
            "a change was refused without a time to try again: {refused:?}"
        ));
    }
    let decision = decide(&channel)
        .await
        .map_err(|status| status.to_string())?;
    if decision.decision_id.is_empty() || decision.reason() != DecisionReason::Fallback {
        meter.violation(format!(
            "while the disk refuses, a decision is {decision:?}"
        ));
    }
    let event = wire::Event {
        kind: EventKind::Sent.into(),
        event_time: decision.decide_time,
        decision_id: decision.decision_id,
        ..Default::default()
    };
    let reported = report(&channel, event).await;
    let codes = [Code::ResourceExhausted, Code::Unavailable];
    if !matches!(&reported, Err(status) if codes.contains(&status.code())) {
        meter.violation(format!(
            "while the disk refuses, an event is answered {reported:?}"
        ));
    }
    if let Err(status) = reads(&channel).await {
        meter.violation(format!("while the disk refuses, a read fails: {status:?}"));
    }
    let page = page(child, "/ready")?;
    if !page.starts_with("HTTP/1.1 503") {
        meter.violation(format!("while the disk refuses, /ready says {page}"));
    }
    until_health(&channel, ServingStatus::NotServing).await
}

/// Waits until everything works again, by itself.
pub async fn until_well(child: &Child, channels: &[Channel], meter: &Meter) -> Result<(), String> {
    let channel = channels[0].clone();
    loop {
        match update(&channel).await {
            Ok(()) => break,
            Err(status) if refuses(&status) => tokio::task::yield_now().await,
            Err(status) => return Err(format!("after the trouble: {status:?}")),
        }
    }
    let page = page(child, "/ready")?;
    if !page.starts_with("HTTP/1.1 200") {
        meter.violation(format!("after the trouble /ready says {page}"));
    }
    until_health(&channel, ServingStatus::Serving).await
}

fn refuses(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
}

async fn until_refused(channel: &Channel) -> Status {
    loop {
        if let Err(status) = update(channel).await {
            return status;
        }
    }
}

async fn until_health(channel: &Channel, wanted: ServingStatus) -> Result<(), String> {
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = HealthClient::new(channel.clone())
        .watch(request)
        .await
        .map_err(|status| status.to_string())?
        .into_inner();
    loop {
        match watch.message().await {
            Ok(Some(answer)) if answer.status() == wanted => return Ok(()),
            Ok(Some(_)) => {}
            other => return Err(format!("health never was {wanted:?}: {other:?}")),
        }
    }
}

async fn update(channel: &Channel) -> Result<(), Status> {
    let request = wire::UpdateRecipientRequest {
        recipient_id: NOBODY.into(),
        recipient: Some(wire::Recipient {
            segments: vec!["probed".into()],
            ..Default::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["segments".into()],
        }),
    };
    let mut client = RecipientServiceClient::new(channel.clone());
    client.update_recipient(request).await.map(|_| ())
}

async fn decide(channel: &Channel) -> Result<wire::Decision, Status> {
    let request = wire::DecideRequest {
        experiment: ARENAS[0].name.into(),
        recipient_id: NOBODY.into(),
        ..Default::default()
    };
    let mut client = DecisionServiceClient::new(channel.clone());
    let answer = client.decide(request).await?.into_inner();
    Ok(answer.decision.unwrap_or_default())
}

async fn report(
    channel: &Channel,
    event: wire::Event,
) -> Result<wire::ReportEventsResponse, Status> {
    let request = wire::ReportEventsRequest {
        events: vec![event],
    };
    let mut client = FeedbackServiceClient::new(channel.clone());
    Ok(client.report_events(request).await?.into_inner())
}

async fn reads(channel: &Channel) -> Result<(), Status> {
    let mut decisions = DecisionServiceClient::new(channel.clone());
    let request = wire::PredictSendTimeRequest {
        recipient_id: "person-0-0".into(),
        ..Default::default()
    };
    decisions.predict_send_time(request).await?;
    let request = wire::DecideRequest {
        experiment: ARENAS[1].name.into(),
        recipient_id: "person-0-0".into(),
        occasion: "nothing".into(),
        validate_only: true,
        ..Default::default()
    };
    decisions.decide(request).await?;
    let name = ARENAS[0].name.into();
    let mut experiments = ExperimentServiceClient::new(channel.clone());
    experiments
        .get_results(wire::GetResultsRequest { name })
        .await?;
    Ok(())
}

fn page(child: &Child, path: &str) -> Result<String, String> {
    let text = |error: std::io::Error| format!("{}{path}: {error}", child.operations);
    let mut stream = TcpStream::connect(&child.operations).map_err(text)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: hermod\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    Ok(answer)
}
