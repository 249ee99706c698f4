//! The calls that are measured, and the requests made of them.
//!
//! Invariant: the requests of a seed are the same for every server that is driven.

use prost::Message as _;
use prost::bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::grpc::wire;

/// Decisions or events in one batch.
pub const BATCH_ITEMS: u32 = 1_000;

/// One way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// PredictSendTime: the time alone, nothing recorded.
    Predict,
    /// Decide with `validate_only`: nothing recorded.
    Validate,
    /// Decide: variant and time, recorded.
    Decide,
    /// ChooseVariant: the variant alone, recorded.
    Choose,
    /// BatchDecide of [`BATCH_ITEMS`].
    Batch,
    /// StreamDecide with many messages on their way.
    Stream,
    /// ReportEvents of [`BATCH_ITEMS`], answered when durable.
    Report,
    /// ReportEvents of one event, answered when durable.
    ReportOne,
}

/// Whom a world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// People: `person-0@example.org` and so on.
    pub people: u64,
    /// Experiments: `bench-0` and so on, all running.
    pub experiments: u64,
}

/// Makes requests.
pub struct Asking {
    method: Method,
    population: Population,
    rng: ChaCha8Rng,
    /// Names this asking's occasions, so that each decision is a new one.
    nonce: u64,
    count: u64,
}

// === impl Method ===

impl Method {
    /// All, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Predict,
        Self::Validate,
        Self::Decide,
        Self::Choose,
        Self::Batch,
        Self::Stream,
        Self::Report,
        Self::ReportOne,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Validate => "validate",
            Self::Decide => "decide",
            Self::Choose => "choose",
            Self::Batch => "batch",
            Self::Stream => "stream",
            Self::Report => "report",
            Self::ReportOne => "report-one",
        }
    }

    /// What it is in the interface.
    pub fn title(self) -> &'static str {
        match self {
            Self::Predict => "PredictSendTime",
            Self::Validate => "Decide, validate_only",
            Self::Decide => "Decide",
            Self::Choose => "ChooseVariant",
            Self::Batch => "BatchDecide of 1,000",
            Self::Stream => "StreamDecide, 64 ahead",
            Self::Report => "ReportEvents of 1,000",
            Self::ReportOne => "ReportEvents of 1",
        }
    }

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Predict => "/hermod.v1.DecisionService/PredictSendTime",
            Self::Validate | Self::Decide => "/hermod.v1.DecisionService/Decide",
            Self::Choose => "/hermod.v1.DecisionService/ChooseVariant",
            Self::Batch => "/hermod.v1.DecisionService/BatchDecide",
            Self::Stream => "/hermod.v1.DecisionService/StreamDecide",
            Self::Report | Self::ReportOne => "/hermod.v1.FeedbackService/ReportEvents",
        }
    }

    /// Calls or messages on their way on one connection, where as much as possible is to be.
    pub fn in_flight(self) -> usize {
        match self {
            Self::Batch => 1,
            Self::Report => 2,
            Self::Stream => 64,
            Self::ReportOne => 128,
            _ => 16,
        }
    }

    /// Answers in one call.
    pub fn items(self) -> u32 {
        match self {
            Self::Batch | Self::Report => BATCH_ITEMS,
            _ => 1,
        }
    }

    /// Whether it reports events, which need decisions made before.
    pub fn is_report(self) -> bool {
        matches!(self, Self::Report | Self::ReportOne)
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| format!("not one of {}", names()))
    }
}

// === impl Population ===

impl Population {
    /// The id of a person.
    pub fn person(number: u64) -> String {
        format!("person-{number}@example.org")
    }

    /// The id of an experiment.
    pub fn experiment(number: u64) -> String {
        format!("bench-{number}")
    }

    /// The id of a segment.
    pub fn segment(number: u64) -> String {
        format!("segment-{number}")
    }

    /// The ids of an experiment's variants are these.
    pub fn variant(number: u64) -> String {
        format!("subject-{number}")
    }
}

// === impl Asking ===

impl Asking {
    /// Requests of a method about a population; of different streams they are about different people.
    pub fn new(method: Method, population: Population, seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let nonce = rng.random();
        Self {
            method,
            population,
            rng,
            nonce,
            count: 0,
        }
    }

    /// The next request, encoded. Not for reports, whose events follow decisions.
    pub fn request(&mut self) -> Bytes {
        match self.method {
            Method::Predict => self.predict().encode_to_vec(),
            Method::Choose => self.choose().encode_to_vec(),
            Method::Batch => self.batch().encode_to_vec(),
            Method::Stream => {
                let correlation_id = self.count.to_string();
                let request = Some(self.decide());
                wire::StreamDecideRequest {
                    correlation_id,
                    request,
                }
                .encode_to_vec()
            }
            Method::Validate | Method::Decide | Method::Report | Method::ReportOne => {
                self.decide().encode_to_vec()
            }
        }
        .into()
    }

    /// Requests for a batch of decisions.
    pub fn batch(&mut self) -> wire::BatchDecideRequest {
        let requests = (0..BATCH_ITEMS).map(|_| self.decide()).collect();
        wire::BatchDecideRequest { requests }
    }

    fn person(&mut self) -> String {
        Population::person(self.rng.random_range(0..self.population.people.max(1)))
    }

    fn experiment(&mut self) -> String {
        let number = self.rng.random_range(0..self.population.experiments.max(1));
        format!("experiments/{}", Population::experiment(number))
    }

    fn decide(&mut self) -> wire::DecideRequest {
        self.count += 1;
        wire::DecideRequest {
            experiment: self.experiment(),
            recipient_id: self.person(),
            occasion: format!("{:x}-{}", self.nonce, self.count),
            validate_only: self.method == Method::Validate,
            ..wire::DecideRequest::default()
        }
    }

    fn choose(&mut self) -> wire::ChooseVariantRequest {
        self.count += 1;
        wire::ChooseVariantRequest {
            experiment: self.experiment(),
            recipient_id: self.person(),
            occasion: format!("{:x}-{}", self.nonce, self.count),
            ..wire::ChooseVariantRequest::default()
        }
    }

    fn predict(&mut self) -> wire::PredictSendTimeRequest {
        wire::PredictSendTimeRequest {
            recipient_id: self.person(),
            ..wire::PredictSendTimeRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POPULATION: Population = Population {
        people: 10,
        experiments: 3,
    };

    #[test]
    fn requests_of_a_seed_are_the_same_and_every_occasion_is_new() {
        let asking = |stream| Asking::new(Method::Decide, POPULATION, 7, stream);
        let (mut one, mut again, mut other) = (asking(1), asking(1), asking(2));
        let first = one.decide();
        assert_eq!(first, again.decide());
        assert_ne!(first.occasion, other.decide().occasion);
        assert_ne!(first.occasion, one.decide().occasion);
    }

    #[test]
    fn a_method_is_known_by_its_name() {
        for method in Method::ALL {
            assert_eq!(method.name().parse::<Method>(), Ok(method));
        }
        assert!("guess".parse::<Method>().is_err());
    }
}
