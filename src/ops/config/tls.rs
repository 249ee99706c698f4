//! TLS of a port: its files, and whether clients present certificates. One section for the gRPC port, one for the operations port.
//!
//! Files are named here and read elsewhere; they are read again when they change.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::period::Period;
use super::reader::{Reader, Rule};

/// Whether clients present certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked for one.
    Off,
    /// They may; one that the client CA has not signed ends the handshake.
    Optional,
    /// They must.
    Required,
}

/// Settings of TLS. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TlsConfig {
    /// The certificate with its chain, in PEM; without one the port speaks plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<PathBuf>,
    /// The certificates that sign those of clients, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients present certificates.
    pub client_certificates: ClientCertificates,
    /// Longest time for a handshake.
    pub handshake_timeout: Period,
}

// === impl TlsConfig ===

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate_file: None,
            private_key_file: None,
            client_ca_file: None,
            client_certificates: ClientCertificates::Off,
            handshake_timeout: Period::from_secs(10),
        }
    }
}

impl TlsConfig {
    /// Whether the port speaks TLS.
    pub fn is_on(&self) -> bool {
        self.certificate_file.is_some()
    }

    /// Whether a client without a certificate of the client CA gets no connection.
    pub fn requires_certificates(&self) -> bool {
        self.is_on() && self.client_certificates == ClientCertificates::Required
    }

    pub(super) fn read(reader: &mut Reader<'_>, section: &str) -> Self {
        let default = Self::default();
        let key = |name: &str| format!("{section}.{name}");
        let config = Self {
            certificate_file: file(reader, &key("certificate_file")),
            private_key_file: file(reader, &key("private_key_file")),
            client_ca_file: file(reader, &key("client_ca_file")),
            client_certificates: reader.value(
                &key("client_certificates"),
                default.client_certificates,
                Rule {
                    expects: "\"off\", \"optional\" or \"required\"",
                    accepts: |_| true,
                },
            ),
            handshake_timeout: reader.value(
                &key("handshake_timeout"),
                default.handshake_timeout,
                Rule {
                    expects: "a length of time with its unit from 10ms to 5m, such as 10s",
                    accepts: |period| {
                        (Period::from_millis(10)..=Period::from_secs(300)).contains(period)
                    },
                },
            ),
        };
        config.refuse_halves(reader, &key);
        config
    }

    /// Half a configuration would serve less protection than it seems to say.
    fn refuse_halves(&self, reader: &mut Reader<'_>, key: &dyn Fn(&str) -> String) {
        let shown = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => "unset".to_owned(),
        };
        if self.certificate_file.is_some() != self.private_key_file.is_some() {
            reader.refuse(
                &key("private_key_file"),
                &shown(&self.private_key_file),
                "certificate and private key belong together, and only one of them is set",
                &format!(
                    "Set both {} and {}, or neither",
                    key("certificate_file"),
                    key("private_key_file")
                ),
            );
        }
        let asks = self.client_certificates != ClientCertificates::Off;
        if asks != self.client_ca_file.is_some() || (asks && !self.is_on()) {
            reader.refuse(
                &key("client_ca_file"),
                &shown(&self.client_ca_file),
                "client certificates need TLS, the CA that signs them, and client_certificates optional or required",
                &format!(
                    "Set {}, {} and {}, or none of the last two",
                    key("certificate_file"),
                    key("client_ca_file"),
                    key("client_certificates")
                ),
            );
        }
    }
}

/// A path that may be left unset.
pub(super) fn file(reader: &mut Reader<'_>, key: &str) -> Option<PathBuf> {
    reader.value(
        key,
        None,
        Rule {
            expects: "the path of a file",
            accepts: |path: &Option<PathBuf>| {
                path.as_ref()
                    .is_none_or(|path| !path.as_os_str().is_empty())
            },
        },
    )
}
