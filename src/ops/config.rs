//! The configuration: one struct of part-configurations, read from defaults, a file, the environment and flags.
//!
//! [`Config::load`] either returns a configuration whose every value is within its limits, or every problem at once,
//! each with the key, the value, where it came from and what to do. It opens no port and touches no file but its own.
//! The configuration holds no secret: the keys are in a file of their own, see [`super::secrets`].

mod audit;
mod auth;
mod backup;
mod decision_log;
mod decisions;
mod exposure;
mod limits;
mod log;
mod origin;
mod period;
mod privacy;
mod reader;
mod server;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

pub use audit::AuditConfig;
pub use auth::AuthConfig;
pub use backup::BackupConfig;
pub use decision_log::DecisionLogConfig;
pub use decisions::DecisionsConfig;
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat, targets};
pub use origin::Origin;
pub use period::{InvalidPeriod, Period};
pub use privacy::{Consent, PrivacyConfig};
pub use reader::{Problem, Problems};
pub use server::ServerConfig;
pub use sources::{Flag, Sources};
pub use store::{Engine, StoreConfig};
pub use tls::{ClientCertificates, TlsConfig};

use reader::Reader;

/// Everything that can be set, by the part of the process that it builds. Keys are `section.name`, two levels deep.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Config {
    /// The gRPC port, the operations port and the limits of both.
    pub server: ServerConfig,
    /// TLS of the gRPC port.
    pub tls: TlsConfig,
    /// TLS of the operations port.
    pub operations_tls: TlsConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// What is recorded of administrative calls.
    pub audit: AuditConfig,
    /// Where and how state is kept.
    pub store: StoreConfig,
    /// How decisions are made.
    pub decisions: DecisionsConfig,
    /// What is kept of decisions.
    pub decision_log: DecisionLogConfig,
    /// What one tenant can make the server keep.
    pub limits: LimitsConfig,
    /// Where backups of the running server are kept, and how long.
    pub backup: BackupConfig,
    /// What may be learned about a recipient, and the keys file.
    pub privacy: PrivacyConfig,
    /// What is logged, and in which form.
    pub log: LogConfig,
}

/// A valid configuration together with the origin of each of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    /// The values.
    pub config: Config,
    /// Every key, in the order of the documentation, with the origin of its value.
    pub origins: Vec<(String, Origin)>,
}

// === impl Config ===

impl Config {
    /// Reads and checks all sources; later ones win: defaults, file, environment, flags.
    ///
    /// # Errors
    /// Every problem found: an unreadable file, unknown keys, values of a wrong type or out of their limits, and
    /// combinations that are refused.
    pub fn load(sources: &Sources) -> Result<LoadedConfig, Problems> {
        let mut reader = Reader::new(sources);
        let config = Self {
            server: ServerConfig::read(&mut reader),
            tls: TlsConfig::read(&mut reader, "tls"),
            operations_tls: TlsConfig::read(&mut reader, "operations_tls"),
            auth: AuthConfig::read(&mut reader),
            audit: AuditConfig::read(&mut reader),
            store: StoreConfig::read(&mut reader),
            decisions: DecisionsConfig::read(&mut reader),
            decision_log: DecisionLogConfig::read(&mut reader),
            limits: LimitsConfig::read(&mut reader),
            backup: BackupConfig::read(&mut reader),
            privacy: PrivacyConfig::read(&mut reader),
            log: LogConfig::read(&mut reader),
        };
        exposure::refuse(&config, &mut reader);
        let origins = reader.finish()?;
        Ok(LoadedConfig { config, origins })
    }

    /// The path of the keys file: the configured one, or `hermod.keys` in the data directory.
    pub fn keys_path(&self) -> PathBuf {
        match &self.privacy.keys_file {
            Some(path) => path.clone(),
            None => self.store.path.join("hermod.keys"),
        }
    }

    /// The path of the audit log, if there is one: the configured one, or `audit.log` in the data directory of a store on disk.
    pub fn audit_path(&self) -> Option<PathBuf> {
        let beside_the_store =
            || (self.store.engine != Engine::Memory).then(|| self.store.path.join("audit.log"));
        let path = self.audit.file.clone().or_else(beside_the_store);
        path.filter(|_| self.audit.enabled)
    }
}

// === impl LoadedConfig ===

impl LoadedConfig {
    /// The effective configuration as TOML, each value with its origin as a comment. It reads back to the same values.
    ///
    /// # Errors
    /// A value that TOML cannot write; no checked configuration holds one.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let table = toml::Table::try_from(&self.config)?;
        let mut text = String::new();
        let mut open_section = "";
        for (key, origin) in &self.origins {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            if section != open_section {
                let gap = if open_section.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{section}]");
                open_section = section;
            }
            let value = table.get(section).and_then(|entries| entries.get(name));
            let _ = match value {
                Some(value) => {
                    // A path may hold a line break, which would end the comment.
                    let origin = origin.to_string().replace(char::is_control, " ");
                    writeln!(text, "{name} = {value}  # {origin}")
                }
                None => writeln!(text, "# {name} is not set"),
            };
        }
        Ok(text)
    }
}
