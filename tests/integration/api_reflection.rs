//! What a client learns that knows nothing but the address: every service and its types, through both versions of reflection.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::stream;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::transport::Channel;
use tonic_reflection::pb::{v1, v1alpha};

use crate::server::Place;

const SERVICES: [&str; 5] = [
    "hermod.v1.DecisionService",
    "hermod.v1.ExperimentService",
    "hermod.v1.FeedbackService",
    "hermod.v1.OperationsService",
    "hermod.v1.RecipientService",
];
const ERROR_DETAILS: [&str; 3] = [
    "google.rpc.BadRequest",
    "google.rpc.ErrorInfo",
    "google.rpc.RetryInfo",
];

/// Asks one question of a version of reflection, which have the same shape and different types.
macro_rules! ask {
    ($version:ident, $channel:expr, $question:expr) => {{
        use $version::server_reflection_request::MessageRequest;
        use $version::server_reflection_response::MessageResponse;
        let request = $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some($question),
        };
        let mut client =
            $version::server_reflection_client::ServerReflectionClient::new($channel.clone());
        let answers = client
            .server_reflection_info(stream::iter([request]))
            .await
            .unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        let _ = MessageRequest::ListServices(String::new());
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => list
                .service
                .into_iter()
                .map(|s| s.name.into_bytes())
                .collect(),
            MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto,
            other => panic!("{other:?}"),
        }
    }};
}

#[derive(Clone, Copy)]
enum Version {
    V1,
    V1Alpha,
}

#[derive(Clone, Copy)]
enum Question<'a> {
    Services,
    Symbol(&'a str),
    File(&'a str),
}

async fn ask(channel: &Channel, version: Version, question: Question<'_>) -> Vec<Vec<u8>> {
    match version {
        Version::V1 => {
            use v1::server_reflection_request::MessageRequest as Ask;
            let question = match question {
                Question::Services => Ask::ListServices(String::new()),
                Question::Symbol(name) => Ask::FileContainingSymbol(name.into()),
                Question::File(name) => Ask::FileByFilename(name.into()),
            };
            ask!(v1, channel, question)
        }
        Version::V1Alpha => {
            use v1alpha::server_reflection_request::MessageRequest as Ask;
            let question = match question {
                Question::Services => Ask::ListServices(String::new()),
                Question::Symbol(name) => Ask::FileContainingSymbol(name.into()),
                Question::File(name) => Ask::FileByFilename(name.into()),
            };
            ask!(v1alpha, channel, question)
        }
    }
}

/// The file of a symbol with everything that it imports.
async fn files_of(
    channel: &Channel,
    version: Version,
    symbol: &str,
) -> BTreeMap<String, FileDescriptorProto> {
    let mut files = BTreeMap::new();
    let mut wanted = VecDeque::new();
    let mut found = ask(channel, version, Question::Symbol(symbol)).await;
    loop {
        for bytes in found.drain(..) {
            let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            wanted.extend(file.dependency.iter().cloned());
            files.insert(file.name().to_owned(), file);
        }
        let Some(name) = wanted.pop_front() else {
            return files;
        };
        if !files.contains_key(&name) {
            found = ask(channel, version, Question::File(&name)).await;
        }
    }
}

async fn assert_complete(version: Version) {
    let server = Place::in_memory().start().await;
    let listed: BTreeSet<String> = ask(&server.channel, version, Question::Services)
        .await
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .collect();
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.contains(service), "{service} is not in {listed:?}");
    }
    for service in SERVICES {
        let files = files_of(&server.channel, version, service).await;
        let short = service.rsplit('.').next().unwrap();
        let described = files
            .values()
            .flat_map(|file| &file.service)
            .find(|described| described.name() == short)
            .unwrap();
        assert!(!described.method.is_empty());
        for method in &described.method {
            for message in [method.input_type(), method.output_type()] {
                let known = files
                    .values()
                    .flat_map(|file| file.message_type.iter().map(|m| (file.package(), m.name())))
                    .any(|(package, name)| message == format!(".{package}.{name}"));
                assert!(known, "{message} of {service} is described");
            }
        }
    }
    for message in ERROR_DETAILS {
        let files = files_of(&server.channel, version, message).await;
        assert!(files.values().any(|file| file.package() == "google.rpc"));
    }
    server.stop().await;
}

#[tokio::test]
async fn everything_is_found_through_reflection_v1() {
    assert_complete(Version::V1).await;
}

#[tokio::test]
async fn everything_is_found_through_reflection_v1alpha() {
    assert_complete(Version::V1Alpha).await;
}
