//! Health, the operations port, and a stop that finishes what was begun.
use futures_util::StreamExt as _;
use hermod::grpc::wire;
use hermod::ops::config::Period;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Place, question, subject_lines};

#[tokio::test]
async fn health_is_serving_until_the_stop() {
    let mut place = Place::in_memory();
    // A watcher of health never ends its call by itself.
    place.config.server.drain_timeout = Period::from_millis(200);
    let server = place.start().await;
    let mut health = HealthClient::new(server.channel.clone());
    let whole = HealthCheckRequest {
        service: String::new(),
    };
    let answer = health.check(whole.clone()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest {
        service: "hermod.v9.Absent".into(),
    };
    assert_eq!(
        health.check(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
    let mut watch = health.watch(whole).await.unwrap().into_inner();
    let status = |answer: Option<Result<tonic_health::pb::HealthCheckResponse, _>>| {
        let answer: Result<_, tonic::Status> = answer.unwrap();
        answer.unwrap().status()
    };
    assert_eq!(status(watch.next().await), ServingStatus::Serving);
    let ended = server.stopping();
    assert_eq!(status(watch.next().await), ServingStatus::NotServing);
    ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_operations_port_has_its_pages() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    server.choose(&name, "ann").await;
    for (page, head, body) in [
        ("/live", "HTTP/1.1 200", "live"),
        ("/ready", "HTTP/1.1 200", "ready"),
        (
            "/metrics",
            "HTTP/1.1 200",
            "hermod_decisions_total{reason=\"policy\"}",
        ),
        (
            "/metrics",
            "HTTP/1.1 200",
            "hermod_requests_total{method=\"ChooseVariant\",code=\"Ok\"}",
        ),
        ("/other", "HTTP/1.1 404", "/ready"),
    ] {
        let answer = server.page(page).await;
        assert!(
            answer.starts_with(head) && answer.contains(body),
            "{page}: {answer}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_the_call_in_flight_and_takes_no_new_connection() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let (ask, asked) = mpsc::unbounded_channel();
    let item = |n: usize| wire::StreamDecideRequest {
        correlation_id: format!("c-{n}"),
        request: Some(question(&name, &format!("person-{n}"))),
    };
    ask.send(item(0)).unwrap();
    let answers = server
        .decisions
        .clone()
        .stream_decide(UnboundedReceiverStream::new(asked))
        .await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(
        answers.message().await.unwrap().unwrap().correlation_id,
        "c-0"
    );
    let operations = server.operations;
    let ended = server.stopping();
    // Both ports hear of the stop at once; this one is closed when it has.
    while tokio::net::TcpStream::connect(operations).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    ask.send(item(1)).unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.correlation_id, "c-1");
    drop(ask);
    assert!(answers.message().await.unwrap().is_none());
    assert!(!ended.await.unwrap().unwrap().cut_off);
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_at_the_limit() {
    let mut place = Place::in_memory();
    place.config.server.drain_timeout = Period::from_millis(50);
    let server = place.start().await;
    let (ask, asked) = mpsc::unbounded_channel::<wire::StreamDecideRequest>();
    let request = server.decisions.clone();
    let call = tokio::spawn(async move {
        let mut request = request;
        request
            .stream_decide(UnboundedReceiverStream::new(asked))
            .await
    });
    let answers = call.await.unwrap().unwrap();
    let ended = server.stopping().await.unwrap().unwrap();
    assert!(ended.cut_off);
    drop((ask, answers));
}

#[tokio::test]
async fn calls_beyond_the_limit_are_told_to_come_back() {
    let mut place = Place::in_memory();
    place.config.server.concurrent_requests_max = 0;
    let server = place.start().await;
    let status = server
        .decisions
        .clone()
        .decide(question("experiments/autumn", "ann"))
        .await
        .unwrap_err();
    let expected = crate::refusal::refused(Code::ResourceExhausted, "OVERLOADED");
    crate::refusal::assert_refused("decide", &status, &expected);
    let details = tonic_types::StatusExt::get_error_details(&status);
    assert!(details.retry_info().is_some());
    server.stop().await;
}
