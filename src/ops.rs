//! Operations: configuration, keys, telemetry, metrics, the operations port and shutdown.
//!
//! Everything a running process needs that is not a use case. Each part is built from its own part of the
//! [`config::Config`] and can be tested without the others; nothing here decides about an e-mail.

pub mod audit;
pub mod auth;
pub mod compose;
pub mod config;
pub mod connections;
pub mod cores;
pub mod fetch;
pub mod front;
mod gauges;
pub mod guard;
pub mod incoming;
pub mod metrics;
pub mod port;
pub mod secrets;
pub mod security;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod watched;

mod private_file;
