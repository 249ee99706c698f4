//! Who may call: the access file, and what strangers may still see.
//!
//! Keys are never part of the configuration; the access file holds their hashes.

use std::path::PathBuf;

use serde::Serialize;

use super::reader::{Reader, Rule};
use super::tls::file;

/// Settings of authentication. See `docs/configuration.md`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AuthConfig {
    /// Tenants, API keys and client certificates; without it nobody is asked for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_file: Option<PathBuf>,
    /// Shows the interface to callers without credentials.
    pub public_reflection: bool,
    /// The bearer token that a scrape of the metrics presents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_token_file: Option<PathBuf>,
}

// === impl AuthConfig ===

impl AuthConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            access_file: file(reader, "auth.access_file"),
            public_reflection: reader.value(
                "auth.public_reflection",
                false,
                Rule {
                    expects: "true or false",
                    accepts: |_| true,
                },
            ),
            metrics_token_file: file(reader, "auth.metrics_token_file"),
        }
    }
}
