//! Who may call, and for what: API keys and client certificates, scopes, tenants.
//!
//! Invariant: where an access file is configured, every call but health passes [`Gate`], which hands on only those whose credentials are
//! valid and have the scope of the method, and puts their [`crate::grpc::Caller`] into the request. Secrets are never stored, shown or logged.

mod access_list;
mod admission;
mod book;
mod gate;
mod metrics_token;
mod refusals;
mod scope;
mod token;

pub use access_list::{AccessList, Grant, Standing, Validity};
pub use admission::{Credentials, Need, PeerCertificate, Refusal, bearer};
pub use book::{AccessBook, AccessError};
pub use gate::{Gate, GateSettings, Gated};
pub use metrics_token::{MetricsToken, MetricsTokenError};
pub use scope::{METHODS, Method, Scope, Scopes, Subject};
pub use token::{KeyId, NewToken, Token, TokenHash};
