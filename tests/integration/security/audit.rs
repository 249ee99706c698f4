//! The audit log: every administrative call with its result, no recipient, no secret; and no call where it cannot be written.
use std::fs;

use hermod::grpc::wire;
use hermod::ops::auth::Scope;
use serde_json::Value;
use tonic::Code;

use super::{AccessFile, call_with, framed, id_of};
use crate::refusal::{assert_refused, refused};
use crate::server::{Place, subject_lines};

const EXPERIMENTS: &str = "/hermod.v1.ExperimentService";
const RECIPIENTS: &str = "/hermod.v1.RecipientService";

fn entries(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn created(id: &str) -> Vec<u8> {
    framed(&wire::CreateExperimentRequest {
        experiment_id: id.into(),
        experiment: Some(subject_lines()),
        ..Default::default()
    })
}

fn erased(recipient: &str) -> Vec<u8> {
    framed(&wire::EraseRecipientRequest {
        recipient_id: recipient.into(),
    })
}

#[tokio::test]
async fn administrative_calls_are_recorded_before_and_after_and_others_are_not() {
    let mut access = AccessFile::of(&["default"]);
    let admin = access.add("default", &[Scope::Admin, Scope::Read], "");
    let reader = access.add("default", &[Scope::Read], "");
    let mut place = Place::on_disk();
    place.config.auth.access_file = Some(access.path());
    let path = place.config.audit_path().unwrap();
    let server = place.start().await;
    let create = format!("{EXPERIMENTS}/CreateExperiment");
    let erase = format!("{RECIPIENTS}/EraseRecipient");
    let person = "ann@example.org";
    let ask = |path: &str, token: &str, frame: Vec<u8>| {
        let (channel, path, token) = (server.channel.clone(), path.to_owned(), token.to_owned());
        async move { call_with(&channel, &path, Some(&token), frame).await }
    };
    ask(&create, &admin, created("autumn")).await.unwrap();
    ask(&create, &admin, created("autumn")).await.unwrap_err();
    ask(&create, &admin, created(person)).await.unwrap_err();
    ask(&erase, &admin, erased(person)).await.unwrap();
    ask(&erase, &reader, erased(person)).await.unwrap_err();
    let statistics = "/hermod.v1.OperationsService/GetStatistics";
    ask(statistics, &reader, vec![0; 5]).await.unwrap();
    server.security.reload().await;
    access.add("default", &[Scope::Read], "");
    server.security.reload().await;

    let text = fs::read_to_string(&path).unwrap();
    for secret in [person, &admin, &reader] {
        assert!(!text.contains(secret), "{text}");
    }
    let entries = entries(&text);
    let told = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        [
            text("event"),
            text("method"),
            text("resource"),
            text("code"),
            text("reason"),
        ]
        .join(" ")
    };
    let hash: String = {
        let tenant = hermod::domain::name::TenantId::DEFAULT;
        let key = server.app.recipient_key(tenant, person);
        key.0.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let expected = [
        "asked ExperimentService/CreateExperiment experiments/autumn - -".to_owned(),
        "answered ExperimentService/CreateExperiment experiments/autumn Ok -".to_owned(),
        "asked ExperimentService/CreateExperiment experiments/autumn - -".to_owned(),
        "answered ExperimentService/CreateExperiment experiments/autumn AlreadyExists -".to_owned(),
        "asked ExperimentService/CreateExperiment - - -".to_owned(),
        "answered ExperimentService/CreateExperiment - InvalidArgument -".to_owned(),
        format!("asked RecipientService/EraseRecipient recipient-hash:{hash} - -"),
        format!("answered RecipientService/EraseRecipient recipient-hash:{hash} Ok -"),
        "refused RecipientService/EraseRecipient - - SCOPE_MISSING".to_owned(),
        "reloaded - access Ok -".to_owned(),
    ];
    let found: Vec<String> = entries.iter().map(told).collect();
    assert_eq!(found, expected);
    for entry in &entries[..8] {
        assert_eq!(entry["caller"], format!("key:{}", id_of(&admin)));
        assert_eq!(entry["tenant"], "default");
        assert_eq!(entry["peer"], "127.0.0.1");
        assert!(
            entry["at"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
    }
    assert_eq!(entries[0]["call"], entries[1]["call"]);
    assert_ne!(entries[0]["call"], entries[2]["call"]);
    assert_eq!(entries[8]["caller"], format!("key:{}", id_of(&reader)));
    server.stop().await;
}

#[tokio::test]
async fn without_authentication_calls_are_recorded_as_anonymous() {
    let place = Place::on_disk();
    let server = place.start().await;
    let create = format!("{EXPERIMENTS}/CreateExperiment");
    call_with(&server.channel, &create, None, created("autumn"))
        .await
        .unwrap();
    let text = fs::read_to_string(place.config.audit_path().unwrap()).unwrap();
    let entries = entries(&text);
    assert_eq!(entries.len(), 2, "{text}");
    assert_eq!(entries[0]["caller"], "anonymous");
    server.stop().await;
}

/// Every write to this device fails as on a full disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let mut place = Place::in_memory();
    place.config.audit.file = Some("/dev/full".into());
    let server = place.start().await;
    let create = format!("{EXPERIMENTS}/CreateExperiment");
    let status = call_with(&server.channel, &create, None, created("autumn")).await;
    let status = status.unwrap_err();
    assert_refused(
        "create",
        &status,
        &refused(Code::Unavailable, "AUDIT_UNAVAILABLE"),
    );
    let details = tonic_types::StatusExt::get_error_details(&status);
    assert!(details.retry_info().is_some());
    let request = wire::GetExperimentRequest {
        name: "experiments/autumn".into(),
    };
    let get = format!("{EXPERIMENTS}/GetExperiment");
    let status = call_with(&server.channel, &get, None, framed(&request)).await;
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    let page = server.page("/metrics").await;
    assert!(page.contains("hermod_audit_failures_total"), "{page}");
    server.stop().await;
}
