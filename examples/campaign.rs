//! Runs a campaign against a running server, with headlines whose click rates were recorded in real experiments.
//!
//! A client like any other: it knows the wire types only. For every recipient it asks, gets a variant, and reports what came of it.
//!
//! `cargo run --release --example campaign -- headlines.csv --recipients 100000 --boost 5`
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

use hermod::grpc::wire::{
    self, decision_result::Result as Answer, decision_service_client::DecisionServiceClient,
    experiment_service_client::ExperimentServiceClient,
    feedback_service_client::FeedbackServiceClient,
};

#[path = "campaign/headlines.rs"]
mod headlines;
#[path = "campaign/reader.rs"]
mod reader;

use headlines::{Headline, Source, SourceError};
use reader::{Person, questions, since_epoch};

/// Questions that may wait for an answer at one time.
const WINDOW: usize = 2_000;
/// Events in one report.
const REPORT_EVENTS: usize = 4_000;
/// Run a campaign from recorded headlines against a running hermod
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    source: Source,
    /// How many recipients are asked for
    #[arg(long, default_value_t = 20_000)]
    recipients: u64,
    /// Seed of what recipients do
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:50051")]
    address: String,
    /// Show the results after every so many decisions [default: a fifth of the recipients]
    #[arg(long, value_name = "N")]
    every: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
enum CampaignError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "no hermod at {address} ({what}); start one with `cargo run --release -- serve` or name another with --address"
    )]
    Unreachable { address: String, what: String },
    #[error("{doing}: the server answered {what}")]
    Refused { doing: &'static str, what: String },
    #[error("{doing}: the server's answer is incomplete")]
    Incomplete { doing: &'static str },
}

/// The clients of one connection, and the name of the experiment.
struct Campaign {
    decisions: DecisionServiceClient<Channel>,
    feedback: FeedbackServiceClient<Channel>,
    experiments: ExperimentServiceClient<Channel>,
    name: String,
    headlines: HashMap<String, Headline>,
}

/// What was done so far.
#[derive(Debug, Default)]
struct Tally {
    decided: u64,
    refused: u64,
    first_refusal: Option<String>,
    clicks_reported: u64,
    clicks_expected: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("campaign: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), CampaignError> {
    let headlines = args.source.read()?;
    let mut campaign = Campaign::start(&args, headlines).await?;
    println!(
        "{} with {} headlines, {} recipients\n",
        campaign.name,
        campaign.headlines.len(),
        args.recipients
    );
    let started = Instant::now();
    let tally = campaign.blast(&args).await?;
    let seconds = started.elapsed().as_secs_f64();
    campaign.show("at the end").await?;
    campaign.conclude(&tally, seconds);
    Ok(())
}

// === impl Campaign ===

impl Campaign {
    /// Connects, creates the experiment under a fresh id, and starts it.
    async fn start(args: &Args, headlines: Vec<Headline>) -> Result<Self, CampaignError> {
        let channel = connect(&args.address).await?;
        let id = format!("campaign-{}", since_epoch().as_millis());
        let variants = headlines.iter().enumerate().map(|(index, headline)| {
            let display_name = headline.text.clone();
            wire::Variant {
                variant_id: variant_id(index),
                display_name,
                ..Default::default()
            }
        });
        let experiment = wire::Experiment {
            display_name: "Headlines with recorded click rates".into(),
            variants: variants.collect(),
            planned_sends: i64::try_from(args.recipients).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let mut experiments = ExperimentServiceClient::new(channel.clone());
        let create = wire::CreateExperimentRequest {
            experiment_id: id.clone(),
            experiment: Some(experiment),
            ..Default::default()
        };
        let name = format!("experiments/{id}");
        experiments
            .create_experiment(create)
            .await
            .map_err(refused("creating the experiment"))?;
        experiments
            .start_experiment(wire::StartExperimentRequest { name: name.clone() })
            .await
            .map_err(refused("starting the experiment"))?;
        let named = headlines.into_iter().enumerate();
        Ok(Self {
            decisions: DecisionServiceClient::new(channel.clone()),
            feedback: FeedbackServiceClient::new(channel),
            experiments,
            name,
            headlines: named
                .map(|(index, headline)| (variant_id(index), headline))
                .collect(),
        })
    }

    /// Asks for every recipient, reports what each does, and shows the results on the way.
    async fn blast(&mut self, args: &Args) -> Result<Tally, CampaignError> {
        const DOING: &str = "deciding";
        let window = Arc::new(Semaphore::new(WINDOW));
        let questions = questions(self.name.clone(), args.recipients, window.clone());
        let answers = self.decisions.stream_decide(questions).await;
        let mut answers = answers.map_err(refused(DOING))?.into_inner();
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        let every = args.every.unwrap_or(args.recipients / 5).max(1);
        let mut tally = Tally::default();
        let mut events = Vec::with_capacity(REPORT_EVENTS);
        while let Some(answer) = answers.message().await.map_err(refused(DOING))? {
            window.add_permits(1);
            let person = Person::draw(&mut rng);
            match answer.result.and_then(|result| result.result) {
                Some(Answer::Decision(decision)) => {
                    self.respond(person, decision, &mut tally, &mut events)?
                }
                Some(Answer::Problem(problem)) => tally.refuse(problem.message),
                None => return Err(CampaignError::Incomplete { doing: DOING }),
            }
            if events.len() >= REPORT_EVENTS {
                self.report(&mut events, &mut tally).await?;
            }
            if (tally.decided + tally.refused).is_multiple_of(every)
                && tally.decided + tally.refused < args.recipients
            {
                self.show(&format!("after {} decisions", tally.decided))
                    .await?;
            }
        }
        self.report(&mut events, &mut tally).await?;
        Ok(tally)
    }

    /// What the recipient of a decision does.
    fn respond(
        &self,
        person: Person,
        decision: wire::Decision,
        tally: &mut Tally,
        events: &mut Vec<wire::Event>,
    ) -> Result<(), CampaignError> {
        if !decision.send {
            tally.refuse(decision.explanation);
            return Ok(());
        }
        let headline = self
            .headlines
            .get(&decision.variant)
            .ok_or(CampaignError::Incomplete {
                doing: "reading a decision",
            })?;
        tally.decided += 1;
        tally.clicks_expected += headline.rate;
        let said = person.events(headline.rate, decision.decision_id);
        tally.clicks_reported += said.len() as u64 - 1;
        events.extend(said);
        Ok(())
    }

    async fn report(
        &mut self,
        events: &mut Vec<wire::Event>,
        tally: &mut Tally,
    ) -> Result<(), CampaignError> {
        if events.is_empty() {
            return Ok(());
        }
        let request = wire::ReportEventsRequest {
            events: std::mem::take(events),
        };
        let answer = self.feedback.report_events(request).await;
        let results = answer
            .map_err(refused("reporting events"))?
            .into_inner()
            .results;
        for problem in results.into_iter().filter_map(|result| result.problem) {
            tally.refuse(problem.message);
        }
        Ok(())
    }

    async fn show(&mut self, when: &str) -> Result<(), CampaignError> {
        const DOING: &str = "reading the results";
        let request = wire::GetResultsRequest {
            name: self.name.clone(),
        };
        let answer = self.experiments.get_results(request).await;
        let results = answer.map_err(refused(DOING))?.into_inner().results;
        let results = results.ok_or(CampaignError::Incomplete { doing: DOING })?;
        println!("{when}:");
        println!(
            "  {:>4} {:>7} {:>7} {:>17} {:>8} {:>6} {:>7} {:>7} {:>6}  headline",
            "",
            "true %",
            "mean %",
            "95 % interval",
            "P(best)",
            "share",
            "trials",
            "matured",
            "clicks"
        );
        for variant in &results.variants {
            let headline = self.headlines.get(&variant.variant_id);
            println!(
                "  {:>4} {:>7.2} {:>7.2} {:>17} {:>8.3} {:>6.3} {:>7.0} {:>7.0} {:>6.0}  {:.40}",
                variant.variant_id,
                100.0 * headline.map_or(f64::NAN, |headline| headline.rate),
                100.0 * variant.mean,
                format!(
                    "{:.2} to {:.2}",
                    100.0 * variant.interval_low,
                    100.0 * variant.interval_high
                ),
                variant.probability_best,
                variant.share,
                variant.trials,
                variant.effective_trials,
                variant.successes,
                variant.display_name,
            );
        }
        println!();
        Ok(())
    }

    /// How good the choices were by the true rates.
    fn conclude(&self, tally: &Tally, seconds: f64) {
        let rates = || self.headlines.values().map(|headline| headline.rate);
        let best = rates().fold(0.0, f64::max);
        let uniform = rates().sum::<f64>() / self.headlines.len() as f64;
        let reached = tally.clicks_expected / tally.decided.max(1) as f64;
        println!(
            "{} decisions and their events in {seconds:.1} s",
            tally.decided
        );
        println!("{} clicks reported so far", tally.clicks_reported);
        println!(
            "true click rate of what was sent {:.3} %; always the best headline {:.3} %; all headlines alike {:.3} %",
            100.0 * reached,
            100.0 * best,
            100.0 * uniform
        );
        if let Some(first) = &tally.first_refusal {
            println!(
                "{} answers were refusals; the first: {first}",
                tally.refused
            );
        }
    }
}

// === impl Tally ===

impl Tally {
    fn refuse(&mut self, why: String) {
        self.refused += 1;
        self.first_refusal.get_or_insert(why);
    }
}

async fn connect(address: &str) -> Result<Channel, CampaignError> {
    let unreachable = |error: tonic::transport::Error| {
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            what = deeper.to_string();
            cause = deeper.source();
        }
        CampaignError::Unreachable {
            address: address.to_owned(),
            what,
        }
    };
    Endpoint::from_shared(format!("http://{}", address.trim_start_matches("http://")))
        .map_err(unreachable)?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await
        .map_err(unreachable)
}

/// The status for people, with the bad fields that it carries.
fn refused(doing: &'static str) -> impl Fn(tonic::Status) -> CampaignError {
    move |status| {
        let details = status.get_error_details();
        let reason = details
            .error_info()
            .map_or(String::new(), |info| format!(" {}", info.reason));
        let fields: String = details.bad_request().map_or(String::new(), |bad| {
            let fields = bad.field_violations.iter();
            fields
                .map(|field| format!("\n  {}: {}", field.field, field.description))
                .collect()
        });
        CampaignError::Refused {
            doing,
            what: format!("{:?}{reason}: {}{fields}", status.code(), status.message()),
        }
    }
}

fn variant_id(index: usize) -> String {
    format!("v{}", index + 1)
}
