//! The generated types of package `hermod.v1`, clients and servers, and the descriptor set for reflection.
//!
//! Nothing but conversions and handlers may use them.
#![allow(missing_docs, clippy::all, rustdoc::all)]

tonic::include_proto!("hermod.v1");

/// The encoded descriptor set of the package, with all imports and comments.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hermod.v1.bin"));
