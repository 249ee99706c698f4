//! hermod: which variant, and when to send.
pub mod app;
pub mod cli;
pub mod domain;
pub mod grpc;
pub mod lab;
pub mod ops;
pub mod store;
