//! What is no proper call at all: broken messages, foreign content types, frames that lie. The server answers and goes on.
use axum::body::Body as Bytes;
use hermod::grpc::wire;
use http::{Request, StatusCode};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt as _;

use crate::server::{Place, question, subject_lines};

/// A response as far as its headers tell: the HTTP status, and the gRPC code of a call that failed at once.
async fn post(
    channel: &Channel,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> (StatusCode, Option<Code>) {
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("te", "trailers")
        .body(Body::new(Bytes::from(body)))
        .unwrap();
    let response = channel.clone().oneshot(request).await.unwrap();
    let code = response.headers().get("grpc-status").map(|code| {
        let number: i32 = code.to_str().unwrap().parse().unwrap();
        Code::from(number)
    });
    (response.status(), code)
}

/// A message in its frame: a flag, the length, the bytes.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// The paths of all methods that take one message, and of those that take a stream.
fn methods() -> (Vec<String>, Vec<String>) {
    let descriptors = FileDescriptorSet::decode(wire::DESCRIPTOR_SET).unwrap();
    let (mut unary, mut streams) = (Vec::new(), Vec::new());
    for file in descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if method.client_streaming() {
                    streams.push(path);
                } else {
                    unary.push(path);
                }
            }
        }
    }
    (unary, streams)
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_by_every_method() {
    let server = Place::in_memory().start().await;
    let (unary, streams) = methods();
    assert_eq!((unary.len(), streams.len()), (34, 2));
    let broken: [Vec<u8>; 5] = [
        frame(0, &[0xff; 64]),
        frame(0, &[0x0a, 0x7f, 0x41]),
        frame(1, b"compressed, it says"),
        frame(9, b"no such flag"),
        vec![0, 0, 0, 0, 9, 1],
    ];
    for path in &unary {
        for body in &broken {
            let (status, code) =
                post(&server.channel, path, "application/grpc", body.clone()).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(
                matches!(
                    code,
                    Some(Code::Internal | Code::Unimplemented | Code::InvalidArgument)
                ),
                "{path} {body:?}: {code:?}"
            );
        }
        let (_, code) = post(&server.channel, path, "application/grpc", Vec::new()).await;
        assert!(
            code.is_some_and(|code| code != Code::Ok),
            "{path}: {code:?}"
        );
    }
    for path in &streams {
        for body in &broken {
            // A stream has begun by then, and its status comes in the trailers.
            let (status, _) = post(&server.channel, path, "application/grpc", body.clone()).await;
            assert_eq!(status, StatusCode::OK, "{path}");
        }
    }
    let name = server.running("autumn", subject_lines()).await;
    assert!(server.decide(question(&name, "ann")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn unknown_methods_services_and_content_types_are_refused() {
    let server = Place::in_memory().start().await;
    let empty = || frame(0, &[]);
    for path in [
        "/hermod.v1.DecisionService/Divine",
        "/hermod.v2.DecisionService/Decide",
        "/",
        "/metrics",
    ] {
        let (_, code) = post(&server.channel, path, "application/grpc", empty()).await;
        assert_eq!(code, Some(Code::Unimplemented), "{path}");
    }
    let path = "/hermod.v1.DecisionService/Decide";
    for content_type in ["application/json", "text/html", ""] {
        let answer = post(
            &server.channel,
            path,
            content_type,
            b"{\"experiment\":\"experiments/autumn\"}".to_vec(),
        )
        .await;
        let refused = answer.0 == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || answer.1.is_some_and(|code| code != Code::Ok);
        assert!(refused, "{content_type}: {answer:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_beyond_four_mebibytes_is_out_of_range() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let request = wire::DecideRequest {
        recipient_id: "x".repeat((4 << 20) + 1),
        ..question(&name, "")
    };
    let status = server.decisions.clone().decide(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("4194304"), "{status:?}");
    let below = wire::DecideRequest {
        recipient_id: "x".repeat((4 << 20) - 100),
        ..question(&name, "")
    };
    let status = server.decisions.clone().decide(below).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(server.decide(question(&name, "ann")).await.send);
    server.stop().await;
}
