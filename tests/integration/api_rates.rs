//! Requests per second and tenant: what counts how much, what a refusal says, and that nobody pays for others.
use std::time::Duration;

use hermod::grpc::wire;
use hermod::ops::auth::Scope;
use jiff::SignedDuration;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::refusal::{assert_refused, refused};
use crate::security::AccessFile;
use crate::server::{Place, Running, question, subject_lines};

const NAME: &str = "experiments/autumn";

fn place(burst: u64) -> Place {
    let mut place = Place::in_memory();
    place.config.limits.requests_per_second_max = 10;
    place.config.limits.requests_burst_max = burst;
    place
}

fn wait_of(status: &Status) -> Duration {
    assert_refused(
        "limited",
        status,
        &refused(Code::ResourceExhausted, "RATE_LIMITED"),
    );
    let details = status.get_error_details();
    details.retry_info().unwrap().retry_delay.unwrap()
}

async fn batch(server: &Running, items: usize) -> Result<usize, Status> {
    let requests = (0..items).map(|n| question(NAME, &format!("person-{n}")));
    let request = wire::BatchDecideRequest {
        requests: requests.collect(),
    };
    let answer = server.decisions.clone().batch_decide(request).await?;
    Ok(answer.into_inner().results.len())
}

fn pass(server: &Running, wait: Duration) {
    let now = hermod::app::Clock::now(server.clock.as_ref());
    let wait = SignedDuration::try_from(wait).unwrap();
    server.clock.set(now + wait);
}

#[tokio::test]
async fn beyond_the_burst_a_call_is_told_the_exact_wait_and_served_after_it() {
    let server = place(6).start().await;
    // Creating and starting it are two.
    server.running("autumn", subject_lines()).await;
    for _ in 0..4 {
        server.decide(question(NAME, "ann")).await;
    }
    let mut client = server.decisions.clone();
    let status = client.decide(question(NAME, "ann")).await.unwrap_err();
    assert_eq!(wait_of(&status), Duration::from_millis(100));
    let short = Duration::from_micros(1);
    pass(&server, Duration::from_millis(100) - short);
    let status = client.decide(question(NAME, "ann")).await.unwrap_err();
    assert_eq!(wait_of(&status), short);
    // Health is asked by load balancers, which must not see a caller's excess as a failure.
    let mut health = HealthClient::new(server.channel.clone());
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    pass(&server, short);
    client.decide(question(NAME, "ann")).await.unwrap();
    let page = server.page("/metrics").await;
    assert!(
        page.contains("hermod_requests_rate_limited_total"),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_batch_counts_its_items_and_a_large_one_is_paid_off() {
    let server = place(12).start().await;
    server.running("autumn", subject_lines()).await;
    assert_eq!(batch(&server, 8).await.unwrap(), 8);
    // Two are left: the call takes one, and its items find one.
    let status = batch(&server, 4).await.unwrap_err();
    assert_eq!(wait_of(&status), Duration::from_millis(200));
    pass(&server, Duration::from_secs(60));
    // The call's own request is paid before the rest is looked at, so the burst is never quite full for it.
    let status = batch(&server, 40).await.unwrap_err();
    assert_eq!(wait_of(&status), Duration::from_millis(100));
    server.stop().await;
}

#[tokio::test]
async fn messages_of_a_stream_count_one_by_one_and_refused_ones_say_when_to_come_back() {
    let server = place(5).start().await;
    server.running("autumn", subject_lines()).await;
    let messages = (0..4).map(|n| wire::StreamDecideRequest {
        correlation_id: format!("c-{n}"),
        request: Some(question(NAME, &format!("person-{n}"))),
    });
    let messages: Vec<_> = messages.collect();
    let mut client = server.decisions.clone();
    let answers = client.stream_decide(tokio_stream::iter(messages)).await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    let delays =
        answers.into_iter().map(
            |answer| match answer.unwrap().result.unwrap().result.unwrap() {
                wire::decision_result::Result::Decision(_) => None,
                wire::decision_result::Result::Problem(problem) => {
                    assert_eq!(problem.reason, "RATE_LIMITED");
                    assert_eq!(problem.code, Code::ResourceExhausted as i32);
                    let delay = problem.retry_delay.unwrap();
                    Some((delay.seconds, delay.nanos))
                }
            },
        );
    let delays: Vec<_> = delays.collect();
    let wait = Some((0, 100_000_000));
    assert_eq!(delays, [None, None, wait, wait]);
    server.stop().await;
}

#[tokio::test]
async fn one_tenants_excess_is_not_anothers() {
    let mut access = AccessFile::of(&["acme", "globex"]);
    let keys = ["acme", "globex"].map(|tenant| access.add(tenant, &[Scope::Read], ""));
    let mut place = place(1);
    place.config.auth.access_file = Some(access.path());
    let server = place.start().await;
    let ask = async |key: &str| {
        let mut request = Request::new(wire::ListExperimentsRequest::default());
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let mut experiments = server.experiments.clone();
        experiments.list_experiments(request).await.map(|_| ())
    };
    assert!(ask(&keys[0]).await.is_ok());
    let status = ask(&keys[0]).await.unwrap_err();
    assert_eq!(wait_of(&status), Duration::from_millis(100));
    assert!(ask(&keys[1]).await.is_ok());
    server.stop().await;
}
