//! Clients that mean harm or are broken, over sockets of their own: floods of resets, silence, giant metadata, answers that nobody takes.
//!
//! Each is seen to be stopped by its limit, and a good client is served meanwhile. Nothing sleeps: what is waited for is the server's close.
mod raw;

use std::time::Duration;

use hermod::domain::name::TenantId;
use hermod::grpc::wire;
use hermod::ops::config::Period;
use prost::Message as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::server::{Place, Running, question, subject_lines};
use raw::{ENHANCE_YOUR_CALM, Raw, framed, header_block};

const DECIDE: &str = "/hermod.v1.DecisionService/Decide";
const STREAM_DECIDE: &str = "/hermod.v1.DecisionService/StreamDecide";

/// A server, and the name of an experiment that runs on it.
async fn serving(place: &Place) -> (Running, String) {
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    (server, name)
}

/// A client that has not called yet is connected and served.
async fn a_good_client_is_served(server: &Running, name: &str) {
    let address = format!("http://{}", server.address);
    let client = wire::decision_service_client::DecisionServiceClient::connect(address).await;
    let answer = client.unwrap().decide(question(name, "ann")).await;
    assert!(answer.unwrap().into_inner().decision.unwrap().send);
}

fn decisions_made(server: &Running) -> u64 {
    server.app.recipients_kept(TenantId::DEFAULT)
}

#[tokio::test]
async fn a_flood_of_resets_is_cut_off_and_others_are_served() {
    let (server, name) = serving(&Place::in_memory()).await;
    let mut attacker = Raw::open(server.address, &[]).await;
    for flooded in 0..2_000_u32 {
        let stream = 2 * flooded + 1;
        attacker.headers(stream, DECIDE);
        attacker.reset(stream);
    }
    let ended = attacker.until_closed().await;
    assert_eq!(ended.goaway, Some(ENHANCE_YOUR_CALM));
    a_good_client_is_served(&server, &name).await;
    assert!(server.decide(question(&name, "bob")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_connections_that_do_nothing_keep_nobody_out_and_make_room() {
    let mut place = Place::in_memory();
    place.config.server.connections_max = 400;
    let (server, name) = serving(&place).await;
    let mut idle = Vec::new();
    for number in 0..1_000 {
        // Half of them have begun to speak, the others say nothing at all.
        if number % 2 == 0 {
            idle.push(Raw::open(server.address, &[]).await.into_stream().await);
        } else {
            idle.push(TcpStream::connect(server.address).await.unwrap());
        }
    }
    a_good_client_is_served(&server, &name).await;
    // All but as many as there may be have made room, the oldest first.
    for stream in &mut idle[..600] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert!(server.decide(question(&name, "bob")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn half_a_preface_and_silence_are_closed_at_their_deadline() {
    let mut place = Place::in_memory();
    place.config.server.first_bytes_timeout = Period::from_millis(20);
    let (server, name) = serving(&place).await;
    for spoken in [&b""[..], &b"PRI * HTTP/2.0\r\n"[..]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, spoken)
            .await
            .unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
    }
    assert!(server.decide(question(&name, "ann")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_one_with_a_stream_stays() {
    let mut place = Place::in_memory();
    place.config.server.idle_timeout = Period::from_millis(50);
    let (server, name) = serving(&place).await;
    let request = wire::WatchResultsRequest {
        name,
        ..Default::default()
    };
    let mut experiments = server.experiments.clone();
    let mut watching = experiments
        .watch_results(request)
        .await
        .unwrap()
        .into_inner();
    assert!(watching.message().await.unwrap().is_some());
    let mut idle = Raw::open(server.address, &[]).await.into_stream().await;
    let mut heard = Vec::new();
    let _ = idle.read_to_end(&mut heard).await;
    // The watcher's connection has been open for longer, and still answers.
    let mut answering = server.experiments.clone();
    let name = "experiments/autumn".to_owned();
    assert!(
        answering
            .get_results(wire::GetResultsRequest { name })
            .await
            .is_ok()
    );
    drop(watching);
    server.stop().await;
}

#[tokio::test]
async fn giant_metadata_is_refused_and_endless_metadata_is_cut_off() {
    let (server, name) = serving(&Place::in_memory()).await;
    let mut request = Request::new(question(&name, "ann"));
    let value = "x".repeat(20 << 10).parse().unwrap();
    request.metadata_mut().insert("x-giant", value);
    let refused = server.decisions.clone().decide(request).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok, "{refused:?}");
    // The connection of the refused call goes on.
    assert!(server.decide(question(&name, "ann")).await.send);
    let mut attacker = Raw::open(server.address, &[]).await;
    attacker.endless_headers(1, &header_block(DECIDE), 64 << 20);
    let ended = attacker.until_closed().await;
    assert!(ended.written < 8 << 20, "{} bytes went in", ended.written);
    a_good_client_is_served(&server, &name).await;
    server.stop().await;
}

#[tokio::test]
async fn a_compressed_bomb_is_not_unpacked() {
    let (server, name) = serving(&Place::in_memory()).await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![0; 32 << 20]).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 64 << 10);
    let request = http::Request::post(DECIDE)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "gzip")
        .body(tonic::body::Body::new(axum::body::Body::from(framed(
            1, &packed,
        ))))
        .unwrap();
    let answered = tower::ServiceExt::oneshot(server.channel.clone(), request).await;
    let answered = answered.unwrap();
    let status = tonic::Status::from_header_map(answered.headers()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert!(server.decide(question(&name, "ann")).await.send);
    server.stop().await;
}

#[tokio::test]
async fn for_a_reader_that_takes_nothing_little_is_produced_and_then_it_is_cut_off() {
    let mut place = Place::in_memory();
    place.config.server.stalled_timeout = Period::from_millis(100);
    let (server, name) = serving(&place).await;
    // No answer may be sent to this client: its window is empty and stays so.
    let mut reader = Raw::open(server.address, &[raw::NO_WINDOW]).await;
    reader.headers(1, STREAM_DECIDE);
    let mut asked = 0_u64;
    let mut sent = 0;
    // As much as a client may send before it has heard of a larger window.
    while sent < 60_000 {
        let message = wire::StreamDecideRequest {
            correlation_id: format!("c-{asked}"),
            request: Some(question(&name, &format!("person-{asked}"))),
        };
        let frame = framed(0, &message.encode_to_vec());
        sent += frame.len();
        reader.data(1, &frame);
        asked += 1;
    }
    reader.until_closed().await;
    let made = decisions_made(&server);
    assert!(
        made > 0 && made < asked / 2,
        "{made} of {asked} were decided"
    );
    a_good_client_is_served(&server, &name).await;
    server.stop().await;
}

#[tokio::test]
async fn of_a_batch_whose_deadline_has_passed_the_rest_is_not_decided() {
    let mut place = Place::in_memory();
    place.config.server.request_timeout = Period::from_secs(120);
    let (server, name) = serving(&place).await;
    let requests = (0..2_000).map(|n| question(&name, &format!("person-{n}")));
    let batch = wire::BatchDecideRequest {
        requests: requests.collect(),
    };
    let mut client = server.decisions.clone();
    let mut on_time = Request::new(batch.clone());
    on_time.set_timeout(Duration::from_secs(120));
    let mut late = Request::new(batch);
    // Shorter than the decoding of so many, let alone their answers.
    late.set_timeout(Duration::from_micros(50));
    let status = client.batch_decide(late).await.unwrap_err();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()),
        "{status:?}"
    );
    assert!(decisions_made(&server) < 2_000);
    let answer = client.batch_decide(on_time).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 2_000);
    assert_eq!(decisions_made(&server), 2_000);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_and_answers_no_further_message() {
    let (server, name) = serving(&Place::in_memory()).await;
    let (ask, asked) = tokio::sync::mpsc::unbounded_channel();
    let item = |n: usize| wire::StreamDecideRequest {
        correlation_id: format!("c-{n}"),
        request: Some(question(&name, &format!("person-{n}"))),
    };
    ask.send(item(0)).unwrap();
    let messages = tokio_stream::wrappers::UnboundedReceiverStream::new(asked);
    let mut request = Request::new(messages);
    request
        .metadata_mut()
        .insert("grpc-timeout", "300m".parse().unwrap());
    let mut client = server.decisions.clone();
    let mut answers = client.stream_decide(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let _ = ask.send(item(1));
    assert_eq!(decisions_made(&server), 1);
    server.stop().await;
}
