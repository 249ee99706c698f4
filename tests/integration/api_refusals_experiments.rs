//! Bad requests about experiments and their variants, and refusals that must stay readable however large the request was.
use std::collections::HashMap;

use hermod::grpc::wire;
use tonic::Code;

use crate::refusal::{Expected, assert_refused, bad_field, bad_fields, refused};
use crate::server::{Place, Running, hours, question, subject_lines, wire_time};
use hermod::app::Clock as _;

mod steps;

fn create(experiment: wire::Experiment) -> wire::CreateExperimentRequest {
    wire::CreateExperimentRequest {
        experiment_id: "new".into(),
        experiment: Some(experiment),
        ..Default::default()
    }
}

fn policy(policy: wire::policy::Policy) -> wire::CreateExperimentRequest {
    create(wire::Experiment {
        policy: Some(wire::Policy {
            policy: Some(policy),
        }),
        ..subject_lines()
    })
}

fn fixed(weights: &[(&str, f64)]) -> wire::CreateExperimentRequest {
    let weights: HashMap<String, f64> = weights.iter().map(|(id, w)| ((*id).into(), *w)).collect();
    policy(wire::policy::Policy::Fixed(wire::FixedPolicy { weights }))
}

fn variants(ids: impl IntoIterator<Item = String>) -> wire::CreateExperimentRequest {
    let variant = |variant_id| wire::Variant {
        variant_id,
        ..Default::default()
    };
    create(wire::Experiment {
        variants: ids.into_iter().map(variant).collect(),
        ..Default::default()
    })
}

fn everything_wrong(server: &Running) -> wire::CreateExperimentRequest {
    wire::CreateExperimentRequest {
        experiment_id: "No Slug".into(),
        request_id: "x".repeat(257),
        experiment: Some(wire::Experiment {
            display_name: "x".repeat(257),
            objective: 9,
            kind: 9,
            trial_on: 9,
            attribution_window: Some(hours(0)),
            half_life: Some(hours(1)),
            planned_sends: -1,
            holdout_share: Some(f64::NAN),
            floor: Some(0.51),
            exploration_share: Some(0.51),
            guardrails: Some(wire::Guardrails {
                complaint_rate_max: Some(0.0),
                ..Default::default()
            }),
            probation: Some(wire::Probation {
                share_max: Some(f64::NAN),
                matured_trials_min: Some(-1),
            }),
            utility: Some(wire::Utility {
                click_value: Some(0.0),
                complaint_cost: Some(-1.0),
                ..Default::default()
            }),
            sender_capacity: Some(wire::SenderCapacity {
                sends_per_hour: 0,
                warm_up: Some(wire::WarmUp {
                    initial_sends_per_hour: -1,
                    daily_growth: Some(1.0),
                }),
            }),
            segments: vec!["vip".into(), "vip".into(), "Not A Slug".into()],
            daypart_start_hours: vec![12, 6, 25],
            send_defaults: Some(wire::SendConstraints {
                earliest_time: Some(wire_time(server.clock.now())),
                window: Some(hours(1_000)),
                ..Default::default()
            }),
            ..subject_lines()
        }),
        ..Default::default()
    }
}

fn bad_creations(server: &Running) -> Vec<(wire::CreateExperimentRequest, Expected<'static>)> {
    let top_two = |beta| {
        policy(wire::policy::Policy::TopTwo(wire::TopTwoPolicy {
            beta: Some(beta),
        }))
    };
    let many = |n: usize| (0..n).map(|at| format!("v{at}"));
    vec![
        (
            wire::CreateExperimentRequest::default(),
            bad_fields(&["experiment_id", "experiment", "experiment.variants"]),
        ),
        (
            everything_wrong(server),
            bad_fields(&[
                "experiment_id",
                "experiment.display_name",
                "experiment.objective",
                "experiment.kind",
                "experiment.trial_on",
                "experiment.attribution_window",
                "experiment.half_life",
                "experiment.planned_sends",
                "experiment.holdout_share",
                "experiment.floor",
                "experiment.exploration_share",
                "experiment.guardrails.complaint_rate_max",
                "experiment.probation.share_max",
                "experiment.probation.matured_trials_min",
                "experiment.utility.complaint_cost",
                "experiment.utility",
                "experiment.sender_capacity.sends_per_hour",
                "experiment.sender_capacity.warm_up.initial_sends_per_hour",
                "experiment.sender_capacity.warm_up.daily_growth",
                "experiment.segments[1]",
                "experiment.segments[2]",
                "experiment.daypart_start_hours",
                "experiment.send_defaults",
                "experiment.send_defaults.window",
                "request_id",
            ]),
        ),
        (variants(many(1_001)), bad_fields(&["experiment.variants"])),
        (
            variants(["a".into(), "a".into(), "Ä".into()]),
            bad_fields(&[
                "experiment.variants[1].variant_id",
                "experiment.variants[2].variant_id",
            ]),
        ),
        (
            top_two(f64::NAN),
            bad_fields(&["experiment.policy.top_two.beta"]),
        ),
        (
            top_two(0.0),
            bad_fields(&["experiment.policy.top_two.beta"]),
        ),
        (fixed(&[]), bad_fields(&["experiment.policy.fixed.weights"])),
        (
            fixed(&[("plain", f64::INFINITY)]),
            bad_fields(&["experiment.policy.fixed.weights[plain]"]),
        ),
        (
            fixed(&[("plain", 1.0), ("absent", 1.0)]),
            bad_fields(&["experiment.policy.fixed.weights[absent]"]),
        ),
        (
            wire::CreateExperimentRequest {
                experiment_id: "autumn".into(),
                ..create(subject_lines())
            },
            refused(Code::AlreadyExists, "EXPERIMENT_EXISTS"),
        ),
    ]
}

async fn start() -> Running {
    let server = Place::in_memory().start().await;
    server.running("autumn", subject_lines()).await;
    server
}

#[tokio::test]
async fn bad_experiments_are_refused_with_all_bad_fields_at_once() {
    let server = start().await;
    let mut experiments = server.experiments.clone();
    for (at, (request, expected)) in bad_creations(&server).into_iter().enumerate() {
        let status = experiments.create_experiment(request).await.unwrap_err();
        assert_refused(&format!("creation {at}"), &status, &expected);
    }
    let most = variants((0..1_000).map(|at| format!("v{at}")));
    experiments.create_experiment(most).await.unwrap();
    server.stop().await;
}

/// Calls every method that takes a name with it, and expects the same refusal of each.
macro_rules! each_named {
    ($client:expr, $name:expr, $expected:expr, $($method:ident($request:ident)),+ $(,)?) => {
        $(
            let request = wire::$request { name: $name.into(), ..Default::default() };
            let status = $client.$method(request).await.unwrap_err();
            assert_refused(stringify!($method), &status, $expected);
        )+
    };
}

#[tokio::test]
#[allow(clippy::needless_update)]
async fn every_method_refuses_bad_and_unknown_names() {
    let server = start().await;
    let mut client = server.experiments.clone();
    let unknown = refused(Code::NotFound, "EXPERIMENT_NOT_FOUND");
    let bad = bad_fields(&["name"]);
    for (name, expected) in [
        ("experiments/absent", &unknown),
        ("", &bad),
        ("experiments/A B", &bad),
        ("autumn", &bad),
    ] {
        each_named!(
            client,
            name,
            expected,
            get_experiment(GetExperimentRequest),
            delete_experiment(DeleteExperimentRequest),
            start_experiment(StartExperimentRequest),
            pause_experiment(PauseExperimentRequest),
            conclude_experiment(ConcludeExperimentRequest),
            pause_variant(PauseVariantRequest),
            resume_variant(ResumeVariantRequest),
            quarantine_variant(QuarantineVariantRequest),
            retire_variant(RetireVariantRequest),
            get_results(GetResultsRequest),
            watch_results(WatchResultsRequest),
        );
    }
    server.stop().await;
}

fn update(name: &str, etag: &str, mask: &[&str]) -> wire::UpdateExperimentRequest {
    wire::UpdateExperimentRequest {
        experiment: Some(wire::Experiment {
            name: name.into(),
            etag: etag.into(),
            ..subject_lines()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: mask.iter().map(|path| (*path).into()).collect(),
        }),
    }
}

#[tokio::test]
async fn bad_updates_deletions_and_lists_are_refused() {
    let server = start().await;
    let mut client = server.experiments.clone();
    let name = "experiments/autumn";
    for (request, expected) in [
        (
            wire::UpdateExperimentRequest::default(),
            bad_fields(&["experiment", "experiment.name", "update_mask"]),
        ),
        (
            update(name, "", &["uid", "winner"]),
            bad_fields(&["update_mask", "update_mask"]),
        ),
        (
            update(name, "bad", &["floor"]),
            bad_field("ETAG_INVALID", &["etag"]),
        ),
        (
            update(name, "r999", &["floor"]),
            refused(Code::Aborted, "ETAG_MISMATCH"),
        ),
        (
            update(name, "", &["kind"]),
            refused(Code::FailedPrecondition, "FIXED_ONCE_STARTED"),
        ),
        (
            update("experiments/absent", "", &["*"]),
            refused(Code::NotFound, "EXPERIMENT_NOT_FOUND"),
        ),
    ] {
        let status = client.update_experiment(request).await.unwrap_err();
        assert_refused("update", &status, &expected);
    }
    for (etag, expected) in [
        ("", refused(Code::FailedPrecondition, "EXPERIMENT_RUNNING")),
        ("r999", refused(Code::Aborted, "ETAG_MISMATCH")),
        ("x", bad_field("ETAG_INVALID", &["etag"])),
    ] {
        let request = wire::DeleteExperimentRequest {
            name: name.into(),
            etag: etag.into(),
            force: false,
        };
        let status = client.delete_experiment(request).await.unwrap_err();
        assert_refused("delete", &status, &expected);
    }
    let list = wire::ListExperimentsRequest {
        page_size: -1,
        page_token: "never given".into(),
        state: 99,
    };
    let status = client.list_experiments(list).await.unwrap_err();
    assert_refused(
        "list",
        &status,
        &bad_fields(&["page_size", "state", "page_token"]),
    );
    let watch = wire::WatchResultsRequest {
        name: name.into(),
        interval: Some(hours(2)),
    };
    let status = client.watch_results(watch).await.unwrap_err();
    assert_refused("watch", &status, &bad_fields(&["interval"]));
    server.stop().await;
}

/// A client takes at most some kilobytes of headers, in which the status is: a refusal must fit whatever was asked.
#[tokio::test]
async fn a_refusal_of_a_large_request_is_still_readable() {
    let server = start().await;
    let name = "experiments/autumn";
    let large = "x".repeat(1 << 20);
    let question = wire::DecideRequest {
        eligible_variants: vec!["NOT A SLUG".into(); 1_000],
        ..question(name, "ann")
    };
    let mut statuses = vec![server.decisions.clone().decide(question).await.unwrap_err()];
    let mut client = server.experiments.clone();
    let paths = vec!["nothing".to_owned(); 10_000];
    for paths in [paths, vec![large.clone()]] {
        let mut request = update(name, "", &[]);
        request.update_mask = Some(prost_types::FieldMask { paths });
        statuses.push(client.update_experiment(request).await.unwrap_err());
    }
    statuses.push(
        client
            .create_experiment(fixed(&[(&large, 1.0)]))
            .await
            .unwrap_err(),
    );
    let ids = (0..1_000).map(|_| "NOT A SLUG".to_owned());
    statuses.push(client.create_experiment(variants(ids)).await.unwrap_err());
    for status in &statuses {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let details = tonic_types::StatusExt::get_error_details(status);
        assert!(!details.bad_request().unwrap().field_violations.is_empty());
    }
    let pause = wire::PauseVariantRequest {
        name: name.into(),
        variant_id: large,
    };
    let status = client.pause_variant(pause).await.unwrap_err();
    assert_refused(
        "pause",
        &status,
        &refused(Code::NotFound, "VARIANT_NOT_FOUND"),
    );
    server.stop().await;
}
