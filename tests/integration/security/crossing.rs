//! Two tenants on one server: one tries every method with the names, recipients and decision ids of the other.
//!
//! Invariant: nothing of the other is found and nothing of it changes; a new method without an attempt here does not pass.
use std::collections::BTreeSet;

use hermod::grpc::wire::{self, EventKind};
use hermod::ops::auth::{METHODS, Scope};
use prost_types::FieldMask;
use tonic::codegen::InterceptedService;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{AccessFile, call_with, framed};
use crate::server::{Place, Running, event, question, subject_lines};

const SCOPES: [Scope; 4] = [Scope::Read, Scope::Decide, Scope::Report, Scope::Admin];
const NAME: &str = "experiments/autumn";

/// Shows a token.
#[derive(Clone)]
struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// All that one tenant can see of its own.
#[derive(Debug, PartialEq)]
struct Seen {
    experiments: wire::ListExperimentsResponse,
    results: wire::GetResultsResponse,
    recipient: wire::ExportRecipientResponse,
    alerts: wire::ListAlertsResponse,
    again: wire::ChooseVariantResponse,
}

/// One caller of the server.
struct Caller {
    experiments: wire::experiment_service_client::ExperimentServiceClient<
        InterceptedService<Channel, Bearer>,
    >,
    decisions:
        wire::decision_service_client::DecisionServiceClient<InterceptedService<Channel, Bearer>>,
    recipients:
        wire::recipient_service_client::RecipientServiceClient<InterceptedService<Channel, Bearer>>,
    operations: wire::operations_service_client::OperationsServiceClient<
        InterceptedService<Channel, Bearer>,
    >,
}

impl Caller {
    fn new(server: &Running, token: &str) -> Self {
        let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
        let channel = || InterceptedService::new(server.channel.clone(), bearer.clone());
        Self {
            experiments: wire::experiment_service_client::ExperimentServiceClient::new(channel()),
            decisions: wire::decision_service_client::DecisionServiceClient::new(channel()),
            recipients: wire::recipient_service_client::RecipientServiceClient::new(channel()),
            operations: wire::operations_service_client::OperationsServiceClient::new(channel()),
        }
    }

    async fn begin(&mut self) {
        let create = wire::CreateExperimentRequest {
            experiment_id: "autumn".into(),
            experiment: Some(subject_lines()),
            ..Default::default()
        };
        self.experiments.create_experiment(create).await.unwrap();
        let start = wire::StartExperimentRequest { name: NAME.into() };
        self.experiments.start_experiment(start).await.unwrap();
    }

    async fn choose(&mut self) -> wire::ChooseVariantResponse {
        let request = wire::ChooseVariantRequest {
            experiment: NAME.into(),
            recipient_id: "ann".into(),
            ..Default::default()
        };
        let answer = self.decisions.choose_variant(request).await;
        answer.unwrap().into_inner()
    }

    async fn look(&mut self) -> Seen {
        let list = wire::ListExperimentsRequest::default();
        let results = wire::GetResultsRequest { name: NAME.into() };
        let export = wire::ExportRecipientRequest {
            recipient_id: "ann".into(),
        };
        let alerts = wire::ListAlertsRequest::default();
        Seen {
            experiments: self
                .experiments
                .list_experiments(list)
                .await
                .unwrap()
                .into_inner(),
            results: self
                .experiments
                .get_results(results)
                .await
                .unwrap()
                .into_inner(),
            recipient: self
                .recipients
                .export_recipient(export)
                .await
                .unwrap()
                .into_inner(),
            alerts: self
                .operations
                .list_alerts(alerts)
                .await
                .unwrap()
                .into_inner(),
            again: self.choose().await,
        }
    }
}

/// One attempt at every method of a service about a variant or an experiment, which the caller does not have.
fn attempts_by_name() -> Vec<(&'static str, Vec<u8>)> {
    // All of these have the name as their first field and the variant, if any, as their second.
    let named = framed(&wire::RetireVariantRequest {
        name: NAME.into(),
        variant_id: "plain".into(),
    });
    let plainly = framed(&wire::GetExperimentRequest { name: NAME.into() });
    let mut attempts: Vec<(&'static str, Vec<u8>)> = [
        "GetExperiment",
        "GetResults",
        "GetModelCard",
        "DeleteExperiment",
        "StartExperiment",
        "PauseExperiment",
        "ConcludeExperiment",
    ]
    .map(|method| (method, plainly.clone()))
    .into();
    attempts.extend(
        [
            "PauseVariant",
            "ResumeVariant",
            "RetireVariant",
            "QuarantineVariant",
        ]
        .map(|method| (method, named.clone())),
    );
    let variant = wire::Variant {
        variant_id: "foreign".into(),
        ..Default::default()
    };
    let add = wire::AddVariantRequest {
        name: NAME.into(),
        variant: Some(variant),
    };
    let update = wire::UpdateExperimentRequest {
        experiment: Some(wire::Experiment {
            name: NAME.into(),
            display_name: "taken over".into(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["display_name".into()],
        }),
    };
    attempts.push(("AddVariant", framed(&add)));
    attempts.push(("UpdateExperiment", framed(&update)));
    attempts
}

/// One attempt at every other method, and whether it is answered: batches and streams refuse each item by itself.
fn other_attempts(
    decision_id: &str,
    at: prost_types::Timestamp,
) -> Vec<(&'static str, Vec<u8>, bool)> {
    let clicked = event(EventKind::Clicked, decision_id, at);
    let ask = question(NAME, "ann");
    let recipient = wire::GetRecipientRequest {
        recipient_id: "ann".into(),
    };
    let verdict = wire::Reclassification {
        decision_id: decision_id.to_owned(),
        kind: EventKind::Clicked.into(),
        human_probability: Some(0.0),
    };
    vec![
        ("DecisionService/Decide", framed(&ask), false),
        ("DecisionService/ChooseVariant", framed(&ask), false),
        (
            "DecisionService/BatchDecide",
            framed(&wire::BatchDecideRequest {
                requests: vec![ask.clone()],
            }),
            true,
        ),
        (
            "DecisionService/StreamDecide",
            framed(&wire::StreamDecideRequest {
                correlation_id: String::new(),
                request: Some(ask.clone()),
            }),
            true,
        ),
        ("DecisionService/PlanBlast", framed(&ask), false),
        (
            "DecisionService/PredictSendTime",
            framed(&wire::PredictSendTimeRequest {
                recipient_id: "ann".into(),
                experiment: NAME.into(),
                ..Default::default()
            }),
            false,
        ),
        (
            "DecisionService/ReplayDecision",
            framed(&wire::ReplayDecisionRequest {
                decision_id: decision_id.to_owned(),
            }),
            false,
        ),
        (
            "FeedbackService/ReportEvents",
            framed(&wire::ReportEventsRequest {
                events: vec![clicked.clone()],
            }),
            true,
        ),
        (
            "FeedbackService/StreamEvents",
            framed(&wire::StreamEventsRequest {
                correlation_id: String::new(),
                event: Some(clicked),
            }),
            true,
        ),
        (
            "FeedbackService/ReclassifyEvents",
            framed(&wire::ReclassifyEventsRequest {
                reclassifications: vec![verdict],
            }),
            true,
        ),
        (
            "ExperimentService/WatchResults",
            framed(&wire::GetExperimentRequest { name: NAME.into() }),
            false,
        ),
        (
            "ExperimentService/ListExperiments",
            framed(&wire::ListExperimentsRequest::default()),
            true,
        ),
        ("RecipientService/GetRecipient", framed(&recipient), false),
        (
            "RecipientService/ExportRecipient",
            framed(&recipient),
            false,
        ),
        ("RecipientService/EraseRecipient", framed(&recipient), true),
        (
            "OperationsService/ListAlerts",
            framed(&wire::ListAlertsRequest::default()),
            true,
        ),
    ]
}

#[tokio::test]
async fn every_method_tried_with_anothers_names_finds_nothing_and_changes_nothing() {
    let mut access = AccessFile::of(&["acme", "globex"]);
    let (ours, theirs) = (
        access.add("acme", &SCOPES, ""),
        access.add("globex", &SCOPES, ""),
    );
    let mut place = Place::in_memory();
    place.config.auth.access_file = Some(access.path());
    let server = place.start().await;
    let mut acme = Caller::new(&server, &ours);
    acme.begin().await;
    let decision_id = acme.choose().await.decision.unwrap().decision_id;
    server.app.refresh();
    let before = acme.look().await;
    let mut tried = BTreeSet::new();
    let globex = Some(theirs.as_str());
    for (method, frame) in attempts_by_name() {
        let path = format!("/hermod.v1.ExperimentService/{method}");
        let refused = call_with(&server.channel, &path, globex, frame).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound, "{method}");
        tried.insert(path);
    }
    let at = server.in_minutes(1);
    for (method, frame, is_answered) in other_attempts(&decision_id, at) {
        let path = format!("/hermod.v1.{method}");
        let result = call_with(&server.channel, &path, globex, frame).await;
        assert_eq!(result.is_ok(), is_answered, "{method}: {result:?}");
        tried.insert(path);
    }
    // Of one's own: nothing of another's can be named in them.
    let own = [
        "ExperimentService/CreateExperiment",
        "RecipientService/UpdateRecipient",
        "OperationsService/WatchAlerts",
        "OperationsService/GetStatistics",
    ];
    tried.extend(own.map(|method| format!("/hermod.v1.{method}")));
    let all = METHODS
        .iter()
        .filter(|method| method.scope != Scope::Operator);
    let all: BTreeSet<String> = all
        .map(|method| format!("/hermod.v1.{}", method.path))
        .collect();
    assert_eq!(tried, all);
    server.app.refresh();
    assert_eq!(acme.look().await, before);
    let mut globex = Caller::new(&server, &theirs);
    globex.begin().await;
    let list = wire::ListExperimentsRequest::default();
    let listed = globex.experiments.list_experiments(list).await.unwrap();
    assert_eq!(listed.into_inner().experiments.len(), 1, "its own");
    server.stop().await;
}
