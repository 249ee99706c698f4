//! What protects the ports of one server, opened together and read again together.
//!
//! Invariant: a server starts only with every file it was told to use; afterwards a broken one leaves what was read before in service.
use std::sync::Arc;

use crate::app::App;

use super::audit::{Audit, AuditError, Rotation};
use super::auth::{AccessBook, AccessError, Gate, GateSettings, MetricsToken, MetricsTokenError};
use super::config::Config;
use super::incoming::Handshakes;
use super::tls::{Protocol, Tls, TlsError};

/// Why a server cannot be protected as configured.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// TLS of the gRPC port.
    #[error("tls: {0}")]
    Tls(TlsError),
    /// TLS of the operations port.
    #[error("operations_tls: {0}")]
    OperationsTls(TlsError),
    /// The access file.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The token for metrics.
    #[error(transparent)]
    MetricsToken(#[from] MetricsTokenError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What protects the ports of one server.
pub struct Security {
    app: Arc<App>,
    tls: Option<Handshakes>,
    operations_tls: Option<Handshakes>,
    access: Option<Arc<AccessBook>>,
    metrics_token: Option<Arc<MetricsToken>>,
    audit: Option<Arc<Audit>>,
}

// === impl Security ===

impl Security {
    /// Reads every file that the configuration names.
    ///
    /// # Errors
    /// As listed in [`SecurityError`].
    pub async fn open(config: &Config, app: Arc<App>) -> Result<Self, SecurityError> {
        let tls = Tls::open(&config.tls, Protocol::Http2, "tls").map_err(SecurityError::Tls)?;
        let operations_tls = Tls::open(&config.operations_tls, Protocol::Http1, "operations_tls")
            .map_err(SecurityError::OperationsTls)?;
        let handshakes = |tls: Option<Tls>, timeout| {
            tls.map(|tls| Handshakes {
                tls: Arc::new(tls),
                timeout,
            })
        };
        let access = match &config.auth.access_file {
            None => None,
            Some(path) => Some(Arc::new(AccessBook::open(path, &app).await?)),
        };
        let metrics_token = match &config.auth.metrics_token_file {
            None => None,
            Some(path) => Some(Arc::new(MetricsToken::open(path)?)),
        };
        let rotation = Rotation {
            file_bytes_max: config.audit.file_bytes_max,
            files_max: config.audit.files_max,
        };
        let audit = match config.audit_path() {
            None => None,
            Some(path) => Some(Arc::new(Audit::open(&path, rotation, app.now())?)),
        };
        Ok(Self {
            tls: handshakes(tls, config.tls.handshake_timeout.get()),
            operations_tls: handshakes(
                operations_tls,
                config.operations_tls.handshake_timeout.get(),
            ),
            app,
            access,
            metrics_token,
            audit,
        })
    }

    /// How connections of the gRPC port are secured.
    pub fn handshakes(&self) -> Option<Handshakes> {
        self.tls.clone()
    }

    /// How connections of the operations port are secured.
    pub fn operations_handshakes(&self) -> Option<Handshakes> {
        self.operations_tls.clone()
    }

    /// What a scrape of the metrics must present.
    pub fn metrics_token(&self) -> Option<Arc<MetricsToken>> {
        self.metrics_token.clone()
    }

    /// What stands before the services.
    pub fn gate(&self, config: &Config) -> Gate {
        Gate::new(GateSettings {
            app: self.app.clone(),
            access: self.access.clone(),
            public_reflection: config.auth.public_reflection,
            audit: self.audit.clone(),
            request_bytes_max: config.server.request_bytes_max,
        })
    }

    /// Reads again what has changed, and records it.
    pub async fn reload(&self) {
        let ports = [&self.tls, &self.operations_tls];
        let mut reloaded: Vec<_> = ports
            .into_iter()
            .flatten()
            .filter_map(|port| port.tls.reload())
            .collect();
        if let Some(access) = &self.access {
            reloaded.extend(access.reload(&self.app).await);
        }
        reloaded.extend(self.metrics_token.as_ref().and_then(|token| token.reload()));
        if let Some(audit) = &self.audit {
            for reloaded in &reloaded {
                audit.reloaded(reloaded, self.app.now()).await;
            }
        }
    }
}
