//! Compiles the protocol with protox, so that no `protoc` is needed, and keeps the descriptor set for reflection.
use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const SERVICES: [&str; 5] = [
    "proto/hermod/v1/decision_service.proto",
    "proto/hermod/v1/feedback_service.proto",
    "proto/hermod/v1/experiment_service.proto",
    "proto/hermod/v1/recipient_service.proto",
    "proto/hermod/v1/operations_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(SERVICES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("hermod.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
