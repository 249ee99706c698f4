//! Somebody who creates, changes and ends experiments all the while: an acknowledged change holds, one that was cut off holds wholly or not at all.
//!
//! Invariant: one change at a time, each told apart from the one before by the revision in the etag.

use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use hermod::grpc::wire::{self, ExperimentState};
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::meter::Meter;
use super::model::ARENAS;

/// Steps in the life of each experiment.
const STEPS: u64 = 6;

/// The administrator.
#[derive(Default)]
pub struct Admin {
    /// The step last acknowledged or under way; the experiment's number times [`STEPS`] and its own.
    step: u64,
    /// Whether a fault cut that step off.
    cut_off: bool,
    /// The present experiment, as last acknowledged.
    known: Option<wire::Experiment>,
    /// All that were ended, as last acknowledged.
    ended: Vec<wire::Experiment>,
}

// === impl Admin ===

impl Admin {
    /// Goes on until the server fails.
    pub async fn load(&mut self, channel: &Channel, meter: &Meter) {
        while !meter.is_down() {
            let made = self.make(channel).await;
            match made {
                Ok(experiment) => {
                    meter.acknowledged(&meter.tally.changes);
                    self.acknowledge(experiment);
                }
                Err(status) => {
                    meter.failed("a change of an experiment", &status);
                    self.cut_off = true;
                    return;
                }
            }
        }
    }

    /// After a fault: what was acknowledged is there; what was cut off is there or is not, and is finished now.
    pub async fn settle(&mut self, channel: &Channel, meter: &Meter) -> Result<(), Status> {
        let mut client = ExperimentServiceClient::new(channel.clone());
        let skip = self.ended.len().saturating_sub(3);
        let known: Vec<_> = self
            .ended
            .iter()
            .skip(skip)
            .chain(&self.known)
            .cloned()
            .collect();
        for known in known {
            let name = known.name.clone();
            let shown = match client
                .get_experiment(wire::GetExperimentRequest { name })
                .await
            {
                Ok(answer) => answer.into_inner().experiment.unwrap_or_default(),
                Err(status) if status.code() == Code::NotFound => wire::Experiment::default(),
                Err(status) => return Err(status),
            };
            let is_present = self
                .known
                .as_ref()
                .is_some_and(|present| present.name == known.name);
            if shown == known {
                continue;
            }
            if !(is_present && self.cut_off) {
                meter.violation(format!(
                    "the experiment is {shown:?}, acknowledged was {known:?}"
                ));
                continue;
            }
            if !self.is_as_cut_off(&shown) {
                meter.violation(format!("step {} was cut off and left {shown:?}", self.step));
            }
            self.acknowledge(shown);
            self.cut_off = false;
        }
        if self.cut_off && self.step.is_multiple_of(STEPS) {
            // A creation: made again, it is found to exist already or is made now.
            let made = self.make(channel).await?;
            self.acknowledge(made);
        }
        self.cut_off = false;
        Ok(())
    }

    /// Whether the experiment shows the step that was cut off.
    fn is_as_cut_off(&self, shown: &wire::Experiment) -> bool {
        match self.step % STEPS {
            1 => shown.state() == ExperimentState::Running,
            2 => shown.display_name == self.title(),
            3 => shown.variants.len() == 3,
            4 => shown
                .variants
                .iter()
                .any(|of| of.quarantine_reason == "torture"),
            _ => shown.state() == ExperimentState::Concluded,
        }
    }

    fn acknowledge(&mut self, experiment: wire::Experiment) {
        self.step += 1;
        if self.step.is_multiple_of(STEPS) {
            self.ended.push(experiment);
            self.known = None;
        } else {
            self.known = Some(experiment);
        }
    }

    fn title(&self) -> String {
        format!("Torture, step {}", self.step)
    }

    async fn make(&self, channel: &Channel) -> Result<wire::Experiment, Status> {
        let mut client = ExperimentServiceClient::new(channel.clone());
        let id = format!("side-{}", self.step / STEPS);
        let name = format!("experiments/{id}");
        let variant_id = "b".to_owned();
        let made = match self.step % STEPS {
            0 => return create(&mut client, &id, &["a", "b"], &wire::Experiment::default()).await,
            1 => {
                let request = wire::StartExperimentRequest { name };
                client
                    .start_experiment(request)
                    .await?
                    .into_inner()
                    .experiment
            }
            2 => {
                let experiment = wire::Experiment {
                    name,
                    display_name: self.title(),
                    ..Default::default()
                };
                let request = wire::UpdateExperimentRequest {
                    experiment: Some(experiment),
                    update_mask: Some(FieldMask {
                        paths: vec!["display_name".into()],
                    }),
                };
                client
                    .update_experiment(request)
                    .await?
                    .into_inner()
                    .experiment
            }
            3 => {
                let variant = Some(variant("c"));
                let request = wire::AddVariantRequest { name, variant };
                client.add_variant(request).await?.into_inner().experiment
            }
            4 => {
                let request = wire::QuarantineVariantRequest {
                    name,
                    variant_id,
                    quarantine_reason: "torture".into(),
                };
                client
                    .quarantine_variant(request)
                    .await?
                    .into_inner()
                    .experiment
            }
            _ => {
                let request = wire::ConcludeExperimentRequest {
                    name,
                    winner: String::new(),
                };
                client
                    .conclude_experiment(request)
                    .await?
                    .into_inner()
                    .experiment
            }
        };
        Ok(made.unwrap_or_default())
    }
}

fn variant(id: &str) -> wire::Variant {
    wire::Variant {
        variant_id: id.into(),
        display_name: format!("Subject line {id}"),
        ..Default::default()
    }
}

async fn create(
    client: &mut ExperimentServiceClient<Channel>,
    id: &str,
    variants: &[&str],
    settings: &wire::Experiment,
) -> Result<wire::Experiment, Status> {
    let request = wire::CreateExperimentRequest {
        experiment_id: id.into(),
        experiment: Some(wire::Experiment {
            display_name: format!("Torture {id}"),
            variants: variants.iter().map(|id| variant(id)).collect(),
            ..settings.clone()
        }),
        request_id: format!("create-{id}"),
        ..Default::default()
    };
    let answer = client.create_experiment(request).await?.into_inner();
    Ok(answer.experiment.unwrap_or_default())
}

/// Creates and starts the experiments that decisions are made in, unless they are there.
pub async fn prepare(channel: &Channel) -> Result<(), Status> {
    let mut client = ExperimentServiceClient::new(channel.clone());
    for arena in ARENAS {
        let settings = wire::Experiment {
            objective: arena.objective.into(),
            trial_on: arena.trial_on.into(),
            holdout_share: Some(arena.holdout_share),
            // Harm is part of the play; no guardrail may interfere.
            guardrails: Some(wire::Guardrails {
                complaint_rate_max: Some(1.0),
                unsubscribe_rate_max: Some(1.0),
                bounce_rate_max: Some(1.0),
                negative_reply_rate_max: Some(1.0),
            }),
            ..Default::default()
        };
        let id = arena.name.trim_start_matches("experiments/");
        create(
            &mut client,
            id,
            &["plain", "question", "numbers"],
            &settings,
        )
        .await?;
        let request = wire::StartExperimentRequest {
            name: arena.name.into(),
        };
        client.start_experiment(request).await?;
    }
    Ok(())
}
