//! Calls that load a server without keeping a model of it: an experiment, batches of decisions, what became of each call.

use std::time::{Duration, Instant};

use hermod::grpc::wire;
use hermod::grpc::wire::decision_service_client::DecisionServiceClient;
use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused and told when to come back.
    Refused,
    /// Its deadline passed.
    Late,
    /// Anything else.
    Failed,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// What became of it.
    pub outcome: Outcome,
    /// From when it was due to its answer.
    pub took: Duration,
}

/// Connections of their own to a server.
///
/// # Errors
/// When one cannot be made.
pub async fn connections(address: &str, count: usize) -> Result<Vec<Channel>, String> {
    let text = |error: tonic::transport::Error| error.to_string();
    let mut channels = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(text)?;
        channels.push(endpoint.connect().await.map_err(text)?);
    }
    Ok(channels)
}

/// Creates an experiment with three variants and starts it; its name.
///
/// # Errors
/// The server's.
pub async fn running(channel: &Channel, id: &str) -> Result<String, Status> {
    let mut client = ExperimentServiceClient::new(channel.clone());
    let variant = |id: &str| wire::Variant {
        variant_id: id.into(),
        display_name: format!("Subject line {id}"),
        ..Default::default()
    };
    let experiment = wire::Experiment {
        display_name: format!("Load {id}"),
        variants: ["plain", "question", "numbers"].map(variant).into(),
        ..Default::default()
    };
    let create = wire::CreateExperimentRequest {
        experiment_id: id.into(),
        experiment: Some(experiment),
        ..Default::default()
    };
    client.create_experiment(create).await?;
    let name = format!("experiments/{id}");
    let start = wire::StartExperimentRequest { name: name.clone() };
    client.start_experiment(start).await?;
    Ok(name)
}

/// A batch of questions for recipients of these numbers.
pub fn batch(experiment: &str, numbers: std::ops::Range<u64>) -> wire::BatchDecideRequest {
    let question = |number| wire::DecideRequest {
        experiment: experiment.to_owned(),
        recipient_id: format!("person-{number}"),
        ..Default::default()
    };
    wire::BatchDecideRequest {
        requests: numbers.map(question).collect(),
    }
}

/// Makes a call that was due at an instant, and says what became of it.
pub async fn decide(
    channel: Channel,
    batch: wire::BatchDecideRequest,
    due_at: Instant,
    timeout: Duration,
) -> Timed {
    let mut client = DecisionServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut request = Request::new(batch);
    request.set_timeout(timeout);
    let outcome = match client.batch_decide(request).await {
        Ok(_) => Outcome::Answered,
        Err(status) => outcome_of(&status),
    };
    Timed {
        outcome,
        took: due_at.elapsed(),
    }
}

fn outcome_of(status: &Status) -> Outcome {
    match status.code() {
        Code::ResourceExhausted if status.get_error_details().retry_info().is_some() => {
            Outcome::Refused
        }
        // The client's own clock says CANCELLED.
        Code::DeadlineExceeded | Code::Cancelled => Outcome::Late,
        _ => Outcome::Failed,
    }
}

/// How many calls came to this.
pub fn count(calls: &[Timed], outcome: Outcome) -> usize {
    let came_to_it = calls.iter().filter(|call| call.outcome == outcome);
    came_to_it.count()
}

/// A quantile of the times of the answered calls, milliseconds.
pub fn quantile_ms(calls: &[Timed], quantile: f64) -> f64 {
    let answered = calls
        .iter()
        .filter(|call| call.outcome == Outcome::Answered);
    let mut times: Vec<Duration> = answered.map(|call| call.took).collect();
    times.sort_unstable();
    let at = (times.len() as f64 * quantile) as usize;
    let found = times.get(at.min(times.len().saturating_sub(1)));
    found.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}
