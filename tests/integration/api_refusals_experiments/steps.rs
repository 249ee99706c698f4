//! Bad steps of variants: added, resumed, quarantined, or named as the winner.
use hermod::grpc::wire;
use tonic::Code;

use super::start;
use crate::refusal::{assert_refused, bad_fields, refused};

#[tokio::test]
async fn bad_steps_of_variants_are_refused() {
    let server = start().await;
    let mut client = server.experiments.clone();
    let name = "experiments/autumn";
    let add = |variant_id: &str| wire::AddVariantRequest {
        name: name.into(),
        variant: Some(wire::Variant {
            variant_id: variant_id.into(),
            display_name: "x".repeat(if variant_id.is_empty() { 1_025 } else { 0 }),
            ..Default::default()
        }),
    };
    let status = client.add_variant(add("plain")).await.unwrap_err();
    assert_refused(
        "add",
        &status,
        &refused(Code::AlreadyExists, "VARIANT_EXISTS"),
    );
    let status = client.add_variant(add("")).await.unwrap_err();
    assert_refused(
        "add",
        &status,
        &bad_fields(&["variant.display_name", "variant.variant_id"]),
    );
    let resume = wire::ResumeVariantRequest {
        name: name.into(),
        variant_id: "absent".into(),
    };
    let status = client.resume_variant(resume).await.unwrap_err();
    assert_refused(
        "resume",
        &status,
        &refused(Code::NotFound, "VARIANT_NOT_FOUND"),
    );
    let quarantine = wire::QuarantineVariantRequest {
        name: name.into(),
        variant_id: "plain".into(),
        quarantine_reason: "x".repeat(1_025),
    };
    let status = client.quarantine_variant(quarantine).await.unwrap_err();
    assert_refused("quarantine", &status, &bad_fields(&["quarantine_reason"]));
    let conclude = wire::ConcludeExperimentRequest {
        name: name.into(),
        winner: "absent".into(),
    };
    let status = client.conclude_experiment(conclude).await.unwrap_err();
    assert_refused(
        "conclude",
        &status,
        &refused(Code::NotFound, "VARIANT_NOT_FOUND"),
    );
    server.stop().await;
}
