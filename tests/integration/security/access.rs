//! API keys: every method by its scope, and what changes of the access file do to calls on open connections.
use futures_util::FutureExt as _;
use hermod::grpc::wire;
use hermod::ops::auth::{METHODS, Scope};
use jiff::SignedDuration;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use super::{AccessFile, call, call_with, framed};
use crate::refusal::{assert_refused, refused};
use crate::server::{Place, Running, subject_lines};

const STATISTICS: &str = "/hermod.v1.OperationsService/GetStatistics";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

async fn serve(access: &AccessFile) -> Running {
    let mut place = Place::in_memory();
    place.config.auth.access_file = Some(access.path());
    place.start().await
}

fn paths() -> impl Iterator<Item = (String, Scope)> {
    let rows = METHODS.iter();
    rows.map(|method| (format!("/hermod.v1.{}", method.path), method.scope))
}

#[tokio::test]
async fn no_method_is_open_without_credentials_or_with_wrong_ones() {
    let mut access = AccessFile::of(&["default"]);
    let known = access.add("default", &Scope::ALL, "");
    let stranger = AccessFile::of(&[]).add("default", &Scope::ALL, "");
    let secret = stranger.splitn(3, '_').nth(2).unwrap();
    let forged = format!("hm_{}_{secret}", super::id_of(&known));
    let server = serve(&access).await;
    let paths: Vec<String> = paths().map(|(path, _)| path).collect();
    for path in paths
        .iter()
        .map(String::as_str)
        .chain([REFLECTION, "/hermod.v1.DecisionService/NoSuchMethod"])
    {
        let status = call(&server.channel, path, None).await.unwrap_err();
        let expected = refused(Code::Unauthenticated, "CREDENTIALS_MISSING");
        assert_refused(path, &status, &expected);
        for token in ["nonsense", &stranger, &forged] {
            let status = call(&server.channel, path, Some(token)).await.unwrap_err();
            let expected = refused(Code::Unauthenticated, "CREDENTIALS_INVALID");
            assert_refused(path, &status, &expected);
            assert!(!format!("{status:?}").contains(token));
        }
    }
    let unknown = "/hermod.v1.DecisionService/NoSuchMethod";
    let status = call(&server.channel, unknown, Some(&known)).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    let page = server.page("/metrics").await;
    assert!(
        page.contains("hermod_auth_failures_total{reason=\"CREDENTIALS_INVALID\"}"),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn every_method_needs_its_scope_and_no_other() {
    let mut access = AccessFile::of(&["default"]);
    let with = Scope::ALL.map(|scope| (scope, access.add("default", &[scope], "")));
    let without = Scope::ALL.map(|scope| {
        let others: Vec<Scope> = Scope::ALL
            .into_iter()
            .filter(|other| *other != scope)
            .collect();
        (scope, access.add("default", &others, ""))
    });
    let token = |tokens: &[(Scope, String)], scope| {
        let found = tokens.iter().find(|(of, _)| *of == scope);
        found.unwrap().1.clone()
    };
    let server = serve(&access).await;
    for (path, scope) in paths() {
        let status = call(&server.channel, &path, Some(&token(&without, scope))).await;
        let status = status.unwrap_err();
        assert_refused(
            &path,
            &status,
            &refused(Code::PermissionDenied, "SCOPE_MISSING"),
        );
        let details = status.get_error_details();
        let named = &details.error_info().unwrap().metadata["scope"];
        assert_eq!(named, scope.as_str(), "{path}");
        // A stream may wait for its first message; it has been let in when it does.
        let token = token(&with, scope);
        let asked = call(&server.channel, &path, Some(&token));
        if let Some(Err(status)) = settled(asked).await {
            assert!(
                ![Code::PermissionDenied, Code::Unauthenticated].contains(&status.code()),
                "{path}: {status:?}"
            );
        }
    }
    server.stop().await;
}

/// The answer, or nothing if none came while everything else had its turn.
async fn settled<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(std::time::Duration::from_secs(5), future)
        .map(Result::ok)
        .await
}

#[tokio::test]
async fn health_is_open_and_reflection_for_those_who_may_call_unless_it_is_public() {
    let mut access = AccessFile::of(&["default"]);
    let token = access.add("default", &[Scope::Report], "");
    let mut place = Place::in_memory();
    place.config.auth.access_file = Some(access.path());
    let server = place.start().await;
    let health = HealthClient::new(server.channel.clone());
    health
        .clone()
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    assert!(call(&server.channel, REFLECTION, None).await.is_err());
    call(&server.channel, REFLECTION, Some(&token))
        .await
        .unwrap();
    server.stop().await;
    place.config.auth.public_reflection = true;
    let server = place.start().await;
    call(&server.channel, REFLECTION, None).await.unwrap();
    assert!(call(&server.channel, STATISTICS, None).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_key_counts_from_its_beginning_to_its_end() {
    let mut access = AccessFile::of(&["default"]);
    // The clock of the test stands at 2026-11-02T10:00:00Z.
    let validity = "not_before = 2026-11-02T10:30:00Z\nexpires_at = 2026-11-02T11:00:00Z";
    let token = access.add("default", &[Scope::Read], validity);
    let server = serve(&access).await;
    let reason = async || match call(&server.channel, STATISTICS, Some(&token)).await {
        Ok(()) => "ok".to_owned(),
        Err(status) => status
            .get_error_details()
            .error_info()
            .unwrap()
            .reason
            .clone(),
    };
    let at = |minutes| {
        let start: jiff::Timestamp = crate::server::START.parse().unwrap();
        server.clock.set(start + SignedDuration::from_mins(minutes));
    };
    for (minutes, expected) in [
        (29, "CREDENTIALS_NOT_YET_VALID"),
        (30, "ok"),
        (59, "ok"),
        (60, "CREDENTIALS_EXPIRED"),
    ] {
        at(minutes);
        assert_eq!(reason().await, expected, "{minutes}");
    }
    server.stop().await;
}

#[tokio::test]
async fn keys_are_rotated_with_overlap_and_revoked_on_open_connections() {
    let mut access = AccessFile::of(&["default"]);
    let old = access.add("default", &[Scope::Read], "");
    let server = serve(&access).await;
    let counts = async |token: &str| call(&server.channel, STATISTICS, Some(token)).await.is_ok();
    assert!(counts(&old).await);

    let new = access.add("default", &[Scope::Read], "");
    assert!(!counts(&new).await, "not read yet");
    server.security.reload().await;
    assert!(counts(&old).await && counts(&new).await);

    access.remove(&old);
    server.security.reload().await;
    assert!(!counts(&old).await && counts(&new).await);

    access.add_text("[[key]]\nid = \"broken\"\n");
    server.security.reload().await;
    assert!(counts(&new).await, "the list before stays in service");
    let page = server.page("/metrics").await;
    assert!(
        page.contains("hermod_files_unusable{file=\"access\"} 1"),
        "{page}"
    );
    server.stop().await;
}

/// A watcher of results that has had its first answer.
async fn watching(server: &Running, token: &str) -> Streaming<wire::WatchResultsResponse> {
    let request = wire::WatchResultsRequest {
        name: "experiments/autumn".into(),
        ..Default::default()
    };
    let mut request = tonic::Request::new(request);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let answers = server.experiments.clone().watch_results(request).await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    answers
}

#[tokio::test]
async fn open_streams_end_when_their_key_is_revoked_or_expires() {
    let mut access = AccessFile::of(&["default"]);
    let admin = access.add("default", &[Scope::Admin], "");
    let revoked = access.add("default", &[Scope::Read], "");
    let expiring = access.add(
        "default",
        &[Scope::Read],
        "expires_at = 2026-11-02T11:00:00Z",
    );
    let lasting = access.add("default", &[Scope::Read], "");
    let server = serve(&access).await;
    let create = wire::CreateExperimentRequest {
        experiment_id: "autumn".into(),
        experiment: Some(subject_lines()),
        ..Default::default()
    };
    let path = "/hermod.v1.ExperimentService/CreateExperiment";
    let created = call_with(&server.channel, path, Some(&admin), framed(&create)).await;
    created.unwrap();
    let mut open = [
        watching(&server, &revoked).await,
        watching(&server, &expiring).await,
        watching(&server, &lasting).await,
    ];
    access.remove(&revoked);
    server.security.reload().await;
    let status = open[0].message().await.unwrap_err();
    let expected = refused(Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert_refused("revoked", &status, &expected);
    server.pass_hours(1);
    server.security.reload().await;
    let status = open[1].message().await.unwrap_err();
    let expected = refused(Code::Unauthenticated, "CREDENTIALS_EXPIRED");
    assert_refused("expired", &status, &expected);
    assert!(open[2].message().now_or_never().is_none());
    server.stop().await;
}

#[test]
fn the_methods_whose_streams_are_checked_are_those_that_stream() {
    let set = FileDescriptorSet::decode(wire::DESCRIPTOR_SET).unwrap();
    let services = set.file.into_iter().flat_map(|file| file.service);
    let methods = services.flat_map(|service| service.method);
    let mut streaming: Vec<String> = methods
        .filter(|method| method.server_streaming() || method.client_streaming())
        .map(|method| method.name().to_owned())
        .collect();
    let checked = METHODS.iter().filter(|method| method.streams());
    let mut checked: Vec<String> = checked.map(|method| method.name().to_owned()).collect();
    streaming.sort_unstable();
    checked.sort_unstable();
    assert_eq!(checked, streaming);
}
